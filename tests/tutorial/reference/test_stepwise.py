"""A text executed line by line leaves the names that it leaves when it is executed as a whole."""

from __future__ import annotations

import pytest

from tutorial.reference import stepwise

TEXTS = {
    "loops in loops": """\
total = 0
for a in range(3):
    for t, (x, y) in enumerate([(1, 2), (a, 4)]):
        total = total + a * t * x + y
    seen = total
last = t
""",
    "a loop over nothing": "kept = 1\nfor x in []:\n    kept = 2\n",
    "a function that calls itself, with lines of its own": """\
def joined(lo, hi):
    if hi - lo == 1:
        return [lo]
    return joined(lo, (lo + hi) // 2) + joined((lo + hi) // 2, hi)
found = joined(0, 5)
""",
    "a while loop, and steps on one line": """\
n = 7; steps = 0
while n > 1:
    n = n // 2
    steps = steps + 1
""",
    "what a comprehension reads": "keys = [3, 1]\nmost = max(x for x in keys if x in keys)\n",
}


def _unchanged(line: str) -> str:
    return line


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_leaves_the_same_names_line_by_line_as_in_one(name):
    whole: dict[str, object] = {}
    exec(TEXTS[name], whole)
    known: dict[str, object] = {}
    stepwise.run(stepwise.steps(TEXTS[name], _unchanged), known)
    given = {"__builtins__", "item", "joined"}
    assert {k: v for k, v in known.items() if k not in given} == {
        k: v for k, v in whole.items() if k not in given
    }


def test_a_line_is_executed_as_what_is_given_for_it():
    known: dict[str, object] = {}
    made = stepwise.steps(
        "for x in [1, 2]:\n    y = x\n", lambda line: line.replace("y = x", "y = -x")
    )
    stepwise.run(made, known)
    assert known["y"] == -2
