"""Students' names as names of files and on a screen. A name is whatever a folder or a file is
called: it may hold any character, and look like another one."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable

_MOST_BYTES = 120
"""Of a name in a file's name; file systems take 255, and a suffix follows."""
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{k}{n}" for k in ("com", "lpt") for n in range(10)}
"""What Windows takes for devices, whatever follows after a dot."""


def of_entry(name: str) -> str:
    """The name of a folder's entry as text that can be written anywhere: bytes that are not UTF-8
    are spelled out."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def file_name(student: str) -> str:
    """The student's name as part of a file's name. Two students' may be the same."""
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in student)
    plain = plain.encode()[:_MOST_BYTES].decode("utf-8", "ignore")
    if plain[:1] in ("", ".", "-") or plain.partition(".")[0].casefold() in _RESERVED:
        plain = f"_{plain}"
    return plain


def file_names(students: Iterable[str]) -> dict[str, str]:
    """Of each student a file's name that no other one has, also where a file system does not tell
    large letters from small ones, or two spellings of one letter."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for student in students:
        if student in found:
            continue
        plain, number = file_name(student), 1
        name = plain
        while _alike(name) in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(_alike(name))
        found[student] = name
    return found


def shown(name: str, most: int = 40) -> str:
    """The name for a terminal: one line, and nothing that moves its cursor."""
    return "".join(c if c.isprintable() else "?" for c in name)[:most]


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
