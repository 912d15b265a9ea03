"""Right arguments of every public function of both dialects, by the parameter's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import neuronxcc.nki.language as nl_01
import nki.isa as nisa_06
import numpy as np


class Tiles:
    """What the calls work on, made inside a kernel of either dialect."""

    def __init__(self, nl: Any, h: Any, integers: Any, out: Any) -> None:
        self.nl = nl
        self.h = h
        self.hi = integers
        self.out = out
        self.a, self.b, self.d = nl.load(h), nl.load(h), nl.load(h)
        self.i, self.j = nl.load(integers), nl.load(integers)
        self.p = nl.load(integers, dtype=nl.uint8)
        self.u = nl.load(integers, dtype=nl.uint32)
        self.s = nl.load(integers, dtype=nl.uint16)
        self.half = nl.load(h, dtype=nl.bfloat16)
        self.v = nl.load(h[:, 0:1])
        self.one = nl.load(h[0:1, :])
        self.eight = nl.load(h[:, 0:8])
        self.cube = self.a.reshape((64, 8, 8))
        self.psum = nl.zeros((64, 64), dtype=nl.float32, buffer=nl.psum)
        if hasattr(nl, "float8_e4m3fn_x4"):
            self.packed = nl.ndarray((32, 16), nl.float8_e4m3fn_x4)
            nisa_06.memset(self.packed, 0)
        self.seed = nl.load(integers[0:1, 0:1])

    def wrong(self) -> dict[str, Callable[[], Any]]:
        """Tensors that are wrong in many a place."""
        found = {
            "an HBM tensor": self.h,
            "a PSUM tile": self.psum,
            "a row": self.one,
            "a column": self.v,
            "a tile of integers": self.i,
            "a tile of bytes": self.p,
            "a tile of three axes": self.cube,
            "a tile of bfloat16": self.half,
        }
        return {name: (lambda t=t: t) for name, t in found.items()}


def by_name(t: Tiles) -> dict[str, Any]:
    """Right arguments by the parameter's name, for both dialects."""
    nl = t.nl
    return {
        "x": t.a,
        "y": t.b,
        "data": t.a,
        "data0": t.a,
        "data1": t.a,
        "data2": t.b,
        "src": t.a,
        "dst": t.d,
        "on_true_tile": t.a,
        "stationary": t.a,
        "moving": t.b,
        "predicate": t.p,
        "condition": t.p,
        "on_true": t.a,
        "on_false": 0.0,
        "value": t.a,
        "w": t.b,
        "n": 64,
        "axis": 1,
        "shape": (64, 64),
        "dtype": nl.float32,
        "fill_value": 1.0,
        "op": nl.add,
        "op0": nl.multiply,
        "op1": nl.add,
        "operand0": 2.0,
        "operand1": 3.0,
        "operand_": t.b,
        "reduce_op": nl.add,
        "reduce_res": t.v,
        "initial": 0.0,
        "prob": 0.5,
        "rate": 0.5,
        "imm": 0.0,
        "imm0": 1.0,
        "imm1": 0.0,
        "vals": t.eight,
        "bound0": t.v,
        "bound1": t.v,
        "comp_op0": nl.greater_equal,
        "comp_op1": nl.less,
        "on_false_value": -3.4028234663852886e38,
        "indices": t.u,
        "index": t.s,
        "src_buffer": t.a,
        "segment_ids": t.i[0:1, 0:64],
        "shuffle_mask": list(range(32)),
        "prefix": "t",
        "print_prefix": "t",
        "tensor": t.a,
        "buffer": nl.sbuf,
        "seed": t.seed,
        "src_seeds": t.seed,
        "constant": np.ones((4, 4), np.float32),
        "a": t.a,
        "start": 0,
        "stop": 4,
        "size": 4,
        "axes": 0,
        "scale": 2.0,
        "bias": t.v,
        "program_axes": 0,
        "loop_indices": [],
        "input_data": t.a,
        "outer": 2,
        "inner": 2,
        "scales": None,
    }


def special_01(t: Tiles) -> dict[str, dict[str, Any]]:
    nl, rows, columns = t.nl, nl_01.arange(64)[:, None], nl_01.arange(64)[None, :]
    return {
        "nl.store": {"dst": t.out},
        "nl.load": {"src": t.h},
        "nl.load_transpose2d": {"src": t.h},
        "nl.broadcast_to": {"src": t.one},
        "nl.atomic_rmw": {"dst": t.out[nl.load(t.hi[:, 0:1]), columns]},
        "nl.program_id": {"axis": 0},
        "nisa.builtin_custom_op": {
            "function_name": "f",
            "lib_file_name": "f.so",
            "ulib_to_ucode_version": "1",
            "ulib_to_isa_version": "1",
            "srcs": [t.a],
            "dsts": [t.d],
        },
        "nl.expand_dims": {"axis": 2},
        "nl.bitwise_and": {"x": t.i, "y": t.j},
        "nl.bitwise_or": {"x": t.i, "y": t.j},
        "nl.bitwise_xor": {"x": t.i, "y": t.j},
        "nl.left_shift": {"x": t.i, "y": t.j},
        "nl.right_shift": {"x": t.i, "y": t.j},
        "nl.invert": {"x": t.i},
        "nisa.activation": {"op": nl.exp},
        "nisa.activation_reduce": {"op": nl.exp},
        "nisa.affine_select": {"pred": rows >= columns, "on_false_value": 0.0},
        "nisa.iota": {"expr": rows + columns, "dtype": nl.int32},
        "nisa.bn_aggr": {"data": t.a[0:64, 0:6]},
        "nisa.memset": {"value": 0.0},
        "nisa.dma_copy": {"dst": t.out},
        "nisa.dma_transpose": {"src": t.h},
        "nisa.range_select": {"reduce_op": nl.max},
        "nisa.select_reduce": {"reduce_op": nl.max},
        "nisa.scalar_tensor_tensor": {"operand1": t.b},
        "nisa.tensor_copy_dynamic_src": {"src": t.a[rows, t.i[0, 0]]},
        "nisa.tensor_copy_dynamic_dst": {"src": t.v, "dst": t.a[rows, t.i[0, 0]]},
        "nisa.tensor_tensor_scan": {"op0": nl.multiply},
    }


