"""The colours of every drawing, once.

The hues are those of Okabe and Ito, which people with any of the common colour-vision deficiencies
tell apart, each darkened or lightened until it stands out from the card it is drawn on (3:1 or
better). Colour never carries a fact alone: lanes, owners and lines have their names beside them.
"""

from __future__ import annotations

from typing import NamedTuple


class Shade(NamedTuple):
    """One colour on a light card, on a dark one, and where nobody knows on which: in a drawing that
    has no background."""

    light: str
    dark: str
    either: str


INK = Shade("#1b1f24", "#e6edf3", "#757e89")
SOFT = Shade("#57606a", "#9aa4af", "#757e89")
CARD = Shade("#ffffff", "#161b22", "none")
RAISED = Shade("#f3f5f8", "#1f2630", "#80808020")
LINE = Shade("#d0d7de", "#3d444d", "#858e9980")
FOCUS = Shade("#0b62c4", "#6cb6ff", "#2f7fd0")
LIMIT = Shade("#b3261e", "#ff8f7a", "#c93a31")
"""Capacities and roofs: what cannot be passed."""

ENGINES = {
    "tensor": Shade("#0072b2", "#56a8e0", "#2266cc"),
    "vector": Shade("#b65a00", "#f0a04b", "#b35900"),
    "scalar": Shade("#00795a", "#35bf95", "#007f5f"),
    "gpsimd": Shade("#7a1553", "#e08dba", "#a8459a"),
    "dma": Shade("#6b7280", "#c9d0d8", "#6a7380"),
}
LINES = tuple(shade.either for shade in ENGINES.values())
"""Curves side by side."""
OTHER = Shade("#8a6d00", "#d9c04a", "#8a6d00")
"""Lanes that are not engines."""

OWNERS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
"""Areas stacked by owner, on a light card, under a line in ink: what is light needs no more; the
remainder is `REST`."""
REST = "#c5ccd3"


def engine(lane: str) -> str:
    """The engine in the name of a lane ("nc1 dma in 3" is "dma"); "other" if there is none."""
    return next((word for word in lane.split() if word in ENGINES), "other")


def shade(lane: str) -> Shade:
    """The colour of a lane."""
    return ENGINES.get(engine(lane), OTHER)


def variables(dark: bool) -> str:
    """The colours as CSS custom properties: --ink, --soft, --card, --raised, --line, --focus,
    --limit, --tensor, ..."""
    named = {
        "ink": INK,
        "soft": SOFT,
        "card": CARD,
        "raised": RAISED,
        "line": LINE,
        "focus": FOCUS,
        "limit": LIMIT,
        **ENGINES,
        "other": OTHER,
    }
    return ";".join(
        f"--{name}:{shade.dark if dark else shade.light}" for name, shade in named.items()
    )
