"""Stage 10: generate. The kernel inside a language model: a decode loop whose every attention is
the reader's kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.draw import OWN, Draw
from ..inputs.layouts import grouped_softmax
from ..stage import Break, Budget, Case, Question, Stage
from ..writing.mistakes import STEP, step
from ..writing.passages import passages
from ..writing.stepcheck import judge, least, own_passage


def oracle(
    q: Any, k: Any, v: Any, layer: int, position: int, cache: Any, rotate: Any, kernel: Any
) -> NDArray[np.float64]:
    """The step with its attention in float64 and without the kernel; it fills the cache like the
    learner's: (Hq * d,)."""
    cache.append(layer, position, rotate(k, position), v)
    d = q.shape[1]
    keys, values = (x[layer, :, :d, : position + 1] for x in (cache.k, cache.v))
    return grouped_softmax(rotate(q, position), keys, values, d**-0.5).reshape(-1)


def cases(draw: Draw = OWN) -> tuple[Case, ...]:
    """The passages that the check runs over; a case has the text, and how much of it is
    in the cache already."""
    return tuple(
        Case(p.family, p.reveals, {"prompt": "".join(p.tokens), "prefilled": p.prefilled})
        for p in passages(draw)
    )


def validate(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless the input is a prompt that the model can read."""
    own_passage(inputs)


def minimum(case: Case) -> Budget:
    """The least for all steps of a stretch of text: stage 4's, one call per layer, on the tiles
    that hold keys."""
    return least(next(passage for passage in passages() if passage.family == case.family))


QUESTIONS = (
    Question(
        "The token at position 127 has just been cached. How many keys is the kernel given for it?",
        128,
        "Positions 0 to 127 are 128 keys: one whole tile, no padding.",
        "Positions count from 0.",
    ),
    Question(
        "And for the token at position 128?",
        256,
        "129 keys need two tiles; 127 columns of the second one are padding, and cost as "
        "many bytes as keys do.",
        "The kernel takes whole tiles of 128 keys.",
    ),
)

BROKEN = Break(
    "cache one position off",
    (
        ("cache.k[layer, :, :d, position]", "cache.k[layer, :, :d, position + 1]"),
        ("cache.k[layer, :, d, position]", "cache.k[layer, :, d, position + 1]"),
        ("cache.v[layer, :, :d, position]", "cache.v[layer, :, :d, position + 1]"),
    ),
    "",
    step(STEP.replace("at = position", "at = position + 1")),
)

STAGE = Stage(
    number=10,
    name="generate",
    entry="attention_step",
    parameters=("q", "k", "v", "layer", "position", "cache", "rotate", "kernel"),
    options=(),
    layout="q (Hq, d), k and v (Hkv, d), a cache (layers, Hkv, d + 1, capacity) and stage 4's "
    "kernel -> o (Hq * d,)",
    idea="a decode loop whose every attention is your kernel",
    line_budget=10,
    cost_budget="the kernel is called once per layer, on the tiles that hold keys",
    oracle=oracle,
    cases=cases,
    validate=validate,
    minimum=minimum,
    cost_case="first words",
    reads={},
    questions=QUESTIONS,
    broken=BROKEN,
    judge=judge,
)
