"""A run as a page: step through its instructions, with the kernel's text, the memories and the
tiles touched.

The page needs no network and no kernel. What it says without scripts comes first: a picture of the
whole run and the same facts as text, which viewers keep that strip scripts and styles (an untrusted
notebook). Where scripts run, they build the stepper between the two from data inside the page.
"""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any, Protocol

from ..program.run import Run
from ..timeline import Timeline
from . import markup, overview, palette
from .folding import Shown, choose
from .lanes import TABLE_LOAD, is_table_load
from .memory_chart import MemoryChart
from .page_data import Pool, collect, occupied
from .reading import SPACES, Reading
from .tables import count

MOST = 1500
"""Instructions that a page shows one by one; of longer runs loops are folded."""

_BODY = "body{margin:24px;display:flex;justify-content:center;background:canvas}.nkv{width:996px}"


class Drawing(Protocol):
    """A picture of a run, made elsewhere, in which the page marks the instruction that it shows."""

    @property
    def svg(self) -> str:
        """The picture."""

    @property
    def alt(self) -> str:
        """The picture in words."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def places(self) -> Sequence[tuple[float, float, float, float] | None]:
        """Of each instruction of the run its box: x, y, width and height; None where it has
        none."""


class Page:
    """A run to step through. A notebook shows it; `html()` is a whole page, `save(path)` writes
    it."""

    def __init__(
        self, run: Run, timeline: Timeline | None = None, drawing: Drawing | None = None
    ) -> None:
        if timeline is not None and timeline.run is not run:
            raise ValueError(
                "the timeline is of another run: make it with timeline = run.timeline()"
            )
        self.reading = Reading(run, timeline)
        if drawing is not None and len(drawing.places) != len(self.reading):
            raise ValueError(
                f"the picture is of another run: it has places for {len(drawing.places)} "
                f"instructions, and {len(self.reading)} ran"
            )
        self.timeline = timeline
        self.drawing = drawing
        self.shown: Shown = choose(self.reading.pattern, MOST)

    @property
    def title(self) -> str:
        """What ran, in a line."""
        return f"{self.reading.title()} on {self.reading.target.name}"

    @functools.cached_property
    def _picture(self) -> tuple[str, int]:
        return overview.svg(self.reading, self.timeline)

    def facts(self) -> str:
        """The run in a few sentences, and what of it is folded."""
        r, run = self.reading, self.reading.run
        by = "" if self.timeline is None else " (model)"
        parts = [
            f"{count(len(r), 'instruction')}. HBM: {run.hbm_bytes_read:,} bytes read, "
            f"{run.hbm_bytes_written:,} written.",
            *(f"{space.upper()}: {occupied(r, space, self.timeline)}{by}." for space in SPACES),
        ]
        if self.timeline is not None:
            t = self.timeline
            parts.append(
                f"Model of time: {t.latency_us:,.3f} us, the critical path mostly in "
                f"{t.bound}; nothing was measured."
            )
        hidden = self.shown.hidden
        if hidden:
            how = "loops are folded to their first iterations and their last"
            if self.shown.sampled:
                how += ", and of the rest only some stretches are shown"
            parts.append(
                f"{len(self.shown.records):,} of the instructions are shown one by one: {how}."
            )
        return " ".join(parts)

    def text(self) -> str:
        """The instructions shown, as text."""
        lines = []
        loads = is_table_load(self.timeline) if self.timeline is not None else ()
        for i, record in enumerate(self.shown.records.tolist()):
            lines += [f"       ... {gap.text()}" for gap in self.shown.gaps.get(i, ())]
            kind = self.reading.kind_of(record)
            when = ""
            if self.timeline is not None:
                start, end = (
                    float(a[record]) / 1e3 for a in (self.timeline.start, self.timeline.busy_end)
                )
                when = f"   model {start:.3f} to {end:.3f} us"
                if loads[record]:
                    when += (
                        f", after an {TABLE_LOAD} from "
                        f"{float(self.timeline.since[record]) / 1e3:.3f} us"
                    )
            lines.append(f"{record:6d}  {kind.engine:<6} {kind.text()}   line {kind.line}{when}")
        lines += [
            f"       ... {gap.text()}" for gap in self.shown.gaps.get(len(self.shown.records), ())
        ]
        return "\n".join(lines) or "No instruction ran."

    def __repr__(self) -> str:
        return f"<Page: {self.title}, {count(len(self.reading), 'instruction')}>"

    def _repr_html_(self) -> str:
        return self.fragment()

    def fragment(self) -> str:
        """The view as a piece of HTML, for a notebook."""
        return self._fragment(whole=False)

    def html(self) -> str:
        """The view as a page that needs nothing else."""
        return markup.document(self.title, _BODY, self._fragment(whole=True))

    def save(self, path: str) -> None:
        """Write the page to a file."""
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(self.html())

    def _fragment(self, whole: bool) -> str:
        said = self._said()
        if not len(self.reading):
            return f'<div class="nkv">{said}</div>'
        data: dict[str, Any] = collect(self.reading, self.shown, self.timeline)
        data["plot"] = [
            overview.LEFT,
            overview.WIDTH - overview.LEFT - overview.RIGHT,
            overview.WIDTH,
            self._picture[1],
        ]
        if self.drawing is not None:
            data["drawing"] = places(self.drawing, self.shown.records.tolist())
        # "<", ">" and "&" only occur within strings, where they may be written so: nothing can end
        # the script element
        text = json.dumps(data, separators=(",", ":"))
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        name = markup.identity("run", said + text)
        page = ' data-page="1"' if whole else ""
        return (
            f'<div class="nkv" id="{name}" data-run="{name}"{page} role="group" '
            f'aria-label="{html.escape(self.title)}">\n'
            f"<style>{_style()}</style>\n{said}\n</div>\n<script>{_asset('page.js')}({json.dumps(name)},{text});</script>"
        )

    def _said(self) -> str:
        """What the view says without scripts."""
        facts = self.facts()
        parts = [f"<h2>{html.escape(self.title)}</h2>", f'<p class="soft">{html.escape(facts)}</p>']
        if len(self.reading):
            svg, height = self._picture
            parts.append(
                markup.image(svg, overview.WIDTH, height, f"Overview of {self.title}. {facts}")
            )
            if not self.reading.run.values:
                parts.append(
                    '<p class="soft">Recorded on shapes alone '
                    "(<code>values=False</code>): no contents of tiles.</p>"
                )
            elif not self.reading.run.keep_results:
                parts.append(
                    '<p class="soft">Contents of tiles: only if recorded with '
                    "<code>keep_results=True</code>.</p>"
                )
            if self.drawing is not None:
                d = self.drawing
                image = markup.image(d.svg, d.width, d.height, d.alt)
                parts.append(
                    f'<details class="drawn"><summary>The kernel as a picture</summary>\n{image}'
                    "</details>"
                )
            parts += [
                _folded("The instructions as text", self.text()),
                _folded(
                    "The memories as text",
                    MemoryChart(self.reading.run, self.timeline, self.reading).text(),
                ),
            ]
            if self.timeline is not None:
                parts.append(
                    _folded(
                        "The model of time as text",
                        f"{self.timeline.summary()}\n\n{self.timeline.explain()}",
                    )
                )
        return "\n".join(parts)


def places(drawing: Drawing, records: list[int]) -> dict[str, Any]:
    """The size of a picture, its boxes, and of each of these instructions the number of its box; -1
    where it has none."""
    boxes = Pool()
    found = [drawing.places[record] for record in records]
    numbers = [-1 if place is None else boxes.number(tuple(place)) for place in found]
    return {"size": [drawing.width, drawing.height], "boxes": boxes.items, "box": numbers}


def _folded(title: str, text: str) -> str:
    return (
        f"<details><summary>{html.escape(title)}</summary>\n<pre "
        f'tabindex="0">{html.escape(text)}</pre></details>'
    )


@functools.cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


@functools.cache
def _style() -> str:
    light, dark = palette.variables(dark=False), palette.variables(dark=True)
    return (
        f".nkv{{{light};color-scheme:light dark}}@media "
        f"(prefers-color-scheme:dark){{.nkv{{{dark}}}}}\n"
        f"{_asset('page.css')}"
    )
