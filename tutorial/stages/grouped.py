"""What stages 4 and 9 share, and stage 6 in part: q (d, Hq), k and v (Hkv, d, n) -> o (Hq, d)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs import probes as small
from ..inputs.draw import OWN, TILE, Draw
from ..inputs.families import FAMILIES
from ..inputs.layouts import (
    SCALES,
    default_scale,
    grouped_attention,
    grouped_case,
    minimum,
    real_grouped_cases,
    scale_name,
    softmax_attention,
    validate_grouped,
)
from ..mistakes.steps import STEPS
from ..reference.attention import online_states
from ..stage import Case, Stage


def oracle(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> NDArray[np.float64]:
    """The answer in float64: q (d, Hq), k (Hkv, d, n), v (Hkv, d, n) -> o (Hq, d)."""
    scale = default_scale(k.shape[1]) if softmax_scale is None else softmax_scale
    groups = np.split(q.T, k.shape[0])  # Hkv times (G, d)
    return np.concatenate(
        [softmax_attention(*group, scale) for group in zip(groups, k, v, strict=True)]
    )


# fmt: off
def twin(q: Any, k: Any, v: Any, softmax_scale: float | None = None,
         tile: int = TILE) -> Iterator[dict[str, Any]]:
    """The kernel's method in NumPy: yields a group's state, a row per head, after every tile."""
    n_kv_heads, d, n = k.shape
    G = q.shape[1] // n_kv_heads
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    for h in range(n_kv_heads):
        q_group = q[:, h * G : (h + 1) * G]  # (d, G)
        m, l = np.full((G, 1), -np.inf, np.float32), np.zeros((G, 1), np.float32)
        acc = np.zeros((G, d), np.float32)
        for start in range(0, n, tile):
            keys = slice(start, start + tile)
            qk = scale * (q_group.T @ k[h, :, keys])  # (G, tile)
            m_new = np.maximum(m, qk.max(axis=1, keepdims=True))  # (G, 1)
            alpha = np.exp(m - m_new)  # (G, 1)
            p = np.exp(qk - m_new)  # (G, tile)
            l = l * alpha + p.sum(axis=1, keepdims=True)
            acc = acc * alpha + p @ v[h, :, keys].T
            yield {"head": h * G, "keys": (start, start + tile - 1), "tile_max": qk.max(axis=1),
                   "m_old": m, "m": m_new, "alpha": alpha, "l": l, "acc": acc, "o": acc / l}
            m = m_new
# fmt: on


@cache
def cases(draw: Draw = OWN) -> tuple[Case, ...]:
    return (
        grouped_case("random", 8, 2, 64, 512, draw=draw),
        grouped_case("random", 4, 2, 128, 256, "random, Hq = 4, d = 128", draw),
        grouped_case("random", 6, 2, 64, 128, "random, Hq = 6, one tile", draw),
        grouped_case("random", 3, 3, 64, 256, "random, Hq = Hkv", draw),
        grouped_case("random", 8, 1, 64, 256, "random, Hkv = 1", draw),
        grouped_case("random", 10, 5, 64, 128, "random, Hkv = 5", draw),
        *(
            grouped_case("random", 8, 2, 64, 256, scale_name(x), draw, softmax_scale=x)
            for x in SCALES
        ),
        *(grouped_case(name, 8, 2, 64, 512, draw=draw) for name, f in FAMILIES.items() if f.scores),
        grouped_case("all 24 bits", 8, 2, 64, 256, draw=draw),
        *real_grouped_cases(1024, 512, draw),
    )


def stage(**own: Any) -> Stage:
    """A stage of grouped-query attention, with what is its own."""
    shared: dict[str, Any] = {
        "entry": "decode_attention_gqa_fwd",
        "parameters": ("q", "k", "v"),
        "options": ("softmax_scale",),
        "layout": "q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128 -> o (Hq, d)",
        "cost_budget": "each KV head's K and V are read once",
        "oracle": oracle,
        "twin": twin,
        "cases": cases,
        "validate": validate_grouped,
        "minimum": minimum,
        "cost_case": "random",
        "reads": {"q": 1, "k": 1, "v": 1},
        "attention": grouped_attention,
        "states": online_states,
        "probes": partial(small.grouped, 256),
        "known": STEPS,
    }
    return Stage(**{**shared, **own})
