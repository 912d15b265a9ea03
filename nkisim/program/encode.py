"""A program as bytes: a small JSON header, and integer columns in raw blocks.

    8 bytes   NKIPROG1
    4 bytes   length of the header, little-endian
    header    JSON, UTF-8: everything but steps and arrays; `blocks` lists the data type and the
              number of elements of each block
    blocks    little-endian, one after the other, to the end of the file

No code and no pickle. What can be derived is not in it: which memory a view lies in, where its
partitions start, what a new tile looks like. `program.decode` reads it.
"""

from __future__ import annotations

import json
import os
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..execution.steps import Allocation, Form, Pattern, Pick, View
from ..isa import TABLE
from ..isa.alu import ALU, AVERAGE, AluOp
from ..machine import dtypes
from ..machine.config import Config
from ..machine.memory import Meta
from ..rules.errors import SimulatorError
from .call import Call

MAGIC = b"NKIPROG1"
VERSION = 1
OPERATORS: dict[str, AluOp] = {**ALU, AVERAGE.name: AVERAGE}
COLUMNS = ("kind", "what", "place", "count")
SIZES = ("|i1", "<i2", "<i4", "<i8")


class Lowered(Protocol):
    """What a file holds of a program."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> Config: ...
    @property
    def inputs(self) -> tuple[Any, ...]: ...
    @property
    def calls(self) -> tuple[Call, ...]: ...
    @property
    def slots(self) -> tuple[tuple[tuple[int, ...], np.dtype], ...]: ...
    @property
    def constants(self) -> dict[int, np.ndarray]: ...
    @property
    def tree(self) -> Any: ...


class _Blocks:
    """Arrays on their way into a file."""

    def __init__(self) -> None:
        self.kinds: list[list[Any]] = []
        self.data: list[bytes] = []

    def add(self, values: np.ndarray) -> int:
        """The number of the block that holds an array."""
        raw = np.ascontiguousarray(values)
        kind = raw.dtype.newbyteorder("<").str if raw.dtype.kind in "biu" else "|u1"
        if kind == "|u1":
            raw = raw.reshape(-1).view(np.uint8)
        self.kinds.append([kind, int(raw.size)])
        self.data.append(raw.astype(kind, copy=False).tobytes())
        return len(self.data) - 1

    def integers(self, values: NDArray[np.int64]) -> int:
        """The same of integers, in as few bytes as hold them all."""
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        kind = next(k for k in SIZES if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
        return self.add(values.astype(kind))


def body(program: Lowered, paths: bool = True) -> bytes:
    """The bytes of a program; without `paths` the files of its lines are named without their
    folders, so that they do not depend on where a kernel lies."""
    blocks = _Blocks()
    config = program.config
    header = {
        "version": VERSION,
        "name": program.name,
        "target": config.target.name,
        "precise_fp": config.precise_fp,
        "warn": sorted(k for k, v in config.warn.items() if v),
        "inputs": [i.name for i in program.inputs],
        "slots": [[list(shape), _dtype(dtype)] for shape, dtype in program.slots],
        "constants": [[k, blocks.add(v)] for k, v in sorted(program.constants.items())],
        "calls": [_call(call, blocks, paths) for call in program.calls],
        "returns": _tree(program.tree),
        "blocks": blocks.kinds,
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return b"".join([MAGIC, len(text).to_bytes(4, "little"), text, *blocks.data])


def _dtype(dtype: np.dtype | None) -> str | None:
    return None if dtype is None else dtypes.name(dtype)


def _tree(tree: Any) -> Any:
    if hasattr(tree, "slot"):
        return {"slot": tree.slot, "shape": list(tree.shape)}
    if isinstance(tree, tuple):
        return {"tuple": [_tree(t) for t in tree]}
    if isinstance(tree, list):
        return {"list": [_tree(t) for t in tree]}
    if isinstance(tree, dict):
        return {"dict": {k: _tree(t) for k, t in tree.items()}}
    return {"value": value(tree)}


def value(v: Any) -> Any:
    """An attribute as JSON. Floats as text in base 16, so that none is rounded."""
    if v is None or isinstance(v, (bool, str)):
        return v
    if isinstance(v, AluOp):
        if OPERATORS.get(v.name) is not v:
            raise SimulatorError(f"the operator {v.name} has no place in a program file")
        return {"op": v.name}
    if isinstance(v, np.generic):
        v = v.item()
    if isinstance(v, (bool, int)):
        return v
    if isinstance(v, float):
        return {"float": v.hex()}
    if isinstance(v, np.dtype):
        return {"dtype": dtypes.name(v)}
    if isinstance(v, tuple):
        return {"tuple": [value(x) for x in v]}
    raise SimulatorError(f"an attribute of type {type(v).__name__} has no place in a program file")


def _pattern(pattern: Pattern, blocks: _Blocks) -> list[Any]:
    held = None if pattern.values is None else blocks.add(pattern.values)
    return [list(pattern.shape), pattern.kind, list(pattern.numbers), held, pattern.dtype]


class _Tables:
    """The tables of one kernel call, as JSON."""

    def __init__(self, blocks: _Blocks) -> None:
        self.blocks = blocks
        self.layouts: list[Any] = []
        self.numbers: dict[tuple[Any, ...], int] = {}

    def layout(self, m: Meta | None) -> int | None:
        """The number of a layout."""
        if m is None:
            return None
        key = (m.space, m.shape, m.strides, m.dtype, m.pdim)
        if key not in self.numbers:
            self.numbers[key] = len(self.layouts)
            strides = list(m.strides)
            self.layouts.append([m.space, list(m.shape), strides, dtypes.name(m.dtype), m.pdim])
        return self.numbers[key]

    def view(self, v: View) -> list[int | None]:
        """A part of a buffer."""
        return [v.buffer, v.offset, self.layout(v.meta)]

    def form(self, f: Form) -> list[Any]:
        """What calls of an instruction have in common."""
        return [
            [f.instruction.name, f.instruction.version],
            f.api,
            value(f.attrs),
            f.space,
            _dtype(f.dtype),
            self.layout(f.dst),
            [self.layout(m) for m in f.srcs],
            self.layout(f.extra),
            f.skip,
        ]

    def allocation(self, a: Allocation) -> list[Any]:
        """A tensor that the kernel asks for."""
        return [a.space, list(a.shape), _dtype(a.dtype), a.pdim, a.pstart, a.name]

    def pick(self, p: Pick) -> list[Any]:
        """Elements picked by indices."""
        return [p.kind, self.view(p.base), [self._part(x) for x in p.parts]]

    def _part(self, p: Any) -> Any:
        if isinstance(p, View):
            return {"view": self.view(p)}
        if isinstance(p, Pattern):
            return {"pattern": _pattern(p, self.blocks)}
        return p

    def constant(self, c: Any) -> Any:
        """A number or a pattern."""
        if isinstance(c, Pattern):
            return {"pattern": _pattern(c, self.blocks)}
        return [value(c.value), dtypes.name(c.dtype)]


def _call(call: Call, blocks: _Blocks, paths: bool) -> dict[str, Any]:
    tables = _Tables(blocks)
    kinds, whats, places, ends = call.steps.T
    counts = np.diff(ends, prepend=0)
    files = sorted({p.filename for p in call.places})
    return {
        "name": call.name,
        "dialect": call.dialect,
        "grid": list(call.grid),
        "cores": call.cores,
        "given": [[g.name, g.slot, list(g.shape), _dtype(g.dtype), g.mutable] for g in call.given],
        "returned": [tables.view(v) for v in call.returned],
        "into": list(call.into),
        "forms": [tables.form(f) for f in call.forms],
        "metas": [tables.layout(m) for m in call.metas],
        "allocations": [tables.allocation(a) for a in call.allocations],
        "texts": list(call.texts),
        "masks": [_pattern(m, blocks) for m in call.masks],
        "attributes": [value(a) for a in call.attributes],
        "constants": [tables.constant(c) for c in call.constants],
        "picks": [tables.pick(p) for p in call.picks],
        "arrays": [[tables.layout(m), str(a.dtype), blocks.add(a)] for m, a in call.arrays],
        "files": [f if paths else os.path.basename(f.replace("\\", "/")) for f in files],
        "places": [[files.index(p.filename), p.line, p.text, p.label] for p in call.places],
        "outputs": list(call.outputs),
        "layouts": tables.layouts,
        "steps": [blocks.integers(c) for c in (kinds, whats, places, counts)],
        "args": blocks.integers(call.args),
    }


def known_version(name: str, version: int) -> bool:
    """Whether this simulator has an instruction in a version."""
    return name in TABLE and TABLE[name].version >= version >= 1
