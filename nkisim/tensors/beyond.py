"""An access pattern that reaches beyond its tensor. It is refused where it is used: a kernel may
make one in a loop whose last rounds leave it out, as AWS's output projection does.
"""

from __future__ import annotations

from typing import Any

from ..rules import source
from ..rules.errors import broken


class BeyondView:
    """Stands for a view that cannot be read or written."""

    __slots__ = ("details", "headline")

    def __init__(self, headline: str, got: str, **details: Any) -> None:
        self.headline = headline
        self.details = {"got": f"{got}, made in line {source.here(2).line}", **details}

    def refuse(self) -> None:
        """What is asked of the view is refused, in the line that asks."""
        broken("out-of-bounds", self.headline, **self.details)

    def __getitem__(self, key: Any) -> Any:
        self.refuse()

    def __setitem__(self, key: Any, value: Any) -> None:
        self.refuse()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            self.refuse()
        raise AttributeError(name)
