"""A lowered program: what a kernel is for given shapes, as data.

It can be looked at, replayed on values without the Python text that it came from, timed, drawn,
saved, loaded and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..execution.launch import as_array
from ..execution.steps import LOOP
from ..machine import dtypes
from ..machine.config import Config
from ..machine.running import LISTENER, RUNNING
from ..machine.shapes import shape_only
from ..rules import RULES
from ..rules.errors import broken
from . import verify
from .call import Call
from .dataflow import Dataflow
from .encode import body
from .flat import CannotFlatten, FlatCall
from .instruction import Instructions
from .replay import Replay
from .run import UNCHECKED, Run


class Array(NamedTuple):
    """An input or an output of a program."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}{list(self.shape)} {self.dtype}"


class Program:
    """A kernel, or a Python function that calls kernels, lowered for given shapes. Immutable.

    `program(*arrays)` replays it on one array for each of `inputs`, in that order, and returns what
    the direct call returns, bit by bit; inside `nkisim.record()` it leaves the same run. ValueError
    for arrays of other shapes or data types; `KernelError` for what only values decide.

    Made by `nkisim.lower` and `nkisim.load`.
    """

    _runs: type[Run] = Run
    """Of which class `run` is."""

    def __init__(
        self,
        name: str,
        config: Config,
        inputs: Sequence[Array],
        slots: Sequence[tuple[tuple[int, ...], np.dtype]],
        constants: dict[int, np.ndarray],
        calls: Sequence[Call],
        tree: Any,
        derive: bool = False,
    ) -> None:
        """`derive`: it came from a file: see `Replay`."""
        self._name = name
        self._config = config
        self._inputs = tuple(inputs)
        self._slots = tuple(slots)
        self._constants = dict(constants)
        self._calls = tuple(calls)
        self._tree = tree
        self._derive = derive
        self._run: Run | None = None

    # -- what it is --------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        """The name of the function that was lowered."""
        return self._name

    @property
    def target(self) -> str:
        """The target it was lowered for, e.g. "trn2"."""
        return self._config.target.name

    @property
    def config(self) -> Config:
        """How it is simulated: that of the lowering."""
        return self._config

    @property
    def inputs(self) -> tuple[Array, ...]:
        """The arrays it takes, in order: name, shape, dtype."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Array, ...]:
        """The arrays it returns, in order."""
        found: list[Array] = []
        _leaves(self._tree, lambda slot, shape: found.append(self._output(slot, shape)))
        return tuple(found)

    def _output(self, slot: int, shape: tuple[int, ...]) -> Array:
        name = next(
            (
                call.places and f"{call.name}[{call.into.index(slot)}]"
                for call in self._calls
                if slot in call.into
            ),
            f"input {slot}",
        )
        return Array(str(name), shape, dtypes.name(self._slots[slot][1]))

    @property
    def calls(self) -> tuple[Call, ...]:
        """The kernel calls, in order: their steps and tables."""
        return self._calls

    @property
    def slots(self) -> tuple[tuple[tuple[int, ...], np.dtype], ...]:
        """The arrays that it works with, inputs first: shape and data type."""
        return self._slots

    @property
    def constants(self) -> dict[int, np.ndarray]:
        """Those of them that Python made: number -> a copy of the values."""
        return {k: v.copy() for k, v in self._constants.items()}

    @property
    def tree(self) -> Any:
        """What it returns, with a `Leaf` instead of each array."""
        return self._tree

    @property
    def rules(self) -> tuple[str, ...]:
        """The ids of the rules that it was, and at each replay is, held to; `unchecked` names what
        of them waits for values."""
        return tuple(r for r in RULES if not self._config.warn.get(r, RULES[r].advisory))

    @property
    def unchecked(self) -> dict[str, str]:
        """What only values can decide: rule id -> what. A replay on values checks it."""
        return dict(UNCHECKED)

    @property
    def run(self) -> Run:
        """What it does, as a run on shapes alone: instructions, counters, memory, timeline."""
        if self._run is None:
            run = self._runs(self._config, values=False)
            self._replay(self._shapes(), run)
            self._run = run
        return self._run

    @property
    def instructions(self) -> Instructions:
        """Every instruction, in order, as `run.instructions` gives them."""
        return self.run.instructions

    @property
    def named(self) -> tuple[str, ...]:
        """The names given to on-chip tensors (`name=`), sorted: the program's named state."""
        return tuple(sorted({a.name for c in self._calls for a in c.allocations if a.name}))

    @property
    def loops(self) -> int:
        """How many loops over the ranges of NKI it runs through."""
        return sum(int((call.steps[:, 0] == LOOP).sum()) for call in self._calls)

    def __len__(self) -> int:
        return len(self.run)

    @property
    def digest(self) -> str:
        """Hexadecimal digits that two lowerings of one kernel for the same shapes agree in."""
        import hashlib  # takes 6 ms, most of which is OpenSSL

        return hashlib.sha256(body(self, paths=False)).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        takes = ", ".join(map(str, self._inputs))
        return f"<Program {self._name}({takes}) on {self.target}: {len(self._calls)} kernel calls>"

    # -- what it does ------------------------------------------------------------------------------
    def __call__(self, *arrays: Any) -> Any:
        """Replay it on `arrays`, one for each of `inputs`: what the direct call returns.

        Arrays that a kernel writes to are written. Inside `nkisim.record()` the replay is recorded,
        with histories, results and prints; on shapes (`nkisim.shape`) inside
        `nkisim.record(values=False)`.
        """
        if RUNNING.get() is not None:
            broken("nested-grid", f"the program {self._name} is called inside a kernel")
        given = self._checked(arrays)
        self.verify()
        return self._replay(given, LISTENER.get())

    def _checked(self, arrays: tuple[Any, ...]) -> list[Any]:
        """The arrays given, if they are those that it was lowered for."""
        given = [as_array(a) for a in arrays]
        if len(given) != len(self._inputs):
            names = ", ".join(map(str, self._inputs))
            raise ValueError(
                f"{self._name} was lowered for {len(self._inputs)} arrays ({names}), "
                f"{len(given)} are given"
            )
        for array, want in zip(given, self._inputs):
            shape = tuple(getattr(array, "shape", ()))
            dtype = getattr(array, "dtype", None)
            have = "no array" if dtype is None else f"{list(shape)} {_dtype_name(dtype)}"
            if shape != want.shape or dtype is None or _dtype_name(dtype) != want.dtype:
                raise ValueError(
                    f"{self._name} was lowered for {want}, and is given {have}: lower it again "
                    "for other shapes or data types"
                )
        return given

    def flat(self) -> Flat:
        """The program as a flat list of NumPy calls, for many replays on values: the same outputs,
        sooner, and no record. Making it takes as long as a few replays.

        ValueError where a step has no such call: it prints, writes where run-time indices pick or
        to its inputs, runs on two cores, or takes elements of which only values decide whether
        anything has been written to them.
        """
        self.verify()
        return Flat(self)

    def verify(self) -> None:
        """Hold a program that came from a file to the rules, once: `KernelError`, or
        `ProgramFileError` where its steps make no sense. Loading does it; where a program has more
        than 131,072 steps, its first use does."""
        if self._derive and self._run is None:
            verify.steps(self)

    def _replay(self, given: list[Any], listener: Any) -> Any:
        slots: list[Any] = [*given, *[None] * (len(self._slots) - len(given))]
        with_values = listener is None or listener.values
        for slot, values in self._constants.items():
            slots[slot] = values.copy() if with_values else shape_only(values.shape, values.dtype)
        for call in self._calls:
            arrays = [_reshaped(slots[g.slot], g.shape) for g in call.given]
            made = Replay(call, self._config, listener, arrays, self._derive).run()
            for slot, array in zip(call.into, made):
                slots[slot] = array
        return _leaves(self._tree, lambda slot, shape: _reshaped(slots[slot], shape))

    def dataflow(self, *arrays: Any) -> Dataflow:
        """On which elements of which inputs the values that it writes depend: see `Dataflow`.

        Without `arrays` on the shapes alone: rows that are picked at run time may be any. With one
        array for each of `inputs`: those that this replay picks.
        """
        run = self.run
        if arrays or self._traced:
            run = self._runs(self._config, values=bool(arrays))
            run.traces = True
            given = self._checked(arrays) if arrays else self._shapes()
            self._replay([a.copy() if arrays else a for a in given], run)
        return Dataflow(self._calls, self._inputs, self._slots, run)

    @property
    def _traced(self) -> bool:
        """Whether more must be noted than a run notes anyway."""
        return any(call.picks or call.masks or call.cores > 1 for call in self._calls)

    def _shapes(self) -> list[Any]:
        return [shape_only(s, d) for s, d in self._slots[: len(self._inputs)]]

    def save(self, path: str | Path) -> None:
        """Write it to a file, which `nkisim.load` reads. The format:
        `docs/reference/program-file.md`."""
        Path(path).write_bytes(body(self))


