"""From wrong values to a sentence."""
