"""Decode attention in float32 NumPy with a switch for every way to get it wrong.

A `Recipe` with no switch thrown is right. With some thrown it is the NumPy twin of a wrong kernel, and `cook` says what
such a kernel would answer; `mistakes.py` gives the recipes their sentences. Values, not code, are compared: a learner's
kernel that answers like a recipe on every input has made that recipe's mistake, whatever its style.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .problem import Attention

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """Which step is done how; the defaults are the right ones.

    max_scale, exp_scale    right | none | twice | 1/d | sqrt(d) | default (the caller's scale ignored)
    sum_scale, pv_scale     the same for the p of l and of acc, where it is not exp_scale
    method                  online | passes | average | sum (of every tile's own softmax)
    start                   what m starts at
    shift                   what p subtracts: m | nothing | tile (the tile's own max) | old (the max before this tile) |
                            flipped (p is exp(m - qk))
    sum_shift, pv_shift     the same for the p of l and of acc, where it is not shift
    m_update                max | tile (the tile's max replaces m) | min | first (never raised after the first tile)
    l_keep, acc_keep        factor on the old sum: alpha | 1 | 1/alpha | 1/alpha after the first tile | 0 | alpha squared |
                            tile (exp(m_tile - m_new)) | late (alpha, on the new part too)
    l_add                   sum | count (of keys) | max (of the weights) | mean
    divide                  end | never | twice | inside (acc by l, every tile, and not at the end) | inside and end |
                            inside later (not at the first tile) | inside later and end |
                            pv (p v^T by l, every tile, and not at the end) | pv and end | n | tile l | sqrt l
    max_tiles, l_tiles, acc_tiles   all | not last | not first | first | last
    k_from, v_from          the tile whose K or V is used: own | first | last | previous | next | reversed
    k_head, v_head          the KV head: group | modulo | first | last | h // Hkv | head | reversed
    shared                  what (m, l, or gain: the tile's part of l) and how (max, sum, mean, first, last) the rows of
                            `share_over` share
    share_over              group | all
    carry                   of m, l, acc: what is not cleared, from one to the next of `carry_over`
    carry_over              head | group
    interleaved             of m, l: one scalar that a group's heads update in turn within every tile
    p_rows                  own | first: which row of the group weighs the values
    q_head, o_head          own | strided: group g has heads g, g + Hkv, ... instead of g G, g G + 1, ...
    """

    max_scale: str = "right"
    exp_scale: str = "right"
    sum_scale: str = ""
    pv_scale: str = ""
    method: str = "online"
    start: float = -math.inf
    shift: str = "m"
    sum_shift: str = ""
    pv_shift: str = ""
    m_update: str = "max"
    l_keep: str = "alpha"
    acc_keep: str = "alpha"
    l_add: str = "sum"
    divide: str = "end"
    max_tiles: str = "all"
    l_tiles: str = "all"
    acc_tiles: str = "all"
    k_from: str = "own"
    v_from: str = "own"
    k_head: str = "group"
    v_head: str = "group"
    shared: str = ""
    share_over: str = "group"
    carry: str = ""
    carry_over: str = "head"
    interleaved: str = ""
    p_rows: str = "own"
    q_head: str = "own"
    o_head: str = "own"


@dataclass(frozen=True, eq=False)
class Dish:
    """What a recipe gives: the output (Hq, d) and, for most recipes, `states[t]` = {"m", "l", "acc"} after tile t."""

    o: F32
    states: list[dict[str, F32]]


def cook(attention: Attention, tile: int, recipe: Recipe) -> Dish:
    """What a kernel computes that follows the recipe with tiles of `tile` keys."""
    with np.errstate(all="ignore"):
        raw, v = _operands(attention, tile, recipe)
        if recipe.interleaved:
            return Dish(_interleaved(attention, tile, recipe, raw, v), [])
        if recipe.o_head == "strided":
            made = _rows(attention, tile, recipe, raw, v, {}).o
            return Dish(made[np.argsort(_strided(attention), kind="stable")], [])
        if not recipe.carry:
            return _rows(attention, tile, recipe, raw, v, {})
        size = attention.group if recipe.carry_over == "group" else 1
        left: dict[str, F32] = {}
        out = []
        for first in range(0, attention.n_q_heads, size):
            rows = slice(first, first + size)
            dish = _rows(attention, tile, recipe, raw[rows], v[rows], left)
            left = {name: dish.states[-1][name] for name in recipe.carry.split()}
            out.append(dish.o)
        return Dish(np.concatenate(out), [])


def _operands(attention: Attention, tile: int, recipe: Recipe) -> tuple[F32, F32]:
    """Unscaled scores (H, T, tile) and values (H, d, T, tile), from the heads and tiles that the recipe reads."""
    heads = _strided(attention) if recipe.q_head == "strided" else np.arange(attention.n_q_heads)
    n_tiles = attention.n // tile
    k = attention.k.astype(np.float32).reshape(attention.n_kv_heads, attention.d, n_tiles, tile)
    v = attention.v.astype(np.float32).reshape(attention.n_kv_heads, attention.d, n_tiles, tile)
    k = k[_kv_heads(attention, recipe.k_head)][:, :, _source(n_tiles, recipe.k_from)]
    v = v[_kv_heads(attention, recipe.v_head)][:, :, _source(n_tiles, recipe.v_from)]
    q = attention.q.astype(np.float32)[heads]
    raw = (q[:, None, :] @ k.reshape(len(heads), attention.d, -1)).reshape(len(heads), n_tiles, tile)
    if attention.lengths is not None:  # keys that do not count: as low as a kernel can tell it, with the value 0
        live = attention.counts.reshape(len(heads), n_tiles, tile)
        raw, v = np.where(live, raw, np.float32(-1e30)), np.where(live[:, None], v, np.float32(0))
    return raw, v


def _strided(attention: Attention) -> NDArray[np.intp]:
    """Row kv G + g takes query head g Hkv + kv."""
    return np.arange(attention.n_q_heads).reshape(attention.group, attention.n_kv_heads).T.reshape(-1)


def _kv_heads(attention: Attention, rule: str) -> NDArray[np.intp]:
    h, n_kv = np.arange(attention.n_q_heads), attention.n_kv_heads
    chosen = {
        "group": h // attention.group, "modulo": h % n_kv, "first": 0 * h, "last": 0 * h + n_kv - 1,
        "h // Hkv": np.minimum(h // n_kv, n_kv - 1), "head": np.minimum(h, n_kv - 1),
        "reversed": n_kv - 1 - h // attention.group,
    }
    return chosen[rule]


def _source(n_tiles: int, rule: str) -> NDArray[np.intp]:
    t = np.arange(n_tiles)
    chosen = {
        "own": t, "first": 0 * t, "last": 0 * t + n_tiles - 1, "previous": np.maximum(t - 1, 0),
        "next": np.minimum(t + 1, n_tiles - 1), "reversed": t[::-1],
    }
    return chosen[rule]


def _visited(n_tiles: int, rule: str) -> range:
    ends = {"all": (0, n_tiles), "not last": (0, n_tiles - 1), "not first": (1, n_tiles), "first": (0, 1),
            "last": (n_tiles - 1, n_tiles)}
    return range(*ends[rule])


def _factor(attention: Attention, rule: str) -> np.float32:
    d, scale = attention.d, attention.scale
    factors = {"right": scale, "none": 1.0, "twice": scale * scale, "1/d": 1.0 / d, "sqrt(d)": math.sqrt(d),
               "default": 1.0 / math.sqrt(d)}
    return np.float32(factors[rule])


def _share(attention: Attention, recipe: Recipe, name: str, value: F32) -> F32:
    """`value` (H, 1) after the rows that share it have shared it."""
    which, _, how = recipe.shared.partition(" ")
    if which != name:
        return value
    rows = attention.group if recipe.share_over == "group" else len(value)
    grouped = value.reshape(-1, rows, 1)
    shared = {"max": grouped.max(axis=1, keepdims=True), "sum": grouped.sum(axis=1, keepdims=True),
              "mean": grouped.mean(axis=1, keepdims=True), "first": grouped[:, :1], "last": grouped[:, -1:]}[how]
    return np.broadcast_to(shared, grouped.shape).reshape(value.shape)


def _rows(attention: Attention, tile: int, recipe: Recipe, raw: F32, v: F32, left: dict[str, F32]) -> Dish:
    """All rows of `raw` at once: every row has its own state, unless the recipe shares it."""
    n_rows, n_tiles, _ = raw.shape
    for_max = raw * _factor(attention, recipe.max_scale)
    for_sum = raw * _factor(attention, recipe.sum_scale or recipe.exp_scale)
    for_pv = raw * _factor(attention, recipe.pv_scale or recipe.exp_scale)
    m = np.full((n_rows, 1), recipe.start, np.float32)
    l, acc = np.zeros((n_rows, 1), np.float32), np.zeros((n_rows, attention.d), np.float32)
    m, l, acc = left.get("m", m), left.get("l", l), left.get("acc", acc)
    if recipe.method in ("average", "sum"):
        return Dish(_tile_by_tile(attention, recipe, for_max, for_sum, v), [])
    states = []
    if recipe.method == "passes":
        for t in _visited(n_tiles, recipe.max_tiles):
            m = _raise(recipe, m, for_max[:, t].max(axis=1, keepdims=True), t)
            m = _share(attention, recipe, "m", m)
    for t in range(n_tiles):
        tile_max = for_max[:, t].max(axis=1, keepdims=True)
        m_old = m
        if recipe.method == "online" and t in _visited(n_tiles, recipe.max_tiles):
            m = _share(attention, recipe, "m", _raise(recipe, m, tile_max, t))
        shifts = {"m": m, "nothing": np.float32(0), "tile": tile_max, "old": m_old}
        if recipe.shift == "flipped":
            p = np.exp(m - for_sum[:, t])
        else:
            p = np.exp(for_sum[:, t] - shifts[recipe.sum_shift or recipe.shift])  # (rows, tile)
        p_acc = p
        if recipe.pv_scale or recipe.pv_shift or recipe.sum_scale or recipe.sum_shift:
            p_acc = np.exp(for_pv[:, t] - shifts[recipe.pv_shift or recipe.shift])
        alpha = np.exp(m_old - m) if recipe.method == "online" else np.ones_like(m)
        inverse = np.exp(m - m_old)  # inf at the first tile, where it makes the old sum of 0 a NaN
        keep = {"alpha": alpha, "1": np.ones_like(m), "1/alpha": inverse, "0": np.zeros_like(m),
                "1/alpha after the first tile": inverse if t else np.ones_like(m), "alpha squared": alpha * alpha,
                "tile": np.exp(tile_max - m), "late": alpha}
        if t in _visited(n_tiles, recipe.l_tiles):
            gain = {"sum": p.sum(axis=1, keepdims=True), "count": np.full_like(m, tile), "max": p.max(axis=1, keepdims=True),
                    "mean": p.mean(axis=1, keepdims=True)}[recipe.l_add]
            gain = _share(attention, recipe, "gain", gain)
            l = (l + gain) * alpha if recipe.l_keep == "late" else l * keep[recipe.l_keep] + gain
            l = _share(attention, recipe, "l", l)
        if t in _visited(n_tiles, recipe.acc_tiles):
            weights = p_acc if recipe.p_rows == "own" else np.repeat(p_acc[:: attention.group], attention.group, axis=0)
            pv = np.matmul(v[:, :, t], weights[:, :, None])[:, :, 0]  # (rows, d)
            pv = pv / l if recipe.divide.startswith("pv") else pv
            acc = (acc + pv) * alpha if recipe.acc_keep == "late" else acc * keep[recipe.acc_keep] + pv
            if recipe.divide.startswith("inside") and (t or "later" not in recipe.divide):
                acc = acc / l
        last_gain = p.sum(axis=1, keepdims=True)
        states.append({"m": m, "l": l, "acc": acc})
    at_end = {"twice": l * l, "n": np.float32(attention.n), "tile l": last_gain, "sqrt l": np.sqrt(l)}
    if recipe.divide.endswith("end"):
        acc = acc / l
    elif recipe.divide in at_end:
        acc = acc / at_end[recipe.divide]
    return Dish(acc.astype(np.float32), states)


def _raise(recipe: Recipe, m: F32, tile_max: F32, t: int) -> F32:
    if recipe.m_update == "tile":
        return tile_max
    if recipe.m_update == "min":
        return np.minimum(m, tile_max) if t else tile_max
    if recipe.m_update == "first" and t:
        return m
    return np.maximum(m, tile_max)


def _tile_by_tile(attention: Attention, recipe: Recipe, for_max: F32, for_exp: F32, v: F32) -> F32:
    """Every tile's own softmax, then the mean or the sum of the tiles' outputs."""
    p = np.exp(for_exp - for_max.max(axis=2, keepdims=True))  # (H, T, tile)
    p /= p.sum(axis=2, keepdims=True)
    o = np.einsum("htj,hdtj->htd", p, v)
    return o.mean(axis=1) if recipe.method == "average" else o.sum(axis=1)


def _interleaved(attention: Attention, tile: int, recipe: Recipe, raw: F32, v: F32) -> F32:
    """A group's heads take turns on one m, or one l, within every tile."""
    scores = raw * _factor(attention, "right")
    out = np.zeros((attention.n_q_heads, attention.d), np.float32)
    for first in range(0, attention.n_q_heads, attention.group):
        heads = range(first, first + attention.group)
        m = dict.fromkeys(["shared", *heads], np.float32(-np.inf))
        l = dict.fromkeys(["shared", *heads], np.float32(0))
        for t in range(scores.shape[1]):
            for h in heads:
                at_m = "shared" if "m" in recipe.interleaved else h
                at_l = "shared" if "l" in recipe.interleaved else h
                m_new = max(m[at_m], scores[h, t].max())
                alpha, p = np.exp(m[at_m] - m_new), np.exp(scores[h, t] - m_new)
                l[at_l] = l[at_l] * alpha + p.sum()
                out[h] = out[h] * alpha + v[h, :, t] @ p
                m[at_m] = m_new
        for h in heads:
            out[h] = out[h] / l["shared" if "l" in recipe.interleaved else h]
    return out
