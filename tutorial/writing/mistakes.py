"""The known mistakes of an attention step: lines of the right step written wrongly, in the form of
`reference.mistake`.

A wrong step runs over the same passages as the reader's, and where both give the same answers, the
mistake has a name, whatever the reader's step looks like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..reference import edits
from ..reference.mistake import Mistake, read
from .caches import TILE, whole_tiles

STEP = """\
into = layer
at = position
turned = rotate(k, position)
cache.k[into, :, :d, at] = turned
cache.k[into, :, d, at] = 0.0
cache.v[into, :, :d, at] = v
queries = ones((d + 1, Hq), float32)
queries[:d] = rotate(q, position).T
n = whole_tiles(position + 1)
source = layer
K = cache.k[source][..., :n]
V = cache.v[source][..., :n]
o = kernel(queries, K, V, softmax_scale=1 / sqrt(d))[:, :d]
out = o.reshape(-1)
"""

MISTAKES = read(
    """
== new key not appended
The new key and value are not in the cache when the kernel runs: a token attends to itself too, so
they join the cache first.
    <k> => pass & <v> => pass {|& <mark> => pass}
    <k> => pass & <v> => pass & <after> <new k>; <new v>
    <k> => pass & <v> => pass & <mark> => pass & <after> <new k>; <new v>; <new mark>
== new key late
The new key joins the cache only after the kernel has run, its value before.
    <k> => pass & <after> <new k>
    <k> => pass & <mark> => pass & <after> <new k>; <new mark>
== new value late
The new value joins the cache only after the kernel has run, its key before.
    <v> => pass & <after> <new v>
== key never cached
The new key never joins the cache: every token's key is written once, when the token is new.
    <k> => pass {|& <mark> => pass}
== value never cached
The new value never joins the cache: every token's value is written once, when the token is new.
    <v> => pass
== cache one position off
The new token is written one column off: it belongs into column `position`, or it falls out of the
tiles that the kernel is given, or onto another token's column.
    at = position {+|-} 1
    at = max(position - 1, 0)
    <k> => cache.k[into, :, :d, at + 1] = turned {|& <mark> => cache.k[into, :, d, at + 1] = 0.0}
    <k> => cache.k[into, :, :d, at - 1] = turned {|& <mark> => cache.k[into, :, d, at - 1] = 0.0}
    <k> => cache.k[into, :, :d, max(at - 1, 0)] = turned
    <v> => cache.v[into, :, :d, {at + 1|at - 1|max(at - 1, 0)}] = v
    <k> => cache.k[into, :, :d, at + 1] = turned & <v> => cache.v[into, :, :d, at + 1] = v
    <k> => cache.k[into, :, :d, at - 1] = turned & <v> => cache.v[into, :, :d, at - 1] = v
== k and v swapped
K and V are swapped.
    <k> => cache.k[into, :, :d, at] = v & <v> => cache.v[into, :, :d, at] = turned
    K = cache.v[source][..., :n] & V = cache.k[source][..., :n]
== positions off by one
Query and key are both rotated to another position than the token's: the new token stands at
`position`, counted from 0.
    turned = rotate(k, position {+|-} 1) & queries[:d] = rotate(q, position {+|-} 1).T
== query position off by one
The query is rotated to another position than the token's: the new token stands at `position`,
counted from 0.
    queries[:d] = rotate(q, {position + 1|position - 1|max(position - 1, 0)}).T
== key position off by one
The key is rotated to another position than the token's: the new token stands at `position`,
counted from 0.
    turned = rotate(k, {position + 1|position - 1|max(position - 1, 0)})
== position restarts in every tile
The positions start from 0 in every tile: the new token is turned to `position`, counted from the
first token of all, and its column is column `position`.
    turned = rotate(k, position % TILE) {|& queries[:d] = rotate(q, position % TILE).T}
    queries[:d] = rotate(q, position % TILE).T
    at = position % TILE
== rotated twice
Query or key is rotated twice: each turns once to the token's position, before it is used.
    turned = rotate(rotate(k, position), position)
    queries[:d] = rotate(rotate(q, position), position).T
== not rotated
Query or key is not rotated: both turn to the token's position, and the key is cached turned.
    turned = k
    queries[:d] = q.T {|& turned = k}
== value rotated
The value is rotated; only queries and keys carry a position.
    <v> => cache.v[into, :, :d, at] = rotate(v, position)
== cache of another layer
The cache of another layer is used: every layer has its own, cache.k[layer] and cache.v[layer].
    {into|source} = <layer>
    <k> => cache.k[0, :, :d, at] = turned & <mark> => cache.k[0, :, d, at] = 0.0
        & K = cache.k[0][..., :n]
    <v> => cache.v[0, :, :d, at] = v & V = cache.v[0][..., :n]
    into = <layer> & source = <layer>
    <k> => cache.k[<layer>, :, :d, at] = turned
    <v> => cache.v[<layer>, :, :d, at] = v
    K = cache.k[<layer>][..., :n]
    V = cache.v[<layer>][..., :n]
== one cache for K and V
The kernel is given the same cache for K and for V: keys are kept in cache.k and make the scores,
values are kept in cache.v and are weighed.
    K = cache.v[source][..., :n]
    V = cache.k[source][..., :n]
== scale applied twice
The scale is applied twice, or is 1/d, which is the same: softmax_scale is 1/sqrt(d), by which the
kernel multiplies the scores, so the queries go in as they are.
    queries[:d] = rotate(q, position).T / sqrt(d) {|& o = kernel(queries, K, V)[:, :d]}
== scale missing
The scale is missing: softmax_scale is 1/sqrt(d).
    o = kernel(queries, K, V, softmax_scale=1.0)[:, :d]
