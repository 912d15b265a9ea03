"""What `pyproject.toml` cannot say of the distribution: the course's files, and links that work.

The wheel carries the notebooks, the solutions and the pages of `docs/` inside the package, so that
`python -m tutorial start FOLDER` can write them anywhere. A checkout without one of these folders
(a fork that has removed the solutions) builds all the same, without it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))

import repository

MATERIAL = {"notebooks": "*.ipynb", "solutions": "**/*", "docs": "**/*.md"}
KINDS = (".ipynb", ".py", ".md")


def course_files(root: Path) -> dict[str, str]:
    """The files that the course hands out: path in the checkout -> path in the wheel."""
    found = {}
    for folder, pattern in MATERIAL.items():
        for path in sorted((root / folder).glob(pattern)):
            hidden = any(part.startswith((".", "__")) for part in path.relative_to(root).parts)
            if path.suffix in KINDS and not hidden:
                name = path.relative_to(root).as_posix()
                found[str(path)] = f"tutorial/material/{name}"
    return found


class CourseFiles(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the course's files to a wheel; an editable one finds them in the checkout."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "wheel" and version != "editable":
            build_data["force_include"].update(course_files(Path(self.root)))


class Links(MetadataHookInterface):
    """README.md with links that work on an index, and the project's addresses."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        metadata["readme"] = {"content-type": "text/markdown", "text": repository.readme(root)}
        metadata["urls"] = repository.urls(repository.address(root))
