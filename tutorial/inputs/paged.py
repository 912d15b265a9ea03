"""Inputs of a paged cache: sequences in a pool of blocks, found through a block table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..stage import Case
from . import families
from .batches import PADDING
from .draw import OWN, Draw
from .families import F32, FAMILIES, Family


def paged(
    family: str,
    reveals: str,
    sequences: Sequence[tuple[F32, F32, F32]],
    block: int,
    *,
    most: int = 0,
    shared: int = 0,
    padding: str = "old",
    unused: str = "none",
    spare: int = 3,
    exact: bool = True,
    draw: Draw = OWN,
    n_blocks: int = 0,
    **options: Any,
) -> Case:
    """Sequences, each q (d, Hq), k and v (Hkv, d, n), in a pool of blocks in no order.

    `most` entries per row (0: as many as needed), the first `shared` blocks are those of sequence 0
    for all. What is past a length is `padding`: "old" (finite numbers), "1e4" or "NaN". `unused`
    entries are "old" (blocks of others), or "none" (numbers of no block). The pool has `spare`
    blocks that no sequence uses, or as many as it takes to have `n_blocks`.
    """
    n_kv, d = sequences[0][1].shape[:2]
    lengths = [k.shape[2] for _, k, _ in sequences]
    counts = [-(-n // block) for n in lengths]
    most = most or max(max(counts), 1)
    own = [count - min(shared, count) if b else count for b, count in enumerate(counts)]
    n_blocks = n_blocks or sum(own) + spare
    rng = draw.rng("pool", family, n_blocks, block, *lengths)
    order = rng.permutation(n_blocks)
    shape, drawn = (n_blocks, n_kv, block, d), (min(n_blocks, 256), n_kv, block, d)
    # what blocks of no sequence hold may repeat
    pool = [np.resize(families.grid(2 * rng.standard_normal(drawn), 2.0**-4), shape) for _ in "kv"]
    if padding != "old":
        pool = [np.full(shape, float(padding), np.float32) for _ in "kv"]
    table = np.zeros((len(sequences), most), np.int32)
    at = 0
    for b, (_, k, v) in enumerate(sequences):
        first = counts[b] - own[b]
        ids = [*table[0, :first], *order[at : at + own[b]]]
        at += own[b]
        for j in range(first, counts[b]):
            keys = slice(j * block, min((j + 1) * block, lengths[b]))
            for blocks, x in zip(pool, (k, v), strict=True):
                blocks[ids[j], :, : keys.stop - keys.start] = x[:, :, keys].swapaxes(1, 2)
        rest = most - counts[b]
        no_block = rng.choice(np.array([-1, n_blocks, n_blocks + 7, 2**31 - 1, -(2**31)]), rest)
        table[b] = [*ids, *(rng.integers(0, n_blocks, rest) if unused == "old" else no_block)]
    args = {
        "q": np.stack([q for q, _, _ in sequences]),
        "k_blocks": pool[0],
        "v_blocks": pool[1],
        "block_table": table,
        "lengths": np.array(lengths, np.int32)[:, None],
    }
    return Case(family, reveals, args, options, exact)


def sequence(
    name: str | Family, n_q: int, n_kv: int, d: int, n: int, turn: int = 0, draw: Draw = OWN
) -> tuple[F32, F32, F32]:
    """The last n keys of a family's; another `turn`, another sequence."""
    q, k, v = families.heads(name, n_q, n_kv, d, -(-max(n, 1) // 128) * 128 + 128 * turn, draw)
    return q, k[:, :, k.shape[2] - n :], v[:, :, v.shape[2] - n :]


def paged_case(
    name: str | Family,
    lengths: Sequence[int],
    block: int,
    family: str | None = None,
    heads: tuple[int, int, int] = (4, 2, 64),
    draw: Draw = OWN,
    **how: Any,
) -> Case:
    """A family as a batch of sequences of these lengths."""
    of = FAMILIES[name] if isinstance(name, str) else name
    if family is None:
        lengths = draw.lengths(lengths, of.name)
        heads = (*draw.heads(*heads[:2], of.name), heads[2])
    made = [sequence(name, *heads, n, turn, draw) for turn, n in enumerate(lengths)]
    reveals = PADDING[how["padding"]][0] if "padding" in how else of.reveals
    return paged(family or of.name, reveals, made, block, exact=not of.digits, draw=draw, **how)
