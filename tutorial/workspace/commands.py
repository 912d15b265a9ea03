"""The commands of the reader's folder, `start` and `progress`; `signature`; and which file a
command means."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..running.terminal import Add, answer
from ..stage import Stage, StageError
from . import progress
from .signatures import described
from .start import EXERCISES, exercise_file, start

STAGE = "its number or its name"


def register(add: Add) -> None:
    """Add the commands to the parser of `python -m tutorial`."""
    starting = add("start", _start, "write the notebooks and exercises to a folder of your own")
    starting.add_argument("folder", metavar="FOLDER")
    starting.add_argument(
        "--solutions", action="store_true", help="write the worked solutions there as well"
    )
    showing = add("progress", _progress, "show what is solved in a folder that 'start' made")
    showing.add_argument("folder", metavar="FOLDER", nargs="?", help="default: the one you are in")
    calling = add(
        "signature",
        _signature,
        "print how a function of NKI is called, and the shapes that it takes",
    )
    calling.add_argument("name", metavar="NAME", help="as in nisa.iota or nl.exp")
    calling.add_argument(
        "--stage", default="0", metavar="STAGE", help="in the dialect of this stage; default: 0"
    )


def kernel_options(made: argparse.ArgumentParser) -> None:
    """What every command about one kernel takes: a stage, a file, inputs of the reader's own."""
    made.add_argument("stage", metavar="STAGE", help=STAGE)
    made.add_argument(
        "file", metavar="FILE", nargs="?", help="default: the stage's file in ./exercises"
    )
    made.add_argument(
        "--input",
        metavar="NPZ",
        help="use the arrays of this .npz file instead of the input families",
    )


def file_of(lesson: Stage, file: str | None) -> str:
    """The file that is meant: the one that is named, else the stage's exercise in the working
    directory. Raises StageError if there is none."""
    if file is not None:
        return file
    own = exercise_file(lesson)
    if own is None:
        raise StageError(
            f"There is no {EXERCISES}/{lesson.file_name}.py here: name the file to check, or let "
            "'python -m tutorial start FOLDER' write the exercises."
        )
    return str(own)


def _start(options: argparse.Namespace) -> int:
    made = start(Path(options.folder), solutions=options.solutions)
    answer(options, {"folder": str(made.folder), "written": made.written, "kept": made.kept}, made)
    return 0


def _progress(options: argparse.Namespace) -> int:
    folder = None if options.folder is None else Path(options.folder)
    path = progress.record_file() if folder is None else folder / progress.FILE
    if path is None or not (path.is_file() or progress.where() == progress.BROWSER):
        raise StageError(
            f"There is no {progress.FILE} here: 'python -m tutorial start FOLDER' makes a folder "
            "that keeps one."
        )
    answer(options, {"stages": progress.found(folder)}, progress.report(folder))
    return 0


def _signature(options: argparse.Namespace) -> int:
    text = described(options.name, options.stage)
    answer(options, {"name": options.name, "text": text}, text)
    return 0
