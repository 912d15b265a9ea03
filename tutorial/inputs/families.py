"""Input families: the named kinds of input on which every kernel is checked.

A wrong kernel is right on most inputs. Each family is built so that some mistakes cannot hide in
it. All numbers are small binary fractions, so that the scores q^T k come out exact in fp32 on every
machine, whatever the order of the additions: what is left to tell two kernels apart is what they do
with the scores.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """`scores(rng, groups, G, n)` gives the scaled scores wanted, (groups, G, n); `noise` lets the
    unused dimensions of q and k add to them. `many_rows` families say something only with more than
    one query head."""

    name: str
    reveals: str
    scores: Callable[[np.random.Generator, int, int, int], F64] | None
    noise: bool = True
    many_rows: bool = False


def _around(centre: float, spread: float) -> Callable[[np.random.Generator, int, int, int], F64]:
    return lambda rng, groups, g, n: centre + spread * rng.standard_normal((groups, g, n))


def _slope(rise: float) -> Callable[[np.random.Generator, int, int, int], F64]:
    """Scores that rise (or fall) by `rise` from the first key to the last: so do the maxima of
    tiles of any width."""
    return lambda rng, groups, g, n: (
        rise * np.arange(n) / n
        + 0.25 * rng.standard_normal((groups, g, n))
        + np.arange(g)[:, None] / 4
    )


def _one_key_dominates(last: bool) -> Callable[[np.random.Generator, int, int, int], F64]:
    """One key, within 16 of the end or of the start, outweighs all others; another one for every
    row."""

    def scores(rng: np.random.Generator, groups: int, g: int, n: int) -> F64:
        made = rng.standard_normal((groups, g, n))
        for group in range(groups):
            for row in range(g):
                key = (5 * row + 3 * group) % 16
                made[group, row, max(n - 1 - key, 0) if last else min(key, n - 1)] = 120.0
        return made

    return scores


def _rows_apart(rng: np.random.Generator, groups: int, g: int, n: int) -> F64:
    centres = np.array([-200.0, 200.0, 0.5])[(np.arange(groups)[:, None] + np.arange(g)) % 3]
    found: F64 = centres[:, :, None] + rng.standard_normal((groups, g, n))
    return found


FAMILIES = {
    family.name: family
    for family in (
        Family("random", "wrong indices, wrong or missing scale", None),
        Family(
            "equal",
            "anything that weighs the keys unequally; a sum that stops growing",
            _around(2.5, 0.0),
            False,
        ),
        Family("ascending", "sums that are not rescaled when the max rises", _slope(12.0)),
        Family("descending", "a tile's own max used where the running max belongs", _slope(-12.0)),
        Family(
            "last tile dominates",
            "a last tile that is skipped, a V tile that is not its own",
            _one_key_dominates(True),
        ),
        Family(
            "first tile dominates",
            "a max that falls back, a max of the last tile only",
            _one_key_dominates(False),
        ),
        Family(
            "scores near 50",
            "a scale on the scores but not on their max: every weight underflows",
            _around(50.0, 2.0),
        ),
        Family(
            "scores near 1000", "exp without the max subtracted: it overflows", _around(1000.0, 2.0)
        ),
        Family(
            "scores near -1000",
            "a max that starts too high: every weight underflows",
            _around(-1000.0, 2.0),
        ),
        Family("scores below -110", "a max that starts at 0", _around(-150.0, 2.0)),
        Family(
            "rows of different scale", "a max or a sum shared by rows", _rows_apart, many_rows=True
        ),
    )
}


def seed(*parts: object) -> np.random.Generator:
    """A generator that depends on the parts' text only: the same inputs on every machine."""
    return np.random.default_rng(zlib.crc32(" ".join(map(str, parts)).encode()))


def grid(values: F64, step: float) -> F32:
    """Round to multiples of `step`, a power of two."""
    return (np.round(values / step) * step).astype(np.float32)


def heads(name: str, n_q_heads: int, n_kv_heads: int, d: int, n: int) -> tuple[F32, F32, F32]:
    """The family's q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), for the scale 1/sqrt(d).

    Families with wanted scores need d = 64, where the scale is a power of two, and at least one
    dimension a row: row g of a group reads its score from dimension g of k.
    """
    family = FAMILIES[name]
    rng = seed(name, n_q_heads, n_kv_heads, d, n)
    g = n_q_heads // n_kv_heads
    v = grid(rng.standard_normal((n_kv_heads, d, n)), 2.0**-10)
    if family.scores is None:
        q = grid(rng.standard_normal((d, n_q_heads)), 2.0**-4)
        k = grid(rng.standard_normal((n_kv_heads, d, n)), 2.0**-4)
        return q, k, v
    if d != 64 or g >= d:
        raise ValueError(
            f"family {name!r} is made for d = 64 and groups smaller than that, got d = {d}, G = {g}"
        )
    q = np.zeros((d, n_q_heads), np.float32)
    k = np.zeros((n_kv_heads, d, n), np.float32)
    if family.noise:
        q[g:] = grid(rng.standard_normal((d - g, n_q_heads)) / 2, 2.0**-2)
        k[:, g:] = grid(rng.standard_normal((n_kv_heads, d - g, n)) / 2, 2.0**-4)
    q[np.arange(n_q_heads) % g, np.arange(n_q_heads)] = np.sqrt(d)
    k[:, :g] = grid(family.scores(rng, n_kv_heads, g, n), 2.0**-4)
    return q, k, v
