"""An import points down: at the top of a file, under TYPE_CHECKING and inside a function."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROOMS = {
    "nkisim": [
        "fallback",
        "rules",
        "machine",
        "tensors",
        "isa",
        "execution",
        "dialects",
        "program",
        "timeline",
        "views",
        "record",
        "__init__",
        "__main__",
        "pytest_plugin",
    ],
    "tutorial": [
        "reference",
        "pictures",
        "verdict",
        "stage",
        "inputs",
        "running",
        "trace",
        "mistakes",
        "diagnosis",
        "cost",
        "writing",
        "stages",
        "workspace",
        "check",
        "classroom",
        "__init__",
        "__main__",
    ],
}
"""The rooms of each package, the lowest first."""

MOST = 16  # rooms at the top of a package


def modules(package: str) -> dict[str, Path]:
    """Every module of a package by its dotted name, but for those that stand in for the SDK's."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[:3] in (("nkisim", "fallback", "packages"), ("nkisim", "fallback", "children")):
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """The imports of a file, wherever they stand in it."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """The line and the name of every module of the same package that a file imports."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in known)
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                for target in (".".join([*base, alias.name]), ".".join(base)):
                    if target in known:
                        yield node.lineno, target
                        break


def room(name: str) -> str:
    """The room at the top of its package that a module belongs to."""
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.smoke
@pytest.mark.parametrize("package", ROOMS)
def test_no_import_points_up(package: str) -> None:
    known, level = modules(package), {name: i for i, name in enumerate(ROOMS[package])}
    up = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in known.items()
        for line, target in imports(name, path, known)
        if level[room(target)] > level[room(name)]
    ]
    assert not up, "\n".join(up)


@pytest.mark.smoke
@pytest.mark.parametrize("package", ROOMS)
def test_no_imports_go_round_in_a_circle(package: str) -> None:
    known = modules(package)
    graph = {
        name: {target for _, target in imports(name, path, known)} - {name}
        for name, path in known.items()
    }
    while leaves := [name for name, targets in graph.items() if not targets]:
        for name in leaves:
            del graph[name]
        for targets in graph.values():
            targets.difference_update(leaves)
    assert not graph, f"in a circle, or above one: {sorted(graph)}"


def test_nothing_imports_a_stage_so_that_a_class_can_be_given_any_of_them() -> None:
    known = modules("tutorial")
    assert [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in known.items()
        for line, target in imports(name, path, known)
        if re.fullmatch(r"tutorial\.stages\.stage\d+_\w+", target)
    ] == []


@pytest.mark.parametrize("package", ROOMS)
def test_the_rooms_are_those_that_are_there(package: str) -> None:
    there = {room(name) for name in modules(package)}
    assert there == set(ROOMS[package])
    inside = [path for path in (ROOT / package).iterdir() if path.name != "__pycache__"]
    rooms = [p for p in inside if p.is_dir() or (p.suffix == ".py" and p.stem[:2] != "__")]
    assert len(rooms) <= MOST


def test_notebooks_import_from_the_top_of_the_packages_alone() -> None:
    text = "".join(p.read_text(encoding="utf-8") for p in sorted(ROOT.glob("notebooks/*.ipynb")))
    assert "from tutorial." not in text and "from nkisim." not in text
    assert "import tutorial." not in text and "import nkisim." not in text
