"""What every picture of the course is made of: boxes, words, arrows and lines, kept as data and
written as SVG.

A picture is shown as an `<img>` with a data URI, which notebooks that are not trusted yet and
static pages keep (they drop inline SVG, styles and scripts). It has no background. Boxes
are in tones on which white letters read and that stand out from a white page and from a dark one;
other words follow the reader's light or dark scheme, in shades that are still legible where a
notebook's own theme is dark and the browser says light.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from nkisim.views import markup
from nkisim.views.palette import ENGINES, LIMIT

WIDTH = 480
"""Pixels of a usual picture: three quarters of that, on a phone, is still readable."""
SIZE = 15
"""Pixels of a usual letter."""
SMALL = 13
EM = 0.6
"""The widest mean width of a letter, in units of its size: that of the monospaced fonts."""

TONES = {
    "q": "#2266cc",
    "k": "#b35900",
    "v": "#007f5f",
    "p": "#a8459a",
    "state": "#6a7380",
    "wrong": LIMIT.either,
    **{name: shade.either for name, shade in ENGINES.items()},
}
"""Fills. White letters on each reach 4.5:1; each reaches 3:1 on white pages and on dark ones."""
INK, INK_IN_THE_DARK = "#626b76", "#919ba7"
"""Words: 4.5:1 and more on a page of the scheme that the browser tells, and still about 3:1 on one
of the other scheme."""
EDGE = "#858e99"
"""Frames and axes, on any page."""

STYLE = f"""\
text{{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}}
text{{fill:{INK}}}
.code{{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}}
.bold{{font-weight:600}}
@media (prefers-color-scheme:dark){{text{{fill:{INK_IN_THE_DARK}}}}}
text.on{{fill:#fff}}"""
MOVING = """
.fades{opacity:0}
@media (prefers-reduced-motion:no-preference){
.fades{transform-box:fill-box;transform-origin:left;animation:fade 1s ease-in-out}
@keyframes fade{from{opacity:.9}to{opacity:0;transform:scaleX(var(--to))}}}"""
"""What a box with `fades_to` does: once, from the moment that the picture is shown."""


class Box(NamedTuple):
    """A rectangle. `tone` is a key of `TONES`; "" is a frame without a fill, "room" a faint one.
    `name` is for readers of the data, and is not drawn.
    """

    x: float
    y: float
    width: float
    height: float
    tone: str = ""
    name: str = ""
    dashed: bool = False
    faint: bool = False
    """Whether the fill lets the page through: what was there, and is there no more."""
    tip: str = ""
    """What a mouse that rests on it is told, where the picture is opened as a page."""
    fades_to: float | None = None
    """It shows for a moment only, while it shrinks to this part of its width; not at all where
    nothing moves."""


class Words(NamedTuple):
    """One line of text at its baseline. `look` is any of "code", "on" (white, on a box) and
    "bold".
    """

    x: float
    y: float
    text: str
    look: str = ""
    anchor: str = "start"
    size: int = SIZE

    @property
    def width(self) -> float:
        """No letters are wider than this, in pixels."""
        return len(self.text) * self.size * EM


class Arrow(NamedTuple):
    """A line from one point to another, with a head at its end if `head`."""

    x1: float
    y1: float
    x2: float
    y2: float
    tone: str = "state"
    head: bool = True
    name: str = ""
    stroke: float = 2.0


Shape = Box | Words | Arrow


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawing with the same facts in words.

    `print(picture)` is the words, a notebook shows the drawing, `.svg` is it as text and
    `.save("x.svg")` a file. `.shapes` are what is drawn, in pixels; `.width` and `.height` the
    size. `.places` is for a picture of a run: the box of each of its instructions, x, y, width and
    height. The same sizes give the same bytes.
    """

    alt: str
    shapes: tuple[Shape, ...]
    width: int
    height: int
    places: tuple[tuple[float, float, float, float] | None, ...] = ()

    @property
    def boxes(self) -> dict[str, Box]:
        """The boxes that have a name."""
        return {s.name: s for s in self.shapes if isinstance(s, Box) and s.name}

    @property
    def drawn(self) -> bool:
        """Whether there is more to see than words."""
        return any(not isinstance(shape, Words) for shape in self.shapes)

    @property
    def words(self) -> tuple[str, ...]:
        """All words that stand in the drawing, in order."""
        return tuple(s.text for s in self.shapes if isinstance(s, Words))

    @property
    def svg(self) -> str:
        """The drawing as an SVG file."""
        return self._svg(self.shapes)

    def _svg(self, shapes: Iterable[Shape]) -> str:
        body = "\n".join(_drawn(shape) for shape in shapes)
        moves = any(isinstance(s, Box) and s.fades_to is not None for s in self.shapes)
        style = STYLE + MOVING if moves else STYLE
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img">\n'
            f"<title>{html.escape(self.alt)}</title>\n<style>{style}</style>\n{body}\n</svg>\n"
        )

    def save(self, path: str) -> None:
        """Write the SVG to a file."""
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(self.svg)

    def image(self) -> str:
        """The drawing as an `<img>` that narrows with the page. In an image no mouse meets a box:
        what boxes would tell one is left out."""
        silent = (s._replace(tip="") if isinstance(s, Box) else s for s in self.shapes)
        tag = markup.image(self._svg(silent), self.width, self.height, self.alt)
        return tag.replace("<img ", '<img style="max-width:100%;height:auto" ', 1)

    def __str__(self) -> str:
        return self.alt

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.image()


class Canvas:
    """A picture in the making."""

    def __init__(self, height: float, width: int = WIDTH) -> None:
        self.width = width
        self.height = height
        self.shapes: list[Shape] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        tone: str = "",
        name: str = "",
        label: str = "",
        *,
        dashed: bool = False,
        faint: bool = False,
        size: int = SIZE,
        tip: str = "",
        fades_to: float | None = None,
    ) -> Box:
        """A box, and its label in the middle of it: white on a fill, in ink on a frame."""
        made = Box(x, y, width, height, tone, name, dashed, faint, tip, fades_to)
        self.shapes.append(made)
        if label:
            look = "on" if tone in TONES and not faint else ""
            self.words(x + width / 2, y + height / 2 + 0.36 * size, label, look, "middle", size)
        return made

    def words(
        self, x: float, y: float, text: str, look: str = "", anchor: str = "start", size: int = SIZE
    ) -> None:
        """A line of text whose letters stand on y."""
        self.shapes.append(Words(x, y, text, look, anchor, size))

    def small(self, x: float, y: float, text: str, look: str = "", anchor: str = "start") -> None:
        """A line of text in small letters."""
        self.words(x, y, text, look, anchor, SMALL)

    def arrow(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        tone: str = "state",
        *,
        head: bool = True,
        name: str = "",
        stroke: float = 2.0,
    ) -> None:
        """An arrow, or without its head a line."""
        self.shapes.append(Arrow(x1, y1, x2, y2, tone, head, name, stroke))

    def cells(
        self,
        x: float,
        y: float,
        side: float,
        labels: Iterable[str],
        tones: Iterable[str],
        name: str,
    ) -> None:
        """A row of square cells with a label each; cell i is called `name[i]`."""
        for i, (label, tone) in enumerate(zip(labels, tones, strict=True)):
            self.box(x + i * side, y, side - 2, side - 2, tone, f"{name}[{i}]", label, size=SMALL)

    def picture(self, alt: str) -> Picture:
        """The finished picture. `alt` says in sentences what it shows."""
        return Picture(alt, tuple(self.shapes), self.width, round(self.height))


def plain(value: float) -> str:
    """A coordinate as text: two decimals at most, never "-0"."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _drawn(shape: Shape) -> str:
    if isinstance(shape, Box):
        return _drawn_box(shape)
    if isinstance(shape, Words):
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        look = f' class="{shape.look}"' if shape.look else ""
        where = f'x="{plain(shape.x)}" y="{plain(shape.y)}" font-size="{shape.size}"'
        return f"<text {where}{anchor}{look}>{html.escape(shape.text, quote=False)}</text>"
    return _drawn_arrow(shape)


def _drawn_box(box: Box) -> str:
    if box.tone in TONES:
        opacity = ' fill-opacity="0.28"' if box.faint else ""
        look = f'fill="{TONES[box.tone]}"{opacity}'
        if box.faint or box.dashed:
            look += f' stroke="{TONES[box.tone]}"'
    elif box.tone == "room":
        look = f'fill="{EDGE}" fill-opacity="0.14" stroke="{EDGE}"'
    else:
        look = f'fill="none" stroke="{EDGE}"'
    if box.fades_to is not None:
        look += f' class="fades" style="--to:{box.fades_to:.4g}"'
    if box.dashed:
        look += ' stroke-dasharray="4 3"'
    radius = min(3.0, box.width / 4, box.height / 4)
    size = f'width="{plain(box.width)}" height="{plain(box.height)}" rx="{plain(radius)}"'
    where = f'x="{plain(box.x)}" y="{plain(box.y)}"'
    if box.tip:
        name = f'data-name="{html.escape(box.name)}"'
        return f"<rect {name} {where} {size} {look}><title>{html.escape(box.tip)}</title></rect>"
    return f"<rect {where} {size} {look}/>"


def _drawn_arrow(arrow: Arrow) -> str:
    colour = TONES.get(arrow.tone, EDGE)
    dx, dy = arrow.x2 - arrow.x1, arrow.y2 - arrow.y1
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / length, dy / length
    back = 7.0 + arrow.stroke if arrow.head else 0.0
    end = (arrow.x2 - 0.8 * back * ux, arrow.y2 - 0.8 * back * uy)
    line = (
        f'<line x1="{plain(arrow.x1)}" y1="{plain(arrow.y1)}" x2="{plain(end[0])}" '
        f'y2="{plain(end[1])}" stroke="{colour}" stroke-width="{plain(arrow.stroke)}"/>'
    )
    if not arrow.head:
        return line
    half = 0.5 * back
    left = (arrow.x2 - back * ux - half * uy, arrow.y2 - back * uy + half * ux)
    right = (arrow.x2 - back * ux + half * uy, arrow.y2 - back * uy - half * ux)
    points = " ".join(f"{plain(x)},{plain(y)}" for x, y in ((arrow.x2, arrow.y2), left, right))
    return f'{line}<polygon points="{points}" fill="{colour}"/>'
