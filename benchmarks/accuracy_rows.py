"""Published measurements, and what the model of time says of the same kernels on shapes alone.

The kernels (`accuracy_kernels.py`, `accuracy_matmuls.py`) were written from their description.
Nothing here ran on a device: the measurements are AWS's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import nkisim  # first: it serves the name neuronxcc where AWS's package is not installed

# isort: split
import accuracy_kernels as kernels
import accuracy_matmuls as matmuls

from nkisim.timeline import Timeline

FP32, BF16, FP16 = "float32", "bfloat16", "float16"


class Row(NamedTuple):
    """One published number and the model's."""

    what: str
    target: str
    measured: float
    model: float
    grade: str
    """[T] in a text, [F] printed in a figure, [P] read off a figure, [L] the limit that a test of
    AWS's asserts."""
    fitted: str
    """The constants that this number served to choose; empty for a number that was held out."""
    source: str
    compiled: float = 0.0
    """The model's with `as_compiled=True`; 0 where it was not asked."""
    seen: str = ""
    """What was decided when this number was known: a constant that was changed, an option that was
    made."""

    @property
    def ratio(self) -> float:
        return self.model / self.measured


def timeline(target: str, kernel: Any, *arguments: Any, **options: Any) -> Timeline:
    """The timeline of one call on shapes alone."""
    with nkisim.record(target=target, values=False) as run:
        kernel(*arguments)
    return run.timeline(**options)


def latency(
    target: str, kernel: Any, *arguments: Any, times: int = 1, **options: Any
) -> tuple[float, float]:
    """Modelled microseconds of a call, as written and `as_compiled`; `times` over where the
    outermost trips are alike."""
    with nkisim.record(target=target, values=False) as run:
        kernel(*arguments)
    written, compiled = (
        run.timeline(as_compiled=guess, **options).latency_us for guess in (False, True)
    )
    return times * written, times * compiled


def sized_as(dtype: str) -> Callable[..., Any]:
    return lambda *sizes: nkisim.shape(sizes, dtype)


def _mamba_inputs(channels: int, n: int) -> list[Any]:
    f = sized_as(FP32)
    return [f(channels, n), f(channels, n), f(channels, 16), f(16, n), f(16, n)]


MM_V2 = "aws-neuron-sdk v2.26.0 general/nki/tutorials/matrix_multiplication.rst"
MM_V3 = "aws-neuron-sdk v2.32.0 nki/guides/tutorials/kernel-optimization.rst, nki/img/how-to/"
MAMBA = "aws-neuron-sdk v2.26.0 general/nki/tutorials/fused_mamba.rst"
PROFILE = (
    "aws-neuron-sdk v2.26.0 general/nki/img/neuron-profile-ui-overview.png, -instruction-hover.png"
)
PERF = "aws-neuron-sdk v2.26.0 general/nki/img/nki_perf_guide/"
DMA = "aws-neuron-sdk v2.32.0 nki/get-started/about/nki-dma-overview.rst and its figures"
CS149 = "stanford-cs149 asst4-trainium2 handout/profiler_gui.png"
LAYERNORM = "aws-neuron-sdk v2.26.0 general/nki/tutorials/layernorm.rst (script's default size)"
LIMITS = "aws-neuron nki-samples 0898a77 test/unit/test_rmsnorm_qkv.py"
IMAGES = "aws-neuron nki-samples 0898a77 test/unit/test_"
ATTENTION = "aws-neuron nki-samples 0898a77 test/unit/test_SD_attention_small_head.py"


def kernel_rows(long: bool = True) -> list[Row]:
    """Whole kernels, in microseconds; without the `long` ones those that take no second."""
    return [
        *(_matmul_rows() if long else ()),
        *_profile_rows(),
        *(_mamba_rows() if long else ()),
        *_norm_rows(),
        *(attention_rows() if long else ()),
        *image_rows(long),
    ]


def _whole(
    what: str,
    target: str,
    measured: float,
    model: tuple[float, float],
    grade: str,
    fitted: str,
    source: str,
    seen: str = "",
) -> Row:
    return Row(what, target, measured, model[0], grade, fitted, source, model[1], seen)


