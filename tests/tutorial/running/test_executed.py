"""Instructions that are made when they are looked at are those of the run."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.tutorial.kernels import load, solution
from tutorial import get
from tutorial.running import runner
from tutorial.running.executed import executed
from tutorial.running.replays import Replays


@pytest.mark.parametrize("number", [3, 6])
def test_each_instruction_is_that_of_the_run(number, tmp_path):
    lesson = get(number)
    run = runner.run(load(number, solution(number), tmp_path), lesson.cases()[0], lesson).run
    made = executed(run)
    assert len(made) == len(run) > 0
    for ours, whole in zip(made, run.instructions, strict=True):
        assert (ours.op, ours.line, ours.dst) == (whole.op, whole.line, whole.dst)
        assert (ours.srcs, ours.attrs, ours.index) == (whole.srcs, whole.attrs, whole.index)


def test_the_instructions_of_a_replay_are_those_of_its_program(tmp_path):
    lesson = get(8)
    cases = [c for c in lesson.cases() if c.args["q"].shape == (2, 64, 4) and not c.options]
    replays = Replays(load(8, solution(8), tmp_path), lesson, cases)
    first, *_, last = [replays.run(case) for case in cases[:4]]
    assert last.replayed and not first.replayed
    assert [i.op for i in executed(last.run)] == [i.op for i in executed(first.run)]


def test_an_instruction_is_made_once_and_only_if_more_than_its_name_is_asked_for():
    asked = []

    class Run:
        class record:
            class signature:
                class instruction:
                    name = "activation"

        def records(self):
            return [self.record, self.record]

        @property
        def instructions(self):
            class Made(Sequence):
                def __len__(self):
                    return 2

                def __getitem__(self, index):
                    asked.append(index)
                    return self

                line = 7

            return Made()

    first, second = executed(Run())
    assert (first.op, second.op, asked) == ("activation", "activation", [])
    assert (second.line, second.line, asked) == (7, 7, [1])
