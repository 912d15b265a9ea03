"""The instructions of a NeuronCore, by engine and family, each stated once in destination-passing form."""

from . import dma, gpsimd, reduce, scalar, select, tensor_engine, vector
from .core import TABLE

__all__ = ["TABLE", "dma", "gpsimd", "reduce", "scalar", "select", "tensor_engine", "vector"]
