"""Mistakes told by outputs alone, as where the real SDK runs the kernel and nothing records what it
did."""

from __future__ import annotations

import pytest

from tests.tutorial.diagnosis import (
    closure,
    synonyms,
    wrong_grouped,
    wrong_one_head,
    wrong_ragged,
    wrong_split,
)
from tests.tutorial.kernels import changed, load, solution
from tutorial import check
from tutorial.running import runner

NOT_IN_OUTPUTS = (
    "read too often",
    "loaded once per query head",
    "low precision",
    "multiple of the max",
)
"""What a kernel costs; and how many digits its state has, where rounding alone shows it."""
WRONG = {
    name: wrong
    for name, wrong in {**wrong_one_head.WRONG, **wrong_grouped.WRONG}.items()
    if wrong[0] and wrong[3] not in NOT_IN_OUTPUTS
}


@pytest.fixture
def unrecorded(monkeypatch):
    """Kernels run as the SDK's own do: only what they return is known."""
    monkeypatch.setattr(runner, "of_the_sdk", lambda kernel: True)
    monkeypatch.setattr(runner, "by_the_sdk", lambda kernel: kernel)


@pytest.mark.parametrize("name", list(WRONG)[::4])
@pytest.mark.usefixtures("unrecorded")
def test_a_wrong_kernel_whose_outputs_alone_are_known_is_named(name, tmp_path):
    stage, base, changes, cause, _ = WRONG[name]
    verdict = check(stage, load(stage, changed(base, *changes), tmp_path))
    assert verdict.outcome == "wrong"
    assert synonyms.alike(cause, verdict.cause)


@pytest.mark.usefixtures("unrecorded")
def test_an_infinity_that_only_a_record_could_place_names_no_other_mistake(tmp_path):
    """An empty split that is divided by 0, and a merge whose max overflows, both leave NaN."""
    stage, base, changes, cause, _ = wrong_split.WRONG["6 normalised, nan"]
    verdict = check(stage, load(stage, changed(base, *changes), tmp_path))
    assert verdict.outcome == "wrong"
    assert verdict.cause in (cause, None)


def some_ways(number):
    """One of 149 ways of the mistakes of a stage."""
    return list(closure.made(number))[::149]


def first_ways(number):
    """One way of each mistake that outputs alone may tell."""
    ways: dict[str, closure.Made] = {}
    for one in closure.made(number):
        if "recorded" not in one.mistake.flags:
            ways.setdefault(one.mistake.key, one)
    return ways


@pytest.mark.parametrize("number", [2, 4])
def test_19_of_20_mistakes_given_as_outputs_alone_are_named_and_none_falsely(number):
    """Each stage looks at a third of the mistakes, by the lengths of their names."""
    ways = first_ways(number)
    third = number // 2 - 1
    taken = {key: closure.taken_for(one) for key, one in ways.items() if len(key) % 3 == third}
    seen = {key: named for key, named in taken.items() if named != closure.RIGHT}
    named = {key: found for key, found in seen.items() if found is not None}
    assert [(key, found) for key, found in named.items() if not synonyms.alike(key, found)] == []
    assert len(seen) >= 40
    assert len(named) >= 19 / 20 * len(seen)


@pytest.mark.parametrize("number", [2, 3, 4, 8])
def test_a_mistake_given_as_outputs_alone_is_itself_or_a_synonym(number):
    """Some ways of some mistakes, of which there are some five thousand."""
    taken = [(one.name, one.mistake.key, closure.taken_for(one)) for one in some_ways(number)]
    named = [one for one in taken if one[2] not in (None, closure.RIGHT)]
    assert [one for one in named if not synonyms.alike(*one[1:])] == []


def test_mistakes_with_lengths_are_named_by_outputs_alone_and_none_falsely():
    """Some of them; of all that differ, 215 of 229 are named."""
    taken = [(key, closure.taken_for(one)) for key, one in list(first_ways(5).items())[4::13]]
    seen = [(key, found) for key, found in taken if found != closure.RIGHT]
    named = [(key, found) for key, found in seen if found is not None]
    assert [pair for pair in named if not synonyms.alike(*pair)] == []
    assert len(named) >= 0.8 * len(seen) >= 12


@pytest.mark.usefixtures("unrecorded")
def test_infinities_and_nan_in_the_same_places_name_no_mistake_that_others_share(tmp_path):
    """The mean of the scores overflows where one score is far above it, as m of the last tile does
    where an earlier one is higher: on all inputs together they differ."""
    text = changed(
        solution(2), ("m[...] = nisa.tensor_tensor(m, m_tile, op=nl.maximum)", "m[...] = m_tile")
    )
    assert check(2, load(2, text, tmp_path)).cause == "m replaced"


@pytest.mark.usefixtures("unrecorded")
def test_positions_that_restart_are_not_taken_for_lengths_that_are_ignored(tmp_path):
    """A length within the first tile tells them apart."""
    number, base, changes, cause, _ = wrong_ragged.WRONG["5 position in the tile, where"]
    assert check(number, load(number, changed(base, *changes), tmp_path)).cause == cause


@pytest.mark.usefixtures("unrecorded")
def test_advice_does_not_ask_for_names_where_nothing_is_recorded(tmp_path):
    text = changed(solution(2), ("acc = nl.full((1, d), 0.0", "acc = nl.full((1, d), 2.0"))
    verdict = check(2, load(2, text, tmp_path))
    assert verdict.cause is None
    assert "NKISIM_FORCE=1" in verdict.sentence and "name=" not in verdict.sentence
