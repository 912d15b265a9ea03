"""The machine in pictures: its memories and engines, how a tensor lies in them, a matmul, a
transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

from nkisim import TARGETS

from .canvas import SMALL, Canvas, Picture

KIB = 1024


def memories(target: str = "trn2") -> Picture:
    """The memories and engines of one core: HBM, SBUF, PSUM, and who reads and writes which.

    `target` is "trn1", "trn2" or "trn3". Raises KeyError for another name. Sizes are those of
    `nkisim.TARGETS`.
    """
    core = TARGETS[target]
    sbuf, psum = core.sbuf_partition_bytes, core.psum_partition_bytes
    lanes, banks = core.partitions, core.psum_banks
    c = Canvas(432)
    c.box(8, 8, 464, 44, "room", "HBM")
    c.words(20, 36, "HBM", "bold")
    c.words(76, 36, "inputs and outputs of the kernel")
    c.arrow(150, 52, 150, 96, "dma", name="load")
    c.arrow(330, 96, 330, 52, "dma", name="store")
    c.words(240, 79, "DMA engines", anchor="middle")
    c.small(142, 79, "load", "code", "end")
    c.small(338, 79, "store", "code", "start")
    c.box(8, 96, 464, 112, "room", "SBUF")
    c.words(20, 118, "SBUF", "bold")
    c.words(76, 118, f"{lanes} partitions of {sbuf // KIB} KiB")
    for row, label in enumerate(("partition 0", "1", "...", f"{lanes - 1}")):
        y = 130 + 18 * row
        c.small(116, y + 11, label, "", "end")
        c.box(126, y, 334, 12, name=f"SBUF partition {label}", dashed=label == "...")
    _engines(c)
    c.box(8, 352, 464, 72, "room", "PSUM")
    c.words(20, 374, "PSUM", "bold")
    c.words(76, 374, f"{lanes} partitions of {psum // KIB} KiB, in {banks} banks")
    side = 440 / banks
    for bank in range(banks):
        label = f"bank {bank}" if bank in (0, banks - 1) else ""
        c.box(20 + side * bank, 384, side - 4, 28, "", f"bank {bank}", label, size=SMALL)
    return c.picture(
        f"One core of {target}. DMA engines load from HBM into SBUF and store back. SBUF has "
        f"{lanes} partitions of {sbuf // KIB} KiB, PSUM {lanes} of {psum // KIB} KiB in {banks} "
        "banks. TensorE reads SBUF and writes PSUM; VectorE and ScalarE read and write both; "
        "GpSimdE reaches SBUF only. No engine computes in HBM."
    )


def _engines(c: Canvas) -> None:
    """The row of compute engines, with arrows to the memories that each reaches."""
    engines = (
        ("TensorE", "matmul", "tensor"),
        ("VectorE", "max, add", "vector"),
        ("ScalarE", "exp", "scalar"),
        ("GpSimdE", "iota", "gpsimd"),
    )
    for i, (name, does, tone) in enumerate(engines):
        x = 8 + 118 * i
        c.box(x, 256, 110, 48, tone, name)
        c.words(x + 55, 276, name, "on", "middle")
        c.small(x + 55, 295, does, "on", "middle")
        if tone == "tensor":
            c.arrow(x + 55, 208, x + 55, 256, tone, name="SBUF to TensorE")
            c.arrow(x + 55, 304, x + 55, 352, tone, name="TensorE to PSUM")
            continue
        c.arrow(x + 45, 208, x + 45, 256, tone, name=f"SBUF to {name}")
        c.arrow(x + 65, 256, x + 65, 208, tone, name=f"{name} to SBUF")
        if tone != "gpsimd":
            c.arrow(x + 45, 352, x + 45, 304, tone, name=f"PSUM to {name}")
            c.arrow(x + 65, 304, x + 65, 352, tone, name=f"{name} to PSUM")


def stored(d: int, n: int, queries: int = 1, v_rows: bool = False) -> Picture:
    """How q (d, queries), K (d, n) and V lie in SBUF, to scale: which axis is on the partitions,
    which is free.

    V is (d, n), or (n, d) if `v_rows`. Raises ValueError for more than 128 partitions.
    """
    down = n if v_rows else d
    if not 0 < d <= 128 or not 0 < down <= 128 or n < 1 or queries < 1:
        raise ValueError(
            f"at most 128 partitions, and one key and query at least: d = {d}, n = {n}"
        )
    unit = min(300 / max(n, d if v_rows else n), 130 / max(d, down))
    left, top, gap = 132.0, 46.0, 66.0
    q_width = max(queries * unit, 4.0)
    c = Canvas(top + (d + down) * unit + gap + 44)
    c.box(24, top, q_width, d * unit, "q", "q")
    c.words(24, top - 12, "q", "bold code")
    c.small(24, top + d * unit + 20, f"({d}, {queries})", "code")
    c.box(left, top, n * unit, d * unit, "k", "K", "K" if n * unit > 20 else "")
    _axes(c, left, top, n * unit, d * unit, f"free axis: {n} keys", ("d on the", f"{d} partitions"))
    below = top + d * unit + gap
    across, lanes = (d, n) if v_rows else (n, d)
    free = f"free axis: d = {d}" if v_rows else f"free axis: {n} keys"
    on = (f"{n} keys on", "the partitions") if v_rows else ("d on the", f"{d} partitions")
    c.box(left, below, across * unit, lanes * unit, "v", "V", "V" if across * unit > 20 else "")
    _axes(c, left, below, across * unit, lanes * unit, free, on)
    layout = "(n, d): its keys" if v_rows else "(d, n): its head dimension, like K's,"
    return c.picture(
        f"How the operands lie in SBUF, to scale. q is ({d}, {queries}): the head dimension d on "
        f"{d} partitions, {'one query' if queries == 1 else f'{queries} queries'} on the free "
        f"axis. K is ({d}, {n}): d on the partitions, {n} keys on the free axis. V is {layout} "
        "lies on the partitions."
    )


def _axes(
    c: Canvas, x: float, y: float, width: float, height: float, free: str, lanes: tuple[str, str]
) -> None:
    """Words at the two axes of a tile: the free one along its top, the partitions at its right."""
    c.arrow(x, y - 7, x + width, y - 7, "")
    c.small(x, y - 14, free)
    c.arrow(x - 9, y, x - 9, y + height, "")
    if width > 240:
        c.small(x, y + height + 18, " ".join(lanes))
        return
    for row, text in enumerate(lanes):
        c.small(x + width + 12, y + height / 2 - 3 + 18 * row, text)


def matmul(
    summed: int,
    rows: int,
    columns: int,
    names: tuple[str, str, str] = ("q", "K", "qk"),
    axis: str = "d",
) -> Picture:
    """nc_matmul(stationary, moving): stationary (summed, rows), moving (summed, columns) -> PSUM
    (rows, columns).

    `names` are those of the stationary, the moving operand and the result, `axis` what lies on the
    partitions and is summed. To scale, though no side is thinner than 8 pixels. Raises ValueError
    beyond the operands' limits.
    """
    if not (0 < summed <= 128 and 0 < rows <= 128 and 0 < columns <= 512):
        raise ValueError(
            f"at most 128 x 128 and 128 x 512, got {(summed, rows)}, {(summed, columns)}"
        )
    unit = min(290 / columns, 110 / max(summed, rows), 90 / rows)

    def px(size: int) -> float:
        return max(size * unit, 8.0)

    stationary, moving, made = names
    left, top = 150.0, 58.0
    below = top + px(summed) + 76
    c = Canvas(below + max(px(rows), 26) + 36)
    c.words(14, 22, "stationary", "bold")
    c.small(14, 40, f"{stationary} ({summed}, {rows})", "code")
    c.box(14, top, px(rows), px(summed), "q", stationary)
    c.words(left, 22, "moving", "bold")
    c.small(left, 40, f"{moving} ({summed}, {columns})", "code")
    c.box(left, top, px(columns), px(summed), "k", moving)
    c.arrow(left - 12, top, left - 12, top + px(summed), "wrong", name="summed")
    c.small(14, top + px(summed) + 22, f"{axis} = {summed}: on the partitions of both, and summed")
    c.words(14, below + 4, "PSUM", "bold")
    c.small(14, below + 22, f"{made} ({rows}, {columns})", "code")
    c.box(left, below, px(columns), px(rows), "p", made)
    middle = left + px(columns) / 2
    c.arrow(middle, top + px(summed) + 30, middle, below - 4, "tensor")
    c.small(middle + 12, below - 13, "TensorE")
    c.small(14, below + max(px(rows), 26) + 24, f"{made} = {stationary}.T @ {moving}", "code")
    return c.picture(
        f"nc_matmul. The stationary operand {stationary} is ({summed}, {rows}), the moving operand "
        f"{moving} ({summed}, {columns}). Both have {axis} on the partitions, and that axis is "
        f"summed. The result {made} = {stationary}.T @ {moving} is ({rows}, {columns}) in PSUM: "
        "the stationary operand's columns become its partitions."
    )


def accumulated(products: Sequence[Sequence[float]]) -> Picture:
    """What a PSUM tile holds after each of several matmuls that write to it: once each adds to the
    last, once each overwrites it. Raises ValueError unless there are two to four products of one to
    four numbers each.
    """
    width = len(products[0]) if products else 0
    if not 2 <= len(products) <= 4 or not 0 < width <= 4 or any(len(p) != width for p in products):
        raise ValueError("two to four products of one to four numbers each can be drawn")
    side = 40.0
    c = Canvas(92 + 52 * len(products))
    added = [0.0] * width
    for x, title, flag in ((14.0, "left out", "None"), (254.0, "switched off", "False")):
        c.words(x, 22, title, "bold")
        c.small(x, 42, f"accumulate={flag}", "code")
    for i, product in enumerate(products):
        added = [a + b for a, b in zip(added, product)]
        y = 56.0 + 52 * i
        for x, values, what in ((14.0, added, "sum"), (254.0, list(product), "product")):
            wrong = what == "sum" and list(values) != list(product)
            labels = [f"{v:g}" for v in values]
            c.cells(x, y, side, labels, ["wrong" if wrong else "p"] * width, f"{what} {i}")
            c.small(x + side * width + 8, y + 24, f"matmul {i}")
    c.small(14, 56 + 52 * len(products) + 16, "red: an earlier product is still in it")
    held = "; ".join(", ".join(f"{v:g}" for v in p) for p in products)
    return c.picture(
        f"{len(products)} matmuls write to one PSUM tile; their products are {held}. With "
        "accumulate left out the first overwrites and each later one adds, so that the tile ends "
        f"as {', '.join(f'{v:g}' for v in added)}. With accumulate=False each overwrites, and it "
        f"ends as {', '.join(f'{v:g}' for v in products[-1])}."
    )


def transpose(rows: int, columns: int, name: str = "p") -> Picture:
    """The way of a (rows, columns) tile through TensorE and PSUM to a (columns, rows) tile in SBUF.

    Raises ValueError for a side over 128: both sides lie on partitions once.
    """
    if not (0 < rows <= 128 and 0 < columns <= 128):
        raise ValueError(
            f"both sides lie on partitions once: at most 128, got {rows} and {columns}"
        )
    unit = min(112 / rows, 112 / columns)

    def px(size: int) -> float:
        return max(size * unit, 8.0)

    tall = max(px(rows), px(columns))
    c = Canvas(tall + 112)
    middle = 60 + tall / 2
    tiles = (
        (8.0, rows, columns, "SBUF", name, "q"),
        (184.0, columns, rows, "PSUM", f"{name}_t", "p"),
        (352.0, columns, rows, "SBUF", f"{name}_t", "q"),
    )
    for x, down, across, memory, label, tone in tiles:
        c.words(x, 24, memory, "bold")
        c.small(x, 43, f"{label} ({down}, {across})", "code")
        c.box(x, middle - px(down) / 2, px(across), px(down), tone, f"{memory} {label}")
    for x, word, tone in ((128.0, "TensorE", "tensor"), (302.0, "copy", "vector")):
        c.arrow(x, middle, x + 44, middle, tone, name=word)
        c.small(x + 24, middle - 12, word, anchor="middle")
    foot = 60 + tall
    c.small(8, foot + 22, "nc_transpose: a matmul with the identity. A matmul")
    c.small(8, foot + 40, "reads SBUF, so the result is copied out of PSUM first.")
    return c.picture(
        f"A transpose. The tile {name} ({rows}, {columns}) lies in SBUF. TensorE multiplies it by "
        f"the identity and writes ({columns}, {rows}) to PSUM. A matmul reads its operands from "
        "SBUF, so another engine copies the result from PSUM to SBUF."
    )
