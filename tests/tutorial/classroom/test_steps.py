"""Stage 10's step at a distance: what the judge adds to the kernel's answers, and takes away."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tutorial.classroom import protocol
from tutorial.classroom.steps import HeldStep

HEADS, D = 4, 16
ORDER = np.array([2, 0, 3, 1])


class Held:
    """A child whose step asks the kernel once, and does with the answer what it is told to."""

    told = False

    def __init__(self, made: Callable[[Any], Any]) -> None:
        self.made = made
        self.cache: list[Any] = []

    def exchange(self, header: dict[str, Any], *blobs: bytes) -> tuple[dict[str, Any], list[bytes]]:
        given = protocol.arrays(header["arrays"], list(blobs))
        if header.get("do") == "step":
            self.cache = given[3:]
            said, parts = protocol.described([given[0], given[3], given[4]])
            return {**said, "ask": "kernel", "scale": 1.0}, parts
        (answer,) = given
        said, parts = protocol.described([self.made(answer), *self.cache])
        return {**said, "dtype": "float32"}, parts

    def check(self, reply: dict[str, Any]) -> None:
        """It says nothing."""


def output(answer: Any, made: Callable[[Any], Any]) -> Any:
    """What the judge takes for the step's output where the kernel answers this."""
    x = np.zeros((HEADS, D), np.float32)
    cache = SimpleNamespace(
        k=np.zeros((1, 1, D, 8), np.float32), v=np.zeros((1, 1, D, 8), np.float32)
    )
    step = HeldStep(Held(made), "attention_step")
    return step(x, x, x, 0, 0, cache, None, lambda q, k, v, softmax_scale: answer)


@pytest.fixture
def answer() -> Any:
    """An answer of the kernel, a padding column at its end."""
    return np.random.default_rng(3).standard_normal((HEADS, D + 1), np.float32)


def test_an_answer_that_is_handed_on_is_the_kernels(answer):
    found = output(answer, lambda o: o[:, :D].reshape(-1))
    assert np.array_equal(found, answer[:, :D].reshape(-1))


def test_heads_in_another_order_keep_their_own_numbers(answer):
    found = output(answer, lambda o: o[ORDER, :D].reshape(-1))
    assert np.array_equal(found, answer[ORDER, :D].reshape(-1))


def test_an_answer_that_is_made_elsewhere_misses_what_was_added(answer):
    found = output(answer, lambda o: answer[:, :D].reshape(-1))
    assert (abs(found - answer[:, :D].reshape(-1)).max(axis=0) > 0.1).all()


def test_what_is_not_a_steps_answer_is_not_taken_for_one(answer):
    held = Held(lambda o: o)
    held.cache = []
    held.exchange = lambda header, *blobs: ({"arrays": []}, [])  # type: ignore[method-assign]
    x = np.zeros((HEADS, D), np.float32)
    cache = SimpleNamespace(
        k=np.zeros((1, 1, D, 8), np.float32), v=np.zeros((1, 1, D, 8), np.float32)
    )
    with pytest.raises(protocol.Broken, match="without its output"):
        HeldStep(held, "attention_step")(x, x, x, 0, 0, cache, None, None)
