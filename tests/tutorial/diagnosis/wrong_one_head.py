"""Wrong kernels of stages 0 to 3, each as changes to a right one, with the key and the words of its
sentence.

Values are (stage, text, changes, key of the mistake, words).
"""

from __future__ import annotations

from tests.tutorial.kernels import solution, style

# The pieces of the solutions and styles that the wrong kernels change.
ALPHA = "nisa.tensor_tensor(m, m_new, op=nl.subtract)"
L_UPDATE = "nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, operand1=l_tile)"
ACC_UPDATE = (
    "nisa.tensor_tensor(nisa.tensor_scalar(acc, op0=nl.multiply, operand0=alpha), pv, op=nl.add)"
)
P_SHIFT = "nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m_new)"
LAST = "        m[...] = m_new  # only now: alpha needed the old one\n"
DIVIDED = "nisa.tensor_scalar(acc, op0=nl.multiply, operand0=nisa.reciprocal(l))"
SCALED = "nisa.tensor_scalar(qk_psum, op0=nl.multiply, operand0=scale)"


def pass_of(number: int, old: str, new: str) -> tuple[str, str]:
    """A change inside one pass of the stage 2 solution."""
    text = solution(2)
    start = text.index(f"# Pass {number}")
    end = text.find(f"# Pass {number + 1}")
    part = text[start : end if end > 0 else text.index("    o_tile =")]
    assert old in part
    return part, part.replace(old, new)


AVERAGED = """
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    scale = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((1, d), dtype=q.dtype, buffer=nl.shared_hbm)
    mean = nl.zeros((1, d), dtype=nl.float32)
    q_tile = nl.load(q)
    for i in nl.affine_range(n // 128):
        s = nl.matmul(q_tile, nl.load(k[:, i * 128 : (i + 1) * 128]), transpose_x=True) * scale
        v_t = nl.transpose(nl.load(v[:, i * 128 : (i + 1) * 128]))
        mean += nl.matmul(nl.softmax(s, axis=1), v_t)
    nl.store(out, mean * (128 / n))
    return out
"""
SEVERAL_HEADS = """
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    heads = q.shape[1]
    scale = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((heads, d), dtype=q.dtype, buffer=nl.shared_hbm)
    m = nl.full((1, 1), -3e38, dtype=nl.float32)
    l = nl.zeros((1, 1), dtype=nl.float32)
    acc = nl.zeros((1, d), dtype=nl.float32)
    for h in nl.sequential_range(heads):
        m[...] = -3e38
        l[...] = 0.0
        acc[...] = 0.0
        q_tile = nl.load(q[:, h : h + 1])
        for i in nl.sequential_range(n // 128):
            s = nl.matmul(q_tile, nl.load(k[:, i * 128 : (i + 1) * 128]), transpose_x=True) * scale
            m[...] = nl.maximum(m, nl.max(s, axis=1, keepdims=True))
        for i in nl.sequential_range(n // 128):
            s = nl.matmul(q_tile, nl.load(k[:, i * 128 : (i + 1) * 128]), transpose_x=True) * scale
            p = nl.exp(s - m)
            l[...] = l + nl.sum(p, axis=1, keepdims=True)
            acc[...] = acc + nl.matmul(p, nl.transpose(nl.load(v[:, i * 128 : (i + 1) * 128])))
        nl.store(out[h : h + 1, :], acc / l)
    return out
"""
SEVERAL_ROWS = """
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def decode_attention_fwd(q, k, v, softmax_scale=None):
    d, n = k.shape
    scale = d**-0.5 if softmax_scale is None else softmax_scale
    out = nl.ndarray((q.shape[1], d), dtype=q.dtype, buffer=nl.shared_hbm)
    s = nl.matmul(nl.load(q), nl.load(k), transpose_x=True) * scale
    top = nl.max(s, axis=1, keepdims=True)
    p = nl.exp(s - top)
    nl.store(out, nl.matmul(p, nl.transpose(nl.load(v))) / nl.sum(p, axis=1, keepdims=True))
    return out
"""

