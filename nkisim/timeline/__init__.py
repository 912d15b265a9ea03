"""The model of time: a schedule of a run's records on engines and DMA queues. Modelled, never
measured."""

from .report import Timeline
from .results import CriticalStep, Roofline
from .state import REASONS
from .timing import TIMINGS, Timing

__all__ = ["REASONS", "TIMINGS", "CriticalStep", "Roofline", "Timeline", "Timing"]

Step = CriticalStep  # its name in version 0.3, for one release
