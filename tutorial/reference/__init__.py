"""What attention is, in float64, and what a kernel with a known mistake would answer."""
