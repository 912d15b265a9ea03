"""The course on the command line: `python -m tutorial COMMAND`, and what each command is.

Exit status: 0 only for correct (and for list, doctor and blank if all is well), 1 for wrong, 2 for
not attempted, unusable, or a command that makes no sense, 3 where the check itself failed, or its
verdict could not be printed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from . import stage
from . import verdict as verdicts
from .check import check, failed, unusable
from .classroom import challenge
from .classroom import commands as classroom
from .cost import ladder
from .inputs.datafiles import DataError
from .reference.text import table
from .running import files, problems, process, runner, terminal
from .running.terminal import Unsaid, answer, complain, progress, say
from .trace.rows import TraceError
from .verdict import EXIT_CODES, Verdict
from .workspace import commands as workspace
from .workspace import device_check, doctor, looking
from .workspace.start import exercise
from .writing import commands as writing

UNUSABLE = EXIT_CODES[verdicts.UNUSABLE]
FAILED = EXIT_CODES[verdicts.FAILED]


class _Parser(argparse.ArgumentParser):
    """A parser that answers a wrong command with one sentence and exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise stage.Refused(f"{message[:1].upper()}{message[1:]}. Try: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    terminal.spell_out()
    try:
        return _command(given)
    except Unsaid as error:
        complain(f"The answer could not be printed: {error}.")
        return FAILED
    except KeyboardInterrupt:
        complain("Stopped.")
        return 130


def _command(given: list[str]) -> int:
    """Run the command; one sentence for whatever keeps it from working."""
    sentence, outcome = "", verdicts.UNUSABLE
    try:
        options = _parser().parse_args(given)
        command: Any = options.command
        return int(command(options))
    except (stage.Refused, problems.Unusable, TraceError) as error:
        sentence = str(error)
    except (problems.CheckError, DataError) as error:
        sentence, outcome = f"{str(error).rstrip('.')}.", verdicts.FAILED
    except (KeyboardInterrupt, SystemExit, Unsaid):
        raise
    except OSError as error:
        said = error.strerror or problems.one_line(error)
        sentence = f"{error.filename or 'A file'} cannot be used: {said}."
        outcome = verdicts.FAILED
    except BaseException as error:
        sentence = f"This command failed: {problems.one_line(error)}. Please report it."
        outcome = verdicts.FAILED
    complain(sentence)
    if "--json" in given:
        say(json.dumps({"outcome": outcome, "sentence": sentence}, indent=2))
    return EXIT_CODES[outcome]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m tutorial",
        description="Check and trace decode-attention kernels, stage by stage.",
        epilog="STAGE is a number or a name; FILE any Python file with the stage's "
        "entry point. Exit status: 0 "
        "correct, 1 wrong, 2 not attempted or unusable, 3 the check itself failed.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        made.add_argument("--json", action="store_true", help="print JSON for machines")
        return made

    # in the order in which a learner meets them; a teacher's come last
    add("list", _list, "list the stages: entry points, inputs, what is new")
    blank = add("blank", _blank, "print a stage's exercise, a complete file to fill in")
    checking = add("check", _check, "check one kernel on all input families")
    looking.register(add)
    running = add("run", _run, "check all stages and print one table")
    writing.register(add)
    challenge.register(add)
    workspace.register(add)
    text = "show versions, backend and target, and what to do if something is wrong"
    add("doctor", _doctor, text)
    device_check.register(add)
    classroom.register(add)
    blank.add_argument(
        "--out", metavar="PATH", help="write it to this file, which must not exist yet"
    )
    blank.add_argument("stage", metavar="STAGE", help=workspace.STAGE)
    workspace.kernel_options(checking)
    _checking_options(checking)
    _running_options(running)
    return parser


def _checking_options(checking: argparse.ArgumentParser) -> None:
    """What `check` takes besides a stage and a file: which rung, and which numbers."""
    checking.add_argument(
        "--rung",
        type=int,
        metavar="N",
        help="also ask for the budget of this rung of the stage's ladder",
    )
    checking.add_argument(
        "--seed",
        default="",
        metavar="WORD",
        help="draw other numbers for every input family; the same word draws the same ones",
    )
    checking.add_argument(
        "--sizes",
        action="store_true",
        help="give the input families other numbers of keys and heads too",
    )
    checking.add_argument("--verdict-to", metavar="PATH", help=argparse.SUPPRESS)


def _running_options(running: argparse.ArgumentParser) -> None:
    """What `run` takes."""
    running.add_argument(
        "--seconds",
        type=float,
        default=process.SECONDS,
        metavar="S",
        help=f"how long each file may take; default: {process.SECONDS:g}",
    )
    running.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="files named like stage3_online_softmax.py, or folders of them; default: solutions",
    )


