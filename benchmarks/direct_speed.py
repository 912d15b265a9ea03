"""How fast kernels run when they are called directly, recorded and with every rule checked.

    python benchmarks/direct_speed.py [--repeats 7] [--json]

Decode attention (Hq=32, Hkv=8, d=128, fp32, n=8192) with KV tiles of 128 and of 512 in both
dialects, beside the same tile operations in bare NumPy; stage 8's kernel on four sequences of up to
1,000 keys; what single operations take; and, where an installed triton-viz has an interpreter of
`nki`, the same kernels there, without its tracer (`triton_viz_side.py`).

CPU time of the process on one BLAS thread, rounds in which the ways take turns, medians; a ratio is
the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from decode_speed import bare_gqa, load_kernel, paged_arguments  # which sets one BLAS thread

# isort: split
import numpy as np
import triton_viz_side

import nkisim

# isort: split
import direct_kernels
import neuronxcc.nki as old_nki
import neuronxcc.nki.isa as old_nisa
import neuronxcc.nki.language as old_nl
import nki
import nki.isa as nisa
import nki.language as nl

Ways = dict[str, Callable[[], int]]
"""By name: runs once, and says how many instructions that were."""


def rounds(ways: Ways, repeats: int) -> dict[str, list[float]]:
    """Microseconds an instruction of each way in each round, after two rounds to warm up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 2):
        for name, way in ways.items():
            gc.collect()
            start = time.process_time()
            instructions = way()
            if turn > 1:
                times[name].append((time.process_time() - start) * 1e6 / instructions)
    return times


def ratio(a: list[float], b: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def recorded(kernel: Any, *arguments: Any) -> Callable[[], int]:
    """The kernel, recorded."""

    def way() -> int:
        with nkisim.record() as run:
            kernel(*arguments)
        return len(run)

    return way


def decode(width: int, repeats: int) -> dict[str, Any]:
    """Decode with KV tiles of `width`: both dialects, not recorded, and bare NumPy."""
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal(s).astype(np.float32)
        for s in ((128, 32), (8, 128, 8192), (8, 128, 8192))
    )
    if width == 128:
        older = load_kernel("stage4_gqa", "decode_attention_gqa_fwd")
        newer, bare = load_kernel("stage9_port", "decode_attention_gqa_fwd"), bare_gqa
        arguments: tuple[Any, ...] = (q, k, v)
    else:
        older, bare = direct_kernels.decode_512, direct_kernels.bare_512
        newer = nki.jit(direct_kernels.decode)
        arguments = (q, k, v, np.zeros((32, 128), np.float32), width)
    wanted, got = bare(q, k, v), older(q, k, v)
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-6)
    assert np.allclose(newer(*arguments), wanted, rtol=1e-4, atol=1e-6)
    n = recorded(older, q, k, v)()

    def array_way() -> int:
        bare(q, k, v)
        return n

    def not_recorded() -> int:
        older(q, k, v)
        return n

    times = rounds(
        {
            "neuronxcc": recorded(older, q, k, v),
            "nki": recorded(newer, *arguments),
            "not recorded": not_recorded,
            "bare": array_way,
        },
        repeats,
    )
    return {
        "kv_tile": width,
        "instructions": n,
        **{f"us_{name.replace(' ', '_')}": statistics.median(t) for name, t in times.items()},
        "neuronxcc_to_bare": ratio(times["neuronxcc"], times["bare"]),
        "not_recorded_to_bare": ratio(times["not recorded"], times["bare"]),
        "nki_to_neuronxcc": ratio(times["nki"], times["neuronxcc"]),
    }


def paged(repeats: int) -> float:
    """Microseconds an instruction of stage 8's kernel, recorded."""
    kernel = load_kernel("stage8_paged", "decode_attention_paged_fwd")
    times = rounds({"stage 8": recorded(kernel, *paged_arguments())}, repeats)
    return statistics.median(times["stage 8"])


LOOP = 1000


def _older(body: Callable[[Any, Any], Any]) -> Any:
    """A kernel that runs `body` on two tiles (4, 4), over and over."""

    def kernel(x):
        out = old_nl.ndarray((4, 4), dtype=old_nl.float32, buffer=old_nl.shared_hbm)
        a, b = old_nl.load(x), old_nl.load(x)
        for _ in old_nl.sequential_range(LOOP):
            body(a, b)
        old_nl.store(out, value=a)
        return out

    return old_nki.jit(kernel)


