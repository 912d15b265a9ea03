"""Replaying a program as a flat list of NumPy calls on memory that is laid out beforehand.

The program is run once on shapes, through the machine, which holds every step to the rules; what
then remains are the values. Each step becomes one call with its arrays bound: tiles lie in arrays
that are used again when a tile is dead, and a copy out of PSUM of a tile that dies there is only
another name for it. What needs to be checked on values (run-time indices) still is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..execution import masked
from ..execution.execute import spend_memset
from ..execution.execution import Execution
from ..execution.launch import launched
from ..execution.lowering import FRESH, NUMBER, PICKED, array_of
from ..execution.signature import Signature, build
from ..machine.config import Config
from ..machine.memory import HBM, PSUM, Meta, contiguous
from ..rules.listing import CURSOR
from ..tensors.const import Const
from ..tensors.index import Mask
from ..tensors.tensor import Tensor
from .call import Call
from .replay import Dialect, Replay

_ndarray: Any = np.ndarray
POISON = 0xFF
"""Each byte of memory that the program has not written: NaN in every float."""


class CannotFlatten(ValueError):
    """A program has a step that is replayed one by one only."""


class _Ref(NamedTuple):
    """An operand: a view of a buffer."""

    number: int
    offset: int
    meta: Meta


class _Op(NamedTuple):
    """One step: which buffers it touches, and what makes the call of it once arrays are there."""

    reads: tuple[Any, ...]
    writes: tuple[_Ref, ...]
    make: Callable[[_Memory], Callable[[], Any] | None]
    alias: tuple[int, int] | None = None
    """(new, old): the tile `new` is a copy of `old`, which may be the same."""


class _Memory:
    """The arrays of one call."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.bytes: dict[int, np.ndarray] = {}
        self.inputs: list[np.ndarray] = []
        """The bytes of what the kernel is given, bound at each call."""
        self.names: dict[int, int] = {}
        """Buffers that are another name for another."""

    def root(self, number: int) -> int:
        """The buffer whose memory it has."""
        while number in self.names:
            number = self.names[number]
        return number

    def view(self, ref: _Ref) -> np.ndarray:
        """A view of a buffer."""
        return self.part(self.bytes[self.root(ref.number)], ref)

    def part(self, raw: np.ndarray, ref: _Ref) -> np.ndarray:
        """A view of the bytes of a buffer."""
        stored = self.config.storage(ref.meta.dtype)
        item = stored.itemsize
        strides = tuple([s * item for s in ref.meta.strides])
        found: np.ndarray = _ndarray(ref.meta.shape, stored, raw, ref.offset * item, strides)
        return found


