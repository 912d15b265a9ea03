"""Stage 7 without a loop over chunks: all scores of a head on chip, a softmax over them, the weights normalised first."""
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def decode_attention_fast_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    sc = softmax_scale if softmax_scale is not None else d ** -0.5
    o = nl.ndarray((Hq, d), dtype=q.dtype, buffer=nl.shared_hbm)
    for h in range(Hkv):
        qt = nl.multiply(nl.load(q[:, h * G:(h + 1) * G]), sc, dtype=nl.bfloat16)   # rounds q once more
        kt = nl.load(k[h])
        s = nl.ndarray((G, n), dtype=nl.float32)
        for j in range(n // 128):
            s[:, j*128:(j+1)*128] = nisa.nc_matmul(qt, kt[:, j*128:(j+1)*128])
        s = nl.softmax(s, axis=1)
        w = nl.copy(s, dtype=nl.bfloat16)
        acc = nl.zeros((G, d), dtype=nl.float32, buffer=nl.psum)
        for j in range(n // 128):
            wt = nl.copy(nl.transpose(w[:, j*128:(j+1)*128]))
            acc += nisa.nc_matmul(wt, nl.load(v[h, j*128:(j+1)*128, :]))
        nl.store(o[h * G:(h + 1) * G, :], nl.copy(acc, dtype=nl.bfloat16))
    return o
