"""What Python's operators and assignments on tensors mean in this dialect."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ...execution.execute import execute
from ...execution.execution import running
from ...execution.redirect import redirect
from ...isa import alu
from ...isa.copies import MEMSET, TENSOR_COPY
from ...machine.memory import EMPTY, HBM, PARTIAL, PSUM, SBUF, ZERO
from ...rules.errors import broken
from ...tensors.const import Const
from ...tensors.index import Index, RuntimeIndex
from ...tensors.tensor import Tensor
from ..functions import SYMBOLS
from . import elementwise, moving
from .special import LoopReduction
from .support import static_source, tile

_getrefcount = sys.getrefcount


class Operators:
    """The neuronxcc.nki dialect: operators compute, `t[...] = value` writes in place, `psum +=
    matmul` accumulates."""

    name = "neuronxcc.nki"
    tensor = Tensor
    """The class of its tensors."""
    writes_inputs = False
    """Whether kernels may write to their inputs, which then change in place."""
    scoped_text = True
    """Whether a tile that is made in a branch or in a loop over Python's range ends with it."""

    def __init__(self) -> None:
        self.temporary = {"assign": 0, "inplace": 0}
        """References that a value nobody holds by name has, inside `assign` and `inplace`: measured
        once below, since they depend on the Python version."""
        self._measuring: str | None = None
        self._seen = 0

    # -- expressions -------------------------------------------------------------------------------
    def operator(self, op: str, a: Any, b: Any) -> Tensor:
        symbol = SYMBOLS[op]
        for array in (a, b):
            if isinstance(array, np.ndarray) and array.ndim:
                tile(array, f"operator {symbol}")
        if isinstance(a, Index) or isinstance(b, Index):  # a run-time offset in a subscript
            if op == "add":
                return RuntimeIndex(b, a) if isinstance(a, Index) else RuntimeIndex(a, b)  # type: ignore[return-value]
            broken(
                "indirect-index",
                f"operator {symbol} on a tile and an index grid",
                tensor=(b if isinstance(a, Index) else a).label,
                remedy="A run-time offset is added to a grid, t[i_p, offset + i_f]; compute "
                "the rest on the tile first.",
            )
        if op in ("equal", "not_equal"):
            other = b if isinstance(a, Tensor) else a
            if other is None or isinstance(other, str):
                found: Tensor = NotImplemented  # t == None asks whether an argument was given
                return found
        if op == "matmul":
            broken(
                "operator",
                "tiles have no operator @",
                remedy="Use nl.matmul(x, y, transpose_x=True) or "
                "nisa.nc_matmul(stationary, "
                "moving).",
            )
        if op == "floor_divide":
            broken(
                "operator",
                "tiles have no operator //",
                remedy="Use nl.floor(nl.divide(x, y)). Sizes, offsets and "
                "bounds of loops are Python numbers, known when the kernel is built: a tile "
                "cannot give them.",
            )
        if op == "divide":
            return elementwise.divided(a, b, partitions=False)
        if op == "mod":
            return elementwise.mod(a, b)
        return elementwise.binary(alu.ALU[op], f"operator {symbol}", a, b, partitions=False)

    def unary(self, op: str, a: Tensor) -> Tensor:
        if op == "positive":
            broken(
                "operator", "tiles have no unary operator +", tensor=a.label, remedy="Leave it out."
            )
        return {
            "negative": elementwise.negative,
            "abs": elementwise.abs,
            "invert": elementwise.invert,
        }[op](a)

    def broadcast_to(self, t: Tensor, shape: tuple[int, ...]) -> Tensor:
        return moving.broadcast_to(t, shape=shape)

    def astype(self, t: Tensor, dtype: Any) -> Tensor:
        return moving.copy(t, dtype=dtype)

    def has(self, name: str) -> bool:
        """Whether nl has a function of this name."""
        from .language import __all__ as names  # which is built on this module

        return name in names

    # -- statements --------------------------------------------------------------------------------
    def assign(self, dst: Tensor, value: Any) -> None:
        """`t[...] = value`: the instruction that made `value` writes to `t`; a named or older value
        is copied."""
        if self._measuring:
            self._seen = _getrefcount(value)
            return
        if dst.meta.pdim:
            dst = dst.unblocked()
        if isinstance(value, Tensor):
            into, made = dst.meta, value.meta
            if value.buf is dst.buf and value.off == dst.off and made is into:
                return  # t[i] += x has updated the view in place
            if value.buf.role == "masked" and self._left_out(value, "assign"):
                return
            if into.space == HBM:
                broken(
                    "memory",
                    f"'{dst.label}' lies in HBM and cannot be assigned to",
                    tensor=dst.label,
                    got=into.describe(),
                    limit="sbuf or psum",
                    remedy="Use nl.store(dst, value=tile).",
                )
            program = running()
            # + 1: the program itself holds its last result
            if (
                program is not None
                and program.last_result is value
                and _getrefcount(value) <= self.temporary["assign"] + 1
                and (made.space == into.space or made.space == SBUF)
                and redirect(dst, value)
            ):
                return
            if value.meta.space == HBM:
                broken(
                    "memory",
                    f"'{value.label}' lies in HBM and cannot be assigned to a tile",
                    tensor=value.label,
                    got=value.meta.describe(),
                    limit="sbuf or psum",
                    remedy="Use nl.load.",
                )
            execute(TENSOR_COPY, "assignment", dst, (static_source(value, "assignment"),), (None,))
            return
        if isinstance(value, (int, float, np.generic)):
            if dst.meta.space == HBM:
                broken(
                    "memory",
                    f"'{dst.label}' lies in HBM and cannot be assigned to",
                    tensor=dst.label,
                    got=dst.meta.describe(),
                    remedy="Use nl.store(dst, value=number).",
                )
            execute(MEMSET, "assignment", dst, (Const(value),), (dst.shape, None))
            return
        if isinstance(value, LoopReduction):
            value.into(dst)
            return
        tile(value, "assignment")

    def _left_out(self, value: Tensor, where: str) -> bool:
        """Whether `value` is the nameless result of an instruction that its mask left out
        altogether."""
        buf = value.buf  # + 1: this function holds the value too
        return (
            buf.role == "masked"
            and buf.state == EMPTY
            and _getrefcount(value) <= self.temporary[where] + 1
        )

    def inplace(self, op: str, dst: Tensor, value: Any) -> Tensor:
        """`t += value` and its kin: in place. A matmul added to a PSUM tile accumulates there."""
        if self._measuring:
            self._seen = _getrefcount(value)
            return dst
        symbol = SYMBOLS[op]
        if isinstance(value, np.ndarray) and value.ndim:
            tile(value, f"operator {symbol}=")
        if dst.meta.space == HBM:
            broken(
                "memory",
                f"'{dst.label}' lies in HBM and cannot be updated",
                tensor=dst.label,
                got=dst.meta.describe(),
                remedy="nl.load it, update the tile, and nl.store the result.",
            )
        if (
            op == "add"
            and isinstance(value, Tensor)
            and dst.meta.space == PSUM
            and value.meta.space == PSUM
        ):
            if self._left_out(value, "inplace"):
                if dst.buf.state == EMPTY and dst.size == dst.buf.meta.size:
                    program = running()
                    assert program is not None
                    program.nothing_added(dst)
                return dst
            # a product that has a name of its own may be used again, so that it must be stored
            # where it is
            if _getrefcount(value) <= self.temporary["inplace"] + 1 and self._accumulate(
                dst, value
            ):
                return dst
        if op in ("matmul", "floor_divide"):
            return self.operator(op, dst, value)
        if op == "divide":
            elementwise.divided(dst, value, dst=dst, partitions=False)
        elif op == "mod":
            self.assign(dst, elementwise.mod(dst, value, dtype=dst.dtype))
        else:
            elementwise.binary(
                alu.ALU[op], f"operator {symbol}=", dst, value, dst, partitions=False
            )
        return dst

    def _accumulate(self, dst: Tensor, value: Tensor) -> bool:
        """Add the matmul that has just run to the PSUM tile `dst`, as TensorE does on the way
        in."""
        program = running()
        assert program is not None
        last = program.last_signature
        if program.last_result is not value or last is None or last.instruction.name != "nc_matmul":
            return False
        if dst.shape != value.shape:
            return False
        buf = dst.buf
        if buf.asked and not buf.touched(dst):
            if not buf.touched(dst, every=False) and buf.state in (EMPTY, PARTIAL, ZERO):
                return redirect(dst, value)
            if buf.state == ZERO:  # part of it still holds zeros, which the sum needs
                program.materialize_zeros(dst, before=last.width)
        return redirect(dst, value, attrs=last.adding, held=True)

    # -- calibration -------------------------------------------------------------------------------
    def calibrate(self) -> None:
        """Measure how many references a nameless value has when it arrives in `assign` and in
        `inplace`."""

        class Probe:
            def __setitem__(probe, key: Any, value: Any) -> None:
                self.assign(probe, value)  # type: ignore[arg-type]

            def __iadd__(probe, value: Any) -> Any:
                return self.inplace("add", probe, value)  # type: ignore[arg-type]

        def make() -> object:
            return object()

        probe: Any = Probe()
        self._measuring = "assign"
        probe[...] = make()
        self.temporary["assign"] = self._seen
        self._measuring = "inplace"
        probe += make()
        self.temporary["inplace"] = self._seen
        self._measuring = None


OPERATORS = Operators()
OPERATORS.calibrate()
