"""Do two views of one buffer share an element? Exact, remembered, and without ever listing elements."""

from __future__ import annotations

from math import gcd

from ..memory import Meta

_KNOWN: dict[tuple[Meta, Meta, int], bool] = {}


def overlap(a: Meta, a_offset: int, b: Meta, b_offset: int) -> bool:
    """Whether the views (layout, offset in elements of its own type) of one buffer have an element in common.

    Exact: whether sum(i * stride_a) - sum(j * stride_b) = distance has a solution inside both shapes. Views of different
    item sizes are compared byte by byte.
    """
    one, two = (1, 1) if a.itemsize == b.itemsize else (a.itemsize, b.itemsize)
    distance = b_offset * two - a_offset * one
    key = (a, b, distance)
    found = _KNOWN.get(key)
    if found is None:
        terms = [(s * one, n) for s, n in zip(a.strides, a.shape) if n > 1 and s]
        terms += [(-s * two, n) for s, n in zip(b.strides, b.shape) if n > 1 and s]
        if one != two:  # bytes inside an element
            terms += [(1, one), (-1, two)]
        terms.sort(key=lambda t: -abs(t[0]))
        found = _KNOWN[key] = _solvable(terms, 0, distance)
    return found


def _solvable(terms: list[tuple[int, int]], at: int, target: int) -> bool:
    """Whether sum(step * x) = target with 0 <= x < n for each (step, n) from `at` on; largest steps first."""
    if at == len(terms):
        return target == 0
    low = sum(step * (n - 1) for step, n in terms[at:] if step < 0)
    high = sum(step * (n - 1) for step, n in terms[at:] if step > 0)
    if not low <= target <= high or target % gcd(*(step for step, _ in terms[at:])):
        return False
    step, n = terms[at]
    rest_low, rest_high = (low, high - step * (n - 1)) if step > 0 else (low - step * (n - 1), high)
    # x such that the rest can still reach the target: rest_low <= target - step * x <= rest_high
    first, last = sorted(((target - rest_high) / step, (target - rest_low) / step))
    for x in range(max(0, int(-(-first // 1))), min(n - 1, int(last // 1)) + 1):
        if _solvable(terms, at + 1, target - step * x):
            return True
    return False


def span(meta: Meta, offset: int) -> tuple[int, int]:
    """First and last byte of a view, relative to its buffer."""
    last = sum(s * (n - 1) for s, n in zip(meta.strides, meta.shape) if n)
    return offset * meta.itemsize, (offset + last + 1) * meta.itemsize - 1
