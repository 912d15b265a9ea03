"""The check: its outcomes, its order, its sentences for kernels that give no answer, and its
refusal of bad input."""

from __future__ import annotations

import ast
import json
import sys

import numpy as np
import pytest

from tests.tutorial.diagnosis import wrong_paged
from tests.tutorial.kernels import changed, load, solution, unnamed
from tutorial import CheckFailed, StageError, check, get, stages

F32 = np.float32


@pytest.mark.smoke
@pytest.mark.parametrize("stage", stages(), ids=lambda s: s.name)
def test_a_blank_is_not_attempted(stage, tmp_path):
    verdict = check(stage.number, load(stage.number, stage.blank, tmp_path))
    assert (verdict.outcome, verdict.exit_code) == ("not attempted", 2)
    assert verdict.sentence == f"{stage.title} is not attempted yet."


@pytest.mark.parametrize("stage", stages(), ids=lambda s: s.name)
def test_a_blank_is_a_complete_file_that_leaks_nothing(stage):
    answer = {
        line.strip()
        for line in solution(stage.number).splitlines()
        if "nisa." in line or "nl.load" in line
    }
    given = {line.strip() for line in stage.blank.splitlines()}
    assert not answer & given
    text = " ".join(stage.blank.split())
    assert "Line budget:" in text and "Cost budget:" in text
    assert f"{stage.line_budget} lines" in text
    cost = stage.cost_budget
    assert cost in text or cost[0].upper() + cost[1:] in text


def _parts(text: str) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """A file's statements: those outside its functions, and each function's header and body."""
    outside, functions = [], []
    for node in ast.parse(text).body[1:]:  # the first is the docstring, which has the budgets
        if isinstance(node, ast.FunctionDef):
            body = [ast.dump(statement) for statement in node.body[1:]]
            node.body = []
            functions.append((ast.dump(node), body))
        else:
            outside.append(ast.dump(node))
    return outside, functions


@pytest.mark.parametrize("stage", stages(), ids=lambda s: s.name)
def test_an_exercise_is_its_solution_outside_the_blank(stage):
    (given, blanks), (answer, functions) = _parts(stage.blank), _parts(solution(stage.number))
    rest = iter(answer)  # which may name its own size
    assert [statement for statement in given if statement not in rest] == []
    assert [header for header, _ in blanks] == [header for header, _ in functions]
    for (_, body), (_, whole) in zip(blanks, functions, strict=True):
        rest = iter(whole)  # the blank stands for what is missing
        assert [s for s in body if "NotImplementedError" not in s and s not in rest] == []
    first, second = (
        " ".join((ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0].split())
        for text in (stage.blank, solution(stage.number))
    )
    assert first == second


