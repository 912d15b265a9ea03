"""Views on buffers: slices, index grids, masks, access patterns and their bounds."""
