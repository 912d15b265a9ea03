"""Stage 5: wrong kernels of a batch caught with their own sentences, other right styles, lengths,
and what max_length saves."""

from __future__ import annotations

import numpy as np
import pytest

import nkisim
from nkisim.program import instruction
from tests.tutorial.diagnosis import wrong_ragged
from tests.tutorial.kernels import changed, load, refused, solution, style, unnamed
from tutorial import broken, check, get, trace
from tutorial.reference.attention import Attention
from tutorial.stage import InputError

STYLES = ("where", "columns", "guarded", "three_pass")
UNNAMED = (
    "5 padding scored 0",
    "5 after the max, where",
    "5 V raw",
    "5 too long",
    "5 too short",
    "5 state carried",
    "5 inf - inf",
    "5 divides by 0",
    "5 lengths ignored",
    "5 first length",
    "5 l not rescaled",
)


@pytest.mark.parametrize("name", wrong_ragged.WRONG)
def test_a_wrong_kernel_of_a_batch_is_caught_with_its_own_sentence(name, tmp_path):
    refused(wrong_ragged.WRONG[name], tmp_path)


@pytest.mark.parametrize("name", UNNAMED)
def test_a_wrong_kernel_of_a_batch_that_names_nothing_is_caught_too(name, tmp_path):
    refused(wrong_ragged.WRONG[name], tmp_path, named=False)


@pytest.mark.parametrize("name", STYLES)
def test_a_right_kernel_of_a_batch_in_another_style_is_right(name, tmp_path):
    for text in (style(f"stage5_{name}"), unnamed(style(f"stage5_{name}"))):
        verdict = check(5, load(5, text, tmp_path))
        assert verdict.ok, verdict.sentence


@pytest.mark.parametrize("name", ["where", "columns", "guarded"])
def test_the_trace_is_the_oracles_for_every_sequence_in_another_style(name, tmp_path):
    stage, kernel = get(5), load(5, style(f"stage5_{name}"), tmp_path)
    for family in ("ascending", "padding: NaN"):
        case = stage.case(family)
        attention = stage.attention(case)
        made = trace(5, kernel, family).only(range(attention.n_q_heads))
        width = made.rows[0].last_key + 1
        want = stage.states(attention, width)
        for row in made.rows:
            if want.known[row.tile, row.head]:
                assert row.l == pytest.approx(want.l[row.tile, row.head], rel=2e-5)
                assert row.m_new == pytest.approx(want.m[row.tile, row.head], rel=2e-5)


def test_a_head_of_a_sequence_is_shown_by_a_pair(tmp_path):
    made = trace(5, load(5, solution(5), tmp_path), "random")
    assert made.only([(3, 1)]).heads == (3 * 4 + 1,)
    assert "sequence 3, head 1" in str(made.only([(3, 1)]))


def test_no_tile_beyond_the_longest_length_is_read_where_it_is_known_at_build_time(tmp_path):
    kernel = load(5, solution(5), tmp_path)
    case = get(5).case("max_length = 130")
    size = case.args["k"].nbytes // case.args["k"].shape[-1]
    for most, keys in ((1, 128), (128, 128), (129, 256), (130, 256), (1000, 1024), (None, 1024)):
        with nkisim.record() as run:
            kernel(*case.args.values(), max_length=most)
        assert run.hbm_reads["k"] == size * keys
        assert run.hbm_reads["v"] == size * keys


def test_a_kernel_that_takes_max_length_and_reads_on_is_told_so(tmp_path):
    text = changed(
        solution(5), ("longest = n if max_length is None else max_length", "longest = n")
    )
    verdict = check(5, load(5, text, tmp_path))
    assert verdict.family == "max_length = 130"
    assert "bytes from HBM where" in verdict.sentence


@pytest.mark.parametrize(
    ("changes", "family", "said"),
    [
        ("else lenghts", "max_length = 130", "raises NameError: name 'lenghts' is not defined"),
        ("else max_length - 1", "max_length = 257", "the loop does not visit all keys"),
    ],
)
def test_a_kernel_that_takes_max_length_and_fails_with_it_is_wrong(changes, family, said, tmp_path):
    text = changed(solution(5), ("else max_length\n", f"{changes}\n"))
    verdict = check(5, load(5, text, tmp_path))
    assert (verdict.outcome, verdict.family) == ("wrong", family)
    assert said in verdict.sentence


def test_a_kernel_may_refuse_max_length(tmp_path):
    text = changed(solution(5), ("longest = n if", "assert max_length is None\n    longest = n if"))
    assert check(5, load(5, text, tmp_path)).ok


def test_the_trace_shows_the_tiles_that_were_read_where_the_last_keys_are_skipped(tmp_path):
    kernel = load(
        5, changed(solution(5), ("math.ceil(longest / TILE)", "longest // TILE")), tmp_path
    )
    rows = trace(5, kernel, "random").only([(5, 0)]).rows
    assert [row.keys for row in rows] == ["0..127", "128..255", "256..299"]
    assert rows[1].l is not None and rows[2].m_new is rows[2].l is None
    said = check(5, kernel).sentence
    assert "tile 2, sequence 5, head 0: l is not updated, expected 27.6." in said


