"""What a decode loop wrote: the text, what every token cost, and where two runs part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nkisim.views import chart
from nkisim.views.palette import LINES

from ..reference.text import short, table
from ..trace.figure import display_figure
from .caches import TILE, whole_tiles
from .languagemodel import F32, Tokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = (
    "keys",
    "bytes of K and V",
    "in whole tiles",
    "HBM bytes read",
    "transfers",
    "model time, us",
)


@dataclass(frozen=True, eq=False)
class TokenStep:
    """One token's way through the network.

    `id` is the token that went in, `keys` the number of keys in the cache with its own, `next` the
    most likely token after it, `margin` the logit by which it leads the second, `attended` each
    layer's attention, (Hq * d,). The costs are those of all layers: HBM bytes and transfers as the
    simulator counts them, and microseconds by the model of time; None where nothing is recorded.
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
    """The first attention in which two runs differ. `token` counts from 0, the prompt's first; the
    ratio is of the largest."""

    token: int
    text: str
    layer: int
    head: int
    dimension: int
    got: float
    expected: float

    def __str__(self) -> str:
        return (
            f"token {self.token} ({self.text!r}), layer {self.layer}: o[{self.head}, "
            f"{self.dimension}] is {short(self.got)}, expected {short(self.expected)}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Generated:
    """A text, and how it came about.

    `key_bytes` are those of one token's keys and values in all layers, `itemsize` those of one
    number. `problem` says in one sentence why there is no more text, and `outcome` what that means;
    empty if all is well.
    """

    title: str
    prompt: str
    steps: tuple[TokenStep, ...]
    tokenizer: Tokenizer
    n_prompt: int
    d: int
    key_bytes: int
    itemsize: int
    target: str | None = None
    problem: str = ""
    outcome: str = ""

    @property
    def ids(self) -> list[int]:
        """The tokens that were written."""
        return [step.next for step in self.steps[self.n_prompt - 1 :]]

    @property
    def text(self) -> str:
        """The prompt and what was written after it."""
        return self.prompt + self.tokenizer.decode(self.ids)

    @property
    def counted(self) -> bool:
        """Whether it is known what the tokens cost."""
        return bool(self.steps) and self.steps[0].hbm_bytes_read is not None

    @property
    def margin(self) -> float:
        """The closest call: the least logit by which a written token led the second most likely
        one."""
        return min((step.margin for step in self.steps[self.n_prompt - 1 :]), default=float("inf"))

    def __len__(self) -> int:
        return len(self.ids)

    def compare(self, other: Generated) -> str:
        """Whether the two wrote the same, token for token, by the same attention; and if not, where
        they part."""
        if self.problem:
            return self.problem
        both = list(zip(self.ids, other.ids, strict=False))
        parted = next((place for place, (a, b) in enumerate(both) if a != b), None)
        found = self.divergence(other)
        if parted is None:
            same = f"The same text as {other.title}, token for token, over {len(both)} tokens"
            if found is None:
                return f"{same}."
            return f"{same}; but not the same attention, which differs first at {found}."
        decode = self.tokenizer.decode
        sentence = (
            f"After {parted} equal tokens it writes {decode([self.ids[parted]])!r} where "
            f"{other.title} writes {decode([other.ids[parted]])!r}, which led by "
            f"{short(other.steps[self.n_prompt - 1 + parted].margin)}."
        )
        return (
            sentence if found is None else f"{sentence} The first attention that differs: {found}."
        )

    def same_as(self, other: Generated) -> bool:
        """Whether the two wrote the same, token for token, by the same attention."""
        return not self.problem and self.ids == other.ids and self.divergence(other) is None

    def divergence(self, other: Generated, tolerance: float | None = None) -> Divergence | None:
        """The first attention that differs by more than `tolerance` of its largest value; None if
        none does.

        By default 1e-4 for a cache in fp32, a tenth for one in bf16, where the differences of all
        layers and tokens add up. Only while both runs have read the same: after a different token
        all differs.
        """
        limit = tolerance if tolerance is not None else 1e-4 if self.itemsize == 4 else 0.1
        for token, (mine, theirs) in enumerate(zip(self.steps, other.steps, strict=False)):
            if mine.id != theirs.id:
                return None
            for layer, (a, b) in enumerate(zip(mine.attended, theirs.attended, strict=True)):
                with np.errstate(all="ignore"):
                    wrong = np.nonzero(~(np.abs(a - b) <= limit * np.abs(b).max()))[0]
                if wrong.size:
                    at, text = int(wrong[0]), self.tokenizer.decode([mine.id])
                    place = (layer, *divmod(at, self.d))
                    return Divergence(token, text, *place, float(a[at]), float(b[at]))
        return None

    def costs(self) -> list[dict[str, int | float | None]]:
        """What every token cost, as plain values; `model_us` are microseconds by the model of
        time."""
        names = ("keys", "hbm_bytes_read", "transfers", "model_us")
        return [{name: getattr(step, name) for name in names} for step in self.steps]

    def table(self, every: int = 32) -> str:
        """What a token costs as the cache grows: every so many keys, and at both sides of every new
        tile."""
        if not self.counted:
            return "Nothing is counted: that needs a kernel in the simulator."
        ends = (1, self.steps[-1].keys)
        shown = [
            s for s in self.steps if s.keys % every == 0 or s.keys % TILE == 1 or s.keys in ends
        ]
        rows = [
            [
                str(s.keys),
                f"{self.key_bytes * s.keys:,}",
                f"{self.key_bytes * whole_tiles(s.keys):,}",
                f"{s.hbm_bytes_read:,}",
                str(s.transfers),
                "-" if s.model_us is None else f"{s.model_us:.1f}",
            ]
            for s in shown
        ]
        return table(HEADER, rows, left=0)

    def figure(self) -> Figure:
        """A matplotlib figure of the bytes and the modelled time of each token over the number of
        keys. ValueError if nothing is counted."""
        from matplotlib.figure import Figure

        if not self.counted:
            raise ValueError(f"There is nothing to draw. {self.problem or self.table()}")
        with chart.style():
            figure = Figure(figsize=(7.0, 4.6), layout="constrained")
            bytes_, time = figure.subplots(2, 1, sharex=True)
            figure.suptitle(
                f"{self.title}, one token through all layers, on {self.target} (simulated)",
                fontsize=10,
            )
            keys = [step.keys for step in self.steps]
            read = [(step.hbm_bytes_read or 0) / 1024 for step in self.steps]
            there = [self.key_bytes * n / 1024 for n in keys]
            modelled = [math.nan if s.model_us is None else s.model_us for s in self.steps]
            bytes_.step(keys, read, where="mid", color=LINES[0], label="HBM KiB read")
            bytes_.plot(keys, there, "--", color=LINES[1], label="KiB of K and V in the cache")
            bytes_.set_ylabel("KiB")
            bytes_.legend()
            time.step(keys, modelled, where="mid", color=LINES[0])
            time.set_ylabel("time by the model, us")
            time.set_xlabel("keys in the cache")
            for axes in (bytes_, time):
                axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
                axes.grid(visible=True)
        return figure

    def show(self) -> None:
        """Print the report; in a notebook, display the figure after it."""
        print(self)
        if not self.problem and self.counted:
            display_figure(self.figure(), self.table())

    def summary(self) -> str:
        """One line: what the last token cost."""
        if not self.counted:
            return f"{self.title}: {self.problem or 'nothing is counted.'}"
        last = self.steps[-1]
        return (
            f"{self.title}: {last.keys} keys, {last.hbm_bytes_read:,} HBM bytes read, "
            f"{last.transfers} transfers, model time in us: {last.model_us:.1f}"
        )

    def report(self) -> str:
        """The text and the table."""
        if not self.steps:
            return self.problem
        where = f", on {self.target} (simulated)" if self.target else ""
        end = [self.problem] if self.problem else ["", self.table()]
        return "\n".join([f"{self.title}{where}", self.text, *end])

    __repr__ = __str__ = report
