"""What is refused, and on whose word: the rules, the errors they raise, calls that do not fit, and
the kernel's own lines."""

from . import nki_rules  # noqa: F401  (defines the rules of that dialect)
from .rules import RULES, Rule

__all__ = ["RULES", "Rule"]
