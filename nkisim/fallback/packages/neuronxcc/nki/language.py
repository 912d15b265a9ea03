"""`neuronxcc.nki.language` on the simulator: the tensor language (`nl`)."""

from nkisim.dialects.neuronxcc.language import *
from nkisim.dialects.neuronxcc.language import __getattr__  # type: ignore[attr-defined]
