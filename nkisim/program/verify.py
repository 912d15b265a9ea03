"""Holding a program that came from a file to the rules: first the form of its steps, all at once,
then every step, on shapes, through the machine that a kernel meets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..execution.steps import (
    ALLOCATE,
    CLEAR,
    CONSTANT,
    CORE,
    END,
    FRESH,
    INSTANCE,
    LOOP,
    MATERIALIZE,
    NEXT,
    NUMBER,
    OFFER,
    PAUSE,
    PICKED,
    PLACE,
    PRINT,
    REDIRECT,
    RESUME,
    RUN,
    SEND,
    SENT,
    STATE,
    TARGET,
    ZERO,
)
from ..isa.link import SENDRECV
from ..machine import target as targets
from ..machine.counts import size_of
from ..rules.errors import KernelError
from .call import Call
from .decode import ProgramFileError, refuse

MOST_HBM = 1 << 37
"""Bytes of all tensors in HBM together."""
MOST_PRINTED = 1 << 20
_SEEDS = ("set_rng_seed", "rand_set_state")
"""The instructions that write to the state of a generator."""


def form(call: Call) -> None:
    """Refuse steps that are not of any kind, name what is not there or have other arguments than
    their kind."""
    if not len(call.steps):
        return
    kinds, whats, places, ends = call.steps.T
    if places.min() < 0 or places.max() >= len(call.places):
        refuse("a step stands at a line that is not there")
    if int((kinds == PRINT).sum()) > MOST_PRINTED:
        refuse("it prints too much")
    counts = np.diff(ends, prepend=0)
    _of_known_kinds(call, kinds, whats, counts)
    ran = kinds == RUN
    wanted = _arguments(call)
    if (counts[ran] != wanted[whats[ran]]).any():
        refuse("an instruction has more or fewer operands than its form")
    if any(call.texts[w] not in targets.TARGETS for w in set(whats[kinds == TARGET].tolist())):
        refuse("it goes on for a target that is not there")
    destinations(call, ran)
    arrivals(call, ran)
    hbm = sum(
        size_of(call.allocations[w].shape) * call.allocations[w].dtype.itemsize
        for w in whats[kinds == ALLOCATE].tolist()
        if call.allocations[w].space == "hbm"
    )
    if hbm > MOST_HBM:
        refuse(f"its tensors in HBM need {hbm} bytes, at most {MOST_HBM} are given")


def _arguments(call: Call) -> Any:
    """How many arguments an instruction of each form has: a mask, and a buffer and an offset for
    each operand."""
    return np.array(
        [3 + 2 * len(f.srcs) + 2 * (f.extra is not None) for f in call.forms] or [0], np.int64
    )


class _Kind(NamedTuple):
    """What the steps of a kind may hold."""

    low: int
    high: int
    """The entry of its table that a step names: from `low`, below `high`."""
    arguments: int
    """How many; -1 for any number."""


def _of_known_kinds(call: Call, kinds: Any, whats: Any, counts: Any) -> None:
    """Refuse steps of no kind, and those that name what is not there."""
    texts = len(call.texts)
    known = {
        ALLOCATE: _Kind(0, len(call.allocations), 0),
        REDIRECT: _Kind(-1, len(call.attributes), 4),
        PRINT: _Kind(0, texts, 3),
        ZERO: _Kind(0, 2, 3),
        CLEAR: _Kind(0, 1, 3),
        MATERIALIZE: _Kind(0, 1, 3),
        PLACE: _Kind(0, 1, 3),
        OFFER: _Kind(0, 1, 3),
        PAUSE: _Kind(0, 1, 1),
        RESUME: _Kind(0, 1, 3),
        TARGET: _Kind(0, texts, 0),
        CORE: _Kind(0, call.cores, 0),
        SEND: _Kind(0, 1, 3),
        LOOP: _Kind(0, 2, 1),
        NEXT: _Kind(0, 1, 1),
        END: _Kind(0, 1, 0),
        CONSTANT: _Kind(0, len(call.arrays), 0),
        INSTANCE: _Kind(0, 1, -1),
        RUN: _Kind(0, len(call.forms), -1),
    }
    if set(np.unique(kinds).tolist()) - set(known):
        refuse("a step is of no kind")
    for number, kind in known.items():
        mine = kinds == number
        if not mine.any():
            continue
        if whats[mine].min() < kind.low or whats[mine].max() >= kind.high:
            refuse("a step names an entry of a table that is not there")
        if kind.arguments >= 0 and (counts[mine] != kind.arguments).any():
            refuse("a step has more or fewer arguments than its kind")


def destinations(call: Call, ran: Any) -> None:
    """Refuse instructions that write to a number, or to what they must not."""
    _, whats, _, ends = call.steps[ran].T
    starts = ends - _arguments(call)[whats]
    masks, into = call.args[starts], call.args[starts + 1]
    if len(masks) and (masks.min() < -1 or masks.max() >= len(call.masks)):
        refuse("a mask is not there")
    given = np.array([f.dst is not None for f in call.forms] or [False])
    if ((into == FRESH) == given[whats]).any():
        refuse("an instruction's destination is not of its form")
    seeds = np.array([f.instruction.name in _SEEDS for f in call.forms] or [False])
    allowed = (into >= 0) | (into == FRESH) | (into == PICKED)
    if (~allowed & ~((into == STATE) & seeds[whats])).any():
        refuse("an instruction writes to what is not a tensor")
    seconds = np.array([f.extra is not None for f in call.forms] or [False])[whats]
    extra = call.args[ends[seconds] - 2]
    if ((extra < 0) & (extra != PICKED)).any():
        refuse("an instruction's second destination is not a tensor")
    if len(call.args) and call.args.min() < min(NUMBER, STATE) - (1 << 40):
        refuse("an argument is out of all bounds")


def arrivals(call: Call, ran: Any) -> None:
    """Refuse tiles of the other core that come by another way than the first source of sendrecv."""
    _, whats, _, ends = call.steps[ran].T
    starts = ends - _arguments(call)[whats] + 3
    counts = np.array([len(f.srcs) for f in call.forms] or [0], np.int64)[whats]
    expected = np.array([f.instruction is SENDRECV for f in call.forms] or [False])[whats]
    for k in range(int(counts.max(initial=0))):
        has = counts > k
        sent = call.args[starts[has] + 2 * k] == SENT
        if (sent != (expected[has] if k == 0 else False)).any() or (
            call.args[starts[has][sent] + 2 * k + 1] < 0
        ).any():
            refuse("a tile that a core sent is not what the other receives")


def steps(program: Any) -> None:
    """Run every step on shapes: `KernelError` for a broken rule, `ProgramFileError` for steps that
    make no sense."""
    try:
        _ = program.run
    except (KernelError, ProgramFileError):
        raise
    except Exception as error:
        raise ProgramFileError(
            "this is not a program that nkisim can load: a step asks the machine for what cannot "
            f"be ({type(error).__name__}: {str(error)[:200]})"
        ) from None
