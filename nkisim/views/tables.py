"""Numbers, sizes and tables as text that is the same on every platform."""

from __future__ import annotations

import re
from collections.abc import Sequence

BLOCKS = " ▁▂▃▄▅▆▇█"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns, the first `left` of them flush left, the others flush right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(w) if i < left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def size(nbytes: float) -> str:
    """Bytes in the largest unit that leaves at least one: "512 B", "64 KiB", "1.5 MiB"."""
    value, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{short(value)} {unit}"


def short(value: float) -> str:
    """A number to 3 significant digits without an exponent: 1234, 41.2, 0.00312; whole numbers
    whole."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:.0f}"
    text = f"{value:.3g}"
    return f"{value:.6f}".rstrip("0") if "e" in text else text


def count(n: int, what: str) -> str:
    """ "1 instruction", "12,345 instructions"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def clip(text: str, width: int) -> str:
    """`text`, cut to `width` characters with an ellipsis."""
    return text if len(text) <= width else text[: width - 3] + "..."


_UNNAMED = re.compile(r"(?:\w+\.)*(\w+)\(\.\.\.\) of (line \d+)")


def brief(name: str) -> str:
    """A tensor's name where there is little room: "exp, line 12" for "nl.exp(...) of line 12"."""
    match = _UNNAMED.fullmatch(name)
    return f"{match[1]}, {match[2]}" if match else name


def bars(values: Sequence[float], top: float) -> str:
    """A bar chart one line high: a block character for each value, the full block at `top`."""
    if top <= 0:
        return BLOCKS[0] * len(values)
    steps = len(BLOCKS) - 1
    return "".join(
        BLOCKS[min(steps, max(1 if v > 0 else 0, round(steps * v / top)))] for v in values
    )
