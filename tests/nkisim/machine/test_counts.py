"""Counts are right where NumPy's own integers are 32 bits wide, as they are in a browser."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import nkisim
from nkisim.machine.counts import size_of, sums_by

PACKAGES = Path(nkisim.__file__).resolve().parents[1]
ONLY_HERE = PACKAGES / "nkisim" / "machine" / "counts.py"
AS_WIDE_AS_A_POINTER = {"bincount", "prod", "int_", "uint"}
"""Names of NumPy that take or give integers of the width of a pointer."""


def uses_of_pointer_wide_integers(text: str) -> list[str]:
    """The places where a text uses one of them, or says `int` for a data type."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and node.attr in AS_WIDE_AS_A_POINTER:
            if isinstance(node.value, ast.Name) and node.value.id == "np":
                found.append(f"line {node.lineno}: np.{node.attr}")
        if isinstance(node, ast.keyword) and node.arg == "dtype":
            if isinstance(node.value, ast.Name) and node.value.id == "int":
                found.append(f"line {node.value.lineno}: dtype=int")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            if node.func.attr == "astype" and isinstance(first, ast.Name) and first.id == "int":
                found.append(f"line {node.lineno}: astype(int)")
    return found


@pytest.mark.parametrize("package", ["nkisim", "tutorial"])
def test_no_file_uses_integers_that_are_narrower_in_a_browser(package: str) -> None:
    found = {
        path.relative_to(PACKAGES).as_posix(): lines
        for path in (PACKAGES / package).rglob("*.py")
        if path != ONLY_HERE
        and "material" not in path.parts
        and (lines := uses_of_pointer_wide_integers(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["np.bincount(a)", "n = int(np.prod(shape))", "np.zeros(3, dtype=int)", "a.astype(int)"],
)
def test_the_rule_finds_what_it_is_for(text: str) -> None:
    assert len(uses_of_pointer_wide_integers(text)) == 1


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64, np.uint8])
def test_weights_are_summed_by_index_whatever_the_width_of_the_index(kind: type) -> None:
    index = np.array([0, 2, 2], kind)
    weights = np.array([2**40, 1, 2], np.int64)
    assert sums_by(index, weights, 4).tolist() == [2.0**40, 0.0, 3.0, 0.0]
    assert sums_by(index).tolist() == [1, 0, 2]


def test_the_size_of_a_shape_does_not_overflow() -> None:
    assert size_of((128, np.int32(2**20), 2**10)) == 2**37
    assert size_of(()) == 1
