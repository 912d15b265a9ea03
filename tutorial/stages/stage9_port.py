"""Stage 9: the port. Stage 4's kernel in `nki`, where every instruction is told the tile that it
writes."""

from __future__ import annotations

from ..inputs.draw import Draw, OncePerDraw
from ..inputs.layouts import beside_trn1
from ..running import refusals
from ..stage import Break, Case, Question
from . import grouped

QUESTIONS = (
    Question(
        "How many tiles does nisa.activation(dst=t, op=nl.exp, data=t) allocate?",
        0,
        "It writes to the tile that it is given, here the one that it reads.",
        "Who makes a tile now, the instruction or you?",
    ),
    Question(
        "qk_psum is made once, before the loop over 4 tiles, and accumulate is left out. The "
        "scores of how many tiles does it hold after the last matmul?",
        4,
        "The first matmul into a PSUM tile overwrites, the later ones add.",
        "accumulate=None: the first write overwrites. And the second?",
    ),
)

_QK_PSUM = "qk_psum = nl.ndarray((G, TILE), dtype=nl.float32, buffer=nl.psum)"
BROKEN = Break(
    "PSUM tile reused",
    (
        (f"            {_QK_PSUM}  # made here: a new sum for every tile\n", ""),
        (
            "        for i in range(n // TILE):\n",
            f"        {_QK_PSUM}\n        for i in range(n // TILE):\n",
        ),
    ),
    "raw = q_tile @ k_tile + (raw if t else 0)",
)


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    """Stage 4's, and some of them on trn1 too."""
    return beside_trn1(grouped.cases(draw), "random", "random, Hkv = 5")


# What is computed, on what, and what it may cost is stage 4's.
STAGE = grouped.stage(
    cases=cases,
    number=9,
    name="port",
    idea="every instruction is told the tile that it writes",
    line_budget=55,
    questions=QUESTIONS,
    broken=BROKEN,
    dialect=refusals.DIALECT,
)
