"""Every instruction against an independent float64 reference, over shapes and data types, rounded
once to its dtype."""

from __future__ import annotations

import pathlib
import re

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nkisim.isa import TABLE
from nkisim.isa.alu import ALU

from ..helpers import covers
from .float64 import BF16, FLOATS, agree, normal, run, wide

partitions = st.sampled_from([1, 3, 32, 64, 100, 128])
columns = st.sampled_from([1, 2, 5, 64, 128, 500])
floats = st.sampled_from(FLOATS)


@covers("nc_matmul")
@given(k=partitions, m=st.sampled_from([1, 4, 128]), n=st.sampled_from([1, 128, 512]), dtype=floats)
def test_nc_matmul_is_the_product_of_the_transposed_stationary_operand(k, m, n, dtype):
    s, x = normal(1, k, m, dtype=dtype), normal(2, k, n, dtype=dtype)
    a, b = wide(s, x)
    agree(run(lambda s, x: nisa.tensor_copy(nisa.nc_matmul(s, x)), s, x), a.T @ b)


@covers("nc_matmul")
@given(tiles=st.integers(1, 5), dtype=floats)
def test_nc_matmul_accumulates_in_psum_in_float32(tiles, dtype):
    s, x = normal(3, 128, 16 * tiles, dtype=dtype), normal(4, 128, 64 * tiles, dtype=dtype)

    def body(s, x):
        total = nl.zeros((16, 64), dtype=nl.float32, buffer=nl.psum)
        for i in nl.affine_range(tiles):
            total += nisa.nc_matmul(s[:, nl.ds(16 * i, 16)], x[:, nl.ds(64 * i, 64)])
        return nisa.tensor_copy(total)

    a, b = wide(s, x)
    want = sum(a[:, 16 * i : 16 * i + 16].T @ b[:, 64 * i : 64 * i + 64] for i in range(tiles))
    agree(run(body, s, x), want)


@covers("nc_transpose", "vector_transpose")
@given(p=partitions, f=st.sampled_from([1, 7, 32, 128]), dtype=floats)
def test_nc_transpose_swaps_the_axes_exactly_on_either_engine(p, f, dtype):
    x = normal(5, p, f, dtype=dtype)
    got = run(lambda t: nisa.tensor_copy(nisa.nc_transpose(t)), x)
    assert got.dtype == x.dtype and np.array_equal(got, x.T)
    assert ("vector_transpose" in run.ops) == (p <= 32 and f <= 32)


def test_a_transpose_on_neuroncore_v2_is_a_matmul_that_spreads_nan():
    x = np.zeros((64, 64), np.float32)
    x[3, 5] = np.nan

    def body(x):
        out = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, nisa.tensor_copy(nisa.nc_transpose(nl.load(x))))
        return out

    old, new = nki.jit(body, platform_target="trn1")(x), nki.jit(body, platform_target="trn2")(x)
    assert np.isnan(new).sum() == 1 and np.isnan(new[5, 3])
    assert np.isnan(old).sum() == 64 and np.isnan(old[5]).all()


ARITHMETIC = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
COMPARISON = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}


@covers("tensor_tensor")
@given(op=st.sampled_from(sorted(ARITHMETIC)), p=partitions, f=columns, left=floats, right=floats)
def test_tensor_tensor_computes_in_float32_and_takes_the_wider_type(op, p, f, left, right):
    x, y = normal(6, p, f, dtype=left), normal(7, p, f, dtype=right)
    want_dtype = left if left == right else np.float32
    a, b = wide(x, y)
    agree(
        run(lambda x, y: nisa.tensor_tensor(x, y, op=getattr(nl, op)), x, y),
        ARITHMETIC[op](a, b),
        want_dtype,
    )


@covers("tensor_tensor")
@pytest.mark.parametrize("op", sorted(COMPARISON))
def test_comparisons_give_one_and_zero(op):
    x, y = np.round(normal(8, 64, 40) * 2), np.round(normal(9, 64, 40) * 2)
    want = COMPARISON[op](x, y)
    assert np.array_equal(
        run(lambda x, y: nisa.tensor_tensor(x, y, op=getattr(nl, op)), x, y),
        want.astype(np.float32),
    )
    got = run(lambda x, y: getattr(nl, op)(x, y), x, y)
    assert got.dtype == np.bool_ and np.array_equal(got, want)


