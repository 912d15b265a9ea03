"""One step of a flat replay as one call without arguments, its arrays bound."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..execution import masked
from ..execution.execution import running
from ..execution.lowering import NUMBER, PICKED, Pick, View, array_of
from ..machine.memory import Meta
from ..tensors import runtime
from ..tensors.tensor import IndexedTensor, Tensor
from .flat_memory import Inputs, Memory
from .flat_rows import read, rows_of
from .flat_steps import ADD, CAST, EMPTIED, FILL, NEW, Op, Recipe, Steps

Step = Callable[[], Any]
_copyto = np.copyto


class Calls:
    """Makes the calls of a kernel call's steps."""

    def __init__(self, steps: Steps, memory: Memory, inputs: Inputs) -> None:
        self.steps = steps
        self.memory = memory
        self.inputs = inputs
        self.config = memory.config
        self.cursor = steps.replay.cursor
        self._known: dict[tuple[Any, ...], Step] = {}
        """Steps on the same arrays are one and the same call."""
        self._bound: list[tuple[int, int, Callable[[int], Step]]] = []

    def all(self, ops: list[Op]) -> list[Step]:
        """The calls of all steps."""
        at, given, known = self.memory.at, self.steps.given, self._known
        made: list[Any] = []
        for op in ops:
            refs, recipe = op.refs, op.recipe
            if recipe.outside and self._reads_inputs(op):
                made.append(self._late(op, len(made)))
                continue
            # numbers below 0 are constants, which keep theirs
            places = [at[n] if n >= given else n for n in refs[::2]]
            key = (recipe, *places, *refs[1::2])
            call = known.get(key)
            if call is None:
                call = known[key] = self._call(op)
            made.append(call)
        order = self.inputs.settle()
        for place, number, make in self._bound:
            made[place] = make(order[number])
        return made

    def _reads_inputs(self, op: Op) -> bool:
        refs, given = op.refs, self.steps.given
        return any(
            refs[2 * k] < given and (refs[2 * k] >= 0 or refs[2 * k] == PICKED)
            for k in op.recipe.outside
        )

    def _call(self, op: Op) -> Step:
        """The call of a step on arrays that stay where they are."""
        recipe, view, refs = op.recipe, self.memory.view, op.refs
        kind, metas = recipe.kind, recipe.metas
        if kind == NEW:
            return partial(_new_instance, recipe.position)
        out = view(refs[0], refs[1], metas[0])
        if kind == FILL:
            return partial(out.fill, 0)
        if kind == EMPTIED:
            return partial(_copyto, out, 0, where=recipe.mask)
        if kind in (CAST, ADD):
            return self._cast(recipe, out, view(refs[2], refs[3], metas[1]))
        arrays, second = self._sources(op), self._second(op)
        if all(number == NUMBER for number in refs[2::2]) and _pure(recipe):
            assert recipe.signature is not None
            return _constant(recipe.signature.compute(*arrays).reshape(out.shape), out)
        if second is not None and self.steps.alone:
            found = _alone(recipe, out, arrays, second, self.config.cast)
            if found is not None:
                return found
        return instruction(recipe, out, arrays, second, self.config.cast)

    def _second(self, op: Op) -> np.ndarray | None:
        signature, refs = op.recipe.signature, op.refs
        if signature is None or signature.extra is None:
            return None
        return self.memory.view(refs[-2], refs[-1], op.recipe.metas[-1])

    def _sources(self, op: Op) -> list[Any]:
        """The arrays of an instruction's sources; None for what is bound at each call."""
        recipe, refs, given = op.recipe, op.refs, self.steps.given
        assert recipe.signature is not None
        arrays: list[Any] = []
        for k in range(1, 1 + len(recipe.signature.srcs)):
            number, offset = refs[2 * k], refs[2 * k + 1]
            if number >= given:
                arrays.append(self.memory.view(number, offset, recipe.metas[k]))
            elif number >= 0 or number == PICKED:
                arrays.append(None)
            else:
                arrays.append(self.steps.constants[offset].array)
        return arrays

    def _cast(self, recipe: Recipe, out: np.ndarray, value: np.ndarray) -> Step:
        """An assignment that the instruction could not write to by itself."""
        cast, dtype, keep = self.config.cast, recipe.metas[0].dtype, recipe.mask
        if recipe.kind == ADD:
            if value.dtype == out.dtype == np.float32 == dtype:
                return partial(np.add, out, value, out)
            return lambda: _copyto(out, cast(out + value, dtype))
        if keep is None:
            return lambda: _copyto(out, cast(value, dtype))
        assert recipe.signature is not None
        where: Any = masked.kept(recipe.signature.plan, keep, recipe.metas[1].shape)
        return lambda: _copyto(out, cast(value, dtype), where=where)

    # -- what the kernel is given ------------------------------------------------------------------
    def _late(self, op: Op, place: int) -> Any:
        """The call of a step that reads what the kernel is given. Of a plain load it is made when
        all loads are known: None until then."""
        recipe, refs, inputs = op.recipe, op.refs, self.inputs
        signature = recipe.signature
        assert signature is not None
        plain = signature.extra is None and recipe.mask is None and len(refs) == 4
        if plain and refs[2] >= 0 and signature.compute is np.ndarray.copy:
            into, source = recipe.metas
            if source.shape == into.shape:
                out = self.memory.view(refs[0], refs[1], into)
                number = inputs.number(refs[2], source, refs[3])
                self._bound.append((place, number, partial(_load, inputs.views, out)))
                return None
        arrays, reads = self._sources(op), {}
        for k, array in enumerate(arrays):
            if array is None:
                reads[k] = self._read(op, refs[2 * k + 2], refs[2 * k + 3], recipe.metas[k + 1])
        out = self.memory.view(refs[0], refs[1], recipe.metas[0])
        general = _General(recipe, out, arrays, self._second(op), self.config.cast)
        late = partial(general.late, reads, self._leave)
        rows = plain and refs[2] == PICKED and self._rows(op, place, late)
        return None if rows else late

    def _leave(self, found: IndexedTensor, where: Any, inside: np.ndarray) -> None:
        """Note the bytes that indices out of bounds leave out of those that a mask keeps."""
        out = ~inside if where is None else where & ~inside
        nbytes = int(np.count_nonzero(out)) * found.meta.itemsize
        if nbytes:
            number = next(n for n, b in self.steps.buffers.items() if b is found.buf)
            self.inputs.leave(number, nbytes)

    def _rows(self, op: Op, place: int, slow: Step) -> bool:
        """Whether the step only copies rows that indices pick: then its call waits for the
        inputs' views, and for the call that refuses indices out of bounds."""
        recipe, inputs = op.recipe, self.inputs
        assert recipe.signature is not None
        into, source = recipe.metas
        pick = self.steps.call.picks[op.refs[3]]
        rows = rows_of(pick, source.shape) if into.shape == source.shape else None
        if rows is None or recipe.signature.plan.compute is not np.ndarray.copy:
            return False
        if into.dtype != source.dtype:
            return False
        number = inputs.number(pick.base.buffer, rows.meta, rows.offset)
        out = self.memory.view(op.refs[0], op.refs[1], into)
        index = partial(self._array, rows.tile)
        leave = partial(inputs.leave, pick.base.buffer) if recipe.skip else None
        self._bound.append((place, number, read(rows, index, inputs.views, out, leave, slow)))
        return True

    def _read(self, op: Op, number: int, offset: int, meta: Meta) -> Callable[[], Any]:
        """Reads an operand anew at each call."""
        if number >= 0:
            return partial(self._input, number, offset, meta)
        pick, cursor, place = self.steps.call.picks[offset], self.cursor, op.place

        def read() -> IndexedTensor:
            cursor.f_lasti = place
            return self._picked(pick)

        return read

    def _input(self, number: int, offset: int, meta: Meta) -> np.ndarray:
        dtype = self.config.storage(meta.dtype)
        item = dtype.itemsize
        strides = tuple([s * item for s in meta.strides])
        raw = self.inputs.bytes[number]
        return np.ndarray(meta.shape, dtype, raw, offset * item, strides)

    def _array(self, view: View) -> np.ndarray:
        late = view.buffer < self.steps.given
        return (self._input if late else self.memory.view)(*view)

    def _tensor(self, view: View) -> Tensor:
        array = self._array(view)
        return Tensor(self.steps.buffer(view.buffer), array, view.meta, view.offset)

    def _picked(self, pick: Pick) -> IndexedTensor:
        """The elements that indices pick now."""
        t = self._tensor(pick.base)
        if pick.kind == "rows":
            index, scale, extent = pick.parts
            found: Any = runtime.picked_rows(t, self._tensor(index), scale, extent, "a view")
            return found  # type: ignore[no-any-return]
        arrays: list[Any] = []
        tiles = []
        for tile, added in zip(pick.parts[::2], pick.parts[1::2]):
            more = array_of(added)
            if tile is not None:
                index = self._tensor(tile)
                tiles.append(index)
                more = index.array.astype(np.int64) + more
            arrays.append(more)
        grid = np.broadcast_shapes(*[a.shape for a in arrays])
        return IndexedTensor(t, tuple(arrays), grid, tuple(tiles) or None)


