
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None, max_length=None):
    nb, nkv, hd, ctx = k.shape
    nq = q.shape[2]
    grp = nq // nkv
    upto = ctx if max_length is None else max_length
    sm = hd ** -0.5 if softmax_scale is None else softmax_scale
    res = nl.ndarray((nb, nq, hd), dtype=q.dtype, buffer=nl.shared_hbm)
    for s in range(nb):
        len_s = nl.broadcast_to(nl.load(lengths[s:s + 1, 0:1], dtype=nl.float32), shape=(128, 1))
        for kv in range(nkv):
            run_max = nl.full((grp, 1), nl.fp32.min, dtype=nl.float32)
            both = nl.zeros((grp, hd + 1), dtype=nl.float32)
            qq = nl.load(q[s, :, kv * grp:(kv + 1) * grp])
            for t0 in range(0, upto, 128):
                t1 = min(t0 + 128, ctx)
                cols = nisa.iota(t0 + nl.arange(t1 - t0)[None, :], dtype=nl.float32)
                rows = nisa.iota(t0 + nl.arange(t1 - t0)[:, None], dtype=nl.float32)
                kk = nl.load(k[s, kv, :, t0:t1])
                vv = nl.load(v[s, kv, :, t0:t1])
                score = nl.multiply(nl.copy(nisa.nc_matmul(qq, kk)), sm)
                out_of = nl.greater_equal(nl.broadcast_to(cols, shape=(grp, t1 - t0)), len_s[0:grp, :], dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=nl.fp32.min, dst=score, predicate=out_of)
                new_max = nl.maximum(run_max, nl.max(score, axis=1, keepdims=True))
                fade = nl.exp(nl.subtract(run_max, new_max))
                w = nl.exp(nl.subtract(score, new_max))
                wide = nl.ones((t1 - t0, hd + 1), dtype=nl.float32)
                wide[:, 0:hd] = nl.copy(nisa.nc_transpose(vv))
                dead = nl.greater_equal(rows, len_s[0:t1 - t0, :], dtype=nl.uint8)
                nisa.tensor_copy_predicated(src=0.0, dst=wide[:, 0:hd], predicate=nl.broadcast_to(dead, shape=(t1 - t0, hd)))
                gain = nisa.nc_matmul(nl.copy(nisa.nc_transpose(w)), wide)
                both[...] = nl.add(nl.multiply(both, fade), gain)
                run_max[...] = nl.copy(new_max)
            nl.store(res[s, kv * grp:(kv + 1) * grp, :], nl.divide(both[:, 0:hd], both[:, hd:hd + 1]))
    return res
