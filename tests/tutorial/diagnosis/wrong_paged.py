"""Wrong kernels of stage 8, in the form of `wrong_one_head`."""

from __future__ import annotations

from tests.tutorial.kernels import solution, style

S8, BLOCKS8 = solution(8), style("stage8_a_block_at_a_time")
STALE, STALE_SAID = "stale block table", "The blocks of another place in the table are read"
OTHER, OTHER_SAID = "block of another sequence", "The blocks are another sequence's"
AT, AT_SAID = "position inside the block", "The position inside the block is wrong"
KEY, KEY_SAID = "entry taken as a key", "An entry of the table is taken as the number of a key"
OPEN, OPEN_SAID = "last block not masked", "The last block is not masked"
NAN, NAN_SAID = "padding times 0", "0 * NaN is NaN"
LIVE = "live = nisa.tensor_scalar(key, op0=nl.less, operand0=length[0:P, :])"
CLEAR = "nisa.tensor_copy_predicated(dst=tile, src=0.0, predicate=live_8, reverse_pred=True)"
ENTRY = "entry = nl.load(block_table[b:b+1, j:j+1], dtype=nl.float32)"
ROW = (
    "row = nl.add(nl.multiply(nl.add(nl.multiply(entry, float(Hkv)), float(h)), float(block)), "
    "key, dtype=nl.int32)"
)

