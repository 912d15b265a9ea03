"""The model of time: a schedule of a run's records on engines and DMA queues. Modelled, never
measured."""

from .report import Roofline, Step, Timeline
from .state import REASONS
from .timing import TIMINGS, Timing

__all__ = ["REASONS", "TIMINGS", "Roofline", "Step", "Timeline", "Timing"]
