"""The enumerations of neuronxcc.nki.isa, and how its functions read their arguments.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np

from ...execution.execution import current
from ...rules.errors import broken, shown
from ...tensors.tensor import Tensor
from .support import only, tile


class engine(IntEnum):
    """The engines of a NeuronCore."""

    unknown = 0
    tensor = 1
    scalar = 2
    gpsimd = 3
    vector = 5
    sync = 6


tensor_engine, vector_engine, scalar_engine = engine.tensor, engine.vector, engine.scalar
gpsimd_engine, unknown_engine = engine.gpsimd, engine.unknown


class nc_version(IntEnum):
    """NeuronCore generations."""

    gen2 = 2
    gen3 = 3
    gen4 = 4


class reduce_cmd(IntEnum):
    """What an instruction does with the engine's reduction registers."""

    idle = 0
    reset = 1
    reduce = 2
    reset_reduce = 3
    load_reduce = 4


class oob_mode(IntEnum):
    """What an indirect DMA does with indices beyond the tensor."""

    error = 0
    skip = 1


class dge_mode(IntEnum):
    """Who makes the DMA descriptors."""

    none = 0
    swdge = 1
    hwdge = 2
    unknown = 3


class dma_engine(IntEnum):
    """DMA engines."""

    dma = 1


class _Fp32:
    @property
    def min(self) -> float:
        """The smallest finite fp32, bit pattern 0xff7fffff."""
        return float(np.finfo(np.float32).min)


fp32 = _Fp32()


def get_nc_version() -> nc_version:
    """The NeuronCore generation of the target in force."""
    return nc_version(current("nisa.get_nc_version").config.target.nc_version)


def option(value: Any, kind: type[IntEnum], api: str, what: str) -> int:
    """The number of a member of the enumeration `kind`; the number itself will do."""
    if isinstance(value, kind):
        return int(value)
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        found = [m for m in kind if int(m) == value]
        if found and not isinstance(value, IntEnum):
            return int(value)
    broken(
        "argument",
        f"{api}: {what} is {shown(value)}",
        got=shown(value),
        limit=", ".join(f"nisa.{kind.__name__}.{m.name}" for m in kind),
    )
    raise AssertionError


UNKNOWN = engine.unknown
IDLE = reduce_cmd.idle
_ENGINE_NAMES = {e: e.name for e in engine}


def engine_name(wanted: Any, api: str) -> str | None:
    """The name of the engine asked for, e.g. "vector"; None if the choice is left to the
    simulator."""
    if wanted is UNKNOWN or wanted is None:
        return None
    if not isinstance(wanted, engine):
        broken(
            "engine",
            f"{api}: engine is {shown(wanted)}",
            got=shown(wanted),
            limit="nisa.tensor_engine, vector_engine, scalar_engine, gpsimd_engine",
            remedy="Pass one of these objects, or leave engine= out to let it be chosen.",
        )
    return _ENGINE_NAMES[wanted]


def dst_of(kwargs: dict[str, Any], api: str, *known: str) -> Tensor | None:
    """The tile given as `dst=`, if any; no other keywords than `known` may be left."""
    if not kwargs:
        return None
    dst = kwargs.pop("dst", None)
    only(kwargs, api, *known)
    return None if dst is None else tile(dst, api)
