"""Small inputs on which a wrong kernel is run once more, to find the mistake that answers like it.

A family of the check is made so that a mistake cannot hide; a probe so that two mistakes answer
differently. In every quarter of the keys the scores lie at another level, so that the running max
rises, stays and rises again, and every tile counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stage import Case
from .families import grid, seed

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """What the scores of a probe are like: the level of each quarter of the keys, and what is added
    to all of them, and to every other row of a group (`apart`)."""

    name: str
    levels: tuple[float, ...] = (0.0, 1.5, 0.75, 3.0)
    centre: float = 0.0
    scale: float | None = None
    apart: float = 0.0


RISING = Kind("rising")
FALLING = Kind("falling", (3.0, 0.5, 1.5, 0.0))
SCALED = Kind("softmax_scale = 0.25", scale=0.25)
HIGH = Kind("high", centre=200.0)
LOW = Kind("low", centre=-200.0)
LOWER = Kind("lower", centre=-3000.0)
LOWEST = Kind("lowest", centre=-100000.0)
ABOVE = Kind("above", centre=30.0)
BELOW = Kind("below", centre=-55.0)
DEEP = Kind("deep", centre=-120.0)
UP_AND_DOWN = Kind("up and down", (-7.0, -4.0, -1.0, 2.0))
SPREAD = Kind("spread", (0.0, 100.0, 40.0, 150.0))
FALLEN = Kind("fallen", (150.0, 40.0, 100.0, 0.0))
NO_SCALE = Kind("softmax_scale = 0", scale=0.0)
NEGATIVE = Kind("softmax_scale = -0.25", scale=-0.25)
APART = Kind("rows apart", apart=150.0)

USUAL = (
    RISING,
    FALLING,
    SCALED,
    ABOVE,
    BELOW,
    DEEP,
    HIGH,
    LOW,
    SPREAD,
    FALLEN,
    LOWER,
    LOWEST,
    NO_SCALE,
    NEGATIVE,
)


def heads(
    kind: Kind, n_q: int, n_kv: int, d: int, n: int, steps: Sequence[int] = (-3, -4)
) -> tuple[F32, F32, F32]:
    """q (d, Hq), k (Hkv, d, n) and v (Hkv, d, n) whose scores, with the scale 1/sqrt(d) of d = 64,
    are of that kind.

    Row g of a group reads its scores from dimension g of k, one dimension is noise for all. `steps`
    are the powers of two of which scores and values are multiples: coarse ones are exact in bf16.
    """
    rng = seed("probe", kind.name, n_q, n_kv, d, n)
    g = n_q // n_kv
    quarter = np.minimum(4 * np.arange(n) // max(n, 1), 3)
    row = np.arange(n_kv)[:, None] + np.arange(g)
    turned = (quarter + (row[:, :, None] % 2)) % 4  # every other row begins with the second level
    scores = kind.centre + np.array(kind.levels)[turned] + 0.7 * rng.standard_normal((n_kv, g, n))
    scores += (0.5 * (np.arange(g) % 3) + kind.apart * (np.arange(g) % 2))[:, None]
    q = np.zeros((d, n_q), np.float32)
    q[np.arange(n_q) % g, np.arange(n_q)] = 8.0
    q[g:] = grid(rng.standard_normal((d - g, n_q)) / 4, 0.25)
    k = np.zeros((n_kv, d, n), np.float32)
    k[:, :g] = grid(scores, 2.0 ** steps[0])
    if abs(kind.centre) < 1e4:  # else fp32 has no digits left for the noise
        k[:, g:] = grid(rng.standard_normal((n_kv, d - g, n)) / 4, 2.0 ** steps[0])
    v = grid(rng.standard_normal((n_kv, d, n)) + row[:, :1, None] / 2, 2.0 ** steps[1])
    return q, k, v


def options(kind: Kind) -> dict[str, Any]:
    return {} if kind.scale is None else {"softmax_scale": kind.scale}


# -- layouts -------------------------------------------------------------------------------------
def _case(kind: Kind, args: dict[str, Any], name: str = "") -> Case:
    return Case(f"probe: {name or kind.name}", "which mistake it is", args, options(kind))


@cache
def one_head(n: int, long: int) -> tuple[Case, ...]:
    """q (d, 1), k (d, n), v (d, n): `long` keys where the levels of the quarters differ, else n."""
    made = []
    for kind in USUAL:
        q, k, v = heads(kind, 1, 1, 64, long if kind in (RISING, FALLING) else n)
        made.append(_case(kind, {"q": q, "k": k[0], "v": v[0]}))
    return tuple(made)


@cache
def grouped(n: int, **more: Any) -> tuple[Case, ...]:
    """q (d, Hq), k and v (Hkv, d, n), G = 3 and Hkv = 2, or other numbers; `more` arguments."""
    made = []
    for kind, n_q, n_kv, keys in (
        (RISING, 6, 2, 2 * n),
        (FALLING, 6, 3, n),
        *((kind, 2, 1, n) for kind in USUAL[2:]),
        (APART, 4, 2, n),
    ):
        q, k, v = heads(kind, n_q, n_kv, 64, keys)
        made.append(_case(kind, {"q": q, "k": k, "v": v, **more}))
    return tuple(made)


@cache
def batch(n: int, lengths: tuple[int, ...]) -> tuple[Case, ...]:
    """q (B, d, Hq), k and v (B, Hkv, d, n), lengths (B, 1); what is added to the padding of K and
    of V: nothing, NaN, NaN in K alone, 10. Where the scores are low one sequence has no padding: a
    max that starts too high is too high there as well. Where they are high all tiles are whole."""
    made, most = [], n
    for kind, n_q, n_kv, in_k, in_v in (
        (RISING, 4, 2, 0.0, 0.0),
        (RISING, 2, 1, np.nan, np.nan),
        (FALLING, 2, 1, np.nan, 0.0),
        (FALLING, 2, 1, 10.0, 10.0),
        *((kind, 2, 1, 0.0, 0.0) for kind in USUAL[2:]),
        (APART, 6, 3, 0.0, 0.0),
    ):
        n = most // 128 * 128 if kind is HIGH else most
        own = lengths if kind in (RISING, FALLING) else lengths[:1] + (min(lengths[1], n),)
        own = (n, *own[1:]) if kind is LOW else own
        sequences = [heads(kind, n_q, n_kv, 64, max(length, 4)) for length in own]
        k, v = (np.zeros((len(own), n_kv, 64, n), np.float32) for _ in "kv")
        for b, length in enumerate(own):
            _, k[b], v[b] = heads(RISING, n_q, n_kv, 64, n)
            k[b], v[b] = k[b] + np.float32(in_k), v[b][..., ::-1] + np.float32(in_v)
            for into, x in ((k, sequences[b][1]), (v, sequences[b][2])):
                into[b, :, :, :length] = x[..., :length]
        q = np.stack([turn(q, b) for b, (q, _, _) in enumerate(sequences)])
        args = {"q": q, "k": k, "v": v, "lengths": np.array(own, np.int32)[:, None]}
        padded = f"{kind.name}, padding + {in_k:g}, {in_v:g}"
        made.append(_case(kind, args, padded if own is lengths else kind.name))
    return tuple(made)


def turn(q: F32, by: int) -> F32:
    """Queries that differ from those of another sequence: the noise dimensions, turned."""
    own = q.copy()
    own[-8:] = np.roll(own[-8:], by, axis=0)
    return own


@cache
def fast(dtype: Any) -> tuple[Case, ...]:
    """q (d, Hq), k (Hkv, d, n), v (Hkv, n, d) in 16 bits. 65 tiles of 128 keys are not a whole
    number of chunks of 8192, so that there are several; 128 tiles are two."""
    made = []
    for kind, n_q, n_kv, d, n in (
        (RISING, 6, 2, 64, 512),
        (FALLING, 1, 1, 8, 8320),
        (RISING, 4, 2, 128, 512),
        (RISING, 1, 1, 8, 16384),
        *(
            (kind, 2, 1, 64, 256)
            for kind in (SCALED, ABOVE, BELOW, DEEP, HIGH, LOW, SPREAD, NO_SCALE)
        ),
        (APART, 6, 3, 64, 256),
    ):
        q, k, v = heads(kind, n_q, n_kv, d, n)
        arrays = {"q": q, "k": k, "v": np.ascontiguousarray(v.swapaxes(1, 2))}
        args = {name: x.astype(dtype) for name, x in arrays.items()}
        own = {"softmax_scale": 0.125} if d < 64 else options(kind)
        name = f"probe: {kind.name}, d = {d}, n = {n}"
        made.append(Case(name, "which mistake it is", args, own))
    return tuple(made)