def _load(views: list[Any], out: np.ndarray, number: int) -> Step:
    """A copy of a part of what the kernel is given."""

    def load() -> None:
        _copyto(out, views[number])

    return load


def _new_instance(position: tuple[int, ...]) -> None:
    """A program instance begins with registers and generators of its own."""
    execution = running()
    assert execution is not None
    execution.registers = {}
    execution.position = position


def instruction(
    recipe: Recipe, out: np.ndarray, arrays: list[Any], second: np.ndarray | None, cast: Any
) -> Step:
    """The call of an instruction whose arrays stay where they are."""
    signature = recipe.signature
    assert signature is not None
    plan, compute = signature.plan, signature.compute
    if second is not None or recipe.mask is not None or plan.stateful:
        return _General(recipe, out, arrays, second, cast).run
    if plan.shape == out.shape:
        found = _straight(signature, compute, arrays, out)
        if found is not None:
            return found
    shape = out.shape
    if plan.shape == shape:
        if len(arrays) == 1:
            (a,) = arrays
            return lambda: _copyto(out, compute(a))
        if len(arrays) == 2:
            a, b = arrays
            return lambda: _copyto(out, compute(a, b))
        return lambda: _copyto(out, compute(*arrays))
    return lambda: _copyto(out, compute(*arrays).reshape(shape))


