"""The picture of a reader's own kernel: what it reads of its inputs, and each of its instructions
with the tile that it writes, in its memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.text import ENGINES
from .canvas import SMALL, WIDTH, Canvas, Picture
from .reading import Flow, HbmTensor, SourceInstruction, Tile, by_line, coarse, planes, read

LANES = {"hbm": (8.0, 40.0), "sbuf": (56.0, 108.0), "psum": (172.0, 62.0)}
"""Where each memory's column begins, and how wide it is."""
TEXT = 246.0  # where the words of a step begin
LETTERS = 29  # of them that fit
ROW = 44.0
MOST = 40  # steps that are drawn
GRID = (4, 24)  # rows and columns of cells to which an HBM tensor is coarsened
BLOCKS = 160  # columns, of one whose blocks were picked by a table: then each is one
PLANES = 8  # of an HBM tensor that are drawn


def draw(flow: Flow, title: str, worked: Flow | None = None) -> Picture:
    """The picture of a flow. `worked` is that of the worked kernel: what it does not do, or does
    less often, is marked."""
    folded = _folded(flow)
    steps = list(folded.items())[:MOST]
    heights = [_height(tensor) for tensor in flow.tensors]
    top = 92 + sum(heights)
    c = Canvas(top + 34 + ROW * len(steps) + 78)
    c.words(8, 20, title, "bold")
    c.small(8, 40, "HBM: how often each part was read")
    y = 54.0
    for tensor, height in zip(flow.tensors, heights):
        _heat(c, tensor, y)
        y += height
    used = dict.fromkeys(step.engine for step, _ in steps)
    for i, engine in enumerate(e for e in ENGINES if e in used):
        c.box(8 + 92 * i, top - 30, 86, 24, engine, ENGINES[engine], ENGINES[engine], size=SMALL)
    for memory, (x, _) in LANES.items():
        c.small(x, top + 20, memory.upper(), "bold")
    places = _places(steps, top + 34)
    for i in range(len(steps)):
        _arrows(c, steps, places, i)
    usual = None if worked is None or folded is not flow.steps else worked.kinds()
    for i, ((step, count), place) in enumerate(zip(steps, places)):
        extra = 0 if usual is None else flow.kinds()[step.kind] - usual[step.kind]
        new = usual is not None and step.kind not in usual
        _step(c, f"step {i}", (step, count), place, extra, new)
    foot = top + 34 + ROW * len(steps) + 16
    for i, text in enumerate(_footnotes(len(folded), len(flow.steps), worked is not None)):
        c.small(8, foot + 18 * i, text)
    made = c.picture(_words(flow, title, worked))
    boxes = {_box(flow, step): place for (step, _), place in zip(steps, places)}
    return replace(made, places=tuple(boxes.get(_box(flow, step)) for step in flow.order))


def _folded(flow: Flow) -> dict[SourceInstruction, int]:
    """The steps to draw: those of one line taken together where there are many."""
    return flow.steps if len(flow.steps) <= MOST else by_line(flow)


def of_run(run: Any, title: str = "The kernel") -> Picture:
    """The picture of what ran inside `nkisim.record()`: any kernel of either dialect.

    `run.html("run.html", timeline, picture=of_run(run))` is a page that marks each instruction in
    it.
    """
    return draw(read(run), title)


def _box(flow: Flow, step: SourceInstruction) -> Any:
    """What the steps of one box have in common: their line, where there are many."""
    return step if len(flow.steps) <= MOST else step.line


# -- HBM -------------------------------------------------------------------------------------------
def _height(tensor: HbmTensor) -> float:
    shown = _planes(tensor)
    return 26.0 + sum(_size(plane, tensor.picked)[1] + 3 for plane in shown)


def _planes(tensor: HbmTensor) -> list[NDArray[np.int64]]:
    """The planes that are drawn; one is enough where nobody knows which cells were read."""
    return planes(tensor)[: 1 if tensor.by_index else PLANES]


