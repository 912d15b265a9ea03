"""The charts: their text twins tell the run's own numbers, their figures are labelled and quick."""

from __future__ import annotations

import io
import re

import matplotlib
import numpy as np
import pytest

import nkisim
from nkisim.views import lane_chart, lanes, palette, tables
from nkisim.views.occupancy import curve
from nkisim.views.reading import Reading
from tests.nkisim.views.runs import (
    SMALL,
    X,
    empty,
    every_engine,
    long,
    long_loop,
    long_timeline,
    on_a_grid,
    record,
    small,
)


def words_of(figure):
    """Every text of a figure."""
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_text()]


CHARTS = {
    "memory": lambda run: run.memory_chart(),
    "memory, timed": lambda run: run.timeline().memory_chart(),
    "lanes": lambda run: run.timeline().lane_chart(),
    "roofline": lambda run: run.timeline().roofline_chart(),
}


# -- counters --------------------------------------------------------------------------------------
def test_the_counters_add_up_to_the_runs():
    run = small()
    text = run.counters()
    assert text.startswith("Counters on trn2: 11 instructions, 1 kernel call")
    counted = re.findall(r"^(\w+) +(\w+) +([\d,]+) +[\d.]+ %$", text, re.MULTILINE)
    assert {(e, op): int(n) for e, op, n in counted} == {
        (i.engine, i.op): run.count(i.op, i.engine) for i in run.instructions
    }
    assert re.search(
        r"^x +128 KiB "
        r"+-$",
        text,
        re.MULTILINE,
    ) and re.search(
        r"^out +- +128 "
        r"KiB$",
        text,
        re.MULTILINE,
    )
    assert run.counters() == small().counters()


# -- memory ----------------------------------------------------------------------------------------
def test_the_memory_map_names_the_holders_of_the_fullest_moment():
    run = small()
    text = run.memory_chart().text()
    peak = run.peak_bytes("sbuf")
    section = text.split("PSUM:")[0]
    for holder in peak.holders:
        assert re.search(
            rf"^ +{re.escape(holder.name)} .* "
            rf"{holder.line} ",
            section,
            re.MULTILINE,
        ), holder
    assert "SBUF: at most 1 KiB of 224 KiB per partition (0.446 %)" in text
    assert "PSUM: at most 512 B of 16 KiB per partition (3.12 %), at instruction 2" in text
    assert "model" not in text


def test_occupancy_agrees_with_the_peak_that_the_run_reports():
    run = record(every_engine, X)
    reading = Reading(run)
    for space in ("sbuf", "psum"):
        totals = curve(reading, space, 10**6).total
        # every tile of this kernel spans 128 partitions
        assert totals.max() * 128 == run.peak_bytes(space)


def test_a_memory_map_over_time_says_in_its_caption_how_long_the_run_is_by_the_model():
    timeline = small().timeline()
    chart = timeline.memory_chart()
    caption = (
        f"Memory of every_engine on trn2: {timeline.latency_us:.2f} us (model), 11 instructions"
    )
    assert chart.text().startswith(caption + "\n") and caption in words_of(chart.figure())


def test_a_memory_that_nothing_used_is_said_to_be_unused():
    chart = record(long_loop, SMALL, 1, 1).memory_chart()
    assert "PSUM: not used." in chart.text()
    assert "not used" in words_of(chart.figure())


def test_the_capacity_is_a_line_of_the_figure_and_owners_are_named():
    figure = small().memory_chart().figure()
    for ax, capacity in zip(figure.axes, (224 * 1024, 16 * 1024), strict=True):
        unit = 1024 if ax.get_ylabel().startswith("KiB") else 1
        assert any(np.allclose(line.get_ydata(), capacity / unit) for line in ax.get_lines())
    assert {"total", "tile", "scaled", "product"} <= set(words_of(figure))
    assert [ax.get_ylabel() for ax in figure.axes] == ["B per partition", "B per partition"]
    assert figure.axes[-1].get_xlabel() == "instruction, in program order"


