"""triton-viz's interpreter of NKI beside the simulator, on one kernel that both run.

triton-viz (PyPI `triton-viz`, 3.0) has no max, no nisa functions and no named tiles, so that none
of the course's kernels runs in it; and its package imports Triton at once. Compared is a kernel of
what it has: load, matmul, exp, sum, store. Only its interpreter's modules are loaded (`core/nki.py`
and what that imports), whether Triton is there or not, with `neuronxcc.nki.language` served by
nkisim, whose functions it replaces while it runs. It checks no rules and records nothing; its text
transformation is done once and not timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import cache
from importlib import import_module, util
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import nkisim  # from here on there is `neuronxcc`

# isort: split
import direct_kernels
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import nki as new_nki

TILES, WIDTH = 64, 128
INSTRUCTIONS = 1 + 5 * TILES


def sums(q, k, out):
    """q (128, 4), k (128, 64 * 128), out (4, 64): the sum of exp(q.T k) over each tile of keys."""
    q_tile = nl.load(q[:, 0:4])
    for i in nl.affine_range(64):
        k_tile = nl.load(k[:, i * 128 : (i + 1) * 128])
        scores = nl.matmul(q_tile, k_tile, transpose_x=True)
        p = nl.exp(scores)
        total = nl.sum(p, axis=1, keepdims=True)
        nl.store(out[:, i : i + 1], value=total)


@nki.jit
def kernel(q, k):
    """The same as a kernel with a result."""
    out = nl.ndarray((4, 64), dtype=nl.float32, buffer=nl.shared_hbm)
    sums(q, k, out)
    return out


class _Patches:
    """The functions of nl that triton-viz replaces, put back at the end."""

    def __init__(self) -> None:
        self.before: list[tuple[Any, str, Any]] = []

    def set_attr(self, owner: Any, name: str, value: Any) -> None:
        self.before.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, value)

    def restore(self) -> None:
        for owner, name, value in reversed(self.before):
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


@cache
def _folder() -> str | None:
    """Where triton-viz is installed; None where it is not."""
    spec = util.find_spec("triton_viz")
    if spec is None or not spec.submodule_search_locations:
        return None
    return spec.submodule_search_locations[0]


def _interpreter() -> ModuleType | None:
    """`triton_viz.core.nki`, without its package's own imports; None if triton-viz is not
    installed."""
    folder = _folder()
    if folder is None:
        return None
    for name in ("", ".core", ".transformers"):
        package = ModuleType(f"triton_viz{name}")
        package.__path__ = [folder + name.replace(".", "/")]
        sys.modules[package.__name__] = package
    return import_module("triton_viz.core.nki")


def compare(repeats: int) -> dict[str, float] | None:
    """Microseconds an instruction of both, medians of the rounds, and the median of the ratios;
    None without triton-viz."""
    viz = _interpreter()
    if viz is None:
        return None
    rng = np.random.default_rng(0)
    q, k = (
        rng.standard_normal(s).astype(np.float32) * 0.1 for s in ((128, 4), (128, TILES * WIDTH))
    )
    theirs = np.zeros((4, TILES), np.float32)
    quiet = SimpleNamespace(
        arg_callback=lambda *a: None,
        grid_callback=lambda *a: None,
        grid_idx_callback=lambda *a: None,
        pre_run_callback=lambda f: True,
        post_run_callback=lambda f: True,
    )
    interpreted = viz.NKIInterpretedFunction(sums)
    arrays = [viz.NDArray(value=a) for a in (q, k, theirs)]

    def simulated() -> np.ndarray:
        with nkisim.record():
            return kernel(q, k)

    def visualised() -> None:
        patches = _Patches()
        viz.nki_patch_lang(patches)
        try:
            with np.errstate(all="ignore"):
                interpreted.fn(*arrays)
        finally:
            patches.restore()

    patches = _Patches()
    viz.nki_patch_lang(patches)
    try:
        interpreted.run(*arrays, client_manager=quiet)  # transforms the text
    finally:
        patches.restore()
    times: tuple[list[float], list[float]] = ([], [])
    ours = None
    for _ in range(2 + repeats):
        for run, sink in ((simulated, times[0]), (visualised, times[1])):
            start = time.process_time()
            out = run()
            ours = ours if out is None else out
            sink.append((time.process_time() - start) * 1e6 / INSTRUCTIONS)
    assert np.allclose(ours, theirs, rtol=1e-5), "nkisim and triton-viz differ"
    a, b = times[0][2:], times[1][2:]
    return {
        "us_nkisim": statistics.median(a),
        "us_triton_viz": statistics.median(b),
        "ratio": statistics.median(y / x for x, y in zip(a, b)),
    }


def _newer() -> ModuleType | None:
    """`triton_viz.core.simulation.nki_beta2`, its interpreter of `nki`, without its package's own
    imports; None where no version that has it is installed."""
    folder = _folder()
    if folder is None:
        return None
    for name in ("", ".core", ".core.simulation", ".utils"):
        package = ModuleType(f"triton_viz{name}")
        package.__path__ = [folder + name.replace(".", "/")]
        sys.modules[package.__name__] = package
    try:
        return import_module("triton_viz.core.simulation.nki_beta2")
    except ModuleNotFoundError:
        return None


def _cases() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """By name: a kernel whose last array parameter is its output, and its arguments."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def decode(n: int, width: int) -> tuple[Any, tuple[Any, ...]]:
        arrays = normal(128, 32), normal(8, 128, n), normal(8, 128, n), np.zeros((32, 128), "f4")
        return direct_kernels.decode, (*arrays, width)

    out = np.zeros((1024, 2048), np.float32)
    x = normal(4096, 512)
    return {
        "decode, n=2048, KV tile 128": decode(2048, 128),
        "decode, n=8192, KV tile 128": decode(8192, 128),
        "decode, n=2048, KV tile 512": decode(2048, 512),
        "decode, n=8192, KV tile 512": decode(8192, 512),
        "product, 1024 x 1024 x 2048": (
            direct_kernels.product,
            (normal(1024, 1024), normal(1024, 2048), out),
        ),
        "softmax, 4096 x 512": (direct_kernels.softmax, (x, np.zeros_like(x))),
    }


