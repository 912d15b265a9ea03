"""What the tests of this dialect share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim


def values(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    """Deterministic values in [-2, 2), or small integers for integer types."""
    drawn = np.random.default_rng([seed, *shape]).uniform(-2, 2, shape)
    return (
        np.rint(drawn * 20).astype(dtype)
        if np.dtype(dtype).kind in "iu"
        else drawn.astype(np.float32).astype(dtype)
    )


def on_tiles(body: Callable[..., Any], *arrays: np.ndarray, target: str | None = None) -> Any:
    """Copy `arrays` into SBUF tiles, call `body` on them, and return the values of the tiles that
    it returns."""

    @nki.jit
    def kernel(*inputs):
        tiles = []
        for x in inputs:
            t = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
            nisa.dma_copy(t, x)
            tiles.append(t)
        results = body(*tiles)
        outs = []
        for r in results if isinstance(results, tuple) else (results,):
            if nl.is_psum(r.buffer):
                r = nl.copy(r)
            out = nl.ndarray(r.shape, dtype=r.dtype, buffer=nl.shared_hbm)
            nisa.dma_copy(out, r)
            outs.append(out)
        return outs[0] if len(outs) == 1 else tuple(outs)

    with nkisim.record(target=target):
        return kernel(*arrays)


def refused(
    body: Callable[..., Any], *arrays: np.ndarray, rule: str, target: str | None = None
) -> nkisim.KernelError:
    """The error of a body that must be refused by `rule`; its message names what went wrong and
    what to do."""
    with pytest.raises(nkisim.KernelError) as caught:
        on_tiles(body, *arrays, target=target)
    assert caught.value.rule == rule, str(caught.value)
    assert caught.value.remedy or caught.value.limit, str(caught.value)
    return caught.value


def tile(shape: tuple[int, ...], dtype: Any = np.float32, buffer: Any = nl.sbuf) -> Any:
    """A new tile."""
    return nl.ndarray(shape, dtype=dtype, buffer=buffer)
