"""One right call of every public function of both dialects, to be made wrong one argument at a time."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import neuronxcc.nki as nki_01
import neuronxcc.nki.isa as nisa_01
import neuronxcc.nki.language as nl_01
import nki as nki_06
import nki.isa as nisa_06
import nki.language as nl_06
import numpy as np

from tests.nkisim.malformed_calls.wrong_values import PLAIN

H = np.ones((64, 64), np.float32)
I = np.ones((64, 64), np.int32)  # noqa: E741  (integers)


class Attempt(NamedTuple):
    """One call with one or two arguments replaced."""

    api: str
    """What is called, as the reader writes it."""
    replaced: tuple[tuple[str, str], ...]
    """(parameter, what it is replaced with) of each."""
    call: Callable[[], Any]

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"{self.api}({', '.join(f'{p}={v}' for p, v in self.replaced)})"


# -- arguments by the parameter's name -------------------------------------------------------------
KINDS = {
    "shape": "shape",
    "dtype": "dtype",
    "compute_dtype": "dtype",
    "op": "operator",
    "op0": "operator",
    "op1": "operator",
    "cmp_op": "operator",
    "comp_op0": "operator",
    "comp_op1": "operator",
    "engine": "option",
    "dge_mode": "option",
    "oob_mode": "option",
    "reduce_cmd": "option",
    "dma_engine": "option",
    "perf_mode": "option",
    "keepdims": "flag",
    "negate": "flag",
    "reverse0": "flag",
    "reverse1": "flag",
    "reverse_pred": "flag",
    "transpose_x": "flag",
    "is_stationary_onezero": "flag",
    "is_moving_onezero": "flag",
    "is_transpose": "flag",
    "reduce_res_negate": "flag",
    "unique_indices": "flag",
    "parallel_reduce": "flag",
    "asynchronous": "flag",
    "n": "integer",
    "axis": "integer",
    "range_start": "integer",
    "index_offset": "integer",
    "padding_val": "integer",
    "num_elem_per_idx": "integer",
    "channel_multiplier": "integer",
    "dim": "integer",
    "fill_value": "number",
    "value": "number",
    "imm": "number",
    "epsilon": "number",
    "on_false_value": "number",
}
"""What a parameter of that name takes, where a wrong value may never be taken silently."""
TENSORS = (
    "x y data data0 data1 data2 src dst on_true_tile stationary moving predicate indices index segment_ids vals "
    "src_buffer condition reduce_res_ into"
).split()


def kind_of(api: str, parameter: str, right: Any) -> str | None:
    """What the parameter takes, by its name and a right value; None where several things will do."""
    if parameter in ("value", "dim") and not isinstance(right, (int, float)):
        return "tensor" if parameter == "value" else None
    if right is None or parameter == "axis" and isinstance(right, tuple):
        return None
    if parameter in KINDS:
        return KINDS[parameter]
    if parameter in TENSORS and not isinstance(right, (int, float, np.ndarray, str)):
        return "tensor"
    return None


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


def _by_name(t: Tiles) -> dict[str, Any]:
    """Right arguments by the parameter's name, for both dialects."""
    nl = t.nl
    return {
        "x": t.a, "y": t.b, "data": t.a, "data0": t.a, "data1": t.a, "data2": t.b, "src": t.a, "dst": t.d,
        "on_true_tile": t.a, "stationary": t.a, "moving": t.b, "predicate": t.p, "condition": t.p, "on_true": t.a,
        "on_false": 0.0, "value": t.a, "w": t.b, "n": 64, "axis": 1, "shape": (64, 64), "dtype": nl.float32,
        "fill_value": 1.0, "op": nl.add, "op0": nl.multiply, "op1": nl.add, "operand0": 2.0, "operand1": 3.0,
        "operand_": t.b, "reduce_op": nl.add, "reduce_res": t.v, "initial": 0.0, "prob": 0.5, "rate": 0.5,
        "imm": 0.0, "imm0": 1.0, "imm1": 0.0, "vals": t.eight, "bound0": t.v, "bound1": t.v,
        "comp_op0": nl.greater_equal, "comp_op1": nl.less, "on_false_value": -3.4028234663852886e38,
        "indices": t.u, "index": t.s, "src_buffer": t.a, "segment_ids": t.i[0:1, 0:64],
        "shuffle_mask": list(range(32)), "prefix": "t", "print_prefix": "t", "tensor": t.a, "buffer": nl.sbuf,
        "seed": t.seed, "src_seeds": t.seed, "constant": np.ones((4, 4), np.float32), "a": t.a,
        "start": 0, "stop": 4, "size": 4, "axes": 0, "scale": 2.0, "bias": t.v, "program_axes": 0,
        "loop_indices": [], "input_data": t.a, "outer": 2, "inner": 2, "scales": None,
    }  # fmt: skip


