"""What students get back: a page each, and a page for the class. No scripts, no hidden value.

What is told of a wrong kernel was seen on the course's own inputs, on which everyone can look. Of a
hidden input only the cause is told.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

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
_SEEN = "On the course's own inputs:"
_HIDDEN = (
    "It is right on the course's own inputs and wrong on others: other sizes, other numbers. Look "
    "for what it takes for granted."
)
_UNEXPLAINED = "Its output is wrong on inputs that are not shown."


def sections(grade: Grade, level: str) -> list[tuple[str, str]]:
    """What one stage's feedback holds: (kind, text), the kind "p", "pre" or "figure", of which the
    text is an <img> that the judge has drawn."""
    result: dict[str, Any] = dict(grade.result)
    lesson = stage.get(grade.submission.stage)
    parts = [("p", f"{grade.outcome}: {grade.points:g} of {grade.of:g} points.")]
    if grade.written is not None:
        parts.append(("p", f"The written question: {grade.written:g} points of these."))
    if grade.look:
        parts.append(("p", f"To be looked at by hand: {grade.look}."))
    if level == OUTCOME:
        return parts
    if grade.outcome == WRONG:
        shown = result["open"] or {}
        if shown.get("outcome") == WRONG:
            if level == FULL:
                parts += [("p", f"{_SEEN} {shown['sentence']}")]
            elif shown.get("cause"):
                parts += [("p", f"{_SEEN} {shown['cause']}.")]
        else:
            said = result["sentence"] or _UNEXPLAINED  # the sentence of one that was never run
            if shown.get("outcome") == CORRECT:
                said = _HIDDEN
            parts.append(("p", said + (f" ({grade.cause}.)" if grade.cause else "")))
    elif result["sentence"]:
        parts.append(("p", result["sentence"]))
    if level == FULL and result["counters"] and grade.outcome == CORRECT:
        rows = [[name, f"{a:,}", f"{b:,}"] for name, (a, b) in result["counters"].items()]
        parts.append(("pre", table(["counted", "yours", "minimum"], rows)))
    if level == FULL and result["trace"]:
        parts.append(("pre", result["trace"]))
    if level == FULL:
        parts += [("figure", picture) for picture in result["pictures"]]
    if level == FULL and grade.outcome != CORRECT:
        parts.append(("p", f"See it for yourself: python -m tutorial check {lesson.number} FILE"))
    return parts


def markdown(student: str, grades: Sequence[Grade], level: str) -> str:
    """A student's page as Markdown."""
    lines = [f"# {_plain(student)}", "", _total(grades), ""]
    for grade in grades:
        lines += [f"## {stage.get(grade.submission.stage).title}", ""]
        for kind, text in sections(grade, level):
            if kind == "pre":
                lines += ["```text", text.replace("```", "'''"), "```", ""]
            elif kind == "p":
                lines += [_paragraph(text), ""]
    return "\n".join(lines)


def page(student: str, grades: Sequence[Grade], level: str) -> str:
    """A student's page as HTML without scripts."""
    body = [f"<h1>{html.escape(student)}</h1>", f"<p>{html.escape(_total(grades))}</p>"]
    for grade in grades:
        body.append(f"<h2>{html.escape(stage.get(grade.submission.stage).title)}</h2>")
        for kind, text in sections(grade, level):
            inner = text if kind == "figure" else html.escape(text)
            body.append(f"<{kind}>{inner}</{kind}>")
    return _document(student, body)


def class_markdown(
    grades: Sequence[Grade], in_force: Sequence[str], without: Sequence[str] = ()
) -> str:
    """The class's page as Markdown; `without` are students whose folders have no submission."""
    lines = ["# The class", ""]
    for kind, text in _of_the_class(grades, in_force, without):
        lines += ["```text", text, "```", ""] if kind == "pre" else [text, ""]
    return "\n".join(lines)


def class_page(
    grades: Sequence[Grade], in_force: Sequence[str], without: Sequence[str] = ()
) -> str:
    """The class's page as HTML without scripts."""
    body = ["<h1>The class</h1>"]
    told = _of_the_class(grades, in_force, without)
    body += [f"<{k}>{html.escape(text)}</{k}>" for k, text in told]
    return _document("The class", body)


def _of_the_class(
    grades: Sequence[Grade], in_force: Sequence[str], without: Sequence[str]
) -> list[tuple[str, str]]:
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
        named = [(n, cause) for n, cause, _ in found if cause != "no known mistake"][:3]
        if named:
            said = "; ".join(f"{cause} (stage {n})" for n, cause in named)
            parts.append(("p", f"To speak about: {said}."))
    look = [g for g in grades if g.look]
    if look:
        parts.append(("p", "To be looked at by hand:"))
        rows = [[_plain(g.submission.student), str(g.submission.stage), g.look] for g in look]
        parts.append(("pre", table(["student", "stage", "why"], rows)))
    if without:
        parts.append(("p", "Folders without a submission for these stages:"))
        parts.append(("pre", "\n".join(_plain(student) for student in without)))
    parts.append(("p", f"Limits in force: {', '.join(in_force) or 'none was needed'}."))
    return parts


def _total(grades: Sequence[Grade]) -> str:
    return f"{sum(g.points for g in grades):g} of {sum(g.of for g in grades):g} points."


def _paragraph(text: str) -> str:
    """A text as one paragraph of Markdown and nothing else, whoever wrote it."""
    line = html.escape(" ".join(text.split()), quote=False)
    line = re.sub(r"([\\`\[\]!])", r"\\\1", line)
    return f"\\{line}" if line[:1] in "#-*+=~|" else line


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() or c in " -_.'" else "_" for c in text)


def _document(title: str, body: Sequence[str]) -> str:
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
    )
    return (
        f"{head}<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )
