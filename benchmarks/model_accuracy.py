"""The model of time against every published measurement that a kernel here reproduces: writes
docs/model-accuracy.md.

    python benchmarks/model_accuracy.py            write the page
    python benchmarks/model_accuracy.py --check    exit with 1 if the page on disk is another one

The kernels (`accuracy_kernels.py`) were written from their description and run on shapes alone,
so the page is the same on every machine. It takes about a minute. Nothing here ran on a device: the
measurements are AWS's.
"""

from __future__ import annotations

import pathlib
import statistics
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import nkisim  # first: it serves the name neuronxcc where AWS's package is not installed

# isort: split
import accuracy_kernels as kernels

from nkisim.timeline import Timeline

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "model-accuracy.md"
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


def _shape(dtype: str) -> Callable[..., Any]:
    return lambda *sizes: nkisim.shape(sizes, dtype)


def _mamba_inputs(channels: int, n: int) -> list[Any]:
    f = _shape(FP32)
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
    b, f, h = _shape(BF16), _shape(FP32), _shape(FP16)
    rows: list[Row] = []

    def add(
        what: str,
        target: str,
        measured: float,
        model: tuple[float, float],
        grade: str,
        fitted: str,
        source: str,
        seen: str = "",
    ) -> None:
        rows.append(Row(what, target, measured, model[0], grade, fitted, source, model[1], seen))

    for dtype, target, measured, source, grade in (
        (
            (b, "trn1", (51800, 42960, 22070, 6970), MM_V2, "T"),
            (f, "trn2", (39890, 28200, 28410, 28300), MM_V3, "F"),
        )
        if long
        else ()
    ):
        a_t, right, narrow = dtype(8192, 4096), dtype(8192, 8192), dtype(8192, 2048)
        part = dtype(8192, 512)  # an eighth of the rows: the outermost loop's trips are alike
        name = f"matmul 4096 x 8192 x 8192 {BF16 if dtype is b else FP32}"
        runs = "dma_run_time, dma_run_rate" if target == "trn1" else "dma_run_min"
        add(
            f"{name}, tile by tile",
            target,
            measured[0],
            latency(target, kernels.matmul_tiled, part, right, times=8),
            grade,
            runs,
            source,
        )
        add(
            f"{name}, hoisted loads",
            target,
            measured[1],
            latency(target, kernels.matmul_blocks, part, right, 1, 1, times=8),
            grade,
            runs if target == "trn1" else "",
            source,
        )
        add(
            f"{name}, blocks of 2 x 2 tiles",
            target,
            measured[2],
            latency(target, kernels.matmul_blocks, part, right, 2, 2, times=8),
            grade,
            "",
            source,
        )
        add(
            f"{name}, all dimensions in blocks",
            target,
            measured[3],
            latency(target, kernels.matmul_all_blocked, a_t, narrow, times=4),
            grade,
            "",
            source,
        )

    add(
        "exp of [250, 512] fp32, whole profile",
        "trn1",
        29.26,
        latency("trn1", kernels.exponential, f(250, 512), launch="profile"),
        "F",
        "launch",
        PROFILE,
    )
    add(
        "exp of [4, 4096] bf16, first trigger to last byte",
        "trn2",
        9.94,
        span_of_transfers("trn2", kernels.exponential, b(4, 4096)),
        "P",
        "scalar_fill, table_load, dma_start",
        DMA,
    )
    add(
        "exp of [128, 128] bf16, first trigger to last byte",
        "trn2",
        4.94,
        span_of_transfers("trn2", kernels.exponential, b(128, 128)),
        "P",
        "scalar_fill, table_load, dma_run_min",
        DMA,
    )
    add(
        "a + b of [128, 2000] fp32, whole profile",
        "trn2",
        29.97,
        latency("trn2", kernels.vector_add, f(128, 2000), f(128, 2000), launch="profile"),
        "F",
        "launch",
        CS149,
    )

    for what, measured, kernel, size, times in (
        (
            (
                "states outside, 256 channels x 512",
                172.93,
                kernels.mamba_states_outside,
                (256, 512),
                1,
            ),
            (
                "states outside, 4096 channels x 512",
                2340,
                kernels.mamba_states_outside,
                (4096, 512),
                1,
            ),
            ("channels outside, 4096 x 512", 1610, kernels.mamba_tiled, (4096, 512), 1),
            ("tiles of 512, 4096 x 1024", 3300, kernels.mamba_tiled, (512, 1024), 8),
            ("tiles of 512, 4096 x 2048", 6600, kernels.mamba_tiled, (512, 2048), 8),
            ("tiles of 512, 4096 x 4096", 13300, kernels.mamba_tiled, (512, 4096), 8),
            ("tiles of 512, 4096 x 8192", 27800, kernels.mamba_tiled, (512, 8192), 8),
        )
        if long
        else ()
    ):
        add(
            f"Mamba, {what}",
            "trn1",
            measured,
            latency(
                "trn1",
                kernel,
                *_mamba_inputs(*size),
                times=times,
                launch="profile" if times == 1 else "none",
            ),
            "T",
            "vector_fill" if "256" in what else "",
            MAMBA,
            "as_compiled",
        )

    norm = [f(4096, 8192), f(1, 8192), f(1, 8192)]
    add(
        "LayerNorm of [4096, 8192] fp32, nl functions",
        "trn1",
        2311,
        latency("trn1", kernels.layernorm_language, *norm, launch="benchmark"),
        "T",
        "sbuf_share",
        LAYERNORM,
    )
    add(
        "LayerNorm of [4096, 8192] fp32, bn_stats",
        "trn1",
        1969,
        latency("trn1", kernels.layernorm_statistics, *norm, launch="benchmark"),
        "T",
        "sbuf_share",
        LAYERNORM,
    )

    for size, dtype, measured in (
        ((128, 512, 512), h, 25),
        ((512, 1024, 384), b, 40),
        ((128, 1024, 512), b, 28),
    ):
        n, dim, wide = size
        add(
            f"RMSNorm and projection [{n}, {dim}] @ [{dim}, {wide}], 2 bytes",
            "trn1",
            measured,
            latency(
                "trn1", kernels.rmsnorm_qkv, dtype(n, dim), dtype(dim, wide), launch="benchmark"
            ),
            "L",
            "launch",
            LIMITS,
        )
    return [*rows, *(attention_rows() if long else ()), *image_rows(long)]


