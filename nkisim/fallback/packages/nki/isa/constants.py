"""`nki.isa.constants` on the simulator: the enumerations that instructions take."""

from nkisim.dialects.nki.enums import *
