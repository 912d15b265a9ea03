"""Kernels of the kinds that are written for devices, each in its own style: they run, and
agree with NumPy. Those of a course's assignment are in `test_students`."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from ...helpers import values

P = 128
RNG = np.random.default_rng(5)
ROWS = RNG.integers(0, 500, (64, 1)).astype(np.int32)
PLACES = RNG.permutation(64).astype(np.int32)[:, None]


def vectors_under_a_mask(a, b):
    """One-axis vectors by index grids of one column, the rest left out by a mask."""
    n = a.shape[0]
    out = nl.ndarray((n,), dtype=a.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(-(-n // P)):
        at = i * P + nl.arange(P)[:, None]
        total = nl.load(a[at], mask=at < n) + nl.load(b[at], mask=at < n)
        nl.store(out[at], total, mask=at < n)
    return out


def matrices_under_a_mask(a, b):
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    (rows, columns), (p, f) = a.shape, nl.mgrid[0:P, 0:512]
    for i in nl.affine_range(-(-rows // P)):
        for j in nl.affine_range(-(-columns // 512)):
            inside = (i * P + p < rows) & (j * 512 + f < columns)
            left = nl.load(a[i * P + p, j * 512 + f], mask=inside)
            right = nl.load(b[i * P + p, j * 512 + f], mask=inside)
            nl.store(out[i * P + p, j * 512 + f], nl.add(left, right, mask=inside), mask=inside)
    return out


def columns_outside(a_t, b):
    """A matmul whose outermost loop goes over the columns, by grids."""
    k_size, m_size = a_t.shape
    out = nl.ndarray((m_size, b.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
    left, right, whole = nl.mgrid[0:P, 0:P], nl.mgrid[0:P, 0:512], nl.mgrid[0:P, 0:512]
    for n in nl.affine_range(b.shape[1] // 512):
        for m in nl.affine_range(m_size // P):
            total = nl.zeros((P, 512), nl.float32, buffer=nl.psum)
            for k in nl.affine_range(k_size // P):
                x = nl.load(a_t[k * P + left.p, m * P + left.x])
                y = nl.load(b[k * P + right.p, n * 512 + right.x])
                total[whole.p, whole.x] += nisa.nc_matmul(x[left.p, left.x], y[right.p, right.x])
            nl.store(out[m * P + whole.p, n * 512 + whole.x], value=total)
    return out


def contraction_outside(a_t, b):
    """A matmul whose outermost loop goes over the contraction, summed in blocks in SBUF."""
    k_size, m_size = a_t.shape
    blocks = m_size // P, b.shape[1] // 512
    out = nl.ndarray((m_size, b.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
    total = nl.zeros((*blocks, nl.par_dim(P), 512), dtype=nl.float32, buffer=nl.sbuf)
    for k in nl.sequential_range(k_size // P):
        for m in nl.affine_range(blocks[0]):
            x = nl.load(a_t[nl.ds(k * P, P), nl.ds(m * P, P)])
            for n in nl.affine_range(blocks[1]):
                y = nl.load(b[nl.ds(k * P, P), nl.ds(n * 512, 512)])
                total[m, n] += nisa.nc_matmul(x, y)
    for m in nl.affine_range(blocks[0]):
        for n in nl.affine_range(blocks[1]):
            nl.store(out[nl.ds(m * P, P), nl.ds(n * 512, 512)], value=total[m, n])
    return out


def reduced_over_a_loop(a_t, b):
    """A matmul whose partial products loop_reduce adds."""
    k_size, m_size = a_t.shape
    out = nl.ndarray((m_size, b.shape[1]), dtype=nl.float32, buffer=nl.shared_hbm)
    for m in nl.affine_range(m_size // P):
        for n in nl.affine_range(b.shape[1] // 512):
            total = nl.ndarray((P, 512), dtype=nl.float32)
            for k in nl.affine_range(k_size // P):
                x = nl.load(a_t[k * P : (k + 1) * P, m * P : (m + 1) * P])
                y = nl.load(b[k * P : (k + 1) * P, n * 512 : (n + 1) * 512])
                part = nisa.nc_matmul(x, y)
                total[...] = nl.loop_reduce(part, op=np.add, loop_indices=[k], dtype=nl.float32)
            nl.store(out[m * P : (m + 1) * P, n * 512 : (n + 1) * 512], total)
    return out


def recurrence(a, b, start):
    """One column after the other, the state in a tile of one column."""
    out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
    decay, added = nl.load(a), nl.load(b)
    states = nl.ndarray(a.shape, dtype=nl.float32)
    state = nl.ndarray((P, 1), dtype=nl.float32)
    state[...] = nl.load(start)
    for t in nl.sequential_range(a.shape[1]):
        state[...] = state * decay[:, t] + added[:, t]
        states[:, t] = state
    nl.store(out, states)
    return out


def rotated_halves(x, cos, sin):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    half = x.shape[1] // 2
    t, c, s = nl.load(x), nl.load(cos), nl.load(sin)
    turned = nl.ndarray(x.shape, dtype=x.dtype)
    turned[:, 0:half] = t[:, 0:half] * c - t[:, half:] * s
    turned[:, nl.ds(half, half)] = t[:, half:] * c + t[:, :half] * s
    nl.store(out, turned)
    return out


def largest_24(x):
    out = nl.ndarray((x.shape[0], 24), dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.load(x)
    for k in nl.static_range(3):
        eight = nisa.max8(src=t)
        nl.store(out[:, 8 * k : 8 * k + 8], eight)
        t[...] = nisa.nc_match_replace8(data=t, vals=eight, imm=-1e30)
    return out


def gathered(table, rows):
    out = nl.ndarray((64, table.shape[1]), dtype=table.dtype, buffer=nl.shared_hbm)
    index, picked = nl.load(rows), nl.ndarray((64, table.shape[1]), dtype=table.dtype)
    p, f = nl.arange(64)[:, None], nl.arange(table.shape[1])[None, :]
    nisa.dma_copy(src=table[index[p, 0], f], dst=picked[p, f])
    nl.store(out, picked)
    return out


def scattered(x, places):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    index, t = nl.load(places), nl.load(x)
    p, f = nl.arange(x.shape[0])[:, None], nl.arange(x.shape[1])[None, :]
    nl.store(out[index[p, 0], f], t)
    return out


def scanned(a, b, start):
    state, out = start[:, 0], []
    for k in range(a.shape[1]):
        state = a[:, k] * state + b[:, k]
        out.append(state)
    return np.stack(out, axis=1)


def rotated(x, cos, sin):
    a, b = np.split(x, 2, axis=1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=1)


def placed(x, places):
    out = np.zeros_like(x)
    out[places[:, 0]] = x
    return out


VECTORS = values((1000,)), values((1000,), seed=1)
MATRICES = values((300, 700)), values((300, 700), seed=1)
FACTORS = values((256, 256)), values((256, 1024), seed=1)
SCAN = values((P, 40)) / 2, values((P, 40), seed=1), values((P, 1), seed=2)
ANGLES = values((P, 64)), values((P, 32), seed=1), values((P, 32), seed=2)
CASES = [
    (vectors_under_a_mask, VECTORS, np.add),
    (matrices_under_a_mask, MATRICES, np.add),
    (columns_outside, FACTORS, lambda a, b: a.T @ b),
    (contraction_outside, FACTORS, lambda a, b: a.T @ b),
    (reduced_over_a_loop, FACTORS, lambda a, b: a.T @ b),
    (recurrence, SCAN, scanned),
    (rotated_halves, ANGLES, rotated),
    (largest_24, (values((64, 100)),), lambda x: -np.sort(-x, axis=1)[:, :24]),
    (gathered, (values((500, 32)), ROWS), lambda table, rows: table[rows[:, 0]]),
    (scattered, (values((64, 32)), PLACES), placed),
]


@pytest.mark.parametrize(
    ("kernel", "arrays", "expected"), CASES, ids=[kernel.__name__ for kernel, _, _ in CASES]
)
def test_a_kernel_of_its_kind_runs_and_is_right(kernel, arrays, expected):
    got = nki.simulate_kernel(nki.jit(kernel), *arrays)
    np.testing.assert_allclose(got, expected(*arrays), rtol=1e-3, atol=1e-3)
