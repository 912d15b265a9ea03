"""Attention in pictures: passes over K and V, the rescale, heads, a ragged batch, splits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .canvas import SMALL, Canvas, Picture


def passes(n_tiles: int) -> Picture:
    """Which tiles are loaded: three passes over K and one over V, beside the one pass of the online
    softmax.
    """
    if n_tiles < 1:
        raise ValueError(f"there must be a tile, got {n_tiles}")
    shown = min(n_tiles, 8)
    side = min(36.0, 300 / shown)
    rows = (
        ("pass 1: the max", "k", "K"),
        ("pass 2: the sum", "k", "K"),
        ("pass 3:", "k", "K"),
        ("weighted sum", "v", "V"),
        ("one pass", "k", "K"),
        ("(stage 3)", "v", "V"),
    )
    c = Canvas(292)
    c.small(150, 20, "each cell is one load of a tile of K or V")
    for row, (label, tone, tensor) in enumerate(rows):
        y = 32 + 38 * row + (24 if row > 3 else 0)
        c.small(142, y + 21, label, anchor="end")
        part = "once" if row > 3 else "three"
        cells = [tensor] * shown
        c.cells(150, y, side, cells, [tone] * shown, f"{part} {row} {tensor}")
    c.arrow(8, 194, 472, 194, "", head=False)
    more = "" if shown == n_tiles else f" {shown} of {n_tiles} tiles are drawn."
    return c.picture(
        f"What is loaded for {n_tiles} tiles. Three passes load every tile of K three times (for "
        f"the max, for the sum, for the weighted sum) and every tile of V once: {4 * n_tiles} "
        f"loads. One pass loads each once: {2 * n_tiles} loads.{more}"
    )


def rescale(earlier: Sequence[float], tile: Sequence[float]) -> Picture:
    """The rescale by alpha as areas: the weights of the earlier scores relative to their max, then,
    relative to the new max, shrunk by alpha, beside the weights of the new tile. A bar's area is a
    weight; the areas' sum is l.

    Raises ValueError unless both hold one to six finite scores.
    """
    if not (0 < len(earlier) <= 6 and 0 < len(tile) <= 6):
        raise ValueError("one to six scores on either side can be drawn")
    if not all(map(math.isfinite, [*earlier, *tile])):
        raise ValueError("the scores must be finite")
    m_old = max(earlier)
    m_new = max(m_old, *tile)
    alpha = math.exp(m_old - m_new)
    before = [math.exp(s - m_old) for s in earlier]
    added = [math.exp(s - m_new) for s in tile]
    l_old, l_new = math.fsum(before), alpha * math.fsum(before) + math.fsum(added)
    wide = min(36.0, 440 / (2 * len(earlier) + len(tile) + 3))
    tall, top, gap = 120.0, 60.0, 2.2 * wide
    floor = top + tall
    c = Canvas(floor + 92)
    x = 14.0
    c.words(x, 22, "before", "bold")
    c.small(x, 42, f"m = {m_old:g}", "code")
    for i, weight in enumerate(before):
        c.box(x + wide * i, floor - tall * weight, wide - 2, tall * weight, "k", f"old {i}")
    second = x + wide * len(earlier) + gap
    c.words(second, 22, "after", "bold")
    c.small(second, 42, f"m = {m_new:g}, alpha = {alpha:.4f}", "code")
    for i, weight in enumerate(before):
        left = second + wide * i
        c.box(left, floor - tall * weight, wide - 2, tall * weight, "", f"was {i}", dashed=True)
        high = alpha * tall * weight
        c.box(left, floor - high, wide - 2, high, "k", f"kept {i}")
    for i, weight in enumerate(added):
        left = second + wide * (len(earlier) + i)
        c.box(left, floor - tall * weight, wide - 2, tall * weight, "v", f"added {i}")
    c.arrow(x, floor, 466, floor, "", head=False)
    c.arrow(second - gap + 6, top + tall / 2, second - 10, top + tall / 2, "state", name="rescale")
    c.small(x, floor + 22, f"l = {l_old:.4f}", "code")
    c.small(second, floor + 22, f"l = {alpha:.4f} * {l_old:.4f}", "code")
    c.small(second, floor + 40, f"  + {math.fsum(added):.4f} = {l_new:.4f}", "code")
    c.small(x, floor + 70, "bars: weights. Orange: earlier keys; green: this tile.")
    return c.picture(
        f"The rescale. The earlier keys' weights are drawn as areas relative to m = {m_old:g}; "
        f"together they are l = {l_old:.4f}. The new tile's max makes m = {m_new:g}. Every earlier "
        f"area shrinks by the same factor, alpha = exp({m_old:g} - {m_new:g}) = {alpha:.4f}, and "
        f"the new tile adds {math.fsum(added):.4f}: l = {alpha:.4f} * {l_old:.4f} + "
        f"{math.fsum(added):.4f} = {l_new:.4f}."
    )


def groups(n_q_heads: int, n_kv_heads: int) -> Picture:
    """Query heads above the KV head that they share. Raises ValueError unless Hkv divides Hq, 32
    heads at most.
    """
    if not 0 < n_kv_heads <= n_q_heads <= 32 or n_q_heads % n_kv_heads:
        raise ValueError(f"Hq must be a multiple of Hkv, 32 at most: {n_q_heads}, {n_kv_heads}")
    group = n_q_heads // n_kv_heads
    side = min(56.0, 448 / n_q_heads)
    left = (480 - side * n_q_heads) / 2
    c = Canvas(206)
    c.words(16, 24, f"{n_q_heads} query heads", "bold")
    for head in range(n_q_heads):
        x = left + side * head
        label = str(head) if side >= 20 else ""
        c.box(x + 1, 36, side - 3, 36, "q", f"q{head}", label, size=SMALL)
        kv = head // group
        middle = left + side * group * (kv + 0.5)
        start = x + side / 2
        c.arrow(start, 73, middle + (start - middle) * 0.25, 122, "q", name=f"{head}-{kv}")
    for kv in range(n_kv_heads):
        x = left + side * group * kv
        label = f"K, V of {kv}" if side * group >= 90 else str(kv)
        c.box(x + 2, 124, side * group - 5, 36, "k", f"kv{kv}", label, size=SMALL)
    c.words(16, 186, f"{n_kv_heads} KV heads: one load of a tile serves {group}", "bold")
    share = f"{group} query heads share" if group > 1 else "one query head has"
    return c.picture(
        f"{n_q_heads} query heads over {n_kv_heads} KV heads: {share} a KV head. Query head h uses "
        f"KV head h // {group}, and one load of a tile of K and V serves its whole group."
    )


def ragged(lengths: Sequence[int], n: int, tile: int = 128) -> Picture:
    """A batch in one array: each sequence's keys, the padding behind them, and the edges of the
    tiles.

    Raises ValueError for a length outside 0 .. n, or more than eight sequences.
    """
    if not lengths or len(lengths) > 8 or not all(0 <= length <= n for length in lengths):
        raise ValueError(f"one to eight lengths of 0 to {n}, got {list(lengths)}")
    left, wide = 118.0, 350.0
    unit = wide / n
    foot = 34 + 34 * len(lengths)
    c = Canvas(foot + 50)
    c.small(left, 20, f"keys 0 to {n - 1}")
    for b, length in enumerate(lengths):
        y = 30.0 + 34 * b
        c.small(left - 10, y + 17, f"length {length}", "", "end")
        if length:
            c.box(left, y, length * unit, 24, "k", f"keys {b}")
        if length < n:
            where = (left + length * unit, y, (n - length) * unit, 24)
            c.box(*where, "room", f"padding {b}", dashed=True)
    edges = range(tile, n, tile)
    for edge in edges:
        x = left + edge * unit
        c.arrow(x, 26, x, foot + 2, "wrong", head=False, name=f"edge {edge}")
    c.small(left, foot + 20, f"red: edges of tiles of {tile} keys")
    c.small(left, foot + 38, "dashed: padding, which may hold anything")
    count = len(edges) + 1
    return c.picture(
        f"{len(lengths)} sequences in one array of {n} keys, {count} "
        f"tile{'s' if count > 1 else ''} of at most {tile}. "
        + " ".join(
            f"Sequence {b} has {s} key{'s' * (s != 1)}, then {n - s} of padding."
            for b, s in enumerate(lengths)
        )
        + " All tiles are read; the padding may hold anything and must weigh nothing."
    )


def splits(n_tiles: int, n_splits: int) -> Picture:
    """Tiles dealt out to program instances, the state that each leaves, and their merge as a tree.

    Tiles are dealt out by ceil(n_tiles / n_splits), as in the course. Raises ValueError beyond 24
    tiles and 8 splits.
    """
    if not (0 < n_tiles <= 24 and 0 < n_splits <= 8):
        raise ValueError(f"1 to 24 tiles and 1 to 8 splits, got {n_tiles} and {n_splits}")
    each = math.ceil(n_tiles / n_splits)
    owned = [range(min(s * each, n_tiles), min((s + 1) * each, n_tiles)) for s in range(n_splits)]
    slot = 464 / n_splits
    side = min(28.0, (slot - 8) / each)
    levels = math.ceil(math.log2(n_splits)) if n_splits > 1 else 0
    c = Canvas(176 + 54 * levels)
    for s, tiles in enumerate(owned):
        x = 8 + slot * s
        c.small(x, 20, f"split {s}" if slot > 70 else f"s {s}", "bold")
        labels = [str(t) if side >= 20 else "" for t in tiles]
        c.cells(x, 30, side, labels, ["k"] * len(tiles), f"split {s} tile")
        if not len(tiles):
            where = (x, 30, max(side, slot - 10), 26)
            c.box(*where, "", f"split {s} empty", "none", dashed=True, size=SMALL)
        c.arrow(x + slot / 2 - 4, 62, x + slot / 2 - 4, 88, "state")
        label = "m, l, acc" if slot > 90 else "m,l"
        c.box(x, 90, slot - 8, 30, "state", f"state {s}", label, size=SMALL)
    merges = _tree(c, [8 + slot * s + slot / 2 - 4 for s in range(n_splits)], slot)
    foot = 120 + 54 * levels
    c.arrow(238, foot, 238, foot + 26, "state")
    c.words(238, foot + 44, "o = acc / l", "code", "middle")
    empty = [str(s) for s, tiles in enumerate(owned) if not len(tiles)]
    alone = ""
    if empty:
        identity = "its state is (-inf, 0, 0), which changes nothing"
        alone = f" Split {' and '.join(empty)} has no tile: {identity}."
    dealt = "; ".join(
        f"split {s}: tiles {t[0]} to {t[-1]}" if len(t) > 1 else f"split {s}: tile {t[0]}"
        for s, t in enumerate(owned)
        if len(t)
    )
    return c.picture(
        f"{n_tiles} tiles of keys in {n_splits} splits ({dealt}). Each split leaves a state m, l, "
        f"acc; {merges} merges in a tree make one state of them, and o = acc / l.{alone}"
    )


def _tree(c: Canvas, middles: list[float], slot: float) -> int:
    """Merge neighbours, level by level, until one state is left in the middle of the picture; how
    many merges.
    """
    y, merges = 120.0, 0
    wide = min(slot * 1.2, 108.0)
    while len(middles) > 1:
        joined = []
        for i in range(0, len(middles), 2):
            pair = middles[i : i + 2]
            last = len(middles) <= 2
            x = 238.0 if last else sum(pair) / len(pair)
            for one in pair:
                c.arrow(one, y, x + (one - x) * 0.3, y + 24, "state")
            if len(pair) == 2:
                merges += 1
                label = "merge" if wide > 50 else "+"
                c.box(x - wide / 2, y + 24, wide, 30, "p", f"merge {merges}", label, size=SMALL)
            else:
                c.arrow(x, y + 24, x, y + 54, "state", head=False)
            joined.append(x)
        middles, y = joined, y + 54
    return merges
