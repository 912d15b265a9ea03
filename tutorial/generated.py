"""What a decode loop wrote: the text, what every token cost, and where two runs part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .caches import TILE, whole_tiles
from .languagemodel import F32, Tokenizer
from .text import short, table

HEADER = ("keys", "K and V bytes so far", "given to the kernel", "HBM bytes read", "transfers", "model time, us")


@dataclass(frozen=True, eq=False)
class Step:
    """One token's way through the network.

    `id` is the token that went in, `keys` the number of keys in the cache with its own, `next` the most likely token after it,
    `margin` the logit by which it leads the second, `attended` each layer's attention, (Hq * d,). The costs are those of all
    layers: HBM bytes and transfers as the simulator counts them, and microseconds by the model of time; None where nothing
    is recorded.
    """

    id: int
    keys: int
    next: int
    margin: float
    attended: tuple[F32, ...]
    hbm_bytes_read: int | None = None
    transfers: int | None = None
    model_us: float | None = None


@dataclass(frozen=True)
class Divergence:
    """The first attention in which two runs differ. `token` counts from 0, the prompt's first; the ratio is of the largest."""

    token: int
    text: str
    layer: int
    head: int
    dimension: int
    got: float
    expected: float

    def __str__(self) -> str:
        return (f"token {self.token} ({self.text!r}), layer {self.layer}: o[{self.head}, {self.dimension}] is "
                f"{short(self.got)}, expected {short(self.expected)}")


class Generated:
    """A text, and how it came about. `problem` says in one sentence why there is no more of it; empty if all is well."""

    def __init__(self, title: str, prompt: str, steps: Sequence[Step], tokenizer: Tokenizer, n_prompt: int, d: int,
                 key_bytes: int, target: str | None = None, problem: str = "", outcome: str = "") -> None:
        self.title = title
        self.prompt = prompt
        self.steps = tuple(steps)
        self.tokenizer = tokenizer
        self.n_prompt = n_prompt
        self.d = d
        self.key_bytes = key_bytes
        self.target = target
        self.problem = problem
        self.outcome = outcome

    @property
    def ids(self) -> list[int]:
        """The tokens that were written."""
        return [step.next for step in self.steps[self.n_prompt - 1 :]]

    @property
    def text(self) -> str:
        """The prompt and what was written after it."""
        return self.prompt + self.tokenizer.decode(self.ids)

    @property
    def margin(self) -> float:
        """The closest call: the least logit by which a written token led the second most likely one."""
        return min((step.margin for step in self.steps[self.n_prompt - 1 :]), default=float("inf"))

    def __len__(self) -> int:
        return len(self.ids)

    def compare(self, other: Generated) -> str:
        """One sentence: whether the two wrote the same, token for token, and if not, where they part."""
        if self.problem:
            return self.problem
        both = list(zip(self.ids, other.ids, strict=False))
        parted = next((place for place, (a, b) in enumerate(both) if a != b), None)
        if parted is None:
            return f"The same text as {other.title}, token for token, over {len(both)} tokens."
        decode = self.tokenizer.decode
        sentence = (f"After {parted} equal tokens it writes {decode([self.ids[parted]])!r} where {other.title} writes "
                    f"{decode([other.ids[parted]])!r}, which led by {short(other.steps[self.n_prompt - 1 + parted].margin)}.")
        found = self.divergence(other)
        return sentence if found is None else f"{sentence} The first attention that differs: {found}."

    def divergence(self, other: Generated, tolerance: float = 1e-4) -> Divergence | None:
        """The first attention that differs by more than `tolerance` of its largest value; None if none does.

        Only while both runs have read the same: after a different token all differs.
        """
        for token, (mine, theirs) in enumerate(zip(self.steps, other.steps, strict=False)):
            if mine.id != theirs.id:
                return None
            for layer, (a, b) in enumerate(zip(mine.attended, theirs.attended, strict=True)):
                with np.errstate(all="ignore"):
                    wrong = np.nonzero(~(np.abs(a - b) <= tolerance * np.abs(b).max()))[0]
                if wrong.size:
                    at = int(wrong[0])
                    return Divergence(token, self.tokenizer.decode([mine.id]), layer, at // self.d, at % self.d,
                                      float(a[at]), float(b[at]))
        return None

    def table(self, every: int = 32) -> str:
        """What a token costs as the cache grows: every so many keys, and at both sides of every new tile."""
        if not self.steps or self.steps[0].hbm_bytes_read is None:
            return "Nothing is counted: that needs a kernel in the simulator."
        ends = (1, self.steps[-1].keys)
        shown = [s for s in self.steps if s.keys % every == 0 or s.keys % TILE == 1 or s.keys in ends]
        rows = [[str(s.keys), f"{self.key_bytes * s.keys:,}", f"{self.key_bytes * whole_tiles(s.keys):,}",
                 f"{s.hbm_bytes_read:,}", str(s.transfers), "-" if s.model_us is None else f"{s.model_us:.1f}"] for s in shown]
        return table(HEADER, rows, left=0)

    def report(self) -> str:
        """The text and the table."""
        where = f", on {self.target} (simulated)" if self.target else ""
        lines = [f"{self.title}{where}", self.text]
        return "\n".join([*lines, *([self.problem] if self.problem else ["", self.table()])])

    __repr__ = __str__ = report
