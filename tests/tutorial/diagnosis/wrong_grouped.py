"""Wrong kernels of stage 4, in the form of `wrong_one_head`."""

from __future__ import annotations

from tests.tutorial.kernels import solution, style

S4 = solution(4)
TURN_OVER = "nl.broadcast_to(nl.{0}(nl.transpose({1}), axis=1, keepdims=True), shape=(G, 1))"
M_TILE = "nisa.tensor_reduce(nl.maximum, qk, axis=1, keepdims=True)"
L_TILE = "nisa.tensor_reduce(nl.add, p, axis=1, keepdims=True)"
CLEAR = {
    "m": "        m[...] = -3e38\n",
    "l": "        l[...] = 0.0\n",
    "acc": "        acc[...] = 0.0\n",
}
SLICED4, ROWWISE4, PER_HEAD4 = (
    style("stage4_sliced"),
    style("stage4_rowwise"),
    style("stage4_per_head"),
)
OWN_LOAD = (
    "                s = nl",
    "                kt = nl.load(k[{0}, :, i * 128:(i + 1) * 128])\n"
    "                v_t = nl.transpose(nl.load(v[{0}, :, i * 128:(i + 1) * 128]))\n              "
    "  s = nl",
)

WRONG = {
    "4 modulo": (
        4,
        ROWWISE4,
        [(OWN_LOAD[0], OWN_LOAD[1].format("j % Hkv"))],
        "KV head is h % Hkv",
        "The KV head was taken as h % Hkv",
    ),
    "4 modulo, sliced": (
        4,
        SLICED4,
        [
            ("qs[:, h * G:(h + 1) * G]", "qs[:, h:Hq:Hkv]"),
            ("nl.store(o[h * G:(h + 1) * G, :]", "nl.store(o[h:Hq:Hkv, :]"),
        ],
        "KV head is h % Hkv",
        "The KV head was taken as h % Hkv",
    ),
    "4 modulo, per head": (
        4,
        PER_HEAD4,
        [("j // group", "j % n_kv")],
        "KV head is h % Hkv",
        "The KV head was taken as h % Hkv",
    ),
    "4 loads": (
        4,
        PER_HEAD4,
        [],
        "loaded once per query head",
        "K and V are loaded once per query head: read 4 times (G = 4)",
    ),
    "4 loads, rowwise": (
        4,
        ROWWISE4,
        [(OWN_LOAD[0], OWN_LOAD[1].format("h"))],
        "loaded once per query head",
        "K and V are loaded once per query head: read 5 times (G = 4)",
    ),
    "4 one max for all rows": (
        4,
        S4,
        [(M_TILE, TURN_OVER.format("max", "nl.max(qk, axis=1, keepdims=True)"))],
        "one max for all rows",
        "One max is shared by all rows",
    ),
    "4 m shared": (
        4,
        ROWWISE4,
        [("m = nl.full((1, Hq)", "m = nl.full((1, Hkv)"), ("m[:, j:j + 1]", "m[:, h:h + 1]")],
        "m shared",
        "m is shared by the heads of a group",
    ),
    "4 l shared": (
        4,
        S4,
        [(L_TILE, TURN_OVER.format("sum", "nl.sum(p, axis=1, keepdims=True)"))],
        "l shared",
        "l is shared by the heads of a group",
    ),
    "4 l shared, rowwise": (
        4,
        ROWWISE4,
        [
            ("l = nl.full((1, Hq)", "l = nl.full((1, Hkv)"),
            ("acc[:, j, :], l[:, j:j + 1]", "acc[:, j, :], l[:, j // G:j // G + 1]"),
            ("l[:, j:j + 1]", "l[:, h:h + 1]"),
        ],
        "l shared",
        "l is shared by the heads of a group",
    ),
    "4 m and l shared": (
        4,
        ROWWISE4,
        [
            ("m = nl.full((1, Hq)", "m = nl.full((1, Hkv)"),
            ("m[:, j:j + 1]", "m[:, h:h + 1]"),
            ("l = nl.full((1, Hq)", "l = nl.full((1, Hkv)"),
            ("acc[:, j, :], l[:, j:j + 1]", "acc[:, j, :], l[:, j // G:j // G + 1]"),
            ("l[:, j:j + 1]", "l[:, h:h + 1]"),
        ],
        "m and l shared",
        "m and l are shared by the heads",
    ),
    "4 nothing cleared": (
        4,
        PER_HEAD4,
        [(text, "") for text in CLEAR.values()],
        "state not cleared between heads",
        "not cleared between heads",
    ),
    "4 acc not cleared": (
        4,
        PER_HEAD4,
        [(CLEAR["m"], ""), (CLEAR["acc"], "")],
        "acc not cleared between heads",
        "acc is not cleared between heads",
    ),
    "4 l not cleared": (
        4,
        PER_HEAD4,
        [(CLEAR["m"], ""), (CLEAR["l"], "")],
        "l not cleared between heads",
        "l is not cleared between heads",
    ),
    "4 m not cleared": (
        4,
        PER_HEAD4,
        [(CLEAR["m"], "")],
        "m not cleared between heads",
        "m is not reset between heads",
    ),
    "4 l not rescaled": (
        4,
        SLICED4,
        [("l[:, h:h + 1] * al + nl.sum", "l[:, h:h + 1] + nl.sum")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "4 queries strided": (
        4,
        S4,
        [("q[:, nl.ds(h * G, G)]", "q[:, h:n_q_heads:n_kv_heads]")],
        "q heads strided",
        "taken with a stride",
    ),
    "4 rows strided": (
        4,
        S4,
        [("o[nl.ds(h * G, G), :]", "o[h:n_q_heads:n_kv_heads, :]")],
        "output heads strided",
        "stored with a stride",
    ),
    "4 one state for a group": (
        4,
        style("stage4_heads_inside"),
        [
            ("nl.maximum(ms[g]", "nl.maximum(ms[0]"),
            ("nl.exp(ms[g]", "nl.exp(ms[0]"),
            ("ls[g][...] = ls[g] *", "ls[0][...] = ls[0] *"),
            ("accs[g][...] = accs[g] *", "accs[0][...] = accs[0] *"),
            ("ms[g][...]", "ms[0][...]"),
        ],
        "state shared",
        "The heads of a group update one state",
    ),
    "4 scale of one KV head": (
        4,
        SLICED4,
        [
            ("qs = nl.load(q)", "qs = nl.load(q)\n    qs[:, 0:G] = nl.multiply(qs[:, 0:G], scale)"),
            ("transpose_x=True), scale)", "transpose_x=True), 1.0)"),
        ],
        "scale missing for some heads",
        "for some of the query heads",
    ),
}
