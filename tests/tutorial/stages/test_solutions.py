"""The solutions: right on every family and on the real data, at the least cost, standing alone,
with clear refusals."""

from __future__ import annotations

import ast
from functools import cache

import numpy as np
import pytest

import nkisim
from tests.tutorial.kernels import ROOT, load, solution
from tutorial import check, stages
from tutorial.inputs import realdata
from tutorial.running import runner
from tutorial.stage import get
from tutorial.verdict import Verdict

STAGES = [s.number for s in stages()]
F32 = np.float32


@pytest.fixture(params=STAGES)
def number(request):
    return request.param


@cache
def verdict_of(number: int) -> Verdict:
    """What the check says of the stage's solution."""
    lesson = get(number)
    return check(number, runner.load(ROOT / "solutions" / f"{lesson.file_name}.py", lesson))


@pytest.mark.smoke
def test_a_solution_is_correct_on_every_family(number):
    verdict = verdict_of(number)
    assert verdict.outcome == "correct", verdict.sentence
    assert len(verdict.families) == len({case.family for case in get(number).cases()})


def test_a_solution_costs_the_minimum(number):
    verdict = verdict_of(number)
    assert {c.name: c.yours for c in verdict.counters} == {
        c.name: c.minimum for c in verdict.counters
    }
    assert [note for note in verdict.notes if not note.startswith("ladder:")] == []


def test_every_attention_stage_runs_on_real_data():
    for stage in stages():
        if stage.attention is not None:
            assert "real data" in [case.family for case in stage.cases()]


@pytest.mark.parametrize("layer", realdata.layers())
def test_the_gqa_solution_agrees_with_the_models_own_attention(layer, tmp_path):
    real = realdata.load(layer, 512)
    output = load(4, solution(4), tmp_path)(real.q, real.k, real.v)
    np.testing.assert_allclose(output, real.o, atol=2e-6 * np.abs(real.o).max())


def test_the_stages_on_one_head_agree_with_the_models_own_attention(tmp_path):
    for number, n in ((1, 128), (2, 512), (3, 1024)):
        q, k, v, o = realdata.load(n=n).head(4)
        output = load(number, solution(number), tmp_path)(q, k, v)
        np.testing.assert_allclose(output, o, atol=2e-6 * np.abs(o).max())


def test_a_solution_imports_nothing_but_nki_numpy_and_math(number):
    tree = ast.parse(solution(number))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    nki = "neuronxcc.nki" if get(number).dialect is None else get(number).dialect
    assert names <= {"math", "numpy", nki, f"{nki}.isa", f"{nki}.language"}


def test_a_solution_is_short_and_starts_with_its_formula(number):
    text = solution(number)
    assert len(text.splitlines()) <= 80
    assert "=" in (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]


def test_there_is_one_solution_a_stage():
    assert sorted(p.stem for p in (ROOT / "solutions").glob("stage*.py")) == sorted(
        s.file_name for s in stages()
    )


def test_stage_3_holds_no_more_on_chip_for_a_longer_cache(tmp_path):
    kernel = load(3, solution(3), tmp_path)
    peaks = []
    for n in (512, 4096):
        q, k, v = np.ones((64, 1), F32), np.ones((64, n), F32), np.ones((64, n), F32)
        with nkisim.record() as run:
            kernel(q, k, v)
        peaks.append(run.peak_bytes("sbuf"))
    assert peaks[0] == peaks[1]


def zeros(*shape, dtype=F32):
    return np.zeros(shape, dtype)


