"""Stage 2: any number of keys, in tiles. Three passes over K, and what they cost in HBM bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
    on_chip_peaks,
    one_head_attention,
    one_head_case,
    real_one_head_cases,
    scale_name,
    softmax_attention,
    two_row_cases,
    validate_one_head,
)
from ..reference.attention import pass_states
from ..stage import Break, Budget, Case, Question, Stage


def oracle(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> NDArray[np.float64]:
    """The answer in float64: q (d, 1), k (d, n), v (d, n) -> o (1, d)."""
    return softmax_attention(
        q.T, k, v, default_scale(k.shape[0]) if softmax_scale is None else softmax_scale
    )


def twin(
    q: Any, k: Any, v: Any, softmax_scale: float | None = None, tile: int = TILE
) -> Iterator[dict[str, Any]]:
    """The kernel's method in NumPy: yields the state after every tile of every pass."""
    d, n = k.shape
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    m, l, acc = (
        np.full((1, 1), -np.inf, np.float32),
        np.zeros((1, 1), np.float32),
        np.zeros((1, d), np.float32),
    )
    for start in range(0, n, tile):  # pass 1
        qk = scale * (q.T @ k[:, start : start + tile])  # (1, tile)
        m_old, m = m, np.maximum(m, qk.max(axis=1, keepdims=True))
        yield {"keys": (start, start + tile - 1), "tile_max": qk.max(), "m_old": m_old, "m": m}
    for start in range(0, n, tile):  # pass 2
        p = np.exp(scale * (q.T @ k[:, start : start + tile]) - m)  # (1, tile)
        l = l + p.sum(axis=1, keepdims=True)
        yield {"keys": (start, start + tile - 1), "l": l}
    for start in range(0, n, tile):  # pass 3
        p = np.exp(scale * (q.T @ k[:, start : start + tile]) - m)  # (1, tile)
        acc = acc + p @ v[:, start : start + tile].T
        yield {"keys": (start, start + tile - 1), "acc": acc, "o": acc / l}


@cache
def cases(draw: Draw = OWN) -> tuple[Case, ...]:
    return (
        one_head_case("random", 64, 1024, draw=draw),
        one_head_case("random", 128, 256, "random, d = 128", draw),
        one_head_case("random", 64, 128, "random, one tile", draw),
        *(one_head_case("random", 64, 512, scale_name(x), draw, softmax_scale=x) for x in SCALES),
        *(
            one_head_case(name, 64, 1024, draw=draw)
            for name, f in FAMILIES.items()
            if f.scores and not f.many_rows
        ),
        one_head_case("all 24 bits", 64, 256, draw=draw),
        one_head_case("equal", 64, 8192, "equal, 8192 keys", draw),
        *real_one_head_cases(512, draw),
    )


@cache
def beyond(draw: Draw = OWN) -> tuple[Case, ...]:
    return two_row_cases(64, 256, draw)


def validate(inputs: Mapping[str, Any]) -> None:
    validate_one_head(inputs, multiple=TILE)


def minimum(case: Case) -> Budget:
    d, n = case.args["k"].shape
    tiles = n // TILE
    sbuf, psum = on_chip_peaks(1, d, TILE)
    return Budget(
        hbm_bytes_read=4 * (d + 4 * d * n),
        hbm_bytes_written=4 * d,
        dma_transfers=4 * tiles + 2,
        matmuls=4 * tiles,
        transposes=2 * tiles,
        sbuf_bytes=sbuf,
        psum_bytes=psum,
    )


QUESTIONS = (
    Question(
        "n = 5120, tiles of 128. How many tiles of K does the kernel load, over all passes?",
        120,
        "40 tiles in each of 3 passes. The max needs all scores, the sum needs the max, and the "
        "weights are needed again for V.",
        "Which of the three loops of the twin use k?",
    ),
    Question(
        "And how many tiles of V?",
        40,
        "Only the third pass uses V.",
        "Which of the three loops of the twin use v?",
    ),
)

BROKEN = Break(
    "last tile skipped in the sum",
    (
        (
            "# Pass 2: the sum of all weights.\n    for i in nl.sequential_range(n // TILE):",
            "# Pass 2: the sum of all weights.\n    for i in nl.sequential_range(n // TILE - 1):",
        ),
    ),
    "[2] for t, keys => for t, keys in list(enumerate(tiles))[:-1]:",
)

STAGE = Stage(
    number=2,
    name="kv_tiling",
    entry="decode_attention_fwd",
    parameters=("q", "k", "v"),
    options=("softmax_scale",),
    layout="q (d, 1), k (d, n), v (d, n), n a multiple of 128 -> o (1, d)",
    idea="three passes over tiles, and what that costs in HBM bytes",
    line_budget=30,
    cost_budget="K is read three times and V once",
    oracle=oracle,
    twin=twin,
    cases=cases,
    validate=validate,
    minimum=minimum,
    cost_case="random",
    reads={"q": 1, "k": 3, "v": 1},
    attention=one_head_attention,
    states=pass_states,
    beyond=beyond,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 256, 1024),
)
