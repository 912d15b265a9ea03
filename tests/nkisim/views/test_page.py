"""The page: self-contained, safe, deterministic, quick, and readable where scripts and styles are
stripped."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import nki as newer
import nki.isa as newer_isa
import nki.language as newer_nl
import numpy as np
import pytest

import nkisim
from tests.nkisim.views.runs import (
    HOSTILE,
    SMALL,
    X,
    empty,
    every_engine,
    hostile,
    large,
    record,
    small,
)


class Reader(HTMLParser):
    """The tags of a page, and the text outside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self._inside = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


def data_of(html):
    """What the page's script works on."""
    (text,) = re.findall(r'^\}\)\("run-[0-9a-f]{12}",(.*)\);</script>$', html, re.MULTILINE)
    return json.loads(text)


def picture_of(html):
    """The overview picture, an SVG."""
    (text,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
    return base64.b64decode(text).decode()


def stripped(html):
    """As an untrusted notebook shows it: without script, style, svg, iframe and event handlers."""
    html = re.sub(r"<(script|style|svg|iframe)\b.*?</\1>", "", html, flags=re.DOTALL)
    return re.sub(r"\son\w+=(\"[^\"]*\"|'[^']*')", "", html)


def test_a_page_needs_nothing_but_itself():
    page = small().html().html()
    assert page.startswith("<!DOCTYPE html>")
    assert "http" not in page and "@import" not in page and "url(" not in page
    tags = Reader(page).tags
    assert not {tag for tag, _ in tags} & {"link", "iframe", "object", "embed", "svg"}
    assert all(
        attrs["src"].startswith("data:image/svg+xml;base64,") for _, attrs in tags if "src" in attrs
    )
    assert not any("href" in attrs for _, attrs in tags)


def test_the_same_run_gives_the_same_bytes_and_another_run_another_id():
    first, again = small().html(), small().html()
    assert first.html() == again.html() and first.fragment() == again.fragment()
    ids = [
        re.search(r'id="(run-[0-9a-f]{12})"', run.html().fragment())[1]
        for run in (small(), record(every_engine, X + 1, keep_results=True))
    ]
    assert ids[0] != ids[1]


def test_no_path_of_this_machine_is_in_a_page():
    page = small().html().html()
    assert data_of(page)["files"][0]["name"] == "runs.py"
    folder = every_engine.function.__code__.co_filename.rpartition("/")[0]
    assert folder and folder not in page


def test_every_instruction_is_told_with_engine_operands_line_memory_and_contents():
    run = small()
    data = data_of(run.html().fragment())
    assert data["records"] == list(range(len(run)))
    for instruction, step in zip(run.instructions, data["steps"], strict=True):
        kind = data["kinds"][step]
        assert (kind["engine"], kind["op"], kind["line"]) == (
            instruction.engine,
            instruction.op,
            instruction.line,
        )
        assert [o[:3] for o in kind["dst"]] == [
            [o.name, o.space, " x ".join(map(str, o.shape))] for o in instruction.dst
        ]
        first, lines = next(
            p
            for p in data["files"][kind["file"]]["pieces"]
            if p[0] <= kind["line"] < p[0] + len(p[1])
        )
        assert lines[kind["line"] - first].strip() == instruction.source
    assert max(data["sbuf"]["used"]) <= data["capacity"]["sbuf"] == 224 * 1024
    assert max(data["psum"]["used"]) == 512
    assert dict(data["holders"][data["psum"]["held"][2]]) == {"product": "512 B"}


def test_contents_are_what_the_instructions_wrote_and_read():
    data = data_of(small().html().fragment())
    load, matmul, exp = (
        i
        for i, s in enumerate(data["steps"][:4])
        if data["kinds"][s]["op"] in ("dma_copy", "nc_matmul", "activation")
    )
    assert data["written"][load] == data["read"][matmul][:1] == data["read"][matmul][1:]
    assert data["written"][matmul] == data["read"][exp]
    rows, columns, levels, words = data["tiles"][data["written"][load][0]]
    tile = X[:, :128]
    assert len(levels) == rows * columns == 16 * 32
    assert words.startswith(f"{tile.min():.4g} to {tile.max():.4g}, mean ")
    means = tile.reshape(16, 8, 32, 4).mean(axis=(1, 3)).ravel()
    assert levels[int(means.argmin())] == "A" and levels[int(means.argmax())] == "+"


def test_a_tile_that_was_written_in_parts_is_read_as_a_whole():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((4, 4), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.ndarray((4, 4), dtype=nl.float32)
        t[:, 0:2] = nl.load(x[:, 0:2])
        t[:, 2:4] = nl.exp(t[:, 0:2])
        nl.store(out, value=nl.add(t, 1.0))
        return out

    run = record(kernel, SMALL, keep_results=True)
    data = data_of(run.html().fragment())
    assert [i.op for i in run.instructions][-2:] == ["tensor_scalar", "dma_copy"]
    whole = np.concatenate([SMALL[:, :2], np.exp(SMALL[:, :2])], axis=1)
    words = data["tiles"][data["read"][-2][0]][3]
    assert words.startswith(f"{whole.min():.4g} to {whole.max():.4g}, ")


def test_the_part_of_an_input_that_a_load_reads_is_shown_with_where_it_begins():
    data = data_of(small().html().fragment())
    loads = [
        i
        for i, s in enumerate(data["steps"])
        if data["kinds"][s]["op"] == "dma_copy" and data["kinds"][s]["srcs"][0][0] == "x"
    ]
    assert [data["partWords"][data["parts"][i][1][0]] for i in loads] == [
        "from [0, 0] of 128 x 256",
        "from [0, 128] of 128 x 256",
    ]
    for i in loads:
        assert data["read"][i] == data["written"][i] != [-1]  # a load copies
    assert data["read"][loads[0]] != data["read"][loads[1]]


def test_what_an_input_held_is_shown_though_the_caller_changed_the_array_since():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, value=nl.load(x))
        return out

    array = SMALL.copy()
    run = record(kernel, array, keep_results=True)
    array[...] = 7.0
    data = data_of(run.html().fragment())
    assert data["read"][0] == data["written"][0]
    assert data["tiles"][data["read"][0][0]][3].startswith("0 to 1, ")


def test_a_tensor_in_hbm_is_read_back_as_it_was_stored():
    @nki.jit
    def kernel(x):
        between = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.private_hbm)
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(between[0:2], value=nl.load(x[0:2]))
        nl.store(between[2:4], value=nl.load(x[0:2]))
        nl.store(out, value=nl.load(between))
        return out

    data = data_of(record(kernel, SMALL, keep_results=True).html().fragment())
    assert data["tiles"][data["read"][4][0]][3].startswith(
        f"0 to {SMALL[1, 3]:.4g}, mean {SMALL[:2].mean():.4g}"
    )
    assert [data["partWords"][data["parts"][i][0][0]] for i in (1, 3, 5)] == [
        "from [0, 0] of 4 x 4",
        "from [2, 0] of 4 x 4",
        "",
    ]


