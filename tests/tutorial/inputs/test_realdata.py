"""The stored attention data of a real model: its shapes, its size, its answers, and what the
lessons say about it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tutorial.inputs import datafiles, realdata

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tutorial" / "data"
FILE = DATA / "smollm2_attention.npz"

EVERY_LENGTH = pytest.mark.parametrize("n", realdata.lengths())
EVERY_LAYER = pytest.mark.parametrize("layer", realdata.layers())


def softmax_attention(q, k, v):
    """Scores (Hq, n), weights (Hq, n) and output (Hq, d), float64, one query head at a time."""
    d, q_heads = q.shape
    scores, weights, output = [], [], []
    for h in range(q_heads):
        g = h * len(k) // q_heads
        s = k[g].T.astype(np.float64) @ q[:, h].astype(np.float64) / d**0.5
        p = np.exp(s - s.max())
        scores.append(s)
        weights.append(p / p.sum())
        output.append(v[g].astype(np.float64) @ weights[-1])
    return np.array(scores), np.array(weights), np.array(output)


def tiles_where_the_max_moves(scores, tile=128):
    running, moves = -np.inf, []
    for t, top in enumerate(scores.reshape(-1, tile).max(axis=1)):
        if top > running:
            running = top
            moves.append(t)
    return moves


def test_stored_layers_and_lengths_are_those_the_lessons_use():
    assert realdata.layers() == [0, 9, 18]
    assert realdata.lengths() == [128, 512, 1024]


@EVERY_LAYER
@EVERY_LENGTH
def test_case_has_the_course_layout_nine_query_heads_three_kv_heads_and_float32(layer, n):
    case = realdata.load(layer, n)
    assert case.q.shape == (64, 9)
    assert case.k.shape == case.v.shape == (3, 64, n)
    assert case.o.shape == case.o_model.shape == (9, 64)
    assert {a.dtype for a in (case.q, case.k, case.v, case.o, case.o_model)} == {
        np.dtype(np.float32)
    }
    assert all(
        a.flags.c_contiguous and np.isfinite(a).all()
        for a in (case.q, case.k, case.v, case.o, case.o_model)
    )
    assert (case.layer, case.n, len(case.tokens)) == (layer, n, n)


@EVERY_LAYER
@EVERY_LENGTH
def test_stored_output_is_float64_softmax_attention_on_the_stored_inputs(layer, n):
    case = realdata.load(layer, n)
    np.testing.assert_allclose(
        case.o, softmax_attention(case.q, case.k, case.v)[2], rtol=1e-6, atol=0
    )


@EVERY_LAYER
@EVERY_LENGTH
def test_rounding_for_storage_moved_the_output_by_less_than_half_a_percent_of_the_models_own(
    layer, n
):
    case = realdata.load(layer, n)
    moved = np.abs(case.o - case.o_model).max()
    assert 0 < moved < 0.005 * np.abs(case.o_model).max()


@EVERY_LAYER
def test_q_k_and_v_survive_a_cast_to_float16_unchanged(layer):
    case = realdata.load(layer)
    for array in (case.q, case.k, case.v):
        assert np.array_equal(array.astype(np.float16).astype(np.float32), array)


def test_a_shorter_case_is_a_prefix_of_the_longest_one_with_a_query_of_its_own():
    short, long = realdata.load(9, 128), realdata.load(9, 1024)
    assert np.array_equal(short.k, long.k[:, :, :128])
    assert np.array_equal(short.v, long.v[:, :, :128])
    assert not np.array_equal(short.q, long.q)


def test_load_without_arguments_gives_the_first_layer_at_1024_tokens():
    case = realdata.load()
    assert (case.layer, case.n) == (0, 1024)


def test_each_load_gives_fresh_arrays_so_that_overwriting_one_spoils_nothing():
    first = realdata.load(0, 128)
    for array in (first.q, first.k, first.v, first.o, first.o_model):
        array[:] = np.nan
    second = realdata.load(0, 128)
    assert (
        np.isfinite(second.q).all()
        and np.isfinite(second.k).all()
        and np.isfinite(second.o_model).all()
    )


def test_one_head_alone_has_the_single_head_layout_and_its_own_kv_head():
    case = realdata.load(18, 128)
    q, k, v, o = case.head(7)
    assert (q.shape, k.shape, v.shape, o.shape) == ((64, 1), (64, 128), (64, 128), (1, 64))
    assert np.array_equal(k, case.k[2]) and np.array_equal(v, case.v[2])
    np.testing.assert_allclose(softmax_attention(q, k[None], v[None])[2], o, rtol=1e-6)


@EVERY_LAYER
def test_looks_at_gives_the_largest_softmax_weights_with_the_text_of_their_tokens(layer):
    case = realdata.load(layer, 512)
    weights = softmax_attention(case.q, case.k, case.v)[1]
    for h in range(9):
        looks = case.looks_at(h, count=3)
        assert [w for _, _, w in looks] == pytest.approx(sorted(weights[h], reverse=True)[:3])
        assert all(
            text == case.tokens[i] and w == pytest.approx(weights[h, i]) for i, text, w in looks
        )


def test_tokens_joined_are_the_beginning_of_the_text_in_the_repository():
    text = (ROOT / "tools" / "data" / "alice_chapter_1.txt").read_text(encoding="utf-8")
    assert text.startswith("".join(realdata.tokens()))
    assert realdata.load(9).text.endswith("'Do cats eat bats? Do cats eat")
    assert realdata.tokens(3) == ["Alice", "'s", " Adventures"]


def test_layer_0_head_6_moves_its_running_max_in_every_tile():
    case = realdata.load(0)
    scores, weights, _ = softmax_attention(case.q, case.k, case.v)
    assert tiles_where_the_max_moves(scores[6]) == list(range(8))
    assert weights[6].max() < 0.02


def test_layer_9_head_2_looks_back_at_the_word_it_has_just_read():
    case = realdata.load(9)
    position, text, weight = case.looks_at(2)[0]
    assert (position, text, round(weight, 3)) == (1018, " eat", 0.848)
    assert case.tokens[-1] == " eat"
    assert tiles_where_the_max_moves(softmax_attention(case.q, case.k, case.v)[0][2]) == [0, 7]


@EVERY_LENGTH
def test_layer_18_head_8_rests_on_the_first_token(n):
    case = realdata.load(18, n)
    position, text, weight = case.looks_at(8)[0]
    assert (position, text) == (0, "Alice") and weight > 0.999
    assert tiles_where_the_max_moves(softmax_attention(case.q, case.k, case.v)[0][8]) == [0]


@pytest.mark.parametrize("layer", [1, -1, 30, "nine"])
def test_a_layer_that_is_not_stored_is_refused_with_the_list_of_those_that_are(layer):
    with pytest.raises(
        ValueError, match="is not stored; the stored layers of the model are 0, 9, 18"
    ):
        realdata.load(layer)


@pytest.mark.parametrize("n", [0, 127, 256, 2048, None])
def test_a_length_that_is_not_stored_is_refused_with_the_list_of_those_that_are(n):
    with pytest.raises(ValueError, match="is not stored; the stored lengths are 128, 512, 1024"):
        realdata.load(9, n)


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_a_number_of_tokens_outside_the_text_is_refused(n):
    with pytest.raises(ValueError, match="tokens are not stored; there are 1 to 1024"):
        realdata.tokens(n)


@pytest.mark.parametrize("h", [-1, 9])
def test_a_query_head_that_does_not_exist_is_refused(h):
    case = realdata.load(0, 128)
    for call in (case.head, case.looks_at):
        with pytest.raises(ValueError, match="does not exist; the model has heads 0 to 8"):
            call(h)


def test_a_missing_data_file_is_reported_with_what_to_do(monkeypatch, tmp_path):
    realdata._data.cache_clear()
    monkeypatch.setattr(datafiles.resources, "files", lambda package: tmp_path)
    with pytest.raises(
        FileNotFoundError, match="is missing: install the package with its data files"
    ):
        realdata.load()
    realdata._data.cache_clear()


def test_the_file_is_smaller_than_three_megabytes_and_is_the_one_that_its_readme_describes():
    content = FILE.read_bytes()
    assert len(content) < 3_000_000
    assert hashlib.sha256(content).hexdigest() in (DATA / "README.md").read_text(encoding="utf-8")