@pytest.mark.parametrize("stage", stages(), ids=lambda s: s.name)
def test_the_line_budget_is_enough_for_the_solution(stage):
    body = solution(stage.number).partition("buffer=nl.shared_hbm)")[2]
    lines = [
        line for line in body.splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    assert len(lines) <= stage.line_budget + 5


@pytest.mark.parametrize("body", ["...", "pass", '"""Only words."""', "return None", "return"])
def test_an_empty_function_is_not_attempted(body, tmp_path):
    text = (
        "import neuronxcc.nki as nki\n\n@nki.jit\ndef decode_attention_fwd(q, k, v, "
        f"softmax_scale=None):\n    {body}\n"
    )
    assert check(3, load(3, text, tmp_path)).outcome == "not attempted"


def test_no_kernel_is_not_attempted():
    assert check(3, None).outcome == "not attempted"
    assert check(3, ...).outcome == "not attempted"


def kernel_3(tmp_path, *changes):
    return load(3, changed(solution(3), *changes), tmp_path)


END = "    return o\n"
REPORTS = [
    ("returns nothing", [(END, "")], "wrong", "returns nothing"),
    (
        "NumPy inside",
        [(END, "    import numpy as np\n    return np.zeros((1, d), np.float32)\n")],
        "wrong",
        "NumPy value",
    ),
    ("two outputs", [(END, "    return o, o\n")], "wrong", "returns 2 values"),
    (
        "shape",
        [
            ("o = nl.ndarray((1, d)", "o = nl.ndarray((d, 1)"),
            ("nl.store(o, value=o_tile)", "nl.store(o, value=nisa.nc_transpose(o_tile))"),
        ],
        "wrong",
        "The output has shape (64, 1), expected (1, 64)",
    ),
    (
        "dtype",
        [("o = nl.ndarray((1, d), dtype=q.dtype", "o = nl.ndarray((1, d), dtype=nl.bfloat16")],
        "wrong",
        "The output is bfloat16, expected float32",
    ),
    (
        "own assertion",
        [("assert n > 0 and", "assert n > 5000 and")],
        "wrong",
        "The kernel refuses an input that the stage allows",
    ),
    (
        "exception",
        [("    q_tile = nl.load(q)", "    q_tile = nl.load(qq)")],
        "wrong",
        "NameError: name 'qq' is not defined, line ",
    ),
    (
        "unwritten",
        [("    nl.store(o, value=o_tile)\n", "")],
        "wrong",
        "the output 'o' of decode_attention_fwd is never written",
    ),
    (
        "out of bounds",
        [("k[:, nl.ds(i * TILE, TILE)]", "k[:, nl.ds(i * TILE + 1, TILE)]")],
        "wrong",
        "out of bounds for axis 1 of 'k'",
    ),
    (
        "HBM operand",
        [("nisa.nc_matmul(q_tile, k_tile)", "nisa.nc_matmul(q, k_tile)")],
        "wrong",
        "lies in hbm",
    ),
    (
        "recursion",
        [("    q_tile = nl.load(q)", "    decode_attention_fwd(q, k, v)\n    q_tile = nl.load(q)")],
        "wrong",
        "calls itself without end",
    ),
]


@pytest.mark.parametrize(
    ("changes", "outcome", "words"), [r[1:] for r in REPORTS], ids=[r[0] for r in REPORTS]
)
def test_a_kernel_that_gives_no_answer_is_told_why_in_one_sentence(
    changes, outcome, words, tmp_path
):
    verdict = check(3, kernel_3(tmp_path, *changes))
    assert verdict.outcome == outcome
    assert words in verdict.sentence
    assert "\n" not in verdict.sentence
    assert verdict.counters == ()


def test_a_kernel_that_writes_its_input_is_refused(tmp_path):
    verdict = check(
        3,
        kernel_3(
            tmp_path,
            (
                "nl.store(o, value=o_tile)",
                "nl.store(o, value=o_tile)\n    nl.store(q, value=q_tile)",
            ),
        ),
    )
    assert verdict.outcome == "wrong"
    assert "q" in verdict.sentence and "input" in verdict.sentence


def test_an_illegal_access_comes_before_a_wrong_value(tmp_path):
    verdict = check(
        3,
        kernel_3(
            tmp_path,
            ("nisa.nc_matmul(q_tile, k_tile)", "nisa.nc_matmul(q, k_tile)"),
            ("operand0=m_new", "operand0=m"),
        ),
    )
    assert verdict.cause == "illegal access"


def test_an_operand_in_psum_is_right_and_told_of_the_copy_that_the_compiler_makes(tmp_path):
    copied = "v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))"
    verdict = check(3, kernel_3(tmp_path, (copied, "v_t = nisa.nc_transpose(v_tile)")))
    assert verdict.outcome == "correct"
    assert any("compiler" in note for note in verdict.notes)


def test_an_illegal_access_in_one_family_comes_before_an_unwritten_output_in_another(tmp_path):
    verdict = check(
        3,
        kernel_3(
            tmp_path,
            (
                "    nl.store(o, value=o_tile)\n",
                "    if n > 512:\n        pass\n    else:\n        nl.store(o, "
                "value=nl.load(k[0:1, n : n + d]))\n",
            ),
        ),
    )
    assert verdict.cause == "illegal access"


def test_a_wrong_value_comes_before_cost(tmp_path):
    verdict = check(
        3,
        load(
            3,
            changed(
                solution(2), ("op0=nl.subtract, operand0=m))", "op0=nl.subtract, operand0=0.0))")
            ),
            tmp_path,
        ),
    )
    assert verdict.cause == "no max subtraction"
    assert check(3, load(3, solution(2), tmp_path)).cause == "read too often"


def test_needless_traffic_is_named(tmp_path):
    text = changed(
        solution(3),
        (
            "        pv = nisa",
            "        nl.store(spill[:, nl.ds(i * TILE, TILE)], value=p)\n        pv = nisa",
        ),
        (
            "    q_tile = nl.load(q)",
            "    spill = nl.ndarray((1, n), dtype=nl.float32, buffer=nl.private_hbm)\n    q_tile "
            "= nl.load(q)",
        ),
    )
    verdict = check(3, load(3, text, tmp_path))
    assert verdict.cause == "needless HBM traffic"
    assert "keep intermediate tiles in SBUF" in verdict.sentence


def test_a_plain_function_is_told_to_be_a_kernel():
    def decode_attention_fwd(q, k, v, softmax_scale=None):
        return get(3).oracle(q, k, v, softmax_scale).astype(F32)

    verdict = check(3, decode_attention_fwd)
    assert (verdict.outcome, verdict.exit_code) == ("unusable", 2)
    assert verdict.sentence == (
        "decode_attention_fwd is a plain Python function, not a kernel: put @nki.jit above it."
    )


def test_another_signature_is_unusable(tmp_path):
    import neuronxcc.nki as nki

    @nki.jit
    def decode_attention_fwd(q, k):
        return q

    verdict = check(3, decode_attention_fwd)
    assert verdict.outcome == "unusable"
    assert verdict.sentence == (
        "decode_attention_fwd(q, k) cannot be called as decode_attention_fwd(q, k, v, "
        "softmax_scale=None)."
    )
    assert check(3, 7).outcome == "unusable"


def test_the_stages_own_arguments_in_another_order_are_wrong():
    import neuronxcc.nki as nki

    @nki.jit
    def decode_attention_fwd(k, v, q, softmax_scale=None):
        return q

    verdict = check(3, decode_attention_fwd)
    assert verdict.outcome == "wrong"
    assert verdict.sentence == (
        "decode_attention_fwd(k, v, q, softmax_scale=None) takes its arguments in another order "
        "than decode_attention_fwd(q, k, v, softmax_scale=None)."
    )


def test_other_parameter_names_do_for_positional_arguments(tmp_path):
    text = changed(
        solution(4),
        ("(q, k, v, softmax_scale=None)", "(query, keys, values, softmax_scale=None)"),
        ("    assert len(k.shape)", "    q, k, v = query, keys, values\n    assert len(k.shape)"),
    )
    assert check(4, load(4, text, tmp_path)).ok


def test_a_kernel_that_reads_nothing_is_wrong(tmp_path):
    import neuronxcc.nki as nki
    import neuronxcc.nki.language as nl

    @nki.jit
    def decode_attention_fwd(q, k, v, softmax_scale=None):
        out = nl.ndarray((1, k.shape[0]), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, nl.zeros((1, k.shape[0]), dtype=nl.float32))
        return out

    assert "reads nothing from HBM" in check(3, decode_attention_fwd).sentence


def test_there_is_no_such_stage():
    with pytest.raises(
        StageError, match="There is no stage '42'; the stages are: 0 first_kernel, 1 single_tile"
    ):
        check(42, None)


def test_a_stage_goes_by_number_and_by_name(tmp_path):
    kernel = load(1, solution(1), tmp_path)
    assert {
        check(key, kernel).outcome
        for key in (1, "1", "single_tile", "stage1_single_tile", "stage1")
    } == {"correct"}


def test_nothing_is_raised_unless_asked_for(tmp_path):
    blank = load(1, get(1).blank, tmp_path)
    check(1, blank)
    with pytest.raises(CheckFailed, match="not attempted"):
        check(1, blank, raise_on_fail=True)


def test_the_verdict_reads_the_same_every_time(tmp_path):
    kernel = load(4, solution(4), tmp_path)
    assert repr(check(4, kernel)) == repr(check(4, kernel)) == GOLDEN


GOLDEN = """\
stage 4 gqa: correct
The output agrees with the float64 oracle on all 27 input families.

counted on trn2 (simulated)    yours  minimum
HBM bytes read               526,336  526,336
HBM bytes written              2,048    2,048
DMA transfers                     20       20
matmuls                           16       16
transposes                        16       16
peak SBUF bytes               67,616   67,616
peak PSUM bytes               32,768   32,768"""


def test_a_verdict_is_plain_data(tmp_path):
    wrong = kernel_3(
        tmp_path,
        (
            "nisa.tensor_tensor(m, m_new, op=nl.subtract)",
            "nisa.tensor_tensor(m_new, m, op=nl.subtract)",
        ),
    )
    found = check(3, wrong).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["outcome"], found["cause"], found["details"]["got"]) == (
        "wrong",
        "alpha inverted",
        "nan",
    )


