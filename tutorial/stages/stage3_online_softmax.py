"""Stage 3: online softmax. One pass, with a running (m, l, acc) and the rescale by alpha."""

from __future__ import annotations

from functools import partial

from ..inputs import probes as small
from ..inputs.draw import TILE
from ..inputs.layouts import validate_one_head
from ..mistakes.steps import STEPS
from ..stage import Break, Question
from . import one_head

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
    cases=partial(one_head.tiled_cases, 1024),
    validate=partial(validate_one_head, multiple=TILE),
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 256, 1024),
    known=STEPS,
)
