"""Stage 6: the keys of one sequence split over program instances. (m, l, acc) merge, in any
order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cost.tape import bytes_by_instance
from ..inputs import probes as small
from ..inputs.draw import LONG, OWN, TILE, Draw, OncePerDraw
from ..inputs.families import FAMILIES
from ..inputs.layouts import (
    SCALES,
    beside_trn1,
    grouped_attention,
    grouped_case,
    on_chip_peaks,
    real_heads,
    scale_name,
    validate_grouped,
)
from ..reference import splitting
from ..reference.attention import Attention
from ..stage import Break, Budget, Case, InputError, Question, Stage
from . import grouped

EMPTY = "an empty split whose m is not -inf"


def oracle(
    q: Any, k: Any, v: Any, n_splits: int, softmax_scale: float | None = None
) -> NDArray[np.float64]:
    """The answer in float64, which no split changes: q (d, Hq), k (Hkv, d, n), v (Hkv, d, n) -> o
    (Hq, d)."""
    return grouped.oracle(q, k, v, softmax_scale)


def split_case(
    name: str,
    n_splits: int,
    n_q: int,
    n_kv: int,
    d: int,
    n: int,
    family: str | None = None,
    reveals: str | None = None,
    draw: Draw = OWN,
    **options: float,
) -> Case:
    """A family of stage 4, and the number of splits."""
    made = grouped_case(name, n_q, n_kv, d, n, family, draw, **options)
    return replace(made, reveals=reveals or made.reveals, args={**made.args, "n_splits": n_splits})


def maxima_apart(apart: float, falling: bool = False, draw: Draw = OWN) -> Case:
    """Four splits whose maxima lie that far apart, so that only the largest has any weight."""
    made = grouped_case("random", 4, 2, 64, 512, f"maxima {apart:g} apart", draw)
    q, k, v = (np.array(x) for x in made.args.values())
    q[0] = 8.0  # the scale is 1/8: dimension 0 of k is added to every score
    split = np.arange(512) // 128
    k[:, 0] = apart * ((3 - split) if falling else split) - 1.5 * apart
    how = "falling" if falling else "rising"
    return Case(
        f"maxima {apart:g} apart, {how}",
        "splits that are averaged, or merged without their max",
        {"q": q, "k": k, "v": v, "n_splits": 4},
    )


@OncePerDraw
def cases(draw: Draw) -> tuple[Case, ...]:
    real = {**dict(zip("qkv", real_heads(None, 512, draw))), "n_splits": 3}
    made = (
        split_case("random", 4, 8, 2, 64, 1024, draw=draw),
        *_dealt_out(draw),
        *(
            maxima_apart(apart, falling, draw)
            for apart in (50.0, 120.0)
            for falling in (False, True)
        ),
        *(
            split_case(name, 3, 4, 2, 64, 512, draw=draw)
            for name, f in FAMILIES.items()
            if f.scores or f.digits
        ),
        *(
            split_case("random", 3, 8, 2, 64, 256, scale_name(x), None, draw, softmax_scale=x)
            for x in SCALES
        ),
        split_case("ascending", 2, 2, 1, 16, 2 * LONG, f"ascending, {2 * LONG} keys", draw=draw),
        Case("real data", "what a language model really asks for", real, exact=False),
    )
    return beside_trn1(made, "random", "fewer tiles than splits")


def _dealt_out(draw: Draw) -> tuple[Case, ...]:
    """Splits that have as many tiles as others, fewer, or none."""
    case = partial(split_case, draw=draw)
    left = "tiles that are left over, or visited twice"
    none = "a split without keys"
    far = "scores near -100000"
    return (
        case("random", 1, 4, 2, 64, 256, "one split", "a merge that needs two"),
        case("random", 2, 4, 2, 128, 256, "two splits, d = 128"),
        case("random", 2, 8, 1, 64, 256, "two splits, 8 heads per group"),
        case("random", 2, 10, 5, 64, 256, "two splits, Hkv = 5"),
        case("random", 4, 4, 2, 64, 640, "unequal splits", left),
        case("random", 3, 6, 3, 64, 512, "three splits of four tiles", left),
        case("random", 8, 4, 2, 64, 384, "fewer tiles than splits", none),
        case("random", 2, 4, 1, 64, 128, "one tile, two splits", none),
        case("scores below -110", 8, 4, 2, 64, 384, "empty splits, scores below -110", EMPTY),
        case("scores near -1000", 5, 4, 2, 64, 256, "empty splits, scores near -1000", EMPTY),
        case(far, 3, 2, 1, 64, 128, f"empty splits, {far}", EMPTY),
    )


def attention(case: Case) -> Attention:
    return replace(grouped_attention(case), splits=int(case.args["n_splits"]))


def views(whole: Attention) -> tuple[Attention, ...]:
    """What the splits hold, one row per split and query head, for both usual ways to deal out the
    tiles."""
    return tuple(
        splitting.held(
            whole,
            [
                np.arange(TILE * tiles.start, TILE * tiles.stop)
                for tiles in splitting.tiles(whole.n // TILE, whole.splits, rule)
            ],
        )
        for rule in splitting.RIGHT
    )


@cache
def probes() -> tuple[Case, ...]:
    """Three splits of unequal size, more splits than tiles, and one split."""
    return (
        *small.grouped(384, n_splits=3),
        *small.grouped(128, n_splits=5)[:5],
        *small.grouped(256, n_splits=4)[:2],
        *small.grouped(256, n_splits=1)[:1],
    )


def validate(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless the inputs are stage 4's, and n_splits is a whole number of 1 or
    more."""
    n_splits = inputs["n_splits"]
    if isinstance(n_splits, bool) or not isinstance(n_splits, (int, np.integer)) or n_splits < 1:
        raise InputError(f"n_splits must be a whole number of 1 or more, got {n_splits!r}.")
    validate_grouped({name: value for name, value in inputs.items() if name != "n_splits"})


