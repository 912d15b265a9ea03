"""Stage 0: the first kernel. HBM, SBUF, PSUM; the partition axis; what an engine may touch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.draw import Draw, OncePerDraw
from ..inputs.families import FAMILIES, grid
from ..reference.attention import not_finite
from ..stage import Break, Budget, Case, InputError, Question, Stage

TILE = 128


def oracle(x: NDArray[Any], scale: float) -> NDArray[np.float64]:
    """The answer in float64."""
    return np.asarray(x, np.float64) * scale


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    def case(family: str, reveals: str, n: int, scale: float, digits: bool = False) -> Case:
        x = draw.rng("stage 0", family).standard_normal((128, n))
        made = x.astype(np.float32) if digits else grid(x, 2.0**-10)
        return Case(family, reveals, {"x": made, "scale": scale * draw.stretch("stage 0", family)})

    return (
        case("random", "a wrong operation, a wrong tile", draw.keys(1024, "stage 0"), 2.5),
        case("one tile", "a loop that counts wrongly", 128, -0.75),
        case("scale 1", "a scale that is added", 256, 1.0),
        case("scale 0", "a division by the scale", 256, 0.0),
        case("all 24 bits", FAMILIES["all 24 bits"].reveals, 256, -3.3, digits=True),
    )


def validate(inputs: Mapping[str, Any]) -> None:
    x, scale = inputs["x"], inputs["scale"]
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[0] != 128:
        raise InputError(
            f"x must be a (128, n) array, got {getattr(x, 'shape', type(x).__name__)}."
        )
    if x.shape[1] == 0 or x.shape[1] % TILE:
        raise InputError(f"n must be a positive multiple of {TILE}, got {x.shape[1]}.")
    if x.dtype != np.float32:
        raise InputError(f"x must be float32 at this stage, got {x.dtype}.")
    if not isinstance(scale, (int, float, np.floating, np.integer)):
        raise InputError(f"scale must be a number, got {type(scale).__name__}.")
    if sentence := not_finite(inputs):
        raise InputError(sentence)


def minimum(case: Case) -> Budget:
    x = case.args["x"]
    tiles = x.shape[1] // TILE
    return Budget(x.nbytes, x.nbytes, 2 * tiles, 0, 0, 2 * 128 * TILE * 4, 0)


QUESTIONS = (
    Question(
        "x is (128, 2048) fp32. How many bytes does the kernel read from HBM?",
        128 * 2048 * 4,
        "128 * 2048 numbers of 4 bytes, each read once.",
        "Every number is read once; fp32 is 32 bits.",
    ),
    Question(
        "With tiles of 128 columns, how many DMA transfers are there in all?",
        32,
        "16 tiles, each loaded once and stored once.",
        "Count the tiles: each goes in and comes out.",
    ),
)

BROKEN = Break(
    "read too often",
    (
        ("nl.load(x[:, nl.ds(i * TILE, TILE)])  # (128, TILE) SBUF", "nl.load(x)"),
        ("tensor_scalar(x_tile,", "tensor_scalar(x_tile[:, nl.ds(i * TILE, TILE)],"),
    ),
    "",
)

STAGE = Stage(
    number=0,
    name="first_kernel",
    entry="scale_fwd",
    parameters=("x", "scale"),
    options=(),
    layout="x (128, n), scale -> y (128, n)",
    idea="HBM, SBUF, PSUM; the partition axis; what an engine may touch",
    line_budget=10,
    cost_budget="x is read once, y is written once",
    oracle=oracle,
    cases=cases,
    validate=validate,
    minimum=minimum,
    reads={"x": 1},
    questions=QUESTIONS,
    broken=BROKEN,
)
