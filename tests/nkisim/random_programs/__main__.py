"""Run many random programs: python -m tests.nkisim.random_programs [FIRST [LAST]].

Programs FIRST to LAST - 1 of each dialect, 0 to 5000 by default: about ten minutes.
"""

from __future__ import annotations

import argparse

import nkisim  # noqa: F401  (serves neuronxcc and nki)
from tests.nkisim.random_programs import generator, running


def main() -> int:
    """Print each program that fails, and how many were run; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.nkisim.random_programs", description=__doc__.split("\n", 1)[1]
    )
    parser.add_argument("first", nargs="?", type=int, default=0)
    parser.add_argument("last", nargs="?", type=int, help="5000 more than FIRST by default")
    parser.add_argument("--dialect", choices=generator.DIALECTS, help="of this dialect alone")
    options = parser.parse_args()
    last = options.first + 5000 if options.last is None else options.last
    failed = 0
    for dialect in [options.dialect] if options.dialect else generator.DIALECTS:
        steps = 0
        for seed in range(options.first, last):
            program = generator.program(dialect, seed)
            steps += len(program.steps)
            told = running.check(program)
            if told:
                failed += 1
                print("\n".join([*told, str(program)]))
            if (seed + 1 - options.first) % 500 == 0 or seed + 1 == last:
                print(
                    f"{dialect}: {seed + 1 - options.first} programs of {steps} steps", flush=True
                )
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