def _special_01(t: Tiles) -> dict[str, dict[str, Any]]:
    nl, rows, columns = t.nl, nl_01.arange(64)[:, None], nl_01.arange(64)[None, :]
    return {
        "nl.store": {"dst": t.out},
        "nl.load": {"src": t.h},
        "nl.load_transpose2d": {"src": t.h},
        "nl.broadcast_to": {"src": t.one},
        "nl.atomic_rmw": {"dst": t.out[nl.load(t.hi[:, 0:1]), columns]},
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


def _special_06(t: Tiles) -> dict[str, dict[str, Any]]:
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
        "nisa.affine_select": {"pattern": [[1, 64]], "channel_multiplier": -1, "on_false_value": 0.0, "cmp_op": nl.equal},
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
            "stationary": nl.ndarray((32, 16), nl.float8_e4m3fn_x4),
            "moving": nl.ndarray((32, 16), nl.float8_e4m3fn_x4),
            "stationary_scale": nl.ndarray((32, 16), nl.uint8),
            "moving_scale": nl.ndarray((32, 16), nl.uint8),
        },
    }  # fmt: skip


class Dialect(NamedTuple):
    """A dialect and its right calls."""

    name: str
    nki: Any
    nl: Any
    nisa: Any
    special: Callable[[Tiles], dict[str, dict[str, Any]]]
    methods: dict[str, dict[str, Any]]
    """Methods of a tile (64, 64), each with right arguments."""

    def functions(self) -> Iterator[tuple[str, Any]]:
        """Every public function, by the name that a reader writes."""
        for short, module in (("nl", self.nl), ("nisa", self.nisa)):
            for name in sorted(getattr(module, "__all__", dir(module))):
                value = getattr(module, name)
                if name[0] != "_" and (inspect.isfunction(value) or name == "ds"):
                    yield f"{short}.{name}", value
                elif name in ("par_dim", "nc"):  # integers, which have no signature
                    yield f"{short}.{name}", lambda n, of=value: of(n)


DIALECTS = (
    Dialect(
        "neuronxcc.nki",
        nki_01,
        nl_01,
        nisa_01,
        _special_01,
        {
            "astype": {"dtype": nl_01.bfloat16},
            "assert_shape": {"shape": (64, 64)},
            "broadcast_to": {"shape": (64, 64)},
            "expand_dims": {"axis": 1},
            "reshape": {"shape": (64, 8, 8)},
            "view": {"dtype": nl_01.int32},
        },
    ),
    Dialect(
        "nki",
        nki_06,
        nl_06,
        nisa_06,
        _special_06,
        {
            "ap": {
                "pattern": [[64, 64], [1, 64]],
                "offset": 0,
                "indirect_dim": 0,
                "dtype": nl_06.float32,
            },
            "broadcast": {"dim": 1, "size": 4},
            "expand_dim": {"dim": 1},
            "flatten_dims": {"start_dim": 1, "end_dim": 1},
            "indirect": {"index": None, "num_elem": 8},
            "permute": {"dims": (0, 1)},
            "rearrange": {
                "src_pattern": ("p", ("a", "b")),
                "dst_pattern": ("p", "b", "a"),
                "fixed_sizes": {"a": 8},
            },
            "reshape": {"shape": (64, 8, 8)},
            "reshape_dim": {"dim": 1, "shape": (8, 8)},
            "select": {"dim": 1, "index": 3},
            "slice": {"dim": 1, "start": 0, "end": 8, "step": 2},
            "squeeze_dim": {"dim": 1},
            "vector_select": {"dim": 0, "vector_offset": None},
            "view": {"dtype": nl_06.int32},
        },
    ),
)


def right_arguments(dialect: Dialect, api: str, function: Any, t: Tiles) -> dict[str, Any]:
    """Arguments under which the function is called rightly, by name."""
    names, special = _by_name(t), dialect.special(t).get(api, {})
    arguments = {}
    for p in inspect.signature(function).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name == "of":
            continue
        if p.name in special:
            arguments[p.name] = special[p.name]
        elif p.default is p.empty:
            arguments[p.name] = names[p.name]
    return arguments


