"""Stage 8: paged. K and V lie in blocks behind a block table, and the load finds its rows at run
time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs import probes as small
from ..inputs import realdata
from ..inputs.draw import Draw, OncePerDraw
from ..inputs.families import FAMILIES, HIGH_INSIDE
from ..inputs.layouts import (
    SCALES,
    beside_trn1,
    grouped_softmax,
    real_heads,
    scale_name,
    scale_of,
)
from ..inputs.paged import paged, paged_case
from ..mistakes.paged import PAGED
from ..reference.attention import Attention
from ..stage import Break, Budget, Case, InputError, Question, Stage

F32 = NDArray[np.float32]
LANES, STEP = 128, 16  # partitions; positions of a block that the solution takes at a time


def oracle(
    q: Any,
    k_blocks: Any,
    v_blocks: Any,
    block_table: Any,
    lengths: Any,
    softmax_scale: float | None = None,
) -> NDArray[np.float64]:
    """The answer in float64, (B, Hq, d)."""
    o = np.zeros(q.swapaxes(1, 2).shape)
    for b, length in enumerate(np.ravel(lengths)):
        k, v = (in_a_row(blocks, block_table[b], length) for blocks in (k_blocks, v_blocks))
        if length:
            o[b] = grouped_softmax(q[b].T, k, v, scale_of(softmax_scale, q.shape[1]))
    return o


def in_a_row(blocks: Any, entries: Any, length: int) -> NDArray[np.float32]:
    """The first keys that a row of the table points to, (Hkv, d, length)."""
    j, block = np.arange(int(length)), blocks.shape[2]
    rows: NDArray[np.float32] = blocks[entries[j // block], :, j % block]
    return rows.transpose(1, 2, 0)


# -- inputs ----------------------------------------------------------------------------------------


def _real(layer: int, n: int, family: str, draw: Draw) -> Case:
    cut = realdata.lengths()[0]
    sequences = [real_heads(layer, n, draw), real_heads(layer, cut, draw)]
    shared = 0 if draw.word else cut // 32  # a word deals the tokens out in another order
    return paged(
        family,
        "what a language model really asks for",
        sequences,
        32,
        shared=shared,
        most=n // 32 + 2,
        exact=False,
        draw=draw,
    )


COUNTED = "whole blocks"
USUAL = (75, 90)  # keys of the two sequences of most families: 19 and 23 blocks of 4


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    first = realdata.layers()[0]

    def case(family: str, lengths: tuple[int, ...], block: int, **how: Any) -> Case:
        return paged_case("random", lengths, block, family, draw=draw, **how)

    made = (
        paged_case("random", (200, 77, 128), 16, most=16, draw=draw),
        paged_case(HIGH_INSIDE, (132,), 32, HIGH_INSIDE.name, draw=draw, most=6),
        case("random, blocks of 64", (140,), 64, heads=(2, 2, 128), most=3),
        case("random, blocks of 128", (300,), 128, heads=(4, 1, 64), most=3),
        case("random, Hkv = 5", (25,), 8, heads=(10, 5, 32), most=4),
        case("blocks of one key", (260,), 1, heads=(2, 1, 16)),  # bf16 does not hold 257
        *(_scaled(x, draw) for x in SCALES if x >= 0),
        _usual("random", draw, "shared prefix", shared=4),
        _usual("random", draw, "one key in the last block", (73, 89)),
        case("lengths 0, 1, 15, 16, 17", (0, 1, 15, 16, 17), 16, heads=(2, 1, 64), most=3),
        _usual("random", draw, "old entries", (76, 90), unused="old"),
        _usual("random", draw, "poisoned padding, NaN", padding="NaN"),
        _usual("random", draw, "poisoned padding, 1e4", padding="1e4", unused="old"),
        paged_case("random", (512, 512), 16, COUNTED, (8, 2, 128), draw, spare=0),
        *(_usual(name, draw) for name, f in FAMILIES.items() if f.scores or f.digits),
        *_long_tables(draw),
        _real(first, 512, "real data", draw),
    )
    return beside_trn1(made, "softmax_scale = 0.5", "poisoned padding, NaN", "old entries")


def _usual(
    name: str, draw: Draw, family: str | None = None, lengths: tuple[int, ...] = USUAL, **how: Any
) -> Case:
    """Cases of one shape, so that what an instruction may do is looked up once for all."""
    return paged_case(name, lengths, 4, family, draw=draw, most=24, n_blocks=45, **how)


@OncePerDraw
def beyond(draw: Draw) -> tuple[Case, ...]:
    """A negative scale turns the order of the scores round; a kernel may refuse it."""
    return tuple(_scaled(x, draw) for x in SCALES if x < 0)


def _scaled(scale: float, draw: Draw) -> Case:
    """Few blocks, as a kernel that is given another scale is another program."""
    name = scale_name(scale)
    return paged_case("random", (21, 33), 4, name, draw=draw, most=9, softmax_scale=scale)


def _long_tables(draw: Draw) -> tuple[Case, ...]:
    """Sequences of more than 128 blocks, one of them beside a short one, and indices that 16 bits
    do not hold."""
    two, short = (2, 1, 64), "two chunks of blocks, one short"
    return (
        paged_case("ascending", (4700,), 16, "ascending, 4700 keys", two, draw),
        paged_case("random", (531, 9), 4, short, two, draw, padding="NaN"),
        paged_case("last tile dominates", (531,), 4, "the second chunk dominates", two, draw),
        paged_case(
            "random",
            (21, 33),
            2,
            "block indices above 32767",
            heads=(2, 1, 4),
            draw=draw,
            n_blocks=40_000,
            most=20,
        ),
    )


@cache
def probes() -> tuple[Case, ...]:
    """Two blocks' worth of keys and more, unused entries, no keys; a cache of more than 256 blocks,
    beside a short one; where the scores are low, a sequence that fills its row of the table."""
    made = []
    for kind, n_q, n_kv, lengths, padding, block, d in (
        (small.RISING, 4, 2, (90, 64, 0, 9), "old", 16, 64),
        (small.RISING, 2, 1, (90, 75), "NaN", 16, 64),
        (small.UP_AND_DOWN, 2, 1, (264, 9), "old", 1, 8),
        (small.FALLING, 2, 1, (150, 80), "old", 64, 64),
        *(
            (kind, 2, 1, (48 if kind is small.LOW else 40, 21), "old", 16, 64)
            for kind in small.USUAL[2:]
            if kind is not small.FALLEN
        ),
        (small.FALLEN, 2, 1, (64, 40), "old", 64, 64),
        (small.APART, 6, 3, (40, 21), "1e4", 16, 64),
    ):
        sequences = []
        for turn, n in enumerate(lengths):
            q, k, v = small.heads(kind, n_q, n_kv, d, max(n, 4))
            sequences.append((small.turn(q, turn), k[..., :n], v[..., :n]))
        made.append(
            paged(
                f"probe: {kind.name}" + (", NaN" if padding == "NaN" else ""),
                "which mistake it is",
                sequences,
                block,
                most=-(-max(lengths) // block) + (kind is not small.LOW),
                padding=padding,
                unused="old" if padding == "old" else "none",
                **(small.options(kind) if d == 64 else {"softmax_scale": 0.125}),
            )
        )
    return tuple(made)


@lru_cache(maxsize=64)
def attention(case: Case) -> Attention:
    """The batch with its keys in a row, and n whole chunks of 128 blocks, the padding 0."""
    q, k_blocks, v_blocks, table, lengths = case.args.values()
    B, block, most = len(q), k_blocks.shape[2], table.shape[1]
    chunk = block * min(LANES, most)
    n = -(-most * block // chunk) * chunk
    k, v = (
        np.zeros((B, blocks.shape[1], q.shape[1], n), np.float32) for blocks in (k_blocks, v_blocks)
    )
    for b in range(B):
        length = int(lengths[b, 0])
        for out, blocks in ((k, k_blocks), (v, v_blocks)):
            out[b, :, :, :length] = in_a_row(blocks, table[b], length)
    given = case.options.get("softmax_scale")
    return Attention(
        q.swapaxes(1, 2).reshape(-1, q.shape[1]),
        k.reshape(-1, *k.shape[2:]),
        v.reshape(-1, *v.shape[2:]),
        scale_of(given, q.shape[1]),
        given is not None,
        lengths[:, 0],
        B,
        block=block,
        table=table,
    )


def validate(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless the shapes fit, lengths fit the table, and every used entry is a
    block."""
    kinds = {
        "q": (3, np.float32),
        "k_blocks": (4, np.float32),
        "v_blocks": (4, np.float32),
        "block_table": (2, np.int32),
        "lengths": (2, np.int32),
    }
    for name, (axes, dtype) in kinds.items():
        value = inputs[name]
        if not isinstance(value, np.ndarray) or value.ndim != axes or value.dtype != dtype:
            got = (
                f"{value.dtype} {value.shape}"
                if isinstance(value, np.ndarray)
                else type(value).__name__
            )
            raise InputError(
                f"{name} must be an array of {np.dtype(dtype)} with {axes} axes, got {got}."
            )
    q, k, v, table, lengths = (inputs[name] for name in kinds)
    n_blocks, n_kv, block, d = k.shape
    if v.shape != k.shape:
        raise InputError(
            f"k_blocks and v_blocks must have the same shape, got {k.shape} and {v.shape}."
        )
    if q.shape[1] != d or not 0 < d <= LANES:
        raise InputError(f"q must be (B, d, Hq) with d = {d}, 1 to 128, got {q.shape}.")
    if not n_kv or not q.shape[2] or q.shape[2] % n_kv:
        raise InputError(f"Hq must be a multiple of Hkv, got Hq = {q.shape[2]} and Hkv = {n_kv}.")
    if len(table) != len(q) or lengths.shape != (len(q), 1):
        raise InputError(
            f"block_table must be (B, most) and lengths (B, 1) with B = {len(q)}, got "
            f"{table.shape} and {lengths.shape}."
        )
    for b, n in enumerate(lengths[:, 0]):
        if not 0 <= n <= table.shape[1] * block:
            raise InputError(
                f"lengths[{b}] must be 0 to {table.shape[1] * block}, what the table "
                f"holds, got {n}."
            )
        wrong = [int(i) for i in table[b, : -(-n // block)] if not 0 <= i < n_blocks]
        if wrong:
            raise InputError(f"block_table[{b}] uses block {wrong[0]}; there are {n_blocks}.")


def minimum(case: Case) -> Budget:
    """What the solution needs for sequences that fill their rows of the table."""
    (B, d, n_q), (_, n_kv, block, _) = case.args["q"].shape, case.args["k_blocks"].shape
    most, group = case.args["block_table"].shape[1], n_q // n_kv
    step = max(s for s in range(1, STEP + 1) if block % s == 0)
    chunks = -(-most // LANES)
    steps, lanes = chunks * (block // step), min(most, LANES)
    state = 2 * LANES * group + 2 * d * group  # m and l; acc and q
    # K and V; a transpose, scores, the mask
    tiles = 2 * lanes * step * d + d * lanes + lanes * group * step + lanes * step
    sbuf = tiles + state + LANES * LANES + LANES * group + LANES
    return Budget(
        hbm_bytes_read=4 * (B * d * n_q + 2 * _live(case) * n_kv * block * d + B + B * n_kv * most),
        hbm_bytes_written=4 * B * d * n_q,
        dma_transfers=B * (1 + n_kv * (2 + chunks + 2 * steps)),
        matmuls=B * (1 + n_kv * (2 * block * chunks + 1)),
        transposes=B * n_kv * (steps * (step + 2) + 1),
        sbuf_bytes=4 * sbuf,
        psum_bytes=4 * d * lanes,
    )


def once(case: Case) -> dict[str, int]:
    """The blocks that hold keys of a sequence; a shared one counts for each."""
    return dict.fromkeys(("k_blocks", "v_blocks"), _live(case) * case.args["k_blocks"][0].nbytes)


def _live(case: Case) -> int:
    """How many blocks the sequences fill or begin."""
    block = case.args["k_blocks"].shape[2]
    return sum(-(-int(n) // block) for n in case.args["lengths"][:, 0])


def must_read(case: Case) -> dict[str, int]:
    """The keys that count, wherever they lie; a block that sequences share may be read once."""
    _, n_kv, block, d = case.args["k_blocks"].shape
    used = {
        (int(case.args["block_table"][b, j // block]), j % block)
        for b, n in enumerate(case.args["lengths"][:, 0])
        for j in range(int(n))
    }
    return {**dict.fromkeys(("k_blocks", "v_blocks"), 4 * len(used) * n_kv * d), "q": 0}


QUESTIONS = (
    Question(
        "Blocks of 16 keys. In which entry of its row of the table does a sequence find key 77?",
        4,
        "77 // 16: entry 4, and position 77 % 16 = 13 of that block.",
        "A block holds 16 keys in a row.",
    ),
    Question(
        "A sequence has 77 keys. How many keys of its last block are padding?",
        3,
        "5 blocks hold 80 keys; the last three are whatever the block held before.",
        "5 blocks hold 5 * 16 keys.",
    ),
    Question(
        "Four sequences of 512 keys share their first 256, in blocks of 16. How many blocks "
        "do they take in the pool?",
        80,
        "16 shared, and 16 more for each of 4 sequences: 80 instead of 128.",
        "256 keys are 16 blocks, shared or not.",
    ),
)

BROKEN = Break(
    "last block not masked",
    (("(key, op0=nl.less, operand0=length[0:P, :])", "(key, op0=nl.greater_equal, operand0=0.0)"),),
    "",
)

STAGE = Stage(
    number=8,
    name="paged",
    entry="decode_attention_paged_fwd",
    parameters=("q", "k_blocks", "v_blocks", "block_table", "lengths"),
    layout="q (B, d, Hq), k_blocks, v_blocks (n_blocks, Hkv, block, d), block_table (B, most), "
    "lengths (B, 1) -> o (B, Hq, d)",
    idea="indirect loads: the rows that a transfer reads are chosen at run time",
    line_budget=60,
    cost_budget="every block of a sequence is read once per KV head",
    oracle=oracle,
    cases=cases,
    beyond=beyond,
    validate=validate,
    minimum=minimum,
    cost_case=COUNTED,
    reads={"q": 1, "k_blocks": 1, "v_blocks": 1},
    once=once,
    must_read=must_read,
    attention=attention,
    tile=lambda attention: LANES * attention.block,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=probes,
    known=PAGED,
)
