"""Loading a program from its file."""

from __future__ import annotations

from pathlib import Path

from ..machine import dtypes
from . import verify
from .decode import Reader, entries, refuse, text
from .decode_call import CallReader
from .program import Array, Leaf, Program

AT_ONCE = 1 << 17
"""Steps of a program that is held to the rules while it is loaded; a longer one is so before its
first use."""


def load(made: type[Program], path: str | Path) -> Program:
    """The program, of class `made`, in a file: see `nkisim.load`."""
    reader = Reader(Path(path).read_bytes())
    header = reader.header
    name = text(reader.get(header, "name"), "its name", 256)
    config, slots = reader.config(), reader.slots()
    inputs = [
        text(n, "an input's name", 256) for n in entries(reader.get(header, "inputs"), "inputs")
    ]
    if len(inputs) > len(slots):
        refuse("it has more inputs than arrays")
    constants = {}
    for c in entries(reader.get(header, "constants"), "constants"):
        slot, block = entries(c, "a constant", 2)
        if type(slot) is not int or not len(inputs) <= slot < len(slots):
            refuse("a constant is not one of its arrays")
        shape, dtype = slots[slot]
        constants[slot] = reader.array(block, shape, dtype, "a constant")
    found = entries(reader.get(header, "calls"), "the kernel calls")
    calls = [CallReader(reader, call, slots).read() for call in found]
    if not calls:
        refuse("it calls no kernel")
    known = {*range(len(inputs)), *constants}
    for call in calls:
        if not known.issuperset(g.slot for g in call.given):
            refuse("a kernel is given an array that nobody has made")
        known.update(call.into)
        verify.form(call)
    tree = reader.tree(reader.get(header, "returns"), Leaf, slots)
    for slot in _slots(tree):
        if slot not in known:
            refuse("it returns an array that nobody has made")
    arrays = [Array(n, s, dtypes.name(d)) for n, (s, d) in zip(inputs, slots)]
    program = made(name, config, arrays, slots, constants, calls, tree, derive=True)
    if sum(len(call.steps) for call in calls) <= AT_ONCE:
        program.verify()
    return program


def _slots(tree: object) -> list[int]:
    """The arrays in what a program returns."""
    if isinstance(tree, Leaf):
        return [tree.slot]
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (tuple, list)):
        return [slot for t in tree for slot in _slots(t)]
    return []
