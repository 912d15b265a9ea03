"""Views and queries of NkiTensor: what they show, that they share memory, and what they refuse."""

from __future__ import annotations

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, tile, values

X = values(128, 4, 6)


def copy_of(view):
    t = tile(view.shape, view.dtype)
    nisa.tensor_copy(t, view)
    return t


SAME_AS_NUMPY = {
    "slice": (lambda t: t.slice(1, 1, 4, 2), lambda x: x[:, 1:4:2]),
    "slice of partitions": (lambda t: t.slice(0, 32, 64), lambda x: x[32:64]),
    "select": (lambda t: t.select(1, 2), lambda x: x[:, 2]),
    "permute": (lambda t: t.permute((0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    "expand_dim": (lambda t: t.expand_dim(1), lambda x: x[:, None]),
    "squeeze_dim": (lambda t: t.slice(1, 2, 3).squeeze_dim(1), lambda x: x[:, 2]),
    "broadcast": (
        lambda t: t.slice(1, 2, 3).broadcast(1, 5),
        lambda x: np.broadcast_to(x[:, 2:3], (128, 5, 6)),
    ),
    "reshape": (lambda t: t.reshape((128, 3, 8)), lambda x: x.reshape(128, 3, 8)),
    "reshape_dim": (lambda t: t.reshape_dim(2, (2, -1)), lambda x: x.reshape(128, 4, 2, 3)),
    "flatten_dims": (lambda t: t.flatten_dims(1, 2), lambda x: x.reshape(128, 24)),
    "rearrange": (
        lambda t: t.rearrange(("p", "a", ("b", "c")), ("p", "c", ("a", "b")), {"c": 3}),
        lambda x: x.reshape(128, 4, 2, 3).transpose(0, 3, 1, 2).reshape(128, 3, 8),
    ),
    "ap": (
        lambda t: t.ap([[24, 128], [7, 3], [1, 2]], offset=1),
        lambda x: np.stack(
            [x.reshape(128, 24)[:, 1 + 7 * i : 3 + 7 * i] for i in range(3)], axis=1
        ),
    ),
    "ap on a view starts where the view does": (
        lambda t: t[:, 1].ap([[24, 128], [1, 6]]),
        lambda x: x[:, 1],
    ),
    "subscripts from the end": (lambda t: t[:, -1, -3:], lambda x: x[:, -1, -3:]),
    "ellipsis": (lambda t: t[..., 2], lambda x: x[..., 2]),
    "a step": (lambda t: t[:, ::2, 1::3], lambda x: x[:, ::2, 1::3]),
    "ds": (lambda t: t[:, nl.ds(1, 2), 0:3], lambda x: x[:, 1:3, 0:3]),
    "ranges": (lambda t: t[range(64), range(1, 4), nl.ds(0, 2)], lambda x: x[:64, 1:4, :2]),
    "a range with a step": (lambda t: t[:, range(0, 3, 2)], lambda x: x[:, 0:3:2]),
    "a chain": (
        lambda t: t[0:64].permute((0, 2, 1))[:, 0, :],
        lambda x: x[:64].transpose(0, 2, 1)[:, 0],
    ),
}


@pytest.mark.parametrize("name", SAME_AS_NUMPY)
def test_a_view_shows_what_numpy_shows(name):
    view, reference = SAME_AS_NUMPY[name]
    expected = reference(X)

    def body(t):
        assert view(t).shape == expected.shape
        return copy_of(view(t))

    np.testing.assert_array_equal(on_tiles(body, X), expected)


@pytest.mark.parametrize("name", ["slice", "permute", "rearrange", "ap", "reshape"])
def test_a_write_through_a_view_is_seen_through_the_tensor(name):
    view, reference = SAME_AS_NUMPY[name]
    expected = X.copy()
    touched = np.zeros(X.shape, bool)
    marks = np.arange(X.size).reshape(X.shape)
    touched.reshape(-1)[reference(marks).reshape(-1)] = True
    expected[touched] = 7.0

    def body(t):
        nisa.memset(view(t), 7.0)
        return t

    np.testing.assert_array_equal(on_tiles(body, X), expected)


def test_partitions_stay_as_an_axis_on_chip_and_go_in_hbm():
    @nki.jit
    def kernel(x):
        t = tile((128, 64, 32))
        assert (
            t[0, 0, 10].shape == (1, 1)
            and t[:, 0].shape == (128, 32)
            and t[:, 0, 10].shape == (128, 1)
        )
        assert t[0, ..., :].shape == (1, 64, 32) and t[...].shape == (128, 64, 32)
        h = nl.ndarray((4, 128, 32), dtype=nl.float32, buffer=nl.private_hbm)
        assert h[0].shape == (128, 32) and h[0, 1].shape == (32,) and h[0, 1, 2].shape == (1,)
        return x

    kernel(X)


def test_a_tensor_tells_its_layout():
    @nki.jit
    def kernel(x):
        t = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.sbuf, name="t")
        assert (t.shape, t.strides, t.offset, t.ndim, t.size, t.name) == (
            (128, 64),
            (64, 1),
            0,
            2,
            8192,
            "t",
        )
        assert (
            t.buffer == nl.sbuf
            and t.dtype == nl.float32
            and t.is_contiguous()
            and not t.is_indirect()
        )
        u = t.slice(dim=1, start=8, end=24)
        assert u.get_pattern() == [[64, 128], [1, 16]] and u.offset == 8
        assert u.get_pattern() == t.ap([[64, 128], [1, 16]], offset=8).get_pattern()
        assert u.is_contiguous() and not t[:, ::2].is_contiguous()
        assert not t.reshape((128, 8, 8)).permute((0, 2, 1)).is_contiguous()
        assert (
            nl.is_sbuf(t.buffer)
            and nl.is_on_chip(nl.psum)
            and nl.is_hbm(x.buffer)
            and isinstance(t, nl.NKIObject)
        )
        return x

    kernel(X)


def test_bytes_are_read_as_another_type():
    x = values(4, 8)

    def body(t):
        assert t.view(nl.uint8).shape == (4, 32) and t.view(nl.int32).shape == (4, 8)
        wide = t.view(nl.uint16)
        assert wide.view(nl.float32).shape == (4, 8)
        return (
            copy_of(wide),
            copy_of(t.ap([[16, 4], [1, 16]], dtype=nl.uint16)),
            copy_of(t.reinterpret_cast(nl.int32)),
        )

    halves, pattern, integers = on_tiles(body, x)
    np.testing.assert_array_equal(halves, x.view(np.uint16))
    np.testing.assert_array_equal(pattern, x.view(np.uint16))
    np.testing.assert_array_equal(integers, x.view(np.int32))


def test_what_is_written_through_another_type_counts_as_written():
    def body(t):
        fresh = tile((4, 8))
        nisa.tensor_copy(fresh.view(nl.uint16), t)
        return fresh

    x = values(4, 8)
    np.testing.assert_array_equal(on_tiles(body, x.view(np.uint16)), x)


def test_a_run_time_index_is_read_when_the_view_is_used():
    @nki.jit
    def kernel(x):
        index = tile((1, 1), nl.int32)
        nisa.memset(index, 1)
        view = x.select(0, index)
        assert view.is_indirect() and view.shape == (8, 16)
        nisa.memset(index, 3)
        t = tile((8, 16))
        nisa.dma_copy(t, view)
        out = nl.ndarray((8, 16), dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    x = values(4, 8, 16)
    np.testing.assert_array_equal(kernel(x), x[3])


def test_a_run_time_index_selects_on_free_axes_of_a_tile_too():
    def body(t, index):
        register = nisa.register_alloc()
        nisa.register_load(register, index)
        by_tile, by_register, by_slice = tile((128, 6)), tile((128, 6)), tile((128, 1, 6))
        nisa.tensor_copy(by_tile, t.select(1, index))
        nisa.tensor_copy(by_register, t[:, register])
        nisa.tensor_copy(by_slice, t[:, nl.ds(register, 1), :])
        return by_tile, by_register, by_slice

    for got in on_tiles(body, X, np.array([[2]], np.int32)):
        np.testing.assert_array_equal(got.reshape(128, 6), X[:, 2])


def test_scalar_offset_counts_along_the_axis_of_the_tensor():
    def body(t, index):
        got = tile((128, 3))
        nisa.tensor_copy(
            got, t.ap([[24, 128], [1, 3]], offset=1, scalar_offset=index, indirect_dim=1)
        )
        return got

    np.testing.assert_array_equal(on_tiles(body, X, np.array([[3]], np.int32)), X[:, 3, 1:4])


@pytest.mark.parametrize("way", ["ap", "vector_select"])
def test_rows_are_gathered_and_scattered_by_a_vector_of_indices(way):
    @nki.jit
    def kernel(x, rows, out):
        index = tile((5, 1), nl.int32)
        nisa.dma_copy(index, rows)

        def picked(t):
            if way == "ap":
                return t.ap([[16, 5], [1, 16]], vector_offset=index, indirect_dim=0)
            return t.vector_select(0, index)

        got = tile((5, 16))
        nisa.dma_copy(got, picked(x))
        nisa.dma_copy(picked(out), got)

    x, out = values(40, 16), np.zeros((40, 16), np.float32)
    rows = np.array([[7], [0], [39], [3], [12]], np.int32)
    kernel(x, rows, out)
    expected = np.zeros_like(out)
    expected[rows[:, 0]] = x[rows[:, 0]]
    np.testing.assert_array_equal(out, expected)


def test_an_index_beyond_the_rows_is_an_index_error_that_names_the_offset():
    @nki.jit
    def kernel(x):
        index = tile((64, 1), nl.int32)
        nisa.iota(index, [[1, 1]], offset=0, channel_multiplier=3)
        t = tile((64, 512))
        nisa.dma_copy(t, x.ap([[512, 64], [1, 512]], vector_offset=index))
        return x

    with pytest.raises(IndexError, match="index 66048 is out of bounds for axis 0 with size 65536"):
        kernel(values(128, 512))


def test_indices_out_of_bounds_are_left_out_if_asked_for_with_bits_kept():
    @nki.jit
    def kernel(x):
        index = tile((64, 1), nl.int32)
        nisa.iota(index, [[1, 1]], offset=0, channel_multiplier=3)
        t = tile((64, 512), nl.int32)
        nisa.memset(t, -1)
        nisa.dma_copy(t, x.vector_select(0, index), oob_mode=nisa.oob_mode.skip)
        out = nl.ndarray((64, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    x = np.arange(128 * 512, dtype=np.int32).reshape(128, 512) + 2**24
    expected = np.full((64, 512), -1, np.int32)
    expected[:43] = x[0:129:3]
    np.testing.assert_array_equal(kernel(x), expected)


def test_columns_are_picked_by_a_snake_of_offsets_on_trn3():
    index = np.random.default_rng(0).integers(0, 24, (32, 2)).astype(np.uint32)

    def body(t, idx):
        picked = t.indirect(idx)
        assert picked.shape == (32, 32) and picked.is_indirect()
        return copy_of(picked)

    x = values(32, 24)
    got = on_tiles(body, x, index, target="trn3")
    for first in (0, 16):
        order = index[first : first + 16].T.reshape(-1)
        np.testing.assert_array_equal(got[first : first + 16], x[first : first + 16][:, order])


@pytest.mark.parametrize(
    "use",
    [
        lambda d, t, p: nisa.tensor_tensor(d, t, p, nl.add),
        lambda d, t, p: nisa.reciprocal(d, p),
        lambda d, t, p: nisa.tensor_copy(d, p, engine=nisa.engine.gpsimd),
        lambda d, t, p: nisa.nc_matmul(d, t, p),
    ],
)
def test_picked_columns_go_into_the_operands_that_document_it(use):
    def body(t, idx):
        d = nl.ndarray((32, 32), dtype=nl.float32, buffer=nl.sbuf)
        use(d, t, t.indirect(idx))

    index = np.zeros((32, 2), np.uint32)
    refused(body, values(32, 32), index, rule="tensor-indirection", target="trn3")


REFUSED = {
    "slice backwards": (lambda t: t.slice(1, 3, 1), "out-of-bounds"),
    "slice too far": (lambda t: t.slice(1, 0, 5), "out-of-bounds"),
    "index too far": (lambda t: t[:, 4], "out-of-bounds"),
    "index too far back": (lambda t: t[:, -5], "out-of-bounds"),
    "no such axis": (lambda t: t.slice(3, 0, 1), "view-shape"),
    "partitions permuted": (lambda t: t.permute((1, 0, 2)), "partition-axis"),
    "partitions reshaped": (lambda t: t.reshape((64, 48)), "partition-axis"),
    "partitions split": (lambda t: t.reshape_dim(0, (2, 64)), "partition-axis"),
    "partitions with a step": (lambda t: t[::2], "partition-stride"),
    "axis before the partitions": (lambda t: t.expand_dim(0), "partition-axis"),
    "elements lost": (lambda t: t.reshape((128, 5, 5)), "view-shape"),
    "a long axis broadcast": (lambda t: t.broadcast(1, 8), "view-shape"),
    "a long axis squeezed": (lambda t: t.squeeze_dim(1), "view-shape"),
    "not contiguous": (lambda t: t.permute((0, 2, 1)).flatten_dims(1, 2), "view-shape"),
    "not contiguous, reshaped": (lambda t: t[:, :, 0:3].reshape((128, 12)), "view-shape"),
    "a pattern out of a partition": (lambda t: t.ap([[24, 128], [1, 25]]), "out-of-bounds"),
    "a pattern over every other partition": (
        lambda t: t.ap([[48, 64], [1, 24]]),
        "partition-stride",
    ),
    "names that do not fit": (
        lambda t: t.rearrange(("p", "a", "b"), ("p", "a", "c")),
        "view-shape",
    ),
    "a view of a part of an item": (
        lambda t: t[:, :, 0:5].view(nl.uint8).slice(2, 0, 6).view(nl.float32),
        "view-shape",
    ),
    "a fraction": (lambda t: t[:, 0 : 4 / 2], "argument"),
    "too many subscripts": (lambda t: t[0, 0, 0, 0], "rank-limit"),
    "an array": (lambda t: t[np.arange(3)], "argument"),
    "a range beyond the end": (lambda t: t[:, range(2, 5)], "out-of-bounds"),
    "an empty range": (lambda t: t[:, range(0)], "argument"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_view_that_cannot_be_is_refused(name):
    view, rule = REFUSED[name]
    error = refused(lambda t: copy_of(view(t)), X, rule=rule)
    assert "'t'" in error.headline or rule in ("argument", "rank-limit", "view-shape")


def test_a_pattern_that_reaches_beyond_its_tensor_may_be_made_and_is_refused_where_it_is_used():
    @nki.jit
    def kernel(x, used):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t, done = nl.load(x), nl.ndarray((128, 16), dtype=x.dtype, buffer=nl.sbuf)
        for i in range(3):
            half = t.ap([[8, 128], [1, 4]], offset=4 * i)
            if i < used:
                nisa.tensor_copy(dst=done[:, 4 * i : 4 * i + 4], src=half)
        nisa.dma_copy(dst=out, src=done[:, 0:8])
        return out

    x = np.arange(1024, dtype=np.float32).reshape(128, 8)
    np.testing.assert_array_equal(kernel(x, 2), x)
    with pytest.raises(nkisim.KernelError, match="made in line") as caught:
        kernel(x, 3)
    assert caught.value.rule == "out-of-bounds" and "tensor_copy" in caught.value.source


def test_an_indexed_axis_is_not_sliced_again():
    def twice(t, index):
        copy_of(t.select(1, index).select(1, index))

    def rows(t, index):
        h = nl.ndarray((64, 8), dtype=nl.float32, buffer=nl.private_hbm)
        h.vector_select(0, index)[0:1]

    index = np.zeros((1, 1), np.int32)
    refused(twice, X, index, rule="indirect-view")
    refused(rows, X, np.zeros((4, 1), np.int32), rule="indirect-view")
    refused(lambda t, i: copy_of(t.select(0, i)), X, index, rule="indirect-view")
    refused(
        lambda t, i: copy_of(t.vector_select(0, i)),
        X,
        np.zeros((128, 1), np.int32),
        rule="indirect-view",
    )


def test_a_tensor_has_no_operators():
    for operate in (
        lambda t: t + 1.0,
        lambda t: t * t,
        lambda t: -t,
        lambda t: t < 0,
        lambda t: 2.0 - t,
    ):
        error = refused(lambda t, f=operate: f(t), X, rule="tensor-operator")
        assert "nl." in error.remedy

    def in_place(t):
        t += 1.0
        return t

    assert "nisa.tensor_tensor" in refused(in_place, X, rule="tensor-operator").remedy


def test_whether_an_argument_was_given_may_be_asked_with_equality():
    @nki.jit
    def kernel(x, mask=None):
        assert (mask == None) and x != None and (x != None)  # noqa: E711
        return x

    kernel(X)


def test_numpy_on_a_tile_is_refused():
    refused(lambda t: np.exp(t), X, rule="numpy-on-tile")


def test_a_tensor_is_true_and_a_missing_argument_is_not():
    @nki.jit
    def kernel(x, bias=None):
        t = nl.load(x)
        if bias:
            t = nl.add(t, nl.load(bias))
        out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)
        nl.store(out, t)
        return out

    np.testing.assert_array_equal(kernel(X), X)
    np.testing.assert_array_equal(kernel(X, 0 * X), X)