def _newer(body: Callable[[Any, Any], Any]) -> Any:
    """The same in the newer dialect."""

    def kernel(x):
        out = nl.ndarray((4, 4), dtype=nl.float32, buffer=nl.shared_hbm)
        a, b = nl.load(x), nl.load(x)
        for _ in range(LOOP):
            body(a, b)
        nisa.dma_copy(dst=out, src=a)
        return out

    return nki.jit(kernel)


def _sum(a: Any, b: Any) -> None:
    t = old_nl.zeros((4, 4), dtype=old_nl.float32)
    t += a


def _product(a: Any, b: Any) -> None:
    nisa.nc_matmul(dst=nl.ndarray((4, 4), nl.float32, buffer=nl.psum), stationary=a, moving=b)


def _assigned(a: Any, b: Any) -> None:
    a[...] = old_nisa.tensor_tensor(a, b, op=old_nl.maximum)


OPERATIONS: dict[str, tuple[Callable[..., Any], Callable[[Any, Any], Any]]] = {
    "neuronxcc: nisa.tensor_tensor": (
        _older,
        lambda a, b: old_nisa.tensor_tensor(a, b, op=old_nl.maximum),
    ),
    "neuronxcc: t[...] = nisa.tensor_tensor": (_older, _assigned),
    "neuronxcc: a + b": (_older, lambda a, b: a + b),
    "neuronxcc: nl.full": (_older, lambda a, b: old_nl.full((4, 4), 0.0, dtype=old_nl.float32)),
    "neuronxcc: nl.zeros, then +=": (_older, _sum),
    "neuronxcc: a view": (_older, lambda a, b: a[0:2, 0:2]),
    "nki: nl.ndarray": (_newer, lambda a, b: nl.ndarray((4, 4), nl.float32, buffer=nl.sbuf)),
    "nki: nisa.tensor_tensor": (
        _newer,
        lambda a, b: nisa.tensor_tensor(dst=a, data1=a, data2=b, op=nl.maximum),
    ),
    "nki: nl.ndarray in PSUM, nisa.nc_matmul": (_newer, _product),
    "nki: a view": (_newer, lambda a, b: a[0:2, 0:2]),
}
"""What a kernel does most, on tiles so small that nothing but the simulator takes time."""


def operations(repeats: int) -> dict[str, float]:
    """Microseconds of one operation, on shapes alone; its loop is taken off."""
    shape = nkisim.shape((4, 4))

    def way(kernel: Any) -> Callable[[], int]:
        def once() -> int:
            with nkisim.record(values=False):
                kernel(shape)
            return LOOP

        return once

    made = {name: way(maker(body)) for name, (maker, body) in OPERATIONS.items()}
    made |= {"neuronxcc": way(_older(lambda a, b: None)), "nki": way(_newer(lambda a, b: None))}
    medians = {name: statistics.median(t) for name, t in rounds(made, repeats).items()}
    return {name: medians[name] - medians[name.split(":")[0]] for name in OPERATIONS}


def printed(found: dict[str, Any]) -> None:
    """The tables as text."""
    print("microseconds an instruction; decode, Hq=32, Hkv=8, d=128, fp32, n=8192\n")
    head = ("KV tile", "instr.", "neuronxcc", "to bare", "unrec.", "to bare", "nki", "to neuronxcc")
    print("".join(f"{h:>13}" for h in head))
    for r in found["decode"]:
        row = (
            f"{r['kv_tile']}",
            f"{r['instructions']}",
            f"{r['us_neuronxcc']:.2f}",
            f"{r['neuronxcc_to_bare']:.2f}",
            f"{r['us_not_recorded']:.2f}",
            f"{r['not_recorded_to_bare']:.2f}",
            f"{r['us_nki']:.2f}",
            f"{r['nki_to_neuronxcc']:.2f}",
        )
        print("".join(f"{cell:>13}" for cell in row))
    print(f"\nstage 8, 4 sequences, recorded: {found['stage_8']:.1f} us an instruction\n")
    for name, us in found["operations"].items():
        print(f"{name:<42} {us:>6.2f} us")
    print()
    if found["triton_viz"] is None:
        print("no triton-viz with an interpreter of nki is installed: no comparison with it")
    for name, times in (found["triton_viz"] or {}).items():
        print(
            f"{name:<32} nkisim {times['us_nkisim']:>6.1f} us an instruction, triton-viz "
            f"{times['us_triton_viz']:>6.1f}: {times['ratio']:.2f} times as long"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="rounds per row (default 7)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    found = {
        "decode": [decode(width, options.repeats) for width in (128, 512)],
        "stage_8": paged(options.repeats),
        "operations": operations(options.repeats),
        "triton_viz": triton_viz_side.compare_nki(options.repeats),
    }
    print(json.dumps(found, indent=2)) if options.json else printed(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
