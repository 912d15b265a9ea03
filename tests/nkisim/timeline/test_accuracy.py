"""The model of time against the intervals of published profiles; benchmarks/model_accuracy.py has
whole kernels too."""

import importlib.util
import pathlib
import statistics
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture(scope="module")
def accuracy():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location(
            "model_accuracy", ROOT / "benchmarks" / "model_accuracy.py"
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules["model_accuracy"] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_single_instructions_agree_with_published_profiles(accuracy):
    errors = [abs(row.ratio - 1) for row in accuracy.interval_rows()]
    assert len(errors) >= 20
    assert statistics.median(errors) <= 0.05 and max(errors) <= 0.25
    assert sum(e > 0.1 for e in errors) <= 1


def test_the_page_about_accuracy_has_the_numbers_that_the_model_gives_now(accuracy):
    page = (ROOT / "docs" / "model-accuracy.md").read_text(encoding="utf-8")
    for line in accuracy._table(accuracy.interval_rows(), "ns"):
        assert line in page
    small = accuracy.kernel_rows(long=False)
    assert len(small) >= 5
    for line in accuracy._table(small, "us"):
        assert line in page


def test_a_row_that_is_far_off_needs_a_reason(accuracy):
    def row(what, model):
        return accuracy.Row(what, "trn1", 100.0, model, "L", "", "", model)

    near, far = row("near", 110.0), row("nearest pixels, of any size", 50.0)
    lines = accuracy._reasons([near, far])
    assert "gathers rows" in lines[-2] and not any("| near |" in line for line in lines)
    with pytest.raises(KeyError, match="no reason is given for the row 'unheard of'"):
        accuracy._reasons([row("unheard of", 150.0)])
