"""Views of tensors: what subscripts, reshapes and index grids see, against NumPy; attributes;
refusals."""

from __future__ import annotations

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim

from ..helpers import (
    BF16,
    assert_same_bits,
    marked_line,
    on_tiles,
    refused,
    refused_on_tiles,
    run_kernel,
    values,
)


@st.composite
def basic_subscript(draw, shape: tuple[int, ...]):
    """A subscript of a tile: the partition axis as a slice from 0, free axes as slices, steps,
    nl.ds and integers."""
    parts: list = [draw(st.sampled_from([slice(None), slice(0, draw(st.integers(1, shape[0])))]))]
    for n in shape[1:]:
        start = draw(st.integers(0, n - 1))
        stop = draw(st.integers(start + 1, n))
        step = draw(st.integers(1, 3))
        parts.append(
            draw(
                st.sampled_from(
                    [
                        slice(None),
                        slice(start, stop),
                        slice(start, stop, step),
                        start,
                        ("ds", start, stop - start),
                    ]
                )
            )
        )
    return tuple(parts)


def as_nki(parts):
    return tuple(nl.ds(e[1], e[2]) if isinstance(e, tuple) else e for e in parts)


def as_numpy(parts):
    """The same for NumPy, with the last axis that was taken by number kept if fewer than two axes
    would remain."""
    plain = [slice(e[1], e[1] + e[2]) if isinstance(e, tuple) else e for e in parts]
    taken = [i for i, e in enumerate(plain) if isinstance(e, int)]
    if len(plain) - len(taken) < 2 and taken:
        plain[taken[-1]] = slice(plain[taken[-1]], plain[taken[-1]] + 1)
    return tuple(plain)


@given(data=st.data(), shape=st.sampled_from([(16, 12), (8, 5, 7), (4, 3, 4, 5)]))
def test_subscripts_of_tiles_see_what_numpy_sees_and_keep_two_axes(data, shape):
    x = values(shape)
    parts = data.draw(basic_subscript(shape))
    got = on_tiles(lambda t: nl.copy(t[as_nki(parts)]), x)
    assert_same_bits(got.values, np.ascontiguousarray(x[as_numpy(parts)]))


@given(data=st.data(), shape=st.sampled_from([(16, 12), (8, 5, 7), (4, 3, 4, 5)]))
def test_writing_through_a_subscript_changes_those_elements_only(data, shape):
    parts = data.draw(basic_subscript(shape))
    x = values(shape)

    def body(t):
        t[as_nki(parts)] = nl.negative(t[as_nki(parts)])
        return t

    expected = x.copy()
    expected[as_numpy(parts)] *= -1
    assert_same_bits(on_tiles(body, x).values, expected)


@given(
    a=st.integers(1, 3),
    b=st.integers(1, 3),
    c=st.integers(0, 5),
    n=st.integers(1, 6),
    m=st.integers(1, 6),
)
def test_index_grids_on_free_axes_are_any_affine_pattern(a, b, c, n, m):
    x = values((8, 40))
    i_p, i_a, i_b = (
        nl.arange(8)[:, None, None],
        nl.arange(n)[None, :, None],
        nl.arange(m)[None, None, :],
    )
    got = on_tiles(lambda t: nl.copy(t[i_p, a * i_a + b * i_b + c]), x)
    index = a * np.arange(n)[:, None] + b * np.arange(m) + c
    assert got.shape == (8, n, m)
    assert_same_bits(got.values, x[:, index])