def _pure(recipe: Recipe) -> bool:
    """Whether it depends on its operands only."""
    assert recipe.signature is not None
    return recipe.mask is None and not recipe.signature.plan.stateful


def _alone(
    recipe: Recipe, out: np.ndarray, arrays: list[Any], second: np.ndarray, cast: Any
) -> Step | None:
    """The call of an instruction that resets registers, reduces into them and reads them out, where
    nothing else looks at them: None of one of another kind."""
    signature = recipe.signature
    assert signature is not None and signature.extra is not None
    alone, dtype, extra = signature.plan.alone, signature.dst.dtype, signature.extra.dtype
    if alone is None:
        return None

    def run() -> None:
        result, more = alone(*arrays)
        out[...] = cast(result, dtype).reshape(out.shape)
        second[...] = cast(more, extra).reshape(second.shape)

    return run


def _constant(value: np.ndarray, out: np.ndarray) -> Step:
    """What depends on no value is computed once."""
    stored = np.ascontiguousarray(value, dtype=out.dtype)
    first = stored.reshape(-1)[:1]
    if stored.tobytes() == first.tobytes() * stored.size:
        return partial(out.fill, first[0])
    return partial(_copyto, out, stored)


def _straight(signature: Any, compute: Any, arrays: list[Any], out: np.ndarray) -> Step | None:
    """The call of NumPy that computes into the destination, if there is one with the same bits."""
    if isinstance(compute, np.ufunc) and all(isinstance(a, np.ndarray) for a in arrays):
        if compute in (np.maximum, np.minimum):  # these take no output by position
            return partial(compute, *arrays, out=out)
        return partial(compute, *arrays, out)
    if compute is np.ndarray.copy:
        return partial(_copyto, out, arrays[0])
    name = signature.instruction.name
    if compute is not signature.plan.compute:
        return None
    if name == "nc_matmul" and _plain_product(arrays, out):
        return partial(np.dot, arrays[0].T, arrays[1], out)
    # exact: on the first generation it is a matmul, in which a NaN spoils its row
    if name == "nc_transpose" and signature.plan.dtype is not None and arrays[0].ndim == 2:
        return _transpose(arrays[0].T, out) if out.shape == arrays[0].shape[::-1] else None
    if name == "tensor_scalar" and len(arrays) == 3 and _two_steps(signature.attrs, arrays, out):
        return _in_two_steps(signature.attrs, arrays, out)
    if name == "tensor_copy_predicated" and arrays[2] is out and out.dtype == np.float32:
        return _chosen(signature.attrs.reverse_pred, arrays, out)
    return None


_STEPS = (np.add, np.subtract, np.multiply, np.divide)


