"""Intervals inside published profiles, and what the model of time says of the same instructions
and transfers."""

from __future__ import annotations

import nkisim  # first: it serves the name neuronxcc where AWS's package is not installed

# isort: split
import accuracy_kernels as kernels
from accuracy_rows import BF16, CS149, DMA, FP32, MM_V3, PERF, PROFILE, Row, sized_as, timeline

from nkisim.timeline import Timeline


def interval_rows() -> list[Row]:
    """Intervals inside profiles, in nanoseconds."""
    return [*_transfers(), *_scalar_engine(), *_vector_and_tensor_engine(), *_on_trn2()]


def _took(t: Timeline, k: int) -> float:
    """How long an instruction takes."""
    return float(t.end[k] - t.start[k])


def _flew(t: Timeline, k: int) -> float:
    """How long a transfer takes from its trigger to its last byte."""
    return float(t.busy_end[k] - t.start[k])


def _transfers() -> list[Row]:
    rows = []
    for columns, measured, grade, source in (
        (512, 2557, "P", PROFILE),
        (8192, 16955, "F", PERF + "fig14.png"),
    ):
        t = timeline("trn1", kernels.exponential, nkisim.shape((128, columns), FP32))
        name = f"load of [128, {columns}] fp32"
        rows.append(Row(name, "trn1", measured, _flew(t, 0), grade, "dma_start", source))
    t = timeline("trn1", kernels.exponential, nkisim.shape((128, 512), FP32))
    rows.append(Row("store of [128, 512] fp32", "trn1", 2556, _flew(t, 2), "P", "", PROFILE))
    return rows


def _scalar_engine() -> list[Row]:
    f, fig16 = sized_as(FP32), PERF + "fig16.png"
    two = timeline("trn1", kernels.activations, f(128, 512))
    one = timeline("trn1", kernels.exponential, f(128, 512))
    wide = timeline("trn1", kernels.activations, f(128, 8192))
    narrow = timeline("trn1", kernels.activations, f(128, 1))
    apart = float(two.start[2] - two.start[1])
    table = float(one.start[1] - one.end[0])
    after = float(narrow.start[3] - narrow.start[2])
    return [
        Row(what, "trn1", measured, model, grade, fitted, source)
        for what, measured, model, grade, fitted, source in (
            ("exp of [128, 512] fp32, first", 543, _took(two, 1), "P", "scalar_fill", PROFILE),
            ("exp of [128, 512] fp32, second", 473, _took(two, 2), "P", "scalar_fill", PROFILE),
            (
                "between two independent exp of [128, 512] fp32",
                455,
                apart,
                "P",
                "access_cycles",
                PROFILE,
            ),
            ("activation table, load to first use", 375, table, "F", "table_load", PROFILE),
            ("activation of [128, 8192] fp32", 6040, _took(wide, 1), "P", "", PERF + "fig10.png"),
            ("activation of [128, 1] fp32", 159, _took(narrow, 2), "F", "scalar_fill", fig16),
            ("between two dependent activations of [128, 1] fp32", 189, after, "F", "", fig16),
        )
    ]


def _vector_and_tensor_engine() -> list[Row]:
    f, b = sized_as(FP32), sized_as(BF16)
    rows = []
    for partitions, measured, figure in ((128, 14987, "fig10.png"), (64, 14968, "fig17.png")):
        t = timeline("trn1", kernels.vector_add, f(partitions, 8192), f(partitions, 8192))
        name = f"tensor_tensor of [{partitions}, 8192] fp32"
        rows.append(Row(name, "trn1", measured, _took(t, 2), "F", "", PERF + figure))
    full = timeline("trn1", kernels.matmuls, b(128, 128), b(128, 128))
    part = timeline("trn1", kernels.matmuls, b(128, 96), b(128, 128))
    for what, measured, model, fitted, figure in (
        ("matmul [128, 128] @ [128, 128] bf16", 188, _took(full, 2), "tensor_fill", "fig20.png"),
        ("transpose of [128, 128] bf16", 195, _took(full, 6), "", "fig26.png"),
        ("matmul [96, 128] @ [128, 128] bf16", 219, _took(part, 2), "", "fig18.png"),
    ):
        rows.append(Row(what, "trn1", measured, model, "F", fitted, PERF + figure))
    return rows


def _on_trn2() -> list[Row]:
    f, b = sized_as(FP32), sized_as(BF16)
    wide = timeline("trn2", kernels.exponential, b(4, 4096))
    square = timeline("trn2", kernels.exponential, b(128, 128))
    added = timeline("trn2", kernels.vector_add, f(128, 2000), f(128, 2000))
    matmuls = timeline("trn2", kernels.matmuls, f(128, 128), f(128, 512))
    begun = wide.timing.dma_start
    used = float(wide.start[1] - wide.busy_end[0])
    apart = float(matmuls.start[3] - matmuls.start[2])
    return [
        Row(what, "trn2", measured, model, grade, fitted, source)
        for what, measured, model, grade, fitted, source in (
            (
                "load of [4, 4096] bf16, data only",
                1416,
                _flew(wide, 0) - begun,
                "T",
                "dma_rate",
                DMA,
            ),
            (
                "last byte to first use, with an activation table",
                1656,
                used,
                "P",
                "dma_done, table_load",
                DMA,
            ),
            ("exp of [4, 4096] bf16", 3705, _took(wide, 1), "P", "scalar_fill", DMA),
            (
                "store of [4, 4096] bf16, trigger to last byte",
                2130,
                _flew(wide, 2),
                "P",
                "dma_start",
                DMA,
            ),
            (
                "load of [128, 128] bf16, data only",
                468,
                _flew(square, 0) - begun,
                "F",
                "dma_run_min",
                DMA,
            ),
            ("exp of [128, 128] bf16", 398, _took(square, 1), "P", "scalar_fill", DMA),
            ("tensor_tensor of [128, 2000] fp32", 2250, _took(added, 2), "P", "", CS149),
            (
                "store of [128, 2000] fp32, data only",
                2642,
                _flew(added, 3) - begun,
                "P",
                "",
                CS149,
            ),
            (
                "between two fp32 matmuls of 512 columns",
                860,
                apart,
                "P",
                "",
                MM_V3 + "v5-zoom.png",
            ),
        )
    ]
