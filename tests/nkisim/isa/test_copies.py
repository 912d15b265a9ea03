"""Copies, fills and selections of VectorE and what may run elsewhere, against NumPy."""

from __future__ import annotations

from itertools import product

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from nkisim.machine import dtypes
from tests.asking import of_each

from ..helpers import (
    BF16,
    FLOATS,
    assert_same_bits,
    on_tiles,
    run_kernel,
    values,
)

INTEGERS = [np.dtype(t) for t in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32)]


# -- copies and fills ------------------------------------------------------------------------------
@of_each(product([*FLOATS, *INTEGERS], repeat=2))
def test_copies_cast_with_one_rounding_and_saturation(source, target):
    x = (
        values((8, 16), source, low=-300 if source.kind != "u" else 0, high=300)
        if source.itemsize > 1
        else values((8, 16), source, low=0, high=100)
    )
    for function in (
        lambda t: nisa.tensor_copy(t, dtype=target),
        lambda t: nl.copy(t, dtype=target),
        lambda t: t.astype(target),
    ):
        got = on_tiles(function, x)
        assert_same_bits(got.values, dtypes.cast(x, target))


def test_a_copy_of_the_same_type_is_accurate_to_the_bit_even_for_large_integers():
    x = np.array([[2**31 - 1, 2**24 + 1]], np.int32)
    assert_same_bits(on_tiles(nisa.tensor_copy, x).values, x)
    got = on_tiles(lambda t: nisa.tensor_copy(t, engine=nisa.scalar_engine), x, target="trn1")
    assert got.values[0, 1] == 2**24  # ScalarE of the first generation goes through float32


@pytest.mark.parametrize("engine", ["vector", "scalar", "gpsimd"])
def test_tensor_copy_runs_on_the_engine_asked_for(engine):
    got = on_tiles(
        lambda t: nisa.tensor_copy(t, engine=getattr(nisa, f"{engine}_engine")), values((8, 16))
    )
    assert got.run.count("tensor_copy", engine=engine) == 1


def test_a_copy_evacuates_psum_and_fills_strided_parts():
    @nki.jit
    def kernel(a, b):
        out = nl.ndarray((8, 32), dtype=nl.bfloat16, buffer=nl.shared_hbm)
        both = nl.ndarray((8, 32), dtype=nl.bfloat16)
        i_p, i_f = nl.mgrid[0:8, 0:16]
        both[i_p, 2 * i_f] = nisa.tensor_copy(nisa.nc_matmul(nl.load(a), nl.load(b)))
        both[:, 1::2] = nl.load(b)
        nl.store(out, both)
        return out

    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got, run = run_kernel(kernel, a, b)
    expected = np.empty((8, 32), BF16)
    expected[:, 0::2] = expected[:, 1::2] = b.astype(BF16)
    assert_same_bits(got, expected)
    assert run.counts() == {"dma_copy": 4, "nc_matmul": 1, "tensor_copy": 1}


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=str)
@pytest.mark.parametrize("engine", ["vector", "gpsimd"])
def test_memset_fills_a_new_tile(dtype, engine):
    got = on_tiles(
        lambda t: nisa.memset((16, 3, 8), 3, dtype=dtype, engine=getattr(nisa, f"{engine}_engine")),
        values((1, 1)),
    )
    assert (got.shape, got.space) == ((16, 3, 8), "sbuf")
    assert_same_bits(got.values, np.full((16, 3, 8), 3, dtype))
    assert got.run.count("memset", engine=engine) == 1


def test_a_fill_is_rounded_to_the_type_of_the_tile():
    got = on_tiles(lambda t: nl.full((2, 2), 1.003, dtype=nl.bfloat16), values((1, 1)))
    assert_same_bits(got.values, np.full((2, 2), 1.003, np.float32).astype(BF16))
    assert (
        on_tiles(lambda t: nl.full((2, 2), -np.inf, dtype=nl.float32), values((1, 1))).values[0, 0]
        == -np.inf
    )


