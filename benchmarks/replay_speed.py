"""How fast lowered programs are made and replayed, beside the same tile operations in bare NumPy.

    python benchmarks/replay_speed.py [--repeats 9] [--json]

Of stage 4 (KV tiles of 128 and of 512 keys), stage 7 and stage 8: microseconds per instruction of

- `shapes`: the kernel recorded on shapes alone, without a lowering,
- `lower`: what `nkisim.lower` takes beyond that,
- `build`: what `program.flat()` takes,
- `checked`: `program(*arrays)`, recorded, every step asked of the machine,
- `flat`: a flat replay, inputs bound at each call,
- `traced`, `output`, `state`: `program.dataflow()` on shapes, the origins of the output, and those
  of what each write to the named state adds,

and the ratio of a flat replay to bare NumPy: the same tile operations on plain arrays, one call per
instruction. All ways are timed in turn, round by round, in CPU time, on one BLAS thread. Printed
are medians, of the ratio that of each round's, which holds on a machine with other work beside.

Targets: lowering 2, building 5, `output` 10 (stage 8: 30) microseconds an instruction; flat 1.0,
0.9, 1.3 and 1.3 times bare NumPy. The exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from decode_speed import (  # which sets one BLAS thread
    LOWEST,
    bare_gqa,
    load_kernel,
    paged_arguments,
    timed,
)

# isort: split
import ml_dtypes
import numpy as np

import nkisim

# isort: split
from direct_kernels import bare_512, decode_512

BF16 = np.dtype(ml_dtypes.bfloat16)
F32 = np.dtype(np.float32)


class Subject(NamedTuple):
    """A kernel, and the same on plain arrays."""

    name: str
    kernel: Any
    bare: Callable[..., np.ndarray]
    arrays: tuple[np.ndarray, ...]
    most_flat: float
    """How many times bare NumPy a flat replay may take."""
    most_output: float
    """Microseconds an instruction for the origins of the output."""


# -- stage 7 ---------------------------------------------------------------------------------------
def bare_fast(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Stage 7 on arrays: q (d, Hq), k (Hkv, d, n), v (Hkv, n, d) bf16 -> (Hq, d) bf16."""
    heads, d, n = k.shape
    group = q.shape[1] // heads
    scale = np.float32(1 / np.sqrt(d))
    steps = max(t for t in range(1, min(64, 512 // group) + 1) if n // 128 % t == 0)
    chunk = 128 * steps
    out = np.empty((q.shape[1], d), dtype=BF16)
    ones, zeros = np.ones((128, 128), F32), np.zeros((group, 128), F32)
    for h in range(heads):
        m, l = np.full((128, group), LOWEST, F32), np.zeros((128, group), F32)
        acc = np.zeros((d, group), F32)
        q_tile = q[:, h * group : (h + 1) * group].copy()
        for at in range(0, n, chunk):
            k_tile = k[h, :, at : at + chunk].copy()
            v_tile = v[h, at : at + chunk].reshape(128, steps, d).copy()
            qk = np.empty((128, steps, group), F32)
            for t in range(steps):
                part = k_tile[:, t::steps]
                qk[:, t] = part.astype(F32).T @ q_tile.astype(F32)
            lane_max = np.maximum.reduce(qk, axis=1)
            top = np.maximum.reduce(lane_max.T.copy(), axis=1, keepdims=True)
            rows = (zeros + top) * scale
            m_new = np.maximum(m, rows.T.copy())
            alpha = np.exp(m - m_new)
            minus_m = m_new * np.float32(-1)
            p, l_tile = np.empty((128, steps, group), BF16), np.empty((128, group), F32)
            for g in range(group):
                e = np.exp(qk[:, :, g] * scale + minus_m[:, g : g + 1])
                p[:, :, g] = e.astype(BF16)
                l_tile[:, g] = np.add.reduce(e, axis=1)
            l[...] = l * alpha + l_tile
            pv = np.zeros((d, group), F32)
            for t in range(steps):
                pv[...] = pv + v_tile[:, t].astype(F32).T @ p[:, t].astype(F32)
            acc[...] = acc * alpha[:d] + pv
            m[...] = m_new.copy()
        total = np.reciprocal(ones.T @ l)
        o_t = acc * total[:d]
        out[h * group : (h + 1) * group] = o_t.T.copy().astype(BF16).copy()
    return out


# -- stage 8 ---------------------------------------------------------------------------------------
def bare_paged(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, table: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Stage 8 on arrays: q (B, d, Hq), k, v (n_blocks, Hkv, block, d) fp32, table (B, most) and
    lengths (B, 1) int32 -> (B, Hq, d)."""
    (batch, d, n_q), (n_blocks, heads, block, _) = q.shape, k.shape
    most, group = table.shape[1], n_q // k.shape[1]
    steps = max(s for s in range(1, 17) if block % s == 0)
    scale = np.float32(1 / np.sqrt(d))
    out = np.empty((batch, n_q, d), F32)
    ones, zeros = np.ones((128, 128), F32), np.zeros((group, 128), F32)
    for b in range(batch):
        length = np.broadcast_to(lengths[b : b + 1].astype(F32), (128, 1)).copy()
        for h in range(heads):
            own = slice(h * group, (h + 1) * group)
            q_tile = q[b, :, own].copy()
            m, l = np.full((128, group), LOWEST, F32), np.zeros((128, group), F32)
            acc = np.zeros((d, group), F32)
            for first in range(0, most, 128):
                lanes = min(128, most - first)
                entries = table[b, first : first + lanes].reshape(lanes, 1).copy()
                begins = (np.arange(first, first + lanes) * block).reshape(-1, 1).astype(F32)
                used = (begins < length[:lanes]).astype(F32)
                index = (entries - np.float32(n_blocks)) * used
                index = (index + np.float32(n_blocks)).astype(np.int32)
                for start in range(0, block, steps):
                    inside = np.flatnonzero(index[:, 0] < n_blocks)
                    tiles = []
                    for blocks in (k, v):
                        tile = np.zeros((lanes, steps, d), F32)
                        tile[inside] = blocks[index[inside, 0], h, start : start + steps]
                        tiles.append(tile)
                    k_tile, v_tile = tiles
                    key = (begins + (start + np.arange(steps))).astype(F32)
                    live = (key < length[:lanes]).astype(F32)
                    past = (live - np.float32(1)) * np.float32(1e30)
                    mask = live.astype(np.uint8).reshape(lanes, steps, 1)
                    for tile in tiles:
                        np.copyto(tile, 0, where=mask == 0)
                    qk = np.empty((lanes, group, steps), F32)
                    for s in range(steps):
                        k_t = k_tile[:, s].T.copy().copy()
                        scores = k_t.T @ q_tile
                        qk[:, :, s] = scores * scale + past[:, s : s + 1]
                    lane_max = np.maximum.reduce(qk, axis=2)
                    top = np.maximum.reduce(lane_max.T.copy(), axis=1, keepdims=True)
                    m_new = np.maximum(m, (zeros + top).T.copy())
                    alpha, minus_m = np.exp(m - m_new), m_new * np.float32(-1)
                    p, l_tile = np.empty((lanes, group, steps), F32), np.zeros((128, group), F32)
                    for g in range(group):
                        p[:, g] = np.exp(qk[:, g] + minus_m[:lanes, g : g + 1])
                        l_tile[:lanes, g] = np.add.reduce(p[:, g], axis=1)
                    l[...] = l * alpha + l_tile
                    pv = np.zeros((d, group), F32)
                    for s in range(steps):
                        pv[...] = pv + v_tile[:, s].T @ p[:, :, s]
                    acc[...] = acc * alpha[:d] + pv
                    m[...] = m_new.copy()
            out[b, own] = (acc * np.reciprocal(ones.T @ l)[:d]).T.copy().copy()
    return out


# -- measuring -------------------------------------------------------------------------------------
def subjects() -> list[Subject]:
    """The kernels, with inputs of fixed seeds."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(F32)

    decode = normal(128, 32), normal(8, 128, 8192), normal(8, 128, 8192)
    fast = tuple(
        a.astype(BF16) for a in (normal(128, 32), normal(8, 128, 8192), normal(8, 8192, 128))
    )
    stage4 = load_kernel("stage4_gqa", "decode_attention_gqa_fwd")
    stage7 = load_kernel("stage7_fast", "decode_attention_fast_fwd")
    stage8 = load_kernel("stage8_paged", "decode_attention_paged_fwd")
    return [
        Subject("stage 4, n=8192, KV tile 128", stage4, bare_gqa, decode, 1.0, 10),
        Subject("stage 4, n=8192, KV tile 512", decode_512, bare_512, decode, 0.9, 10),
        Subject("stage 7, n=8192, bfloat16", stage7, bare_fast, fast, 1.3, 30),
        Subject("stage 8, 4 sequences", stage8, bare_paged, paged_arguments(), 1.3, 30),
    ]


def flows(program: Any, times: dict[str, list[float]]) -> None:
    """What a trace asks of a dataflow, each question timed."""
    gc.collect()  # of what the others left, which would fall to whom it may
    flow = timed(program.dataflow, times["traced"])
    gc.collect()
    timed(lambda: flow.output(0), times["output"])
    names = program.run.names()

    def state() -> None:
        for name in names:
            for index in flow.writes(name):
                flow.of(index, cut=names)

    gc.collect()
    timed(state, times["state"])


def measure(subject: Subject, repeats: int) -> dict[str, Any]:
    """One row: microseconds per instruction of every way, and the flat replay's ratio."""
    kernel, bare, arrays = subject.kernel, subject.bare, subject.arrays
    shapes = [nkisim.shape(a.shape, a.dtype) for a in arrays]

    def on_shapes() -> nkisim.Run:
        with nkisim.record(values=False) as run:
            kernel(*shapes)
        return run

    program = nkisim.lower(kernel, *shapes)
    flat = program.flat()
    n = len(on_shapes())

    def recorded() -> Any:
        with nkisim.record():
            return program(*arrays)

    # within two units of the format in which the output is kept, for reassociated sums
    want, have = bare(*arrays).astype(np.float64), flat(*arrays).astype(np.float64)
    error = float(np.max(np.abs(want - have)) / np.max(np.abs(want)))
    assert error < (2.0**-7 if arrays[0].dtype == BF16 else 1e-5), (subject.name, error)
    ways: dict[str, Callable[[], Any]] = {
        "bare": lambda: bare(*arrays),
        "flat": lambda: flat(*arrays),
        "shapes": on_shapes,
        "lower": lambda: nkisim.lower(kernel, *shapes),
        "build": program.flat,
        "checked": recorded,
    }
    times: dict[str, list[float]] = {way: [] for way in (*ways, "traced", "output", "state")}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            timed(way, times[name])
    for _ in range(max(repeats // 3, 1)):
        flows(program, times)
    times["lower"] = [a - b for a, b in zip(times["lower"], times["shapes"])]
    row: dict[str, Any] = {"kernel": subject.name, "instructions": n}
    for name, sample in times.items():
        row[f"us_{name}"] = statistics.median(sample) / n
    row["ratio"] = statistics.median(a / b for a, b in zip(times["flat"], times["bare"]))
    row["met"] = (
        row["ratio"] <= subject.most_flat
        and row["us_lower"] <= 2
        and row["us_build"] <= 5
        and row["us_output"] <= subject.most_output
    )
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=9, help="rounds; medians are printed")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = parser.parse_args()
    rows = [measure(subject, options.repeats) for subject in subjects()]
    met = all(row["met"] for row in rows)
    if options.json:
        print(json.dumps({"rows": rows, "met": met}, indent=2))
        return 0 if met else 1
    print(
        f"microseconds an instruction, medians of {options.repeats} rounds; "
        f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        "one BLAS thread\n"
    )
    columns = ("shapes", "lower", "build", "checked", "traced", "output", "state", "flat", "bare")
    print(f"{'kernel':<29} {'instr.':>7} " + " ".join(f"{c:>8}" for c in columns) + "   ratio")
    for row in rows:
        numbers = " ".join(f"{row['us_' + c]:>8.2f}" for c in columns)
        print(f"{row['kernel']:<29} {row['instructions']:>7} {numbers} {row['ratio']:>7.2f}")
    print(f"\ntargets: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