# -- the reader's own inputs


def one_head(n=256, **changes):
    rng = np.random.default_rng(0)
    made = {
        name: rng.standard_normal(shape).astype(F32)
        for name, shape in {"q": (64, 1), "k": (64, n), "v": (64, n)}.items()
    }
    return made | changes


def test_own_inputs_are_checked_alone(tmp_path):
    kernel = load(3, solution(3), tmp_path)
    inputs = one_head()
    for given in (inputs, tuple(inputs.values()), inputs | {"softmax_scale": 0.25}):
        verdict = check(3, kernel, inputs=given)
        assert verdict.ok
        assert verdict.families == ("your input",)


def with_value(value):
    k = one_head()["k"].copy()
    k[3, 17] = value
    return one_head(k=k)


BAD = [
    (
        one_head(q=np.zeros((64, 2), F32)),
        "q must be (d, 1) = (64, 1) to fit k (64, 256), got (64, 2).",
    ),
    (
        one_head(v=np.zeros((64, 128), F32)),
        "k and v must have the same shape, got (64, 256) and (64, 128).",
    ),
    (one_head(n=0), "the cache is empty (n = 0): a softmax over no keys is not defined."),
    (one_head(n=100), "n must be a multiple of 128 keys at this stage, got 100."),
    (one_head(q=np.zeros((64, 1))), "q must be float32 at this stage, got float64."),
    (one_head(q=[1.0]), "q must be a NumPy array, got list."),
    (one_head(q=np.zeros((64,), F32)), "q must have 2 axes, got 1: (64,)."),
    (
        with_value(np.nan),
        "k holds NaN at [3, 17]: attention over it is not a number, so there is nothing to check.",
    ),
    (
        with_value(np.inf),
        "k holds infinity at [3, 17]: attention over it is not a number, so there is nothing to "
        "check.",
    ),
    (one_head(softmax_scale="big"), "softmax_scale must be a number or None, got str."),
    (one_head(w=1), "decode_attention_fwd has no parameter 'w'; it takes q, k, v."),
    ({"q": np.zeros((64, 1), F32)}, "k is missing: decode_attention_fwd takes q, k, v."),
    ([np.zeros((64, 1), F32)], "decode_attention_fwd takes q, k, v, got 1 inputs."),
]


