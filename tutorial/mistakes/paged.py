"""The mistakes of stage 8: what kernels answer that read the wrong block, the wrong place in it, or
too many keys of it.

Each variant is NumPy in float64 on the case's own layout: q (B, d, Hq), k_blocks and v_blocks
(n_blocks, Hkv, block, d), block_table (B, most), lengths (B, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs.families import Case
from ..inputs.layouts import default_scale
from ..stage import Known, Variant

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass
class Keys:
    """The keys of one sequence: where K and V of each lie (block, position), and what is added to
    the scores."""

    k_block: I64
    k_at: I64
    v_block: I64
    v_at: I64


Choice = Callable[[Case, int], "Keys | None"]


def size(case: Case) -> tuple[int, int, int]:
    """Blocks in the pool, keys a block, entries a row of the table."""
    blocks = case.args["k_blocks"]
    return int(blocks.shape[0]), int(blocks.shape[2]), int(case.args["block_table"].shape[1])


def length(case: Case, b: int) -> int:
    return int(case.args["lengths"][b, 0])


def keys(case: Case, b: int, count: int, row: int | None = None) -> Keys:
    """The first `count` keys of sequence b, by the table's row b (or another)."""
    _, block, most = size(case)
    j = np.arange(min(count, most * block))
    own = case.args["block_table"][b if row is None else row].astype(np.int64)[j // block]
    return Keys(own, j % block, own, j % block)


def attend(case: Case, b: int, chosen: Keys) -> F64:
    """Attention of sequence b over the chosen keys, (Hq, d); zeros if there is none.

    A block that is out of bounds counts as zeros, which is what a transfer that skips it leaves.
    """
    n_blocks = size(case)[0]
    q = case.args["q"][b].astype(np.float64)  # (d, Hq)
    held = []
    for name, blocks, at in (
        ("k_blocks", chosen.k_block, chosen.k_at),
        ("v_blocks", chosen.v_block, chosen.v_at),
    ):
        inside = (blocks >= 0) & (blocks < n_blocks)
        rows = case.args[name][np.where(inside, blocks, 0), :, at].astype(np.float64)  # (n, Hkv, d)
        held.append(np.where(inside[:, None, None], rows, 0.0))
    k, v = held
    group = q.shape[1] // k.shape[1]
    given = case.options.get("softmax_scale")
    scale = default_scale(q.shape[0]) if given is None else float(given)
    out = np.zeros((q.shape[1], q.shape[0]))
    if not len(k):
        return out
    for h in range(q.shape[1]):
        qk = scale * k[:, h // group] @ q[:, h]
        p = np.exp(qk - qk.max())
        out[h] = p / p.sum() @ v[:, h // group]
    return out


def _by(case: Case, got: Any, choose: Choice) -> F64 | None:
    """The answer where every sequence's keys are chosen so; None where that is what is right."""
    made = []
    changed = False
    for b in range(len(case.args["q"])):
        chosen = choose(case, b)
        if chosen is None:
            return None
        own = keys(case, b, length(case, b))
        same = all(
            np.array_equal(getattr(chosen, name), getattr(own, name))
            for name in ("k_block", "k_at", "v_block", "v_at")
        )
        changed |= not same
        made.append(attend(case, b, chosen) if length(case, b) else np.asarray(got[b], np.float64))
    return np.stack(made) if changed else None


# -- which entry of the table ----------------------------------------------------------------------
def _entry(case: Case, b: int, rule: str, for_k: bool, for_v: bool) -> Keys:
    """Block j through another entry of the sequence's own row."""
    own = keys(case, b, length(case, b))
    _, block, _ = size(case)
    row = case.args["block_table"][b].astype(np.int64)
    j = np.arange(len(own.k_block)) // block
    used = max(-(-length(case, b) // block), 1)
    chunk = 128 * (j // 128)  # entries are loaded 128 at a time
    source = {
        "previous": np.maximum(j - 1, 0),
        "back": (j - 1) % used,
        "first": 0 * j,
        "next": np.minimum(j + 1, used - 1),
        "on": (j + 1) % used,
        "last": 0 * j + used - 1,
        "reversed": used - 1 - j,
        "chunk": j - chunk,
        "chunk before": np.where(chunk > 0, j - 128, j),
    }[rule]
    if for_k:
        own.k_block = row[source]
    if for_v:
        own.v_block = row[source]
    return own


def _row(case: Case, b: int, by: int | None, for_k: bool, for_v: bool) -> Keys:
    """Another sequence's row of the table; by None: the first one's for all."""
    rows = len(case.args["q"])
    other = keys(case, b, length(case, b), 0 if by is None else (b + by) % rows)
    own = keys(case, b, length(case, b))
    if for_k:
        own.k_block = other.k_block
    if for_v:
        own.v_block = other.v_block
    return own


def _no_table(case: Case, b: int) -> Keys:
    """Block j of the pool for block j of the sequence."""
    own = keys(case, b, length(case, b))
    own.k_block = own.v_block = np.arange(len(own.k_at)) // size(case)[1]
    return own


# -- where in the pool -----------------------------------------------------------------------------
def _entry_as_key(case: Case, b: int, for_k: bool, for_v: bool) -> Keys:
    """The entry taken as the number of a key: rows entry + position of the pool's keys, instead of
    entry * block + position."""
    own = keys(case, b, length(case, b))
    block = size(case)[1]
    row = own.k_block + own.k_at
    if for_k:
        own.k_block, own.k_at = row // block, row % block
    if for_v:
        own.v_block, own.v_at = row // block, row % block
    return own


ROWS: dict[str, Callable[..., I64]] = {
    "no block, no h": lambda entry, h, at, heads, block: entry + at,
    "no block": lambda entry, h, at, heads, block: entry + h * block + at,
    "heads for block": lambda entry, h, at, heads, block: entry * heads + h + at,
    "no heads": lambda entry, h, at, heads, block: entry * block + at,
    "heads inside": lambda entry, h, at, heads, block: (entry * block + at) * heads + h,
    "heads outside": lambda entry, h, at, heads, block: entry * block + h * block + at,
}
"""Rows of the pool, (n_blocks * Hkv * block, d), that are taken for position `at` of KV head h in
block `entry`."""


def _pool_rows(case: Case, got: Any, rule: str) -> F64 | None:
    """Keys found by a wrong row number in the pool seen as rows."""
    n_blocks, block, _ = size(case)
    q_all, heads = case.args["q"].astype(np.float64), case.args["k_blocks"].shape[1]
    flat = [
        case.args[name].reshape(-1, q_all.shape[1]).astype(np.float64)
        for name in ("k_blocks", "v_blocks")
    ]
    given = case.options.get("softmax_scale")
    scale = default_scale(q_all.shape[1]) if given is None else float(given)
    out = np.array(got, np.float64)
    for b in range(len(out)):
        own = keys(case, b, length(case, b))
        if not len(own.k_at):
            continue
        group = out.shape[1] // heads
        for h in range(heads):
            rows = np.clip(ROWS[rule](own.k_block, h, own.k_at, heads, block), 0, len(flat[0]) - 1)
            k, v = (x[rows] for x in flat)
            for row in range(h * group, (h + 1) * group):
                qk = scale * k @ q_all[b, :, row]
                p = np.exp(qk - qk.max())
                out[b, row] = p / p.sum() @ v
    return out


def _position(case: Case, b: int, rule: str, for_k: bool, for_v: bool) -> Keys:
    """Another position inside the block."""
    own = keys(case, b, length(case, b))
    block = size(case)[1]
    at = own.k_at
    moved = {
        "first": 0 * at,
        "last": 0 * at + block - 1,
        "next": (at + 1) % block,
        "previous": (at - 1) % block,
        "after": np.minimum(at + 1, block - 1),
        "before": np.maximum(at - 1, 0),
        "reversed": block - 1 - at,
    }[rule]
    if for_k:
        own.k_at = moved
    if for_v:
        own.v_at = moved
    return own


def _turned(case: Case, b: int, for_k: bool) -> Keys | None:
    """Keys counted across the blocks (position by position) on one side, along them on the
    other."""
    own = keys(case, b, length(case, b))
    block = size(case)[1]
    n = len(own.k_at)
    if n % block or n == block:
        return own
    order = np.arange(n).reshape(-1, block).T.reshape(-1)
    if for_k:
        own.k_block, own.k_at = own.k_block[order], own.k_at[order]
    else:
        own.v_block, own.v_at = own.v_block[order], own.v_at[order]
    return own


# -- how many keys ---------------------------------------------------------------------------------
def _count(case: Case, b: int, rule: str) -> Keys:
    _, block, most = size(case)
    n = length(case, b)
    return keys(
        case,
        b,
        {
            "whole blocks": -(-n // block) * block,
            "dropped": n // block * block,
            "whole table": most * block,
            "one less": max(n - 1, 0),
            "one more": min(n + 1, most * block),
        }[rule],
    )


def _padding(case: Case, got: Any, scored: bool, valued: bool, whole_table: bool) -> F64 | None:
    """Padding that counts with the score 0 (`scored`; else its own), or with the value 0 (not
    `valued`)."""
    _, block, most = size(case)
    made = []
    for b in range(len(case.args["q"])):
        n = length(case, b)
        if not n:  # what a kernel does without keys is its own affair
            made.append(np.asarray(got[b], np.float64))
            continue
        full = most * block if whole_table else -(-n // block) * block
        own = keys(case, b, n)
        q = case.args["q"][b].astype(np.float64)
        k = case.args["k_blocks"][own.k_block, :, own.k_at].astype(np.float64)
        v = case.args["v_blocks"][own.v_block, :, own.v_at].astype(np.float64)
        rest = full - n
        if valued and rest:
            more = keys(case, b, full)
            if ((more.v_block < 0) | (more.v_block >= size(case)[0])).any():
                return None
            v = case.args["v_blocks"][more.v_block, :, more.v_at].astype(np.float64)
        else:
            v = np.concatenate([v, np.zeros((rest, *v.shape[1:]))])
        group = q.shape[1] // v.shape[1]
        given = case.options.get("softmax_scale")
        scale = default_scale(q.shape[0]) if given is None else float(given)
        rows = []
        for h in range(q.shape[1]):
            qk = np.concatenate(
                [
                    scale * k[:, h // group] @ q[:, h],
                    np.zeros(rest) if scored else np.full(rest, -np.inf),
                ]
            )
            p = np.exp(qk - qk.max())
            rows.append(p / p.sum() @ v[:, h // group])
        made.append(np.stack(rows))
    return np.stack(made)


def _both(make: Callable[..., Keys | None], **options: Any) -> tuple[Variant, ...]:
    """The choice for K and V, for K alone, for V alone."""
    return tuple(
        partial(_by, choose=partial(make, **options, for_k=k, for_v=v))
        for k, v in ((True, True), (True, False), (False, True))
    )


MISTAKES = (
    Known(
        "last block not masked",
        "The last block is not masked: a sequence ends inside it, and its keys from lengths[b] on "
        "are padding, whatever the block holds there. Their weights must be 0.",
        (
            partial(_by, choose=partial(_count, rule="whole blocks")),
            partial(_by, choose=partial(_count, rule="whole table")),
            partial(_padding, scored=True, valued=True, whole_table=False),
            partial(_padding, scored=True, valued=False, whole_table=False),
            partial(_padding, scored=True, valued=False, whole_table=True),
        ),
    ),
    Known(
        "padding times 0",
        "The padding of the last block has the weight 0, and is multiplied "
        "all the same: 0 * NaN is NaN. "
        "Clear the keys past the length in V (and in K, before anything is computed with them).",
        (partial(_padding, scored=False, valued=True, whole_table=False),),
    ),
    Known(
        "last block dropped",
        "The last block is dropped where a sequence ends inside it: the number of blocks is the "
        "length over the block's size, rounded up.",
        (partial(_by, choose=partial(_count, rule="dropped")),),
    ),
    Known(
        "length off by one",
        "The length is off by one: the keys of sequence b are 0 .. lengths[b] - 1.",
        (
            partial(_by, choose=partial(_count, rule="one less")),
            partial(_by, choose=partial(_count, rule="one more")),
        ),
    ),
    Known(
        "block of another sequence",
        "The blocks are another sequence's: sequence b reads through row b of block_table.",
        tuple(v for by in (-1, 1, None) for v in _both(_row, by=by)),
    ),
    Known(
        "stale block table",
        "The block table is stale: block j is read through an entry that was loaded for another "
        "step. Load the entries of the blocks that this step reads.",
        tuple(
            v
            for rule in (
                "previous",
                "back",
                "first",
                "chunk before",
                "chunk",
                "next",
                "on",
                "last",
                "reversed",
            )
            for v in _both(_entry, rule=rule)
        ),
    ),
    Known(
        "no block table",
        "The pool's blocks are read in their own order: block j of a sequence is block "
        "block_table[b, j] of the pool.",
        (partial(_by, choose=_no_table),),
    ),
    Known(
        "entry taken as a key",
        "An entry of the table is taken as the number of a key: it is the number of a block, "
        "whose keys are the rows entry * block to entry * block + block - 1.",
        (
            *_both(_entry_as_key),
            *(
                partial(_pool_rows, rule=rule)
                for rule in ("no block, no h", "no block", "heads for block")
            ),
        ),
    ),
    Known(
        "row of another head",
        "The rows are another head's: in block i, position s of KV head h is row (i * Hkv + h) * "
        "block + s of the pool.",
        tuple(
            partial(_pool_rows, rule=rule) for rule in ("no heads", "heads inside", "heads outside")
        ),
    ),
    Known(
        "position inside the block",
        "The position inside the block is wrong: key j lies in block j // block at position j % "
        "block, in K and in V alike.",
        (
            *(
                v
                for rule in ("next", "previous", "first", "last", "after", "before", "reversed")
                for v in _both(_position, rule=rule)
            ),
            partial(_by, choose=partial(_turned, for_k=True)),
            partial(_by, choose=partial(_turned, for_k=False)),
        ),
    ),
)
