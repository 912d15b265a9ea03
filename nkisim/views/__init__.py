"""Drawings of a run: text, matplotlib figures, a self-contained page, a trace file.

A view knows what ran (`Run`) and, where it shows time, a model's schedule of it (`Timeline`);
neither knows the views, but for the methods that hand themselves over. Nothing here is computed
twice: what is counted is counted in `reading`. matplotlib is imported only by the functions that
draw with it.
"""