def special_06(t: Tiles) -> dict[str, dict[str, Any]]:
    nl = t.nl
    register = nisa_06.register_alloc(3)
    return {
        "nl.store": {"dst": t.out},
        "nl.load": {"src": t.h},
        "nl.load_transpose2d": {"src": t.h},
        "nl.broadcast_to": {"x": t.v},
        "nl.expand_dims": {"axis": 1},
        "nl.bitwise_and": {"x": t.i, "y": t.j},
        "nl.bitwise_or": {"x": t.i, "y": t.j},
        "nl.bitwise_xor": {"x": t.i, "y": t.j},
        "nl.left_shift": {"x": t.i, "y": t.j},
        "nl.right_shift": {"x": t.i, "y": t.j},
        "nl.invert": {"x": t.i},
        "nl.matmul": {"transpose_x": True},
        "nl.fori_loop": {"lower": 0, "upper": 2, "body_fun": lambda i: None},
        "nl.while_loop": {"init": nisa_06.register_alloc(0), "body_fun": lambda r: r},
        "nisa.activation": {"op": nl.exp},
        "nisa.activation_reduce": {"op": nl.exp},
        "nisa.activate2": {"op": nl.exp, "relu_param": 0.0},
        "nisa.affine_select": {
            "pattern": [[1, 64]],
            "channel_multiplier": -1,
            "on_false_value": 0.0,
            "cmp_op": nl.equal,
        },
        "nisa.iota": {"dst": t.i, "pattern": [[1, 64]], "channel_multiplier": 1},
        "nisa.bn_stats": {"dst": nl.ndarray((64, 6), nl.float32)},
        "nisa.bn_aggr": {"dst": nl.ndarray((64, 2), nl.float32), "data": t.a[:, 0:6]},
        "nisa.core_barrier": {"data": t.out, "cores": (0, 1)},
        "nisa.dma_compute": {"srcs": [t.a, t.b], "reduce_op": nl.add},
        "nisa.dma_copy": {"dst": t.out},
        "nisa.local_gather": {"dst": nl.ndarray((64, 64, 16, 1), nl.float32)},
        "nisa.max8": {"dst": nl.ndarray((64, 8), nl.float32)},
        "nisa.memset": {"value": 0.0},
        "nisa.nc_find_index8": {"dst": nl.ndarray((64, 8), nl.uint32)},
        "nisa.nc_matmul": {"dst": nl.ndarray((64, 64), nl.float32, buffer=nl.psum)},
        "nisa.nc_transpose": {"dst": nl.ndarray((64, 64), nl.float32, buffer=nl.psum)},
        "nisa.nonzero_with_count": {"dst": nl.ndarray((64, 65), nl.int32), "src": t.i},
        "nisa.quantize_mx": {
            "dst": nl.ndarray((64, 16), nl.float8_e4m3fn_x4),
            "src": t.half,
            "dst_scale": nl.ndarray((64, 16), nl.uint8),
        },
        "nisa.rand2": {"min": 0.0, "max": 1.0},
        "nisa.rand_get_state": {"dst": nl.ndarray((64, 6), nl.uint32)},
        "nisa.rand_set_state": {"src_seeds": t.u[:, 0:6]},
        "nisa.range_select": {"reduce_op": nl.maximum},
        "nisa.register_alloc": {"x": 3},
        "nisa.register_load": {"dst": register, "src": t.seed},
        "nisa.register_move": {"dst": register, "src": 3},
        "nisa.register_store": {"dst": t.seed, "src": register},
        "nisa.rng": {"dst": t.u},
        "nisa.scalar_tensor_tensor": {"operand1": t.b},
        "nisa.select_reduce": {"reduce_op": nl.maximum},
        "nisa.sendrecv": {"send_to_rank": 0, "recv_from_rank": 0, "pipe_id": 0},
        "nisa.sequence_bounds": {"dst": nl.ndarray((1, 2, 64), nl.int32)},
        "nisa.tensor_partition_reduce": {"dst": nl.ndarray((1, 64), nl.float32)},
        "nisa.tensor_reduce": {"dst": nl.ndarray((64, 1), nl.float32)},
        "nisa.topk": {
            "val_dst": nl.ndarray((64, 16), nl.bfloat16),
            "idx_dst": nl.ndarray((64, 16), nl.uint32),
            "src": t.half,
            "n": 1024,
        },
        "nisa.nc_matmul_mx": {
            "dst": nl.ndarray((16, 16), nl.float32, buffer=nl.psum),
            "stationary": t.packed,
            "moving": t.packed,
            "stationary_scale": t.p[0:32, 0:16],
            "moving_scale": t.p[0:32, 0:16],
        },
    }