class _Builder(Replay):
    """Runs a call on shapes and notes what is to be computed."""

    def __init__(self, call: Call, config: Config, given: list[Any], derive: bool) -> None:
        super().__init__(call, config, None, given, derive)
        if call.cores > 1:
            raise CannotFlatten("it runs on two cores")
        if not config.precise_fp:
            raise CannotFlatten("its values are kept in float32")
        self.execution.values = False
        self.execution.retarget(config)
        self.ops: list[_Op] = []
        self.signatures: dict[tuple[int, Any], Signature] = {}
        self.metas: list[Meta] = []
        self.constant_bytes: dict[int, np.ndarray] = {}
        self.last: tuple[Any, ...] | None = None
        self.waiting: _Op | None = None

    def _ref(self, t: Tensor, number: int) -> _Ref:
        return _Ref(number, t.off, t.meta)

    def note(self, op: _Op) -> None:
        """One more step."""
        self.ops.append(op)

    def ran(self, what: int, args: list[int]) -> None:
        form = self.call.forms[what]
        if form.skip:
            raise CannotFlatten("it leaves indices out of bounds out")
        before = len(self.whole)
        place = self.cursor.f_lasti
        super().ran(what, args)
        fresh = args[1] == FRESH
        number = before if fresh else args[1]
        if number < 0 or (not fresh and number < len(self.call.given)):
            raise CannotFlatten("it writes where indices pick, or to an input")
        dst = self.whole[number] if fresh else self.view(number, args[2], self._meta(what))
        srcs = [self._source(args[3 + 2 * k], args[4 + 2 * k], m) for k, m in enumerate(form.srcs)]
        extra = None
        if form.extra is not None:
            extra = _Ref(args[-2], self.view(args[-2], args[-1], form.extra).off, form.extra)
        signature = self._signature(what, fresh, dst, args)
        where = None if args[0] < 0 else np.asarray(self.masks[args[0]].where)
        into = self._ref(dst, number)
        self.last = signature, into, srcs, extra, where, place
        self.note(self._compute(signature, into, srcs, extra, where, place))

    def _meta(self, what: int) -> Meta:
        found = self.call.forms[what].dst
        assert found is not None
        return found

    def _source(self, number: int, offset: int, meta: Meta) -> Any:
        """An operand: a `_Ref`, a number, or the number of a pick."""
        if number >= 0:
            return self._ref(self.view(number, offset, meta), number)
        if number == NUMBER:
            return self.constants[offset].array
        if number == PICKED:
            pick = self.call.picks[offset]
            if pick.base.buffer >= len(self.call.given) or pick.kind not in ("indices", "rows"):
                raise CannotFlatten("it picks elements of what it writes itself")
            return ("pick", offset, pick)
        raise CannotFlatten("an operand is the state of a generator")

    def _signature(self, what: int, fresh: bool, dst: Tensor, args: list[int]) -> Signature:
        """The signature that computes values."""
        found = self.signatures.get((what, dst.meta))
        if found is None:
            form = self.call.forms[what]
            srcs = tuple(
                [
                    self.operand(args[3 + 2 * k], args[4 + 2 * k], m, form)
                    for k, m in enumerate(form.srcs)
                ]
            )
            extra = None if form.extra is None else self.view(args[-2], args[-1], form.extra)
            found = self.signatures[what, dst.meta] = build(
                self.execution.config,
                True,
                form.instruction,
                form.api,
                None if fresh else dst,
                srcs,
                form.attrs,
                form.space,
                form.dtype,
                extra,
            )
        return found

    def _compute(
        self,
        signature: Signature,
        into: _Ref,
        srcs: list[Any],
        extra: _Ref | None,
        where: np.ndarray | None,
        place: int,
    ) -> _Op:
        reads = tuple(
            [s for s in srcs if isinstance(s, _Ref)]
            + [
                _Ref(*p)
                for s in srcs
                if isinstance(s, tuple) and not isinstance(s, _Ref)
                for p in s[2].parts
                if isinstance(p, tuple) and len(p) == 3
            ]
        )
        writes = (into,) if extra is None else (into, extra)
        alias = None
        name = signature.instruction.name
        if (
            name == "tensor_copy"
            and len(reads) == 1
            and where is None
            and reads[0].meta.space == PSUM
            and reads[0].meta.dtype == into.meta.dtype
            and reads[0].meta.shape == into.meta.shape
            and not reads[0].offset
            and not into.offset
            and _covers(into.meta, self.whole[into.number])
            and _covers(reads[0].meta, self.whole[reads[0].number])
        ):
            alias = into.number, reads[0].number
        given = len(self.call.given)

        def make(memory: _Memory) -> Callable[[], Any] | None:
            return _call(self, memory, signature, into, srcs, extra, where, place, given)

        return _Op(reads, writes, make, alias)

    def redirected(self, what: int, args: list[int]) -> None:
        super().redirected(what, args)
        assert self.last is not None
        signature, made, srcs, extra, where, place = self.last
        dst = self.viewed(args)
        into = self._ref(dst, args[0])
        old = self.ops.pop()
        held = bool(args[3])
        same = made.meta.dtype == into.meta.dtype
        if not held and same and where is None:
            self.note(self._compute(signature, into, srcs, extra, None, place))
            return
        cast = self.execution.config.cast
        self.note(old)
        if where is not None and held:
            raise CannotFlatten("a masked product is added to a tile")
        keep = None if where is None else masked.kept(signature.plan, where, made.meta.shape)

        def make(memory: _Memory) -> Callable[[], Any]:
            out, value = memory.view(into), memory.view(made)
            dtype = into.meta.dtype
            if held:
                return lambda: np.copyto(out, cast(out + value, dtype))
            if keep is not None:
                return lambda: np.copyto(out, cast(value, dtype), where=keep)
            return lambda: np.copyto(out, cast(value, dtype))

        self.note(_Op((made, into) if held or keep is not None else (made,), (into,), make))

    def allocated(self, what: int, args: list[int]) -> None:
        super().allocated(what, args)

    def constant(self, what: int, args: list[int]) -> None:
        super().constant(what, args)
        meta, values = self.call.arrays[what]
        stored = np.ascontiguousarray(self.execution.config.cast(values, meta.dtype))
        self.constant_bytes[len(self.whole) - 1] = stored.reshape(-1).view(np.uint8)

    def zero(self, what: int, args: list[int]) -> None:
        super().zero(what, args)
        into = self._ref(self.viewed(args), args[0])
        self.note(_Op((), (into,), lambda memory: partial(memory.view(into).fill, 0)))

    def cleared(self, args: list[int]) -> None:
        """Zeros where nothing has been written."""
        t = self.viewed(args)
        empty = ~self.execution.written_flags(t)
        self.execution.clear_unwritten(t)
        into = self._ref(t, args[0])

        def make(memory: _Memory) -> Callable[[], Any]:
            out = memory.view(into)
            return lambda: np.copyto(out, 0, where=empty)

        self.note(_Op((into,), (into,), make))

    def printed(self, what: int, args: list[int]) -> None:
        raise CannotFlatten("it prints")

    def instance(self, what: int, args: list[int]) -> None:
        super().instance(what, args)
        self.note(_Op((), (), lambda memory: _new_instance))


