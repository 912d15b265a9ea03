"""Stage 2: any number of keys, in tiles. Three passes over K, and what they cost in HBM bytes."""

from __future__ import annotations

from functools import partial

from ..inputs import probes as small
from ..inputs.draw import TILE
from ..inputs.layouts import minimum, validate_one_head
from ..reference.attention import pass_states
from ..stage import Break, Question
from . import one_head

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
    cases=partial(one_head.tiled_cases, 512),
    validate=partial(validate_one_head, multiple=TILE),
    minimum=partial(minimum, k_reads=3),
    reads={"q": 1, "k": 3, "v": 1},
    states=pass_states,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 256, 1024),
)