# -- selection -------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [*FLOATS, np.dtype(np.int32)], ids=str)
@pytest.mark.parametrize("predicate", [np.uint8, np.bool_, np.int32, np.float32])
def test_where_chooses_between_tiles_vectors_and_numbers(dtype, predicate):
    p = (values((16, 24), seed=9) > 0).astype(predicate)
    x, y, v = (
        values((16, 24), dtype, high=9),
        values((16, 24), dtype, 1, high=9),
        values((16, 1), dtype, 2, high=9),
    )
    assert_same_bits(
        on_tiles(lambda c, a, b: nl.where(c, a, b), p, x, y).values, np.where(p != 0, x, y)
    )
    assert_same_bits(
        on_tiles(lambda c, a, b: nl.where(c, a, b), p, x, v).values, np.where(p != 0, x, v)
    )
    got = on_tiles(lambda c, a: nl.where(c, a, 7, dtype=dtype), p, x).values
    assert_same_bits(got, np.where(p != 0, x, np.asarray(7, dtype)))


@pytest.mark.parametrize("predicate", [np.uint8, np.uint16, np.uint32, np.bool_])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("source", ["tile", "number"])
def test_tensor_copy_predicated_leaves_the_rest_of_its_destination(predicate, reverse, source):
    p, x, y = (
        (values((8, 16), seed=9) > 0).astype(predicate),
        values((8, 16)),
        values((8, 16), seed=1),
    )

    def body(c, a, b):
        nisa.tensor_copy_predicated(
            src=a if source == "tile" else 2.5, dst=b, predicate=c, reverse_pred=reverse
        )
        return b

    got = on_tiles(body, p, x, y)
    chosen = (p == 0) if reverse else (p != 0)
    assert_same_bits(got.values, np.where(chosen, x if source == "tile" else np.float32(2.5), y))
    assert got.run.count("tensor_copy_predicated") == 1


@pytest.mark.parametrize("on_false", ["number", "vector"])
@pytest.mark.parametrize("reverse", [False, True])
def test_select_reduce_selects_and_gives_the_row_maxima_in_one_instruction(on_false, reverse):
    p, x, v = (
        (values((8, 16), seed=9) > 0).astype(np.uint8),
        values((8, 16)),
        values((8, 1), seed=1),
    )

    @nki.jit
    def kernel(p, x, v):
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        best = nl.ndarray((8, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        dst, res = nl.ndarray((8, 16), dtype=nl.float32), nl.ndarray((8, 1), dtype=nl.float32)
        other = nl.load(v)
        nisa.select_reduce(
            dst=dst,
            predicate=nl.load(p),
            on_true=nl.load(x),
            on_false=other if on_false == "vector" else -9984.0,
            reduce_res=res,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
            reduce_op=nl.max,
            reverse_pred=reverse,
        )
        nl.store(out, dst)
        nl.store(best, res)
        return out, best

    (got, best), run = run_kernel(kernel, p, x, v)
    expected = np.where(
        (p == 0) if reverse else (p != 0), x, v if on_false == "vector" else np.float32(-9984)
    )
    assert_same_bits(got, expected)
    assert_same_bits(best, expected.max(axis=1, keepdims=True))
    assert run.count("select_reduce") == 1 and len(run) == 6


def test_select_reduce_can_carry_the_maximum_over_several_instructions():
    p, x = np.ones((4, 8), np.uint8), values((2, 4, 8))

    @nki.jit
    def kernel(p, x):
        best = nl.ndarray((4, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        dst, res = nl.ndarray((4, 8), dtype=nl.float32), nl.ndarray((4, 1), dtype=nl.float32)
        predicate = nl.load(p)
        for i, cmd in enumerate((nisa.reduce_cmd.reset_reduce, nisa.reduce_cmd.reduce)):
            nisa.select_reduce(
                dst=dst,
                predicate=predicate,
                on_true=nl.load(x[i]),
                on_false=0.0,
                reduce_res=res,
                reduce_cmd=cmd,
            )
        nl.store(best, res)
        return best

    got, _ = run_kernel(kernel, p, x)
    assert_same_bits(got, x.max(axis=(0, 2))[:, None])
