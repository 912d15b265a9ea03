"""The method of each stage as a text of NumPy, and what becomes of it when lines are written
wrongly.

A known mistake is a line of the twin, written wrongly: `alpha = exp(m - m_new)` as `alpha =
exp(m_new - m)`. The edited text is compiled and run on small inputs; a kernel that answers like it
on all of them has made that mistake, whatever its style. Only the texts of this package are
compiled so, never a reader's.

A way to make a mistake is a few edits, joined by ` & `. An edit is `old => new`, where `old` is the
beginning of the lines that it replaces, or just the wrong line, which then takes the place of the
line that begins most like it. `[2] old => new` changes the second such line only. `{a|b}` stands
for two ways.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import product
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nkisim.machine import narrow

from .attention import Attention

F32 = NDArray[np.float32]
Tiles = Sequence[NDArray[np.intp]]
LOWEST = float(np.finfo(np.float32).min)
LANES = 128

_TILE = """\
k_tile = k[b, h][:, keys]
v_tile = v[b, h][:, keys]
raw = q_tile @ k_tile
qk = scale * raw
padding = keys >= lengths[b]
qk = where(padding, LOWEST, qk)
v_tile = where(padding, 0, v_tile)
m_tile = qk.max(axis=1, keepdims=True)
m_new = maximum(m, m_tile)
alpha = exp(m - m_new)
p = exp(qk - m_new)
l = l * alpha + p.sum(axis=1, keepdims=True)
acc = acc * alpha + p @ v_tile.T
m = m_new
keep(h, m=m, l=l, acc=acc, alpha=alpha)
"""

_ONE_PASS = """\
for b in range(B):
    for h in range(Hkv):
        m = full((G, 1), LOWEST)
        l = zeros((G, 1))
        acc = zeros((G, d))
        q_tile = q[b, h * G : (h + 1) * G]
        for t, keys in enumerate(tiles):
            <tile>
        o[b, h * G : (h + 1) * G] = acc / l
"""

_PASSES = """\
for b in range(B):
    for h in range(Hkv):
        m = full((G, 1), LOWEST)
        l = zeros((G, 1))
        acc = zeros((G, d))
        q_tile = q[b, h * G : (h + 1) * G]
        for t, keys in enumerate(tiles):
            <scores>
            m_tile = qk.max(axis=1, keepdims=True)
            m = maximum(m, m_tile)
            keep(h, m=m)
        for t, keys in enumerate(tiles):
            <scores>
            p = exp(qk - m)
            l = l + p.sum(axis=1, keepdims=True)
            keep(h, l=l)
        for t, keys in enumerate(tiles):
            <scores>
            v_tile = v[b, h][:, keys]
            v_tile = where(padding, 0, v_tile)
            p = exp(qk - m)
            acc = acc + p @ v_tile.T
            keep(h, acc=acc)
        o[b, h * G : (h + 1) * G] = acc / l
"""

_HEADS_IN_TURN = """\
for b in range(B):
    for h in range(Hkv):
        m, l, acc = full((G, 1), LOWEST), zeros((G, 1)), zeros((G, d))
        for t, keys in enumerate(tiles):
            padding = keys >= lengths[b]
            v_tile = where(padding, 0, v[b, h][:, keys])
            for g in range(G):
                qk = where(padding, LOWEST, scale * (q[b, h * G + g] @ k[b, h][:, keys]))
                m_new = maximum(m[g], qk.max())
                alpha = exp(m[g] - m_new)
                p = exp(qk - m_new)
                l[g] = l[g] * alpha + p.sum()
                acc[g] = acc[g] * alpha + v_tile @ p
                m[g] = m_new
        o[b, h * G : (h + 1) * G] = acc / l
"""

_SPLITS = """\
b = 0
M, L, A = full((S, Hq, 1), LOWEST), zeros((S, Hq, 1)), zeros((S, Hq, d))
for s, tiles in enumerate(splits):
    for h in range(Hkv):
        m = full((G, 1), LOWEST)
        l = zeros((G, 1))
        acc = zeros((G, d))
        q_tile = q[b, h * G : (h + 1) * G]
        for t, keys in enumerate(tiles):
            <tile>
        M[s, h * G : (h + 1) * G] = m
        L[s, h * G : (h + 1) * G] = l
        A[s, h * G : (h + 1) * G] = acc
