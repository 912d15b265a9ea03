"""Wrong kernels of stage 6, in the form of `wrong_one_head`: how tiles are dealt out, and how
states are merged."""

from __future__ import annotations

from tests.tutorial.kernels import changed, part, solution, style

S6 = solution(6)
ONE, OUTPUTS = style("stage6_one_kernel"), style("stage6_outputs")
L = "l[...] = nl.add(nl.multiply(l, alpha), nl.multiply(l_s, beta))"
ACC = "acc[...] = nl.add(nl.multiply(acc, alpha), nl.multiply(acc_s, beta))"
END = "nl.store(o, value=nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l)))"
STORE = "            nl.store(out[s, nl.ds(h * G, G), :], value=state)\n"
OUTS = "        for out, state in ((m_out, m), (l_out, l), (acc_out, acc)):\n"
DIVIDED = (
    "        acc[...] = nisa.tensor_scalar(acc, op0=nl.multiply, "
    "operand0=nisa.reciprocal(nl.maximum(l, 1e-30)))\n"
)
STATE = """        m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32, name="m")
        l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
        acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
"""
LOOP6 = """            m = nl.full((G, 1), -1e30, dtype=nl.float32, name="m")
            l = nl.full((G, 1), 0.0, dtype=nl.float32, name="l")
            acc = nl.full((G, d), 0.0, dtype=nl.float32, name="acc")
"""
BEFORE6 = "        for s in nl.static_range(n_splits):\n"
MEAN = [
    (L, "l[...] = nl.add(l, nl.minimum(nl.multiply(l_s, 1e30), 1.0))"),
    (ACC, "acc[...] = nl.add(acc, nl.divide(acc_s, nl.maximum(l_s, 1e-30)))"),
]
TIMES, SAID_TIMES = (
    ("multiplied by the number of splits"),
    ("The output is 4 times what it must be, and 4 is the number of splits"),
)

JOIN = """def join(state, other):
    (m, l, acc), (m_b, l_b, acc_b) = state, other
    top = nl.maximum(m, m_b)
    a, b = nl.exp(nl.subtract(m, top)), nl.exp(nl.subtract(m_b, top))
    l[...] = nl.add(nl.multiply(l, a), nl.multiply(l_b, b))
    acc[...] = nl.add(nl.multiply(acc, a), nl.multiply(acc_b, b))
    m[...] = top


"""
OF_A_TILE = """                m_b = nl.max(qk, axis=1, keepdims=True)
                p = nl.exp(nl.subtract(qk, m_b))
                l_b = nl.sum(p, axis=1, keepdims=True)
                p_t, v_t = nl.copy(nisa.nc_transpose(p)), nl.copy(nisa.nc_transpose(v_tile))
                join((m, l, acc), (m_b, l_b, nisa.nc_matmul(p_t, v_t)))
"""
JOINED = changed(
    S6,
    ("@nki.jit\ndef split", f"{JOIN}@nki.jit\ndef split"),
    (part(S6, "                m_tile", "                m[...] = m_new\n"), OF_A_TILE),
    (
        part(S6, "        m_new = nisa.tensor_tensor(m, m_s", "        m[...] = m_new\n"),
        "        join((m, l, acc), (m_s, l_s, acc_s))\n",
    ),
)
"""One function joins the states of tiles, and those of splits."""

