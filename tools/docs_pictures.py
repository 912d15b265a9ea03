"""Write docs/pictures.md and its drawings: the machine and the data of every stage.

python tools/docs_pictures.py            rewrite what is out of date
python tools/docs_pictures.py --check    change nothing; exit status 1 if something is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # so that the script also runs in a checkout that is not installed

from tutorial import pictures  # noqa: E402
from tutorial.pictures import Picture  # noqa: E402

PAGE = ROOT / "docs" / "pictures.md"
FOLDER = ROOT / "docs" / "pictures"
INTRODUCTION = """\
# Pictures

The machine and the data of each stage, drawn from sizes by `tutorial.pictures`. In a notebook, call
the function with your own sizes, for instance `pictures.groups(32, 8)`. `print` gives the same in
words, and `.save("x.svg")` writes the file. `picture(3, my_kernel)` draws your own kernel: what it
reads from HBM, and each instruction with the tile that it writes. `pictures.of_run(run)` draws any
run that you recorded with `nkisim.record()`.
"""


def shown() -> list[tuple[str, str, str, Picture]]:
    """Every picture of the page: its file, the stage and heading, the call, the drawing."""
    return [
        ("memories", "The machine", "memories()", pictures.memories()),
        ("stored", "Stage 1: operands in SBUF", "stored(64, 128)", pictures.stored(64, 128)),
        ("matmul", "Stage 1: a matmul", "matmul(64, 1, 128)", pictures.matmul(64, 1, 128)),
        ("transpose", "Stage 1: a transpose", "transpose(1, 128)", pictures.transpose(1, 128)),
        ("passes", "Stage 2: three passes, and one", "passes(8)", pictures.passes(8)),
        (
            "rescale",
            "Stage 3: the rescale by alpha",
            "rescale([0, 1, 2], [2, 3, 4])",
            pictures.rescale([0, 1, 2], [2, 3, 4]),
        ),
        ("groups", "Stage 4: heads", "groups(8, 2)", pictures.groups(8, 2)),
        (
            "ragged",
            "Stage 5: a batch",
            "ragged([1, 127, 128, 129, 0], 256)",
            pictures.ragged([1, 127, 128, 129, 0], 256),
        ),
        ("splits", "Stage 6: splits and their merge", "splits(5, 4)", pictures.splits(5, 4)),
        (
            "packings",
            "Stage 7: rungs 5, 6 and 7",
            "packings(32, 8, 8192)",
            pictures.packings(32, 8, 8192),
        ),
        ("padded", "Stage 7: rung 6", "padded(8, 2)", pictures.padded(8, 2)),
        ("key_places", "Stage 7: where a key lies", "key_places(3)", pictures.key_places(3)),
        (
            "block_table",
            "Stage 8: a block table",
            "block_table([[5, 2, 0], [5, 3, 99]], [10, 6], 4, 6)",
            pictures.block_table([[5, 2, 0], [5, 3, 99]], [10, 6], 4, 6),
        ),
        (
            "accumulated",
            "Stage 9: PSUM adds",
            "accumulated([[1, 2], [3, 0]])",
            pictures.accumulated([[1, 2], [3, 0]]),
        ),
        ("cache", "Stage 10: a cache in whole tiles", "cache(200)", pictures.cache(200)),
    ]


def files() -> dict[Path, str]:
    """Every file that this script writes, and its text."""
    parts = [INTRODUCTION]
    made = {}
    for name, heading, call, picture in shown():
        alt = picture.alt.replace("[", "(").replace("]", ")")
        parts.append(f"## {heading}\n\n`pictures.{call}`\n\n![{alt}](pictures/{name}.svg)\n")
        made[FOLDER / f"{name}.svg"] = picture.svg
    return {PAGE: "\n".join(parts), **made}


def main(arguments: list[str]) -> int:
    """Write what is out of date, or with --check only say so."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    stale = [
        path
        for path, text in files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of date" if arguments else f"{path.name}: written")
        if not arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files()[path], encoding="utf-8", newline="\n")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
