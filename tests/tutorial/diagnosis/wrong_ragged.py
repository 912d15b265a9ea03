"""Wrong kernels of stage 5, in the form of `wrong_one_head`: lengths, padding, empty sequences, and
what a batch adds."""

from __future__ import annotations

from tests.tutorial.kernels import changed, solution, style

S5 = solution(5)
WHERE, COLUMNS, GUARDED, THREE = (
    style(f"stage5_{name}") for name in ("where", "columns", "guarded", "three_pass")
)

MASK_QK = (
    "                nisa.tensor_copy_predicated(src=LOWEST, dst=qk, predicate=padding[0:G, "
    ":])  # before the max: it may be NaN\n"
)
MASK_V = (
    "                nisa.tensor_copy_predicated(src=0.0, dst=v_tile, predicate=padding[0:d, :])  "
    "# a weight of 0 times NaN is NaN\n"
)
M_TILE = "m_tile = nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)  # (G, 1)\n"
PADDING = "op1=nl.greater_equal,"
LENGTH = "operand1=length[:, b:b + 1]"
STATE = """            m = nl.full((G, 1), LOWEST, dtype=nl.float32, name="m")  # running max
            l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")  # running sum
            acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")  # running weighted sum
"""
BEFORE = "    for b in nl.affine_range(n_seqs):\n        for h in nl.affine_range(n_kv_heads):\n"
KEEP = """                keep = nisa.tensor_scalar(padding, op0=nl.multiply, operand0=-1.0,
                                            op1=nl.add, operand1=1.0, dtype=nl.float32)
"""
ROW = "                m_tile = nisa"
L_UPDATE = "nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)"


def outdented(text: str, levels: int) -> str:
    """The lines of the state, further out."""
    return "".join(line[4 * levels :] + "\n" for line in text.splitlines())


def state_before(levels: int) -> list[tuple[str, str]]:
    """The state made once, outside of both loops (2) or only of the inner one (1); the loops then
    run in order."""
    moved = outdented(STATE, levels)
    loops = BEFORE.replace("affine_range", "sequential_range")
    first, second = loops.splitlines(keepends=True)
    return [(BEFORE + STATE, moved + loops if levels == 2 else first + moved + second)]


SEQUENCES = "state of all heads, carried over the sequences"
ALL_HEADS = [  # one tensor a head, made before the sequences
    (
        BEFORE + STATE,
        """    ms = [nl.full((G, 1), LOWEST, dtype=nl.float32, name="m") for _ in range(n_kv_heads)]
    ls = [nl.full((G, 1), 0.0, dtype=nl.float32, name="l") for _ in range(n_kv_heads)]
    accs = [nl.full((G, d), 0.0, dtype=nl.float32, name="acc") for _ in range(n_kv_heads)]
    for b in nl.static_range(n_seqs):
        for h in nl.static_range(n_kv_heads):
            m, l, acc = ms[h], ls[h], accs[h]
""",
    ),
]
CLEARED = {
    name: (
        "            m, l, acc = ms[h], ls[h], accs[h]\n",
        f"            m, l, acc = ms[h], ls[h], accs[h]\n            {name}[...] = {value}\n",
    )
    for name, value in (("m", "LOWEST"), ("l", "0.0"), ("acc", "0.0"))
}

