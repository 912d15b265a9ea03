"""Load a kernel's file, run it on a case, say what went wrong."""
