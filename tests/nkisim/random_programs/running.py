"""Run a random program in each way, and hold what comes out against the oracle."""

from __future__ import annotations

import warnings
from typing import Any

import ml_dtypes
import neuronxcc.nki as nki_01
import nki as nki_06
import numpy as np

import nkisim
from tests.nkisim.random_programs import kernel_01, kernel_06
from tests.nkisim.random_programs.steps import Program

_MODULES = {"neuronxcc.nki": kernel_01, "nki": kernel_06}
_SMALL = ("bfloat16", "float8_e4m3", "float8_e5m2", "float8_e4m3fn")


def numpy_type(dtype: str) -> np.dtype:
    """The NumPy type of that name."""
    return np.dtype(getattr(ml_dtypes, dtype) if dtype in _SMALL else dtype)


def kernel_of(program: Program) -> Any:
    """The program as a kernel."""
    emit: Any = _MODULES[program.dialect]
    nl = emit.nl
    shapes = [(t.shape, t.dtype) for t in program.outputs]

    def random_kernel(*inputs: Any) -> Any:
        env: dict[int, Any] = dict(zip(program.numbers, inputs))
        # not in a function: tensors in shared HBM are made at the top of a kernel
        outs = tuple([nl.ndarray(s, dtype=d, buffer=nl.shared_hbm) for s, d in shapes])
        env[-1] = outs
        stores = 0
        for step in program.steps:
            if step.what == "store":
                step = step._replace(how={"place": stores})
                stores += 1
            made = getattr(emit, step.what)(env, step)
            if step.out is not None:
                env[step.out] = made
        return outs

    return (nki_06 if program.dialect == "nki" else nki_01).jit(random_kernel)


def arguments(program: Program) -> list[np.ndarray]:
    """The inputs as arrays."""
    return [values.astype(numpy_type(dtype)) for values, dtype in program.inputs]


def differences(program: Program, outs: tuple[np.ndarray, ...]) -> list[str]:
    """Which outputs are not what the oracle says, and where."""
    told = []
    for n, (out, want) in enumerate(zip(outs, program.outputs)):
        got = out.astype(np.float64)
        away = np.abs(got - want.numbers.values)
        bad = ~(away <= want.numbers.error)
        if bad.any():
            at = tuple(int(i) for i in np.argwhere(bad)[0])
            told.append(
                f"output {n} ({want.dtype}) at {at}: got {got[at]}, expected "
                f"{want.numbers.values[at]} within {want.numbers.error[at]}"
            )
    return told


def check(program: Program) -> list[str]:
    """What is wrong with the program's values, shapes, records and replay; nothing, as it should
    be."""
    kernel, arrays = kernel_of(program), arguments(program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with nkisim.record(program.target) as run:
                outs = kernel(*arrays)
            told = differences(program, outs)
            if any(s.how.get("kind") == "while" for s in program.steps):
                return told  # how often it runs depends on a value
            return told + _on_shapes(program, kernel, arrays, run, outs)
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]


def _on_shapes(
    program: Program, kernel: Any, arrays: list[np.ndarray], run: Any, outs: tuple[Any, ...]
) -> list[str]:
    """What differs on shapes alone, and lowered and replayed."""
    with nkisim.record(program.target, values=False) as shapes_run:
        shapes = kernel(*[nkisim.shape(a.shape, a.dtype) for a in arrays])
    told = _records_differ(run, shapes_run)
    if [(o.shape, o.dtype) for o in outs] != [(o.shape, o.dtype) for o in shapes]:
        told.append("the outputs on shapes have other shapes or types")
    with nkisim.record(program.target):
        again = nkisim.lower(kernel, *arrays)(*arrays)
    other = [n for n, (a, b) in enumerate(zip(outs, again)) if a.tobytes() != b.tobytes()]
    if other or len(outs) != len(again):
        told.append(f"lowered and replayed, outputs {other} have other bits")
    return told


def _records_differ(run: Any, shapes_run: Any) -> list[str]:
    left = [(i.op, i.engine, i.line) for i in run.instructions]
    right = [(i.op, i.engine, i.line) for i in shapes_run.instructions]
    if left != right:
        return [f"on shapes other instructions run: {len(left)} and {len(right)}"]
    bytes_of = [(r.hbm_bytes_read, r.hbm_bytes_written) for r in (run, shapes_run)]
    return [] if bytes_of[0] == bytes_of[1] else [f"on shapes other bytes move: {bytes_of}"]
