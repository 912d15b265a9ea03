"""Tensors that the kernel placed itself: which of them wrote each byte of SBUF and PSUM last.

Two tensors may be placed over one another, so that one takes the room of the other once it is used
up. A read of the first after the second was written gets the second's bytes on the device. Source:
aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (ndarray, address),
nki/guides/nki_simulator.rst (Memory Model: not checked there).
"""

from __future__ import annotations

import numpy as np

from ..machine.memory import Buffer
from ..rules.errors import broken
from ..tensors.tensor import IndexedTensor, Tensor


class Places:
    """The last writer of each byte of one memory, among the tensors that were placed."""

    def __init__(self, partitions: int, size: int) -> None:
        self.writers = np.zeros((partitions, size), dtype=np.int32)
        self.numbers: dict[Buffer, int] = {}
        self.buffers: list[Buffer] = []

    def _bytes(self, t: Tensor) -> np.ndarray:
        """The writers of the bytes of `t`."""
        buf, meta = t.buf, t.meta
        assert buf.placed is not None
        row, start = buf.placed
        width, item = self.writers.shape[1], meta.itemsize
        free = buf.meta.free * buf.meta.itemsize // item
        offset = (row + t.off // free) * width + start + t.off % free * item
        strides = (width * 4, *[s * item * 4 for s in meta.strides[1:]], 4)
        return np.ndarray((*meta.shape, item), np.int32, self.writers, offset * 4, strides)

    def wrote(self, t: Tensor) -> None:
        """Note a write to `t`."""
        number = self.numbers.get(t.buf)
        if number is None:
            self.buffers.append(t.buf)
            number = self.numbers[t.buf] = len(self.buffers)
        if not isinstance(t, IndexedTensor):
            self._bytes(t)[...] = number

    def check(self, t: Tensor, api: str, written: np.ndarray) -> None:
        """Refuse to read bytes of `t`, among the elements `written`, that another tensor has been
        written over."""
        number = self.numbers.get(t.buf)
        if number is None or isinstance(t, IndexedTensor):
            return
        writers = self._bytes(t)
        wrong = writers[(writers != number) & (writers != 0) & written[..., None]]
        if wrong.size:
            other = self.buffers[int(wrong[0]) - 1]
            assert t.buf.placed is not None and other.placed is not None
            broken(
                "address-overlap",
                f"{api}: '{t.label}' is read after '{other.label}' was written over it",
                tensor=t.label,
                got=f"'{t.label}' {t.buf.meta.shape} at byte {t.buf.placed[1]}, "
                f"'{other.label}' {other.meta.shape} at byte "
                f"{other.placed[1]} of {t.meta.space.upper()}",
                remedy="Place them apart, or read the first for the last time before the "
                "second is written.",
            )
