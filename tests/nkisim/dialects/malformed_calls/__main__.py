"""Make every malformed call: python -m tests.nkisim.dialects.malformed_calls. About a minute."""

from __future__ import annotations

import nkisim  # noqa: F401  (serves neuronxcc and nki)
from tests.nkisim.dialects.malformed_calls import calls, judge


def main() -> int:
    """Print the faults and how many calls were made; the exit status."""
    found = 0
    for dialect in calls.DIALECTS:
        for values in (True, False):
            made = [0]
            faults = judge.judged(dialect, values, lambda number: True, made)
            way = "with values" if values else "on shapes"
            print(f"{dialect.name}, {way}: {made[0]} calls, {len(faults)} faults")
            for fault in faults:
                print(f"  {fault}")
            found += len(faults)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
