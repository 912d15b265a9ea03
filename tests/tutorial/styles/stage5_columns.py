import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

T = 128


@nki.jit
def decode_attention_ragged_fwd(q, k, v, lengths, softmax_scale=None):
    """Keys on partitions: K stationary; the mask is a column; the weights of keys that do not count become 0."""
    B, Hkv, d, n = k.shape
    Hq = q.shape[2]
    G = Hq // Hkv
    sc = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    out = nl.ndarray((B, Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    for b in nl.affine_range(B):
        one = nl.load(lengths[b:b + 1, :], dtype=nl.float32)
        col = nl.copy(nl.broadcast_to(one, shape=(T, 1)))
        for h in nl.affine_range(Hkv):
            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
            acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
            qt = nl.load(q[b, :, h * G:(h + 1) * G])
            for i in nl.static_range(math.ceil(n / T)):
                w = min(T, n - i * T)
                kt = nl.load(k[b, h, :, i * T:i * T + w])
                vt = nl.load(v[b, h, :, i * T:i * T + w])
                at = nisa.iota(i * T + nl.arange(w)[:, None], dtype=nl.float32)
                dead = nisa.tensor_tensor(at, col[0:w, :], op=nl.greater_equal)
                st = nisa.tensor_scalar(nisa.nc_matmul(kt, qt), op0=nl.multiply, operand0=sc)
                st = nl.where(nl.broadcast_to(dead, shape=(w, G)), -1e30, st)
                s = nisa.tensor_copy(nisa.nc_transpose(st))
                vv = nisa.tensor_copy(nisa.nc_transpose(vt))
                vv = nl.where(nl.broadcast_to(dead, shape=(w, d)), 0.0, vv)
                mn = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
                al = nl.exp(m - mn)
                p = nl.exp(s - mn)
                l[...] = l * al + nl.sum(p, axis=1, keepdims=True)
                pt = nisa.tensor_copy(nisa.nc_transpose(p))
                live = nisa.tensor_scalar(dead, op0=nl.multiply, operand0=-1.0, op1=nl.add, operand1=1.0)
                pt = nisa.tensor_scalar(pt, op0=nl.multiply, operand0=live)
                acc[...] = acc * al + nisa.nc_matmul(pt, vv)
                m[...] = mn
            nl.store(out[b, h * G:(h + 1) * G, :], acc / l)
    return out