ONE_HEAD = [
    ("q", (zeros(64, 2), zeros(64, 128), zeros(64, 128)), "q must be (d, 1)"),
    ("v", (zeros(64, 1), zeros(64, 128), zeros(64, 64)), "k and v must be (d, n)"),
    ("axes", (zeros(64, 1), zeros(2, 64, 128), zeros(2, 64, 128)), "k and v must be (d, n)"),
    (
        "d",
        (zeros(256, 1), zeros(256, 128), zeros(256, 128)),
        "the head dimension d lies on the partitions",
    ),
    (
        "dtype",
        (zeros(64, 1), zeros(64, 128, dtype=np.float16), zeros(64, 128, dtype=np.float16)),
        "must be float32",
    ),
]
GROUPED = [
    ("heads", (zeros(64, 3), zeros(2, 64, 128), zeros(2, 64, 128)), "Hq must be a multiple of Hkv"),
    ("q", (zeros(32, 4), zeros(2, 64, 128), zeros(2, 64, 128)), "q must be (d, Hq)"),
    ("v", (zeros(64, 4), zeros(2, 64, 128), zeros(1, 64, 128)), "k and v must be (Hkv, d, n)"),
    ("axes", (zeros(64, 4), zeros(64, 128), zeros(64, 128)), "k and v must be (Hkv, d, n)"),
    (
        "n",
        (zeros(64, 4), zeros(2, 64, 100), zeros(2, 64, 100)),
        "n must be a positive multiple of 128",
    ),
    (
        "dtype",
        (zeros(64, 4, dtype=np.float16), zeros(2, 64, 128), zeros(2, 64, 128)),
        "must be float32",
    ),
]
LENGTHS = np.ones((2, 1), np.int32)
BATCH = [
    (
        "heads",
        (zeros(2, 64, 3), zeros(2, 2, 64, 100), zeros(2, 2, 64, 100), LENGTHS),
        "Hq must be a multiple of Hkv",
    ),
    (
        "q",
        (zeros(1, 64, 4), zeros(2, 2, 64, 100), zeros(2, 2, 64, 100), LENGTHS),
        "q must be (B, d, Hq)",
    ),
    (
        "v",
        (zeros(2, 64, 4), zeros(2, 2, 64, 100), zeros(2, 2, 64, 99), LENGTHS),
        "k and v must be (B, Hkv, d, n)",
    ),
    (
        "lengths",
        (zeros(2, 64, 4), zeros(2, 2, 64, 100), zeros(2, 2, 64, 100), LENGTHS[:, 0]),
        "lengths must be (B, 1)",
    ),
    (
        "max_length",
        (zeros(2, 64, 4), zeros(2, 2, 64, 100), zeros(2, 2, 64, 100), LENGTHS, None, 101),
        "max_length must be 1 to n",
    ),
    (
        "dtype",
        (zeros(2, 64, 4, dtype=np.float16), zeros(2, 2, 64, 100), zeros(2, 2, 64, 100), LENGTHS),
        "must be float32",
    ),
]
REFUSED = [
    *[(number, name, args, text) for number in (1, 2, 3) for name, args, text in ONE_HEAD],
    *[
        (number, "n", (zeros(64, 1), zeros(64, 100), zeros(64, 100)), "multiple of 128")
        for number in (2, 3)
    ],
    (1, "n", (zeros(64, 1), zeros(64, 256), zeros(64, 256)), "n must be 1 to 128 keys"),
    *[(number, name, args, text) for number in (4, 9) for name, args, text in GROUPED],
    *[(5, name, args, text) for name, args, text in BATCH],
    (
        6,
        "heads",
        (zeros(64, 3), zeros(2, 64, 128), zeros(2, 64, 128), 2),
        "Hq must be a multiple of Hkv",
    ),
    (
        6,
        "n",
        (zeros(64, 4), zeros(2, 64, 100), zeros(2, 64, 100), 2),
        "n must be a positive multiple of 128",
    ),
    (6, "n_splits", (zeros(64, 4), zeros(2, 64, 128), zeros(2, 64, 128), 0), "S = 0"),
    (6, "v", (zeros(64, 4), zeros(2, 64, 128), zeros(1, 64, 128), 2), "got q"),
    (0, "rows", (zeros(64, 128), 2.0), "x must be (128, n)"),
    (0, "n", (zeros(128, 100), 2.0), "n must be a positive multiple of 128"),
    (0, "dtype", (zeros(128, 128, dtype=np.float16), 2.0), "x must be float32"),
]


@pytest.mark.parametrize(
    ("number", "what", "args", "text"),
    REFUSED,
    ids=lambda x: str(x) if isinstance(x, (int, str)) else "",
)
def test_a_solution_refuses_bad_input_with_one_sentence(number, what, args, text, tmp_path):
    with pytest.raises(AssertionError) as caught:
        load(number, solution(number), tmp_path)(*args)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_cache_is_refused(tmp_path):
    with pytest.raises((AssertionError, nkisim.KernelError)):
        load(3, solution(3), tmp_path)(zeros(64, 1), zeros(64, 0), zeros(64, 0))
