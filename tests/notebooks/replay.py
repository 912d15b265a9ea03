"""Run a notebook's cells in this process, without a Jupyter kernel, and compare what they print.

The second opinion on nbval, which has had no release since March 2024: IPython runs each cell, and
every text that the notebook stores is compared with what the cell says now. Should nbval stop
working one day, every printed number of the lessons is still checked.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?|-?\binf\b|\bnan\b")
IGNORED = re.compile(r"<Figure size [^>]*>|0x[0-9a-fA-F]{6,16}|^Out\[\d+\]:", re.MULTILINE)


def texts(outputs: list[dict[str, Any]]) -> str:
    """All text of a cell's outputs, one after the other: what it printed and what it displayed."""
    found = []
    for output in outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        found.append("".join(text) if isinstance(text, list) else text)
    return IGNORED.sub("", "".join(found))


def numbers(text: str) -> list[str]:
    """Every number that a text shows, as it is written."""
    return NUMBER.findall(text)


def differences(notebook: Path) -> list[str]:
    """A sentence for each cell whose printed numbers are not those that the notebook stores."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    found = []
    with _shell(notebook.parent) as shell:
        for place, cell in enumerate(code, 1):
            with capture_output() as captured:
                result = shell.run_cell("".join(cell["source"]), store_history=False)
            if result.error_in_exec or result.error_before_exec:
                found.append(f"cell {place} raises {result.error_in_exec!r}.")
            shown = [{"data": output.data} for output in captured.outputs]
            now = numbers(texts([{"text": captured.stdout}, *shown]))
            stored = numbers(texts(cell["outputs"]))
            if sorted(now) != sorted(stored):
                found.append(f"cell {place} stores {stored} and prints {now}.")
    return found


@contextmanager
def _shell(folder: Path) -> Iterator[InteractiveShell]:
    """A fresh IPython in the notebook's folder; what it changes of the process is put back."""
    before, main, path = Path.cwd(), sys.modules["__main__"], list(sys.path)
    shell = InteractiveShell(user_module=ModuleType("__main__"))
    os.chdir(folder)
    try:
        yield shell
    finally:
        os.chdir(before)
        sys.modules["__main__"] = main
        sys.path[:] = path
        shell.history_manager.enabled = False
        shell.restore_sys_module_state()
