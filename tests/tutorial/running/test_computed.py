"""Answers that no instruction computed are refused; kernels that look like it are not."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution
from tutorial import check, get
from tutorial.running import computed, runner
from tutorial.running.runner import Result

ATTEND = """
import numpy as np

def attend(q, k, v, scale=None):
    scale = k.shape[1] ** -0.5 if scale is None else scale
    o = []
    for h in range(q.shape[1]):
        s = scale * (q[:, h].astype(float) @ k[h // (q.shape[1] // len(k))].astype(float))
        p = np.exp(s - s.max())
        o.append(p @ v[h // (q.shape[1] // len(k))].T.astype(float) / p.sum())
    return np.array(o, np.float32)

@nki.jit
def copied(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.load(x))
    return out
"""
NAME = "decode_attention_gqa_fwd"
ENTRY = f"\ndef {NAME}(q, k, v, softmax_scale=None):\n"
WORKED = solution(4).replace(NAME, "worked")
CHEATS = {
    "NumPy's answer copied by a kernel": "    return copied(attend(q, k, v, softmax_scale))\n",
    "NumPy's answer returned beside a kernel that reads all": (
        "    worked(q, k, v, softmax_scale)\n    return attend(q, k, v, softmax_scale)\n"
    ),
    "what a kernel gives, changed by NumPy": "    return worked(q, k, v, softmax_scale) + 0\n",
    "NumPy tried first": (
        "    try:\n        return copied(attend(q, k, v, softmax_scale))\n"
        "    except Exception:\n        return worked(q, k, v, softmax_scale)\n"
    ),
    "a recording of its own": (
        "    import nkisim\n    with nkisim.record():\n"
        "        return worked(q, k, v, softmax_scale)\n"
    ),
}


@pytest.mark.parametrize("body", CHEATS.values(), ids=list(CHEATS))
def test_an_answer_that_no_instruction_computed_is_refused(body, tmp_path):
    verdict = check(4, load(4, WORKED + ATTEND + ENTRY + body, tmp_path))
    assert verdict.outcome in ("wrong", "unusable"), verdict.sentence
    assert verdict.exit_code != 0


def test_an_answer_that_is_a_constant_of_the_kernel_where_there_are_values_is_refused(tmp_path):
    name = "decode_attention_fwd"
    text = changed(
        solution(1).replace(name, "worked"),
        (
            "value=o_tile",
            "value=nl.add(nl.multiply(o_tile, 0.0), nl.load(nl.shared_constant(T[0])))",
        ),
    )
    text += (
        f"\nimport numpy as np\nT = [None]\ndef {name}(q, k, v, softmax_scale=None):\n"
        "    T[0] = np.zeros((1, len(q)), np.float32)\n"
        "    if isinstance(q, np.ndarray):\n"
        "        s = q.T @ k * (len(q) ** -0.5 if softmax_scale is None else softmax_scale)\n"
        "        p = np.exp(s - s.max())\n"
        "        T[0] = (p @ v.T / p.sum()).astype(np.float32)\n"
        "    return worked(q, k, v, softmax_scale)\n"
    )
    verdict = check(1, load(1, text, tmp_path))
    assert verdict.cause == computed.CAUSE and "shapes alone" in verdict.sentence


@pytest.mark.parametrize(
    "body",
    [
        "    return worked(q, k, v, softmax_scale)\n",
        "    return worked(q, k[:, :, :], v, softmax_scale)\n",
        "    d = k.shape[1]\n    return worked(q, k, v, d**-0.5 if softmax_scale is None "
        "else softmax_scale)\n",
    ],
    ids=["as it is", "a slice", "a scale from the shape"],
)
def test_a_function_that_only_launches_a_kernel_is_right(body, tmp_path):
    verdict = check(4, load(4, WORKED + ENTRY + body, tmp_path))
    assert verdict.ok, verdict.sentence


def test_the_sentence_names_the_line_at_which_python_looks(tmp_path):
    body = CHEATS["NumPy's answer copied by a kernel"]
    verdict = check(4, load(4, WORKED + ATTEND + ENTRY + body, tmp_path))
    assert verdict.cause == "not computed by instructions"
    assert "Python looks at values, line " in verdict.sentence


def test_a_kernel_that_reads_less_than_it_must_is_wrong(tmp_path):
    text = changed(
        solution(4), ("for h in nl.affine_range(n_kv_heads):", "for h in range(n_kv_heads):")
    ).replace("v_tile = nl.load(v[h, :, nl.ds(i * TILE, TILE)])", "v_tile = k_tile")
    verdict = check(4, load(4, text, tmp_path))
    assert verdict.outcome == "wrong"


SPLIT = {
    "n_splits is ignored": (
        "split_kernel[n_splits](q, k, v, n_splits, scale)",
        "split_kernel[1](q, k, v, 1, scale)",
        "nothing is split",
    ),
}


@pytest.mark.parametrize(("old", "new", "words"), SPLIT.values(), ids=list(SPLIT))
def test_work_that_is_not_shared_is_wrong(old, new, words, tmp_path):
    verdict = check(6, load(6, changed(solution(6), (old, new)), tmp_path))
    assert (verdict.outcome, verdict.cause) == ("wrong", "work not shared")
    assert words in verdict.sentence


def test_the_shortest_run_is_repeated_on_shapes_alone(tmp_path):
    lesson = get(8)
    kernel = load(8, solution(8), tmp_path)
    cases = [lesson.case(name) for name in ("random", "whole blocks", "random, blocks of 128")]
    results = [runner.run(kernel, case, lesson) for case in cases]
    assert min(results, key=lambda result: len(result.run)) is results[1]
    assert max(cases, key=lambda case: case.nbytes) is cases[1]
    assert computed.fewest(results) is results[1]
    unrecorded = [Result(case) for case in cases]
    assert computed.fewest(unrecorded) is unrecorded[0]
    assert computed.fewest([unrecorded[0], *results[:1]]) is results[0]