def minimum(case: Case) -> Budget:
    (d, n_q), (n_kv, _, n) = case.args["q"].shape, case.args["k"].shape
    n_splits = int(case.args["n_splits"])
    tiles = n_kv * (n // TILE)
    states = 4 * n_splits * n_q * (d + 2)
    sbuf, psum = on_chip_peaks(n_q // n_kv, d, TILE)
    merge = 4 * (2 * n_q * d + 4 * n_q)
    return Budget(
        hbm_bytes_read=4 * (n_splits * d * n_q + 2 * n_kv * d * n) + states,
        hbm_bytes_written=states + 4 * d * n_q,
        dma_transfers=2 * tiles + 4 * n_kv * n_splits + 3 * n_splits + 1,
        matmuls=2 * tiles,
        transposes=2 * tiles,
        sbuf_bytes=max(sbuf, merge),
        psum_bytes=psum,
    )


def shared(case: Case, run: Any, again: Callable[[Mapping[str, Any]], Any]) -> str | None:
    """The sentence about splits that do not share the tiles, or None.

    Tiles may be dealt out in any way that leaves no more instances idle than whole shares do.
    """
    tiles, n_splits = case.args["k"].shape[2] // TILE, int(case.args["n_splits"])
    a_tile = case.args["k"][0, :, :TILE].nbytes
    at_work = [read >= a_tile for _, read in bytes_by_instance(run)]
    on_a_grid = len(at_work) > len(run.programs)
    enough = min(n_splits, -(-tiles // -(-tiles // n_splits)))
    if sum(at_work) >= enough:
        return None
    if on_a_grid:
        return (
            f"{sum(at_work)} of {n_splits} program instances load keys: the others do nothing, and "
            f"nothing is gained. Split s = nl.program_id(0) visits its own tiles only, "
            f"{-(-tiles // n_splits)} of {tiles} here."
        )
    one = again({**case.args, "n_splits": 1})
    if one is not None and len(one) == len(run):
        return (
            f"The kernel does the same for n_splits = 1 and n_splits = {n_splits}: nothing is "
            "split. Launch it on a grid, kernel[n_splits](...); split s = nl.program_id(0) visits "
            "its own tiles only, and a merge makes one state of all."
        )
    return None


QUESTIONS = (
    Question(
        "Two splits end with (m, l) = (2, 3) and (2, 5). What is the merged l?",
        8.0,
        "Both are relative to the same max, so both factors are exp(2 - 2) = 1.",
        "m = max(2, 2).",
    ),
    Question(
        "n = 896, tiles of 128, 5 splits of ceil(7 / 5) = 2 tiles. How many tiles does each "
        "split get? (a list)",
        [2, 2, 2, 1, 0],
        "The fourth split gets what is left, the last nothing: its state is the identity.",
        "Split s has tiles 2 s and 2 s + 1, if they exist.",
    ),
)


def _added_up(*args: Any, **options: Any) -> NDArray[np.float32]:
    """The broken kernel in NumPy: l and acc of the splits are added up, whatever their m."""
    last = {state["head"]: state for state in STAGE.twin(*args, **options)}
    l, acc = (sum(state[name] for state in last.values()) for name in ("l", "acc"))
    return np.asarray(acc / l, np.float32)


BROKEN = Break(
    "merge without the max",
    (
        (
            "l[...] = nl.add(nl.multiply(l, alpha), nl.multiply(l_s, beta))",
            "l[...] = nl.add(l, l_s)",
        ),
        (
            "acc[...] = nl.add(nl.multiply(acc, alpha), nl.multiply(acc_s, beta))",
            "acc[...] = nl.add(acc, acc_s)",
        ),
    ),
    "weight = where(L > 0, 1, 0)",
    _added_up,
)

STAGE = Stage(
    number=6,
    name="split_kv",
    entry="decode_attention_split_fwd",
    parameters=("q", "k", "v", "n_splits"),
    layout="q (d, Hq), k (Hkv, d, n), v (Hkv, d, n), n a multiple of 128, n_splits -> o (Hq, d)",
    idea="(m, l, acc) merge as an associative operation; the SPMD grid",
    line_budget=50,
    cost_budget="K and V are each read once, whatever the number of splits",
    oracle=oracle,
    cases=cases,
    validate=validate,
    minimum=minimum,
    shared=shared,
    attention=attention,
    views=views,
    questions=QUESTIONS,
    broken=BROKEN,
    probes=probes,
)
