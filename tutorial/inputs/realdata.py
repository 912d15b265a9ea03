"""Attention inputs of a real language model: q, K and V of SmolLM2-135M as it reads a page of
English.

``load(layer, n)`` gives one decode step: the query of token n-1 against the keys and values of
tokens 0..n-1, in the course's layout, with the attention output of the model as the answer.
Provenance and licence: ``data/README.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from . import datafiles

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class RealCase:
    """One decode step of one layer; q and k carry the position encoding, and no softmax scale (it
    is 1/sqrt(d) = 1/8).

    Every value of q, k and v is a float16 number held in float32, so casting to fp16 on the way
    into a kernel loses nothing. ``o`` is attention on exactly these values, computed in float64.
    ``o_model`` is what the model itself computed before q, k and v were rounded for storage; it
    differs from ``o`` by less than 0.5 % of its largest value.
    """

    q: F32  # (d, Hq) = (64, 9)
    k: F32  # (Hkv, d, n) = (3, 64, n)
    v: F32  # (Hkv, d, n)
    o: F32  # (Hq, d)
    o_model: F32  # (Hq, d)
    layer: int  # of the model's 30, counted from 0
    n: int
    tokens: list[str]  # the n tokens as text; the query belongs to the last

    @property
    def text(self) -> str:
        """What the model has read so far."""
        return "".join(self.tokens)

    def head(self, h: int) -> tuple[F32, F32, F32, F32]:
        """Query head h alone: q (d, 1), k (d, n), v (d, n), o (1, d). Raises ValueError if there is
        no such head."""
        g = self._kv_head(h)
        return (
            self.q[:, h : h + 1].copy(),
            self.k[g].copy(),
            self.v[g].copy(),
            self.o[h : h + 1].copy(),
        )

    def looks_at(self, h: int, count: int = 4) -> list[tuple[int, str, float]]:
        """Where query head h looks: (position, text, softmax weight) of ``count`` tokens, the
        largest weight first.

        Raises ValueError if there is no such head.
        """
        k = self.k[self._kv_head(h)].astype(np.float64)
        qk = self.q[:, h].astype(np.float64) @ k / np.sqrt(k.shape[0])
        p = np.exp(qk - qk.max())
        p /= p.sum()
        best = np.argsort(-p, kind="stable")[:count]
        return [(int(i), self.tokens[i], float(p[i])) for i in best]

    def _kv_head(self, h: int) -> int:
        """The key/value head that query head h reads."""
        q_heads: int = self.q.shape[1]
        if not 0 <= h < q_heads:
            raise ValueError(
                f"query head {h!r} does not exist; the model has heads 0 to {q_heads - 1}"
            )
        return h // (q_heads // len(self.k))


def load(layer: int | None = None, n: int = 1024) -> RealCase:
    """The decode step of ``layer`` (None: the first stored one) after n tokens; fresh arrays at
    each call.

    Raises ValueError for a layer or a length that is not stored, FileNotFoundError if the data file
    is missing.
    """
    if layer is None:
        layer = layers()[0]
    if layer not in layers():
        raise ValueError(
            f"layer {layer!r} is not stored; the stored layers of the model are {_listed(layers())}"
        )
    if n not in lengths():
        raise ValueError(
            f"length n = {n!r} is not stored; the stored lengths are {_listed(lengths())}"
        )
    data, a, b = _data(), layers().index(layer), lengths().index(n)
    return RealCase(
        q=data["q"][a, b].astype(np.float32),
        k=data["k"][a, :, :, :n].astype(np.float32),
        v=data["v"][a, :, :, :n].astype(np.float32),
        o=data["o"][a, b].copy(),
        o_model=data["o_model"][a, b].copy(),
        layer=layer,
        n=n,
        tokens=tokens(n),
    )


def layers() -> list[int]:
    """Layers of the model that are stored, counted from 0."""
    return [int(layer) for layer in _data()["layers"]]


def lengths() -> list[int]:
    """Numbers of tokens at which a query is stored, ascending."""
    return [int(n) for n in _data()["lengths"]]


def tokens(n: int = 1024) -> list[str]:
    """Text of the first n tokens that the model read. Raises ValueError unless 1 <= n <= the
    longest stored length."""
    stored = _data()["tokens"]
    if not 1 <= n <= len(stored):
        raise ValueError(f"{n} tokens are not stored; there are 1 to {len(stored)}")
    return [str(token) for token in stored[:n]]


@cache
def _data() -> dict[str, NDArray[np.generic]]:
    """The arrays of the data file, read once; ``data/README.md`` has their shapes."""
    return datafiles.read("smollm2_attention.npz")


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
