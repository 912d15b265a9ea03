"""One right call of every public function of both dialects, to be made wrong one argument at a
time."""

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

from tests.nkisim.dialects.malformed_calls.right_arguments import (
    Tiles,
    by_name,
    special_01,
    special_06,
)
from tests.nkisim.dialects.malformed_calls.wrong_values import PLAIN

HALF = np.ones((64, 64), np.float32)
WHOLE = np.ones((64, 64), np.int32)


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
TENSORS = [
    "x",
    "y",
    "data",
    "data0",
    "data1",
    "data2",
    "src",
    "dst",
    "on_true_tile",
    "stationary",
    "moving",
    "predicate",
    "indices",
    "index",
    "segment_ids",
    "vals",
    "src_buffer",
    "condition",
]


def kind_of(api: str, parameter: str, right: Any) -> str | None:
    """What the parameter takes, by its name and a right value; None where several things do."""
    if parameter in ("value", "dim") and not isinstance(right, (int, float)):
        return "tensor" if parameter == "value" else None
    if right is None or (parameter == "axis" and isinstance(right, tuple)):
        return None
    if parameter in KINDS:
        return KINDS[parameter]
    if parameter in TENSORS and not isinstance(right, (int, float, np.ndarray, str)):
        return "tensor"
    return None


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
        special_01,
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
        special_06,
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
    names, special = by_name(t), dialect.special(t).get(api, {})
    if not parameters(function) and _takes_any_number(function):
        return {"start": 0, "stop": 4}
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


def called(function: Any, given: dict[str, Any]) -> Callable[[], Any]:
    """A call of `function` with `given`, by position where it has positional parameters only by
    star."""
    if not parameters(function) and _takes_any_number(function):
        return lambda: function(*given.values())
    return lambda: function(**given)


def replaced(
    function: Any, right: dict[str, Any], name: str, make: Callable[[], Any]
) -> Callable[[], Any]:
    """The call with one argument replaced; the wrong value is made when the call is."""
    return lambda: called(function, right | {name: make()})()


def attempts(dialect: Dialect, t: Tiles) -> Iterator[Attempt]:
    """Every function with one argument replaced by each wrong value."""
    wrong = PLAIN | t.wrong()
    for api, function in dialect.functions():
        try:
            right = right_arguments(dialect, api, function, t)
        except KeyError as missing:
            raise AssertionError(f"{api}: no right value for {missing}") from None
        for name in parameters(function) or right:
            for word, make in wrong.items():
                yield Attempt(api, ((name, word),), replaced(function, right, name, make))
    yield from _methods(dialect, t, wrong)
    yield from _subscripts(dialect, t, wrong)
    yield from _operators(t, wrong)


def _methods(dialect: Dialect, t: Tiles, wrong: dict[str, Callable[[], Any]]) -> Iterator[Attempt]:
    for method, right in dialect.methods.items():
        for name in right:
            for word, make in wrong.items():
                for what, tensor in (("a tile", t.a), ("an HBM tensor", t.h)):
                    call = replaced(getattr(tensor, method), right, name, make)
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


_BINARY = [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and_",
    "or_",
    "xor",
    "lshift",
    "rshift",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
]
_IN_PLACE = ["iadd", "isub", "imul", "itruediv", "iand"]
_UNARY = ["neg", "pos", "invert", "abs", "index", "truth"]


def _operators(t: Tiles, wrong: dict[str, Callable[[], Any]]) -> Iterator[Attempt]:
    for what, tensor in (("a tile", t.d), ("an HBM tensor", t.h)):
        for word, make in wrong.items():
            for name in _BINARY + _IN_PLACE:
                f = getattr(operator, name)
                call = lambda f=f, m=make, x=tensor: f(x, m())  # noqa: E731
                yield Attempt(f"{what} {name} k", (("k", word),), call)
            for name in _BINARY:
                f = getattr(operator, name)
                call = lambda f=f, m=make, x=tensor: f(m(), x)  # noqa: E731
                yield Attempt(f"k {name} {what}", (("k", word),), call)
        for name in _UNARY:
            yield Attempt(f"{name} {what}", (), lambda n=name, x=tensor: getattr(operator, n)(x))
