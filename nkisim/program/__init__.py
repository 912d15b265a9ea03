"""What a kernel did: instructions, bytes, memory and values."""