# (stage, base text, changes, key of the mistake, words of its sentence)
S1, S2, S3 = solution(1), solution(2), solution(3)
PLAIN1, TWO_PASS, PLAIN3, FUSED3 = (
    style("stage1_plain"),
    style("stage2_two_pass"),
    style("stage3_plain"),
    style("stage3_fused"),
)

WRONG = {
    # stage 0
    "0 not scaled": (
        0,
        solution(0),
        [("nisa.tensor_scalar(x_tile, op0=nl.multiply, operand0=scale)", "x_tile")],
        "not scaled",
        "multiply each tile by scale",
    ),
    "0 added": (
        0,
        solution(0),
        [("op0=nl.multiply", "op0=nl.add")],
        "scale added",
        "scale is added",
    ),
    "0 first tile everywhere": (
        0,
        solution(0),
        [("nl.load(x[:, nl.ds(i * TILE, TILE)])", "nl.load(x[:, nl.ds(0, TILE)])")],
        "first tile everywhere",
        "first tile's values",
    ),
    # stage 1
    "1 no max": (
        1,
        S1,
        [("nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m)", "nisa.tensor_copy(qk)")],
        "no max subtraction",
        "The max is not subtracted before exp",
    ),
    "1 no max, plain": (
        1,
        PLAIN1,
        [("nl.exp(scores - top)", "nl.exp(scores)")],
        "no max subtraction",
        "The max is not subtracted before exp",
    ),
    "1 one max for all rows": (
        1,
        SEVERAL_ROWS,
        [
            (
                "    p = nl",
                "    top = nl.max(nl.transpose(top), axis=1, keepdims=True)\n"
                "    top = nl.broadcast_to(top, shape=(q.shape[1], 1))\n    p = nl",
            )
        ],
        "one max for all rows",
        "One max is shared by all rows",
    ),
    "1 scale missing": (
        1,
        S1,
        [(SCALED, "nisa.tensor_copy(qk_psum)")],
        "scale missing",
        "The scale is missing",
    ),
    "1 scale missing, plain": (
        1,
        PLAIN1,
        [(" * softmax_scale", "")],
        "scale missing",
        "The scale is missing",
    ),
    "1 scale only on the max": (
        1,
        S1,
        [("shifted = nisa.tensor_scalar(qk,", "shifted = nisa.tensor_scalar(qk_psum,")],
        "scale only on the max",
        "applied to the max but not to the scores",
    ),
    "1 scale only on the max, plain": (
        1,
        PLAIN1,
        [
            (" * softmax_scale", ""),
            (
                "keepdims=True)  # (1, 1)\n    weights",
                "keepdims=True) * softmax_scale\n    weights",
            ),
        ],
        "scale only on the max",
        "applied to the max but not to the scores",
    ),
    "1 scale only on the scores": (
        1,
        S1,
        [("nisa.tensor_reduce(nl.maximum, qk,", "nisa.tensor_reduce(nl.maximum, qk_psum,")],
        "scale only on the scores",
        "applied to the scores but not to the max",
    ),
    "1 scale only on the scores, plain": (
        1,
        PLAIN1,
        [
            (" * softmax_scale", ""),
            ("nl.exp(scores - top)", "nl.exp(scores * softmax_scale - top)"),
        ],
        "scale only on the scores",
        "applied to the scores but not to the max",
    ),
    "1 scale ignored": (
        1,
        PLAIN1,
        [("    if softmax_scale is None:\n        softmax", "    softmax")],
        "scale ignored",
        "softmax_scale is ignored",
    ),
    "1 never divided": (
        1,
        PLAIN1,
        [("mixed / total", "mixed")],
        "never divided",
        "never divided by l",
    ),
    "1 negated scores": (
        1,
        PLAIN1,
        [("nl.exp(scores - top)", "nl.exp(top - scores)")],
        "exp of the negated scores",
        "sign in exp is flipped",
    ),
    # stage 2
    "2 averaged": (2, AVERAGED, [], "softmax averaged", "outputs averaged"),
    "2 averaged, other": (
        2,
        PLAIN3,
        [
            ("        run_acc[...] = nl.multiply(run_acc, a)\n", ""),
            (
                "new_max = nl.maximum(run_max, nl.max(s, axis=1, keepdims=True))",
                "new_max = nl.max(s, axis=1, keepdims=True)",
            ),
            (
                "run_sum[...] = nl.add(nl.multiply(run_sum, a), nl.sum(w, axis=1, keepdims=True))",
                "w = nl.divide(w, nl.sum(w, axis=1, keepdims=True))",
            ),
            ("nl.divide(run_acc, run_sum)", "nl.multiply(run_acc, W / n)"),
        ],
        "softmax averaged",
        "outputs averaged",
    ),
    "2 last tile skipped": (
        2,
        S2,
        [("range(n // TILE)", "range(n // TILE - 1)")],
        "last tile skipped",
        "The last tile is skipped",
    ),
    "2 last tile skipped, two passes": (
        2,
        TWO_PASS,
        [("sequential_range(tiles)", "sequential_range(tiles - 1)")],
        "last tile skipped",
        "The last tile is skipped",
    ),
    "2 last tile skipped in pass 1": (
        2,
        S2,
        [pass_of(1, "n // TILE", "n // TILE - 1")],
        "last tile skipped in the max",
        "skipped in the max",
    ),
    "2 last tile skipped in pass 2": (
        2,
        S2,
        [pass_of(2, "n // TILE", "n // TILE - 1")],
        "last tile skipped in the sum",
        "skipped in the sum",
    ),
    "2 last tile skipped in pass 3": (
        2,
        S2,
        [pass_of(3, "n // TILE", "n // TILE - 1")],
        "last tile skipped in the weighted sum",
        "skipped in the weighted sum",
    ),
    "2 V of tile 0": (
        2,
        S2,
        [("v[:, nl.ds(i * TILE, TILE)]", "v[:, nl.ds(0, TILE)]")],
        "tile 0's V reused",
        "Tile 0's V is used for every tile",
    ),
    "2 V of tile 0, two passes": (
        2,
        TWO_PASS,
        [("nl.ds(i * width + c * 128, 128)", "nl.ds(c * 128, 128)")],
        "tile 0's V reused",
        "Tile 0's V is used for every tile",
    ),
    "2 acc not cleared": (
        2,
        SEVERAL_HEADS,
        [("        acc[...] = 0.0\n", "")],
        "acc not cleared between heads",
        "acc is not cleared between heads",
    ),
    "2 m replaced": (
        2,
        S2,
        [("m[...] = nisa.tensor_tensor(m, m_tile, op=nl.maximum)", "m[...] = m_tile")],
        "m replaced",
        "m is replaced by the tile's max",
    ),
    "2 max missing in pass 3": (
        2,
        S2,
        [pass_of(3, "nisa.tensor_scalar(qk, op0=nl.subtract, operand0=m)", "qk")],
        "max not subtracted in the weighted sum",
        "not subtracted in the scores that weigh the values",
    ),
    # stage 3
    "3 l": (
        3,
        S3,
        [(L_UPDATE, "nisa.tensor_tensor(l, l_tile, op=nl.add)")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "3 l, plain": (
        3,
        PLAIN3,
        [("nl.add(nl.multiply(run_sum, a), nl.sum", "nl.add(run_sum, nl.sum")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "3 l, fused": (
        3,
        FUSED3,
        [("        l[...] = nl.multiply(l, alpha)\n", "")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "3 acc": (
        3,
        S3,
        [(ACC_UPDATE, "nisa.tensor_tensor(acc, pv, op=nl.add)")],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
    "3 acc, plain": (
        3,
        PLAIN3,
        [("        run_acc[...] = nl.multiply(run_acc, a)\n", "")],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
    "3 acc, fused": (
        3,
        FUSED3,
        [("nisa.tensor_tensor(acc, ab, op=np.multiply)", "acc")],
        "acc not rescaled",
        "acc was not rescaled by alpha",
    ),
    "3 neither": (
        3,
        S3,
        [
            (L_UPDATE, "nisa.tensor_tensor(l, l_tile, op=nl.add)"),
            (ACC_UPDATE, "nisa.tensor_tensor(acc, pv, op=nl.add)"),
            (f"        alpha = nisa.activation(nl.exp, {ALPHA})  # (1, 1)\n", ""),
        ],
        "nothing rescaled",
        "Neither l nor acc was rescaled",
    ),
    "3 alpha inverted": (
        3,
        S3,
        [(ALPHA, "nisa.tensor_tensor(m_new, m, op=nl.subtract)")],
        "alpha inverted",
        "alpha is inverted",
    ),
    "3 alpha inverted, plain": (
        3,
        PLAIN3,
        [("nl.subtract(run_max, new_max)", "nl.subtract(new_max, run_max)")],
        "alpha inverted",
        "alpha is inverted",
    ),
    "3 alpha inverted, fused": (
        3,
        FUSED3,
        [
            (
                "alpha = nisa.activation(np.exp, m, bias=neg, scale=scale)",
                "alpha = nisa.reciprocal(nisa.activation(np.exp, m, bias=neg, scale=scale))",
            )
        ],
        "alpha inverted",
        "alpha is inverted",
    ),
    "3 m overwritten": (
        3,
        S3,
        [("        alpha = nisa", "        m[...] = m_new\n        alpha = nisa"), (LAST, "")],
        "m overwritten before alpha",
        "m was overwritten with m_new before alpha",
    ),
    "3 m overwritten, plain": (
        3,
        PLAIN3,
        [
            ("        run_max[...] = nl.copy(new_max)\n", ""),
            ("        a = nl.exp", "        run_max[...] = nl.copy(new_max)\n        a = nl.exp"),
        ],
        "m overwritten before alpha",
        "m was overwritten with m_new before alpha",
    ),
    "3 m overwritten, fused": (
        3,
        FUSED3,
        [
            ("        m[...] = nisa.tensor_copy(m_new)\n", ""),
            ("        neg = nisa", "        m[...] = nisa.tensor_copy(m_new)\n        neg = nisa"),
        ],
        "m overwritten before alpha",
        "m was overwritten with m_new before alpha",
    ),
    "3 p with the tile's max": (
        3,
        S3,
        [(P_SHIFT, P_SHIFT.replace("m_new", "m_tile"))],
        "p with the tile's max",
        "p is formed with the tile's own max instead of m_new",
    ),
    "3 p with the tile's max, plain": (
        3,
        PLAIN3,
        [
            (
                "w = nl.exp(nl.subtract(s, new_max))",
                "w = nl.exp(nl.subtract(s, nl.max(s, axis=1, keepdims=True)))",
            )
        ],
        "p with the tile's max",
        "p is formed with the tile's own max instead of m_new",
    ),
    "3 p with the tile's max, fused": (
        3,
        FUSED3,
        [
            (
                "reduce_res=row, bias=neg",
                "reduce_res=row, bias=nisa.tensor_scalar(t_max, np.multiply, -scale)",
            )
        ],
        "p with the tile's max",
        "p is formed with the tile's own max instead of m_new",
    ),
    "3 p with the old max": (
        3,
        S3,
        [(P_SHIFT, P_SHIFT.replace("m_new", "m"))],
        "p with the old max",
        "p is formed with a max that leaves this tile's scores out",
    ),
    "3 m starts at 0": (
        3,
        S3,
        [("nl.full((1, 1), nl.fp32.min,", "nl.full((1, 1), 0.0,")],
        "m starts at 0",
        "m starts at 0",
    ),
    "3 m starts at 0, plain": (
        3,
        PLAIN3,
        [("nl.full((1, 1), -3.0e38, dtype=nl.float32)", "nl.zeros((1, 1), dtype=nl.float32)")],
        "m starts at 0",
        "m starts at 0",
    ),
    "3 m starts at 0, fused": (
        3,
        FUSED3,
        [("nl.fp32.min", "0.0")],
        "m starts at 0",
        "m starts at 0",
    ),
    "3 divided inside": (
        3,
        S3,
        [
            ("        m[...] = m_new", f"        acc[...] = {DIVIDED}\n        m[...] = m_new"),
            (f"    o_tile = {DIVIDED}", "    o_tile = nisa.tensor_copy(acc)"),
        ],
        "divided inside the loop",
        "acc is divided by l inside the loop",
    ),
    "3 divided inside and after": (
        3,
        S3,
        [("        m[...] = m_new", f"        acc[...] = {DIVIDED}\n        m[...] = m_new")],
        "divided inside the loop",
        "acc is divided by l inside the loop",
    ),
    "3 divided inside, plain": (
        3,
        PLAIN3,
        [
            (
                "nl.matmul(wt, nl.transpose(v), transpose_x=True))",
                "nl.divide(nl.matmul(wt, nl.transpose(v), transpose_x=True), run_sum))",
            ),
            ("value=nl.divide(run_acc, run_sum)", "value=run_acc"),
        ],
        "divided inside the loop",
        "acc is divided by l inside the loop",
    ),
    "3 bf16": (
        3,
        S3,
        [
            (
                "nl.full((1, 1), nl.fp32.min, dtype=nl.float32",
                "nl.full((1, 1), -9984.0, dtype=nl.bfloat16",
            ),
            ("nl.full((1, 1), 0.0, dtype=nl.float32", "nl.full((1, 1), 0.0, dtype=nl.bfloat16"),
        ],
        "low precision",
        "m and l are kept in bfloat16",
    ),
    "3 bf16, plain": (
        3,
        PLAIN3,
        [
            (
                "run_sum = nl.zeros((1, 1), dtype=nl.float32)",
                "run_sum = nl.zeros((1, 1), dtype=nl.bfloat16)",
            )
        ],
        "low precision",
        "run_sum is kept in bfloat16",
    ),
    "3 m replaced": (
        3,
        S3,
        [("m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)", "m_new = m_tile")],
        "m replaced",
        "m is replaced by the tile's max",
    ),
    "3 rescaled too late": (
        3,
        S3,
        [
            (
                ACC_UPDATE,
                "nisa.tensor_scalar(nisa.tensor_tensor(acc, pv, op=nl.add), "
                "op0=nl.multiply, operand0=alpha)",
            )
        ],
        "rescaled too late",
        "The new tile's part is rescaled by alpha too",
    ),
    "3 last tile skipped": (
        3,
        PLAIN3,
        [("range(n // W)", "range(n // W - 1)")],
        "last tile skipped",
        "The last tile is skipped",
    ),
    "3 three passes": (3, S2, [], "read too often", "K is read 3 times"),
    "3 operations exchanged": (
        3,
        S3,
        [
            (
                L_UPDATE,
                L_UPDATE.replace("multiply", "ADD")
                .replace("add", "multiply")
                .replace("ADD", "add"),
            )
        ],
        "operations exchanged",
        "What must be multiplied is added",
    ),
    "3 V a key late but in the last tile": (
        3,
        S3,
        [("v[:, nl.ds(i * TILE, TILE)]", "v[:, nl.ds(min(i * TILE + 1, n - TILE), TILE)]")],
        "V a key off",
        "V is a key off",
    ),
    "3 half the max": (
        3,
        S3,
        [
            (
                "nisa.tensor_tensor(m, m_tile, op=nl.maximum)",
                "nisa.tensor_tensor(m, nl.multiply(m_tile, 0.5), op=nl.maximum)",
            )
        ],
        "multiple of the max",
        "m is a multiple of the max, or capped",
    ),
    "3 alpha on the new part, peeled": (
        3,
        style("stage3_peeled"),
        [("acc * al + nl.matmul(p2,", "acc + al * nl.matmul(p2,")],
        "alpha on the new part",
        "and the old sum is not",
    ),
}
