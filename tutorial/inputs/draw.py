"""Whose numbers the input families hold: the course's own, or those of a word."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

import numpy as np

Made = TypeVar("Made")
TILE = 128
"""Keys per tile in the stages' own method: keys become partitions, of which there are 128."""
LONG = 33 * TILE
"""Keys for which a kernel must carry its state on, however many of up to 4096 it takes at a time;
the last tile stands alone."""

_HEADS = ((8, 2), (6, 3), (4, 4), (10, 2), (8, 4), (5, 1), (12, 4), (6, 1))
"""(Hq, Hkv) of an exam: groups of 1 to 6 query heads, 1 to 4 KV heads."""


@dataclass(frozen=True)
class Draw:
    """Where every number of every input family comes from.

    `word` "" gives the course's own inputs, which the notebooks print; any other word gives whole
    families with other numbers, the same for the same word on every machine. `sizes` also gives
    other numbers of keys and heads where a case is not named after its own.
    """

    word: str = ""
    sizes: bool = False

    def rng(self, *parts: object) -> np.random.Generator:
        """A generator that depends on the word and on the parts' text only."""
        text = " ".join(map(str, parts))
        if not self.word:
            return np.random.default_rng(zlib.crc32(text.encode()))
        import hashlib  # takes 6 ms, most of which is OpenSSL

        digest = hashlib.sha256(f"{self.word}\0{text}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "little"))

    def stretch(self, *parts: object) -> float:
        """The factor by which a word changes the size of scores: 0.875 to 1.25; 1 without one."""
        if not self.word:
            return 1.0
        return (0.875, 1.0, 1.125, 1.25)[int(self.rng("stretch", *parts).integers(4))]

    def keys(self, n: int, *parts: object) -> int:
        """Another number of keys where sizes are drawn: whole tiles stay whole tiles, one tile
        stays one."""
        if not self.sizes:
            return n
        rng = self.rng("keys", n, *parts)
        if n % TILE:
            return max(n + int(rng.integers(-16, 17)), 33)
        if n == TILE:
            return n
        return max(n + TILE * int(rng.integers(-1, 3)), TILE)

    def heads(self, n_q: int, n_kv: int, *parts: object) -> tuple[int, int]:
        """Other numbers of query and KV heads where sizes are drawn."""
        if not self.sizes:
            return n_q, n_kv
        return _HEADS[int(self.rng("heads", n_q, n_kv, *parts).integers(len(_HEADS)))]

    def lengths(self, lengths: Sequence[int], *parts: object) -> tuple[int, ...]:
        """Other lengths of a batch where sizes are drawn, in another order; the longest stays."""
        if not self.sizes:
            return tuple(lengths)
        rng = self.rng("lengths", *lengths, *parts)
        most = max(lengths)
        moved = [
            n if n in (0, most) else int(np.clip(n + rng.integers(-3, 4), 1, most)) for n in lengths
        ]
        return tuple(moved[i] for i in rng.permutation(len(moved)))


OWN = Draw()
"""The course's own inputs."""


class OncePerDraw(Generic[Made]):
    """A function whose last argument is a draw, as a decorator: what it makes is kept, and the
    course's own inputs are the same whether `OWN` is given or left out."""

    def __init__(self, make: Callable[..., Made]) -> None:
        self._kept = cache(make)
        self.cache_clear = self._kept.cache_clear
        self.__doc__ = make.__doc__

    def __call__(self, *given: Hashable) -> Made:
        drawn = bool(given) and isinstance(given[-1], Draw)
        return self._kept(*given) if drawn else self._kept(*given, OWN)
