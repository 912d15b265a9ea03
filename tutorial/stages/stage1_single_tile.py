"""Stage 1: decode attention on a single tile. Scores, max-subtracted softmax, weighted sum."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ..inputs import probes as small
from ..inputs.draw import Draw, OncePerDraw
from ..inputs.families import FAMILIES
from ..inputs.layouts import (
    SCALES,
    minimum,
    one_head_case,
    real_one_head_cases,
    scale_name,
    two_row_cases,
    validate_one_head,
)
from ..stage import Break, Case, Question
from . import one_head


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    fewer = draw.keys(80)
    return (
        one_head_case("random", 64, 128, draw=draw),
        one_head_case("random", 128, 128, "random, d = 128", draw),
        one_head_case("random", 32, fewer, f"random, {fewer} keys", draw),
        *(one_head_case("random", 64, 128, scale_name(x), draw, softmax_scale=x) for x in SCALES),
        *(
            one_head_case(name, 64, 128, draw=draw)
            for name, f in FAMILIES.items()
            if (f.scores or f.digits) and not f.many_rows
        ),
        *real_one_head_cases(128, draw),
    )


@OncePerDraw
def beyond(draw: Draw) -> tuple[Case, ...]:
    return two_row_cases(64, 128, draw)


def validate(inputs: Mapping[str, Any]) -> None:
    validate_one_head(inputs, most_keys=128)


QUESTIONS = (
    Question(
        "d = 64, n = 100. The last matmul sums over the keys. On how many partitions does its "
        "stationary operand lie?",
        100,
        "p is turned to (n, 1): each key is on a partition, so the sum runs over the partitions.",
        "A matmul sums over the partition axis of both operands.",
    ),
    Question(
        "All 128 scores are equal to 7. What is l?",
        128,
        "m is 7, so every weight is exp(0) = 1, and there are 128 of them.",
        "l sums the weights after the max was subtracted.",
    ),
)

BROKEN = Break(
    "no max subtraction",
    (("op0=nl.subtract, operand0=m)", "op0=nl.subtract, operand0=0.0)"),),
    "p = exp(qk)",
)

STAGE = one_head.stage(
    number=1,
    name="single_tile",
    layout="q (d, 1), k (d, n), v (d, n), n <= 128 -> o (1, d)",
    idea="scores, max-subtracted softmax, weighted sum, on one tile",
    line_budget=20,
    cost_budget="q, k and v are each read once, two transposes",
    cases=cases,
    validate=validate,
    minimum=lambda case: minimum(case, tile=case.args["k"].shape[1], running=False),
    beyond=beyond,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.one_head, 96, 128),
)
