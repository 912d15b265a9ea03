"""nki 0.6, wrong by its cost alone: one query head at a time, each with its own load of K and V; one state for all."""
import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    n_kv, d, n = k.shape
    n_q = q.shape[1]
    group = n_q // n_kv
    scale = d ** -0.5 if softmax_scale == None else softmax_scale  # noqa: E711
    o = nl.ndarray((n_q, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, 1), -3e38, dtype=nl.float32, name="m")
    l = nl.zeros((1, 1), dtype=nl.float32, name="l")
    acc = nl.zeros((1, d), dtype=nl.float32, name="acc")
    for j in range(n_q):
        m[...] = -3e38
        l[...] = 0.0
        acc[...] = 0.0
        q_tile = nl.load(q[:, j:j + 1])
        for i in range(n // 128):
            k_tile = nl.load(k[j // group, :, i * 128:(i + 1) * 128])
            v_tile = nl.load(v[j // group, :, i * 128:(i + 1) * 128])
            s = nl.ndarray((1, 128), dtype=nl.float32)
            nisa.tensor_scalar(s, nl.matmul(q_tile, k_tile, transpose_x=True), nl.multiply, scale)
            top = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
            alpha = nl.exp(nl.subtract(m, top))
            nisa.tensor_scalar(s, s, nl.subtract, top)
            nisa.activation(s, nl.exp, s)
            l[...] = nl.add(nl.multiply(l, alpha), nl.sum(s, axis=1, keepdims=True))
            pv = nl.matmul(nl.copy(nl.transpose(s)), nl.copy(nl.transpose(v_tile)), transpose_x=True)
            nisa.scalar_tensor_tensor(acc, acc, nl.multiply, alpha, nl.add, pv)
            m[...] = top
        out = nl.ndarray((1, d), dtype=nl.float32)
        nisa.tensor_scalar(out, acc, nl.multiply, nl.reciprocal(l))
        nl.store(o[j:j + 1, :], out)
    return o
