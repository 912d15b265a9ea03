"""Pytest plugin: a test file whose only import is `neuronxcc.nki` or `nki` collects and runs on the
simulator.

It is registered under the entry point `nkisim`, so that installing the distribution is enough; `-p
no:nkisim` turns it off. xdist's workers and the kernels that nbval starts are covered too: they
inherit the environment.
"""

from __future__ import annotations

import pytest

from nkisim import fallback


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Install before any conftest file or test module is imported."""
    fallback.install()


def pytest_report_header() -> str:
    """One line in pytest's header: which NKI the tests are about to use."""
    return f"NKI backend: {fallback.backend()}"
