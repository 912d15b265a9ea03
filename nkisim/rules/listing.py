"""The lines of a kernel that is not there as Python: those that a lowered program names."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import NamedTuple


class Place(NamedTuple):
    """A place in a kernel's text, and what is called what there."""

    filename: str
    line: int
    text: str
    """The stripped source line."""
    label: str
    """What a tensor that is made there is called in messages."""


class Listing:
    """The places of a program. It stands for the code of a kernel, and the number of a place for
    the place in the code."""

    def __init__(self, name: str, places: Sequence[Place]) -> None:
        self.co_name = name
        """The kernel's name."""
        self.places = places

    @property
    def co_filename(self) -> str:
        """The file of the kernel's first line."""
        return self.places[0].filename if self.places else ""


class Cursor:
    """Stands for the frame of the kernel's line that is executing, while a program is replayed."""

    __slots__ = ("f_code", "f_lasti")
    f_back = None

    def __init__(self, listing: Listing) -> None:
        self.f_code = listing
        self.f_lasti = 0

    @property
    def f_lineno(self) -> int:
        """The number of the line."""
        return self.f_code.places[self.f_lasti].line

    @property
    def f_globals(self) -> dict[str, object]:
        """Of no module."""
        return {}


CURSOR: ContextVar[Cursor | None] = ContextVar("nkisim_cursor", default=None)
"""Where the program stands that is replayed in this context; None outside any replay."""
