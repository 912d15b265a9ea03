"""The twin's state, tile by tile."""

from __future__ import annotations

import numpy as np
import pytest

from nkisim.machine import narrow
from tutorial import get
from tutorial.reference.attention import Attention, online_states, pass_states
from tutorial.reference.tile_by_tile import states


def problem(dtype=np.float32, **more):
    """Two query heads to a KV head, two KV heads, 256 keys."""
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(shape) for shape in ((4, 8), (2, 8, 256), (2, 8, 256)))
    return Attention(q.astype(dtype), k.astype(dtype), v.astype(dtype), 0.5, **more)


@pytest.mark.parametrize(
    ("passes", "expected"), [(False, online_states), (True, pass_states)], ids=["one", "three"]
)
def test_the_states_are_those_of_the_method_in_float64(passes, expected):
    made = problem()
    wanted = expected(made, 64)
    for t, state in enumerate(states(made, 64, passes)):
        assert (state["head"], state["keys"]) == (0, (64 * t, 64 * t + 63))
        np.testing.assert_allclose(state["m"][:, 0], wanted.m[t], rtol=1e-5)
        np.testing.assert_allclose(state["l"][:, 0], wanted.l[t], rtol=1e-5)
        np.testing.assert_allclose(state["acc"], wanted.acc[t], rtol=1e-4, atol=1e-5)


def test_each_sequence_of_a_batch_comes_by_itself():
    made = problem(lengths=np.array([70, 256]), parts=2)
    found = [(s["head"], s["keys"], len(s["m"])) for s in states(made, 128)]
    assert found == [(0, (0, 127), 2), (0, (128, 255), 2), (2, (0, 127), 2), (2, (128, 255), 2)]


def test_a_line_that_is_written_wrongly_changes_what_it_keeps():
    right, wrong = (list(states(problem(), 128, line=line)) for line in ("", "m_new = m_tile"))
    assert not np.array_equal(right[1]["m"], wrong[1]["m"])


@pytest.mark.skipif(not narrow.INSTALLED, reason="needs bfloat16")
def test_weights_are_rounded_where_they_meet_values_of_16_bits():
    made = problem(narrow.bfloat16)
    wide = Attention(*(x.astype(np.float32) for x in (made.q, made.k, made.v)), made.scale)
    (short,), (long,) = (list(states(x, 256)) for x in (made, wide))
    assert np.array_equal(short["l"], long["l"])
    assert not np.array_equal(short["acc"], long["acc"])
    np.testing.assert_allclose(short["acc"], long["acc"], atol=0.1)


def test_a_stage_yields_the_state_of_its_splits_only_where_they_have_keys():
    case = get(6).case("fewer tiles than splits")
    found = [state["keys"] for state in get(6).twin(*case.args.values())]
    assert found == [(0, 127), (128, 255), (256, 383)]
