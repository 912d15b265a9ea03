"""The generated parts of the teaching kit: plans, boards, common wrong answers.

The numbers on a board are computed here in fractions. Scores are counted in units of ln 2, so that
every weight is a power of 2: a teacher can do the sums by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from tutorial import get
from tutorial.mistakes.attention import ATTENTION
from tutorial.mistakes.batches import BATCH
from tutorial.mistakes.fast import FAST
from tutorial.mistakes.paged import PAGED
from tutorial.mistakes.scaling import SCALING
from tutorial.mistakes.splits import SPLIT
from tutorial.running.refusals import CAUSES
from tutorial.writing.mistakes import MISTAKES as STEP

TILES = (((1, 1), (2, 6)), ((2, 2), (4, 7)))
"""Scores in units of ln 2 and values of two tiles of two keys."""
ONE_TILE = ((2, 1, 1), (4, 2, 6))
LENGTHS, TILE, LONGEST = (3, 5), 4, 8
BLOCKS, BLOCK = (3, 0, 2), 4


class State(NamedTuple):
    """m in units of ln 2, l, and acc."""

    m: int
    l: Fraction
    acc: Fraction


def weight(score: int, m: int) -> Fraction:
    """exp of a score minus m, both in units of ln 2."""
    return Fraction(2) ** (score - m)


def of_tile(scores: Sequence[int], values: Sequence[int], m: int | None = None) -> State:
    """The state of one tile, relative to `m` or to its own max."""
    m = max(scores) if m is None else m
    p = [weight(s, m) for s in scores]
    return State(m, sum(p, Fraction()), sum((a * b for a, b in zip(p, values)), Fraction()))


def after(state: State, scores: Sequence[int], values: Sequence[int]) -> tuple[Fraction, State]:
    """alpha, and the state after one more tile."""
    m = max(state.m, *scores)
    alpha, new = weight(state.m, m), of_tile(scores, values, m)
    return alpha, State(m, state.l * alpha + new.l, state.acc * alpha + new.acc)


def merged(a: State, b: State) -> State:
    """The state of both splits."""
    m = max(a.m, b.m)
    x, y = weight(a.m, m), weight(b.m, m)
    return State(m, a.l * x + b.l * y, a.acc * x + b.acc * y)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


# -- boards ----------------------------------------------------------------------------------------


def _first_kernel() -> str:
    rows = [(i, f"{i * TILE}..{i * TILE + TILE - 1}", i + 1, i + 1) for i in range(3)]
    return table(("tile", "columns", "loads so far", "stores so far"), rows)


def _single_tile() -> str:
    scores, values = ONE_TILE
    m = max(scores)
    rows: list[tuple[object, ...]] = [
        (s, s - m, weight(s, m), v, weight(s, m) * v) for s, v in zip(scores, values, strict=True)
    ]
    state = of_tile(scores, values)
    rows.append((f"m = {m}", "", f"l = {state.l}", "", f"acc = {state.acc}"))
    end = f"\n\no = acc / l = {state.acc} / {state.l} = {state.acc / state.l}"
    return table(("qk", "qk - m", "p", "v", "p v"), rows) + end


def _passes() -> str:
    passes = (("max", "K"), ("sum", "K"), ("weighted sum", "K V"))
    rows, total = [], 0
    for name, read in passes:
        loads = [f"{x}{t}" for t in range(2) for x in read.split()]
        total += len(loads)
        rows.append((name, ", ".join(loads), total))
    return table(("pass", "tiles loaded", "so far"), rows)


def _online() -> str:
    state = of_tile(*TILES[0])
    rows: list[tuple[object, ...]] = [(0, _listed(TILES[0][0]), state.m, "-", state.l, state.acc)]
    alpha, state = after(state, *TILES[1])
    rows.append((1, _listed(TILES[1][0]), state.m, alpha, state.l, state.acc))
    end = f"\n\no = acc / l = {state.acc} / {state.l} = {state.acc / state.l}"
    return table(("tile", "qk", "m", "alpha", "l", "acc"), rows) + end


def _groups() -> str:
    q_heads, kv_heads, tiles = 4, 2, 2
    loads = {"per query head": q_heads * 2 * tiles, "per KV head": kv_heads * 2 * tiles}
    return table(("K and V are loaded", "tiles loaded"), loads.items())


def _ragged() -> str:
    rows = []
    for b, length in enumerate(LENGTHS):
        for first in range(0, LONGEST, TILE):
            keys = range(first, first + TILE)
            counts = [k for k in keys if k < length]
            what = "all padding" if not counts else "whole" if len(counts) == TILE else "masked"
            shown = _listed(counts) or "none"
            rows.append((b, length, f"{first}..{first + TILE - 1}", shown, what))
    return table(("sequence", "length", "tile's keys", "keys that count", "the tile is"), rows)


def _splits() -> str:
    a, b = of_tile(*TILES[0]), of_tile(*TILES[1])
    both = merged(a, b)
    rows = [
        ("split 0", *a, weight(a.m, both.m)),
        ("split 1", *b, weight(b.m, both.m)),
        ("merged", *both, ""),
    ]
    return table(("", "m", "l", "acc", "its factor exp(m_s - m)"), rows)


def _ladder() -> str:
    ladder = get(7).ladder
    assert ladder is not None
    rows = [(rung.number, rung.name, rung.lever) for rung in ladder.rungs if not rung.tried]
    return table(("rung", "name", "the change"), rows)


def _paged() -> str:
    rows = [
        (p, f"{p} // {BLOCK} = {p // BLOCK}", BLOCKS[p // BLOCK], f"{p} % {BLOCK} = {p % BLOCK}")
        for p in (0, 3, 4, 6, 9)
    ]
    return table(("key", "entry of the table", "block", "row in the block"), rows)


def _accumulate() -> str:
    rows, before = [], 0
    for turn, product, flag in ((0, 2, False), (0, 3, True), (1, 2, True), (1, 3, True)):
        now = product + (before if flag else 0)
        rows.append((turn, product, flag, before if flag else "anything", now))
        before = now
    return table(("iteration", "product", "accumulate", "tile before", "tile after"), rows)


def _decoding() -> str:
    layers, calls, rows = 2, 0, []
    for token in range(4):
        calls += layers
        rows.append((token, token + 1, calls))
    return table(("token", "keys in each layer's cache", "calls of the kernel so far"), rows)


BOARDS: dict[int, Callable[[], str]] = dict(
    enumerate(
        (
            _first_kernel,
            _single_tile,
            _passes,
            _online,
            _groups,
            _ragged,
            _splits,
            _ladder,
            _paged,
            _accumulate,
            _decoding,
        )
    )
)


def board(number: str) -> str:
    """The numbers of a stage's board."""
    return BOARDS[int(number)]()


