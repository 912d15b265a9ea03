"""NKI 0.1: the names and signatures of `neuronxcc.nki` (Neuron 2.26), over the shared instructions."""