def attention_rows() -> list[Row]:
    """Self attention, in microseconds."""
    rows = []
    for d, kind, dtype, measured in (
        (128, "fp32", FP32, 675),
        (128, "bf16", BF16, 536),
        (64, "fp16", FP16, 600),
    ):
        sized = _shape(dtype)
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
    sized = _shape(BF16)
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


def interval_rows() -> list[Row]:
    """Intervals inside profiles, in nanoseconds."""
    f, b = _shape(FP32), _shape(BF16)
    rows = []

    def add(
        what: str, target: str, measured: float, model: float, grade: str, fitted: str, source: str
    ) -> None:
        rows.append(Row(what, target, measured, model, grade, fitted, source))

    def took(t: Timeline, k: int) -> float:
        return float(t.end[k] - t.start[k])

    def flew(t: Timeline, k: int) -> float:
        return float(t.busy_end[k] - t.start[k])

    for columns, measured, grade, source in (
        (512, 2557, "P", PROFILE),
        (8192, 16955, "F", PERF + "fig14.png"),
    ):
        t = timeline("trn1", kernels.exponential, f(128, columns))
        add(
            f"load of [128, {columns}] fp32",
            "trn1",
            measured,
            flew(t, 0),
            grade,
            "dma_start",
            source,
        )
    t = timeline("trn1", kernels.exponential, f(128, 512))
    add("store of [128, 512] fp32", "trn1", 2556, flew(t, 2), "P", "", PROFILE)
    t = timeline("trn1", kernels.activations, f(128, 512))
    add("exp of [128, 512] fp32, first", "trn1", 543, took(t, 1), "P", "scalar_fill", PROFILE)
    add("exp of [128, 512] fp32, second", "trn1", 473, took(t, 2), "P", "scalar_fill", PROFILE)
    add(
        "between two independent exp of [128, 512] fp32",
        "trn1",
        455,
        float(t.start[2] - t.start[1]),
        "P",
        "access_cycles",
        PROFILE,
    )
    t0 = timeline("trn1", kernels.exponential, f(128, 512))
    add(
        "activation table, load to first use",
        "trn1",
        375,
        float(t0.start[1] - t0.end[0]),
        "F",
        "table_load",
        PROFILE,
    )
    t = timeline("trn1", kernels.activations, f(128, 8192))
    add("activation of [128, 8192] fp32", "trn1", 6040, took(t, 1), "P", "", PERF + "fig10.png")
    t = timeline("trn1", kernels.activations, f(128, 1))
    add(
        "activation of [128, 1] fp32",
        "trn1",
        159,
        took(t, 2),
        "F",
        "scalar_fill",
        PERF + "fig16.png",
    )
    add(
        "between two dependent activations of [128, 1] fp32",
        "trn1",
        189,
        float(t.start[3] - t.start[2]),
        "F",
        "",
        PERF + "fig16.png",
    )
    for partitions, measured, figure in ((128, 14987, "fig10.png"), (64, 14968, "fig17.png")):
        t = timeline("trn1", kernels.vector_add, f(partitions, 8192), f(partitions, 8192))
        add(
            f"tensor_tensor of [{partitions}, 8192] fp32",
            "trn1",
            measured,
            took(t, 2),
            "F",
            "",
            PERF + figure,
        )
    t = timeline("trn1", kernels.matmuls, b(128, 128), b(128, 128))
    add(
        "matmul [128, 128] @ [128, 128] bf16",
        "trn1",
        188,
        took(t, 2),
        "F",
        "tensor_fill",
        PERF + "fig20.png",
    )
    add("transpose of [128, 128] bf16", "trn1", 195, took(t, 6), "F", "", PERF + "fig26.png")
    t = timeline("trn1", kernels.matmuls, b(128, 96), b(128, 128))
    add("matmul [96, 128] @ [128, 128] bf16", "trn1", 219, took(t, 2), "F", "", PERF + "fig18.png")

    t = timeline("trn2", kernels.exponential, b(4, 4096))
    add(
        "load of [4, 4096] bf16, data only",
        "trn2",
        1416,
        flew(t, 0) - t.timing.dma_start,
        "T",
        "dma_rate",
        DMA,
    )
    add(
        "last byte to first use, with an activation table",
        "trn2",
        1656,
        float(t.start[1] - t.busy_end[0]),
        "P",
        "dma_done, table_load",
        DMA,
    )
    add("exp of [4, 4096] bf16", "trn2", 3705, took(t, 1), "P", "scalar_fill", DMA)
    add(
        "store of [4, 4096] bf16, trigger to last byte",
        "trn2",
        2130,
        flew(t, 2),
        "P",
        "dma_start",
        DMA,
    )
    t = timeline("trn2", kernels.exponential, b(128, 128))
    add(
        "load of [128, 128] bf16, data only",
        "trn2",
        468,
        flew(t, 0) - t.timing.dma_start,
        "F",
        "dma_run_min",
        DMA,
    )
    add("exp of [128, 128] bf16", "trn2", 398, took(t, 1), "P", "scalar_fill", DMA)
    t = timeline("trn2", kernels.vector_add, f(128, 2000), f(128, 2000))
    add("tensor_tensor of [128, 2000] fp32", "trn2", 2250, took(t, 2), "P", "", CS149)
    add(
        "store of [128, 2000] fp32, data only",
        "trn2",
        2642,
        flew(t, 3) - t.timing.dma_start,
        "P",
        "",
        CS149,
    )
    t = timeline("trn2", kernels.matmuls, f(128, 128), f(128, 512))
    add(
        "between two fp32 matmuls of 512 columns",
        "trn2",
        860,
        float(t.start[3] - t.start[2]),
        "P",
        "",
        MM_V3 + "v5-zoom.png",
    )
    return rows


