"""Stage 5: a batch of sequences that differ in length. Masking without NaN, whatever the padding
holds."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inputs import probes as small
from ..inputs.batches import (
    LENGTHS,
    PADDING,
    SOME_LENGTHS,
    batch_attention,
    batch_case,
    batch_oracle,
    edge_case,
    padded_case,
    real_batch_case,
    tiles_of,
)
from ..inputs.batches import validate_batch as validate
from ..inputs.draw import OWN, TILE, Draw
from ..inputs.families import FAMILIES
from ..inputs.layouts import SCALES, beside_trn1, on_chip_peaks, scale_name, scale_of
from ..mistakes.steps import STEPS
from ..stage import Break, Budget, Case, Question, Stage


def oracle(
    q: Any,
    k: Any,
    v: Any,
    lengths: Any,
    softmax_scale: float | None = None,
    max_length: int | None = None,
) -> NDArray[np.float64]:
    """The answer in float64: q (B, d, Hq), k and v (B, Hkv, d, n), lengths (B, 1) -> o (B, Hq,
    d)."""
    return batch_oracle(q, k, v, lengths, scale_of(softmax_scale, k.shape[2]))


@cache
def cases(draw: Draw = OWN) -> tuple[Case, ...]:
    made = (*_every_length(draw), *_other_batches(draw), real_batch_case(draw))
    return beside_trn1(made, "random", "padding: NaN", "n = 5")


def _every_length(draw: Draw) -> tuple[Case, ...]:
    """The families, each as a batch of the lengths at which a mask goes wrong."""
    n = LENGTHS[-1]
    return (
        batch_case("random", LENGTHS, 4, 2, 64, n, draw=draw),
        *(padded_case(padding, LENGTHS, n, draw) for padding in PADDING if padding != "ordinary"),
        edge_case(LENGTHS, n, draw),
        *(
            batch_case(name, SOME_LENGTHS, 2, 1, 64, n, draw=draw)
            for name, f in FAMILIES.items()
            if f.scores or f.digits
        ),
    )


def _other_batches(draw: Draw) -> tuple[Case, ...]:
    """Batches of other sizes, whose padding is NaN or huge."""
    case = partial(batch_case, "random", draw=draw)
    whole = "tile that is not whole"
    none = "what a sequence of length 0 gets"
    steps = "what goes wrong from one step to the next where a step takes several tiles"
    return (
        case((0, 256, 5, 0), 4, 2, 64, 256, "NaN", "the first sequence is empty"),
        case((0, 0), 2, 1, 64, 130, "NaN", "no keys at all", none),
        case((130, 130), 2, 2, 128, 130, "NaN", "no padding, d = 128", f"a last {whole}"),
        case((257, 259, 301), 1, 1, 16, 303, "NaN", "odd lengths above 256", "lengths in 16 bits"),
        case((77,), 6, 2, 64, 100, "NaN", "one sequence, n = 100", f"a {whole}"),
        batch_case("ascending", (2077, 300), 2, 1, 16, 2100, "ordinary", "2077 keys", steps, draw),
        case((77, 129), 8, 1, 64, 130, "NaN", "8 heads per group"),
        case((40, 64), 10, 5, 64, 64, "NaN", "random, Hkv = 5"),
        case((1, 2, 3), 3, 3, 64, 5, "1e4", "n = 5", f"a {whole}"),
        case((0, 1), 2, 1, 64, 1, "NaN", "n = 1", none),
        *(case((200, 60), 4, 1, 64, 256, "NaN", scale_name(x), softmax_scale=x) for x in SCALES),
    )


COSTLY = "max_length = 130"  # the input on which tiles that nobody asked for are counted


@cache
def beyond(draw: Draw = OWN) -> tuple[Case, ...]:
    """Kernels that take max_length must give the same answers, and read no tile beyond it."""
    made = partial(batch_case, "random", padding="NaN", draw=draw)
    reveals = "tiles that nobody asked for"
    return (
        made((1, 130, 0), 4, 2, 64, 1024, family=COSTLY, reveals=reveals, max_length=130),
        made((257, 9), 2, 1, 64, 300, family="max_length = 257", reveals=reveals, max_length=257),
    )


def minimum(case: Case) -> Budget:
    (n_seqs, d, n_q), (_, n_kv, _, n) = case.args["q"].shape, case.args["k"].shape
    longest = int(case.options.get("max_length") or n)
    read = min(tiles_of(longest) * TILE, n)
    tiles = n_seqs * n_kv * tiles_of(longest)
    sbuf, psum = on_chip_peaks(n_q // n_kv, d, min(TILE, n))
    # the positions, the lengths, and which keys are padding
    masks = 4 * 128 * TILE + 4 * 128 * n_seqs + 128 * min(TILE, n)
    return Budget(
        hbm_bytes_read=4 * n_seqs * (d * n_q + 2 * n_kv * d * read + 1),
        hbm_bytes_written=4 * n_seqs * d * n_q,
        dma_transfers=2 * tiles + 2 * n_seqs * n_kv + 1,
        matmuls=2 * tiles + 2,
        transposes=2 * tiles,
        sbuf_bytes=sbuf + masks,
        psum_bytes=max(psum, 4 * 128 * TILE),
    )


def must_read(case: Case) -> dict[str, int]:
    """The keys that count; what lies beyond a length need not be read."""
    (_, d, _), n_kv = case.args["q"].shape, case.args["k"].shape[1]
    keys = 4 * int(case.args["lengths"].sum()) * n_kv * d
    return {"k": keys, "v": keys, "q": 0}


QUESTIONS = (
    Question(
        "n = 300, tiles of 128, lengths[b] = 129. Of the 44 keys of the last tile, how many count?",
        0,
        "Keys 256 to 299 are all padding. The tile is read all the same, because the length was "
        "not known when the kernel was built.",
        "A key counts if its position is below the length; the last tile starts at 256.",
    ),
    Question(
        "In a batch with n = 1000, one sequence has no keys. What is its l after the last tile?",
        1000,
        "Its scores and its m are LOWEST, and exp(LOWEST - LOWEST) = 1 for each of the 1000 keys. "
        "l counts padding, but the values are 0, so the answer is 0 / l = 0.",
        "All its scores are LOWEST, a finite number, and so is m. What is p = exp(qk - m)?",
    ),
)

BROKEN = Break(
    "length off by one, too long",
    (("op1=nl.greater_equal,", "op1=nl.greater,"),),
    "padding = keys > lengths[b]",
)

STAGE = Stage(
    number=5,
    name="ragged_batch",
    entry="decode_attention_ragged_fwd",
    parameters=("q", "k", "v", "lengths"),
    extras=("max_length",),
    layout="q (B, d, Hq), k and v (B, Hkv, d, n), lengths (B, 1) int32, any n -> o (B, Hq, d)",
    idea="masking without NaN, whatever the padding holds; a length of 0",
    line_budget=40,
    cost_budget="K and V are each read once",
    oracle=oracle,
    cases=cases,
    validate=validate,
    minimum=minimum,
    must_read=must_read,
    attention=batch_attention,
    beyond=beyond,
    cost_beyond=COSTLY,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=partial(small.batch, 300, (140, 291, 0, 40)),
    known=STEPS,
)
