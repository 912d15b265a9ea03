"""nl functions that draw random numbers or gather.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (rand, random_seed, dropout, gather_flattened).
"""

from __future__ import annotations

__all__: list[str] = []
