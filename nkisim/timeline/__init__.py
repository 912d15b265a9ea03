"""The model of time: a schedule of a run's records on engines and DMA queues. Modelled, never
measured."""

from .report import Timeline
from .results import Roofline, Step
from .state import REASONS
from .timing import TIMINGS, Timing

__all__ = ["REASONS", "TIMINGS", "Roofline", "Step", "Timeline", "Timing"]