@covers("tensor_tensor")
@pytest.mark.parametrize(
    "op", ["bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"]
)
def test_bitwise_operators_work_on_integers_as_they_are(op):
    rng = np.random.default_rng(1)
    x, y = (
        rng.integers(0, 2**16, (32, 40), dtype=np.int32),
        rng.integers(0, 8, (32, 40), dtype=np.int32),
    )
    got = run(lambda x, y: nisa.tensor_tensor(x, y, op=getattr(nl, op)), x, y)
    assert got.dtype == np.int32 and np.array_equal(got, getattr(np, op)(x, y))


@covers("tensor_tensor")
def test_integer_arithmetic_runs_exactly_on_gpsimd():
    x = np.array([[2**30, 2**24 + 1, 7, -5]], np.int32)
    assert np.array_equal(
        run(lambda x: nisa.tensor_tensor(x, x, op=nl.subtract), x), np.zeros_like(x)
    )
    assert np.array_equal(
        run(lambda x: nisa.tensor_tensor(x, x, op=nl.add), x[:, 1:]), x[:, 1:] * 2
    )


@covers("tensor_scalar")
@given(
    op0=st.sampled_from(sorted(ARITHMETIC)),
    op1=st.sampled_from([None, *sorted(ARITHMETIC)]),
    reverse0=st.booleans(),
    reverse1=st.booleans(),
    vector=st.booleans(),
    dtype=floats,
)
def test_tensor_scalar_applies_one_or_two_operators_in_order(
    op0, op1, reverse0, reverse1, vector, dtype
):
    x, v = normal(10, 64, 50, dtype=dtype), normal(11, 64, 1)
    a, b = wide(x, v)

    def step(op, reverse, left, right):
        return ARITHMETIC[op](right, left) if reverse else ARITHMETIC[op](left, right)

    want = step(op0, reverse0, a, b if vector else 1.5)
    if op1:
        want = step(op1, reverse1, want, 0.75)

    def body(x, v):
        return nisa.tensor_scalar(
            x,
            getattr(nl, op0),
            v if vector else 1.5,
            reverse0,
            getattr(nl, op1) if op1 else None,
            0.75 if op1 else None,
            reverse1,
        )

    agree(run(body, x, v), want, dtype)


@covers("scalar_tensor_tensor")
@given(
    op0=st.sampled_from(sorted(ARITHMETIC)),
    op1=st.sampled_from(sorted(ARITHMETIC)),
    reverse1=st.booleans(),
)
def test_scalar_tensor_tensor_applies_a_vector_then_a_tile(op0, op1, reverse1):
    x, v, y = normal(12, 100, 20), normal(13, 100, 1), normal(14, 100, 20)
    a, b, c = wide(x, v, y)
    left = ARITHMETIC[op0](a, b)
    want = ARITHMETIC[op1](c, left) if reverse1 else ARITHMETIC[op1](left, c)
    agree(
        run(
            lambda x, v, y: nisa.scalar_tensor_tensor(
                data=x,
                op0=getattr(nl, op0),
                operand0=v,
                op1=getattr(nl, op1),
                operand1=y,
                reverse1=reverse1,
            ),
            x,
            v,
            y,
        ),
        want,
    )


@covers("tensor_reduce")
@given(
    op=st.sampled_from(["add", "maximum", "minimum", "multiply"]),
    dtype=floats,
    negate=st.booleans(),
    axis=st.sampled_from([1, 2, (1, 2)]),
    keepdims=st.booleans(),
)
def test_tensor_reduce_reduces_the_last_free_axes(op, dtype, negate, axis, keepdims):
    x = normal(15, 64, 60)
    # products that stay in range
    x = (np.sign(x) * (0.95 + np.abs(x) / 20) if op == "multiply" else x).astype(dtype)
    (a,) = wide(x)
    a = a.reshape(64, 6, 10)
    if axis == 1:
        a, shape, where = x.astype(np.float64), (64, 60), 1
    else:
        shape, where = (64, 6, 10), axis
    want = {"add": np.sum, "maximum": np.max, "minimum": np.min, "multiply": np.prod}[op](
        a, axis=where, keepdims=True
    )
    want = -want if negate else want
    if not keepdims:
        want = want.reshape(64, 6) if axis == 2 else want.reshape(64, 1)
    got = run(
        lambda t: nisa.tensor_reduce(
            getattr(nl, op), t.reshape(shape), axis=where, negate=negate, keepdims=keepdims
        ),
        x,
    )
    agree(got, want, dtype)


