"""The state trace: its text, its numbers, and that it reads every right style of kernel the same
way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.tutorial.kernels import changed, load, solution, style, unnamed
from tutorial import TraceError, get, stages
from tutorial.reference.attention import online_states, pass_states
from tutorial.reference.text import number, short, table
from tutorial.stage import InputError, StageError
from tutorial.trace import trace

# the others: separate tests
ATTENTION = [s.number for s in stages() if s.attention is not None and not s.known]

ONLINE = """\
stage 3 online_softmax, input family: ascending, on trn2 (simulated)
tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|
   0  0..127        2.15        -inf      2.15    0.0000     36.504   26.899
   1  128..255      3.43        2.15      3.43    0.2788     51.771   38.189
   2  256..383      5.15        3.43      5.15    0.1782     47.067   36.331
   3  384..511      6.58        5.15      6.58    0.2408     49.759   34.299
   4  512..639      8.06        6.58      8.06    0.2258     51.991   33.340
   5  640..767      9.76        8.06      9.76    0.1843     42.644   26.665
   6  768..895     10.87        9.76     10.87    0.3291     62.279   37.426
   7  896..1023    12.53       10.87     12.53    0.1897     52.268   28.524"""
PASSES = """\
stage 2 kv_tiling, input family: ascending, on trn2 (simulated)
tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|
   0  0..127        2.15        -inf      2.15         -     0.0011    0.001
   1  128..255      3.43        2.15      3.43         -     0.0058    0.004
   2  256..383      5.15        3.43      5.15         -     0.0294    0.023
   3  384..511      6.58        5.15      6.58         -     0.1293    0.089
   4  512..639      8.06        6.58      8.06         -     0.5982    0.384
   5  640..767      9.76        8.06      9.76         -     2.6630    1.665
   6  768..895     10.87        9.76     10.87         -     11.817    7.101
   7  896..1023    12.53       10.87     12.53         -     52.268   28.524"""
GROUPED = """\
stage 4 gqa, input family: ascending, on trn2 (simulated)
head 1
tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|
   0  0..127        3.65        -inf      3.65    0.0000     29.662   27.617
   1  128..255      6.83        3.65      6.83    0.0415     25.797   24.350
   2  256..383      9.82        6.83      9.82    0.0501     26.631   25.274
   3  384..511     13.02        9.82     13.02    0.0407     21.028   17.754
head 6
tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|
   0  0..127        3.89        -inf      3.89    0.0000     29.049   26.789
   1  128..255      6.98        3.89      6.98    0.0456     28.293   23.484
   2  256..383      9.82        6.98      9.82    0.0583     32.131   35.587
   3  384..511     13.06        9.82     13.06    0.0394     25.920   24.858
