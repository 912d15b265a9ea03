"""Refusals of the simulator in the course's words, for kernels whose instructions are told their
destination, as in `nki` 0.3 to 0.6."""

from __future__ import annotations

import re
from typing import Any

DIALECT = "nki"
OLD = (
    "The kernel imports neuronxcc.nki, the NKI of version 0.1: the port imports nki, nki.isa as "
    "nisa and nki.language as nl, and names the destination of every instruction."
)
SWAPPED = "destination and source swapped"
CAUSES = {
    "swapped": (
        SWAPPED,
        "Destination and source look swapped: an instruction writes to its first argument, dst, "
        "and reads the others.",
    ),
    "accumulate": (
        "accumulate onto unwritten PSUM",
        "accumulate=True adds to what an earlier matmul left there, and there is none: the first "
        "matmul into a tile must overwrite, so leave accumulate out.",
    ),
    "evacuate": (
        "PSUM not evacuated",
        "TensorE writes to PSUM and reads SBUF only: evacuate the PSUM tile first, with "
        "nisa.tensor_copy(dst=tile_in_sbuf, src=tile_in_psum).",
    ),
    "unwritten": (
        "read of an unwritten tile",
        "nl.ndarray reserves memory and writes nothing to it: the instruction that should write "
        "this tile is missing, comes later, or has another destination.",
    ),
    "broadcast": (
        "operand broadcast",
        "NumPy would broadcast here, an engine does not: one value per partition goes through "
        "nisa.tensor_scalar, as operand0, and nothing is repeated over partitions.",
    ),
    "operator": (
        "Python operator on a tile",
        "Tiles have no operators here: write the instruction, with the tile that it writes as dst.",
    ),
    "result": (
        "result of an instruction used",
        "An instruction returns no tile: make the tile with nl.ndarray, pass it as "
        "dst, and use it afterwards.",
    ),
    "psum": (
        "matmul into SBUF",
        "TensorE writes to PSUM only: make the destination with buffer=nl.psum, and evacuate it "
        "with nisa.tensor_copy or the next instruction.",
    ),
    "no destination": (
        "no destination",
        "An instruction returns no tile any more: make one with nl.ndarray, and pass it first, as "
        "dst.",
    ),
    "mask": (
        "mask is gone",
        "mask= ended with NKI 0.1: slice the tiles to the elements that are there.",
    ),
}


def ran_in(run: Any) -> str | None:
    """The dialect that the kernel is written in, "nki" or "neuronxcc"; None where nothing of it ran
    here."""
    programs = () if run is None else run.programs
    return programs[-1].dialect.name if programs else None


def refused(error: Any) -> tuple[str, str] | None:
    """(cause, sentence) for a refusal of the simulator in this dialect; None where its own remedy
    says it best."""
    key = error.likely
    if key is None and error.rule == "uninitialized-read":
        key = "unwritten"
    elif (
        key is None
        and error.rule == "memory"
        and re.match(r"(nisa\.nc_|nl\.matmul|nl\.transpose).*psum", error.headline)
    ):
        key = "evacuate"
    elif (
        key is None
        and error.rule == "memory"
        and re.match(r"(nisa\.dma_copy|nl\.store).*psum", error.headline)
    ):
        return CAUSES["evacuate"][0], error.remedy
    elif (
        key is None
        and error.rule in ("shape-mismatch", "partition-mismatch")
        and _elementwise(error)
    ):
        key = "broadcast"
    elif error.rule == "tensor-operator":
        key = "operator"
    elif error.rule == "matmul-destination" and key is None:
        key = "psum"
    elif error.rule == "argument" and "NkiInstruction" in (error.got or ""):
        key = "result"
    elif error.rule == "argument" and error.headline.endswith("is missing"):
        key = "no destination"
    elif error.rule == "argument" and error.headline.endswith("has no argument 'mask'"):
        key = "mask"
    return None if key is None else CAUSES[key]


def _elementwise(error: Any) -> bool:
    """Whether two operands of an elementwise instruction differ in size, one of which NumPy would
    repeat."""
    sizes = [
        tuple(map(int, re.findall(r"\d+", shape)))
        for shape in re.findall(r"\(([\d, ]+)\)", error.got or "")
    ]
    return (
        len(sizes) == 2
        and len(sizes[0]) == len(sizes[1])
        and all(1 in pair or pair[0] == pair[1] for pair in zip(*sizes))
    )
