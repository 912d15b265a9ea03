"""Judge the mistakes and the right kernels of `tests/tutorial/diagnosis/learned`: which are
accepted, and what they are told.

    python tools/judge_learned.py [--stage N ...] [--kind wrong|right] [--base NAME]

Prints one line per kernel, and a summary. The test suite judges a sample; this judges all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--stage", type=int, nargs="*", default=list(range(11)))
    parser.add_argument("--kind", choices=("wrong", "right"), nargs="*", default=["wrong", "right"])
    parser.add_argument("--base", default="", help="only the kernels made from this text")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    from tests.tutorial.diagnosis.edits import table
    from tools.judging import Job, judge

    kernels = {
        f"{kind} {kernel.name}": kernel
        for number in options.stage
        for kind in options.kind
        for kernel in table(number, kind)
        if options.base in kernel.base
    }
    jobs = [Job(name, kernel.stage, kernel.text) for name, kernel in kernels.items()]
    counts: Counter[str] = Counter()
    slowest = 0.0
    for done in judge(jobs, options.processes):
        kind = done.job.name.partition(" ")[0]
        named = done.outcome + (" and named" if done.outcome == "wrong" and done.cause else "")
        true = kernels[done.job.name].causes
        if done.outcome == "wrong" and done.cause and true and done.cause not in true:
            named = f"wrong and falsely named: {done.cause} is {' or '.join(true)}"
        counts[f"{kind}: {named}"] += 1
        slowest = max(slowest, done.seconds)
        took = f"{done.seconds:.1f} s"
        print(done.job.name, done.outcome, done.cause, took, done.sentence, sep=" | ", flush=True)
    for what, count in sorted(counts.items()):
        print(f"{count:5d}  {what}")
    print(f"{slowest:.1f} s of CPU for the slowest")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
