"""The browser edition runs: every lesson in 32 bits, in headless Chromium, without the network.

It skips, and says why, where there is no Chromium or no Pyodide distribution.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tutorial
from tests.site.browser import ROOT, Profile, chromium, headless, pyodide, served

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]

FIRST_CHECK = 30.0  # seconds from opening a lesson to its first verdict, on two cores
LOOP = 0.08  # seconds that two million steps of a loop took there
WITH_KERNEL, WITHOUT_KERNEL = 160e6, 40e6
SOLVED = [0, 1, 2, 3, 4, 5, 6, 8, 9]
TRACED = [1, 2, 3, 4, 5, 6, 8, 9]
"""The stages in fp32; stage 7 needs bfloat16, which the distribution of this test lacks."""

TRACE_ROW = re.compile(r"^ +\d+  \d+\.\.\d+ .*$", re.MULTILINE)
VERDICT = """
() => window.jupyterapp.shell.currentWidget.content.widgets.some(cell => cell.model.type === 'code'
    && JSON.stringify(cell.model.outputs.toJSON()).includes('first_kernel: not attempted'))
"""
RUNNING = "() => document.querySelectorAll('.jp-Notebook .jp-Cell').length > 5"
IDLE = """
() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = panel.content.widgets.filter(c => c.model.type === 'code');
    return cells.length > 0 && cells.every(c => c.model.executionState !== 'running'
        && c.model.executionCount !== null);
}
"""


LOAD = """
async (path) => {
    const { shell, serviceManager } = window.jupyterapp;
    const file = await serviceManager.contents.get(path, { content: true });
    for (const cell of file.content.cells.filter(c => c.cell_type === 'code')) {
        cell.outputs = [];
        cell.execution_count = null;
    }
    const panel = shell.currentWidget;
    await panel.sessionContext.session.kernel.requestExecute({ code: '%reset -f' }).done;
    panel.context.model.fromJSON(file.content);
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    distribution = pyodide()
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, ROOT / "tools" / "browser_edition.py", out / "lite"]
    command += ["--pyodide", distribution, "--solutions"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def site(built: Path) -> Iterator[str]:
    with served(built) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless() as found:
        yield found


@pytest.fixture(scope="module")
def watched(browser: Any, site: str) -> Profile:
    return Profile(browser, site)


def opened(watched: Profile, notebook: str) -> Any:
    """The page of a notebook, with the outputs that are stored in it cleared."""
    page = watched.context.new_page()
    page.bring_to_front()
    page.goto(f"{watched.address}lite/notebooks/index.html?path={notebook}")
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=300_000, polling=500)
    page.wait_for_function(RUNNING, timeout=300_000, polling=500)
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            await panel.context.ready;
            await panel.sessionContext.ready;
            await window.jupyterapp.commands.execute('editmenu:clear-all');
        }"""
    )
    return page


def run_all(page: Any) -> list[str]:
    """Run every cell from the top; the outputs as text."""
    page.evaluate("() => { window.jupyterapp.commands.execute('runmenu:run-all'); }")
    page.wait_for_function(IDLE, timeout=600_000, polling=500)
    texts: list[str] = page.evaluate(
        """() => {
            const panel = window.jupyterapp.shell.currentWidget;
            const found = [];
            for (const cell of panel.content.widgets) {
                if (cell.model.type !== 'code') continue;
                for (const output of cell.model.outputs.toJSON()) {
                    const data = output.data || {};
                    const text = output.text || data['text/plain'] || output.ename || '';
                    found.push(Array.isArray(text) ? text.join('') : text);
                }
            }
            return found;
        }"""
    )
    return texts


def stored_trace_rows(name: str) -> list[str]:
    """Every line of a state trace that the solved notebook stores."""
    text = (ROOT / "solutions" / f"{name}.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    texts = [output.get("text") or output["data"].get("text/plain", []) for output in outputs]
    return TRACE_ROW.findall("\n".join("".join(text) for text in texts))


@pytest.fixture(scope="module")
def kernel(watched: Profile) -> Iterator[Any]:
    """A page whose kernel runs the solved notebooks one after the other: to start one takes longer
    than most lessons do."""
    page = opened(watched, f"solutions/{tutorial.get(0).file_name}.ipynb")
    yield page
    page.close()


@pytest.mark.parametrize("number", SOLVED)
def test_the_solved_notebook_of_a_stage_runs_in_the_browser(kernel: Any, number: int) -> None:
    """With a clear namespace, as in a kernel that has just started."""
    lesson = tutorial.get(number)
    kernel.bring_to_front()
    kernel.evaluate(LOAD, f"solutions/{lesson.file_name}.ipynb")
    texts = run_all(kernel)
    everything = "\n".join(texts)
    assert f"{lesson.title}: correct" in everything
    assert "Traceback" not in everything and "Error" not in [text.strip() for text in texts]
    rows = stored_trace_rows(lesson.file_name)
    assert bool(rows) == (number in TRACED)
    assert [row for row in rows if row not in everything] == []


def test_the_first_check_of_a_lesson_is_there_in_thirty_seconds(browser: Any, site: str) -> None:
    begun = time.monotonic()
    page = opened(Profile(browser, site), "stage0_first_kernel.ipynb")
    page.evaluate("() => { window.jupyterapp.commands.execute('runmenu:run-all'); }")
    page.wait_for_function(VERDICT, timeout=600_000, polling=500)
    taken = time.monotonic() - begun
    page.close()
    if taken > FIRST_CHECK and busy():
        pytest.skip(f"this machine is busy with other work: {taken:.0f} s say nothing")
    assert taken < FIRST_CHECK * slowness()


def slowness() -> float:
    """How many times as long this machine takes for the same work as the one that the limit was
    set on; 1 where it is faster."""
    begun = time.process_time()
    sum(i * i for i in range(2_000_000))
    return max(1.0, (time.process_time() - begun) / LOOP)


def busy() -> bool:
    """True while more is running here than there are cores for."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 1.5 * (os.cpu_count() or 1)


