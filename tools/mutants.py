"""One-node mutants of every solution: which of them does the check accept?

    python tools/mutants.py [--stage N ...] [--sample N] [--seed N] [--processes 2] [--limit 60]

A mutant is a solution with one node of its syntax tree changed: a constant, an operator, a
comparison, an index, a function of the same kind, an argument left out, a statement dropped. Prints
the survivors that `mutants_equivalent.txt` does not list, each as the line before and after, and
exits with 1 if there are any. That file holds those judged equivalent, with a reason.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = Path(__file__).resolve().parent / "mutants_equivalent.txt"

_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.Is: ast.IsNot,
}
_NAMES = {
    "add": "subtract",
    "subtract": "add",
    "multiply": "add",
    "maximum": "minimum",
    "minimum": "maximum",
    "less": "less_equal",
    "greater_equal": "greater",
    "exp": "sigmoid",
    "reciprocal": "rsqrt",
    "float32": "bfloat16",
    "bfloat16": "float32",
    "shared_hbm": "hbm",
    "psum": "sbuf",
}

_COMMUTES = {"add", "multiply", "maximum", "minimum"}


@dataclass(frozen=True)
class Mutant:
    """A mutant of a stage's solution: the statement before and after, and the whole text."""

    stage: int
    before: str
    after: str
    text: str

    @property
    def key(self) -> str:
        """How the file of equivalents names it."""
        return f"{self.stage} | {self.before} -> {self.after}"


def mutants(stage: int, text: str) -> Iterator[Mutant]:
    """All mutants of a solution's functions; asserts and docstrings are left alone."""
    tree = ast.parse(text)
    places = sum(1 for _ in _changes(tree))
    seen = {ast.unparse(tree)}
    for place in range(places):
        changed = copy.deepcopy(tree)
        statement, change = next(one for i, one in enumerate(_changes(changed)) if i == place)
        before = _first_line(statement)
        change()
        made = ast.unparse(ast.fix_missing_locations(changed))
        if made not in seen:
            seen.add(made)
            yield Mutant(stage, before, _first_line(statement), made)


def _first_line(statement: ast.stmt) -> str:
    return ast.unparse(statement).partition("\n")[0]


def _changes(tree: ast.Module) -> Iterator[tuple[ast.stmt, Callable[[], None]]]:
    """Every change that can be made to a tree, with the statement it is in; none is made before it
    is called."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for statement in _statements(function):
                yield from ((statement, change) for change in _of_statement(statement))


def _statements(parent: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(parent):
        if isinstance(child, ast.stmt) and not isinstance(child, (ast.Assert, ast.Return)):  # noqa: SIM102
            if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                yield child
                yield from _statements(child)


def _of_statement(statement: ast.stmt) -> Iterator[Callable[[], None]]:
    for node in _own_nodes(statement):
        yield from _of_node(node)
    if isinstance(statement, ast.Expr):
        yield lambda: setattr(statement, "value", ast.Constant(None))


def _own_nodes(statement: ast.stmt) -> Iterator[ast.AST]:
    """The nodes of a statement that are not part of a statement inside it."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [c for c in ast.iter_child_nodes(node) if not isinstance(c, ast.stmt)]


def _of_node(node: ast.AST) -> Iterator[Callable[[], None]]:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        for other in (value + 1, value - 1, -value):
            if other != value:
                yield lambda other=other: setattr(node, "value", other)  # type: ignore[misc]
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield lambda: setattr(node, "op", _OPERATORS[type(node.op)]())
        if not isinstance(node.op, (ast.Add, ast.Mult)):
            yield lambda: _swap(node)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield lambda: setattr(node, "ops", [_COMPARISONS[type(node.ops[0])]()])
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield lambda: setattr(node, "attr", _NAMES[node.attr])
    elif isinstance(node, ast.Call):
        for i in range(len(node.keywords)):
            if node.keywords[i].arg not in ("name", "keepdims", "engine"):
                yield lambda i=i: node.keywords.pop(i) and None  # type: ignore[misc, func-returns-value]
        if len(node.args) > 1 and not _commutes(node):
            yield lambda: _exchange(node)


def _commutes(node: ast.Call) -> bool:
    """Whether the order of the arguments says nothing."""
    names = [node.func, *(keyword.value for keyword in node.keywords if keyword.arg == "op")]
    return any(isinstance(name, ast.Attribute) and name.attr in _COMMUTES for name in names)


def _swap(node: ast.BinOp) -> None:
    node.left, node.right = node.right, node.left


def _exchange(node: ast.Call) -> None:
    node.args[0], node.args[1] = node.args[1], node.args[0]


def equivalents() -> dict[str, str]:
    """The mutants judged equivalent, each with its reason."""
    found: dict[str, str] = {}
    reason = ""
    for line in EQUIVALENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            reason = line[2:]
        elif line:
            found[line] = reason
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stage", type=int, nargs="*", default=list(range(11)))
    parser.add_argument("--sample", type=int, default=0, help="so many of each stage; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each")
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    from tools.judging import Job, judge
    from tutorial import stage as stages

    known = equivalents()
    made: dict[str, Mutant] = {}
    for number in options.stage:
        file = ROOT / "solutions" / f"{stages.get(number).file_name}.py"
        own = list(mutants(number, file.read_text(encoding="utf-8")))
        if options.sample:
            own = random.Random(options.seed).sample(own, min(options.sample, len(own)))
        for mutant in own:
            times = sum(1 for key in made if key.partition(" (no. ")[0] == mutant.key)
            made[f"{mutant.key} (no. {times + 1})" if times else mutant.key] = mutant
        stages.get(number).cases()  # made once, before the processes are
    jobs = [Job(key, mutant.stage, mutant.text) for key, mutant in made.items()]
    survivors = [
        done.job.name
        for done in judge(jobs, options.processes, options.limit, explain=False)
        if done.outcome not in ("wrong", "not attempted", "unusable") and done.job.name not in known
    ]
    for name in survivors:
        print(name)
    print(f"{len(jobs)} mutants, {len(survivors)} survivors that are not listed as equivalent")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
