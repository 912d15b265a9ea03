"""The site: these pages, and the notebooks with their stored outputs.

`docs/index.md` tells how to build it.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

project = "Decode attention in NKI"
author = "The nki-decode-tutorial authors"
project_copyright = author

extensions = ["myst_nb", "site_pages"]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/*/*.md",
    "notebooks/*.ipynb",
    "tutorial/data/README.md",
    "CHANGELOG.md",
    "AGENTS.md",
    "CONTRIBUTING.md",
    "README.md",
]
# what is stored was made by executing; the tests prove that it still holds
nb_execution_mode = "off"
myst_heading_anchors = 3
templates_path = ["templates"]
myst_enable_extensions = ["dollarmath"]
html_math_renderer = "mathml"  # of tools/site_pages.py
html_theme = "furo"
html_title = project
html_show_copyright = False
html_sourcelink_suffix = ""  # a lesson's source is the notebook itself, to be downloaded
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
