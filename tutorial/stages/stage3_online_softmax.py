"""Stage 3: online softmax. One pass, with a running (m, l, acc) and the rescale by alpha."""

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
from ..reference.attention import online_states
from ..stage import Break, Budget, Case, Question, Stage


def oracle(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> NDArray[np.float64]:
    """The answer in float64: q (d, 1), k (d, n), v (d, n) -> o (1, d)."""
    return softmax_attention(
        q.T, k, v, default_scale(k.shape[0]) if softmax_scale is None else softmax_scale
    )


# fmt: off
def twin(q: Any, k: Any, v: Any, softmax_scale: float | None = None,
         tile: int = TILE) -> Iterator[dict[str, Any]]:
    """The kernel's method in NumPy: yields the state after every tile."""
    d, n = k.shape
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    m, l = np.full((1, 1), -np.inf, np.float32), np.zeros((1, 1), np.float32)
    acc = np.zeros((1, d), np.float32)
    for start in range(0, n, tile):
        keys = slice(start, start + tile)
        qk = scale * (q.T @ k[:, keys])  # (1, tile)
        m_new = np.maximum(m, qk.max(axis=1, keepdims=True))  # (1, 1)
        alpha = np.exp(m - m_new)  # (1, 1)
        p = np.exp(qk - m_new)  # (1, tile)
        l = l * alpha + p.sum(axis=1, keepdims=True)
        acc = acc * alpha + p @ v[:, keys].T
        yield {"keys": (start, start + tile - 1), "tile_max": qk.max(), "m_old": m, "m": m_new,
               "alpha": alpha, "l": l, "acc": acc, "o": acc / l}
        m = m_new
# fmt: on


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
        *real_one_head_cases(1024, draw),
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
        hbm_bytes_read=4 * (d + 2 * d * n),
        hbm_bytes_written=4 * d,
        dma_transfers=2 * tiles + 2,
        matmuls=2 * tiles,
        transposes=2 * tiles,
        sbuf_bytes=sbuf,
        psum_bytes=psum,
    )


QUESTIONS = (
    Question(
        "The tiles' maxima are 2, 1, 4, 4, 3. In which tiles does m change? (a list)",
        [0, 2],
        "m goes from -inf to 2 in tile 0 and to 4 in tile 2; a tile that only equals m "
        "changes nothing.",
        "m is the largest score so far. Tile 0 counts too: before it, m is -inf.",
    ),
    Question(
        "What is alpha in tile 1?",
        1.0,
        "m stays 2, so alpha = exp(2 - 2) = 1 and nothing is rescaled.",
        "alpha = exp(m_old - m_new).",
    ),
)

BROKEN = Break(
    "p with the tile's max",
    (
        (
            "tensor_scalar(qk, op0=nl.subtract, operand0=m_new)",
            "tensor_scalar(qk, op0=nl.subtract, operand0=m_tile)",
        ),
    ),
    "p = exp(qk - m_tile)",
)

STAGE = Stage(
    number=3,
    name="online_softmax",
    entry="decode_attention_fwd",
    parameters=("q", "k", "v"),
    options=("softmax_scale",),
    layout="q (d, 1), k (d, n), v (d, n), n a multiple of 128 -> o (1, d), in one pass",
    idea="the running (m, l, acc) and the rescale",
    line_budget=25,
    cost_budget="K and V are each read once",
    oracle=oracle,
    twin=twin,
    cases=cases,
    validate=validate,
    minimum=minimum,
    cost_case="random",
    reads={"q": 1, "k": 1, "v": 1},
    attention=one_head_attention,
    states=online_states,
    beyond=beyond,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 256, 1024),
)
