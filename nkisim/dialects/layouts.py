"""Layouts of on-chip tensors by what a kernel asked for: nothing is read or checked twice."""

from __future__ import annotations

from typing import Any

from ..execution.execution import Execution
from ..machine.memory import Meta

_INTEGERS = {int}


def known(execution: Execution, shape: Any, dtype: Any, in_psum: bool) -> Meta | None:
    """The layout that the same arguments gave before; None if there was none.

    Equal is not the same: a size of True or 2.0 is refused where 1 or 2 is not, so that only tuples
    of plain integers are looked for.
    """
    if type(shape) is not tuple:
        return None
    for n in shape:
        if type(n) is not int:
            return None
    try:
        return execution.like.get((shape, dtype, in_psum))
    except TypeError:  # what cannot be a key cannot be a data type either
        return None


def remember(execution: Execution, shape: Any, dtype: Any, in_psum: bool, layout: Meta) -> None:
    """Note the layout that these arguments gave, without a warning."""
    if type(shape) is tuple and {*map(type, shape)} == _INTEGERS:
        execution.like[shape, dtype, in_psum] = layout
