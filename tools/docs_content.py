"""What the generated parts of the documentation hold, made from the code that they describe."""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import device_reports
import docs_api
import docs_mistakes
import docs_surface
import docs_teaching

import nkisim
import tutorial
from nkisim.dialects.neuronxcc import compiler, isa, language, nki
from nkisim.isa import TABLE
from nkisim.isa.alu import ACTIVATIONS, ALU
from nkisim.machine import target as targets
from nkisim.rules import RULES
from tutorial.reference.text import ENGINES
from tutorial.running import files, runner

ROOT = Path(__file__).resolve().parent.parent


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def code(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def fenced(text: str, kind: str = "text") -> str:
    return f"```{kind}\n{text.rstrip()}\n```"


# --- the simulator --------------------------------------------------------------------------------


def rules(_: str) -> str:
    raised = _raised()
    rows = [
        (
            f"`{rule.id}`",
            rule.says,
            rule.behind,
            rule.grade,
            rule.source,
            "yes" if rule.id in raised else "**not yet**",
            "is one" if rule.advisory else "yes" if rule.warnable else "no",
        )
        for rule in RULES.values()
    ]
    columns = ("rule", "says", "behind it", "grade", "source", "enforced", "may be a warning")
    return table(columns, rows)


def rule_evidence(_: str) -> str:
    """The published kernels that contradict a rule's text."""
    rows = [(f"`{rule.id}`", rule.against) for rule in RULES.values() if rule.against]
    return table(("rule", "what speaks against it"), rows)


def rule_sources(_: str) -> str:
    from nkisim.rules import rules as module

    named = re.findall(r"^  (\w+) +(aws.*)$", module.__doc__ or "", re.MULTILINE)
    return table(("source", "document"), ((f"`{name}`", where) for name, where in named))


def _raised() -> set[str]:
    """The rules that the simulator's code names where it raises."""
    named: set[str] = set()
    for path in sorted((ROOT / "nkisim").rglob("*.py")):
        if path.parent.name == "rules":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return named & set(RULES)


def instructions(_: str) -> str:
    rows = []
    for instruction in TABLE.values():
        engines = _engines(instruction.plan.__code__)
        shown = ", ".join(ENGINES[e] for e in ENGINES if e in engines) or "the one asked for"
        rows.append(
            (
                f"`{instruction.name}`",
                shown,
                instruction.doc,
                instruction.source.replace("aws-neuron-sdk ", ""),
            )
        )
    return table(
        ("instruction", "engine", "computes", "source"),
        sorted(rows, key=lambda row: (row[1], row[0])),
    )


def _engines(code: CodeType) -> set[str]:
    """The engines that the code of a plan names."""
    inner = [_engines(const) for const in code.co_consts if isinstance(const, CodeType)]
    return {name.lower() for name in code.co_names if name.lower() in ENGINES}.union(*inner)


def operators(_: str) -> str:
    return table(
        ("operator", "engines", "operands", "also a reduction"),
        (
            (
                f"`{op.name}`",
                ", ".join(ENGINES[e] for e in op.engines),
                "integers" if op.bitvec else "any, as fp32",
                "no" if op.reduce is None else "in activate2" if op.scalar_only else "yes",
            )
            for op in ALU.values()
        ),
    )


def activations(_: str) -> str:
    return code(sorted(ACTIVATIONS))


def target_sizes(_: str) -> str:
    shown = [(name, targets.TARGETS[name]) for name in ("trn1", "trn2", "trn3")]
    fields = _documented_fields(Path(targets.__file__), "Target")
    rows = [
        [
            f"`{name}`",
            *(
                f"{getattr(target, name):,}"
                if isinstance(getattr(target, name), int)
                else str(getattr(target, name))
                for _, target in shown
            ),
            text,
        ]
        for name, text in fields
        if name != "name"
    ]
    return table(
        (
            "field",
            *(name + (", inf2" if name == "trn1" else "") for name, _ in shown),
            "meaning and source",
        ),
        rows,
    )


def configuration(_: str) -> str:
    default = nkisim.Config()
    shown = {"target": default.target.name}
    fields = _documented_fields(ROOT / "nkisim" / "machine" / "config.py", "Config")
    return table(
        ("field", "default", "meaning"),
        (
            (f"`{name}`", f"`{shown.get(name, getattr(default, name))}`", text)
            for name, text in fields
        ),
    )


def _documented_fields(path: Path, class_name: str) -> list[tuple[str, str]]:
    """The fields of a dataclass with the strings below them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    body = next(
        n.body for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == class_name
    )
    found = []
    for field, text in itertools.pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found.append((field.target.id, " ".join(str(text.value.value).split())))  # type: ignore[union-attr]
    return found


# --- names ----------------------------------------------------------------------------------------


def names(module: str) -> str:
    documented, served, calls = {
        "nl": (docs_surface.LANGUAGE, language, docs_surface.LANGUAGE_CALLS),
        "nisa": (docs_surface.ISA, isa, docs_surface.ISA_CALLS),
        "nki": (docs_surface.TOP_LEVEL, nki, {}),
        "compiler": (docs_surface.COMPILER, compiler, {}),
    }[module]
    rows = []
    for section, text in documented.items():
        have = [name for name in text.split() if _has(served, name)]
        rows.append(
            (
                section,
                code(have) or "-",
                code(name for name in text.split() if name not in have) or "-",
            )
        )
    made = table(("section", "there", "not there yet"), rows)
    listed = {name for text in documented.values() for name in text.split()}
    also = sorted(set(served.__all__) - {name.partition(".")[0] for name in listed})
    if also:
        made += f"\n\nAlso there: {code(also)}."
    if calls:
        made += "\n\n" + _lowering(module, calls)
    return made


def _has(module: Any, name: str) -> bool:
    for part in name.split("."):
        if not hasattr(module, part):
            return False
        module = getattr(module, part)
    return True


def _lowering(module: str, calls: dict[str, docs_surface.Call]) -> str:
    """Which instructions a call ran, the names that ran the same ones together."""
    by_lowering: dict[str, list[str]] = {}
    for name, call in calls.items():
        by_lowering.setdefault(
            ", ".join(f"`{op}`" for op in docs_surface.recorded(call)), []
        ).append(name)
    return table(
        (f"`{module}` function", "runs, on a (64, 64) tile"),
        (
            (code(sorted(group)), lowered)
            for lowered, group in sorted(by_lowering.items(), key=lambda item: item[1])
        ),
    )


# --- the course -----------------------------------------------------------------------------------


def stages(_: str) -> str:
    return table(
        ("stage", "you write", "input -> output", "the one new idea", "cost budget"),
        (
            (f"{s.number} {s.name}", f"`{s.call}`", s.layout, s.idea, s.cost_budget)
            for s in tutorial.stages()
        ),
    )


def trace(argument: str) -> str:
    """The state trace of a stage's solution: "3" or "3 real data"."""
    number, _, family = argument.partition(" ")
    stage = tutorial.get(number)
    kernel = runner.load(ROOT / "solutions" / f"{stage.file_name}.py", stage)
    return fenced(str(tutorial.trace(stage, kernel, family or None).only(0)))


def table_of_run(_: str) -> str:
    """What `python -m tutorial run` prints, in a folder that has the solutions. They are judged in
    this process: that each gets a separate one is for files that nobody has read."""
    from tutorial import __main__ as command

    named = files.named_after_stages([])
    verdicts = {file: tutorial.check(stage, runner.load(file, stage)) for stage, file in named}
    apart, out = command._apart, io.StringIO()
    command._apart = lambda stage, file, seconds: verdicts[file]
    try:
        with contextlib.redirect_stdout(out):
            command.main(["run"])
    finally:
        command._apart = apart
    return fenced("\n".join(line.rstrip() for line in out.getvalue().splitlines()))


def wrong_trace(name: str) -> str:
    """The state trace of a wrong kernel."""
    mistake = docs_mistakes.MISTAKES[name]
    return fenced(str(tutorial.trace(mistake.stage, mistake.kernel())))


def families(_: str) -> str:
    from tutorial.inputs.families import FAMILIES

    return table(
        ("input family", "what cannot hide in it"), ((f.name, f.reveals) for f in FAMILIES.values())
    )


def mistake(name: str) -> str:
    """The lines of a wrong kernel that matter, and what the check says about it."""
    made = docs_mistakes.MISTAKES[name]
    said = str(tutorial.check(made.stage, made.kernel())).splitlines()
    verdict = "\n".join(textwrap.fill(line, 100, break_long_words=False) for line in said[:2])
    return f"{fenced(made.shown, 'python')}\n\n{fenced(verdict)}"


def what_devices_said(_: str) -> str:
    """The table of the reports that devices sent."""
    return device_reports.kept()


MAKERS: dict[str, Callable[[str], str]] = {
    "api": docs_api.api,
    "device-reports": what_devices_said,
    "rules": rules,
    "rule-evidence": rule_evidence,
    "rule-sources": rule_sources,
    "instructions": instructions,
    "operators": operators,
    "activations": activations,
    "targets": target_sizes,
    "configuration": configuration,
    "names": names,
    "stages": stages,
    "table-of-run": table_of_run,
    "trace": trace,
    "wrong-trace": wrong_trace,
    "families": families,
    "mistake": mistake,
    **docs_teaching.MAKERS,
}