def test_a_kernel_without_max_length_is_right(tmp_path):
    text = changed(
        solution(5),
        ("softmax_scale=None, max_length=None", "softmax_scale=None"),
        ("n if max_length is None else max_length", "n"),
        ("got {max_length}", "got"),
    )
    assert check(5, load(5, text, tmp_path)).ok


@pytest.mark.parametrize("padding", [np.nan, np.inf, -np.inf, 1e4, -1e4, 3e38])
def test_no_length_and_no_padding_ever_gives_nan(padding, tmp_path):
    kernel = load(5, solution(5), tmp_path)
    rng = np.random.default_rng(5)
    for n in (1, 100, 128, 200):
        lengths = np.array([[0], [1], [n // 2], [n]], np.int32)
        q, k, v = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((4, 32, 2), (4, 1, 32, n), (4, 1, 32, n))
        )
        for b, length in enumerate(lengths[:, 0]):
            k[b, :, :, length:] = v[b, :, :, length:] = padding
        o = kernel(q, k, v, lengths)
        expected = get(5).oracle(q, k, v, lengths)
        np.testing.assert_allclose(o, expected, atol=1e-5)
        assert not o[0].any()


BAD = [
    ({"lengths": np.array([[1.0], [2.0]], np.float32)}, "lengths must be a NumPy array of int32"),
    ({"lengths": np.array([1, 2], np.int32)}, "lengths must be (B, 1)"),
    ({"lengths": np.array([[1], [9]], np.int32)}, "a length must be 0 to n = 8, got 9"),
    ({"lengths": np.array([[-1], [2]], np.int32)}, "a length must be 0 to n = 8, got -1"),
    ({"max_length": 0}, "max_length must be 1 to n"),
    ({"max_length": 1}, "a length must be 0 to max_length = 1, got 2"),
    ({"q": np.zeros((2, 4, 3), np.float32)}, "Hq must be a multiple of Hkv"),
    ({"q": np.zeros((3, 4, 2), np.float32)}, "q must be (B, d, Hq)"),
    ({"v": np.zeros((2, 2, 4, 7), np.float32)}, "k and v must have the same shape"),
]


@pytest.mark.parametrize(("wrong", "words"), BAD, ids=[words for _, words in BAD])
def test_an_input_that_is_no_batch_is_refused_with_one_sentence(wrong, words):
    inputs = {
        "q": np.zeros((2, 4, 2), np.float32),
        "k": np.zeros((2, 2, 4, 8), np.float32),
        "v": np.zeros((2, 2, 4, 8), np.float32),
        "lengths": np.array([[1], [2]], np.int32),
    }
    with pytest.raises(InputError) as caught:
        get(5).custom_case({**inputs, **wrong})
    assert words in str(caught.value)


def test_nan_is_allowed_in_the_padding_and_refused_before_it():
    k = np.zeros((1, 1, 4, 8), np.float32)
    inputs = {
        "q": np.zeros((1, 4, 1), np.float32),
        "k": k,
        "v": k.copy(),
        "lengths": np.array([[3]], np.int32),
    }
    k[..., 3:] = np.nan
    get(5).custom_case(inputs)
    k[..., 2] = np.nan
    with pytest.raises(InputError, match="k of sequence 0 holds NaN"):
        get(5).custom_case(inputs)


def test_a_last_tile_of_padding_changes_nothing():
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal((2, 4)),
        rng.standard_normal((1, 4, 10)),
        rng.standard_normal((1, 4, 10)),
    )
    ragged = Attention(q, k, v, 0.5, lengths=np.array([7]))
    whole = Attention(q, k[:, :, :7], v[:, :, :7], 0.5)
    for width in (3, 4, 10, 64):
        ours, theirs = get(5).states(ragged, width), get(5).states(whole, 7)
        np.testing.assert_allclose(
            ours.acc[-1] / ours.l[-1][:, None], theirs.acc[-1] / theirs.l[-1][:, None]
        )


def test_the_trace_of_a_kernel_whose_max_is_wrong_keeps_the_kernels_own_tiles():
    """Several updates of m are several tiles, even where only the last of them would fit one wide
    tile."""
    text = str(trace(5, broken(5), "huge scores at the edge").only([(1, 0)]))
    assert [line.split()[1] for line in text.splitlines()[3:6]] == [
        "0..127",
        "128..255",
        "256..299",
    ]


def test_the_instructions_of_a_run_are_made_once_for_a_diagnosis(tmp_path, monkeypatch):
    made, runs = [], {}
    real, listed = instruction.instruction, nkisim.Run.instructions.fget
    monkeypatch.setattr(
        instruction, "instruction", lambda at, record: made.append(at) or real(at, record)
    )
    monkeypatch.setattr(
        nkisim.Run, "instructions", property(lambda run: runs.update({id(run): run}) or listed(run))
    )
    number, base, changes, cause, _ = wrong_ragged.WRONG["5 scores not masked"]
    assert check(number, load(number, changed(base, *changes), tmp_path)).cause == cause
    in_all = sum(len(run) for run in runs.values())
    assert 0 < len(made) < 1.1 * in_all  # a few are looked at again, by their index