@covers("tensor_scalar_reduce")
def test_tensor_scalar_reduce_gives_the_tile_and_its_reduction():
    x, v = normal(16, 128, 33), normal(17, 128, 1)

    def body(x, v):
        total = nl.ndarray((128, 1), dtype=nl.float32)
        tile = nisa.tensor_scalar_reduce(
            data=x, op0=nl.multiply, operand0=v, reduce_op=nl.add, reduce_res=total
        )
        return tile, total

    tile, total = run(body, x, v, outputs=2)
    a, b = wide(x, v)
    agree(tile, a * b)
    agree(total, (a * b).sum(axis=1, keepdims=True))


@covers("tensor_tensor_scan")
def test_tensor_tensor_scan_carries_its_state_along_the_free_axis():
    x, y, start = normal(18, 32, 20) / 2, normal(19, 32, 20), normal(20, 32, 1)
    a, b, state = wide(x, y, start)
    want = np.empty_like(a)
    for i in range(20):
        state = a[:, i : i + 1] * state + b[:, i : i + 1]
        want[:, i : i + 1] = state
    agree(
        run(lambda x, y, s: nisa.tensor_tensor_scan(x, y, s, nl.multiply, nl.add), x, y, start),
        want,
    )


@covers("reciprocal")
@given(dtype=floats)
def test_reciprocal(dtype):
    x = (np.abs(normal(27, 64, 30)) + 0.5).astype(dtype)
    agree(run(lambda t: nisa.reciprocal(t), x), 1 / x.astype(np.float64), dtype)


@covers("tensor_copy", "dma_copy")
@given(src=floats, dst=floats, by=st.sampled_from(["load", "copy", "scalar", "gpsimd", "store"]))
def test_copies_and_transfers_cast_with_one_rounding(src, dst, by):
    x = normal(28, 64, 30, dtype=src)

    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 30), dtype=dst, buffer=nl.shared_hbm)
        if by == "store":
            nl.store(out, nl.load(x))
        elif by == "load":
            nl.store(out, nl.load(x, dtype=dst))
        else:
            engine = {
                "copy": nisa.unknown_engine,
                "scalar": nisa.scalar_engine,
                "gpsimd": nisa.gpsimd_engine,
            }[by]
            nl.store(out, nisa.tensor_copy(nl.load(x), dtype=dst, engine=engine))
        return out

    got = kernel(x)
    assert got.dtype == np.dtype(dst) and np.array_equal(got, x.astype(np.float32).astype(dst))


@covers("dma_copy")
def test_dma_copy_moves_between_all_reachable_memories_and_adds():
    x = normal(29, 128, 16)

    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray((128, 16), dtype=nl.float32)
        nisa.dma_copy(dst=out, src=x)  # HBM to HBM
        nisa.dma_copy(dst=tile, src=x)  # HBM to SBUF
        nisa.dma_copy(dst=out, src=tile, dst_rmw_op=np.add)  # SBUF to HBM, added
        return out

    assert np.array_equal(kernel(x), 2 * x)


@covers("dma_transpose")
def test_a_transposing_load_turns_hbm_rows_into_partitions():
    x = normal(30, 200, 64)

    @nki.jit
    def kernel(x):
        out = nl.ndarray((64, 200), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load_transpose2d(x))
        return out

    assert np.array_equal(kernel(x), x.T)


@covers("memset")
@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1.5, np.float32), (-2, np.int32), (257, BF16), (300, np.uint8), (0.1, np.float16)],
)
def test_memset_rounds_its_number_to_the_dtype(value, dtype):
    got = run(lambda x: nisa.memset((4, 8), value, dtype=dtype), normal(31, 4, 8))
    want = min(value, 255) if dtype == np.uint8 else value
    assert np.array_equal(got, np.full((4, 8), want, np.float64).astype(np.float32).astype(dtype))


