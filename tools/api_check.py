"""Compare the names and signatures of the simulator's NKI with those that the documentation gives,
and with the real SDK.

usage: python tools/api_check.py                    the simulator against the stored tables
       python tools/api_check.py --real             the installed SDK against both
       python tools/api_check.py --make CHECKOUT    the tables again, from a clone of aws-neuron-sdk
       python tools/api_check.py --dump PACKAGE     the table of an importable package

A table has one line per name: a function with its parameters and their defaults, a member of an
enumeration with its value, or the bare name of a constant, a class or a property. The stored tables
were made from the stubs of the documentation, `general/nki/api/nki` at tag v2.26.0 and
`nki/api/nki` at tag v2.32.0. Where the simulator differs on purpose,
`tools/data/api_differences.toml` says why. The exit status is 0 if nothing else differs.
"""

from __future__ import annotations

import argparse
import ast
import enum
import importlib
import inspect
import os
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parent / "data"
REASONS = DATA / "api_differences.toml"


class Release(NamedTuple):
    """One dialect as a release documents it."""

    package: str
    tag: str
    folder: str
    """Where the checkout has the stubs."""
    modules: tuple[str, ...]
    """What is imported of the package, beside itself."""

    @property
    def table(self) -> Path:
        """The stored table."""
        return DATA / f"api_{self.tag}.txt"


RELEASES = (
    Release(
        "neuronxcc.nki",
        "v2.26.0",
        "general/nki/api/nki",
        ("language", "isa", "compiler", "compiler.sbuf", "compiler.psum"),
    ),
    Release("nki", "v2.32.0", "nki/api/nki", ("language", "isa", "collectives")),
)

Table = dict[str, str]
"""Dotted name -> what follows it on its line: "(x, y, *, dtype=None)", " = 3", or nothing."""


# -- from stubs ------------------------------------------------------------------------------------
def _default(node: ast.expr) -> str:
    """A default as a table spells it: literals as they are, of other things the last name."""
    try:
        return repr(ast.literal_eval(node)).replace("Ellipsis", "...")
    except ValueError:
        return ast.unparse(node).rpartition(".")[2]


def _parameters(node: ast.FunctionDef, bound: bool) -> str:
    """The parameters of a stub function, without annotations; `bound`: without self."""
    args = node.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + [_default(d) for d in args.defaults]
    parts = [a.arg + (f"={d}" if d is not None else "") for a, d in zip(plain, defaults)]
    if args.vararg is not None:
        parts.append(f"*{args.vararg.arg}")
    elif args.kwonlyargs:
        parts.append("*")
    for a, default in zip(args.kwonlyargs, args.kw_defaults):
        parts.append(a.arg + (f"={_default(default)}" if default is not None else ""))
    if args.kwarg is not None:
        parts.append(f"**{args.kwarg.arg}")
    return "(" + ", ".join(parts[1:] if bound else parts) + ")"


def _decorators(node: ast.FunctionDef) -> set[str]:
    return {ast.unparse(d) for d in node.decorator_list}


