"""What a run of a million instructions costs to look at: time, memory and files.

    python benchmarks/large_run.py [INSTRUCTIONS]

A loop of a load, an exponential, a scaling and a sum runs on shapes alone, in one process: it is
recorded, placed by the model of time, explained, drawn as a page, saved as a trace (plain and
compressed), and its instructions are asked for. Each line tells CPU time an instruction, the
process's peak memory so far, and the size of a file. Without an argument: a million instructions,
about half a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nkisim  # first: it serves the name neuronxcc where AWS's package is not installed

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def looped(x: Any, times: int) -> Any:
    out = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.shared_hbm)
    acc = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.sbuf)
    for i in nl.sequential_range(times):
        tile = nl.load(x[:, nl.ds((i % 8) * 512, 512)])
        scaled = nisa.tensor_scalar(nisa.activation(nl.exp, tile), op0=nl.multiply, operand0=2.0)
        acc[...] = nisa.tensor_tensor(acc, scaled, op=nl.add)
    nl.store(out, acc)
    return out


def peak_mb() -> float:
    """The largest memory of this process so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used / 1024


def step(what: str, instructions: int, action: Callable[[], Any], file: Path | None = None) -> Any:
    """Do it, and tell what it took."""
    began = time.process_time()
    result = action()
    each = (time.process_time() - began) / instructions * 1e6
    size = f"{os.path.getsize(file) / 1e6:9.1f} MB" if file else ""
    print(f"{what:24} {each:8.2f} us each {peak_mb():8.0f} MB at the peak {size}", flush=True)
    return result


def record(instructions: int) -> nkisim.Run:
    with nkisim.record(target="trn2", values=False) as run:
        looped(nkisim.shape((128, 4096), "float32"), instructions // 4)
    return run


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("instructions", type=int, nargs="?", default=1_000_000)
    n = parser.parse_args(argv).instructions
    with tempfile.TemporaryDirectory() as folder:
        page, trace = Path(folder) / "run.html", Path(folder) / "run.json"
        packed = Path(folder) / "run.json.gz"
        run = step("record", n, lambda: record(n))
        timeline = step("timeline", n, run.timeline)
        step("explain", n, timeline.explain)
        step("instructions, and one", n, lambda: run.instructions[n // 2])
        step("page", n, lambda: run.html(str(page), timeline), page)
        step("trace", n, lambda: timeline.save_trace(str(trace)), trace)
        step("trace, compressed", n, lambda: timeline.save_trace(str(packed)), packed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
