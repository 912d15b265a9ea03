"""What a block table costs: stage 8's kernel beside the same kernel on a cache that lies in a
row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nkisim

from .. import stage
from ..inputs.paged import paged, sequence
from ..reference.text import table
from ..running import worked
from ..stage import Case

IN_A_ROW = (
    (
        "src=blocks[index[i_3, 0], h, start + i_s, i_d]",
        "src=blocks[first + i_3, h, start + i_s, i_d]",
    ),
    ("nl.load(block_table[b, first + i_p])", "nl.zeros((P, 1), dtype=nl.int32)"),
)
"""The change that makes stage 8's kernel read block j where the table would say so: no index, no
table."""


def one_sequence(n: int, block: int) -> Case:
    """One sequence of n keys in a separate pool: Hq = 8, Hkv = 2, d = 128."""
    return paged(
        f"n = {n}, blocks of {block}",
        "what a table costs",
        [sequence("random", 8, 2, 128, n)],
        block,
        spare=0,
    )


def compare(n: int, blocks: Sequence[int]) -> None:
    """Print bytes, transfers and modelled time of stage 8's kernel, with the table and without, for
    blocks of these sizes."""
    try:
        kernels = {
            "in a row": worked.variant(8, IN_A_ROW, what="in a row"),
            "paged": worked.solution(8),
        }
    except stage.StageError as error:
        print(error)
        return
    rows = []
    for block in blocks:
        case = one_sequence(n, block)
        for name, kernel in kernels.items():
            run = _run(kernel, case)
            line = run.timeline(target="trn2")
            rows.append(
                [
                    f"blocks of {block}, {name}",
                    f"{run.hbm_bytes_read:,}",
                    f"{run.hbm_reads.get('block_table', 0):,}",
                    f"{run.dma_transfers:,}",
                    f"{line.latency_us:,.1f}",
                    line.bound,
                ]
            )
    print(
        table(["", "HBM bytes read", "of the table", "transfers", "model trn2 us", "bound"], rows)
    )


def _run(kernel: Any, case: Case) -> Any:
    with nkisim.record() as run:
        kernel(*case.args.values(), **case.options)
    return run


def shared_prefix(sequences: int, prefix: int, own: int, block: int) -> tuple[int, int]:
    """Blocks in the pool for sequences that share a prefix, and for the same without sharing."""
    first, rest = prefix // block, -(-own // block)
    return first + sequences * rest, sequences * (first + rest)
