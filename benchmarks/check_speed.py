"""How long a learner waits: `import tutorial`, and a check of a right kernel of each stage.

    python benchmarks/check_speed.py [--repeats 5] [--json]

CPU seconds, medians, each run in a separate process: of the import beyond that of NumPy, with the
bytecode of both written before; of a check beyond all imports, of the stage's solution on all of
its input families. On one BLAS thread.

Targets: 0.12 s for the import; 0.5 s for a check of stages 0 to 6 and 9, 0.9 s of stages 7 and 8.
The exit status is 1 if one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT = """
import time, numpy
start = time.process_time()
import tutorial
print(time.process_time() - start)
"""
CHECK = """
import pathlib, sys, time
import tutorial
from tutorial.running import runner
lesson = tutorial.get(int(sys.argv[1]))
start = time.process_time()
kernel = runner.load(pathlib.Path("solutions") / f"{lesson.file_name}.py", lesson)
verdict = tutorial.check(lesson, kernel)
took = time.process_time() - start
assert verdict.ok, verdict
print(took)
"""
LIMITS = {**dict.fromkeys(range(10), 0.5), 7: 0.9, 8: 0.9}


def seconds(text: str, *arguments: str, repeats: int, cache: str) -> float:
    """The median of what a script prints, each time in a separate process."""
    threads = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
    env = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in threads}}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = cache
    found = []
    for _ in range(repeats + 1):  # the first writes the bytecode
        done = subprocess.run(
            [sys.executable, "-c", text, *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(float(done.stdout))
    return statistics.median(found[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="runs; medians are printed")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        begin = seconds(IMPORT, repeats=options.repeats, cache=cache)
        checks = {
            stage: seconds(CHECK, str(stage), repeats=options.repeats, cache=cache)
            for stage in LIMITS
        }
    met = begin <= 0.12 and all(checks[stage] <= limit for stage, limit in LIMITS.items())
    if options.json:
        print(json.dumps({"import": begin, "check": checks, "met": met}, indent=2))
        return 0 if met else 1
    print(f"import tutorial, beyond NumPy: {begin:.3f} s of CPU time (at most 0.12)")
    for stage, took in checks.items():
        print(f"check of stage {stage}: {took:.2f} s (at most {LIMITS[stage]})")
    print(f"targets: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
