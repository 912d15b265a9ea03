"""Stage 10: language models, their caches, the loop that writes text."""
