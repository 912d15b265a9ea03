"""Fill in the generated parts of README.md and docs/: tables, transcripts, and the output of the
examples.

    python tools/docs_tables.py            write again what is out of date
    python tools/docs_tables.py --check    change nothing; exit status 1 if something is out of date
                                           or fails

Three marks in the Markdown ask for generated text. `<!-- generated: NAME -->` ... `<!-- end -->`
holds what `docs_content` makes for that name. `<!-- runnable -->` before a python block runs it;
the blocks of one page share their names, and a text block that follows under `<!-- output -->`
holds what the block printed. `<!-- transcript -->` before a console block holds what its `$ `
commands print.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that the script also runs in a checkout that is not installed

import docs_content  # noqa: E402

GENERATED = re.compile(r"(<!-- generated: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
RUNNABLE = re.compile(
    r"<!-- runnable -->\n```python\n(?P<code>.*?)```\n(?:\n<!-- output "
    r"-->\n```text\n(?P<output>.*?)```\n)?",
    re.DOTALL,
)
TRANSCRIPT = re.compile(r"(<!-- transcript -->\n```console\n)(.*?)(```\n)", re.DOTALL)


class DocsError(Exception):
    """A page asks for something that fails."""


def pages() -> list[Path]:
    """Every page whose generated parts are kept current."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def current(page: Path) -> str:
    """The text that the page should have. Raises DocsError if an example of it fails."""
    text = page.read_text(encoding="utf-8")
    text = GENERATED.sub(lambda match: match[1] + _made(page, match[2]) + match[4], text)
    text = _with_outputs(page, text)
    return TRANSCRIPT.sub(lambda match: match[1] + _transcript(page, match[2]) + match[3], text)


def _made(page: Path, name: str) -> str:
    kind, _, argument = name.partition(" ")
    maker = docs_content.MAKERS.get(kind)
    if maker is None:
        raise DocsError(f"{page.name}: there is no generated text called {name!r}")
    return f"\n{maker(argument)}\n\n"


def _with_outputs(page: Path, text: str) -> str:
    """Run the runnable blocks of a page, in order, and put what they print into the output
    blocks."""
    namespace: dict[str, Any] = {"__name__": "example"}
    parts, end = [], 0
    for number, match in enumerate(RUNNABLE.finditer(text), 1):
        printed = _run(page, f"example{number}.py", match["code"], namespace)
        if match["output"] is None:
            if printed:
                raise DocsError(
                    f"{page.name}: example {number} prints, but has no output block:\n{printed}"
                )
        else:
            parts += [text[end : match.start("output")], printed]
            end = match.end("output")
    return "".join([*parts, text[end:]])


def _run(page: Path, filename: str, code: str, namespace: dict[str, Any]) -> str:
    """What a block prints. The simulator reads a kernel's text, so the block gets a file name that
    it can be read by."""
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, filename, "exec"), namespace)
    except Exception as error:
        raise DocsError(f"{page.name}: {filename} fails\n{traceback.format_exc()}") from error
    return "".join(line.rstrip() + "\n" for line in out.getvalue().splitlines())


def _transcript(page: Path, block: str) -> str:
    """The block's commands, each with what it prints and, if it is not 0, its exit status."""
    lines = []
    for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
        done = run_command(command)
        # 2: the command was not understood
        meant = (0, 1, 2) if "(exit status 2)" in block else (0, 1)
        if done.returncode not in meant or "Traceback" in done.stderr:
            raise DocsError(f"{page.name}: {command} fails\n{done.stdout}{done.stderr}")
        lines += [
            f"$ {command}",
            *(line.rstrip() for line in (done.stdout + done.stderr).splitlines()),
        ]
        if done.returncode:
            lines.append(f"(exit status {done.returncode})")
    return "".join(f"{line}\n" for line in lines)


def run_command(command: str) -> subprocess.CompletedProcess[str]:
    """Run a documented `python ...` command in the working directory."""
    program, *arguments = shlex.split(command)
    if program != "python":
        raise DocsError(f"only python commands are run, not {command!r}")
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", timeout=120
    )


@contextlib.contextmanager
def scratch() -> Iterator[None]:
    """A working directory for examples and commands that looks like the clone to them: it has
    `solutions`."""
    before = Path.cwd()
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), *filter(None, paths)]))
    os.environ["PYTHONIOENCODING"] = "utf-8"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "solutions", Path(folder) / "solutions")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    stale = []
    for page in pages():
        before = page.read_text(encoding="utf-8")
        if not any(mark.search(before) for mark in (GENERATED, RUNNABLE, TRANSCRIPT)):
            continue  # and needs no folder to work in
        try:
            with scratch():
                text = current(page)
        except DocsError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        if text == before:
            continue
        stale.append(page.relative_to(ROOT).as_posix())
        if not arguments:
            page.write_text(text, encoding="utf-8", newline="\n")
    for name in stale:
        what = "is out of date; run: python tools/docs_tables.py" if arguments else "written"
        print(f"{name}: {what}")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
