"""In `nki`, with the scores as (keys, G): the max of the keys through a transpose, the sums by matmuls with ones."""

import math

import nki
import nki.isa as nisa
import nki.language as nl


def new(shape, where=None):
    return nl.ndarray(shape, dtype=nl.float32, buffer=nl.sbuf if where is None else where)


def flipped(tile, rows, columns):
    """The transpose of a tile, in SBUF."""
    bank = new((columns, rows), nl.psum)
    nisa.nc_transpose(dst=bank, data=tile)
    made = new((columns, rows))
    nisa.tensor_copy(dst=made, src=bank)
    return made


def product(a, b, rows, columns):
    """a^T b, in SBUF."""
    bank = new((rows, columns), nl.psum)
    nisa.nc_matmul(dst=bank, stationary=a, moving=b)
    made = new((rows, columns))
    nisa.tensor_copy(dst=made, src=bank)
    return made


@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    groups, d, n = k.shape
    heads = q.shape[1]
    per = heads // groups
    scale = softmax_scale if softmax_scale != None else 1.0 / math.sqrt(d)  # noqa: E711
    o = nl.ndarray((heads, d), dtype=nl.float32, buffer=nl.shared_hbm)
    spread = nl.full((1, 128), 1.0, dtype=nl.float32)
    gather = nl.full((128, 1), 1.0, dtype=nl.float32)
    for g in range(groups):
        mine = new((d, per))
        nisa.dma_copy(dst=mine, src=q[:, g * per:(g + 1) * per])
        top = nl.full((1, per), -3.0e38, dtype=nl.float32)
        total = nl.full((1, per), 0.0, dtype=nl.float32)
        mixed = nl.full((d, per), 0.0, dtype=nl.float32)
        for t in range(n // 128):
            kt, vt = new((d, 128)), new((d, 128))
            nisa.dma_copy(dst=kt, src=k[g, :, t * 128:(t + 1) * 128])
            nisa.dma_copy(dst=vt, src=v[g, :, t * 128:(t + 1) * 128])
            s = product(kt, mine, 128, per)
            nisa.tensor_scalar(dst=s, data=s, op0=nl.multiply, operand0=scale)
            high = new((per, 1))
            nisa.tensor_reduce(dst=high, op=nl.maximum, data=flipped(s, 128, per), axis=1, keepdims=True)
            up = new((1, per))
            nisa.tensor_tensor(dst=up, data1=top, data2=flipped(high, per, 1), op=nl.maximum)
            shrink = new((1, per))
            nisa.tensor_tensor(dst=shrink, data1=top, data2=up, op=nl.subtract)
            nisa.activation(dst=shrink, op=nl.exp, data=shrink)
            e = new((128, per))
            nisa.tensor_tensor(dst=e, data1=s, data2=product(spread, up, 128, per), op=nl.subtract)
            nisa.activation(dst=e, op=nl.exp, data=e)
            nisa.tensor_tensor(dst=total, data1=total, data2=shrink, op=nl.multiply)
            nisa.tensor_tensor(dst=total, data1=total, data2=product(gather, e, 1, per), op=nl.add)
            shrink_d = product(spread[:, 0:d], shrink, d, per)
            nisa.tensor_tensor(dst=mixed, data1=mixed, data2=shrink_d, op=nl.multiply)
            nisa.tensor_tensor(dst=mixed, data1=mixed, data2=product(flipped(vt, d, 128), e, d, per), op=nl.add)
            nisa.tensor_copy(dst=top, src=up)
        inverse = new((1, per))
        nisa.reciprocal(dst=inverse, data=total)
        nisa.tensor_tensor(dst=mixed, data1=mixed, data2=product(spread[:, 0:d], inverse, d, per), op=nl.multiply)
        nisa.dma_copy(dst=o[g * per:(g + 1) * per, :], src=flipped(mixed, d, per))
    return o