def _of_class(name: str, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    yield name, ""
    is_enum = any("Enum" in ast.unparse(base) for base in node.bases)
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            what = "" if "property" in _decorators(item) else _parameters(item, True)
            yield f"{name}.{item.name}", what
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            value = f" = {_default(item.value)}" if is_enum else ""
            yield f"{name}.{item.targets[0].id}", value
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield f"{name}.{item.target.id}", ""


def _of_stub(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The public names of a stub. What it imports for annotations is not one of them."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found = iter([(node.name, _parameters(node, False))])
        elif isinstance(node, ast.ClassDef):
            found = _of_class(node.name, node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found = iter([(node.targets[0].id, "")])
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = iter([(node.target.id, "")])
            kind = classes.get(ast.unparse(node.annotation))
            if kind is not None and kind.name.startswith("_"):  # the one object of its class
                found = _of_class(node.target.id, kind)
        else:
            continue
        yield from ((f"{module}.{name}", what) for name, what in found if not name.startswith("_"))


def from_stubs(release: Release, checkout: Path) -> Table:
    """The table of a release, read from the checkout's tag with git."""
    listed = _git(checkout, "ls-tree", "-r", "--name-only", release.tag, release.folder)
    table: Table = {}
    for path in listed.splitlines():
        if not path.endswith(".py"):
            continue
        inside = path.removeprefix(release.folder + "/").removesuffix(".py")
        parts = [release.package, *inside.removesuffix("__init__").strip("/").split("/")]
        text = _git(checkout, "show", f"{release.tag}:{path}")
        table.update(_of_stub(".".join(p for p in parts if p), ast.parse(text)))
    return table


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    return done.stdout


# -- from what can be imported ---------------------------------------------------------------------
def _live_default(value: Any) -> str:
    named = getattr(value, "__name__", None) or getattr(value, "name", None)
    if named is not None or value is None:
        return str(named)
    return repr(value) if type(value).__module__ == "builtins" else str(value)


def _live_parameters(function: Any) -> str:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    parts: list[str] = []
    star = False
    for p in found:
        if p.kind is p.VAR_POSITIONAL:
            star = True
        if p.kind is p.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        prefix = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f"={_live_default(p.default)}"
        parts.append(f"{prefix}{p.name}{default}")
    return "(" + ", ".join(parts) + ")"


def _of_live_class(name: str, cls: type) -> Iterator[tuple[str, str]]:
    """A class and its public members."""
    if issubclass(cls, enum.Enum):
        yield name, ""
        yield from ((f"{name}.{m.name}", f" = {m.value!r}") for m in cls)
        return
    yield name, _live_parameters(cls)
    yield from ((f"{name}.{key}", what) for key, what in _members(cls, None))


def _of_live(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """What `name` stands for, and its members where it is a class or an object of a class of the
    package."""
    kind = value if isinstance(value, type) else type(value)
    foreign = kind.__module__.partition(".")[0] in ("numpy", "builtins", "ml_dtypes")
    if isinstance(value, types.FunctionType):
        yield name, _live_parameters(value)
    elif foreign or isinstance(value, (str, int, float, enum.Enum)):
        yield name, ""
    elif isinstance(value, type):
        yield from _of_live_class(name, value)
    else:
        yield name, _live_parameters(value) if callable(value) else ""
        yield from ((f"{name}.{key}", what) for key, what in _members(kind, value))


def _members(cls: type, instance: Any) -> Iterator[tuple[str, str]]:
    """The public methods, properties and constants of a class, as an instance (if there is one) has
    them."""
    for key in dir(cls):
        owner = next((c for c in cls.__mro__ if key in c.__dict__), cls)
        if key.startswith("_") or owner.__module__ == "builtins":
            continue
        static = inspect.getattr_static(cls, key)
        if isinstance(static, types.FunctionType) and instance is not None:
            yield key, _live_parameters(getattr(instance, key))
        elif isinstance(static, types.FunctionType):
            _first, *rest = _live_parameters(static)[1:-1].split(", ")
            yield key, "(" + ", ".join(rest) + ")"
        else:
            yield key, ""


def from_package(release: Release) -> Table:
    """The table of the package as this Python imports it."""
    table: Table = {}
    for name in ("", *release.modules):
        dotted = ".".join(p for p in (release.package, name) if p)
        try:
            module = importlib.import_module(dotted)
        except ImportError:
            continue
        public = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
        for key in public:
            value = getattr(module, key, None)
            if not isinstance(value, types.ModuleType):
                table.update(_of_live(f"{dotted}.{key}", value))
    return table


def dumped(release: Release, real: bool) -> Table:
    """The table of the simulator's package, or of the real one, in a separate Python."""
    force = {"NKISIM_FORCE": "0" if real else "1"}
    first = "" if real else "import nkisim; "
    code = f"{first}import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    code += f"import api_check; api_check.main(['--dump', {release.package!r}])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **force},
        check=True,
    )
    return parsed(done.stdout)


# -- tables ----------------------------------------------------------------------------------------
def parsed(text: str) -> Table:
    """A table from its text."""
    table = {}
    for line in text.splitlines():
        ends = [i for i in (line.find("("), line.find(" =")) if i >= 0]
        at = min(ends, default=len(line))
        table[line[:at]] = line[at:]
    return table


def text_of(table: Table) -> str:
    """A table as text, by name."""
    return "".join(f"{name}{table[name]}\n" for name in sorted(table))


def stored(release: Release) -> Table:
    """The table made from the documentation."""
    return parsed(release.table.read_text(encoding="utf-8"))


def _fits(documented: str, found: str) -> bool:
    """Whether a line says the same. Of a bare name, and of a default that is written "...", the
    stubs tell no more."""
    if not documented or documented == found:
        return True
    if documented.startswith("(") != found.startswith("("):
        return False
    left, right = (line.strip("() ").split(", ") for line in (documented, found))
    return len(left) == len(right) and all(
        a == b or (a.endswith("=...") and b.startswith(a[:-3])) for a, b in zip(left, right)
    )


def differences(documented: Table, found: Table) -> dict[str, str]:
    """Name -> how `found` differs from `documented`: missing, more, or other parameters."""
    told = {}
    for name in sorted(documented.keys() | found.keys()):
        parent = name.rpartition(".")[0]
        if name not in found:
            told[name] = "missing"
        elif name not in documented:
            if parent in documented or parent not in found:
                told[name] = "not documented" + (f": {found[name]}" if found[name] else "")
        elif not _fits(documented[name], found[name]):
            told[name] = f"documented {documented[name].strip()}, here {found[name].strip()}"
    return told


def reasons(release: Release) -> dict[str, str]:
    """Name -> why the simulator differs there."""
    with REASONS.open("rb") as file:
        found = tomllib.load(file)["difference"]
    return {
        name: entry["why"]
        for entry in found
        if entry["release"] == release.tag
        for name in entry["names"].split()
    }


def check(release: Release) -> list[str]:
    """What differs from the documentation without a reason, and reasons that nothing needs."""
    why = reasons(release)
    told = differences(stored(release), dumped(release, False))
    lines = [f"{name}: {what}" for name, what in told.items() if name not in why]
    return lines + [f"{name}: a reason is stored, nothing differs" for name in why.keys() - told]


def check_real(release: Release) -> list[str]:
    """How the installed SDK differs from the documentation, and from the simulator."""
    real = dumped(release, True)
    if not real:
        return [f"{release.package} is not installed"]
    lines = [
        f"{n}: SDK and documentation: {w}" for n, w in differences(stored(release), real).items()
    ]
    ours = dumped(release, False)
    return lines + [f"{n}: SDK and simulator: {w}" for n, w in differences(real, ours).items()]


def main(argv: list[str]) -> int:
    """Do what the command line asks; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--make", type=Path, metavar="CHECKOUT")
    parser.add_argument("--dump", metavar="PACKAGE")
    options = parser.parse_args(argv)
    if options.dump is not None:
        found = next(r for r in RELEASES if r.package == options.dump)
        print(text_of(from_package(found)), end="")
        return 0
    lines: list[str] = []
    for release in RELEASES:
        if options.make is not None:
            table = text_of(from_stubs(release, options.make))
            release.table.write_text(table, encoding="utf-8", newline="\n")
            print(f"{release.table.name}: {len(table.splitlines())} names")
            continue
        lines += check_real(release) if options.real else check(release)
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
