"""The known mistakes of stage 7: V's layout, the order of the keys, whose weights, in the form of
`reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read
from .attention import ATTENTION

_EARLIER = [known for known in ATTENTION if known.key == "p with the tile's max"]
FAST = (
    *_EARLIER,
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
== p of another tile
The values of a tile are weighed by another tile's p: l sums the right weights, acc does not. Read
p where this tile's exp wrote it.
    acc = acc * alpha + p[:, other(len(keys), {128|512}, {0|-1|1|2})] @ v_tile.T
    acc = acc * alpha + p[:, arange(len(keys)) - {1 * (arange(len(keys)) % <T> >
        0)|arange(len(keys)) % <T>}] @ v_tile.T
    acc = acc * alpha => acc = acc * alpha + (p_old if t else p) @ v_tile.T; p_old = p
    acc = acc * alpha => p_old = p_old if t else p; acc = acc * alpha + p_old @ v_tile.T
== V of one tile for a whole chunk
The values of one tile are used for all tiles of a chunk: V must be loaded at the keys of the
weights that it meets.
    v_tile = v[b, h][:, keys[other(len(keys), {128|512}, {0|2})]]
    v_tile = v[b, h][:, keys[arange(len(keys)) // <T> * <T>]]
== V's tiles in another order
The tiles of V are taken in another order than those of the weights: tile t of V must meet tile t of
p.
    v_tile = v[b, h][:, keys[other(len(keys), 128, 3)]]
== last keys of a chunk skipped in the weighted sum
The last keys of every chunk are left out of the weighted sum: l counts them, acc must too.
    acc = acc * alpha + p[:, {:-128|turned(len(keys), 0)[:-128]}] @ v_tile[:,
        {:-128|turned(len(keys), 0)[:-128]}].T
    acc = acc * alpha + p[:, : max(len(keys) - 128, 128)] @ v_tile[:, : max(len(keys) - 128, 128)].T
== one tile of every chunk in the sum
The sum of the weights holds one tile of every chunk only: acc counts the others, and l must too.
    l = l * alpha + p[:, {:128|-128:|::<T>|<T> - 1 :: <T>}].sum(axis=1, keepdims=True)
== a max for each part of a chunk
p is formed with a max of a part of the chunk, a tile's or a partition's own: all weights of a chunk
must be relative to the same m_new.
    p = exp(qk - m_new) => part = qk.reshape(G, {-1, 128|128, -1}); p = exp(part -
        part.max(axis={1|2}, keepdims=True)).reshape(G, -1)
    m_tile => x = qk.reshape(G, 128, -1); m_old = m_lane if t else full((G, 128), LOWEST); m_lane =
        maximum(m_old, x.max(axis=2)); a_lane = exp(m_old - m_lane); m_tile = qk.max(axis=1,
        keepdims=True) & p = exp(qk - m_new) => p = exp(x - m_lane[:, :, None]).reshape(G, -1)
        & l = l * alpha => l_lane = (l_lane if t else 0) * a_lane + p.reshape(G, 128,
        -1).sum(axis=2); l = l_lane.sum(axis=1, keepdims=True)
        & acc = acc * alpha => acc = acc * a_lane[:, :d] + p @ v_tile.T
== l of one partition only
The sum of one partition divides: l is one sum a partition here, and all 128 must be added up.
    l = l * alpha => lane = (lane * alpha if t else 0) + lanes(p).sum(axis=1); l = l * alpha +
        p.sum(axis=1, keepdims=True) & o[b => o[b, h * G : (h + 1) * G] = acc / lane[:, :d]
== bias of another tile's max
exp's bias is the max of another tile: a tile's p must be relative to the m_new that its own alpha
was formed with.
    p = => first = first if t else m_new; p = exp(qk - first)
    p = => p = exp(qk - (m if t else m_new))
    p = => p = exp(qk - (before if t else m_tile)); before = m_tile
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
""",
        {"T": "(len(keys) // 128)"},
    ),
)
"""The mistakes of a chunk; in a chunk of one tile its max is that of the tile."""

REFUSED = {
    "V read as untransposed": r"'{v}' (would have|has) \d+ partitions"
    r"|out of bounds for axis 2 of '{v}'"
}
"""What the simulator says where a mistake breaks a rule; {v} is what the kernel calls v."""
