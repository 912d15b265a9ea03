"""One case of `device-check` in its own process: a kernel on a device, or its modelled time.

    python -m tutorial.workspace.device_child run | model STAGE FILE CASE OUT [--measure]

It writes a JSON object to OUT. What the SDK prints stays on stdout and stderr.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..cost import ladder
from ..running import problems, runner
from ..stage import Case, Stage, get

WARM, TIMED = 10, 100  # iterations
TOLERANCE = 1e-2
"""A device's fp32 matmul takes several passes of fewer bits: right is within one part in a hundred
of the largest output of the row. The report has the error itself."""


def main(arguments: list[str] | None = None) -> int:
    """Answer one question; the exit status is 0 wherever there is an answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("run", "model"))
    parser.add_argument("stage")
    parser.add_argument("file")
    parser.add_argument("case", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--measure", action="store_true")
    options = parser.parse_args(arguments)
    lesson = get(options.stage)
    case = lesson.cases()[options.case]
    kernel = runner.load(options.file, lesson)
    if options.what == "model":
        said = modelled(lesson, kernel, case)
    else:
        said = on_the_device(lesson, kernel, case, options.measure)
    options.out.write_text(json.dumps(said), encoding="utf-8")
    return 0


def on_the_device(lesson: Stage, kernel: Any, case: Case, measure: bool) -> dict[str, Any]:
    """The outcome of one call by the SDK's own rules: with NumPy arrays it runs on the device."""
    args = list(case.args.values())
    try:
        output = np.asarray(kernel(*args, **case.options))
    except Exception as error:
        return {"outcome": "error", "error": f"{type(error).__name__}: {error}"}
    said: dict[str, Any] = compared(lesson, case, output)
    if measure:
        try:
            said["measured p50 us"] = measured(lesson, kernel, args, case)
        except Exception as error:
            said["error"] = f"not measured: {type(error).__name__}: {error}"
    return said


def compared(lesson: Stage, case: Case, output: Any) -> dict[str, Any]:
    """Whether an output is right, and its largest error relative to the largest of its row."""
    expected = lesson.expected(case)
    if output.shape != expected.shape:
        return {"outcome": "wrong", "error": f"shape {output.shape}, expected {expected.shape}"}
    with np.errstate(all="ignore"):
        error = np.abs(output.astype(np.float64) - expected)
        largest = np.abs(expected).max(axis=-1, keepdims=True)
        relative = float((error / np.where(largest > 0, largest, 1)).max(initial=0.0))
        finite = bool(np.isfinite(relative))
        allowed = TOLERANCE * largest
        if lesson.tolerance is not None:
            allowed = np.maximum(lesson.tolerance(case), allowed)
        right = finite and bool(np.all(error <= allowed))
    return {
        "outcome": "right" if right else "wrong",
        "largest relative error": float(f"{relative:.3g}") if finite else None,
    }


def measured(lesson: Stage, kernel: Any, args: list[Any], case: Case) -> float:
    """The p50 latency of the kernel in us, by the SDK's benchmark."""
    nki = importlib.import_module("nki" if lesson.dialect == "nki" else "neuronxcc.nki")
    timed = nki.benchmark(warmup=WARM, iters=TIMED)(problems.function_of(kernel))
    timed(*args, **case.options)
    return float(timed.benchmark_result.nc_latency.get_latency_percentile(50))


def modelled(lesson: Stage, kernel: Any, case: Case) -> dict[str, Any]:
    """The modelled time of the kernel on the case, in us, by target; nothing if it does not run."""
    found = ladder.measure(lesson, kernel, case)
    if found is None:
        return {}
    return {"modelled us": {name: round(us, 1) for name, us in found.latency_us.items()}}


if __name__ == "__main__":
    sys.exit(main())
