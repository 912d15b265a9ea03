"""`neuronxcc.nki.isa.constants` on the simulator: the enumerations that instructions take."""

from nkisim.dialects.neuronxcc.isa import dge_mode, engine, oob_mode, reduce_cmd