def _table(rows: list[Row], unit: str) -> list[str]:
    guess = unit == "us"
    lines = [
        f"| what | target | published, {unit} | model, {unit} | model / published |"
        + (" as compiled / published |" if guess else "")
        + " grade | served to choose |",
        "|---|---|---:|---:|---:|" + ("---:|" if guess else "") + "---|---|",
    ]
    for r in rows:
        places = 0 if unit == "ns" or r.measured >= 1000 else 2
        lines.append(
            f"| {r.what} | {r.target} | {r.measured:.{places}f} | {r.model:.{places}f} | "
            f"{r.ratio:.3f} |"
            + (f" {r.compiled / r.measured:.3f} |" if guess else "")
            + f" [{r.grade}] | {_served(r)} |"
        )
    return lines


def _served(r: Row) -> str:
    """What a row served to choose, and what was decided with it in view."""
    return f"{r.fitted or 'nothing'}{f' (seen for {r.seen})' if r.seen else ''}"


def _error(rows: list[Row]) -> str:
    errors = [abs(r.ratio - 1) for r in rows]
    worst = rows[errors.index(max(errors))]
    over = sum(e > 0.25 for e in errors)
    return (
        f"{len(rows)} rows, median error {100 * statistics.median(errors):.1f} %, largest "
        f"{100 * max(errors):.1f} % ({worst.what}), {over} over 25 %"
    )


