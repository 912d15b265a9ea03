"""What an instruction is: a name, rules over its operands, and a NumPy function, stated once for
every dialect.

`Instruction.plan(call)` checks the rules and returns a `Plan`; it runs once for each distinct
signature (shapes, dtypes, memories, constants' types and attributes), after which the plan is
remembered.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.config import Config
from ..machine.memory import CONST, HBM, PSUM, SBUF, contiguous
from ..machine.target import Target
from ..rules.errors import broken
from ..tensors.tensor import Tensor

TENSOR, VECTOR, SCALAR, GPSIMD, DMA = "tensor", "vector", "scalar", "gpsimd", "dma"
TWO_INPUTS, COPIES = "two inputs", "copies"
"""Paces of instructions on VectorE that depend on data types and memories (`Instruction.pace`)."""
ASSOCIATIVE = {
    "add",
    "multiply",
    "maximum",
    "minimum",
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
}
"""Names of the operators by which a reduction may proceed in any order."""


@dataclass(slots=True)
class Plan:
    """How one signature runs."""

    engine: str
    compute: Callable[..., Any]
    """Source arrays -> result array; two results where the instruction writes `extra` too."""
    shape: tuple[int, ...]
    """Shape of the result."""
    dtype: np.dtype | None = None
    """The dtype of `compute`'s result where it is always that one, so that no cast is needed."""
    kind: str = "elementwise"
    """How a mask applies: "elementwise" and "scan" (result positions), "reduce" (source positions),
    "transpose", "whole" (a matmul: result positions, all of the sources being read)."""
    identity: float = 0.0
    """What masked-out elements of a reduction count as; an int where it works on the bits of
    integers."""
    axes: tuple[int, ...] = ()
    """The axes of a reduction."""
    depends: Callable[..., Any] | None = None
    """Where a selection uses each source: source arrays -> one boolean array (or True) a source."""
    spread: Callable[..., Any] | None = None
    """Which elements of the result unknown elements of a source reach, where that is not element by
    element: (position of the source, its flags, all sources' arrays) -> booleans of the result's
    shape."""
    spread_to_extra: Callable[[np.ndarray], np.ndarray] | None = None
    """Which elements of `extra` unknown elements of the result go with, where that is not row by
    row."""
    accumulates: bool = False
    """The first source is added to a destination whose elements explicit indices pick, perhaps one
    of them several times."""
    stateful: bool = False
    """`compute` takes the program (engine registers) as its first argument."""
    forgets: bool = False
    """What a stateful `compute` leaves in the registers cannot be read afterwards."""
    alone: Callable[..., Any] | None = None
    """Of a stateful `compute` that resets its registers, reduces into them and reads them out the
    same without registers: source arrays -> two results."""
    effect: Callable[[Any], None] | None = None
    """What a run without values does instead of a stateful `compute`: the program -> registers
    checked and set."""
    cost: dict[str, Any] = field(default_factory=dict)
    """What the model of time needs beyond shapes, e.g. {"passes": 4}."""
    refuses: bool = False
    """`compute` may refuse the values that it gets."""
    bits: bool = False
    """`compute` gives integers that are written bit for bit to a type of the same width."""
    one_bank: bool = False
    """It writes inside one bank of PSUM, wherever in its tile the destination lies."""
    into: Callable[..., None] | None = None
    """Source arrays, and a destination's of the shape and data type of the result -> nothing:
    computes there, bit for bit what `compute` does. Used where such a destination is given and the
    sources lie in row-major order."""


