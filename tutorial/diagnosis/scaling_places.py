"""Where the values of a stage 0 output lie: rows, columns or tiles that hold what belongs to
others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Pairs = Sequence[tuple[F64, F64]]
"""The wrong outputs and the right ones, (128, n) each."""
NEAR = 2e-5  # relative to the largest element: two fp32 products of the same numbers


def span(at: NDArray[np.intp], n: int, noun: str) -> str:
    """ "64 of 128 rows (64 to 127)": how many of n are wrong, those at `at`, and which, if they are
    in one piece."""
    if len(at) == n:
        return f"all {n} {noun}s"
    in_one_piece = at[-1] - at[0] + 1 == len(at)
    which = (
        f"{at[0]}"
        if len(at) == 1
        else (f"{at[0]} to {at[-1]}")
        if in_one_piece
        else f"the first is {at[0]}"
    )
    return f"{len(at)} of {n} {noun}s ({which})"


def exchanged(pairs: Pairs, noun: str) -> tuple[str, str] | None:
    """Every wrong row ("row"), or column ("column"), holds the values of another one."""
    told = ""
    for got, want in pairs:
        sources = _sources(got, want) if noun == "row" else _sources(got.T, want.T)
        if sources is None:
            return None
        told = told or _described(sources, noun)
    return f"{noun}s exchanged", told


def _sources(got: F64, want: F64) -> NDArray[np.intp] | None:
    """Which row of `want` each row of `got` holds, itself where that is right; None where one holds
    no such row.

    Rows are looked for by their product with a fixed vector, and what is found is compared in full.
    """
    if not np.isfinite(got).all():
        return None
    near = NEAR * max(float(np.abs(want).max()), 1e-30)
    vector = np.random.default_rng(0).standard_normal(want.shape[1])
    key, wanted = got @ vector, want @ vector
    order = np.argsort(wanted, kind="stable")
    place = np.searchsorted(wanted[order], key)
    sources = np.full(len(got), -1)
    for row in range(len(got)):
        nearby = order[max(place[row] - 2, 0) : place[row] + 2]
        sources[row] = next(
            (s for s in (row, *nearby) if np.abs(got[row] - want[s]).max() <= near), -1
        )
        if sources[row] < 0:
            return None
    return sources


def _described(sources: NDArray[np.intp], noun: str) -> str:
    """A sentence for which row holds which."""
    n = len(sources)
    moved = np.flatnonzero(sources != np.arange(n))
    first = int(moved[0])
    example = f"{noun} {first} holds those of {noun} {sources[first]}"
    breaks = np.flatnonzero((np.diff(moved) != 1) | (np.diff(sources[moved]) != 1)) + 1
    # of rows that hold rows which follow one another
    runs = {len(run) for run in np.split(moved, breaks)}
    if (sources == n - 1 - np.arange(n)).all():
        what = f"The {noun}s are in reverse order"
    elif len(set(sources.tolist())) == 1:
        what = f"Every {noun} holds the same values"
    else:
        how_many = f"Every {noun} holds" if len(moved) == n else f"{len(moved)} of {n} {noun}s hold"
        blocks = (
            (f", in blocks of {max(runs)} {noun}s") if len(runs) == 1 and 1 < max(runs) < n else ""
        )
        what = f"{how_many} the values of another {noun}{blocks}"
    return (
        f"{what}: {example}. Look at which {noun}s are loaded, and at which of y they are stored."
    )


def same_values(got: F64, want: F64) -> bool:
    """Whether an output has the right values, in whatever places."""
    return bool(np.isfinite(got).all()) and _near(np.sort(got, axis=None), np.sort(want, axis=None))


def _near(got: F64, want: F64) -> bool:
    with np.errstate(all="ignore"):
        return bool((np.abs(got - want) <= NEAR * max(float(np.abs(want).max()), 1e-30)).all())
