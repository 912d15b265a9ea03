"""What is read off a timeline: a step of its critical path, and where it stands under its roofs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CriticalStep:
    """One instruction of the critical path."""

    index: int
    """Position in `run.instructions`."""
    engine: str
    op: str
    line: int
    source: str
    start_ns: float
    end_ns: float
    reason: str
    """Why it did not start earlier; one of `REASONS`."""
    since_ns: float
    """When the path came to it: `start_ns`, or when the loading of its activation table or
    stationary operand began."""
    on_path_ns: float
    """How much of the path's time is its own: from `since_ns` until the path came to the next step,
    or to its end."""


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Where the kernel stands between memory and arithmetic."""

    flops: float
    """Multiplications and additions of its matmuls; transposes are not counted."""
    hbm_bytes: int
    """Bytes read from and written to HBM."""
    intensity: float
    """flops per HBM byte; 0 where nothing is moved."""
    achieved_flops: float
    """flop/s over the modelled latency without launch overhead."""
    achieved_bandwidth: float
    """HBM bytes/s over the same time."""
    peak_flops: float
    """flop/s of TensorE in bf16."""
    peak_bandwidth: float
    """The core's share of HBM bandwidth, bytes/s."""
    achievable_bandwidth: float
    """What the DMA engines of a core reach together, bytes/s."""

    matmul_us: float
    """What the matmuls take at TensorE's peak in their own data types."""

    @property
    def knee(self) -> float:
        """flop per byte at which arithmetic begins to limit, at the achievable bandwidth."""
        return self.peak_flops / self.achievable_bandwidth

    @property
    def bound_us(self) -> float:
        """The least time that matmuls and bytes allow."""
        return max(self.matmul_us, self.hbm_bytes / self.achievable_bandwidth * 1e6)