def test_index_grids_reverse_overlap_and_pick_a_column():
    x = values((8, 12))
    i_p = nl.arange(8)[:, None]
    cases = [
        ((i_p, 11 - nl.arange(12)[None, :]), x[:, ::-1]),
        ((i_p, 3), x[:, 3:4]),
        ((i_p + 0, nl.arange(3)[None, :] * 0 + 5), x[:, [5, 5, 5]]),
        ((0, nl.arange(12)[None, :]), x[0:1]),
        ((i_p, nl.arange(12)[None, :] // 2), x[:, np.arange(12) // 2]),
        ((i_p, nl.arange(12)[None, :] % 5), x[:, np.arange(12) % 5]),
        (nl.mgrid[0:8, 0:12], x),
        (nl.mgrid[0:8, 2:12:3], x[:, 2:12:3]),
        ((i_p,), x[:, None, :]),
    ]
    for key, expected in cases:
        got = on_tiles(lambda t, key=key: nl.copy(t[key]), x)
        assert_same_bits(got.values, np.ascontiguousarray(expected))


def test_index_grids_start_at_partition_32_and_64():
    x = values((128, 6))
    for start, rows in ((32, 32), (64, 64), (96, 20)):
        got = on_tiles(
            lambda t, s=start, n=rows: nl.exp(t[s + nl.arange(n)[:, None], nl.arange(6)[None, :]]),
            x,
        )
        np.testing.assert_allclose(got.values, np.exp(x[start : start + rows]), rtol=1e-6)


def test_grids_on_hbm_index_three_and_four_axes_with_scalars_between():
    x = values((3, 4, 10, 12))
    i_p, i_f = nl.mgrid[0:10, 0:12]
    cases = [
        (lambda t: t[2, 1, i_p, i_f], x[2, 1]),
        (
            lambda t: t[
                nl.arange(3)[:, None, None],
                2,
                nl.arange(10)[None, :, None],
                nl.arange(12)[None, None, :],
            ],
            x[:, 2],
        ),
        (lambda t: t[1, nl.arange(4)[:, None], 5, nl.arange(12)[None, :]], x[1, :, 5]),
        (lambda t: t[0, 0, 9 - i_p, i_f], x[0, 0, ::-1]),
    ]
    for pick, expected in cases:

        @nki.jit
        def kernel(t, pick=pick):
            tile = nl.load(pick(t))
            out = nl.ndarray(tile.shape, dtype=tile.dtype, buffer=nl.shared_hbm)
            nl.store(out, tile)
            return out

        assert_same_bits(run_kernel(kernel, x)[0], np.ascontiguousarray(expected))


def test_block_axes_are_taken_by_number_slice_or_grid():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((4, 16, 8), dtype=x.dtype, buffer=nl.shared_hbm)
        blocks = nl.ndarray((2, 2, nl.par_dim(16), 8), dtype=x.dtype)
        i_p, i_f = nl.mgrid[0:16, 0:8]
        blocks[0, 0] = nl.load(x[0])
        blocks[0, 1, :, :] = nl.load(x[1])
        blocks[1, 0, i_p, i_f] = nl.load(x[2])
        blocks[1, 1, 0:16, 0:8] = nl.load(x[3])
        for i in nl.affine_range(4):
            nl.store(out[i], nl.multiply(blocks[i // 2, i % 2], 2.0))
        return out

    x = values((4, 16, 8))
    assert_same_bits(run_kernel(kernel, x)[0], x * 2)


def test_reshapes_see_the_same_elements():
    x = values((8, 24))
    assert_same_bits(
        on_tiles(lambda t: nl.copy(t.reshape((8, 4, 6))), x).values, x.reshape(8, 4, 6)
    )
    assert_same_bits(
        on_tiles(lambda t: nl.copy(t.reshape(shape=(8, 4, 6))), x).values, x.reshape(8, 4, 6)
    )
    assert_same_bits(
        on_tiles(lambda t: nl.copy(t.reshape(8, 2, -1)[:, 1, :]), x).values,
        np.ascontiguousarray(x[:, 12:]),
    )
    assert_same_bits(
        on_tiles(lambda t: nl.copy(t[:, 0:12].reshape((8, 12))), x).values,
        np.ascontiguousarray(x[:, :12]),
    )
    assert_same_bits(on_tiles(lambda t: nl.copy(nl.expand_dims(t, 2)), x).values, x[:, :, None])
    assert on_tiles(lambda t: nl.copy(t.expand_dims(axis=-1)), x).shape == (8, 24, 1)

    @nki.jit
    def kernel(v):
        out = nl.ndarray((6, 8, 4), dtype=v.dtype, buffer=nl.shared_hbm)
        nl.store(out.reshape((48, 4)), nl.load(v.reshape((48, 4))))
        return out

    v = values((192,))
    assert_same_bits(run_kernel(kernel, v)[0], v.reshape(6, 8, 4))


def test_a_view_reads_the_same_bytes_as_another_type():
    x = values((8, 24))
    assert_same_bits(on_tiles(lambda t: nl.copy(t.view(nl.int32)), x).values, x.view(np.int32))
    assert_same_bits(on_tiles(lambda t: nl.copy(t.view(nl.bfloat16)), x).values, x.view(BF16))
    refused_on_tiles(lambda t: t[:, 0:3].view(nl.bfloat16)[:, 0:99], x, rule="out-of-bounds")


def test_a_tensor_tells_its_shape_type_size_and_memory():
    seen = {}

    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        product = nisa.nc_matmul(tile[:, 0:8], tile)
        for t in (x, tile, product, tile[:, 0:5]):
            seen[repr(t)] = (t.shape, t.ndim, t.size, t.itemsize, t.dtype, t.buffer, len(t))
        assert (
            tile.dtype == nl.float32 == x.dtype
            and tile.buffer == nl.sbuf
            and product.buffer == nl.psum
        )
        assert tile.assert_shape((16, 24)) is tile
        nl.store(out, tile)
        return out

    run_kernel(kernel, values((16, 24)))
    f = np.dtype(np.float32)
    assert seen == {
        "<x: (16, 24) float32 in hbm>": ((16, 24), 2, 384, 4, f, "hbm", 16),
        "<tile: (16, 24) float32 in sbuf>": ((16, 24), 2, 384, 4, f, "sbuf", 16),
        "<product: (8, 24) float32 in psum>": ((8, 24), 2, 192, 4, f, "psum", 8),
        "<tile: (16, 5) float32 in sbuf>": ((16, 5), 2, 80, 4, f, "sbuf", 16),
    }


# -- refusals --------------------------------------------------------------------------------------
OUT_OF_PLACE = [
    (lambda t: t[:, 0:25], "out-of-bounds"),
    (lambda t: t[:, 24], "out-of-bounds"),
    (lambda t: t[:, 5:5], "out-of-bounds"),
    (lambda t: t[:, nl.ds(20, 5)], "out-of-bounds"),
    (lambda t: t[0:17, :], "out-of-bounds"),
    (lambda t: t[:, -1], "negative-index"),
    (lambda t: t[:, -4:24], "negative-index"),
    (lambda t: t[:, 0:-1], "negative-index"),
    (lambda t: t[0:16:2, :], "partition-stride"),
    (lambda t: t[0, 0, 0], "rank-limit"),
    (lambda t: t[:, 0:12.0], "argument"),
    (lambda t: t[:, 0 : 24 / 2], "argument"),
    (lambda t: t[:, ::0], "argument"),
    (lambda t: t[:, ::-1], "argument"),
    (lambda t: t[:, 1.5], "argument"),
    (lambda t: t[None], "argument"),
    (lambda t: t["a"], "argument"),
    (lambda t: t[True], "argument"),
    (lambda t: t[np.array([0, 1]), 0], "numpy-on-tile"),
    (lambda t: t[[0, 1], 0], "numpy-on-tile"),
    (lambda t: t[nl.arange(16), 0], "arange-1d"),
    (lambda t: t[nl.arange(16)[:, None], :], "mixed-indexing"),
    (lambda t: t[nl.arange(16)[:, None] < 4], "mask"),
    (lambda t: t[nl.arange(16)[None, :], nl.arange(24)[:, None]], "partition-axis"),
    (lambda t: t[nl.arange(8)[:, None] * 2, nl.arange(24)[None, :]], "partition-axis"),
    (lambda t: t[nl.arange(16)[:, None] * 0, nl.arange(24)[None, :]], "partition-axis"),
    (lambda t: t[nl.arange(16)[:, None], nl.arange(16)[:, None]], "partition-axis"),
    (lambda t: t.reshape((24, 16)), "partition-axis"),
    (lambda t: t.reshape((16, 25)), "shape-mismatch"),
    (lambda t: t.reshape((4, 4, 24)), "partition-axis"),
    (lambda t: t.reshape(), "argument"),
    (lambda t: t.reshape((16, 24), shape=(16, 24)), "argument"),
    (lambda t: t.assert_shape((16, 23)), "annotation"),
    (lambda t: nl.expand_dims(t, 0), "partition-axis"),
    (lambda t: iter(t), "argument"),
    (lambda t: list(t), "argument"),
]


@pytest.mark.parametrize(("pick", "rule"), OUT_OF_PLACE)
def test_subscripts_and_views_that_cannot_be_are_refused_with_the_tensors_name(pick, rule):
    def kernel(x):
        scores = nl.load(x)
        nl.copy(pick(scores))

    error = refused(kernel, values((16, 24)), rule=rule)
    assert (error.tensor == "scores" and "'scores'" in error.headline) or rule == "partition-axis"
    assert error.remedy or error.limit


def test_an_index_out_of_bounds_is_an_index_error_that_tells_the_limit():
    def kernel(x):
        tile = nl.load(x)
        return nl.copy(tile[:, 20:30])  # breaks

    error = refused(kernel, values((16, 24)), rule="out-of-bounds")
    assert isinstance(error, IndexError)
    assert (error.tensor, error.line) == ("tile", marked_line(kernel))
    assert "20:30" in error.headline and "0..24" in error.limit and "does not clip" in error.limit


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda t: np.exp(t), "Use nl.exp"),
        (lambda t: np.max(t), "nl.max"),
        (lambda t: np.sum(t, axis=1), "nl.sum"),
        (lambda t: np.array(t), "Compute on the tile"),
        (lambda t: np.asarray(t), "Compute on the tile"),
        (lambda t: np.add(t, t), "nl.add"),
        (lambda t: np.maximum(t, 0), "nl.maximum"),
        (lambda t: np.matmul(t, t), "nl.matmul"),
        (lambda t: np.where(t, t, t), "nl.where"),
        (lambda t: np.dot(t, t), "nl.matmul"),
        (lambda t: np.einsum("ij,ij->i", t, t), "no function"),
        (lambda t: np.clip(t, 0, 1), "no function"),
        (lambda t: np.concatenate([t, t]), "slices of one larger tile"),
        (lambda t: float(t), "Compute on the tile"),
        (lambda t: f"{t:.3f}", "Compute on the tile"),
        (lambda t: int(t), "Compute on the tile"),
        (lambda t: math.exp(t), "Compute on the tile"),
        (lambda t: np.tile(t, 2), "no function"),
        (lambda t: np.ones((16, 24), np.float32) * t, "NumPy array"),
        (lambda t: t + np.ones((16, 24), np.float32), "NumPy array"),
        (lambda t: nl.add(t, np.ones((16, 24), np.float32)), "NumPy array"),
        (lambda t: nl.exp(np.ones((16, 24))), "NumPy array"),
    ],
)
def test_numpy_and_python_maths_on_a_tile_are_refused_and_the_nki_function_is_named(ask, words):
    error = refused_on_tiles(ask, values((16, 24)), rule="numpy-on-tile")
    assert words in str(error)
    assert isinstance(error, TypeError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda t: 1 if t else 0,
        lambda t: not t,
        lambda t: t and t,
        lambda t: t or t,
        lambda t: max(t, t),
        lambda t: 1 if t > 0 else 2,
        lambda t: bool(t),
        lambda t: [0, 1][bool(t[0:1, 0:1] < 1)],
    ],
)
def test_the_truth_value_of_a_tile_is_refused_as_control_flow_on_values(ask):
    error = refused_on_tiles(ask, values((16, 24)), rule="truth-value")
    assert isinstance(error, ValueError) and "nl.where" in error.remedy


@pytest.mark.parametrize("size", [1, 16])
def test_the_truth_value_of_an_argument_says_that_it_was_given_with_a_warning(size):
    @nki.jit
    def kernel(x, bias=None):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        if bias:
            tile = nl.add(tile, nl.load(bias))
        nl.store(out, value=tile)
        return out

    x, zeros = values((16, size)), np.zeros((16, size), np.float32)
    with pytest.warns(nkisim.RuleWarning, match="argument-truth"), nkisim.record() as run:
        kernel(x, zeros)
    assert [i.op for i in run.instructions].count("dma_copy") == 3
    np.testing.assert_array_equal(kernel(x), x)


def test_asking_whether_an_argument_was_given_is_no_truth_value():
    @nki.jit
    def kernel(x, bias=None):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        if bias is not None:
            tile[...] = nl.add(tile, nl.load(bias))
        assert (tile is None) is False and (tile != None) is True  # noqa: E711
        nl.store(out, tile)
        return out

    x, b = values((16, 24)), values((16, 24), seed=1)
    assert_same_bits(run_kernel(kernel, x)[0], x)
    assert_same_bits(run_kernel(kernel, x, b)[0], x + b)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("T", "nl.transpose"),
        ("sum", "nl.sum"),
        ("max", "nl.max"),
        ("exp", "nl.exp"),
        ("nonsense", None),
    ],
)
def test_an_attribute_a_tile_does_not_have_is_refused_with_what_to_use(name, hint):
    error = refused_on_tiles(lambda t: getattr(t, name), values((16, 24)), rule="argument")
    assert isinstance(error, AttributeError) and (hint is None or hint in error.remedy)
    on_tiles(lambda t: t if not hasattr(t, name) else None, values((16, 24)))
