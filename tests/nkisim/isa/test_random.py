"""Random numbers: the same on every run, uniform, seeded; dropout."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from nkisim.isa.random import GENERATOR, GET_STATE, RAND, RNG, SET_STATE, Generator
from nkisim.tensors.const import Const

from ..helpers import (
    BF16,
    FP32,
    assert_same_bits,
    covers,
    instruct,
    on_tiles,
    refused_on_tiles,
    values,
)

ONE = np.ones((1, 1), np.float32)


@covers("rand")
def test_nl_rand_is_uniform_between_0_and_1_and_the_same_on_every_run():
    drawn = [on_tiles(lambda t: nl.rand((128, 500)), ONE) for _ in range(2)]
    x = drawn[0].values
    assert_same_bits(x, drawn[1].values)
    assert (drawn[0].dtype, drawn[0].space, drawn[0].run.counts()["rand"]) == (FP32, "sbuf", 1)
    assert x.min() >= 0 and x.max() < 1 and len(np.unique(x)) > 0.99 * x.size
    histogram = np.histogram(x, bins=20, range=(0, 1))[0] / x.size
    assert abs(histogram - 0.05).max() < 0.003
    assert abs(np.corrcoef(x[:, :-1].ravel(), x[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(x[:-1].ravel(), x[1:].ravel())[0, 1]) < 0.01
    assert on_tiles(lambda t: nl.rand((4, 3, 5), dtype=nl.bfloat16), ONE).dtype == BF16


def two(seed_first, seed_second):
    @nki.jit
    def kernel(one):
        out = nl.ndarray((2, 8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        for i, seed in enumerate((seed_first, seed_second)):
            if seed == "tile":
                nl.random_seed(nl.load(one, dtype=nl.int32))
            elif seed is not None:
                nl.random_seed(seed)
            nl.store(out[i], nl.rand((8, 16)))
        return out

    return nki.simulate_kernel(kernel, ONE)


@covers("set_rng_seed")
def test_a_seed_begins_the_same_sequence_again():
    same, other, going_on = two(7, 7), two(7, 8), two(7, None)
    assert_same_bits(same[0], same[1])
    assert_same_bits(same[0], other[0])
    assert (other[0] != other[1]).mean() > 0.99 and (going_on[0] != going_on[1]).mean() > 0.99
    assert_same_bits(two(1, "tile")[1], two(1, 1)[0])


def test_program_instances_draw_their_own_numbers():
    @nki.jit
    def kernel(one):
        out = nl.ndarray((3, 4, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out[nl.program_id(0)], nl.rand((4, 8)))
        return out

    x = kernel[3](ONE)
    assert len(np.unique(x)) == x.size


@covers("dropout")
@pytest.mark.parametrize("dtype", [np.float32, BF16, np.int32])
@pytest.mark.parametrize("function", [nisa.dropout, nl.dropout])
def test_dropout_zeroes_with_the_probability_and_keeps_the_rest_as_it_is(function, dtype):
    x = np.full((128, 512), 3).astype(dtype)
    for p in (0.0, 0.25, 1.0):
        got = on_tiles(lambda t, p=p: function(t, p), x)
        assert got.dtype == np.dtype(dtype)
        assert set(np.unique(got.values.astype(np.float32))) <= {0.0, 3.0}
        assert abs((got.values == 0).mean() - p) < 0.01 and got.run.counts()["dropout"] == 1


def test_each_partition_may_have_a_probability_of_its_own():
    x, p = np.ones((4, 2000), np.float32), np.array([[0], [0.2], [0.8], [1]], np.float32)
    got = on_tiles(lambda t, p: nisa.dropout(t, p), x, p).values
    assert abs((got == 0).mean(axis=1) - p[:, 0]).max() < 0.04
    assert (got[0] == 1).all() and (got[3] == 0).all()
    # one element for all partitions
    one = on_tiles(lambda t, p: nl.dropout(t, p), x, np.ones((1, 1), np.float32))
    assert (one.values == 0).all()


def test_dropout_refuses_what_the_reference_does_not_allow():
    x, whole, p = values((4, 8)), np.ones((4, 8), np.int32), np.full((4, 1), 0.5, BF16)
    refused_on_tiles(lambda t, p: nisa.dropout(t, p), whole, p, rule="dtype")
    refused_on_tiles(lambda t: nisa.dropout(t, 0.5, dtype=nl.float32), whole, rule="dtype")
    refused_on_tiles(lambda t: nisa.dropout(t, 1.5), x, rule="argument")
    refused_on_tiles(lambda t: nisa.dropout(t, t), x, rule="shape-mismatch")
    refused_on_tiles(lambda t: nl.rand((129, 4)), ONE, rule="partition-limit")
    refused_on_tiles(lambda t: nl.rand((4,)), ONE, rule="rank")
    refused_on_tiles(lambda t: nl.random_seed(0.5), ONE, rule="argument")


def xorwow(state, count):
    """The next `count` numbers of one XORWOW state of six words, in Python's integers."""
    x, y, z, w, v, d = (int(word) for word in state)
    out = []
    for _ in range(count):
        t = x ^ (x >> 2)
        x, y, z, w = y, z, w, v
        v = (v ^ (v << 4) ^ t ^ (t << 1)) & 0xFFFFFFFF
        d = (d + 362437) & 0xFFFFFFFF
        out.append((v + d) & 0xFFFFFFFF)
    return out, (x, y, z, w, v, d)


