"""What stands for the dialect, and for the kernel, of a program that is replayed."""

from __future__ import annotations

from ..rules.listing import Listing
from ..tensors.tensor import Tensor


class Dialect:
    """What the machine asks of the dialect of a kernel that is replayed."""

    tensor = Tensor
    scoped_text = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.writes_inputs = name == "nki"

    def has(self, name: str) -> bool:
        """Whether its language has a function of that name."""
        return False


class Replayed:
    """Stands for the kernel in sentences."""

    kernel_return = True

    def __init__(self, listing: Listing) -> None:
        self.__name__ = listing.co_name
        self.function = self
        self.__code__ = listing
