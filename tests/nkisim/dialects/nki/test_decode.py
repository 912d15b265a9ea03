"""Decode attention as people write it against `nki`, and in the older form that passes dst= to
`neuronxcc.nki`."""

from __future__ import annotations

import math

import neuronxcc.nki as old_nki
import neuronxcc.nki.isa as old_nisa
import neuronxcc.nki.language as old_nl
import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

RNG = np.random.default_rng(3)


def attention(q, k, v):
    """q (d, heads), k and v (groups, d, n) -> (heads, d), in float64."""
    d, heads = q.shape
    out = np.empty((heads, d))
    for h in range(heads):
        g = h // (heads // k.shape[0])
        s = q[:, h].astype(np.float64) @ k[g] / math.sqrt(d)
        p = np.exp(s - s.max())
        out[h] = v[g] @ (p / p.sum())
    return out


@nki.jit
def single_tile(q, k, v, scale):
    out = nl.ndarray((q.shape[1], q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    q_sb, k_sb, v_sb = nl.load(q), nl.load(k), nl.load(v)
    qk_psum = nl.matmul(q_sb, k_sb, transpose_x=True)
    qk = nl.ndarray(qk_psum.shape, dtype=nl.float32, buffer=nl.sbuf)
    nisa.tensor_copy(qk, qk_psum)
    nisa.tensor_scalar(qk, qk, op0=nl.multiply, operand0=scale)
    m = nl.max(qk, axis=1, keepdims=True)
    nisa.tensor_scalar(qk, qk, nl.subtract, m)
    p = nl.exp(qk)
    inverse = nl.reciprocal(nl.sum(p, axis=1, keepdims=True))
    nisa.tensor_scalar(p, p, op0=nl.multiply, operand0=inverse)
    v_t = nl.copy(nl.transpose(v_sb))
    p_t = nl.copy(nl.transpose(p))
    o_psum = nl.matmul(p_t, v_t, transpose_x=True)
    o = nl.ndarray(o_psum.shape, dtype=q.dtype, buffer=nl.sbuf)
    nisa.tensor_copy(o, o_psum)
    nl.store(out, value=o)
    return out


@nki.jit
def online(q, k, v):
    d, heads = q.shape
    groups, _, n = k.shape
    size = heads // groups
    out = nl.ndarray((heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for g in range(groups):
        q_g = nl.load(q[:, g * size : (g + 1) * size])
        m = nl.full((size, 1), -np.inf, dtype=nl.float32, buffer=nl.sbuf, name="m")
        l = nl.zeros((size, 1), dtype=nl.float32, buffer=nl.sbuf, name="l")
        acc = nl.zeros((size, d), dtype=nl.float32, buffer=nl.sbuf, name="acc")
        for t in range(n // 128):
            k_t = nl.load(k[g, :, t * 128 : (t + 1) * 128])
            v_t = nl.load(v[g, :, nl.ds(t * 128, 128)])
            qk = nl.copy(nl.matmul(q_g, k_t, transpose_x=True))
            nisa.tensor_scalar(dst=qk, data=qk, op0=nl.multiply, operand0=1 / math.sqrt(d))
            new_m = nl.maximum(m, nl.max(qk, axis=1, keepdims=True))
            alpha = nl.exp(nl.subtract(m, new_m))
            nisa.tensor_scalar(dst=qk, data=qk, op0=nl.subtract, operand0=new_m)
            p = nl.exp(qk)
            scaled = nl.ndarray(acc.shape, dtype=acc.dtype, buffer=nl.sbuf)
            nisa.tensor_scalar(scaled, acc, op0=nl.multiply, operand0=alpha)
            p_t = nl.copy(nl.transpose(p))
            v_rows = nl.copy(nl.transpose(v_t))
            pv = nl.matmul(p_t, v_rows, transpose_x=True)
            l[...] = nl.add(nl.multiply(l, alpha), nl.sum(p, axis=1, keepdims=True))
            acc[...] = nl.add(scaled, pv)
            m[...] = new_m
        o = nl.ndarray(acc.shape, dtype=q.dtype, buffer=nl.sbuf)
        nisa.tensor_scalar(o, acc, op0=nl.multiply, operand0=nl.reciprocal(l))
        nl.store(out[g * size : (g + 1) * size, :], value=o)
    return out


@old_nki.jit
def older_form(q, k, v, scale):
    out = old_nl.ndarray((q.shape[1], q.shape[0]), dtype=q.dtype, buffer=old_nl.shared_hbm)
    q_sb, k_sb, v_sb = old_nl.load(q), old_nl.load(k), old_nl.load(v)
    qk_psum = old_nl.matmul(q_sb, k_sb, transpose_x=True)
    qk = old_nl.ndarray(qk_psum.shape, dtype=old_nl.float32, buffer=old_nl.sbuf)
    old_nisa.tensor_copy(dst=qk, src=qk_psum)
    scaled = old_nl.ndarray(qk_psum.shape, dtype=old_nl.float32, buffer=old_nl.sbuf)
    old_nisa.tensor_scalar(dst=scaled, data=qk, op0=old_nl.multiply, operand0=scale)
    m = old_nl.max(scaled, axis=1, keepdims=True)
    shifted = old_nl.ndarray(scaled.shape, dtype=old_nl.float32, buffer=old_nl.sbuf)
    old_nisa.tensor_scalar(dst=shifted, data=scaled, op0=old_nl.subtract, operand0=m)
    p = old_nl.exp(shifted)
    weights = old_nl.ndarray(p.shape, dtype=old_nl.float32, buffer=old_nl.sbuf)
    old_nisa.tensor_scalar(
        dst=weights,
        data=p,
        op0=old_nl.multiply,
        operand0=old_nl.reciprocal(old_nl.sum(p, axis=1, keepdims=True)),
    )
    v_psum = old_nl.transpose(v_sb)
    v_t = old_nl.ndarray(v_psum.shape, dtype=v_sb.dtype, buffer=old_nl.sbuf)
    old_nisa.tensor_copy(dst=v_t, src=v_psum)
    p_psum = old_nl.transpose(weights)
    p_t = old_nl.ndarray(p_psum.shape, dtype=old_nl.float32, buffer=old_nl.sbuf)
    old_nisa.tensor_copy(dst=p_t, src=p_psum)
    o_psum = old_nl.matmul(p_t, v_t, transpose_x=True)
    o = old_nl.ndarray(o_psum.shape, dtype=q.dtype, buffer=old_nl.sbuf)
    old_nisa.tensor_copy(dst=o, src=o_psum)
    old_nl.store(out, value=o)
    return out


def inputs(d, heads, groups, n):
    return (
        RNG.standard_normal((d, heads)).astype(np.float32),
        RNG.standard_normal((groups, d, n)).astype(np.float32),
        RNG.standard_normal((groups, d, n)).astype(np.float32),
    )


@pytest.mark.parametrize("heads", [1, 4])
def test_a_kernel_of_one_tile_written_against_nki_matches_numpy(heads):
    q, k, v = inputs(64, heads, 1, 128)
    got = nki.simulate_kernel(single_tile, q, k[0], v[0], 1 / 8)
    np.testing.assert_allclose(got, attention(q, k, v), rtol=2e-5, atol=2e-6)


def test_an_online_softmax_with_updates_in_place_and_plain_range_matches_numpy():
    q, k, v = inputs(64, 4, 2, 512)
    np.testing.assert_allclose(
        nki.simulate(online)(q, k, v), attention(q, k, v), rtol=2e-5, atol=2e-6
    )


def test_the_state_of_an_online_softmax_is_followed_by_name():
    q, k, v = inputs(32, 2, 1, 384)
    with nkisim.record() as run:
        online(q, k, v)
    assert run.names() == ["acc", "l", "m"]
    maxima = run.history("m")
    assert len(maxima) == 4  # the fill and three tiles
    scores = q.T @ k[0] / math.sqrt(32)
    np.testing.assert_allclose(maxima[2][:, 0], scores[:, :256].max(axis=1), rtol=1e-5)


def test_the_older_form_that_passes_dst_to_neuronxcc_matches_numpy():
    q, k, v = inputs(128, 1, 1, 128)
    got = old_nki.simulate_kernel(older_form, q, k[0], v[0], 1 / math.sqrt(128))
    np.testing.assert_allclose(got, attention(q, k, v), rtol=2e-5, atol=2e-6)
