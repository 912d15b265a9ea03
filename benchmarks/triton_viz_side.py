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
from importlib import import_module, util
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import nkisim  # from here on there is `neuronxcc`

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

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


def _interpreter() -> ModuleType | None:
    """`triton_viz.core.nki`, without its package's own imports; None if triton-viz is not
    installed."""
    spec = util.find_spec("triton_viz")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = spec.submodule_search_locations[0]
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


def sentence(found: dict[str, float] | None) -> str:
    """The comparison as text."""
    if found is None:
        return "triton-viz is not installed: no comparison with its interpreter"
    return (
        f"load, matmul, exp, sum, store of {TILES} tiles: nkisim, checked and recorded, "
        f"{found['us_nkisim']:.2f} us an instruction; triton-viz {found['us_triton_viz']:.2f} us, "
        f"{found['ratio']:.2f} times as long"
    )
