"""Reading a program's file. Nothing in it is believed: types are exact, sizes are compared with the
file and with bounds before anything of that size is made, and what the kernel's rules say is
asked of the machine again (`Program.verify`)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..execution.steps import Pattern
from ..machine import dtypes
from ..machine import target as targets
from ..machine.config import Config
from ..machine.counts import size_of
from ..machine.memory import CONST, HBM, PSUM, SBUF, Meta, meta_of
from ..rules import RULES
from .encode import MAGIC, OPERATORS, VERSION

MOST_STEPS = 1 << 24
MOST_ARGS = 1 << 28
MOST_ELEMENTS = 1 << 40
"""Of one tensor."""
MOST_HELD = 1 << 26
"""Elements of all patterns and constants of a file together."""
MOST_ENTRIES = 1 << 20
"""Of one table."""


class ProgramFileError(ValueError):
    """A file holds no program, or not one that keeps to the rules."""


def refuse(why: str) -> NoReturn:
    """Report what is wrong with a file."""
    raise ProgramFileError(f"this is not a program that nkisim can load: {why}")


def integer(x: Any, low: int, high: int, what: str) -> int:
    """`x`, an integer from `low` to `high`."""
    if type(x) is not int or not low <= x <= high:
        refuse(f"{what} is {str(x)[:40]!r}, not an integer from {low} to {high}")
    return x


def text(x: Any, what: str, most: int = 4096) -> str:
    """`x`, a text of at most so many characters."""
    if type(x) is not str or len(x) > most:
        refuse(f"{what} is not a text of at most {most} characters")
    return x


def entries(x: Any, what: str, size: int | None = None) -> list[Any]:
    """`x`, a list, of `size` entries if that is given."""
    if type(x) is not list or len(x) > MOST_ENTRIES or (size is not None and len(x) != size):
        refuse(f"{what} is not a list" + ("" if size is None else f" of {size}"))
    return x


def flag(x: Any, what: str) -> bool:
    """`x`, True or False."""
    if type(x) is not bool:
        refuse(f"{what} is neither true nor false")
    return x


def named(x: Any, names: Any, what: str) -> Any:
    """What `x` names."""
    if type(x) is not str or x not in names:
        refuse(f"{what} is {str(x)[:40]!r}, which is not there")
    return names[x] if isinstance(names, dict) else x


def entry(table: Any, number: Any, what: str) -> Any:
    """The entry with this number."""
    return table[integer(number, 0, len(table) - 1, f"the number of {what}")]


DTYPES: dict[str, np.dtype] = {
    dtypes.name(d): d
    for d in (
        *dtypes.SUPPORTED,
        dtypes.float8_e4m3fn_x4,
        dtypes.float8_e5m2_x4,
        dtypes.float4_e2m1fn_x4,
    )
}
PATTERN_DTYPES = {
    n: np.dtype(n)
    for n in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
} | {"float32": np.dtype(np.float32)}
_BLOCK_DTYPES = {
    np.dtype(f"<{k}{n}").str: np.dtype(f"<{k}{n}") for k in "iu" for n in (1, 2, 4, 8)
} | {"|b1": np.dtype("|b1")}


def shape_of(x: Any, what: str) -> tuple[int, ...]:
    """`x`, the sizes of a tensor."""
    sizes = tuple(integer(n, 1, MOST_ELEMENTS, f"a size of {what}") for n in entries(x, what))
    total = 1
    for n in sizes:
        total *= n
    if len(sizes) > 16 or total > MOST_ELEMENTS:
        refuse(f"{what} has {len(sizes)} axes and {total} elements")
    return sizes


class Reader:
    """One file."""

    def __init__(self, raw: bytes) -> None:
        if raw[:8] != MAGIC:
            refuse("it does not begin with NKIPROG1")
        size = int.from_bytes(raw[8:12], "little")
        if len(raw) < 12 or 12 + size > len(raw):
            refuse(f"its header of {size} bytes is cut off")
        try:
            self.header = json.loads(raw[12 : 12 + size].decode())
        except (ValueError, RecursionError) as error:
            raise ProgramFileError(
                f"this is not a program that nkisim can load: its header is not a JSON ({error})"
            ) from None
        if type(self.header) is not dict:
            refuse("its header is not an object")
        version = self.get(self.header, "version")
        if version != VERSION or type(version) is not int:
            refuse(f"its version is {str(version)[:40]}, this nkisim reads version {VERSION}")
        self.held = 0
        self.blocks = self._blocks(raw, 12 + size)

    def get(self, where: dict[str, Any], key: str) -> Any:
        """An entry that must be there."""
        if type(where) is not dict or key not in where:
            refuse(f"'{key}' is missing")
        return where[key]

    def _blocks(self, raw: bytes, at: int) -> list[NDArray[Any]]:
        found = []
        for kind, size in (
            entries(b, "a block", 2) for b in entries(self.header.get("blocks"), "blocks")
        ):
            dtype = named(kind, _BLOCK_DTYPES, "the type of a block")
            count = integer(size, 0, MOST_ARGS, "the size of a block")
            end = at + count * dtype.itemsize
            if end > len(raw):
                refuse("its blocks are longer than the file")
            found.append(np.frombuffer(raw, dtype, count, at))
            at = end
        if at != len(raw):
            refuse(f"{len(raw) - at} bytes follow its last block")
        return found

    def block(self, number: Any, what: str) -> NDArray[Any]:
        """A block by its number."""
        found: NDArray[Any] = entry(self.blocks, number, f"the block of {what}")
        return found

    def hold(self, size: int, what: str) -> None:
        """Count elements that will be held in memory."""
        self.held += size
        if self.held > MOST_HELD:
            refuse(f"its constants and patterns hold more than {MOST_HELD} elements ({what})")

    def array(self, number: Any, shape: tuple[int, ...], dtype: np.dtype, what: str) -> np.ndarray:
        """An array of that shape and type, from a block."""
        size = size_of(shape)
        self.hold(size, what)
        raw = self.block(number, what)
        if dtype.kind in "biu":
            if raw.dtype.newbyteorder("=") != dtype or raw.size != size:
                refuse(f"the block of {what} does not have its type and size")
            return raw.reshape(shape).astype(dtype)
        if raw.dtype != np.uint8 or raw.size != size * dtype.itemsize:
            refuse(f"the block of {what} does not have its size")
        return raw.view(dtype).reshape(shape).copy()

    # -- the pieces --------------------------------------------------------------------------------
    def pattern(self, x: Any, what: str) -> Pattern:
        """Integers or booleans of one shape."""
        sizes, kind, numbers, held, name = entries(x, what, 5)
        shape = shape_of(sizes, what)
        dtype = named(name, PATTERN_DTYPES, f"the type of {what}")
        given = tuple(
            integer(n, -(1 << 62), 1 << 62, f"a number of {what}") for n in entries(numbers, what)
        )
        named(kind, ("affine", "box", "values"), f"the kind of {what}")
        if kind == "values":
            if given:
                refuse(f"{what} has both values and numbers")
            return Pattern(shape, kind, (), self.array(held, shape, dtype, what), name)
        self.hold(size_of(shape), what)
        n = len(shape)
        if held is not None or len(given) != (n + 1 if kind == "affine" else 2 * n):
            refuse(f"{what} does not have the numbers of its kind")
        if kind == "box" and (
            name != "bool"
            or any(a < 0 or k < 0 or a + k > s for a, k, s in zip(given[:n], given[n:], shape))
        ):
            refuse(f"{what} is not a box inside its shape")
        return Pattern(shape, kind, given, None, name)

    def value(self, x: Any, what: str) -> Any:
        """An attribute."""
        if x is None or type(x) in (bool, int, str):
            if type(x) is int:
                return integer(x, -(1 << 62), 1 << 62, what)
            return x if type(x) is not str else text(x, what, 256)
        if type(x) is dict and len(x) == 1:
            ((kind, v),) = x.items()
            if kind == "op":
                return named(v, OPERATORS, f"the operator of {what}")
            if kind == "dtype":
                return named(v, DTYPES, f"the data type of {what}")
            if kind == "tuple":
                return tuple(self.value(e, what) for e in entries(v, what))
            if kind == "float":
                try:
                    return float.fromhex(text(v, what, 64))
                except (ValueError, OverflowError):
                    refuse(f"{what} is not a number")
        refuse(f"{what} is {str(x)[:40]}, which is not an attribute")

    def layout(self, x: Any) -> Meta:
        """A layout."""
        space, sizes, steps, dtype, pdim = entries(x, "a layout", 5)
        named(space, (HBM, SBUF, PSUM, CONST), "the memory of a layout")
        shape = shape_of(sizes, "a layout")
        strides = tuple(
            integer(s, -MOST_ELEMENTS, MOST_ELEMENTS, "a step of a layout")
            for s in entries(steps, "the steps of a layout", len(shape))
        )
        integer(pdim, 0, max(len(shape) - 1, 0), "the partition axis of a layout")
        return meta_of(space, shape, strides, named(dtype, DTYPES, "a data type"), pdim)

    def config(self) -> Config:
        """The configuration of the lowering."""
        target = named(self.get(self.header, "target"), targets.TARGETS, "the target")
        warn = {
            named(r, tuple(RULES), "a rule"): True
            for r in entries(self.get(self.header, "warn"), "the rules warned about")
        }
        precise = flag(self.get(self.header, "precise_fp"), "precise_fp")
        try:
            return Config(target=target, precise_fp=precise, warn=warn)
        except ValueError as error:
            refuse(str(error))

    def slots(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        """The arrays that the program works with."""
        found = []
        for s in entries(self.get(self.header, "slots"), "the arrays"):
            sizes, dtype = entries(s, "an array", 2)
            found.append((shape_of(sizes, "an array"), named(dtype, DTYPES, "a data type")))
        return found

    def tree(self, x: Any, leaf: Any, slots: list[Any], depth: int = 0) -> Any:
        """What the program returns; `leaf(slot, shape)` makes an array's place."""
        if type(x) is not dict or depth > 16:
            refuse("what it returns is not described")
        if set(x) == {"slot", "shape"}:
            slot = integer(x["slot"], 0, len(slots) - 1, "the number of an array")
            shape = shape_of(x["shape"], "an output")
            if size_of(shape) != size_of(slots[slot][0]):
                refuse("an output does not have the size of its array")
            return leaf(slot, shape)
        if len(x) == 1:
            ((kind, v),) = x.items()
            if kind == "tuple":
                return tuple(self.tree(t, leaf, slots, depth + 1) for t in entries(v, "a tuple"))
            if kind == "list":
                return [self.tree(t, leaf, slots, depth + 1) for t in entries(v, "a list")]
            if kind == "dict" and type(v) is dict:
                return {k: self.tree(t, leaf, slots, depth + 1) for k, t in v.items()}
            if kind == "value":
                return self.value(v, "a value that it returns")
        refuse("what it returns is not described")
