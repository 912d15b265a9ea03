"""Replaying a program step by step, through the same machine that ran it: the same results,
histories, prints, records and refusals as a direct call.

Every step is asked of the machine again: rules, bounds, unwritten elements, capacity. So a program
that came from a file is held to all that a kernel is held to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..execution.creation import in_banks
from ..execution.execute import execute, make, signature_of, write
from ..execution.execution import Execution
from ..execution.launch import check_capacity, check_output, input_tensor, launched, write_back
from ..execution.redirect import redirect, spend_memset
from ..execution.signature import Signature
from ..execution.steps import (
    ALLOCATE,
    CLEAR,
    CONSTANT,
    CORE,
    END,
    INSTANCE,
    LOOP,
    MATERIALIZE,
    NEXT,
    OFFER,
    PAUSE,
    PLACE,
    PRINT,
    REDIRECT,
    RESUME,
    RUN,
    SEND,
    TARGET,
    ZERO,
    Form,
    Number,
    array_of,
)
from ..machine import target as targets
from ..machine.config import Config
from ..machine.memory import FULL, HBM, Meta
from ..machine.running import RUNNING, Listener
from ..rules.errors import broken
from ..rules.listing import CURSOR, Cursor, Listing
from ..tensors.const import number
from ..tensors.masks import Mask
from ..tensors.tensor import IndexedTensor, Tensor
from . import bookkeeping
from .call import Call
from .decode import refuse
from .operands import Operands, array_operand
from .stand_ins import Dialect, Replayed

NUMBER, PICKED, FRESH, SENT, STATE = -1, -2, -3, -4, -5
CHUNK = 1 << 14
"""Steps turned into Python's integers at a time."""


