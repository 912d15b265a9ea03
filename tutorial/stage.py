"""What a stage of the course consists of, and how to find one by number or name.

A stage is a module `stageN_name.py` in this package with a constant `STAGE`. Nothing else lists the
stages.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference import tile_by_tile
from .reference.attention import Attention, States, online_states, pass_states
from .reference.mistake import Mistake
from .verdict import Verdict

PACKAGE = Path(__file__).resolve().parent
CLONE = PACKAGE.parent
INSTALLED = PACKAGE / "material"


class Refused(Exception):
    """What is asked for cannot be done; the text is one sentence."""


class StageError(Refused, ValueError):
    """There is no such stage."""


class InputError(Refused, ValueError):
    """An input that the stage's problem does not allow; the text is one sentence."""


@dataclass(frozen=True, eq=False)
class Case:
    """One call of an entry point.

    `args` are its positional arguments in order, `options` its keyword arguments. `reveals` says
    which mistakes cannot hide here. `exact` says that the scores come out the same on every
    machine. `target` is the NeuronCore on which the kernel shall run, "trn1"; None for the check's
    own.
    """

    family: str
    reveals: str
    args: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    exact: bool = True
    target: str | None = None

    def __post_init__(self) -> None:
        for value in self.args.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False  # cases are kept; kernels get copies

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(x.nbytes for x in self.args.values() if isinstance(x, np.ndarray))

    @property
    def sizes(self) -> str:
        """The arguments' shapes, in words."""
        parts = [
            f"{name} {tuple(value.shape)}" if getattr(value, "shape", ()) else f"{name} = {value:g}"
            for name, value in {**self.args, **self.options}.items()
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class Budget:
    """The least that a kernel of this stage can do on a given input, by the stage's own method.

    Bytes are HBM bytes; `dma_transfers`, `matmuls` and `transposes` count instructions with tiles
    of 128 keys; `sbuf_bytes` and `psum_bytes` are the peak on-chip memory of the solution.
    """

    hbm_bytes_read: int
    hbm_bytes_written: int
    dma_transfers: int
    matmuls: int
    transposes: int
    sbuf_bytes: int
    psum_bytes: int


TIME = "model us on trn2"
MEANING = {
    "HBM bytes": "bytes between HBM and chip",
    "transfers": "DMA transfers",
    "transposes": "transposes",
    "instructions": "instructions on VectorE and ScalarE",
    "elements": "elements per partition through VectorE and ScalarE",
    TIME: "us on trn2 by the model of time",
}
"""The counters that a rung of a ladder may limit, in words."""


@dataclass(frozen=True)
class Rung:
    """One lever. `budget` limits some of `MEANING`'s counters, at the ladder's size; `note` says
    what it brought, or that it did not pay. A rung that is `tried` only is shown and not asked for.
    `arguments` gives a case in this rung's own layout."""

    number: int
    name: str
    file: str
    lever: str
    budget: Mapping[str, float]
    note: str = ""
    tried: bool = False
    arguments: Callable[[Case], Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Ladder:
    """The rungs of a stage, and the case on which they are measured."""

    rungs: tuple[Rung, ...]
    case: Callable[[], Case]


@dataclass(frozen=True)
class Question:
    """A question with one right answer, the reason for it, and what to think of after a wrong
    one."""

    text: str
    right: Any
    because: str
    nudge: str


OWN_INPUT = "your input"
"""The family of an input of the reader's own."""


@dataclass(frozen=True)
class Break:
    """A mistake: the cause that the check gives, what to change in the solution's text to make it,
    and the line of the twin written wrongly ("" where there is none): see `reference.twins`.
    `stand_in` is the broken entry point itself, for where the solutions are not here and the edited
    twin does not do."""

    cause: str
    changes: tuple[tuple[str, str], ...]
    line: str
    stand_in: Callable[..., Any] | None = None


def _nothing(draw: object = None) -> tuple[Case, ...]:
    return ()


def _lanes(attention: Attention) -> int:
    return 128


def _itself(attention: Attention) -> tuple[Attention, ...]:
    return (attention,)


@dataclass(frozen=True, eq=False)
class Stage:
    """One lesson.

    `parameters` are the positional parameters of the entry point, in order; those in `options` are
    optional, and a kernel may offer those in `extras`. `oracle(*args, **options)` is float64 NumPy.
    `cases(draw)` are the inputs of a draw (`inputs.draw`), by default the course's own.
    `beyond(draw)` are inputs that a kernel need not take, but must answer rightly if it does: it
    may refuse them, or return the wrong shape; on `cost_beyond`, the family of one of them, its
    cost counts as well. `attention` and `states` translate a case for the trace and the diagnosis;
    the former is None for a stage that is not attention. `views` gives the problems whose states a
    kernel may hold where these are not the whole one's: those of its splits. `tile` gives how many
    keys the worked solution takes at a time. `reads` gives how often the stage's method reads each
    argument, `once(case)` the bytes of one such reading where that is not the whole argument, and
    `must_read(case)` the bytes of each that no right kernel can leave out. `shared(case, run,
    again)` is the sentence about work that is not shared as the stage asks; `again(args)` runs the
    kernel with other arguments on shapes alone. `questions` and `broken` are what the notebook asks
    for a prediction and gives to diagnose. `known` are mistakes that only this stage allows;
    `refusals` are patterns of the simulator's message where one of them breaks a rule, in which {v}
    is what the kernel calls v. `probes` are small inputs on which a wrong kernel is run once more.
    `tolerance` gives the largest error of each output element where it is not one of the fixed
    ones; a stage that has it takes 16-bit inputs, and keeps its state in float32 all the same.
    `ladder` is a `ladder.Ladder` of kernels. `judge` is the check of a stage whose entry point is
    not a kernel itself: judge(stage, entry point, inputs, progress, draw) as in `check`, which it
    answers for. `dialect` is the one that the kernel must be written in, "nki"; None where either
    will do.
    """

    number: int
    name: str
    entry: str
    parameters: tuple[str, ...]
    layout: str
    idea: str
    line_budget: int
    cost_budget: str
    oracle: Callable[..., NDArray[np.float64]]
    cases: Callable[..., tuple[Case, ...]]
    validate: Callable[[Mapping[str, Any]], None]
    minimum: Callable[[Case], Budget]
    options: tuple[str, ...] = ("softmax_scale",)
    cost_case: str = "random"
    reads: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys("qkv", 1))
    attention: Callable[[Case], Attention] | None = None
    states: Callable[[Attention, int], States] = online_states
    views: Callable[[Attention], tuple[Attention, ...]] = _itself
    tile: Callable[[Attention], int] = _lanes
    beyond: Callable[..., tuple[Case, ...]] = _nothing
    extras: tuple[str, ...] = ()
    once: Callable[[Case], Mapping[str, int]] | None = None
    must_read: Callable[[Case], Mapping[str, int]] | None = None
    shared: Callable[[Case, Any, Callable[[Mapping[str, Any]], Any]], str | None] | None = None
    cost_beyond: str = ""
    questions: tuple[Question, ...] = ()
    broken: Break | None = None
    dialect: str | None = None
    known: tuple[Mistake, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)
    probes: Callable[[], tuple[Case, ...]] = tuple
    tolerance: Callable[[Case], NDArray[np.float64]] | None = None
    ladder: Ladder | None = None
    judge: Callable[[Stage, Any, Any, Any, Any], Verdict] | None = None

    def verdict(self, outcome: str, sentence: str, **more: Any) -> Verdict:
        """A verdict on a kernel of this stage; `more` are fields of `Verdict`."""
        return Verdict(outcome, sentence, self.number, self.name, **more)

    def bytes_once(self, case: Case) -> dict[str, int]:
        """The bytes of each argument that one reading moves."""
        arrays = {name: case.args[name].nbytes for name in self.reads}
        return {**arrays, **(self.once(case) if self.once is not None else {})}

    def bytes_needed(self, case: Case) -> dict[str, int]:
        """The bytes of each argument that a right kernel reads at least."""
        whole = self.bytes_once(case)
        return {**whole, **(self.must_read(case) if self.must_read is not None else {})}

    @property
    def title(self) -> str:
        return f"stage {self.number} {self.name}"

    @property
    def file_name(self) -> str:
        """The name of this stage's module, solution and notebook, without an ending."""
        return f"stage{self.number}_{self.name}"

    @property
    def blank(self) -> str:
        """The exercise: the text of the file that the learner completes."""
        return self.exercise.read_text(encoding="utf-8")

    @property
    def exercise(self) -> Traversable:
        """The file that the learner completes, as the package has it."""
        return resources.files("tutorial.stages") / "exercises" / f"{self.file_name}.py"

    @property
    def call(self) -> str:
        """The entry point as the learner writes it."""
        parameters = [*self.parameters, *(f"{name}=None" for name in self.options)]
        return f"{self.entry}({', '.join(parameters)})"

    def twin(
        self, *args: Any, tile: int | None = None, line: str = "", **options: Any
    ) -> Iterator[dict[str, Any]]:
        """The stage's method in NumPy on the arguments of a call: the state after every tile of
        `tile` keys, by default the worked solution's, as `reference.tile_by_tile` has it. `line` is
        a line of the method, written wrongly. Only for a stage that is attention."""
        assert self.attention is not None
        options |= zip(self.options, args[len(self.parameters) :])
        own = (np.array(x) if isinstance(x, np.ndarray) else x for x in args)
        whole = self.attention(Case("", "", dict(zip(self.parameters, own)), options))
        held = self.views(whole)[0]
        passes = self.states is pass_states
        yield from tile_by_tile.states(held, tile or self.tile(held), passes, line)

    def expected(self, case: Case) -> NDArray[np.float64]:
        """The oracle's answer to a case."""
        return _expected(self.oracle, case)

    def case(self, family: str) -> Case:
        """The first case of that family, those `beyond` included. Raises StageError if there is
        none."""
        for case in (*self.cases(), *self.beyond()):
            if case.family == family:
                return case
        names = "; ".join(dict.fromkeys(case.family for case in self.cases()))
        raise StageError(f"{self.title} has no input family {family!r}; it has: {names}.")

    def custom_case(self, inputs: Any) -> Case:
        """A case from a caller's own inputs: a mapping by name, or a sequence in the order of the
        parameters.

        Raises InputError with one sentence if they do not fit the stage's problem.
        """
        taken, optional = ", ".join(self.parameters), self.options + self.extras
        if not isinstance(inputs, Mapping):
            inputs = list(inputs)
            if len(inputs) != len(self.parameters):
                raise InputError(f"{self.entry} takes {taken}, got {len(inputs)} inputs.")
            inputs = dict(zip(self.parameters, inputs, strict=True))
        for name in self.parameters:
            if name not in inputs:
                raise InputError(f"{name} is missing: {self.entry} takes {taken}.")
        for name in inputs:
            if name not in self.parameters + optional:
                raise InputError(f"{self.entry} has no parameter {name!r}; it takes {taken}.")
        self.validate(inputs)
        args = {
            name: np.array(x) if isinstance(x := inputs[name], np.ndarray) else x
            for name in self.parameters
        }
        options = {name: inputs[name] for name in optional if inputs.get(name) is not None}
        return Case(OWN_INPUT, "what you are looking for", args, options, exact=False)


@lru_cache(maxsize=256)
def _expected(oracle: Callable[..., NDArray[np.float64]], case: Case) -> NDArray[np.float64]:
    return oracle(*case.args.values(), **case.options)


@cache
def defined() -> tuple[Stage, ...]:
    """All stages whose modules are here, by number."""
    package = importlib.import_module("tutorial.stages")
    found = []
    for module in pkgutil.iter_modules(package.__path__):
        if re.fullmatch(r"stage\d+_\w+", module.name):
            found.append(importlib.import_module(f"{package.__name__}.{module.name}").STAGE)
    return tuple(sorted(found, key=lambda stage: stage.number))


@cache
def stages() -> tuple[Stage, ...]:
    """All stages whose exercises are here, by number. A learner's edition of a few lessons has the
    stages before `defined`, too: lessons compare with them."""
    return tuple(stage for stage in defined() if stage.exercise.is_file())


def get(key: int | str | Stage) -> Stage:
    """The stage of that number or name, among all that are `defined`: 3, "3", "online_softmax" and
    "stage3_online_softmax" are the same.

    Raises StageError with the names there are.
    """
    if isinstance(key, Stage):
        return key
    text = str(key).strip().removesuffix(".py").replace("-", "_")
    for stage in defined():
        if text in (str(stage.number), stage.name, stage.file_name, f"stage{stage.number}"):
            return stage
    known = ", ".join(f"{stage.number} {stage.name}" for stage in stages())
    order = " A command takes the stage first, then the file." if str(key).endswith(".py") else ""
    raise StageError(f"There is no stage {str(key)!r}; the stages are: {known}.{order}")


def course_folder(name: str) -> Path | None:
    """The folder `name` of the course ("notebooks", "solutions", "docs"); None if it is not here.

    That of the clone comes first, then that of the working directory, then the one that an
    installed distribution carries inside this package.
    """
    mark = "learners-guide.md" if name == "docs" else "stage*"
    for base in (CLONE, Path.cwd(), INSTALLED):
        # beside an installed package any folder of that name may lie
        if (base / name).is_dir() and next((base / name).glob(mark), None) is not None:
            return base / name
    return None


def course_places() -> list[Path]:
    """Every folder in which solutions, notebooks or documentation of the course may lie here."""
    names = ("solutions", "notebooks", "docs")
    return [INSTALLED, *(base / name for base in (CLONE, Path.cwd()) for name in names)]


def solutions_folder() -> Path | None:
    """The folder of the solutions; None where they are not here, as in a class."""
    return course_folder("solutions")
