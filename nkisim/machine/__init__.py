"""The machine under a kernel: data types, targets, configuration, memories, what is known of each element, which kernel runs."""
