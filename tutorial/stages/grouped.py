"""What stages 4 and 9 share, and stage 6 in part: q (d, Hq), k and v (Hkv, d, n) -> o (Hq, d)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs import probes as small
from ..inputs.draw import LONG, Draw, OncePerDraw
from ..inputs.families import FAMILIES
from ..inputs.layouts import (
    SCALES,
    grouped_attention,
    grouped_case,
    grouped_softmax,
    minimum,
    real_grouped_cases,
    scale_name,
    scale_of,
    validate_grouped,
)
from ..mistakes.steps import STEPS
from ..stage import Case, Stage


def oracle(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> NDArray[np.float64]:
    """The answer in float64: q (d, Hq), k (Hkv, d, n), v (Hkv, d, n) -> o (Hq, d)."""
    return grouped_softmax(q.T, k, v, scale_of(softmax_scale, k.shape[1]))


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    return (
        grouped_case("random", 8, 2, 64, 512, draw=draw),
        grouped_case("random", 4, 2, 128, 256, "random, Hq = 4, d = 128", draw),
        grouped_case("random", 6, 2, 64, 128, "random, Hq = 6, one tile", draw),
        grouped_case("random", 3, 3, 64, 256, "random, Hq = Hkv", draw),
        grouped_case("random", 8, 1, 64, 256, "random, Hkv = 1", draw),
        grouped_case("random", 10, 5, 64, 128, "random, Hkv = 5", draw),
        *(
            grouped_case("random", 8, 2, 64, 256, scale_name(x), draw, softmax_scale=x)
            for x in SCALES
        ),
        *(grouped_case(name, 8, 2, 64, 512, draw=draw) for name, f in FAMILIES.items() if f.scores),
        grouped_case("all 24 bits", 8, 2, 64, 256, draw=draw),
        grouped_case("ascending", 4, 2, 16, LONG, f"ascending, {LONG} keys", draw),
        *real_grouped_cases(1024, 512, draw),
    )


def stage(**own: Any) -> Stage:
    """A stage of grouped-query attention, with what is its own."""
    shared: dict[str, Any] = {
        "entry": "decode_attention_gqa_fwd",
        "parameters": ("q", "k", "v"),
        "layout": "q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128 -> o (Hq, d)",
        "cost_budget": "each KV head's K and V are read once",
        "oracle": oracle,
        "cases": cases,
        "validate": validate_grouped,
        "minimum": minimum,
        "attention": grouped_attention,
        "probes": partial(small.grouped, 256),
        "known": STEPS,
    }
    return Stage(**{**shared, **own})
