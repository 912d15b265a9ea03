"""`nki.typing` on the simulator: types for kernel signatures."""

from nkisim.dialects.nki.typing import *
