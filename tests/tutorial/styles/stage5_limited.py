import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None, max_length=None):
    """What does not count is limited to the lowest number, its weight set to 0, l never 0."""
    bs, kvh, hd, N = k.shape
    qh = q.shape[2]
    rep = qh // kvh
    stop = N if max_length is None else max_length
    sc = 1.0 / math.sqrt(hd) if softmax_scale is None else softmax_scale
    out = nl.ndarray((bs, qh, hd), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in nl.static_range(bs):
        n_b = nl.broadcast_to(nl.load(lengths[b:b + 1, :], dtype=nl.float32), shape=(128, 1))
        for g in nl.static_range(kvh):
            qg = nl.load(q[b, :, g * rep:(g + 1) * rep])
            M = nl.full((rep, 1), -1.0e38, dtype=nl.float32)
            S = nl.full((rep, 1), 0.0, dtype=nl.float32)
            O = nl.full((rep, hd), 0.0, dtype=nl.float32)
            for c in range(math.ceil(stop / 128)):
                w = min(128, N - c * 128)
                idx = nl.broadcast_to(nisa.iota(c * 128 + nl.arange(w)[None, :], dtype=nl.float32), shape=(128, w))
                ok = nl.less(idx, n_b)
                no = nl.copy(nl.subtract(1.0, ok), dtype=nl.uint8)
                kc = nl.load(k[b, g, :, c * 128:c * 128 + w])
                vc = nl.load(v[b, g, :, c * 128:c * 128 + w])
                nisa.tensor_copy_predicated(src=0.0, dst=kc, predicate=no[0:hd, :])
                nisa.tensor_copy_predicated(src=0.0, dst=vc, predicate=no[0:hd, :])
                limit = nl.subtract(nl.multiply(ok, 2.0e38), 1.0e38)
                x = nl.minimum(nl.multiply(nl.copy(nisa.nc_matmul(qg, kc)), sc), limit[0:rep, :])
                M2 = nl.maximum(M, nl.max(x, axis=1, keepdims=True))
                f = nl.exp(nl.subtract(M, M2))
                e = nl.multiply(nl.exp(nl.subtract(x, M2)), ok[0:rep, :])
                S[...] = nl.add(nl.multiply(S, f), nl.sum(e, axis=1, keepdims=True))
                eT = nl.copy(nisa.nc_transpose(e))
                vT = nl.copy(nisa.nc_transpose(vc))
                O[...] = nl.add(nl.multiply(O, f), nisa.nc_matmul(eT, vT))
                M[...] = nl.copy(M2)
            nl.store(out[b, g * rep:(g + 1) * rep, :], nl.divide(O, nl.maximum(S, 1.0e-30)))
    return out
