"""Input families: the named kinds of input on which every kernel is checked.

A wrong kernel is right on most inputs. Each family is built so that some mistakes cannot hide in
it. Nearly all numbers are small binary fractions, so that the scores q^T k come out exact in fp32
on every machine, whatever the order of the additions: what is left to tell two kernels apart is
what they do with the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .draw import OWN, Draw

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """`scores(rng, groups, G, n)` gives the scaled scores wanted, (groups, G, n), and `base` is
    added to all of them by a separate dimension; `noise` lets the unused dimensions of q and k
    add to them. `many_rows` families say something only with more than one query head. `digits`
    says that q, k and v have all 24 binary digits of a float32, and no wanted scores."""

    name: str
    reveals: str
    scores: Callable[[np.random.Generator, int, int, int], F64] | None
    noise: bool = True
    many_rows: bool = False
    base: float = 0.0
    digits: bool = False


def _around(centre: float, spread: float) -> Callable[[np.random.Generator, int, int, int], F64]:
    return lambda rng, groups, g, n: centre + spread * rng.standard_normal((groups, g, n))


def slope(rise: float) -> Callable[[np.random.Generator, int, int, int], F64]:
    """Scores that rise (or fall) by `rise` from the first key to the last: so do the maxima of
    tiles of any width."""
    return lambda rng, groups, g, n: (
        rise * np.arange(n) / n
        + 0.25 * rng.standard_normal((groups, g, n))
        + np.arange(g)[:, None] / 4
    )


def _one_key_dominates(where: str) -> Callable[[np.random.Generator, int, int, int], F64]:
    """One key, within 16 of the start, the middle or the end, outweighs all others; another one for
    every row."""

    def scores(rng: np.random.Generator, groups: int, g: int, n: int) -> F64:
        made = rng.standard_normal((groups, g, n))
        for group in range(groups):
            for row in range(g):
                key = (5 * row + 3 * group) % 16
                at = {"first": key, "middle": n // 2 + key, "last": n - 1 - key}[where]
                made[group, row, min(max(at, 0), n - 1)] = 120.0
        return made

    return scores


def _rows_apart(rng: np.random.Generator, groups: int, g: int, n: int) -> F64:
    centres = np.array([-200.0, 200.0, 0.5])[(np.arange(groups)[:, None] + np.arange(g)) % 3]
    found: F64 = centres[:, :, None] + rng.standard_normal((groups, g, n))
    return found


FINITE = "a finite stand-in for minus infinity, in m or in a mask, that is not low enough"

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
        Family("ascending", "sums that are not rescaled when the max rises", slope(12.0)),
        Family("descending", "a tile's own max used where the running max belongs", slope(-12.0)),
        Family(
            "last tile dominates",
            "a last tile that is skipped, a V tile that is not its own",
            _one_key_dominates("last"),
        ),
        Family(
            "first tile dominates",
            "a max that falls back, a max of the last tile only",
            _one_key_dominates("first"),
        ),
        Family(
            "middle tile dominates",
            "a tile between the first and the last that is skipped, or taken twice",
            _one_key_dominates("middle"),
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
        Family("scores near -3000", FINITE, _around(0.0, 2.0), base=-3072.0),
        Family("scores near -100000", FINITE, _around(0.0, 2.0), noise=False, base=-98504.0),
        Family(
            "all 24 bits",
            "q, k or v rounded to 16 bits: nothing here is exact in them",
            None,
            digits=True,
        ),
        Family(
            "rows of different scale", "a max or a sum shared by rows", _rows_apart, many_rows=True
        ),
    )
}


HIGH_INSIDE = Family(
    "high scores inside blocks",
    "a max of some positions of a block only: exp overflows at the others",
    lambda rng, groups, g, n: (
        100.0 * np.isin(np.arange(n) % 4, (1, 2)) + rng.standard_normal((groups, g, n))
    ),
)
"""Of every four keys the first and the last are low. For a cache in blocks."""


def seed(*parts: object) -> np.random.Generator:
    """A generator for the course's own numbers that depends on the parts' text only."""
    return OWN.rng(*parts)


def grid(values: F64, step: float) -> F32:
    """Round to multiples of `step`, a power of two."""
    return (np.round(values / step) * step).astype(np.float32)


def heads(
    name: str | Family, n_q_heads: int, n_kv_heads: int, d: int, n: int, draw: Draw = OWN
) -> tuple[F32, F32, F32]:
    """The family's q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), for the scale 1/sqrt(d).

    Families with wanted scores need d = 4, 16 or 64, where the scale is a power of two, and at
    least one dimension a row: row g of a group reads its score from dimension g of k.
    """
    family = FAMILIES[name] if isinstance(name, str) else name
    rng = draw.rng(family.name, n_q_heads, n_kv_heads, d, n)
    g = n_q_heads // n_kv_heads
    size = draw.stretch(family.name, n)
    if family.digits:
        return (
            (size * rng.standard_normal((d, n_q_heads))).astype(np.float32),
            rng.standard_normal((n_kv_heads, d, n)).astype(np.float32),
            rng.standard_normal((n_kv_heads, d, n)).astype(np.float32),
        )
    v = grid(rng.standard_normal((n_kv_heads, d, n)), 2.0**-10)
    if family.scores is None:
        q = grid(rng.standard_normal((d, n_q_heads)) * size, 2.0**-4)
        k = grid(rng.standard_normal((n_kv_heads, d, n)), 2.0**-4)
        return q, k, v
    own = g + bool(family.base)
    if d not in (4, 16, 64) or own > d:
        raise ValueError(
            f"family {family.name!r} is made for d = 64, 16 or 4, a dimension for each row of a "
            f"group, got d = {d}, G = {g}"
        )
    q = np.zeros((d, n_q_heads), np.float32)
    k = np.zeros((n_kv_heads, d, n), np.float32)
    if family.noise:
        q[own:] = grid(rng.standard_normal((d - own, n_q_heads)) / 2, 2.0**-2)
        k[:, own:] = grid(rng.standard_normal((n_kv_heads, d - own, n)) / 2, 2.0**-4)
    q[np.arange(n_q_heads) % g, np.arange(n_q_heads)] = np.sqrt(d)
    k[:, :g] = grid(family.scores(rng, n_kv_heads, g, n) * size, 2.0**-4)
    if family.base:
        q[g] = np.sqrt(d)
        k[:, g] = family.base * size
    return q, k, v
