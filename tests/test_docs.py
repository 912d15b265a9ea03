"""The pages tell the truth: what they show was made by the code, what they say to type works, and
their links lead on."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import nkisim
import tutorial
from tests.asking import of_each
from tutorial.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
AWS_INDEX = "pip.repos.neuron.amazonaws.com"
HOSTS = {"awsdocs-neuron.readthedocs-hosted.com", "github.com"}
PAPERS = {"arxiv.org", "crfm.stanford.edu"}  # of the page of further reading

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What is documented and not run here: it changes the machine, opens a window, needs the SDK, or is
# the test run itself.
NOT_RUN = re.compile(
    r"pip install|python -m pytest|python -m sphinx|jupyter|git archive|import "
    r"neuronxcc\.nki'$|\.venv"
)
RUN_FOR_ITS_TABLE = (
    "python -m tutorial run"  # tools/docs_tables.py runs it: README.md has the table
)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Every command of the console and bash blocks, once; what transcripts show is run by
    tools/docs_tables.py."""
    found: dict[str, None] = {}
    for page in PAGES:
        for kind, body in FENCE.findall(text_of(page)):
            if kind in ("bash", "console"):
                lines = (line for line in body.splitlines() if line and not body.startswith("$ "))
                found |= {line: None for line in lines if not NOT_RUN.search(line)}
    return [command for command in found if command != RUN_FOR_ITS_TABLE]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and Sphinx make them."""
    prose = FENCE.sub("", text_of(page))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def linked(page: Path) -> set[Path]:
    """The pages of docs/ that a page links to, also from its table of contents."""
    text = text_of(page)
    links = re.findall(r"\]\(([^)#\s]+)", FENCE.sub("", text))
    for body in re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        entries = [line for line in body.splitlines() if line and not line.startswith(":")]
        for entry in entries:
            name = re.sub(r".*<(.*)>", r"\1", entry)
            links += [path.name for path in page.parent.glob(f"{name}.md")] or [f"{name}.md"]
    return {target for link in links if (target := (page.parent / link).resolve()).suffix == ".md"}


@pytest.mark.smoke
def test_every_page_is_reached_from_the_front_page() -> None:
    front = ROOT / "docs" / "index.md"
    reached, todo = {front}, [front]
    while todo:
        new = {page for page in linked(todo.pop()) if page.is_file()} - reached
        reached |= new
        todo += new
    assert [page.relative_to(ROOT).as_posix() for page in PAGES if page not in reached] == []


def test_the_front_page_says_in_200_words_what_to_read_first() -> None:
    text = text_of(ROOT / "docs" / "index.md")
    first = text[text.index("**What to read first**") : text.index("To build these pages")]
    words = re.sub(r"\]\([^)]*\)", "]", first).split()
    assert len(words) <= 200
    for reader in ("learn", "teach", "write kernels", "contribute"):
        assert re.search(rf"- \*\*You (want to )?{reader}\.\*\*", first), reader


def test_the_pictures_of_the_site_are_current() -> None:
    """docs/pictures.md and its drawings are those that tutorial.pictures makes: run
    tools/docs_pictures.py."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "docs_pictures.py", "--check"],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_architecture_lists_the_rooms_in_the_order_of_the_import_test() -> None:
    imports = ast.parse(text_of(ROOT / "tests" / "test_imports.py"))
    (rooms,) = [
        node.value
        for node in imports.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    ]
    page = text_of(ROOT / "docs" / "architecture.md")
    for package, names in eval(ast.unparse(rooms)).items():
        section = page[page.index(f"`{package}/`, lowest first:") :]
        rows = section[section.index("|---|") :].split("\n\n")[0].splitlines()[1:]
        listed = [name for row in rows for name in re.findall(r"`([\w.]+)/?`", row.split("|")[1])]
        shown = [name.removesuffix(".py") for name in listed]
        known = [name for name in names if name in shown]
        hidden = {"__init__", "__main__", "pytest_plugin"}
        assert shown == known and set(names) - set(shown) <= hidden