@covers("rng", "rand_set_state", "rand_get_state")
@pytest.mark.parametrize(
    ("engine", "lanes", "target"), [("gpsimd", 1, "trn2"), ("vector", 4, "trn3")]
)
def test_states_that_are_set_continue_as_xorwow_does(engine, lanes, target):
    words = np.random.default_rng(4).integers(0, 2**32, (3, 6 * lanes), dtype=np.uint32)
    drawn = {}

    def body(t):
        instruct(SET_STATE, "set", GENERATOR, (t,), (engine,))
        drawn["bits"] = instruct(
            RNG, "rng", None, (), ((3, 7), engine), "sbuf", np.dtype(np.uint32)
        )
        return nl.copy(
            instruct(
                GET_STATE, "get", None, (), ((3, 6 * lanes), engine), "sbuf", np.dtype(np.uint32)
            )
        )

    state = on_tiles(body, words, target=target).values
    for row in range(3):
        lists = [
            xorwow(words[row, 6 * lane : 6 * lane + 6], -(-7 // lanes)) for lane in range(lanes)
        ]
        expected = [lists[i % lanes][0][i // lanes] for i in range(7)]
        assert drawn["bits"].array[row].tolist() == expected
        assert state[row].tolist() == [word for _, after in lists for word in after]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_random_bits_are_the_low_bits_of_32_random_ones(dtype):
    words = on_tiles(
        lambda t: instruct(RNG, "rng", None, (), ((8, 33), "vector"), "sbuf", np.dtype(np.uint32)),
        ONE,
    ).values
    got = on_tiles(
        lambda t: instruct(RNG, "rng", None, (), ((8, 33), "vector"), "sbuf", np.dtype(dtype)), ONE
    ).values
    assert_same_bits(
        got,
        (words & np.uint32((1 << 8 * np.dtype(dtype).itemsize) - 1))
        .astype(f"u{np.dtype(dtype).itemsize}")
        .view(dtype),
    )


def test_uniform_numbers_lie_between_their_bounds_a_partition():
    low, high = np.array([[0], [-3], [5]], np.float32), np.array([[1], [7], [5.5]], np.float32)

    def draw(a, b, least=2):
        return instruct(
            RAND, "rand2", None, (a, b), ((3, 400), least), "sbuf", np.dtype(np.float32)
        )

    got = on_tiles(draw, low, high).values
    assert (got >= low).all() and (got < high).all()
    assert abs((got - low) / (high - low) - 0.5).mean() < 0.3
    assert_same_bits(
        on_tiles(lambda a, b: draw(Const(0.0), Const(1.0)), low, high).values,
        Generator(4, 0).draw(slice(0, 3), 400).__rshift__(np.uint32(8)).astype(np.float32)
        * np.float32(2**-24),
    )
    refused_on_tiles(lambda a, b: draw(b, a), low, high, rule="argument")
    refused_on_tiles(lambda a, b: draw(a, b, 4), low, high, rule="target", target="trn2")


def test_random_instructions_refuse_what_the_reference_does_not_allow():
    words = np.zeros((3, 6), np.uint32)

    def bits(dtype=np.uint32, engine="vector"):
        return lambda t: instruct(RNG, "rng", None, (), ((3, 7), engine), "sbuf", np.dtype(dtype))

    def set_state(engine):
        return lambda t: instruct(SET_STATE, "set", GENERATOR, (t,), (engine,))

    refused_on_tiles(bits(np.float32), words, rule="dtype")
    refused_on_tiles(bits(engine="gpsimd"), words, rule="target", target="trn1")
    refused_on_tiles(bits(engine="scalar"), words, rule="engine")
    refused_on_tiles(set_state("vector"), words, rule="target", target="trn2")
    refused_on_tiles(set_state("vector"), words, rule="element-count", target="trn3")
    refused_on_tiles(set_state("gpsimd"), words.astype(np.int32), rule="dtype")
    refused_on_tiles(
        lambda t: set_state("gpsimd")(nl.ndarray((3, 6), dtype=nl.uint32, buffer=nl.sbuf)),
        words,
        rule="uninitialized-read",
    )


def test_a_seed_under_a_mask_that_keeps_nothing_is_not_set_and_any_probabilities_are_taken():
    def body(t):
        nl.random_seed(7, mask=False)
        return nl.rand((4, 8))

    assert_same_bits(on_tiles(body, ONE).values, on_tiles(lambda t: nl.rand((4, 8)), ONE).values)
    x, p = np.ones((2, 50), np.float32), np.array([[40.0], [0.0]], np.float32)
    got = on_tiles(lambda t, p: nisa.dropout(t, p), x, p).values
    assert (got[0] == 0).all() and (got[1] == 1).all()
