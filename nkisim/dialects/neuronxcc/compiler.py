"""neuronxcc.nki.compiler: allocation hints and decorators. Addresses are checked, but not
simulated.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/compiler/.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...execution.execution import current
from ...machine.memory import PSUM, SBUF
from ...machine.target import Target
from ...rules import arguments, source
from ...rules.errors import broken
from .allocated import AUTOMATIC
from .support import Memory

_SBUF_BYTES = 192 * 1024
_RESERVED = 16 * 1024


def _sbuf_end(target: Target) -> int:
    """Where the bytes of a partition end that a kernel may place tiles in. The guide to direct
    allocation knows 192 KiB, of which on NeuronCore-v2 the compiler keeps 16; it gives no larger
    number for later generations."""
    return _SBUF_BYTES - _RESERVED if target.nc_version == 2 else _SBUF_BYTES


def _refuse(what: str, got: Any, limit: str, remedy: str | None = None) -> None:
    broken("allocated-place", what, got=got, limit=limit, remedy=remedy)


def _zero(api: str, **fields: int) -> None:
    for name, value in fields.items():
        if value != 0:
            _refuse(f"{api}: {name} is {value}", value, "0", f"Leave {name} out.")


def _blocks(api: str, tiles: Any, name: str) -> int:
    """How many places the blocks of a tensor take turns in."""
    if not isinstance(tiles, tuple) or not all(type(n) is int and n > 0 for n in tiles):
        broken(
            "argument",
            f"{api}: {name} is {tiles!r}",
            got=repr(tiles),
            limit="a tuple of positive integers, one for each block axis",
        )
    return math.prod(tiles)


def _traced(address: int) -> int:
    """The address as the compiler knows it. It traces the body of an affine_range once: what a
    Python variable adds up over the iterations of one is the first iteration's value there. Here
    the body runs each time, and the first one's address is judged."""
    execution = current("nki.compiler")
    frame = source.user_frame()
    place = frame.f_code, frame.f_lasti
    if all(first == now for first, now in execution.affine_loops):
        execution.first_addresses[place] = address
        return address
    return execution.first_addresses.get(place, address)


class _Allocator:
    """nki.compiler.sbuf or nki.compiler.psum."""

    space: str

    def auto_alloc(self) -> Memory:
        """Placed by the compiler."""
        return Memory(self.space)

    def alloc(self, func: Any) -> Memory:
        """Each block placed by `func(idx, pdim_size, fdim_size)`: its start partition and byte in
        SBUF; its bank, 0 and 0 in PSUM."""
        api = f"nki.compiler.{self.space}.alloc"
        if not callable(func):
            broken(
                "argument",
                f"{api}: func is not a function",
                got=repr(func)[:80],
                limit="a function of the block's index, its partitions and its bytes per partition",
            )

        # by name, so that it may be a functools.partial; one with other names gets them in order
        names: tuple[str, ...] = ("idx", "pdim_size", "fdim_size")
        try:
            parameters = inspect.signature(func).parameters
        except (TypeError, ValueError):  # of a built-in one nobody knows
            parameters = {}  # type: ignore[assignment]
        takes = list(parameters)
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            takes = list(names)
        if len(takes) < 3:
            broken(
                "argument",
                f"{api}: func does not take the block's index, its partitions and its bytes",
                got=repr(func)[:80],
                limit="a function of idx, pdim_size and fdim_size",
            )
        if not set(names) <= set(takes):
            names = tuple(takes)[:3]

        def check(made_by: str, blocks: tuple[int, ...], partitions: int, size: int) -> None:
            for index in itertools.product(*map(range, blocks)):
                place = func(**dict(zip(names, (index, partitions, size))))
                if not isinstance(place, tuple) or not all(
                    isinstance(n, int | np.integer) for n in place
                ):
                    broken("argument", f"{api}: func gives {place!r}", limit="a tuple of integers")
                self.block(api, place, partitions, size)

        return Memory(self.space, placed=check)

    def block(self, api: str, place: tuple[int, ...], partitions: int, size: int) -> None:
        """Refuse a block of `size` bytes per partition at a place where it cannot be."""
        raise NotImplementedError


