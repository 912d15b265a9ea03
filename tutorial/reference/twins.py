"""The method of each stage as a text of NumPy.

A known mistake is a line of the twin, written wrongly: `alpha = exp(m - m_new)` as `alpha =
exp(m_new - m)` (`edits`). The edited text is run on small inputs (`evaluation`); a kernel that
answers like it on all of them has made that mistake, whatever its style.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import Attention

Tiles = Sequence[NDArray[np.intp]]

SCALING = """\
for t, columns in enumerate(tiles):
    x_tile = x[:, columns]
    y_tile = scale * x_tile
    o[:, columns] = y_tile
"""

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
keep(h, m=m, l=l, acc=acc, alpha=alpha, p=p)
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
        keep(h, top=m)
        for t, keys in enumerate(tiles):
            <scores>
            p = exp(qk - m)
            l = l + p.sum(axis=1, keepdims=True)
            keep(h, l=l, p=p)
        for t, keys in enumerate(tiles):
            <scores>
            v_tile = v[b, h][:, keys]
            v_tile = where(padding, 0, v_tile)
            p = exp(qk - m)
            acc = acc + p @ v_tile.T
            keep(h, acc=acc)
        o[b, h * G : (h + 1) * G] = acc / l
"""

STATES_IN_TURN = """\
W = 1
at_m = lambda b, h, i: (b, h, i)
at_l = lambda b, h, i: (b, h, i)
at_acc = lambda b, h, i: (b, h, i)
ms, ls = full((B, Hkv, W, G, 1), LOWEST), zeros((B, Hkv, W, G, 1))
accs = zeros((B, Hkv, W, G, d))
for t, keys in enumerate(tiles):
    for b in range(B):
        for h in range(Hkv):
            lane = t % W
            x, y, z = (at(b, h, lane) for at in (at_m, at_l, at_acc))
            s = scale * (q[b, h * G : (h + 1) * G] @ k[b, h][:, keys])
            s = where(keys >= lengths[b], LOWEST, s)
            values = where(keys >= lengths[b], 0, v[b, h][:, keys])
            top = maximum(ms[x], s.max(axis=1, keepdims=True))
            fade = exp(ms[x] - top)
            w = exp(s - top)
            ls[y] = ls[y] * fade + w.sum(axis=1, keepdims=True)
            accs[z] = accs[z] * fade + w @ values.T
            ms[x] = top
            keep(h, m=top, l=ls[y] + 0, acc=accs[z] + 0, alpha=fade, p=w)
for b in range(B):
    for h in range(Hkv):
        M = stack([ms[at_m(b, h, i)] for i in range(W)])
        L = stack([ls[at_l(b, h, i)] for i in range(W)])
        A = stack([accs[at_acc(b, h, i)] for i in range(W)])
        factor = exp(M - M.max(axis=0))
        mixed, total = (A * factor).sum(axis=0), (L * factor).sum(axis=0)
        keep(h, mixed=mixed, total=total)
        o[b, h * G : (h + 1) * G] = mixed / total
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
    keep(0, top=m)
o[0] = acc / l
"""

_MERGE_AT_ONCE = """\
m = M.max(axis=0)
weight = exp(M - m)
l = (L * weight).sum(axis=0)
acc = (A * weight).sum(axis=0)
keep(0, top=m)
o[0] = acc / l
"""


_MERGE_OUTPUTS = """\
lse = where(L > 0, M + log(L), LOWEST)
out = where(L > 0, A / L, 0)
m = lse.max(axis=0)
keep(0, top=m)
weight = exp(lse - m)
l = weight.sum(axis=0)
acc = (out * weight).sum(axis=0)
o[0] = acc / l
"""

_STEP = """\
m = maximum(m_a, m_b)
a = exp(m_a - m)
b_ = exp(m_b - m)
l = l_a * a + l_b * b_
acc = acc_a * a + acc_b * b_
keep(0, top=m)
"""

_FROM_A_STATE = """\
(m, l, acc) = M[order[0]], L[order[0]], A[order[0]]
for s in order[1:]:
    m_a, l_a, acc_a = m, l, acc
    m_b, l_b, acc_b = M[s], L[s], A[s]
    <step>
o[0] = acc / l
"""

_PAIRS = """\
states = [(M[s], L[s], A[s]) for s in range(S)]
while len(states) > 1:
    pairs = []
    for i in range(0, len(states) - 1, 2):
        (m_a, l_a, acc_a), (m_b, l_b, acc_b) = states[i : i + 2]
        <step>
        pairs += [(m, l, acc)]
    states = pairs + states[2 * len(pairs) :]
(m, l, acc) = states[0]
o[0] = acc / l
"""