def _new_instance() -> None:
    """A program instance begins with registers of its own."""
    from ..execution.execution import running

    execution = running()
    assert execution is not None
    execution.registers = {}


def _covers(meta: Meta, t: Tensor) -> bool:
    return meta.size == t.buf.meta.size and meta.strides == contiguous(meta.shape)


def _call(
    builder: _Builder,
    memory: _Memory,
    signature: Signature,
    into: _Ref,
    srcs: list[Any],
    extra: _Ref | None,
    where: np.ndarray | None,
    place: int,
    given: int,
) -> Callable[[], Any] | None:
    """The call of one instruction, with its arrays bound."""
    out = memory.view(into)
    late = [
        k
        for k, s in enumerate(srcs)
        if isinstance(s, tuple) and (not isinstance(s, _Ref) or s.number < given)
    ]
    arrays = [
        None if k in late else memory.view(s) if isinstance(s, _Ref) else s
        for k, s in enumerate(srcs)
    ]
    plan = signature.plan
    if late or extra is not None or where is not None or plan.stateful:
        if len(late) == 1 == len(srcs) and extra is None and where is None:
            (source,) = srcs
            if isinstance(source, _Ref) and plan.compute is np.ndarray.copy:  # noqa: SIM102
                if source.meta.dtype == into.meta.dtype and source.meta.shape == into.meta.shape:
                    return _load(memory, source, out)
        return _general(builder, memory, signature, out, srcs, arrays, extra, where, late)
    compute = signature.compute
    if isinstance(compute, np.ufunc) and plan.shape == into.meta.shape:  # noqa: SIM102
        if all(isinstance(a, np.ndarray) for a in arrays):
            return partial(compute, *arrays, out=out)
    if compute is np.ndarray.copy and plan.shape == into.meta.shape:
        (source,) = arrays
        return partial(np.copyto, out, source)  # type: ignore[arg-type]
    if signature.instruction.name == "nc_matmul" and _plain_product(signature, arrays, out):
        return partial(np.dot, arrays[0].T, arrays[1], out)  # type: ignore[union-attr]
    if signature.instruction.name == "nc_transpose" and _turned(arrays, out):
        return _transpose(arrays[0].T, out)  # type: ignore[union-attr]
    shape = into.meta.shape

    def run() -> None:
        result = compute(*arrays)
        out[...] = result if result.shape == shape else result.reshape(shape)

    return run


