"""The stages: found by number and name, complete, and their twins right."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest

from tutorial import StageError, get, stages

STAGES = stages()
# the others' entry points are not called on a case
KERNELS = [s for s in STAGES if s.judge is None]


def test_the_stages_are_in_the_order_of_their_numbers():
    assert [s.number for s in STAGES] == sorted({s.number for s in STAGES})
    assert len({s.name for s in STAGES}) == len(STAGES)


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: s.name)
def test_a_stage_is_found_by_all_its_names(stage):
    for key in (
        stage,
        stage.number,
        str(stage.number),
        stage.name,
        stage.file_name,
        f"{stage.file_name}.py",
        stage.name.replace("_", "-"),
    ):
        assert get(key) is stage


@pytest.mark.parametrize("key", ["", "stage", "99", "-1", "online", None])
def test_there_is_no_other_stage(key):
    with pytest.raises(StageError, match="the stages are: 0 first_kernel"):
        get(key)


@pytest.mark.parametrize("stage", KERNELS, ids=lambda s: s.name)
def test_a_twin_is_short_and_right(stage):
    assert len(inspect.getsource(stage.twin).splitlines()) <= 25
    for case in stage.cases():
        expected = stage.expected(case)
        with np.errstate(all="ignore"):  # padding may hold anything
            yielded = list(stage.twin(*case.args.values(), **case.options))
        if stage.attention is None:
            got = np.concatenate([state["y"] for state in yielded], axis=1)
        else:
            last = {state.get("head", 0): state["o"] for state in yielded if "o" in state}
            got = np.concatenate([last[head] for head in sorted(last)]).reshape(expected.shape)
        allowed = (
            1e-6 * np.abs(expected).max() + 1e-30
            if stage.tolerance is None
            else stage.tolerance(case)
        )
        assert (np.abs(got - expected) <= allowed).all(), case.family


@pytest.mark.parametrize("stage", KERNELS, ids=lambda s: s.name)
def test_a_stage_allows_its_own_cases_and_names_a_case_for_its_costs(stage):
    for case in stage.cases():
        stage.validate({**case.args, **case.options})
    assert stage.case(stage.cost_case) in stage.cases()
    assert stage.parameters == tuple(stage.cases()[0].args)


def test_importing_the_course_is_light():
    code = (
        "import sys, tutorial; print(sorted({'matplotlib', 'IPython', 'jupyterlab', 'pytest'} "
        "& set(sys.modules)))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
