"""What devices said: the reports of `python -m tutorial device-check` as one Markdown table.

    python tools/device_reports.py [REPORT ...]    print the table of these, or of those kept

The kept ones lie in `tools/data/device-reports/`. docs/neuron-instance.md shows their table, which
`python tools/docs_tables.py` writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

KEPT = Path(__file__).resolve().parent / "data" / "device-reports"
EMPTY = "No device has reported yet."
HEADER = ("instance", "SDK", "stage", "cases right", "measured p50", "modelled", "first trouble")


class NotAReport(ValueError):
    """A file that is not a report; the text is one sentence."""


def read(path: Path) -> dict[str, Any]:
    """A report that has what the table needs. Raises NotAReport."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["schema"] != 1 or not isinstance(report["cases"], list):
            raise KeyError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAReport(f"{path} is not a report of device-check.") from error
    return dict(report)


def rows(report: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    """One row for each stage of a report."""
    packages = report["packages"]
    sdk = packages.get("neuronx-cc") or f"nki {packages.get('nki')}"
    for number in sorted({case["stage"] for case in report["cases"]}):
        cases = [case for case in report["cases"] if case["stage"] == number]
        right = sum(case["outcome"] == "right" for case in cases)
        timed = [case for case in cases if case["measured p50 us"] is not None]
        trouble = next((case for case in cases if case["outcome"] != "right"), None)
        yield (
            report["instance type"],
            sdk,
            str(number),
            f"{right} of {len(cases)}",
            f"{timed[0]['measured p50 us']:,.1f} us" if timed else "-",
            modelled(timed[0] if timed else None),
            "" if trouble is None else said(trouble),
        )


def modelled(case: dict[str, Any] | None) -> str:
    """The modelled times of a case, each with its target and called a model."""
    times = (case or {}).get("modelled us") or {}
    return ", ".join(f"{us:,.1f} us on {name} (model)" for name, us in times.items()) or "-"


def said(case: dict[str, Any]) -> str:
    """The trouble of a case in one line of a table."""
    text = " ".join(str(case.get("error") or case["outcome"]).split()).replace("|", "\\|")
    return f"{case['family']}: {text if len(text) <= 120 else text[:117] + '...'}"


def table(reports: Sequence[dict[str, Any]]) -> str:
    """All reports as a Markdown table; a sentence where there is none."""
    lines = [row for report in reports for row in rows(report)]
    if not lines:
        return EMPTY
    made = [HEADER, tuple("---" for _ in HEADER), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in made)


def kept() -> str:
    """The table of the reports that the repository keeps."""
    return table([read(path) for path in sorted(KEPT.glob("*.json"))])


def main(arguments: list[str]) -> int:
    """Print the table; 0, or 2 and a sentence."""
    try:
        print(table([read(Path(name)) for name in arguments]) if arguments else kept())
    except NotAReport as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
