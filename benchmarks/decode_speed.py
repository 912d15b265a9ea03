"""How fast the simulator runs decode kernels, beside the same tile operations in bare NumPy.

    python benchmarks/decode_speed.py [--repeats 5] [--json]

For stages 1 to 4 it runs the solution kernel with every rule checked, once recorded (`nkisim.record()`) and once not,
and a loop that does the same tile operations on plain arrays: the same copies for loads, stores and evacuations, the
same transposes, the same arithmetic, one NumPy call an instruction. The three are timed in turn, round by round, on
one BLAS thread; medians are printed. Targets, for stage 4 at Hq=32, Hkv=8, d=128, fp32, n=8192, KV tile 128: at most
6 microseconds an instruction, at most 3 times bare NumPy, both recorded. The exit status is 1 if one is missed.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[_name] = "1"  # before NumPy is imported

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from importlib import util  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

import nkisim  # noqa: E402

SOLUTIONS = Path(__file__).resolve().parent.parent / "solutions"
TILE = 128
LOWEST = np.float32(np.finfo(np.float32).min)


def load_kernel(stem: str, entry: str) -> Any:
    """The kernel `entry` of `solutions/<stem>.py`."""
    spec = util.spec_from_file_location(f"bench_{stem}", SOLUTIONS / f"{stem}.py")
    assert spec is not None and spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, entry)


def bare_single_tile(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Stage 1 on arrays: q (d, 1), k, v (d, n) -> (1, d)."""
    scale = np.float32(1 / np.sqrt(q.shape[0]))
    q_tile, k_tile, v_tile = q.copy(), k.copy(), v.copy()
    qk = (q_tile.T @ k_tile) * scale
    m = np.maximum.reduce(qk, axis=1, keepdims=True)
    p = np.exp(qk - m)
    l = np.add.reduce(p, axis=1, keepdims=True)
    p_t = p.T.copy().copy()
    v_t = v_tile.T.copy().copy()
    pv = p_t.T @ v_t
    return (pv * np.reciprocal(l)).copy()


