"""What a learner's kernel prints is dropped; what other threads print meanwhile is not."""

from __future__ import annotations

import sys
import threading

from tutorial.running.silence import silent


def test_what_is_printed_inside_is_dropped_and_what_comes_after_is_not(capsys):
    with silent():
        print("inside", flush=True)
        with silent():
            print("further inside")
        print("still inside")
    print("after")
    assert capsys.readouterr().out == "after\n"


def test_two_threads_that_are_silent_by_turns_lose_nothing_of_what_either_prints(capsys):
    stream, first_in, second_in, first_out = sys.stdout, *(threading.Event() for _ in range(3))

    def first():
        with silent():
            first_in.set()
            second_in.wait()
        print("the first, after")
        first_out.set()

    def second():
        first_in.wait()
        with silent():
            second_in.set()
            first_out.wait()
            print("the second, inside")
        print("the second, after")

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capsys.readouterr().out == "the first, after\nthe second, after\n"
    assert sys.stdout is stream


def test_where_there_is_no_standard_output_nothing_is_missed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with silent():
        print("inside", flush=True)
    assert sys.stdout is None


def test_code_that_closes_standard_output_or_puts_another_there_changes_nothing(capsys):
    stream = sys.stdout
    with silent():
        sys.stdout.close()
        sys.stdout = None
    assert sys.stdout is stream
    print("after")
    assert capsys.readouterr().out == "after\n"