(6 more heads: .only([...]) shows them)"""
SINGLE = """\
stage 1 single_tile, input family: ascending, on trn2 (simulated)
tile  keys       tile max     m_old ->    m_new    alpha          l    |acc|
   0  0..127       11.99        -inf     11.99    0.0000     10.043   20.250"""


def of(n, text, folder, family=None):
    return trace(n, load(n, text, folder), family)


@pytest.mark.parametrize(
    ("n", "heads", "text"),
    [(1, None, SINGLE), (2, None, PASSES), (3, None, ONLINE), (4, (1, 6), GROUPED)],
)
def test_the_trace_of_a_solution_reads_like_this(n, heads, text, tmp_path):
    made = of(n, solution(n), tmp_path)
    assert str(made if heads is None else made.only(heads)) == text


@pytest.mark.parametrize("n", ATTENTION)
def test_the_numbers_are_the_oracles_on_every_family(n, tmp_path):
    stage, kernel = get(n), load(n, solution(n), tmp_path)
    for case in stage.cases():
        attention = stage.views(stage.attention(case))[0]
        columns = trace(n, kernel, inputs={**case.args, **case.options})
        columns = columns.only(range(attention.n_q_heads)).to_dict()
        want = stage.states(attention, min(128, attention.n))
        known = want.known
        if attention.starts:  # rows end with their split
            known &= 128 * np.arange(len(known))[:, None] < attention.row_lengths
        for name, expected in (
            ("tile_max", want.tile_max),
            ("m_new", want.m),
            ("l", want.l),
            ("acc", np.linalg.norm(want.acc, axis=2)),
        ):
            got = np.full(expected.shape, np.nan)
            got[columns["tile"], columns["head"]] = columns[name]
            np.testing.assert_allclose(
                got[known], expected[known], rtol=2e-5, atol=1e-30, err_msg=f"{case.family} {name}"
            )


@pytest.mark.parametrize("n", ATTENTION)
def test_the_numpy_twin_has_the_same_trace(n, tmp_path):
    stage = get(n)
    twin = trace(n, stage.twin, "random")
    kernel = of(n, solution(n), tmp_path, "random")
    ours, theirs = twin.to_dict(), kernel.to_dict()
    assert ours["first_key"] == theirs["first_key"] and ours["head"] == theirs["head"]
    for name in ("m_new", "l", "acc"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
    assert "NumPy twin" in str(twin)


def body(text):
    """The table without its caption and notes."""
    return [line for line in str(text).splitlines() if line[:4].strip().isdigit()]


# Styles of the stage 3 solution that must give the same rows.
LOW = [("nl.fp32.min", start) for start in ("-1e30", "-30000.0", "float('-inf')")]
STYLES = {
    **{f"start {start}": [(old, start)] for old, start in LOW},
    "row of 128": [
        (
            'm = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")',
            "m = nl.full((1, 1), nl.fp32.min, dtype=nl.float32)\n"
            '    wide = nl.full((128, 1), -1e30, dtype=nl.float32, name="m")',
        ),
        (
            "m[...] = m_new",
            "m[...] = m_new\n        wide[...] = nl.broadcast_to(m_new, shape=(128, 1))",
        ),
    ],
    "two updates a tile": [
        (
            "        l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, "
            "operand1=l_tile)",
            "        l[...] = nl.multiply(l, alpha)\n        l[...] = nl.add(l, l_tile)",
        )
    ],
    "acc divided at the end": [
        (
            "    o_tile = nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))",
            "    acc[...] = nl.divide(acc, l)\n    o_tile = nisa.tensor_copy(acc)",
        )
    ],
    "first tile apart": [('name="m")', 'name="m")\n    m[...] = -1e30')],
}


@pytest.mark.parametrize("name", STYLES)
def test_a_right_kernel_in_another_style_has_the_same_rows(name, tmp_path):
    made = of(3, changed(solution(3), *STYLES[name]), tmp_path)
    expected = body(ONLINE)
    if name == "start -30000.0":
        expected[0] = expected[0].replace("  -inf", "-30000")
    assert body(made) == expected


def test_unscaled_maxima_are_understood(tmp_path):
    made = of(3, style("stage3_fused"), tmp_path)
    assert "(m is the max of the unscaled scores)" in str(made)
    columns, reference = made.to_dict(), of(3, solution(3), tmp_path).to_dict()
    np.testing.assert_allclose(np.array(columns["m_new"]) / 8, reference["m_new"])
    for name in ("alpha", "l", "acc"):
        np.testing.assert_allclose(columns[name], reference[name], rtol=1e-5)


@pytest.mark.parametrize("name", ["stage4_sliced", "stage4_rowwise", "stage4_per_head"])
def test_the_heads_are_found_however_they_are_kept(name, tmp_path):
    assert str(of(4, style(name), tmp_path).only((1, 6))) == GROUPED


def test_the_heads_may_come_in_any_order(tmp_path):
    text = changed(
        solution(4),
        (
            "for h in nl.affine_range(n_kv_heads):",
            "for turn in nl.affine_range(n_kv_heads):\n        h = n_kv_heads - 1 - turn\n",
        ),
    )
    assert str(of(4, text, tmp_path).only((1, 6))) == GROUPED


def test_the_trace_follows_the_kernels_own_tiles(tmp_path):
    text = changed(
        style("stage3_plain"),
        (
            "nl.full((1, 1), -3.0e38, dtype=nl.float32)",
            'nl.full((1, 1), -3.0e38, dtype=nl.float32, name="m")',
        ),
        (
            "run_sum = nl.zeros((1, 1), dtype=nl.float32)",
            'run_sum = nl.zeros((1, 1), dtype=nl.float32, name="l")',
        ),
        (
            "run_acc = nl.zeros((1, d), dtype=nl.float32)",
            'run_acc = nl.zeros((1, d), dtype=nl.float32, name="acc")',
        ),
    )
    assert body(of(3, text, tmp_path)) == [
        "   0  0..255        3.43        -inf      3.43    0.0000     51.771   38.189",
        "   1  256..511      6.58        3.43      6.58    0.0429     49.759   34.299",
        "   2  512..767      9.76        6.58      9.76    0.0416     42.644   26.665",
        "   3  768..1023    12.53        9.76     12.53    0.0624     52.268   28.524",
    ]


def test_the_only_update_of_a_kernel_that_skips_the_second_tile_is_the_firsts(tmp_path):
    text = solution(3).replace("n // TILE)", "n // TILE - 1)")
    rng = np.random.default_rng(3)
    sizes = {"q": (64, 1), "k": (64, 256), "v": (64, 256)}
    inputs = {name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    rows = trace(3, load(3, text, tmp_path), inputs=inputs).rows
    assert [(row.keys, row.l is None) for row in rows] == [("0..127", False), ("128..255", True)]


def test_a_max_that_is_made_once_holds_for_all_tiles(tmp_path):
    text = changed(
        style("stage2_two_pass"),
        (
            "    top = nl.max",
            "    top = nl.ndarray((1, 1), dtype=nl.float32, name='m')\n    top[...] = nl.max",
        ),
        (
            "total = nl.zeros((1, 1), dtype=nl.float32)",
            "total = nl.zeros((1, 1), dtype=nl.float32, name='l')",
        ),
    )
    made = of(2, text, tmp_path)
    assert made.to_dict()["m_new"] == pytest.approx([12.53125] * 4, abs=0.01)
    assert "(acc: not named, or not updated in place)" in str(made)
    assert made.to_dict()["acc"] == [None] * 4


def test_a_kernel_that_names_nothing_is_told_what_naming_would_give(tmp_path):
    made = of(3, unnamed(solution(3)), tmp_path)
    assert len(made) == 0
    assert 'name="m"' in str(made)
    with pytest.raises(TraceError, match="There is nothing to draw"):
        made.figure()


def test_a_wrong_kernel_shows_its_own_numbers(tmp_path):
    made = of(
        3,
        changed(
            solution(3),
            (
                "nisa.tensor_tensor(m, m_new, op=nl.subtract)",
                "nisa.tensor_tensor(m_new, m, op=nl.subtract)",
            ),
        ),
        tmp_path,
    )
    assert body(made)[0] == (
        "   0  0..127        2.15        -inf      2.15    0.0000        nan      nan"
    )


def test_state_that_goes_from_head_to_head_is_seen_to(tmp_path):
    text = changed(
        style("stage4_per_head"),
        ("        m[...] = -3e38\n        l[...] = 0.0\n        acc[...] = 0.0\n", ""),
    )
    columns = of(4, text, tmp_path).only(1).to_dict()
    assert columns["m_old"][0] == pytest.approx(12.12, abs=0.01)
    assert columns["alpha"][0] == 1.0


def test_real_data_can_be_traced(tmp_path):
    made = of(4, solution(4), tmp_path, "real data")
    assert made.n_heads == 9
    assert len(made.only(range(9))) == 9 * 8


def test_what_cannot_be_traced_says_so_and_raises_nothing(tmp_path):
    assert str(of(3, get(3).blank, tmp_path)) == "stage 3 online_softmax is not attempted yet."
    assert str(of(0, solution(0), tmp_path)) == (
        "stage 0 first_kernel keeps no running state: there is nothing to trace."
    )
    assert str(trace(3, None)) == "stage 3 online_softmax is not attempted yet."
    broken = of(
        3,
        changed(
            solution(3),
            ("nisa.nc_matmul(q_tile, k_tile)", "nisa.nc_matmul(q, k_tile)"),
        ),
        tmp_path,
    )
    assert "lies in hbm" in str(broken)
    assert (len(broken), broken.outcome) == (0, "wrong")


def test_what_is_not_there_to_trace_is_refused(tmp_path):
    kernel = load(3, solution(3), tmp_path)
    has = "has no input family 'rising'; it has: random; random, d = 128; "
    with pytest.raises(StageError, match=has):
        trace(3, kernel, "rising")
    with pytest.raises(InputError, match="q is missing"):
        trace(3, kernel, inputs={})
    with pytest.raises(ValueError, match="there is no head 8"):
        of(4, solution(4), tmp_path).only(8)


@pytest.mark.parametrize("n", ATTENTION)
def test_the_two_ways_to_sum_agree_after_the_last_tile(n):
    attention = get(n).attention(get(n).case("random"))
    width = min(128, attention.n)
    online, passes = online_states(attention, width), pass_states(attention, width)
    np.testing.assert_allclose(online.l[-1], passes.l[-1])
    np.testing.assert_allclose(online.acc[-1], passes.acc[-1])
    output = online.acc[-1] / np.where(online.known[-1], online.l[-1], 1.0)[:, None]  # no keys: 0
    expected = get(n).expected(get(n).case("random"))
    np.testing.assert_allclose(output, expected.reshape(output.shape))


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (-0.001, "0.00"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (2.125, "2.12"),
        (2.1249999, "2.12"),
        (2.1250001, "2.12"),
        (-30000.0, "-30000"),
    ],
)
def test_a_number_is_the_same_text_everywhere(x, text):
    assert number(x, 2) == text


def test_a_number_stays_in_its_column():
    for x in (1e30, -1e30, 12345678.0, -9999.5, 0.1):
        assert len(number(x, 2, 8)) < 8 or "e" in number(x, 2, 8)
    assert number(-1000.25, 2, 8) == "-1000.2"
    assert (short(-0.0), short(41.234), short(math.nan)) == ("0", "41.2", "nan")
    assert table(["a", "b"], [["x", "10"], ["long", "7"]]) == "a      b\nx     10\nlong   7"