def parameters(function: Any) -> list[str]:
    """The names that may be passed."""
    found = inspect.signature(function).parameters.values()
    unnamed = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return [p.name for p in found if p.kind not in unnamed and p.name != "of"]


def _takes_any_number(function: Any) -> bool:
    """Whether its arguments go by position, as many as there are."""
    found = inspect.signature(function).parameters.values()
    return any(p.kind is p.VAR_POSITIONAL for p in found)


def _called(function: Any, given: dict[str, Any]) -> Callable[[], Any]:
    """A call of `function` with `given`, by position where it has positional parameters only by star."""
    if not parameters(function) and _takes_any_number(function):
        return lambda: function(*given.values())
    return lambda: function(**given)


def attempts(dialect: Dialect, t: Tiles) -> Iterator[Attempt]:
    """Every function with one argument replaced by each wrong value."""
    wrong = PLAIN | t.wrong()
    for api, function in dialect.functions():
        names = parameters(function)
        try:
            right = right_arguments(dialect, api, function, t)
        except KeyError as missing:
            raise AssertionError(f"{api}: no right value for {missing}") from None
        if not names and _takes_any_number(function):
            names, right = ["start", "stop"], {"start": 0, "stop": 4}
        for name in names:
            for word, make in wrong.items():
                yield Attempt(api, ((name, word),), _called(function, right | {name: make()}))
    yield from _methods(dialect, t, wrong)
    yield from _subscripts(dialect, t, wrong)
    yield from _operators(t, wrong)


def _methods(dialect: Dialect, t: Tiles, wrong: dict[str, Callable[[], Any]]) -> Iterator[Attempt]:
    for method, right in dialect.methods.items():
        for name in right:
            for word, make in wrong.items():
                for what, tensor in (("a tile", t.a), ("an HBM tensor", t.h)):
                    given = right | {name: make()}
                    call = lambda m=method, g=given, x=tensor: getattr(x, m)(**g)  # noqa: E731
                    yield Attempt(f"{what}.{method}", ((name, word),), call)


def _subscripts(
    dialect: Dialect, t: Tiles, wrong: dict[str, Callable[[], Any]]
) -> Iterator[Attempt]:
    for what, tensor in (("a tile", t.d), ("an HBM tensor", t.out)):
        for word, make in wrong.items():
            value = make()
            keys = {
                "k": value,
                "k, :": (value, slice(None)),
                ":, k": (slice(None), value),
                "k, k": (value, value),
                "k:": slice(value, None),
                ":k": slice(None, value),
                "::k": slice(None, None, value),
                "k, k, k": (value, value, value),
            }
            for form, key in keys.items():
                yield Attempt(f"{what}[{form}]", (("k", word),), lambda x=tensor, k=key: x[k])
            yield Attempt(
                f"{what}[...] =",
                (("value", word),),
                lambda x=tensor, v=value: x.__setitem__(..., v),
            )
            call = lambda x=tensor, v=value: x.__setitem__((slice(0, 64), slice(0, 64)), v)  # noqa: E731
            yield Attempt(f"{what}[0:64, 0:64] =", (("value", word),), call)
            yield Attempt(
                f"{what}[nl.ds(k, 4)]",
                (("k", word),),
                lambda x=tensor, v=value: x[dialect.nl.ds(v, 4)],
            )
            yield Attempt(
                f"{what}[nl.ds(0, k)]",
                (("k", word),),
                lambda x=tensor, v=value: x[dialect.nl.ds(0, v)],
            )


_BINARY = "add sub mul truediv floordiv mod pow matmul and_ or_ xor lshift rshift lt le gt ge eq ne".split()
_IN_PLACE = "iadd isub imul itruediv iand".split()
_UNARY = "neg pos invert abs index truth".split()


def _operators(t: Tiles, wrong: dict[str, Callable[[], Any]]) -> Iterator[Attempt]:
    for what, tensor in (("a tile", t.d), ("an HBM tensor", t.h)):
        for word, make in wrong.items():
            for name in _BINARY + _IN_PLACE:
                f = getattr(operator, name)
                call = lambda f=f, v=make(), x=tensor: f(x, v)  # noqa: E731
                yield Attempt(f"{what} {name} k", (("k", word),), call)
            for name in _BINARY:
                f = getattr(operator, name)
                call = lambda f=f, v=make(), x=tensor: f(v, x)  # noqa: E731
                yield Attempt(f"k {name} {what}", (("k", word),), call)
        for name in _UNARY:
            yield Attempt(f"{name} {what}", (), lambda n=name, x=tensor: getattr(operator, n)(x))
