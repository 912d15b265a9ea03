"""Wrong kernels of stage 7, in the form of `wrong_one_head`; the bases are rungs of the ladder."""

from __future__ import annotations

from tests.tutorial.kernels import ROOT, style


def rung(name: str) -> str:
    """The text of a rung."""
    return (ROOT / "solutions" / "stage7_fast" / f"{name}.py").read_text(encoding="utf-8")


V2, V3, V4, V5, V6, V7 = (
    rung(name)
    for name in (
        "v2_v_rows",
        "v3_wide_tiles",
        "v4_large_transfers",
        "v5_fused_exp",
        "v6_heads_packed",
        "v7_keys_on_partitions",
    )
)
WHOLE7 = style("stage7_whole_cache")
SHORT = "kept in bfloat16"
ORDER, ORDER_SAID = "keys of K and V in different order", "in a different order of the keys"
LAYOUT, LAYOUT_SAID = "V read as untransposed", "V is stored (Hkv, n, d) here"
PLACE, PLACE_SAID = "head on the wrong partition", "A head stands on another head's partition"
BIAS, BIAS_SAID = "bias of another tile's max", "p is relative to the max of another tile"
TABLE, TABLE_SAID = "p of another tile", "weighed by the p of another tile"

NEXT = "i_kv * n_q_heads + (i_kv + 1) % n_kv_heads * G + i_g"

