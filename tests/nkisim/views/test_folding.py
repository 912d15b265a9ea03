"""Folding: what is shown and what is left out together are the run."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nkisim.views.folding import HEAD, TAIL, choose


def covered(shown, n):
    """The records shown and those in gaps, in order."""
    out = []
    for i in range(len(shown.records) + 1):
        for gap in shown.gaps.get(i, []):
            out += range(gap.first, gap.first + gap.count)
        if i < len(shown.records):
            out.append(int(shown.records[i]))
    return out == list(range(n))


def nested(outer, inner, body=5):
    once = [100, *list(range(body)) * inner, 101]
    return np.array([200, *once * outer, 201])


def test_a_short_run_is_shown_whole():
    shown = choose(nested(2, 3), 1000)
    assert shown.records.tolist() == list(range(36)) and not shown.gaps and not shown.hidden


def test_a_loop_shows_its_first_iterations_and_its_last():
    kind = np.array([9, *[0, 1, 2] * 50, 8])
    shown = choose(kind, 20)
    assert shown.records.tolist() == [0, *range(1, 7), *range(148, 151), 151]
    (gap,) = shown.gaps[7]
    assert (gap.first, gap.count, gap.iterations, gap.total) == (7, 141, 50 - HEAD - TAIL, 50)
    assert gap.text() == (
        "iterations 3 to 49 of 50 are folded: 141 instructions (7 to 147) like those before"
    )


def test_loops_in_loops_are_folded_at_every_level():
    kind = nested(300, 40)
    shown = choose(kind, 200)
    assert covered(shown, len(kind)) and not shown.sampled
    assert len(shown.records) == 2 + 3 * (2 + 3 * 5)


def test_what_no_loop_explains_is_sampled_and_says_so():
    kind = np.random.default_rng(0).integers(0, 50, 20_000)
    shown = choose(kind, 400)
    assert covered(shown, len(kind)) and shown.sampled and len(shown.records) <= 400
    assert shown.records[0] == 0 and shown.records[-1] == len(kind) - 1
    assert "are left out" in shown.gaps[20][0].text()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 30)),
        min_size=1,
        max_size=8,
    ),
    st.integers(4, 60),
)
def test_nothing_is_lost_and_nothing_shown_twice(pieces, most):
    kind = np.array([k for body, times in pieces for k in body * times])
    shown = choose(kind, most)
    assert covered(shown, len(kind))
    assert shown.hidden + len(shown.records) == len(kind)
