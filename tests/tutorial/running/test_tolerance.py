"""What float32 may do to a right answer: bounds that right kernels keep and wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tutorial.kernels import changed, load, solution
from tutorial import check, get
from tutorial.reference.attention import Attention
from tutorial.running.tolerance import UNIT, Float32, _exact, _step, allows

F32 = np.float32


def attention(q, k, v, scale=0.125, lengths=None):
    """One query head: q (d,), k and v (d, n)."""
    return Attention(
        *(np.asarray(x, F32)[None] for x in (q, k, v)),
        scale,
        lengths=None if lengths is None else np.array(lengths),
    )


def drawn(spread, n=256, d=64, seed=0):
    rng = np.random.default_rng(seed)
    q, k, v = (rng.standard_normal(shape).astype(F32) for shape in ((d, 1), (d, n), (d, n)))
    return {"q": (q * spread).astype(F32), "k": k, "v": v}


@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e3, 1e4])
@pytest.mark.parametrize("scale", [None, 0.3, -0.7, 0.0])
def test_a_right_kernel_is_right_whatever_the_size_of_the_scores(spread, scale, tmp_path):
    kernel = load(3, solution(3), tmp_path)
    inputs = drawn(spread) if scale is None else drawn(spread) | {"softmax_scale": scale}
    verdict = check(3, kernel, inputs=inputs)
    assert verdict.ok, verdict.sentence


def test_a_key_that_outweighs_all_others_leaves_no_room_for_an_epsilon(tmp_path):
    text = changed(solution(3), ("nisa.reciprocal(l)", "nisa.reciprocal(nl.add(l, 1e-5))"))
    assert check(3, load(3, text, tmp_path)).outcome == "wrong"


def test_the_scores_cost_nothing_where_one_key_has_all_the_weight():
    k = np.zeros((4, 8))
    k[0, 3] = 100.0
    one = Float32(attention([1.0, 0, 0, 0], k, np.ones((4, 8)), 1.0))
    assert one.of_the_scores.max() < 1e-12
    assert one.bound.max() < 20 * UNIT


def test_partial_sums_that_are_float32_in_any_order_are_told_apart():
    assert _step(np.array([0.5, 0.75, 3.0])) == 0.25
    assert _exact(np.full((1, 2, 4), 0.5), np.full((1, 4, 3), 0.25))
    assert not _exact(np.array([[[1.0, 1e-9]]]), np.array([[[1.0], [1.0]]]))


def test_a_row_without_keys_must_be_zero():
    empty = attention(np.ones(4), np.ones((4, 8)), np.ones((4, 8)), lengths=[0])

    def allowed(error):
        return allows(lambda case: empty, "no keys", np.full((1, 4), error))

    assert allowed(0.0) and not allowed(1e-6)


def test_the_bound_grows_with_the_scores():
    bounds = []
    for level in (1.0, 100.0, 10000.0):  # of all scores alike, so that the weights stay
        x = drawn(1.0)
        x["q"][0], x["k"][0] = 8.0, level
        bounds.append(Float32(attention(x["q"][:, 0], x["k"], x["v"])).bound.max())
    assert bounds[0] < 3e-5 and bounds[2] > 100 * bounds[0] and bounds == sorted(bounds)


def test_the_solutions_use_a_part_of_what_they_are_allowed(tmp_path):
    stage, used = get(4), []
    kernel = load(4, solution(4), tmp_path)
    for case in stage.cases():
        output = kernel(*(x.copy() for x in case.args.values()), **case.options)
        error = abs(output.astype(np.float64) - stage.expected(case))
        bound = Float32(stage.attention(case)).bound
        used.append(float((error / bound).max()))
    assert 0.02 < max(used) < 0.6
