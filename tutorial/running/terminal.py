"""The command line: how a command is added, and printing, where an answer that cannot be printed
does not count."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator

Add = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]
"""Adds a command to the parser of `python -m tutorial`: its name, its function, its help."""


class Unsaid(Exception):
    """What there was to say could not be printed."""


def spell_out() -> None:
    """From now on characters that a stream cannot encode are printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(text: object, end: str = "\n") -> None:
    """Print to standard output, at once. Raises Unsaid where that cannot be done."""
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        print(text, end=end, flush=True)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            # what is left in the buffer would fail once more when the process ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Unsaid(getattr(error, "strerror", None) or str(error)) from error


def answer(options: argparse.Namespace, found: object, text: object) -> None:
    """Print what a command found: as JSON where its options ask for that, else the text."""
    say(json.dumps(found, indent=2) if options.json else text)


def complain(text: str) -> None:
    """Print to standard error, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None] | None]:
    """One line on the terminal that is gone when the work is done; nothing where standard error is
    not a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    terminal = sys.stderr

    def report(done: int, total: int, family: str) -> None:
        print(f"\r\033[K{title}: {done}/{total} {family}", end="", file=terminal, flush=True)

    try:
        yield report
    finally:
        print("\r\033[K", end="", file=terminal, flush=True)
