"""Mistakes of kernels whose instructions are told their destination, as in `nki` 0.3 to 0.6.

Some break a rule of the simulator: `refused` gives the refusal a cause in the course's words.
Others run and give wrong values: `seen` finds them in what the kernel did, not in its numbers, so
that no style hides them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from nkisim.rules import source

from ..trace.states import named_state, state_of

DIALECT = "nki"
OLD = (
    "The kernel imports neuronxcc.nki, the NKI of version 0.1: the port imports nki, nki.isa as "
    "nisa and nki.language as nl, and names the destination of every instruction."
)

SWAPPED = "destination and source swapped"
_CAUSES = {
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
        "NumPy would broadcast here, an engine does not: one value a partition goes through "
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
        return _CAUSES["evacuate"][0], error.remedy
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
    return None if key is None else _CAUSES[key]


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


# -- what was done ---------------------------------------------------------------------------------


class Step(NamedTuple):
    """One instruction: its place, what it is, and the tensors that it writes and reads."""

    line: int
    text: str
    op: str
    writes: Any
    reads: tuple[Any, ...]


@dataclass(eq=False)
class _Tile:
    """What is known of one tensor so far: `line` wrote it first, step `read` was the last to read
    it."""

    line: int = 0
    written: bool = False
    computed: bool = False  # by something other than a memset
    read: int = -1
    made: int = -1  # the last instruction that wrote it
    used: bool = False  # read by something other than a copy


def _steps(run: Any) -> Iterable[Step]:
    for program in run.programs:
        for record in program.records():
            place = source.line_of(record[1], record[2])
            yield Step(
                place.line,
                place.text.partition("  #")[0].rstrip(),
                record[0].instruction.name,
                record[3],
                tuple(record[5:-1:2][: len(record[0].srcs)]),
            )


def seen(run: Any) -> tuple[str, str] | None:
    """(cause, sentence) for a mistake that shows in which tile was written and read when; None if
    there is none."""
    if ran_in(run) != DIALECT:
        return None
    steps = list(_steps(run))
    return _added_up(steps) or _copied_backwards(steps) or _never_updated(steps, run.names())


def _added_up(steps: list[Step]) -> tuple[str, str] | None:
    """A matmul that adds to a PSUM tile after somebody has taken the sum out of it."""
    taken: dict[Any, Step] = {}  # PSUM tile -> who read it since a matmul overwrote it
    for step in steps:
        matmul = step.op.startswith("nc_matmul")
        adds = matmul and step.writes in step.reads
        if adds and step.writes in taken:
            name = step.writes.label
            return (
                "PSUM tile reused",
                f"The matmul in line {step.line} ({step.text}) adds to the PSUM tile '{name}', "
                f"whose sum line {taken[step.writes].line} has taken already: only the first "
                "matmul into a tile overwrites, unless accumulate=False, so what earlier tiles "
                "left adds up. Make the PSUM tile inside the loop, or pass accumulate=False.",
            )
        if not adds:
            taken.pop(step.writes, None)
        for tile in step.reads:
            if tile is not step.writes and tile.meta.space == "psum":
                taken[tile] = step
    return None


def _copied_backwards(steps: list[Step]) -> tuple[str, str] | None:
    """A copy over a computed tile from one that nothing but a memset ever wrote, and that is no
    mere constant: others read it too, or the value that is overwritten has no reader."""
    tiles: dict[Any, _Tile] = {}
    copies: list[tuple[int, bool, bool]] = []
    for number, step in enumerate(steps):
        into = tiles.setdefault(step.writes, _Tile())
        for tile in step.reads:
            tiles.setdefault(tile, _Tile()).read = number
            tiles[tile].used |= step.op != "tensor_copy"
        if step.op == "tensor_copy":
            copies.append((number, into.computed, into.read < into.made))
        into.written, into.made = True, number
        into.computed |= step.op != "memset"
    for number, over, lost in copies:
        step = steps[number]
        (origin,) = step.reads[:1]
        kept = tiles[origin]
        unread = (
            "which nobody reads afterwards"
            if tiles[step.writes].read < number
            else "whose value nobody has read"
            if lost
            else "which has just been computed"
        )
        if (
            over
            and origin is not step.writes
            and kept.written
            and not kept.computed
            and (lost or kept.used or tiles[step.writes].read < number)
        ):
            return (
                SWAPPED,
                f"Line {step.line} ({step.text}) copies '{origin.label}' over "
                f"'{step.writes.label}', "
                f"{unread}, and '{origin.label}' is never updated. {_CAUSES['swapped'][1]}",
            )
    return None


def _never_updated(steps: list[Step], names: Iterable[str]) -> tuple[str, str] | None:
    """A named state that only a memset ever wrote, and that one line reads again and again."""
    state = {name for given in named_state(names).values() for name in given}
    tiles: dict[Any, _Tile] = {}
    reads: dict[tuple[Any, int], int] = {}
    for step in steps:
        into = tiles.setdefault(step.writes, _Tile(line=step.line))
        into.written = True
        into.computed |= step.op != "memset"
        for tile in step.reads:
            reads[tile, step.line] = reads.get((tile, step.line), 0) + 1
    for (tile, _), times in reads.items():
        if times > 1 and tile.label in state and tile in tiles and not tiles[tile].computed:
            return (
                "state never updated",
                f"{state_of(tile.label)} is never written after it was filled in line "
                f"{tiles[tile].line}: the instruction that should update it has another "
                "destination, or is not there.",
            )
    return None
