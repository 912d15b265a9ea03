"""Stage 10: generate. The kernel inside a language model: a decode loop whose every attention is
the reader's kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.families import Case
from ..inputs.layouts import softmax_attention
from ..stage import Break, Budget, Question, Stage
from ..writing.mistakes import Slip
from ..writing.stepcheck import judge, least, own_walk
from ..writing.stretches import Walk, walks

PROBLEM = """\
o = kernel(q, K, V) for one new token of one layer, K and V having grown by its key and value.
The step puts the new key and value into the cache, hands the kernel the tiles that hold keys, and gives its output back."""

BLANK = '''\
"""o = kernel(q, K, V), for one new token: its key and value join the cache, then its queries attend over all keys so far

Line budget: 10 lines in place of the `raise`. Cost budget: the kernel is called once a layer, on the tiles that hold keys.
"""

import math

import numpy as np

TILE = 128  # keys per tile of the kernel


def attention_step(q, k, v, layer, position, cache, rotate, kernel):
    """q (Hq, d), k and v (Hkv, d): the new token's projections in this layer, fp32, not yet rotated -> o (Hq * d,).

    position: the new token's, counted from 0; the cache holds the tokens before it.
    cache.k, cache.v (layers, Hkv, d + 1, capacity) fp32: column p is the token at position p.
    rotate(x, position) -> x, every row turned to that position; keys are cached rotated.
    kernel(q, k, v, softmax_scale=None) is stage 4's: q (d, Hq), k and v (Hkv, d, n) -> o (Hq, d).
    """
    n_q_heads, d = q.shape
    # Row d is the padding row: cache.k has 0 there in a column with a key and -30000 in one without, cache.v has 0.
    # 1. The rotated key and the value into column `position` of this layer's cache; it has a key now
    # 2. The rotated queries as columns, (d + 1, Hq), with a 1 in the padding row
    # 3. The kernel, on the whole tiles that hold positions 0 to `position`, with the scale of d dimensions
    # Return its output without the padding row's column, head after head
    raise NotImplementedError("stage 10 is not attempted yet")
'''


def oracle(
    q: Any, k: Any, v: Any, layer: int, position: int, cache: Any, rotate: Any, kernel: Any
) -> NDArray[np.float64]:
    """The step with its attention in float64 and without the kernel; it fills the cache like the
    learner's: (Hq * d,)."""
    cache.append(layer, position, rotate(k, position), v)
    d, keys = q.shape[1], slice(0, position + 1)
    groups = zip(
        np.split(rotate(q, position), len(k)),
        cache.k[layer, :, :d, keys],
        cache.v[layer, :, :d, keys],
        strict=True,
    )
    return np.concatenate([softmax_attention(*group, d**-0.5) for group in groups]).reshape(-1)


def cases() -> tuple[Case, ...]:
    """The stretches of text that the check walks over; a case has the text, and how much of it is
    in the cache already."""
    return tuple(Case(walk.family, walk.reveals, _arguments(walk)) for walk in walks())


def _arguments(walk: Walk) -> Mapping[str, Any]:
    return {"prompt": "".join(walk.tokens), "prefilled": walk.prefilled}


def validate(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless the input is a prompt that the model can read."""
    own_walk(inputs)


def minimum(case: Case) -> Budget:
    """The least for all steps of a stretch of text: stage 4's, a call a layer, on the tiles that
    hold keys."""
    return least(next(walk for walk in walks() if walk.family == case.family))


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
    Slip(shift=1).step,
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
    problem=PROBLEM,
    blank=BLANK,
    line_budget=10,
    cost_budget="the kernel is called once a layer, on the tiles that hold keys",
    oracle=oracle,
    twin=None,
    cases=cases,
    validate=validate,
    minimum=minimum,
    cost_case="first words",
    reads={},
    questions=QUESTIONS,
    broken=BROKEN,
    judge=judge,
)
