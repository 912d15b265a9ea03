"""The pytest plugin serves the import names where they are used, and is not there elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from nkisim import fallback

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(
    fallback.backend() != "nkisim fallback",
    reason="a real SDK is installed: there is no fallback to test",
)

PLUGIN = ("-p", "no:nkisim", "-p", "pytest_nkisim")
"""By its module's name, so that the tests also run where the distribution is not installed."""

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {"PYTHONPATH": str(ROOT)}

UNTOUCHED = """
    import os, sys

    def test_nothing_of_the_simulator_is_here():
        loaded = {name.partition(".")[0] for name in sys.modules}
        assert not loaded & {"nkisim", "tutorial", "neuronxcc", "nki", "numpy"}
        assert "fallback" not in os.environ.get("PYTHONPATH", "")
        assert not any(getattr(finder, "nkisim_fallback", False) for finder in sys.meta_path)
    """

USES_NKI_IN_A_CHILD = """
    import subprocess, sys

    def test_a_child_process_finds_nki():
        code = \"\"\"
    import neuronxcc.nki.language as nl
    print(nl.float32)
    \"\"\"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "float32" in done.stdout, done.stderr
    """


RunTests = Callable[[str], str]


@pytest.fixture
def run_tests(run_python: Run, plain_pytest: tuple[str, ...], tmp_path: Path) -> RunTests:
    def run(text: str) -> str:
        (tmp_path / "test_it.py").write_text(dedent(text), encoding="utf-8")
        done = run_python(*plain_pytest, *PLUGIN, "-n", "0", tmp_path, env=ELSEWHERE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_in_a_project_that_does_not_import_nki_the_plugin_changes_nothing(
    run_tests: RunTests,
) -> None:
    assert "NKI backend" not in run_tests(UNTOUCHED)


def test_a_test_that_imports_nki_while_it_runs_gets_the_simulator(
    run_tests: RunTests,
) -> None:
    text = """
        def test_it():
            import importlib
            assert importlib.import_module("nki").__file__.count("fallback")
        """
    run_tests(text)


def test_a_file_that_names_nki_passes_it_on_to_its_child_processes(
    run_tests: RunTests,
) -> None:
    out = run_tests(USES_NKI_IN_A_CHILD)
    assert "NKI backend: nkisim fallback" in out


def test_a_notebook_that_imports_only_nki_runs_under_nbval(run_python: Run, tmp_path: Path) -> None:
    pytest.importorskip("nbval")
    nbformat = pytest.importorskip("nbformat")
    cell = nbformat.v4.new_code_cell("import neuronxcc.nki.language as nl\nnl.float32 is not None")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.write(notebook, tmp_path / "lesson.ipynb")
    options = ("-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env", "-n", "0")
    done = run_python("-m", "pytest", *PLUGIN, *options, tmp_path / "lesson.ipynb", env=ELSEWHERE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_real_sdk_is_left_alone(run_tests: RunTests, tmp_path: Path) -> None:
    package = tmp_path / "neuronxcc"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = 'real'\n", encoding="utf-8")
    (tmp_path / "conftest.py").write_text(
        "import sys\nsys.path.insert(0, 'here')\n".replace("here", tmp_path.as_posix()),
        encoding="utf-8",
    )
    text = """
        import neuronxcc

        def test_it():
            assert neuronxcc.__version__ == "real"
        """
    assert "(real)" in run_tests(text)
