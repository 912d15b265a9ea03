"""The mistakes of stage 7: what kernels answer that mix up V's layout, the order of the keys, or the place of a head.

Each variant is NumPy on the case's own layout, in float64: q (d, Hq), k (Hkv, d, n), v (Hkv, n, d). A variant that says
nothing about a case (None) is not compared there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .families import Case
from .layouts import default_scale
from .stage import Known

F64 = NDArray[np.float64]
LANES = 128
CHUNKS = (64, 32, 16, 8, 4, 2)  # keys on each lane of a chunk, where it is not the whole cache


def _arrays(case: Case) -> tuple[F64, F64, F64, float]:
    """q (Hq, d), k (Hkv, d, n), v (Hkv, n, d) in float64, and the scale."""
    q, k, v = (np.asarray(case.args[name], np.float64) for name in "qkv")
    scale = case.options.get("softmax_scale")
    return q.T, k, v, default_scale(k.shape[1]) if scale is None else float(scale)


def _weights(case: Case) -> F64:
    """The softmax weights (Hq, n)."""
    q, k, _, scale = _arrays(case)
    qk = scale * (q.reshape(len(k), -1, q.shape[1]) @ k).reshape(len(q), -1)
    p = np.exp(qk - qk.max(axis=1, keepdims=True))
    weights: F64 = p / p.sum(axis=1, keepdims=True)
    return weights


def _weigh(p: F64, v: F64) -> F64:
    """p (Hq, n) and v (Hkv, n, d) -> (Hq, d)."""
    return (p.reshape(len(v), -1, p.shape[1]) @ v).reshape(len(p), -1)


# -- the layout of V ---------------------------------------------------------------------------------------------------------
def _tiles_transposed(case: Case) -> F64 | None:
    """Every (128, d) tile of V transposed, as if it had come as (d, keys); only a square tile takes that."""
    _, _, v, _ = _arrays(case)
    n_kv, n, d = v.shape
    if d != LANES:
        return None
    return _weigh(_weights(case), v.reshape(n_kv, n // d, d, d).swapaxes(2, 3).reshape(v.shape))


def _reinterpreted(case: Case) -> F64 | None:
    """V's memory read as (d, n)."""
    _, _, v, _ = _arrays(case)
    n_kv, n, d = v.shape
    return _weigh(_weights(case), v.reshape(n_kv, d, n).swapaxes(1, 2))


# -- the order of the keys ---------------------------------------------------------------------------------------------------
def _orders(n: int, tiles: int) -> NDArray[np.intp] | None:
    """place[t * 128 + p] = p * T + t inside chunks of T = `tiles` tiles of 128 (0: the whole cache); None if it does not fit."""
    T = tiles or n // LANES
    if n % (LANES * T):
        return None
    own = (np.arange(LANES)[None, :] * T + np.arange(T)[:, None]).reshape(-1)
    chunks: NDArray[np.intp] = (np.arange(0, n, LANES * T)[:, None] + own).reshape(-1)
    return chunks


def _other_order(case: Case, tiles: int, of_v: bool) -> F64 | None:
    """The weights in one of the two orders (key t 128 + p, key p T + t), V in the other."""
    _, k, v, _ = _arrays(case)
    order = _orders(k.shape[2], tiles)
    if order is None:
        return None
    p = _weights(case)
    return _weigh(p, v[:, order]) if of_v else _weigh(p[:, order], v)


# -- whose weights -----------------------------------------------------------------------------------------------------------
def _other_tile(case: Case, width: int, shift: int) -> F64 | None:
    """The values of every tile weighed by the p of another one: l is right, acc is not."""
    _, _, v, _ = _arrays(case)
    p = _weights(case)
    tiles, rest = divmod(p.shape[1], width)
    if rest or tiles < 2:
        return None
    t = np.arange(tiles)
    source = 0 * t if not shift else np.clip(t + shift, 0, tiles - 1)
    return _weigh(p.reshape(len(p), tiles, width)[:, source].reshape(p.shape), v)