WRONG = {
    "6 averaged": (
        6,
        S6,
        [(L, "l[...] = nl.add(l, 1.0)"), MEAN[1]],
        "splits averaged",
        "outputs are averaged",
    ),
    "6 averaged without the empty": (6, S6, MEAN, "splits averaged", "outputs are averaged"),
    "6 averaged, outputs": (
        6,
        OUTPUTS,
        [
            ("den[...] = den + w", "den[...] = den + 1.0"),
            ("nl.multiply(nl.load(outs[s]), w)", "nl.load(outs[s])"),
        ],
        "splits averaged",
        "outputs are averaged",
    ),
    "6 averaged, nan": (
        6,
        S6,
        [(L, "l[...] = nl.add(l, 1.0)"), (ACC, "acc[...] = nl.add(acc, nl.divide(acc_s, l_s))")],
        "splits averaged, empty ones too",
        "0 / 0",
    ),
    "6 summed": (
        6,
        S6,
        [(L, "l[...] = nl.full((n_q_heads, 1), 1.0, dtype=nl.float32)"), MEAN[1]],
        "splits summed",
        "outputs are added",
    ),
    "6 times S": (
        6,
        S6,
        [(END, END.replace("reciprocal(l)", "reciprocal(l / float(m_parts.shape[0]))"))],
        TIMES,
        SAID_TIMES,
    ),
    "6 times S, l averaged": (
        6,
        style("stage6_log_sum"),
        [("den += w", "den += w * (1.0 / S)")],
        TIMES,
        SAID_TIMES,
    ),
    "6 over S": (
        6,
        style("stage6_log_sum"),
        [("num += nl.load(os_[j]) * w", "num += nl.load(os_[j]) * w * (1.0 / S)")],
        "divided by the number of splits",
        "The output is 1/4 of what it must be, and 4 is the number of splits",
    ),
    "6 by l": (
        6,
        S6,
        [(L, "l[...] = nl.add(l, l_s)"), (ACC, "acc[...] = nl.add(acc, acc_s)")],
        "merge without the max",
        "without their m",
    ),
    "6 by l, one kernel": (
        6,
        ONE,
        [("w = nl.exp(ms - top)", "w = nl.exp(nl.multiply(ms - top, 0.0))")],
        "merge without the max",
        "without their m",
    ),
    "6 normalised": (
        6,
        S6,
        [(OUTS, DIVIDED + OUTS)],
        "normalised states merged",
        "as if it were acc",
    ),
    "6 normalised, one kernel": (
        6,
        ONE,
        [("accs[:, s, :] = nl.copy(acc)", "accs[:, s, :] = nl.divide(acc, nl.maximum(l, 1e-30))")],
        "normalised states merged",
        "as if it were acc",
    ),
    "6 normalised, nan": (
        6,
        S6,
        [
            (OUTS, DIVIDED.replace("nl.maximum(l, 1e-30)", "l") + OUTS),
            (
                ACC,
                ACC.replace(
                    "nl.multiply(acc_s, beta)", "nl.multiply(nl.multiply(acc_s, l_s), beta)"
                ),
            ),
        ],
        "empty split divided by 0",
        "gives 0 / 0",
    ),
    "6 max alone": (
        6,
        OUTPUTS,
        [("m + nl.log(l)", "m")],
        "merge by the max alone",
        "by exp(m_s - m) alone",
    ),
    "6 l kept": (
        6,
        S6,
        [(L, "l[...] = nl.add(l, l_s)")],
        "l not rescaled in the merge",
        "l is not",
    ),
    "6 acc kept": (
        6,
        S6,
        [(ACC, "acc[...] = nl.add(acc, acc_s)")],
        "acc not rescaled in the merge",
        "acc is not",
    ),
    "6 inverted": (
        6,
        ONE,
        [("w = nl.exp(ms - top)", "w = nl.exp(nl.minimum(top - ms, 80.0))")],
        None,
        "",
    ),
    "6 old kept": (
        6,
        S6,
        [
            (L, L.replace("nl.multiply(l, alpha)", "l")),
            (ACC, ACC.replace("nl.multiply(acc, alpha)", "acc")),
        ],
        "old state not rescaled in the merge",
        "the old one is not",
    ),
    "6 new kept": (
        6,
        S6,
        [
            (L, L.replace("nl.multiply(l_s, beta)", "l_s")),
            (ACC, ACC.replace("nl.multiply(acc_s, beta)", "acc_s")),
        ],
        "new state not rescaled in the merge",
        "the new split's is not",
    ),
    "6 one factor": (
        6,
        S6,
        [(L, L.replace("beta", "alpha")), (ACC, ACC.replace("beta", "alpha"))],
        "one factor for both",
        "the same factor",
    ),
    "6 m not raised": (
        6,
        S6,
        [
            (
                "        m[...] = m_new\n    nl.store(o",
                "        if s == 0:\n            m[...] = m_new\n    nl.store(o",
            ),
            (
                "m_new = nisa.tensor_tensor(m, m_s, op=nl.maximum)  # (Hq, 1)\n   "
                "     alpha = nisa",
                "m_new = nisa.tensor_tensor(m, m_s, op=nl.maximum) if s == 0 else "
                "m\n        alpha = nisa",
            ),
        ],
        "m not raised in the merge",
        "m is not raised",
    ),
    "6 m of 0": (
        6,
        ONE,
        [("w = nl.exp(ms - top)", "w = nl.exp(ms)")],
        "no max in the merge",
        "exp(m_s) instead",
    ),
    "6 one wins": (
        6,
        ONE,
        [("w = nl.exp(ms - top)", "w = nl.equal(ms, top)")],
        "one split wins",
        "Only the split with the largest max",
    ),
    "6 last only": (
        6,
        S6,
        [(L, "l[...] = nl.copy(l_s)"), (ACC, "acc[...] = nl.copy(acc_s)")],
        "last split only",
        "is the last split's",
    ),
    "6 not divided": (
        6,
        S6,
        [(END, "nl.store(o, value=acc)")],
        "never divided after the merge",
        "not divided by the merged l",
    ),
    "6 rest dropped": (
        6,
        S6,
        [("math.ceil(n // TILE / n_splits)", "n // TILE // n_splits")],
        "rest of the tiles dropped",
        "the rest is dropped",
    ),
    "6 overlap": (
        6,
        S6,
        [
            (
                "first = (s * tiles_a_split + i) * TILE",
                "first = (min(s * tiles_a_split, n // TILE - tiles_a_split) + i) * TILE",
            )
        ],
        "tiles visited twice",
        "counted twice",
    ),
    "6 same tiles": (
        6,
        S6,
        [("first = (s * tiles_a_split + i)", "first = (0 * s + i)")],
        "every split has the first one's tiles",
        "visits the same tiles",
    ),
    "6 last skipped": (
        6,
        S6,
        [("nl.sequential_range(n_splits)", "nl.sequential_range(max(n_splits - 1, 1))")],
        "last split skipped",
        "The last split is not merged",
    ),
    "6 first skipped": (
        6,
        S6,
        [("nl.sequential_range(n_splits)", "nl.sequential_range(min(1, n_splits - 1), n_splits)")],
        "first split skipped",
        "The first split is not merged",
    ),
    "6 state carried": (
        6,
        ONE,
        [(BEFORE6 + LOOP6, LOOP6.replace("            ", "        ") + BEFORE6)],
        "state not cleared between splits",
        "carried from one split to the next",
    ),
    "6 acc carried": (
        6,
        ONE,
        [
            (
                BEFORE6 + LOOP6,
                LOOP6.replace("            ", "        ") + BEFORE6 + "            l[...] = 0.0\n",
            )
        ],
        "acc not cleared between splits",
        "acc is carried",
    ),
    "6 empty m of 0": (
        6,
        S6,
        [(OUTS, "        if s * tiles_a_split * TILE >= n:\n            m[...] = 0.0\n" + OUTS)],
        "empty split's m is too high",
        "leaves an m above the real ones",
    ),
    "6 l not rescaled in the loop": (
        6,
        S6,
        [
            (
                "nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, "
                "operand1=l_tile)",
                "nisa.tensor_tensor(l, l_tile, op=nl.add)",
            )
        ],
        "l not rescaled",
        "not rescaled by alpha",
    ),
    "6 acc not rescaled in the loop": (
        6,
        ONE,
        [("acc[...] = acc * al +", "acc[...] = acc +")],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
    "6 scale": (
        6,
        OUTPUTS,
        [("nl.multiply(nisa.nc_matmul(qt, kt), sc)", "nl.copy(nisa.nc_matmul(qt, kt))")],
        "scale missing",
        "The scale is missing",
    ),
    "6 modulo": (
        6,
        S6,
        [("k[h, :", "k[n_kv_heads - 1 - h, :"), ("v[h, :", "v[n_kv_heads - 1 - h, :")],
        "KV head is another",
        "the wrong KV head",
    ),
    "6 joined by the other's factor": (
        6,
        JOINED,
        [
            (
                "nl.add(nl.multiply(l, a), nl.multiply(l_b, b))",
                "nl.add(nl.multiply(l, b), nl.multiply(l_b, a))",
            )
        ],
        "factors exchanged in the merge",
        "The factors of the merge are exchanged",
    ),
    "6 joined by one factor": (
        6,
        JOINED,
        [("a, b = nl.exp(nl.subtract(m, top))", "a, b = nl.exp(nl.subtract(m_b, top))")],
        "one factor for both",
        "rescaled by the same factor",
    ),
    "6 joined without a factor": (
        6,
        JOINED,
        [("nl.multiply(acc_b, b)", "acc_b")],
        "new acc not rescaled in the merge",
        "the new split's acc is not rescaled",
    ),
    "6 merged max without the last": (
        6,
        style("stage6_merged_at_once"),
        [
            (
                "    top = nl.max(ms, axis=1, keepdims=True)\n",
                "    top = nl.full((heads, 1), -1e30, dtype=nl.float32)\n"
                "    for s in range(max(parts - 1, 1)):\n"
                "        top[...] = nl.maximum(top, ms[:, s:s + 1])\n",
            )
        ],
        "m not raised in the merge",
        "or not for every split",
    ),
}
# exp of a positive number that is cut off: a different mistake for every kernel
del WRONG["6 inverted"]

LOADED_BY_ALL = [
    ("            if first < n:", "            nl.load(k[h, :, 0:TILE])\n            if first < n:")
]
