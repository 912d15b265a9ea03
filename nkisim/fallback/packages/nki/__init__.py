"""`nki` on the simulator: `jit`, `simulate` and the rest of the top level, with all submodules."""

from nki import collectives, isa, language, typing

from nkisim.dialects.nki.nki import *

__version__ = "0.0+nkisim"
