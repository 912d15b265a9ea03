"""The wrong twins: right with no switch thrown, and every mistake revealed by some family."""

from __future__ import annotations

import numpy as np
import pytest

from tutorial import get
from tutorial.mistakes import attention as mistakes
from tutorial.reference.recipes import Recipe, cook


def answers(number):
    stage = get(number)
    cases = [*stage.cases(), *stage.beyond()]
    return [(stage.attention(case), stage.expected(case)) for case in cases]


def width_for(attention):
    return min(128, attention.n)


def off(output, expected):
    with np.errstate(all="ignore"):
        return not bool(
            np.all(np.abs(output - expected) <= 1e-5 * np.abs(expected).max(axis=1, keepdims=True))
        )


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("method", ["online", "passes"])
def test_a_recipe_without_a_mistake_is_right(number, method):
    for attention, expected in answers(number):
        expected = expected.reshape(-1, expected.shape[-1])
        assert not off(cook(attention, width_for(attention), Recipe(method=method)).o, expected)


@pytest.mark.parametrize("mistake", mistakes.ATTENTION, ids=lambda m: m.key)
def test_every_mistake_is_revealed_by_some_family(mistake):
    number = 4 if mistake.grouped else 3
    for recipe in mistake.recipes:
        seen = any(
            off(cook(attention, width_for(attention), recipe).o, expected)
            for attention, expected in answers(number)
        )
        assert seen or recipe.carry in ("acc", "l", "l acc"), recipe


def test_the_sentences_and_the_keys_are_distinct():
    assert len({m.key for m in mistakes.ATTENTION}) == len(mistakes.ATTENTION)
    assert len({m.cause for m in mistakes.ATTENTION}) == len(mistakes.ATTENTION)


@pytest.mark.parametrize("mistake", mistakes.ATTENTION, ids=lambda m: m.key)
def test_a_cause_is_one_line_that_ends_with_a_full_stop(mistake):
    assert mistake.cause.endswith(".")
    assert "\n" not in mistake.cause
