"""Stage 7: fast. The timeline says what the kernel waits for; one change per rung, until it waits
for memory only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nkisim.machine import narrow

from ..inputs import families
from ..inputs import probes as small
from ..inputs.draw import OWN, Draw, OncePerDraw
from ..inputs.families import FAMILIES
from ..inputs.layouts import (
    SCALES,
    beside_trn1,
    check_arrays,
    check_values,
    grouped_attention,
    grouped_case,
    real_grouped_cases,
    scale_name,
)
from ..mistakes.fast import FAST, REFUSED
from ..reference.attention import Attention
from ..running import precision
from ..stage import TIME, Break, Budget, Case, InputError, Ladder, Question, Rung, Stage
from . import grouped

BF16 = narrow.bfloat16
KEYS, BANK, LANES = 8192, 512, 128  # the solution's chunk, fp32 values of a PSUM bank, partitions


def oracle(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> NDArray[np.float64]:
    """The answer in float64: q (d, Hq), k (Hkv, d, n), v (Hkv, n, d) -> o (Hq, d)."""
    return grouped.oracle(q, k, v.swapaxes(1, 2), softmax_scale)


# -- inputs ----------------------------------------------------------------------------------------
def in_bf16(made: Iterable[Case]) -> tuple[Case, ...]:
    """Cases of stage 4 as cases of this stage: bf16, V as (Hkv, n, d). Raises InputError where
    Python has no bfloat16."""
    if not narrow.INSTALLED:
        raise InputError(f"Stage 7's inputs are bfloat16: {narrow.needed('bfloat16')}.")
    return tuple(
        replace(case, args={name: x.astype(BF16) for name, x in _v_turned(case).items()})
        for case in made
    )


def wide_case(name: str, n_q: int, n_kv: int, n: int, draw: Draw = OWN) -> Case:
    """A family of d = 64 with 64 more dimensions, where q is 0: d = 128, so a tile of V is square.
    The scale stays 1/8. In the layout of stage 4."""
    made = grouped_case(name, n_q, n_kv, 64, n, draw=draw, softmax_scale=0.125)
    q, k, v = made.args.values()
    rng = draw.rng("wide", name, k.shape[2])
    k, v = (
        np.concatenate([x, families.grid(rng.standard_normal(x.shape), 2.0**-4)], 1) for x in (k, v)
    )
    return replace(made, args={"q": np.concatenate([q, np.zeros_like(q)]), "k": k, "v": v})


def _v_turned(case: Case) -> dict[str, Any]:
    """The arguments with V's last two axes exchanged."""
    return {**case.args, "v": np.ascontiguousarray(case.args["v"].swapaxes(1, 2))}


def _scaled(scale: float, draw: Draw) -> Case:
    return grouped_case("random", 8, 2, 128, 256, scale_name(scale), draw, softmax_scale=scale)


@OncePerDraw
def beyond(draw: Draw) -> tuple[Case, ...]:
    """A negative scale turns the order of the scores round; a kernel may refuse it."""
    far_apart = grouped_case(FAR_APART, 4, 2, 64, 256, FAR_APART.name, draw, softmax_scale=-0.125)
    return in_bf16((*(_scaled(x, draw) for x in SCALES if x < 0), far_apart))


FAR_APART = families.Family(
    "softmax_scale = -0.125",
    "a max that was taken before the scale: exp overflows",
    families.slope(200.0),
)
LONG = 2 * KEYS  # so long that the state is carried from a chunk to the next
COUNTED = "random, 16 heads"
_BOTH = "a rescale between two chunks that both count"
CHUNKS = (
    families.Family("ascending", _BOTH, families.slope(1.5)),
    families.Family("descending", _BOTH, families.slope(-1.5)),
    FAMILIES["last tile dominates"],
    FAMILIES["first tile dominates"],
)
"""What two chunks of keys hold: maxima close enough that both count, and one key that outweighs
all the others."""


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    """d = 128 first, where V can be read in a wrong layout without breaking a rule."""
    made = (
        grouped_case("random", 8, 2, 128, 512, draw=draw),
        grouped_case("random", 6, 2, 128, 128, "random, one tile", draw),
        grouped_case("random", 3, 3, 128, 384, "random, Hq = Hkv", draw),
        grouped_case("random", 8, 1, 128, 256, "random, Hkv = 1", draw),
        grouped_case("random", 12, 1, 16, 43 * 128, "random, 12 heads per group", draw),
        grouped_case("random", 10, 5, 128, 128, "random, Hkv = 5", draw),
        *(_scaled(x, draw) for x in SCALES if x >= 0),
        *(wide_case(name, 8, 2, 512, draw) for name, f in FAMILIES.items() if f.scores),
        grouped_case("random", 8, 2, 64, 1152, "random, d = 64", draw),
        *(grouped_case(f, 2, 1, 16, LONG, f"{f.name}, n = {LONG}", draw) for f in CHUNKS),
        grouped_case("random", 16, 4, 128, 1024, COUNTED, draw),
        *real_grouped_cases(1024, 512, draw),
    )
    return beside_trn1(in_bf16(made), "random", "random, d = 64", "scores near -1000")