@covers("select", "tensor_copy_predicated", "select_reduce")
def test_select_takes_one_operand_or_the_other():
    x, y = normal(32, 64, 20), normal(33, 64, 20)
    p = (normal(34, 64, 20) > 0).astype(np.uint8)
    assert np.array_equal(run(lambda p, x, y: nl.where(p, x, y), p, x, y), np.where(p, x, y))
    assert np.array_equal(
        run(lambda p, x: nl.where(p, x, -9.0), p, x), np.where(p, x, np.float32(-9))
    )

    def predicated(p, x, y):
        nisa.tensor_copy_predicated(src=x, dst=y, predicate=p)
        return y

    assert np.array_equal(run(predicated, p, x, y), np.where(p, x, y))

    def with_maximum(p, x, y):
        largest = nl.ndarray((64, 1), dtype=nl.float32)
        nisa.select_reduce(
            dst=y,
            predicate=p,
            on_true=x,
            on_false=-5.0,
            reduce_res=largest,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
            reduce_op=np.max,
        )
        return y, largest

    chosen, largest = run(with_maximum, p, x, y, outputs=2)
    assert np.array_equal(chosen, np.where(p, x, np.float32(-5)))
    assert np.array_equal(largest, chosen.max(axis=1, keepdims=True))


@covers("iota", "affine_select")
def test_index_patterns_and_affine_selection():
    x = normal(35, 64, 64)
    i_p, i_f = nl.arange(64)[:, None], nl.arange(64)[None, :]
    rows, columns_ = np.mgrid[0:64, 0:64]
    assert np.array_equal(
        run(lambda x: nisa.iota(3 * i_p - i_f + 7, dtype=nl.int32), x), 3 * rows - columns_ + 7
    )
    got = run(
        lambda x: nisa.affine_select(pred=(i_p >= i_f), on_true_tile=x, on_false_value=-1e9), x
    )
    assert np.array_equal(got, np.where(rows >= columns_, x, np.float32(-1e9)))


@covers("tensor_partition_reduce", "partition_broadcast")
def test_reductions_and_broadcasts_over_partitions():
    x = normal(36, 100, 12)
    agree(
        run(lambda t: nisa.tensor_partition_reduce(np.add, t), x),
        x.astype(np.float64).sum(axis=0, keepdims=True),
    )
    assert np.array_equal(
        run(lambda t: nisa.tensor_partition_reduce(np.max, t), x), x.max(axis=0, keepdims=True)
    )
    row = normal(37, 1, 700)
    assert np.array_equal(
        run(lambda t: nl.broadcast_to(t, shape=(128, 700)), row), np.repeat(row, 128, axis=0)
    )
    whole = np.arange(40, dtype=np.int32)[None, :]
    assert np.array_equal(
        run(lambda t: t.broadcast_to((64, 40)), whole), np.repeat(whole, 64, axis=0)
    )


@covers("elementwise")
@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "cos"])
def test_functions_without_a_documented_lowering(name):
    x = normal(38, 32, 40) * 3
    agree(run(lambda t: getattr(nl, name)(t), x), getattr(np, name)(x.astype(np.float64)))


def test_every_instruction_is_covered_by_a_reference():
    elsewhere = {
        name
        for path in pathlib.Path(__file__).parent.glob("test_*.py")
        for names in re.findall(r"^@covers\((.*)\)", path.read_text(encoding="utf-8"), re.MULTILINE)
        for name in re.findall(r'"(\w+)"', names)
    }
    # which takes two cores: see the tests of the dialect nki
    assert elsewhere == set(TABLE) - {"sendrecv"}


def test_every_operator_has_the_engines_of_the_documentation():
    on_all = {"add", "multiply"}
    only_gpsimd = {"power"}
    for name, op in ALU.items():
        if name in on_all:
            assert set(op.engines) == {"vector", "gpsimd", "scalar"}
        elif name in only_gpsimd:
            assert op.engines == ("gpsimd",)
        elif name == "rsqrt":
            assert set(op.engines) == {"gpsimd", "scalar"}
        elif name in ("reciprocal", "abs"):
            assert set(op.engines) == {"vector", "scalar"}
        else:
            assert op.engines == ("vector",)


def test_bfloat16_sums_stop_growing_only_where_the_state_is_bfloat16():
    def total(dtype):
        def body(x):
            l = nl.zeros((1, 1), dtype=dtype)
            for _ in nl.sequential_range(300):
                l[...] = nl.add(l, x[:, 0:1], dtype=dtype)
            return l

        return float(run(body, np.ones((1, 1), np.float32))[0, 0])

    assert total(nl.float32) == 300 and total(nl.bfloat16) == 256
