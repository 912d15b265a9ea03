"""Running a kernel on many cases: where several share their shapes and Python arguments, it runs on
the first of them, is lowered, and the program is replayed on the others.

A replay leaves no record. What a check asks of the run of a right kernel depends on shapes alone
and is the first case's; but for the bytes that indices out of bounds leave out, which are counted.
The first wrong answer of a program is that of a run of the kernel itself: where both agree, so do
those to come, of which a diagnosis runs what it looks at; where they differ, and where the first
case of a program is wrong, the others run directly too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import nkisim

from ..stage import Case, Stage
from . import runner
from .runner import Result
from .silence import silent

FEWEST = 3
"""So many cases must be left that share a program: to lower it takes about as long as two runs."""


@dataclass(frozen=True)
class Replayed:
    """What is known of a replay, as a run has it; `first` is the run that its program was tried
    on."""

    first: Any
    programs: Sequence[Any]
    instructions: Sequence[Any]
    target: str
    hbm_reads: dict[str, int]
    hbm_bytes_read: int
    hbm_bytes_written: int


class _Flat:
    """A lowered kernel, with the run of the case that it was tried on."""

    def __init__(self, flat: Any, first: Any, reads: dict[str, int]) -> None:
        self.flat = flat
        self.first = first
        self.reads = reads
        """Bytes read where all indices are in bounds."""

    def __call__(self, case: Case) -> Any:
        """What the program returns."""
        with silent():
            return self.flat(*_arrays(case))

    def run(self) -> Any:
        """What is known of the last replay."""
        left = self.flat.skipped
        if not left:
            return self.first
        reads = {name: n - left.get(name, 0) for name, n in self.reads.items()}
        first = self.first
        return Replayed(
            first,
            first.programs,
            first.instructions,
            first.target,
            {name: n for name, n in reads.items() if n},
            sum(reads.values()),
            first.hbm_bytes_written,
        )


class Replays:
    """The runs of one kernel on the cases of a check."""

    def __init__(self, kernel: Any, stage: Stage, cases: Sequence[Case]) -> None:
        self.kernel = kernel
        self.stage = stage
        self.direct = runner.of_the_sdk(kernel) or hasattr(kernel, "lowered")
        """Whether every case runs directly."""
        self._tried: dict[Any, Result] = {}
        """The first result of each program that may be lowered."""
        self._left: dict[Any, int] = {}
        """Cases to come of each program."""
        for case in cases:
            key = _key(case)
            self._left[key] = self._left.get(key, 0) + 1
        self._flat: dict[Any, _Flat | None] = {}
        self._agreed: set[Any] = set()
        """Programs one of whose wrong answers a run of the kernel has given, too."""
        self.strayed: list[Result] = []
        """What programs answered that is not the kernel's answer."""

    def run(self, case: Case) -> Result:
        """The result of a case: replayed, where its program is there already."""
        key = _key(case)
        self._left[key] = left = self._left.get(key, 1) - 1
        flat = None if self.direct else self._program(key, left)
        if flat is not None:
            found = self._replay(flat, case)
            if found is not None:
                return found
            self._flat[key] = None
        result = runner.run(self.kernel, case, self.stage)
        if result.problem is None and not self.direct and key not in self._flat:
            self._tried.setdefault(key, result)
        return result

    def _program(self, key: Any, left: int) -> _Flat | None:
        """The program of a case, of which so many are left after it; lowered when it is first asked
        for, if that is worth it."""
        first = self._tried.pop(key, None)
        if first is not None:
            self._flat[key] = self._lowered(first) if left + 1 >= FEWEST else None
        return self._flat.get(key)

    def tried_on(self, result: Result) -> list[Result]:
        """What programs answered that is not the kernel's answer; where none was lowered so far,
        that of this case is."""
        if not self.direct and not self._flat:
            self._lowered(result)
        return self.strayed

    def is_lowered(self, case: Case) -> bool:
        """Whether the program of a case is there already."""
        return self._flat.get(_key(case)) is not None

    def was_wrong(self, result: Result) -> Result:
        """The result of a case whose answer is wrong: from a run of the kernel itself, unless its
        program is known to answer alike where it is wrong. The cases to come of a program that is
        not lowered yet run directly."""
        key = _key(result.case)
        self._tried.pop(key, None)
        self._flat.setdefault(key, None)
        if not result.replayed or key in self._agreed:
            return result
        again = self.again(result)
        if again.output is not None and same_bits(again.output, result.output):
            self._agreed.add(key)
        else:
            self._flat[key] = None
        return again

    def again(self, result: Result) -> Result:
        """The result of a case from a run of the kernel itself."""
        if not result.replayed:
            return result
        paged = "k_blocks" in result.case.args  # a diagnosis asks which blocks were loaded
        return runner.run(self.kernel, result.case, self.stage, traces=paged)

    def _replay(self, flat: _Flat, case: Case) -> Result | None:
        """The result of a replay; None where it shows anything but an output."""
        try:
            output = flat(case)
        except Exception:
            return None
        result = Result(case, returned=output, run=flat.run(), replayed=True)
        runner.take(result, output, self.stage, self.kernel, list(case.args.values()))
        return result if result.problem is None else None

    def _lowered(self, result: Result) -> _Flat | None:
        """The kernel for the shapes and Python arguments of a case that it ran on; None where it
        has no such program, or where that does something else than the kernel did."""
        case, first = result.case, result.run
        with nkisim.record(config=runner.configuration(case), values=False), silent():
            found = lowered(self.kernel, _given(case), case.options)
        if found is None:
            return None
        program, flat = found
        skips = any(form.skip for call in program.calls for form in call.forms)
        made = _Flat(flat, first, program.run.hbm_reads if skips else {})
        again = self._replay(made, case)
        assert result.output is not None
        if again is None or again.output is None:
            return None
        if not same_bits(again.output, result.output):
            self.strayed.append(again)
            return None
        if again.run.hbm_reads != first.hbm_reads:
            return None
        return made


def lowered(kernel: Any, args: Sequence[Any], options: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The kernel's program for these arguments, and that as a list of NumPy calls; None where it
    has none that takes as many arrays: two arguments are one array, or one is not used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = nkisim.lower(kernel, *args, **options)
            flat = program.flat()
    except Exception:
        return None
    arrays = [x for x in (*args, *options.values()) if isinstance(x, np.ndarray)]
    return (program, flat) if len(program.inputs) == len(arrays) else None


def _given(case: Case) -> list[Any]:
    """The arguments of a case, each array a copy."""
    return [v.copy() if isinstance(v, np.ndarray) else v for v in case.args.values()]


def _arrays(case: Case) -> list[Any]:
    return [value for value in case.args.values() if isinstance(value, np.ndarray)]


def same_bits(a: Any, b: Any) -> bool:
    """Whether two arrays are the same to the last bit."""
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def lowered_for(arguments: Iterable[tuple[Any, Any]]) -> tuple[Any, ...]:
    """What a program is lowered for, of arguments by name or place: shapes, and Python arguments by
    type and value."""
    return tuple(
        (name, value.shape, value.dtype.str, str(value.dtype))
        if isinstance(value, np.ndarray)
        else (name, type(value), repr(value))
        for name, value in arguments
    )


def _key(case: Case) -> tuple[Any, ...]:
    arguments = (*case.args.items(), *case.options.items())
    return (case.target, tuple(case.options), *lowered_for(arguments))
