"""Stage 2: any number of keys, in tiles. Three passes over K, and what they cost in HBM bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..inputs import probes as small
from ..inputs.draw import TILE
from ..inputs.layouts import minimum, validate_one_head
from ..reference.attention import pass_states
from ..stage import Break, Question
from . import one_head


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

STAGE = one_head.stage(
    number=2,
    name="kv_tiling",
    layout="q (d, 1), k (d, n), v (d, n), n a multiple of 128 -> o (1, d)",
    idea="three passes over tiles, and what that costs in HBM bytes",
    line_budget=30,
    cost_budget="K is read three times and V once",
    twin=twin,
    cases=partial(one_head.tiled_cases, 512),
    validate=partial(validate_one_head, multiple=TILE),
    minimum=partial(minimum, k_reads=3),
    reads={"q": 1, "k": 3, "v": 1},
    states=pass_states,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 256, 1024),
)
