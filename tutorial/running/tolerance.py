"""How far a right float32 kernel may be from the float64 oracle.

Rounding to float32 changes a value by a factor of 1 + e with |e| <= u = 2**-24. With w_j the
softmax weights, o = sum_j w_j v_j, s_j the scaled scores, m their max, n keys in T tiles of 128:

    a score that is off by e_j changes the weight w_j by the factor exp(e_j), and moves o by
        sum_j w_j (exp(e_j) - 1) |v_j - o|, where e_j adds up
        q^T k           c(d) u |scale| sum_i |q_i k_ij|; nothing where all partial sums are exact
        the scale       3 u |scale| sum_i |q_i k_ij|; a power of two costs the same, as a kernel
                        whose weights are powers of 2 multiplies it by log2(e)
        s_j - m         u |s_j - m|
        exp, and alpha  4 u (1 + T)
        m + log l       2 u max |s_j|: some kernels keep m and l as this one number
    the sums over the keys, and what is done to them, move o by
        u (c(n') + 2 T + 4) (sum_j w_j |v_j| + |o|)

c(x) = min(x, 4 sqrt(x)) is what adding x numbers costs: x u in the worst order, and more than
4 sqrt(x) u practically never. An addition of a number too small to matter loses that number at
most, so n' counts only the keys with w_j > u in full, and the rest by w_j / u.

Every part is computed from the input at hand, so that the same rule holds for a family and for an
input of the reader's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.draw import TILE
from ..reference.attention import Attention

F64 = NDArray[np.float64]
UNIT = 2.0**-24
_TINY = 1e-37  # what underflow may take from a weight


def elementwise(expected: F64) -> F64:
    """The largest error of one multiplication by a number that is itself rounded."""
    return 4 * UNIT * np.abs(expected) + _TINY


@lru_cache(maxsize=256)
def sums_of(attend: Callable[[Any], Attention], case: Any) -> F64:
    """`Float32.of_the_sums` of a case, whose arrays nobody changes: every kernel is held to it."""
    return Float32(attend(case)).of_the_sums


@lru_cache(maxsize=256)
def bound_of(attend: Callable[[Any], Attention], case: Any) -> F64:
    """`Float32.bound` of a case."""
    return Float32(attend(case)).bound


def allows(attend: Callable[[Any], Attention], case: Any, error: F64) -> bool:
    """Whether the errors (Hq, d) of an answer to a case are no larger than a right kernel's may
    be."""
    return bool((error <= sums_of(attend, case)).all()) or bool(
        (error <= bound_of(attend, case)).all()
    )


class Float32:
    """What float32 may do to each element of o (Hq, d) for one input."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention

    @property
    def bound(self) -> F64:
        """The largest error of each element of o, (Hq, d)."""
        return self.of_the_sums + self.of_the_scores

    @cached_property
    def _scores(self) -> F64:
        """The scaled scores as (Hkv, G, n); -inf where a key does not count."""
        a = self.attention
        return a.scores().reshape(a.n_kv_heads, a.group, a.n)

    @cached_property
    def _top(self) -> F64:
        top: F64 = self._scores.max(axis=2, keepdims=True)
        return np.where(np.isfinite(top), top, 0.0)

    @cached_property
    def weights(self) -> F64:
        """The softmax weights (Hkv, G, n); all 0 in a row without keys."""
        p = np.exp(self._scores - self._top)
        total = p.sum(axis=2, keepdims=True)
        return p / np.where(total > 0, total, 1.0)

    @cached_property
    def values(self) -> F64:
        """V (Hkv, d, n) in float64; 0 where a key counts for no row of the group."""
        a = self.attention
        if a.lengths is None:
            return a.v.astype(np.float64)
        counts = a.counts[:: a.group]  # the rows of a group are of one sequence
        return np.where(counts[:, None], a.v, 0.0).astype(np.float64)

    @cached_property
    def o(self) -> F64:
        """The right output (Hkv, G, d)."""
        return self.weights @ self.values.swapaxes(1, 2)

    @cached_property
    def spread(self) -> F64:
        """The weighted sum of |v|, (Hkv, G, d)."""
        return self.weights @ np.abs(self.values).swapaxes(1, 2)

    @property
    def _tiles(self) -> int:
        return -(-self.attention.n // TILE)

    @cached_property
    def of_the_sums(self) -> F64:
        """The part of the bound that the sums over the keys have, (Hq, d)."""
        a, w = self.attention, self.weights
        count = np.minimum(w / UNIT, 1.0).sum(axis=2, keepdims=True)
        steps = _adding(count) + 2 * self._tiles + 4
        largest = np.abs(self.values).max(axis=2)[:, None]
        error: F64 = UNIT * steps * (self.spread + np.abs(self.o)) + _TINY * largest
        return error.reshape(a.n_q_heads, a.d)

    @cached_property
    def of_the_scores(self) -> F64:
        """The part of the bound that wrong digits of the scores have, (Hq, d)."""
        a, w = self.attention, self.weights
        off = np.expm1(np.minimum(self._off(), 50.0))
        moved = w * off
        whole = 1 + moved.sum(axis=2)  # the weights' own sum moves with them
        o, v = self.o, self.values
        error = np.empty((a.n_kv_heads, a.group, a.d))
        for h, g in np.ndindex(a.n_kv_heads, a.group):
            error[h, g] = np.abs(v[h] - o[h, g][:, None]) @ moved[h, g] * whole[h, g]
        return error.reshape(a.n_q_heads, a.d)

    def _off(self) -> F64:
        """How far each score may be off, (Hkv, G, n)."""
        a, s = self.attention, self._scores
        counted = np.isfinite(s)
        s = np.where(counted, s, 0.0)
        q = np.abs(a.q.astype(np.float64)).reshape(a.n_kv_heads, a.group, a.d)
        k = np.abs(a.k.astype(np.float64))
        if a.lengths is not None:
            k = np.where(a.counts[:: a.group][:, None], k, 0.0)
        size = abs(a.scale) * (q @ k)
        off = np.abs(s - self._top) + 4 * (1 + self._tiles)
        off += 2 * np.abs(s).max(axis=2, keepdims=True) + 3 * size
        if not _exact(q, k):
            off += _adding((q > 0).astype(float) @ (k > 0).astype(float)) * size
        return np.where(counted, UNIT * off, 0.0)


def _adding(count: F64) -> F64:
    """What adding so many numbers costs, in units of their sum."""
    cost: F64 = np.minimum(count, 4 * np.sqrt(count))
    return cost


def _exact(q: F64, k: F64) -> bool:
    """Whether every partial sum of every q^T k is a float32, in whatever order it is added."""
    step = _step(q) * _step(k)
    return step > 0 and float((q @ k).max(initial=0.0)) < step * 2**24


def _step(x: F64) -> float:
    """The largest power of two of which all values are multiples; 0 where they use all digits."""
    digits, exponents = np.frexp(x[x != 0])
    if not digits.size:
        return 1.0
    whole = (digits * 2.0**24).astype(np.int64)
    lowest = whole & -whole
    return float(np.min(lowest * 2.0 ** (exponents - 24)))