def test_rows_that_run_time_indices_pick_are_shown_as_the_transfer_wrote_them():
    @nki.jit
    def kernel(table, rows):
        out = nl.ndarray((2, 4), dtype=table.dtype, buffer=nl.shared_hbm)
        picked = nl.load(rows)
        nl.store(out, value=nl.load(table[picked, nl.arange(4)[None, :]]))
        return out

    data = data_of(
        record(kernel, SMALL, np.array([[3], [1]], np.int32), keep_results=True).html().fragment()
    )
    assert data["partWords"][data["parts"][1][1][0]] == "elements of 4 x 4"
    assert data["read"][1] == data["written"][1]
    assert data["tiles"][data["read"][1][0]][3].endswith(
        "first row " + " ".join(f"{v:.4g}" for v in SMALL[3])
    )


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_a_second_destination_is_shown_when_it_is_written_and_when_it_is_read(masked):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((4, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        total = nl.full((4, 1), 0.0, dtype=nl.float32, name="total")
        i_p, i_f = nl.mgrid[0:4, 0:4]
        nisa.activation_reduce(
            nl.exp,
            t,
            reduce_op=nl.add,
            reduce_res=total,
            mask=i_p + 0 * i_f < 2 if masked else None,
        )
        nl.store(out, value=total)
        return out

    run = record(kernel, SMALL, keep_results=True)
    data = data_of(run.html().fragment())
    (step,) = [i for i, k in enumerate(run.instructions) if len(k.dst) == 2]
    rows = np.exp(SMALL).sum(axis=1)
    rows[2 if masked else 4 :] = 0.0
    shown = data["tiles"][data["written"][step][1]]
    assert shown[:2] == [4, 1] and f"first row {rows[0]:.4g}" in shown[3]
    stored = data["tiles"][data["read"][step + 1][0]]
    assert stored[3].startswith(f"{rows.min():.4g} to {rows.max():.4g}, ")


def test_what_two_cores_write_in_an_unknown_order_is_not_shown_as_known():
    @newer.jit
    def kernel(x):
        me = newer_nl.program_id()
        shared = newer_nl.ndarray(x.shape, dtype=x.dtype, buffer=newer_nl.shared_hbm)
        out = newer_nl.ndarray(x.shape, dtype=x.dtype, buffer=newer_nl.shared_hbm)
        mine, other = slice(me * 64, (me + 1) * 64), slice((1 - me) * 64, (2 - me) * 64)
        newer_nl.store(shared[mine], newer_nl.load(x[mine]))
        newer_isa.core_barrier(shared, (0, 1))
        tile = newer_nl.ndarray((64, 256), dtype=newer_nl.bfloat16, buffer=newer_nl.sbuf)
        newer_isa.dma_copy(tile, shared[other])  # a cast: what is written is not what was read
        newer_isa.dma_copy(out[mine], tile)
        return out

    run = record(kernel[2], X, keep_results=True)
    steps = [(i, k) for i, k in enumerate(run.instructions) if k.op == "dma_copy"]
    data = data_of(run.html().fragment())
    read = {k.srcs[0].name: data["read"][i][0] for i, k in steps if k.srcs[0].space == "hbm"}
    assert read["x"] >= 0 and read["shared"] == -1


def test_values_that_are_not_finite_are_told_and_marked():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, value=nisa.reciprocal(nl.load(x)))
        return out

    data = data_of(record(kernel, SMALL, keep_results=True).html().fragment())
    _, _, levels, words = data["tiles"][data["written"][1][0]]
    assert levels[0] == "/" and "1 of 16 not finite" in words and "first row inf" in words


def test_without_kept_results_a_page_says_how_to_see_contents():
    page = small(keep_results=False).html().fragment()
    assert "keep_results=True" in Reader(page).text
    assert "tiles" not in data_of(page)


def test_names_and_source_of_a_kernel_cannot_break_out_of_the_page():
    page = record(hostile, SMALL, keep_results=True).html().html()
    assert HOSTILE not in page and "<img src=x" not in page
    reader = Reader(page)
    assert sum(tag == "script" for tag, _ in reader.tags) == 1 == page.count("</script>")
    assert [
        attrs for tag, attrs in reader.tags if tag == "img" and not attrs["src"].startswith("data:")
    ] == []
    assert HOSTILE in reader.text
    data = data_of(page)
    assert any(o[0] == HOSTILE for kind in data["kinds"] for o in kind["dst"])
    assert any(
        '</script><script>alert("source")' in line
        for f in data["files"]
        for _, lines in f["pieces"]
        for line in lines
    )


@pytest.mark.parametrize("timed", [False, True], ids=["counted", "timed"])
def test_a_picture_and_the_text_remain_without_scripts_and_styles(timed):
    run = small()
    page = run.html(timeline=run.timeline() if timed else None)
    left = stripped(page.fragment())
    assert "<script" not in left and "<style" not in left and "display:none" not in left
    reader = Reader(left)
    (image,) = [attrs for tag, attrs in reader.tags if tag == "img"]
    svg = base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,"))
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert b"prefers-color-scheme:dark" in svg
    assert f"{len(run)} instructions" in image["alt"]
    assert not {tag for tag, _ in reader.tags} & {"input", "button"}  # nothing that would be dead
    for instruction in run.instructions:
        assert f"line {instruction.line}" in reader.text
    assert "product[128, 128] <- tile[128, 128], tile[128, 128]" in reader.text
    assert ("model" in reader.text) == timed


def test_a_timeline_gives_every_step_its_modelled_interval():
    run = small()
    timeline = run.timeline()
    data = data_of(run.html(timeline=timeline).fragment())
    words = [data["timeWords"][t] for t in data["times"]]
    for i, text in enumerate(words):
        assert text.startswith(
            f"{timeline.start[i] / 1e3:,.3f} to {timeline.busy_end[i] / 1e3:,.3f} us on "
        )
    assert [i for i, c in enumerate(data["critical"]) if c] == [
        s.index for s in timeline.critical_path
    ]


def test_a_table_load_is_told_at_its_step_drawn_in_the_lanes_and_said_in_the_text():
    run = small()
    timeline = run.timeline()
    k = next(i for i, step in enumerate(run.instructions) if step.op == "activation")
    page = run.html(timeline=timeline)
    data = data_of(page.fragment())
    since, start = timeline.since[k] / 1e3, timeline.start[k] / 1e3
    assert data["loads"] == {str(k): [round(timeline.since[k]), round(timeline.start[k])]}
    assert (f"activation table load from {since:,.3f} to {start:,.3f} us") in data["timeWords"][
        data["times"][k]
    ]
    assert f"after an activation table load from {since:.3f} us" in page.text().splitlines()[k]
    assert "an activation table is loaded" in picture_of(page.fragment())
    assert "table" not in picture_of(run.html().fragment())


def test_a_timeline_of_another_run_is_refused():
    with pytest.raises(ValueError, match="another run"):
        small().html(timeline=small().timeline())


def test_a_page_can_be_used_by_keyboard_and_read_aloud():
    page = small().html().html()
    for needed in (
        "ArrowLeft",
        "ArrowRight",
        "Home",
        "End",
        "tabIndex",
        "aria-live",
        "aria-label",
        "aria-valuetext",
        ":focus-visible",
        "prefers-color-scheme",
    ):
        assert needed in page, needed


def test_a_page_is_written_to_a_file_and_shown_by_a_notebook(tmp_path):
    path = tmp_path / "run.html"
    page = small().html(str(path))
    assert path.read_bytes() == page.html().encode()
    assert page._repr_html_() == page.fragment()
    assert repr(page) == "<Page: every_engine on trn2, 11 instructions>"


def test_the_bytes_of_a_page_do_not_depend_on_the_process():
    code = (
        "import hashlib, nkisim, tests.nkisim.views.runs as r; run = r.small(); "
        "print(hashlib.sha256(run.html(timeline=run.timeline()).html().encode()).hexdigest())"
    )
    root = Path(__file__).resolve().parents[3]
    found = set()
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        found.add(
            subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                cwd=root,
                env=environment,
            ).stdout
        )
    assert len(found) == 1


