"""Where this checkout is published, and texts whose links work away from it.

Nothing of it is written down in the repository, so that a fork names itself: the address is that of
the workflow that runs, else of the git remote `origin`, else of the source distribution that is
being built. Standard library only; the build of the wheel and of the site use it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# what comes first wins: a link may hold code in its words, and code may look like a link
LINK = re.compile(
    r"^```.*?^```|(?<!!)\[([^\]]*)\]\(([^)\s]+)\)|`[^`\n]+`", re.DOTALL | re.MULTILINE
)


def address(root: Path = ROOT) -> str | None:
    """The page of the repository, such as https://github.com/owner/name; None if nothing tells."""
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    if server and name:
        return f"{server}/{name}"
    if (root / ".git").exists():
        done = subprocess.run(
            ["git", "-C", str(root), "remote", "get-url", "origin"],
            capture_output=True,
            encoding="utf-8",
        )
        return page_of(done.stdout.strip()) if done.returncode == 0 else None
    information = root / "PKG-INFO"
    if information.is_file():
        text = information.read_text(encoding="utf-8")
        found = re.search(r"^Project-URL: Repository, (\S+)$", text, re.MULTILINE)
        return found[1] if found else None
    return None


def page_of(remote: str) -> str | None:
    """The web page of a git remote; None for one that has no web page, such as a folder."""
    found = re.fullmatch(r"(?:https?://|ssh://)?(?:[^@/]+@)?([\w.-]+)[:/](.+?)(?:\.git)?/?", remote)
    if found is None or remote.startswith(("/", ".", "file:")) or "." not in found[1]:
        return None
    return f"https://{found[1]}/{found[2]}"


def pages_of(repository: str) -> str | None:
    """Where GitHub publishes the site of a repository; None for a repository elsewhere."""
    found = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", repository)
    return f"https://{found[1].lower()}.github.io/{found[2]}/" if found else None


def urls(repository: str | None) -> dict[str, str]:
    """The project's addresses by their usual labels; empty if the repository is not known."""
    if repository is None:
        return {}
    found = {
        "Repository": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/HEAD/CHANGELOG.md",
    }
    pages = pages_of(repository)
    return found if pages is None else {"Homepage": pages, "Documentation": pages, **found}


def relink(text: str, new: Callable[[str], str | None]) -> str:
    """Markdown with every relative link led through `new`; where that is None the words stay
    alone.

    Links to the outside, to a heading of the same page, and whatever stands in code are untouched.
    """

    def changed(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        if target is None or "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        led = new(target)
        return words if led is None else f"[{words}]({led})"

    return LINK.sub(changed, text)


def readme(root: Path = ROOT) -> str:
    """README.md for a package index: its relative links lead into the repository."""
    repository = address(root)
    text = (root / "README.md").read_text(encoding="utf-8")
    return relink(text, lambda to: None if repository is None else f"{repository}/blob/HEAD/{to}")
