"""One judge: a process that grades one submission after the other, and runs none of them.

    python -m tutorial.classroom.worker      (started by `judges.Judge`)

It holds what it is given through `holder`, checks it on families drawn from the seed, and where
those show it wrong once more on the course's own families, which may be spoken about.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import sys
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from .. import stage
from ..check import check
from ..pictures.kernel import draw
from ..pictures.reading import read
from ..running.problems import Reported
from ..running.runner import run
from ..trace.frames import frame
from ..trace.trace import Trace, of_run
from ..verdict import WRONG, Verdict
from . import landlock, protocol
from .holder import Holder, held
from .judges import unjudged
from .sandbox import Limits

MOST_TRACE = 20_000  # characters
MOST_PICTURE = 400_000


def judged(
    holder: Holder, lesson: stage.Stage, text: bytes, name: str, seed: str
) -> dict[str, Any]:
    """What the class is told of one submission, as plain values."""
    limits = list(holder.sandbox.in_force)
    result = {**unjudged(""), "judged": "program", "limits": limits}
    try:
        holder.quotes = False
        kernel = held(holder, lesson, text, name)
        verdict = check(lesson, kernel, seed=seed, sizes=True, explain=False)
        if verdict.outcome == WRONG:
            if holder.told:  # what has seen hidden values is not asked on inputs that are spoken of
                holder.finish()
                kernel = held(holder, lesson, text, name)
            verdict = _explained(holder, lesson, kernel, seed, verdict, result)
        result |= {"outcome": verdict.outcome, "cause": verdict.cause}
        result["ladder"] = verdict.details.get("rung", 0)
        result["counters"] = {c.name: [c.yours, c.minimum] for c in verdict.counters}
        result["sentence"] = "" if verdict.outcome == WRONG else verdict.sentence
        if not getattr(kernel, "lowered", True):
            result["judged"] = "outputs only"
        if lesson.judge is not None:
            result["judged"] = "its calls of the kernel"
    except Reported as error:
        found = error.problem
        result |= {"outcome": found.outcome, "cause": found.cause, "sentence": found.sentence}
        result |= {"counters": {}, "ladder": 0}
    finally:
        holder.finish()
    result["ended"] = holder.ended
    return result


def _explained(
    holder: Holder,
    lesson: stage.Stage,
    kernel: Any,
    seed: str,
    hidden: Verdict,
    result: dict[str, Any],
) -> Verdict:
    """The verdict on a kernel that hidden inputs have shown wrong, with its cause: the one that the
    course's own inputs show, which may be spoken about, and else that of the hidden ones."""
    holder.quotes = True
    shown = check(lesson, kernel)
    result["open"] = shown.to_dict()
    if shown.outcome == WRONG and lesson.attention is not None and shown.family:
        case = lesson.case(shown.family)
        done = run(kernel, case, lesson, traces=True)
        if done.problem is None and done.run is not None:
            with contextlib.suppress(Exception):  # a page without a picture is a page
                _drawn(lesson, of_run(lesson, case, done.run), done.run, result)
    holder.quotes = False
    if hidden.cause is not None:
        return hidden
    if shown.outcome == WRONG and not shown.counters:  # counted where the values are right
        return replace(hidden, cause=shown.cause)
    known = check(lesson, kernel, seed=seed, sizes=True)
    return known if known.outcome == WRONG else hidden  # whatever becomes of the explanation


def _drawn(lesson: stage.Stage, seen: Trace, made: Any, result: dict[str, Any]) -> None:
    """The trace of a wrong kernel, its first wrong tile, and the way of the data through it."""
    pictures = []
    wrong = seen.wrong
    if wrong is not None:
        seen = seen.only(wrong.head)
        rows = (row for row in seen.rows if row.tile == wrong.tile)
        said = f"The first wrong tile, {wrong.tile}, and in it {wrong.quantity}."
        pictures += [frame(seen, row, said) for row in islice(rows, 1)]
    pictures.append(draw(read(made), lesson.title))
    result["trace"] = str(seen)[:MOST_TRACE]
    images = [picture.image() for picture in pictures]
    result["pictures"] = [image for image in images if len(image) <= MOST_PICTURE]


def main() -> None:
    """Grade until the pipe is closed."""
    reader = os.fdopen(os.dup(0), "rb", buffering=0)
    writer = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr = io.StringIO()
    setting, _ = protocol.receive(reader)
    limits = Limits(**setting["limits"])
    _bound(limits)
    landlock.keep_secret()
    gc.freeze()  # a program is many small objects, which go together
    gc.set_threshold(100_000, 50, 100)
    holder = Holder(limits, setting["private"])
    try:
        while True:
            job, (text,) = protocol.receive(reader)
            lesson = stage.get(job["stage"])
            result = judged(holder, lesson, text, job["name"], setting["seed"])
            protocol.send(writer, protocol.printable(result))
    except protocol.Broken:
        pass
    finally:
        holder.stop()


def _bound(limits: Limits) -> None:
    """Replaying a program takes no more memory than a submission may."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (2 * limits.memory, 2 * limits.memory))


def key(seed: str, stage_number: int, text: bytes, limits: Limits) -> str:
    """What a stored result is good for: this text at this stage, this seed and these limits."""
    said = f"{seed}\0{stage_number}\0{sorted(asdict(limits).items())}\0".encode()
    return hashlib.sha256(said + text).hexdigest()


if __name__ == "__main__":
    main()
