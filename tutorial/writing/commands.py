"""The command `generate`: a language model writes, and a kernel computes its attention."""

from __future__ import annotations

import argparse

from ..running import process, runner
from ..running.terminal import Add, answer
from ..stage import Refused, StageError, get
from ..verdict import EXIT_CODES, WRONG
from . import charmodel, decode, smollm2


def register(add: Add) -> None:
    """Add the command to the parser of `python -m tutorial`."""
    writing = add(
        "generate",
        _generate,
        "let a language model write with your kernel, and compare the text with NumPy's",
    )
    writing.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        default=decode.PROMPT,
        help=f"what the text begins with; default: {decode.PROMPT!r}",
    )
    writing.add_argument(
        "--tokens", type=int, default=200, metavar="N", help="how many to write; default: 200"
    )
    writing.add_argument(
        "--stage", default="4", metavar="STAGE", help="the stage of the kernel; default: 4"
    )
    writing.add_argument(
        "--kernel", metavar="FILE", help="the kernel; default: the stage's worked solution"
    )
    writing.add_argument(
        "--step", metavar="FILE", help="an attention step of stage 10, for a kernel of stage 4"
    )
    writing.add_argument(
        "--model",
        choices=("char", "smollm2"),
        default="char",
        help="the course's own model of characters (default), or SmolLM2-135M if it is installed",
    )


def _generate(options: argparse.Namespace) -> int:
    """Write a text with a kernel; right is the text that NumPy writes with the same model."""
    lesson = get(options.stage)
    try:
        with process.hosting():
            kernel = None if options.kernel is None else runner.load(options.kernel, lesson)
            step = None if options.step is None else runner.load(options.step, get("generate"))
            network = smollm2.load() if options.model == "smollm2" else charmodel.load()
            asked = options.prompt, options.tokens
            made = decode.generate(*asked, stage=lesson, kernel=kernel, step=step, network=network)
            wanted = decode.reference(*asked, network=network)
    except Refused:
        raise
    except ValueError as error:
        raise StageError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    sentence, same = made.compare(wanted), made.same_as(wanted)
    found = {
        "stage": lesson.number,
        "name": lesson.name,
        "model": options.model,
        "text": made.text,
        "same": same,
        "sentence": sentence,
        "costs": made.costs(),
    }
    text = made.report()
    answer(options, found, text if made.problem else f"{text}\n\n{sentence}")
    return 0 if same else EXIT_CODES.get(made.outcome, EXIT_CODES[WRONG])
