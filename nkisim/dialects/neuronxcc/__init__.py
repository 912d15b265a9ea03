"""NKI 0.1: the names and signatures of `neuronxcc.nki` (Neuron 2.26), over the shared
instructions."""

import logging

# The real package adds this level to the standard library, and kernels pass it on:
# enable_stack_allocator(log_level=...).
if not hasattr(logging, "OFF"):
    logging.OFF = logging.CRITICAL + 10  # type: ignore[attr-defined]
