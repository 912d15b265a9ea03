"""Passages: pieces of text on which an attention step is checked, every step with the inputs that
it would have if all before it had been right. So one wrong step does not hide the next, and the
first that differs is the one to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..inputs.draw import OWN, Draw
from ..inputs.layouts import grouped_softmax, scale_of, validate_grouped
from ..stage import InputError
from . import charmodel
from .caches import TILE, NumpyCache, TiledCache
from .languagemodel import F32, Config, LanguageModel

BOOK = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do: once or twice she had peeped into the book"
)


class Place(NamedTuple):
    """One call of the attention step, and the right answer to it."""

    position: int
    layer: int
    q: F32  # (Hq, d)
    k: F32  # (Hkv, d)
    v: F32  # (Hkv, d)
    o: F32  # (Hq * d,)


@dataclass(frozen=True, eq=False)
class Passage:
    """Tokens of a text. The first `prefilled` of them are in the cache already, put there by the
    model itself."""

    family: str
    reveals: str
    model: LanguageModel
    tokens: tuple[str, ...]
    prefilled: int
    places: tuple[Place, ...] = field(repr=False)
    keys: NumpyCache = field(repr=False)

    def cache(self) -> TiledCache:
        """The cache as it is before the first step, with a tile to spare."""
        d, there = self.model.config.d, slice(0, self.prefilled)
        made = TiledCache(self.model.config, len(self.tokens) + TILE)
        made.k[:, :, :d, there] = self.keys.k[..., there]
        made.v[:, :, :d, there] = self.keys.v[..., there]
        made.k[:, :, d, there] = 0.0
        return made


def run_over(
    family: str,
    reveals: str,
    model: LanguageModel,
    ids: Sequence[int],
    tokens: Sequence[str],
    prefilled: int,
) -> Passage:
    """Run the model over the ids in NumPy, and keep what it asks of its attention and what the
    answers are."""
    keys = NumpyCache(model.config, len(ids))
    places: list[Place] = []

    def attention(q: F32, k: F32, v: F32, layer: int, position: int) -> F32:
        keys.append(layer, position, model.rotate(k, position), v)
        o = keys.attend(None, layer, position + 1, model.rotate(q, position)).reshape(-1)
        if position >= prefilled:
            places.append(Place(position, layer, q, k, v, o))
        return o

    for position, token in enumerate(ids):
        model.step(token, position, attention)
    return Passage(family, reveals, model, tuple(tokens), prefilled, tuple(places), keys)


def of_text(family: str, reveals: str, text: str, prefilled: int = 0) -> Passage:
    """A passage for the course's own model over a text. ValueError for a character that it does not
    know."""
    model, alphabet = charmodel.load()
    return run_over(family, reveals, model, alphabet.encode(text), text, prefilled)


def random_network(
    layers: int, q_heads: int, kv_heads: int, d: int, draw: Draw = OWN
) -> LanguageModel:
    """A network of other sizes with random weights, whose scores are a few units apart."""
    rng = draw.rng("network", layers, q_heads, kv_heads, d)
    width = q_heads * d
    shapes = {
        "attn_norm": (width,),
        "ffn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (kv_heads * d, width),
        "attn_v": (kv_heads * d, width),
        "attn_output": (width, width),
        "ffn_gate": (d, width),
        "ffn_up": (d, width),
        "ffn_down": (width, d),
    }
    weights = {
        f"blk.{i}.{name}.weight": _random(rng, shape)
        for i in range(layers)
        for name, shape in shapes.items()
    }
    weights |= {
        "token_embd.weight": _random(rng, (16, width)),
        "output_norm.weight": np.ones(width, np.float32),
    }
    return LanguageModel(
        Config(layers, q_heads, kv_heads, d, rope_base=10000.0, eps=1e-5, context=4096), weights
    )


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> F32:
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    found: F32 = (rng.standard_normal(shape) * 1.5 / np.sqrt(shape[-1])).astype(np.float32)
    return found


def _excerpt(length: int, draw: Draw) -> str:
    """The beginning of the book; with a word, so many characters from elsewhere in it."""
    most = len(BOOK) - length
    start = int(draw.rng("passage", length).integers(most + 1)) if draw.word and most > 0 else 0
    return BOOK[start : start + length]


@cache
def passages(draw: Draw = OWN) -> tuple[Passage, ...]:
    """The passages of the check, each for mistakes that the others do not show."""
    other = random_network(2, 6, 2, 16, draw)
    ids = [int(i) for i in draw.rng("ids").integers(0, 16, 2 * TILE + 2)]
    words = _excerpt(8, draw)
    tiles, few = "columns and tiles off by one, positions other than the prompt's", ids[:5]
    third = "a number of tiles that is right for one or two only"

    def of_ids(family: str, reveals: str, ids: list[int], prefilled: int = 0) -> Passage:
        tokens = [f"token {i}" for i in ids]
        return run_over(family, reveals, other, ids, tokens, prefilled)

    return (
        of_text("first words", "what is not in the cache, heads, layers, scale", words),
        of_text("across a tile", tiles, _excerpt(131, draw), 124),
        of_ids("another network", "sizes written as numbers", few),
        of_ids("into a third tile", third, ids, 2 * TILE - 2),
    )


# -- running a step over a passage -----------------------------------------------------------------
MOST_CALLS = 1000
"""Of the kernel, in one step; one is enough."""


class Refusal(Exception):
    """The kernel does not take what the step gives it; the text is one sentence."""


class Call(NamedTuple):
    """What the step gave the kernel, and the kernel's answer."""

    q: F32
    k: F32
    v: F32
    scale: float
    o: F32  # (Hq, d) for q (d, Hq)


class StandInKernel:
    """Stage 4's kernel as far as a step can tell: the same inputs, refusals and answers; and it
    remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> F32:
        if len(self.calls) >= MOST_CALLS:
            raise Refusal(f"{MOST_CALLS:,} calls for one token and layer are too many.")
        try:
            validate_grouped({"q": q, "k": k, "v": v, "softmax_scale": softmax_scale})
        except InputError as error:
            raise Refusal(str(error)) from error
        scale = scale_of(softmax_scale, k.shape[1])
        o: F32 = grouped_softmax(q.T, k, v, scale).astype(np.float32)
        self.calls.append(Call(q.copy(), k.copy(), v.copy(), scale, o.copy()))
        return o


def take(
    step: Callable[..., Any], place: Place, cache: Any, model: LanguageModel, kernel: StandInKernel
) -> Any:
    """Call the step at one place."""
    given = (place.q.copy(), place.k.copy(), place.v.copy(), place.layer, place.position)
    return step(*given, cache, model.rotate, kernel)
