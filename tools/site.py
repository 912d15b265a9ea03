"""Make the whole site: the pages, the front door, and the browser edition.

    python tools/site.py [OUT] [--pyodide DIR_OR_URL] [--pages-only]

OUT is `build/site` unless another folder is named; it can be served by any server of static files.
`--pyodide` is that of `tools/browser_edition.py`. `--pages-only` leaves the browser edition out,
and the links to it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import browser_edition
import repository

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Make what the command line asks for; 0, or what failed, with its message."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", metavar="OUT", type=Path, nargs="?", default=ROOT / "build" / "site")
    parser.add_argument("--pyodide", metavar="DIR_OR_URL")
    parser.add_argument("--pages-only", action="store_true")
    options = parser.parse_args(arguments)
    edition = [] if options.pages_only else ["-D", "browser_edition=1"]
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", "docs", *edition]
    done = subprocess.run([*command, ".", str(options.out.resolve())], cwd=ROOT)
    if done.returncode:
        return done.returncode
    (options.out / ".nojekyll").touch()  # GitHub Pages would leave out folders like _static
    if not options.pages_only:
        address = repository.address()
        pages = repository.pages_of(address) if address is not None else None
        try:
            browser_edition.build(options.out / "lite", options.pyodide, address=pages)
        except browser_edition.CannotBuild as error:
            print(error, file=sys.stderr)
            return 2
    print(f"The front page is {options.out / 'index.html'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