WRONG = {
    # -- the mask
    "5 lengths ignored": (
        5,
        S5,
        [(MASK_QK, ""), (MASK_V, "")],
        "lengths ignored",
        "The lengths are not used",
    ),
    "5 lengths ignored, columns": (
        5,
        COLUMNS,
        [
            ("st = nl.where(nl.broadcast_to(dead, shape=(w, G)), -1e30, st)", "pass"),
            ("vv = nl.where(nl.broadcast_to(dead, shape=(w, d)), 0.0, vv)", "pass"),
            ("pt = nisa.tensor_scalar(pt, op0=nl.multiply, operand0=live)", "pass"),
        ],
        "lengths ignored",
        "The lengths are not used",
    ),
    "5 scores not masked": (
        5,
        S5,
        [(MASK_QK, "")],
        "scores not masked",
        "the scores are not masked",
    ),
    "5 scores not masked, where": (
        5,
        WHERE,
        [("s = nl.where(live[0:G, :], s, nl.fp32.min)", "pass")],
        "scores not masked",
        "the scores are not masked",
    ),
    "5 padding scored 0": (
        5,
        S5,
        [("src=LOWEST, dst=qk", "src=0.0, dst=qk")],
        "padding scored 0",
        "scores are set to 0",
    ),
    "5 padding scored 0, where": (
        5,
        WHERE,
        [("s, nl.fp32.min)", "s, 0.0)")],
        "padding scored 0",
        "scores are set to 0",
    ),
    "5 padding scored 0, K cleaned": (
        5,
        S5,
        [
            (MASK_QK, ""),
            (
                "                qk = nisa",
                "                nisa.tensor_copy_predicated(src=0.0, dst=k_tile, "
                "predicate=padding[0:d, :])\n                qk = nisa",
            ),
        ],
        "padding scored 0",
        "scores are set to 0",
    ),
    "5 padding scored 0, V raw": (
        5,
        WHERE,
        [("s, nl.fp32.min)", "s, 0.0)"), ("vt = nl.where(live[0:d, :], vt, 0.0)", "pass")],
        "padding scored 0",
        "scores are set to 0",
    ),
    "5 padding scored 0, three passes": (
        5,
        THREE,
        [("src=-1e38, dst=s", "src=0.0, dst=s")],
        "padding scored 0",
        "scores are set to 0",
    ),
    "5 multiplied scores": (
        5,
        S5,
        [
            (
                MASK_QK,
                KEEP + "                qk = nisa.tensor_tensor(qk, keep[0:G, "
                ":], op=nl.multiply)\n",
            )
        ],
        "padding scored 0 by a product",
        "multiplied by 0",
    ),
    "5 multiplied scores, where": (
        5,
        WHERE,
        [("s = nl.where(live[0:G, :], s, nl.fp32.min)", "s = nl.multiply(s, live[0:G, :])")],
        "padding scored 0 by a product",
        "multiplied by 0",
    ),
    "5 after the max": (
        5,
        S5,
        [
            (MASK_QK, ""),
            (ROW + M_TILE.partition("nisa")[2], ROW + M_TILE.partition("nisa")[2] + MASK_QK),
        ],
        "mask after the max",
        "The mask is applied after the max",
    ),
    "5 after the max, where": (
        5,
        WHERE,
        [
            ("                s = nl.where(live[0:G, :], s, nl.fp32.min)\n", ""),
            (
                "p = nl.exp(nl.subtract(s, mn))",
                "p = nl.where(live[0:G, :], nl.exp(nl.subtract(s, mn)), 0.0)",
            ),
        ],
        "mask after the max",
        "The mask is applied after the max",
    ),
    "5 after the max, three passes": (
        5,
        THREE,
        [
            (
                "            nisa.tensor_copy_predicated(src=-1e38, dst=s, predicate=off[0:G, "
                ":])\n",
                "",
            ),
            (
                "p = nl.exp(s - top)",
                "p = nl.exp(s - top)\n            "
                "nisa.tensor_copy_predicated(src=0.0, dst=p, "
                "predicate=off[0:G, :])",
            ),
        ],
        "mask after the max",
        "The mask is applied after the max",
    ),
    "5 multiplied weights": (
        5,
        WHERE,
        [
            (
                "                s = nl.where(live[0:G, :], s, nl.fp32.min)\n",
                "                t = nl.where(live[0:G, :], s, nl.fp32.min)\n",
            ),
            ("nl.max(s, axis", "nl.max(t, axis"),
            (
                "p = nl.exp(nl.subtract(s, mn))",
                "p = nl.multiply(nl.exp(nl.subtract(s, mn)), live[0:G, :])",
            ),
        ],
        "mask multiplied into the weights",
        "are multiplied by 0",
    ),
    "5 added": (
        5,
        S5,
        [
            (
                MASK_QK,
                """                bias = nisa.tensor_scalar(padding, op0=nl.multiply,
                                            operand0=-1e9, dtype=nl.float32)
                qk = nisa.tensor_tensor(qk, bias[0:G, :], op=nl.add)
""",
            )
        ],
        "mask added",
        "The mask is added to the scores",
    ),
    "5 added, where": (
        5,
        WHERE,
        [
            (
                "s = nl.where(live[0:G, :], s, nl.fp32.min)",
                "s = nl.add(s, nl.where(live[0:G, :], 0.0, nl.fp32.min))",
            )
        ],
        "mask added",
        "The mask is added to the scores",
    ),
    "5 added, V raw": (
        5,
        WHERE,
        [
            (
                "s = nl.where(live[0:G, :], s, nl.fp32.min)",
                "s = nl.add(s, nl.where(live[0:G, :], 0.0, -1e9))",
            ),
            ("vt = nl.where(live[0:d, :], vt, 0.0)", "pass"),
        ],
        "mask added",
        "The mask is added to the scores",
    ),
    "5 added, guarded": (
        5,
        GUARDED,
        [("                nisa.tensor_copy_predicated(src=0.0, dst=kt, predicate=gone)\n", "")],
        "mask added",
        "The mask is added to the scores",
    ),
    "5 only in the max": (
        5,
        WHERE,
        [
            (
                "s = nl.where(live[0:G, :], s, nl.fp32.min)",
                "t = nl.where(live[0:G, :], s, nl.fp32.min)",
            ),
            ("nl.max(s, axis", "nl.max(t, axis"),
        ],
        "mask only in the max",
        "to the max but not",
    ),
    "5 not low enough": (
        5,
        S5,
        [("src=LOWEST, dst=qk", "src=-100.0, dst=qk")],
        "mask not low enough",
        "must be lower than any score",
    ),
    "5 not low enough, where": (
        5,
        WHERE,
        [("s, nl.fp32.min)", "s, -500.0)")],
        "mask not low enough",
        "must be lower than any score",
    ),
    "5 inverted": (5, S5, [(PADDING, "op1=nl.less,")], "mask inverted", "wrong way round"),
    "5 inverted, where": (
        5,
        WHERE,
        [("nl.less(nl.broadcast", "nl.greater_equal(nl.broadcast")],
        "mask inverted",
        "wrong way round",
    ),
    "5 last tile only": (
        5,
        S5,
        [
            (
                MASK_QK + MASK_V,
                "                if (i + 1) * TILE >= n:\n    " + MASK_QK + "    " + MASK_V,
            )
        ],
        "mask in the last tile only",
        "Only the last tile is masked",
    ),
    "5 whole tiles": (
        5,
        S5,
        [
            (
                "op0=nl.add, operand0=i * TILE, op1=nl.greater_equal",
                "op0=nl.multiply, operand0=0.0, "
                "op1=nl.add, operand1=i * TILE, dtype=nl.float32)\n                "
                "padding = nisa.tensor_scalar("
                "padding, op0=nl.greater_equal",
            ),
            ("operand1=length[:", "operand0=length[:"),
        ],
        "whole tiles masked",
        "A tile counts as a whole or not at all",
    ),
    # -- the values
    "5 V raw": (5, S5, [(MASK_V, "")], "V's padding not cleaned", "V's padding is not cleaned"),
    "5 V raw, where": (
        5,
        WHERE,
        [("vt = nl.where(live[0:d, :], vt, 0.0)", "pass")],
        "V's padding not cleaned",
        "V's padding is not cleaned",
    ),
    "5 V raw, columns": (
        5,
        COLUMNS,
        [("vv = nl.where(nl.broadcast_to(dead, shape=(w, d)), 0.0, vv)", "pass")],
        "V's padding not cleaned",
        "V's padding is not cleaned",
    ),
    "5 V raw, three passes": (
        5,
        THREE,
        [("nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=off[0:d, a:e])", "pass")],
        "V's padding not cleaned",
        "V's padding is not cleaned",
    ),
    "5 V raw, guarded": (
        5,
        GUARDED,
        [("nisa.tensor_copy_predicated(src=0.0, dst=vt, predicate=gone)", "pass")],
        "V's padding not cleaned",
        "V's padding is not cleaned",
    ),
    "5 V times 0": (
        5,
        S5,
        [
            (
                MASK_V,
                KEEP + "                v_tile = nisa.tensor_tensor(v_tile, "
                "keep[0:d, :], op=nl.multiply)\n",
            )
        ],
        "V's padding not cleaned",
        "V's padding is not cleaned",
    ),
    "5 V times 0, where": (
        5,
        WHERE,
        [("vt = nl.where(live[0:d, :], vt, 0.0)", "vt = nl.multiply(vt, live[0:d, :])")],
        "V's padding not cleaned",
        "V's padding is not cleaned",
    ),
    # -- the length
    "5 too long": (
        5,
        S5,
        [(PADDING, "op1=nl.greater,")],
        "length off by one, too long",
        "lengths[b] counts, and must not",
    ),
    "5 too long, where": (
        5,
        WHERE,
        [("nl.less(nl.broadcast", "nl.less_equal(nl.broadcast")],
        "length off by one, too long",
        "lengths[b] counts, and must not",
    ),
    "5 too long, columns": (
        5,
        COLUMNS,
        [("op=nl.greater_equal", "op=nl.greater")],
        "length off by one, too long",
        "lengths[b] counts, and must not",
    ),
    "5 too short": (
        5,
        S5,
        [("operand0=i * TILE,", "operand0=i * TILE + 1,")],
        "length off by one, too short",
        "does not count, and must",
    ),
    "5 too short, three passes": (
        5,
        THREE,
        [("nisa.iota(nl.arange(n)", "nisa.iota(1 + nl.arange(n)")],
        "length off by one, too short",
        "does not count, and must",
    ),
    "5 position in the tile": (
        5,
        S5,
        [("operand0=i * TILE,", "operand0=0,")],
        "position restarts in every tile",
        "The positions start from 0 in every tile",
    ),
    "5 position in the tile, where": (
        5,
        WHERE,
        [("nisa.iota(first + nl", "nisa.iota(nl")],
        "position restarts in every tile",
        "The positions start from 0 in every tile",
    ),
    "5 position by the width of a narrower tile": (
        5,
        S5,
        [("operand0=i * TILE,", "operand0=i * w,")],
        "position counts narrower tiles",
        "has position i times the width of a whole tile",
    ),
    "5 position by row": (
        5,
        S5,
        [
            (
                "position = nisa.tensor_copy(nisa.nc_matmul(ones, position_row))",
                "position = nisa.iota(nl.arange(TILE)[None, :] + nl.arange(128)[:, None], "
                "dtype=nl.float32)",
            )
        ],
        "positions differ by row",
        "larger by one in every next row",
    ),
    "5 first length": (
        5,
        S5,
        [(LENGTH, "operand1=length[:, 0:1]")],
        "length of another sequence",
        "another sequence's length",
    ),
    "5 first length, where": (
        5,
        WHERE,
        [("nl.load(lengths[b:b + 1", "nl.load(lengths[0:1")],
        "length of another sequence",
        "another sequence's length",
    ),
    "5 length before": (
        5,
        S5,
        [(LENGTH, "operand1=length[:, max(b - 1, 0):max(b - 1, 0) + 1]")],
        "length of another sequence",
        "another sequence's length",
    ),
    "5 longest length": (
        5,
        S5,
        [
            (
                "    length = nisa.tensor_copy(nisa.nc_matmul(ones, length_row))  # (128, B)",
                "    length_row = nl.max(length_row, axis=1, "
                "keepdims=True).broadcast_to((1, n_seqs))\n"
                "    length = nisa.tensor_copy(nisa.nc_matmul(ones, "
                "nl.copy(length_row)))",
            )
        ],
        "the longest length for all",
        "masked by the longest length",
    ),
    # -- no keys
    "5 V's padding low": (
        5,
        S5,
        [("src=0.0, dst=v_tile", "src=LOWEST, dst=v_tile")],
        "V's padding is not 0",
        "with another number than 0",
    ),
    "5 V cleaned in the last tile": (
        5,
        S5,
        [(MASK_V, "                if i == math.ceil(longest / TILE) - 1:\n    " + MASK_V)],
        "V cleaned in part",
        "Only a part of V's padding is cleaned",
    ),
    "5 m from 0, l from 1": (
        5,
        S5,
        [("(G, 1), LOWEST", "(G, 1), 0.0"), ("l = nl.full((G, 1), 0.0", "l = nl.full((G, 1), 1.0")],
        "m starts at 0, l at 1",
        "m starts at 0 and l at 1",
    ),
    "5 last tile too early": (
        5,
        S5,
        [
            ("w = min(TILE, n - i * TILE)", "w, s = min(TILE, n), min(i * TILE, n - min(TILE, n))"),
            ("nl.ds(i * TILE, w)", "nl.ds(s, w)"),
            ("operand0=i * TILE, op1", "operand0=s, op1"),
        ],
        "last tile begins too early",
        "its first keys are those of the tile before",
    ),
    "5 inf - inf": (
        5,
        S5,
        [("LOWEST = nl.fp32.min", "LOWEST = float('-inf')")],
        "length 0 gives inf - inf",
        "-inf - -inf is NaN",
    ),
    "5 inf - inf, where": (
        5,
        WHERE,
        [("nl.fp32.min", "float('-inf')")],
        "length 0 gives inf - inf",
        "-inf - -inf is NaN",
    ),
    "5 divides by 0": (
        5,
        S5,
        [
            (
                "                l_tile = nisa",
                "                nisa.tensor_copy_predicated(src=0.0, dst=p, "
                "predicate=padding[0:G, :])\n                l_tile = nisa",
            )
        ],
        "length 0 divides by 0",
        "0 / 0 is NaN",
    ),
    "5 divides by 0, guarded": (
        5,
        GUARDED,
        [("nl.maximum(l, 1e-30)", "l")],
        "length 0 divides by 0",
        "0 / 0 is NaN",
    ),
    "5 divides by 0, low mask": (
        5,
        WHERE,
        [("s, nl.fp32.min)", "s, float('-inf'))")],
        "length 0 divides by 0",
        "0 / 0 is NaN",
    ),
    "5 mean of V": (
        5,
        S5,
        [
            (
                MASK_V,
                "                v_tile = nl.where(nl.less(nl.abs(v_tile), 1e3), v_tile, 0.0)\n",
            )
        ],
        "length 0 gives the mean of V",
        "gets the mean of V",
    ),
    "5 one key at least": (
        5,
        S5,
        [
            ("    ones = nl.full((1, 128)", "    one = 1\n    ones = nl.full((1, 128)"),
            (
                "    length = nisa.tensor_copy(",
                "    length_row = nl.maximum(length_row, 1.0)\n    length = nisa.tensor_copy(",
            ),
        ],
        "length 0 taken as 1",
        "is given one key",
    ),
    # -- which keys, whose
    "5 last keys skipped": (
        5,
        S5,
        [("math.ceil(longest / TILE)", "max(longest // TILE, 1)")],
        "last keys skipped",
        "after the last whole tile are skipped",
    ),
    "5 K and V of sequence 0": (
        5,
        S5,
        [("k[b, h,", "k[0, h,"), ("v[b, h,", "v[0, h,")],
        "sequence 0's K and V for all",
        "All sequences read the same K and V",
    ),
    "5 V of sequence 0": (
        5,
        WHERE,
        [("v[b, h,", "v[0, h,")],
        "sequence 0's V for all",
        "All sequences read the same V",
    ),
    "5 K of sequence 0": (
        5,
        COLUMNS,
        [("k[b, h,", "k[0, h,")],
        "sequence 0's K for all",
        "All sequences read the same K",
    ),
    "5 q of sequence 0": (
        5,
        S5,
        [("q[b, :,", "q[0, :,")],
        "sequence 0's q for all",
        "All sequences use the same query",
    ),
    "5 state carried": (
        5,
        S5,
        state_before(2),
        "state not cleared between sequences",
        "carried from one sequence to the next",
    ),
    "5 state carried, all heads": (
        5,
        S5,
        ALL_HEADS,
        "state not cleared between sequences",
        "carried from one sequence to the next",
    ),
    "5 acc carried": (
        5,
        S5,
        [*ALL_HEADS, CLEARED["l"]],
        "m and acc not cleared between sequences",
        "m and acc are carried",
    ),
    "5 l carried": (
        5,
        S5,
        [*ALL_HEADS, CLEARED["acc"]],
        "m and l not cleared between sequences",
        "m and l are carried",
    ),
    "5 m carried": (
        5,
        S5,
        [
            *ALL_HEADS,
            CLEARED["l"],
            (CLEARED["l"][1], CLEARED["l"][1] + "            acc[...] = 0.0\n"),
        ],
        "m not cleared between sequences",
        "m is carried",
    ),
    # -- what the stages before taught
    "5 l not rescaled": (
        5,
        S5,
        [(L_UPDATE, "nisa.tensor_tensor(l, l_tile, op=nl.add)")],
        "l not rescaled",
        "not rescaled by alpha",
    ),
    "5 acc not rescaled": (
        5,
        WHERE,
        [("nl.multiply(acc, al)", "acc")],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
    "5 fills exchanged": (
        5,
        S5,
        [("src=LOWEST, dst=qk", "src=0.0, dst=qk"), ("src=0.0, dst=v", "src=LOWEST, dst=v")],
        "fills exchanged",
        "The two fills are exchanged",
    ),
    "5 a key between tiles": (
        5,
        S5,
        [("w = min(TILE, n - i * TILE)", "w = min(TILE - 1, n - i * TILE)")],
        "keys never read",
        "no load reads key 127.",
    ),
    "5 two tiles only": (
        5,
        S5,
        [("math.ceil(longest / TILE)", "min(2, math.ceil(longest / TILE))")],
        "keys never read",
        "no load reads the keys 256 to 299.",
    ),
    "5 lengths on 64 partitions": (
        5,
        COLUMNS,
        [
            (
                "col = nl.copy(nl.broadcast_to(one, shape=(T, 1)))",
                "col = nl.zeros((T, 1), dtype=nl.float32)\n"
                "        col[0:64, :] = nl.broadcast_to(one, shape=(64, 1))",
            )
        ],
        "lengths on some partitions only",
        "The lengths are on some of the partitions only",
    ),
    "5 alpha inverted": (
        5,
        COLUMNS,
        [("al = nl.exp(m - mn)", "al = nl.exp(mn - m)")],
        "alpha inverted",
        "alpha is inverted",
    ),
    "5 modulo": (
        5,
        S5,
        [("k[b, h,", "k[b, HK,"), ("v[b, h,", "v[b, HK,"), ("HK", "(n_kv_heads - 1 - h)")],
        "KV head is another",
        "the wrong KV head",
    ),
    "5 one KV head": (
        5,
        WHERE,
        [("k[b, h,", "k[b, 0,"), ("v[b, h,", "v[b, 0,")],
        "one KV head for all",
        "the same KV head",
    ),
    "5 scale": (
        5,
        S5,
        [("op0=nl.multiply, operand0=scale)", "op0=nl.multiply, operand0=1.0)")],
        "scale missing",
        "The scale is missing",
    ),
    "5 p with the tile's max": (
        5,
        WHERE,
        [
            (
                "p = nl.exp(nl.subtract(s, mn))",
                "p = nl.exp(nl.subtract(s, nl.max(s, axis=1, keepdims=True)))",
            )
        ],
        "p with the tile's max",
        "the tile's own max",
    ),
}

TWICE = changed(
    S5,
    (
        "            for i in nl.static_range",
        "            for again in range(2):\n                "
        "nl.load(k[b, h])\n"
        "            for i in nl.static_range",
    ),
)
