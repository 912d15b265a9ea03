"""The known mistakes of an attention step: what each would answer, and its sentence.

A wrong step is the right one with one thing done wrongly. It runs over the same passages as the
reader's step, and where both give the same answers, the mistake has a name, whatever the reader's
step looks like.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .caches import TILE, whole_tiles

TURNED = (
    "{} rotated to another position than the token's: the new token stands at `position`, "
    "counted from 0."
)
SHIFTED = (("key", "mark", "value"), ("key", "mark"), ("key",), ("value",))


@dataclass(frozen=True)
class WrongStep:
    """What goes wrong; the defaults are right."""

    # the kernel runs: when key and value join the cache; "after", "never", "key late", "value late"
    append: str = "before"
    shift: int = 0  # columns off, of what is in `shifted`
    shifted: tuple[str, ...] = ("key", "mark", "value")
    swap: str = ""  # K and V, in the "cache" or in the "call"
    turn_q: int | None = 0  # positions off; None for no rotation at all
    turn_k: int | None = 0
    turn_v: bool = False
    write: str = "own"  # the layer whose cache is written: "own", "first", "previous", "next"
    read: str = "own"
    scale: str = "own"  # "twice", "none", the "default" of the kernel, or "twice default"
    q_heads: str = "own"  # how a matrix of heads is laid out: see `_heads`
    kv_heads: str = "own"
    o_heads: str = "own"
    # the padding row is cleared with the key, "before" the kernel in any case, "after" it, or
    # "never"
    mark: str = "key"
    one: bool = True  # the query has a 1 in its padding row
    tiles: str = "own"  # "late" are those that held the keys before; the "first"

    def step(
        self,
        q: Any,
        k: Any,
        v: Any,
        layer: int,
        position: int,
        cache: Any,
        rotate: Any,
        kernel: Any,
    ) -> Any:
        """An attention step with this mistake in it."""
        d = q.shape[1]
        write, read = (_layer(which, layer, len(cache.k)) for which in (self.write, self.read))
        k, v = self._key_and_value(k, v, position, rotate)
        key_at, mark_at, value_at = (
            position + self.shift * (what in self.shifted) for what in ("key", "mark", "value")
        )

        def append(key: bool, value: bool) -> None:
            if key:
                cache.k[write, :, :d, key_at] = k
            if key and self.mark == "key":
                cache.k[write, :, d, mark_at] = 0.0
            if value:
                cache.v[write, :, :d, value_at] = v

        if self.mark == "before":
            cache.k[write, :, d, mark_at] = 0.0
        append(
            key=self.append in ("before", "value late"), value=self.append in ("before", "key late")
        )
        queries, scale = self._queries(q, position, rotate, len(k))
        n = {
            "own": whole_tiles(position + 1),
            "late": max(whole_tiles(position), TILE),
            "first": TILE,
        }[self.tiles]
        pair = (cache.k[read][..., :n], cache.v[read][..., :n])
        o = kernel(queries, *(pair[::-1] if self.swap == "call" else pair), softmax_scale=scale)[
            :, :d
        ]
        append(
            key=self.append in ("after", "key late"), value=self.append in ("after", "value late")
        )
        if self.mark == "after":
            cache.k[write, :, d, mark_at] = 0.0
        return (
            o.T.reshape(-1)
            if self.o_heads == "transposed"
            else _heads(self.o_heads, o, len(k)).reshape(-1)
        )

    def _key_and_value(self, k: Any, v: Any, position: int, rotate: Any) -> tuple[Any, Any]:
        """What goes into the caches of K and V: heads and rotation with this mistake."""
        if self.kv_heads != "reshaped late":
            k, v = (_heads(self.kv_heads, x, len(k)) for x in (k, v))
        k = k if self.turn_k is None else rotate(k, position + self.turn_k)
        if self.kv_heads == "reshaped late":  # after the rotation
            k, v = (_heads("reshaped", x, len(k)) for x in (k, v))
        v = rotate(v, position) if self.turn_v else v
        if self.swap == "cache":
            k, v = v, k
        return k, v

    def _queries(
        self, q: Any, position: int, rotate: Any, n_kv_heads: int
    ) -> tuple[Any, float | None]:
        """The queries as the kernel takes them (d + 1, Hq), and the scale that it is given."""
        n_q_heads, d = q.shape
        queries = np.full((d + 1, n_q_heads), 1.0 if self.one else 0.0, np.float32)
        turned = q if self.turn_q is None else rotate(q, position + self.turn_q)
        queries[:d] = (
            turned.reshape(d, n_q_heads)
            if self.q_heads == "reshaped"
            else _heads(self.q_heads, turned, n_kv_heads).T
        )
        scale: float | None = 1.0 / math.sqrt(d)
        if self.scale.startswith("twice"):
            queries[:d] *= np.float32(1.0 / math.sqrt(d))
        if self.scale.endswith("default") or self.scale == "none":
            scale = 1.0 if self.scale == "none" else None
        return queries, scale


def _layer(which: str, layer: int, layers: int) -> int:
    return {
        "own": layer,
        "first": 0,
        "previous": (layer - 1) % layers,
        "next": (layer + 1) % layers,
    }[which]


def _heads(which: str, x: Any, n_kv_heads: int) -> Any:
    """The rows of x (heads, d), mixed up as named."""
    if which == "reshaped":  # taken for (d, heads)
        return np.ascontiguousarray(x.reshape(x.shape[1], x.shape[0]).T)
    if which == "reversed":
        return x[::-1]
    # 0, Hkv, 2 Hkv, ..., 1, Hkv + 1, ...
    strided = np.arange(len(x)).reshape(-1, n_kv_heads).T.ravel()
    return x[{"own": slice(None), "strided": strided, "strided back": np.argsort(strided)}[which]]


@dataclass(frozen=True)
class StepMistake:
    """A known mistake: its key, its sentence, and the ways to make it."""

    cause: str
    sentence: str
    ways: tuple[WrongStep, ...]


MISTAKES = (
    StepMistake(
        "new key not appended",
        "The new key and value are not in the cache when the kernel runs: a token attends to "
        "itself too, so they join the cache first.",
        tuple(
            WrongStep(append=when, mark=mark)
            for when in ("after", "never")
            for mark in ("key", "before")
        ),
    ),
    StepMistake(
        "new key late",
        "The new key joins the cache only after the kernel has run, its value before.",
        (WrongStep(append="key late"), WrongStep(append="key late", mark="before")),
    ),
    StepMistake(
        "new value late",
        "The new value joins the cache only after the kernel has run, its key before.",
        (WrongStep(append="value late"),),
    ),
    StepMistake(
        "cache one position off",
        "The new token is written one column off: it belongs into column `position`, or it falls "
        "out of the tiles that the kernel is given, or onto another token's column.",
        tuple(WrongStep(shift=by, shifted=what) for what in SHIFTED for by in (1, -1)),
    ),
    StepMistake(
        "k and v swapped", "K and V are swapped.", (WrongStep(swap="cache"), WrongStep(swap="call"))
    ),
    StepMistake(
        "positions off by one",
        TURNED.format("Query and key are both"),
        (WrongStep(turn_q=1, turn_k=1), WrongStep(turn_q=-1, turn_k=-1)),
    ),
    StepMistake(
        "query position off by one",
        TURNED.format("The query is"),
        (WrongStep(turn_q=1), WrongStep(turn_q=-1)),
    ),
    StepMistake(
        "key position off by one",
        TURNED.format("The key is"),
        (WrongStep(turn_k=1), WrongStep(turn_k=-1)),
    ),
    StepMistake(
        "not rotated",
        "Query or key is not rotated: both turn to the token's position, and "
        "the key is cached turned.",
        (WrongStep(turn_q=None, turn_k=None), WrongStep(turn_q=None), WrongStep(turn_k=None)),
    ),
    StepMistake(
        "value rotated",
        "The value is rotated; only queries and keys carry a position.",
        (WrongStep(turn_v=True),),
    ),
    StepMistake(
        "cache of another layer",
        "The cache of another layer is used: every layer has its own, cache.k[layer] and "
        "cache.v[layer].",
        (
            WrongStep(write="first", read="first"),
            *(WrongStep(read=which) for which in ("first", "previous", "next")),
            *(WrongStep(write=which) for which in ("first", "previous", "next")),
            *(WrongStep(write=which, read=which) for which in ("previous", "next")),
        ),
    ),
    StepMistake(
        "scale applied twice",
        "The scale is applied twice: the kernel multiplies the scores by softmax_scale, so "
        "the queries go in as they are.",
        (WrongStep(scale="twice"), WrongStep(scale="twice default")),
    ),
    StepMistake(
        "scale missing",
        "The scale is missing: softmax_scale is 1/sqrt(d).",
        (WrongStep(scale="none"),),
    ),
    StepMistake(
        "scale of the padding row",
        "The scale is that of d + 1 dimensions: by default the kernel takes 1/sqrt of the rows "
        "that it sees, and the padding row is one of them. Give softmax_scale=1/sqrt(d).",
        (WrongStep(scale="default"),),
    ),
    StepMistake(
        "query heads mixed",
        "The query heads are mixed up: the kernel takes them as columns, (d, Hq), in order: "
        "q.T, not a reshape.",
        tuple(WrongStep(q_heads=how) for how in ("reshaped", "reversed", "strided")),
    ),
    StepMistake(
        "group taken with a stride",
        "Query head h meets KV head h % Hkv; it is h // G: a group's query heads stand in a "
        "row, and so do their outputs.",
        (WrongStep(q_heads="strided", o_heads="strided back"),),
    ),
    StepMistake(
        "key heads mixed",
        "The heads of the new key and value are mixed up: row h is KV head h.",
        tuple(WrongStep(kv_heads=how) for how in ("reshaped", "reshaped late", "reversed")),
    ),
    StepMistake(
        "output heads mixed",
        "The heads of the output are mixed up: o is (Hq, d), and goes back head after head.",
        tuple(WrongStep(o_heads=how) for how in ("transposed", "reversed", "strided")),
    ),
    StepMistake(
        "padding weighed",
        "The padding weighs: without a 1 in the query's padding row its score is 0, not "
        "-30000 times the scale.",
        (WrongStep(one=False),),
    ),
    StepMistake(
        "padding row not cleared",
        "The padding row still says that there is no key in the new token's column: "
        "cache.k[layer, :, d, position] = 0.",
        (WrongStep(mark="never"), WrongStep(mark="after")),
    ),
    StepMistake(
        "too few tiles",
        "The kernel is given too few tiles: position p is in tile p // 128, so p // 128 + 1 "
        "tiles hold the keys.",
        (WrongStep(tiles="late"), WrongStep(tiles="first")),
    ),
)


def steps() -> tuple[tuple[StepMistake, Callable[..., Any]], ...]:
    """Every way of every known mistake, as an attention step."""
    return tuple((mistake, way.step) for mistake in MISTAKES for way in mistake.ways)
