"""Kernels with what they compute, collected as the cases of tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


class Cases(list):
    """Cases of (kernel, expected, inputs, tolerance); calling it gives a decorator for a kernel."""

    def __call__(
        self, expected: Callable[..., np.ndarray], *inputs: Any, tolerance: float = 1e-5
    ) -> Callable[[Callable], Callable]:
        """A kernel, what it computes, and on what."""

        def add(kernel: Callable) -> Callable:
            name = getattr(kernel, "__name__", "kernel")
            self.append(pytest.param(kernel, expected, inputs, tolerance, id=name))
            return kernel

        return add
