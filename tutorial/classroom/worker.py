"""One judge: a process that grades one submission after the other, and runs none of them.

    python -m tutorial.classroom.worker      (started by `grade.Pool`)

It holds what it is given through `holder`, checks it on families drawn from the seed, and where
those show it wrong once more on the course's own families, which may be spoken about.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from dataclasses import asdict
from typing import Any

from .. import stage
from ..check import check
from ..running.runner import Reported
from ..trace.trace import trace
from ..verdict import CORRECT, UNUSABLE, WRONG
from . import protocol
from .holder import Holder, held
from .sandbox import Limits


def judged(
    holder: Holder, lesson: stage.Stage, text: bytes, name: str, seed: str
) -> dict[str, Any]:
    """What the class is told of one submission, as plain values."""
    result: dict[str, Any] = {"judged": "program", "open": None, "trace": ""}
    try:
        kernel = held(holder, lesson, text, name)
        verdict = check(lesson, kernel, seed=seed, sizes=True)
        result |= {
            "outcome": verdict.outcome,
            "cause": verdict.cause,
            "ladder": _rung(verdict.notes),
        }
        result["counters"] = {c.name: [c.yours, c.minimum] for c in verdict.counters}
        result["sentence"] = verdict.sentence if verdict.outcome in (CORRECT, UNUSABLE) else ""
        if verdict.outcome not in (CORRECT, WRONG):
            result["sentence"] = verdict.sentence
        if verdict.outcome == WRONG:
            shown = check(lesson, kernel)
            result["open"] = shown.to_dict()
            if shown.outcome == WRONG and lesson.attention is not None and shown.family:
                result["trace"] = str(trace(lesson, kernel, shown.family))[:20_000]
        if not getattr(kernel, "lowered", True):
            result["judged"] = "outputs only"
        if lesson.judge is not None:
            result["judged"] = "its calls of the kernel"
    except Reported as error:
        found = error.problem
        result |= {"outcome": found.outcome, "cause": found.cause, "counters": {}, "ladder": 0}
        result["sentence"] = found.sentence
    finally:
        holder.finish()
    result["ended"] = holder.ended
    return result


def _rung(notes: tuple[str, ...]) -> int:
    """The rung of a ladder that a right kernel has reached, from the check's note; 0 if none."""
    for note in notes:
        words = note.split()
        if note.startswith("ladder: rung") and words[2].isdigit():
            return int(words[2])
    return 0


def main() -> None:
    """Grade until the pipe is closed."""
    reader = os.fdopen(os.dup(0), "rb", buffering=0)
    writer = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr = io.StringIO()
    setting, _ = protocol.receive(reader)
    limits = Limits(**setting["limits"])
    _bound(limits)
    holder = Holder(limits)
    protocol.send(writer, {"in_force": list(holder.sandbox.in_force)})
    try:
        while True:
            job, (text,) = protocol.receive(reader)
            lesson = stage.get(job["stage"])
            protocol.send(writer, judged(holder, lesson, text, job["name"], setting["seed"]))
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
