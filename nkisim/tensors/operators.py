"""What Python and NumPy ask of a tile: operators and assignments go to the dialect in force; a
value on the host is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..machine.memory import Buffer, Meta
from ..machine.running import dialect, running
from ..rules import arguments
from ..rules.errors import broken
from . import refusals

_REFLECTED = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "true_divide": "__rtruediv__",
    "power": "__rpow__",
    "less": "__gt__",
    "greater": "__lt__",
    "less_equal": "__ge__",
    "greater_equal": "__le__",
    "equal": "__eq__",
    "not_equal": "__ne__",
}


class PythonOperators:
    """The operators, conversions and NumPy protocols of every tensor."""

    __slots__ = ()

    buf: Buffer
    meta: Meta

    if TYPE_CHECKING:

        @property
        def label(self) -> str: ...

        # the operators are made at the end of this file, all in one way
        def __add__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...

        def __getitem__(self, key: Any) -> Any: ...

    # -- computing, through the dialect in force ---------------------------------------------------
    def __setitem__(self, key: Any, value: Any) -> None:
        kernel = running()
        operators = dialect() if kernel is None else kernel.dialect  # spares a call
        operators.assign(self if key is Ellipsis else self[key], value)

    def broadcast_to(self, shape: Any) -> Any:
        found: Any = dialect().broadcast_to(self, arguments.sizes(shape, "broadcast_to"))
        return found

    def astype(self, dtype: Any) -> Any:
        found: Any = dialect().astype(self, dtype)
        return found

    # -- refusals ----------------------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if (
            method == "__call__"
            and len(inputs) == 2
            and not kwargs
            and (
                isinstance(inputs[0], np.generic)
                or (isinstance(inputs[0], np.ndarray) and not inputs[0].ndim)
            )
        ):
            reflected = getattr(self, _REFLECTED.get(ufunc.__name__, ""), None)
            # np.float32(2) * tile: NumPy's scalar asks first; the tile's operator answers
            if reflected is not None:
                return reflected(inputs[0])
        return refusals.refuse_numpy(ufunc.__name__, self)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return refusals.refuse_numpy(func.__name__, self)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return refusals.refuse_numpy("array", self)

    def __float__(self) -> float:
        refusals.refuse_numpy("float", self)
        return 0.0

    __int__ = __index__ = __float__

    def __format__(self, spec: str) -> str:
        if spec:
            refusals.refuse_numpy("float", self)
        return repr(self)

    def __bool__(self) -> bool:
        if self.buf.role in ("input", "mutable"):
            broken(
                "argument-truth",
                f"the truth value of the argument '{self.label}' is asked for",
                tensor=self.label,
                got=self.meta.describe(),
                remedy="It says that the argument was given, whatever its values are; write 'is "
                "not None'.",
            )
            return True
        broken(
            "truth-value",
            f"the truth value of '{self.label}' is asked for while the kernel is built",
            tensor=self.label,
            got=self.meta.describe(),
            remedy="Use nl.where or a mask; to ask whether an argument was given, write 'is "
            "not None'.",
        )
        return False

    def __len__(self) -> int:
        return self.meta.shape[0]

    def __iter__(self) -> Any:
        broken(
            "argument",
            f"'{self.label}' cannot be iterated over",
            tensor=self.label,
            remedy="Loop over tile indices with nl.affine_range and slice the tensor.",
        )

    # No __getattr__: CPython 3.11 reads the attributes of a class that has one four times as
    # slowly, and an instruction reads dozens. `refusals.no_attribute` tells of those that are not
    # there.


def _install_operators() -> None:
    names = {
        "add": "add",
        "sub": "subtract",
        "mul": "multiply",
        "truediv": "divide",
        "pow": "power",
        "and": "bitwise_and",
        "or": "bitwise_or",
        "xor": "bitwise_xor",
        "lshift": "left_shift",
        "rshift": "right_shift",
        "mod": "mod",
        "matmul": "matmul",
        "floordiv": "floor_divide",
    }

    def binary(op: str) -> Any:
        return lambda self, other: dialect().operator(op, self, other)

    def reflected(op: str) -> Any:
        return lambda self, other: dialect().operator(op, other, self)

    def inplace(op: str) -> Any:
        return lambda self, other: dialect().inplace(op, self, other)

    def unary(op: str) -> Any:
        return lambda self: dialect().unary(op, self)

    for short, op in names.items():
        setattr(PythonOperators, f"__{short}__", binary(op))
        setattr(PythonOperators, f"__r{short}__", reflected(op))
        setattr(PythonOperators, f"__i{short}__", inplace(op))
    for short, op in {
        "lt": "less",
        "le": "less_equal",
        "gt": "greater",
        "ge": "greater_equal",
        "eq": "equal",
        "ne": "not_equal",
    }.items():
        setattr(PythonOperators, f"__{short}__", binary(op))
    for short, op in {
        "neg": "negative",
        "abs": "abs",
        "invert": "invert",
        "pos": "positive",
    }.items():
        setattr(PythonOperators, f"__{short}__", unary(op))


_install_operators()
