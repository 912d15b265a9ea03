"""How long a learner waits for the sentence on a wrong kernel.

    python benchmarks/wrong_speed.py [--stage N ...] [--sample 8] [--seed 0] [--against TREE]

Wrong kernels are mutants of a stage's solution (`tools/mutants.py`) that give wrong numbers, drawn
by the seed; those that Python or the simulator refuses are answered at once. CPU seconds of
`tutorial.check`, beyond all imports, each in a separate process, on one BLAS thread; of a stage the
median and the slowest. With `--against`, another tree of the project answers the same kernels in
turn with this one, and the ratio of the sums is printed.

Target: 2 s of CPU time for each. The exit status is 1 if it is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 2.0
CHECK = """
import pathlib, sys, time
import tutorial
from tutorial.running import runner
lesson = tutorial.get(int(sys.argv[1]))
start = time.process_time()
kernel = runner.load(pathlib.Path(sys.argv[2]), lesson)
verdict = tutorial.check(lesson, kernel)
print(time.process_time() - start, 'failing' in verdict.details)
"""


def answered(tree: Path, stage: int, file: Path) -> tuple[float, bool]:
    """The CPU seconds of a check in a tree of the project, and whether the kernel gives numbers
    that are wrong."""
    threads = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
    env = {**os.environ, **{f"{name}_NUM_THREADS": "1" for name in threads}}
    env["PYTHONPATH"] = str(tree)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(stage), str(file)],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    took, _, wrong = done.stdout.strip().rpartition("\n")[2].partition(" ")
    return float(took or 0), wrong == "True"  # nothing is printed where it does not load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--stage", type=int, nargs="*", default=list(range(1, 11)))
    parser.add_argument("--sample", type=int, default=8, help="mutants of each stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--against", type=Path, help="another tree of the project")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tools.mutants import mutants
    from tutorial import get

    trees = [ROOT, options.against.resolve()] if options.against else [ROOT]
    took: dict[int, list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage in options.stage:
            text = (ROOT / "solutions" / f"{get(stage).file_name}.py").read_text(encoding="utf-8")
            made = list(mutants(stage, text))
            random.Random(options.seed).shuffle(made)
            took[stage] = []
            for mutant in made:
                if len(took[stage]) == options.sample:
                    break
                file = Path(folder) / "kernel.py"
                file.write_text(mutant.text, encoding="utf-8")
                own, wrong = answered(ROOT, stage, file)
                if wrong:
                    others = [answered(tree, stage, file)[0] for tree in trees[1:]]
                    took[stage].append((own, *others))
    slowest = max(one[0] for own in took.values() for one in own)
    sums = [sum(column) for column in zip(*(x for own in took.values() for x in own), strict=True)]
    ratio = sums[0] / sums[1] if options.against else None
    if options.json:
        numbers = {"stages": took, "slowest": slowest, "ratio": ratio, "met": slowest <= LIMIT}
        print(json.dumps(numbers, indent=2))
        return 0 if slowest <= LIMIT else 1
    for stage, of_stage in took.items():
        if of_stage:
            mine = [one[0] for one in of_stage]
            typical = statistics.median(mine)
            print(
                f"stage {stage}: {len(mine)} wrong, median {typical:.2f} s, most {max(mine):.2f} s"
            )
    if ratio is not None:
        print(f"all of them, against the other tree: {ratio:.2f} of its CPU time")
    print(f"target ({LIMIT:.0f} s each): {'met' if slowest <= LIMIT else 'MISSED'}")
    return 0 if slowest <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
