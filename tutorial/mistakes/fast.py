"""The known mistakes of stage 7: V's layout, the order of the keys, whose weights, in the form of
`reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read
from .steps import STEPS

FAST = (
    *STEPS,
    *read(
        """
== V read as untransposed
V is stored (Hkv, n, d) here, its keys in rows, and was read as if it were (Hkv, d, n): a tile
v[h, keys, :] has its keys on the partitions already and needs no transpose.
    v_tile = concatenate([v[b, h][:, keys[i : i + d]].T for i in range(0, len(keys), d)], axis=1)
    v_tile = v[b, h].T.reshape(d, n)[:, keys]
== keys of K and V in different order
The weights and V are in a different order of the keys: where partition p of V holds the keys p T
+ t, column t of the weights must be key p T + t too, every T-th column of K.
    @_tile = @[b, h][:, keys[turned(len(keys), {0|1})]]
    k_tile = k[b, h][:, keys[pieces(len(keys), {512|1024|2048}, 1)]]
== bias of another head [heads]
exp's bias is another head's max: column g of the weights is relative to m of head g.
    p = exp(qk - roll(m_new, {1|-1}, axis=0))
    p = exp(qk - m_new[{:1|-1:}])
    p = exp(qk - m_new[::-1])
== head on the wrong partition [heads]
A head stands on another head's partition: query head h is row h of o, and its group, the rows h
// G * G to h // G * G + G - 1, must meet KV head h // G in the scores and in the weighted sum
alike.
    o[b => o[b, (h * G + arange(G) + {1|-1|G|-G}) % Hq] = acc / l
    o[b => o[b, h * G : (h + 1) * G] = (acc / l)[::-1]
    o[b => o[b, Hq - (h + 1) * G : Hq - h * G] = acc / l
    acc = acc * alpha + {p[::-1]|roll(p, 1, axis=0)|roll(p, -1, axis=0)} @ v_tile.T
"""
    ),
)
REFUSED = {
    "V read as untransposed": r"'{v}' (would have|has) \d+ partitions"
    r"|out of bounds for axis 2 of '{v}'"
}
"""What the simulator says where a mistake breaks a rule; {v} is what the kernel calls v."""
