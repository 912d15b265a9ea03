"""Stage 4: grouped-query attention. A group's query heads share one load of K and V."""

from __future__ import annotations

from ..stage import Break, Question
from . import grouped

QUESTIONS = (
    Question(
        "Hq = 12, Hkv = 3. Which KV head does query head 9 use?",
        2,
        "G = Hq // Hkv = 4, and 9 // 4 = 2: the heads of a group are neighbours.",
        "G = Hq // Hkv, and query head h uses KV head h // G.",
    ),
    Question(
        "n = 512, tiles of 128. How many tiles of K does the kernel load in all?",
        8,
        "4 tiles for each of the 2 KV heads; the query heads add none.",
        "The query heads of a group share a load.",
    ),
)

BROKEN = Break(
    "q heads strided",
    (("nl.load(q[:, nl.ds(h * G, G)])", "nl.load(q[:, h::n_kv_heads])"),),
    "q_tile = q[b, h::Hkv]",
)

STAGE = grouped.stage(
    number=4,
    name="gqa",
    idea="a group's query heads share one load of K and V",
    line_budget=30,
    questions=QUESTIONS,
    broken=BROKEN,
)
