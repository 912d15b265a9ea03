"""Wrong kernels of stage 9: those that only a port can make, then those of stages 3 and 4 in the
nki dialect.

Values are (text, changes, key of the mistake, words), each as changes to a right kernel.
"""

from __future__ import annotations

from tests.tutorial.kernels import solution, style

S9 = solution(9)
LANGUAGE, FUSED, ROWWISE, PER_HEAD = (
    style(f"stage9_{name}") for name in ("language", "fused", "rowwise", "per_head")
)

# The pieces of the solution that the wrong kernels change.
LAST = "            nisa.tensor_copy(dst=m, src=m_new)\n"
ALPHA = "            nisa.tensor_tensor(dst=alpha, data1=m, data2=m_new, op=nl.subtract)\n"
P = "nisa.tensor_scalar(dst=p, data=qk, op0=nl.subtract, operand0=m_new)"
L = (
    "nisa.tensor_scalar(dst=l, data=l, op0=nl.multiply, operand0=alpha, op1=nl.add, "
    "operand1=l_tile)"
)
KEEP = "            nisa.tensor_scalar(dst=acc, data=acc, op0=nl.multiply, operand0=alpha)\n"
ADD = "nisa.tensor_tensor(dst=acc, data1=acc, data2=pv, op=nl.add)"
LOOP, OUTER = "        for i in range(n // TILE):\n", "    for h in range(n_kv_heads):\n"
QK = "qk_psum = nl.ndarray((G, TILE), dtype=nl.float32, buffer=nl.psum)"
QK_LINE = f"            {QK}  # made here: a new sum for every tile\n"
PV = "pv = nl.ndarray((G, d), dtype=nl.float32, buffer=nl.psum)"
M_TILE = (
    "            nisa.tensor_reduce(dst=m_tile, op=nl.maximum, data=qk, axis=1, keepdims=True)\n"
)
L_TILE = "            nisa.tensor_reduce(dst=l_tile, op=nl.add, data=p, axis=1, keepdims=True)\n"
M, L_FULL = (
    next(line for line in S9.splitlines() if line.strip().startswith(start))
    for start in ("m = nl.full", "l = nl.full")
)
SCALED = "op0=nl.multiply, operand0=scale)"
TO_PSUM = "            nisa.nc_matmul(dst=qk_psum, stationary=q_tile, moving=k_tile"


def shared_by_rows(tile: str, function: str) -> str:
    """Lines that replace a (G, 1) tile by its max or sum over the group, in all rows."""
    return (
        f"            row = nl.{function}(nl.copy(nl.transpose({tile})), axis=1, "
        "keepdims=True)\n"
        f"            nisa.tensor_copy({tile}, "
        "nl.copy(nl.transpose(nl.copy(nl.broadcast_to(row, (1, G))))))\n"
    )


SWAPPED, SWAPPED_WORDS = "destination and source swapped", "Destination and source look swapped"
UNWRITTEN, UNWRITTEN_WORDS = (
    ("read of an unwritten tile"),
    "nl.ndarray reserves memory and writes nothing to it",
)
ADDED, ADDED_WORDS = "PSUM tile reused", "what earlier tiles left adds up"
ONTO, ONTO_WORDS = (
    ("accumulate onto unwritten PSUM"),
    "adds to what an earlier matmul left there, and there is none",
)
INSIDE, INSIDE_WORDS = "PSUM not evacuated", "evacuate the PSUM tile first"
REPEATED, REPEATED_WORDS = "operand broadcast", "NumPy would broadcast here, an engine does not"