def _two_steps(attrs: Any, arrays: list[Any], out: np.ndarray) -> bool:
    """Whether (data op0 operand0) op1 operand1 may be computed in its destination."""
    tiles = [a for a in (*arrays, out) if isinstance(a, np.ndarray)]
    last = arrays[2]
    return (
        attrs.op0.function in _STEPS
        and attrs.op1.function in _STEPS
        and not (attrs.reverse0 or attrs.reverse1 or attrs.op0.unary or attrs.op1.unary)
        and all(a.dtype == np.float32 and a.ndim == 2 for a in tiles)
        and not (isinstance(last, np.ndarray) and np.may_share_memory(last, out))
    )


def _in_two_steps(attrs: Any, arrays: list[Any], out: np.ndarray) -> Step:
    first, second = attrs.op0.function, attrs.op1.function
    data, one, two = arrays

    def run() -> None:
        first(data, one, out)
        second(out, two, out)

    return run


def _chosen(reverse: bool, arrays: list[Any], out: np.ndarray) -> Step | None:
    """A selection that leaves the rest of its destination as it is."""
    predicate, value, _ = arrays
    if not isinstance(value, np.ndarray):
        value = np.float32(value)
    elif value.shape != out.shape or value.dtype != np.float32:
        return None
    # what is repeated is compared once
    once = predicate[tuple([slice(0, 1 if s == 0 else None) for s in predicate.strides])]
    choose = np.equal if reverse else np.not_equal
    return lambda: _copyto(out, value, where=choose(once, 0))


def _plain_product(arrays: list[Any], out: np.ndarray) -> bool:
    a, b = arrays[:2]
    return (
        len(arrays) == 2
        and a.ndim == b.ndim == 2 == out.ndim
        and a.dtype == b.dtype == out.dtype == np.float32
        and out.flags.c_contiguous
        and out.shape == (a.shape[1], b.shape[1])
    )


def _transpose(source: np.ndarray, out: np.ndarray) -> Step:
    """A copy of a transposed tile, 64 columns at a time: whole rows of 128 fp32 columns lie at
    distances that are powers of two, for which caches have no room (five times as slow)."""
    width = out.shape[1]
    if width <= 64:
        return partial(_copyto, out, source)
    parts = [(out[:, at : at + 64], source[:, at : at + 64]) for at in range(0, width, 64)]

    def run() -> None:
        for into, part in parts:
            _copyto(into, part)

    return run


class _General:
    """An instruction with a mask, registers, two results, or operands that are bound at each
    call."""

    def __init__(
        self,
        recipe: Recipe,
        out: np.ndarray,
        arrays: list[Any],
        second: np.ndarray | None,
        cast: Any,
    ) -> None:
        signature = recipe.signature
        assert signature is not None
        self.plan, self.compute = signature.plan, signature.compute
        self.out, self.arrays, self.second, self.cast = out, arrays, second, cast
        self.extra = signature.extra
        self.skip = recipe.skip
        self.shape = signature.dst.shape
        self.where: Any = recipe.mask
        if self.where is not None:
            first = signature.srcs[0].shape
            grid = first if self.plan.kind in ("reduce", "transpose") else self.shape
            self.where = np.broadcast_to(self.where, grid)

    def late(self, reads: dict[int, Callable[[], Any]], leave: Callable[..., None]) -> None:
        """Compute with operands that are read now. `leave`: takes note of what is left out."""
        values = list(self.arrays)
        where = self.where
        for k, bound in reads.items():
            found = values[k] = bound()
            if type(found) is IndexedTensor and self.skip:
                inside = found.inside()
                leave(found, where, inside)
                where = inside if where is None else where & inside
        for k in reads:
            if type(values[k]) is IndexedTensor:
                values[k] = values[k].gather(where)
        self._compute(values, where)

    def run(self) -> None:
        """Compute."""
        self._compute(self.arrays, self.where)

    def _compute(self, values: list[Any], where: Any) -> None:
        plan, out = self.plan, self.out
        keep = masked.kept(plan, where, self.shape)
        if keep is not None and plan.kind == "reduce":
            values = [masked.others(where, values[0], plan.identity), *values[1:]]
        result = self.compute(*values)
        if self.second is not None:
            result, more = result
        result = result.reshape(out.shape)
        if keep is None:
            out[...] = result
        else:
            _copyto(out, result, where=keep)
        if self.second is not None:
            assert self.extra is not None
            self.second[...] = self.cast(more, self.extra.dtype).reshape(self.second.shape)