class Replay(Operands):
    """One replay of one kernel call, on the arrays `given` (or shapes of them)."""

    def __init__(
        self,
        call: Call,
        config: Config,
        listener: Listener | None,
        given: list[Any],
        derive: bool = False,
    ) -> None:
        """`derive`: the program came from a file, so that the layouts of views are checked, and
        what follows from their tensors is derived."""
        self.call = call
        self.given = given
        self.listing = Listing(call.name, call.places)
        self.kernel: Any = Replayed(self.listing)
        self.cursor = Cursor(self.listing)
        dialect = Dialect(call.dialect)
        self.executions: list[Execution] = []
        for core in range(call.cores):
            execution = Execution(config, dialect, listener, spend_memset)
            execution.cursor = self.cursor
            execution.kernel_code = self.listing  # type: ignore[assignment]
            execution.grid = call.grid
            execution.position = (core,) if call.cores > 1 else ()
            if core:
                execution.shared = self.executions[0].shared
                execution.queue = self.executions[0].queue
            self.executions.append(execution)
            if listener is not None:
                listener.begun(execution)
        self.execution = self.executions[0]
        self.whole: list[Tensor] = []
        """Of each buffer a tensor that covers it."""
        self.derive = derive
        self.derived: dict[tuple[Meta, Meta, int], Meta] = {}
        self.known: dict[int, Signature] = {}
        """Of forms of calls that have run, the signatures."""
        self.flat: dict[int, np.ndarray] = {}
        """The bytes of buffers of which parts were seen."""
        self.sent: list[Any] = []
        self.outputs = set(call.outputs)
        self.constants = [
            number(c.value, c.dtype) if isinstance(c, Number) else array_operand(array_of(c))
            for c in call.constants
        ]
        self.masks = [Mask(array_of(m)) for m in call.masks]

    def run(self) -> list[Any]:
        """The arrays that the kernel returns."""
        token = CURSOR.set(self.cursor)
        try:
            with launched(self.execution):
                mutable = self._begin()
                steps = [partial(_STEPS[kind], self) for kind in range(len(_STEPS))]
                for kind, what, args in self._steps():
                    steps[kind](what, args)
                for execution in self.executions:
                    if execution.suspect is not None:
                        execution.settle(False)
                    self._now(execution)
                    check_capacity(execution, self.kernel)
                self._now(self.executions[0])
                self.cursor.f_lasti = 0
                for execution in self.executions:
                    execution.numbered = [t.buf for t in self.whole]
                return self._end(mutable)
        finally:
            CURSOR.reset(token)

    def _now(self, execution: Execution) -> None:
        """The steps from here on are those of this core."""
        if execution is not self.execution:
            self.execution.tape.end_turn()
            self.execution = execution
            RUNNING.set(execution)

    def _steps(self) -> Iterator[tuple[int, int, list[int]]]:
        steps, args = self.call.steps, self.call.args
        start = 0
        cursor = self.cursor
        for at in range(0, len(steps), CHUNK):
            part = steps[at : at + CHUNK]
            words = args[start : int(part[-1, 3])].tolist()
            base = begin = start
            for kind, what, place, end in part.tolist():
                cursor.f_lasti = place
                yield kind, what, words[begin - base : end - base]
                begin = end
            start = begin

    def _begin(self) -> list[tuple[Tensor, Any]]:
        """The inputs as tensors in HBM; those that may be written, with the caller's arrays."""
        mutable = []
        for given, value in zip(self.call.given, self.given):
            t = input_tensor(self.execution, given.name, value, given.mutable)
            self.whole.append(t)
            if given.mutable or self.execution.dialect.writes_inputs:
                mutable.append((t, value))
        return mutable

    def _end(self, mutable: list[tuple[Tensor, Any]]) -> list[Any]:
        """What is returned, checked; written inputs are given back to the caller's arrays."""
        execution = self.execution
        outputs = []
        for view in self.call.returned:
            t = self.view(view.buffer, view.offset, view.meta)
            if t.meta.space != HBM:
                broken(
                    "output-memory",
                    f"{self.call.name} returns '{t.label}', which lies in {t.meta.space}",
                    tensor=t.label,
                    limit="hbm",
                )
            if execution.dialect.writes_inputs and t.buf.role == "tile":
                broken(
                    "output-buffer",
                    f"{self.call.name} returns '{t.label}', which lies in private HBM",
                    tensor=t.label,
                    got="nl.private_hbm",
                )
            check_output(execution, self.kernel, t)
            outputs.append(t.array.copy() if execution.values else t.array)
        if execution.values:
            for t, array in mutable:
                if execution.dialect.writes_inputs:
                    if t.buf.role == "mutable" and not np.shares_memory(t.array, array):
                        array[...] = t.array.astype(array.dtype)
                else:
                    write_back(self.kernel, t, array)
        return outputs

    # -- steps -------------------------------------------------------------------------------------
    def ran(self, what: int, args: list[int]) -> None:
        """An instruction."""
        form: Form = self.call.forms[what]
        known = self.known.get(what)
        plain = args[0] < 0 and (args[1] >= 0 or args[1] == FRESH)
        if known is not None and plain and min(args[3::2], default=0) >= NUMBER:
            self._again(form, known, args)
            return
        skip = form.skip
        mask: Any = self.masks[args[0]] if args[0] >= 0 else None
        number = args[1]
        dst = None
        if number != FRESH:
            assert form.dst is not None
            dst = self.operand(number, args[2], form.dst, form)
        srcs = tuple(
            [
                self.operand(args[3 + 2 * k], args[4 + 2 * k], meta, form)
                for k, meta in enumerate(form.srcs)
            ]
        )
        extra = None
        if form.extra is not None:
            extra = self.operand(args[-2], args[-1], form.extra, form)
        if skip:
            for t in (*srcs, dst):
                if type(t) is IndexedTensor:
                    inside = Mask(t.inside())
                    mask = inside if mask is None else mask & inside
        made = execute(
            form.instruction,
            form.api,
            dst,
            srcs,
            form.attrs,
            form.space,
            form.dtype,
            mask,
            extra,
        )
        if dst is None:
            self.whole.append(made)
        if mask is extra is None and not self.derive:
            into = form.space if dst is None else dst.meta
            given = form.instruction, form.attrs, into, form.dtype, srcs
            found = signature_of(self.execution, *given)
            if found is not None:
                self.known[what] = found

    def _again(self, form: Form, known: Signature, args: list[int]) -> None:
        """An instruction of a known signature, on plain views and numbers."""
        srcs = tuple(
            [
                self.view(args[3 + 2 * k], args[4 + 2 * k], meta)
                if args[3 + 2 * k] >= 0
                else self.constants[args[4 + 2 * k]]
                for k, meta in enumerate(form.srcs)
            ]
        )
        if args[1] == FRESH:
            self.whole.append(make(self.execution, known, form.api, srcs))
        else:
            assert form.dst is not None
            write(self.execution, known, form.api, self.view(args[1], args[2], form.dst), srcs)

    def allocated(self, what: int, args: list[int]) -> None:
        """A tensor that the kernel asks for."""
        a = self.call.allocations[what]
        t = self.execution.allocate(
            a.space, a.shape, a.dtype, pdim=a.pdim, pstart=a.pstart, name=a.name
        )
        if self.derive and not self.execution.dialect.writes_inputs:
            in_banks(self.execution.config.target, t.meta)
        if len(self.whole) in self.outputs:
            t.buf.role = "output"
            self.execution.shared.append(t)
        self.whole.append(t)

    def constant(self, what: int, args: list[int]) -> None:
        """A tensor in HBM that holds what is known when the kernel is built."""
        meta, values = self.call.arrays[what]
        execution = self.execution
        nki = execution.dialect.writes_inputs
        buf = execution.new_buffer(meta, FULL, "constant" if nki else None)
        buf.role = "constant" if nki else "input"
        array = execution.constant(values, meta.dtype)
        execution.tape.keep_initial(buf, array)
        self.whole.append(Tensor(buf, array, meta, 0))

    def redirected(self, what: int, args: list[int]) -> None:
        """An assignment, to which the last instruction writes."""
        value = self.execution.last_result
        attrs = None if what < 0 else self.call.attributes[what]
        dst = self.viewed(args)
        if self.derive:
            bookkeeping.redirected(self.execution, attrs, args[3])
        if value is None or not redirect(dst, value, attrs, bool(args[3])):
            refuse("an assignment follows no instruction that it could redirect")

    def viewed(self, args: list[int]) -> Tensor:
        """The view that a step names."""
        return self.view(args[0], args[1], self.call.metas[args[2]])

    def printed(self, what: int, args: list[int]) -> None:
        """nl.device_print."""
        t = self.operand(args[1], args[2], self.call.metas[args[0]])
        line = self.call.places[self.cursor.f_lasti].line
        self.execution.print_values(self.call.texts[what], t, line)

    def zero(self, what: int, args: list[int]) -> None:
        """A PSUM tile counts as holding zeros."""
        t = self.viewed(args)
        if self.derive:
            bookkeeping.zeroed(t)
        self.execution.nothing_added(t) if what else self.execution.zero(t)

    def offered(self, args: list[int]) -> None:
        """A new tile that an assignment may take over."""
        t = self.viewed(args)
        if self.derive:
            bookkeeping.offered(self.execution, t)
        self.execution.offer(t)

    def placed(self, args: list[int]) -> None:
        """The kernel chooses the place of a new tile."""
        t = self.whole[args[0]]
        if self.derive:
            bookkeeping.placed(t)
        self.execution.place(t, args[1], args[2])

    def cleared(self, args: list[int]) -> None:
        """Zeros where nothing has been written."""
        t = self.viewed(args)
        if self.derive:
            bookkeeping.cleared(t)
        self.execution.clear_unwritten(t)

    def target(self, what: int, args: list[int]) -> None:
        """The kernel goes on as if for another target."""
        execution = self.execution
        target = targets.get(self.call.texts[what])
        execution.retarget(dataclasses.replace(execution.config, target=target))
        self.known = {}

    def instance(self, what: int, args: list[int]) -> None:
        """A program instance begins."""
        self.execution.start_instance(())
        self.execution.position = tuple(args)

    def core(self, what: int, args: list[int]) -> None:
        """The steps from here on are those of the other core."""
        self._now(self.executions[what])

    def send(self, what: int, args: list[int]) -> None:
        """A core lays a tile out for the other."""
        t = self.viewed(args)
        if self.derive:
            bookkeeping.sent(t)
        self.execution.tape.send(len(self.sent), t)
        self.sent.append(t.array.copy() if self.execution.values else t.array)

    def materialized(self, what: int, args: list[int]) -> None:
        """The zeros that a sum needs, before the instruction that adds to them."""
        if self.derive:
            bookkeeping.materialized(self.execution)
        last = self.execution.last_signature
        self.execution.materialize_zeros(
            self.viewed(args), before=0 if last is None else last.width
        )


