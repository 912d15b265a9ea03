"""The commands that look into a kernel: `picture` and `trace`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..running import files, process, runner
from ..running.terminal import Add, answer
from ..stage import Refused, StageError, get
from ..trace.picture import picture, picture_page
from ..trace.rows import TraceError
from ..trace.trace import trace
from ..verdict import EXIT_CODES, UNUSABLE, plain
from .commands import file_of, kernel_options


def register(add: Add) -> None:
    """Add the commands to the parser of `python -m tutorial`."""
    drawing = add(
        "picture",
        _picture,
        "describe or draw what a kernel reads, and the tile that each instruction writes",
    )
    kernel_options(drawing)
    drawing.add_argument("--family", help="the input family; default: the one of the costs")
    drawing.add_argument("--svg", metavar="PATH", help="also write the picture")
    drawing.add_argument(
        "--html", metavar="PATH", help="also write a page: picture, timeline and text, one slider"
    )
    tracing = add("trace", _trace, "show how m, l and acc of a kernel move, tile by tile")
    kernel_options(tracing)
    tracing.add_argument("--family", help="the input family; default: ascending")
    tracing.add_argument(
        "--heads", help="the query heads to show, e.g. 0,5; default: the first four"
    )
    tracing.add_argument(
        "--html", metavar="PATH", help="also write the step-through view, as a page"
    )
    tracing.add_argument(
        "--figure", metavar="PATH", help="also write the figure (.png, .svg, .pdf)"
    )


def _picture(options: argparse.Namespace) -> int:
    """Draw a kernel; the exit status tells whether it runs, not whether it is right."""
    lesson = get(options.stage)
    try:
        with process.hosting():
            inputs = files.arrays_of(options.input)
            kernel = runner.load(file_of(lesson, options.file), lesson)
            made = picture(lesson, kernel, options.family, inputs=inputs)
            page = None
            if options.html is not None and made.drawn:
                page = picture_page(lesson, kernel, options.family, inputs=inputs)
        if options.svg is not None:
            made.save(options.svg)
        if page is not None:
            Path(options.html).write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StageError(f"{error}.".replace("..", ".")) from error
    found = {"stage": lesson.number, "name": lesson.name, "drawn": made.drawn, "text": made.alt}
    answer(options, found, made)
    return 0 if made.drawn else EXIT_CODES[UNUSABLE]


def _trace(options: argparse.Namespace) -> int:
    lesson = get(options.stage)
    file = file_of(lesson, options.file)
    try:
        with process.hosting():
            inputs = files.arrays_of(options.input)
            made = trace(lesson, runner.load(file, lesson), options.family, inputs=inputs)
        if options.heads is not None:
            made = made.only(int(h) for h in options.heads.split(","))
        if options.html is not None:
            made.steps().save(options.html)
        if options.figure is not None:
            made.figure().savefig(options.figure)
    except (Refused, TraceError):
        raise
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise StageError(
            f"--figure needs {package}, which is not installed here: python -m pip install "
            f"{package}"
        ) from error
    except (ValueError, OSError) as error:
        raise StageError(f"{error}.".replace("..", ".")) from error
    found = {
        "stage": lesson.number,
        "name": lesson.name,
        "family": made.family,
        "missing": made.missing,
        "trace": plain(made.to_dict()),
    }
    answer(options, found, made)
    return 0 if made.rows else EXIT_CODES.get(made.outcome, EXIT_CODES[UNUSABLE])
