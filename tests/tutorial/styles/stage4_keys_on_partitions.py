import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    heads, d, n = k.shape
    size = q.shape[1] // heads
    s = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((q.shape[1], d), dtype=nl.float32, buffer=nl.shared_hbm)
    for g in nl.affine_range(heads):
        rows = nl.ds(g * size, size)
        asked = nl.multiply(nl.load(q[:, rows]), s)
        peak = nl.full((size, 1), nl.fp32.min, dtype=nl.float32)
        weight = nl.zeros((size, 1), dtype=nl.float32)
        sum_v = nl.zeros((size, d), dtype=nl.float32)
        for t in nl.sequential_range(n // 128):
            at = nl.ds(t * 128, 128)
            columns = nisa.nc_matmul(nl.load(k[g, :, at]), asked)
            x = nisa.tensor_copy(nisa.nc_transpose(nisa.tensor_copy(columns)))
            higher = nl.maximum(peak, nl.max(x, axis=1, keepdims=True))
            less = nl.exp(nl.subtract(peak, higher))
            e = nl.exp(nl.subtract(x, higher))
            back = nisa.tensor_copy(nisa.nc_transpose(e))
            values = nisa.tensor_copy(nisa.nc_transpose(nl.load(v[g, :, at])))
            weight[...] = nl.add(nl.multiply(weight, less), nl.sum(e, axis=1, keepdims=True))
            sum_v[...] = nl.add(nl.multiply(sum_v, less), nisa.nc_matmul(back, values))
            peak[...] = nl.copy(higher)
        nl.store(out[rows, :], nl.multiply(sum_v, nisa.reciprocal(weight)))
    return out
