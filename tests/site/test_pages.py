"""The pages of the site: launch links, words for pictures, cards, and nothing that is too wide."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.site.browser import ROOT, Profile, chromium, headless, served

pytest.importorskip("bs4")
sys.path.insert(0, str(ROOT / "tools"))

import site_pages
from bs4 import BeautifulSoup

import tutorial

REPOSITORY = "https://github.com/someone/some-course"
WIDTHS = (320, 375, 768, 1024, 1280, 1320, 1440, 1536, 1920)
LOOKED_AT = (
    "index",
    "404",
    "docs/index",
    "docs/learners-guide",
    "docs/anywhere",
    "docs/nbval-in-ci",
    "notebooks/stage3_online_softmax",
    "notebooks/stage7_fast",
    "docs/reference/rules",
)


def app(browser_edition: bool = False) -> Any:
    config = SimpleNamespace(browser_edition=browser_edition, project="Decode attention in NKI")
    return SimpleNamespace(config=config)


def launch_bar(browser_edition: bool) -> str:
    def pathto(name: str, resource: int) -> str:
        return f"../{name}"

    return site_pages.launch_bar(app(browser_edition), "notebooks/stage3_online_softmax", pathto)


def test_a_lesson_has_launch_download_and_repository_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_pages.repository, "address", lambda: REPOSITORY)
    links = [a["href"] for a in BeautifulSoup(launch_bar(True), "html.parser").find_all("a")]
    assert links == [
        "../lite/notebooks/index.html?path=stage3_online_softmax.ipynb",
        "../_sources/notebooks/stage3_online_softmax.ipynb",
        f"{REPOSITORY}/blob/HEAD/notebooks/stage3_online_softmax.ipynb",
    ]


def test_without_the_browser_edition_and_a_repository_there_is_no_dead_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site_pages.repository, "address", lambda: None)
    assert "lite/" not in launch_bar(False) and "blob" not in launch_bar(False)


OUTPUT = """<h2>10. The trace of your kernel</h2><div class="cell_output">
<pre>stage 3 online_softmax, input family: ascending
tile  keys</pre><img alt="../_images/a1b2.png" src="../_images/a1b2.png"></div>"""


def test_a_picture_is_described_by_what_is_printed_beside_it() -> None:
    soup = BeautifulSoup(OUTPUT, "html.parser")
    site_pages.describe_pictures(soup)
    image = soup.find("img")
    assert image is not None and str(image["alt"]).startswith(
        "Picture of: stage 3 online_softmax, input family: ascending."
    )


def test_a_picture_that_says_what_it_is_keeps_its_words() -> None:
    soup = BeautifulSoup(OUTPUT.replace("../_images/a1b2.png", "A stack", 1), "html.parser")
    site_pages.describe_pictures(soup)
    assert soup.find("img", alt="A stack") is not None


def test_an_output_that_says_nothing_yet_is_folded_and_others_are_not() -> None:
    html = (
        '<div class="cell_output"><pre>stage 3 online_softmax is not attempted yet.</pre></div>'
        '<div class="cell_output"><pre>stage 3 online_softmax: correct</pre></div>'
    )
    soup = BeautifulSoup(html, "html.parser")
    site_pages.fold_silent_outputs(soup)
    folded = soup.select("details.silent")
    assert len(folded) == 1 and "not attempted" in folded[0].get_text()


def test_a_page_has_a_card_for_whoever_shows_a_link_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_pages.repository, "address", lambda: REPOSITORY)
    body = f"<p>45 minutes · difficulty 3 of 5 · {'x' * 60}</p><p>{'The first sentence. ' * 20}</p>"
    tags = BeautifulSoup(
        site_pages.card(app(), "docs/views", {"title": "See &amp; run", "body": body}),
        "html.parser",
    )
    told = {str(tag["property"]): str(tag["content"]) for tag in tags.select("meta[property]")}
    assert told["og:title"] == "See & run"
    assert told["og:url"] == "https://someone.github.io/some-course/docs/views.html"
    assert told["og:description"].startswith("The first sentence.")
    assert len(told["og:description"]) <= 200


def test_the_front_door_shows_the_trace_of_a_run() -> None:
    header, rows = site_pages.trace_rows()
    wanted = str(tutorial.trace(3, tutorial.solution(3)).only(0)).splitlines()
    assert (header, rows) == (wanted[1], wanted[2:])
    assert site_pages.STEP_SECONDS * len(rows) < 5


# -- in Chromium -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chromium()
    pytest.importorskip("furo")
    pytest.importorskip("myst_nb")
    out: Path = tmp_path_factory.mktemp("pages")
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    with served(out) as address:
        yield address


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_page_scrolls_sideways_and_none_asks_for_anything_outside(pages: str) -> None:
    wide = []
    with headless() as browser:
        profile = Profile(browser, pages)
        page = profile.context.new_page()
        for name in LOOKED_AT:
            page.goto(f"{pages}{name}.html")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                needed = page.evaluate("() => document.documentElement.scrollWidth")
                if needed > width:
                    wide.append(f"{name}: {needed} pixels at {width}")
    assert wide == []
    assert profile.outside == []
