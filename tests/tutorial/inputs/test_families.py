"""The input families: the same on every machine, exact in fp32, and what their names say."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tutorial import get, stages
from tutorial.inputs import families
from tutorial.inputs.families import FAMILIES

SHAPED = [name for name, family in FAMILIES.items() if family.scores is not None]


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if not family.digits])
def test_scores_are_exact_in_fp32_in_any_order_of_summation(name):
    q, k, _ = families.heads(name, 4, 2, 64, 256)
    group = q.shape[1] // k.shape[0]
    for h in range(q.shape[1]):
        products = q[:, h, None].astype(np.float64) * k[h // group]
        exact = products.sum(axis=0)
        for order in (slice(None), slice(None, None, -1)):
            summed = np.add.accumulate(
                (q[:, h, None] * k[h // group])[order], axis=0, dtype=np.float32
            )[-1]
            assert np.array_equal(summed.astype(np.float64), exact)


def test_inputs_are_the_same_on_every_machine():
    digest = 0
    for name in FAMILIES:
        for array in families.heads(name, 4, 2, 64, 128):
            digest = zlib.crc32(array.astype("<f4").tobytes(), digest)
    assert digest == 2175175928


def tile_maxima(name, width):
    attention = get(3).attention(get(3).case(name))
    return attention.scores()[0].reshape(-1, width).max(axis=1)


@pytest.mark.parametrize("width", [64, 128, 256, 512])
def test_tile_maxima_ascend_and_descend_at_any_width(width):
    assert (np.diff(tile_maxima("ascending", width)) > 0).all()
    assert (np.diff(tile_maxima("descending", width)) < 0).all()


@pytest.mark.parametrize("width", [128, 256, 512])
def test_one_tile_dominates(width):
    last, first = (
        tile_maxima("last tile dominates", width),
        tile_maxima("first tile dominates", width),
    )
    assert last[-1] - last[:-1].max() > 100
    assert first[0] - first[1:].max() > 100


def test_the_extremes_are_where_they_should_be():
    def scores(name):
        return get(3).attention(get(3).case(name)).scores()

    assert np.ptp(scores("equal")) == 0
    assert scores("scores near 1000").min() > 900
    assert scores("scores near -1000").max() < -900
    assert scores("scores below -110").max() < -110
    rows = get(4).attention(get(4).case("rows of different scale")).scores().mean(axis=1)
    assert rows.max() > 190 and rows.min() < -190


def test_the_oracle_is_finite_on_every_case():
    for stage in (s for s in stages() if s.judge is None):
        for case in [*stage.cases(), *stage.beyond()]:
            assert np.isfinite(stage.expected(case)).all()


def test_inputs_cannot_be_changed_by_accident():
    case = get(3).cases()[0]
    with pytest.raises(ValueError, match="read-only"):
        case.args["q"][0, 0] = 1.0


def test_a_family_says_which_head_dimension_it_needs():
    with pytest.raises(ValueError, match="made for d = 64"):
        families.heads("ascending", 1, 1, 128, 128)
