"""What students get back: a page each, and a page for the class. No scripts, no hidden value.

What is told of a wrong kernel was seen on the course's own inputs, on which everyone can look. Of a
hidden input only the cause is told.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .. import stage
from ..reference.text import table
from ..verdict import CORRECT, WRONG
from .gradebook import Grade, causes

OUTCOME, CAUSE, FULL = "outcome", "cause", "full"
LEVELS = (OUTCOME, CAUSE, FULL)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "pre{overflow-x:auto;padding:.6rem;border:1px solid #8888;font-size:.85rem}"
    "figure{margin:1rem 0;padding:.6rem;background:#fff}"
    "h2{margin-top:2rem;border-top:1px solid #8888;padding-top:1rem}"
)
Part = tuple[str, str]
"""A kind and a text: "p", "pre", "h2", or "figure", of which the text is an <img> that the judge
has drawn."""
_SEEN = "On the course's own inputs:"
_HIDDEN = (
    "It is right on the course's own inputs and wrong on others: other sizes, other numbers. Look "
    "for what it takes for granted."
)
_UNEXPLAINED = "Its output is wrong on inputs that are not shown."
_SAYS_LITTLE = ("exception", "no known mistake", "output")
"""Causes of which a class learns nothing by their names."""


def sections(grade: Grade, level: str) -> list[Part]:
    """What one stage's feedback holds."""
    result = grade.result
    parts = [("p", f"{grade.outcome}: {grade.points:g} of {grade.of:g} points.")]
    if grade.written is not None:
        parts.append(("p", f"The written question: {grade.written:g} points of these."))
    if grade.look:
        parts.append(("p", f"To be looked at by hand: {grade.look}."))
    if level == OUTCOME:
        return parts
    if grade.outcome == WRONG:
        parts += _mistake(grade, level)
    elif result["sentence"]:
        parts.append(("p", result["sentence"]))
    if level != FULL:
        return parts
    if result["counters"] and grade.outcome == CORRECT:
        rows = [[name, f"{a:,}", f"{b:,}"] for name, (a, b) in result["counters"].items()]
        parts.append(("pre", table(["counted", "yours", "minimum"], rows)))
    if result["trace"]:
        parts.append(("pre", result["trace"]))
    parts += [("figure", picture) for picture in result["pictures"]]
    if grade.outcome != CORRECT:
        number = grade.submission.stage
        parts.append(("p", f"See it for yourself: python -m tutorial check {number} FILE"))
    return parts


def _mistake(grade: Grade, level: str) -> list[Part]:
    """What is told of a wrong kernel."""
    shown = grade.result["open"] or {}
    if shown.get("outcome") == WRONG:
        said = shown["sentence"] if level == FULL else f"{shown['cause']}." * bool(shown["cause"])
        return [("p", f"{_SEEN} {said}")] if said else []
    said = grade.result["sentence"] or _UNEXPLAINED  # the sentence of one that was never run
    if shown.get("outcome") == CORRECT:
        said = _HIDDEN
    return [("p", said + (f" ({grade.cause}.)" if grade.cause else ""))]


@dataclass(frozen=True)
class Page:
    """A title and what stands below it: Markdown, or HTML without scripts."""

    title: str
    parts: Sequence[Part]

    @property
    def markdown(self) -> str:
        """The page as Markdown, without its figures."""
        lines = [f"# {_plain(self.title)}", ""]
        for kind, text in self.parts:
            if kind == "pre":
                lines += ["```text", text.replace("```", "'''"), "```", ""]
            elif kind != "figure":
                lines += [f"## {text}" if kind == "h2" else _paragraph(text), ""]
        return "\n".join(lines)

    @property
    def html(self) -> str:
        """The page as an HTML file."""
        name = html.escape(self.title)
        body = [f"<h1>{name}</h1>"]
        for kind, text in self.parts:
            body.append(f"<{kind}>{text if kind == 'figure' else html.escape(text)}</{kind}>")
        head = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{name}</title><style>{_STYLE}</style></head>"
        )
        return "\n".join([head, "<body>", *body, "</body></html>", ""])


def of_a_student(student: str, grades: Sequence[Grade], level: str) -> Page:
    """A student's page, which says as much as `level` allows."""
    total = f"{sum(g.points for g in grades):g} of {sum(g.of for g in grades):g} points."
    parts = [("p", total)]
    for grade in grades:
        parts += [("h2", stage.get(grade.submission.stage).title), *sections(grade, level)]
    return Page(student, parts)


def of_the_class(
    grades: Sequence[Grade], in_force: Sequence[str], without: Sequence[str] = ()
) -> Page:
    """The class's page; `without` are students whose folders have no submission."""
    numbers = sorted({g.submission.stage for g in grades})
    kinds = list(dict.fromkeys(sorted(g.outcome for g in grades)))
    rows = [
        [stage.get(n).title]
        + [str(sum(g.submission.stage == n and g.outcome == k for g in grades)) for k in kinds]
        for n in numbers
    ]
    parts = [("pre", table(["stage", *kinds], rows))]
    found = causes(grades)
    if found:
        parts.append(("p", "The mistakes by how many students made them:"))
        rows = [[str(count), stage.get(n).title, cause] for n, cause, count in found]
        parts.append(("pre", table(["students", "stage", "cause"], rows)))
        named = [(n, cause) for n, cause, _ in found if cause not in _SAYS_LITTLE][:3]
        if named:
            said = "; ".join(f"{cause} (stage {n})" for n, cause in named)
            parts.append(("p", f"To speak about: {said}."))
    look = [g for g in grades if g.look]
    if look:
        parts.append(("p", "To be looked at by hand:"))
        rows = [[_plain(g.submission.student), str(g.submission.stage), g.look] for g in look]
        parts.append(("pre", table(["student", "stage", "why"], rows)))
    missing = _missing(grades, numbers)
    if missing:
        parts.append(("p", "Not handed in, of the stages that somebody has handed in:"))
        parts.append(("pre", table(["student", "stages"], missing)))
    if without:
        parts.append(("p", "Folders without a submission for these stages:"))
        parts.append(("pre", "\n".join(_plain(student) for student in without)))
    parts.append(("p", f"Limits in force: {', '.join(in_force) or 'none was needed'}."))
    return Page("The class", parts)


def _missing(grades: Sequence[Grade], numbers: Sequence[int]) -> list[list[str]]:
    """Each student who has handed in some of these stages and not others, with the others."""
    have: dict[str, set[int]] = {}
    for grade in grades:
        have.setdefault(grade.submission.student, set()).add(grade.submission.stage)
    return [
        [_plain(student), ", ".join(str(n) for n in numbers if n not in own)]
        for student, own in have.items()
        if len(own) < len(numbers)
    ]


def _paragraph(text: str) -> str:
    """A text as one paragraph of Markdown and nothing else, whoever wrote it."""
    line = html.escape(" ".join(text.split()), quote=False)
    line = re.sub(r"([\\`\[\]!])", r"\\\1", line)
    return f"\\{line}" if line[:1] in "#-*+=~|" else line


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() or c in " -_.'" else "_" for c in text)
