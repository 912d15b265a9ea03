"""The known mistakes of kernels that take several tiles of 128 keys in one step of the loop, or the
keys on the partitions, in the form of `reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read
from .attention import ATTENTION

_EARLIER = [known for known in ATTENTION if known.key == "p with the tile's max"]
"""In a step of one tile its max is that of the tile."""
STEPS = (
    *_EARLIER,
    *read(
        """
== V of one tile for a whole step [tiles]
The values of one tile are used for all tiles of a step: V must be loaded at the keys of the
weights that it meets.
    v_tile = v[b, h][:, keys[other(len(keys), {<W>|512}, {0|2})]]
    v_tile = v[b, h][:, keys[arange(len(keys)) // <T> * <T>]]
== K of one tile for a whole step [tiles]
The scores of one tile stand for all tiles of a step: every tile needs the scores of its own keys,
from its own part of K.
    k_tile = k[b, h][:, keys[other(len(keys), {<W>|512}, {0|2})]]
    k_tile = k[b, h][:, keys[arange(len(keys)) // <T> * <T>]]
== rescaled for every tile of a step [tiles]
The old sum is rescaled by alpha again for every tile of a step: alpha belongs to the whole step, so
rescale once, before its first tile is added.
    acc = acc * alpha => acc = acc * alpha ** <T> + (p * alpha ** <later>) @ v_tile.T
    l = l * alpha => l = l * alpha ** <T> + (p * alpha ** <later>).sum(axis=1, keepdims=True)
== p of another tile [tiles]
The values of a tile are weighed by the p of another tile: l sums the right weights, acc does not.
Each tile's values need the p of the same keys.
    acc = acc * alpha + p[:, other(len(keys), {<W>|512}, {0|-1|1|2})] @ v_tile.T
    acc = acc * alpha + p[:, arange(len(keys)) - {1 * (arange(len(keys)) % <T> >
        0)|arange(len(keys)) % <T>}] @ v_tile.T
    acc = acc * alpha => p_old = p_old if t else p; acc = acc * alpha + p_old @ v_tile.T
    acc = acc * alpha => acc = acc * alpha + (p_old if t else p) @ v_tile.T; p_old = p
== p of another tile in both sums [tiles]
Both sums take the p of another tile of the step: l and acc need every tile's own p.
    l = l * alpha => p = p[:, other(len(keys), <W>, {0|2})]; l = l * alpha + p.sum(axis=1,
        keepdims=True)
== l sums another tile's p [tiles]
l sums the p of another tile: acc weighs the values by the right p, and l must sum the same.
    l = l * alpha => p_old = p_old if t else p; l = l * alpha + p_old.sum(axis=1, keepdims=True)
    l = l * alpha => l = l * alpha + (p_old if t else p).sum(axis=1, keepdims=True); p_old = p
== V's tiles in another order [tiles]
The tiles of V in a step are taken in another order than those of the weights: tile t of V must meet
tile t of p.
    v_tile = v[b, h][:, keys[other(len(keys), <W>, 3)]]
== one tile of every step in the weighted sum [tiles]
Only one tile of every step is in the weighted sum: l counts the others, and acc must too.
    acc = acc * alpha + p[:, {:128|<E>}] @ v_tile[:, {:128|<E>}].T
== one tile of every step in the sum [tiles]
Only one tile of every step is in the sum of the weights: acc counts the others, and l must too.
    l = l * alpha + p[:, {:128|<E>|::<T>|<T> - 1 :: <T>}].sum(axis=1, keepdims=True)
== last keys of a step skipped in the weighted sum [tiles]
The last keys of every step are left out of the weighted sum: l counts them, acc must too.
    acc = acc * alpha + p[:, {:-128|turned(len(keys), 0)[:-128]}] @ v_tile[:,
        {:-128|turned(len(keys), 0)[:-128]}].T
    acc = acc * alpha => part = slice({max(len(keys) - 128, 128)|max(len(keys) // 2, 128)}); acc =
        acc * alpha + p[:, part] @ v_tile[:, part].T
== a max for each part of a step [tiles]
p is formed with a max of a part of the step, a tile's or a partition's own: all weights of a step
must be relative to the same m_new.
    p = exp(qk - m_new) => part = qk.reshape(G, {-1, 128|128, -1}); top = part.max(axis={1|2},
        keepdims=True); p = exp(part - (top if top.size < qk.size or len(tiles) == 1 else
        m_new[:, :, None])).reshape(G, -1)
    m_tile => x = qk.reshape(G, 128, -1); m_old = m_lane if t else full((G, 128), LOWEST); m_lane =
        maximum(m_old, x.max(axis=2)); a_lane = exp(m_old - m_lane); m_tile = qk.max(axis=1,
        keepdims=True) & p = exp(qk - m_new) => p = exp(x - m_lane[:, :, None]).reshape(G, -1)
        & l = l * alpha => l_lane = (l_lane if t else 0) * a_lane + p.reshape(G, 128,
        -1).sum(axis=2); l = l_lane.sum(axis=1, keepdims=True)
        & acc = acc * alpha => acc = acc * a_lane[:, :d] + p @ v_tile.T
== l of one partition only
The sum of one partition divides: where l is one sum per partition, all 128 must be added up.
    l = l * alpha => lane = (lane * alpha if t else 0) + {p|lanes(p).sum(axis=1)}; l = l * alpha +
        p.sum(axis=1, keepdims=True) & o[b => o[b, h * G : (h + 1) * G] = acc / lane[:, {:1|:d}]
== bias of another tile's max [tiles]
p is relative to the max of another tile: a tile's p must be relative to the m_new that its own
alpha was formed with.
    p = => first = first if t else m_new; p = exp(qk - first)
    p = => p = exp(qk - (m if t else m_new))
    p = => p = exp(qk - (before if t else m_tile)); before = m_tile
""",
        {
            "W": "min(128, len(keys))",
            "T": "max(len(keys) // 128, 1)",
            "later": "(max(len(keys) // 128, 1) - 1 - arange(len(keys)) // 128)",
            "E": "(len(keys) - 1) // 128 * 128 :",
        },
    ),
)
