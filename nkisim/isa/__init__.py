"""The instructions of a NeuronCore, by engine and family, each stated once in destination-passing
form."""

from . import (
    dma,
    gather,
    gpsimd,
    link,
    move,
    mx,
    random,
    rank,
    reduce,
    scalar,
    search,
    select,
    statistics,
    tensor_engine,
    vector,
)
from .core import TABLE

__all__ = [
    "TABLE",
    "dma",
    "gather",
    "gpsimd",
    "link",
    "move",
    "mx",
    "random",
    "rank",
    "reduce",
    "scalar",
    "search",
    "select",
    "statistics",
    "tensor_engine",
    "vector",
]