class Flat:
    """A program as a flat list of NumPy calls (`Program.flat`). Not for several threads at once:
    its calls share the memory of the tiles."""

    def __init__(self, program: Program) -> None:
        self._program = program
        decided = [not call.undecided for call in program.calls]
        if program._derive:
            decided += [not execution.undecided for execution in program.run.programs]
        if not all(decided):
            raise CannotFlatten("values decide whether it reads elements that nothing wrote")
        self._calls = [
            FlatCall(
                call,
                program.config,
                [shape_only(g.shape, program.slots[g.slot][1]) for g in call.given],
                program._derive,
            )
            for call in program.calls
        ]

    def __len__(self) -> int:
        return sum(len(call.calls) for call in self._calls)

    @property
    def skipped(self) -> dict[str, int]:
        """Bytes of each HBM tensor, by the name that the kernel gives it, that the last call left
        out where run-time indices were out of bounds (`oob_mode.skip`)."""
        found: dict[str, int] = {}
        for call in self._calls:
            for name, nbytes in call.skipped.items():
                found[name] = found.get(name, 0) + nbytes
        return found

    def __call__(self, *arrays: Any) -> Any:
        """What the program returns for these arrays. ValueError for other shapes or data types,
        `KernelError` for what only values decide."""
        program = self._program
        slots: list[Any] = [None] * len(program.slots)
        slots[: len(arrays)] = program._checked(arrays)
        slots[len(program.slots) :] = []
        for slot, values in program.constants.items():
            slots[slot] = values
        for call in self._calls:
            given = [_reshaped(slots[g.slot], g.shape) for g in call.call.given]
            for slot, array in zip(call.call.into, call(given)):
                slots[slot] = array
        return _leaves(program.tree, lambda slot, shape: _reshaped(slots[slot], shape))


def _dtype_name(dtype: Any) -> str:
    try:
        return dtypes.name(dtype)
    except (KeyError, TypeError, AttributeError):
        return str(dtype)


def _reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    return array if tuple(array.shape) == tuple(shape) else array.reshape(tuple(shape))


class Leaf(NamedTuple):
    """An array in what a program returns."""

    slot: int
    shape: tuple[int, ...]


def _leaves(tree: Any, leaf: Any) -> Any:
    """What a program returns, with `leaf(slot, shape)` instead of each array."""
    if isinstance(tree, Leaf):
        return leaf(tree.slot, tree.shape)
    if isinstance(tree, tuple):
        return tuple([_leaves(t, leaf) for t in tree])
    if isinstance(tree, list):
        return [_leaves(t, leaf) for t in tree]
    if isinstance(tree, dict):
        return {k: _leaves(t, leaf) for k, t in tree.items()}
    return tree
