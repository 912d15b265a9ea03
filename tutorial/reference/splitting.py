"""Splits of the keys: which tiles each visits, the merge of their states, and the ways to get
either wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
RIGHT = ("all", "even")
"""The usual ways to deal out tiles: as many as there are tiles a split, rounded up; or sizes that
differ by one at most."""
DEALS = (*RIGHT, "strided")
"""And one more: split s has the tiles s, s + S, s + 2 S, ..."""


@dataclass(frozen=True, eq=False)
class State:
    """What attention over some keys leaves: m (rows, 1), l (rows, 1), acc (rows, d); o = acc / l
    once all keys are in."""

    m: F32
    l: F32
    acc: F32


def identity(rows: int, d: int) -> State:
    """The state of no keys: merged with it, any state stays as it is."""
    return State(
        np.full((rows, 1), -np.inf, np.float32),
        np.zeros((rows, 1), np.float32),
        np.zeros((rows, d), np.float32),
    )


def merged(a: State, b: State) -> State:
    """The state of the keys of both. Associative and commutative, up to rounding; its identity is
    (-inf, 0, 0)."""
    m = np.maximum(a.m, b.m)
    shift = np.where(np.isneginf(m), np.float32(0), m)
    alpha, beta = np.exp(a.m - shift), np.exp(b.m - shift)
    return State(m, a.l * alpha + b.l * beta, a.acc * alpha + b.acc * beta)


def tiles(n_tiles: int, n_splits: int, rule: str = "all") -> list[range]:
    """The tiles of every split, by a rule of `RIGHT` or a wrong one."""
    up, down = math.ceil(n_tiles / n_splits), n_tiles // n_splits
    if rule == "strided":
        return [range(s, n_tiles, n_splits) for s in range(n_splits)]
    if rule == "even":
        return [
            range(s * n_tiles // n_splits, (s + 1) * n_tiles // n_splits) for s in range(n_splits)
        ]
    if rule == "first split's for all":
        return [range(min(up, n_tiles))] * n_splits
    if rule == "rest dropped":
        return [range(s * down, (s + 1) * down) for s in range(n_splits)]
    if rule == "last overlaps":
        return [
            range(min(s * up, n_tiles - up), min(s * up, n_tiles - up) + up)
            for s in range(n_splits)
        ]
    skipped, _, dealt = rule.rpartition(" of ")
    if skipped:
        made = tiles(n_tiles, n_splits, dealt)
        return (made[:-1] if skipped == "not last" else made[1:]) or [range(0)]
    return [range(min(s * up, n_tiles), min((s + 1) * up, n_tiles)) for s in range(n_splits)]


def undivided(states: list[State], rule: str) -> NDArray[np.floating]:
    """The merged acc of states, divided by l in another way than at the end: never, twice, or
    before."""
    done = reduce(merged, states, identity(*states[0].acc.shape))
    return done.acc / done.l**2 if rule == "twice" else done.acc


def merge(states: list[State], rule: str) -> NDArray[np.floating]:
    """The output (rows, d) that the splits' states give by a rule:

    right | average (of the splits' outputs) | average of the others (without the empty ones) | sum
    (of the outputs) | by l (l and acc added as they are) | weighted by l (the outputs, by l alone)
    | weighted by exp(m) (the outputs, by exp(m - max) alone) | normalised (outputs merged as if
    they were acc, l as it is) | normalised twice (acc / l, of outputs, with l merged as 1) | l not
    rescaled | acc not rescaled | inverted | best (only the split with the largest m) | last | first
    | first's m (a common factor from the first split's m) | last's m | m of 0 | mean l (over the
    splits; acc is summed) | mean acc | not divided | empty is nan
    """
    # (S, rows, ...)
    m, l, acc = (np.stack([getattr(state, name) for state in states]) for name in ("m", "l", "acc"))
    empty = l == 0
    o = acc / l
    top = m.max(axis=0)
    weight = np.exp(m - top)
    total = (l * weight).sum(axis=0)
    rows = np.arange(m.shape[1])
    if rule == "right":
        done = reduce(merged, states, identity(*acc.shape[1:]))
        return done.acc / done.l
    simple = {
        "average": lambda: np.where(empty, 0, o).mean(axis=0),
        "average, nan": lambda: o.mean(axis=0),
        "average of the others": lambda: np.where(empty, 0, o).sum(axis=0) / (~empty).sum(axis=0),
        "sum": lambda: np.where(empty, 0, o).sum(axis=0),
        "by l": lambda: acc.sum(axis=0) / l.sum(axis=0),
        "weighted by l": lambda: np.where(empty, 0, o * l).sum(axis=0) / l.sum(axis=0),
        "weighted by exp(m)": lambda: (
            np.where(empty, 0, o * weight).sum(axis=0) / weight.sum(axis=0)
        ),
        "normalised": lambda: np.where(empty, 0, o * weight).sum(axis=0) / total,
        "normalised, nan": lambda: (o * weight).sum(axis=0) / total,
        "weighted, nan": lambda: (o * l * weight).sum(axis=0) / total,
        "l not rescaled": lambda: (acc * weight).sum(axis=0) / l.sum(axis=0),
        "acc not rescaled": lambda: acc.sum(axis=0) / total,
        "inverted": lambda: (acc / weight).sum(axis=0) / (l / weight).sum(axis=0),
        "inverted, not the empty ones": lambda: (
            np.where(empty, 0, acc / weight).sum(axis=0)
            / np.where(empty, 0, l / weight).sum(axis=0)
        ),
        "best": lambda: o[m[:, :, 0].argmax(axis=0), rows],
        "last": lambda: o[-1],
        "first": lambda: o[0],
        "first's m": lambda: (
            (acc * np.exp(m - m[0])).sum(axis=0) / (l * np.exp(m - m[0])).sum(axis=0)
        ),
        "last's m": lambda: (
            (acc * np.exp(m - m[-1])).sum(axis=0) / (l * np.exp(m - m[-1])).sum(axis=0)
        ),
        "m of 0": lambda: (acc * np.exp(m)).sum(axis=0) / (l * np.exp(m)).sum(axis=0),
        "not divided": lambda: (acc * weight).sum(axis=0),
        "not divided by l": lambda: np.where(empty, 0, o * weight * l).sum(axis=0),
        "mean l": lambda: (acc * weight).sum(axis=0) / (l * weight).mean(axis=0),
        "mean acc": lambda: (acc * weight).mean(axis=0) / total,
        "empty is nan": lambda: np.where(
            empty.any(axis=0), np.nan, (acc * weight).sum(axis=0) / total
        ),
    }
    if rule in simple:
        return simple[rule]()
    start, rest = states[0], states[1:]  # one after another, with a slip
    if rule.endswith("from the identity"):
        start, rest = identity(*acc.shape[1:]), states
    m_so_far, l_so_far, acc_so_far = (
        np.maximum(start.m, np.finfo(np.float32).min),
        start.l,
        start.acc,
    )
    for state in rest:
        new = np.maximum(m_so_far, state.m)
        alpha, beta = np.exp(m_so_far - new), np.exp(state.m - new)
        if rule == "m not updated":
            beta = np.exp(state.m - m_so_far)
            alpha, new = np.ones_like(alpha), m_so_far
        elif rule == "old not rescaled":
            alpha = np.ones_like(alpha)
        elif rule == "new not rescaled":
            beta = np.ones_like(beta)
        elif rule.startswith("one factor"):
            beta = alpha
        elif rule == "m replaced":
            new = state.m
            alpha, beta = np.exp(m_so_far - new), np.ones_like(beta)
        keep_l, add_l = (
            (np.ones_like(alpha), np.ones_like(beta)) if rule == "l added" else (alpha, beta)
        )
        l_so_far, acc_so_far, m_so_far = (
            l_so_far * keep_l + state.l * add_l,
            acc_so_far * alpha + state.acc * beta,
            new,
        )
    return acc_so_far / l_so_far
