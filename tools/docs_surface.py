"""The names that the Neuron SDK 2.26 documents for `neuronxcc.nki`, by section, and one call of
each that computes.

Names and sections: aws-neuron-sdk v2.26.0 general/nki/api/nki.language.rst, nki.isa.rst, nki.rst,
nki.compiler.rst. The calls are there to be run: what an `nl` function lowers to is shown in the
documentation as it was recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import neuronxcc.nki.isa as nisa  # type: ignore[import-not-found, unused-ignore]
import neuronxcc.nki.language as nl  # type: ignore[import-not-found, unused-ignore]
import numpy as np

LANGUAGE: dict[str, str] = {
    "Memory operations": "load store load_transpose2d atomic_rmw copy broadcast_to",
    "Creation": "ndarray empty_like zeros zeros_like ones full rand random_seed shared_constant "
    "shared_identity_matrix",
    "Mathematics": (
        "add subtract multiply divide power maximum minimum max min mean var sum prod all abs "
        "negative sign trunc floor ceil mod fmod exp log cos sin tan tanh arctan sqrt rsqrt "
        "sigmoid relu gelu gelu_dx gelu_apprx_tanh gelu_apprx_sigmoid silu silu_dx erf erf_dx "
        "softplus mish square softmax rms_norm dropout matmul transpose reciprocal"
    ),
    "Bitwise": "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift",
    "Comparison and logic": (
        "equal not_equal greater greater_equal less less_equal logical_and logical_or logical_xor "
        "logical_not"
    ),
    "Tensor manipulation": "ds arange mgrid expand_dims",
    "Indexing and search": "where gather_flattened",
    "Collectives": "all_reduce",
    "Iterators": "static_range affine_range sequential_range",
    "Memories": "par_dim psum sbuf hbm private_hbm shared_hbm",
    "Others": "program_id num_programs program_ndim spmd_dim nc device_print loop_reduce",
    "Data types": (
        "tfloat32 float32 bfloat16 float16 float8_e4m3 float8_e5m2 int32 uint32 int16 uint16 int8 "
        "uint8 bool_"
    ),
    "Constants": "tile_size fp32",
}

ISA: dict[str, str] = {
    "Instructions": (
        "nc_matmul nc_transpose activation activation_reduce tensor_reduce "
        "tensor_partition_reduce tensor_tensor tensor_tensor_scan scalar_tensor_tensor "
        "tensor_scalar tensor_scalar_reduce tensor_copy tensor_copy_dynamic_src "
        "tensor_copy_dynamic_dst tensor_copy_predicated reciprocal iota dropout affine_select "
        "range_select select_reduce sequence_bounds memset bn_stats bn_aggr local_gather dma_copy "
        "dma_transpose max8 nc_find_index8 nc_match_replace8 nc_stream_shuffle"
    ),
    "Enumerations": "engine reduce_cmd dge_mode",
    "Target": "nc_version get_nc_version",
}

TOP_LEVEL: dict[str, str] = {"nki": "jit benchmark profile baremetal simulate_kernel tensor"}
COMPILER: dict[str, str] = {
    "Allocation": "sbuf.alloc sbuf.mod_alloc sbuf.auto_alloc psum.alloc psum.mod_alloc "
    "psum.auto_alloc",
    "Decorators": "skip_middle_end_transformations enable_stack_allocator force_auto_alloc",
}

# How each computing name is called to see what it lowers to: a and b are fp32 tiles (64, 64), i and
# j int32, p uint8, u uint32 and x uint16 tiles of that shape, r an int32 tile (64, 1) of row
# numbers, v an fp32 tile (64, 1), h and o HBM tensors (64, 64). What is not here runs no
# instruction.
Call = Callable[..., Any]

_UNARY = [
    "abs",
    "negative",
    "sign",
    "trunc",
    "floor",
    "ceil",
    "exp",
    "log",
    "cos",
    "sin",
    "tanh",
    "arctan",
    "sqrt",
    "rsqrt",
    "sigmoid",
    "relu",
    "gelu",
    "gelu_dx",
    "gelu_apprx_tanh",
    "gelu_apprx_sigmoid",
    "silu",
    "silu_dx",
    "erf",
    "erf_dx",
    "softplus",
    "mish",
    "square",
    "reciprocal",
    "logical_not",
    "copy",
    "transpose",
]
_BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "power",
    "maximum",
    "minimum",
    "mod",
    "fmod",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
]
_REDUCTIONS = ["max", "min", "mean", "var", "sum", "prod", "all", "softmax"]
_INTEGER = ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]


def _one(name: str) -> Call:
    return lambda t: getattr(nl, name)(t.a)


def _two(name: str) -> Call:
    return lambda t: getattr(nl, name)(t.a, t.b)


def _reduction(name: str) -> Call:
    return lambda t: getattr(nl, name)(t.a, axis=1)


def _integers(name: str) -> Call:
    return lambda t: getattr(nl, name)(t.i, t.j)


LANGUAGE_CALLS: dict[str, Call] = {
    **{name: _one(name) for name in _UNARY},
    **{name: _two(name) for name in _BINARY},
    **{name: _reduction(name) for name in _REDUCTIONS},
    **{name: _integers(name) for name in _INTEGER},
    "invert": lambda t: nl.invert(t.i),
    "load": lambda t: nl.load(t.h),
    "store": lambda t: nl.store(t.o, t.a),
    "load_transpose2d": lambda t: nl.load_transpose2d(t.h),
    "broadcast_to": lambda t: nl.broadcast_to(t.a[0:1, 0:64], shape=(64, 64)),
    "zeros": lambda t: nl.zeros((64, 64), dtype=nl.float32),
    "zeros_like": lambda t: nl.zeros_like(t.a),
    "ones": lambda t: nl.ones((64, 64), dtype=nl.float32),
    "full": lambda t: nl.full((64, 64), 2.0, dtype=nl.float32),
    "rms_norm": lambda t: nl.rms_norm(t.a, t.b, axis=1, n=64),
    "matmul": lambda t: nl.matmul(t.a, t.b),
    "where": lambda t: nl.where(t.i, t.a, t.b),
    "rand": lambda t: nl.rand((64, 64)),
    "random_seed": lambda t: nl.random_seed(1),
    "dropout": lambda t: nl.dropout(t.a, 0.5),
    "gather_flattened": lambda t: nl.gather_flattened(t.a, t.u),
    "atomic_rmw": lambda t: (
        nl.store(t.o, t.a),
        nl.atomic_rmw(t.o[t.r, nl.arange(64)[None, :]], t.a, np.add),
    ),
    "all_reduce": lambda t: nl.all_reduce(t.a, np.add, program_axes=0),
    "loop_reduce": lambda t: t.a.__setitem__(Ellipsis, nl.loop_reduce(t.b, np.add, [0])),
}

ISA_CALLS: dict[str, Call] = {
    "nc_matmul": lambda t: nisa.nc_matmul(t.a, t.b),
    "nc_transpose": lambda t: nisa.nc_transpose(t.a),
    "activation": lambda t: nisa.activation(nl.exp, t.a, bias=t.v, scale=2.0),
    "activation_reduce": lambda t: nisa.activation_reduce(
        nl.exp, t.a, reduce_op=nl.add, reduce_res=t.v
    ),
    "tensor_reduce": lambda t: nisa.tensor_reduce(nl.add, t.a, axis=1),
    "tensor_partition_reduce": lambda t: nisa.tensor_partition_reduce(nl.add, t.a),
    "tensor_tensor": lambda t: nisa.tensor_tensor(t.a, t.b, op=nl.add),
    "tensor_tensor_scan": lambda t: nisa.tensor_tensor_scan(t.a, t.b, 0.0, nl.multiply, nl.add),
    "scalar_tensor_tensor": lambda t: nisa.scalar_tensor_tensor(
        data=t.a, op0=nl.multiply, operand0=2.0, op1=nl.add, operand1=t.b
    ),
    "tensor_scalar": lambda t: nisa.tensor_scalar(t.a, op0=nl.multiply, operand0=2.0),
    "tensor_scalar_reduce": lambda t: nisa.tensor_scalar_reduce(
        data=t.a, op0=nl.multiply, operand0=2.0, reduce_op=nl.add, reduce_res=t.v
    ),
    "tensor_copy": lambda t: nisa.tensor_copy(t.a),
    "tensor_copy_predicated": lambda t: nisa.tensor_copy_predicated(
        src=t.a, dst=t.b, predicate=t.p
    ),
    "reciprocal": lambda t: nisa.reciprocal(t.a),
    "iota": lambda t: nisa.iota(nl.arange(64)[:, None] + nl.arange(64)[None, :], dtype=nl.int32),
    "affine_select": lambda t: nisa.affine_select(
        pred=nl.arange(64)[:, None] >= nl.arange(64)[None, :], on_true_tile=t.a, on_false_value=0.0
    ),
    "select_reduce": lambda t: nisa.select_reduce(
        dst=t.b, predicate=t.p, on_true=t.a, on_false=0.0
    ),
    "memset": lambda t: nisa.memset((64, 64), 0.0, dtype=nl.float32),
    "dma_copy": lambda t: nisa.dma_copy(dst=t.o, src=t.a),
    "dma_transpose": lambda t: nisa.dma_transpose(t.h),
    "max8": lambda t: nisa.max8(src=t.a),
    "nc_find_index8": lambda t: nisa.nc_find_index8(data=t.a, vals=t.b[0:64, 0:8]),
    "nc_match_replace8": lambda t: nisa.nc_match_replace8(data=t.a, vals=t.b[0:64, 0:8], imm=0.0),
    "bn_stats": lambda t: nisa.bn_stats(t.a),
    "bn_aggr": lambda t: nisa.bn_aggr(t.a[0:64, 0:6]),
    "local_gather": lambda t: nisa.local_gather(t.a, t.x),
    "sequence_bounds": lambda t: nisa.sequence_bounds(segment_ids=t.i[0:1, 0:64]),
    "dropout": lambda t: nisa.dropout(t.a, 0.5),
    "nc_stream_shuffle": lambda t: nisa.nc_stream_shuffle(
        src=t.a, dst=t.b, shuffle_mask=list(range(32))
    ),
    "tensor_copy_dynamic_src": lambda t: nisa.tensor_copy_dynamic_src(
        t.a[nl.arange(64)[:, None], t.i[0, 0]]
    ),
    "tensor_copy_dynamic_dst": lambda t: nisa.tensor_copy_dynamic_dst(
        dst=t.a[nl.arange(64)[:, None], t.i[0, 0]], src=t.v
    ),
    "range_select": lambda t: nisa.range_select(
        on_true_tile=t.a, comp_op0=nl.greater_equal, comp_op1=nl.less, bound0=t.v, bound1=t.v
    ),
}


class Tiles:
    """What the calls above work on, made inside a kernel."""

    def __init__(self, h: Any, integers: Any, o: Any) -> None:
        self.h, self.o = h, o
        self.a, self.b = nl.load(h), nl.load(h)
        self.i, self.j = nl.load(integers), nl.load(integers)
        self.p = nl.load(integers, dtype=nl.uint8)
        self.u, self.x = nl.load(integers, dtype=nl.uint32), nl.load(integers, dtype=nl.uint16)
        self.r = nisa.iota(nl.arange(64)[:, None], dtype=nl.int32)
        self.v = nl.load(h[:, 0:1])


def recorded(call: Call) -> list[str]:
    """The instructions that `call` runs, in order, by name."""
    import neuronxcc.nki as nki  # type: ignore[import-not-found, unused-ignore]

    import nkisim

    def kernel(h: Any, integers: Any, called: bool) -> Any:
        o = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        t = Tiles(h, integers, o)
        if called:
            call(t)
        nl.store(o, t.a)
        return o

    names: list[list[str]] = []
    for called in (False, True):
        with nkisim.record() as run:
            nki.simulate_kernel(
                kernel, np.ones((64, 64), np.float32), np.ones((64, 64), np.int32), called
            )
        names.append([instruction.op for instruction in run.instructions])
    before = len(names[0]) - 1  # the loads of `Tiles`; the last instruction is the closing store
    return names[1][before : len(names[1]) - 1]