def compare_nki(repeats: int) -> dict[str, dict[str, float]] | None:
    """Of each kernel in `nki`: microseconds an instruction here, recorded, and in triton-viz,
    without its tracer; None where no triton-viz with an interpreter of `nki` is installed."""
    viz = _newer()
    if viz is None:
        return None
    found = {}
    for name, (function, arguments) in _cases().items():
        kernel = new_nki.jit(function)
        with nkisim.record() as run:
            ours = np.array(kernel(*arguments))
        instructions = len(run)
        theirs = tuple(a.copy() if isinstance(a, np.ndarray) else a for a in arguments)
        interpreted = viz.NKIBeta2InterpretedFunction(function)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats + 1):
            start = time.process_time()
            with nkisim.record():
                kernel(*arguments)
            times[0].append((time.process_time() - start) * 1e6 / instructions)
            patches = _Patches()
            viz.nki_patch_lang(patches)
            try:
                start = time.process_time()
                interpreted.run(*theirs)
                times[1].append((time.process_time() - start) * 1e6 / instructions)
            finally:
                patches.restore()
        output = [a for a in theirs if isinstance(a, np.ndarray)][-1]
        assert np.allclose(ours, output, rtol=1e-4, atol=1e-5), f"{name}: they differ"
        found[name] = {
            "us_nkisim": statistics.median(times[0][1:]),
            "us_triton_viz": statistics.median(times[1][1:]),
            "ratio": statistics.median(y / x for x, y in zip(times[0][1:], times[1][1:])),
        }
    return found


def sentence(found: dict[str, float] | None) -> str:
    """The comparison as text."""
    if found is None:
        return "triton-viz is not installed: no comparison with its interpreter"
    return (
        f"load, matmul, exp, sum, store of {TILES} tiles: nkisim, checked and recorded, "
        f"{found['us_nkisim']:.2f} us an instruction; triton-viz {found['us_triton_viz']:.2f} us, "
        f"{found['ratio']:.2f} times as long"
    )
