"""`nki.collectives` on the simulator: the names, which say that one core cannot serve them."""

from nkisim.dialects.nki.collectives import *
