"""What a person reads here is plain English: no banned idiom, no misspelt word.

`docs/writing-style.md` has the reasons. The pages, the prose of the notebooks, the solutions with
their comments, the messages, docstrings and comments of both packages, and what the scripts print
and say about themselves are searched for idioms.
"""

from __future__ import annotations

import ast
import functools
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.asking import of_each

ROOT = Path(__file__).resolve().parent.parent
STYLE = ROOT / "docs" / "writing-style.md"
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md")]
    + [*(ROOT / "docs").rglob("*.md"), *(ROOT / "tutorial" / "data").glob("*.md")]
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").rglob("*.py"))
SCRIPTS = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")])
CODE = sorted([*(ROOT / "nkisim").rglob("*.py"), *(ROOT / "tutorial").rglob("*.py")])

_COUNTED = (
    "rows?|lines?|levers?|numbers?|values?|elements?|bytes|Ki?B|columns?|blocks?|tiles?|entry|"
    "entries|calls?|once|twice|loads?|sentences?|files?|instructions?|modules?|heads?|"
    "budgets?|words?|offsets?|pairs?|queues?|keys?|sums?|indices|cycles|fp32|[GT]B/s"
)
_PER = (
    "tile|rung|partition|head|query head|KV head|row|kernel|stage|layer|token|key|sequence|group|"
    "split|chunk|instruction|record|instance|core|step|engine|transfer|iteration|family|block|"
    "bank|update|character|axis|queue|device|student|lane"
)
_STILL_FINE = (
    "longer|more|less|larger|smaller|better|worse|wider|use|one|error|need|reason|way|good|longest"
)
_FUNCTION_WORD = "that|which|and|or|in|on|is|are|for|to|while|by|so|with|from|at|as|if"
BANNED: dict[str, tuple[re.Pattern[str], str]] = {
    name: (re.compile(pattern), instead)
    for name, pattern, instead in (
        ("a line a tile", rf"\b(?:{_COUNTED}),? an? (?:{_PER})\b(?! of)", "one line per tile"),
        (
            "is no integer",
            rf"(?<![Tt]here )\b(?:is|are) no (?!(?:{_STILL_FINE})\b)\w",
            "is not an integer",
        ),
        (
            "that are none",
            r"\bthat (?:is|are) none\b|\bit is none\b|\bthey are none\b|\b(?:is|are) none that\b",
            "that are not",
        ),
        ("anew", r"\banew\b", "again, or: from the start"),
        (
            "of its own",
            rf"\bof (?:its|their) own\b(?! (?!(?:{_FUNCTION_WORD})\b)\w)",
            "a separate one, or: its own one",
        ),
        ("in the place of", r"\bin the place of\b", "instead of"),
        ("lets expect", r"\blets? expect\b", "suggests"),
        ("so many at a time", r"\bso many at a time\b", "how many at a time"),
        ("held against", r"\bh[eo]ld(?:s|ing)? (?:\w+ )?against\b", "compared with"),
        ("who read the records", r"\bwho reads? the records?\b", "code that reads the records"),
        ("none of this has run", r"\b[Nn]one of this has\b", "nothing here has"),
        (
            "one idea more",
            r"\bone (?:idea|line|step|tile|key|kernel|number) more\b",
            "one more idea",
        ),
        (
            "till, hereby",
            r"\b(?:till|hereby|thereby|whereby|thereof|therein|herein|hereof)\b",
            "until, so, by which",
        ),
    )
}

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
QUOTED_AS_BAD = re.compile(r"^\| .* \|$|^> \*Before.*?^$", re.MULTILINE | re.DOTALL)


def found_in(text: str) -> list[str]:
    """The banned idioms in a text, each with its surroundings and what to write."""
    plain = " ".join(text.split())
    return [
        f"...{plain[max(0, m.start() - 40) : m.end() + 20]}... (write: {instead})"
        for pattern, instead in BANNED.values()
        for m in pattern.finditer(plain)
    ]


