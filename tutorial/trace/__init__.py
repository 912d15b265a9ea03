"""m, l and acc of the reader's own kernel, tile by tile."""
