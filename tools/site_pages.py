"""What the site has beyond its pages of text: a front door, launch links, cards, pictures in words.

A Sphinx extension; `docs/conf.py` names it. The value `browser_edition` says whether the lessons
have a "Run in the browser" link: `tools/site.py` builds that edition and sets it.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import latex2mathml.converter
from bs4 import BeautifulSoup, Tag
from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import repository  # noqa: E402

import tutorial  # noqa: E402

SENTENCE = (
    "Eleven lessons in which you write the decode attention of a language model in the Neuron "
    "Kernel Interface, and a simulator that runs your kernels on any laptop."
)
SILENT = re.compile(r"not attempted|No answer yet")
_PATH = re.compile(r"\S*\.(?:png|svg|jpe?g)")
_CAPTION = 'class="caption" role="heading"'
STEP_SECONDS = 0.55  # the moving trace ends in under five seconds, so it needs no pause button


# -- the front door and the page for what is not there ---------------------------------------------
def trace_rows() -> tuple[str, list[str]]:
    """The header and the lines of stage 3's state trace, from a run of its solution; of the twin
    where the solutions are not here."""
    lesson = tutorial.get(3)
    try:
        tutorial.solution_text(3)
        kernel: Any = tutorial.solution(3)
    except tutorial.StageError:
        kernel = lesson.twin
    lines = str(tutorial.trace(lesson, kernel).only(0)).splitlines()
    return lines[1], lines[2:]


def front_pages(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages that are made of a template alone."""
    header, rows = trace_rows()
    lessons = [
        {"number": s.number, "name": s.name, "file": s.file_name, "idea": s.idea}
        for s in tutorial.stages()
    ]
    shared = {
        "sentence": sentence(app.config.browser_edition),
        "browser_edition": app.config.browser_edition,
        "repository": repository.address(),
        "lessons": lessons,
    }
    trace = {"trace_header": header, "trace_rows": rows, "step": STEP_SECONDS}
    yield "index", {**shared, **trace, "title": app.config.project}, "front.html"
    yield "404", {**shared, "title": "Not found"}, "404.html"


# -- what is added to the pages --------------------------------------------------------------------
def finish_page(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Add the launch bar of a lesson, the words for its pictures, and the page's card."""
    context["metatags"] = context.get("metatags", "") + card(app, pagename, context)
    for part in ("body", "furo_navigation_tree"):  # a heading's level is not left to be guessed
        if part in context:
            context[part] = context[part].replace(_CAPTION, f'{_CAPTION} aria-level="2"')
    if "body" not in context or not pagename.startswith("notebooks/"):
        return
    soup = BeautifulSoup(context["body"], "html.parser")
    describe_pictures(soup)
    fold_silent_outputs(soup)
    heading = soup.find("h1")
    if isinstance(heading, Tag):
        bar = BeautifulSoup(launch_bar(app, pagename, context["pathto"]), "html.parser")
        heading.insert_after(bar)
    context["body"] = str(soup)


def launch_bar(app: Any, pagename: str, pathto: Any) -> str:
    """The links of a lesson: run, download, source. `pathto` leads to a file of the site."""
    name = pagename.partition("/")[2]
    links = []
    if app.config.browser_edition:
        where = pathto(f"lite/notebooks/index.html?path={name}.ipynb", 1)
        links.append(f'<a class="run" href="{where}">Run in the browser</a>')
    source = pathto(f"_sources/{pagename}.ipynb", 1)
    links.append(f'<a href="{source}" download="{name}.ipynb">Download the notebook</a>')
    address = repository.address()
    if address is not None:
        links.append(f'<a href="{address}/blob/HEAD/{pagename}.ipynb">In the repository</a>')
    number = re.sub(r"\D", "", name.partition("_")[0])
    status = f'<span class="solved" data-stage="{number}" hidden>Solved in this browser</span>'
    return f'<p class="launch">{" ".join(links)} {status}</p>'


def card(app: Any, pagename: str, context: dict[str, Any]) -> str:
    """The OpenGraph tags of a page, for whoever shows a link to it."""
    title = re.sub(r"<[^>]+>", "", str(context.get("title", app.config.project)))
    told = {
        "og:type": "website" if pagename == "index" else "article",
        "og:site_name": app.config.project,
        "og:title": html.unescape(title),
        "og:description": described(context),
    }
    address = repository.address()
    pages = repository.pages_of(address) if address is not None else None
    if pages is not None:
        told["og:url"] = f"{pages}{'' if pagename == 'index' else f'{pagename}.html'}"
    tags = [f'<meta property="{k}" content="{html.escape(v)}" />' for k, v in told.items()]
    tags.append(f'<meta name="description" content="{html.escape(told["og:description"])}" />')
    return "\n".join(["", *tags, '<meta name="twitter:card" content="summary" />'])


def sentence(browser_edition: bool) -> str:
    """What the front door says first; only with the browser edition can a kernel run in a page."""
    return SENTENCE.replace("laptop.", "laptop, or in this page.") if browser_edition else SENTENCE


def described(context: dict[str, Any]) -> str:
    """The first sentences of a page, 200 characters at most."""
    soup = BeautifulSoup(str(context.get("body", "")), "html.parser")
    texts = (" ".join(p.get_text().split()) for p in soup.find_all("p"))
    found = next((text for text in texts if len(text) > 60 and " · " not in text), SENTENCE)
    return found if len(found) <= 200 else f"{found[:197].rsplit(' ', 1)[0]}..."


def describe_pictures(soup: BeautifulSoup) -> None:
    """Give every picture of an output words: what it is a picture of, and where its numbers are."""
    for image in soup.select(".cell_output img"):
        told = str(image.get("alt", ""))
        if told and not _PATH.fullmatch(told):  # Sphinx's words are the path of the file
            continue
        image["alt"] = words_for(image)


def words_for(image: Tag) -> str:
    """The title of the text that a cell prints beside its picture, or the lesson's last heading."""
    cell = image.find_parent(class_="cell_output")
    text = cell.find("pre") if isinstance(cell, Tag) else None
    if isinstance(text, Tag) and text.get_text().strip():
        title = text.get_text().strip().splitlines()[0].rstrip(":.")
        return f"Picture of: {title}. The text printed beside it holds the same numbers."
    heading = image.find_previous(["h2", "h3"])
    about = heading.get_text().rstrip("#\N{PILCROW SIGN}").strip() if heading else "the cell above"
    return f"Picture made by the cell above, in the part {about!r}."


def fold_silent_outputs(soup: BeautifulSoup) -> None:
    """Fold the outputs of exercises that say nothing before the reader has worked on them."""
    for output in soup.select(".cell_output"):
        text = output.get_text()
        if not SILENT.search(text) or output.find("img") or len(text.splitlines()) > 24:
            continue
        folded = soup.new_tag("details", attrs={"class": "silent"})
        summary = soup.new_tag("summary")
        summary.string = "What it prints before you have answered"
        output.wrap(folded)
        folded.insert(0, summary)


# -- formulas as MathML: a browser draws it alone, so no script is fetched from elsewhere ----------
def inline_formula(page: Any, node: nodes.math) -> None:
    page.body.append(latex2mathml.converter.convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(page: Any, node: nodes.math_block) -> None:
    drawn = latex2mathml.converter.convert(node.astext(), display="block")
    page.body.append(f'<div class="math">{drawn}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.add_config_value("browser_edition", False, "html", [bool])
    app.connect("html-collect-pages", front_pages)
    app.connect("html-page-context", finish_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
