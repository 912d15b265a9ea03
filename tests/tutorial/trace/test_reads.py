"""The order in which a kernel takes its keys: the trace shows the keys that it read."""

from __future__ import annotations

import pytest

from tests.tutorial.kernels import changed, load, solution
from tutorial import check, trace

FORWARDS = "nl.sequential_range(n // TILE)"


def backwards(text):
    return changed(text, (FORWARDS, "reversed(range(n // TILE))"))


@pytest.mark.parametrize("number", [3, 4])
def test_tiles_taken_from_the_last_to_the_first_are_shown_so(number, tmp_path):
    found = trace(number, load(number, backwards(solution(number)), tmp_path))
    first, last = found.rows[0], [row for row in found.rows if row.head == found.rows[0].head][-1]
    assert (first.keys, last.keys) == (f"{first.last_key - 127}..{first.last_key}", "0..127")
    assert first.last_key > last.last_key
    assert found.wrong is None


def test_keys_with_a_stride_are_shown_with_it(tmp_path):
    stride = "nl.arange(d)[:, None], i + n // TILE * nl.arange(TILE)[None, :]"
    text = changed(
        solution(3),
        ("k[:, nl.ds(i * TILE, TILE)]", f"k[{stride}]"),
        ("v[:, nl.ds(i * TILE, TILE)]", f"v[{stride}]"),
    )
    found = trace(3, load(3, text, tmp_path))
    assert found.rows[1].keys == "1,9..1017"
    assert found.wrong is None


def test_a_wrong_kernel_that_goes_backwards_is_told_what_is_wrong_in_it(tmp_path):
    wrong = changed(
        backwards(solution(3)),
        (
            "op0=nl.multiply, operand0=alpha, op1=nl.add",
            "op0=nl.multiply, operand0=1.0, op1=nl.add",
        ),
    )
    verdict = check(3, load(3, wrong, tmp_path))
    assert verdict.cause == "l not rescaled"
    assert verdict.details["quantity"] == "l"
