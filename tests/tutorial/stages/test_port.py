"""Stage 9: the port runs the same instructions as stage 4, and every mistake of a port is told with
its own sentence."""

from __future__ import annotations

import warnings

import pytest

import nkisim
from tests.asking import one_in
from tests.tutorial.diagnosis.wrong_port import PORT, QK_LINE, S9, WRONG
from tests.tutorial.kernels import changed, load, solution, style
from tutorial import broken, check, get, trace
from tutorial.cost.compare import compare
from tutorial.trace.states import named_state, state_of

RIGHT = ["language", "fused", "rowwise"]


@pytest.mark.parametrize("name", PORT)
def test_a_mistake_of_the_port_is_told_with_its_own_sentence(name, tmp_path):
    text, changes, cause, words = PORT[name]
    verdict = check(9, load(9, changed(text, *changes), tmp_path))
    assert (verdict.outcome, verdict.exit_code, verdict.cause) == ("wrong", 1, cause), (
        verdict.sentence
    )
    assert words in verdict.sentence
    assert "\n" not in verdict.sentence


@pytest.mark.parametrize("name", one_in(2, WRONG))
def test_the_wrong_kernels_of_stages_3_and_4_are_named_as_there(name, tmp_path):
    text, changes, cause, words = WRONG[name]
    verdict = check(9, load(9, changed(text, *changes), tmp_path))
    assert (verdict.outcome, verdict.cause) == ("wrong", cause), verdict.sentence
    assert words in verdict.sentence


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_port_in_another_style_is_right(name, tmp_path):
    verdict = check(9, load(9, style(f"stage9_{name}"), tmp_path))
    assert verdict.ok, verdict.sentence


@pytest.mark.parametrize(
    "change",
    [
        ("            nisa.tensor_copy(dst=m, src=m_new)\n", "            m[...] = m_new\n"),
        ("            nisa.tensor_copy(dst=m, src=m_new)\n", "            m = m_new\n"),
        (QK_LINE, QK_LINE.replace("dtype=nl.float32, buffer=nl.psum", "nl.float32, nl.psum")),
        ("moving=k_tile)", "moving=k_tile, accumulate=False)"),
        ("nisa.dma_copy(dst=q_tile, src=q[:, group])", "nisa.dma_copy(q_tile, q[:, group])"),
    ],
    ids=["assigned", "rebound", "positional ndarray", "accumulate=False", "positional dst"],
)
def test_a_right_port_may_differ_in_a_line(change, tmp_path):
    verdict = check(9, load(9, changed(S9, change), tmp_path))
    assert verdict.ok, verdict.sentence


# -- the same machine ------------------------------------------------------------------------------
def test_the_port_runs_the_same_instructions_and_gives_the_same_bits(tmp_path):
    old, new = load(4, solution(4), tmp_path), load(9, S9, tmp_path)
    for case in get(9).cases():
        found = compare(9, old, new, case.family)
        assert found.same, f"{case.family}\n{found}"
        first, second = found.runs
        assert len(first) == len(second)
        for a, b in zip(first.instructions, second.instructions, strict=True):
            assert (a.op, a.engine, [o[1:] for o in a.dst], [o[1:] for o in a.srcs]) == (
                b.op,
                b.engine,
                [o[1:] for o in b.dst],
                [o[1:] for o in b.srcs],
            )
            assert (a.hbm_bytes_read, a.hbm_bytes_written) == (
                b.hbm_bytes_read,
                b.hbm_bytes_written,
            )


def test_the_port_has_the_trace_of_stage_4(tmp_path):
    old, new = load(4, solution(4), tmp_path), load(9, S9, tmp_path)
    for family in ("ascending", "rows of different scale", "random, Hq = 6, one tile", "real data"):
        ours, theirs = trace(9, new, family), trace(4, old, family)
        assert len(ours) == len(theirs) > 0
        assert ours.to_dict() == theirs.to_dict()
        assert str(ours).splitlines()[1:] == str(theirs).splitlines()[1:]


@pytest.mark.parametrize("name", ["fused", "rowwise", "per_head"])
def test_the_trace_is_read_in_every_style(name, tmp_path):
    ours = trace(9, load(9, style(f"stage9_{name}"), tmp_path)).only([1, 6])
    theirs = trace(9, load(9, S9, tmp_path)).only([1, 6])
    assert str(ours) == str(theirs)


def test_the_modelled_time_of_the_port_is_that_of_stage_4(tmp_path):
    old, new = compare(9, load(4, solution(4), tmp_path), load(9, S9, tmp_path)).runs
    assert new.timeline().latency_us == old.timeline().latency_us


