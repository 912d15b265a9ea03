import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    n_seqs, n_kv, d, n = k.shape
    n_q = q.shape[2]
    G = n_q // n_kv
    scale = softmax_scale
    if scale is None:
        scale = 1.0 / math.sqrt(d)
    o = nl.ndarray((n_seqs, n_q, d), dtype=nl.float32, buffer=nl.shared_hbm)
    ones = nl.ones((1, 128), dtype=nl.float32)
    all_len = nl.copy(nisa.nc_matmul(ones, nl.load(lengths.reshape((1, n_seqs)), dtype=nl.float32)))
    for b in nl.affine_range(n_seqs):
        for h in nl.affine_range(n_kv):
            q_tile = nisa.tensor_scalar(nl.load(q[b, :, nl.ds(h * G, G)]), op0=nl.multiply, operand0=scale)
            neg_m = nl.full((G, 1), 3.0e38, dtype=nl.float32)
            l = nl.zeros((G, 1), dtype=nl.float32)
            acc = nl.zeros((G, d), dtype=nl.float32)
            for i in nl.static_range((n + 127) // 128):
                w = min(128, n - 128 * i)
                k_tile = nl.load(k[b, h, :, nl.ds(128 * i, w)])
                v_tile = nl.load(v[b, h, :, nl.ds(128 * i, w)])
                left = nisa.tensor_scalar(all_len[:, b:b + 1], op0=nl.subtract, operand0=128.0 * i)
                pos = nl.broadcast_to(nisa.iota(nl.arange(w)[None, :], dtype=nl.float32), shape=(128, w))
                gone = nisa.tensor_scalar(pos, op0=nl.greater_equal, operand0=left, dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=0.0, dst=v_tile, predicate=gone[0:d, :])
                qk = nl.copy(nisa.nc_matmul(q_tile, k_tile))
                nisa.tensor_copy_predicated(src=-3.0e38, dst=qk, predicate=gone[0:G, :])
                low = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True, negate=True)
                neg_new = nisa.tensor_tensor(neg_m, low, op=nl.minimum)
                alpha = nisa.activation(nl.exp, neg_m, bias=neg_new, scale=-1.0)
                l_tile = nl.zeros((G, 1), dtype=nl.float32)
                p = nisa.activation_reduce(nl.exp, qk, bias=neg_new, reduce_op=nl.add, reduce_res=l_tile)
                l[...] = nisa.tensor_tensor(nisa.tensor_tensor(l, alpha, op=nl.multiply), l_tile, op=nl.add)
                pv = nisa.nc_matmul(nisa.tensor_copy(nisa.nc_transpose(p)), nisa.tensor_copy(nisa.nc_transpose(v_tile)))
                acc[...] = nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)
                neg_m[...] = neg_new
            nl.store(o[b, nl.ds(h * G, G), :], value=nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l)))
    return o
