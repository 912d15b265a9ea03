"""Stage 4 in the nki dialect, with names of its own."""

import math

import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    n_kv, d, n = k.shape
    n_q = q.shape[1]
    G = n_q // n_kv
    scale = 1.0 / math.sqrt(d) if softmax_scale == None else softmax_scale  # noqa: E711
    o = nl.ndarray((n_q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(n_kv):
        q_sb = nl.ndarray((d, G), dtype=nl.float32, buffer=nl.sbuf)
        nisa.dma_copy(dst=q_sb, src=q[:, h * G:(h + 1) * G])
        run_m = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        run_l = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        run_o = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.sbuf)
        nisa.memset(run_m, value=-3.0e38)
        nisa.memset(run_l, value=0.0)
        nisa.memset(run_o, value=0.0)
        for t in range(n // 128):
            k_sb = nl.ndarray((d, 128), dtype=nl.float32, buffer=nl.sbuf)
            v_sb = nl.ndarray((d, 128), dtype=nl.float32, buffer=nl.sbuf)
            nisa.dma_copy(dst=k_sb, src=k[h, :, t * 128:(t + 1) * 128])
            nisa.dma_copy(dst=v_sb, src=v[h, :, t * 128:(t + 1) * 128])
            s_ps = nl.ndarray((G, 128), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(dst=s_ps, stationary=q_sb, moving=k_sb)
            s = nl.ndarray((G, 128), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=s, op=nl.copy, data=s_ps, scale=scale)
            new_m = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=new_m, op=nl.maximum, data=s, axis=1, keepdims=True)
            nisa.tensor_tensor(dst=new_m, data1=new_m, data2=run_m, op=nl.maximum)
            neg_m = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_scalar(dst=neg_m, data=new_m, op0=nl.multiply, operand0=-1.0)
            fade = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=fade, op=nl.exp, data=run_m, bias=neg_m)
            nisa.tensor_copy(dst=run_m, src=new_m)
            w = nl.ndarray((G, 128), dtype=nl.float32, buffer=nl.sbuf)
            nisa.activation(dst=w, op=nl.exp, data=s, bias=neg_m)
            w_sum = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_reduce(dst=w_sum, op=nl.add, data=w, axis=1, keepdims=True)
            nisa.tensor_tensor(dst=run_l, data1=run_l, data2=fade, op=nl.multiply)
            nisa.tensor_tensor(dst=run_l, data1=run_l, data2=w_sum, op=nl.add)
            w_t_ps = nl.ndarray((128, G), dtype=nl.float32, buffer=nl.psum)
            v_t_ps = nl.ndarray((128, d), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_transpose(dst=w_t_ps, data=w)
            nisa.nc_transpose(dst=v_t_ps, data=v_sb)
            w_t = nl.ndarray((128, G), dtype=nl.float32, buffer=nl.sbuf)
            v_t = nl.ndarray((128, d), dtype=nl.float32, buffer=nl.sbuf)
            nisa.tensor_copy(dst=w_t, src=w_t_ps)
            nisa.tensor_copy(dst=v_t, src=v_t_ps)
            add = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.psum)
            nisa.nc_matmul(dst=add, stationary=w_t, moving=v_t)
            nisa.tensor_scalar(dst=run_o, data=run_o, op0=nl.multiply, operand0=fade)
            nisa.tensor_tensor(dst=run_o, data1=run_o, data2=add, op=nl.add)
        inv = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)
        nisa.reciprocal(dst=inv, data=run_l)
        nisa.tensor_scalar(dst=run_o, data=run_o, op0=nl.multiply, operand0=inv)
        nisa.dma_copy(dst=o[h * G:(h + 1) * G, :], src=run_o)
    return o
