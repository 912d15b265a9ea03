"""The stored data files of the course: read whole, or refused with one sentence."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MADE_BY = {
    "char_model.npz": "tools/train_char_model.py",
    "smollm2_attention.npz": "tools/make_real_attention.py",
}
"""The data files, and what builds each of them."""


class DataError(FileNotFoundError):
    """A data file of the course is missing or damaged; the text is one sentence."""


def folder() -> Traversable:
    """Where the data files lie."""
    return resources.files("tutorial") / "data"


def read(name: str) -> dict[str, NDArray[Any]]:
    """The arrays of a data file by name. Raises DataError if it is missing or damaged."""
    source = folder() / name
    remedy = f"install the package with its data files, or build it again with {MADE_BY[name]}"
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        raise DataError(f"{source} is missing: {remedy}") from None
    except Exception as error:
        raise DataError(f"{source} is damaged ({type(error).__name__}): {remedy}") from error


def troubles() -> list[str]:
    """What is wrong with the data files: each is read, and compared with the digest that its
    README gives."""
    found = []
    try:
        known = (folder() / "README.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        known = ""
    for name in MADE_BY:
        try:
            read(name)
            import hashlib  # takes 6 ms, most of which is OpenSSL

            digest = hashlib.sha256((folder() / name).read_bytes()).hexdigest()
        except OSError as error:
            found.append(str(error))
            continue
        if re.search(r"\b[0-9a-f]{64}\b", known) and digest not in known:
            found.append(
                f"{folder() / name} is not the file that the README beside it describes: install "
                f"the package again, or build it again with {MADE_BY[name]}"
            )
    return found
