"""(m, l, acc) = merge over splits s of (m_s, l_s, acc_s); o = acc / l

merge: m = max(m_a, m_b); l = l_a exp(m_a - m) + l_b exp(m_b - m); acc likewise
its identity is (-inf, 0, 0)

Line budget: 50 lines in place of the `raise`. Cost budget: K and V are each read once, whatever the
number of splits.
"""

import math

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

TILE = 128  # keys per tile: they become partitions in the weighted sum, so 128 at most


@nki.jit
def split_kernel(q, k, v, n_splits, scale):
    """The state of split program_id(0), one row per query head, fp32 in HBM:
    m (S, Hq, 1), l (S, Hq, 1), acc (S, Hq, d)."""
    # Three outputs in nl.shared_hbm, which all instances share.
    # s = nl.program_id(0) is this instance's split.
    # For every KV head: stage 4's state and loop, over this split's tiles only;
    # then store m, l and acc, undivided.
    raise NotImplementedError("stage 6 is not attempted yet")


@nki.jit
def merge_kernel(m_parts, l_parts, acc_parts):
    """The merged state of all splits, divided, fp32 in HBM:
    m (S, Hq, 1), l (S, Hq, 1), acc (S, Hq, d) -> o (Hq, d)."""
    # One state (Hq rows) that starts as the identity.
    # Merge the splits' states into it, one after another.
    # Store acc / l.
    raise NotImplementedError("stage 6 is not attempted yet")


def decode_attention_split_fwd(q, k, v, n_splits, softmax_scale=None):
    """q (d, Hq), k and v (Hkv, d, n), n a multiple of 128 -> o (Hq, d), all fp32; n_splits >= 1
    program instances."""
    n_kv_heads, d, n = k.shape
    scale = 1.0 / math.sqrt(d) if softmax_scale is None else softmax_scale
    return merge_kernel(*split_kernel[n_splits](q, k, v, n_splits, scale))
