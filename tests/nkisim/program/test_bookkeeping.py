"""Steps that leave no record, put where a lowering never puts them: values would move
from one tile to another, and no counter would tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import nkisim
from nkisim.execution import steps as low
from nkisim.program.encode import body
from nkisim.program.program import Program

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

SHAPE = (32, 64)


@nki.jit
def doubled(x):
    out = nl.ndarray(SHAPE, dtype=x.dtype, buffer=nl.shared_hbm)
    filled = nl.zeros(SHAPE, dtype=nl.float32)
    loaded = nl.load(x)
    product = nl.zeros((64, 64), dtype=nl.float32, buffer=nl.psum)
    product += nisa.nc_matmul(loaded, loaded)
    product += nisa.nc_matmul(loaded, loaded)
    filled[...] = nl.add(loaded, loaded)
    nl.store(out, value=filled)
    return out


Steps = list[list[Any]]


def steps_of(program: Program) -> Steps:
    """Kind, entry, place and arguments of each step."""
    (call,) = program.calls
    starts = [0, *call.steps[:, 3].tolist()]
    return [
        [kind, what, place, call.args[start:end].tolist()]
        for (kind, what, place, end), start in zip(call.steps.tolist(), starts)
    ]


def with_steps(program: Program, steps: Steps) -> bytes:
    """The file of the program with other steps."""
    (call,) = program.calls
    ends = np.cumsum([len(args) for *_, args in steps])
    columns = [[*step[:3], end] for step, end in zip(steps, ends)]
    args = np.array([x for *_, given in steps for x in given], np.int64)
    made = replace(call, steps=np.array(columns, np.int64), args=args)
    forged = Program(
        program.name,
        program.config,
        program.inputs,
        program.slots,
        program.constants,
        [made],
        program.tree,
    )
    return body(forged)


def first(steps: Steps, kind: int, number: int = 0) -> int:
    """Where the step of a kind stands that has `number` of them before it."""
    return [n for n, step in enumerate(steps) if step[0] == kind][number]


def offer_the_input(program: Program, steps: Steps) -> None:
    """After a memset, x is offered in place of what the memset filled."""
    at = first(steps, low.OFFER)
    steps[at][3] = [0, 0, steps[at][3][2]]


def offer_later(program: Program, steps: Steps) -> None:
    """The memset's tile is offered after another instruction."""
    at = first(steps, low.OFFER)
    steps.insert(at + 2, steps.pop(at))


def send_the_input(program: Program, steps: Steps) -> None:
    """x itself is laid out for the other core."""
    offered = steps[first(steps, low.OFFER)]
    steps.insert(1, [low.SEND, 0, offered[2], [0, 0, offered[3][2]]])


def add_elsewhere(program: Program, steps: Steps) -> None:
    """An assignment of a sum of tiles adds to what was there."""
    steps[first(steps, low.REDIRECT)][3][3] = 1


def add_nothing(program: Program, steps: Steps) -> None:
    """The matmul that accumulates is said to overwrite."""
    at = next(n for n, s in enumerate(steps) if s[0] == low.REDIRECT and s[3][3])
    steps[at][3][3] = 0


def zeros_for_nothing(program: Program, steps: Steps) -> None:
    """Zeros are made where no matmul waits for them."""
    offered = steps[first(steps, low.OFFER)]
    steps.append([low.MATERIALIZE, 0, offered[2], offered[3]])


def zeros_on_chip(program: Program, steps: Steps) -> None:
    """A tile in SBUF counts as holding zeros."""
    offered = steps[first(steps, low.OFFER)]
    steps.append([low.ZERO, 0, offered[2], offered[3]])


def cleared_on_chip(program: Program, steps: Steps) -> None:
    """A tile in SBUF is cleared."""
    offered = steps[first(steps, low.OFFER)]
    steps.append([low.CLEAR, 0, offered[2], offered[3]])


def placed_again(program: Program, steps: Steps) -> None:
    """A tile that has been written moves to another place."""
    offered = steps[first(steps, low.OFFER)]
    steps.append([low.PLACE, 0, offered[2], [offered[3][0], 0, 0]])


FORGED = {
    offer_the_input: "another tile is offered",
    offer_later: "no memset has filled",
    send_the_input: "is sent to another core lies in hbm",
    add_elsewhere: "does not add",
    add_nothing: "does not add",
    zeros_for_nothing: "for no matmul",
    zeros_on_chip: "not a new one in PSUM",
    cleared_on_chip: "cleared in sbuf",
    placed_again: "a tile that is not new",
}


@pytest.fixture(scope="module")
def program() -> Program:
    """The lawful program."""
    return nkisim.lower(doubled, nkisim.shape(SHAPE))


def test_the_program_that_is_edited_is_lawful(program, tmp_path):
    kinds = {step[0] for step in steps_of(program)}
    assert {low.OFFER, low.REDIRECT, low.ZERO} <= kinds
    (tmp_path / "p").write_bytes(with_steps(program, steps_of(program)))
    x = np.ones(SHAPE, np.float32)
    assert (nkisim.load(tmp_path / "p")(x) == 2).all()


@pytest.mark.parametrize("change", FORGED, ids=lambda change: change.__name__)
def test_a_step_without_a_record_stands_only_where_a_lowering_puts_it(program, tmp_path, change):
    steps = steps_of(program)
    change(program, steps)
    (tmp_path / "p").write_bytes(with_steps(program, steps))
    with pytest.raises(nkisim.ProgramFileError, match=FORGED[change]):
        nkisim.load(tmp_path / "p")