_HALVES = """\
def joined(lo, hi):
    if hi - lo == 1:
        return M[lo], L[lo], A[lo]
    (m_a, l_a, acc_a) = joined(lo, (lo + hi) // 2)
    (m_b, l_b, acc_b) = joined((lo + hi) // 2, hi)
    <step>
    return m, l, acc
(m, l, acc) = joined(0, S)
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


_AVERAGE = """\
acc = (acc * l_old + p @ v_tile.T) / l_new
            l = l_new"""
_PARTS = """\
l_old = l * alpha
            l_tile = p.sum(axis=1, keepdims=True)
            l_new = l_old + l_tile"""
_SCORES = "".join(line + "\n" for line in _TILE.splitlines()[:6] if not line.startswith("v_tile"))
_FROM_BLOCKS = """\
entry = block_table[b][keys // block]
at = keys % block
k_tile = pick(k_blocks, entry, h, at).T
v_tile = pick(v_blocks, entry, h, at).T
"""
ONE_PASS = _filled(_ONE_PASS, tile=_TILE)
PASSES = _filled(_PASSES, scores=_SCORES)
READ = re.compile(r"\b([kv])\[b, h\]\[:, keys\]")
"""How a text reads the columns of a tile, of K or of V."""
_IN_BLOCKS = r"pick(\1_blocks, block_table[b][keys // block], h, keys % block).T"
PAGED = _filled(_ONE_PASS, tile=_FROM_BLOCKS + _TILE[_TILE.index("raw =") :])
AVERAGES = (
    ONE_PASS.replace("l = l * alpha + p.sum(axis=1, keepdims=True)", _PARTS)
    .replace("acc = acc * alpha + p @ v_tile.T", _AVERAGE)
    .replace("= acc / l", "= acc")
)
"""One pass whose acc is divided by l all the time."""
SPLITS_IN_TURN, SPLITS_AT_ONCE = (
    _filled(_SPLITS, tile=_TILE, merge=merge) for merge in (_MERGE_IN_TURN, _MERGE_AT_ONCE)
)
USUAL_MERGES = (_MERGE_IN_TURN, _MERGE_AT_ONCE, _MERGE_OUTPUTS)
"""The merges alone: of states one after another, of all at once, and of outputs that are divided
already."""

SPLIT_STATES = _filled(_SPLITS, tile=_TILE, merge="keep(0, M=M, L=L, A=A)")
"""Keeps the states of all splits, which the texts of a merge read."""
_IN_ORDER = ("order = range(S)\n", "order = range(S - 1, -1, -1)\n")
_JOINED = (
    _TILE[: _TILE.index("m_tile =")]
    + """\
m_b = qk.max(axis=1, keepdims=True)
p = exp(qk - m_b)
l_b = p.sum(axis=1, keepdims=True)
acc_b = p @ v_tile.T
m_a, l_a, acc_a = m, l, acc
<step>
keep(h, m=m, l=l, acc=acc, alpha=a, p=p)
"""
)
JOINED = tuple(
    _filled(_SPLITS, tile=_filled(_JOINED, step=_STEP), merge=merge)
    for merge in (_MERGE_IN_TURN, _IN_ORDER[0] + _filled(_FROM_A_STATE, step=_STEP))
)
"""Tiles are states that join that of their split as those of the splits are merged."""
MERGES = (
    *JOINED,
    *(order + _filled(_FROM_A_STATE, step=_STEP) for order in _IN_ORDER),
    _IN_ORDER[1] + _MERGE_IN_TURN.replace("range(S)", "order"),
    _filled(_PAIRS, step=_STEP),
    _filled(_HALVES, step=_STEP),
)
"""Merges in another order: from the first state or from the last, backwards, and as trees."""


def texts(attention: Attention, blocks: bool = False) -> tuple[str, ...]:
    """The texts of the methods that solve a problem; `blocks` says that its keys lie in blocks."""
    if attention.splits:
        return SPLITS_IN_TURN, SPLITS_AT_ONCE
    if blocks:
        return PAGED, *(READ.sub(_IN_BLOCKS, text) for text in (PASSES, STATES_IN_TURN))
    return ONE_PASS, PASSES, STATES_IN_TURN


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
        "per": attention.group,
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
