"""TensorE: the transpose of a tile, SBUF in, PSUM out.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (nc_transpose).
"""

from __future__ import annotations

import numpy as np

from ..machine import dtypes
from .core import TENSOR, Call, Plan, instruction
from .tensor_engine import in_sbuf, into_psum


@instruction(
    "nc_transpose",
    "the partition and free axes of a tile swapped, by a matmul with identity",
    "aws-neuron-sdk v2.26.0 nki.isa nc_transpose",
)
def NC_TRANSPOSE(call: Call) -> Plan:
    """The transpose of TensorE: at most 128 x 128, SBUF to PSUM."""
    data = call.srcs[0]
    in_sbuf(call, data, "operand")
    partitions, free = data.meta.partitions, data.meta.free
    if free > 128:
        call.fail(
            "dimension-limit",
            f"'{data.label}' has {free} free elements",
            data,
            limit="128 on TensorE",
            remedy="Transpose blocks of 128 columns.",
        )
    into_psum(
        call,
        "TensorE writes only PSUM: take the result as a new tile and copy it with "
        "nisa.tensor_copy.",
    )
    shape = (free, partitions)
    call.result(shape, TENSOR)
    flat = (partitions, free)
    turned = (
        _turned_in_halves
        if data.ndim == 2 and free > 96 and partitions > 96 and data.array.itemsize == 4
        else _turned
    )
    if call.target.nc_version == 2:

        def compute(a: np.ndarray) -> np.ndarray:
            # On NeuronCore-v2 it is a plain matmul with identity, in which a NaN or infinity spoils
            # its row.
            if np.isfinite(dtypes.to_fp32(a)).all():
                return turned(a.reshape(flat))
            return dtypes.to_fp32(a).reshape(flat).T @ np.eye(partitions, dtype=np.float32)
    elif data.ndim == 2:
        compute = turned
    else:

        def compute(a: np.ndarray) -> np.ndarray:
            return turned(a.reshape(flat))

    exact = None if call.target.nc_version == 2 else data.array.dtype
    plan = Plan(
        TENSOR,
        compute,
        shape,
        exact,
        kind="transpose",
        cost={"partitions": partitions, "free": free},
        one_bank=True,
    )
    if compute is turned:
        plan.into = _turn_in_halves if turned is _turned_in_halves else _turn
    return plan


def _turn(a: np.ndarray, out: np.ndarray) -> None:
    out[...] = a.T


def _turned(a: np.ndarray) -> np.ndarray:
    return a.T.copy()


def _turned_in_halves(a: np.ndarray) -> np.ndarray:
    """`_turned` of a large tile: half its rows at a time stay in the host's cache, which takes half
    as long."""
    out = np.empty(a.shape[::-1], a.dtype)
    _turn_in_halves(a, out)
    return out


def _turn_in_halves(a: np.ndarray, out: np.ndarray) -> None:
    out[:, :64] = a[:64].T
    out[:, 64:] = a[64:].T
