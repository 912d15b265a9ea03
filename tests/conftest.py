"""What every test shares. Markers (`smoke`, `slow`) and all options are in pyproject.toml."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run and machine: a failure in CI is a failure here. The weekly run with
# the newest packages looks at eight times as many (`--hypothesis-profile=thorough`), and at every
# case of which a usual run takes a sample (tests/asking.py).
settings.register_profile("project", deadline=None, derandomize=True, max_examples=25)
settings.register_profile("thorough", settings.get_profile("project"), max_examples=200)
settings.load_profile("project")

# Hypothesis also tries constants of all code that is imported so far. Without them the examples of
# a test do not depend on the tests around it, and no worker spends seconds on parsing that code.
with contextlib.suppress(ImportError):
    from hypothesis.internal.conjecture import providers

    providers.is_local_module_file = lambda path: False

# The suite starts some two hundred Pythons. Where they are told to keep no byte code, as in many
# containers, each of them compiles the whole project: a fifth of a second every time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Two workers, each with a thread for every core in its matrix products, would wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# To collect the tests makes half a million objects, which stay. The garbage collector looks for
# cycles among them now and then only, and after the collection not at all: by its usual ways it
# would take a twentieth of the time of all tests.
gc.set_threshold(100_000, 20, 50)


def pytest_collection_finish() -> None:
    """What was collected stays to the end of the session."""
    gc.freeze()


Completed = subprocess.CompletedProcess[str]


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., Completed]:
    """Run this Python with the given arguments in an empty directory, the fallback not inherited.

    `env` adds or, with a value of None, removes environment variables.
    """

    def run(
        *arguments: str | Path, env: Mapping[str, str | None] | None = None, cwd: Path = tmp_path
    ) -> Completed:
        environment: dict[str, str | None] = {
            **os.environ,
            "PYTHONPATH": None,
            "NKISIM_FORCE": None,
            **(env or {}),
        }
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )

    return run


@pytest.fixture
def plain_pytest() -> tuple[str, ...]:
    """What runs pytest without plugins that take five times as long to load as it runs."""
    plugins = ("cacheprovider", "nbval", "hypothesispytest")
    return ("-m", "pytest", *(word for name in plugins for word in ("-p", f"no:{name}")))