def _matmul_rows() -> list[Row]:
    """The matmuls of AWS's tutorials."""
    rows = []
    for dtype, short, target, measured, source, grade in (
        (sized_as(BF16), BF16, "trn1", (51800, 42960, 22070, 6970), MM_V2, "T"),
        (sized_as(FP32), FP32, "trn2", (39890, 28200, 28410, 28300), MM_V3, "F"),
    ):
        a_t, right, narrow = dtype(8192, 4096), dtype(8192, 8192), dtype(8192, 2048)
        part = dtype(8192, 512)  # an eighth of the rows: the outermost loop's trips are alike
        runs = "dma_run_time, dma_run_rate" if target == "trn1" else "dma_run_min"
        hoisted = runs if target == "trn1" else ""
        tiled, blocks = matmuls.matmul_tiled, matmuls.matmul_blocks
        for k, (how, fitted, model) in enumerate(
            (
                ("tile by tile", runs, latency(target, tiled, part, right, times=8)),
                ("hoisted loads", hoisted, latency(target, blocks, part, right, 1, 1, times=8)),
                ("blocks of 2 x 2 tiles", "", latency(target, blocks, part, right, 2, 2, times=8)),
                (
                    "all dimensions in blocks",
                    "",
                    latency(target, matmuls.matmul_all_blocked, a_t, narrow, times=4),
                ),
            )
        ):
            name = f"matmul 4096 x 8192 x 8192 {short}, {how}"
            rows.append(_whole(name, target, measured[k], model, grade, fitted, source))
    return rows


def _profile_rows() -> list[Row]:
    """Short kernels of which a whole profile is published."""
    b, f = sized_as(BF16), sized_as(FP32)
    exp, add = kernels.exponential, kernels.vector_add
    return [
        _whole(
            "exp of [250, 512] fp32, whole profile",
            "trn1",
            29.26,
            latency("trn1", exp, f(250, 512), launch="profile"),
            "F",
            "launch",
            PROFILE,
        ),
        _whole(
            "exp of [4, 4096] bf16, first trigger to last byte",
            "trn2",
            9.94,
            span_of_transfers("trn2", exp, b(4, 4096)),
            "P",
            "scalar_fill, table_load, dma_start",
            DMA,
        ),
        _whole(
            "exp of [128, 128] bf16, first trigger to last byte",
            "trn2",
            4.94,
            span_of_transfers("trn2", exp, b(128, 128)),
            "P",
            "scalar_fill, table_load, dma_run_min",
            DMA,
        ),
        _whole(
            "a + b of [128, 2000] fp32, whole profile",
            "trn2",
            29.97,
            latency("trn2", add, f(128, 2000), f(128, 2000), launch="profile"),
            "F",
            "launch",
            CS149,
        ),
    ]


def _mamba_rows() -> list[Row]:
    """The kernels of AWS's tutorial of Mamba."""
    outside, tiled = kernels.mamba_states_outside, kernels.mamba_tiled
    rows = []
    for what, measured, kernel, size, times in (
        ("states outside, 256 channels x 512", 172.93, outside, (256, 512), 1),
        ("states outside, 4096 channels x 512", 2340, outside, (4096, 512), 1),
        ("channels outside, 4096 x 512", 1610, tiled, (4096, 512), 1),
        ("tiles of 512, 4096 x 1024", 3300, tiled, (512, 1024), 8),
        ("tiles of 512, 4096 x 2048", 6600, tiled, (512, 2048), 8),
        ("tiles of 512, 4096 x 4096", 13300, tiled, (512, 4096), 8),
        ("tiles of 512, 4096 x 8192", 27800, tiled, (512, 8192), 8),
    ):
        launch = "profile" if times == 1 else "none"
        inputs = _mamba_inputs(*size)
        model = latency("trn1", kernel, *inputs, times=times, launch=launch)
        fitted = "vector_fill" if "256" in what else ""
        rows.append(
            _whole(f"Mamba, {what}", "trn1", measured, model, "T", fitted, MAMBA, "as_compiled")
        )
    return rows


def _norm_rows() -> list[Row]:
    """LayerNorm, and RMSNorm with a projection."""
    b, f, h = sized_as(BF16), sized_as(FP32), sized_as(FP16)
    norm = [f(4096, 8192), f(1, 8192), f(1, 8192)]
    rows = []
    for what, measured, kernel in (
        ("nl functions", 2311, kernels.layernorm_language),
        ("bn_stats", 1969, kernels.layernorm_statistics),
    ):
        model = latency("trn1", kernel, *norm, launch="benchmark")
        name = f"LayerNorm of [4096, 8192] fp32, {what}"
        rows.append(_whole(name, "trn1", measured, model, "T", "sbuf_share", LAYERNORM))
    for (n, dim, wide), dtype, measured in (
        ((128, 512, 512), h, 25),
        ((512, 1024, 384), b, 40),
        ((128, 1024, 512), b, 28),
    ):
        inputs = dtype(n, dim), dtype(dim, wide)
        model = latency("trn1", kernels.rmsnorm_qkv, *inputs, launch="benchmark")
        name = f"RMSNorm and projection [{n}, {dim}] @ [{dim}, {wide}], 2 bytes"
        rows.append(_whole(name, "trn1", measured, model, "L", "launch", LIMITS))
    return rows