def test_the_comparison_reads_like_this(tmp_path):
    for name in ("old", "new"):  # each its own file, since the text of both is read
        (tmp_path / name).mkdir()
    found = compare(9, load(4, solution(4), tmp_path / "old"), load(9, S9, tmp_path / "new"))
    assert (
        found.text(shown=7)
        == """\
stage 9 port, q (64, 8), k (2, 64, 512), v (2, 64, 512), on trn2 (simulated)
#   engine  operation               writes                                   reads  HBM bytes
0  VectorE     memset     4x1 sbuf float32                                a number          0
1  VectorE     memset     4x1 sbuf float32                                a number          0
2  VectorE     memset    4x64 sbuf float32                                a number          0
3      DMA   dma_copy    64x4 sbuf float32                        64x4 hbm float32      1,024
4      DMA   dma_copy  64x128 sbuf float32                      64x128 hbm float32     32,768
5      DMA   dma_copy  64x128 sbuf float32                      64x128 hbm float32     32,768
6  TensorE  nc_matmul   4x128 psum float32  64x4 sbuf float32, 64x128 sbuf float32          0
(167 more)
174 and 174 instructions: one by one the same engine, operation, shapes, memories, data types \
and HBM bytes.
m, l, acc: the same bits after each of 4 tiles, for all 8 query heads.
output: the same bits."""
    )
    lines = found.lines()
    assert (
        "VectorE tensor_tensor, ScalarE activation\n    old  alpha = nisa.activation(nl.exp, "
        "nisa.tensor_tensor("
    ) in lines
    assert (
        "    new  nisa.nc_transpose(dst=p_t_psum, data=p)\n         nisa.tensor_copy(dst=p_t, "
        "src=p_t_psum)"
    ) in lines
    assert lines.count("nisa.nc_matmul(dst=pv,") == 1


def test_the_comparison_names_the_first_instruction_that_differs(tmp_path):
    found = compare(9, load(4, solution(4), tmp_path), broken(9))
    assert (found.same, found.differing) == (False, 26)
    assert "instruction 26 is the first that differs; there are 174 and 174." in str(found)
    assert "m, l, acc: not equal after every tile." in str(found)
    shorter = compare(
        9,
        load(4, solution(4), tmp_path),
        load(
            9,
            changed(
                S9, ("            nisa.tensor_copy(dst=m, src=m_new)\n", "            m = m_new\n")
            ),
            tmp_path,
        ),
    )
    assert shorter.same is False


def test_what_cannot_be_compared_says_why(tmp_path):
    found = compare(9, load(4, solution(4), tmp_path), load(9, get(9).blank, tmp_path))
    assert str(found) == found.lines() == "stage 9 port is not attempted yet."
    assert found.same is None


# -- what is said besides --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("softmax_scale == None", "softmax_scale is None"),
            "uses is and is not, which the NKI compiler does not take",
        ),
        (("buffer=nl.shared_hbm", "buffer=nl.private_hbm"), "lies in private HBM"),
        (
            (
                "            nisa.nc_matmul(dst=qk_psum",
                "            nisa.memset(dst=qk_psum, value=0.0)\n            "
                "nisa.nc_matmul(dst=qk_psum",
            ),
            "no matmul wrote what is there",
        ),
    ],
    ids=["is", "private HBM", "memset before a matmul"],
)
def test_what_only_the_compiler_refuses_is_a_note_and_no_warning(change, words, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", nkisim.RuleWarning)
        verdict = check(9, load(9, changed(S9, change), tmp_path))
    assert verdict.ok
    assert len([note for note in verdict.notes if words in note]) == 1


def test_a_blank_in_this_dialect_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", nkisim.RuleWarning)
        assert check(9, load(9, get(9).blank, tmp_path)).outcome == "not attempted"


def test_a_kernel_of_stage_4_may_be_written_in_either_dialect(tmp_path):
    assert check(4, load(4, S9, tmp_path)).ok


def test_a_kernel_behind_nki_simulate_is_checked_like_one(tmp_path):
    import nki

    kernel = load(9, S9, tmp_path)

    def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
        return nki.simulate(kernel)(q, k, v, softmax_scale)

    assert check(9, decode_attention_gqa_fwd).ok


def test_state_is_found_by_numbered_names():
    assert [
        state_of(name)
        for name in ("m", "m_0", "l12", "acc[3]", "acc_1_2", "m_new", "alpha", "lm", "")
    ] == ["m", "m", "l", "acc", "acc", None, None, None, None]
    assert named_state(["m_0", "m_1", "l", "l_0", "p"]) == {"m": ["m_0", "m_1"], "l": ["l"]}


def test_the_broken_kernel_is_what_its_stage_says():
    verdict = check(9, broken(9))
    assert verdict.cause == get(9).broken.cause
