"""Files: those that are written for a class, and those that submissions leave behind."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a text, the same bytes on every system, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, whatever rights it has and however deep it is."""
    word, number, left = secrets.token_hex(8), 0, [folder]
    while left:
        here = left.pop()
        with contextlib.suppress(OSError):
            os.chmod(here, 0o700)
            for entry in list(os.scandir(here)):
                with contextlib.suppress(OSError):
                    if not entry.is_dir(follow_symlinks=False):
                        os.unlink(entry.path)
                        continue
                    os.chmod(entry.path, 0o700)
                    number += 1
                    left.append(os.path.join(folder, f"{word}-{number}"))
                    os.rename(entry.path, left[-1])  # up here, where its path is short
            if here != folder:
                os.rmdir(here)
    with contextlib.suppress(OSError):
        os.rmdir(folder)
