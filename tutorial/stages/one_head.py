"""What stages 1 to 3 share: one query head, q (d, 1), k and v (d, n) -> o (1, d)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.draw import LONG, TILE, Draw, OncePerDraw
from ..inputs.families import FAMILIES
from ..inputs.layouts import (
    SCALES,
    minimum,
    one_head_attention,
    one_head_case,
    real_one_head_cases,
    scale_name,
    scale_of,
    softmax_attention,
    two_row_cases,
)
from ..stage import Case, Stage


def oracle(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> NDArray[np.float64]:
    """The answer in float64: q (d, 1), k (d, n), v (d, n) -> o (1, d)."""
    return softmax_attention(q.T, k, v, scale_of(softmax_scale, k.shape[0]))


@OncePerDraw
def tiled_cases(real: int, draw: Draw) -> tuple[Case, ...]:
    """The inputs of several tiles; those of the real model have `real` keys."""
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
        one_head_case("ascending", 16, LONG, f"ascending, {LONG} keys", draw),
        *real_one_head_cases(real, draw),
    )


@OncePerDraw
def beyond(draw: Draw) -> tuple[Case, ...]:
    """Two query rows, in two tiles."""
    return two_row_cases(64, 2 * TILE, draw)


def stage(**own: Any) -> Stage:
    """A stage of one query head, with what is its own."""
    shared: dict[str, Any] = {
        "entry": "decode_attention_fwd",
        "parameters": ("q", "k", "v"),
        "oracle": oracle,
        "beyond": beyond,
        "minimum": minimum,
        "attention": one_head_attention,
    }
    return Stage(**{**shared, **own})
