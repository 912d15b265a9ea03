"""VectorE: mean and variance of each partition, in parts and put together.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (bn_stats, bn_aggr).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from .core import VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA


def _rows(program: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The elements (p, n) in float32, and which of them the mask keeps."""
    rows = dtypes.to_fp32(x).reshape(x.shape[0], -1)
    if program.active_mask is None:
        return rows, np.ones(rows.shape, dtype=bool)
    return rows, program.active_mask.reshape(rows.shape)


@instruction(
    "bn_stats",
    "count, mean and variance times count of the even and of the odd elements of each partition",
    f"{_ISA} bn_stats",
)
def BN_STATS(call: Call) -> Plan:
    """attrs: (). data (p, ...), at most 512 elements per partition -> (p, 6): three numbers of even
    elements, three of odd."""
    data = call.srcs[0]
    call.tile(data, "data")
    call.per_partition(
        data, "data", 1, call.target.bn_stats_free_max, " (nl.tile_size.bn_stats_fmax)"
    )
    shape = (data.meta.partitions, 6)
    call.result(shape, VECTOR)

    def compute(program: Any, x: np.ndarray) -> np.ndarray:
        rows, kept = _rows(program, x)
        out = np.zeros(shape, dtype=np.float32)
        for parity in (0, 1):
            part, there = rows[:, parity::2], kept[:, parity::2]
            count = there.sum(axis=1, dtype=np.float32)
            least = np.maximum(count, np.float32(1))
            mean = np.where(there, part, np.float32(0)).sum(axis=1) / least
            away = np.where(there, part - mean[:, None], np.float32(0))
            out[:, 3 * parity] = count
            out[:, 3 * parity + 1] = mean
            out[:, 3 * parity + 2] = (away * away).sum(axis=1)
        return out

    return Plan(
        VECTOR,
        compute,
        shape,
        dtypes.FLOAT32,
        kind="reduce",
        axes=tuple(range(1, data.ndim)),
        stateful=True,
    )


@instruction(
    "bn_aggr",
    "mean and variance of each partition, from results of bn_stats",
    f"{_ISA} bn_aggr",
    pace=13 / 3,
)
def BN_AGGR(call: Call) -> Plan:
    """attrs: (). data (p, 3 k): k triples of count, mean, variance times count -> (p, 2): mean,
    variance."""
    data = call.srcs[0]
    call.tile(data, "data")
    if data.meta.free % 3:
        call.fail(
            "element-count",
            f"data '{data.label}' has {data.meta.free} elements per partition",
            data,
            limit="a multiple of 3: count, mean and variance * count",
            remedy="Pass the whole results of nisa.bn_stats, 6 elements per partition each.",
        )
    shape = (data.meta.partitions, 2)
    call.result(shape, VECTOR)

    def compute(program: Any, x: np.ndarray) -> np.ndarray:
        rows, kept = _rows(program, x)
        triples = np.where(kept, rows, np.float32(0)).reshape(shape[0], -1, 3)
        count, mean, spread = triples[..., 0], triples[..., 1], triples[..., 2]
        total = count.sum(axis=1)
        least = np.where(total == 0, np.float32(1), total)
        whole = (count * mean).sum(axis=1) / least
        away = mean - whole[:, None]
        variance = (spread + count * away * away).sum(axis=1) / least
        return np.stack([whole, variance], axis=1)

    return Plan(
        VECTOR,
        compute,
        shape,
        dtypes.FLOAT32,
        kind="reduce",
        axes=tuple(range(1, data.ndim)),
        stateful=True,
    )
