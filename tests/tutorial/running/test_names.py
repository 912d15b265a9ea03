"""The names under which a run knows the parameters of a stage."""

from __future__ import annotations

from tests.tutorial.kernels import changed, load, solution
from tutorial import get
from tutorial.cost import judging
from tutorial.running import runner

INNER = ("def split_kernel(q, k, v,", "def split_kernel(q, keys, values,")
GIVEN = (
    "    n_kv_heads, d, n = k.shape\n    n_q_heads, G",
    "    k, v = keys, values\n    n_kv_heads, d, n = k.shape\n    n_q_heads, G",
)


def test_the_kernel_that_an_entry_point_launches_may_call_its_inputs_otherwise(tmp_path):
    lesson = get(6)
    kernel = load(6, changed(solution(6), INNER, GIVEN), tmp_path)
    result = runner.run(kernel, lesson.cases()[0], lesson)
    names = runner.names_in(result.run, kernel, lesson, result.case)
    assert (names["q"], names["k"], names["v"]) == ("q", "keys", "values")
    assert not judging.over_budget(lesson, kernel, result)
