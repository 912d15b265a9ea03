"""Stand-in for the compiler package of the AWS Neuron SDK, for machines that do not have it.

Only `neuronxcc.nki` is here, and it runs kernels on the simulator `nkisim`.
"""

__version__ = "0.0+nkisim"