def _plain_product(signature: Signature, arrays: list[Any], out: np.ndarray) -> bool:
    a, b = arrays[0], arrays[1]
    return (
        len(arrays) == 2
        and a.ndim == b.ndim == 2 == out.ndim
        and a.dtype == b.dtype == out.dtype == np.float32
        and out.flags.c_contiguous
        and out.shape == (a.shape[1], b.shape[1])
    )


def _turned(arrays: list[Any], out: np.ndarray) -> bool:
    (a,) = arrays
    return bool(a.ndim == 2 and a.dtype == out.dtype and out.shape == a.shape[::-1])


def _transpose(source: np.ndarray, out: np.ndarray) -> Callable[[], Any]:
    """A copy of a transposed tile, 64 columns at a time: whole rows of 128 fp32 columns lie at
    distances that are powers of two, for which caches have no room (five times as slow)."""
    width = out.shape[1]
    if width <= 64:
        return partial(np.copyto, out, source)
    parts = [(out[:, at : at + 64], source[:, at : at + 64]) for at in range(0, width, 64)]
    copyto = np.copyto

    def run() -> None:
        for into, part in parts:
            copyto(into, part)

    return run


def _load(memory: _Memory, source: _Ref, out: np.ndarray) -> Callable[[], Any]:
    """A copy of a part of what the kernel is given."""
    inputs, number = memory.inputs, source.number
    stored = memory.config.storage(source.meta.dtype)
    item = stored.itemsize
    shape, offset = source.meta.shape, source.offset * item
    strides = tuple([s * item for s in source.meta.strides])
    copyto = np.copyto

    def run() -> None:
        copyto(out, _ndarray(shape, stored, inputs[number], offset, strides))

    return run


def _general(
    builder: _Builder,
    memory: _Memory,
    signature: Signature,
    out: np.ndarray,
    srcs: list[Any],
    arrays: list[Any],
    extra: _Ref | None,
    where: np.ndarray | None,
    late: list[int],
) -> Callable[[], Any]:
    """The call of an instruction with a mask, registers, two results, or operands of each call."""
    plan, compute = signature.plan, signature.compute
    shape = signature.dst.shape
    second = None if extra is None else memory.view(extra)
    dtype = None if extra is None else extra.meta.dtype
    cast = memory.config.cast
    keep = own = None
    if where is not None:
        grid = signature.srcs[0].shape if plan.kind in ("reduce", "transpose") else shape
        where = np.broadcast_to(where, grid)
        keep = masked.kept(plan, where, shape)
        own = where if plan.kind == "reduce" else None
        if extra is not None or plan.stateful:
            raise CannotFlatten("a mask goes with two results or with registers")
    gathers = {k: _gather(builder, memory, srcs[k], where) for k in late}

    def run() -> None:
        values = list(arrays)
        for k, read in gathers.items():
            values[k] = read()
        if own is not None:
            values[0] = masked.others(own, values[0], plan.identity)
        result = compute(*values)
        if second is not None:
            result, more = result
        result = result.reshape(out.shape)
        if keep is None:
            out[...] = result
        else:
            np.copyto(out, result, where=keep)
        if second is not None:
            second[...] = cast(more, dtype).reshape(second.shape)  # type: ignore[arg-type]

    return run


def _gather(
    builder: _Builder, memory: _Memory, source: Any, where: np.ndarray | None
) -> Callable[[], np.ndarray]:
    """Reads an operand anew at each call: a part of an input, or elements that indices pick."""
    if isinstance(source, _Ref):
        return lambda: memory.part(memory.inputs[source.number], source)
    _, _number, pick = source
    whole = builder.whole
    place = builder.cursor
    at = place.f_lasti

    def bound(ref: _Ref) -> Tensor:
        array = (
            memory.part(memory.inputs[ref.number], ref)
            if ref.number < len(memory.inputs)
            else memory.view(ref)
        )
        return Tensor(whole[ref.number].buf, array, ref.meta, ref.offset)

    def run() -> np.ndarray:
        place.f_lasti = at
        t = bound(_Ref(*pick.base))
        if pick.kind == "rows":
            index, scale, extent = pick.parts
            from ..tensors import runtime

            found: Any = runtime.picked_rows(t, bound(_Ref(*index)), scale, extent, "a view")
        else:
            found = _indices(t, pick.parts, bound)
        values: np.ndarray = found.gather(where)
        return values

    return run