def test_what_is_solved_is_kept_in_the_browser_and_shown_by_the_pages(watched: Profile) -> None:
    """After the solved notebooks, which all have written to one record."""
    page = watched.context.new_page()
    page.goto(f"{watched.address}lite/notebooks/index.html?path=stage0_first_kernel.ipynb")
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=300_000, polling=500)
    kept = page.evaluate(
        """async () => {
            const contents = window.jupyterapp.serviceManager.contents;
            return (await contents.get('solutions/progress.txt', {content: true})).content;
        }"""
    )
    assert [line for line in kept.splitlines() if line[0].isdigit()] == [
        f"{number} correct - browser" for number in SOLVED
    ]
    page.close()


def test_a_lesson_is_a_single_document_without_a_kernel_menu_or_a_file_tree(
    watched: Profile,
) -> None:
    page = opened(watched, "stage3_online_softmax.ipynb")
    menus = page.evaluate(
        "() => Array.from(document.querySelectorAll('.lm-MenuBar-item')).map(m => m.innerText)"
    )
    assert "Run" in menus and "Kernel" not in menus
    assert page.query_selector(".jp-DirListing") is None
    page.close()


def test_nothing_was_asked_of_the_outside(watched: Profile) -> None:
    """The last test of the module: it looks at the requests of all the others."""
    assert watched.outside == []


def test_the_files_of_the_edition_keep_within_their_budget(built: Path) -> None:
    sizes = {path: path.stat().st_size for path in built.rglob("*") if path.is_file()}
    kernel = sum(n for path, n in sizes.items() if "pyodide" in path.relative_to(built).parts)
    assert sum(sizes.values()) < WITH_KERNEL
    assert sum(sizes.values()) - kernel < WITHOUT_KERNEL