def _size(plane: NDArray[np.int64], blocks: bool = False) -> tuple[float, float]:
    """Pixels of a plane: to scale, within what a picture has room for. `blocks`: each cell stands
    for a block, and is large enough to be seen."""
    rows, columns = plane.shape
    unit = min(320 / columns, 56 / rows, 12.0 if blocks else 3.0)
    return max(columns * unit, 6.0), max(rows * unit, 6.0)


def _heat(c: Canvas, tensor: HbmTensor, y: float) -> None:
    """One HBM tensor at its coordinates, warmer where it was read more often."""
    c.small(8, y + 12, f"{tensor.name} {shape_text(tensor.shape)}", "code")
    c.small(WIDTH - 8, y + 12, _times(tensor), "", "end")
    y += 18
    for number, plane in enumerate(_planes(tensor)):
        wide, tall = _size(plane, tensor.picked)
        c.box(8, y, wide, tall, "room", f"{tensor.name} plane {number}")
        grid = (GRID[0], BLOCKS) if tensor.picked else GRID
        for left, top, width, height, count in _patches(coarse(plane, *grid)):
            where = f"{tensor.name}[{number}] {left:g}, {top:g} x {count}"
            box = (8 + wide * left, y + tall * top, wide * width, tall * height)
            c.box(*box, warmth(count), where)
        y += tall + 3


def warmth(count: int) -> str:
    """The tone of cells that were read so often: green once, orange twice, red more often."""
    return ("scalar", "scalar", "vector")[count] if count < 3 else "wrong"


def _times(tensor: HbmTensor) -> str:
    if tensor.by_index:
        return f"{tensor.by_index:,} bytes by index"
    if not tensor.reads.any():
        return "written"
    low, high = int(tensor.reads.min()), int(tensor.reads.max())
    how = ", by index" if tensor.picked else ""
    return (f"read {low} to {high} times" if low != high else f"read {_often(low)}") + how


def _often(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _patches(counts: NDArray[np.int64]) -> list[tuple[float, float, float, float, int]]:
    """Rectangles of cells that were read equally often, at least once: left, top, width and height
    as parts of the whole, and the count. Rows that are alike are drawn as one."""
    rows, columns = counts.shape
    found = []
    breaks = (np.flatnonzero(np.any(np.diff(counts, axis=0) != 0, axis=1)) + 1).tolist()
    for first, last in zip([0, *breaks], [*breaks, rows]):
        values = counts[first]
        edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), columns]
        for a, b in itertools.pairwise(edges):
            if values[a]:
                height = (last - first) / rows
                part = (a / columns, first / rows, (b - a) / columns, height, int(values[a]))
                found.append(part)
    return found


# -- steps -----------------------------------------------------------------------------------------
Place = tuple[float, float, float, float]


def _places(steps: Sequence[tuple[SourceInstruction, int]], top: float) -> list[Place]:
    """x, y, width and height of the tile that each step writes."""
    on_chip = [s.target for s, _ in steps if s.target.memory != "hbm"]
    widest = max((tile.free for tile in on_chip), default=1)
    found = []
    for i, (step, _) in enumerate(steps):
        x, room = LANES[step.target.memory]
        wide, tall = _tile_size(step.target, widest, room)
        found.append((x, top + ROW * i + (ROW - 8 - tall) / 2, wide, tall))
    return found


def _tile_size(tile: Tile, widest: int, room: float) -> tuple[float, float]:
    """Pixels of a tile: 128 partitions are as high as a row, the widest tile as wide as its lane.
    The width goes with the square root, so that one column is still seen beside 512."""
    if tile.memory == "hbm":
        return room, 16.0
    return max(room * (tile.free / widest) ** 0.5, 5.0), max(34 * tile.partitions / 128, 4.0)


