"""The model of time against every published measurement that a kernel here reproduces: writes
docs/model-accuracy.md.

    python benchmarks/model_accuracy.py            write the page
    python benchmarks/model_accuracy.py --check    exit with 1 if the page on disk is another one

The rows are in `accuracy_rows.py` and `accuracy_intervals.py`; the kernels run on shapes alone, so
the page is the same on every machine. It takes about a minute.
"""

from __future__ import annotations

import pathlib
import statistics
import sys

from accuracy_intervals import interval_rows
from accuracy_rows import Row, decode_mlp_rate, kernel_rows

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "model-accuracy.md"


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
    over = sum(e > LARGE for e in errors)
    return (
        f"{len(rows)} rows, median error {100 * statistics.median(errors):.1f} %, largest "
        f"{100 * max(errors):.1f} % ({worst.what}), {over} over 25 %"
    )


LARGE, FAR = 0.25, 0.2
"""Errors that are counted, and errors of which the page gives the reason."""

PRODUCT = (
    "multiplies delta and u for each of 16 states; the time leaves room for one product, so the "
    "compiler took it out of the loop: see as compiled"
)
COPIES = "the engine of its copies is open; all on VectorE, they alone take longer than the limit"
WINDOWS = (
    "windows of 2 x 2: four short dependent instructions on VectorE set the pace, and the model "
    "has them twice as fast as this limit"
)
REASONS = {
    "Mamba, channels outside": PRODUCT,
    "Mamba, tiles of 512": PRODUCT,
    "self attention": COPIES,
    "adaptive pooling of [256, 14, 14]": WINDOWS,
    "adaptive pooling of [256, 28, 28] to [14, 14]": WINDOWS,
    "adaptive pooling of [512, 7, 7]": "almost all of it is fixed cost: 6.0 us of a benchmarked "
    "call, and 3.4 of one load and one store; the 3.3 us that are missing are about one more load "
    "and store in a row",
    "adaptive pooling of [4096, 32, 32]": "rows of 11 and 12 elements overlap in the tile that "
    "they are loaded to; the model keeps that tile in one place, so that each load waits for the "
    "reader of the one before",
    "adaptive pooling of [128, 256, 256]": "moves pieces of 512 bytes faster than the matmuls do, "
    "from which `dma_run_rate` comes: one rate does not meet both",
    "select and scatter": "names no engine for its many elementwise instructions; nearly all on "
    "VectorE, they take longer than the limit",
    "nearest pixels": "gathers rows by numbers computed on chip; what a row's descriptor costs at "
    "run time is published nowhere, and the model charges the bytes alone",
}
"""Why a row that was held out is more than a fifth off, by the beginning of what it is of."""


def _reasons(held: list[Row]) -> list[str]:
    """The rows that are far off, each with its reason. KeyError for one that has none."""
    lines = [
        f"### Held out, and more than {100 * FAR:.0f} % off",
        "",
        "| what | model / published | as compiled / published | why |",
        "|---|---:|---:|---|",
    ]
    for r in held:
        if abs(r.ratio - 1) > FAR:
            why = next((w for start, w in REASONS.items() if r.what.startswith(start)), None)
            if why is None:
                raise KeyError(f"no reason is given for the row '{r.what}', {r.ratio:.3f}")
            lines.append(f"| {r.what} | {r.ratio:.3f} | {r.compiled / r.measured:.3f} | {why} |")
    return [*lines, ""]


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
        *_reasons(held),
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
`run.timeline()`; none of it was run on a device by this project. Every time under "published" is AWS's or, where the sources say so,
of the handout of a university course; it was measured by them, or is the limit that a test of theirs asserts (grade [L]). The
kernels were written from their description (`benchmarks/accuracy_kernels.py`, `accuracy_matmuls.py`); what the compiler made of the originals is
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

Some rows need more than a line.

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
