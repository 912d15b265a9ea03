"""Mistakes of masks, chunks, heads and factors that learners make less often are named as well."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, refused, solution, style, unnamed
from tutorial import check, get
from tutorial.diagnosis import matching

MASKED = (
    "                nisa.tensor_copy_predicated(src=LOWEST, dst=qk, predicate=padding[0:G, :])"
)
V_CLEARED = (
    "                nisa.tensor_copy_predicated(src=0.0, dst=v_tile, predicate=padding[0:d, :])"
)
V_ROWS = "                v_t = nisa.tensor_copy(nisa.nc_transpose(v_tile))  # (w, d)"
V_ALONG_D = (
    f"{V_ROWS}\n"
    "                along = nisa.tensor_scalar(position[0:w, 0:d], op0=nl.add, operand0=i * TILE, "
    "op1=nl.greater_equal, operand1=length[0:w, b:b + 1], dtype=nl.uint8)\n"
    "                nisa.tensor_copy_predicated(src=0.0, dst=v_t, predicate=along)"
)
CHUNKS = "for first in range(0, most, 128):\n                P = min(128, most - first)"
OWN_WIDTH = (
    "for c in range(-(-most // 128)):\n"
    "                P = min(128, most - 128 * c)\n"
    "                first = c * P"
)
M_NEW = "            m_new = nisa.tensor_tensor(m, m_tile, op=nl.maximum)"
OF_ALL_HEADS = """\
            tops = nl.full((1, 1), nl.fp32.min, dtype=nl.float32)
            for j in nl.static_range(n_kv_heads):
                others = nl.load(q[:, nl.ds(j * G, G)])
                raw = nisa.nc_matmul(others, nl.load(k[j, :, nl.ds(i * TILE, TILE)]))
                rows = nl.max(nl.multiply(raw, scale), axis=1, keepdims=True)
                one = nl.max(nisa.nc_transpose(rows), axis=1, keepdims=True)
                tops[...] = nl.maximum(tops, one)
            m_new = nl.maximum(m, nl.broadcast_to(tops, shape=(G, 1)))"""

WRONG = {
    "one max for the heads of all groups": (
        4,
        unnamed(solution(4)),
        [(M_NEW, OF_ALL_HEADS)],
        "one max for all heads",
        "those of other groups too",
    ),
    "p with the old max, keys on the partitions": (
        3,
        unnamed(style("stage3_columns_of_scores")),
        [("nisa.nc_matmul(ones_row, m_new)", "nisa.nc_matmul(ones_row, m)")],
        "p with the old max",
        "leaves this tile's scores out",
    ),
    "the sign of the negated max in alpha": (
        3,
        unnamed(style("stage3_negated")),
        [("tensor_tensor(nneg, negm, nl.subtract)", "tensor_tensor(nneg, negm, nl.add)")],
        "max added in alpha",
        "of the sum of the two maxima",
    ),
    "alpha copied by ones of 1 / d": (
        4,
        style("stage4_all_as_columns"),
        [("nisa.nc_matmul(ones_d, a)", "nisa.nc_matmul(nl.multiply(ones_d, 1.0 / d), a)")],
        "ones are not 1",
        "the ones must be 1",
    ),
    "l of the next head": (
        4,
        style("stage4_row_state"),
        [
            ("l[:, g:g + 1] * a", "l[:, (g + G) % Q:(g + G) % Q + 1] * a"),
            ("for h in nl.static_range(H):\n        for i in nl.static_range(n // 128):", "ORDER"),
            ("ORDER", "for i in nl.static_range(n // 128):\n        for h in nl.static_range(H):"),
        ],
        "l of another head",
        "every query head has its own",
    ),
    "V of the next 128 keys, in wider tiles": (
        2,
        style("stage2_language"),
        [("nl.load(v[:, nl.ds(t * 128, 128)])", "nl.load(v[:, nl.ds((t + 1) * 128 % n, 128)])")],
        "V of another tile",
        "other tile's keys",
    ),
    "the mask of one head only": (
        5,
        solution(5),
        [(MASKED, f"                if h == 0:\n    {MASKED}")],
        "mask for some heads only",
        "the same keys for all",
    ),
    "the highest number in the padding": (
        5,
        solution(5),
        [("src=LOWEST", "src=-LOWEST")],
        "padding raised",
        "raised and not lowered",
    ),
    "V masked along d": (
        5,
        solution(5),
        [(V_CLEARED, "                pass"), (V_ROWS, V_ALONG_D)],
        "V's mask along d",
        "the mask of the keys is a column",
    ),
    "chunks that overlap": (
        8,
        solution(8),
        [("range(0, most, 128)", "range(0, most, 64)")],
        "chunks of blocks overlap",
        "so that keys count twice",
    ),
    "a last chunk at a multiple of its own width": (
        8,
        style("stage8_positions_in_turn"),
        [(CHUNKS, OWN_WIDTH)],
        "last chunk begins too early",
        "begins before its place",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_mistake_is_named(name, tmp_path):
    refused(WRONG[name], tmp_path)


def test_where_only_sequences_without_keys_are_wrong_no_state_is_said_to_be_right(
    tmp_path, monkeypatch
):
    for search in ("recognised", "slipped"):
        monkeypatch.setattr(matching, search, lambda evidence: None)
    upper_half = V_CLEARED.replace("v_tile", "v_tile[0:d // 2, :]").replace("0:d, :", "0:d // 2, :")
    kernel = load(5, changed(solution(5), (V_CLEARED, upper_half)), tmp_path)
    verdict = check(5, kernel, inputs=get(5).case("no keys at all").args)
    assert "only sequences without keys are wrong, whose output must be 0" in verdict.sentence