PORT = {
    "swapped: the load": (
        S9,
        [("dst=k_tile, src=k[h, :, keys]", "dst=k[h, :, keys], src=k_tile")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the store": (
        S9,
        [("dst=o[group, :], src=o_tile", "dst=o_tile, src=o[group, :]")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the evacuation": (
        S9,
        [("dst=p_t, src=p_t_psum", "dst=p_t_psum, src=p_t")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the transpose": (
        S9,
        [("dst=p_t_psum, data=p)", "dst=p, data=p_t_psum)")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the scaling": (
        S9,
        [("dst=qk, data=qk_psum", "dst=qk_psum, data=qk")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the matmul": (
        S9,
        [("dst=qk_psum, stationary=q_tile", "dst=q_tile, stationary=qk_psum")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the reduction": (
        S9,
        [("dst=m_tile, op=nl.maximum, data=qk", "dst=qk, op=nl.maximum, data=m_tile")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the new state": (
        S9,
        [("dst=m_new, data1=m, data2=m_tile", "dst=m, data1=m_new, data2=m_tile")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "swapped: the state": (S9, [("dst=m, src=m_new", "dst=m_new, src=m")], SWAPPED, SWAPPED_WORDS),
    "swapped: the state, unnamed": (
        LANGUAGE,
        [("nisa.tensor_copy(top, new)", "nisa.tensor_copy(new, top)")],
        SWAPPED,
        SWAPPED_WORDS,
    ),
    "accumulate=True: the scores": (
        S9,
        [("moving=k_tile)", "moving=k_tile, accumulate=True)")],
        ONTO,
        ONTO_WORDS,
    ),
    "accumulate=True: the values": (
        S9,
        [("moving=v_t)", "moving=v_t, accumulate=True)")],
        ONTO,
        ONTO_WORDS,
    ),
    "accumulate=True: from the first": (
        FUSED,
        [
            (
                "nisa.nc_matmul(pv, pt, vt, accumulate=False)",
                "nisa.nc_matmul(pv, pt, vt, accumulate=(i >= 0))",
            )
        ],
        ONTO,
        ONTO_WORDS,
    ),
    "accumulate=(i > 0) on a new tile": (
        S9,
        [("moving=k_tile)", "moving=k_tile, accumulate=(i > 0))")],
        ONTO,
        ONTO_WORDS,
    ),
    "not evacuated: p": (S9, [("stationary=p_t,", "stationary=p_t_psum,")], INSIDE, INSIDE_WORDS),
    "not evacuated: v": (S9, [("moving=v_t)", "moving=v_t_psum)")], INSIDE, INSIDE_WORDS),
    "not evacuated: DMA": (
        S9,
        [("nisa.tensor_copy(dst=p_t, src=p_t_psum)", "nisa.dma_copy(dst=p_t, src=p_t_psum)")],
        INSIDE,
        "DMA engines do not reach PSUM",
    ),
    "not evacuated: language": (
        LANGUAGE,
        [("nl.copy(nl.transpose(v_t))", "nl.transpose(v_t)")],
        INSIDE,
        INSIDE_WORDS,
    ),
    "unwritten: no load": (
        S9,
        [("            nisa.dma_copy(dst=v_tile, src=v[h, :, keys])\n", "")],
        UNWRITTEN,
        UNWRITTEN_WORDS,
    ),
    "unwritten: no start": (
        S9,
        [
            (
                "l = nl.full((G, 1), 0.0, dtype=nl.float32,",
                "l = nl.ndarray((G, 1), dtype=nl.float32,",
            )
        ],
        UNWRITTEN,
        UNWRITTEN_WORDS,
    ),
    "unwritten: too early": (
        S9,
        [(M_TILE, ""), (ALPHA, M_TILE + ALPHA)],
        UNWRITTEN,
        UNWRITTEN_WORDS,
    ),
    "broadcast: p": (
        S9,
        [(P, "nisa.tensor_tensor(dst=p, data1=qk, data2=m_new, op=nl.subtract)")],
        REPEATED,
        REPEATED_WORDS,
    ),
    "broadcast: acc": (
        S9,
        [
            (
                KEEP,
                "            nisa.tensor_tensor(dst=acc, data1=acc, data2=alpha, op=nl.multiply)\n",
            )
        ],
        REPEATED,
        REPEATED_WORDS,
    ),
    "reused: the scores": (
        S9,
        [(QK_LINE, ""), (LOOP, f"        {QK}\n{LOOP}")],
        ADDED,
        ADDED_WORDS,
    ),
    "reused: the scores of all": (
        S9,
        [(QK_LINE, ""), (OUTER, f"    {QK}\n{OUTER}")],
        ADDED,
        ADDED_WORDS,
    ),
    "reused: the values": (
        S9,
        [(f"            {PV}\n", ""), (LOOP, f"        {PV}\n{LOOP}")],
        ADDED,
        ADDED_WORDS,
    ),
    "reused: positional": (
        FUSED,
        [("nisa.nc_matmul(s_p, q_s, k_s, accumulate=False)", "nisa.nc_matmul(s_p, q_s, k_s)")],
        ADDED,
        ADDED_WORDS,
    ),
    "reused: accumulate=(i > 0)": (
        S9,
        [
            (QK_LINE, ""),
            (LOOP, f"        {QK}\n{LOOP}"),
            ("moving=k_tile)", "moving=k_tile, accumulate=(i > 0))"),
        ],
        ADDED,
        ADDED_WORDS,
    ),
    "old call": (
        S9,
        [("nisa.nc_matmul(dst=pv, stationary=p_t, moving=v_t)", "pv = nisa.nc_matmul(p_t, v_t)")],
        "no destination",
        "make one with nl.ndarray, and pass it first, as dst",
    ),
    "result used": (
        S9,
        [("nisa.nc_matmul(dst=pv,", "pv = nisa.nc_matmul(dst=pv,")],
        "result of an instruction used",
        "An instruction returns no tile",
    ),
    "operator": (
        S9,
        [(ADD, "acc += pv")],
        "Python operator on a tile",
        "Tiles have no operators here",
    ),
    "mask": (
        S9,
        [("src=k[h, :, keys])", "src=k[h, :, keys], mask=None)")],
        "mask is gone",
        "mask= ended with NKI 0.1",
    ),
    "matmul into SBUF": (
        S9,
        [(QK, QK.replace("nl.psum", "nl.sbuf"))],
        "matmul into SBUF",
        "TensorE writes to PSUM only",
    ),
    "another destination": (
        S9,
        [(L, L.replace("dst=l,", "dst=l_tile,"))],
        "state never updated",
        "l is never written after",
    ),
    "old dialect": (solution(4), [], "old dialect", "imports neuronxcc.nki"),
}

WRONG = {
    "l not rescaled": (
        S9,
        [(L, "nisa.tensor_tensor(dst=l, data1=l, data2=l_tile, op=nl.add)")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "acc not rescaled": (S9, [(KEEP, "")], "acc not rescaled", "acc was not rescaled by alpha"),
    "alpha inverted": (
        S9,
        [("data1=m, data2=m_new, op=nl.subtract", "data1=m_new, data2=m, op=nl.subtract")],
        "alpha inverted",
        "alpha is inverted",
    ),
    "m overwritten": (
        S9,
        [(LAST, ""), (ALPHA, LAST + ALPHA)],
        "m overwritten before alpha",
        "m was overwritten with m_new before alpha",
    ),
    "p with the tile's max": (
        S9,
        [(P, P.replace("m_new", "m_tile"))],
        "p with the tile's max",
        "p is formed with the tile's own max",
    ),
    "m starts at 0": (S9, [("-3.4028235e38", "0.0")], "m starts at 0", "m starts at 0"),
    "divided inside": (
        S9,
        [
            (
                LAST,
                "            r = nl.ndarray((G, 1), dtype=nl.float32, buffer=nl.sbuf)\n"
                "            nisa.reciprocal(dst=r, data=l)\n"
                "            nisa.tensor_scalar(dst=acc, data=acc, op0=nl.multiply, "
                "operand0=r)\n" + LAST,
            ),
            (
                "op0=nl.multiply, operand0=r)\n        nisa",
                "op0=nl.multiply, operand0=1.0)\n        nisa",
            ),
        ],
        "divided inside the loop",
        "acc is divided by l inside the loop",
    ),
    "l in bf16": (
        S9,
        [(L_FULL, L_FULL.replace("nl.float32", "nl.bfloat16"))],
        "low precision",
        "l is kept in bfloat16",
    ),
    "scale missing": (
        S9,
        [(SCALED, "op0=nl.multiply, operand0=1.0)")],
        "scale missing",
        "The scale is missing",
    ),
    "tile 0's V": (
        S9,
        [("src=v[h, :, keys]", "src=v[h, :, 0:TILE]")],
        "tile 0's V reused",
        "Tile 0's V is used",
    ),
    "last tile": (
        S9,
        [(LOOP, LOOP.replace("n // TILE", "max(n // TILE - 1, 1)"))],
        "last tile skipped",
        "The last tile is skipped",
    ),
    "modulo": (
        PER_HEAD,
        [("j // group", "j % n_kv")],
        "KV head is h % Hkv",
        "The KV head was taken as h % Hkv",
    ),
    "loads": (
        PER_HEAD,
        [],
        "loaded once per query head",
        "K and V are loaded once per query head: read 4 times (G = 4)",
    ),
    "one max": (
        S9,
        [(M_TILE, M_TILE + shared_by_rows("m_tile", "max"))],
        "one max for all rows",
        "One max is shared by all rows",
    ),
    "m shared": (
        ROWWISE,
        [("m = nl.full((1, Hq)", "m = nl.full((1, Hkv)"), ("m[:, j:j + 1]", "m[:, h:h + 1]")],
        "m shared",
        "m is shared by the heads of a group",
    ),
    "l shared": (
        S9,
        [(L_TILE, L_TILE + shared_by_rows("l_tile", "sum"))],
        "l shared",
        "l is shared by the heads of a group",
    ),
    "nothing cleared": (
        PER_HEAD,
        [("        m[...] = -3e38\n        l[...] = 0.0\n        acc[...] = 0.0\n", "")],
        "state not cleared between heads",
        "not cleared between heads",
    ),
    "m not cleared": (
        PER_HEAD,
        [("        m[...] = -3e38\n", "")],
        "m not cleared between heads",
        "m is not reset between heads",
    ),
    "queries strided": (
        S9,
        [("src=q[:, group]", "src=q[:, h:n_q_heads:n_kv_heads]")],
        "q heads strided",
        "taken with a stride",
    ),
    "rows strided": (
        S9,
        [("dst=o[group, :]", "dst=o[h:n_q_heads:n_kv_heads, :]")],
        "output heads strided",
        "stored with a stride",
    ),
    "l not rescaled, unnamed": (
        LANGUAGE,
        [("nl.add(nl.multiply(total, keep), ", "nl.add(total, ")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "acc not rescaled, fused": (
        FUSED,
        [
            (
                "nisa.scalar_tensor_tensor(acc, acc, nl.multiply, alpha, nl.add, pv)",
                "nisa.tensor_tensor(acc, acc, pv, nl.add)",
            )
        ],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
}