@dataclass(slots=True)
class Call:
    """One use of an instruction, as its `plan` sees it."""

    api: str
    """The name the reader wrote, e.g. "nisa.tensor_tensor", for messages."""
    dst: Tensor | None
    srcs: tuple[Tensor, ...]
    attrs: Any
    """Its attributes, by the names that the instruction gives them."""
    space: str
    dtype: np.dtype | None
    config: Config
    extra: Tensor | None = None

    @property
    def target(self) -> Target:
        return self.config.target

    def fail(self, rule: str, headline: str, operand: Tensor | None = None, **details: Any) -> None:
        """Report a broken rule about `operand`."""
        if operand is not None and operand.meta.space != CONST:
            details.setdefault("tensor", operand.label)
            details.setdefault("got", operand.meta.describe())
        broken(rule, f"{self.api}: {headline}", **details)

    def memory_of(
        self, operand: Tensor, allowed: tuple[str, ...], what: str, remedy: str | None = None
    ) -> None:
        """`operand` must lie in one of the memories `allowed`."""
        space = operand.meta.space
        if space == CONST or space in allowed:
            return
        if remedy is None:
            remedy = {
                HBM: "Bring it on chip with nl.load first.",
                PSUM: "Copy it to SBUF with nisa.tensor_copy first.",
                SBUF: "Only HBM tensors can be used here.",
            }[space]
        self.fail(
            "memory",
            f"{what} '{operand.label}' lies in {space}",
            operand,
            limit=" or ".join(allowed),
            remedy=remedy,
        )

    def tile(
        self,
        operand: Tensor,
        what: str,
        allowed: tuple[str, ...] = (SBUF, PSUM),
        streamed: bool = True,
    ) -> None:
        """`operand` must be a tile: memory, rank, partitions; and, if a compute engine streams it,
        free size and start."""
        meta = operand.meta
        if meta.space == CONST:
            return
        self.memory_of(operand, allowed, what)
        if len(meta.shape) < 2:
            self.fail(
                "rank",
                f"{what} '{operand.label}' has {len(meta.shape)} axis",
                operand,
                limit="at least 2: a partition axis and a free axis",
                remedy="Keep both axes in the subscript, e.g. t[0:128, 0:1] or t[0:1, 0:n].",
            )
        if meta.pdim != 0:
            self.fail(
                "partition-axis",
                f"the partition axis of {what} '{operand.label}' is axis {meta.pdim}, not 0",
                operand,
                remedy="Take one block first: t[i] or t[i, :, :].",
            )
        limit = self.target.partitions
        if meta.partitions > limit:
            self.fail(
                "partition-limit",
                f"{what} '{operand.label}' has {meta.partitions} partitions",
                operand,
                limit=f"{limit} partitions (nl.tile_size.pmax)",
                remedy=f"Split the first axis into tiles of at most {limit}.",
            )
        if not streamed:
            return
        self._streams(operand, what)

    def _streams(self, operand: Tensor, what: str) -> None:
        """A compute engine can walk `operand`: its free size and its first partition."""
        meta = operand.meta
        most = (
            self.target.psum_free_elements_max
            if meta.space == PSUM
            else self.target.sbuf_free_elements_max
        )
        # all the banks
        if meta.space == PSUM and self.target.nc_version >= 4 and meta.dtype.itemsize == 2:
            most = self.target.psum_partition_bytes // 2
        if meta.free > most:
            self.fail(
                "free-size-limit",
                f"{what} '{operand.label}' has {meta.free} elements per partition",
                operand,
                limit=f"{most} in {meta.space}",
                remedy="Split the free axis into smaller tiles.",
            )
        starts = (
            (0,) if meta.partitions > 64 else (0, 64) if meta.partitions > 32 else (0, 32, 64, 96)
        )
        if meta.pstart not in starts:
            self.fail(
                "start-partition",
                f"{what} '{operand.label}' of {meta.partitions} partitions starts at partition "
                f"{meta.pstart}",
                operand,
                limit=f"a start at {', '.join(map(str, starts))}",
                remedy="Start the tile at partition 0, or put the rows on the free axis.",
            )

    def same_partitions(self, *operands: Tensor) -> int:
        """All tile operands must span the same number of partitions; returns it."""
        tiles = [t for t in operands if t.meta.space != CONST]
        first = tiles[0]
        for other in tiles[1:]:
            if other.meta.partitions != first.meta.partitions:
                self.fail(
                    "partition-mismatch",
                    f"'{first.label}' has {first.meta.partitions} partitions, '{other.label}' has "
                    f"{other.meta.partitions}",
                    other,
                    got=f"{first.meta.describe()} and {other.meta.describe()}",
                    remedy="Nothing broadcasts over partitions by itself: use "
                    ".broadcast_to, or a matmul with "
                    "ones, or keep the vector on the free axis.",
                )
        return first.meta.partitions

    def vector(self, operand: Tensor, partitions: int, what: str) -> None:
        """`operand` must be a constant or one element per partition."""
        if operand.meta.space == CONST:
            return
        self.tile(operand, what)
        if operand.meta.free != 1 or operand.meta.partitions != partitions:
            self.fail(
                "shape-mismatch",
                f"{what} '{operand.label}' is not one element per partition",
                operand,
                limit=f"a number, or a tile of shape ({partitions}, 1)",
                remedy="For two full tiles use nisa.tensor_tensor.",
            )

    def generation(self, least: int) -> None:
        """The instruction needs a NeuronCore of generation `least` or later."""
        if self.target.nc_version < least:
            family = {3: "trn2", 4: "trn3"}[least]
            self.fail(
                "target",
                f"it needs NeuronCore-v{least} or later",
                got=f"target {self.target.name}",
                limit=f"{family} or later",
                remedy=f"Choose it with NEURON_PLATFORM_TARGET_OVERRIDE={family}.",
            )

    def one_of(
        self, operand: Tensor, what: str, allowed: tuple[np.dtype, ...], remedy: str | None = None
    ) -> None:
        """The data type of `operand`, unless it is a number, must be one of `allowed`."""
        if operand.meta.space != CONST and operand.dtype not in allowed:
            self.fail(
                "dtype",
                f"{what} '{operand.label}' is {dtypes.name(operand.dtype)}",
                operand,
                limit=", ".join(dtypes.name(d) for d in allowed),
                remedy=remedy,
            )

    def per_partition(
        self, operand: Tensor, what: str, least: int, most: int, why: str = ""
    ) -> None:
        """`operand` must have from `least` to `most` elements per partition."""
        if not least <= operand.meta.free <= most:
            self.fail(
                "element-count",
                f"{what} '{operand.label}' has {operand.meta.free} elements per partition",
                operand,
                limit=f"{least}" if least == most else f"{least} to {most}" + why,
                remedy="Slice it along the free axis, or work on it in parts.",
            )

    def floating(self, operand: Tensor, what: str) -> None:
        if operand.meta.space != CONST and not dtypes.is_float(operand.dtype):
            self.fail(
                "dtype",
                f"{what} '{operand.label}' is {dtypes.name(operand.dtype)}",
                operand,
                limit="a floating-point type",
                remedy="Cast it with nl.copy(t, dtype=nl.float32).",
            )

    def result(self, shape: tuple[int, ...], engine: str) -> None:
        """The result must fit where it goes: memory reach of `engine`, shape of a given
        destination."""
        dst = self.dst
        space = dst.meta.space if dst is not None else self.space
        if engine == GPSIMD and space == PSUM:
            self.fail(
                "gpsimd-psum",
                "GpSimdE cannot write to PSUM",
                dst,
                limit="sbuf",
                remedy="Write to SBUF, or use nisa.vector_engine."
                if hasattr(self.attrs, "engine")
                else "Write to SBUF.",
            )
        if dst is None:
            return
        self.tile(dst, "destination")
        elements = 1
        for n in shape[1:]:
            elements *= n
        if dst.meta.partitions != shape[0] or dst.meta.free != elements:
            self.fail(
                "shape-mismatch",
                f"destination '{dst.label}' has shape {dst.meta.shape}, the result has {shape}",
                dst,
                limit=shape,
                remedy="Give both the same shape.",
            )


