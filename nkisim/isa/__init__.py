"""The instructions of a NeuronCore, one file an engine, each stated once in destination-passing form."""

from . import dma, gpsimd, scalar, tensor_engine, vector
from .core import TABLE

__all__ = ["TABLE", "dma", "gpsimd", "scalar", "tensor_engine", "vector"]
