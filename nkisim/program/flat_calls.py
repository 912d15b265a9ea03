"""One step of a flat replay as one call without arguments, its arrays bound."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..execution import conditions
from ..execution.execution import running
from ..execution.redirect import uncast
from ..execution.steps import NUMBER, PICKED, Pick, View, array_of
from ..machine.memory import Meta
from ..tensors import runtime
from ..tensors.tensor import IndexedTensor, Tensor
from .flat_memory import Inputs, Memory
from .flat_numpy import General, Step, alone, constant, instruction, pure
from .flat_rows import read, rows_of
from .flat_steps import ADD, CAST, EMPTIED, FILL, NEW, Op, Recipe, Steps

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
        if all(number == NUMBER for number in refs[2::2]) and pure(recipe):
            assert recipe.signature is not None
            return constant(recipe.signature.compute(*arrays).reshape(out.shape), out)
        if second is not None and self.steps.alone:
            found = alone(recipe, out, arrays, second, self.config.cast)
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
        signature = recipe.signature
        assert signature is not None
        if recipe.kind == ADD:
            if value.dtype == out.dtype == np.float32 == dtype:
                return partial(np.add, out, value, out)
            return lambda: _copyto(out, cast(out + value, dtype))
        if keep is None:
            return lambda: _copyto(out, cast(uncast(signature, value, dtype), dtype))
        where: Any = conditions.kept(signature.plan, keep, recipe.metas[1].shape)
        return lambda: _copyto(out, cast(uncast(signature, value, dtype), dtype), where=where)

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
        general = General(recipe, out, arrays, self._second(op), self.config.cast)
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
        """Reads an operand again at each call."""
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
    """A program instance begins with its own registers and generators."""
    execution = running()
    assert execution is not None
    execution.registers = {}
    execution.position = position
