"""What a flat replay does, before there is memory: each step of a call as a recipe, which is shared
by all steps that differ in their operands' places only, and the places of its operands.

The steps are not asked of the machine again. They were when the kernel was lowered, and are when a
file is loaded; here each recipe is planned once.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import numpy as np

from ..execution.creation import viewed
from ..execution.execution import Execution
from ..execution.launch import launched
from ..execution.signature import Signature, build
from ..execution.steps import (
    ALLOCATE,
    CLEAR,
    CONSTANT,
    FRESH,
    INSTANCE,
    NUMBER,
    PICKED,
    PRINT,
    REDIRECT,
    RUN,
    TARGET,
    ZERO,
    Form,
    Pick,
    View,
)
from ..machine import target as targets
from ..machine.config import Config
from ..machine.memory import FULL, HBM, Buffer, Meta, contiguous, meta_of
from ..machine.shapes import shape_only
from ..rules.listing import CURSOR
from ..tensors.tensor import IndexedTensor, Tensor
from .call import Call
from .replay import Replay

WHOLE, CAST, ADD, FILL, EMPTIED, NEW = range(6)
"""What a step does: an instruction, a value cast, or added, to where an assignment wants it, zeros,
zeros where nothing was written, new registers."""


_UNWRITTEN = ("uninitialized-read", "unwritten-output")


class CannotFlatten(ValueError):
    """A program has a step that is replayed one by one only."""


class Recipe:
    """What steps have in common that differ in the places of their operands only."""

    __slots__ = ("kind", "mask", "metas", "outside", "position", "redirected", "signature", "skip")

    def __init__(
        self,
        kind: int,
        metas: tuple[Meta, ...],
        signature: Signature | None = None,
        mask: np.ndarray | None = None,
        skip: bool = False,
        position: tuple[int, ...] = (),
    ) -> None:
        self.kind = kind
        self.position = position
        """Of a program instance that begins, where in the grid."""
        self.metas = metas
        """The layouts of its operands, the destination first, a second destination last."""
        self.signature = signature
        self.mask = mask
        """Of an instruction its mask; of EMPTIED where nothing was written."""
        self.skip = skip
        """Whether indices out of bounds are left out."""
        self.outside = tuple([k for k, m in enumerate(metas) if m.space == HBM])
        """The operands that may be what the kernel is given."""
        self.redirected: dict[Any, Recipe] = {}


class Op:
    """One step: a recipe, where it stands, and a buffer and an offset for each operand."""

    __slots__ = ("copies", "place", "recipe", "refs")

    def __init__(self, recipe: Recipe, place: int, refs: list[int]) -> None:
        self.recipe = recipe
        self.place = place
        self.refs = refs
        self.copies = False


class Steps:
    """The steps of one kernel call, read for a flat replay."""

    def __init__(self, call: Call, config: Config, given: list[Any], derive: bool) -> None:
        """`given`: the shapes of its inputs; `derive`: the program came from a file."""
        if call.cores > 1:
            _cannot("it runs on two cores")
        if not config.precise_fp:
            _cannot("its values are kept in float32")
        if any(config.warn.get(rule) for rule in _UNWRITTEN):
            _cannot("elements that nothing wrote are only warned about")
        self.call = call
        self.derive = derive
        self.replay = Replay(call, config, None, given, derive)
        self.execution: Execution = self.replay.execution
        self.execution.values = False
        self.masks = [np.asarray(m.where) for m in self.replay.masks]
        self.constants = self.replay.constants
        self.given = len(call.given)
        self.ops: list[Op] = []
        self.metas: list[Meta] = [
            meta_of(HBM, g.shape, contiguous(g.shape), g.dtype) for g in call.given
        ]
        """The layout of each buffer."""
        self.buffers: dict[int, Buffer] = {}
        self.holding: dict[int, np.ndarray] = {}
        """Of buffers that hold what was known when the kernel was built, the values."""
        self.recipes: dict[tuple[int, int], Recipe] = {}
        self.zeros: dict[tuple[int, Meta], Recipe] = {}
        self.empty = _emptied(call, config, given, derive)
        self.alone = True
        """Whether no instruction looks at registers that another one left behind."""
        token = CURSOR.set(self.replay.cursor)
        try:
            with launched(self.execution):
                self._read()
        finally:
            CURSOR.reset(token)
        if any(view.buffer < self.given for view in call.returned):
            _cannot("it returns an input")

    def _read(self) -> None:
        call, args = self.call, self.call.args.tolist()
        kinds, whats, places, ends = (column.tolist() for column in call.steps.T)
        handlers = {
            ALLOCATE: self._allocated,
            CONSTANT: self._constant,
            REDIRECT: self._redirected,
            ZERO: self._zero,
            CLEAR: self._cleared,
            TARGET: self._target,
            INSTANCE: self._instance,
            PRINT: lambda *_: _cannot("it prints"),
        }
        begin = 0
        recipes, ops, metas = self.recipes, self.ops, self.metas
        for kind, what, place, end in zip(kinds, whats, places, ends):
            if kind == RUN:
                refs = args[begin + 1 : end]
                recipe = recipes.get((what, args[begin]))
                if recipe is None:
                    recipe = self._planned(what, args[begin], refs)
                if refs[0] == FRESH:
                    refs[0] = len(metas)
                    metas.append(recipe.metas[0])
                elif recipe.outside or recipe.skip:
                    self._allowed(recipe, refs)
                ops.append(Op(recipe, place, refs))
            else:
                handler = handlers.get(kind)
                if handler is not None:
                    handler(what, place, args[begin:end])
            begin = end

    # -- instructions ------------------------------------------------------------------------------
    def _allowed(self, recipe: Recipe, refs: list[int]) -> None:
        """Refuse what is not one call on arrays that are laid out beforehand."""
        number = refs[0]
        if number < self.given:
            _cannot("it writes where indices pick, or to an input")
        if recipe.skip and not self._written(number):
            _cannot("indices out of bounds leave elements unwritten")

    def _written(self, number: int) -> bool:
        """Whether a step wrote all of a buffer, whatever indices hold."""
        whole = self.metas[number]
        for op in reversed(self.ops):
            recipe = op.recipe
            if recipe.kind in (WHOLE, FILL) and op.refs[0] == number and not op.refs[1]:
                meta = recipe.metas[0]
                covers = meta.size == whole.size and meta.strides == contiguous(meta.shape)
                if covers and recipe.mask is None and not recipe.skip:
                    return True
        return False

    def _planned(self, what: int, mask: int, refs: list[int]) -> Recipe:
        form: Form = self.call.forms[what]
        for number in refs[::2]:
            if number < FRESH:
                _cannot("an operand is the state of a generator, or another core's")
        if refs[0] == PICKED or (form.extra is not None and refs[-2] == PICKED):
            _cannot("it writes where indices pick, or to an input")
        dst = None if refs[0] == FRESH else self._tensor(refs[0], refs[1], form.dst)
        srcs = tuple(
            [
                self._tensor(refs[2 + 2 * k], refs[3 + 2 * k], meta)
                for k, meta in enumerate(form.srcs)
            ]
        )
        extra = None if form.extra is None else self._tensor(refs[-2], refs[-1], form.extra)
        signature = build(
            self.execution.config,
            True,
            form.instruction,
            form.api,
            dst,
            srcs,
            form.attrs,
            form.space,
            form.dtype,
            extra,
        )
        metas = (signature.dst if dst is None else dst.meta, *[s.meta for s in srcs])
        where = None if mask < 0 else self.masks[mask]
        recipe = Recipe(
            WHOLE, metas if extra is None else (*metas, extra.meta), signature, where, form.skip
        )
        if where is not None and (extra is not None or signature.plan.stateful):
            _cannot("a mask goes with two results or with registers")
        if form.skip and (extra is not None or signature.plan.accumulates):
            _cannot("it adds where indices pick")
        if signature.plan.stateful and signature.plan.alone is None:
            self.alone = False
        self.recipes[what, mask] = recipe
        return recipe

    def _tensor(self, number: int, offset: int, meta: Meta | None) -> Tensor:
        """An operand, for the rules of its instruction."""
        assert meta is not None
        if number == NUMBER:
            return self.constants[offset]
        if number == PICKED:
            return self._picked(self.call.picks[offset], meta)
        if self.derive:
            meta = viewed(self.metas[number], meta, offset)
        array: Any = shape_only(meta.shape, self.execution.config.storage(meta.dtype))
        return Tensor(self.buffer(number), array, meta, offset)

    def buffer(self, number: int) -> Buffer:
        """A buffer, for messages and for its size."""
        found = self.buffers.get(number)
        if found is None:
            name = self.call.given[number].name if number < self.given else None
            found = self.execution.new_buffer(self.metas[number], FULL, name)
            self.buffers[number] = found
        return found

    def _picked(self, pick: Pick, meta: Meta) -> Tensor:
        """Elements of an input, picked by indices."""
        base = pick.base
        if base.buffer >= self.given or pick.kind not in ("indices", "rows"):
            _cannot("it picks elements of what it writes itself")
        tiles = [self._tensor(*p) for p in pick.parts if isinstance(p, View)]
        t = self._tensor(*base)
        index: Any = shape_only(meta.shape, np.dtype(np.int64))
        indices = (index,) * len(base.meta.shape)
        return IndexedTensor(t, indices, meta.shape, tuple(tiles) or None)

    # -- the other steps ---------------------------------------------------------------------------
    def _allocated(self, what: int, place: int, args: list[int]) -> None:
        a = self.call.allocations[what]
        self.metas.append(meta_of(a.space, a.shape, contiguous(a.shape), a.dtype, a.pdim, a.pstart))

    def _constant(self, what: int, place: int, args: list[int]) -> None:
        meta, values = self.call.arrays[what]
        self.holding[len(self.metas)] = values
        self.metas.append(meta)

    def _redirected(self, what: int, place: int, args: list[int]) -> None:
        """An assignment, to which the last instruction writes instead of a new tile."""
        last = self.ops[-1]
        if last.recipe.kind != WHOLE:
            _cannot("an assignment follows no instruction")
        meta = self.call.metas[args[2]]
        if args[0] < self.given:
            _cannot("it writes where indices pick, or to an input")
        old, held = last.recipe, bool(args[3])
        made = old.metas[0]
        if not held and made.dtype == meta.dtype and old.mask is None:
            recipe = old.redirected.get(meta)
            if recipe is None:
                recipe = Recipe(WHOLE, (meta, *old.metas[1:]), old.signature)
                old.redirected[meta] = recipe
            last.recipe = recipe
            last.refs[:2] = args[:2]
            return
        if old.mask is not None and held:
            _cannot("a masked product is added to a tile")
        key = meta, held
        recipe = old.redirected.get(key)
        if recipe is None:
            assert old.signature is not None
            keep = old.mask
            recipe = Recipe(ADD if held else CAST, (meta, made), old.signature, keep)
            old.redirected[key] = recipe
        self.ops.append(Op(recipe, place, [*args[:2], *last.refs[:2]]))

    def _zero(self, what: int, place: int, args: list[int]) -> None:
        self._filled(FILL, self.call.metas[args[2]], place, args, None)

    def _cleared(self, what: int, place: int, args: list[int]) -> None:
        flags = next(self.empty)
        self._filled(EMPTIED, self.call.metas[args[2]], place, args, flags)

    def _filled(
        self, kind: int, meta: Meta, place: int, args: list[int], mask: np.ndarray | None
    ) -> None:
        recipe = self.zeros.get((kind, meta))
        if recipe is None or mask is not None:
            recipe = self.zeros[kind, meta] = Recipe(kind, (meta,), None, mask)
        self.ops.append(Op(recipe, place, args[:2]))

    def _target(self, what: int, place: int, args: list[int]) -> None:
        target = targets.get(self.call.texts[what])
        execution = self.execution
        execution.retarget(dataclasses.replace(execution.config, target=target))
        self.recipes.clear()

    def _instance(self, what: int, place: int, args: list[int]) -> None:
        self.ops.append(Op(Recipe(NEW, (), position=tuple(args)), place, []))


class _Emptied(Replay):
    """Runs a call on shapes and notes where nothing had been written at each clearing."""

    def __init__(self, call: Call, config: Config, given: list[Any], derive: bool) -> None:
        super().__init__(call, config, None, given, derive)
        self.execution.values = False
        self.execution.retarget(config)
        self.flags: list[np.ndarray] = []

    def cleared(self, args: list[int]) -> None:
        t = self.viewed(args)
        self.flags.append(~self.execution.written_flags(t))
        super().cleared(args)


def _emptied(call: Call, config: Config, given: list[Any], derive: bool) -> Any:
    """Of each step that clears what is not written, where nothing was."""
    if not (call.steps[:, 0] == CLEAR).any():
        return iter(())
    run = _Emptied(call, config, given, derive)
    run.run()
    return iter(run.flags)


def _cannot(why: str) -> NoReturn:
    raise CannotFlatten(why)
