"""The course as a library: one module per stage, and what the notebooks call.

    from tutorial import check, trace
    check(3, decode_attention_fwd)      # an outcome, one sentence, the counters
    trace(3, decode_attention_fwd)      # how m, l and acc move, tile by tile
    picture(3, decode_attention_fwd)    # what it reads, and every instruction with its tile
    tally(3, decode_attention_fwd)      # bytes and instructions counted, time modelled
    compare(9, old_kernel, new_kernel)  # two kernels, instruction by instruction
    signature("nisa.iota")              # how a function of NKI is called

Importing this package makes `import neuronxcc.nki` work where no real SDK is installed.
"""

import sys as _sys

import nkisim as _nkisim  # noqa: F401  (switches the import fallback on)

# The room `stages` shares its name with a function of this package. Once imported, a room does not
# take the name back.
from . import stages as _stages_room  # noqa: F401  isort: skip

from .check import check
from .cost import ladder as _ladder
from .cost import paging
from .cost.compare import Comparison, compare
from .cost.ladder import ladder, measure
from .cost.tally import Tally, tally
from .inputs import realdata
from .running import precision
from .running.worked import solution, solution_text
from .stage import InputError, Stage, StageError, get, stages
from .trace.picture import picture
from .trace.rows import TraceError
from .trace.scores import EditableScores
from .trace.trace import Trace, trace
from .verdict import CheckFailed, Verdict
from .workspace import lesson as _lesson
from .workspace.lesson import broken, excerpt, instructions, last_kernel, predict
from .workspace.signatures import signature
from .writing import charmodel, decode, smollm2
from .writing.decode import generate, reference

__all__ = [
    "CheckFailed",
    "Comparison",
    "EditableScores",
    "InputError",
    "Stage",
    "StageError",
    "Tally",
    "Trace",
    "TraceError",
    "Verdict",
    "broken",
    "charmodel",
    "check",
    "compare",
    "decode",
    "excerpt",
    "generate",
    "get",
    "instructions",
    "ladder",
    "last_kernel",
    "measure",
    "paging",
    "picture",
    "precision",
    "predict",
    "realdata",
    "reference",
    "signature",
    "smollm2",
    "solution",
    "solution_text",
    "stages",
    "tally",
    "trace",
]

# The paths that these modules had in version 0.3, for one release.
_MOVED = {
    "charmodel": charmodel,
    "decode": decode,
    "ladder": _ladder,
    "lesson": _lesson,
    "paging": paging,
    "precision": precision,
    "realdata": realdata,
    "smollm2": smollm2,
}
_sys.modules.update({f"{__name__}.{name}": module for name, module in _MOVED.items()})