== scale is sqrt(d)
The scores are multiplied by sqrt(d): softmax_scale is 1/sqrt(d).
    o = kernel(queries, K, V, softmax_scale=sqrt(d))[:, :d]
== scale of the padding row
The scale is that of d + 1 dimensions: by default the kernel takes 1/sqrt of the rows that it sees,
and the padding row is one of them. Give softmax_scale=1/sqrt(d).
    o = kernel(queries, K, V{|, softmax_scale=1 / sqrt(d + 1)})[:, :d]
== query heads mixed
The query heads are mixed up: the kernel takes them as columns, (d, Hq), in order: q.T, not a
reshape.
    queries[:d] = rotate(q, position).reshape(d, Hq)
    queries[:d] = rotate(q, position)[{::-1|strided}].T
== group taken with a stride
Query head h meets KV head h % Hkv; it is h // G: a group's query heads stand in a row, and so do
their outputs.
    queries[:d] = rotate(q, position)[strided].T & out = o[argsort(strided)].reshape(-1)
== key heads mixed
The heads of the new key and value are mixed up: row h is KV head h.
    turned = rotate(mixed(k), position) & <v> => cache.v[into, :, :d, at] = mixed(v)
    turned = mixed(rotate(k, position)) & <v> => cache.v[into, :, :d, at] = mixed(v)
    turned = rotate(k[::-1], position) & <v> => cache.v[into, :, :d, at] = v[::-1]
== one KV head for all
One KV head's new key or value is written for all of them: row h is KV head h.
    <k> => cache.k[into, :, :d, at] = turned[{0|-1}] {|& <v> => cache.v[into, :, :d, at] = v[0]}
    <v> => cache.v[into, :, :d, at] = v[{0|-1}]
== one KV head cached
Only the first KV head's new key or value joins the cache: every KV head has its own.
    <k> => cache.k[into, :1, :d, at] = turned[:1] {|& <mark> => cache.k[into, :1, d, at] = 0.0}
        {|& <v> => cache.v[into, :1, :d, at] = v[:1]}
    <v> => cache.v[into, :1, :d, at] = v[:1]
== output heads mixed
The heads of the output are mixed up: o is (Hq, d), and goes back head after head.
    out = o{.T|[::-1]|[strided]}.reshape(-1)
== padding row stays in the output
The padding row's column is still in the output: it is the last of d + 1, and the first d stay.
    o = kernel(queries, K, V, softmax_scale=1 / sqrt(d))[:, 1:]
    o = kernel(queries, K, V, softmax_scale=1 / sqrt(d)) & out = o.reshape(-1)[: Hq * d]
== padding weighed
The padding weighs: without a 1 in the query's padding row its score is 0, not -30000 times the
scale.
    queries = zeros((d + 1, Hq), float32)
== padding row first
The ones are the first row of the queries: the padding row is the last of d + 1, in the cache and in
the queries alike.
    queries[:d] = rotate(q, position).T => queries[1:] = rotate(q, position).T
== padding row not 0
The padding row of the new token's column is another number than 0, and is added to its scores:
cache.k[layer, :, d, position] = 0.
    <mark> => cache.k[into, :, d, at] = 1.0
== padding row not cleared
The padding row still says that there is no key in the new token's column: cache.k[layer, :, d,
position] = 0.
    <mark> => pass {|& <after> <new mark>}
    <mark> => cache.k[into, :, d, at {+|-} 1] = 0.0
== one tile only
The kernel is given one tile only, the last that holds keys: the new token attends over all keys so
far.
    K = cache.k[source][..., n - TILE : n] & V = cache.v[source][..., n - TILE : n]
== too few tiles
The kernel is given too few tiles: position p is in tile p // 128, so p // 128 + 1 tiles hold the
keys.
    n = {TILE|max(whole_tiles(position), TILE)}
""",
    {
        "k": "cache.k[into, :, :d",
        "mark": "cache.k[into, :, d,",
        "v": "cache.v[into",
        "after": "out = o.reshape(-1) => out = o.reshape(-1);",
        "new k": "cache.k[into, :, :d, at] = turned",
        "new mark": "cache.k[into, :, d, at] = 0.0",
        "new v": "cache.v[into, :, :d, at] = v",
        "layer": "{0|max(layer - 1, 0)|(layer - 1) % layers|(layer + 1) % layers}",
    },
)

_NAMES: dict[str, Any] = {
    **{name: getattr(np, name) for name in ("ones", "zeros", "float32", "argsort")},
    "sqrt": math.sqrt,
    "TILE": TILE,
    "whole_tiles": whole_tiles,
    "mixed": lambda x: x.reshape(x.shape[1], x.shape[0]).T,  # (heads, d) taken for (d, heads)
}


def step(text: str = STEP) -> Callable[..., Any]:
    """The attention step of a text."""
    code = compile(text, "<step>", "exec")

    def attention_step(
        q: Any, k: Any, v: Any, layer: int, position: int, cache: Any, rotate: Any, kernel: Any
    ) -> Any:
        n_q_heads, d = q.shape
        names = {
            **_NAMES,
            "q": q,
            "k": k,
            "v": v,
            "layer": layer,
            "position": position,
            "cache": cache,
            "rotate": rotate,
            "kernel": kernel,
            "Hq": n_q_heads,
            "d": d,
            "layers": len(cache.k),
            "strided": np.arange(n_q_heads).reshape(-1, len(k)).T.ravel(),
        }
        exec(code, names)
        return names["out"]

    return attention_step


def steps() -> Iterator[tuple[Mistake, Callable[..., Any]]]:
    """Every way of every known mistake, as an attention step."""
    for mistake in MISTAKES:
        for way in mistake.ways:
            text = edits.edited(STEP, way)
            assert text is not None, f"{mistake.key}: nothing to change"
            yield mistake, step(text)
