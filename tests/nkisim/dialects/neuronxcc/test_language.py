"""nki.language: what each function computes and the instructions it is, against NumPy in
float64."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim

from ...helpers import (
    BF16,
    FLOATS,
    FP16,
    FP32,
    assert_close,
    assert_same_bits,
    few_examples,
    on_tiles,
    refused_on_tiles,
    rounded,
    run_kernel,
    values,
)

SHAPES = st.tuples(st.integers(1, 128), st.integers(1, 40))


def counts(run: nkisim.Run) -> dict[str, int]:
    return {op: n for op, n in run.counts().items() if op != "dma_copy"}


# -- two operands ----------------------------------------------------------------------------------
BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
BOOLEAN = [
    name for name in BINARY if name not in ("add", "subtract", "multiply", "maximum", "minimum")
]


@pytest.mark.parametrize("name", BINARY)
@few_examples
@given(
    shape=SHAPES,
    a=st.sampled_from(FLOATS),
    b=st.sampled_from(FLOATS),
    out=st.sampled_from([None, *FLOATS]),
    other=st.sampled_from(["tile", "column", "left column", "number"]),
)
def test_binary_functions_broadcast_promote_and_round_once(name, shape, a, b, out, other):
    function = getattr(nl, name)
    x = values(shape, a)
    y = values(shape if other == "tile" else (shape[0], 1), b, 1)
    if other == "number":
        y = np.float32(0.5)
        got = on_tiles(lambda s: function(s, 0.5, dtype=out), x)
    elif other == "left column":
        x, y = y, x
        got = on_tiles(lambda s, t: function(s, t, dtype=out), x, y)
    else:
        got = on_tiles(lambda s, t: function(s, t, dtype=out), x, y)
    promoted = FP32 if other == "number" or a != b else np.dtype(a)
    kind = np.dtype(out) if out is not None else np.dtype(bool) if name in BOOLEAN else promoted
    assert_same_bits(
        got.values,
        rounded(BINARY[name](x.astype(np.float64), np.asarray(y).astype(np.float64)), kind),
    )
    assert len(counts(got.run)) == 1


def test_free_axes_broadcast_both_ways_without_an_instruction():
    x, y = values((8, 4, 1)), values((8, 1, 6), seed=1)
    got = on_tiles(nl.add, x, y)
    assert_same_bits(got.values, x + y)
    assert counts(got.run) == {"tensor_tensor": 1}
    refused_on_tiles(nl.add, values((8, 4)), values((8, 6)), rule="shape-mismatch")


def test_a_row_is_broadcast_over_the_partitions_by_a_matmul_with_ones():
    x, row = values((64, 40)), values((1, 40), seed=1)
    for got in (on_tiles(nl.multiply, x, row), on_tiles(lambda s, t: nl.multiply(t, s), x, row)):
        assert_same_bits(got.values, x * row)
        assert counts(got.run) == {
            "memset": 1,
            "nc_matmul": 1,
            "tensor_copy": 1,
            "tensor_tensor": 1,
        }


def test_two_psum_operands_of_a_function_cost_a_copy():
    a, b = np.eye(8, dtype=np.float32), values((8, 16))
    got = on_tiles(lambda s, t: nl.add(nisa.nc_matmul(s, t), nisa.nc_matmul(s, t)), a, b)
    assert_same_bits(got.values, b + b)
    assert counts(got.run) == {"nc_matmul": 2, "tensor_copy": 1, "tensor_tensor": 1}


@given(shape=SHAPES, a=st.sampled_from(FLOATS), b=st.sampled_from(FLOATS))
def test_divide_is_close_to_the_quotient_and_two_instructions(shape, a, b):
    x, y = values(shape, a), values(shape, b, 1, low=0.5)
    got = on_tiles(nl.divide, x, y)
    assert_close(got.values, x.astype(np.float64) / y.astype(np.float64), a if a == b else FP32)
    assert counts(got.run) == {"reciprocal": 1, "tensor_tensor": 1}


def test_division_of_integers_gives_float32():
    x, y = np.array([[7, 8]], np.int32), np.array([[2, 4]], np.int32)
    got = on_tiles(nl.divide, x, y)
    assert got.dtype == FP32 and got.values.tolist() == [[3.5, 2.0]]


@pytest.mark.parametrize(("name", "reference"), [("mod", np.mod), ("fmod", np.fmod)])
def test_remainders_take_the_sign_of_the_divisor_or_of_the_dividend(name, reference):
    x, y = values((8, 16), low=-9, high=9), values((8, 16), seed=1, low=0.5)
    np.testing.assert_allclose(on_tiles(getattr(nl, name), x, y).values, reference(x, y), rtol=1e-6)
    np.testing.assert_allclose(
        on_tiles(lambda t: getattr(nl, name)(t, -2.5), x).values,
        reference(x, np.float32(-2.5)),
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("floor", np.floor),
        ("ceil", np.ceil),
        ("trunc", np.trunc),
        ("cos", np.cos),
        ("tan", np.tan),
        ("negative", np.negative),
        ("reciprocal", lambda x: 1 / x),
    ],
)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_functions_of_one_operand(name, reference, dtype):
    x = values((8, 16), dtype, low=-1.2, high=1.2)
    got = on_tiles(getattr(nl, name), x)
    assert_close(got.values, np.asarray(reference(x.astype(np.float64))), dtype, ulps=8)
    assert len(counts(got.run)) == 1


def test_logical_not_gives_booleans_and_invert_flips_bits():
    x = np.array([[0.0, 0.5, -1.0]], np.float32)
    assert on_tiles(nl.logical_not, x).values.tolist() == [[True, False, False]]
    assert on_tiles(nl.invert, np.array([[0, 5]], np.int32)).values.tolist() == [[-1, -6]]


# -- reductions ------------------------------------------------------------------------------------
REDUCTIONS = {"sum": np.sum, "max": np.max, "min": np.min, "prod": np.prod, "mean": np.mean}


@pytest.mark.parametrize("name", REDUCTIONS)
@few_examples
@given(
    shape=SHAPES,
    dtype=st.sampled_from(FLOATS),
    keepdims=st.booleans(),
    axis=st.sampled_from([1, -1, [1], (1,)]),
)
def test_reductions_over_the_free_axis_keep_two_axes(name, shape, dtype, keepdims, axis):
    x = values(shape, dtype, low=0.5, high=1.5)
    got = on_tiles(lambda t: getattr(nl, name)(t, axis=axis, keepdims=keepdims), x)
    assert (got.shape, got.dtype) == ((shape[0], 1), np.dtype(dtype))
    reference = REDUCTIONS[name](x.astype(np.float64), axis=1, keepdims=True)
    np.testing.assert_allclose(
        got.values.astype(np.float64),
        reference,
        rtol={FP32: 1e-5, BF16: 2.0**-8, FP16: 2.0**-10}[np.dtype(dtype)],
    )


@pytest.mark.parametrize("axis", [(1, 2), (1, 3), (2, 4), (1, 2, 3, 4), [2, 3], (3, 4), (-1, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_take_any_free_axes_as_access_patterns_reorder_them_for_nothing(axis, keepdims):
    x = values((4, 2, 3, 2, 5))
    got = on_tiles(lambda t: nl.sum(t, axis=axis, keepdims=keepdims), x)
    reference = x.astype(np.float64).sum(axis=tuple(axis), keepdims=True)
    left = tuple(n for i, n in enumerate(x.shape) if i not in axis and i - 5 not in axis)
    assert got.shape == (reference.shape if keepdims else left if len(left) > 1 else (4, 1))
    np.testing.assert_allclose(got.values.reshape(reference.shape), reference, rtol=1e-5, atol=1e-5)
    assert counts(got.run) == {"tensor_reduce": 1}


def test_all_and_var():
    x = np.array([[1, 2, 3], [1, 0, 3]], np.float32)
    assert on_tiles(lambda t: nl.all(t, axis=1), x).values.tolist() == [[True], [False]]
    x = values((16, 40))
    got = on_tiles(lambda t: nl.var(t, axis=1), x)
    np.testing.assert_allclose(
        got.values, x.astype(np.float64).var(axis=1, keepdims=True), rtol=1e-5
    )


def test_the_mean_of_integers_is_float32():
    assert on_tiles(lambda t: nl.mean(t, axis=1), np.array([[1, 2]], np.int32)).values.tolist() == [
        [1.5]
    ]


@pytest.mark.parametrize(
    ("axis", "rule"),
    [
        (0, "partition-axis"),
        ((0, 1), "partition-axis"),
        (2, "argument"),
        ("1", "argument"),
        (None, "argument"),
    ],
)
def test_axes_that_cannot_be_reduced_are_refused(axis, rule):
    error = refused_on_tiles(lambda t: nl.max(t, axis=axis), values((8, 16)), rule=rule)
    assert rule != "partition-axis" or (
        "nc_transpose" in error.remedy and "nc_matmul" in error.remedy
    )


# -- compositions ----------------------------------------------------------------------------------
@given(shape=SHAPES, dtype=st.sampled_from(FLOATS))
def test_softmax_is_max_exp_with_its_sum_reciprocal_and_multiply(shape, dtype):
    x = values(shape, dtype, low=-80, high=80)
    got = on_tiles(lambda t: nl.softmax(t, axis=1), x)
    wide = x.astype(np.float64)
    p = np.exp(wide - wide.max(axis=1, keepdims=True))
    tolerance = {FP32: 1e-6, BF16: 4e-3, FP16: 1e-3}[np.dtype(dtype)]
    np.testing.assert_allclose(
        got.values.astype(np.float64), p / p.sum(axis=1, keepdims=True), rtol=0, atol=tolerance
    )
    assert got.dtype == dtype
    assert counts(got.run) == {
        "tensor_reduce": 1,
        "activation": 1,
        "reciprocal": 1,
        "tensor_scalar": 1,
    }


def test_softmax_over_some_of_the_axes_and_into_another_type():
    x = values((4, 3, 8))
    got = on_tiles(lambda t: nl.softmax(t, axis=2, dtype=nl.bfloat16), x)
    p = np.exp(x - x.max(axis=2, keepdims=True))
    np.testing.assert_allclose(
        got.values.astype(np.float32), p / p.sum(axis=2, keepdims=True), atol=4e-3
    )
    assert got.dtype == BF16


def test_rms_norm():
    x, w = values((16, 40)), values((1, 40), seed=1)
    got = on_tiles(lambda t, u: nl.rms_norm(t, u, axis=1, n=40, epsilon=1e-5), x, w)
    np.testing.assert_allclose(
        got.values, x / np.sqrt((x * x).mean(axis=1, keepdims=True) + 1e-5) * w, rtol=1e-5
    )


@pytest.mark.parametrize(("p", "f"), [(128, 64), (20, 30)])
def test_matmul_chained_with_a_transpose_is_attention_of_one_tile(p, f):
    q, k, v = values((f, p)), values((f, p), seed=1), values((p, f), seed=2)

    def body(q, k, v):
        s = nl.matmul(q, k, transpose_x=True)
        w = nl.softmax(s, axis=1)
        return nl.matmul(w, v)

    got = on_tiles(body, q, k, v)
    s = q.T.astype(np.float64) @ k
    w = np.exp(s - s.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        got.values, w / w.sum(axis=1, keepdims=True) @ v, rtol=1e-4, atol=1e-5
    )


def test_static_cast_converts_numbers_arrays_and_tiles():
    assert nl.static_cast(np.ones(3), nl.bfloat16).dtype == BF16
    assert float(nl.static_cast(1.003, nl.bfloat16)) == 1.0
    assert_same_bits(
        on_tiles(lambda t: nl.static_cast(t, nl.float16), values((4, 4))).values,
        values((4, 4)).astype(FP16),
    )


# -- constants, program instances, prints ----------------------------------------------------------
def test_constants_have_their_documented_values():
    assert (
        nl.tile_size.pmax,
        nl.tile_size.psum_fmax,
        nl.tile_size.gemm_stationary_fmax,
        nl.tile_size.gemm_moving_fmax,
        nl.tile_size.bn_stats_fmax,
    ) == (128, 512, 128, 512, 512)
    assert np.float32(nl.fp32.min).view(np.uint32) == 0xFF7FFFFF
    assert np.float32(nl.bfp16.min).astype(BF16).view(np.uint16) == 0xFF80
    assert nl.finfo(nl.bfloat16).bits == 16 and nl.finfo(nl.float32).eps == np.finfo(np.float32).eps
    assert (
        nl.par_dim(128) == 128
        and nl.nc(2) * 2 == 2 * nl.nc(2) == 4
        and nl.spmd_dim(nl.nc(2), 3) == 6
    )


def test_get_nc_version_and_sbuf_size_are_those_of_the_target():
    seen = []

    def body(t):
        seen.append((nisa.get_nc_version(), nl.tile_size.total_available_sbuf_size))
        return t

    for name in ("trn1", "trn2"):
        on_tiles(body, values((1, 1)), target=name)
    assert seen == [(nisa.nc_version.gen2, 192 * 1024), (nisa.nc_version.gen3, 224 * 1024)]


def test_program_ids_and_their_numbers():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((2, 3, 4), dtype=nl.float32, buffer=nl.shared_hbm)
        i, j = nl.program_id(0), nl.program_id(1)
        assert (
            nl.num_programs() == 6
            and nl.num_programs(0) == 2
            and nl.num_programs((0, 1)) == 6
            and nl.program_ndim() == 2
        )
        nl.store(out[i, j : j + 1, :], nl.full((1, 4), 10.0 * i + j, dtype=nl.float32))
        return out

    got, _ = run_kernel(kernel[nl.nc(2), 3], values((1, 1)))
    np.testing.assert_array_equal(got[:, :, 0], np.add.outer(10 * np.arange(2), np.arange(3)))


def test_without_a_grid_the_program_is_number_zero_of_one():
    def body(t):
        assert nl.program_id(0) == 0 and nl.num_programs() == 1 and nl.program_ndim() == 0
        return t

    on_tiles(body, values((1, 1)))
    refused_on_tiles(lambda t: nl.program_id(1), values((1, 1)), rule="argument")


@pytest.mark.parametrize("loop", [nl.affine_range, nl.sequential_range, nl.static_range])
def test_the_three_ranges_count_like_range(loop):
    seen = []

    def body(t):
        seen.append(
            [list(loop(3)), list(loop(1, 4)), list(loop(0, 7, 3)), list(loop(0)), len(loop(2, 9))]
        )
        return t

    on_tiles(body, values((1, 1)))
    assert seen == [[[0, 1, 2], [1, 2, 3], [0, 3, 6], [], 7]]
    error = refused_on_tiles(lambda t: loop(8 / 2), values((1, 1)), rule="argument")
    assert "//" in error.remedy


def test_device_print_shows_the_values_and_the_run_keeps_them(capsys):
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        nl.device_print("tile is", tile)
        nl.device_print("step", 3)
        nl.store(out, tile)
        return out

    x = np.ones((1, 2), np.float32)
    kernel(x)
    assert capsys.readouterr().out == "tile is [[1. 1.]]\nstep 3\n"
    with nkisim.record() as run:
        kernel(x)
    assert [p.prefix for p in run.prints] == ["tile is", "step"]
    assert_same_bits(run.prints[0].value, x)


def test_typed_parameters_and_local_annotations_are_accepted():
    @nki.jit
    def kernel(x: nt.tensor, y: nt.tensor[8, 16]):
        out: nt.tensor[8, 16] = nl.ndarray((8, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        tile: nt.tensor[8, 16] = nl.load(x)
        assert isinstance(tile, nt.tensor)
        nl.store(out, tile + nl.load(y))
        return out

    x = values((8, 16))
    assert_same_bits(run_kernel(kernel, x, x)[0], x + x)


# -- what is not there -----------------------------------------------------------------------------
def test_an_argument_that_numpy_has_and_nki_lacks_is_refused_not_ignored():
    for call in (
        lambda t: nl.exp(t, axis=1),
        lambda t: nl.sum(t, axis=1, keepdim=True),
        lambda t: nisa.tensor_copy(t, out=t),
    ):
        error = refused_on_tiles(call, values((8, 16)), rule="argument")
        assert "has no argument" in error.headline


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        (nl, "maxmimum", "did you mean nl.maximum?"),
        (nisa, "tensor_add", "nisa has no 'tensor_add'"),
        (nl, "concatenate", "nl has no"),
    ],
)
def test_a_name_that_is_not_there_is_an_attribute_error_that_says_more(module, name, words):
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert words in str(caught.value)
    assert not hasattr(module, name)


def test_arrays_without_axes_are_numbers():
    x = values((8, 16))
    for body in (
        lambda t: t * np.array(2.0),
        lambda t: np.array(2.0) * t,
        lambda t: nl.multiply(t, np.array(2.0)),
        lambda t: nisa.tensor_scalar(t, op0=nl.multiply, operand0=np.array(2.0)),
    ):
        assert_same_bits(on_tiles(body, x).values, x * 2)
