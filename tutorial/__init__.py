"""The course as a library: one module a stage, and what the notebooks call.

    from tutorial import check, trace
    check(3, decode_attention_fwd)      # an outcome, one sentence, the counters
    trace(3, decode_attention_fwd)      # how m, l and acc move, tile by tile
    tally(3, decode_attention_fwd)      # bytes and instructions counted, time modelled
    compare(9, old_kernel, new_kernel)  # two kernels, instruction by instruction

Importing this package makes `import neuronxcc.nki` work where no real SDK is installed.
"""

import nkisim as _nkisim  # noqa: F401  (switches the import fallback on)

# Two rooms share their name with a function of this package. Once imported, a room does not take
# its name back.
from . import stages as _stages_room, trace as _trace_room  # noqa: F401  isort: skip

from .check import check
from .cost.compare import Comparison, compare
from .cost.tally import Tally, tally
from .lesson import broken, excerpt, instructions, predict, solution, solution_text
from .stage import InputError, Stage, StageError, get, stages
from .trace.trace import Trace, TraceError, trace
from .verdict import CheckFailed, Verdict
from .writing.decode import generate, reference

__all__ = [
    "CheckFailed",
    "Comparison",
    "InputError",
    "Stage",
    "StageError",
    "Tally",
    "Trace",
    "TraceError",
    "Verdict",
    "broken",
    "check",
    "compare",
    "excerpt",
    "generate",
    "get",
    "instructions",
    "predict",
    "reference",
    "solution",
    "solution_text",
    "stages",
    "tally",
    "trace",
]