def bare_three_passes(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Stage 2 on arrays: the maximum, then the sum, then the weighted sum, K read three times."""
    d, n = k.shape
    scale = np.float32(1 / np.sqrt(d))
    q_tile = q.copy()
    m = np.full((1, 1), LOWEST, dtype=np.float32)
    l = np.zeros((1, 1), dtype=np.float32)
    acc = np.zeros((1, d), dtype=np.float32)
    for i in range(n // TILE):
        k_tile = k[:, i * TILE:(i + 1) * TILE].copy()
        qk = (q_tile.T @ k_tile) * scale
        m[...] = np.maximum(m, np.maximum.reduce(qk, axis=1, keepdims=True))
    for i in range(n // TILE):
        k_tile = k[:, i * TILE:(i + 1) * TILE].copy()
        qk = (q_tile.T @ k_tile) * scale
        p = np.exp(qk - m)
        l[...] = l + np.add.reduce(p, axis=1, keepdims=True)
    for i in range(n // TILE):
        k_tile = k[:, i * TILE:(i + 1) * TILE].copy()
        v_tile = v[:, i * TILE:(i + 1) * TILE].copy()
        qk = (q_tile.T @ k_tile) * scale
        p = np.exp(qk - m)
        p_t = p.T.copy().copy()
        v_t = v_tile.T.copy().copy()
        acc[...] = acc + p_t.T @ v_t
    return (acc * np.reciprocal(l)).copy()


def bare_online(q_tile: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Stage 3 on arrays for the G heads of one group: q (d, G), k, v (d, n) -> (G, d)."""
    d, n = k.shape
    heads = q_tile.shape[1]
    scale = np.float32(1 / np.sqrt(d))
    q_tile = q_tile.copy()
    m = np.full((heads, 1), LOWEST, dtype=np.float32)
    l = np.full((heads, 1), 0.0, dtype=np.float32)
    acc = np.full((heads, d), 0.0, dtype=np.float32)
    for i in range(n // TILE):
        k_tile = k[:, i * TILE:(i + 1) * TILE].copy()
        v_tile = v[:, i * TILE:(i + 1) * TILE].copy()
        qk_psum = q_tile.T @ k_tile
        qk = qk_psum * scale
        m_tile = np.maximum.reduce(qk, axis=1, keepdims=True)
        m_new = np.maximum(m, m_tile)
        alpha = np.exp(m - m_new)
        p = np.exp(qk - m_new)
        l_tile = np.add.reduce(p, axis=1, keepdims=True)
        l[...] = l * alpha + l_tile
        p_t = p.T.copy().copy()
        v_t = v_tile.T.copy().copy()
        pv = p_t.T @ v_t
        acc[...] = acc * alpha + pv
        m[...] = m_new.copy()
    return (acc * np.reciprocal(l)).copy()


def bare_gqa(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Stage 4 on arrays: q (d, Hq), k, v (Hkv, d, n) -> (Hq, d)."""
    group = q.shape[1] // k.shape[0]
    out = np.empty((q.shape[1], q.shape[0]), dtype=np.float32)
    for h in range(k.shape[0]):
        out[h * group:(h + 1) * group] = bare_online(q[:, h * group:(h + 1) * group], k[h], v[h])
    return out


def median_us(function: Callable[[], Any], times: list[float]) -> Any:
    """Run once, append the microseconds."""
    start = time.perf_counter()
    result = function()
    times.append((time.perf_counter() - start) * 1e6)
    return result


def measure(name: str, kernel: Any, bare: Callable[..., np.ndarray], arrays: tuple[np.ndarray, ...], repeats: int) -> dict:
    """One row: microseconds of the three ways, in rounds, and that their outputs agree."""

    def recorded() -> tuple[np.ndarray, nkisim.Run]:
        with nkisim.record() as run:
            return kernel(*arrays), run

    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for warm in (True, False):
        for _ in range(2 if warm else repeats):
            sinks = ([], [], []) if warm else times
            out, run = median_us(recorded, sinks[0])
            median_us(lambda: kernel(*arrays), sinks[1])
            reference = median_us(lambda: bare(*arrays), sinks[2])
    error = float(np.max(np.abs(out - reference)) / np.max(np.abs(reference)))
    assert error < 1e-5, f"{name}: kernel and bare NumPy differ by {error}"
    with_record, without, plain = (statistics.median(t) for t in times)
    n = len(run)
    return {"kernel": name, "instructions": n, "us_recorded": with_record / n, "us_unrecorded": without / n,
            "us_bare": plain / n, "ratio_recorded": with_record / plain, "ratio_unrecorded": without / plain}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds per row; medians are printed (default 5)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    d, n = 128, 8192
    rows = [
        measure("stage 1, n=128", load_kernel("stage1_single_tile", "decode_attention_fwd"), bare_single_tile,
                (normal(d, 1), normal(d, 128), normal(d, 128)), options.repeats * 20),
        measure("stage 2, n=8192", load_kernel("stage2_kv_tiling", "decode_attention_fwd"), bare_three_passes,
                (normal(d, 1), normal(d, n), normal(d, n)), options.repeats),
        measure("stage 3, n=8192", load_kernel("stage3_online_softmax", "decode_attention_fwd"), bare_online,
                (normal(d, 1), normal(d, n), normal(d, n)), options.repeats),
        measure("stage 4, Hq=32, Hkv=8, n=8192", load_kernel("stage4_gqa", "decode_attention_gqa_fwd"), bare_gqa,
                (normal(d, 32), normal(8, d, n), normal(8, d, n)), options.repeats),
    ]
    last = rows[-1]
    met = last["us_recorded"] <= 6.0 and last["ratio_recorded"] <= 3.0
    if options.json:
        print(json.dumps({"rows": rows, "met": met}, indent=2))
        return 0 if met else 1
    print(f"microseconds an instruction, d=128, fp32, KV tile 128; medians of {options.repeats} rounds")
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, one BLAS thread\n")
    print(f"{'kernel':<30} {'instr.':>7} {'recorded':>9} {'unrecorded':>11} {'bare NumPy':>11} {'ratio':>6} {'unrec.':>7}")
    for r in rows:
        print(f"{r['kernel']:<30} {r['instructions']:>7} {r['us_recorded']:>9.2f} {r['us_unrecorded']:>11.2f} "
              f"{r['us_bare']:>11.2f} {r['ratio_recorded']:>6.2f} {r['ratio_unrecorded']:>7.2f}")
    print(f"\ntargets for the last row, recorded: 6.00 us an instruction, 3.00 times bare NumPy: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
