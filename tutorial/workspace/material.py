"""Where the course's own files are: notebooks, solutions and pages.

In a clone they lie beside this package. An installed distribution carries them inside the package,
in `material/`, with the same paths.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
DATA_PAGE = PACKAGE / "data" / "README.md"
CLONE = PACKAGE.parent
INSIDE = PACKAGE / "material"


def folder(name: str) -> Path | None:
    """The folder `name` of the course ("notebooks", "solutions", "docs"), or None if it is not
    here.

    That of the clone comes first, then that of the working directory, then the installed one.
    """
    for base in (CLONE, Path.cwd(), INSIDE):
        if _is_ours(base / name):
            return base / name
    return None


def _is_ours(path: Path) -> bool:
    """Beside an installed package any folder of that name may lie."""
    pattern = "learners-guide.md" if path.name == "docs" else "stage*"
    return path.is_dir() and next(path.glob(pattern), None) is not None
