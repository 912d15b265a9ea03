"""The challenge: stage 7's problem at three sizes, scored by bytes and modelled time.

    python -m tutorial challenge FILE

A kernel is held as a submission of a class is (`holder`): its text runs in another process, which
hands over programs and never sees a value. Here those programs are replayed on numbers drawn for
the occasion, and what is right is scored by what the same programs move and take.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import stage
from ..check import check
from ..cost import budget, ladder
from ..inputs.draw import Draw
from ..reference.text import table
from ..running import precision, problems, runner
from ..running.terminal import Add, answer
from ..stage import Case
from .holder import Holder, held
from .sandbox import Limits

STAGE = 7
N_Q, N_KV, D = 32, 8, 128
SIZES = (2048, 8192, 32768)
"""Keys of the cache: what is asked for is scored at each of them."""
SCALE = 0.125  # a power of two: scaling q or the scores by it rounds nothing
WORKED = {2048: 40.7, 8192: 100.9, 32768: 374.5}
"""Modelled us on trn2 of the worked ladder's last rung, to which times are compared."""
HEADER = ("kernel", *(f"us at {n:,} (model)" for n in SIZES), "bytes", "time", "SHA-256")
LARGEST = 256 * 1024  # bytes of a kernel's file
_NAME = re.compile(r"[\w .'-]{1,40}")


class NoLine(Exception):
    """The kernel earns no line in the table; the text says why."""


@dataclass(frozen=True)
class Score:
    """A kernel at one size: bytes between HBM and chip, the least that there are, and modelled
    microseconds on trn2 beside those of the worked kernel."""

    keys: int
    hbm_bytes: int
    least_bytes: int
    us: float
    worked_us: float


@dataclass(frozen=True)
class Entry:
    """A right kernel: its scores, and the digest of its text, by which others find it again."""

    name: str
    digest: str
    scores: tuple[Score, ...]

    @property
    def bytes_ratio(self) -> float:
        """Bytes moved, as a multiple of the least: the geometric mean over the sizes."""
        return _mean([s.hbm_bytes / s.least_bytes for s in self.scores])

    @property
    def time_ratio(self) -> float:
        """Modelled time, as a multiple of the worked kernel's: the geometric mean."""
        return _mean([s.us / s.worked_us for s in self.scores])

    @property
    def line(self) -> str:
        """The line for the table in docs/challenge.md."""
        times = [f"{s.us:,.1f}" for s in self.scores]
        ratios = [f"{self.bytes_ratio:.3f}", f"{self.time_ratio:.3f}"]
        return f"| {' | '.join([self.name, *times, *ratios, f'`{self.digest}`'])} |"

    def text(self) -> str:
        """The scores as a table, and the line."""
        rows = [[f"{number:,}" for number in astuple(score)] for score in self.scores]
        names = ["keys", "HBM bytes", "least", "us (model)", "worked us (model)"]
        return "\n".join(
            [
                f"{self.name}: right at all sizes, Hq = {N_Q}, Hkv = {N_KV}, d = {D}, bfloat16",
                table(names, rows),
                f"bytes: {self.bytes_ratio:.3f} of the least; time: {self.time_ratio:.3f} of the "
                "worked kernel's. Smaller is better.",
                "Times are modelled for trn2, never measured.",
                "",
                "The line for the table in docs/challenge.md:",
                self.line,
            ]
        )


def judged(text: bytes, name: str, sizes: Sequence[int] = SIZES, seed: str = "") -> Entry:
    """The entry of a kernel, from the text of its file. Raises NoLine where it is not right, cannot
    be lowered, or does more than stage 7 allows; InputError where Python has no bfloat16.

    `seed`, a word, draws the numbers: a new one unless it is given.
    """
    if len(text) > LARGEST:
        raise NoLine(f"The file has {len(text):,} bytes; at most {LARGEST:,} are accepted.")
    lesson, word = stage.get(STAGE), seed or secrets.token_hex(8)
    holder = Holder(Limits())
    try:
        kernel = held(holder, lesson, text, "challenge.py")
        verdict = check(lesson, kernel, seed=word, sizes=True)
        if not verdict.ok:
            raise NoLine(str(verdict))
        for n in sizes:  # the programs of all sizes, while the kernel is held
            ladder.measure(lesson, kernel, _shapes(n), targets=("trn2",))
    except problems.Reported as error:
        raise NoLine(error.problem.sentence) from error
    finally:
        holder.finish()
        holder.stop()
    if not kernel.lowered:
        raise NoLine(f"The kernel cannot be lowered, so it is not scored: {kernel.unlowered}")
    digest = hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest()[:12]
    return Entry(name, digest, tuple(_score(lesson, kernel, n, Draw(word)) for n in sizes))


