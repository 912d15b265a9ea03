"""Mistakes of kernels whose instructions are told their destination, as in `nki` 0.3 to 0.6.

Some break a rule of the simulator: `refused` gives the refusal a cause in the course's words.
Others run and give wrong values: `seen` finds them in what the kernel did, not in its numbers, so
that no style hides them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..running.refusals import CAUSES, DIALECT, SWAPPED, ran_in
from ..trace.states import named_state, state_of

# -- what was done ---------------------------------------------------------------------------------


class Executed(NamedTuple):
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


def _steps(run: Any) -> Iterable[Executed]:
    for program in run.programs:
        for record in program.records():
            place = record.place
            yield Executed(
                place.line,
                place.text.partition("  #")[0].rstrip(),
                record.signature.instruction.name,
                record.buffer,
                tuple(read.buffer for read in record.srcs),
            )


def seen(run: Any) -> tuple[str, str] | None:
    """(cause, sentence) for a mistake that shows in which tile was written and read when; None if
    there is none."""
    if ran_in(run) != DIALECT:
        return None
    steps = list(_steps(run))
    return _added_up(steps) or _copied_backwards(steps) or _never_updated(steps, run.names())


def _added_up(steps: list[Executed]) -> tuple[str, str] | None:
    """A matmul that adds to a PSUM tile after somebody has taken the sum out of it."""
    taken: dict[Any, Executed] = {}  # PSUM tile -> who read it since a matmul overwrote it
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


def _copied_backwards(steps: list[Executed]) -> tuple[str, str] | None:
    """A copy over a computed tile from one that nothing but a memset ever wrote, and that is not
    a mere constant: others read it too, or the value that is overwritten has no reader."""
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
            one, other = f"'{origin.label}'", f"'{step.writes.label}'"
            if one == other:  # made by one line of the kernel
                one, other = "its source", "its destination"
            return (
                SWAPPED,
                f"Line {step.line} ({step.text}) copies {one} over {other}, "
                f"{unread}, and {one} is never updated. {CAUSES['swapped'][1]}",
            )
    return None


def _never_updated(steps: list[Executed], names: Iterable[str]) -> tuple[str, str] | None:
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