def page() -> str:
    """The whole page."""
    whole, inside = kernel_rows(), interval_rows()
    guessed = [r._replace(model=r.compiled) for r in whole]
    held, fitted = [r for r in whole if not r.fitted], [r for r in whole if r.fitted]
    unseen = [r for r in guessed if not r.fitted and not r.seen]
    sources = list(dict.fromkeys(r.source for r in [*whole, *inside]))
    lines = [
        HEAD,
        f"- Measured, the model without options: {_error([r for r in whole if r.grade != 'L'])}.",
        "- Limits that tests assert [L], which are not measurements: "
        f"{_error([r for r in whole if r.grade == 'L'])}.",
        f"- Both together: {_error(whole)}.",
        f"- Held out, that is chosen for no constant: {_error(held)}. Where the table says "
        '"seen", '
        "they are not independent: see below.",
        f"- Served to choose a constant: {_error(fitted)}.",
        f"- With `as_compiled=True`: {_error(guessed)}. The option was made with the rows of Mamba "
        "and self attention in view.",
        f"- With `as_compiled=True`, held out and not seen: {_error(unseen)}. These are matmuls "
        "and image kernels, which the option hardly changes, so there is no independent evidence "
        "for its guesses.",
        "",
        *_table(whole, "us"),
        "",
        SEEN,
        WORDS.format(rate=f"{decode_mlp_rate():.0f}"),
        f"- {_error(inside)}; {sum(abs(r.ratio - 1) <= 0.1 for r in inside)} of "
        f"{len(inside)} within 10 %.",
        "",
        *_table(inside, "ns"),
        UNKNOWN,
        *(f"- {s}" for s in sources),
        "",
    ]
    return "\n".join(lines)


HEAD = """\
# How well the model of time agrees with published measurements

Written by `python benchmarks/model_accuracy.py`, the same on every machine. Every time under "model" comes from
`run.timeline()`; nothing here ran on a device by our hands. Every time under "published" is AWS's or, where the sources say so,
of the handout of a university course; it was measured by them, or is the limit that a test of theirs asserts (grade [L]). The
kernels were written from their description (`benchmarks/accuracy_kernels.py`); what the compiler made of the originals is
not known.

What the model is: [hardware-model.md](hardware-model.md).

## Whole kernels
"""

SEEN = """\
### What was decided with rows in view

A row is evidence only for what was decided without it. These decisions were not:

- **`as_compiled`** was made after its authors had seen the rows of Mamba and of self attention, to explain them. Its figures on
  these rows are not independent, held out or not: they say that two guesses explain these rows, not that they predict others.
- **`dma_run_min` of trn1** was 30 ns, then 7, for which a figure of the performance guide speaks: 4 bytes that are *stored* take 7 ns
  of a DMA engine. Self attention, which stores single elements, allows no more. Adaptive pooling, which *loads* rows of 4 to 48
  bytes, needs about four times as much: two of its rows chose 26 ns. The other seven chose nothing, and count as held out,
  but all nine had been looked at, with several values, before those two were picked. So stores have a separate constant, `dma_store_min`.
- **`vector_fill`** has its value, and rows that `broadcast_to` repeats take no time (see the assumptions in
  hardware-model.md), since the rows of Mamba were first compared: all of them were known then, not only the one that the table
  names.
"""

