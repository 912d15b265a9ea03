"""How fast the simulator runs decode kernels, beside the same tile operations in bare NumPy.

    python benchmarks/decode_speed.py [--repeats 9] [--json]

Stages 1 to 4: the solution kernel with every rule checked, recorded (`nkisim.record()`),
unrecorded, and on shapes alone (`values=False`); and a loop that does the same tile operations on
plain arrays: the same copies for loads, stores and evacuations, the same transposes, the same
arithmetic, one NumPy call per instruction. The four are timed in turn, round by round, on one BLAS
thread. Printed are the medians of the rounds, and the median of each round's ratio to bare NumPy,
which is what holds on a machine that does other work beside.

Then: the time and memory of a recording of 100,000 instructions, and of two kernels on shapes alone
that no memory would hold; what `run.timeline()` takes of runs with usual instructions only (stage
4, a matrix product) and of one that uses tiles in parts and repeats rows (stage 8); and, where it
is installed, triton-viz's interpreter of NKI on a kernel that it can run (`triton_viz_side.py`).

Targets, for stage 4 at Hq=32, Hkv=8, d=128, fp32, n=8192, KV tile 128, recorded: at most 3
microseconds per instruction, at most 3 times bare NumPy. The exit status is 1 if one is missed.
"""

from __future__ import annotations

import os

for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
):
    os.environ[_name] = "1"  # before NumPy is imported
# one kernel of BLAS for all, which a current NumPy chooses better by itself
os.environ.pop("OPENBLAS_CORETYPE", None)

import argparse  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import tracemalloc  # noqa: E402
from collections.abc import Callable  # noqa: E402
from importlib import util  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

import nkisim  # noqa: E402  (from here on there is `neuronxcc`)

# isort: split
import neuronxcc.nki as nki  # noqa: E402
import neuronxcc.nki.language as nl  # noqa: E402
import triton_viz_side  # noqa: E402

SOLUTIONS = Path(__file__).resolve().parent.parent / "solutions"
TILE = 128
LOWEST = np.float32(np.finfo(np.float32).min)
MOST_US = 3.0  # per recorded instruction of stage 4
MOST_RATIO = 3.0  # to bare NumPy

