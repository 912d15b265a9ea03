"""`nki.isa` on the simulator: the instructions (`nisa`)."""

from nki.isa import constants

from nkisim.dialects.nki.isa import *
from nkisim.dialects.nki.isa import __getattr__  # type: ignore[attr-defined]
