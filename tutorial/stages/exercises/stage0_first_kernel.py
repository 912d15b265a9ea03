"""y = scale * x

Line budget: 10 lines in place of the `raise`. Cost budget: x is read once, y is written once.
"""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # columns per tile


@nki.jit
def scale_fwd(x, scale):
    """x (128, n) fp32 in HBM, scale a number -> (128, n) fp32 in HBM."""
    rows, n = x.shape
    # 1. Allocate the output in HBM: y = nl.ndarray(..., buffer=nl.shared_hbm)
    # 2. Loop over the tiles: nl.load, multiply with nisa.tensor_scalar, nl.store
    # 3. Return y
    raise NotImplementedError("stage 0 is not attempted yet")
