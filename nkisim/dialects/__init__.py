"""Dialects: the names and signatures under which the instructions are offered to kernels."""