@lru_cache(maxsize=64)
def attention(case: Case) -> Attention:
    args = {**case.args, "v": case.args["v"].swapaxes(1, 2)}
    return grouped_attention(replace(case, args=args))


@lru_cache(maxsize=64)
def tolerance(case: Case) -> NDArray[np.float64]:
    """What rounding to bf16 can do to each element of o (Hq, d)."""
    return precision.bound(attention(case))


def validate(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless q is (d, Hq), k (Hkv, d, n), v (Hkv, n, d), bf16, n a multiple of
    128, and finite."""
    q, k, v = check_arrays(inputs, {"q": 2, "k": 3, "v": 3}, "bfloat16")
    n_kv, d, n = k.shape
    if q.shape[0] != d:
        raise InputError(f"q must be (d, Hq) with d = {d} to fit k {k.shape}, got {q.shape}.")
    if v.shape != (n_kv, n, d):
        raise InputError(f"v must be (Hkv, n, d) = {(n_kv, n, d)} at this stage, got {v.shape}.")
    if not n_kv or not q.shape[1] or q.shape[1] % n_kv:
        raise InputError(f"Hq must be a multiple of Hkv, got Hq = {q.shape[1]} and Hkv = {n_kv}.")
    if not 0 < d <= LANES or not n or n % LANES:
        raise InputError(
            f"d must be 1 to 128 and n a positive multiple of 128, got d = {d} and n = {n}."
        )
    check_values(inputs)


def minimum(case: Case) -> Budget:
    """What the solution needs: two transfers per chunk, two matmuls for 128 keys, and the max's two
    transposes per chunk."""
    (d, n_q), (n_kv, _, n) = case.args["q"].shape, case.args["k"].shape
    g = n_q // n_kv
    t = max(t for t in range(1, min(KEYS // LANES, BANK // g) + 1) if n // LANES % t == 0)
    chunks = n_kv * (n // (LANES * t))
    sbuf = (
        4 * (LANES * LANES + LANES * g + 2 * LANES * g + d * g)
        + 2 * d * g
        + 2 * (d + d) * LANES * t
    )
    return Budget(
        hbm_bytes_read=2 * (d * n_q + 2 * n_kv * d * n),
        hbm_bytes_written=2 * d * n_q,
        dma_transfers=2 * chunks + 2 * n_kv,
        matmuls=2 * n_kv * (n // LANES) + n_kv,
        transposes=2 * chunks + n_kv,
        sbuf_bytes=sbuf,
        psum_bytes=4 * (LANES * t * g + LANES * g),
    )


# -- the ladder ------------------------------------------------------------------------------------
@cache
def ladder_case(n: int = 8192) -> Case:
    """The size at which the ladder is measured: Hq = 32, Hkv = 8, d = 128. It is counted on shapes
    alone, so the arrays take no memory."""
    q, k, v = (
        np.broadcast_to(np.zeros((), BF16), shape)
        for shape in ((128, 32), (8, 128, n), (8, n, 128))
    )
    args = {"q": q, "k": k, "v": v}
    return Case(f"ladder, n = {n}", "what the timeline asks for", args)


RUNGS = (
    Rung(
        1,
        "bf16",
        "v1_bf16.py",
        "half the bytes, and one pass of TensorE where float32 takes four",
        {"HBM bytes": 34_300_000, TIME: 1700},
        "The method of stage 4, V still (Hkv, d, n). VectorE bounds it: 12 of the 14 small "
        "instructions for every 128 keys.",
        arguments=_v_turned,
    ),
    Rung(
        2,
        "V in rows",
        "v2_v_rows.py",
        "V stored (n, d): its keys arrive on the partitions, and V needs no transpose",
        {"HBM bytes": 34_300_000, "transposes": 520, TIME: 1600},
        "Half the transposes go, and the copies out of PSUM behind them. It pays little: the "
        "softmax still takes 128 keys at a time.",
    ),
    Rung(
        3,
        "wide tiles",
        "v3_wide_tiles.py",
        "512 keys move through one matmul: a fourth of the updates of m, l and acc",
        {"HBM bytes": 34_300_000, "instructions": 2400, TIME: 950},
        "Nearly the same work in less than a third of the instructions. VectorE still bounds it.",
    ),
    Rung(
        4,
        "large transfers",
        "v4_large_transfers.py",
        "8192 keys per transfer, 16 KiB per partition, so that V's neighbours lie on one partition",
        {"HBM bytes": 34_300_000, "transfers": 100, TIME: 740},
        "It saves updates here: one per chunk. The DMA engines were not the bound yet, "
        "and will be from rung 6 on.",
    ),
    Rung(
        5,
        "fused exp",
        "v5_fused_exp.py",
        "one activation subtracts the max, takes exp, rounds to bf16 and sums in float32",
        {"HBM bytes": 34_300_000, "elements": 250_000, TIME: 560},
        "Two of five passes over the scores are gone from VectorE.",
    ),
    Rung(
        6,
        "heads packed",
        "v6_heads_packed.py",
        "all heads on the partitions of one tile, through zero-padded operands",
        {"HBM bytes": 34_300_000, "elements": 60_000, TIME: 165},
        "4 of 128 partitions worked before, 32 do now: the passes over the scores take an eighth, "
        "VectorE and ScalarE in all a fifth. TensorE multiplies zeros for it.",
    ),
    Rung(
        7,
        "keys on partitions",
        "v7_keys_on_partitions.py",
        "K stationary, Q moving: all 128 partitions work, and p needs no transpose",
        {"HBM bytes": 34_300_000, "elements": 12_000, TIME: 120},
        "The heads need no packing any more: that change is undone. The bound is the DMA engines, "
        "as it should be.",
    ),
    Rung(
        8,
        "pieces",
        "v8_pieces.py",
        "transfers of 4 KiB per partition, so that the first matmul starts sooner",
        {},
        "Tried, and it pays next to nothing: what the earlier start saves, the smaller transfers "
        "cost.",
        tried=True,
    ),
)

QUESTIONS = (
    Question(
        "Partition p holds the keys p T + t, t = 0 .. T - 1. T = 4: which key is on "
        "partition 3 at t = 2?",
        14,
        "3 * 4 + 2: a partition's keys are neighbours in HBM, one contiguous run of V.",
        "p T + t, with p = 3, T = 4 and t = 2.",
    ),
    Question(
        "d = 128, bf16. How many keys of V make a row of 4 KiB on one partition?",
        16,
        "A key is 256 bytes, so a tile of one key per partition moves rows of 256 bytes only.",
        "A key of V is d values of 2 bytes.",
    ),
    Question(
        "In bf16, what is 512 + 3?",
        516,
        "8 significant bits: from 512 to 1024 the numbers are 4 apart, and 515 rounds to 516. So "
        "a running sum stays in float32.",
        "bf16 has 8 significant bits. Which numbers near 512 are there?",
    ),
)

BROKEN = Break(
    "keys of K and V in different order",
    (("k_tile[i_kd, i_kp * T + t]", "k_tile[i_kd, i_kp + t * 128]"),),
    "k_tile = k[b, h][:, keys[turned(len(keys), 0)]]",
)

STAGE = Stage(
    number=7,
    name="fast",
    entry="decode_attention_fast_fwd",
    parameters=("q", "k", "v"),
    layout="q (d, Hq), k (Hkv, d, n), v (Hkv, n, d), bfloat16, n a multiple of 128 -> o (Hq, d)",
    idea="reading the timeline: one change per rung, until the kernel waits for memory only",
    line_budget=60,
    cost_budget="each KV head's K and V are read once, in bfloat16",
    oracle=oracle,
    cases=cases,
    beyond=beyond,
    validate=validate,
    minimum=minimum,
    cost_case=COUNTED,
    attention=attention,
    tile=lambda attention: KEYS,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.fast, BF16),
    known=FAST,
    refusals=REFUSED,
    tolerance=tolerance,
    ladder=Ladder(RUNGS, ladder_case),
)
