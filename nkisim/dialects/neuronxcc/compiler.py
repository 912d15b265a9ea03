"""neuronxcc.nki.compiler: allocation hints and decorators. Addresses are checked, but not
simulated.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/compiler/.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ...machine.memory import PSUM, SBUF
from ...machine.running import current
from ...rules.errors import broken
from .allocated import AUTOMATIC
from .support import Memory


class _Allocator:
    """nki.compiler.sbuf or nki.compiler.psum: every form means "in this memory"."""

    def __init__(self, space: str) -> None:
        self._space = space

    def auto_alloc(self) -> Memory:
        """Placed by the compiler."""
        return Memory(self._space)

    def alloc(self, func: Any) -> Memory:
        """Placed by `func(idx, pdim_size, fdim_size)`."""
        if not callable(func):
            broken(
                "argument",
                f"nki.compiler.{self._space}.alloc: func is no function",
                got=repr(func)[:80],
                limit="a function of the block's index, its partitions and its bytes a partition",
            )
        return Memory(self._space, placed=True)

    def _zero(self, **fields: int) -> None:
        for name, value in fields.items():
            if value != 0:
                broken(
                    "allocated-place",
                    f"nki.compiler.{self._space}.mod_alloc: {name} is {value}",
                    got=value,
                    limit="0",
                    remedy=f"Leave {name} out.",
                )


class _Sbuf(_Allocator):
    def mod_alloc(
        self,
        *,
        base_addr: int,
        base_partition: int = 0,
        num_par_tiles: tuple[int, ...] = (),
        num_free_tiles: tuple[int, ...] = (),
    ) -> Memory:
        """Placed from byte `base_addr` of each partition on, the blocks of the tensor taking
        turns."""
        self._zero(base_partition=base_partition)
        size = current("nki.compiler.sbuf.mod_alloc").config.target.sbuf_partition_bytes
        if not 0 <= base_addr < size:
            broken(
                "allocated-place",
                f"nki.compiler.sbuf.mod_alloc: base_addr is {base_addr}",
                got=base_addr,
                limit=f"0 to {size - 1}, the bytes of a partition",
            )
        return Memory(self._space, placed=True)


class _Psum(_Allocator):
    def mod_alloc(
        self,
        *,
        base_bank: int,
        base_addr: int = 0,
        base_partition: int = 0,
        num_bank_tiles: tuple[int, ...] = (),
        num_par_tiles: tuple[int, ...] = (),
        num_free_tiles: tuple[int, ...] = (),
    ) -> Memory:
        """Placed from the bank `base_bank` on, the blocks of the tensor taking turns."""
        self._zero(base_addr=base_addr, base_partition=base_partition)
        banks = current("nki.compiler.psum.mod_alloc").config.target.psum_banks
        if not 0 <= base_bank < banks:
            broken(
                "allocated-place",
                f"nki.compiler.psum.mod_alloc: base_bank is {base_bank}",
                got=base_bank,
                limit=f"0 to {banks - 1}",
            )
        return Memory(self._space, placed=True)


sbuf = _Sbuf(SBUF)
psum = _Psum(PSUM)


def _pass_through(func: Any = None, **kwargs: Any) -> Any:
    return (lambda f: f) if func is None else func


def force_auto_alloc(func: Any = None) -> Any:
    """The placements that the kernel chooses are ignored: its tiles go where the compiler wants."""
    if func is None:
        return force_auto_alloc
    AUTOMATIC.add(getattr(func, "function", func).__code__)
    return func


skip_middle_end_transformations = _pass_through
enable_stack_allocator = _pass_through


@contextlib.contextmanager
def no_reorder() -> Iterator[None]:
    """The instructions inside stay in program order, as they always do here."""
    yield


__all__ = [
    "enable_stack_allocator",
    "force_auto_alloc",
    "no_reorder",
    "psum",
    "sbuf",
    "skip_middle_end_transformations",
]
