"""The site: these pages, and the notebooks with their stored outputs. `docs/index.md` tells how to
build it."""

project = "Decode attention in NKI"
author = "The nki-decode-tutorial authors"
project_copyright = author

extensions = ["myst_nb"]
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
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = project
html_show_copyright = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
