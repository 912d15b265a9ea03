"""m, l and acc of the reader's own kernel, tile by tile."""

from .rows import TraceError
from .trace import Trace, trace

__all__ = ["Trace", "TraceError", "trace"]
