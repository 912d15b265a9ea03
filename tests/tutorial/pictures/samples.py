"""One picture of every kind, and some at the edges of what can be drawn."""

from __future__ import annotations

from tutorial import pictures

SAMPLES = {
    "memories": pictures.memories(),
    "memories of trn1": pictures.memories("trn1"),
    "stored": pictures.stored(64, 128),
    "stored, a group": pictures.stored(64, 128, 4),
    "stored, V in rows": pictures.stored(128, 128, 4, v_rows=True),
    "scores": pictures.matmul(64, 1, 128),
    "weighted sum": pictures.matmul(128, 4, 64, ("p_t", "v_t", "pv"), "keys"),
    "keys on the partitions": pictures.matmul(128, 128, 4, ("K", "q", "qk")),
    "widest moving operand": pictures.matmul(128, 128, 512),
    "accumulated": pictures.accumulated([[1, 2], [3, 0]]),
    "transpose of a row": pictures.transpose(1, 128),
    "transpose of a tile": pictures.transpose(64, 128, "v"),
    "passes": pictures.passes(8),
    "passes over one tile": pictures.passes(1),
    "rescale": pictures.rescale([0, 1, 2], [2, 3, 4]),
    "rescale, most scores": pictures.rescale([0.5] * 6, [-1, 0, 1, 2, 3, 3.25]),
    "groups": pictures.groups(8, 2),
    "groups, most heads": pictures.groups(32, 8),
    "groups of one": pictures.groups(3, 3),
    "ragged": pictures.ragged([1, 127, 128, 129, 0], 256),
    "ragged, one sequence": pictures.ragged([300], 300),
    "splits": pictures.splits(5, 4),
    "splits, most": pictures.splits(24, 8),
    "splits, an odd number": pictures.splits(8, 3),
    "one split": pictures.splits(4, 1),
    "packings": pictures.packings(32, 8, 8192),
    "packings of one group": pictures.packings(4, 1, 1024),
    "padded": pictures.padded(8, 2),
    "padded, most heads": pictures.padded(32, 8),
    "key places": pictures.key_places(3),
    "key places, most": pictures.key_places(8, 8),
    "block table": pictures.block_table([[5, 2, 0], [5, 3, 99]], [10, 6], 4, 6),
    "block table, most": pictures.block_table([[0, 1, 2, 3, 4, 5]] * 4, [96, 80, 16, 1], 16, 12),
    "cache": pictures.cache(200),
    "a full cache": pictures.cache(128),
    "a cache of one key": pictures.cache(1),
}