def _indices(t: Tensor, parts: tuple[Any, ...], bound: Any) -> Any:
    from ..tensors.tensor import IndexedTensor

    arrays: list[Any] = []
    tiles = []
    for tile, added in zip(parts[::2], parts[1::2]):
        more = array_of(added)
        if tile is None:
            arrays.append(more)
            continue
        index = bound(_Ref(*tile))
        tiles.append(index)
        arrays.append(index.array.astype(np.int64) + more)
    grid = np.broadcast_shapes(*[a.shape for a in arrays])
    return IndexedTensor(t, tuple(arrays), grid, tuple(tiles) or None)


class FlatCall:
    """One kernel call as a list of NumPy calls."""

    def __init__(self, call: Call, config: Config, given: list[Any], derive: bool) -> None:
        builder = _Builder(call, config, given, derive)
        builder.run()
        self.call = call
        self.builder = builder
        self.memory = _Memory(config)
        self._lay_out(builder)
        made = [op.make(self.memory) for op in self.ops]
        self.calls = [c for c in made if c is not None]
        self.outputs = [self.memory.view(_Ref(v.buffer, v.offset, v.meta)) for v in call.returned]

    def _lay_out(self, builder: _Builder) -> None:
        """Give each buffer its memory, from the first step that names it to the last."""
        memory, ops = self.memory, builder.ops
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for at, op in enumerate(ops):
            for ref in (*op.reads, *op.writes):
                first.setdefault(ref.number, at)
                last[ref.number] = at
        end = len(ops)
        for view in self.call.returned:
            last[view.buffer] = end
        once = self._written_once(ops)
        self.ops = []
        for at, op in enumerate(ops):
            if op.alias is not None:
                new, old = op.alias
                if last[old] == at and first[new] == at and new in once and old in once:
                    memory.names[new] = old
                    continue
            self.ops.append(op)
        for new, old in memory.names.items():
            root = memory.root(old)
            last[root] = max(last[root], last[new])
        self._assign(builder, first, last)

    def _written_once(self, ops: list[_Op]) -> set[int]:
        counts: dict[int, int] = {}
        for op in ops:
            for ref in op.writes:
                counts[ref.number] = counts.get(ref.number, 0) + 1
        return {n for n, k in counts.items() if k == 1}

    def _assign(self, builder: _Builder, first: dict[int, int], last: dict[int, int]) -> None:
        memory = self.memory
        free: dict[int, list[np.ndarray]] = {}
        given = len(self.call.given)
        starts: dict[int, list[int]] = {}
        ends: dict[int, list[int]] = {}
        for number, at in first.items():
            if number >= given and number not in memory.names:
                starts.setdefault(at, []).append(number)
                ends.setdefault(last[number], []).append(number)
        memory.bytes.update(builder.constant_bytes)
        for at in range(len(builder.ops) + 1):
            for number in starts.get(at, ()):
                if number in memory.bytes:
                    continue
                size = builder.whole[number].buf.meta.nbytes
                pool = free.get(size)
                raw = pool.pop() if pool else np.full(size + 64, POISON, np.uint8)
                memory.bytes[number] = raw
            for number in ends.get(at, ()):
                if number not in builder.constant_bytes:
                    size = builder.whole[number].buf.meta.nbytes
                    free.setdefault(size, []).append(memory.bytes[number])

    def __call__(self, given: list[np.ndarray]) -> list[np.ndarray]:
        """The arrays that the kernel returns."""
        memory = self.memory
        memory.inputs[:] = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in given]
        execution = Execution(memory.config, Dialect(self.call.dialect), None, spend_memset)
        token = CURSOR.set(self.builder.cursor)
        try:
            with launched(execution):
                for call in self.calls:
                    call()
        finally:
            CURSOR.reset(token)
            memory.inputs.clear()
        return [out.copy() for out in self.outputs]


__all__ = ["HBM", "CannotFlatten", "Const", "FlatCall", "Mask"]