def attention_rows() -> list[Row]:
    """Self attention, in microseconds."""
    rows = []
    for d, kind, dtype, measured in (
        (128, "fp32", FP32, 675),
        (128, "bf16", BF16, 536),
        (64, "fp16", FP16, 600),
    ):
        sized = sized_as(dtype)
        model, compiled = latency(
            "trn1",
            kernels.self_attention,
            sized(d, 4096),
            sized(4096, d),
            sized(4096, d),
            launch="benchmark",
        )
        rows.append(
            Row(
                f"self attention, 4096 x 4096, d = {d}, {kind}",
                "trn1",
                measured,
                model,
                "L",
                "",
                ATTENTION,
                compiled,
                "as_compiled",
            )
        )
    return rows


POOLS = (
    ((64, 56, 56), (7, 7), FP32, 65, "dma_run_min"),
    ((256, 28, 28), (7, 7), FP32, 109, ""),
    ((256, 14, 14), (7, 7), FP16, 88, ""),
    ((256, 56, 56), (7, 7), FP32, 152, "dma_run_min"),
    ((256, 28, 28), (14, 14), FP32, 327, ""),
    ((512, 7, 7), (1, 1), FP32, 14, ""),
    ((512, 32, 32), (4, 4), FP16, 103, ""),
    ((4096, 32, 32), (3, 3), FP32, 564, ""),
    ((128, 256, 256), (1, 1), FP32, 255, ""),
)
"""Adaptive pooling: channels, height and width; windows; dtype; the limit less its 5 % in us; what
it served to choose."""


def image_rows(long: bool = True) -> list[Row]:
    """The image kernels of nki-samples, in microseconds; of the shorter ones pooling alone."""
    rows = []

    def add(what: str, limit: float, fitted: str, test: str, kernel: Any, *arguments: Any) -> None:
        model, compiled = latency("trn1", kernel, *arguments, launch="benchmark")
        rows.append(Row(what, "trn1", limit, model, "L", fitted, f"{IMAGES}{test}.py", compiled))

    for size, windows, dtype, limit, fitted in POOLS:
        short = {FP32: "fp32", FP16: "fp16"}[dtype]
        add(
            f"adaptive pooling of {list(size)} to {list(windows)}, {short}",
            limit,
            fitted,
            "adaptive_avg_pool2d",
            kernels.adaptive_pool,
            nkisim.shape(size, dtype),
            *windows,
        )
    if not long:
        return rows
    add(
        "select and scatter, [8, 64, 112, 112] fp32",
        4500,
        "",
        "select_and_scatter",
        kernels.select_and_scatter,
        nkisim.shape((8, 64, 112, 112), FP32),
        nkisim.shape((8, 64, 56, 56), FP32),
    )
    add(
        "nearest pixels, [10, 30, 20, 1280] to 59 x 38, fp32",
        1740,
        "",
        "resize_nearest",
        kernels.nearest,
        nkisim.shape((10, 30, 20, 1280), FP32),
        59,
        38,
    )
    return rows


def decode_mlp_rate() -> float:
    """GB/s at which the model streams the weights of a decode MLP of 4096 x 2048 on trn2."""
    hidden, inner = 4096, 2048
    sized = sized_as(BF16)
    t = timeline(
        "trn2",
        kernels.decode_mlp,
        sized(128, hidden // 128),
        sized(hidden, inner),
        sized(hidden, inner),
        sized(inner, hidden),
    )
    return 3 * hidden * inner * 2 / t.latency_us / 1e3


def span_of_transfers(target: str, kernel: Any, *arguments: Any) -> tuple[float, float]:
    """Microseconds from the first trigger to the last byte, before the last completion is seen."""
    both = (timeline(target, kernel, *arguments, as_compiled=guess) for guess in (False, True))
    written, compiled = (float(t.busy_end.max() - t.start.min()) / 1e3 for t in both)
    return written, compiled
