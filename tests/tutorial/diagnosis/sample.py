"""Which of the wrong kernels a run of the suite judges: every known mistake, and every style."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from tests.asking import thorough

EACH = 4  # of so many kernels with the same mistake one is judged


def judged(wrong: Mapping[str, tuple[int, str, Any, Any, str]]) -> list[str]:
    """The names of the wrong kernels (stage, text, changes to it, cause, words) to judge: of those
    of a stage with the same cause one in `EACH`, in the text that has been taken least often so
    far, and at least one of each text. A thorough run judges all of them."""
    if thorough():
        return list(wrong)
    alike: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for name, (stage, _, _, cause, _) in wrong.items():
        alike[stage, cause].append(name)
    taken: list[str] = []
    times: Counter[str] = Counter()

    def take(names: list[str]) -> None:
        name = min(names, key=lambda name: times[wrong[name][1]])
        names.remove(name)
        taken.append(name)
        times[wrong[name][1]] += 1

    for names in alike.values():
        for _ in range(-(-len(names) // EACH)):
            take(names)
    for name, (_, text, *_) in wrong.items():
        if not times[text]:
            take([name])
    return [name for name in wrong if name in taken]