# -- plans -----------------------------------------------------------------------------------------

PARTS = ("recall", "board", "predict", "write", "check and trace", "discuss")
"""The parts of a lesson, in order."""
PLANS: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    0: ((5, 10, 5, 15, 10, 5), (10, 15, 5, 25, 15, 10)),
    1: ((5, 10, 5, 20, 5, 5), (5, 15, 5, 35, 10, 10)),
    2: ((5, 10, 5, 15, 10, 5), (5, 10, 10, 30, 15, 10)),
    3: ((5, 15, 5, 15, 5, 5), (5, 15, 10, 30, 10, 10)),
    4: ((5, 10, 5, 20, 5, 5), (5, 10, 10, 30, 15, 10)),
    5: ((5, 10, 5, 20, 5, 5), (5, 15, 5, 35, 10, 10)),
    6: ((5, 15, 5, 15, 5, 5), (5, 15, 10, 30, 10, 10)),
    7: ((5, 5, 5, 20, 10, 5), (5, 10, 5, 35, 15, 10)),
    8: ((5, 10, 5, 20, 5, 5), (5, 15, 5, 35, 10, 10)),
    9: ((5, 10, 5, 20, 5, 5), (5, 10, 10, 35, 10, 10)),
    10: ((5, 10, 5, 20, 5, 5), (5, 10, 5, 35, 15, 10)),
}
"""Minutes of each part by stage: for a lesson of 50 minutes, and for one of 80."""


