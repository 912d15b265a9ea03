"""Edits of a text: each changes the line that it means and no other; tables of mistakes."""

from __future__ import annotations

from tutorial.reference import edits, twins
from tutorial.reference.mistake import read


def test_a_wrong_line_takes_the_place_of_the_one_that_begins_most_like_it():
    ((way,),) = [edits.ways("alpha = exp(m_new - m)")]
    made = edits.edited(twins.ONE_PASS, way)
    changed = set(made.splitlines()) ^ set(twins.ONE_PASS.splitlines())
    assert {line.strip() for line in changed} == {
        "alpha = exp(m - m_new)",
        "alpha = exp(m_new - m)",
    }


def test_the_second_of_several_lines_can_be_meant_alone():
    (way,) = edits.ways("[2] qk = scale => qk = raw")
    made = edits.edited(twins.PASSES, way).splitlines()
    assert [line.strip() for line in made if line.strip() in ("qk = raw", "qk = scale * raw")] == [
        "qk = scale * raw",
        "qk = raw",
        "qk = scale * raw",
    ]


def test_braces_stand_for_several_ways():
    assert [way[0].new for way in edits.ways("m = {zeros|ones}((G, 1))")] == [
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
