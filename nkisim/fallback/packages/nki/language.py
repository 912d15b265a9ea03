"""`nki.language` on the simulator: the tensor language (`nl`)."""

from nkisim.dialects.nki.language import *
from nkisim.dialects.nki.language import __getattr__  # type: ignore[attr-defined]
