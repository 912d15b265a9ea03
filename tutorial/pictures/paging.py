"""A cache in pictures: blocks behind a table, and a tile that is not full."""

from __future__ import annotations

from collections.abc import Sequence

from .canvas import SMALL, Canvas, Picture

OWN = ("q", "k", "v", "state")
"""The tone of each sequence."""


def block_table(
    table: Sequence[Sequence[int]], lengths: Sequence[int], block: int, n_blocks: int
) -> Picture:
    """A block table over its pool: each sequence's entries, an arrow from each that is used to its
    block, and the blocks that two sequences share. Entries past a sequence's last block are drawn
    faint; they may hold anything.

    Raises ValueError for more than 12 blocks, 4 sequences or 6 entries, and for a used entry that
    does not name a block.
    """
    used = _used(table, lengths, block, n_blocks)
    owners = [[s for s, row in enumerate(used) if b in row] for b in range(n_blocks)]
    side = min(56.0, 464 / n_blocks)
    pool_y = 50.0 + 44 * len(table) + 66
    c = Canvas(pool_y + 96)
    c.words(8, 22, "block table", "bold")
    _entries(c, table, used, lengths, side, pool_y)
    for b, owner in enumerate(owners):
        x = 8 + side * b
        tone = "p" if len(owner) > 1 else OWN[owner[0]] if owner else ""
        c.box(x + 2, pool_y, side - 4, 36, tone, f"block {b}", str(b), dashed=not owner)
    c.words(8, pool_y + 58, f"pool of {n_blocks} blocks of {block} keys", "bold")
    shared = [str(b) for b, owner in enumerate(owners) if len(owner) > 1]
    legend = "purple: shared. " if shared else ""
    c.small(8, pool_y + 78, f"{legend}Dashed: not used, whatever it holds.")
    said = " ".join(
        f"Sequence {s} has {length} keys in blocks {', '.join(map(str, row)) or 'none'}."
        for s, (length, row) in enumerate(zip(lengths, used))
    )
    both = f" Shared: block {', '.join(shared)}." if shared else ""
    return c.picture(
        f"A block table over a pool of {n_blocks} blocks of {block} keys. {said}{both} Entries "
        "past a sequence's last block are not used, whatever they hold."
    )


def _used(
    table: Sequence[Sequence[int]], lengths: Sequence[int], block: int, n_blocks: int
) -> list[Sequence[int]]:
    """The entries of each sequence that its length needs. Raises ValueError as `block_table`."""
    if not 0 < n_blocks <= 12 or not 0 < len(table) <= len(OWN) or len(table) != len(lengths):
        raise ValueError("1 to 12 blocks, and 1 to 4 sequences with a length each")
    if any(len(row) > 6 or n > block * len(row) for row, n in zip(table, lengths)):
        raise ValueError("at most 6 entries per sequence, and as many as its length needs")
    used = [row[: -(-length // block)] for row, length in zip(table, lengths)]
    if any(not 0 <= entry < n_blocks for row in used for entry in row):
        raise ValueError(f"every entry that is used must name a block of 0 to {n_blocks - 1}")
    return used


def _entries(
    c: Canvas,
    table: Sequence[Sequence[int]],
    used: Sequence[Sequence[int]],
    lengths: Sequence[int],
    side: float,
    pool_y: float,
) -> None:
    """The rows of the table. Arrows go first, so that a box that one passes stays whole."""
    drop = 36.0 + 44 * len(table)
    places = [
        (s, j, 172.0 + 24 * (s % 2) + 48 * j)
        for s, row in enumerate(table)
        for j in range(len(row))
    ]
    for s, j, x in places:
        if j < len(used[s]):
            entry, tone = used[s][j], OWN[s]
            end = 8 + side * (entry + 0.5) + 6 * (s - (len(table) - 1) / 2)
            c.arrow(x + 13, 60 + 44 * s, x + 13, drop, tone, stroke=1.5, head=False)
            c.arrow(x + 13, drop, end, pool_y, tone, name=f"{s},{j} to {entry}", stroke=1.5)
    for s, j, x in places:
        live, label = j < len(used[s]), str(table[s][j])
        tone = OWN[s] if live else ""
        where = (x, 36.0 + 44 * s, 28, 28)
        c.box(*where, tone, f"entry {s},{j}", label, dashed=not live, size=SMALL)
    for s, length in enumerate(lengths):
        c.small(8, 55 + 44 * s, f"sequence {s}: {length} keys")


def cache(keys: int, tile: int = 128, d: int = 32) -> Picture:
    """A KV cache in whole tiles with a padding row: the keys so far, and the columns that must
    weigh nothing.

    K is (d + 1, tiles x tile). Raises ValueError unless there are 1 to 4 tiles of keys.
    """
    tiles = -(-keys // tile)
    if not 0 < tiles <= 4:
        raise ValueError(f"1 to 4 tiles of {tile} keys can be drawn, got {keys} keys")
    total = tiles * tile
    left, wide = 14.0, 452.0
    unit = wide / total
    c = Canvas(226)
    in_tiles = f"{tiles} tile{'s' if tiles > 1 else ''} of {tile}"
    c.words(left, 22, f"K in the cache: {keys} keys in {in_tiles}", "bold")
    c.box(left, 40, keys * unit, 80, "k", "keys", "d rows" if keys * unit > 70 else "")
    c.box(left, 124, keys * unit, 24, "state", "row of keys", "0" if keys * unit > 12 else "")
    if keys < total:
        x, free = left + keys * unit, (total - keys) * unit
        label = "no key: 0" if free > 90 else ""
        c.box(x, 40, free, 80, "", "no keys", label, dashed=True)
        label = "-30000" if free > 70 else ""
        c.box(x, 124, free, 24, "wrong", "row of no keys", label, size=SMALL)
    for edge in range(tile, total, tile):
        x = left + edge * unit
        c.arrow(x, 32, x, 154, "wrong", head=False, name=f"edge {edge}")
    c.small(left, 172, "below: the padding row, which meets a 1 in the query")
    c.small(left, 192, "exp(-30000 - m) is 0 in fp32: such a column weighs nothing")
    if tiles > 1:
        c.small(left, 212, "red line: the edge of a tile")
    return c.picture(
        f"K in the cache of stage 10: {keys} keys, rounded up to {in_tiles} columns. The first "
        f"d = {d} rows hold the keys, and 0 where there is none. The padding row holds 0 under the "
        f"{keys} keys and -30000 under the {total - keys} columns without one; the query holds 1 "
        "there, so that their weights are exactly 0."
    )