WORDS = """
The times of the long kernels are those of an eighth of the rows (a quarter of the columns, an eighth of the channels) times
eight (four): the trips of their outermost loop are alike. Profiles are modelled with `launch="profile"`, limits of tests and
LayerNorm with `launch="benchmark"`.

Some rows need a word.

- **Mamba, channels outside, and its tiles.** The kernel multiplies delta and u again for every state, 16 times. The measured
  times leave room for one such product only: the compiler took it out of the loop. The model runs what is written; with
  `as_compiled=True` it takes the result that is there already, as the compiler seems to. That is an option because it is a
  guess about a compiler.
- **Self attention.** The kernel leaves the engine of its copies open, 64 of them for 128 queries. The compiler is said to share
  them between VectorE and ScalarE, and the limits leave no room for all on VectorE. The model has them where the simulator
  records them, on VectorE; `as_compiled=True` gives each to the engine that is free first.
- **Adaptive pooling** loads each window by itself, hundreds of small transfers into one tile: the compiler gives each other memory,
  and so does the model. Windows of 2 x 2 (to 7 x 7 from 14 x 14, and to 14 x 14) leave four short dependent instructions on VectorE
  as what sets the pace, and the model has them twice as fast: 200 ns for each would meet these rows, as a profile shows for
  ScalarE, but take Mamba and self attention further from theirs; what a short VectorE instruction takes is published as "about
  100 cycles" only. Rows of 11 and 12 elements (4096 channels) overlap one another in that tile in part, which the
  model takes for one tile that stays where it is; each load then waits for the reader of the one before. The last row moves pieces
  of 512 bytes faster than the matmuls do, from which `dma_run_rate` comes: both cannot be met by one rate.
- **Select and scatter** is a kernel of many elementwise instructions, for none of which it names an engine. The model has nearly
  all on VectorE, where they take longer than the limit; who else did them is not known.
- **Nearest pixels** gathers rows by numbers that are computed on chip. The model charges what they move; the limit leaves 77 ns
  a row, twice as much. What GpSimdE and the DMA engines need for a row's descriptor at run time is published nowhere.
- **A whole decode MLP** (one token, 4096 x 2048, bf16, trn2) has no row: there is no published measurement of a kernel that is
  described. The model streams its weights at {rate} GB/s, against the documented 368 GB/s that the DMA engines of a core reach.
- **Limits [L]** are what a test allows, not what was measured, and the original kernels are not the ones here. Pooling's
  are given as a number times 1.05; the number is in the table.

## Inside the profiles
"""

UNKNOWN = """
## Grades

[T] stated in the text of the source; [F] printed inside a figure; [P] read off a figure by position, about +-15 ns; [L] the
limit that a test asserts.

## What the model cannot know

- What the compiler does: it may reorder, fuse, hoist and drop instructions, choose engines where the kernel does not, spill
  tiles to HBM. The model runs the instructions of the kernel in the kernel's order, and loads ahead as far as memory allows.
- Which queue and which engine triggers a transfer, and how its descriptors are made (static, by hardware, by GpSimdE).
- Why a run of 256 bytes and one of 1 KiB move at the same rate on NeuronCore-v2: the model has it because the published
  matmuls do, not from a text.
- Which activation functions share a table; what GpSimdE needs beyond its documented start-up.
- What other cores, collectives and the host do at the same time; how the clock of TensorE behaves (`throttle=True` is the
  documented rule; the published latencies of matmuls show no sign of it).
- Kernels that spill: they do not fit on chip, and the simulator refuses them. Published Mamba times with spills are left out.
- Numbers whose kernel is not public or not described: the convolutions of the same course, other limits of nki-samples.

## Sources
"""


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print(
            "docs/model-accuracy.md is up to date"
            if same
            else "docs/model-accuracy.md is out of date"
        )
        return 0 if same else 1
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    print(f"wrote {PAGE.relative_to(PAGE.parent.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
