"""Kernels of the kinds that are written for devices, each in its own style: they run, and
agree with NumPy."""

from __future__ import annotations

from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

from .kernels import tile, values

RNG = np.random.default_rng(5)
LENGTHS = RNG.integers(1, 40, (128, 1)).astype(np.float32)
ROWS = RNG.integers(0, 500, (64, 1)).astype(np.uint32)


def loaded(x: Any) -> Any:
    t = tile(x.shape, x.dtype)
    nisa.dma_copy(dst=t, src=x)
    return t


def stored(t: Any) -> Any:
    out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
    nisa.dma_copy(dst=out, src=t)
    return out


def vectors_by_chunks(a, b):
    """One-axis vectors in columns of at most 128, with a rest."""
    n = a.shape[0]
    out = nl.ndarray((n,), dtype=a.dtype, buffer=nl.shared_hbm)
    for low in range(0, n, nl.tile_size.pmax):
        m = min(nl.tile_size.pmax, n - low)
        column, other = tile((m, 1)), tile((m, 1))
        nisa.dma_copy(dst=column, src=a[low : low + m])
        nisa.dma_copy(dst=other, src=b[nl.ds(low, m)].reshape((m, 1)))
        nisa.tensor_tensor(dst=column, data1=column, data2=other, op=nl.add)
        nisa.dma_copy(dst=out[low : low + m], src=column)
    return out


def softmax_in_one_pass(x):
    """The sum taken by the activation that makes the exponentials."""
    t = loaded(x)
    low, total = tile((x.shape[0], 1)), tile((x.shape[0], 1))
    nisa.tensor_reduce(dst=low, op=nl.maximum, data=t, axis=1, negate=True)
    nisa.activation(
        dst=t,
        op=nl.exp,
        data=t,
        bias=low,
        reduce_op=nl.add,
        reduce_res=total,
        reduce_cmd=nisa.reduce_cmd.reset_reduce,
    )
    nisa.reciprocal(dst=total, data=total)
    nisa.tensor_scalar(dst=t, data=t, op0=nl.multiply, operand0=total)
    return stored(t)


