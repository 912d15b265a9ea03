"""nki 0.6, scalar state: the heads of a group take turns on one load of K and V, their states side by side in a row."""
import nki
import nki.isa as nisa
import nki.language as nl


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    Hkv, d, n = k.shape
    Hq = q.shape[1]
    G = Hq // Hkv
    scale = d ** -0.5 if softmax_scale == None else softmax_scale  # noqa: E711
    o = nl.ndarray((Hq, d), dtype=nl.float32, buffer=nl.shared_hbm)
    m = nl.full((1, Hq), -3e38, dtype=nl.float32, name="m")
    l = nl.full((1, Hq), 0.0, dtype=nl.float32, name="l")
    acc = nl.full((1, Hq, d), 0.0, dtype=nl.float32, name="acc")
    qs = nl.load(q)
    for h in range(Hkv):
        for i in range(n // 128):
            kt = nl.load(k[h, :, i * 128:(i + 1) * 128])
            v_t = nl.copy(nl.transpose(nl.load(v[h, :, i * 128:(i + 1) * 128])))
            for g in range(G):
                j = h * G + g
                s_psum = nl.ndarray((1, 128), dtype=nl.float32, buffer=nl.psum)
                nisa.nc_matmul(dst=s_psum, stationary=qs[:, j:j + 1], moving=kt)
                s = nl.ndarray((1, 128), dtype=nl.float32)
                nisa.tensor_scalar(dst=s, data=s_psum, op0=nl.multiply, operand0=scale)
                new = nl.maximum(m[:, j:j + 1], nl.max(s, axis=1, keepdims=True))
                alpha = nl.exp(nl.subtract(m[:, j:j + 1], new))
                p = nl.ndarray((1, 128), dtype=nl.float32)
                nisa.tensor_scalar(dst=p, data=s, op0=nl.subtract, operand0=new)
                nisa.activation(dst=p, op=nl.exp, data=p)
                total = nl.sum(p, axis=1, keepdims=True)
                nisa.tensor_scalar(dst=l[:, j:j + 1], data=l[:, j:j + 1], op0=nl.multiply, operand0=alpha, op1=nl.add,
                                   operand1=total)
                pv = nl.matmul(nl.copy(nl.transpose(p)), v_t, transpose_x=True)
                nisa.tensor_scalar(dst=acc[:, j, :], data=acc[:, j, :], op0=nl.multiply, operand0=alpha)
                nisa.tensor_tensor(dst=acc[:, j, :], data1=acc[:, j, :], data2=pv, op=nl.add)
                nisa.tensor_copy(dst=m[:, j:j + 1], src=new)
    for j in range(Hq):
        out = nl.ndarray((1, d), dtype=nl.float32)
        nisa.tensor_scalar(dst=out, data=acc[:, j, :], op0=nl.multiply, operand0=nl.reciprocal(l[:, j:j + 1]))
        nl.store(o[j:j + 1, :], out)
    return o
