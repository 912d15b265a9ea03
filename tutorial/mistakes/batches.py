"""The known mistakes with lengths and padding (stage 5). Order as in `mistakes`: of mistakes that
answer alike, the earlier."""

from __future__ import annotations

from collections.abc import Sequence

from ..reference.masking import LOWEST
from ..reference.recipes import Recipe
from .mistake import Mistake, both

PAST = "A key counts if its position is below the length: padding = position >= length."
OVER_SEQUENCES = ("sequence", "group", "head")


def _each_value(v_masks: Sequence[str], **switches: str | float) -> tuple[Recipe, ...]:
    """The mistake, and V treated in each of these ways."""
    return tuple(r for v_mask in v_masks for r in both(v_mask=v_mask, **switches))


def _hidden(
    low: float, v_masks: Sequence[str] = ("clean", "raw", "times"), **switches: str | float
) -> tuple[Recipe, ...]:
    """A mask that is added to the scores, in front of V treated in each of these ways."""
    return _each_value(v_masks, max_mask="added", exp_mask="added", low=low, **switches)


def _carried(what: str) -> tuple[Recipe, ...]:
    return tuple(r for over in OVER_SEQUENCES for r in both(carry=what, carry_over=over))


BATCH: tuple[Mistake, ...] = (
    # -- the values (first: with one tile, masks of the first or the last tile only are right)
    Mistake(
        "V's padding not cleaned",
        "The scores are masked, but V's padding is not cleaned: NaN stays NaN, whether its weight "
        "is 0 or it is multiplied by 0, and a sequence of length 0 gets the mean of it. Overwrite "
        "the values of the padding with 0.",
        _each_value(("raw", "times")) + _each_value(("raw", "times"), exp_mask="weights"),
    ),
    # -- the mask
    Mistake(
        "lengths ignored",
        "The lengths are not used: keys from lengths[b] on are padding, and must get no weight.",
        _each_value(("raw", "finite"), max_mask="none", exp_mask="none")
        + both(max_mask="none", exp_mask="none", v_mask="raw", tail="zero"),
    ),
    Mistake(
        "scores not masked",
        "V's padding is cleaned, but the scores are not masked: the padding gets weights, and "
        "they count in l.",
        both(max_mask="none", exp_mask="none")
        + both(max_mask="none", exp_mask="none", tail="zero"),
    ),
    Mistake(
        "padding scored 0",
        "The padding's scores are set to 0, which is a score like any other and above all "
        "negative ones: they must become the lowest number (nl.fp32.min) before the max is taken.",
        _each_value(("clean", "raw", "times"), max_mask="zero", exp_mask="zero")
        + _each_value(("clean", "raw"), max_mask="low", exp_mask="zero"),
    ),
    Mistake(
        "padding scored 0 by a product",
        "The padding's scores are multiplied by 0: NaN times 0 is NaN, and a 0 is a score like "
        "any other. Overwrite them with the lowest number (nl.fp32.min) before the max is taken.",
        _each_value(("clean", "raw", "times"), max_mask="times", exp_mask="times"),
    ),
    Mistake(
        "mask after the max",
        "The mask is applied after the max: m must be the max of the keys that count, or NaN and "
        "large numbers of the padding get into it. Mask the scores first.",
        _each_value(("clean", "raw", "times"), max_mask="none", exp_mask="low")
        + _each_value(("clean", "raw", "times"), max_mask="none", exp_mask="weights")
        + _each_value(("clean", "raw", "times"), max_mask="none", exp_mask="weights times"),
    ),
    Mistake(
        "mask multiplied into the weights",
        "The weights of the padding are multiplied by 0: where they are NaN or "
        "infinite the product is NaN. Overwrite the scores with the lowest number "
        "(nl.fp32.min) before the max is taken.",
        _each_value(("clean", "raw", "times"), max_mask="low", exp_mask="weights times"),
    ),
    Mistake(
        "mask added",
        "The mask is added to the scores: NaN plus any number is NaN. Overwrite the scores of the "
        "padding instead (nisa.tensor_copy_predicated, nl.where), and its values.",
        tuple(r for low in (LOWEST, -1e9, -1e30, -float("inf")) for r in _hidden(low)),
    ),
    Mistake(
        "mask only in the max",
        "The mask is applied to the max but not to the scores that exp sees: the padding gets "
        "weights.",
        _each_value(("clean", "raw"), exp_mask="none"),
    ),
    Mistake(
        "mask not in l",
        "The padding is masked in the weighted sum but not in l: both need the same p.",
        _each_value(("clean", "raw"), max_mask="low", exp_mask="low", sum_mask="none")
        + _each_value(("clean", "raw"), max_mask="low", exp_mask="weights", sum_mask="none")
        + both(max_mask="none", exp_mask="none", pv_mask="weights", v_mask="raw"),
    ),
    Mistake(
        "mask not in the weighted sum",
        "The padding is masked in l but not in the weighted sum: both need the same p.",
        both(v_mask="raw", pv_mask="none")
        + both(v_mask="raw", exp_mask="weights", pv_mask="none")
        + both(max_mask="none", exp_mask="none", sum_mask="weights", v_mask="raw"),
    ),
    Mistake(
        "mask not low enough",
        "The padding's scores are set to a number that real scores can lie below: it must be "
        "lower than any score, nl.fp32.min.",
        tuple(
            r
            for low in (-1.0, -10.0, -50.0, -100.0, -200.0, -500.0, -1000.0)
            for r in _each_value(("clean", "raw"), low=low)
        )
        + tuple(r for low in (-1.0, -10.0, -100.0, -1000.0, -1e4, -3e4) for r in _hidden(low)),
    ),
    Mistake(
        "mask inverted",
        f"The mask is the wrong way round: the keys that count are hidden. {PAST}",
        _each_value(("clean", "raw"), keep="inverted") + both(keep="inverted", exp_mask="weights"),
    ),
    Mistake(
        "mask in the last tile only",
        "Only the last tile is masked: a sequence may end in any tile.",
        _each_value(("clean", "raw"), keep="last tile only"),
    ),
    Mistake(
        "mask in the first tile only",
        "Only the first tile is masked: a sequence may end in any tile.",
        _each_value(("clean", "raw"), keep="first tile only"),
    ),
    Mistake(
        "whole tiles masked",
        "A tile counts as a whole or not at all: in the tile in which a sequence ends, the keys "
        "from the length on must be masked too.",
        _each_value(("clean", "raw"), keep="whole tiles")
        + _each_value(("clean", "raw"), length="whole tiles up"),
    ),
    Mistake(
        "length rounded down",
        "The keys of a sequence's last tile are dropped unless they fill it: the tile in which a "
        "sequence ends counts up to the length.",
        _each_value(("clean", "raw"), length="whole tiles down"),
    ),
    # -- the length
    Mistake(
        "length off by one, too long",
        f"The length is off by one: the key at position lengths[b] counts, and must not. {PAST}",
        _each_value(("clean", "raw", "right"), length="+1"),
    ),
    Mistake(
        "length off by one, too short",
        "The length is off by one: the sequence's last key, at position lengths[b] - 1, does not "
        f"count, and must. {PAST}",
        _each_value(("clean", "raw", "right"), length="-1")
        + _each_value(("clean", "raw", "right"), position="from 1"),
    ),
    Mistake(
        "position restarts in every tile",
        "The positions start from 0 in every tile: the first key of tile i has position i times "
        "the tile's width.",
        _each_value(("clean", "raw", "right"), position="in the tile"),
    ),
    Mistake(
        "position a tile off",
        "The positions are a tile off: the first key of tile i has position i times the "
        "tile's width.",
        _each_value(("clean", "raw", "right"), position="a tile early")
        + _each_value(("clean", "raw", "right"), position="a tile late"),
    ),
    Mistake(
        "length of another sequence",
        "A sequence is masked by another sequence's length: sequence b has lengths[b] keys.",
        tuple(
            r
            for rule in (
                "first",
                "last",
                "previous",
                "next",
                "reversed",
                "running sum",
                "running max",
            )
            for r in _each_value(("clean", "raw", "right"), length=rule)
        ),
    ),
    Mistake(
        "the longest length for all",
        "All sequences are masked by the longest length: sequence b has lengths[b] keys.",
        _each_value(("clean", "raw", "right"), length="longest"),
    ),
    Mistake(
        "the shortest length for all",
        "All sequences are masked by the shortest length: sequence b has lengths[b] keys.",
        _each_value(("clean", "raw"), length="shortest"),
    ),
    # -- no keys
    Mistake(
        "length 0 divides by 0",
        "A sequence of length 0 ends with l = 0, and 0 / 0 is NaN: its output must be 0, so see "
        "to it that l is not 0 there.",
        both(empty="nan"),
        overflows="division",
        without_keys=True,
    ),
    Mistake(
        "length 0 gives inf - inf",
        "A row without keys gives NaN: with m and the masked scores at -inf, -inf - -inf is NaN. "
        "Use the lowest finite number (nl.fp32.min) for both.",
        both(empty="nan"),
        without_keys=True,
    ),
    Mistake(
        "length 0 gives the mean of V",
        "A sequence of length 0 gets the mean of V: where all scores are equally low, all weights "
        "are alike. Its output must be 0.",
        both(empty="mean", v_mask="raw")
        + both(v_mask="finite")
        + _each_value(("clean", "raw"), keep="not for length 0"),
        without_keys=True,
    ),
    Mistake(
        "length 0 taken as 1",
        "A sequence of length 0 is given one key: its output must be 0.",
        _each_value(("clean", "raw"), length="at least 1"),
        without_keys=True,
    ),
    # -- which keys, whose
    Mistake(
        "last keys skipped",
        "The keys after the last whole tile are skipped: n need not be a multiple of the tile's "
        "width, so the last tile may be narrower.",
        both(tail="skipped"),
    ),
    Mistake(
        "sequence 0's K and V for all",
        "All sequences read the same K and V: sequence b has its own, k[b] and v[b].",
        tuple(
            r
            for rule in ("first", "last")
            for v_mask in ("clean", "raw")
            for r in both(k_part=rule, v_part=rule, v_mask=v_mask)
        ),
    ),
    Mistake(
        "sequence 0's V for all",
        "All sequences read the same V: sequence b has its own, v[b].",
        tuple(r for rule in ("first", "last") for r in _each_value(("clean", "raw"), v_part=rule)),
    ),
    Mistake(
        "sequence 0's K for all",
        "All sequences read the same K: sequence b has its own, k[b].",
        tuple(r for rule in ("first", "last") for r in _each_value(("clean", "raw"), k_part=rule)),
    ),
    Mistake(
        "sequence 0's q for all",
        "All sequences use the same query: sequence b has its own, q[b].",
        tuple(r for rule in ("first", "last") for r in both(q_part=rule)),
    ),
    Mistake(
        "output of another sequence",
        "The outputs are stored as other sequences': what is computed for sequence b goes to o[b].",
        tuple(r for rule in ("reversed", "next", "previous") for r in both(o_part=rule)),
    ),
    Mistake(
        "state not cleared between sequences",
        "The state m, l and acc is carried from one sequence to the next: the next starts from "
        "what the one before left, and must start afresh.",
        _carried("m l acc"),
    ),
    Mistake(
        "l and acc not cleared between sequences",
        "l and acc are carried from one sequence to the next: they must start "
        "at 0 for every sequence.",
        _carried("l acc"),
    ),
    Mistake(
        "acc not cleared between sequences",
        "acc is carried from one sequence to the next: it must start at 0 for every sequence.",
        _carried("acc") + _carried("m acc"),
    ),
    Mistake(
        "l not cleared between sequences",
        "l is carried from one sequence to the next: it must start at 0 for every sequence.",
        _carried("l") + _carried("m l"),
    ),
    Mistake(
        "m not cleared between sequences",
        "m is carried from one sequence to the next: it still holds the max of the one before, "
        "and must start at the lowest number for every sequence.",
        _carried("m"),
    ),
)
