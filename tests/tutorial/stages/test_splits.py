"""Stage 6: the algebra of the merge, wrong kernels caught with their own sentences, other right
styles, bytes and modelled time."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim
from tests.asking import one_in
from tests.tutorial.diagnosis import wrong_split
from tests.tutorial.diagnosis.sample import judged
from tests.tutorial.kernels import changed, load, refused, solution, style, unnamed
from tutorial import check, get, trace
from tutorial.reference.splitting import RIGHT, State, identity, merged, tiles
from tutorial.stage import InputError

STYLES = ("one_kernel", "outputs")
UNNAMED = (
    "6 averaged",
    "6 by l",
    "6 normalised",
    "6 normalised, nan",
    "6 rest dropped",
    "6 empty m of 0",
    "6 max alone",
)


def state_of(scores, values):
    """The state of some keys, from their scores (n,) and values (n, d)."""
    if not len(scores):
        return identity(1, values.shape[1])
    m = scores.max()
    p = np.exp(scores - m)
    return State(np.full((1, 1), m), p.sum().reshape(1, 1), (p @ values).reshape(1, -1))


def alike(a, b):
    np.testing.assert_array_equal(a.m, b.m)
    np.testing.assert_allclose(a.l, b.l, rtol=1e-9)
    np.testing.assert_allclose(a.acc, b.acc, rtol=1e-9, atol=1e-9)


@st.composite
def states(draw):
    """The state of 0 to 4 keys with scores of any size."""
    scores = np.array(draw(st.lists(st.floats(-1000, 1000), max_size=4)), np.float64)
    values = np.array(
        [draw(st.lists(st.floats(-10, 10), min_size=2, max_size=2)) for _ in scores], np.float64
    )
    return state_of(scores, values.reshape(-1, 2))


@given(states(), states(), states())
def test_the_merge_is_associative_and_commutative_and_the_state_of_no_keys_is_its_identity(a, b, c):
    alike(merged(a, merged(b, c)), merged(merged(a, b), c))
    alike(merged(a, b), merged(b, a))
    alike(merged(a, identity(1, 2)), a)
    alike(merged(identity(1, 2), a), a)


@given(st.lists(st.floats(-500, 500), min_size=1, max_size=12), st.data())
def test_the_merge_of_any_splits_in_any_order_is_the_state_of_all_keys(scores, data):
    scores = np.array(scores)
    values = np.stack([np.arange(len(scores)), np.cos(scores)], axis=1).astype(np.float64)
    owner = np.array(
        data.draw(st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores)))
    )
    order = data.draw(st.permutations(range(4)))
    parts = [state_of(scores[owner == s], values[owner == s]) for s in order]
    alike(reduce(merged, parts), state_of(scores, values))


@pytest.mark.parametrize("rule", RIGHT)
@pytest.mark.parametrize(("n_tiles", "n_splits"), [(8, 4), (5, 4), (3, 8), (1, 2), (7, 1), (10, 4)])
def test_every_tile_belongs_to_one_split(rule, n_tiles, n_splits):
    dealt = tiles(n_tiles, n_splits, rule)
    assert len(dealt) == n_splits
    assert sorted(t for split in dealt for t in split) == list(range(n_tiles))


@pytest.mark.parametrize("name", judged(wrong_split.WRONG))
def test_a_wrong_kernel_of_splits_is_caught_with_its_own_sentence(name, tmp_path):
    refused(wrong_split.WRONG[name], tmp_path)


@pytest.mark.parametrize("name", one_in(2, UNNAMED))
def test_a_wrong_kernel_of_splits_that_names_nothing_is_caught_too(name, tmp_path):
    refused(wrong_split.WRONG[name], tmp_path, named=False)


@pytest.mark.parametrize("name", STYLES)
def test_a_right_kernel_of_splits_that_names_nothing_is_right_in_another_style(name, tmp_path):
    verdict = check(6, load(6, unnamed(style(f"stage6_{name}")), tmp_path))
    assert verdict.ok, verdict.sentence


@pytest.mark.parametrize("name", STYLES)
def test_the_trace_shows_every_split_of_another_style(name, tmp_path):
    made = trace(6, load(6, style(f"stage6_{name}"), tmp_path), "unequal splits")
    whole = get(6).attention(get(6).case("unequal splits"))
    view = get(6).views(whole)[1]
    want = get(6).states(view, 128)
    rows = made.only(range(view.n_q_heads)).rows
    assert [row.first_key for row in rows if row.head % 4 == 0] == [0, 128, 256, 384, 512]
    for row in rows:
        assert row.l == pytest.approx(want.l[row.tile, row.head], rel=2e-5)


def test_keys_read_by_every_split_are_counted(tmp_path):
    name, change = "the first tile, again and again", wrong_split.LOADED_BY_ALL
    verdict = check(6, load(6, changed(solution(6), *change), tmp_path))
    assert (verdict.outcome, verdict.cause) == ("wrong", "read too often"), name
    assert "whatever the number of splits" in verdict.sentence


def test_a_split_costs_a_query_and_a_state_written_and_read(tmp_path):
    kernel = load(6, solution(6), tmp_path)
    q, k, v, _ = get(6).case("random").args.values()
    d, n_q = q.shape
    counted = []
    for n_splits in (1, 2, 3, 8, 16):
        with nkisim.record() as run:
            kernel(q, k, v, n_splits)
        counted.append((n_splits, run.hbm_bytes_read, run.hbm_bytes_written))
        assert run.hbm_reads["k"] == k.nbytes and run.hbm_reads["v"] == v.nbytes
    first = counted[0]
    for n_splits, read, written in counted:
        more = n_splits - first[0]
        assert read - first[1] == more * 4 * n_q * (d + d + 2)
        assert written - first[2] == more * 4 * n_q * (d + 2)


def test_by_the_model_splitting_pays_on_several_cores_and_only_there(tmp_path):
    kernel = load(6, solution(6), tmp_path)
    q, k = np.ones((128, 8), np.float32), np.ones((2, 128, 4096), np.float32)
    times = {}
    for n_splits in (1, 4):
        with nkisim.record() as run:
            kernel(q, k, k, n_splits)
        times[n_splits] = [run.timeline(cores=cores).latency_us for cores in (1, 4)]
    assert times[4][0] > times[1][0]
    assert times[4][1] < 0.4 * times[1][1]


@pytest.mark.parametrize("n_splits", [0, -1, 2.0, True, "2", None])
def test_a_number_of_splits_that_is_none_is_refused(n_splits):
    q, k, v, _ = get(6).case("one split").args.values()
    with pytest.raises(InputError, match="n_splits must be a whole number of 1 or more"):
        get(6).custom_case({"q": q, "k": k, "v": v, "n_splits": n_splits})