def _with_bias(case: Case, width: int, choose: Callable[[F64, F64], F64]) -> F64 | None:
    """p = exp(qk - bias), where the sums of tile t are still rescaled as if the bias had been m after tile t.

    `choose` gives the bias (Hq, T) from the tiles' own maxima and the running ones, both (Hq, T).
    """
    q, k, v, scale = _arrays(case)
    qk = scale * (q.reshape(len(k), -1, q.shape[1]) @ k).reshape(len(q), -1)
    tiles, rest = divmod(qk.shape[1], width)
    if rest:
        return None
    by_tile = qk.reshape(len(qk), tiles, width)
    top = by_tile.max(axis=2)
    m = np.maximum.accumulate(top, axis=1)
    bias = choose(top, m)
    if np.array_equal(bias, m):
        return None
    with np.errstate(all="ignore"):
        p = np.exp(by_tile - bias[:, :, None]).astype(np.float32) * np.exp(m - m[:, -1:])[:, :, None]
        weighed = _weigh(p.reshape(qk.shape), v)
        return weighed / p.reshape(qk.shape).sum(axis=1, keepdims=True)


def _of_tile(top: F64, m: F64, rule: str, running: bool) -> F64:
    t = np.arange(top.shape[1])
    source = {"first": 0 * t, "last": 0 * t + len(t) - 1, "next": np.minimum(t + 1, len(t) - 1),
              "previous": np.maximum(t - 1, 0), "wrapped": t - 1, "reversed": t[::-1]}[rule]
    return (m if running else top)[:, source]


def _of_head(top: F64, m: F64, by: int) -> F64:
    return np.roll(m, by, axis=0) if by else np.broadcast_to(m[:1], m.shape)


# -- the place of a head -------------------------------------------------------------------------------------------------------
def _moved(case: Case, order: Callable[[int, int], NDArray[np.intp]], what: str) -> F64 | None:
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


_PLACES: tuple[Callable[[int, int], NDArray[np.intp]], ...] = (
    partial(_roll, 1), partial(_roll, -1), partial(_roll_groups, 1), partial(_roll_groups, -1), _reverse, _reverse_groups,
    _reverse_within, _swap, _first_group, _strided, _strided_back)


def _places() -> Iterator[Callable[[Case], Any]]:
    for order in _PLACES:
        for what in ("o", "p", "q"):
            yield partial(_moved, order=order, what=what)


MISTAKES = (
    Known("V read as untransposed", "V is stored (Hkv, n, d) here, its keys in rows, and was read as if it were (Hkv, d, n): a "
          "tile v[h, keys, :] has its keys on the partitions already and needs no transpose.",
          (_tiles_transposed, _reinterpreted)),
    Known("keys of K and V in different order", "The weights and V are in a different order of the keys: where partition p of V "
          "holds the keys p T + t, column t of the weights must be key p T + t too, every T-th column of K.",
          tuple(partial(_other_order, tiles=tiles, of_v=of_v) for tiles in (0, *CHUNKS) for of_v in (False, True))),
    Known("p of another tile", "The values of a tile are weighed by another tile's p: l sums the right weights, acc does not. "
          "Read p where this tile's exp wrote it.",
          tuple(partial(_other_tile, width=width, shift=shift) for width in (128, 256, 512, 2048, 4096, 8192)
                for shift in (-1, 1, 0))),
    Known("bias of another tile's max", "exp's bias is the max of another tile: a tile's p must be relative to the m_new that its "
          "own alpha was formed with.",
          tuple(partial(_with_bias, width=width, choose=partial(_of_tile, rule=rule, running=running))
                for width in (128, 256, 512, 2048, 4096, 8192) for running in (True, False)
                for rule in ("first", "previous", "wrapped", "next", "last", "reversed"))),
    Known("bias of another head", "exp's bias is another head's max: column g of the weights is relative to m of head g.",
          tuple(partial(_with_bias, width=width, choose=partial(_of_head, by=by))
                for width in (128, 512, 8192) for by in (1, -1, 0))),
    Known("head on the wrong partition", "A head stands on another head's partition: query head h is row h of o, and its group, "
          "the rows h // G * G to h // G * G + G - 1, must meet KV head h // G in the scores and in the weighted sum alike.",
          tuple(_places())),
)
