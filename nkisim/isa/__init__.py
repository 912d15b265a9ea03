"""The instructions of a NeuronCore, by engine and family, each stated once in destination-passing
form."""

from . import (
    copies,
    dma,
    gather,
    gpsimd,
    link,
    move,
    mx,
    random,
    rank,
    reduce,
    running,
    scalar,
    scan,
    search,
    select,
    statistics,
    tensor_engine,
    transpose,
    vector,
)
from .core import TABLE

__all__ = [
    "TABLE",
    "copies",
    "dma",
    "gather",
    "gpsimd",
    "link",
    "move",
    "mx",
    "random",
    "rank",
    "reduce",
    "running",
    "scalar",
    "scan",
    "search",
    "select",
    "statistics",
    "tensor_engine",
    "transpose",
    "vector",
]
