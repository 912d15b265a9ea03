"""A sample of the mistakes, and of the right kernels, that were written without a look at the
tables."""

from __future__ import annotations

import pytest

from tests.tutorial.diagnosis.edits import table
from tests.tutorial.kernels import load
from tutorial import check

EVERY = 59  # the suite looks at one in so many; tools/judge_learned.py at all
WRONG = [kernel for number in range(1, 7) for kernel in table(number, "wrong")][::EVERY]
RIGHT = [kernel for number in range(1, 7) for kernel in table(number, "right")][::EVERY]


@pytest.mark.parametrize("kernel", WRONG, ids=lambda kernel: kernel.name)
def test_a_learners_wrong_kernel_is_not_accepted(kernel, tmp_path):
    verdict = check(kernel.stage, load(kernel.stage, kernel.text, tmp_path))
    assert verdict.outcome == "wrong"
    assert verdict.cause is not None


@pytest.mark.parametrize("kernel", RIGHT, ids=lambda kernel: kernel.name)
def test_a_right_kernel_in_another_style_is_accepted(kernel, tmp_path):
    verdict = check(kernel.stage, load(kernel.stage, kernel.text, tmp_path))
    assert verdict.ok, verdict.sentence