WRONG = {
    # 16 bits where 32 belong
    "7 l in bf16": (
        7,
        V2,
        [("l = nl.full((G, 1), 0.0, dtype=nl.float32", "l = nl.full((G, 1), 0.0, dtype=q.dtype")],
        "low precision",
        f"l is {SHORT}",
    ),
    "7 m in bf16": (
        7,
        V3,
        [
            (
                "m = nl.full((G, 1), nl.fp32.min, dtype=nl.float32",
                "m = nl.full((G, 1), -3e38, dtype=q.dtype",
            )
        ],
        "low precision",
        f"m is {SHORT}",
    ),
    "7 l and m in bf16, lanes": (
        7,
        V7,
        [
            (
                "m = nl.full((128, G), nl.fp32.min, dtype=nl.float32",
                "m = nl.full((128, G), -3e38, dtype=q.dtype",
            ),
            (
                "l = nl.full((128, G), 0.0, dtype=nl.float32",
                "l = nl.full((128, G), 0.0, dtype=q.dtype",
            ),
        ],
        "low precision",
        "m and l are kept in bfloat16",
    ),
    "7 tile sum in bf16": (
        7,
        V5,
        [
            (
                "l_tile = nl.ndarray((G, 1), dtype=nl.float32)",
                "l_tile = nl.ndarray((G, 1), dtype=q.dtype)",
            )
        ],
        "low precision",
        f"l_tile is {SHORT}",
    ),
    "7 acc in bf16": (
        7,
        V4,
        [
            (
                "acc = nl.full((G, d), 0.0, dtype=nl.float32",
                "acc = nl.full((G, d), 0.0, dtype=q.dtype",
            )
        ],
        "low precision",
        f"acc is {SHORT}",
    ),
    "7 scores in bf16": (
        7,
        V5,
        [
            (
                "qk = nl.ndarray((G, chunk), dtype=nl.float32)",
                "qk = nl.ndarray((G, chunk), dtype=q.dtype)",
            )
        ],
        "low precision",
        f"qk is {SHORT}",
    ),
    # the layout of V
    "7 V transposed": (
        7,
        V2,
        [
            (
                "pv = nisa.nc_matmul(p_t, v_tile)",
                "pv = nisa.nc_matmul(p_t, nisa.tensor_copy(nisa.nc_transpose(v_tile)))",
            )
        ],
        LAYOUT,
        LAYOUT_SAID,
    ),
    "7 V transposed, wide": (
        7,
        V3,
        [
            (
                "pv += nisa.nc_matmul(p_t, v_tile[:, t, :])",
                "pv += nisa.nc_matmul(p_t, nisa.tensor_copy(nisa.nc_transpose(v_tile[:, t, :])))",
            )
        ],
        LAYOUT,
        LAYOUT_SAID,
    ),
    "7 V as (d, n)": (
        7,
        V2,
        [
            (
                "v_tile = nl.load(v[h, nl.ds(i * TILE, TILE), :])",
                "v_tile = nl.load(v[h, :, nl.ds(i * TILE, TILE)])",
            )
        ],
        LAYOUT,
        LAYOUT_SAID,
    ),
    "7 V reshaped": (
        7,
        V2,
        [
            (
                "v_tile = nl.load(v[h, nl.ds(i * TILE, TILE), :])  # (TILE, d)",
                "v_d = nl.load(v.reshape((n_kv_heads, d, n))[h, :, nl.ds(i * TILE, "
                "TILE)])\n"
                "            v_tile = "
                "nisa.tensor_copy(nisa.nc_transpose(v_d))",
            )
        ],
        LAYOUT,
        LAYOUT_SAID,
    ),
    # the order of the keys
    "7 K in a row, V strided": (
        7,
        V7,
        [("k_tile[i_kd, i_kp * T + t]", "k_tile[:, nl.ds(t * 128, 128)]")],
        ORDER,
        ORDER_SAID,
    ),
    "7 K strided, V in a row": (
        7,
        V7,
        [("i * chunk + i_p * T + i_vt", "i * chunk + i_vt * 128 + i_p")],
        ORDER,
        ORDER_SAID,
    ),
    "7 p in a row, V strided": (
        7,
        V4,
        [("p[i_g, i_k * T + t]", "p[:, nl.ds(t * 128, 128)]")],
        ORDER,
        ORDER_SAID,
    ),
    "7 p in a row, packed": (
        7,
        V6,
        [("p[i_h, i_k * T + t]", "p[:, nl.ds(t * 128, 128)]")],
        ORDER,
        ORDER_SAID,
    ),
    # whose scores
    "7 scores of the first tile": (
        7,
        V3,
        [
            (
                "            qk_psum = nisa.nc_matmul(q_tile, k_tile)  # (G, tile) PSUM\n",
                "            qk_psum = nl.ndarray((G, tile), dtype=nl.float32, buffer=nl.psum)\n"
                "            for t in nl.affine_range(T):\n"
                "                qk_psum[:, nl.ds(128 * t, 128)] = nisa.nc_matmul("
                "q_tile, k_tile[:, nl.ds(0, 128)])\n",
            )
        ],
        "K of one tile for a whole step",
        "The scores of one tile stand for all tiles of a step",
    ),
    # whose weights
    "7 p of the tile before": (
        7,
        V3,
        [
            (
                "p_t = nisa.tensor_copy(nisa.nc_transpose(p[:, nl.ds(128 * t, 128)])",
                "p_t = nisa.tensor_copy(nisa.nc_transpose(p[:, nl.ds(128 * max(t - 1, 0), 128)])",
            )
        ],
        TABLE,
        TABLE_SAID,
    ),
    "7 p of the first tile": (
        7,
        V3,
        [
            (
                "p_t = nisa.tensor_copy(nisa.nc_transpose(p[:, nl.ds(128 * t, 128)])",
                "p_t = nisa.tensor_copy(nisa.nc_transpose(p[:, nl.ds(0, 128)])",
            )
        ],
        TABLE,
        TABLE_SAID,
    ),
    "7 bias of the first max": (
        7,
        V2,
        [
            (
                "        m = nl.full((G, 1)",
                "        first = nl.full((G, 1), 0.0, dtype=nl.float32)\n        m = nl.full((G, "
                "1)",
            ),
            (
                "            p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, "
                "operand0=m_new))",
                "            if i == 0:\n                first[...] = m_new\n"
                "            p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, "
                "operand0=first))",
            ),
        ],
        BIAS,
        BIAS_SAID,
    ),
    "7 bias of the tile's own max": (
        7,
        V2,
        [("operand0=m_new))  # (G, TILE) fp32", "operand0=m_tile))  # (G, TILE) fp32")],
        "p with the tile's max",
        "formed with the tile's own max instead of m_new",
    ),
    "7 bias of another head": (
        7,
        V7,
        [("bias=minus_m[:, nl.ds(g, 1)]", "bias=minus_m[:, nl.ds((g + 1) % G, 1)]")],
        "bias of another head",
        "exp's bias is another head's max",
    ),
    # the place of a head
    "7 queries packed one group on": (
        7,
        V6,
        [
            (
                "q_pad[nl.arange(d)[:, None, None], own]",
                f"q_pad[nl.arange(d)[:, None, None], {NEXT}]",
            )
        ],
        None,  # caught, and not named
        "No known mistake",
    ),
    "7 weights packed one group on": (
        7,
        V6,
        [("p_pad[i_p, own]", f"p_pad[i_p, {NEXT}]")],
        None,  # caught, and not named
        "m, l and acc agree",
    ),
    "7 output one row on": (
        7,
        V7,
        [("nl.store(o[nl.ds(h * G, G), :]", "nl.store(o[nl.ds((n_kv_heads - 1 - h) * G, G), :]")],
        PLACE,
        PLACE_SAID,
    ),
    "7 weights on another column": (
        7,
        V7,
        [("p[:, :, g] = nisa", "p[:, :, G - 1 - g] = nisa")],
        PLACE,
        PLACE_SAID,
    ),
    # stage 3's mistakes, in this layout
    "7 l not rescaled": (
        7,
        V2,
        [
            (
                "l[...] = nisa.tensor_scalar(l, op0=nl.multiply, "
                "operand0=alpha, op1=nl.add, operand1=l_tile)",
                "l[...] = nisa.tensor_tensor(l, l_tile, op=nl.add)",
            )
        ],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "7 acc not rescaled, chunks": (
        7,
        V7,
        [
            (
                "nisa.tensor_tensor(nisa.tensor_tensor(acc, alpha[0:d, :], op=nl.multiply), pv",
                "nisa.tensor_tensor(acc, pv",
            )
        ],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
    "7 l not rescaled, chunks": (
        7,
        V7,
        [
            (
                "nisa.tensor_tensor(nisa.tensor_tensor(l, alpha, op=nl.multiply), l_tile, "
                "op=nl.add)",
                "nisa.tensor_tensor(l, l_tile, op=nl.add)",
            )
        ],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "7 scale missing": (
        7,
        V7,
        [
            ("op1=nl.multiply, operand1=scale)", "op1=nl.multiply, operand1=1.0)"),
            ("qk[:, :, g], scale=scale,", "qk[:, :, g], scale=1.0,"),
        ],
        "scale missing",
        "The scale is missing",
    ),
    "7 KV head modulo": (
        7,
        V2,
        [
            ("nl.load(q[:, nl.ds(h * G, G)])", "nl.load(q[:, h::n_kv_heads])"),
            ("nl.store(o[nl.ds(h * G, G), :]", "nl.store(o[h::n_kv_heads, :]"),
        ],
        "KV head is h % Hkv",
        "The KV head was taken as h % Hkv",
    ),
    "7 loads": (
        7,
        WHOLE7,
        [
            ("for h in range(Hkv):", "for h in range(Hq):"),
            ("G = Hq // Hkv", "G = 1"),
            ("k[h", "k[h * Hkv // Hq"),
            ("v[h", "v[h * Hkv // Hq"),
        ],
        "loaded once per query head",
        "K and V are loaded once per query head",
    ),
}
