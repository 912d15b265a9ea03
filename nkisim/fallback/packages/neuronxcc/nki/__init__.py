"""`neuronxcc.nki` on the simulator: `jit`, `simulate_kernel` and the rest of the top level, with
all submodules."""

from neuronxcc.nki import compiler, isa, language, typing

from nkisim.dialects.neuronxcc.nki import *
