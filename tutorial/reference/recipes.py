"""Decode attention in float32 NumPy with a switch for every way to get it wrong.

A `Recipe` with no switch thrown is right. With some thrown it is the NumPy twin of a wrong kernel,
and `cook` says what such a kernel would answer; `mistakes.py` gives the recipes their sentences.
Values, not code, are compared: a learner's kernel that answers like a recipe on every input has
made that recipe's mistake, whatever its style.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import masking, splitting
from .attention import Attention

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """Which step is done how; the defaults are the right ones.

    max_scale, exp_scale    right | none | twice | 1/d | sqrt(d) | 1/sqrt(n) | default (the caller's
    scale ignored); none, 1/d,
                            sqrt(d) and 1/sqrt(n) may end in "by default": right where the caller
                            gives a scale
    sum_scale, pv_scale     the same for the p of l and of acc, where it is not exp_scale
    method                  online | passes | average | sum (of every tile's own softmax)
    start                   what m starts at
    shift                   what p subtracts: m | nothing | tile (the tile's own max) | old (the max
                            before this tile) |
                            flipped (p is exp(m - qk)) | added (p is exp(qk + m)) | all (qk itself,
                            so that p is 1)
    exp                     e | 2 (p is 2 ** (qk - m)) | 2 for all (alpha too) | none (p is qk - m)
    max_of                  what a tile's max is: max | min | abs (the max of the absolute values)
    sum_shift, pv_shift     the same for the p of l and of acc, where it is not shift
    m_update                max | tile (the tile's max replaces m) | min | first (never raised after
                            the first tile) | never
                            (m_new is right in every tile, and m never becomes it)
    l_keep, acc_keep        factor on the old sum: alpha | 1 | 1/alpha | 1/alpha after the first
    tile | 0 | alpha squared |
                            tile (exp(m_tile - m_new)) | old to tile (exp(m_old - m_tile)) | late
                            (alpha, on the new part too)
                            | unscaled (alpha of unscaled maxima) | scaled (alpha whose exponent has
                            the scale twice)
    l_add                   sum | count (of keys) | max (of the weights) | mean | scores (not their
                            weights) | nothing
    divide                  end | never | twice | inside (acc by l, every tile, and not at the end)
                            | inside and end |
                            inside later (not at the first tile) | inside later and end |
                            pv (p v^T by l, every tile, and not at the end) | pv and end | n | tile
                            l | sqrt l |
                            times (acc times l)
    max_tiles, l_tiles, acc_tiles   all | not last | not first | first | last
    k_from, v_from          the tile whose K or V is used: own | first | last | previous | next |
    reversed;
                            k_from also sum (the scores of all tiles so far, added up)
    read_k, read_v          k | v: which of the two arrays is read as K, and as V
    k_head, v_head          the KV head: group | modulo | first | last | h // Hkv | head | reversed
    | next
    shared                  what (m, l, or gain: the tile's part of l) and how (max, sum, mean,
                            first, last) the rows of
                            `share_over` share
    share_over              group | all
    carry                   of m, l, acc: what is not cleared, from one to the next of `carry_over`
    carry_over              head | group
    interleaved             of m, l: one scalar that a group's heads update in turn within every
                            tile
    p_rows                  own | first: which row of the group weighs the values
    q_head, o_head          own | strided: group g has heads g, g + Hkv, ... instead of g G, g G +
    1, ...

    In a batch (where the attention has lengths), further:
    max_mask, exp_mask      how the padding is hidden: low (its scores become `low`) | none | zero |
    times (its scores by 0) |
                            added (`low` is added to them) | weights (its p become 0) | weights
                            times (its p by 0)
    sum_mask, pv_mask       the same for the p of l and of acc, where it is not exp_mask
    low                     what a hidden score becomes
    v_mask                  clean | right (by the right length, whatever the scores' mask is) | raw
                            | times (by 0) | finite (0
                            where it is NaN or infinite)
    length                  own | +1 | -1 | first | last | previous | next | reversed | longest |
                            shortest | at least 1 |
                            running sum | running max | whole tiles up | whole tiles down
    position                own | in the tile (from 0 in every tile) | a tile early | a tile late |
                            from 1
    keep                    own | inverted | last tile only | first tile only | whole tiles | not
                            for length 0
    tail                    narrow | zero (a last tile is filled up with keys of 0) | skipped
    empty                   own | nan | mean (of V): what a sequence of length 0 gets
    q_part, k_part, v_part, o_part   own | first | last | previous | next | reversed: whose they are
    carry_over may be       sequence | head in sequence | group in sequence, too

    In a split (where the attention has `splits`), further:
    merge                   right | see `splitting.merge`: how the states of the splits are put
                            together
    split_tiles             all | even | strided (these are right) | rest dropped | last overlaps |
                            first split's for all |
                            not last of, or not first of, one of the right ones: what splits visit
    split_carry             of m, l, acc: what is not cleared from one split to the next
    empty_m                 what m is in a split without keys
    """

    max_scale: str = "right"
    exp_scale: str = "right"
    sum_scale: str = ""
    pv_scale: str = ""
    method: str = "online"
    start: float = -math.inf
    shift: str = "m"
    exp: str = "e"
    max_of: str = "max"
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
    read_k: str = "k"
    read_v: str = "v"
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
    max_mask: str = "low"
    exp_mask: str = "low"
    sum_mask: str = ""
    pv_mask: str = ""
    low: float = masking.LOWEST
    v_mask: str = "clean"
    length: str = "own"
    position: str = "own"
    keep: str = "own"
    tail: str = "narrow"
    empty: str = "own"
    q_part: str = "own"
    k_part: str = "own"
    v_part: str = "own"
    o_part: str = "own"
    merge: str = "right"
    split_tiles: str = "all"
    split_carry: str = ""
    empty_m: float = -math.inf

    @property
    def mixes_rows(self) -> bool:
        """Whether what a row gets may depend on another row, or on another sequence's length."""
        own = (
            self.q_head,
            self.o_head,
            self.p_rows,
            self.q_part,
            self.k_part,
            self.v_part,
            self.o_part,
        )
        return bool(
            self.shared
            or self.carry
            or self.interleaved
            or self.split_carry
            or any(rule != "own" for rule in own)
            or self.k_head != "group"
            or self.v_head != "group"
            or self.length
            not in ("own", "+1", "-1", "whole tiles up", "whole tiles down", "at least 1")
        )

    @property
    def is_of_a_split(self) -> bool:
        """Whether the mistake is in the splits or in their merge, and not in the attention of
        each."""
        return bool(
            self.merge != "right"
            or self.split_tiles not in splitting.DEALS
            or self.split_carry
            or self.empty_m > -math.inf
        )


@dataclass(frozen=True, eq=False)
class Dish:
    """What a recipe gives: the output (Hq, d) and, for most recipes, `states[t]` = {"m", "l",
    "acc"} after tile t.

    `underflowed` (Hq,) has the rows whose l is 0: there a kernel gives 0 / 0, or 0 if it sees to it
    that l is not 0.
    """

    o: F32
    states: list[dict[str, F32]]

    @property
    def underflowed(self) -> NDArray[np.bool_]:
        rows = self.states[-1]["l"].reshape(-1) if self.states else np.empty(0)
        return rows == 0 if len(rows) == len(self.o) else np.zeros(len(self.o), bool)


def cook(attention: Attention, tile: int, recipe: Recipe) -> Dish:
    """What a kernel computes that follows the recipe with tiles of `tile` keys."""
    with np.errstate(all="ignore"):
        n, attention = attention.n, _fit(attention, tile)
        keys = (
            None
            if attention.lengths is None
            else masking.keys(
                attention, tile, n, recipe.length, recipe.position, recipe.keep, recipe.tail
            )
        )
        raw = _raw(
            attention,
            tile,
            recipe.q_head,
            recipe.q_part,
            recipe.k_head,
            recipe.k_part,
            recipe.k_from,
            recipe.read_k,
        )
        v = _values(
            attention,
            tile,
            recipe.v_head,
            recipe.v_part,
            recipe.v_from,
            keys,
            recipe.v_mask,
            recipe.read_v,
        )
        if attention.splits:
            return Dish(_split(attention, tile, recipe, raw, v), [])
        dish = _dish(attention, tile, recipe, raw, v, keys, n)
        if keys is not None and recipe.empty != "own":
            mean = (v * keys.there).sum(axis=(2, 3)) / n
            none = keys.lengths == 0
            dish.o[none] = np.nan if recipe.empty == "nan" else mean[none]
        if recipe.o_part != "own":
            rows = np.arange(len(dish.o)) % attention.heads_a_part
            return Dish(
                dish.o[rows + _parts(attention, recipe.o_part) * attention.heads_a_part], []
            )
        return dish


def _dish(
    attention: Attention,
    tile: int,
    recipe: Recipe,
    raw: F32,
    v: F32,
    keys: masking.Keys | None,
    n: int,
) -> Dish:
    if recipe.interleaved:
        return Dish(_interleaved(attention, tile, recipe, raw, v, keys), [])
    if recipe.o_head == "strided":
        made = _rows(attention, recipe, raw, v, {}, keys, n).o
        return Dish(made[np.argsort(_strided(attention), kind="stable")], [])
    if not recipe.carry:
        return _rows(attention, recipe, raw, v, {}, keys, n)
    over, _, inside = recipe.carry_over.partition(" in ")
    size = {"head": 1, "group": attention.group, "sequence": attention.heads_a_part}[over]
    left: dict[str, F32] = {}
    out, runs = [], []
    for first in range(0, attention.n_q_heads, size):
        rows = slice(first, first + size)
        if inside and first % attention.heads_a_part == 0:
            left = {}
        dish = _rows(
            attention,
            recipe,
            raw[rows],
            v[rows],
            left,
            None if keys is None else keys.rows(rows),
            n,
        )
        left = {name: dish.states[-1][name] for name in recipe.carry.split()}
        out.append(dish.o)
        runs.append(dish.states)
    states: list[dict[str, F32]] = []
    if attention.splits or attention.lengths is not None:
        states = [
            {name: np.concatenate([state[name] for state in tile]) for name in ("m", "l", "acc")}
            for tile in zip(*runs, strict=True)
        ]
    return Dish(np.concatenate(out), states)


@lru_cache(maxsize=64)
def _fit(attention: Attention, tile: int) -> Attention:
    return attention.fit(tile)


@lru_cache(maxsize=64)  # hundreds of recipes are cooked from the same scores and values
def _raw(
    attention: Attention,
    tile: int,
    q_head: str,
    q_part: str,
    k_head: str,
    k_part: str,
    k_from: str,
    read: str,
) -> F32:
    """Unscaled scores (H, T, tile), from the heads and tiles that are read."""
    heads = _strided(attention) if q_head == "strided" else np.arange(attention.n_q_heads)
    heads = heads % attention.heads_a_part + _parts(attention, q_part) * attention.heads_a_part
    n_tiles = attention.n // tile
    k = (
        getattr(attention, read)
        .astype(np.float32)
        .reshape(attention.n_kv_heads, attention.d, n_tiles, tile)
    )
    k = k[_kv_heads(attention, k_head, k_part)][
        :, :, _source(n_tiles, "own" if k_from == "sum" else k_from)
    ]
    q = attention.q.astype(np.float32)[heads]
    qk = (q[:, None, :] @ k.reshape(len(heads), attention.d, -1)).reshape(len(heads), n_tiles, tile)
    return qk.cumsum(axis=1, dtype=np.float32) if k_from == "sum" else qk


@lru_cache(maxsize=32)
def _values(
    attention: Attention,
    tile: int,
    v_head: str,
    v_part: str,
    v_from: str,
    keys: masking.Keys | None,
    v_mask: str,
    read: str,
) -> F32:
    """Values (H, d, T, tile), from the heads and tiles that are read, with the padding cleaned as
    `v_mask` says."""
    n_tiles = attention.n // tile
    v = (
        getattr(attention, read)
        .astype(np.float32)
        .reshape(attention.n_kv_heads, attention.d, n_tiles, tile)
    )
    v = v[_kv_heads(attention, v_head, v_part)][:, :, _source(n_tiles, v_from)]
    return v if keys is None else keys.values(v, v_mask)


def _strided(attention: Attention) -> NDArray[np.intp]:
    """Row kv G + g of a sequence takes its query head g Hkv + kv."""
    one = np.arange(attention.heads_a_part).reshape(attention.group, -1).T.reshape(-1)
    return (np.arange(attention.parts)[:, None] * attention.heads_a_part + one).reshape(-1)


def _parts(attention: Attention, rule: str) -> NDArray[np.intp]:
    """The sequence that each row reads."""
    part, last = np.arange(attention.n_q_heads) // attention.heads_a_part, attention.parts - 1
    chosen = {
        "own": part,
        "first": 0 * part,
        "last": 0 * part + last,
        "previous": np.maximum(part - 1, 0),
        "next": np.minimum(part + 1, last),
        "reversed": last - part,
    }
    return chosen[rule]


def _kv_heads(attention: Attention, rule: str, part: str = "own") -> NDArray[np.intp]:
    h, n_kv = (
        np.arange(attention.n_q_heads) % attention.heads_a_part,
        attention.n_kv_heads // attention.parts,
    )
    chosen = {
        "group": h // attention.group,
        "modulo": h % n_kv,
        "first": 0 * h,
        "last": 0 * h + n_kv - 1,
        "h // Hkv": np.minimum(h // n_kv, n_kv - 1),
        "head": np.minimum(h, n_kv - 1),
        "reversed": n_kv - 1 - h // attention.group,
        "next": (h // attention.group + 1) % n_kv,
    }
    return chosen[rule] + _parts(attention, part) * n_kv


def _source(n_tiles: int, rule: str) -> NDArray[np.intp]:
    t = np.arange(n_tiles)
    chosen = {
        "own": t,
        "first": 0 * t,
        "last": 0 * t + n_tiles - 1,
        "previous": np.maximum(t - 1, 0),
        "next": np.minimum(t + 1, n_tiles - 1),
        "reversed": t[::-1],
    }
    return chosen[rule]


def _visited(n_tiles: int, rule: str) -> range:
    ends = {
        "all": (0, n_tiles),
        "not last": (0, n_tiles - 1),
        "not first": (1, n_tiles),
        "first": (0, 1),
        "last": (n_tiles - 1, n_tiles),
    }
    return range(*ends[rule])


def _factor(attention: Attention, rule: str) -> np.float32:
    d, scale = attention.d, attention.scale
    factors = {
        "right": scale,
        "none": 1.0,
        "twice": scale * scale,
        "1/d": 1.0 / d,
        "sqrt(d)": math.sqrt(d),
        "default": 1.0 / math.sqrt(d),
        "1/sqrt(n)": 1.0 / math.sqrt(attention.n),
    }
    rule, by_default, _ = rule.partition(" by default")
    return np.float32(scale if by_default and attention.explicit_scale else factors[rule])


def _share(attention: Attention, recipe: Recipe, name: str, value: F32) -> F32:
    """`value` (H, 1) after the rows that share it have shared it."""
    which, _, how = recipe.shared.partition(" ")
    if which != name:
        return value
    rows = (
        attention.group if recipe.share_over == "group" else min(attention.heads_a_part, len(value))
    )
    grouped = value.reshape(-1, rows, 1)
    shared = {
        "max": grouped.max(axis=1, keepdims=True),
        "sum": grouped.sum(axis=1, keepdims=True),
        "mean": grouped.mean(axis=1, keepdims=True),
        "first": grouped[:, :1],
        "last": grouped[:, -1:],
    }[how]
    return np.broadcast_to(shared, grouped.shape).reshape(value.shape)


def _rows(
    attention: Attention,
    recipe: Recipe,
    raw: F32,
    v: F32,
    left: dict[str, F32],
    keys: masking.Keys | None,
    n: int,
) -> Dish:
    """All rows of `raw` at once: every row has its own state, unless the recipe shares it."""
    n_rows, n_tiles, tile = raw.shape
    sum_mask, pv_mask = recipe.sum_mask or recipe.exp_mask, recipe.pv_mask or recipe.exp_mask

    def scores(scale: str, mask: str) -> F32:
        scaled = raw * _factor(attention, scale)
        return scaled if keys is None else keys.scores(scaled, mask, recipe.low)

    for_max = scores(recipe.max_scale, recipe.max_mask)
    for_sum = scores(recipe.sum_scale or recipe.exp_scale, sum_mask)
    for_pv = scores(recipe.pv_scale or recipe.exp_scale, pv_mask)
    start = np.full(
        (n_rows, 1), recipe.start if keys is None else max(recipe.start, masking.LOWEST), np.float32
    )
    m = start
    l, acc = np.zeros((n_rows, 1), np.float32), np.zeros((n_rows, attention.d), np.float32)
    m, l, acc = left.get("m", m), left.get("l", l), left.get("acc", acc)
    if recipe.method in ("average", "sum"):
        return Dish(_tile_by_tile(recipe, for_max, for_sum, v), [])
    visited = {
        name: _visited(n // tile if recipe.tail == "skipped" else n_tiles, rule)
        for name, rule in (
            ("m", recipe.max_tiles),
            ("l", recipe.l_tiles),
            ("acc", recipe.acc_tiles),
        )
    }
    states = []
    if recipe.method == "passes":
        for t in visited["m"]:
            m = _raise(recipe, m, _tile_max(recipe, for_max[:, t]), t)
            m = _share(attention, recipe, "m", m)
    for t in range(n_tiles):
        tile_max = _tile_max(recipe, for_max[:, t])
        m_old = start if recipe.m_update == "never" else m
        if recipe.method == "online" and t in visited["m"]:
            m = _share(attention, recipe, "m", _raise(recipe, m, tile_max, t))
        shifts = {"m": m, "nothing": np.float32(0), "tile": tile_max, "old": m_old, "added": -m}
        # (rows, tile)
        p = _weigh(recipe, for_sum[:, t], shifts, recipe.sum_shift or recipe.shift, m)
        p_acc = p
        if (
            recipe.pv_scale
            or recipe.pv_shift
            or recipe.sum_scale
            or recipe.sum_shift
            or pv_mask != sum_mask
        ):
            p_acc = _weigh(recipe, for_pv[:, t], shifts, recipe.pv_shift or recipe.shift, m)
        if keys is not None:
            p, p_acc = keys.weights(p, t, sum_mask), keys.weights(p_acc, t, pv_mask)
        falls = (m_old - m) * np.float32(math.log(2) if recipe.exp == "2 for all" else 1)
        alpha = np.exp(falls) if recipe.method == "online" else np.ones_like(m)
        keep = {
            rule: _kept(rule, alpha, falls, m, m_old, tile_max, t, attention.scale)
            for rule in {recipe.l_keep, recipe.acc_keep}
        }
        last_gain = p.sum(axis=1, keepdims=True)
        if t in visited["l"]:
            gain = _share(attention, recipe, "gain", _gain(recipe, p, for_sum[:, t], last_gain))
            l = (l + gain) * alpha if recipe.l_keep == "late" else l * keep[recipe.l_keep] + gain
            l = _share(attention, recipe, "l", l)
        if t in visited["acc"]:
            weights = (
                p_acc
                if recipe.p_rows == "own"
                else np.repeat(p_acc[:: attention.group], attention.group, axis=0)
            )
            pv = np.matmul(v[:, :, t], weights[:, :, None])[:, :, 0]  # (rows, d)
            pv = pv / l if recipe.divide.startswith("pv") else pv
            acc = (
                (acc + pv) * alpha
                if recipe.acc_keep == "late"
                else acc * keep[recipe.acc_keep] + pv
            )
            if recipe.divide.startswith("inside") and (t or "later" not in recipe.divide):
                acc = acc / l
        states.append({"m": m, "l": l, "acc": acc})
    at_end = {
        "twice": l * l,
        "n": np.float32(n),
        "tile l": last_gain,
        "sqrt l": np.sqrt(l),
        "times": 1 / l,
    }
    if recipe.divide.endswith("end"):
        acc = acc / l
    elif recipe.divide in at_end:
        acc = acc / at_end[recipe.divide]
    return Dish(acc.astype(np.float32), states)


def _split(attention: Attention, tile: int, recipe: Recipe, raw: F32, v: F32) -> F32:
    """The states of all splits and their merge: the mistake is in the splits or their merge, or
    else in each split's loop."""
    n_rows = len(raw)
    inner = Recipe() if recipe.is_of_a_split else recipe
    states: list[splitting.State] = []
    left: dict[str, F32] = {}
    for tiles in splitting.tiles(raw.shape[1], attention.splits, recipe.split_tiles):
        state = {
            "m": np.full((n_rows, 1), recipe.empty_m, np.float32),
            "l": np.zeros((n_rows, 1), np.float32),
            "acc": np.zeros((n_rows, attention.d), np.float32),
            **left,
        }
        if len(tiles):
            own, own_v = raw[:, list(tiles)], v[:, :, list(tiles)]
            if left:
                state = _rows(attention, inner, own, own_v, left, None, attention.n).states[-1]
            else:
                made = _dish(attention, tile, inner, own, own_v, None, attention.n).states
                state = (
                    made[-1]
                    if made
                    else {name: np.full_like(x, np.nan) for name, x in state.items()}
                )
        left = {name: state[name] for name in recipe.split_carry.split()}
        states.append(splitting.State(state["m"], state["l"], state["acc"]))
    if inner.divide != "end" and not inner.divide.endswith(" end"):
        return splitting.undivided(states, inner.divide).astype(np.float32)
    return splitting.merge(states, recipe.merge).astype(np.float32)


def _tile_max(recipe: Recipe, qk: F32) -> F32:
    """The max of a tile's scores (rows, tile), or what is taken for it, (rows, 1)."""
    qk = np.abs(qk) if recipe.max_of == "abs" else qk
    return (
        qk.min(axis=1, keepdims=True) if recipe.max_of == "min" else qk.max(axis=1, keepdims=True)
    )


def _weigh(recipe: Recipe, qk: F32, shifts: Mapping[str, Any], shift: str, m: F32) -> F32:
    """The weights p (rows, tile) of a tile's scores."""
    if shift == "all":
        return np.ones_like(qk)
    shifted = m - qk if shift == "flipped" else qk - shifts[shift]
    if recipe.exp == "none":
        return shifted
    return np.exp(shifted) if recipe.exp == "e" else np.exp2(shifted)


def _kept(
    rule: str, alpha: F32, falls: F32, m: F32, m_old: F32, tile_max: F32, t: int, scale: float
) -> F32:
    """The factor on an old sum; alpha is exp(falls)."""
    if rule in ("alpha", "late"):
        return alpha
    if rule.startswith("1/alpha"):  # inf at the first tile, where it makes the old sum of 0 a NaN
        return np.exp(m - m_old) if t or rule == "1/alpha" else np.ones_like(m)
    chosen = {
        "1": lambda: np.ones_like(m),
        "0": lambda: np.zeros_like(m),
        "alpha squared": lambda: alpha * alpha,
        "tile": lambda: np.exp(tile_max - m),
        "old to tile": lambda: np.exp(m_old - tile_max) if t else np.ones_like(m),
        "unscaled": lambda: np.exp(falls / np.float32(scale)),
        "scaled": lambda: np.exp(falls * np.float32(scale)),
    }
    return chosen[rule]()


def _gain(recipe: Recipe, p: F32, qk: F32, total: F32) -> F32:
    """What a tile adds to l, (rows, 1); `total` is the sum of its weights."""
    if recipe.l_add == "count":
        return np.full_like(total, p.shape[1])
    if recipe.l_add in ("max", "mean"):
        return (
            p.max(axis=1, keepdims=True) if recipe.l_add == "max" else p.mean(axis=1, keepdims=True)
        )
    if recipe.l_add == "nothing":
        return np.zeros_like(total)
    return qk.sum(axis=1, keepdims=True) if recipe.l_add == "scores" else total


def _raise(recipe: Recipe, m: F32, tile_max: F32, t: int) -> F32:
    if recipe.m_update in ("tile", "never"):
        return tile_max
    if recipe.m_update == "min":
        return np.minimum(m, tile_max) if t else tile_max
    if recipe.m_update == "first" and t:
        return m
    return np.maximum(m, tile_max)


def _tile_by_tile(recipe: Recipe, for_max: F32, for_exp: F32, v: F32) -> F32:
    """Every tile's own softmax, then the mean or the sum of the tiles' outputs."""
    p = np.exp(for_exp - for_max.max(axis=2, keepdims=True))  # (H, T, tile)
    p /= p.sum(axis=2, keepdims=True)
    o = np.einsum("htj,hdtj->htd", p, v)
    return o.mean(axis=1) if recipe.method == "average" else o.sum(axis=1)


def _interleaved(
    attention: Attention, tile: int, recipe: Recipe, raw: F32, v: F32, keys: masking.Keys | None
) -> F32:
    """A group's heads take turns on one m, or one l, within every tile."""
    scores = raw * _factor(attention, "right")
    start = np.float32(-np.inf if keys is None else masking.LOWEST)
    if keys is not None:
        scores = keys.scores(scores, recipe.exp_mask, recipe.low)
    out = np.zeros((attention.n_q_heads, attention.d), np.float32)
    for first in range(0, attention.n_q_heads, attention.group):
        heads = range(first, first + attention.group)
        m = dict.fromkeys(["shared", *heads], start)
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