# file and entry point of a solution
ONE_TILE = "stage1_single_tile", "decode_attention_fwd"
THREE_PASSES = "stage2_kv_tiling", "decode_attention_fwd"
ONLINE = "stage3_online_softmax", "decode_attention_fwd"
GQA = "stage4_gqa", "decode_attention_gqa_fwd"
PAGED = "stage8_paged", "decode_attention_paged_fwd"


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
        k_tile = k[:, i * TILE : (i + 1) * TILE].copy()
        qk = (q_tile.T @ k_tile) * scale
        m[...] = np.maximum(m, np.maximum.reduce(qk, axis=1, keepdims=True))
    for i in range(n // TILE):
        k_tile = k[:, i * TILE : (i + 1) * TILE].copy()
        qk = (q_tile.T @ k_tile) * scale
        p = np.exp(qk - m)
        l[...] = l + np.add.reduce(p, axis=1, keepdims=True)
    for i in range(n // TILE):
        k_tile = k[:, i * TILE : (i + 1) * TILE].copy()
        v_tile = v[:, i * TILE : (i + 1) * TILE].copy()
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
        k_tile = k[:, i * TILE : (i + 1) * TILE].copy()
        v_tile = v[:, i * TILE : (i + 1) * TILE].copy()
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
        out[h * group : (h + 1) * group] = bare_online(
            q[:, h * group : (h + 1) * group], k[h], v[h]
        )
    return out


def timed(function: Callable[[], Any], times: list[float]) -> Any:
    """Run once, append the microseconds."""
    start = time.process_time()
    result = function()
    times.append((time.process_time() - start) * 1e6)
    return result


def measure(
    name: str,
    kernel: Any,
    bare: Callable[..., np.ndarray],
    arrays: tuple[np.ndarray, ...],
    repeats: int,
) -> dict:
    """One row: microseconds of the four ways, in rounds, and that the outputs agree."""
    shapes = [nkisim.shape(a.shape, a.dtype) for a in arrays]

    def recorded() -> tuple[np.ndarray, nkisim.Run]:
        with nkisim.record() as run:
            return kernel(*arrays), run

    def on_shapes() -> None:
        with nkisim.record(values=False):
            kernel(*shapes)

    times: tuple[list[float], ...] = ([], [], [], [])
    for warm in (True, False):
        for _ in range(2 if warm else repeats):
            sinks: tuple[list[float], ...] = ([], [], [], []) if warm else times
            out, run = timed(recorded, sinks[0])
            reference = timed(lambda: bare(*arrays), sinks[1])
            timed(lambda: kernel(*arrays), sinks[2])
            timed(on_shapes, sinks[3])
    error = float(np.max(np.abs(out - reference)) / np.max(np.abs(reference)))
    assert error < 1e-5, f"{name}: kernel and bare NumPy differ by {error}"
    n = len(run)
    row: dict[str, Any] = {"kernel": name, "instructions": n}
    for way, sample in zip(("recorded", "bare", "unrecorded", "shapes"), times):
        row[f"us_{way}"] = statistics.median(sample) / n
    row["ratio_recorded"] = statistics.median(a / b for a, b in zip(times[0], times[1]))
    row["ratio_unrecorded"] = statistics.median(a / b for a, b in zip(times[2], times[1]))
    return row


def recording(kernel: Any) -> dict:
    """Time and memory of a recording of about 100,000 instructions: stage 3 with d=16."""
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal(s).astype(np.float32)
        for s in ((16, 1), (16, TILE * 5000), (16, TILE * 5000))
    )
    times: list[float] = []
    with nkisim.record() as run:
        timed(lambda: kernel(q, k, v), times)
    n = len(run)
    del run
    tracemalloc.start()
    with nkisim.record() as run:
        kernel(q, k, v)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(run) == n  # and so the records were there when the memory was asked
    return {
        "kernel": "stage 3, d=16, n=640000, recorded",
        "instructions": n,
        "us": times[0] / n,
        "kept_mb": kept / 1e6,
    }


def product(lhs_t: Any, rhs: Any) -> Any:
    """lhs_t (K, M), rhs (K, N) -> lhs_t.T @ rhs, by tiles of 128 x 128 x 512."""
    (k, m), n = lhs_t.shape, rhs.shape[1]
    out = nl.ndarray((m, n), dtype=lhs_t.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(m // 128):
        for j in nl.affine_range(n // 512):
            total = nl.zeros((128, 512), nl.float32, buffer=nl.psum)
            for at in nl.affine_range(k // 128):
                a = nl.load(lhs_t[nl.ds(at * 128, 128), nl.ds(i * 128, 128)])
                b = nl.load(rhs[nl.ds(at * 128, 128), nl.ds(j * 512, 512)])
                total += nl.matmul(a, b, transpose_x=True)
            nl.store(
                out[nl.ds(i * 128, 128), nl.ds(j * 512, 512)], value=nl.copy(total, dtype=out.dtype)
            )
    return out


def on_shapes_alone(name: str, kernel: Any, *shapes: Any) -> dict:
    """Seconds and memory of one run without values."""
    times: list[float] = []
    with nkisim.record(values=False) as run:
        timed(lambda: kernel(*shapes), times)
    n = len(run)
    return {"kernel": name, "instructions": n, "us": times[0] / n, "seconds": times[0] / 1e6}


def scheduling(
    name: str, kernel: Any, arguments: tuple, repeats: int, values: bool = False
) -> dict:
    """Microseconds per record that a timeline of one run takes: the first in this process of that
    run, and the median."""
    times: list[float] = []
    with nkisim.record(values=values) as run:
        kernel(*arguments)
    for _ in range(repeats):
        timed(run.timeline, times)
    n = len(run)
    return {
        "kernel": name,
        "records": n,
        "us_first": times[0] / n,
        "us": statistics.median(times) / n,
    }


def paged_arguments() -> tuple:
    """Of stage 8: 4 sequences of up to 1,024 keys in blocks of 128, 8 query heads, 2 KV heads,
    d=128."""
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal(s).astype(np.float32)
        for s in ((4, 128, 8), (32, 2, 128, 128), (32, 2, 128, 128))
    )
    return (
        q,
        k,
        v,
        np.arange(32, dtype=np.int32).reshape(4, 8),
        np.array([[1000], [3], [0], [500]], np.int32),
    )


def kernels_on_values(repeats: int) -> list[dict]:
    """Stages 1 to 4, each beside its tile operations in bare NumPy; the last row has the target."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    d, n = 128, 8192
    kernels = (
        ("stage 1, n=128", ONE_TILE, bare_single_tile, ((d, 1), (d, 128), (d, 128)), 20),
        ("stage 2, n=8192", THREE_PASSES, bare_three_passes, ((d, 1), (d, n), (d, n)), 1),
        ("stage 3, n=8192", ONLINE, bare_online, ((d, 1), (d, n), (d, n)), 1),
        ("stage 4, Hq=32, Hkv=8, n=8192", GQA, bare_gqa, ((d, 32), (8, d, n), (8, d, n)), 1),
    )
    return [
        measure(
            name, load_kernel(*kernel), bare, tuple(normal(*s) for s in shapes), times * repeats
        )
        for name, kernel, bare, shapes, times in kernels
    ]


def large_on_shapes() -> list[dict]:
    """Two kernels whose arrays no memory would hold."""
    shape = nkisim.shape
    factors = shape((8192, 4096), "bfloat16"), shape((8192, 8192), "bfloat16")
    cache = shape((8, 128, 131072))
    return [
        on_shapes_alone("product 4096 x 8192 x 8192", nki.jit(product), *factors),
        on_shapes_alone(
            "stage 4, Hq=32, Hkv=8, n=131072", load_kernel(*GQA), shape((128, 32)), cache, cache
        ),
    ]


def schedules(repeats: int) -> list[dict]:
    """Timelines of runs with usual instructions only, and of one that uses tiles in parts."""
    shape = nkisim.shape
    cache = shape((8, 128, 8192))
    factors = shape((4096, 4096), "bfloat16"), shape((4096, 8192), "bfloat16")
    gqa, paged = load_kernel(*GQA), load_kernel(*PAGED)
    name = "stage 4, Hq=32, Hkv=8, n=8192"
    return [
        scheduling(name, gqa, (shape((128, 32)), cache, cache), repeats),
        scheduling("product 4096 x 4096 x 8192", nki.jit(product), factors, repeats),
        scheduling("stage 8, 4 sequences", paged, paged_arguments(), repeats, values=True),
    ]


def show(found: dict[str, Any], repeats: int) -> None:
    """Print what was measured, in lines."""
    print(
        f"microseconds per instruction, d=128, fp32, KV tile 128; medians of {repeats} rounds\n"
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy "
        f"{np.__version__}, one BLAS thread\n"
    )
    print(
        f"{'kernel':<33} {'instr.':>7} {'recorded':>9} {'unrec.':>7} {'shapes':>7} {'NumPy':>7} "
        f"{'ratio':>6} {'unrec.':>7}"
    )
    for r in found["rows"]:
        print(
            f"{r['kernel']:<33} {r['instructions']:>7} {r['us_recorded']:>9.2f} "
            f"{r['us_unrecorded']:>7.2f} {r['us_shapes']:>7.2f} {r['us_bare']:>7.2f} "
            f"{r['ratio_recorded']:>6.2f} {r['ratio_unrecorded']:>7.2f}"
        )
    long = found["recording"]
    print(
        f"\n{long['kernel']}: {long['instructions']} instructions, {long['us']:.2f} us each, "
        f"{long['kept_mb']:.1f} MB kept"
    )
    for r in found["shapes"]:
        print(
            f"{r['kernel']}, on shapes alone: {r['instructions']} instructions, {r['us']:.2f} "
            f"us each, {r['seconds']:.1f} s"
        )
    for r in found["timelines"]:
        print(
            f"timeline of {r['kernel']}: {r['records']} records, {r['us']:.2f} us each, the "
            f"first time {r['us_first']:.2f}"
        )
    print(triton_viz_side.sentence(found["triton_viz"]))
    print(
        f"\ntargets for stage 4, recorded: {MOST_US:.2f} us per instruction, {MOST_RATIO:.2f} "
        f"times bare NumPy: {'met' if found['met'] else 'MISSED'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--repeats", type=int, default=9, help="rounds per row; medians are printed (default 9)"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    rows = kernels_on_values(options.repeats)
    found = {
        "rows": rows,
        "met": rows[-1]["us_recorded"] <= MOST_US and rows[-1]["ratio_recorded"] <= MOST_RATIO,
        "recording": recording(load_kernel(*ONLINE)),
        "shapes": large_on_shapes(),
        "timelines": schedules(options.repeats),
        "triton_viz": triton_viz_side.compare(options.repeats),
    }
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        show(found, options.repeats)
    return 0 if found["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
