"""Where a kernel first leaves the path: tile, head, quantity, what it got, what was expected, and
their ratio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention, States, online_states, pass_states
from ..reference.text import apart, short
from . import reads
from .states import Observed, observe

F64 = NDArray[np.float64]
TOLERANCE = 2e-3  # of a state, against its oracle: far above fp32 rounding, far below any mistake
SHORT = 1e-2  # the same where the weights may be rounded to 16 bits


@dataclass(frozen=True)
class Divergence:
    """The first state that is wrong. `ratio` names got / expected where it is recognised."""

    tile: int
    head: int
    quantity: str
    got: float
    expected: float
    ratio: str
    label: str
    written: bool = True

    @property
    def sentence(self) -> str:
        """ "tile 3, head 1: l is 41.2, expected 17.9 (too large by 2.30 = 1/alpha)." """
        where = f"tile {self.tile}, {self.label}" if self.label else f"tile {self.tile}"
        if not self.written:
            return f"{where}: {self.quantity} is not updated, expected {short(self.expected)}."
        if abs(self.got - self.expected) <= 1e-5 * abs(self.expected):
            how = self.ratio or "it points elsewhere"
            return f"{where}: {self.quantity} is right, acc is not: {how}."
        got, expected = apart(self.got, self.expected)
        what = f"{where}: {self.quantity} is {got}, expected {expected}"
        return f"{what} ({self.ratio})." if self.ratio else f"{what}."


@dataclass(frozen=True)
class Context:
    """What the ratios of one tile and head may be made of."""

    alpha: float
    tile_over_new: float  # exp(m_tile - m_new)
    l: float
    group: int
    sqrt_d: float
    tiles: int

    def names(self) -> list[tuple[str, float]]:
        base = [
            ("alpha", self.alpha),
            ("exp(m_tile - m_new)", self.tile_over_new),
            ("sqrt(d)", self.sqrt_d),
            ("G", float(self.group)),
            ("l", self.l),
            ("the number of tiles", float(self.tiles)),
        ]
        with np.errstate(all="ignore"):
            inverse = [
                (
                    f"1/{name}"
                    if name.isalnum()
                    else {
                        "exp(m_tile - m_new)": "exp(m_new - m_tile)",
                        "sqrt(d)": "1/sqrt(d)",
                    }.get(name, f"1 over {name}"),
                    float(np.float64(1) / value),
                )
                for name, value in base
            ]
            squares = [
                ("alpha squared", self.alpha**2),
                ("1/alpha squared", float(np.float64(1) / self.alpha**2)),
            ]
        return [pair for both in zip(base, inverse, strict=True) for pair in both] + squares


def recognise(ratio: float, context: Context) -> str | None:
    """The name of a ratio, or None. Ratios of 0 and 1 say nothing and have no name."""
    if not np.isfinite(ratio) or not ratio or abs(ratio - 1) < 5e-3:
        return None
    for name, value in context.names():
        if np.isfinite(value) and abs(value - 1) > 5e-3 and abs(ratio - value) <= 2e-3 * abs(value):
            return name
    return None


def view(
    run: Any,
    whole: Attention,
    views: Sequence[Attention],
    states: Callable[[Attention, int], States],
    made: Callable[[], Sequence[Any]] | None = None,
) -> tuple[Attention, Observed | None]:
    """The one of several views of a problem (how its keys may be split) that a kernel's state fits,
    and the state. `made` gives the run's instructions, where somebody keeps them. The keys of that
    view are in the order in which the kernel took them; where that is unknown there is no state. Of
    several orders of a paged cache that do not fit, the one whose tiles are as wide as what the
    kernel takes at once and whose states are right for longest."""
    unknown = (False, 0, 0)
    found: list[tuple[tuple[bool, int, int], Attention, Observed | None]] = []
    orders = reads.as_read(run, whole, views)
    for own in orders:
        observed = None if own is None else observe(run, own, made)
        if own is None or observed is None:
            found.append((unknown, views[0] if own is None else own, None))
            continue
        wrong = first(observed, own, states)
        if (
            wrong is None
            and len(observed.heads) == own.n_q_heads
            # where the order is unknown, the last of several updates says nothing of the tiles
            and (orders[0] is not None or observed.updates == observed.tiles)
        ):
            return own, observed
        if _in_another_order(observed, own, wrong):
            found.append((unknown, views[0], None))
        elif own.at_once and wrong is not None:
            place = ("m", "l", "|acc|").index(wrong.quantity)
            likely = (observed.width % own.at_once == 0, wrong.tile, place)
            found.append((likely, own, observed))
        else:
            found.append((unknown, own, observed))
    return max(found, key=lambda item: item[0])[1:]


def _in_another_order(observed: Observed, own: Attention, wrong: Divergence | None) -> bool:
    """Whether l of a kernel that took its max before is wrong in between and right in the end: the
    sums take the keys in an order that no load shows."""
    if wrong is None or wrong.quantity != "l" or not observed.passes or observed.l is None:
        return False
    want = pass_states(own, observed.width).l[-1]
    return bool(np.allclose(observed.l[-1], want[observed.heads], rtol=SHORT))


def first(
    observed: Observed, attention: Attention, states: Callable[[Attention, int], States]
) -> Divergence | None:
    """The first tile and quantity at which the observed state differs from the oracle's, in the
    order m, l, acc.

    The reference is the one of several right methods (one pass or several, acc divided or not) that
    the kernel follows longest. None if all agree.
    """
    if not observed.heads or observed.tiles != attention.tiles(observed.width):
        return None
    if len(observed.heads) != attention.n_q_heads:
        return None
    methods = [
        states(attention, observed.width),
        online_states(attention, observed.width),
        pass_states(attention, observed.width),
    ]
    known = methods[0].known
    near = TOLERANCE if attention.k.dtype == np.float32 else SHORT
    with np.errstate(all="ignore"):  # a sequence without keys has l = 0
        # an m that was written once is that of all tiles, or stayed that of the first
        whole = [np.broadcast_to(methods[0].m[-1:], methods[0].m.shape)] * observed.at_once
        references: dict[str, list[F64]] = {
            "m": [m / observed.unit for m in (*whole, methods[0].m)],
            "l": [method.l for method in methods],
            "acc": [method.acc for method in methods]
            + [
                method.acc / divisor[..., None]
                for method in methods
                for divisor in (method.l, method.l[-1:])
            ],
        }
    wrong: list[tuple[int, int, int, str, F64, F64]] = []
    for place, name in enumerate(("m", "l", "acc")):
        got = getattr(observed, name)
        if got is None or not observed.seen[name].any() or (name == "m" and not observed.unit):
            continue  # an m of unscaled scores can be any, where the scale is 0
        seen = observed.seen[name]
        reached = [_first_wrong(got, want, seen, known, near) for want in references[name]]
        patient = [t >= observed.tiles or t >= max(2, reached[0][0] + 2) for t, _ in reached]
        i = max(
            (i for i in range(len(reached)) if i < 3 or patient[i]),
            key=lambda i: (reached[i][0], -i),
        )
        (t, h), want = reached[i], references[name][i]
        if t < observed.tiles:
            wrong.append((t, place, h, name, got, want))
    if not wrong:
        return None
    t, _, h, name, got, want = min(wrong, key=lambda item: item[:3])
    return _describe(t, h, name, got, want, observed, attention)


def _first_wrong(
    got: F64, want: F64, seen: NDArray[np.bool_], known: NDArray[np.bool_], near: float
) -> tuple[int, int]:
    """(tile, head) of the first difference of more than `near` where the state is `known`; (T, 0)
    if there is none. What is not written for a tile is as it was."""
    last = np.maximum.accumulate(np.where(seen, np.arange(len(seen)), 0))
    got = got[last]
    with np.errstate(all="ignore"):
        error = np.abs(got - want)
        size = np.maximum(np.abs(want), 1e-3 * np.abs(want[np.isfinite(want)]).max(initial=0))
        if got.ndim == 3:
            error, size = (
                np.linalg.norm(got - want, axis=2),
                np.maximum(np.linalg.norm(want, axis=2), 1e-6),
            )
        bad = ~(error <= near * size) & (seen | (np.cumsum(seen) > 0))[:, None] & known
    if not bad.any():
        return len(got), 0
    t, h = np.argwhere(bad)[0]
    return int(t), int(h)


def _describe(
    t: int, h: int, name: str, got: F64, want: F64, observed: Observed, attention: Attention
) -> Divergence:
    online = online_states(attention, observed.width)
    m_new, m_old = online.m[t, h], online.m[t - 1, h] if t else -np.inf
    context = Context(
        float(np.exp(m_old - m_new)) if t else 1.0,
        float(np.exp(online.tile_max[t, h] - m_new)),
        float(online.l[t, h]),
        attention.group,
        float(np.sqrt(attention.d)),
        observed.tiles,
    )
    quantity = "|acc|" if name == "acc" else name
    label = attention.label(observed.heads[h])
    if not observed.has(name, t):
        size = float(np.linalg.norm(want[t, h])) if name == "acc" else float(want[t, h])
        return Divergence(t, observed.heads[h], quantity, float("nan"), size, "", label, False)
    with np.errstate(all="ignore"):
        if name == "acc":
            g, w = float(np.linalg.norm(got[t, h])), float(np.linalg.norm(want[t, h]))
            rescaled = bool(np.allclose(online.acc[t, h], want[t, h], rtol=1e-6))
            ratio = _vector_ratio(t, h, got, want, context, rescaled)
        else:
            g, w = float(got[t, h]), float(want[t, h])
            ratio = _scalar_ratio(t, h, name, got, want, context, online)
    if not np.isfinite(g):
        ratio = ""
    return Divergence(t, observed.heads[h], quantity, g, w, ratio, label)


def _by(ratio: float) -> str:
    if ratio == 0 or not np.isfinite(ratio):
        return ""
    if ratio < 0:
        return f"{short(ratio)} times as large"
    if abs(ratio - 1) < 0.05:
        return f"off by {100 * (ratio - 1):+.2g} %"
    return f"too large by {ratio:.3g}" if ratio > 1 else f"too small by {ratio:.3g}"


def _scalar_ratio(
    t: int, h: int, name: str, got: F64, want: F64, context: Context, online: States
) -> str:
    ratio = float(got[t, h] / want[t, h])
    known = recognise(ratio, context)
    if name == "m":
        tile_max = float(online.tile_max[t, h])
        if abs(got[t, h] - tile_max) < 1e-3 * max(1.0, abs(tile_max)):
            return "it is the tile's max"
        if known is None or "sqrt" not in known:
            return ""  # of a max and another max, whose ratio happens to be something
        return f"{_by(ratio)} = {known}"
    if t:
        old = want[t - 1, h] * (
            context.alpha if np.isclose(online.l[t, h], want[t, h], rtol=1e-6) else 1.0
        )
        gain = want[t, h] - old
        for part, other, phrase in zip((old, gain), (gain, old), TOLD, strict=True):
            share = float((got[t, h] - other) / part) if part else np.nan
            named = recognise(share, context)
            if named in TOLD[phrase]:
                return f"{phrase} {_by(share)} = {named}"
        if abs(got[t, h] - gain) <= 2e-3 * abs(gain):
            return "it is this tile's sum alone"
        if abs(got[t, h] - old) <= 2e-3 * abs(old):
            return "this tile's sum is not in it"
    return f"{_by(ratio)} = {known}" if known else _by(ratio)


TOLD = {
    "the old sum in it is": ("1/alpha", "1/alpha squared"),
    "this tile's part of it is": ("exp(m_new - m_tile)",),
}
"""The ratios of the two parts of a sum that tell a mistake."""


def _vector_ratio(t: int, h: int, got: F64, want: F64, context: Context, online: bool) -> str:
    """Write acc as a old + b gain and name what is odd about a and b; `online` says that the old
    sum is rescaled."""
    size = float(np.linalg.norm(want[t, h])) or 1.0
    whole = float(got[t, h] @ want[t, h] / size**2)
    if np.linalg.norm(got[t, h] - whole * want[t, h]) <= 2e-3 * np.linalg.norm(got[t, h]):
        known = recognise(whole, context)
        return f"{_by(whole)} = {known}" if known else _by(whole)
    if not t:
        return ""
    for keep in (context.alpha, 1.0) if online else (1.0, context.alpha):
        old = want[t - 1, h] * keep
        gain = want[t, h] - old
        basis = np.stack([old, gain], axis=1)
        (a, b), *_ = np.linalg.lstsq(basis, got[t, h], rcond=None)
        if not np.linalg.norm(basis @ np.array([a, b]) - got[t, h]) <= 2e-3 * np.linalg.norm(
            got[t, h]
        ):
            continue
        for share, other, phrase in zip((a, b), (b, a), TOLD, strict=True):
            named = recognise(float(share), context)
            if named in TOLD[phrase] and abs(other - 1) < 5e-3:
                return f"{phrase} {_by(float(share))} = {named}"
        if abs(a) < 2e-3:
            return "it is this tile's part alone"
        if abs(b) < 2e-3:
            return "this tile's part is not in it"
        return f"the old sum in it is {a:.3g} times, this tile's part {b:.3g} times what it must be"
    return ""
