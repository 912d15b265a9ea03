"""Making tensors: nl.ndarray, zeros, full and their kin.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (creation operations).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...execution.execute import execute
from ...execution.execution import Execution, current, running
from ...isa.copies import MEMSET
from ...isa.dma import DMA_COPY
from ...machine import dtypes
from ...machine.memory import EMPTY, FULL, HBM, SBUF, contiguous, meta_of
from ...rules import arguments
from ...rules.errors import POLICY, broken, shown
from ...tensors.const import Const
from ...tensors.tensor import Tensor
from ..layouts import known, remember
from .objects import MemoryRegion
from .support import as_tensor, option, want_dtype

_MOST_IDENTITY = 4096
"""Rows of the largest identity matrix: far above the 128 that a transpose can use."""

sbuf = MemoryRegion.sbuf
psum = MemoryRegion.psum
private_hbm = MemoryRegion.private_hbm
hbm = private_hbm
shared_hbm = MemoryRegion.shared_hbm


def _shape(shape: Any, api: str) -> tuple[int, ...]:
    return arguments.sizes((shape,) if isinstance(shape, (int, np.integer)) else shape, api)


def par_dim(n: int) -> int:
    """The mark that NKI 0.1 and 0.2 put on the partition axis: the number itself, with a
    warning."""
    n = arguments.integer(n, "nl.par_dim", "n")
    broken(
        "keyword-argument",
        "nl.par_dim is left out: axis 0 is the partition axis of every tensor on chip",
        got=f"nl.par_dim({n!r})",
        remedy=f"Write {n!r}.",
    )
    return n


def _check_on_chip(
    program: Execution,
    api: str,
    space: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    name: str,
    address: Any,
) -> None:
    target = program.config.target
    label = f" '{name}'" if name else ""
    if shape[0] > target.partitions:
        broken(
            "partition-limit",
            f"{api}: the tile{label} has {shape[0]} partitions",
            got=f"{shape} in {space}",
            limit=f"{target.partitions} partitions (nl.tile_size.pmax)",
            remedy="Split the first axis into tiles of at most 128, or put the long axis second.",
        )
    free = math.prod(shape[1:]) * dtype.itemsize
    limit = target.sbuf_partition_bytes if space == SBUF else target.psum_partition_bytes
    start = 0
    if address is not None:
        row, start = address
        if row < 0 or row + shape[0] > target.partitions:
            broken(
                "partition-limit",
                f"{api}: the tile{label} of {shape[0]} partitions is placed at partition {row}",
                got=f"partitions {row}..{row + shape[0] - 1}",
                limit=f"0..{target.partitions - 1}",
            )
    if start < 0 or start + free > limit:
        broken(
            "sbuf-capacity" if space == SBUF else "psum-capacity",
            f"{api}: the tile{label} is larger than {space.upper()}"
            if not start
            else f"{api}: the tile{label} at byte {start} ends beyond {space.upper()}",
            got=f"{shape}: {free} bytes per partition" + (f" from byte {start}" if start else ""),
            limit=f"{limit} bytes per partition on {target.name}",
            remedy="Work on a smaller tile of the free axis at a time.",
        )


def region(buffer: Any, api: str) -> MemoryRegion:
    """The memory region meant by `buffer`."""
    if isinstance(buffer, str) and buffer in ("sbuf", "psum", "hbm", "private_hbm", "shared_hbm"):
        broken(
            "enum-constant",
            f"{api}: buffer is the text {buffer!r}",
            got=repr(buffer),
            limit="nl.sbuf, nl.psum, nl.private_hbm, nl.shared_hbm",
            remedy=f"Write buffer=nl.{buffer}.",
        )
        buffer = {"hbm": "private_hbm"}.get(buffer, buffer)
    found: MemoryRegion = option(buffer, MemoryRegion, api, "buffer")
    return found


def _address(address: Any, api: str) -> tuple[int, int]:
    """(partition, byte inside the partition)."""
    found = arguments.integers(address, api, "address")
    if len(found) != 2:
        broken(
            "argument",
            f"{api}: address names {len(found)} numbers",
            got=shown(address),
            limit="(partition, byte offset inside the partition)",
        )
    return found[0], found[1]


def make(api: str, shape: Any, dtype: Any, buffer: Any, name: str, address: Any = None) -> Tensor:
    """A new tensor; nothing in it counts as written."""
    program = running() or current(api)
    usual = (buffer is sbuf or buffer is psum) and address is None and type(name) is str
    if usual:
        layout = known(program, shape, dtype, buffer is psum)
        if layout is not None:
            return program.made(layout, name=name or None)
    warnings = POLICY.get().warnings
    place = region(buffer, api)
    sizes = _shape(shape, api)
    name = arguments.word(name, api, "name")
    if address is not None:
        address = _address(address, api)
    wanted = want_dtype(dtype, api)
    if wanted is None:
        broken("dtype", f"{api}: no dtype is given", remedy="Write dtype=nl.float32 or the like.")
        raise AssertionError
    space = place.space
    if space == HBM:
        return (
            _shared(program, api, sizes, wanted, name)
            if place is shared_hbm
            else program.allocate(HBM, sizes, wanted, name=name or None)
        )
    if len(sizes) == 1:
        sizes = sizes + (1,)
    _check_on_chip(program, api, space, sizes, wanted, name, address)
    pstart = 0 if address is None else int(address[0])
    t = program.allocate(space, sizes, wanted, pstart=pstart, name=name or None)
    if usual and POLICY.get().warnings == warnings:
        remember(program, shape, dtype, buffer is psum, t.meta)
    if address is not None:
        program.place(t, *address)
    return t


def _shared(
    program: Execution, api: str, sizes: tuple[int, ...], dtype: np.dtype, name: str
) -> Tensor:
    """A tensor that all cores of the kernel see: the first of them to come here makes it."""
    turn = program.shared_next
    program.shared_next += 1
    if turn < len(program.shared):
        again = program.shared[turn]
        if again.shape != sizes or again.dtype != dtype:
            broken(
                "lnc",
                f"{api}: the cores make different shared tensors",
                got=f"{sizes} {dtypes.name(dtype)}",
                limit=again.meta.describe(),
                remedy="Make the same nl.shared_hbm tensors in the same order on each core.",
            )
        return again
    t = program.allocate(HBM, sizes, dtype, name=name or None)
    t.buf.role = "output"
    program.shared.append(t)
    return t


def fill(t: Tensor, value: Any, api: str) -> Tensor:
    """Fill the new tensor `t` with a number: a memset on chip, a memset and a transfer in HBM."""
    if t.meta.space != HBM:
        execute(MEMSET, api, t, (Const(value),), (t.shape, None))
        return t
    rows = t.size // t.shape[-1]
    flat = t.reshape((rows, t.shape[-1]))
    for start in range(0, rows, 128):
        stop = min(start + 128, rows)
        block = execute(
            MEMSET, api, None, (Const(value),), ((stop - start, t.shape[-1]), None), SBUF, t.dtype
        )
        execute(DMA_COPY, api, flat[start:stop, :], (block,), (False,))
    return t


def _value(fill_value: Any, dtype: Any, api: str) -> Any:
    """The number as the destination's type takes it."""
    fill_value = arguments.number(fill_value, api, "the value")
    if dtypes.is_integer(dtype) and float(fill_value) == int(fill_value):
        return int(fill_value)
    return fill_value


