"""NKI 0.3 to 0.6: the names and signatures of `nki` (Neuron 2.29 to 2.32), over the shared
instructions."""
