"""Instructions run on arrays, and how near their results are to float64's."""

from __future__ import annotations

import ml_dtypes
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np

import nkisim

BF16 = ml_dtypes.bfloat16
FLOATS = (np.float32, BF16, np.float16)
# Relative to the largest element: what one rounding to the type may cost, with a little for fp32
# arithmetic before it.
CLOSE = {np.dtype(np.float32): 2e-6, np.dtype(BF16): 2.0**-8, np.dtype(np.float16): 2.0**-11 + 1e-6}


def normal(seed, *shape, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(dtype)


def run(body, *arrays, outputs=1):
    """What the tiles that `body` returns hold, for arrays loaded as they are."""

    @nki.jit
    def kernel(*tensors):
        tiles = body(*[nl.load(t) for t in tensors])
        tiles = tiles if isinstance(tiles, tuple) else (tiles,)
        outs = [nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.hbm) for t in tiles]
        for out, tile in zip(outs, tiles):
            nl.store(out, tile)
        return tuple(outs)

    with nkisim.record() as seen:
        results = kernel(*arrays)
    run.ops = [i.op for i in seen.instructions]
    return results[0] if outputs == 1 else results


def wide(*arrays):
    return tuple(a.astype(np.float64) for a in arrays)


def agree(got, want, dtype=np.float32):
    assert got.dtype == np.dtype(dtype) and got.shape == want.shape
    scale = max(float(np.max(np.abs(want))), 1e-30)
    assert np.max(np.abs(got.astype(np.float64) - want)) <= CLOSE[np.dtype(dtype)] * scale