def test_a_memory_that_is_nearly_full_shows_its_capacity_inside_the_axis():
    import neuronxcc.nki as nki
    import neuronxcc.nki.language as nl

    @nki.jit
    def full(x):
        out = nl.ndarray((128, 49152), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.full((128, 49152), 1.0, dtype=nl.float32, name="wide")
        t[:, 0:256] = nl.load(x)
        nl.store(out, value=t)
        return out

    ax = record(full, X).memory_chart().figure().axes[0]
    assert ax.get_ylim()[1] > 224 and ax.get_ylabel() == "KiB per partition"


# -- lanes -----------------------------------------------------------------------------------------
def test_the_lanes_tell_the_busy_share_that_the_timeline_reports():
    timeline = small().timeline()
    text = timeline.lane_chart().text()
    for engine, share in timeline.utilisation().items():
        if engine in ("tensor", "vector", "scalar"):
            (told,) = re.findall(rf"^  {engine} +\|.*\| +([\d.]+) % busy$", text, re.MULTILINE)
            assert float(told) == pytest.approx(100 * share, abs=0.06)
    assert "Critical path (model), by line of the kernel:" in text


def test_a_lane_is_busy_exactly_while_its_intervals_last():
    share = lanes.busy(
        np.array([0.0, 2.0, 6.0]), np.array([1.0, 4.0, 7.0]), np.array([0.0, 1.0, 3.0, 5.0, 8.0])
    )
    assert share == pytest.approx([1.0, 0.5, 0.5, 1 / 3])


def test_a_part_of_the_time_can_be_drawn():
    timeline = small().timeline()
    chart = timeline.lane_chart(between=(0.5, 1.0))
    assert chart.figure().axes[0].get_xlim() == (0.5, 1.0)
    assert "0.50 us" in chart.text() and "1.00 us  (model)" in chart.text()
    with pytest.raises(ValueError, match="between"):
        timeline.lane_chart(between=(2.0, 1.0))


@pytest.mark.parametrize("most", [lane_chart.MOST, 1], ids=["one by one", "in columns"])
def test_a_table_load_is_hatched_before_its_activation(most, monkeypatch):
    monkeypatch.setattr(lane_chart, "MOST", most)
    timeline = small().timeline()
    (k,) = np.flatnonzero(lanes.is_table_load(timeline))
    figure = timeline.lane_chart().figure()
    assert "activation table loads hatched" in " ".join(words_of(figure))
    (hatched,) = [
        a
        for a in figure.axes[0].get_children()
        if getattr(a, "get_hatch", lambda: None)() and drawn(a) is not None
    ]
    low, high = drawn(hatched)
    column = float(timeline.end.max()) / 1e3 / (1000 if most == 1 else 1e6)
    assert low == pytest.approx(timeline.since[k] / 1e3, abs=1.01 * column)
    assert high == pytest.approx(timeline.start[k] / 1e3, abs=1.01 * column)


def drawn(artist):
    """From where to where along the x axis something is drawn; None if it is empty."""
    if hasattr(artist, "get_data"):  # steps
        values, edges, base = artist.get_data()
        there = np.flatnonzero(np.asarray(base) - values > 1e-9)
        return (edges[there[0]], edges[there[-1] + 1]) if len(there) else None
    paths = [path.vertices[:, 0] for path in artist.get_paths()]
    return (min(map(np.min, paths)), max(map(np.max, paths))) if paths else None


# -- roofline --------------------------------------------------------------------------------------
def test_the_roofline_tells_the_timelines_numbers():
    timeline = small().timeline()
    r = timeline.roofline
    text = timeline.roofline_chart().text()
    assert f"{r.flops:,.0f}" in text and f"{r.hbm_bytes:,}" in text and tables.short(r.knee) in text
    assert "left of the knee" in text


def test_a_run_without_arithmetic_has_no_place_under_the_roofs_but_a_figure():
    chart = record(long_loop, SMALL, 1, 1).timeline().roofline_chart()
    assert "no flop is counted" in chart.text()
    assert chart.figure().axes


# -- all of them -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["memory", "memory, timed", "lanes", "roofline"])
def test_a_figure_says_what_it_shows_with_units_and_calls_modelled_time_a_model(name):
    chart = CHARTS[name](small())
    figure = chart.figure()
    words = " ".join(words_of(figure))
    assert "every_engine" in words and "trn2" in words
    assert figure.axes[-1].get_xlabel()
    for text in [*words_of(figure), *chart.text().split("\n")]:
        if re.search(r"\bus\b|flop/s", text) and "peak" not in text and "knee" not in text:
            assert "model" in text.lower() or "model" in words.lower(), text
    if name != "memory":
        assert "(model)" in figure.axes[-1].get_xlabel() + figure.axes[-1].get_ylabel()


@pytest.mark.parametrize("name", ["memory", "memory, timed", "lanes", "roofline"])
def test_a_chart_is_the_same_twice_and_shows_in_a_notebook_with_its_text(name):
    first, again = CHARTS[name](small()), CHARTS[name](small())
    assert str(first) == repr(first) == again.text()
    bundle, metadata = first._repr_mimebundle_()
    assert bundle["text/plain"] == first.text() == metadata["image/png"]["alt"]
    assert bundle["image/png"] == again.png()
    assert max(map(len, first.text().split("\n"))) <= 120


@pytest.mark.parametrize("name", ["memory", "lanes", "roofline"])
def test_a_figure_has_no_background_of_its_own_whatever_the_readers_style(name):
    with matplotlib.rc_context(
        {"axes.facecolor": "black", "text.color": "white", "figure.facecolor": "black"}
    ):
        figure = CHARTS[name](small()).figure()
    backgrounds = [figure.get_facecolor(), *(ax.get_facecolor() for ax in figure.axes)]
    assert all(matplotlib.colors.to_rgba(color)[3] == 0 for color in backgrounds)
    assert matplotlib.colors.to_hex(figure._suptitle.get_color()) == palette.INK.either


@pytest.mark.parametrize("page", ["#ffffff", "#111111", "#131416"])
def test_words_and_lanes_stand_out_from_light_and_dark_pages(page):
    assert contrast(palette.INK.either, page) >= 4
    assert all(contrast(shade.either, page) >= 3 for shade in palette.ENGINES.values())
    assert contrast(palette.LIMIT.either, page) >= 3


def contrast(one, other):
    """How much two colours differ in luminance, from 1 to 21 (WCAG 2)."""

    def luminance(color):
        rgb = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("most", [lane_chart.MOST, 1], ids=["one by one", "in columns"])
def test_all_dma_queues_share_a_band(most, monkeypatch):
    monkeypatch.setattr(lane_chart, "MOST", most)
    ax = CHARTS["lanes"](small()).figure().axes[0]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert sum("dma" in name for name in names) == 1


def test_the_dma_band_tells_how_many_transfers_are_in_flight():
    timeline = small().timeline()
    queues = np.array(["dma" in name for name in timeline.lanes])[timeline.lane]
    start, end = timeline.start[queues], timeline.busy_end[queues]
    (dma,) = [lane for lane in lanes.of_timeline(timeline, 10**6) if lane.most]
    middles = 1e3 * (dma.edges[1:] + dma.edges[:-1]) / 2
    flying = ((start <= middles[:, None]) & (middles[:, None] < end)).sum(axis=1)
    np.testing.assert_allclose(dma.share * dma.most, flying, atol=1e-6)
    assert dma.most == flying.max()
    assert f" in flight, {dma.most} at most" in timeline.lane_chart().text()


def test_of_the_transfers_in_flight_the_loads_are_told_apart():
    timeline = small().timeline()
    loads = np.array([name.startswith("dma in") for name in timeline.lanes])[timeline.lane]
    (dma,) = [lane for lane in lanes.of_timeline(timeline, 10**6) if lane.most]
    time = dma.most * float((dma.loads * np.diff(dma.edges)).sum())
    assert time == pytest.approx((timeline.busy_end - timeline.start)[loads].sum() / 1e3)


@pytest.mark.parametrize("name", ["memory", "memory, timed", "lanes"])
def test_charts_of_nothing_say_so(name):
    chart = CHARTS[name](empty())
    assert "0 instructions" in chart.text()
    chart.figure().savefig(io.BytesIO(), format="png")


@pytest.mark.slow
def test_many_thousand_instructions_are_drawn_in_columns_and_the_figure_says_so():
    memory, lane = long().memory_chart(), long_timeline().lane_chart()
    for chart in (memory, lane):
        chart.png()
    assert "each of 1,000 columns shows its fullest moment" in " ".join(words_of(memory.figure()))
    assert ("20,042 instructions in 1,000 columns of time") in " ".join(
        words_of(lane.figure())
    ).replace("\n", " ")


def test_a_folded_curve_keeps_the_peak():
    reading = Reading(long())
    exact, folded = curve(reading, "sbuf", 10**6), curve(reading, "sbuf", 50, named=3)
    assert len(folded.total) == 50 and folded.folded and not exact.folded
    assert folded.total.max() == exact.total.max()
    assert len(folded.owners) == 4 and (sum(folded.owners.values()) == folded.total).all()


def test_importing_the_simulator_does_not_import_matplotlib():
    import subprocess
    import sys

    code = (
        "import sys, nkisim, nkisim.views.page, nkisim.views.lane_chart; sys.exit('matplotlib' "
        "in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- numbers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (229376, "224 KiB"), (3 << 30, "3 GiB")],
)
def test_sizes_are_told_in_the_largest_unit_that_fits(nbytes, text):
    assert tables.size(nbytes) == text


def test_every_run_is_drawn_on_its_own_target():
    with nkisim.record(target="trn1") as run:
        every_engine(X)
    assert (
        "on trn1" in run.memory_chart().text()
        and ("of 192 KiB per partition") in run.memory_chart().text()
    )


def test_cores_side_by_side_have_lanes_of_their_own_and_their_memories_are_counted_together():
    timeline = record(on_a_grid[2], X).timeline(cores=2)
    assert re.search(r"^  nc1 scalar +\|", timeline.lane_chart().text(), re.MULTILINE)
    assert "of 448 KiB per partition of 2 cores together" in timeline.memory_chart().text()
    assert "nc0 scalar" in words_of(timeline.lane_chart().figure())


# -- colours ---------------------------------------------------------------------------------------
SEEN_AS = {
    "by most": np.eye(3),
    # Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision
    # deficiency" (2009), severity 1
    "without red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "without green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "without blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def as_lab(color, seen):
    """A colour such as "#0072b2" in CIELAB, as somebody with the given vision sees it."""
    rgb = np.array(matplotlib.colors.to_rgb(color))
    rgb = np.clip(
        np.asarray(seen) @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4),
        0,
        1,
    )
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ rgb
        / [0.9505, 1, 1.089]
    )
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", SEEN_AS)
@pytest.mark.parametrize(
    ("what", "colors"),
    [
        ("owners", [*palette.OWNERS, palette.REST]),
        ("engines, light", [shade.light for shade in palette.ENGINES.values()]),
        ("engines, dark", [shade.dark for shade in palette.ENGINES.values()]),
        ("engines, either", [shade.either for shade in palette.ENGINES.values()]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_two_colours_of_a_picture_are_told_apart_by_everybody(what, colors, vision):
    seen = [as_lab(color, SEEN_AS[vision]) for color in colors]
    closest = min(
        (float(np.linalg.norm(a - b)), i, j)
        for i, a in enumerate(seen)
        for j, b in enumerate(seen)
        if i < j
    )
    assert closest[0] > 10, (what, *(colors[k] for k in closest[1:]))