def layernorm_by_statistics(x, gain):
    """Statistics of pieces of 512; the gain spread over the partitions by the DMA."""
    rows, columns = x.shape
    t, piece = loaded(x), nl.tile_size.bn_stats_fmax
    pieces = -(-columns // piece)
    stats, moments, spread = tile((rows, 6 * pieces)), tile((rows, 2)), tile((rows, columns))
    for i in range(pieces):
        part = t[:, i * piece : min(columns, (i + 1) * piece)]
        nisa.bn_stats(dst=stats[:, 6 * i : 6 * i + 6], data=part)
    nisa.bn_aggr(dst=moments, data=stats)
    nisa.tensor_scalar(
        dst=moments[:, 1:2],
        data=moments[:, 1:2],
        op0=nl.add,
        operand0=1e-5,
    )
    nisa.activation(dst=moments[:, 1:2], op=nl.rsqrt, data=moments[:, 1:2])
    nisa.tensor_scalar(
        dst=t,
        data=t,
        op0=nl.subtract,
        operand0=moments[:, 0:1],
        op1=nl.multiply,
        operand1=moments[:, 1:2],
    )
    nisa.dma_copy(dst=spread, src=gain.ap([[0, rows], [1, columns]]))
    nisa.tensor_tensor(dst=t, data1=t, data2=spread, op=nl.multiply)
    return stored(t)


def largest_of_windows(x):
    """Windows of 2 x 2 named by a rearrangement."""
    channels, height, width = x.shape
    windows = loaded(x).rearrange(
        ("c", ("h", "a"), ("w", "b")), ("c", "h", "w", "a", "b"), {"a": 2, "b": 2}
    )
    best = tile((channels, height // 2, width // 2))
    nisa.tensor_reduce(dst=best, op=nl.maximum, data=windows, axis=[3, 4])
    return stored(best)


def mean_of_windows(x):
    """Windows of 2 x 2 named by an access pattern of five axes."""
    channels, height, width = x.shape
    windows = loaded(x).ap(
        [
            [height * width, channels],
            [2 * width, height // 2],
            [2, width // 2],
            [width, 2],
            [1, 2],
        ]
    )
    total = tile((channels, height // 2, width // 2))
    nisa.tensor_reduce(dst=total, op=nl.add, data=windows, axis=(3, 4))
    nisa.tensor_scalar(dst=total, data=total, op0=nl.multiply, operand0=0.25)
    return stored(total)


def rotated_pairs(x, cos, sin):
    """Rotary embedding of neighbors, through views of one tile."""
    rows, width = x.shape
    pairs, c, s = loaded(x).reshape((rows, width // 2, 2)), loaded(cos), loaded(sin)
    turned, crossed = tile((rows, width // 2, 2)), tile((rows, width // 2, 2))
    nisa.tensor_tensor(turned, pairs, c.expand_dim(2).broadcast(2, 2), nl.multiply)
    nisa.tensor_tensor(crossed[:, :, 0], pairs[:, :, 1], s, nl.multiply)
    nisa.tensor_tensor(crossed[:, :, 1], pairs[:, :, 0], s, nl.multiply)
    nisa.tensor_scalar(crossed[:, :, 0], crossed[:, :, 0], nl.multiply, -1.0)
    nisa.tensor_tensor(turned, turned, crossed, nl.add)
    return stored(turned.flatten_dims(1, 2))


def scan_carried_on(a, b, start):
    """A scan in two parts, the second of which begins where the first ended."""
    first, second, half = loaded(a), loaded(b), a.shape[1] // 2
    out, state = tile(a.shape), loaded(start)
    for part in range(2):
        at = nl.ds(part * half, half)
        nisa.tensor_tensor_scan(
            dst=out[:, at],
            data0=first[:, at],
            data1=second[:, at],
            initial=state,
            op0=nl.multiply,
            op1=nl.add,
        )
        state = out[:, half - 1 : half]
    return stored(out)


def largest_24(x):
    """Eight at a time, each eight struck out for the next."""
    t, found = loaded(x), tile((x.shape[0], 24))
    for k in range(3):
        eight = found[:, 8 * k : 8 * k + 8]
        nisa.max8(dst=eight, src=t)
        if k < 2:
            nisa.nc_match_replace8(dst=t, data=t, vals=eight, imm=-1e30)
    return stored(found)


def up_to_a_length(x, length):
    """Columns beyond a length per row are left as they were."""
    t, limit = loaded(x), loaded(length)
    columns, kept = tile(x.shape), tile(x.shape, nl.uint8)
    out = nl.zeros(x.shape, dtype=nl.float32)
    nisa.iota(dst=columns, pattern=[[1, x.shape[1]]])
    nisa.tensor_scalar(dst=kept, data=columns, op0=nl.less, operand0=limit)
    nisa.tensor_copy_predicated(dst=out, src=t, predicate=kept)
    return stored(out)


def gathered(table, rows):
    picked = tile((rows.shape[0], table.shape[1]))
    nisa.dma_copy(dst=picked, src=table.vector_select(0, loaded(rows)))
    return stored(picked)


def as_a_dictionary(x):
    t = loaded(x)
    twice = tile(x.shape)
    nisa.tensor_scalar(dst=twice, data=t, op0=nl.multiply, operand0=2.0)
    return {"same": stored(t), "both": (stored(twice), stored(t))}


def windows(x):
    return x.reshape(32, 4, 2, 6, 2)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def normalized(x, gain):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * gain


def rotated(x, cos, sin):
    a, b = x[:, 0::2], x[:, 1::2]
    return np.stack([a * cos - b * sin, b * cos + a * sin], axis=2).reshape(x.shape)


def scanned(a, b, start):
    state, out = start[:, 0], []
    for k in range(a.shape[1]):
        state = a[:, k] * state + b[:, k]
        out.append(state)
    return np.stack(out, axis=1)


IMAGE, SQUARE = values(32, 8, 12), values(128, 40)
CASES = [
    (vectors_by_chunks, (values(1000), values(1000, seed=1)), np.add),
    (softmax_in_one_pass, (values(100, 300),), softmax),
    (layernorm_by_statistics, (values(128, 1200), values(1200, seed=1)), normalized),
    (largest_of_windows, (IMAGE,), lambda x: windows(x).max((2, 4))),
    (mean_of_windows, (IMAGE,), lambda x: windows(x).mean((2, 4))),
    (rotated_pairs, (values(128, 64), values(128, 32, seed=1), values(128, 32, seed=2)), rotated),
    (scan_carried_on, (SQUARE / 2, values(128, 40, seed=1), values(128, 1, seed=2)), scanned),
    (largest_24, (SQUARE,), lambda x: -np.sort(-x, axis=1)[:, :24]),
    (up_to_a_length, (SQUARE, LENGTHS), lambda x, n: np.where(np.arange(40) < n, x, 0)),
    (gathered, (values(500, 32), ROWS), lambda table, rows: table[rows[:, 0]]),
]


@pytest.mark.parametrize(
    ("kernel", "arrays", "expected"), CASES, ids=[kernel.__name__ for kernel, _, _ in CASES]
)
def test_a_kernel_of_its_kind_runs_and_is_right(kernel, arrays, expected):
    got = nki.jit(kernel)(*(x.copy() for x in arrays))
    np.testing.assert_allclose(got, expected(*arrays), rtol=1e-3, atol=1e-4)


def test_a_kernel_may_return_a_dictionary_of_outputs():
    x = values(64, 8)
    got = nki.jit(as_a_dictionary)(x)
    assert list(got) == ["same", "both"]
    np.testing.assert_array_equal(got["same"], x)
    np.testing.assert_array_equal(got["both"][0], 2 * x)


def test_a_loop_on_a_tensor_is_refused_before_it_runs_for_ever():
    @nki.jit
    def kernel(x):
        t = loaded(x)
        while t:
            nisa.memset(t, 0.0)
        return stored(t)

    with pytest.raises(ValueError, match="would never end") as caught:
        kernel(values(4, 4))
    assert caught.value.rule == "truth-value" and caught.value.source == "while t:"


def test_whether_an_argument_was_given_may_stand_beside_another_condition_of_a_loop():
    @nki.jit
    def kernel(x, more=None):
        t, n = loaded(x), 0
        while more and n < 3:
            nisa.tensor_scalar(dst=t, data=t, op0=nl.add, operand0=1.0)
            n += 1
        return stored(t)

    x = values(4, 4)
    np.testing.assert_array_equal(kernel(x), x)
    np.testing.assert_allclose(kernel(x, x), x + 3, rtol=1e-6)
