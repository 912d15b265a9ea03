"""Reading one kernel call of a program's file: its tables, its steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..execution.steps import Allocation, Form, Number, Pattern, Pick, View
from ..isa import TABLE
from ..machine.counts import size_of
from ..machine.memory import HBM, PSUM, SBUF, Meta, contiguous
from ..rules.listing import Place
from .call import Call, Given
from .decode import (
    DTYPES,
    MOST_ARGS,
    MOST_ELEMENTS,
    MOST_STEPS,
    PATTERN_DTYPES,
    Reader,
    entries,
    entry,
    flag,
    integer,
    named,
    refuse,
    shape_of,
    text,
)
from .encode import SIZES, known_version


class CallReader:
    """One kernel call of a file."""

    def __init__(self, reader: Reader, x: Any, slots: list[Any]) -> None:
        self.reader = reader
        self.x = x
        self.slots = slots
        self.layouts = [reader.layout(e) for e in self.table("layouts")]

    def table(self, key: str) -> list[Any]:
        """A table."""
        return entries(self.reader.get(self.x, key), key)

    def layout(self, number: Any) -> Meta:
        """A layout by its number."""
        found: Meta = entry(self.layouts, number, "a layout")
        return found

    def view(self, x: Any) -> View:
        """A part of a buffer."""
        buffer, offset, number = entries(x, "a view", 3)
        integer(buffer, 0, MOST_ARGS, "the number of a buffer")
        integer(offset, 0, MOST_ELEMENTS, "an offset")
        return View(buffer, offset, self.layout(number))

    def form(self, x: Any) -> Form:
        """What calls of an instruction have in common."""
        what, api, attrs, space, dtype, dst, srcs, extra, skip = entries(x, "an instruction", 9)
        name, version = entries(what, "an instruction's name", 2)
        named(name, TABLE, "an instruction")
        if not known_version(name, integer(version, 1, 1 << 16, "an instruction's version")):
            refuse(f"{name} is of version {version}, which this nkisim does not have")
        given = self.reader.value(attrs, "an attribute")
        instruction = TABLE[name]
        try:
            hash(instruction.attributes(*given))
        except TypeError:
            refuse(f"{name} does not have these attributes")
        named(space, (SBUF, PSUM, HBM, ""), "a memory")
        if dst is None:
            named(space, (SBUF, PSUM), "the memory of a new tile")
        return Form(
            instruction,
            text(api, "a function's name", 128),
            given,
            space,
            None if dtype is None else named(dtype, DTYPES, "a data type"),
            None if dst is None else self.layout(dst),
            tuple(self.layout(n) for n in entries(srcs, "the sources")),
            None if extra is None else self.layout(extra),
            flag(skip, "skip"),
        )

    def allocation(self, x: Any) -> Allocation:
        """A tensor that the kernel asks for."""
        space, sizes, dtype, pdim, pstart, name = entries(x, "an allocation", 6)
        shape = shape_of(sizes, "an allocation")
        return Allocation(
            named(space, (SBUF, PSUM, HBM), "the memory of an allocation"),
            shape,
            named(dtype, DTYPES, "a data type"),
            integer(pdim, 0, max(len(shape) - 1, 0), "a partition axis"),
            integer(pstart, 0, 127, "a partition"),
            None if name is None else text(name, "a name", 256),
        )

    def part(self, x: Any) -> Any:
        """A part of a pick."""
        if type(x) is dict and len(x) == 1:
            if "view" in x:
                return self.view(x["view"])
            if "pattern" in x:
                return self.reader.pattern(x["pattern"], "an index")
        return None if x is None else integer(x, -(1 << 48), 1 << 48, "a number of an index")

    def pick(self, x: Any) -> Pick:
        """Elements picked by indices."""
        kind, base, parts = entries(x, "a pick", 3)
        view = self.view(base)
        found = tuple(self.part(p) for p in entries(parts, "a pick"))
        plain = {"rows": 2, "columns": 2, "element": 3}
        if kind == "indices":
            fits = len(found) == 2 * len(view.meta.shape) and all(
                (a is None or isinstance(a, View)) and isinstance(b, Pattern)
                for a, b in zip(found[::2], found[1::2])
            )
        elif kind == "nothing":
            fits = not found
        else:
            named(kind, plain, "the kind of a pick")
            numbers = found[1:]
            fits = bool(found) and isinstance(found[0], View)
            fits = fits and all(type(n) is int for n in numbers)
            fits = fits and (
                len(numbers) == plain[kind] or (kind == "element" and len(numbers) >= 3)
            )
            fits = fits and all(n >= 0 for n in numbers)
            fits = fits and (kind != "columns" or (numbers[0] >= 1 and numbers[1] >= 1))
        if not fits:
            refuse(f"a pick of kind {str(kind)[:20]!r} does not have its parts")
        if kind == "indices":
            self.reader.hold(size_of(_grid(found)), "an index")
        return Pick(kind, view, found)

    def given(self, x: Any) -> Given:
        """An array that the kernel is called with."""
        name, slot, sizes, dtype, mutable = entries(x, "an input", 5)
        number = integer(slot, 0, len(self.slots) - 1, "the number of an array")
        shape = shape_of(sizes, "an input")
        kind = named(dtype, DTYPES, "a data type")
        have, have_type = self.slots[number]
        if size_of(have) != size_of(shape) or have_type != kind:
            refuse("an input of a kernel is not the array that it is said to be")
        return Given(text(name, "a name", 256), number, shape, kind, flag(mutable, "mutable"))

    def constant(self, x: Any) -> Any:
        """A number or a pattern."""
        if type(x) is dict and "pattern" in x:
            return self.reader.pattern(x["pattern"], "a constant")
        given, dtype = entries(x, "a constant", 2)
        found = self.reader.value(given, "a constant")
        if type(found) not in (bool, int, float):
            refuse("a constant is not a number")
        return Number(found, named(dtype, DTYPES | {"float64": np.dtype("f8")}, "a data type"))

    def array(self, x: Any) -> tuple[Meta, np.ndarray]:
        """A tensor that the kernel was built with."""
        number, dtype, block = entries(x, "a constant tensor", 3)
        m = self.layout(number)
        if m.space != HBM or m.strides != contiguous(m.shape):
            refuse("a constant tensor is not a row-major tensor in HBM")
        names = PATTERN_DTYPES | {str(d): d for d in DTYPES.values()} | {"float64": np.dtype("f8")}
        kind = named(dtype, names, "the type of a constant tensor")
        return m, self.reader.array(block, m.shape, kind, "a constant tensor")

    def place(self, x: Any, files: list[str]) -> Place:
        """A line of the kernel."""
        file, line, words, label = entries(x, "a line", 4)
        name = entry(files, file, "a file")
        return Place(
            name, integer(line, 0, 1 << 31, "a line"), text(words, "a line"), text(label, "a name")
        )

    def columns(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The steps and their arguments."""
        numbers = entries(self.reader.get(self.x, "steps"), "the steps", 4)
        kinds, whats, places, counts = (self.integers(n, "the steps") for n in numbers)
        args = self.integers(self.reader.get(self.x, "args"), "the arguments")
        if len({len(kinds), len(whats), len(places), len(counts)}) != 1:
            refuse("the columns of its steps differ in length")
        if len(kinds) > MOST_STEPS:
            refuse(f"it has {len(kinds)} steps, at most {MOST_STEPS} are taken")
        if len(counts) and (counts.min() < 0 or counts.max() > 4096):
            refuse("a step has an impossible number of arguments")
        steps = np.empty((len(kinds), 4), dtype=np.int64)
        steps[:, 0], steps[:, 1], steps[:, 2] = kinds, whats, places
        np.cumsum(counts, dtype=np.int64, out=steps[:, 3])
        if len(args) != (int(steps[-1, 3]) if len(steps) else 0):
            refuse("its steps have more or fewer arguments than there are")
        return steps, args.astype(np.int64)

    def integers(self, number: Any, what: str) -> NDArray[Any]:
        """A block of signed integers."""
        raw = self.reader.block(number, what)
        if raw.dtype.str not in SIZES:
            refuse(f"{what} are not integers")
        return raw

    def read(self) -> Call:
        """The call."""
        x, reader = self.x, self.reader
        steps, args = self.columns()
        files = [text(f, "a file's name") for f in self.table("files")]
        cores = integer(reader.get(x, "cores"), 1, 2, "the number of cores")
        call = Call(
            text(reader.get(x, "name"), "a name", 256),
            named(reader.get(x, "dialect"), ("neuronxcc.nki", "nki"), "the dialect"),
            tuple(integer(n, 0, 1 << 31, "a size of the grid") for n in self.table("grid")),
            cores,
            tuple(self.given(g) for g in self.table("given")),
            tuple(self.view(v) for v in self.table("returned")),
            tuple(integer(n, 0, len(self.slots) - 1, "an array") for n in self.table("into")),
            steps,
            args,
            tuple(self.form(f) for f in self.table("forms")),
            tuple(self.layout(n) for n in self.table("metas")),
            tuple(self.allocation(a) for a in self.table("allocations")),
            tuple(text(t, "a text") for t in self.table("texts")),
            tuple(reader.pattern(m, "a mask") for m in self.table("masks")),
            tuple(reader.value(a, "attributes") for a in self.table("attributes")),
            tuple(self.constant(c) for c in self.table("constants")),
            tuple(self.pick(p) for p in self.table("picks")),
            tuple(self.array(a) for a in self.table("arrays")),
            tuple(self.place(p, files) for p in self.table("places")),
            tuple(integer(n, 0, MOST_ARGS, "a buffer") for n in self.table("outputs")),
        )
        if len(call.returned) != len(call.into):
            refuse("it returns more or fewer arrays than it names")
        for view, slot in zip(call.returned, call.into):
            shape, _dtype = self.slots[slot]
            if view.meta.shape != shape:
                refuse("a returned array does not have the shape that it is said to have")
        if any(m.dtype != "bool" for m in call.masks):
            refuse("a mask does not hold true and false")
        return call


def _grid(parts: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of what indices pick."""
    shapes = [p.shape if isinstance(p, Pattern) else p.meta.shape for p in parts if p is not None]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        refuse("the indices of a pick do not go together")