def _arrows(
    c: Canvas, steps: Sequence[tuple[SourceInstruction, int]], places: Sequence[Place], i: int
) -> None:
    """From the last writer of each source above to the tile that the step writes."""
    step = steps[i][0]
    x, y, wide, _tall = places[i]
    for source in step.sources:
        writers = [j for j in range(i) if steps[j][0].target == source]
        if not writers:
            continue
        j = writers[-1]
        sx, sy, swide, stall = places[j]
        start = (sx + min(swide, 40.0) / 2, sy + stall)
        end = (x + min(wide, 40.0) / 2, y)
        c.arrow(*start, *end, step.engine, name=f"{j} to {i}", stroke=1.2)


def _step(
    c: Canvas,
    name: str,
    counted: tuple[SourceInstruction, int],
    place: Place,
    extra: int,
    new: bool,
) -> None:
    """The tile that a step writes, and its words: what it does, on which line, how often."""
    (step, count), (x, y, wide, tall) = counted, place
    middle = y + tall / 2
    tile = step.target
    tip = f"{step.source.strip()} ({ENGINES[step.engine]})"
    c.box(x, y, wide, tall, step.engine, name, tip=tip)
    does = f"{step.op}({', '.join(source.called for source in step.sources)})"
    if tile.called == tile.name:
        does = f"{tile.name} = {does}"
    c.small(TEXT, middle - 3, clipped(does, LETTERS), "code")
    into = "into " if tile.memory == "hbm" else ""  # the whole tensor, of which a part is written
    where = f"line {step.line}, {into}{shape_text(tile.shape)}"
    times = f" x{count}" if count > 1 else ""
    mark = " NEW" if new else f" +{extra}" if extra > 0 else ""
    where = clipped(where, LETTERS - len(times + mark)) + times + mark
    c.small(TEXT, middle + 13, where)


def shape_text(shape: Sequence[int]) -> str:
    """(64, 128)."""
    return f"({', '.join(map(str, shape))})"


def clipped(text: str, most: int) -> str:
    """A text that is no longer than `most` letters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


# -- words -----------------------------------------------------------------------------------------
def _footnotes(drawn: int, steps: int, compared: bool) -> list[str]:
    """What the marks and colours mean, and what is not drawn."""
    said = [
        "Each box is the tile that an instruction writes.",
        "Higher: more partitions. Wider: more elements on each.",
    ]
    if drawn < steps:
        said.append(f"{steps} instructions; those of one line are one box")
    if drawn > MOST:
        said.append(f"{drawn - MOST} more lines are not drawn")
    if compared and drawn == steps:
        said.append("NEW: not in the worked kernel; +8: that much more")
    return said


def _words(flow: Flow, title: str, worked: Flow | None) -> str:
    """The picture in sentences."""
    engines = dict.fromkeys(step.engine for step in flow.steps)
    counts = [
        f"{sum(n for s, n in flow.steps.items() if s.engine == e)} on {ENGINES[e]}" for e in engines
    ]
    tensors = [f"{t.name} {shape_text(t.shape)} is {_times(t)}" for t in flow.tensors]
    said = [
        f"{title}: {len(flow.steps)} different instructions, {sum(flow.steps.values())} in all "
        f"({', '.join(counts)}).",
        f"In HBM, {'; '.join(tensors)}." if tensors else "It reads and writes nothing in HBM.",
    ]
    if worked is not None:
        usual = worked.kinds()
        new = [s for s in flow.steps if s.kind not in usual]
        missing = [s for s in worked.steps if s.kind not in flow.kinds()]
        said.append(_compared("not in the worked kernel", new))
        said.append(_compared("only in the worked kernel", missing))
    return " ".join(filter(None, said))


def _compared(what: str, steps: Sequence[SourceInstruction]) -> str:
    if not steps:
        return ""
    named = [f"{s.op} to {s.target.name}" for s in steps[:6]]
    more = f" and {len(steps) - 6} more" if len(steps) > 6 else ""
    return f"{what[0].upper()}{what[1:]}: {', '.join(named)}{more}."
