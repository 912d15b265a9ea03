"""What a kernel asks of the machine, noted call by call while it runs on shapes alone: the steps of
`steps`.

A lowered program is this list: with values instead of shapes the same calls give the same
results, histories, prints and refusals (`program.replay`). So what is noted are the calls, not what
became of them: an instruction and the assignment that redirects it are two steps; a memset that the
zeros of a PSUM tile turn out to need is none, because it will turn out again.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np

from ..isa.random import GENERATOR
from ..machine.memory import CONST, Buffer, Meta, meta_of
from ..machine.shapes import Symbol
from ..rules import source
from ..rules.errors import broken
from ..tensors.runtime import ResolvedView
from ..tensors.tensor import IndexedTensor, Tensor
from .signature import Signature
from .steps import (
    ALLOCATE,
    CONSTANT,
    CORE,
    FRESH,
    NUMBER,
    PICKED,
    PRINT,
    REDIRECT,
    RUN,
    SEND,
    SENT,
    STATE,
    Allocation,
    Form,
    Number,
    Pattern,
    Pick,
    View,
    pattern_of,
)


def _layout(t: Tensor) -> Meta:
    """The layout of an operand, the same for all that pick elements of one shape."""
    m = t.meta
    return meta_of(m.space, m.shape, m.strides, m.dtype) if type(t) is IndexedTensor else m


_SMALL = 1024
_INDIRECT = frozenset((IndexedTensor, ResolvedView))


class Table:
    """Things that are numbered as they come, each once."""

    __slots__ = ("entries", "numbers")

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}
        self.entries: list[Any] = []

    def number(self, key: Any, entry: Any) -> int:
        """The number of the entry with this key."""
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.entries)
            self.entries.append(entry)
        return found


class Lowering:
    """The steps of one kernel call, and the tables that they refer to."""

    def __init__(self, origin: Callable[[tuple[int, ...], np.dtype], int]) -> None:
        """`origin`: numbers an array of a shape and data type that a kernel returns."""
        self.origin = origin
        self.inputs: list[tuple[str, Any, bool]] = []
        """Of each array given to the kernel its name, what was given, and whether the kernel may
        write to it."""
        self.outputs: list[View] = []
        self.into: list[int] = []
        """What is returned, and the numbers of the arrays that it becomes."""
        self.steps: list[int] = []
        self.args: list[int] = []
        self.forms = Table()
        self.metas = Table()
        self.allocations = Table()
        self.texts = Table()
        self.masks = Table()
        self.attributes = Table()
        self.constants = Table()
        """Numbers, with their types, and patterns."""
        self.seen: dict[int, tuple[Tensor, tuple[int, int]]] = {}
        """The numbers among operands, by identity: dialects use one object again and again."""
        self.told: dict[int, tuple[tuple[Any, ...], int]] = {}
        """The numbers of attributes, by identity."""
        self.patterns: dict[tuple[Any, ...], Pattern] = {}
        """Of small arrays: most indices are those of another step."""
        self.picks: list[Pick] = []
        self.places: dict[tuple[int, int], int] = {}
        """Numbers of places, by the identity of the code: to hash a code takes microseconds."""
        self.codes: list[tuple[CodeType | None, int]] = []
        self.buffers: list[Buffer] = []
        self.numbers: dict[Buffer, int] = {}
        self.plain: dict[tuple[Signature, str], int] = {}
        """The forms of signatures that all calls share."""
        self.core = 0
        self.sent = 0
        self.arrays: list[tuple[int, np.ndarray]] = []
        """Buffers of arrays that the kernel was built with, and what they hold."""

    # -- the call ----------------------------------------------------------------------------------
    def input(self, buf: Buffer, name: str, value: Any, mutable: bool) -> None:
        """An array was given to the kernel."""
        self.enter(buf)
        self.inputs.append((name, value, mutable))

    def output(self, t: Tensor) -> Symbol:
        """A tensor was returned by the kernel; what stands for it outside."""
        self.outputs.append(View(*self.view(t)[:2], t.meta))
        slot = self.origin(t.meta.shape, t.array.dtype)
        self.into.append(slot)
        return Symbol(t.meta.shape, t.array.dtype, slot)

    # -- what the machine is asked -----------------------------------------------------------------
    def enter(self, buf: Buffer) -> int:
        """Number a new buffer."""
        number = self.numbers[buf] = len(self.buffers)
        self.buffers.append(buf)
        return number

    def place(self, code: CodeType | None, lasti: int) -> int:
        """The number of a place in the kernel's text."""
        key = (id(code), lasti)
        found = self.places.get(key)
        if found is None:
            found = self.places[key] = len(self.places)
            self.codes.append((code, lasti))
        return found

    def step(self, kind: int, what: int = 0, *args: int, at: tuple[Any, int] | None = None) -> None:
        """Note a step at the line that is executing, or at the place `at`."""
        if at is None:
            frame = source.user_frame(2)
            at = frame.f_code, frame.f_lasti
        self.args.extend(args)
        self.steps.extend((kind, what, self.place(*at), len(self.args)))

    def view(self, t: Tensor) -> tuple[int, int, int]:
        """A plain view as integers: buffer, offset, layout."""
        meta = t.meta
        return self.number(t), t.off, self.metas.number(meta, meta)

    def number(self, t: Tensor) -> int:
        """The number of a tensor's buffer; refused of a tensor that another call made."""
        found = self.numbers.get(t.buf)
        if found is None:
            unlowered(
                "a tensor",
                f"'{t.label}' was made by another kernel call",
                "Return it from the one kernel and pass it to the other.",
            )
            raise AssertionError
        return found

    def allocated(self, buf: Buffer, meta: Meta) -> None:
        """The kernel asked for a tensor."""
        self.enter(buf)
        what = Allocation(meta.space, meta.shape, meta.dtype, meta.pdim, meta.pstart, buf.name)
        self.step(ALLOCATE, self.allocations.number(what, what), at=(buf.code, buf.lasti))

    def ran(
        self,
        form: int,
        given: Tensor | None,
        dst: Tensor,
        srcs: tuple[Tensor, ...],
        extra: Tensor | None,
        code: CodeType,
        lasti: int,
        where: np.ndarray | None = None,
    ) -> None:
        """An instruction of a form (`form_of`) ran at a place. `given`: its destination, unless
        that is a new tile; `where`: its mask."""
        args, numbers = self.args, self.numbers
        mask = -1
        if where is not None:
            mask = self.masks.number((where.shape, where.tobytes()), pattern_of(where))
        if given is None:
            args.extend((mask, FRESH, 0))
            numbers[dst.buf] = len(self.buffers)
            self.buffers.append(dst.buf)
        else:
            args.append(mask)
            self._operand(given)
        for s in srcs if extra is None else (*srcs, extra):
            found = numbers.get(s.buf)
            if found is None or type(s) in _INDIRECT:
                self._operand(s)
            else:
                args.extend((found, s.off))
        at = self.places.get((id(code), lasti))
        self.steps.extend((RUN, form, self.place(code, lasti) if at is None else at, len(args)))

    def form_of(self, call: tuple[Any, ...], signature: Signature, shared: bool) -> int:
        """The number of the form of a call. `call`: the arguments of `execute`; `shared`:
        `signature` is that of all such calls, so that `plain` has the form from now on."""
        _, instruction, api, dst, srcs, attrs, space, dtype, _, extra = call
        skip = any(type(t) is IndexedTensor and t.skip for t in (*srcs, dst))
        skip = skip or any(type(t) is ResolvedView and t.skip for t in (*srcs, dst))
        form = Form(
            instruction,
            api,
            attrs,
            space if dst is None else "",
            dtype,
            None if dst is None else _layout(dst),
            tuple(map(_layout, srcs)),
            None if extra is None else _layout(extra),
            skip,
        )
        number = self.forms.number((form, repr(attrs)), form)
        if shared and not skip:
            self.plain[signature, api] = number
        return number

    def _operand(self, t: Tensor) -> None:
        kind = type(t)
        if t.meta.space == CONST:
            known = self.seen.get(id(t))
            if known is None or known[0] is not t:
                known = self.seen[id(t)] = t, self._constant(t)
            self.args.extend(known[1])
        elif kind is IndexedTensor or kind is ResolvedView:
            self.args.extend((PICKED, len(self.picks)))
            self.picks.append(self._pick(t))
        else:
            found = self.numbers.get(t.buf)
            self.args.extend((self.number(t) if found is None else found, t.off))

    def _constant(self, t: Tensor) -> tuple[int, int]:
        value: Any = t.array
        if t is GENERATOR:
            return STATE, 0
        if isinstance(value, np.ndarray):
            key = (value.shape, value.dtype, value.tobytes())
            return NUMBER, self.constants.number(key, pattern_of(value))
        if isinstance(value, (int, float)):
            known = (type(value), repr(value), t.meta.dtype)
            return NUMBER, self.constants.number(known, Number(value, t.meta.dtype))
        return SENT, t.off

    def _pick(self, t: Any) -> Pick:
        kind, base, *parts = t.recipe
        if any(type(p) in (IndexedTensor, ResolvedView) for p in (base, *parts)):
            unlowered(
                "a view",
                f"'{t.label}' is picked by indices that indices pick",
                "Copy the inner ones to a tile first.",
            )
        found = [
            View(*self.view(p)[:2], p.meta)
            if isinstance(p, Tensor)
            else self._pattern(p)
            if isinstance(p, np.ndarray)
            else p
            for p in parts
        ]
        return Pick(kind, View(*self.view(base)[:2], base.meta), tuple(found))

    def _pattern(self, values: np.ndarray) -> Pattern:
        if values.size > _SMALL:
            return pattern_of(values)
        key = (values.shape, values.dtype.char, values.tobytes())
        found = self.patterns.get(key)
        if found is None:
            found = self.patterns[key] = pattern_of(values)
        return found

    def redirected(
        self, dst: Tensor, attrs: tuple[Any, ...] | None, held: bool, at: tuple[Any, int]
    ) -> None:
        """An assignment at the place `at` changed where the last instruction wrote."""
        what = -1
        if attrs is not None:
            known = self.told.get(id(attrs))
            if known is None or known[0] is not attrs:  # what equals may be of other types
                number = self.attributes.number((attrs, repr(attrs)), attrs)
                known = self.told[id(attrs)] = attrs, number
            what = known[1]
        self.args.extend((*self.view(dst), int(held)))
        self.steps.extend((REDIRECT, what, self.place(*at), len(self.args)))

    def printed(self, prefix: str, t: Tensor) -> None:
        """nl.device_print."""
        self.args.append(self.metas.number(t.meta, t.meta))
        self._operand(t)
        frame = source.user_frame(2)
        what = self.texts.number(prefix, prefix)
        at = self.place(frame.f_code, frame.f_lasti)
        self.steps.extend((PRINT, what, at, len(self.args)))

    def send(self, t: Tensor) -> int:
        """A core lays a tile out for the other; the number under which it does."""
        self.step(SEND, 0, *self.view(t))
        self.sent += 1
        return self.sent - 1

    def switch(self, core: int) -> None:
        """The steps from now on are those of another core."""
        if core != self.core:
            self.core = core
            self.steps.extend((CORE, core, 0, len(self.args)))

    def constant(self, buf: Buffer, array: np.ndarray) -> None:
        """A tensor in HBM whose contents are known when the kernel is built."""
        number = self.enter(buf)
        self.arrays.append((number, array))
        self.step(CONSTANT, len(self.arrays) - 1, at=(buf.code, buf.lasti))


def unlowered(api: str, why: str, remedy: str) -> None:
    """Refuse what a lowered program cannot hold."""
    broken("values-needed", f"{api}: {why}", got="a lowering", remedy=remedy)
