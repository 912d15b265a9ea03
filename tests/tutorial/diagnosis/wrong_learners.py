"""Wrong kernels as learners write them, in the form of `wrong_one_head`: mistakes and styles that
the lessons do not show."""

from __future__ import annotations

from tests.tutorial.kernels import style


def _(number: int, name: str, old: str, new: str, cause: str | None, words: str) -> tuple:
    return number, style(name), [(old, new)], cause, words


COLUMNS, WIDE = "stage1_columns", "stage3_wide"
BLOCKS_OF_TWO = "stage3_blocks_of_two"
P_OF_COLUMNS = "nl.subtract(col, topc)"
SCALE = "1.0 / math.sqrt(d) if"

WRONG = {
    "1 max added": _(
        1, COLUMNS, P_OF_COLUMNS, "nl.add(col, topc)", "max added", "The max is added"
    ),
    "1 scale 1/d by default": _(
        1, COLUMNS, SCALE, "1.0 / d if", "scale is 1/d", "The scale is 1/d"
    ),
    "1 scale of n": _(
        1, COLUMNS, SCALE, "1.0 / math.sqrt(n) if", "scale is 1/sqrt(n)", "from the number of keys"
    ),
    "1 absolute max": _(
        1,
        "stage1_transposed",
        "nl.max(row, axis=[1]",
        "nl.max(nl.abs(row), axis=[1]",
        "max of the absolute values",
        "The max is taken of the absolute values",
    ),
    "1 minimum": _(
        1,
        "stage1_transposed",
        "nl.max(row",
        "nl.min(row",
        "minimum of the scores",
        "The minimum of the scores",
    ),
    "1 largest weight": _(
        1,
        "stage1_transposed",
        "nl.sum(e,",
        "nl.max(e,",
        "l adds the largest weight",
        "the largest weight",
    ),
    "1 sum of scores": _(
        1, "stage1_transposed", "nl.sum(e,", "nl.sum(row,", "l sums the scores", "l sums the scores"
    ),
    "1 no exp": _(1, "stage1_transposed", "nl.exp(row - m)", "row - m", "no exp", "exp is missing"),
    "1 V is K": _(
        1,
        "stage1_transposed",
        "nl.load(v[ip, jf])",
        "nl.load(k[ip, jf])",
        "K in place of V",
        "K is read where V",
    ),
    "1 K is V": _(
        1,
        "stage1_transposed",
        "nl.load(k[ip, jf])",
        "nl.load(v[ip, jf])",
        "V in place of K",
        "V is read where K",
    ),
    "2 base 2": _(
        2,
        "stage2_language",
        "nl.exp(x - top)",
        "nl.power(2.0, x - top)",
        "exp to the base 2",
        "powers of 2",
    ),
    "2 last max dropped": _(
        2,
        "stage2_row_of_maxima",
        "nl.max(tops, axis=1)",
        "nl.max(tops[:, 0:max(T - 1, 1)], axis=1)",
        "last tile skipped in the max",
        "skipped in the max",
    ),
    "2 divided by the tiles": _(
        2,
        "stage2_language",
        "num / den",
        "num / den * (1.0 / (n // 128))",
        "divided by the number of tiles",
        "acc is divided by the number of tiles",
    ),
    "3 last wide tile": _(
        3,
        WIDE,
        "range(1, n // W)",
        "range(1, n // W - 1)",
        "last tile skipped",  # of two
        "The last tile is skipped",
    ),
    "3 a tile twice": _(
        3, WIDE, "range(1, n // W)", "range(0, n // W)", "first tile twice", "counted twice"
    ),
    "3 alpha unscaled": _(
        3,
        "stage3_unscaled",
        "nl.exp((m - mn) * s)",
        "nl.exp(m - mn)",
        "alpha in another scale",
        "alpha is not in the scale of p",
    ),
    "3 m not stored": _(
        3, "stage3_unscaled", "        m[...] = mn\n", "", "m never updated", "is not updated by"
    ),
    "3 m not stored, negated": _(
        3,
        "stage3_negated",
        "        negm[...] = nisa.tensor_copy(nneg)\n",
        "",
        "m never updated",
        "end every tile with m = m_new",
    ),
    "3 alpha of the tile": _(
        3,
        "stage3_recursive",
        "nl.exp(m - mn)",
        "nl.exp(m - nl.max(x, axis=1))",
        "alpha with the tile's max",
        "alpha is formed with the tile's max",
    ),
    "3 l of the tile's max": _(
        3,
        "stage3_recursive",
        "nl.sum(p, axis=1)",
        "nl.sum(nl.exp(x - nl.max(x, axis=1)), axis=1)",
        "l with the tile's max",
        "l adds weights that are relative to the tile's own max",
    ),
    "3 V of the first of two tiles": _(
        3,
        BLOCKS_OF_TWO,
        "nl.ds(begin + part * 128, 128)",
        "nl.ds(begin, 128)",
        "V of one tile for a whole step",
        "used for all tiles of a step",
    ),
    "3 p of the first of two tiles": _(
        3,
        BLOCKS_OF_TWO,
        "weight[:, part * 128:part * 128 + 128]",
        "weight[:, 0:128]",
        "p of another tile",
        "weighed by the p of another tile",
    ),
    "3 the second of two tiles alone": _(
        3,
        BLOCKS_OF_TWO,
        "added += ",
        "added[...] = ",
        "one tile of every step in the weighted sum",
        "Only one tile of every step",
    ),
    "4 rows reversed": _(
        4,
        "stage4_heads_inside",
        "out[h * G + g:h * G + g + 1",
        "out[h * G + G - 1 - g:h * G + G - g",
        "rows exchanged",
        "Row 0 of the output (head 0) holds what belongs to head 3",
    ),
    "4 K of another head": _(
        4, "stage4_wide", "k[h, :,", "k[H - 1 - h, :,", "KV head of K is another", "wrong KV head"
    ),
    "4 exchanged": _(
        4,
        "stage4_tiles_outside",
        "fwd(q, k, v,",
        "fwd(q, v, k,",
        "arguments in another order",
        "takes its arguments in another order than",
    ),
    "5 mask of scores only": _(
        5,
        "stage5_range_select",
        "comp_op1=nl.less,",
        "comp_op1=nl.less_equal,",
        "length off by one, too long",
        "The length is off by one",
    ),
    "5 filled up, positions": _(
        5,
        "stage5_filled_up",
        " + i * 128\n",
        "\n",
        "position restarts in every tile",
        "start from 0",
    ),
    "5 outputs of others": _(
        5,
        "stage5_filled_up",
        "nl.store(out[b, ",
        "nl.store(out[B - 1 - b, ",
        "output of another sequence",
        "stored as other sequences'",
    ),
    "6 strided, l": _(
        6,
        "stage6_strided",
        "L[...] = L * nl.exp(M - mn) + lj * nl.exp(mj - mn)",
        "L[...] = L + lj",
        "l not rescaled in the merge",
        "l is not",
    ),
    "6 all tiles": _(
        6,
        "stage6_log_sum",
        "range(c * per, min(T, (c + 1) * per))",
        "range(0, T)",
        "all keys in every split",
        "Every split reads all of K and V",
    ),
    "7 tile's max": _(
        7,
        "stage7_wide",
        "bias=nn, scale=s",
        "bias=tn, scale=s",
        "p with the tile's max",
        "the tile's own max",
    ),
    "7 bf16 on the way": _(
        7,
        "stage7_plain",
        "nl.multiply, s, dtype=nl.float32)",
        "nl.multiply, s, dtype=nl.bfloat16)",
        "low precision",
        "what exp sees must be float32",
    ),
    "8 inf": (
        8,
        style("stage8_rows_of_a_block"),
        [
            ("src=-1e30, dst=x", "src=float('-inf'), dst=x"),
            ("nl.full((G, 1), -1e30", "nl.full((G, 1), float('-inf')"),
        ],
        "length 0 gives inf - inf",
        "-inf - -inf is NaN",
    ),
    "9 copied backwards": _(
        9,
        "stage9_negated",
        "nisa.tensor_copy(dst=neg, src=nn)",
        "nisa.tensor_copy(dst=nn, src=neg)",
        "destination and source swapped",
        "'neg' is never updated",
    ),
    "9 times l": _(
        9,
        "stage9_scores_on_chip",
        "        nisa.reciprocal(l, l)\n",
        "",
        "multiplied by l",
        "multiplied by l",
    ),
}