def dense(operand: Tensor) -> bool:
    """Whether the elements lie side by side in row-major order, as those of a new array do."""
    return operand.meta.strides == contiguous(operand.meta.shape)


def squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` with its partition axis, and of the free axes those above one."""
    return shape[:1] + tuple(n for n in shape[1:] if n != 1)


@dataclass(frozen=True, eq=False)
class Instruction:
    """One instruction of the machine."""

    name: str
    plan: Callable[[Call], Plan]
    doc: str
    """One line: what it computes."""
    source: str
    """Where its semantics and cost are written."""
    attributes: Callable[..., Any]
    """Makes the named tuple of its attributes; those at the end may have defaults."""
    hidden: tuple[str, ...] = ()
    """Attributes that a reader is not shown: they stand in the operands, or in the engine."""
    reduces: Callable[[Any], bool] | None = None
    """Attributes -> whether the instruction combines a destination that is also a source with the
    other by an associative operator: a step of a reduction."""
    pace: float | str = 1.0
    """How fast VectorE streams it: cycles per element, or TWO_INPUTS or COPIES, whose pace depends
    on data types and memories (`timeline.cost`)."""

    version: int = 1
    """Of its attributes and semantics; a program's file names it, and newer ones read older."""

    def shown(self, attrs: tuple[Any, ...], given: int) -> dict[str, Any]:
        """The attributes that a reader is shown, of the first `given`: operators by name."""
        names = attrs._fields  # type: ignore[attr-defined]
        return {
            name: getattr(value, "name", value)
            for name, value in list(zip(names, attrs))[:given]
            if name not in self.hidden
        }


TABLE: dict[str, Instruction] = {}


def instruction(
    name: str,
    doc: str,
    source: str,
    *,
    attrs: tuple[str, ...] = (),
    defaults: tuple[Any, ...] = (),
    hidden: tuple[str, ...] = (),
    reduces: Callable[[Any], bool] | None = None,
    pace: float | str = 1.0,
) -> Callable[[Callable[[Call], Plan]], Instruction]:
    """Define an instruction by its `plan` function. `attrs` names its attributes, in the order in
    which a dialect passes them; `defaults` are those of the last. The rest: see `Instruction`."""

    def define(plan: Callable[[Call], Plan]) -> Instruction:
        named = namedtuple(f"{name}_attributes", attrs, defaults=defaults)  # type: ignore[misc]
        made = Instruction(name, plan, doc, source, named, hidden, reduces, pace)
        TABLE[name] = made
        return made

    return define
