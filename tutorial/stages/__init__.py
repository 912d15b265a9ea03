"""One module for each stage, found by its file name."""
