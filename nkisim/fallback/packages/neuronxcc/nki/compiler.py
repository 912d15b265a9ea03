"""`neuronxcc.nki.compiler` on the simulator: allocation and scheduling directives."""

from nkisim.dialects.neuronxcc.compiler import *
