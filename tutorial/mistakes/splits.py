"""The known mistakes with splits (stage 6). Order as in `mistakes`: of mistakes that answer alike,
the earlier."""

from __future__ import annotations

from ..reference.recipes import Recipe
from ..reference.splitting import DEALS
from .mistake import Mistake

MERGE = "m = max(m_a, m_b); l = l_a exp(m_a - m) + l_b exp(m_b - m); acc likewise."


def _merged(*rules: str) -> tuple[Recipe, ...]:
    return tuple(Recipe(merge=rule) for rule in rules)


def _skipped(rule: str) -> tuple[Recipe, ...]:
    return tuple(Recipe(split_tiles=f"{rule} of {deal}") for deal in DEALS)


SPLIT: tuple[Mistake, ...] = (
    # -- the splits (this one first: where every split has the same keys, any merge of them is the f
    Mistake(
        "every split has the first one's tiles",
        "Every split visits the same tiles: split s begins at its own tile, by nl.program_id(0).",
        (Recipe(split_tiles="first split's for all"),),
        states_right=False,
    ),
    # -- the merge
    Mistake(
        "splits averaged",
        "The splits' outputs are averaged: a split with larger scores must weigh more. Merge the "
        f"states: {MERGE}",
        _merged("average", "average of the others"),
    ),
    Mistake(
        "splits averaged, empty ones too",
        "The splits' outputs are averaged, those of empty splits with them, which are 0 "
        f"/ 0: merge the states instead: {MERGE}",
        _merged("average, nan"),
    ),
    Mistake(
        "splits summed",
        f"The splits' outputs are added: merge the states and divide once, at the end: {MERGE}",
        _merged("sum"),
    ),
    Mistake(
        "merge without the max",
        "The splits are merged by l alone, without their m: each split's l and acc are relative "
        f"to its own max, and must be brought to a common one. {MERGE}",
        _merged("by l", "weighted by l"),
    ),
    Mistake(
        "merge by the max alone",
        "The splits' outputs are weighted by exp(m_s - m) alone, without their l: a split with "
        f"many good keys must weigh more than one with a single such key. {MERGE}",
        _merged("weighted by exp(m)"),
    ),
    Mistake(
        "normalised states merged",
        "The splits leave acc / l, and it is merged as if it were acc: leave acc undivided and "
        "divide once, after the merge (or weigh each split's output with its l).",
        _merged("normalised"),
    ),
    Mistake(
        "empty split divided by 0",
        "A split without keys gives 0 / 0 = NaN, and NaN times a weight of 0 is NaN: leave acc "
        "undivided; then an empty split is (lowest, 0, 0), and changes nothing.",
        _merged("normalised, nan", "weighted, nan", "empty is nan"),
    ),
    Mistake(
        "l not rescaled in the merge",
        f"acc is rescaled in the merge, l is not: {MERGE}",
        _merged("l not rescaled", "l added"),
    ),
    Mistake(
        "acc not rescaled in the merge",
        f"l is rescaled in the merge, acc is not: {MERGE}",
        _merged("acc not rescaled"),
    ),
    Mistake(
        "merge factor inverted",
        "The factors of the merge are inverted: they are exp(m_s - m), never above 1.",
        _merged("inverted", "inverted, not the empty ones"),
    ),
    Mistake(
        "old state not rescaled in the merge",
        "In the merge the new split's state is rescaled, the old one is not: both "
        f"need their factor. {MERGE}",
        _merged("old not rescaled"),
    ),
    Mistake(
        "new state not rescaled in the merge",
        "In the merge the old state is rescaled, the new split's is not: both need "
        f"their factor. {MERGE}",
        _merged("new not rescaled", "m replaced"),
    ),
    Mistake(
        "one factor for both",
        "In the merge both states are rescaled by the same factor: each has its own, exp(m_a - m) "
        "and exp(m_b - m).",
        _merged("one factor", "one factor, from the identity"),
    ),
    Mistake(
        "m not raised in the merge",
        "m is not raised in the merge: it must be the larger of the two, or exp(m_s - m) "
        "overflows.",
        _merged("first's m", "m not updated", "last's m"),
    ),
    Mistake(
        "no max in the merge",
        "The states are merged by exp(m_s) instead of exp(m_s - m): it overflows, or underflows "
        "for all splits.",
        _merged("m of 0"),
    ),
    Mistake(
        "one split wins",
        "Only the split with the largest max is kept: the others count too, with their weight.",
        _merged("best"),
    ),
    Mistake(
        "last split only",
        "The output is the last split's: all splits must be merged.",
        _merged("last"),
    ),
    Mistake(
        "first split only",
        "The output is the first split's: all splits must be merged.",
        _merged("first"),
        states_right=True,
    ),
    Mistake(
        "never divided after the merge",
        "The merged acc is not divided by the merged l: o = acc / l.",
        _merged("not divided", "not divided by l"),
        divides=False,
    ),
    Mistake(
        "multiplied by the number of splits",
        "The output is {S} times what it must be, and {S} is the number of splits: the merge sums "
        "acc and averages l, or counts the splits once too often. Sum both alike; o = acc / l.",
        _merged("mean l"),
        states_right=True,
    ),
    Mistake(
        "divided by the number of splits",
        "The output is 1/{S} of what it must be, and {S} is the number of splits: the merge "
        "averages acc and sums l, or averages what is merged already. Sum both alike; o = acc / "
        "l.",
        _merged("mean acc"),
        states_right=True,
    ),
    # -- the other splits
    Mistake(
        "rest of the tiles dropped",
        "With n // S tiles a split the rest is dropped: round up, and let the last splits have "
        "fewer tiles, or none.",
        (Recipe(split_tiles="rest dropped"),),
    ),
    Mistake(
        "tiles visited twice",
        "The last split is moved back so that it is full: tiles that another split has are "
        "counted twice.",
        (Recipe(split_tiles="last overlaps"),),
    ),
    Mistake(
        "last split skipped",
        "The last split is not merged: all {S} splits must be.",
        _skipped("not last"),
    ),
    Mistake(
        "first split skipped",
        "The first split is not merged: all {S} splits must be.",
        _skipped("not first"),
    ),
    Mistake(
        "state not cleared between splits",
        "The state is carried from one split to the next: every split must start from (lowest, 0, "
        "0), or keys count several times.",
        (Recipe(split_carry="m l acc"),),
        states_right=False,
    ),
    Mistake(
        "l not cleared between splits",
        "l is carried from one split to the next: it must start at 0 in every split.",
        (Recipe(split_carry="m l"),),
        states_right=False,
    ),
    Mistake(
        "acc not cleared between splits",
        "acc is carried from one split to the next: it must start at 0 in every split.",
        (Recipe(split_carry="m acc"),),
        states_right=False,
    ),
    Mistake(
        "empty split's m is too high",
        "A split without keys leaves an m above the real ones, so that every weight "
        "underflows in the merge: its m is the lowest number (nl.fp32.min).",
        tuple(Recipe(empty_m=m) for m in (0.0, 1.0, -1.0, -10.0, -100.0)),
    ),
)