def _nothing(replay: Replay, what: int, args: list[int]) -> None:
    """Where loops begin and end is for readers."""


_STEPS: dict[int, Any] = {
    ALLOCATE: lambda r, what, args: r.allocated(what, args),
    RUN: lambda r, what, args: r.ran(what, args),
    REDIRECT: lambda r, what, args: r.redirected(what, args),
    PRINT: lambda r, what, args: r.printed(what, args),
    ZERO: lambda r, what, args: r.zero(what, args),
    CLEAR: lambda r, what, args: r.cleared(args),
    MATERIALIZE: lambda r, what, args: r.materialized(what, args),
    PLACE: lambda r, what, args: r.placed(args),
    OFFER: lambda r, what, args: r.offered(args),
    PAUSE: lambda r, what, args: r.execution.pause_history(r.whole[args[0]].buf),
    RESUME: lambda r, what, args: r.execution.resume_history(r.viewed(args)),
    INSTANCE: lambda r, what, args: r.instance(what, args),
    TARGET: lambda r, what, args: r.target(what, args),
    CORE: lambda r, what, args: r.core(what, args),
    SEND: lambda r, what, args: r.send(what, args),
    **dict.fromkeys((LOOP, NEXT, END), _nothing),
    CONSTANT: lambda r, what, args: r.constant(what, args),
}
