"""A timeline in plain sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report import Timeline

_NAMES = {"tensor": "TensorE", "vector": "VectorE", "scalar": "ScalarE", "gpsimd": "GpSimdE", "dma": "the DMA engines"}


def explanation(t: Timeline) -> str:
    """The sentences of `Timeline.explain`."""
    if not len(t):
        return f"The model of time has nothing to place: no instruction ran. 0 us on {t.target.name}."
    shares = t.path_shares()
    r = t.roofline
    busy = t.utilisation()
    parts = [f"By the model, the run takes {t.latency_us:.2f} us on {t.target.name}.",
             "Its critical path passes " + ", ".join(f"{100 * v:.0f} % in {_NAMES[k]}" for k, v in shares.items()) + ".",
             f"{_NAMES[t.bound][0].upper() + _NAMES[t.bound][1:]} {'are' if t.bound == 'dma' else 'is'} busy "
             f"{100 * busy[t.bound]:.0f} % of the time.",
             f"{r.hbm_bytes} HBM bytes alone would take {r.hbm_bytes / r.achievable_bandwidth * 1e6:.2f} us at the model's "
             f"achievable {r.achievable_bandwidth / 1e9:.0f} GB/s."]
    return " ".join(parts)