def _list(options: argparse.Namespace) -> int:
    plain = ("name", "entry", "call", "layout", "idea", "cost_budget", "line_budget")
    found = [
        {
            "stage": s.number,
            **{name: getattr(s, name) for name in plain},
            "families": list(dict.fromkeys(c.family for c in s.cases())) if options.json else [],
        }
        for s in stage.stages()
    ]
    text = "\n".join(
        f"{s.number}  {s.name}\n   {s.call}\n   {s.layout}\n   new: {s.idea}\n"
        f"   cost: {s.cost_budget}"
        for s in stage.stages()
    )
    answer(options, found, text)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    found = doctor.findings()
    answer(options, found, doctor.report(found))
    return 0 if not found["advice"] else 1


def _blank(options: argparse.Namespace) -> int:
    lesson = stage.get(options.stage)
    if options.out:
        try:
            with open(options.out, "x", encoding="utf-8") as file:
                file.write(exercise(lesson, options.out))
        except OSError as error:
            why = "it exists already" if isinstance(error, FileExistsError) else error.strerror
            sentence = f"python -m tutorial blank: cannot write {options.out}: {why}."
            raise stage.Refused(sentence) from error
        say(f"Wrote the exercise of {lesson.title} to {options.out}.")
        return 0
    if options.json:
        say(json.dumps({"stage": lesson.number, "blank": lesson.blank}))
    else:
        say(lesson.blank, end="")
    return 0


def _check(options: argparse.Namespace) -> int:
    lesson = stage.get(options.stage)
    options.file = workspace.file_of(lesson, options.file)
    verdict = _verdict(lesson, options)
    if options.verdict_to is not None:
        Path(options.verdict_to).write_text(json.dumps(verdict.to_dict()), encoding="utf-8")
    else:
        answer(options, verdict.to_dict(), verdict)
    return verdict.exit_code


def _verdict(lesson: stage.Stage, options: argparse.Namespace) -> Verdict:
    """The verdict on one file; what the file prints goes to stderr."""
    if options.rung is not None:
        ladder.rung_of(lesson, options.rung)
    with process.hosting(), progress(lesson.title) as report:
        try:
            inputs = files.arrays_of(options.input)
            kernel = runner.load(options.file, lesson)
        except problems.Unusable as error:
            return unusable(lesson, str(error))
        return check(
            lesson,
            kernel,
            inputs=inputs,
            rung=options.rung,
            seed=options.seed,
            sizes=options.sizes,
            progress=report,
        )


def _run(options: argparse.Namespace) -> int:
    """Check every file that is named after a stage, each in a separate process; the worst outcome
    is the exit status."""
    named = files.named_after_stages(options.files)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
        verdicts = list(pool.map(lambda pair: _apart(pair[0], pair[1], options.seconds), named))
    rows = [
        [str(v.stage), v.name, v.outcome, *_read(v), "" if v.ok else _cut(v.sentence)]
        for v in verdicts
    ]
    lines = [table(["stage", "name", "outcome", "HBM bytes read", "minimum", ""], rows, 3)]
    targets = sorted({v.target for v in verdicts if v.target})
    if targets:
        lines.append(f"counted on {', '.join(targets)} (simulated)")
    lines += [f"\n{v}" for v in verdicts if not v.ok]
    answer(options, [v.to_dict() for v in verdicts], "\n".join(lines))
    return max((v.exit_code for v in verdicts), default=UNUSABLE)


def _apart(lesson: stage.Stage, file: Path, seconds: float) -> Verdict:
    """The verdict on one file, given in a separate process."""
    found = process.apart(["check", str(lesson.number), str(file)], seconds)
    if isinstance(found, str):
        return lesson.verdict(verdicts.UNUSABLE, found, cause="no verdict")
    try:
        return Verdict.from_dict(found)
    except (KeyError, TypeError, AttributeError) as error:
        return failed(lesson, error)


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _read(verdict: Verdict) -> list[str]:
    for counter in verdict.counters:
        if counter.name == "HBM bytes read":
            return [f"{counter.yours:,}", f"{counter.minimum:,}"]
    return ["-", "-"]


if __name__ == "__main__":
    process.leave(main())
