"""The page: self-contained, safe, deterministic, quick, and readable where scripts and styles are stripped."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from tests.nkisim.views_runs import HOSTILE, SMALL, X, empty, every_engine, hostile, large, record, small


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
    assert all(attrs["src"].startswith("data:image/svg+xml;base64,") for _, attrs in tags if "src" in attrs)
    assert not any("href" in attrs for _, attrs in tags)


def test_the_same_run_gives_the_same_bytes_and_another_run_another_id():
    first, again = small().html(), small().html()
    assert first.html() == again.html() and first.fragment() == again.fragment()
    ids = [re.search(r'id="(run-[0-9a-f]{12})"', run.html().fragment())[1] for run in (small(), record(every_engine, X + 1, keep_results=True))]
    assert ids[0] != ids[1]


def test_no_path_of_this_machine_is_in_a_page():
    page = small().html().html()
    assert data_of(page)["files"][0]["name"] == "views_runs.py"
    folder = every_engine.function.__code__.co_filename.rpartition("/")[0]
    assert folder and folder not in page


def test_every_instruction_is_told_with_engine_operands_line_memory_and_contents():
    run = small()
    data = data_of(run.html().fragment())
    assert data["records"] == list(range(len(run)))
    for instruction, step in zip(run.instructions, data["steps"], strict=True):
        kind = data["kinds"][step]
        assert (kind["engine"], kind["op"], kind["line"]) == (instruction.engine, instruction.op, instruction.line)
        assert [o[:3] for o in kind["dst"]] == [[o.name, o.space, " x ".join(map(str, o.shape))] for o in instruction.dst]
        first, lines = next(p for p in data["files"][kind["file"]]["pieces"] if p[0] <= kind["line"] < p[0] + len(p[1]))
        assert lines[kind["line"] - first].strip() == instruction.source
    assert max(data["sbuf"]["used"]) <= data["capacity"]["sbuf"] == 224 * 1024
    assert max(data["psum"]["used"]) == 512
    assert dict(data["holders"][data["psum"]["held"][2]]) == {"product": "512 B"}


def test_contents_are_what_the_instructions_wrote_and_read():
    data = data_of(small().html().fragment())
    load, matmul, exp = (i for i, s in enumerate(data["steps"][:4]) if data["kinds"][s]["op"] in ("dma_copy", "nc_matmul", "activation"))
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
    assert [attrs for tag, attrs in reader.tags if tag == "img" and not attrs["src"].startswith("data:")] == []
    assert HOSTILE in reader.text
    data = data_of(page)
    assert any(o[0] == HOSTILE for kind in data["kinds"] for o in kind["dst"])
    assert any('</script><script>alert("source")' in line for f in data["files"] for _, lines in f["pieces"] for line in lines)


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
        assert text.startswith(f"{timeline.start[i] / 1e3:,.3f} to {timeline.busy_end[i] / 1e3:,.3f} us on ")
    assert [i for i, c in enumerate(data["critical"]) if c] == [s.index for s in timeline.critical_path]


def test_a_timeline_of_another_run_is_refused():
    with pytest.raises(ValueError, match="another run"):
        small().html(timeline=small().timeline())


def test_a_page_can_be_used_by_keyboard_and_read_aloud():
    page = small().html().html()
    for needed in ("ArrowLeft", "ArrowRight", "Home", "End", "tabIndex", "aria-live", "aria-label", "aria-valuetext",
                   ":focus-visible", "prefers-color-scheme"):
        assert needed in page, needed


def test_a_page_is_written_to_a_file_and_shown_by_a_notebook(tmp_path):
    path = tmp_path / "run.html"
    page = small().html(str(path))
    assert path.read_bytes() == page.html().encode()
    assert page._repr_html_() == page.fragment()
    assert repr(page) == "<Page: every_engine on trn2, 11 instructions>"


def test_the_bytes_of_a_page_do_not_depend_on_the_process():
    code = ("import hashlib, nkisim, tests.nkisim.views_runs as r; run = r.small(); "
            "print(hashlib.sha256(run.html(timeline=run.timeline()).html().encode()).hexdigest())")
    root = Path(__file__).resolve().parents[2]
    found = set()
    for seed in "12":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        found.add(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment).stdout)
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
    assert len(page.shown.records) == 5 and "iterations 3 to 1,999 of 2,000 are folded" in page.text()


def test_a_run_of_nothing_has_a_page_too():
    page = empty().html()
    assert "0 instructions" in page.html() and "<script" not in page.html()


def test_a_hundred_thousand_instructions_make_a_small_page_quickly_and_it_says_what_it_folds():
    run = large()
    assert len(run) > 100_000
    began = time.process_time()
    page = run.html()
    html = page.html()
    assert time.process_time() - began < 5
    assert len(html.encode()) < 5_000_000
    assert "loops are folded" in page.facts()
    data = data_of(html)
    assert data["records"][0] == 0 and data["records"][-1] == len(run) - 1
    assert any("iterations 3 to 199 of 200 are folded: 985 instructions" in text for gap in data["gaps"].values() for text in gap)
    assert len(data["records"]) + page.shown.hidden == len(run)
