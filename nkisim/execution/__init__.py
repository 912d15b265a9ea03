"""A kernel while it runs: scopes, what was written and by whom, instructions, launch, cores."""
