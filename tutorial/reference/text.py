"""Numbers, names and tables as text that is the same on every platform."""

from __future__ import annotations

import math

from nkisim.views.tables import table

__all__ = ["DIGITS", "ENGINES", "apart", "number", "short", "table"]

ENGINES = {
    "tensor": "TensorE",
    "vector": "VectorE",
    "scalar": "ScalarE",
    "gpsimd": "GpSimdE",
    "dma": "DMA",
}
"""The names of the engines."""
DIGITS = 5  # significant digits on which the fp32 sums of all machines agree


def number(x: float, decimals: int, width: int = 0, digits: int = DIGITS) -> str:
    """`x` with `decimals` decimals, fewer if `width` is short; "inf", "-inf", "nan"; never "-0".

    No more than `digits` significant digits are shown, so that the last bits of fp32, which differ
    between machines, do not show; rounding to 7 digits first keeps a value half-way between two
    texts with one of them.
    """
    if math.isnan(x):
        return "nan"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    x = float(f"{x:.7g}")
    if x:
        exponent = int(f"{x:.{digits - 1}e}".partition("e")[2])
        decimals = max(min(decimals, digits - 1 - exponent), 0)
    for places in range(decimals, -1, -1):
        text = f"{x:.{places}f}"
        if not width or len(text) < width:
            return text[1:] if text.startswith("-") and float(text) == 0 else text
    return f"{x:.{max(width - 8, 0)}e}"


def short(x: float) -> str:
    """`x` to 3 significant digits, for sentences: 41.2, 0.00312, 1.2e+20."""
    if not math.isfinite(x):
        return number(x, 0)
    text = f"{x:.3g}"
    return "0" if float(text) == 0 else text


def apart(got: float, expected: float) -> tuple[str, str]:
    """Two numbers to as many significant digits as it takes to tell them apart, 3 at least."""
    for digits in range(3, 10):
        texts = tuple(
            short(x) if digits == 3 or not math.isfinite(x) else f"{x:.{digits}g}"
            for x in (got, expected)
        )
        if texts[0] != texts[1]:
            break
    return texts[0], texts[1]
