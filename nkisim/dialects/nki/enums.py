"""The enumerations that instructions take.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from enum import Enum


class engine(Enum):
    """The engines of a NeuronCore."""

    unknown = 0
    tensor = 1
    scalar = 2
    gpsimd = 3
    dma = 4
    vector = 5
    sync = 6


class reduce_cmd(Enum):
    """What an instruction does with the engine's reduction registers."""

    idle = 0
    reset = 1
    reduce = 2
    reset_reduce = 3
    load_reduce = 4


class dge_mode(Enum):
    """Who makes the DMA descriptors."""

    unknown = 0
    swdge = 1
    hwdge = 2
    none = 3


class oob_mode(Enum):
    """What an indirect DMA does with indices beyond the tensor."""

    error = 0
    skip = 1


class matmul_perf_mode(Enum):
    """How TensorE reads its operands."""

    none = "none"
    double_row = "double_row"


class nc_version(Enum):
    """NeuronCore generations."""

    gen2 = 2
    gen3 = 3
    gen4 = 4

    def __ge__(self, other: nc_version) -> bool:
        return self.value >= other.value

    def __gt__(self, other: nc_version) -> bool:
        return self.value > other.value

    def __le__(self, other: nc_version) -> bool:
        return self.value <= other.value

    def __lt__(self, other: nc_version) -> bool:
        return self.value < other.value


class dma_engine(Enum):
    """How nisa.sendrecv moves data."""

    dma = 1
    gpsimd_dma = 2


tensor_engine, vector_engine, scalar_engine = engine.tensor, engine.vector, engine.scalar
gpsimd_engine, unknown_engine = engine.gpsimd, engine.unknown

__all__ = [
    "dge_mode",
    "dma_engine",
    "engine",
    "gpsimd_engine",
    "matmul_perf_mode",
    "nc_version",
    "oob_mode",
    "reduce_cmd",
    "scalar_engine",
    "tensor_engine",
    "unknown_engine",
    "vector_engine",
]
