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
The values of a tile are weighed by the p of another tile of its step: l sums the right weights,
acc does not. Each tile's values need the p of the same keys.
    acc = acc * alpha + p[:, other(len(keys), <W>, {0|-1|1|2})] @ v_tile.T
== one tile of every step in the weighted sum [tiles]
Only one tile of every step is in the weighted sum: l counts the others, and acc must too.
    acc = acc * alpha + p[:, {:128|-128:}] @ v_tile[:, {:128|-128:}].T
""",
    {"W": "min(128, len(keys))"},
)
