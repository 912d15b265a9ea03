"""The stages: found by number and name, complete, and their twins right."""

from __future__ import annotations

import functools
import sys

import numpy as np
import pytest

from tutorial import StageError, get, stages
from tutorial.reference.splitting import State, merged

STAGES = stages()
# the others have no twin
KERNELS = [s for s in STAGES if s.attention is not None]


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


def merged_output(states):
    """What the last states of the splits merge to."""
    parts = [State(*(state[name] for name in ("m", "l", "acc"))) for state in states]
    done = functools.reduce(merged, parts)
    return done.acc / done.l


@pytest.mark.parametrize("stage", KERNELS, ids=lambda s: s.name)
def test_a_twin_is_right(stage):
    for case in stage.cases():
        expected = stage.expected(case)
        with np.errstate(all="ignore"):  # padding may hold anything
            yielded = list(stage.twin(*case.args.values(), **case.options))
        last = {state["head"]: state for state in yielded}
        if "n_splits" in case.args:
            got = merged_output(last.values())
        else:
            got = np.concatenate([state["o"] for state in last.values()]).reshape(expected.shape)
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
