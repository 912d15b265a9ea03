"""What is refused, and on whose word: the rules, the errors they raise, calls that do not fit, and
the kernel's own lines."""

from .rules import RULES, Rule

__all__ = ["RULES", "Rule"]
