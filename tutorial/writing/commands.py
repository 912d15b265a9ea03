"""The command `generate`: a language model writes, and a kernel computes its attention."""

from __future__ import annotations

import argparse
import json

from ..running import problems, process, runner
from ..running.terminal import Add, say
from ..stage import StageError, get
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
        with process.own_output(), process.staying():
            kernel = None if options.kernel is None else runner.load(options.kernel, lesson)
            step = None if options.step is None else runner.load(options.step, get("generate"))
            network = smollm2.load() if options.model == "smollm2" else charmodel.load()
            made = decode.generate(
                options.prompt,
                options.tokens,
                stage=lesson,
                kernel=kernel,
                step=step,
                network=network,
            )
            wanted = decode.reference(options.prompt, options.tokens, network=network)
    except (problems.Unusable, smollm2.NotInstalled, StageError) as error:
        raise StageError(str(error)) from error
    except ValueError as error:
        sentence = str(error)
        raise StageError(f"{sentence[:1].upper()}{sentence[1:]}.") from error
    verdict = made.compare(wanted)
    same = made.same_as(wanted)
    if options.json:
        say(
            json.dumps(
                {
                    "stage": lesson.number,
                    "name": lesson.name,
                    "model": options.model,
                    "text": made.text,
                    "same": same,
                    "sentence": verdict,
                    "costs": made.costs(),
                },
                indent=2,
            )
        )
    else:
        say(made.report() if made.problem else f"{made.report()}\n\n{verdict}")
    return 0 if same else EXIT_CODES.get(made.outcome, EXIT_CODES[WRONG])
