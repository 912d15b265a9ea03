"""A sum of every lane, and the whole sum on every lane."""

from __future__ import annotations

import numpy as np
import pytest

from tutorial import get
from tutorial.trace.updates import Lifetime, folded

STAGE = get(5)


@pytest.mark.parametrize(("whole", "shown"), [(True, 3.0), (False, 3.0 * 64)])
def test_a_sum_that_all_lanes_hold_alike_is_not_added_up(whole, shown):
    problem = STAGE.attention(STAGE.case("random"))
    lanes, columns = 128, problem.group
    places = np.stack(np.unravel_index(np.arange(lanes * columns), (lanes, columns)), axis=1)
    held = np.full(lanes * columns, 3.0)
    if not whole:
        held[places[:, 0] % 2 == 1] = 0.0
    one = Lifetime(places, (lanes, columns), 0 * held, held[None], [0], 0)
    found = folded([one], "l", problem)
    assert found[0].updates.tolist() == [[shown] * columns]
