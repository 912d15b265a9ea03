"""The twins as text: they compute attention, and an edit changes the line that it means and no
other."""

from __future__ import annotations

import numpy as np
import pytest

from tutorial import get
from tutorial.diagnosis import trial
from tutorial.mistakes import known
from tutorial.reference import twins
from tutorial.reference.mistake import read
from tutorial.running.runner import Result
from tutorial.stage import stages

ATTENTION = [lesson.number for lesson in stages() if lesson.probes()]


def on(number, place=0):
    """The stage's probe at that place, answered with zeros."""
    lesson = get(number)
    case = lesson.probes()[place]
    dtype = next(iter(case.args.values())).dtype
    blank = np.zeros(lesson.expected(case).shape, dtype)
    return trial.of_result(lesson, lambda q, k, v: None, Result(case, blank))


@pytest.mark.parametrize("number", ATTENTION)
def test_every_text_computes_attention(number):
    tried = on(number)
    tiling = next(tried.tilings())
    for text in twins.texts(tried.problem, "k_blocks" in tried.case.args):
        made = twins.run(text, tried.names(tiling)).o.reshape(tried.want.shape)
        np.testing.assert_allclose(made, tried.want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("number", ATTENTION)
def test_every_way_of_every_mistake_changes_a_text(number):
    tried = on(number)
    texts = [text for n in ATTENTION for text in twins.texts(on(n).problem, n == 8)]
    for mistake in known(get(number), tried.problem):
        for way in mistake.ways:
            assert any(twins.edited(text, way) for text in texts), (mistake.key, way)


def test_a_wrong_line_takes_the_place_of_the_one_that_begins_most_like_it():
    ((way,),) = [twins.ways("alpha = exp(m_new - m)")]
    made = twins.edited(twins.ONE_PASS, way)
    changed = set(made.splitlines()) ^ set(twins.ONE_PASS.splitlines())
    assert {line.strip() for line in changed} == {
        "alpha = exp(m - m_new)",
        "alpha = exp(m_new - m)",
    }


def test_the_second_of_several_lines_can_be_meant_alone():
    (way,) = twins.ways("[2] qk = scale => qk = raw")
    made = twins.edited(twins.PASSES, way).splitlines()
    assert [line.strip() for line in made if line.strip() in ("qk = raw", "qk = scale * raw")] == [
        "qk = scale * raw",
        "qk = raw",
        "qk = scale * raw",
    ]


def test_braces_stand_for_several_ways():
    assert [way[0].new for way in twins.ways("m = {zeros|ones}((G, 1))")] == [
        "m = zeros((G, 1))",
        "m = ones((G, 1))",
    ]


def test_a_table_is_read_with_its_sentences_flags_and_macros():
    (mistake,) = read(
        "== l is lost [heads]\nl is lost:\nkeep it.\n"
        "    l = <X>\n        + 1\n    @_tile = @_old\n",
        {"X": "{0|1}"},
    )
    assert (mistake.key, mistake.sentence) == ("l is lost", "l is lost: keep it.")
    assert mistake.flags == {"heads"}
    assert [way[0].new for way in mistake.ways] == [
        "l = 0 + 1",
        "l = 1 + 1",
        "k_tile = k_old",
        "v_tile = v_old",
    ]


def test_an_answer_is_remembered_for_its_own_inputs_alone():
    tried = on(4)
    given = tried.names(next(tried.tilings()))
    text = next(iter(twins.texts(tried.problem, False)))
    digest = twins.digest(given)
    made = twins.answer(text, given, digest)
    assert twins.answer(text, given, twins.digest(given)) is made
    np.testing.assert_array_equal(made.o, twins.run(text, given).o)
    moved = given["k"].copy()
    moved[0, 0, 0, 0] += 1
    others = (
        given | {"k": moved},
        given | {"k": given["k"].astype(np.float64)},
        given | {"k": given["k"].reshape(given["k"].shape[::-1])},
        given | {"scale": np.nextafter(given["scale"], np.float32(1))},
        given | {"tiles": given["tiles"][::-1]},
        given | {"tiles": [np.concatenate(given["tiles"])]},
    )
    assert len({digest, *map(twins.digest, others)}) == 1 + len(others)