WRONG = {
    "8 entry of the block before": (
        8,
        S8,
        [("block_table[b, first + i_p]", "block_table[b, first + i_p * (P - 1) // P]")],
        None,  # caught, and not named
        "keys of sequence 0 are loaded: look at the entries of its row of the table",
    ),
    "8 entry before, a block at a time": (
        8,
        BLOCKS8,
        [(ENTRY, ENTRY.replace("j:j+1", "max(j - 1, 0):max(j - 1, 0) + 1"))],
        STALE,
        STALE_SAID,
    ),
    "8 first entry for all": (
        8,
        BLOCKS8,
        [(ENTRY, ENTRY.replace("j:j+1", "0:1"))],
        STALE,
        STALE_SAID,
    ),
    "8 first chunk's entries": (
        8,
        S8,
        [("nl.load(block_table[b, first + i_p])", "nl.load(block_table[b, 0 + i_p])")],
        STALE,
        STALE_SAID,
    ),
    "8 row of sequence 0": (
        8,
        S8,
        [("block_table[b, first + i_p]", "block_table[0, first + i_p]")],
        OTHER,
        OTHER_SAID,
    ),
    "8 row of the sequence before": (
        8,
        BLOCKS8,
        [(ENTRY, ENTRY.replace("b:b+1, j", "max(b - 1, 0):max(b - 1, 0) + 1, j"))],
        OTHER,
        OTHER_SAID,
    ),
    "8 last block open": (
        8,
        S8,
        [
            (LIVE, "live = nisa.tensor_scalar(begins, op0=nl.less, operand0=length[0:P, :])"),
            (
                "past = nisa.tensor_scalar(live, op0",
                "live = live.broadcast_to((P, S))\n"
                "                    past = nisa.tensor_scalar(live, "
                "op0",
            ),
        ],
        OPEN,
        OPEN_SAID,
    ),
    "8 last block scored 0": (
        8,
        S8,
        [
            (
                "op0=nl.subtract, operand0=1.0, op1=nl.multiply, operand1=1e30)",
                "op0=nl.subtract, operand0=1.0, op1=nl.multiply, operand1=0.0)",
            )
        ],
        OPEN,
        OPEN_SAID,
    ),
    "8 no clearing": (8, S8, [(CLEAR, "pass")], NAN, NAN_SAID),
    "8 V not cleared": (
        8,
        BLOCKS8,
        [("vt = nl.where(wide, vt, 0.0)", "vt = nl.copy(vt)")],
        NAN,
        NAN_SAID,
    ),
    "8 last block dropped": (
        8,
        BLOCKS8,
        [
            (
                "size = nl.broadcast_to(nl.load(lengths[b:b+1, :], dtype=nl.float32), "
                "shape=(block, 1))",
                "size = nl.broadcast_to(nl.load(lengths[b:b+1, :], dtype=nl.float32), "
                "shape=(block, 1))\n"
                "        size = nl.subtract(size, nl.mod(size, "
                "float(block)))",
            )
        ],
        "last block dropped",
        "The last block is dropped",
    ),
    "8 one key too few": (
        8,
        S8,
        [
            (
                LIVE,
                LIVE.replace(
                    "nl.less, operand0=length[0:P, :]",
                    "nl.add, operand0=1.0, op1=nl.less, operand1=length[0:P, :]",
                ),
            )
        ],
        "length off by one",
        "The length is off by one",
    ),
    "8 entry as a key": (
        8,
        BLOCKS8,
        [(ROW, "row = nl.add(nl.add(entry, key), float(h * block), dtype=nl.int32)")],
        KEY,
        KEY_SAID,
    ),
    "8 row of another head": (
        8,
        BLOCKS8,
        [(ROW, "row = nl.add(nl.multiply(entry, float(block)), key, dtype=nl.int32)")],
        "row of another head",
        "The rows are another head's",
    ),
    "8 V at the next position": (
        8,
        S8,
        [
            (
                "src=blocks[index[i_3, 0], h, start + i_s, i_d]",
                "src=blocks[index[i_3, 0], h, start + (i_s if blocks is k_blocks "
                "else S - 1 - i_s), i_d]",
            )
        ],
        AT,
        AT_SAID,
    ),
    "8 first position for all": (
        8,
        BLOCKS8,
        [(ROW, ROW.replace("float(block)), key", "float(block)), 0.0"))],
        AT,
        AT_SAID,
    ),
    "8 position in steps": (
        8,
        S8,
        [("key = nisa.iota((first + i_p) * block", "key = nisa.iota((first + i_p) * S")],
        "position counts steps",
        "position j times the positions of a step",
    ),
    "8 weights of a position": (
        8,
        S8,
        [("nc_matmul(v_tile[:, s, :], p[:, :, s])", "nc_matmul(v_tile[:, s, :], p[:, :, 0])")],
        "weights of one position",
        "The weights of one position of every step weigh",
    ),
    "8 mask of a position": (
        8,
        S8,
        [("operand1=past[:, nl.ds(s, 1)]", "operand1=past[:, nl.ds(0, 1)]")],
        "mask of one position of every step",
        "The mask of one position of a step is used for all",
    ),
    "8 entries in int16": (
        8,
        S8,
        [("block_table[b, first + i_p])", "block_table[b, first + i_p], dtype=nl.int16)")],
        "entries in 16 bits",
        "pass through 16 bits",
    ),
    "8 chunks of 32 blocks, l not rescaled": (
        8,
        S8,
        [
            ("range(0, most, 128)", "range(0, most, 32)"),
            ("min(128, most - first)", "min(32, most - first)"),
            ("nisa.tensor_tensor(l, alpha, op=nl.multiply), l_tile", "l, l_tile"),
        ],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "8 last blocks": (
        8,
        S8,
        [("range(0, most, 128)", "range(0, max(most // 128, 1) * 128, 128)")],
        "last blocks skipped",
        "The last blocks of a row of the table are skipped",
    ),
    "8 max of a position": (
        8,
        S8,
        [("nl.max(qk, axis=2)", "nl.copy(qk[:, :, 0])")],
        "max of one position of every step",
        "The max is taken of one position of every step",
    ),
    "8 V of the next position": (
        8,
        S8,
        [("nc_matmul(v_tile[:, s, :]", "nc_matmul(v_tile[:, (s + 1) % S, :]")],
        "V a key off",
        "V is a key off",
    ),
    "8 l of the last blocks": (
        8,
        style("stage8_several_blocks"),
        [("nl.add(nl.multiply(l, alpha), nl.sum(p", "nl.add(nl.multiply(l, 0.0), nl.sum(p")],
        "l not accumulated",
        "l holds the last tile's sum only",
    ),
    "8 no table": (
        8,
        BLOCKS8,
        [
            (
                "entry = nl.where(begun, entry, float(n_blocks))",
                "entry = nl.where(begun, nl.full((block, 1), float(j), dtype=nl.float32), 0.0)",
            )
        ],
        "no block table",
        "The pool's blocks are read in their own order",
    ),
    "8 l not rescaled": (
        8,
        BLOCKS8,
        [("nl.add(nl.multiply(l, a), nl.sum", "nl.add(l, nl.sum")],
        "l not rescaled",
        "The old sum was not rescaled by alpha",
    ),
    "8 loads": (
        8,
        BLOCKS8,
        [
            (
                "for h in range(Hkv):",
                "for hq in range(Hq):\n            h, G = hq // (Hq // Hkv), 1",
            ),
            ("q[b, :, h*G:(h+1)*G]", "q[b, :, hq:hq+1]"),
            ("o[b, h*G:(h+1)*G, :]", "o[b, hq:hq+1, :]"),
        ],
        "loaded once per query head",
        "are loaded once per query head",
    ),
}
