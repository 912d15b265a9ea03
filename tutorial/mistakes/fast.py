"""The mistakes of stage 7: what kernels answer that mix up V's layout, the order of the keys, or
the place of a head.

Each variant is NumPy on the case's own layout, in float64: q (d, Hq), k (Hkv, d, n), v (Hkv, n, d).
A variant that says nothing about a case (None) is not compared there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.families import Case
from ..inputs.layouts import default_scale
from ..stage import Known, Variant

F64 = NDArray[np.float64]
LANES = 128


@lru_cache(maxsize=64)
def _arrays(case: Case) -> tuple[F64, F64, F64, float]:
    """q (Hq, d), k (Hkv, d, n), v (Hkv, n, d) in float64, and the scale."""
    q, k, v = (np.asarray(case.args[name], np.float64) for name in "qkv")
    scale = case.options.get("softmax_scale")
    return q.T, k, v, default_scale(k.shape[1]) if scale is None else float(scale)


@lru_cache(maxsize=64)
def _scores(case: Case) -> F64:
    """The scaled scores (Hq, n)."""
    q, k, _, scale = _arrays(case)
    qk: F64 = scale * (q.reshape(len(k), -1, q.shape[1]) @ k).reshape(len(q), -1)
    return qk


@lru_cache(maxsize=64)
def _weights(case: Case) -> F64:
    """The softmax weights (Hq, n)."""
    p = np.exp(_scores(case) - _scores(case).max(axis=1, keepdims=True))
    weights: F64 = p / p.sum(axis=1, keepdims=True)
    return weights


def _weigh(p: F64, v: F64) -> F64:
    """p (Hq, n) and v (Hkv, n, d) -> (Hq, d)."""
    return (p.reshape(len(v), -1, p.shape[1]) @ v).reshape(len(p), -1)


def _in_chunk(n: int, most: int) -> int:
    """Tiles of 128 in a chunk of at most `most` of them (0: no limit): the largest number that
    divides the cache's."""
    tiles = n // LANES
    return tiles if not most else max(t for t in range(1, most + 1) if tiles % t == 0)


