"""neuronxcc.nki.compiler: allocation hints and decorators, accepted; addresses are not simulated.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/compiler/.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ...memory import PSUM, SBUF
from .support import Memory


class _Allocator:
    """nki.compiler.sbuf or nki.compiler.psum: every form means "in this memory"."""

    def __init__(self, space: str) -> None:
        self._space = space

    def auto_alloc(self) -> Memory:
        """Placed by the compiler."""
        return Memory(self._space)

    def alloc(self, func: Any) -> Memory:
        """Placed by `func`, whose addresses are not simulated."""
        return Memory(self._space)

    def mod_alloc(self, **kwargs: Any) -> Memory:
        """Placed by modulo allocation, whose addresses are not simulated."""
        return Memory(self._space)


sbuf = _Allocator(SBUF)
psum = _Allocator(PSUM)


def _pass_through(func: Any = None, **kwargs: Any) -> Any:
    return (lambda f: f) if func is None else func


skip_middle_end_transformations = _pass_through
enable_stack_allocator = _pass_through
force_auto_alloc = _pass_through


@contextlib.contextmanager
def no_reorder() -> Iterator[None]:
    """The instructions inside stay in program order, as they always do here."""
    yield


__all__ = ["enable_stack_allocator", "force_auto_alloc", "no_reorder", "psum", "sbuf", "skip_middle_end_transformations"]
