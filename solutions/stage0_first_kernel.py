"""y = scale * x

The round trip that every kernel makes: HBM -> SBUF -> an engine -> SBUF -> HBM, one tile at a time.
The 128 rows of x lie on the 128 partitions of SBUF; the columns run along the free dimension.
"""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # columns per tile


@nki.jit
def scale_fwd(x, scale):
    """x (128, n) fp32 in HBM, scale a number -> (128, n) fp32 in HBM."""
    assert len(x.shape) == 2 and x.shape[0] == 128, f"x must be (128, n), got {x.shape}"
    rows, n = x.shape
    assert x.dtype == nl.float32, f"x must be float32, got {x.dtype}"
    assert n > 0 and n % TILE == 0, f"n must be a positive multiple of {TILE}, got {n}"

    y = nl.ndarray((rows, n), dtype=x.dtype, buffer=nl.shared_hbm)  # (128, n) HBM
    for i in nl.affine_range(n // TILE):  # the tiles do not depend on each other
        x_tile = nl.load(x[:, nl.ds(i * TILE, TILE)])  # (128, TILE) SBUF
        y_tile = nisa.tensor_scalar(x_tile, op0=nl.multiply, operand0=scale)  # (128, TILE) SBUF
        nl.store(y[:, nl.ds(i * TILE, TILE)], value=y_tile)
    return y
