"""Small changes of a text, made by machine: each differs from it in one place and says where."""

from __future__ import annotations

import ast

import pytest

from tutorial.reference import slips, twins

TEXTS = [twins.ONE_PASS, twins.AVERAGES, twins.PASSES, twins.PAGED, *twins.USUAL_MERGES]


@pytest.mark.parametrize("text", TEXTS)
def test_every_slip_is_another_text_and_tells_what_it_changed(text):
    made = slips.slips(text)
    assert len({slip.text for slip in made}) == len(made)
    for slip in made:
        assert slip.text != text and slip.told.startswith(("with ", "without "))
        ast.parse(slip.text)


@pytest.mark.parametrize(
    "told",
    [
        "without `m = m_new`",
        "with `alpha = exp(m_new - m)` instead of `alpha = exp(m - m_new)`",
        "with `acc = acc + p @ v_tile.T` instead of `acc = acc * alpha + p @ v_tile.T`",
        "with `raw` wherever `qk` is read",
        "with `m = full((G, 1), LOWEST)` and `l = zeros((G, 1))` before `for b in range(B):`",
        "with `m = m_new` before `p = exp(qk - m_new)`",
        "with `for t, keys in enumerate(tiles[1:]):` instead of `for t, keys in enumerate(tiles):`",
    ],
)
def test_omitted_changed_renamed_and_moved_lines_are_slips(told):
    assert told in {slip.told for slip in slips.slips(twins.ONE_PASS)}


def test_a_changed_operand_is_put_in_parentheses_only_where_it_needs_them():
    told = {slip.told.partition(" instead of ")[0] for slip in slips.slips(twins.ONE_PASS)}
    assert "with `p = exp((qk - m_new) * scale)`" in told
    assert "with `p = exp(qk * scale - m_new)`" in told


def test_of_several_lines_that_read_alike_the_changed_one_is_told():
    told = {slip.told for slip in slips.slips(twins.PASSES)}
    assert "with `p = exp(qk)` instead of the second `p = exp(qk - m)`" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (twins.PASSES, "with `p = exp(qk) - m` instead of every `p = exp(qk - m)`"),
        (
            twins.ONE_PASS,
            "with `k_tile = k[b, h][:, tiles[-1]]` instead of `k_tile = k[b, h][:, keys]`, and v "
            "likewise",
        ),
        (
            twins.AVERAGES,
            "with `acc = acc * l_old / l_new + p @ v_tile.T` instead of `acc = (acc * l_old + p @ "
            "v_tile.T) / l_new`",
        ),
        (
            twins.USUAL_MERGES[2],
            "with `lse = where(L > 0, M + L, LOWEST)` instead of `lse = where(L > 0, M + log(L), "
            "LOWEST)`",
        ),
    ],
)
def test_changes_that_belong_together_and_other_groupings_are_slips(text, told):
    assert told in {slip.told for slip in slips.slips(text)}