def test_a_run_that_ended_in_an_error_can_be_looked_at_up_to_there():
    @nki.jit
    def kernel(x):
        t = nl.load(x)
        raise RuntimeError(t.shape)

    with nkisim.record() as run, pytest.raises(RuntimeError):
        kernel(SMALL)
    assert data_of(run.html(timeline=run.timeline()).html())["records"] == [0]


def test_a_run_on_shapes_alone_has_a_page_without_contents():
    page = record(every_engine, X, values=False).html().html()
    assert "Recorded on shapes alone" in Reader(page).text and "tiles" not in data_of(page)


def test_iterations_that_name_their_tiles_differently_are_one_loop():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        for i in range(2000):
            mine = nl.ndarray((4, 4), dtype=nl.float32, name=f"tile{i}")
            mine[...] = nl.add(t, 1.0)
        nl.store(out, value=t)
        return out

    page = record(kernel, SMALL).html()
    assert (
        len(page.shown.records) == 5
        and ("iterations 3 to 1,999 of 2,000 are folded") in page.text()
    )


def test_a_run_of_nothing_has_a_page_too():
    page = empty().html()
    assert "0 instructions" in page.html() and "<script" not in page.html()


def test_a_hundred_thousand_instructions_make_a_small_page_that_says_what_it_folds():
    run = large()
    assert len(run) > 100_000
    page = run.html()
    html = page.html()
    assert len(html.encode()) < 5_000_000
    assert "loops are folded" in page.facts()
    data = data_of(html)
    assert data["records"][0] == 0 and data["records"][-1] == len(run) - 1
    assert any(
        "iterations 3 to 199 of 200 are folded: 985 instructions" in text
        for gap in data["gaps"].values()
        for text in gap
    )
    assert len(data["records"]) + page.shown.hidden == len(run)


class Drawn:
    """A picture of a run, as a page takes it: two boxes in turn, and an instruction without one."""

    svg, alt, width, height = '<svg xmlns="http://www.w3.org/2000/svg"/>', "Two <boxes>.", 200, 100

    def __init__(self, count):
        self.places = [None] + [(10.0 * (i % 2), 5.0, 8.0, 4.0) for i in range(1, count)]


def test_a_picture_of_the_run_is_on_the_page_with_the_box_of_every_step():
    run = small()
    page = run.html(picture=Drawn(len(run)))
    drawing = data_of(page.html())["drawing"]
    assert drawing["size"] == [200, 100] and drawing["box"][0] == -1
    boxes = [drawing["boxes"][k] for k in drawing["box"][1:]]
    assert boxes == [[10.0 * (i % 2), 5.0, 8.0, 4.0] for i in range(1, len(run))]
    assert "Two &lt;boxes&gt;." in page.html() and "The kernel as a picture" in page.html()
    assert "drawing" not in data_of(run.html().html())


def test_a_picture_of_another_run_is_refused():
    run = small()
    with pytest.raises(ValueError, match="the picture is of another run"):
        run.html(picture=Drawn(len(run) + 1))
