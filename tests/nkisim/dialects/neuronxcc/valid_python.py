"""Kernels that use Python around their instructions as people do, with what each computes."""

from __future__ import annotations

import dataclasses
from collections import namedtuple

import neuronxcc.nki as nki
import neuronxcc.nki.compiler as ncc
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np
from neuronxcc.nki.language import par_dim

from ...helpers import values
from .cases import Cases

X = values((128, 512))

case = CASES = Cases()


def scaled(tile, factor):
    return nisa.tensor_scalar(tile, op0=np.multiply, operand0=factor)


@nki.jit(mode="trace")
def loaded_twice(x):
    return nl.load(x) + nl.load(x)


@case(lambda x: x * 6, X)
def helper_functions_closures_lambdas_and_other_kernels(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    factor = 1.5

    def closure(tile):
        return scaled(tile, factor)

    double = lambda tile: tile * 2.0  # noqa: E731
    nl.store(out, double(closure(loaded_twice(x))))
    return out


@dataclasses.dataclass(frozen=True)
class Shape:
    rows: int
    columns: int
    scale: float = 2.0


Pair = namedtuple("Pair", "left right")


@case(
    lambda pair, shape, ops: pair.left[:64, :32] * 2 + pair.right[:64, :32],
    Pair(X, X),
    Shape(64, 32),
    (nl.multiply, nl.add),
)
def dataclasses_tuples_and_functions_as_arguments(pair, shape, ops):
    out = nl.ndarray((shape.rows, shape.columns), dtype=pair.left.dtype, buffer=nl.shared_hbm)
    left, right = (
        nl.load(pair.left[: shape.rows, : shape.columns]),
        nl.load(pair.right[0 : shape.rows, 0 : shape.columns]),
    )
    multiply, add = ops
    nl.store(out, add(multiply(left, shape.scale), right))
    return out


@case(lambda x, n: np.exp(x[:, : int(n)]), X, np.int64(96))
@case(lambda x, n: np.exp(x[:, : int(n)]), X, np.array(96))
def numpy_numbers_as_sizes(x, n):
    out = nl.ndarray((x.shape[0], int(n)), dtype=x.dtype, buffer=nl.shared_hbm)
    half = np.int32(int(n) // 2)
    for i in range(2):
        nl.store(
            out[:, nl.ds(i * half, half)],
            nl.exp(nl.load(x[:, np.int64(i) * half : (i + 1) * half])),
        )
    return out


@case(lambda x: np.maximum(x * np.float32(0.5), -1) + 3, X)
def numpy_scalars_in_arithmetic(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = np.float32(0.5) * nl.load(x)
    nl.store(out, np.int32(3) + nl.maximum(tile, np.float64(-1)))
    return out


class Scaler:
    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.tile = None

    def load(self, x):
        self.tile = nl.load(x)

    def result(self):
        return self.tile * self.factor


@case(lambda x: x * 3, X)
def objects_that_hold_tiles(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    scaler = Scaler(3.0)
    scaler.load(x)
    nl.store(out, scaler.result())
    return out


@case(lambda x: x + np.arange(4).repeat(128), X)
def lists_and_dicts_of_tiles(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tiles = {i: nl.load(x[:, nl.ds(i * 128, 128)]) for i in range(4)}
    shifted = [tile + float(i) for i, tile in tiles.items()]
    for i, tile in enumerate(shifted):
        nl.store(out[:, nl.ds(i * 128, 128)], tile)
    return out


@case(lambda x, bias: x, X, None)
@case(lambda x, bias: x + bias, X, X)
def optional_arguments(x, bias):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    if bias is not None:
        tile += nl.load(bias)
    nl.store(out, tile)
    return out


@case(np.exp, X)
@ncc.skip_middle_end_transformations
@ncc.enable_stack_allocator(log_level=10)
def decorated_and_allocated(x):
    out: nt.tensor[128, 512] = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    with ncc.no_reorder():
        tile = nl.ndarray(
            (1, par_dim(128), 512),
            dtype=x.dtype,
            buffer=ncc.sbuf.mod_alloc(base_addr=0, num_free_tiles=(1,)),
        )
        tile[0] = nl.load(x)
        result = nl.ndarray(
            (par_dim(128), 512),
            dtype=x.dtype,
            buffer=ncc.sbuf.alloc(lambda idx, pdim, fdim: (0, 4096)),
        )
        zeros = nl.ndarray(
            (par_dim(128), 1), dtype=nl.float32, buffer=ncc.sbuf.mod_alloc(base_addr=8192)
        )
        zeros[...] = 0
        result[...] = nisa.activation(op=nl.exp, data=tile[0], bias=zeros)
        nl.store(out, result)
    return out


@case(lambda x: x * 2, X)
def destination_style_in_the_older_namespace(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    twice = nl.ndarray(x.shape, dtype=x.dtype)
    nisa.tensor_scalar(dst=twice, data=tile, op0=nl.multiply, operand0=2.0)
    copied = nl.ndarray(x.shape, dtype=x.dtype)
    nisa.tensor_copy(dst=copied, src=twice)
    nisa.dma_copy(dst=out, src=copied)
    return out


@case(lambda x: x + 1, X)
def keywords_that_are_accepted_and_ignored(x):
    out = nl.ndarray(
        x.shape, dtype=x.dtype, buffer=nl.shared_hbm, name="result", lazy_initialization=True
    )
    for _ in nl.affine_range(1, precise_schedule=True):
        tile = nl.load(x, name="x_tile")
        nl.store(
            out,
            nisa.tensor_scalar(
                tile, op0=nl.add, operand0=1.0, engine=nisa.vector_engine, name="plus_one"
            ),
        )
    return out


@case(lambda x: np.full((128, 512), 5.0), X)
def assertions_and_prints_on_what_is_known(x):
    assert x.shape == (128, 512) and x.dtype == nl.float32, f"unexpected {x}"
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    sizes = f"{nl.load(x[:, 0:1])!r}"
    assert "in sbuf" in sizes
    nl.store(out, value=5.0)
    return out
