"""The machine under a kernel: data types, targets, memories, what is known of elements."""
