"""Without ml_dtypes everything in 32 bits works, and what needs bfloat16 says so in a sentence."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from nkisim.machine import narrow

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[3]


def without_ml_dtypes(run_python: Run, code: str) -> str:
    """What a program prints in a Python that has no ml_dtypes."""
    start = "import sys; sys.modules['ml_dtypes'] = None\n"
    done = run_python("-c", start + dedent(code), env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_missing_type_keeps_its_name_and_its_width(run_python: Run) -> None:
    code = """
        from nkisim.machine import dtypes, narrow
        print(narrow.INSTALLED, *(f"{dtypes.name(t)} {t.itemsize}" for t in narrow.TYPES.values()))
        """
    wanted = " ".join(f"{name} {dtype.itemsize}" for name, dtype in narrow.TYPES.items())
    assert without_ml_dtypes(run_python, code) == f"False {wanted}\n"


@pytest.mark.slow
def test_the_stages_in_32_bits_are_checked_and_stage_7_says_what_it_needs(run_python: Run) -> None:
    code = """
        import tutorial
        for number in (0, 3, 9, 7):
            print(*str(tutorial.check(number, tutorial.solution(number))).splitlines()[:2])
        print(tutorial.picture(7, tutorial.solution(7)).alt)
        """
    said = without_ml_dtypes(run_python, code).splitlines()
    assert [line.split(": ")[1].split()[0] for line in said[:4]] == [*["correct"] * 3, "unusable"]
    wanted = f"Stage 7's inputs are bfloat16: {narrow.needed('bfloat16')}."
    assert said[3].endswith(wanted) and said[4].endswith(wanted)


def test_a_kernel_that_asks_for_a_missing_type_is_refused_with_a_sentence(run_python: Run) -> None:
    code = """
        import numpy as np
        import nkisim
        import neuronxcc.nki as nki
        import neuronxcc.nki.language as nl

        @nki.jit
        def kernel(x):
            y = nl.ndarray(x.shape, dtype=nl.bfloat16, buffer=nl.shared_hbm)
            nl.store(y, value=nl.load(x))
            return y

        try:
            kernel(np.ones((128, 4), np.float32))
        except Exception as error:
            print(error)
        """
    assert narrow.needed("bfloat16") in without_ml_dtypes(run_python, code)


@pytest.mark.smoke
def test_only_one_file_imports_ml_dtypes() -> None:
    """Elsewhere the import would fail where the package is missing, as in some browsers."""
    found = [
        path.relative_to(ROOT).as_posix()
        for package in ("nkisim", "tutorial")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"^\s*(?:import|from) ml_dtypes", path.read_text(encoding="utf-8"), re.M)
    ]
    assert found == ["nkisim/machine/narrow.py"]


def test_rounding_to_bfloat16_without_ml_dtypes_gives_what_ml_dtypes_gives() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.standard_normal(10_000).astype(np.float32),
            np.float32(
                [0.0, -0.0, np.inf, -np.inf, np.nan, 1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, 1e-40]
            ),
        ]
    )
    with np.errstate(over="ignore"):
        wanted = values.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(narrow.rounded_to_bfloat16(values), wanted)


def test_the_limits_of_a_type_are_those_of_ml_dtypes() -> None:
    assert float(narrow.finfo(narrow.bfloat16).max) == pytest.approx(3.39e38, rel=1e-2)
    assert narrow.finfo(np.dtype(np.float32)).eps == np.finfo(np.float32).eps
