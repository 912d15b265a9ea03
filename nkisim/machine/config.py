"""Every choice of fidelity in one frozen record, each with its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..rules import RULES
from . import dtypes
from . import target as _target


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a kernel is simulated."""

    target: _target.Target = _target.DEFAULT
    """The NeuronCore imitated. Environment: NEURON_PLATFORM_TARGET_OVERRIDE ("trn1", "inf2",
    "trn2", "trn3")."""
    precise_fp: bool = True
    """True: bf16, fp16 and fp8 tiles are stored in, and rounded to, their own type. False: stored
    as float32, never rounded, to tell an algorithm's error from its rounding. Environment:
    NKI_PRECISE_FP ("1" or "0")."""
    warn: Mapping[str, bool] = field(default_factory=dict)
    """Rule ids whose breach is a warning instead of an error, e.g. {"sbuf-capacity": True}. Only
    rules without which something sensible is left to simulate: `RULES[id].warnable`. ValueError for
    any other."""
    print_to_stdout: bool = True
    """Whether nl.device_print prints. Inside `nkisim.record()` it does not: there `run.prints`
    captures the values."""
    most_instructions: int = 10**9
    """How many instructions may run: inside one `nkisim.record()`, or in one call outside. A kernel
    that issues more, since a loop of it does not end, is refused."""

    def __post_init__(self) -> None:
        if not isinstance(self.warn, Mapping):
            raise TypeError(f"warn is {self.warn!r}, not a dictionary such as {{'scope': True}}")
        for rule in self.warn:
            if rule not in RULES:
                raise ValueError(f"no rule has the id '{rule}'; nkisim.RULES has them all")
            if not RULES[rule].warnable:
                allowed = ", ".join(r for r in RULES if RULES[r].warnable)
                raise ValueError(
                    f"the rule '{rule}' cannot be a warning: without it there is nothing sensible "
                    f"to simulate; these can: {allowed}"
                )

    def storage(self, dtype: np.dtype) -> np.dtype:
        """The NumPy dtype of the arrays that hold `dtype`."""
        if not self.precise_fp and dtypes.is_float(dtype):
            return dtypes.FLOAT32
        return dtypes.storage(dtype)

    def cast(self, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """`values` rounded to `dtype` as stored here."""
        if not self.precise_fp and dtypes.is_float(dtype):
            return dtypes.to_fp32(values)
        return dtypes.cast(values, dtype)

    @staticmethod
    def from_environment() -> Config:
        """The defaults, with the official environment variables honoured."""
        name = os.environ.get("NEURON_PLATFORM_TARGET_OVERRIDE") or None
        precise = os.environ.get("NKI_PRECISE_FP", "1").strip() not in ("0", "false", "False")
        return Config(target=_target.get(name), precise_fp=precise)
