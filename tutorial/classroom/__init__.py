"""A class: hand out, collect, grade, give back."""
