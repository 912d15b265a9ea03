"""Run many random programs: python -m tests.nkisim.random_programs [FIRST [LAST]].

Programs FIRST to LAST - 1 of each dialect, 0 to 5000 by default: about four minutes.
"""

from __future__ import annotations

import sys

import nkisim  # noqa: F401  (serves neuronxcc and nki)
from tests.nkisim.random_programs import generator, running


def main(arguments: list[str]) -> int:
    """Print each program that fails, and how many were run; the exit status."""
    first = int(arguments[0]) if arguments else 0
    last = int(arguments[1]) if len(arguments) > 1 else first + 5000
    failed = 0
    for dialect in generator.DIALECTS:
        steps = 0
        for seed in range(first, last):
            program = generator.program(dialect, seed)
            steps += len(program.steps)
            told = running.check(program)
            if told:
                failed += 1
                print("\n".join([*told, str(program)]))
        print(f"{dialect}: {last - first} programs of {steps} steps")
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
