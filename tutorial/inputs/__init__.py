"""Input families, seeds, and the stored real data."""
