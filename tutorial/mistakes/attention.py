"""The known mistakes: for each the recipes that make it, and the sentence that names it.

Order matters only between mistakes that give the same answers on all inputs: the earlier one is
named, unless what the kernel did (see `diagnose`) tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..reference import splitting
from ..reference.attention import Attention
from ..reference.recipes import Recipe
from .batches import BATCH
from .mistake import Mistake
from .mistake import both as _both
from .mistake import online as _online
from .mistake import passes as _passes
from .mistake import shared as _shared
from .splits import SPLIT


def _scaled(rule: str) -> tuple[Recipe, ...]:
    """Another scale, whatever the caller gives or only where the caller gives none."""
    return tuple(
        r for how in (rule, f"{rule} by default") for r in _both(max_scale=how, exp_scale=how)
    )


ATTENTION: tuple[Mistake, ...] = (
    # -- the scale
    Mistake(
        "scale missing",
        "The scale is missing: qk must be softmax_scale * q^T k, and softmax_scale is 1/sqrt(d) = "
        "1/{sqrt_d} unless the caller gives one.",
        _both(max_scale="none", exp_scale="none")
        + _both(max_scale="none by default", exp_scale="none by default")
        + _online(max_scale="none", exp_scale="none", l_keep="scaled", acc_keep="scaled"),
    ),
    Mistake(
        "scale only on the max",
        "The scale is applied to the max but not to the scores that exp sees: both must be "
        "scaled, or the max is not the max of what exp sees.",
        _both(exp_scale="none"),
    ),
    Mistake(
        "scale only on the scores",
        "The scale is applied to the scores but not to the max that is subtracted from them: both "
        "must be scaled.",
        _both(max_scale="none"),
        overflows="division",
    ),
    Mistake(
        "scale twice",
        "The scale is applied twice.",
        _both(max_scale="twice", exp_scale="twice") + _both(exp_scale="twice"),
    ),
    Mistake(
        "scale is 1/d",
        "The scale is 1/d; it must be 1/sqrt(d).",
        _scaled("1/d") + _both(exp_scale="1/d"),
    ),
    Mistake(
        "scale is sqrt(d)",
        "The scores are multiplied by sqrt(d); they must be divided by it.",
        _scaled("sqrt(d)"),
    ),
    Mistake(
        "scale is 1/sqrt(n)",
        "The scale is 1/sqrt(n), from the number of keys; it must be 1/sqrt(d), from the size of "
        "a head.",
        _scaled("1/sqrt(n)"),
    ),
    Mistake(
        "scale ignored",
        "softmax_scale is ignored: it is None by default, and then means 1/sqrt(d), but a given "
        "value must be used.",
        _both(max_scale="default", exp_scale="default"),
    ),
    # -- the max
    Mistake(
        "no max subtraction",
        "The max is not subtracted before exp: p must be exp(qk - m), or large scores overflow "
        "and very negative ones all become 0.",
        _both(shift="nothing", l_keep="1", acc_keep="1"),
    ),
    Mistake(
        "max added",
        "The max is added to the scores that exp sees: p must be exp(qk - m), "
        "with the max subtracted.",
        _both(shift="added"),
        overflows="tile",
    ),
    Mistake(
        "no max subtraction, rescaled",
        "The max is not subtracted before exp, yet the old sums are rescaled by "
        "alpha: p must be exp(qk - m_new).",
        _online(shift="nothing"),
    ),
    Mistake(
        "max not subtracted in the sum",
        "The max is not subtracted in the scores that l sums up: l and acc need the "
        "same p = exp(qk - m).",
        _both(sum_shift="nothing"),
    ),
    Mistake(
        "max not subtracted in the weighted sum",
        "The max is not subtracted in the scores that weigh the values: l "
        "and acc need the same p = exp(qk - m).",
        _both(pv_shift="nothing"),
    ),
    Mistake(
        "max of the absolute values",
        "The max is taken of the absolute values: m must be the largest score, and where all "
        "scores are negative their largest absolute value is far above them.",
        _both(max_of="abs"),
        does="abs",
    ),
    Mistake(
        "minimum of the scores",
        "The minimum of the scores is taken for m: it must be their maximum, or exp(qk - m) "
        "overflows.",
        _both(max_of="min"),
    ),
    Mistake(
        "m starts at 0",
        "m starts at 0, which is above all the scores here, so every weight underflows: start it "
        "at -inf (nl.fp32.min).",
        _both(start=0.0) + _both(start=1.0),
    ),
    Mistake(
        "m starts too high",
        "m starts too high, above all the scores here, so every weight underflows: start it at "
        "-inf (nl.fp32.min).",
        tuple(r for s in (-1.0, -10.0, -50.0, -100.0, -500.0) for r in _both(start=s)),
    ),
    Mistake(
        "p with the tile's max",
        "p is formed with the tile's own max instead of m_new: p = exp(qk - m_new), so "
        "that all tiles are weighed alike.",
        _both(shift="tile"),
    ),
    Mistake(
        "l with the tile's max",
        "l adds weights that are relative to the tile's own max: what a tile adds to l and to acc "
        "must be relative to m_new, p = exp(qk - m_new).",
        _both(sum_shift="tile"),
    ),
    Mistake(
        "acc with the tile's max",
        "acc adds weights that are relative to the tile's own max: what a tile adds to l and to "
        "acc must be relative to m_new, p = exp(qk - m_new).",
        _both(pv_shift="tile"),
    ),
    Mistake(
        "exp to the base 2",
        "The weights are powers of 2: p must be exp(qk - m), a power of e.",
        _both(exp="2") + _both(exp="2 for all"),
    ),
    Mistake(
        "no exp",
        "exp is missing: the weights are qk - m, and must be p = exp(qk - m).",
        _both(exp="none"),
    ),
    Mistake(
        "all weights are 1",
        "All keys get the same weight: max and sum must be taken over the keys, the axis of qk "
        "along which one query's scores lie, and not over the other one.",
        _both(shift="all") + _both(shift="all", divide="never"),
    ),
    Mistake(
        "exp of the negated scores",
        "The sign in exp is flipped: p is exp(qk - m), not exp(m - qk).",
        _both(shift="flipped"),
    ),
    Mistake(
        "m replaced",
        "m is replaced by the tile's max: it must be the larger of the old m and the tile's max.",
        _both(m_update="tile"),
    ),
    Mistake(
        "m is a minimum",
        "m takes the smaller of the old m and the tile's max: it must take the larger.",
        _both(m_update="min"),
    ),
    Mistake(
        "m never raised",
        "m keeps the first tile's max: it must be raised when a later tile's max is larger.",
        _both(m_update="first"),
    ),
    # -- the rescale
    Mistake(
        "l not rescaled",
        "The old sum was not rescaled by alpha = exp(m_old - m_new): l = l alpha + sum p.",
        _online(l_keep="1"),
    ),
    Mistake(
        "acc not rescaled",
        "acc was not rescaled by alpha = exp(m_old - m_new): acc = acc alpha + p v^T.",
        _online(acc_keep="1"),
    ),
    Mistake(
        "m overwritten before alpha",
        "m was overwritten with m_new before alpha = exp(m_old - m_new) was formed, so alpha was "
        "always 1: form alpha first, update m last.",
        _online(l_keep="1", acc_keep="1"),
        alpha_formed=True,
    ),
    Mistake(
        "nothing rescaled",
        "Neither l nor acc was rescaled by alpha = exp(m_old - m_new) when m rose: l = l alpha + "
        "sum p, and acc likewise.",
        _online(l_keep="1", acc_keep="1"),
        alpha_formed=False,
    ),
    Mistake(
        "alpha inverted",
        "alpha is inverted: it is exp(m_old - m_new), never above 1, and not exp(m_new - m_old).",
        _online(l_keep="1/alpha", acc_keep="1/alpha")
        + _online(l_keep="1/alpha after the first tile", acc_keep="1/alpha after the first tile"),
        overflows="row",
    ),
    Mistake(
        "alpha inverted for l",
        "l is rescaled by the inverse of alpha: alpha is exp(m_old - m_new), never above 1.",
        _online(l_keep="1/alpha")
        + _online(l_keep="1/alpha after the first tile")
        + _online(l_keep="1/alpha after the first tile", acc_keep="1"),
        overflows="row",
    ),
    Mistake(
        "alpha inverted for acc",
        "acc is rescaled by the inverse of alpha: alpha is exp(m_old - m_new), never above 1.",
        _online(acc_keep="1/alpha")
        + _online(acc_keep="1/alpha after the first tile")
        + _online(acc_keep="1/alpha after the first tile", l_keep="1"),
        overflows="row",
    ),
    Mistake(
        "p with the old max",
        "p is formed with a max that leaves this tile's scores out, so that exp overflows: p = "
        "exp(qk - m_new), with m_new the larger of the old m and the tile's max.",
        _online(shift="old"),
        overflows="tile",
    ),
    Mistake(
        "rescaled too late",
        "The new tile's part is rescaled by alpha too: first rescale the old sum, then add the "
        "tile's part, which is relative to m_new already.",
        _online(l_keep="late", acc_keep="late") + _online(l_keep="late") + _online(acc_keep="late"),
    ),
    Mistake(
        "rescaled twice",
        "The old sum is rescaled by alpha twice.",
        _online(l_keep="alpha squared", acc_keep="alpha squared")
        + _online(l_keep="alpha squared")
        + _online(acc_keep="alpha squared"),
    ),
    Mistake(
        "alpha with the tile's max",
        "alpha is formed with the tile's max: it is exp(m_old - m_new), for the sums of "
        "the tiles before.",
        tuple(
            r
            for rule in ("tile", "old to tile")
            for r in _online(l_keep=rule, acc_keep=rule)
            + _online(l_keep=rule)
            + _online(acc_keep=rule)
        ),
    ),
    Mistake(
        "alpha in another scale",
        "alpha is not in the scale of p: where m is kept unscaled, alpha is exp(softmax_scale * "
        "(m_old - m_new)), and where it is scaled already, exp(m_old - m_new).",
        tuple(
            r
            for rule in ("unscaled", "scaled")
            for r in _online(l_keep=rule, acc_keep=rule)
            + _online(l_keep=rule)
            + _online(acc_keep=rule)
        ),
    ),
    # -- the sums
    Mistake(
        "l not accumulated",
        "l holds the last tile's sum only: it must be l alpha + sum p, over all tiles.",
        _both(l_keep="0"),
    ),
    Mistake(
        "acc not accumulated",
        "acc holds the last tile's p v^T only: it must be acc alpha + p v^T, over all tiles.",
        _both(acc_keep="0"),
    ),
    Mistake(
        "m never updated",
        "m stays what it was before the loop, so that alpha = exp(m_old - m_new) drops all that "
        "came before the last tile: end every tile with m = m_new.",
        _online(m_update="never"),
        alpha_formed=True,
    ),
    Mistake(
        "nothing accumulated",
        "l and acc hold the last tile only: both must be accumulated over all tiles.",
        _both(l_keep="0", acc_keep="0"),
        alpha_formed=False,
    ),
    # -- the division
    Mistake(
        "never divided",
        "acc is never divided by l: o = acc / l.",
        _both(divide="never"),
        divides=False,
    ),
    Mistake(
        "multiplied by l",
        "acc is multiplied by l; it must be divided by it: o = acc / l.",
        _both(divide="times"),
    ),
    Mistake("divided twice", "The output is divided by l twice.", _both(divide="twice")),
    Mistake(
        "divided inside the loop",
        "acc is divided by l inside the loop: l is not complete before the last tile, so divide "
        "once, after the loop.",
        tuple(
            r
            for how in (
                "inside",
                "inside and end",
                "inside later",
                "inside later and end",
                "pv",
                "pv and end",
            )
            for r in _both(divide=how)
        ),
    ),
    Mistake(
        "divided by n",
        "acc is divided by the number of keys; it must be divided by l, the sum of the weights.",
        _both(divide="n"),
    ),
    Mistake(
        "divided by the last tile's sum",
        "acc is divided by the last tile's sum of weights; it must be divided by "
        "l, the sum over all tiles.",
        _both(divide="tile l"),
    ),
    Mistake(
        "softmax averaged",
        "The softmax was taken tile by tile and the tiles' outputs averaged: tiles with larger "
        "scores must weigh more, so divide by the sum over all tiles, relative to one max.",
        _online(method="average"),
    ),
    Mistake(
        "softmax summed",
        "The softmax was taken tile by tile and the tiles' outputs added: divide once, by the sum "
        "over all tiles, relative to one max.",
        _online(method="sum"),
    ),
    Mistake(
        "l counts the keys", "l counts the keys; it must sum their weights p.", _both(l_add="count")
    ),
    Mistake(
        "l adds the largest weight",
        "l adds the largest weight of the tile; it must add the sum of p.",
        _both(l_add="max"),
        divides=True,
    ),
    Mistake(
        "l never updated",
        "l stays 0, and acc / 0 is no number: every tile adds the sum of "
        "its p, l = l alpha + sum p.",
        _both(l_add="nothing"),
        overflows="division",
    ),
    Mistake(
        "l sums the scores",
        "l sums the scores; it must sum their weights p = exp(qk - m).",
        _both(l_add="scores"),
    ),
    Mistake(
        "l adds the mean",
        "l adds the mean of the tile's weights; it must add their sum.",
        _both(l_add="mean"),
    ),
    # -- which tile
    Mistake(
        "last tile skipped",
        "The last tile is skipped: the loop must visit all {tiles} tiles.",
        _both(max_tiles="not last", l_tiles="not last", acc_tiles="not last")
        + _passes(l_tiles="not last", acc_tiles="not last"),
    ),
    Mistake(
        "last tile skipped in the sum",
        "The last tile is skipped in the sum of the weights: all passes must visit "
        "all {tiles} tiles.",
        _both(l_tiles="not last"),
    ),
    Mistake(
        "last tile skipped in the weighted sum",
        "The last tile is skipped in the weighted sum: all passes must visit all {tiles} tiles.",
        _both(acc_tiles="not last"),
    ),
    Mistake(
        "last tile skipped in the max",
        "The last tile is skipped in the max: all passes must visit all {tiles} tiles.",
        _passes(max_tiles="not last"),
    ),
    Mistake(
        "first tile skipped",
        "The first tile is skipped: the loop must visit all {tiles} tiles.",
        _both(max_tiles="not first", l_tiles="not first", acc_tiles="not first")
        + _passes(l_tiles="not first", acc_tiles="not first"),
    ),
    Mistake(
        "first tile skipped in the weighted sum",
        "The first tile is skipped in the weighted sum.",
        _both(acc_tiles="not first"),
    ),
    Mistake(
        "first tile skipped in the sum",
        "The first tile is skipped in the sum of the weights.",
        _both(l_tiles="not first"),
    ),
    Mistake(
        "first tile only",
        "Only the first tile is visited: the loop must visit all {tiles} tiles.",
        _both(max_tiles="first", l_tiles="first", acc_tiles="first"),
    ),
    Mistake(
        "first tile's max only",
        "The max is taken of the first tile only: it must be the max over all tiles.",
        _passes(max_tiles="first"),
    ),
    Mistake(
        "last tile's max only",
        "The max is taken of the last tile only: it must be the max over all tiles.",
        _passes(max_tiles="last"),
    ),
    Mistake(
        "tile 0's V reused",
        "Tile 0's V is used for every tile: V must be loaded at the tile's own keys.",
        _both(v_from="first"),
    ),
    Mistake(
        "tile 0's K reused",
        "Tile 0's K is used for every tile: K must be loaded at the tile's own keys.",
        _both(k_from="first"),
    ),
    Mistake(
        "tile 0 reused",
        "Tile 0's K and V are used for every tile: they must be loaded at the tile's own keys.",
        _both(k_from="first", v_from="first"),
    ),
    Mistake(
        "V of another tile",
        "V is read at another tile's keys than K: both must be loaded at the same keys.",
        tuple(r for how in ("previous", "next", "reversed", "last") for r in _both(v_from=how))
        + tuple(r for how in ("previous", "next", "last") for r in _both(k_from=how)),
    ),
    # -- which array
    Mistake(
        "K and V exchanged",
        "K and V are exchanged: the scores are q^T k, and p weighs V.",
        _both(read_k="v", read_v="k"),
    ),
    Mistake(
        "K in place of V", "K is read where V belongs: p weighs the values.", _both(read_v="k")
    ),
    Mistake(
        "V in place of K", "V is read where K belongs: the scores are q^T k.", _both(read_k="v")
    ),
    # -- heads
    Mistake(
        "KV head is h % Hkv",
        "The KV head was taken as h % Hkv: query head h reads KV head h // G, with G = Hq // Hkv "
        "= {G}.",
        _both(k_head="modulo", v_head="modulo"),
        grouped=True,
    ),
    Mistake(
        "KV head of K is h % Hkv",
        "K's head was taken as h % Hkv: query head h reads KV head h // G, with G = Hq "
        "// Hkv = {G}.",
        _both(k_head="modulo"),
        grouped=True,
    ),
    Mistake(
        "KV head of V is h % Hkv",
        "V's head was taken as h % Hkv: query head h reads KV head h // G, with G = Hq "
        "// Hkv = {G}.",
        _both(v_head="modulo"),
        grouped=True,
    ),
    Mistake(
        "one KV head for all",
        "All query heads read the same KV head: query head h reads KV head h // G, with G = Hq // "
        "Hkv = {G}.",
        tuple(r for which in ("first", "last") for r in _both(k_head=which, v_head=which)),
        grouped=True,
    ),
    Mistake(
        "V of one KV head",
        "All query heads read the same head of V: query head h reads KV head h // G, with G = Hq "
        "// Hkv = {G}.",
        tuple(r for which in ("first", "last") for r in _both(v_head=which)),
        grouped=True,
    ),
    Mistake(
        "K of one KV head",
        "All query heads read the same head of K: query head h reads KV head h // G, with G = Hq "
        "// Hkv = {G}.",
        tuple(r for which in ("first", "last") for r in _both(k_head=which)),
        grouped=True,
    ),
    Mistake(
        "KV head is another",
        "Query heads read the wrong KV head: query head h reads KV head h // G, with G = Hq // "
        "Hkv = {G}.",
        tuple(
            r
            for which in ("h // Hkv", "head", "reversed", "next")
            for r in _both(k_head=which, v_head=which)
        ),
        grouped=True,
    ),
    Mistake(
        "KV head of K is another",
        "K is read from the wrong KV head: query head h reads KV head h // G of K and of V, with "
        "G = Hq // Hkv = {G}.",
        tuple(r for which in ("reversed", "next") for r in _both(k_head=which)),
        grouped=True,
    ),
    Mistake(
        "KV head of V is another",
        "V is read from the wrong KV head: query head h reads KV head h // G of K and of V, with "
        "G = Hq // Hkv = {G}.",
        tuple(r for which in ("reversed", "next") for r in _both(v_head=which)),
        grouped=True,
    ),
    Mistake(
        "q heads strided",
        "The query heads of a group are taken with a stride: group h has the query heads h G to h "
        "G + G - 1, with G = Hq // Hkv = {G}.",
        _both(q_head="strided"),
        grouped=True,
    ),
    Mistake(
        "output heads strided",
        "The output rows of a group are stored with a stride: group h has the query heads h G to "
        "h G + G - 1, with G = Hq // Hkv = {G}.",
        _both(o_head="strided"),
        grouped=True,
    ),
    Mistake(
        "one max for all rows",
        "One max is shared by all rows of the tile, the {G} query heads of a group: each needs "
        "its own m, or the rows with smaller scores underflow.",
        _shared("m max", "group") + _shared("m max", "all"),
        grouped=True,
    ),
    Mistake(
        "m shared",
        "m is shared by the heads of a group: each of its {G} query heads needs its own m.",
        _shared("m first", "group")
        + _shared("m last", "group")
        + _online(interleaved="m")
        + _shared("m first", "all"),
        grouped=True,
    ),
    Mistake(
        "l shared",
        "l is shared by the heads of a group: each of its {G} query heads needs its own l.",
        tuple(
            r
            for what in ("l", "gain")
            for how in ("sum", "first", "last", "mean")
            for over in ("group", "all")
            for r in _shared(f"{what} {how}", over)
        )
        + _online(interleaved="l"),
        grouped=True,
    ),
    Mistake(
        "m and l shared",
        "m and l are shared by the heads of a group: each of its {G} query heads needs its own.",
        _online(interleaved="m l"),
        grouped=True,
    ),
    Mistake(
        "acc not cleared between heads",
        "acc is not cleared between heads: it still holds what the head before "
        "left, and must start at 0 for every head.",
        tuple(
            r
            for over in ("head", "group")
            for what in ("acc", "m acc")
            for r in _both(carry=what, carry_over=over)
        ),
        grouped=True,
    ),
    Mistake(
        "l not cleared between heads",
        "l is not cleared between heads: it still holds what the head before left, "
        "and must start at 0 for every head.",
        tuple(
            r
            for over in ("head", "group")
            for what in ("l", "m l")
            for r in _both(carry=what, carry_over=over)
        ),
        grouped=True,
    ),
    Mistake(
        "l and acc not cleared between heads",
        "l and acc are not cleared between heads: they still hold what the "
        "head before left, and must start at 0 for every head.",
        tuple(r for over in ("head", "group") for r in _both(carry="l acc", carry_over=over)),
        grouped=True,
    ),
    Mistake(
        "m not cleared between heads",
        "m is not reset between heads: it still holds the max of the head before, "
        "and must start at -inf for every head.",
        tuple(r for over in ("head", "group") for r in _both(carry="m", carry_over=over)),
        grouped=True,
    ),
    Mistake(
        "state not cleared between heads",
        "The accumulators m, l and acc are not cleared between heads: the next "
        "head starts from what the head before left.",
        tuple(r for over in ("head", "group") for r in _both(carry="m l acc", carry_over=over)),
        grouped=True,
    ),
    Mistake(
        "one row of p",
        "The values of a group are all weighed by the same row of p: each of its {G} query heads "
        "has its own.",
        _both(p_rows="first"),
        grouped=True,
    ),
)


def known(attention: Attention) -> tuple[Mistake, ...]:
    """The mistakes that can be made with this problem: those with lengths or splits, then those of
    every attention."""
    return (
        BATCH if attention.lengths is not None else SPLIT if attention.splits else ()
    ) + ATTENTION


def each(
    attention: Attention, grouped: bool, deals: Sequence[str] = splitting.RIGHT
) -> Iterator[tuple[Mistake, Recipe]]:
    """The mistakes of a problem with their recipes; those about heads only if there are several.

    With splits, once for each way in which the tiles may be dealt out.
    """
    for mistake in known(attention):
        if grouped or not mistake.grouped:
            for recipe in mistake.recipes:
                if attention.splits and recipe.split_tiles == "all":
                    yield from ((mistake, replace(recipe, split_tiles=deal)) for deal in deals)
                else:
                    yield mistake, recipe
