"""Matrix products whose latency AWS published, written from their description: see
`model_accuracy.py`.

The tutorials are "matrix multiplication" (trn1, bf16) and "kernel optimization" (trn2, fp32).
"""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


@nki.jit
def matmul_tiled(a_t, b):
    """Each product of two tiles loads both of them again."""
    k, m = a_t.shape
    n = b.shape[1]
    out = nl.ndarray((m, n), dtype=a_t.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(m // 128):
        for j in nl.affine_range(n // 512):
            acc = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
            for p in nl.affine_range(k // 128):
                left = nl.load(a_t[nl.ds(p * 128, 128), nl.ds(i * 128, 128)])
                right = nl.load(b[nl.ds(p * 128, 128), nl.ds(j * 512, 512)])
                acc += nisa.nc_matmul(left, right)
            nl.store(
                out[nl.ds(i * 128, 128), nl.ds(j * 512, 512)], value=nl.copy(acc, dtype=out.dtype)
            )
    return out


@nki.jit
def matmul_blocks(a_t, b, rows, columns):
    """A block of `rows` x `columns` tiles of the result at a time: their tiles of both sides are
    loaded before it.

    (1, 1) is the tutorials' version with hoisted loads, (2, 2) the one with blocked free
    dimensions.
    """
    k, m = a_t.shape
    n = b.shape[1]
    depth = k // 128
    out = nl.ndarray((m, n), dtype=a_t.dtype, buffer=nl.shared_hbm)
    for i in nl.affine_range(m // (128 * rows)):
        left = nl.ndarray((rows, depth, nl.par_dim(128), 128), dtype=a_t.dtype, buffer=nl.sbuf)
        for r in nl.affine_range(rows):
            for p in nl.affine_range(depth):
                left[r, p] = nl.load(a_t[nl.ds(p * 128, 128), nl.ds((i * rows + r) * 128, 128)])
        for j in nl.affine_range(n // (512 * columns)):
            right = nl.ndarray(
                (columns, depth, nl.par_dim(128), 512), dtype=b.dtype, buffer=nl.sbuf
            )
            for c in nl.affine_range(columns):
                for p in nl.affine_range(depth):
                    right[c, p] = nl.load(
                        b[nl.ds(p * 128, 128), nl.ds((j * columns + c) * 512, 512)]
                    )
            for r in nl.affine_range(rows):
                for c in nl.affine_range(columns):
                    acc = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
                    for p in nl.affine_range(depth):
                        acc += nisa.nc_matmul(left[r, p], right[c, p])
                    nl.store(
                        out[nl.ds((i * rows + r) * 128, 128), nl.ds((j * columns + c) * 512, 512)],
                        value=nl.copy(acc, dtype=out.dtype),
                    )
    return out


@nki.jit
def matmul_all_blocked(a_t, b, rows=16, columns=2, depth=8):
    """All three dimensions in blocks: sums of `depth` tiles in PSUM, sums of these in SBUF."""
    k, m = a_t.shape
    n = b.shape[1]
    wide, tall = 512 * columns, 128 * rows
    out = nl.ndarray((m, n), dtype=a_t.dtype, buffer=nl.shared_hbm)
    for j in nl.affine_range(n // wide):
        sums = nl.zeros(
            (m // tall, rows, columns, nl.par_dim(128), 512), dtype=a_t.dtype, buffer=nl.sbuf
        )
        for p in nl.sequential_range(k // (128 * depth)):
            right = nl.ndarray((depth, nl.par_dim(128), wide), dtype=b.dtype, buffer=nl.sbuf)
            for q in nl.affine_range(depth):
                right[q] = nl.load(b[nl.ds((p * depth + q) * 128, 128), nl.ds(j * wide, wide)])
            for i in nl.affine_range(m // tall):
                left = nl.ndarray((depth, nl.par_dim(128), tall), dtype=a_t.dtype, buffer=nl.sbuf)
                for q in nl.affine_range(depth):
                    left[q] = nl.load(a_t[nl.ds((p * depth + q) * 128, 128), nl.ds(i * tall, tall)])
                for c in nl.affine_range(columns):
                    for r in nl.affine_range(rows):
                        acc = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
                        for q in nl.affine_range(depth):
                            acc += nisa.nc_matmul(
                                left[q, :, nl.ds(r * 128, 128)], right[q, :, nl.ds(c * 512, 512)]
                            )
                        sums[i, r, c] = nisa.tensor_tensor(sums[i, r, c], acc, op=nl.add)
        for i in nl.affine_range(m // tall):
            for r in nl.affine_range(rows):
                packed = nl.ndarray((128, wide), dtype=out.dtype, buffer=nl.sbuf)
                for c in nl.affine_range(columns):
                    packed[:, nl.ds(c * 512, 512)] = nl.copy(sums[i, r, c])
                nl.store(out[nl.ds(i * tall + r * 128, 128), nl.ds(j * wide, wide)], value=packed)
    return out
