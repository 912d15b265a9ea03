"""Stage 4: grouped-query attention. A group's query heads share one load of K and V."""

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
    on_chip_peaks,
    real_grouped_cases,
    scale_name,
    softmax_attention,
)
from ..inputs.layouts import validate_grouped as validate
from ..reference.attention import online_states
from ..stage import Break, Budget, Case, Question, Stage


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


def minimum(case: Case) -> Budget:
    (d, n_q), (n_kv, _, n) = case.args["q"].shape, case.args["k"].shape
    tiles = n_kv * (n // TILE)
    sbuf, psum = on_chip_peaks(n_q // n_kv, d, TILE)
    return Budget(
        hbm_bytes_read=4 * (d * n_q + 2 * n_kv * d * n),
        hbm_bytes_written=4 * d * n_q,
        dma_transfers=2 * tiles + 2 * n_kv,
        matmuls=2 * tiles,
        transposes=2 * tiles,
        sbuf_bytes=sbuf,
        psum_bytes=psum,
    )


QUESTIONS = (
    Question(
        "Hq = 12, Hkv = 3. Which KV head does query head 9 use?",
        2,
        "G = Hq // Hkv = 4, and 9 // 4 = 2: the heads of a group are neighbours.",
        "G = Hq // Hkv, and query head h uses KV head h // G.",
    ),
    Question(
        "n = 512, tiles of 128. How many tiles of K does the kernel load in all?",
        8,
        "4 tiles for each of the 2 KV heads; the query heads add none.",
        "The query heads of a group share a load.",
    ),
)

BROKEN = Break(
    "q heads strided",
    (("nl.load(q[:, nl.ds(h * G, G)])", "nl.load(q[:, h::n_kv_heads])"),),
    "q_tile = q[b, h::Hkv]",
)

STAGE = Stage(
    number=4,
    name="gqa",
    entry="decode_attention_gqa_fwd",
    parameters=("q", "k", "v"),
    options=("softmax_scale",),
    layout="q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128 -> o (Hq, d)",
    idea="a group's query heads share one load of K and V",
    line_budget=30,
    cost_budget="each KV head's K and V are read once",
    oracle=oracle,
    twin=twin,
    cases=cases,
    validate=validate,
    minimum=minimum,
    cost_case="random",
    reads={"q": 1, "k": 1, "v": 1},
    attention=grouped_attention,
    states=online_states,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.grouped, 256),
)
