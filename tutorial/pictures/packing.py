"""The ladder of stage 7 in pictures: the same scores on 4, 32 or 128 partitions, padded operands,
where a key lies.
"""

from __future__ import annotations

from .canvas import SMALL, Canvas, Picture

LANES = 128


def packings(n_q_heads: int, n_kv_heads: int, n: int) -> Picture:
    """The scores of all heads and n keys as three rungs of the ladder lay them out: a group, all
    heads, or keys on the partitions. All three have the same area, that of all the scores; the
    width is what an engine's pass over them takes.

    Raises ValueError unless Hkv divides Hq, Hq <= 128, and n is a multiple of 128.
    """
    heads_fit = n_kv_heads > 0 and n_q_heads % n_kv_heads == 0 and 0 < n_q_heads <= LANES
    if not heads_fit or n % LANES or n < LANES:
        raise ValueError(f"Hq = {n_q_heads}, Hkv = {n_kv_heads}, n = {n} cannot be packed")
    group = n_q_heads // n_kv_heads
    scores = n_q_heads * n
    rungs = ((5, "a group's heads", group), (6, "all heads", n_q_heads), (7, "keys", LANES))
    left, unit = 14.0, 440 / (scores / group)
    c = Canvas(60)
    c.words(left, 22, f"{n_q_heads} heads x {n:,} keys = {scores:,} scores", "bold")
    y = 36.0
    for rung, what, lanes in rungs:
        free = scores // lanes
        text = f"{lanes} of {LANES} partitions, {free:,} each"
        room = LANES if lanes == LANES else max(lanes + 8, 16)
        c.small(left, y + 14, f"rung {rung}: {what} on the partitions")
        c.box(left, y + 24, 458, room, "room", f"lanes {rung}")
        c.box(left, y + 24, max(free * unit, 2.0), lanes, "p", f"rung {rung}")
        beside = free * unit < 150
        if beside:
            c.small(left + free * unit + 12, y + 24 + min(room / 2 + 5, 60), text)
        else:
            c.small(left, y + 24 + room + 16, text)
        y += 24 + room + (14 if beside else 30)
    c.small(left, y + 14, "height: partitions at work. Width: time of one pass.")
    c.height = y + 26
    said = " ".join(
        f"Rung {rung} has {what} on the partitions: {lanes} of {LANES} work, {scores // lanes:,} "
        "scores on each."
        for rung, what, lanes in rungs
    )
    return c.picture(
        f"The same {scores:,} scores ({n_q_heads} query heads, {n:,} keys) as three rungs lay them "
        f"out, all with the same area. {said} An engine works on all partitions at once, so its "
        "time is the width."
    )


def padded(n_q_heads: int, n_kv_heads: int, d: int = 128) -> Picture:
    """Rung 6's stationary operand: for every KV head all query columns, those of that head's group
    filled, the others 0; and where the matmuls' sum puts each group's scores. Raises ValueError
    unless Hkv divides Hq, 32 and 8 at most.
    """
    if n_kv_heads < 1 or n_q_heads % n_kv_heads or not 0 < n_q_heads <= 32 or n_kv_heads > 8:
        raise ValueError(f"Hq = {n_q_heads} and Hkv = {n_kv_heads} cannot be drawn")
    group = n_q_heads // n_kv_heads
    per = min(456 / n_kv_heads - 8, 200.0)
    column = per / n_q_heads
    tall = 72.0
    c = Canvas(336)
    c.words(12, 22, "stationary: q, padded with zeros", "bold")
    for kv in range(n_kv_heads):
        x = 12 + (per + 8) * kv
        c.box(x, 52, per, tall, "room", f"zeros {kv}")
        c.box(x + column * group * kv, 52, column * group, tall, "q", f"own {kv}")
        label = f"for KV head {kv}" if per > 110 else f"kv {kv}"
        c.small(x, 44, label)
        x_sum = 12 + 228 + (x + per / 2 - 240) * 0.4
        c.arrow(x + per / 2, 52 + tall, x_sum, 170, "tensor", name=f"sum {kv}")
    row = 112 / n_q_heads
    for kv in range(n_kv_heads):
        label = f"heads {group * kv} to {group * kv + group - 1}" if group > 1 else f"head {kv}"
        shown = label if row * group >= 16 else ""
        where = (120, 172 + row * group * kv, 240, row * group - 1)
        c.box(*where, "p", f"rows {kv}", shown, size=SMALL)
    c.words(240, 308, f"scores: ({n_q_heads}, keys), one row per head", anchor="middle")
    c.small(240, 327, "each times its own K; PSUM adds, zeros add nothing", "", "middle")
    return c.picture(
        f"Rung 6. For each of {n_kv_heads} KV heads the stationary operand ({d}, {n_q_heads}) "
        f"holds the {group} queries of that head's group in their own columns, and zeros "
        f"elsewhere. Multiplied by that head's K, it gives {n_q_heads} rows of scores, of which "
        f"only {group} are not zero. PSUM adds the {n_kv_heads} products, so that every head's "
        f"scores end in a separate row: {n_q_heads} partitions work in place of {group}."
    )


def key_places(per_partition: int, partitions: int = 4) -> Picture:
    """Which key lies on which partition: every partition a run of neighbours, or neighbours on
    different partitions.

    Raises ValueError beyond 8 keys per partition and 8 partitions.
    """
    if not (0 < per_partition <= 8 and 0 < partitions <= 8):
        raise ValueError(
            f"1 to 8 keys per partition and 1 to 8 partitions: {per_partition}, {partitions}"
        )
    T, P = per_partition, partitions
    side = min(40.0, 400 / (2 * T + 1))
    c = Canvas(72 + side * P + 34)
    second = 240.0
    tones = ("q", "k", "v", "p")
    apart = [[t * P + p for t in range(T)] for p in range(P)]
    together = [[p * T + t for t in range(T)] for p in range(P)]
    ways = (
        (14.0, f"{P} t + p", "short rows", apart),
        (second, f"{T} p + t", "one long row", together),
    )
    for x, formula, note, places in ways:
        c.small(x, 24, f"key {formula}", "bold code")
        c.small(x, 44, f"in HBM: {note}")
        for p, keys in enumerate(places):
            tone = [tones[k // T % len(tones)] for k in keys]
            c.cells(x, 56 + side * p, side, map(str, keys), tone, f"{formula}, partition {p}")
    c.small(14, 56 + side * P + 22, f"Each row is a partition, each colour {T} neighbours in HBM.")
    return c.picture(
        f"Where {T * P} keys lie on {P} partitions, {T} on each. With key {P} t + p, a partition's "
        f"keys are {P} apart in HBM: partition 0 has {_listed(range(0, T * P, P))}. With key {T} p "
        f"+ t they are neighbours: partition 0 has {_listed(range(T))}, one contiguous run."
    )


def _listed(numbers: range) -> str:
    return ", ".join(map(str, numbers))
