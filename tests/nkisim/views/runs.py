"""Runs that the tests of the views draw: one of several engines, one of 100,000 instructions, one
with hostile names."""

from __future__ import annotations

import functools
from typing import Any

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np

import nkisim

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"


@nki.jit
def every_engine(x):
    """x (128, 256) -> (128, 256): loads, a matmul, an activation, vector instructions, stores;
    twice round a loop."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    total = nl.full((128, 128), 0.0, dtype=nl.float32, name="total")
    for i in nl.sequential_range(2):
        tile = nl.load(x[:, nl.ds(i * 128, 128)])
        product = nisa.nc_matmul(tile, tile)
        scaled = nisa.activation(nl.exp, product, scale=-1.0)
        total[...] = nl.add(total, scaled)
        nl.store(out[:, nl.ds(i * 128, 128)], value=total)
    return out


@nki.jit
def long_loop(x, outer, inner):
    """outer * (inner * 5 + 2) + 2 instructions on (4, 4) tiles."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    for _ in nl.sequential_range(outer):
        held = nl.full((4, 4), 0.0, dtype=nl.float32, name="held")
        for _ in nl.sequential_range(inner):
            a = nl.add(tile, 1.0)
            b = nl.exp(a)
            c = nl.multiply(b, 0.5)
            d = nl.maximum(c, a)
            held[...] = nl.add(held, d)
        tile[...] = nl.minimum(held, 1.0)
    nl.store(out, value=tile)
    return out


@nki.jit
def on_a_grid(x):
    """Each of two program instances: load, exp, store of its 128 columns of x (128, 256)."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    columns = nl.ds(nl.program_id(0) * 128, 128)
    nl.store(out[:, columns], value=nl.exp(nl.load(x[:, columns])))
    return out


@nki.jit
def hostile(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.full((4, 4), 1.0, dtype=nl.float32, name=HOSTILE)
    t[...] = nl.load(x)  # </script><script>alert("source")</script> & </pre>
    nl.store(out, value=t)
    return out


def record(kernel: Any, *arguments: Any, **options: Any) -> nkisim.Run:
    with nkisim.record(**options) as run:
        kernel(*arguments)
    return run


X = np.random.default_rng(0).standard_normal((128, 256)).astype(np.float32)
SMALL = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)


def small(**options: Any) -> nkisim.Run:
    """11 instructions on every engine but GpSimdE."""
    return record(every_engine, X, **{"keep_results": True, **options})


@functools.cache
def large() -> nkisim.Run:
    """100,202 instructions."""
    return record(long_loop, SMALL, 100, 200)


@functools.cache
def long() -> nkisim.Run:
    """20,042 instructions: enough for everything that is drawn to be folded."""
    return record(long_loop, SMALL, 20, 200)


@functools.cache
def long_timeline() -> Any:
    return long().timeline()


def empty() -> nkisim.Run:
    with nkisim.record() as run:
        pass
    return run