@pytest.mark.parametrize(("inputs", "sentence"), BAD, ids=[sentence[:30] for _, sentence in BAD])
def test_bad_input_gets_one_sentence(inputs, sentence, tmp_path):
    verdict = check(3, load(3, solution(3), tmp_path), inputs=inputs)
    assert (verdict.outcome, verdict.exit_code, verdict.sentence) == ("unusable", 2, sentence)


def test_bad_heads_get_one_sentence(tmp_path):
    kernel = load(4, solution(4), tmp_path)
    verdict = check(
        4,
        kernel,
        inputs=(np.zeros((64, 3), F32), np.zeros((2, 64, 128), F32), np.zeros((2, 64, 128), F32)),
    )
    assert verdict.sentence == "Hq must be a multiple of Hkv, got Hq = 3 and Hkv = 2."
    verdict = check(0, load(0, solution(0), tmp_path), inputs=(np.zeros((64, 128), F32), 2.0))
    assert verdict.sentence == "x must be a (128, n) array, got (64, 128)."


def test_a_function_that_launches_a_kernel_is_checked_like_one(tmp_path):
    import neuronxcc.nki as nki

    kernel = load(3, solution(3), tmp_path)

    def decode_attention_fwd(q, k, v, softmax_scale=None):
        return nki.simulate_kernel(kernel, q, k, v, softmax_scale)

    assert check(3, decode_attention_fwd).ok


def test_a_kernel_without_its_decorator_is_told_so(tmp_path):
    verdict = check(3, load(3, changed(solution(3), ("@nki.jit\n", "")), tmp_path))
    assert verdict.outcome == "unusable"
    assert "put @nki.jit above it" in verdict.sentence


def test_a_right_kernel_that_names_nothing_is_told_what_naming_would_give(tmp_path):
    verdict = check(3, load(3, unnamed(solution(3)), tmp_path))
    assert verdict.ok
    assert any("names no state" in note for note in verdict.notes)


def test_a_kernel_that_costs_too_much_and_takes_long_is_not_run_on_all_inputs(tmp_path):
    _, base, changes, cause, _ = wrong_paged.WRONG["8 loads"]
    verdict = check(8, load(8, changed(base, *changes), tmp_path))
    assert verdict.cause == cause
    assert verdict.family == get(8).cost_case
    assert len(verdict.families) < 10
    assert verdict.notes == (
        f"note: run on {len(verdict.families)} of {len(get(8).cases())} inputs, as the first cost "
        "too much already.",
    )


def test_a_kernel_that_costs_too_much_and_is_soon_run_is_run_on_all_inputs(tmp_path):
    verdict = check(3, load(3, solution(2), tmp_path))
    assert verdict.cause == "read too often"
    assert set(verdict.families) >= {case.family for case in get(3).cases()}
    assert verdict.notes == ()


def test_a_kernel_that_is_known_to_be_wrong_and_takes_long_is_run_no_more(tmp_path, monkeypatch):
    wrong = changed(solution(1), ("nl.store(o, value=o_tile)", "nl.store(o, value=acc)"))
    whole = check(1, load(1, wrong, tmp_path))
    monkeypatch.setattr(sys.modules["tutorial.check"], "LONG", 0)
    short = check(1, load(1, wrong, tmp_path))
    assert len(short.families) == 1 < len(whole.families)
    assert (short.outcome, short.cause) == (whole.outcome, whole.cause)
    assert len(check(1, load(1, solution(1), tmp_path)).families) > len(whole.families)