# -- the layout of V -------------------------------------------------------------------------------
def _tiles_transposed(case: Case, got: Any) -> F64 | None:
    """Every (128, d) tile of V transposed, as if it had come as (d, keys); only a square tile takes
    that."""
    _, _, v, _ = _arrays(case)
    n_kv, n, d = v.shape
    if d != LANES:
        return None
    return _weigh(_weights(case), v.reshape(n_kv, n // d, d, d).swapaxes(2, 3).reshape(v.shape))


def _reinterpreted(case: Case, got: Any) -> F64 | None:
    """V's memory read as (d, n)."""
    _, _, v, _ = _arrays(case)
    n_kv, n, d = v.shape
    return _weigh(_weights(case), v.reshape(n_kv, d, n).swapaxes(1, 2))


# -- the order of the keys -------------------------------------------------------------------------
def _orders(n: int, most: int) -> NDArray[np.intp]:
    """place[t * 128 + p] = p * T + t inside chunks of T tiles."""
    T = _in_chunk(n, most)
    own = (np.arange(LANES)[None, :] * T + np.arange(T)[:, None]).reshape(-1)
    chunks: NDArray[np.intp] = (np.arange(0, n, LANES * T)[:, None] + own).reshape(-1)
    return chunks


def _other_order(case: Case, got: Any, most: int, of_v: bool) -> F64 | None:
    """The weights in one of the two orders (key t 128 + p, key p T + t), V in the other."""
    _, k, v, _ = _arrays(case)
    order = _orders(k.shape[2], most)
    if np.array_equal(order, np.arange(len(order))):
        return None
    p = _weights(case)
    return _weigh(p, v[:, order]) if of_v else _weigh(p[:, order], v)


# -- whose weights ---------------------------------------------------------------------------------
def _other_tile(case: Case, got: Any, width: int, most: int, rule: str) -> F64 | None:
    """The values of every tile weighed by the p of another one of its chunk: l is right, acc is
    not."""
    _, _, v, _ = _arrays(case)
    p = _weights(case)
    chunk = LANES * _in_chunk(p.shape[1], most)
    tiles, rest = divmod(chunk, width)
    if rest or tiles < 2:
        return None
    source = _source(tiles, rule)
    return _weigh(p.reshape(len(p), -1, tiles, width)[:, :, source].reshape(p.shape), v)


def _source(tiles: int, rule: str) -> NDArray[np.intp]:
    t = np.arange(tiles)
    return {
        "first": 0 * t,
        "last": 0 * t + tiles - 1,
        "next": np.minimum(t + 1, tiles - 1),
        "on": (t + 1) % tiles,
        "previous": np.maximum(t - 1, 0),
        "back": (t - 1) % tiles,
        "reversed": t[::-1],
    }[rule]


RULES = ("first", "previous", "back", "next", "on", "last", "reversed")


def _with_bias(case: Case, got: Any, width: int, choose: Callable[[F64, F64], F64]) -> F64 | None:
    """p = exp(qk - bias), where the sums of tile t are still rescaled as if the bias had been m
    after tile t.

    `choose` gives the bias (Hq, T) from the tiles' own maxima and the running ones, both (Hq, T).
    """
    _, _, v, _ = _arrays(case)
    qk = _scores(case)
    width = LANES * _in_chunk(qk.shape[1], width // LANES)
    tiles = qk.shape[1] // width
    by_tile = qk.reshape(len(qk), tiles, width)
    top = by_tile.max(axis=2)
    m = np.maximum.accumulate(top, axis=1)
    bias = choose(top, m)
    if np.array_equal(bias, m):
        return None
    with np.errstate(all="ignore"):
        p = (
            np.exp(by_tile - bias[:, :, None]).astype(np.float32)
            * np.exp(m - m[:, -1:])[:, :, None]
        )
        weighed = _weigh(p.reshape(qk.shape), v)
        return weighed / p.reshape(qk.shape).sum(axis=1, keepdims=True)


def _of_tile(top: F64, m: F64, rule: str, running: bool) -> F64:
    return (m if running else top)[:, _source(top.shape[1], rule)]


def _of_head(top: F64, m: F64, by: int, group: int) -> F64:
    """The m of the head `by` further on among `group` neighbours (0: among all), or of their first
    (by = 0)."""
    if len(m) % (group or len(m)):
        return m
    rows = m.reshape(-1, group or len(m), m.shape[1])
    return (np.roll(rows, by, axis=1) if by else np.broadcast_to(rows[:, :1], rows.shape)).reshape(
        m.shape
    )


# -- the place of a head ---------------------------------------------------------------------------
def _moved(
    case: Case, got: Any, order: Callable[[int, int], NDArray[np.intp]], what: str
) -> F64 | None:
    """The rows of o, of p, or of q, in another order of the heads."""
    q, k, v, _ = _arrays(case)
    rows = order(len(q), len(q) // len(k))
    if np.array_equal(rows, np.arange(len(q))):
        return None
    p = _weights(case)
    if what == "o":
        return _weigh(p, v)[rows]
    if what == "p":
        return _weigh(p[rows], v)
    other = Case("", "", {**case.args, "q": np.asarray(case.args["q"])[:, rows]}, case.options)
    return _weigh(_weights(other), v)


def _roll(by: int, hq: int, g: int) -> NDArray[np.intp]:
    return np.roll(np.arange(hq), by)


def _roll_groups(by: int, hq: int, g: int) -> NDArray[np.intp]:
    return np.roll(np.arange(hq), by * g)


def _reverse(hq: int, g: int) -> NDArray[np.intp]:
    return np.arange(hq)[::-1]


def _reverse_groups(hq: int, g: int) -> NDArray[np.intp]:
    return np.arange(hq).reshape(-1, g)[::-1].reshape(-1)


def _reverse_within(hq: int, g: int) -> NDArray[np.intp]:
    return np.arange(hq).reshape(-1, g)[:, ::-1].reshape(-1)


def _swap(hq: int, g: int) -> NDArray[np.intp]:
    """The two neighbours of every pair exchanged."""
    return np.arange(hq) ^ 1 if hq % 2 == 0 else np.arange(hq)


def _first_group(hq: int, g: int) -> NDArray[np.intp]:
    return np.arange(hq) % g


def _strided(hq: int, g: int) -> NDArray[np.intp]:
    return np.arange(hq).reshape(g, -1).T.reshape(-1)


def _strided_back(hq: int, g: int) -> NDArray[np.intp]:
    return np.arange(hq).reshape(-1, g).T.reshape(-1)


_PLACE = (
    "A head stands on another head's partition: query head h is row h of o, and its group, the "
    "rows h // G * G to h // G * G + G - 1, must meet KV head h // G in the scores and in the "
    "weighted sum alike."
)
_PLACES: tuple[Callable[[int, int], NDArray[np.intp]], ...] = (
    partial(_roll, 1),
    partial(_roll, -1),
    partial(_roll_groups, 1),
    partial(_roll_groups, -1),
    _reverse,
    _reverse_groups,
    _reverse_within,
    _swap,
    _first_group,
    _strided,
    _strided_back,
)


def _places() -> Iterator[Variant]:
    for order in _PLACES:
        for what in ("o", "p", "q"):
            yield partial(_moved, order=order, what=what)


def _misplaced(case: Case, got: Any) -> F64 | None:
    """What the kernel answered, if every row of it is along some head's weights over some KV head's
    V, and not every row along its own. Found by direction, so that it holds whatever row's l a row
    was divided by."""
    q, _, v, _ = _arrays(case)
    p, group = _weights(case), len(q) // len(v)
    made = np.einsum("hj,bjd->hbd", p, v)  # every head's weights over every KV head's V
    unit = made / np.maximum(np.linalg.norm(made, axis=2, keepdims=True), 1e-30)
    out = np.asarray(got, np.float64)
    size = np.linalg.norm(out, axis=1, keepdims=True)
    if not np.isfinite(out).all() or not (size > 0).all():
        return None
    along = np.einsum("rd,hbd->rhb", out / size, unit).reshape(len(out), -1)  # cosines
    own = along[np.arange(len(out)), np.arange(len(out)) * len(v) + np.arange(len(out)) // group]
    if (along.max(axis=1) < 1 - 1e-3).any() or (own > 1 - 1e-3).sum() > len(out) // 2:
        return None
    return out


MISTAKES = (
    Known(
        "V read as untransposed",
        "V is stored (Hkv, n, d) here, its keys in rows, and was read as if it were (Hkv, d, n): "
        "a tile v[h, keys, :] has its keys on the partitions already and needs no transpose.",
        (_tiles_transposed, _reinterpreted),
        refused=r"'{v}' (would have|has) \d+ partitions|out of bounds for axis \d of '{v}'",
    ),
    Known(
        "keys of K and V in different order",
        "The weights and V are in a different order of the keys: where partition p of V holds the "
        "keys p T + t, column t of the weights must be key p T + t too, every T-th column of K.",
        tuple(
            partial(_other_order, most=most, of_v=of_v)
            for most in (0, 64, 32, 16, 8, 4, 2)
            for of_v in (False, True)
        ),
    ),
    Known(
        "p of another tile",
        "The values of a tile are weighed by another tile's p: l sums the right weights, acc does "
        "not. Read p where this tile's exp wrote it.",
        tuple(
            partial(_other_tile, width=width, most=most, rule=rule)
            for width, most in (
                (128, 4),
                (128, 16),
                (128, 64),
                (128, 0),
                (512, 0),
                (2048, 0),
                (8192, 0),
            )
            for rule in RULES
        ),
    ),
    Known(
        "bias of another tile's max",
        "exp's bias is the max of another tile: a tile's p must be relative to the m_new that its "
        "own alpha was formed with.",
        tuple(
            partial(_with_bias, width=width, choose=partial(_of_tile, rule=rule, running=running))
            for width in (128, 512, 2048, 8192)
            for running in (True, False)
            for rule in RULES
        ),
    ),
    Known(
        "bias of another head",
        "exp's bias is another head's max: column g of the weights is relative to m of head g.",
        tuple(
            partial(_with_bias, width=width, choose=partial(_of_head, by=by, group=group))
            for width in (128, 512, 8192)
            for group in (4, 0)
            for by in (1, -1, 0)
        ),
        last=True,
    ),
    Known("head on the wrong partition", _PLACE, tuple(_places())),
    Known("head on the wrong partition", _PLACE, (_misplaced,), last=True),
)
