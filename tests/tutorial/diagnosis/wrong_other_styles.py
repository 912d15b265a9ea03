"""Wrong kernels of stages 2 and 3 in further styles, in the form of `wrong_one_head`."""

from __future__ import annotations

from tests.tutorial.kernels import style

PEELED, LANES, ON_CHIP = (
    style("stage3_peeled"),
    style("stage3_lanes"),
    style("stage2_scores_on_chip"),
)
L, ACC = "The old sum was not rescaled by alpha", "acc was not rescaled by alpha"
OVERWRITTEN = "m was overwritten with m_new before alpha"
TILE_MAX = "p is formed with the tile's own max instead of m_new"

WRONG = {
    "3 peeled, l": (3, PEELED, [("l[...] = l * al +", "l[...] = l +")], "l not rescaled", L),
    "3 peeled, acc": (
        3,
        PEELED,
        [("acc[...] = acc * al +", "acc[...] = acc +")],
        "acc not rescaled",
        ACC,
    ),
    "3 peeled, alpha": (
        3,
        PEELED,
        [("nl.exp(m - mn)", "nl.exp(mn - m)")],
        "alpha inverted",
        "alpha is inverted",
    ),
    "3 peeled, m": (
        3,
        PEELED,
        [("        al = nl.exp", "        m[...] = mn\n        al = nl.exp")],
        "m overwritten before alpha",
        OVERWRITTEN,
    ),
    "3 peeled, p": (
        3,
        PEELED,
        [("nl.exp(s2 - mn)", "nl.exp(s2 - nl.max(s2, axis=1, keepdims=True))")],
        "p with the tile's max",
        TILE_MAX,
    ),
    "3 peeled, division": (
        3,
        PEELED,
        [
            (
                "        m[...] = mn\n    nl.store(o, acc / l)",
                "        acc[...] = acc / l\n        m[...] = mn\n    nl.store(o, acc)",
            )
        ],
        "divided inside the loop",
        "acc is divided by l inside the loop",
    ),
    "3 peeled, bf16": (
        3,
        PEELED,
        [("l = nl.ndarray((1, 1), dtype=nl.float32", "l = nl.ndarray((1, 1), dtype=nl.bfloat16")],
        "low precision",
        "l is kept in bfloat16",
    ),
    "3 lanes, l": (
        3,
        LANES,
        [("nl.add(nl.multiply(lanes, al), p)", "nl.add(lanes, p)")],
        "l not rescaled",
        L,
    ),
    "3 lanes, acc": (
        3,
        LANES,
        [("nl.multiply(acc, al[0:1, 0:1])", "acc")],
        "acc not rescaled",
        ACC,
    ),
    "3 lanes, alpha": (
        3,
        LANES,
        [("nl.subtract(m, mn)", "nl.subtract(mn, m)")],
        "alpha inverted",
        "alpha is inverted",
    ),
    "3 lanes, start": (3, LANES, [("-1e30", "0.0")], "m starts at 0", "m starts at 0"),
    "3 lanes, p": (
        3,
        LANES,
        [("nl.exp(nl.subtract(s, mn))", "nl.exp(nl.subtract(s, tmb))")],
        "p with the tile's max",
        TILE_MAX,
    ),
    "3 lanes, m": (
        3,
        LANES,
        [
            ("        m[...] = nl.copy(mn)\n", ""),
            ("        al = nl.exp", "        m[...] = nl.copy(mn)\n        al = nl.exp"),
        ],
        "m overwritten before alpha",
        OVERWRITTEN,
    ),
    "3 lanes, scale": (
        3,
        LANES,
        [("nl.multiply(nisa.nc_matmul(kt, qt), sc)", "nl.copy(nisa.nc_matmul(kt, qt))")],
        "scale missing",
        "The scale is missing",
    ),
    "2 on chip, V": (
        2,
        ON_CHIP,
        [("nl.load(v[:, i*128:(i+1)*128])", "nl.load(v[:, 0:128])")],
        "tile 0's V reused",
        "Tile 0's V is used",
    ),
    "2 on chip, last": (
        2,
        ON_CHIP,
        [
            (
                "for i in nl.affine_range(n // 128):\n        wt",
                "for i in nl.affine_range(n // 128 - 1):\n        wt",
            )
        ],
        "last tile skipped in the weighted sum",
        "skipped in the weighted sum",
    ),
    "2 on chip, max": (
        2,
        ON_CHIP,
        [("w = nl.exp(nl.subtract(s, top))", "w = nl.exp(s)")],
        "no max subtraction",
        "The max is not subtracted",
    ),
}
