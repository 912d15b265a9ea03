"""The steps of a program that leave no record, held to what a lowering makes of them:
where one could be put elsewhere, values would move, and nobody would count them."""

from __future__ import annotations

from typing import Any

from ..execution.execution import Execution
from ..isa.copies import MEMSET
from ..machine.memory import EMPTY, HBM, PSUM, SBUF
from ..tensors.tensor import Tensor
from .decode import refuse


def offered(execution: Execution, t: Tensor) -> None:
    """The new tile that an assignment may take over is what a memset has just filled."""
    last, entries = execution.last_signature, execution.tape.entries
    if last is None or last.instruction is not MEMSET or execution.last_result is not None:
        refuse("a tile is offered that no memset has filled")
    if not execution.recording:
        return  # a replay that is not recorded follows one that was
    record = entries[len(entries) - last.width :]
    if record[3] is not t.buf or record[4] != t.off or record[0].dst != t.meta:
        refuse("another tile is offered than the last instruction has filled")


def redirected(execution: Execution, attrs: tuple[Any, ...] | None, held: int) -> None:
    """Only a matmul adds to what an assignment names, and nothing else about it changes."""
    last = execution.last_signature
    if (attrs is None) == bool(held) or held not in (0, 1):
        refuse("an assignment changes an instruction that does not add")
    if not held:
        return
    if last is None or last.instruction.name != "nc_matmul":
        refuse("an assignment adds, and its instruction is not a matmul")
    if tuple(attrs or ()) != tuple(last.adding):
        refuse("an assignment makes another instruction of a matmul")


def materialized(execution: Execution) -> None:
    """Zeros are made for the matmul that has just run and is added to them."""
    last = execution.last_signature
    if last is None or last.instruction.name != "nc_matmul" or execution.last_result is None:
        refuse("zeros are made for no matmul")


def zeroed(t: Tensor) -> None:
    """Only a PSUM tile that nothing has written to counts as holding zeros."""
    if t.meta.space != PSUM or t.buf.state != EMPTY or t.meta != t.buf.meta:
        refuse("a tile counts as holding zeros, and is not a new one in PSUM")


def cleared(t: Tensor) -> None:
    """Only a matmul overwrites what nothing has written to."""
    if t.meta.space != PSUM:
        refuse(f"what nothing has written to is cleared in {t.meta.space}")


def placed(t: Tensor) -> None:
    """A kernel chooses the place of a new tile on the chip."""
    if t.meta.space == HBM or t.buf.state != EMPTY or t.buf.placed is not None:
        refuse("a place is chosen for a tile that is not new")


def sent(t: Tensor) -> None:
    """What lies in HBM is loaded, and counted, before it goes to another core."""
    if t.meta.space != SBUF:
        refuse(f"a tile that is sent to another core lies in {t.meta.space}")
