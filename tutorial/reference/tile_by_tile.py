"""The state that a stage's method holds after every tile, as the text of its twin keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nkisim.machine import narrow

from . import edits, evaluation, twins
from .attention import Attention

_ROUNDED = "acc = acc * alpha + bf16(p) @ v_tile.T"
"""How the weights meet values of 16 bits."""


def states(
    attention: Attention, tile: int, passes: bool = False, line: str = ""
) -> Iterator[dict[str, Any]]:
    """The state of each part's query heads after every tile of `tile` keys that it has: `head`, the
    first of them, `keys`, the tile's first and last, and a row per head of tile_max, m_old, m,
    alpha, l, (H, 1), acc and o so far, (H, d), as far as the method has them by then.

    `passes` is the method of several passes over the keys. `line` is a line of the text, written
    wrongly.
    """
    rounded = _ROUNDED if attention.v.dtype == narrow.bfloat16 else ""
    way = [edit for own in (rounded, line) if own for edit in edits.ways(own)[0]]
    text = edits.edited(twins.PASSES if passes else twins.ONE_PASS, tuple(way))
    assert text is not None
    n, heads = attention.n, attention.heads_a_part
    tiles = [np.arange(first, min(first + tile, n)) for first in range(0, n, tile)]
    ran = evaluation.run(text, twins.names(attention, tiles))
    assert ran is not None
    by_tile: dict[str, NDArray[np.float32]] = {}
    for name in ("m", "l", "alpha", "acc"):
        if name in ran.kept:  # KV head after KV head, each tile by tile
            each = np.stack(ran.kept[name])
            of_heads = each.reshape(attention.n_kv_heads, -1, *each.shape[1:]).swapaxes(0, 1)
            by_tile[name] = of_heads.reshape(len(of_heads), attention.n_q_heads, -1)
    qk = attention.scores()
    for part in range(attention.parts):
        rows = slice(part * heads, (part + 1) * heads)
        m_old = np.full((heads, 1), -np.inf)
        for t, keys in enumerate(tiles):
            if attention.starts and keys[0] >= attention.row_lengths[rows.start]:
                break  # a split ends with its last key
            state = {name: found[t, rows] for name, found in by_tile.items() if t < len(found)}
            if {"l", "acc"} <= set(state):
                state["o"] = state["acc"] / state["l"]
            yield {
                "head": rows.start,
                "keys": tuple(int(key) + attention.first_key(rows.start) for key in keys[[0, -1]]),
                "tile_max": qk[rows, keys].max(axis=1, keepdims=True),
                "m_old": m_old,
                **state,
            }
            m_old = state["m"]
