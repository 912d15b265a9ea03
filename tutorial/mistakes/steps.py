"""The known mistakes of kernels that take several tiles of 128 keys in one step of the loop, in
the form of `reference.mistake`."""

from __future__ import annotations

from ..reference.mistake import read

STEPS = read(
    """
== V of one tile for a whole step [tiles]
The values of one tile are used for all tiles of a step: V must be loaded at the keys of the
weights that it meets.
    v_tile = v[b, h][:, keys[other(len(keys), <W>, {0|2})]]
== p of another tile [tiles]
The values of a tile are weighed by the p of another tile: l sums the right weights, acc does not.
Each tile's values need the p of the same keys.
    acc = acc * alpha + p[:, other(len(keys), <W>, {0|-1|1|2})] @ v_tile.T
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
    l = l * alpha + p[:, {:128|<E>}].sum(axis=1, keepdims=True)
== l of one partition only
The sum of one partition divides: where l is one sum a partition, all 128 must be added up.
    l = l * alpha => lane = (lane * alpha if t else 0) + p; l = l * alpha + p.sum(axis=1,
        keepdims=True) & o[b => o[b, h * G : (h + 1) * G] = acc / lane[:, {:1|:d}]
""",
    {"W": "min(128, len(keys))", "E": "(len(keys) - 1) // 128 * 128 :"},
)
