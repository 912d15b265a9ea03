"""`neuronxcc.nki.isa` on the simulator: the instructions (`nisa`)."""

from neuronxcc.nki.isa import constants

from nkisim.dialects.neuronxcc.isa import *
from nkisim.dialects.neuronxcc.isa import __getattr__  # type: ignore[attr-defined]
