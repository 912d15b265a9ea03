"""The pages of the site: launch links, words for pictures, cards; and in Chromium their width,
their weight, the keyboard and axe-core."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.site.browser import ROOT, Profile, axe, chromium, headless, served

# what the site is made with: the extra `docs`
pytest.importorskip("bs4")
pytest.importorskip("docutils")
pytest.importorskip("latex2mathml")
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
    "docs/challenge",
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
    told = "8 query heads share 2 KV heads: head h uses KV head h // 4."
    soup = BeautifulSoup(OUTPUT.replace("../_images/a1b2.png", told, 1), "html.parser")
    site_pages.describe_pictures(soup)
    assert soup.find("img", alt=told) is not None


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


def test_the_front_door_offers_to_run_kernels_in_the_page_only_where_that_is_there() -> None:
    assert "in this page" in site_pages.sentence(browser_edition=True)
    assert "in this page" not in site_pages.sentence(browser_edition=False)


def test_the_front_door_has_a_first_step_for_each_reader() -> None:
    front = (ROOT / "docs" / "templates" / "front.html").read_text(encoding="utf-8")
    doors = {a.get_text(): a["href"] for a in BeautifulSoup(front, "html.parser").select("a.door")}
    for page in ("anywhere", "instructors-guide", "simulator-guide"):
        assert f"docs/{page}.html" in doors.values()
    assert doors["Contribute"] == "CONTRIBUTING.html"


# -- in Chromium -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chromium()
    pytest.importorskip("furo")
    pytest.importorskip("myst_nb")
    out: Path = tmp_path_factory.mktemp("pages")
    site = ROOT / "build" / "site"  # where it was made before: Sphinx makes what has changed since
    if (site / ".doctrees").is_dir():
        shutil.copytree(site, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("lite"))
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(built: Path) -> Iterator[str]:
    with served(built) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with headless() as found:
        yield found


@pytest.fixture
def profile(browser: Any, pages: str) -> Iterator[Profile]:
    """A fresh profile, of which nothing stays."""
    made = Profile(browser, pages)
    yield made
    made.context.close()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_page_scrolls_sideways_and_none_asks_for_anything_outside(profile: Profile) -> None:
    wide = []
    page = profile.context.new_page()
    for name in LOOKED_AT:
        page.goto(f"{profile.address}{name}.html")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            needed = page.evaluate("() => document.documentElement.scrollWidth")
            if needed > width:
                wide.append(f"{name}: {needed} pixels at {width}")
    assert wide == []
    assert profile.outside == []


MOST_OF_A_LESSON, MOST_OF_THE_SITE = 2e6, 40e6  # bytes; the browser's kernel is not among them


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lesson_loads_less_than_two_megabytes(browser: Any, pages: str) -> None:
    opened, heavy = {}, {}
    for lesson in tutorial.stages():  # all at once, so that they come to rest at once
        page = Profile(browser, pages).context.new_page()
        sizes: list[int] = []
        page.on("requestfinished", lambda r, to=sizes: to.append(r.sizes()["responseBodySize"]))
        page.goto(f"{pages}notebooks/{lesson.file_name}.html", wait_until="commit")
        opened[lesson.file_name] = (page, sizes)
    for name, (page, sizes) in opened.items():
        page.wait_for_load_state("networkidle")
        heavy[name] = sum(sizes)
        page.context.close()
    assert {name: size for name, size in heavy.items() if size > MOST_OF_A_LESSON} == {}
    assert min(heavy.values()) > 1e5, "the pages were not measured"


@pytest.mark.browser
@pytest.mark.slow
def test_the_pages_are_far_below_what_the_site_may_weigh(built: Path) -> None:
    assert sum(f.stat().st_size for f in built.rglob("*") if f.is_file()) < MOST_OF_THE_SITE / 2


CONTROLS = """
() => [...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')]
    .filter(e => e.checkVisibility({ visibilityProperty: true, opacityProperty: false })
        && e.getClientRects().length && !e.disabled && e.tabIndex >= 0
        && getComputedStyle(e).visibility === 'visible')
    .map((e, i) => { e.dataset.control = i; return e.outerHTML.slice(0, 120); })
"""
FOCUSED = """
() => {
    const e = document.activeElement, style = getComputedStyle(e);
    const seen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
    return [e === document.body ? -1 : Number(e.dataset.control ?? -2), seen];
}
"""


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["index", "notebooks/stage3_online_softmax"])
def test_the_tab_key_reaches_every_control_and_its_focus_is_seen(
    profile: Profile, name: str
) -> None:
    page = profile.context.new_page()
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{profile.address}{name}.html", wait_until="networkidle")
    controls = page.evaluate(CONTROLS)
    reached, unseen = set(), []
    for _ in range(len(controls) + 20):
        page.keyboard.press("Tab")
        number, seen = page.evaluate(FOCUSED)
        if number == -1:
            break
        reached.add(number)
        if not seen and number >= 0:
            unseen.append(controls[number])
    assert len(controls) > 15
    assert [text for i, text in enumerate(controls) if i not in reached] == []
    assert unseen == []


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_stepper_of_a_lesson_is_moved_by_keys(profile: Profile) -> None:
    page = profile.context.new_page()
    page.goto(f"{profile.address}notebooks/stage3_online_softmax.html", wait_until="networkidle")
    slider = page.get_by_role("slider", name="tile").first
    slider.focus()
    shown = slider.locator("xpath=..").locator("output")
    said = [shown.text_content()]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home"):
        page.keyboard.press(key)
        said.append(shown.text_content())
    numbers = [int(str(text).split()[0]) for text in said]
    assert numbers[:4] == [1, 2, 3, 2] and numbers[4] > 3 and numbers[5] == 1


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_a_page(browser: Any, pages: str, scheme: str) -> None:
    script = axe().read_text(encoding="utf-8")
    found = []
    still = {"color_scheme": scheme, "reduced_motion": "reduce"}  # nothing is half faded in
    page = Profile(browser, pages, **still).context.new_page()
    for name in ("index", "docs/index", "docs/challenge", "notebooks/stage3_online_softmax"):
        page.goto(f"{pages}{name}.html", wait_until="networkidle")
        page.evaluate(script)
        answer = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
        found += [
            f"{name}: {each['id']}: {each['nodes'][0]['html'][:120]}"
            for each in answer["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    page.context.close()
    assert found == []