def ndarray(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "", address: Any = None) -> Any:
    """A new tensor of `shape` and `dtype` in `buffer`. Nothing in it counts as written.

    `address`: (partition, byte offset inside it) where it shall lie on chip.
    """
    if address is None and (buffer is sbuf or buffer is psum) and type(name) is str:
        execution = running()
        if execution is not None:  # as `make` does, with a call less: every tile is made here
            layout = known(execution, shape, dtype, buffer is psum)
            if layout is not None:
                return execution.made(layout, EMPTY, name or None)
    return make("nl.ndarray", shape, dtype, buffer, name, address)


def _filled(api: str, shape: Any, value: Any, dtype: Any, buffer: Any, name: str) -> Any:
    t = make(api, shape, dtype, buffer, name)
    return fill(t, _value(value, t.dtype, api), api)


def zeros(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> Any:
    """A new tensor filled with 0."""
    return _filled("nl.zeros", shape, 0.0, dtype, buffer, name)


def ones(shape: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> Any:
    """A new tensor filled with 1."""
    return _filled("nl.ones", shape, 1.0, dtype, buffer, name)


def full(shape: Any, fill_value: Any, dtype: Any, buffer: Any = sbuf, name: str = "") -> Any:
    """A new tensor filled with the number `fill_value`."""
    return _filled("nl.full", shape, fill_value, dtype, buffer, name)


def zeros_like(x: Any, dtype: Any = None, buffer: Any = None, name: str = "") -> Any:
    """nl.zeros with the shape (and dtype) of `x`, in `buffer` (default nl.sbuf)."""
    t = as_tensor(x, "nl.zeros_like")
    return _filled(
        "nl.zeros_like",
        t.shape,
        0.0,
        t.dtype if dtype is None else dtype,
        sbuf if buffer is None else buffer,
        name,
    )


def empty_like(x: Any, dtype: Any = None, buffer: Any = None, name: str = "") -> Any:
    """nl.ndarray with the shape (and dtype) of `x`, in `buffer` (default: that of `x`)."""
    t = as_tensor(x, "nl.empty_like")
    return make(
        "nl.empty_like",
        t.shape,
        t.dtype if dtype is None else dtype,
        t.buffer if buffer is None else buffer,
        name,
    )


def _stored(path: str | Path, api: str) -> np.ndarray:
    """The array in a `.npy` file."""
    why = "it is there, but holds no array"
    try:
        found = np.load(path)
    except (OSError, ValueError) as error:
        why, found = str(error), None
    if not isinstance(found, np.ndarray):
        broken(
            "argument",
            f"{api}: the file of the constant cannot be read",
            got=f"{str(path)!r}: {why}",
            limit="the name of a .npy file",
        )
    result: np.ndarray = found
    return result


def shared_constant(constant: Any) -> Any:
    """A tensor in shared HBM that holds a NumPy array (or the `.npy` file of that name), known when
    the kernel is built."""
    return _constant(constant, None, "nl.shared_constant")


def _constant(constant: Any, dtype: Any, api: str) -> Any:
    program = current(api)
    if isinstance(constant, (str, Path)):
        constant = _stored(constant, api)
    values = arguments.array(constant, api, "constant")
    wanted = want_dtype(values.dtype if dtype is None else dtype, api)
    assert wanted is not None
    meta = meta_of(HBM, values.shape, contiguous(values.shape), wanted)
    buf = program.new_buffer(meta, FULL, "constant")
    buf.role = "constant"
    array = program.constant(values, wanted)
    program.built_with(buf, values)
    program.tape.keep_initial(buf, array)
    return program.tensor(buf, array, meta, 0)


def shared_identity_matrix(n: int, dtype: Any = np.uint8, dst: Any = None) -> Any:
    """The identity (n, n) in SBUF, loaded from a constant; into `dst` if given."""
    api = "nl.shared_identity_matrix"
    size = arguments.integer(n, api, "n", least=1, most=_MOST_IDENTITY)
    constant = _constant(np.eye(size, dtype=np.uint8), dtype, api)
    if dst is None:
        return execute(DMA_COPY, api, None, (constant,), (False,), SBUF, None)
    execute(DMA_COPY, api, as_tensor(dst, api), (constant,), (False,))
    return dst


__all__ = [
    "empty_like",
    "full",
    "hbm",
    "ndarray",
    "ones",
    "par_dim",
    "private_hbm",
    "psum",
    "sbuf",
    "shared_constant",
    "shared_hbm",
    "shared_identity_matrix",
    "zeros",
    "zeros_like",
]
