"""Views by patterns of named axes: ("p", ("a", "b")) -> ("p", "b", "a").

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (NkiTensor.rearrange).
"""

from __future__ import annotations

from typing import Any

from ..rules import arguments
from ..rules.errors import broken, shown
from .reshaping import merge, split
from .strided import permute
from .tensor import Tensor


def _names(pattern: Any, what: str) -> list[Any]:
    """A pattern of names: each a text, or a tuple of texts for axes that are one."""
    if isinstance(pattern, (list, tuple)) and all(
        isinstance(item, str)
        or (isinstance(item, (list, tuple)) and all(isinstance(name, str) for name in item))
        for item in pattern
    ):
        return list(pattern)
    broken(
        "argument",
        f"rearrange: {what} is not a pattern of names",
        got=shown(pattern),
        limit="names and tuples of names, e.g. ('b', ('h', 'w'))",
    )
    raise AssertionError


def _known_sizes(sizes: Any) -> dict[str, int]:
    """The sizes of the axes that are given."""
    if sizes is None:
        return {}
    if not isinstance(sizes, dict):
        broken(
            "argument",
            "rearrange: fixed_sizes is not a dictionary",
            got=shown(sizes),
            limit="{name: size}",
        )
    found = {}
    for name, size in sizes.items():
        if size is not None:
            found[name] = arguments.integer(size, "rearrange", f"the size of {name!r}", least=1)
    return found


def rearrange(t: Tensor, source: Any, target: Any, sizes: dict[str, int] | None = None) -> Tensor:
    """Axes split, reordered and merged by name: ('b', ('h', 'w')) -> ('b', 'w', 'h')."""
    source, target = _names(source, "src_pattern"), _names(target, "dst_pattern")
    known = _known_sizes(sizes)
    if len(source) != t.ndim:
        broken(
            "view-shape",
            f"rearrange: the pattern {source!r} names {len(source)} axes, '{t.label}' has {t.ndim}",
            tensor=t.label,
            got=t.shape,
        )
    names: list[str] = []
    view = t
    for item, n in zip(source, t.shape):
        group = (item,) if isinstance(item, str) else tuple(item)
        wanted = tuple(known.get(name, -1) for name in group)
        if wanted.count(-1) > 1:
            broken(
                "view-shape",
                "rearrange: the sizes of "
                f"{[g for g, w in zip(group, wanted) if w == -1]} are not given",
                tensor=t.label,
                got=f"{n} elements for {group}",
                remedy="Pass fixed_sizes={name: size}.",
            )
        at = len(names)
        if len(group) > 1:
            view = split(view, at, wanted)
        elif wanted[0] not in (-1, n):
            broken(
                "view-shape",
                f"rearrange: '{group[0]}' is {n}, not {wanted[0]}",
                tensor=t.label,
                got=t.shape,
            )
        names += group
    flat = [name for item in target for name in ((item,) if isinstance(item, str) else item)]
    if sorted(flat) != sorted(names) or len(set(names)) != len(names):
        broken(
            "view-shape",
            f"rearrange: {target!r} does not name the axes of {source!r}",
            tensor=t.label,
            got=sorted(flat),
            limit=sorted(names),
        )
    view = permute(view, [names.index(name) for name in flat])
    at = 0
    for item in target:
        if not isinstance(item, str) and len(item) > 1:
            view = merge(view, at, at + len(item) - 1)
        at += 1  # noqa: SIM113
    return view
