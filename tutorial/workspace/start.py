"""`python -m tutorial start FOLDER`: the course as files in a folder of the reader's own."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from ..stage import PACKAGE, Refused, Stage, course_folder, get, stages
from . import progress

EXERCISES = "exercises"
DATA_PAGE = "tutorial/data/README.md"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?:\.\.?/)*[\w./-]*(?:\.(?:md|ipynb|py)|/))(#[^)\s]*)?\)")


class CannotStart(Refused):
    """The folder cannot be made; the text is one sentence."""


@dataclass(frozen=True)
class Started:
    """What `start` did: the folder, the files that it wrote and those that it found and kept."""

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"Wrote {len(self.written)} files to {self.folder}."]
        if self.kept:
            lines.append(f"Kept {len(self.kept)} that were there, as they are.")
        first = stages()[0].file_name
        lines += [
            "",
            f"  cd {self.folder}",
            f"  jupyter lab notebooks/{first}.ipynb   the first lesson",
            f"  python -m tutorial check 0   the exercise in {EXERCISES}/{first}.py",
            "  python -m tutorial progress   what is solved",
        ]
        return "\n".join(lines)


def start(folder: Path, solutions: bool = False) -> Started:
    """Write notebooks, exercises and pages, and with `solutions` the worked solutions, to `folder`.

    A file that is there already is never touched, so that the command can be given again, for
    instance to add the solutions. Raises CannotStart where the folder cannot be written, and where
    this installation has no notebooks, or no solutions and they are wanted.
    """
    wanted = _files(solutions)
    written, kept = [], []
    try:
        for name, text in wanted.items():
            path = folder / name
            if path.exists():
                kept.append(name)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            written.append(name)
    except OSError as error:
        raise CannotStart(f"{folder} cannot be written: {error.strerror}.") from error
    return Started(folder, tuple(written), tuple(kept))


def exercise(key: int | str | Stage, path: str | None = None) -> str:
    """The text of an exercise as a file: how to check and run it, then the stage's blank."""
    lesson = get(key)
    name = path or f"{EXERCISES}/{lesson.file_name}.py"
    return (
        f"# Check it:  python -m tutorial check {lesson.number} {name}\n"
        f"# Run it:    python -m nkisim {name}\n"
        "# (plain `python` finds no `neuronxcc` where no Neuron SDK is installed)\n"
        f"{lesson.blank}"
    )


def exercise_file(lesson: Stage) -> Path | None:
    """The reader's own file of a stage in the working directory, if there is one."""
    for folder in (Path(EXERCISES), Path()):
        path = folder / f"{lesson.file_name}.py"
        if path.is_file():
            return path
    return None


def _files(solutions: bool) -> dict[str, str]:
    """Every file to write: its path in the folder, and its text."""
    found = {progress.FILE: progress.EMPTY, "README.md": _readme()}
    for lesson in stages():
        found[f"{EXERCISES}/{lesson.file_name}.py"] = exercise(lesson)
    notebooks = course_folder("notebooks")
    if notebooks is None:
        raise CannotStart("The notebooks are not part of this installation.")
    found |= {f"notebooks/{path.name}": _text(path) for path in sorted(notebooks.glob("*.ipynb"))}
    docs = course_folder("docs")
    if docs is not None:
        pages = sorted(docs.rglob("*.md"))
        found |= {f"docs/{path.relative_to(docs).as_posix()}": _text(path) for path in pages}
    found["docs/data.md"] = _text(PACKAGE / "data" / "README.md")
    if solutions:
        found |= _solutions()
    return {name: _relinked(name, text, found) for name, text in found.items()}


def _solutions() -> dict[str, str]:
    folder = course_folder("solutions")
    if folder is None:
        raise CannotStart("The solutions are not part of this installation.")
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".ipynb"))
    return {
        f"solutions/{path.relative_to(folder).as_posix()}": _text(path)
        for path in files
        if not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    }


def _relinked(name: str, text: str, files: dict[str, str]) -> str:
    """The text with links that lead to a file of the folder; other relative links become words."""
    if not name.endswith((".md", ".ipynb")):
        return text
    home = f"/{Path(name).parent.as_posix()}"

    def changed(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        if target.endswith(DATA_PAGE):
            up = "../" * name.count("/")
            return f"[{words}]({up}docs/data.md{anchor})"
        led = posixpath.normpath(posixpath.join(home, target))
        return found[0] if led[1:] in files else words

    return LINK.sub(changed, text)


def _readme() -> str:
    rows = "\n".join(
        f"| {lesson.number} | [{lesson.name}](notebooks/{lesson.file_name}.ipynb) "
        f"| `{EXERCISES}/{lesson.file_name}.py` | {lesson.idea} |"
        for lesson in stages()
    )
    return f"""# Decode attention in NKI

Read a lesson in `notebooks/` and solve its exercise there, or in its file in `{EXERCISES}/`. Both
are checked the same way. Nothing here has run on a Neuron device.

```bash
jupyter lab notebooks/{stages()[0].file_name}.ipynb
python -m tutorial check 0
python -m tutorial trace 3
python -m tutorial progress
```

`python -m nkisim FILE` runs a file that imports only `neuronxcc` or `nki`; plain `python` finds
neither where no Neuron SDK is installed. The [learner's guide](docs/learners-guide.md) tells more.

| stage | lesson | exercise | the one new idea |
|---|---|---|---|
{rows}
"""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
