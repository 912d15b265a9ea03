"""What the tests of the simulator share: running small kernels, references, and the line that must
be blamed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import settings

import nkisim
from nkisim.execution.execute import execute

BF16 = np.dtype(ml_dtypes.bfloat16)
FP16 = np.dtype(np.float16)
FP32 = np.dtype(np.float32)
FLOATS = [FP32, BF16, FP16]


def covers(*names: str) -> Callable[[Any], Any]:
    """Marks the test that holds these instructions against a reference: each one of the machine
    needs such a test."""
    return lambda test: test


def few_examples(test: Any) -> Any:
    """For a property that each of many operators must have: half as many examples of each."""
    return settings(max_examples=settings().max_examples // 2)(test)


MARK = "# breaks"
"""A kernel's line that breaks a rule ends with this comment."""


class Result(NamedTuple):
    """What `on_tiles` saw of a tile."""

    values: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype
    space: str
    run: nkisim.Run


def on_tiles(body: Callable[..., Any], *arrays: np.ndarray, target: str | None = None) -> Result:
    """Load `arrays`, apply `body` to the tiles, store the tile it returns; the counts include loads
    and the store."""
    seen: list[tuple] = []

    @nki.jit
    def kernel(*inputs):
        tiles = [nl.load(x) for x in inputs]
        result = body(*tiles)
        seen.append((tuple(result.shape), result.dtype, str(result.buffer)))
        out = nl.ndarray(result.shape, dtype=result.dtype, buffer=nl.shared_hbm)
        nl.store(out, value=result)
        return out

    with nkisim.record(target=target) as run:
        values = kernel(*arrays)
    return Result(values, *seen[0], run)


def run_kernel(kernel: Any, *arrays: Any, **kwargs: Any) -> tuple[Any, nkisim.Run]:
    """The outputs of a kernel and the record of its run."""
    with nkisim.record() as run:
        outputs = nki.simulate_kernel(kernel, *arrays, **kwargs)
    return outputs, run


def refused(
    kernel: Any, *arrays: Any, rule: str | None = None, **kwargs: Any
) -> nkisim.KernelError:
    """The error of a kernel that must be refused, by `rule` if given."""
    with pytest.raises(nkisim.KernelError) as caught:
        nki.simulate_kernel(kernel, *arrays, **kwargs)
    if rule is not None:
        assert caught.value.rule == rule, f"refused by {caught.value.rule}:\n{caught.value}"
    return caught.value


def refused_on_tiles(
    body: Callable[..., Any],
    *arrays: np.ndarray,
    rule: str | None = None,
    target: str | None = None,
) -> nkisim.KernelError:
    """As `refused`, for a `body` as `on_tiles` takes it."""
    with pytest.raises(nkisim.KernelError) as caught:
        on_tiles(body, *arrays, target=target)
    if rule is not None:
        assert caught.value.rule == rule, f"refused by {caught.value.rule}:\n{caught.value}"
    return caught.value


def instruct(*args: Any, **kwargs: Any) -> Any:
    """`nkisim.execute.execute`, for instructions that no function of this dialect is (they take
    dst, srcs, attrs)."""
    return execute(*args, **kwargs)


def marked_line(function: Callable[..., Any]) -> int:
    """The line of `function` that ends with MARK."""
    lines, first = inspect.getsourcelines(inspect.unwrap(function))
    (found,) = [first + i for i, line in enumerate(lines) if line.rstrip().endswith(MARK)]
    return found


def values(
    shape: tuple[int, ...], dtype: Any = FP32, seed: int = 0, low: float = -2.0, high: float = 2.0
) -> np.ndarray:
    """Deterministic values, uniform in [low, high), of `dtype`."""
    drawn = np.random.default_rng([seed, *shape]).uniform(low, high, shape)
    return (
        np.rint(drawn).astype(dtype)
        if np.dtype(dtype).kind in "iub"
        else drawn.astype(np.float32).astype(dtype)
    )


def rounded(reference: np.ndarray, dtype: Any) -> np.ndarray:
    """A float64 reference as the engines leave it: to float32, then once more to `dtype`."""
    return np.asarray(reference, dtype=np.float64).astype(np.float32).astype(dtype)


def assert_same_bits(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal dtype, shape and bits (any NaN equals any NaN)."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got.astype(np.float64), expected.astype(np.float64))


def assert_close(got: np.ndarray, reference: np.ndarray, dtype: Any, ulps: float = 4.0) -> None:
    """`got` within a few units in the last place of `dtype` from a float64 `reference`, in its
    dtype and shape."""
    dtype = np.dtype(dtype)
    assert got.dtype == dtype
    assert got.shape == reference.shape
    eps = {FP32: 2.0**-23, BF16: 2.0**-7, FP16: 2.0**-10}[dtype]
    # one rounding, and a little for the float32 before it
    wide = 1 if dtype == FP32 else 0.55 / ulps
    scale = np.maximum(np.abs(reference), np.finfo(np.float16).tiny if dtype == FP16 else 1e-30)
    assert (
        np.abs(got.astype(np.float64) - reference) <= eps * ulps * wide * scale + 1e-37
    ).all(), (np.abs(got.astype(np.float64) - reference) / scale).max()