def test_generated_parts_are_current_and_runnable_examples_run() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "docs_tables.py", "--check"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_solution_is_correct_in_the_table_of_the_readme() -> None:
    """The table is what `python -m tutorial run` prints: the test above has made it anew."""
    table = text_of(PAGES[0]).partition("<!-- generated: table-of-run -->")[2]
    rows = [line.split()[:3] for line in table.partition("<!-- end -->")[0].splitlines()]
    assert [row for row in rows if row and row[0].isdigit()] == [
        [str(stage.number), stage.name, "correct"] for stage in tutorial.stages()
    ]


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_works(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In a folder that has the solutions and the files that the pages speak of. What `python -m
    tutorial` does is asked in this process."""
    shutil.copytree(ROOT / "solutions", tmp_path / "solutions")
    shutil.copytree(ROOT / "solutions", tmp_path / "my_kernel_folder")
    shutil.copy(ROOT / "solutions" / "stage3_online_softmax.py", tmp_path / "my_kernel.py")
    (tmp_path / "my_script.py").write_text(
        "import neuronxcc.nki as nki\nprint(nki.jit)\n", encoding="utf-8"
    )
    if " --out " in command:
        (tmp_path / "my_kernel.py").unlink()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    words = shlex.split(command.partition(" > ")[0])
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    assert words[0] == "python", (
        f"this test cannot run {command!r}: run it some other way, or add it to NOT_RUN"
    )
    if words[1:3] == ["-m", "tutorial"] and command.startswith("python"):
        monkeypatch.chdir(tmp_path)
        assert main(words[3:]) == 0, capfd.readouterr()
        return
    done = subprocess.run(
        [sys.executable, *words[1:]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", [nkisim, tutorial], ids=lambda package: package.__name__)
def test_every_public_name_is_on_the_page_of_the_python_interface(package: ModuleType) -> None:
    page = text_of(ROOT / "docs" / "reference" / "api.md")
    headings = set(re.findall(r"^### (\S+)$", page, re.MULTILINE))
    assert {f"{package.__name__}.{name}" for name in package.__all__} <= headings
    silent = re.findall(
        r"^### (\S+)\n+(?:```python\n[^`]*```\n+)?(?=###|##|<!--)", page, re.MULTILINE
    )
    assert silent == []


def test_the_readme_gives_the_two_commands_for_a_fresh_machine() -> None:
    start = "python3 -m venv .venv && . .venv/bin/activate && "
    lines = text_of(PAGES[0]).splitlines()
    assert f"{start}python -m pip install -e . && python -m tutorial run" in lines
    tested = 'python -m pip install -e ".[test]" -c constraints.txt && python -m pytest'
    assert f"{start}{tested}" in lines
    assert "jupyter lab notebooks/stage0_first_kernel.ipynb" in lines


def test_the_readme_says_that_nothing_has_run_on_a_device() -> None:
    for name in (
        0,
        PAGES.index(ROOT / "docs" / "neuron-instance.md"),
        PAGES.index(ROOT / "docs" / "simulator-guide.md"),
    ):
        assert "Nothing here has run on a Neuron device" in text_of(PAGES[name])


@of_each([*PAGES, ROOT / "AGENTS.md", ROOT / "CHANGELOG.md"], lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text_of(page))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_a_file_of_ours_that_a_page_names_is_there() -> None:
    ours = r"`((?:tutorial|nkisim|tools|tests|benchmarks|solutions)/[\w/.-]+\.(?:py|toml|json))`"
    pages = [*PAGES, ROOT / "AGENTS.md", *(ROOT / "tutorial" / "data").glob("*.md")]
    named = {path for page in pages for path in re.findall(ours, text_of(page))}
    assert len(named) > 20
    assert [p for p in sorted(named) if "stageN" not in p and not (ROOT / p).exists()] == []


@of_each([*PAGES, ROOT / "AGENTS.md", ROOT / "CHANGELOG.md"], lambda page: page.stem)
def test_a_page_names_no_foreign_host_and_no_machines_folder(page: Path) -> None:
    text = text_of(page)
    hosts = set(re.findall(r"https?://([\w.-]+)", text)) - HOSTS
    assert hosts <= {"neuron-instance": {AWS_INDEX}, "further-reading": PAPERS}.get(
        page.stem, set()
    )
    absolute = set(re.findall(r"(?<![\w.)\]/:>*-])/\w+(?:/[\w.-]+)+", text))
    known = ("/opt/aws_neuronx_venv", "/home/learner")  # of AWS's images, of the container
    assert {path for path in absolute if not path.startswith(known)} == set()
