"""Kernels whose writes do not tell which keys an update saw: their traces show nothing false."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution, style
from tutorial import trace

LANES = [
    (f"{name} = nl.{made}dtype=nl.float32)", f'{name} = nl.{made}dtype=nl.float32, name=f"{of}")')
    for name, made, of in (
        ("m", "full((1, 1), nl.fp32.min, ", "m_{lane}"),
        ("l", "zeros((1, 1), ", "l_{lane}"),
        ("a", "zeros((1, d), ", "acc_{lane}"),
    )
]


def test_two_numbered_states_of_one_head_are_not_taken_for_one(tmp_path):
    kernel = load(3, changed(style("stage3_two_lanes"), *LANES), tmp_path)
    shown = trace(3, kernel, "ascending")
    assert not len(shown)
    assert "does not tell which keys each update saw" in str(shown)


def test_passes_over_the_keys_in_different_orders_show_no_state(tmp_path):
    first_pass = "for i in nl.sequential_range(n // TILE):\n        k_tile = nl.load(k[:, nl.ds(i"
    text = solution(2).replace(first_pass, first_pass.replace("ds(i", "ds((n // TILE - 1 - i)"), 1)
    shown = trace(2, load(2, text, tmp_path), "ascending")
    assert not len(shown)
    assert "each pass takes them in another order" in str(shown)


LOOP = "nl.sequential_range(n // TILE)"


@pytest.mark.parametrize(
    ("loop", "tiles", "left"),
    [
        ("nl.static_range(1, n // TILE)", range(1, 8), [0]),
        ("nl.static_range(0, n // TILE, 2)", range(0, 8, 2), [1, 3, 5, 7]),
    ],
)
def test_the_tiles_that_a_loop_visits_come_first_and_those_it_leaves_out_have_no_state(
    loop, tiles, left, tmp_path
):
    rows = trace(3, load(3, changed(solution(3), (LOOP, loop)), tmp_path), "ascending").rows
    places = [128 * tile for tile in (*tiles, *left)]
    assert [row.keys for row in rows] == [f"{first}..{first + 127}" for first in places]
    visited = [row.m_new is not None and row.l is not None for row in rows]
    assert visited == [True] * len(tiles) + [False] * len(left)
    assert all(row.m_new == pytest.approx(row.tile_max, rel=1e-6) for row in rows[: len(tiles)])


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        (3, ("nl.ds(i * TILE, TILE)", "nl.ds(i * TILE // 2, TILE)")),
        (5, ("w = min(TILE, n - i * TILE)", "w = min(TILE // 2, n - i * TILE)")),
    ],
)
def test_keys_that_are_read_twice_or_never_show_no_state(stage, changes, tmp_path):
    shown = trace(stage, load(stage, changed(solution(stage), changes), tmp_path), "random")
    assert not len(shown)
    assert "the kernel reads keys twice or never" in str(shown)


def test_a_sum_that_is_cleared_in_every_tile_is_shown_tile_by_tile(tmp_path):
    line = "            l_tile = nl.ndarray"
    text = changed(solution(9), (line, "            nisa.memset(dst=l, value=0.0)\n" + line))
    columns = trace(9, load(9, text, tmp_path), "ascending").only(0).to_dict()
    right = trace(9, load(9, solution(9), tmp_path), "ascending").only(0).to_dict()
    assert columns["m_new"] == right["m_new"]
    assert columns["l"][0] == right["l"][0]
    for t in range(1, len(columns["l"])):  # without what the tiles before left
        own = right["l"][t] - right["l"][t - 1] * right["alpha"][t]
        assert columns["l"][t] == pytest.approx(own, rel=1e-4)


def test_tensors_that_are_made_again_for_every_tile_keep_their_heads(tmp_path):
    text = changed(
        solution(4),
        ('name="l")', 'name="sum")'),
        (
            "            p_t = nisa",
            "            again = nl.ndarray((G, 1), dtype=nl.float32, "
            'name="l")\n            again[...] = nisa.tensor_copy(l)\n            p_t = nisa',
        ),
    )
    found = trace(4, load(4, text, tmp_path), "ascending").to_dict()
    assert found == trace(4, load(4, solution(4), tmp_path), "ascending").to_dict()


def test_a_negated_max_is_said_to_be_one_and_its_alpha_is_right(tmp_path):
    text = changed(
        style("stage3_negated"),
        (
            "nl.full((1, 1), 3.0e38, dtype=nl.float32, ",
            'nl.full((1, 1), 3.0e38, name="m", dtype=nl.float32, ',
        ),
    )
    shown = trace(3, load(3, text, tmp_path), "ascending")
    right = trace(3, load(3, solution(3), tmp_path), "ascending").to_dict()
    assert "(m is the max of the scores, negated)" in str(shown)
    assert shown.to_dict()["m_new"] == pytest.approx([-m for m in right["m_new"]])
    assert shown.to_dict()["alpha"] == pytest.approx(right["alpha"], rel=1e-4)