class _Sbuf(_Allocator):
    space = SBUF

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
        api = "nki.compiler.sbuf.mod_alloc"
        _zero(api, base_partition=base_partition)
        rows = _blocks(api, num_par_tiles, "num_par_tiles")
        tiles = _blocks(api, num_free_tiles, "num_free_tiles")
        start = _traced(arguments.integer(base_addr, api, "base_addr"))

        def check(made_by: str, blocks: tuple[int, ...], partitions: int, size: int) -> None:
            if partitions * rows > 128:
                got = f"{rows} times {partitions} partitions"
                _refuse(f"{api}: the blocks end beyond partition 127", got, "128 partitions")
            self.block(api, (0, start), partitions, tiles * size)

        self.block(api, (0, start), 1, 1)
        return Memory(self.space, placed=check)

    def block(self, api: str, place: tuple[int, ...], partitions: int, size: int) -> None:
        row, start = place
        limit = _sbuf_end(current(api).config.target)
        starts = (0,) if partitions > 64 else (0, 64) if partitions > 32 else (0, 32, 64, 96)
        if row not in starts:
            _refuse(
                f"{api}: a tile of {partitions} partitions starts at partition {row}",
                row,
                ", ".join(map(str, starts)),
            )
        if start < 0 or start + size > limit:
            _refuse(
                f"{api}: the tile from byte {start} on ends beyond SBUF",
                f"bytes {start} to {start + size}",
                f"{limit} bytes per partition",
                "Place it lower, or give fewer blocks a separate place (num_free_tiles).",
            )


class _Psum(_Allocator):
    space = PSUM

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
        api = "nki.compiler.psum.mod_alloc"
        _zero(api, base_addr=base_addr, base_partition=base_partition)
        banks = _blocks(api, num_bank_tiles, "num_bank_tiles")
        start = _traced(arguments.integer(base_bank, api, "base_bank"))

        def check(made_by: str, blocks: tuple[int, ...], partitions: int, size: int) -> None:
            self.block(api, (start + banks - 1, 0, 0), partitions, size)

        self.block(api, (start, 0, 0), 1, 1)
        return Memory(self.space, placed=check)

    def block(self, api: str, place: tuple[int, ...], partitions: int, size: int) -> None:
        bank, row, byte = place
        target = current(api).config.target
        last = bank + -(-size // target.psum_bank_bytes) - 1
        if row or byte:
            _refuse(f"{api}: the tile does not begin a bank", place, "(bank, 0, 0)")
        if bank < 0 or last >= target.psum_banks:
            _refuse(
                f"{api}: the tile ends beyond PSUM, in bank {last}",
                f"banks {bank} to {last}",
                f"banks 0 to {target.psum_banks - 1}",
                "Place it in a lower bank, or give fewer blocks a separate bank (num_bank_tiles).",
            )


sbuf = _Sbuf()
psum = _Psum()


def force_auto_alloc(func: Any = None) -> Any:
    """The placements that the kernel chooses are ignored: its tiles go where the compiler wants."""
    if func is None:
        return force_auto_alloc
    AUTOMATIC.add(getattr(func, "function", func).__code__)
    return func


def skip_middle_end_transformations(func: Any = None) -> Any:
    """A decorator for the compiler, which has no such pass here: the kernel stays as it is."""
    return func if func is not None else skip_middle_end_transformations


def enable_stack_allocator(func: Any = None, log_level: Any = 50) -> Any:
    """A decorator that chooses the compiler's allocator: the kernel stays as it is."""
    return func if func is not None else lambda f: f


@contextlib.contextmanager
def allocation_scope() -> Iterator[None]:
    """Tensors made inside are the compiler's to place together; nothing changes here."""
    yield


@contextlib.contextmanager
def multi_buffer(factor: int = 2) -> Iterator[None]:
    """The compiler may keep `factor` buffers of what is made inside; nothing changes here."""
    arguments.integer(factor, "nki.compiler.multi_buffer", "factor", least=1)
    yield


@contextlib.contextmanager
def no_reorder() -> Iterator[None]:
    """The instructions inside stay in program order, as they always do here."""
    yield


__all__ = [
    "allocation_scope",
    "enable_stack_allocator",
    "force_auto_alloc",
    "multi_buffer",
    "no_reorder",
    "psum",
    "sbuf",
    "skip_middle_end_transformations",
]