def _fast() -> Any:
    """The module of the stage, which a class may not have been given yet."""
    return importlib.import_module(f"tutorial.stages.{stage.get(STAGE).file_name}")


def _shapes(n: int) -> Case:
    case = _fast().ladder_case(n)
    return Case(case.family, case.reveals, case.args, {"softmax_scale": SCALE})


def _score(lesson: stage.Stage, kernel: Any, n: int, draw: Draw) -> Score:
    """Replay the kernel's program on values of one size. Raises NoLine where it is wrong."""
    case = _case(n, draw)
    done = runner.run(kernel, case, lesson)
    where = f"At n = {n:,}"
    if done.problem is not None:
        raise NoLine(f"{where}: {done.problem.sentence}")
    assert done.output is not None and done.run is not None
    _compare(case, done.output.astype(np.float64), where)
    short = precision.kept_short(done.run.instructions)
    if short is not None:
        raise NoLine(f"{where}, {short}")
    names = runner.names_in(done.run, kernel, lesson, case)
    for judged_cost in (budget.shortfall, budget.overrun):
        over = judged_cost(lesson, case, done.run, names)
        if over is not None:
            raise NoLine(f"{where}: {over.sentence}")
    found = ladder.measured(done.run, ("trn2",))
    least = lesson.minimum(case)
    return Score(
        n,
        int(found.counts["HBM bytes"]),
        least.hbm_bytes_read + least.hbm_bytes_written,
        round(found.latency_us["trn2"], 1),
        WORKED[n],
    )


def _case(n: int, draw: Draw) -> Case:
    """Values of one size: normal, with a key here and there that outweighs its neighbours."""
    rng = draw.rng("challenge", n)
    q, k, v = (
        rng.standard_normal(shape, np.float32) for shape in ((D, N_Q), (N_KV, D, n), (N_KV, n, D))
    )
    k[:, :, rng.integers(0, n, 8)] *= 3
    args = {name: x.astype(_fast().BF16) for name, x in zip("qkv", (q, k, v))}
    return Case(f"challenge, n = {n}", "", args, {"softmax_scale": SCALE}, exact=False)


def _compare(case: Case, output: NDArray[np.float64], where: str) -> None:
    """Raise NoLine unless every element of the output is as near to the answer in float64 as
    `precision` allows: the weights and the output are rounded to bfloat16, and nothing else."""
    group = N_Q // N_KV
    q, k, v = (case.args[name] for name in "qkv")
    for h in range(N_KV):
        heads = slice(h * group, (h + 1) * group)
        wide, keys = (x.astype(np.float32).astype(np.float64) for x in (q[:, heads], k[h]))
        scores = SCALE * (wide.T @ keys)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        values = v[h].astype(np.float32).astype(np.float64)
        answer, spread = weights @ values, weights @ abs(values)
        rounding = precision.UNIT * (spread + 2 * abs(answer)) * (1 + 4 * precision.UNIT)
        off = abs(output[heads] - answer)
        bad = ~(off <= rounding + 1e-4 * spread)  # also where it is not a number
        if bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            raise NoLine(
                f"{where}, o[{heads.start + row}, {column}] is {output[heads][row, column]:.6g}, "
                f"expected {answer[row, column]:.6g}: the kernel is wrong at this size."
            )


def _mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


# -- the command -----------------------------------------------------------------------------------
def register(add: Add) -> None:
    """Add the command to the parser of `python -m tutorial`."""
    made = add("challenge", _challenge, "score a kernel of stage 7 at three sizes")
    made.add_argument("file", metavar="FILE", help=f"a file with the kernel of stage {STAGE}")
    made.add_argument("--name", help="what the table calls it; default: the file's name")


def _challenge(options: argparse.Namespace) -> int:
    name = Path(options.file).stem if options.name is None else options.name.strip()
    if not _NAME.fullmatch(name):
        raise stage.StageError("--name is 1 to 40 letters, digits, spaces, dots or hyphens.")
    try:
        text = Path(options.file).read_bytes()
    except OSError as error:
        raise stage.StageError(f"Cannot read {options.file}: {error.strerror}.") from error
    try:
        entry = judged(text, name)
    except (NoLine, stage.InputError) as error:
        said = {"line": None, "sentence": str(error)}
        answer(options, said, f"{error}\nNo line for the table.")
        return 1
    answer(options, {**asdict(entry), "line": entry.line}, entry.text())
    return 0
