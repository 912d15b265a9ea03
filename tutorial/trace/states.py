"""The running state of the reader's own kernel, found in a run by the names m, l and acc.

Kernels differ in style: one tensor for all heads or one per head; a row or a column; several
updates per tile; any start that is low enough; any tile width; a max of the unscaled scores; heads
in any order. `observe` undoes all that and gives one row per query head and one value per tile, as
far as the kernel's own writes show.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention, online_states
from .updates import (
    LOW,
    Lifetime,
    align,
    as_often,
    close,
    close_each,
    folded,
    lifetimes,
    scalar_rows,
    unroll,
    vector_rows,
)

F64 = NDArray[np.float64]
NAMES = ("m", "l", "acc")
LN2 = math.log(2.0)
_NUMBERED = re.compile(r"(m|l|acc)(?:[ _.\-]?\[?\d+\]?)+")


def state_of(name: str) -> str | None:
    """Which of m, l and acc a tensor's name means: "m" and "m_0", "m0", "m[0]" are m. None for
    other names."""
    numbered = _NUMBERED.fullmatch(name)
    return name if name in NAMES else numbered[1] if numbered else None


def named_state(names: Iterable[str]) -> dict[str, list[str]]:
    """The tensors' names that mean m, l and acc. Numbered ones count where the plain name is not
    among them."""
    found: dict[str, list[str]] = {}
    for name in names:
        meant = state_of(name)
        if meant is not None:
            found.setdefault(meant, []).append(name)
    return {meant: [meant] if meant in given else given for meant, given in found.items()}


@dataclass(eq=False)
class Observed:
    """What a kernel held after each tile: values are (T, R) or (T, R, d); `seen[name]` (T,) tells
    which it wrote.

    `heads[r]` is the query head of row r. `unit` turns the kernel's m into scaled scores (1 for
    most kernels; the scale where m is the max of the unscaled scores, -1 where it is negated).
    `passes` says that m was complete before the sums began, `at_once` that it was written once, for
    all tiles.
    """

    width: int
    heads: list[int]
    m_start: F64 | None
    m: F64 | None
    l: F64 | None
    acc: F64 | None
    unit: float = 1.0
    passes: bool = False
    at_once: bool = False
    seen: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    updates: int = 0
    """How often the kernel wrote what it wrote most often."""

    @property
    def tiles(self) -> int:
        return next(len(x) for x in (self.m, self.l, self.acc) if x is not None)

    def has(self, name: str, t: int) -> bool:
        """Whether the kernel wrote this quantity for tile t."""
        return name in self.seen and bool(self.seen[name][t])


def observe(
    run: Any, attention: Attention, made: Callable[[], Sequence[Any]] | None = None
) -> Observed | None:
    """The state of the one kernel call in `run`, or None if it named none of m, l, acc. `made`
    gives the run's instructions, where somebody keeps them."""
    whole, run = run, _of_the_keys(run, attention)
    named = named_state(run.names())
    if not named:
        return None
    instructions = run.instructions if made is None or run is not whole else made()
    found = _lifetimes(run, named, attention, instructions)
    series: dict[str, list[F64]] = {}
    starts: list[float] = []
    for name, some in found.items():
        rows = vector_rows(some, attention.d) if name == "acc" else scalar_rows(some)[0]
        if rows:
            series[name] = rows
    series = {
        name: _chained(rows, len(found[name]), attention.n_q_heads)
        if len(named[name]) == 1
        else rows
        for name, rows in series.items()
    }
    if not series:
        return None
    if "m" in found:
        starts = scalar_rows(found["m"])[1]
    width, unit, early = _tiling(series, attention, instructions)
    zeros = not any(row.any() for row in series.get("m", ()))
    if starts and zeros and min(starts) >= -10 * LOW:
        unit = -1.0  # of scores that are all 0 only the start says that they are negated
    if attention.starts:  # a split with fewer tiles holds its last state on
        n_tiles = -(-attention.n // width)
        series = {
            name: [np.concatenate([row, *[row[-1:]] * (n_tiles - len(row))]) for row in rows]
            for name, rows in series.items()
        }
    rows_of, seen, m_start = _by_head(series, starts, attention, width, unit, early)
    if not rows_of:
        return None
    count = max(len(rows) for rows in rows_of.values())
    heads = [
        r * (attention.n_q_heads // count) if attention.n_q_heads % count == 0 else r
        for r in range(count)
    ]
    values = _for_every_head(rows_of, count)
    if values["m"] is None or len(m_start) == 0:
        start = None
    else:
        start = (
            np.repeat(np.array(m_start), count // len(m_start))
            if count % len(m_start) == 0
            else None
        )
    passes = _in_passes(found)
    at_once = (
        passes and values["m"] is not None and int(seen["m"].sum()) == 1 and len(seen["m"]) > 1
    )
    if at_once and values["m"] is not None:
        # made once, before the sums: it holds for all
        values["m"] = np.broadcast_to(values["m"][-1:], values["m"].shape)
        seen["m"] = np.ones_like(seen["m"])
    updates = max(len(row) for rows in series.values() for row in rows)
    return Observed(
        width,
        heads,
        start,
        values["m"],
        values["l"],
        values["acc"],
        unit,
        passes,
        at_once,
        seen,
        updates,
    )


def _lifetimes(
    run: Any, named: dict[str, list[str]], attention: Attention, instructions: Sequence[Any]
) -> dict[str, list[Lifetime]]:
    """The updates of each of m, l and acc, in the order of the run; those of several tensors as
    one."""
    batch = attention.lengths is not None
    found: dict[str, list[Lifetime]] = {}
    for name, given in named.items():
        some = [
            e for own in given for e in lifetimes(run.writes(own), name, own, instructions, batch)
        ]
        if some:
            found[name] = sorted(some, key=lambda e: e.indices[0])
    sums = {name: as_often(some, found.get("m", some)) for name, some in found.items()}
    return {
        name: some if name == "acc" else folded(some, name, attention)
        for name, some in sums.items()
    }


def _for_every_head(rows_of: dict[str, Any], count: int) -> dict[str, F64 | None]:
    """m, l and acc with `count` rows: those that fewer rows hold are held for several heads."""
    values: dict[str, F64 | None] = dict.fromkeys(NAMES)
    for name, rows in rows_of.items():
        if count % len(rows) == 0:
            values[name] = np.stack(
                [row for row in rows for _ in range(count // len(rows))], axis=1
            )
    return values


def _of_the_keys(run: Any, attention: Attention) -> Any:
    """Of a run with splits, the kernel calls that read K: a merge of states has other
    names."""
    if attention.lengths is None or not attention.starts:
        return run
    shape = (attention.n_kv_heads // attention.parts, attention.d, int(attention.lengths.sum()))
    read = [
        p
        for p in run.programs
        if any(b.role == "input" and b.meta.shape == shape for b in p.buffers)
    ]
    if not read or len(read) == len(run.programs):
        return run
    part = copy.copy(run)
    part.programs = read
    return part


def _chained(rows: list[F64], made: int, n_heads: int) -> list[F64]:
    """A tensor that is `made` again for every tile holds one update each time: string them
    together, one series a row of it, on which heads may take turns."""
    if len(rows) <= n_heads or len(rows) % n_heads or any(len(row) != 1 for row in rows):
        return rows
    each = len(rows) // made
    return [np.concatenate(rows[r::each]) for r in range(each)]


def _by_head(
    series: dict[str, list[F64]],
    starts: list[float],
    attention: Attention,
    width: int,
    unit: float,
    early: bool,
) -> tuple[dict[str, list[F64]], dict[str, NDArray[np.bool_]], list[float]]:
    """Every name's rows (T, ...), a head each where the kernel's writes allow; which tiles were
    seen; the starts of m."""
    n_heads, n_tiles = attention.n_q_heads, max(attention.tiles(width) or attention.n // width, 1)
    expected = online_states(attention, width) if attention.tiles(width) else None
    want: dict[str, F64] = {}
    if expected is not None:
        known = expected.known
        with np.errstate(all="ignore"):  # unit is the scale of unscaled scores, which may be 0
            m = expected.m / unit
        want = {
            "m": np.where(known, m, np.nan),
            "l": np.where(known, expected.l, np.nan),
            "acc": np.where(known[..., None], expected.acc, np.nan),
        }
    rows_of: dict[str, list[F64]] = {}
    seen: dict[str, NDArray[np.bool_]] = {}
    order: list[int] | None = None
    for name, rows in series.items():
        taking_turns = unroll(rows, n_tiles, n_heads, want[name]) if want else None
        if taking_turns is not None:
            rows_of[name], seen[name] = taking_turns, np.ones(n_tiles, bool)
            if name == "m" and len(rows) == 1 and starts:
                starts = [starts[0], *(float(row[-1]) for row in taking_turns[:-1])]
            continue
        if any(len(row) > n_tiles + 1 and len(row) % n_tiles for row in rows):
            # so many updates for some tiles and so many for others: nobody knows which is which
            continue
        aligned = [align(row, n_tiles, early) for row in rows]
        if len(rows) > n_heads:
            continue  # several states of a head: nobody knows which keys each of them saw
        own = _order([values for values, _ in aligned], want.get(name), n_heads)
        if own is None:
            own = (
                order
                if order is not None and len(order) == len(rows)
                else list(range(len(rows)))[:n_heads]
            )
        if order is None:
            order = own
        rows_of[name] = [aligned[i][0] for i in own]
        seen[name] = aligned[own[0]][1]
        if name == "m":
            starts = [starts[i] for i in own] if len(starts) == len(rows) else []
    return rows_of, seen, starts


def _order(rows: list[F64], want: F64 | None, n_heads: int) -> list[int] | None:
    """Which row belongs to which head, where the values tell: order[h] is the row of head h. None
    where a head has no row that fits."""
    if want is None or len(rows) < n_heads or len(rows[0]) != len(want):
        return None
    made = np.stack(rows)
    fits = np.array([close_each(made, want[:, h], 0) for h in range(n_heads)])
    if all(h < len(rows) and fits[h, h] and fits[h].sum() == 1 for h in range(n_heads)):
        return list(range(n_heads))
    far = np.array([_far(made, want[:, h]) for h in range(n_heads)])
    far = np.where(fits, far, np.inf)
    order: dict[int, int] = {}
    # a head whose row is told by few others first, and of those that fit the nearest
    for h in sorted(range(n_heads), key=lambda h: (int(fits[h].sum()), h)):
        free = [i for i in range(len(rows)) if i not in order.values() and fits[h, i]]
        if not free:
            return None
        least = far[h, free].min()
        near = [i for i in free if far[h, i] <= 2 * least + 1e-7]
        order[h] = h if h in near else near[0]
    return [order[h] for h in range(n_heads)]


def _far(rows: F64, want: F64) -> F64:
    """How far each row is from a head's states, relative to the largest; where they are not known,
    any row is near."""
    rest = tuple(range(1, rows.ndim))
    with np.errstate(all="ignore"):
        size = np.fmax.reduce(np.abs(want), axis=None, initial=1e-6)
        return np.asarray(np.fmax.reduce(np.abs(rows - want), axis=rest, initial=0.0) / size)


def widths(instructions: Sequence[Any], attention: Attention) -> list[int]:
    """Keys per tile that are worth trying: those that the matmuls show, then the usual ones, unless
    a matmul is wider, and wider ones that the loads show."""
    shown = _shown_widths(instructions, attention)[0]
    usual = [
        w
        for w in (128, 256, 512, 64, 32, attention.n)
        if (w == 128 or max(shown, default=0) <= w) and w <= attention.n and attention.tiles(w)
    ]
    return list(dict.fromkeys([*shown, *usual, *_loaded(instructions, attention)]))


def _loaded(instructions: Sequence[Any], attention: Attention) -> list[int]:
    """The widths of the tiles (d, width) of more than 512 keys that a kernel loads: a step of
    several matmuls."""
    tiles = (made.dst[0].shape for made in instructions if made.op.startswith("dma"))
    wide = {int(shape[1]) for shape in tiles if len(shape) == 2 and shape[0] == attention.d}
    return [w for w in sorted(wide) if 512 < w <= attention.n and attention.tiles(w)]


def widest(instructions: Sequence[Any], attention: Attention) -> int:
    """The most keys of a matmul that contracts over d; all where none shows."""
    return max(_shown_widths(instructions, attention)[0], default=attention.n)


def queries(instructions: Sequence[Any], attention: Attention) -> set[int]:
    """The widths of `widths` that are rather numbers of queries: tiles of so few keys would not see
    a quarter of one head's, where those of another width see all."""
    visited = {width: width * count for width, count in _shown(instructions, attention).items()}
    if max(visited.values(), default=0) < attention.n:
        return set()
    return {width for width, keys in visited.items() if 4 * keys < attention.n}


def _shown(instructions: Sequence[Any], attention: Attention) -> dict[int, int]:
    """How many matmuls that contract over d have an operand with so many keys; or so many queries,
    which looks alike."""
    shown: dict[int, int] = {}
    for instruction in instructions:
        if instruction.op == "nc_matmul" and len(instruction.srcs) >= 2:
            stationary, moving = instruction.srcs[0].shape, instruction.srcs[1].shape
            if stationary[0] == attention.d:
                frees = (moving[-1], stationary[-1])
                for free in frees if attention.lengths is None else (max(frees),):
                    if free > 1 and attention.tiles(free):
                        shown[free] = shown.get(free, 0) + 1
    return shown


def _shown_widths(instructions: Sequence[Any], attention: Attention) -> tuple[list[int], bool]:
    """Keys per matmul that contracts over d, most frequent first; and whether these matmuls miss
    some keys."""
    shown = _shown(instructions, attention)
    ranked = sorted(shown, key=lambda width: (-shown[width], -width))
    visited = sum(width * count for width, count in shown.items())
    missed = len(ranked) == 1 and visited % attention.n != 0
    if attention.lengths is not None:  # a last tile may be narrower than the others
        return ranked[:1], missed and attention.table is None
    return ranked, missed


def _tiling(
    series: dict[str, list[F64]], attention: Attention, instructions: Sequence[Any]
) -> tuple[int, float, bool]:
    """The tile width, the unit of m, and whether there are fewer updates than tiles: the last ones
    are not visited."""
    shown, incomplete = _shown_widths(instructions, attention)
    if attention.load:
        shown, incomplete = [attention.load, *shown], True
    n, likely = attention.n, widths(instructions, attention)
    counts = {name: max(len(row) for row in rows) for name, rows in series.items()}
    several = max(counts.values()) > 1
    if incomplete and max(counts.values()) < -(-n // shown[0]):
        made = [row[: counts["m"]] for row in series.get("m", ()) if len(row) == counts["m"]]
        found = _unit(np.stack(made), attention, shown[0]) if made else None
        return shown[0], found or 1.0, True
    if attention.lengths is not None and shown and counts.get("m") == attention.tiles(shown[0]):
        likely = shown[:1]
    if "m" in counts and (counts["m"] > 1 or not several):
        for step in (1, 2, 3):
            if counts["m"] % step:
                continue
            n_tiles = counts["m"] // step
            rows = np.stack([align(row, n_tiles)[0] for row in series["m"]])
            for width in _widths_of(n_tiles, attention, likely):
                found = _unit(rows, attention, width)
                if found is not None:
                    return width, found, False
    unit = 1.0
    if "m" in counts and counts["m"] == 1 and several and attention.scale:
        top = attention.scores().max(axis=1)
        top = top[np.isfinite(top)]
        fits = len(top) > 0 and all(
            any(close(row[-1:] * attention.scale, t) for row in series["m"]) for t in top
        )
        unit = (
            attention.scale
            if fits and not any(close(row[-1:], top[0]) for row in series["m"])
            else 1.0
        )
    turns = (attention.n_q_heads, attention.n_kv_heads, attention.group)

    def plausible(width: int) -> tuple[float, int]:
        n_tiles = attention.tiles(width) or n // width
        return sum(_regular(count, n_tiles, turns) for count in counts.values()), -likely.index(
            width
        )

    return max(likely, key=plausible), unit, False


def _unit(rows: F64, attention: Attention, width: int) -> float | None:
    """The unit in which the rows (R, T) are the running max of every head over its first T tiles;
    None if they are not."""
    expected = online_states(attention, width)
    known = np.where(expected.known, expected.m, np.nan)[: rows.shape[1]]
    scaled = (attention.scale, abs(attention.scale)) if attention.scale else ()
    # some kernels keep -m, to add it, or scores for powers of 2
    units: tuple[float, ...] = (1.0, *scaled, -1.0, LN2, -LN2)
    for unit in units:
        heads = range(attention.n_q_heads)
        if all(close_each(rows * unit, known[:, h], 0).any() for h in heads):
            return unit
    return None


def _widths_of(n_tiles: int, attention: Attention, likely: Sequence[int]) -> list[int]:
    """The tile widths that give so many tiles: one, unless the last tile may be narrower."""
    if attention.lengths is None:
        return [] if attention.n % n_tiles else [attention.n // n_tiles]
    found = [width for width in likely if attention.tiles(width) == n_tiles]
    if attention.table is not None and attention.order is not None and not attention.n % n_tiles:
        found.insert(0, attention.n // n_tiles)  # of blocks in another order whole tiles are known
    return found or (
        []
        if n_tiles == 1 or attention.n % n_tiles or attention.starts
        else [attention.n // n_tiles]
    )


def _regular(count: int, n_tiles: int, turns: tuple[int, ...]) -> float:
    """How plausible `count` updates are for so many tiles: one a tile, one a tile and head, a few a
    tile, one more."""
    if count == n_tiles:
        return 1.0
    if count in [n_tiles * turn for turn in turns]:
        return 0.9
    if count in (2 * n_tiles, 3 * n_tiles):
        return 0.6
    if count in (n_tiles + 1, 1):
        return 0.5
    return 0.3 if count % n_tiles == 0 else 0.0


def _in_passes(found: dict[str, list[Lifetime]]) -> bool:
    """Whether m had its last update before l or acc had its first, in a kernel that updates
    something more than once."""
    if "m" not in found:
        return False
    sums = [e for name in ("l", "acc") for e in found.get(name, [])]
    if not sums or max(len(e.indices) for e in [*sums, found["m"][0]]) < 2:
        return False
    return found["m"][0].indices[-1] < min(e.indices[0] for e in sums)