def plan(minutes: str) -> str:
    """The plan of every stage for lessons of so many minutes."""
    rows = []
    for number, plans in PLANS.items():
        parts = plans[(50, 80).index(int(minutes))]
        assert sum(parts) == int(minutes) and len(parts) == len(PARTS), number
        rows.append((get(number).title, *parts))
    return table(("stage", *PARTS), rows)


# -- common wrong answers --------------------------------------------------------------------------

ASK: dict[int, tuple[tuple[str, str], ...]] = {
    0: (
        ("not scaled", "Where does scale enter? Which instruction multiplies by it?"),
        ("all zero", "Which tile do you store, and which one holds the product?"),
    ),
    1: (
        ("scale missing", "What is the scale when the caller gives none?"),
        (
            "no max subtraction",
            "What is exp(100) in fp32? Can a score be that large?",
        ),
    ),
    2: (
        ("max not subtracted in the sum", "Which p does l add up, and which p weighs the values?"),
        ("scale missing in the sum", "Is qk the same number in every pass? Compare two lines."),
    ),
    3: (
        ("alpha inverted", "The max has grown by 1. Must the old sum shrink or grow?"),
        ("p with the tile's max", "Relative to which max is l after this tile? And the new p?"),
        ("m never updated", "Read the column m_old of your trace. When does it change?"),
    ),
    4: (
        (
            "q heads strided",
            "Of 8 query heads and 2 KV heads: which KV head has head 3?",
        ),
        ("l shared", "How many numbers is l? How many softmaxes do you compute?"),
    ),
    5: (
        ("mask after the max", "What could the padding hold? Can it become m?"),
        (
            "padding scored 0",
            "All scores are negative. What is their max with a 0 added?",
        ),
        ("V's padding not cleaned", "What is 0 times NaN?"),
    ),
    6: (
        (
            "splits averaged",
            "One split has one key, the other 1000. Do they count alike?",
        ),
        ("merge without the max", "Relative to which max is each split's l?"),
        ("empty split divided by 0", "Which state leaves every other state as it is?"),
    ),
    7: (
        (
            "keys of K and V in different order",
            "Which key is column 5 of p? And row 5 of V?",
        ),
        ("l of one partition only", "On how many partitions do parts of l lie?"),
    ),
    8: (
        ("no block table", "Where in the pool does block 1 of this sequence lie?"),
        (
            "last block not masked",
            "The length is 9, a block has 4 keys. What counts in block 2?",
        ),
        ("entry taken as a key", "Is an entry the number of a key or of a block?"),
    ),
    9: (
        ("destination and source swapped", "Which argument does this instruction write to?"),
        ("PSUM not evacuated", "In which memory is this tile? Which memory can TensorE read?"),
        ("no destination", "Who made the tile that this instruction writes?"),
    ),
    10: (
        ("new key not appended", "Does a token attend to itself?"),
        ("cache one position off", "In which column is the key of token 0?"),
        ("padding row not cleared", "How does the kernel learn that a column holds a key now?"),
    ),
}
"""By stage: the key of a mistake that students make, and what to ask instead of correcting it."""
_TABLES = {
    0: SCALING,
    **dict.fromkeys(range(1, 5), ATTENTION),
    5: BATCH,
    6: SPLIT,
    7: FAST,
    8: PAGED,
    10: STEP,
}


def known(stage: int) -> dict[str, str]:
    """The sentences of a stage's mistakes by key."""
    if stage == 9:
        return dict(CAUSES.values())
    return {mistake.key: mistake.sentence for mistake in _TABLES[stage]}


def wrong_answers(_: str) -> str:
    """The common wrong answers: cause, what the check says, what to ask."""
    rows = []
    for number, asked in ASK.items():
        for key, question in asked:
            sentence = known(number)[key].partition(": ")[0].rstrip(".")
            rows.append((number, f"`{key}`", f"{sentence}.".replace("|", "\\|"), question))
    return table(("stage", "cause", "the check says", "ask"), rows)


MAKERS: dict[str, Callable[[str], str]] = {
    "board": board,
    "plan": plan,
    "wrong-answers": wrong_answers,
}
