"""A language model of characters, small enough to come with the course: it has read one book.

``load()`` gives the network and its alphabet. Training, provenance and licence: ``data/README.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from ..inputs import datafiles
from .languagemodel import Config, LanguageModel


@dataclass(frozen=True)
class Alphabet:
    """Each character is a token, and its id is the character's place."""

    characters: str

    def encode(self, text: str) -> list[int]:
        """The ids of the characters. ValueError for one that the book does not have."""
        for character in text:
            if character not in self.characters:
                raise ValueError(
                    f"the model knows no character {character!r}; its book has "
                    f"{self.characters.strip()}"
                )
        return [self.characters.index(character) for character in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.characters[i] for i in ids)


@cache
def load() -> tuple[LanguageModel, Alphabet]:
    """The network, its weights widened from float16 to float32, and its alphabet."""
    arrays = datafiles.read("char_model.npz")
    sizes = {name: int(arrays[name]) for name in ("layers", "q_heads", "kv_heads", "d", "context")}
    config = Config(**sizes, rope_base=float(arrays["rope_base"]), eps=float(arrays["eps"]))
    weights = {
        name: value.astype(np.float32) for name, value in arrays.items() if name.endswith(".weight")
    }
    return LanguageModel(config, weights), Alphabet(str(arrays["alphabet"]))