def prose_of(page: Path) -> str:
    """A page without its code; of the style page also without what it quotes as bad."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return QUOTED_AS_BAD.sub("", text) if page == STYLE else text


def cells_of(notebook: Path) -> Iterator[str]:
    """What a learner reads of a notebook: the source of each cell."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        yield "".join(cell["source"])


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a module, which is searched for messages and for notes."""
    return ast.parse(path.read_text(encoding="utf-8"))


def messages_of(path: Path) -> list[tuple[int, str]]:
    """The strings of a module that are not docstrings, each with its line.

    What an f-string fills in is shown as a 7, so that the idiom around it is seen.
    """
    tree = tree_of(path)
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(id(node.value))  # docstrings, also those below a field
        if isinstance(node, ast.JoinedStr):
            silent |= {id(part) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in silent:
                found.append((node.lineno, node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [str(p.value) if isinstance(p, ast.Constant) else "7" for p in node.values]
            found.append((node.lineno, "".join(parts)))
    return found


def notes_of(path: Path) -> list[tuple[int, str]]:
    """The docstrings and comments of a module, each with its line. Whole lines of comments that
    follow on one another are one text."""
    text = path.read_text(encoding="utf-8")
    found = [
        (node.lineno, node.value.value)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    above = -1  # the line of the last comment, where that is the whole line
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, said = token.start[0], token.string.lstrip("# ")
        whole = not token.line[: token.start[1]].strip()
        if whole and above == line - 1:
            found[-1] = found[-1][0], f"{found[-1][1]} {said}"
        else:
            found.append((line, said))
        above = line if whole else -1
    return found


@of_each(PAGES, lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_no_banned_idiom(page: Path) -> None:
    assert found_in(prose_of(page)) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_lesson_has_no_banned_idiom(notebook: Path) -> None:
    assert [found for cell in cells_of(notebook) for found in found_in(cell)] == []


@pytest.mark.parametrize("texts", [messages_of, notes_of])
@pytest.mark.parametrize("package", ["nkisim", "tutorial"])
def test_a_message_a_docstring_and_a_comment_have_no_banned_idiom(
    package: str, texts: Callable[[Path], list[tuple[int, str]]]
) -> None:
    assert [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {found}"
        for path in CODE
        if path.relative_to(ROOT).parts[0] == package
        for line, text in texts(path)
        for found in found_in(text)
    ] == []


def test_a_solution_has_no_banned_idiom_in_its_comments_either() -> None:
    texts = {path.name: found_in(path.read_text(encoding="utf-8")) for path in SOLUTIONS}
    assert {name: found for name, found in texts.items() if found} == {}


def test_a_script_has_no_banned_idiom_in_what_it_prints_and_in_its_docstrings() -> None:
    """Most scripts print their docstring as help."""
    found = {
        f"{path.name}:{node.lineno}": found_in(node.value)
        for path in SCRIPTS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {place: idioms for place, idioms in found.items() if idioms} == {}


def test_the_style_page_shows_what_is_banned_and_what_is_not() -> None:
    text = STYLE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!instead of|---)(.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert len(rows) >= 12
    assert [before for before, _ in rows if not found_in(before)] == []
    assert [after for _, after in rows if found_in(after)] == []
    caught = {
        name
        for name, (pattern, _) in BANNED.items()
        for before, _ in rows
        if pattern.search(before)
    }
    assert set(BANNED) - caught <= {"till, hereby"}


def test_words_are_spelt_right(tmp_path: Path) -> None:
    """Of a lesson only the sources of its cells are read, since its outputs hold pictures."""
    for notebook in NOTEBOOKS:
        prose = "\n\n".join(cells_of(notebook))
        (tmp_path / f"{notebook.stem}.md").write_text(prose, encoding="utf-8")
    files = [*PAGES, *CODE, *sorted(tmp_path.glob("*.md"))]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