<merge>
"""

_MERGE_IN_TURN = """\
m, l, acc = full((Hq, 1), LOWEST), zeros((Hq, 1)), zeros((Hq, d))
for s in range(S):
    m_a, l_a, acc_a = m, l, acc
    m_b, l_b, acc_b = M[s], L[s], A[s]
    m = maximum(m_a, m_b)
    a = exp(m_a - m)
    b_ = exp(m_b - m)
    l = l_a * a + l_b * b_
    acc = acc_a * a + acc_b * b_
o[0] = acc / l
"""

_MERGE_AT_ONCE = """\
m = M.max(axis=0)
weight = exp(M - m)
l = (L * weight).sum(axis=0)
acc = (A * weight).sum(axis=0)
o[0] = acc / l
"""


def _filled(text: str, **parts: str) -> str:
    """`text` with the lines of its <parts>, indented as the part is."""
    for name, part in parts.items():
        made = []
        for line in text.splitlines():
            indent = line[: len(line) - len(line.lstrip())]
            own = part.splitlines() if line.strip() == f"<{name}>" else [line.lstrip()]
            made += [indent + one for one in own]
        text = "\n".join(made) + "\n"
    return text


_SCORES = "".join(line + "\n" for line in _TILE.splitlines()[:6] if not line.startswith("v_tile"))
_FROM_BLOCKS = """\
entry = block_table[b][keys // block]
at = keys % block
k_tile = pick(k_blocks, entry, h, at).T
v_tile = pick(v_blocks, entry, h, at).T
"""
ONE_PASS = _filled(_ONE_PASS, tile=_TILE)
PASSES = _filled(_PASSES, scores=_SCORES)
HEADS_IN_TURN = _HEADS_IN_TURN
PAGED = _filled(_ONE_PASS, tile=_FROM_BLOCKS + _TILE[_TILE.index("raw =") :])
SPLITS_IN_TURN, SPLITS_AT_ONCE = (
    _filled(_SPLITS, tile=_TILE, merge=merge) for merge in (_MERGE_IN_TURN, _MERGE_AT_ONCE)
)


# -- edits ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """`new` in place of the lines that begin with `old` (of the `which`th, counted from 1; 0: of
    all)."""

    old: str
    new: str
    which: int = 0


Way = tuple[Edit, ...]


@cache
def ways(text: str) -> tuple[Way, ...]:
    """The ways that a line of a table stands for."""
    return tuple(tuple(map(_edit, one.split(" & "))) for one in _expanded(text))


def _expanded(text: str) -> Iterator[str]:
    pieces = re.split(r"\{([^{}]*\|[^{}]*)\}", text)
    for chosen in product(*(piece.split("|") for piece in pieces[1::2])):
        yield "".join(a + b for a, b in zip(pieces[::2], (*chosen, ""), strict=True))


def _edit(text: str) -> Edit:
    found = re.fullmatch(r"(?:\[(\d)\] )?(?:(.*?) => )?(.*)", text.strip())
    assert found is not None
    return Edit((found[2] or "").strip(), found[3].strip(), int(found[1] or 0))


@lru_cache(maxsize=8192)
def edited(text: str, way: Way) -> str | None:
    """`text` with the edits of a way; None where one of them finds nothing to change."""
    lines = text.splitlines()
    for edit in way:
        places = _places(lines, edit)
        if not places:
            return None
        for place in places:
            indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
            lines[place] = indent + edit.new
    return "\n".join(lines) + "\n"


def _places(lines: Sequence[str], edit: Edit) -> list[int]:
    """Which lines an edit replaces."""
    bare = [line.strip() for line in lines]
    old = edit.old or _most_alike(bare, edit.new)
    places = [i for i, line in enumerate(bare) if old and line.startswith(old)]
    if edit.which:
        places = places[edit.which - 1 : edit.which]
    return [i for i in places if bare[i] != edit.new]


def _most_alike(lines: Sequence[str], wrong: str) -> str:
    """The line that assigns to the same name and begins most like a wrong one; "" if none does."""
    target = wrong[: wrong.find(" = ") + 3]
    if len(target) < 4:
        return ""
    words = set(re.findall(r"\w+", wrong))
    alike = {
        line: (_common(line, wrong), len(words & set(re.findall(r"\w+", line))))
        for line in lines
        if line.startswith(target)
    }
    most = max(alike.values(), default=(0, 0))
    best = [line for line, how_much in alike.items() if how_much == most]
    return best[-1] if best else ""


def _common(a: str, b: str) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


# -- running -------------------------------------------------------------------------------------


@dataclass
class Ran:
    """What a text gives: the output, and what it kept after every tile, by name, in order."""

    o: F32
    kept: dict[str, list[F32]] = field(default_factory=dict)


def texts(attention: Attention, blocks: bool = False) -> tuple[str, ...]:
    """The texts of the methods that solve a problem; `blocks` says that its keys lie in blocks."""
    if attention.splits:
        return SPLITS_IN_TURN, SPLITS_AT_ONCE
    if blocks:
        return (PAGED,)
    if attention.lengths is not None or attention.group == 1:
        return ONE_PASS, PASSES
    return ONE_PASS, PASSES, HEADS_IN_TURN


def names(attention: Attention, tiles: Tiles, splits: Sequence[Tiles] = ()) -> dict[str, Any]:
    """What a text reads: the arrays of a problem in float32, its sizes, and the keys of its tiles.

    Tiles may reach beyond n: what they hold there is 0.
    """
    parts = attention.parts
    k, v = (np.asarray(x, np.float32) for x in (attention.k, attention.v))
    beyond = max((int(keys.max()) + 1 for keys in tiles if len(keys)), default=0) - attention.n
    if beyond > 0:
        k, v = (np.pad(x, ((0, 0), (0, 0), (0, beyond))) for x in (k, v))
    lengths = np.full(parts, attention.n) if attention.lengths is None else attention.lengths
    q = np.asarray(attention.q, np.float32).reshape(parts, -1, attention.d)
    return {
        "q": q,
        "k": k.reshape(parts, -1, *k.shape[1:]),
        "v": v.reshape(parts, -1, *v.shape[1:]),
        "o": np.full(q.shape, np.nan, np.float32),
        "scale": np.float32(attention.scale),
        "given": attention.explicit_scale,
        "lengths": np.asarray(lengths, np.int64).reshape(-1),
        "B": parts,
        "Hq": q.shape[1],
        "Hkv": attention.n_kv_heads // parts,
        "G": attention.group,
        "d": attention.d,
        "n": attention.n,
        "tiles": list(tiles),
        "whole": list(tiles),
        "splits": list(splits),
        "S": attention.splits,
        "up": -(-len(tiles) // max(attention.splits, 1)),
    }


def one_head_each(given: Mapping[str, Any]) -> dict[str, Any]:
    """The same problem with a KV head for every query head, so that the heads come in turn."""
    k, v = (np.repeat(given[name], given["G"], axis=1) for name in "kv")
    return {**given, "k": k, "v": v, "Hkv": given["Hq"], "G": 1}


def run(text: str, given: Mapping[str, Any]) -> Ran | None:
    """Run a text on the names that it reads; None where it cannot be run on them."""
    ran = Ran(np.full_like(given["o"], np.nan))
    latest: dict[int | None, dict[str, F32]] = {}

    def keep(head: int, **state: F32) -> None:
        for name, value in state.items():
            ran.kept.setdefault(name, []).append(value)
        latest.setdefault(head, {}).update(state)
        latest.setdefault(None, {}).update(state)

    def left(name: str, head: int | None, fresh: F32) -> F32:
        """What the last tile left there; `fresh` where none was."""
        return latest.get(head, {}).get(name, fresh)

    known = {**_NAMES, **given, "o": ran.o, "keep": keep, "left": left}
    try:
        with np.errstate(all="ignore"):
            exec(_code(text), known)
    except (IndexError, ValueError, ZeroDivisionError, NameError, TypeError):
        return None
    return ran


_ANSWERS: dict[tuple[str, bytes], Answered | None] = {}
MOST_ANSWERS = 8192  # of some kilobytes each


class Answered(NamedTuple):
    """A text's output, and the smallest of its sums that is not 0."""

    o: F32
    least: float


def answer(text: str, given: Mapping[str, Any], digest: bytes) -> Answered | None:
    """What `run(text, given)` answers. It is remembered, as the small inputs of a stage are the
    same for every kernel; `digest` is that of `given`."""
    key = (text, digest)
    if key not in _ANSWERS:
        ran = run(text, given)
        if len(_ANSWERS) >= MOST_ANSWERS:
            _ANSWERS.clear()
        _ANSWERS[key] = None if ran is None else Answered(ran.o, _least(ran.kept.get("l", [])))
    return _ANSWERS[key]


def _least(sums: Sequence[F32]) -> float:
    """The smallest size of a number that is not 0."""
    sizes = [np.abs(x[x != 0]) for x in sums]
    return min((float(x.min()) for x in sizes if x.size), default=1.0)


def digest(given: Mapping[str, Any]) -> bytes:
    """A short name of what a text reads: names, numbers, and arrays with shape, type and bytes."""
    made = hashlib.blake2b(digest_size=16)

    def add(value: Any) -> None:
        if isinstance(value, list):
            made.update(b"[%d" % len(value))
            for each in value:
                add(each)
        elif isinstance(value, np.ndarray):
            made.update(f"{value.dtype} {value.shape}".encode())
            made.update(value.tobytes())
        else:
            made.update(f"{type(value).__name__} {value}".encode())

    for name in sorted(given):
        made.update(name.encode())
        add(given[name])
    return made.digest()


@lru_cache(maxsize=8192)
def _code(text: str) -> CodeType:
    return compile(text, "<twin>", "exec")


def _full(shape: tuple[int, ...], value: float) -> F32:
    return np.full(shape, value, np.float32)


def _bf16(value: Any) -> Any:
    return narrow.rounded_to_bfloat16(np.asarray(value, np.float32))


def _turned(count: int, back: int) -> NDArray[np.intp]:
    """Place t 128 + p holds p T + t; `back` the other way round."""
    order = np.arange(count).reshape((-1, LANES) if back else (LANES, -1))
    return order.T.reshape(-1)


def _pieces(count: int, width: int, back: int) -> NDArray[np.intp]:
    """`_turned` inside pieces of that width."""
    inside = _turned(width, back)
    return (np.arange(0, count, width)[:, None] + inside).reshape(-1)


def _other(count: int, width: int, rule: int) -> NDArray[np.intp]:
    """Pieces of `width` in the place of others: 0 the first, -1 the one before, 1 the next, 2 the
    last."""
    t = np.arange(count // width)
    source = {0: 0 * t, -1: np.maximum(t - 1, 0), 1: np.minimum(t + 1, len(t) - 1)}
    chosen = source.get(rule, 0 * t + len(t) - 1)
    return (chosen[:, None] * width + np.arange(width)).reshape(-1)


def _lanes(p: F32) -> F32:
    """The weights (G, keys) as (G, T, 128), where partition p has the keys p T + t."""
    return p.reshape(len(p), LANES, -1).swapaxes(1, 2)


def _dealt(p: F32, lane: Any) -> F32:
    """The sums (G, 128) of the weights (G, keys) whose keys lie on each lane."""
    return np.stack([p[:, lane == i].sum(axis=1) for i in range(LANES)], axis=1)


def _pick(blocks: F32, entry: Any, h: int, at: Any) -> F32:
    """Rows (keys, d) of a pool; 0 where an entry is no block, which is what a skipped transfer
    leaves."""
    inside = (entry >= 0) & (entry < len(blocks))
    return np.where(inside[:, None], blocks[np.where(inside, entry, 0), h, at], np.float32(0))


def _flat(blocks: F32, row: Any) -> F32:
    """Rows of a pool seen as (n_blocks * Hkv * block, d)."""
    rows = blocks.reshape(-1, blocks.shape[-1])
    found: F32 = rows.take(np.clip(row, 0, len(rows) - 1), axis=0)
    return found


_NUMPY = (
    "exp exp2 abs maximum minimum where stack concatenate arange float32 nan inf isfinite sqrt log "
    "roll broadcast_to ones_like square"
)
_NAMES: dict[str, Any] = {
    **{name: getattr(np, name) for name in _NUMPY.split()},
    "full": _full,
    "zeros": lambda shape: _full(shape, 0.0),
    "ones": lambda shape: _full(shape, 1.0),
    "LOWEST": np.float32(LOWEST),
    "bf16": _bf16,
    "turned": _turned,
    "pieces": _pieces,
    "other": _other,
    "lanes": _lanes,
    "dealt": _dealt,
    "pick": _pick,
    "flat": _flat,
}
