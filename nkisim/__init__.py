"""nkisim: an open, strict, observable CPU simulator of the Neuron Kernel Interface (NKI).

Importing it serves the names `neuronxcc` (NKI 0.1) and `nki` (NKI 0.6) with their submodules where
AWS's packages are not installed. Nothing here has run on a Neuron device.

    import nkisim
    import neuronxcc.nki as nki

    with nkisim.record() as run:
        out = kernel(q, k, v)  # decorated with @nki.jit, called with NumPy arrays
    print(run.summary())

(PYTEST_DONT_REWRITE: the pytest plugin imports this package before pytest could rewrite its
assertions.)
"""

from __future__ import annotations

from . import fallback
from .machine.config import Config
from .machine.shapes import ShapeOnly, shape
from .machine.target import TARGETS, Target
from .program.decode import ProgramFileError
from .program.instruction import Instruction, Operand
from .program.run import Peak
from .record import Program, Run, load, lower, record
from .rules import RULES
from .rules.errors import KernelError, RuleWarning, SimulatorError

__all__ = [
    "RULES",
    "TARGETS",
    "Config",
    "Instruction",
    "KernelError",
    "Operand",
    "Peak",
    "Program",
    "ProgramFileError",
    "RuleWarning",
    "Run",
    "ShapeOnly",
    "SimulatorError",
    "Target",
    "fallback",
    "load",
    "lower",
    "record",
    "shape",
]

fallback.install()


def __getattr__(name: str) -> str:
    """`__version__`, which is written in pyproject.toml alone."""
    if name != "__version__":
        raise AttributeError(f"module 'nkisim' has no attribute {name!r}")
    from importlib import metadata  # slow to import, and few ask

    try:
        return metadata.version("nki-decode-tutorial")
    except metadata.PackageNotFoundError:
        return "0+unknown"  # a copy of the files that was never installed
