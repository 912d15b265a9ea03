"""Stage 3: online softmax. One pass, with a running (m, l, acc) and the rescale by alpha."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..inputs import probes as small
from ..inputs.draw import TILE
from ..inputs.layouts import validate_one_head
from ..mistakes.steps import STEPS
from ..reference.attention import online_states
from ..stage import Break, Question
from . import one_head


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

STAGE = one_head.stage(
    number=3,
    name="online_softmax",
    layout="q (d, 1), k (d, n), v (d, n), n a multiple of 128 -> o (1, d), in one pass",
    idea="the running (m, l, acc) and the rescale",
    line_budget=25,
    cost_budget="K and V are each read once",
    twin=twin,
    cases=partial(one_head.tiled_cases, 1024),
    validate=partial(validate_one_head, multiple=TILE),
    states=online_states,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 256, 1024),
    known=STEPS,
)
