"""Pictures: the machine and the data of every stage, drawn from sizes.

Each is a function that returns a `Picture`; after `from tutorial import pictures`:

    pictures.rescale([0, 1, 2], [2, 3, 4])  # the last line of a notebook's cell shows it
    print(pictures.groups(8, 2))  # the same in words
    pictures.memories().save("memories.svg")
"""

from .attention import groups, passes, ragged, rescale, splits
from .canvas import Picture
from .kernel import of_run
from .machine import accumulated, matmul, memories, stored, transpose
from .packing import key_places, packings, padded
from .paging import block_table, cache

__all__ = [
    "Picture",
    "accumulated",
    "block_table",
    "cache",
    "groups",
    "key_places",
    "matmul",
    "memories",
    "of_run",
    "packings",
    "padded",
    "passes",
    "ragged",
    "rescale",
    "splits",
    "stored",
    "transpose",
]
