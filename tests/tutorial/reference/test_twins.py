"""The twins as text: they compute what their stage asks for; every known mistake changes one."""

from __future__ import annotations

import numpy as np
import pytest

from tutorial import get
from tutorial.diagnosis import trial
from tutorial.mistakes import known
from tutorial.reference import edits, evaluation, twins
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
    merges = (*twins.USUAL_MERGES, *twins.MERGES) if tried.problem.splits else ()
    texts = twins.texts(tried.problem, "k_blocks" in tried.case.args)
    averages = (twins.AVERAGES,) if twins.ONE_PASS in texts else ()
    for text in (*texts, *averages, *merges):
        made = evaluation.run(text, tried.names(tiling)).o.reshape(tried.want.shape)
        np.testing.assert_allclose(made, tried.want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("number", ATTENTION)
def test_every_way_of_every_mistake_changes_a_text(number):
    tried = on(number)
    texts = [text for n in ATTENTION for text in twins.texts(on(n).problem, n == 8)]
    texts += twins.MERGES
    for mistake in known(get(number), tried.problem):
        for way in mistake.ways:
            assert any(edits.edited(text, way) for text in texts), (mistake.key, way)


def test_an_answer_is_remembered_for_its_own_inputs_alone():
    tried = on(4)
    given = tried.names(next(tried.tilings()))
    text = next(iter(twins.texts(tried.problem, False)))
    digest = evaluation.digest(given)
    made = evaluation.answer(text, given, digest)
    assert evaluation.answer(text, given, evaluation.digest(given)) is made
    np.testing.assert_array_equal(made.o, evaluation.run(text, given).o)
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
    assert len({digest, *map(evaluation.digest, others)}) == 1 + len(others)


def test_an_answer_stops_after_rows_that_are_wrong_and_is_whole_for_who_needs_it():
    tried = on(4)
    given = tried.names(next(tried.tilings()))
    text = next(iter(twins.texts(tried.problem, False)))
    stopped = evaluation.answer(text, given, b"stopped", lambda o, done: True)
    assert stopped.done is not None
    assert stopped.done.any() and np.isnan(stopped.o[~stopped.done]).all()
    asked = []
    whole = evaluation.answer(text, given, b"stopped", lambda o, done: asked.append(done.sum()))
    assert whole.done is None and len(asked) > 1
    np.testing.assert_array_equal(whole.o, evaluation.run(text, given).o)


@pytest.mark.parametrize("number", ATTENTION)
def test_a_text_answers_the_same_where_others_share_what_it_reads(number):
    tried = on(number)
    given = tried.names(next(tried.tilings()))
    shared = evaluation.sharing(given, range(given["B"])[::-1])
    ways = [way for mistake in known(get(number), tried.problem) for way in mistake.ways][::9]
    for text in twins.texts(tried.problem, "k_blocks" in tried.case.args):
        for made in (text, *filter(None, (edits.edited(text, way) for way in ways))):
            alone, beside = (evaluation.run(made, names) for names in (given, shared))
            if alone is None:
                assert beside is None
                continue
            np.testing.assert_array_equal(alone.o, beside.o)
            assert alone.kept.keys() == beside.kept.keys()
            for name, kept in alone.kept.items():
                np.testing.assert_equal(kept, beside.kept[name], err_msg=name)
            turned = evaluation.answer(made, shared, b"", lambda o, done: False)
            evaluation._ANSWERS.clear()
            np.testing.assert_array_equal(alone.o, turned.o)


def test_every_line_that_mistakes_share_is_in_a_text():
    texts = "\n".join((twins.ONE_PASS, twins.PASSES, twins.PAGED, twins.STATES_IN_TURN))
    lines = {line.strip() for line in evaluation.with_taken(texts).split("\n")}
    assert set(evaluation._MOSTLY_RIGHT) <= lines


def test_keys_that_no_tile_has_are_not_taken_for_those_of_a_tile():
    tried = on(4)
    given = tried.names(next(tried.tilings()))
    text = "for b in range(B):\n    for h in range(Hkv):\n        for keys in tiles:\n"
    text += "            keys = keys[::-1] if t else keys\n            x = k[b, h][:, keys]\n"
    text += "            o[b, h, :] = x[:, 0]\n"
    shared = evaluation.sharing(given, range(given["B"]))
    first = [evaluation.run(text, {**shared, "t": t}).o for t in (0, 1, 0)]
    assert np.array_equal(first[0], first[2], equal_nan=True)
    assert not np.array_equal(first[0], first[1], equal_nan=True)
