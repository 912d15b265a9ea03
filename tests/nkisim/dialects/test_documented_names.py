"""Every public name and signature of both packages, against tables of the documentation's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[3] / "tools" / "api_check.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_check", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["api_check"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("release", [0, 1], ids=["neuronxcc.nki", "nki"])
def test_names_and_signatures_are_those_of_the_documentation(tool, release):
    assert tool.check(tool.RELEASES[release]) == []


def test_the_tables_have_the_names_of_the_stubs(tool):
    older, newer = (tool.stored(release) for release in tool.RELEASES)
    assert len(older) + len(newer) == 520
    assert older["neuronxcc.nki.language.add"] == "(x, y, *, dtype=None, mask=None, **kwargs)"
    assert newer["nki.isa.memset"] == "(dst, value, engine=unknown, name=None)"
    assert older["neuronxcc.nki.isa.engine.vector"] == " = 5"


def test_a_missing_name_another_parameter_and_a_name_too_many_are_told(tool):
    documented = {"p.f": "(a, b=None)", "p.g": "()", "p.c": "", "p.d": "(a=...)"}
    found = {"p.f": "(a)", "p.c": "(x)", "p.h": "(y)", "p.d": "(a=3)"}
    assert tool.differences(documented, found) == {
        "p.f": "documented (a, b=None), here (a)",
        "p.g": "missing",
        "p.h": "not documented: (y)",
    }


def test_a_stub_is_read_without_its_annotations_and_imports(tool):
    import ast

    text = """
from other import hidden
class _Kind:
    wide: int
kind: _Kind = ...
def f(x: int, *, op=np.add, n: int = 3) -> int: ...
class mode(Enum):
    skip = 1
class Thing:
    def method(self, a, b=None): ...
    @property
    def size(self): ...
"""
    assert dict(tool._of_stub("p", ast.parse(text))) == {
        "p.kind": "",
        "p.kind.wide": "",
        "p.f": "(x, *, op=add, n=3)",
        "p.mode": "",
        "p.mode.skip": " = 1",
        "p.Thing": "",
        "p.Thing.method": "(a, b=None)",
        "p.Thing.size": "",
    }
