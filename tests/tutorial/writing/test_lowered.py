"""A decode loop replays its kernel: what it writes, counts and refuses is that of direct calls."""

from __future__ import annotations

import numpy as np
import pytest

from nkisim.program import program
from tests.tutorial.kernels import changed, load, solution
from tutorial.writing import decode, lowered

PROMPT = "The rabbit-hole went"
FEW = 4
"""Tokens: with the prompt's, stage 8 begins a second block of 16 keys while it is replayed."""


@pytest.fixture
def direct_calls(monkeypatch):
    """How many calls of kernels ran directly."""
    calls = []
    call = lowered.ReplayedKernel.__call__

    def counted(self, *args, **options):
        found = call(self, *args, **options)
        if self._calls[-1].skipped is None:
            calls.append(self)
        return found

    monkeypatch.setattr(lowered.ReplayedKernel, "__call__", counted)
    return calls


def told(made):
    """All that a reader can see of a text, and all attentions to the last bit."""
    costs = [(s.hbm_bytes_read, s.transfers, s.model_us) for s in made.steps]
    attended = [o.tobytes() for step in made.steps for o in step.attended]
    return made.ids, made.report(), made.problem, made.target, costs, attended


@pytest.mark.parametrize("number", [4, 5, 7, 8])
def test_a_replayed_text_is_that_of_direct_calls_to_the_last_bit(number, direct_calls, monkeypatch):
    made = decode.generate(PROMPT, FEW, stage=number)
    some = len(direct_calls)
    monkeypatch.setattr(lowered, "TOKENS", 1000)
    assert told(made) == told(decode.generate(PROMPT, FEW, stage=number))
    layers, tokens = 3, len(PROMPT) + FEW - 1
    assert (some, len(direct_calls) - some) == (layers * 2, layers * tokens)


def test_a_kernel_that_has_no_program_is_called_for_every_token(tmp_path, direct_calls):
    text = changed(
        solution(4), ("nl.store(o[", "nl.device_print('o', o_tile)\n        nl.store(o[")
    )
    made = decode.generate(PROMPT, 3, kernel=load(4, text, tmp_path))
    assert made.ids == decode.reference(PROMPT, 3).ids
    assert len(direct_calls) == 3 * (len(PROMPT) + 2)


def test_where_a_replay_fails_the_kernel_itself_is_called(monkeypatch, direct_calls):
    def fails(self, *arrays):
        raise ValueError("not on these values")

    wanted = decode.generate(PROMPT, 3)
    run, before = program.Flat.__call__, len(direct_calls)
    replays = iter([run, *[fails] * 100])  # the first is the trial after lowering
    monkeypatch.setattr(program.Flat, "__call__", lambda self, *a: next(replays)(self, *a))
    assert told(decode.generate(PROMPT, 3)) == told(wanted)
    assert len(direct_calls) - before == 3 * (len(PROMPT) + 2)


def test_a_program_that_answers_otherwise_is_not_replayed(monkeypatch, direct_calls):
    run = program.Flat.__call__
    monkeypatch.setattr(program.Flat, "__call__", lambda self, *a: run(self, *a) * np.float32(2))
    assert decode.generate(PROMPT, 3).ids == decode.reference(PROMPT, 3).ids
    assert len(direct_calls) == 3 * (len(PROMPT) + 2)


def test_what_a_step_runs_besides_its_kernel_is_counted_too():
    other = load_other()

    def step(q, k, v, layer, position, cache, rotate, kernel):
        other(np.zeros((1, 4), np.float32))
        return decode.attention_step(q, k, v, layer, position, cache, rotate, kernel)

    costs = [s.hbm_bytes_read for s in decode.generate(PROMPT, 3, step=step).steps]
    plain = [s.hbm_bytes_read for s in decode.generate(PROMPT, 3).steps]
    assert [a - b for a, b in zip(costs, plain, strict=True)] == [3 * 16] * len(plain)


def load_other():
    """A kernel that reads 16 bytes."""
    import neuronxcc.nki as nki
    import neuronxcc.nki.language as nl

    @nki.jit
    def copied(x):
        o = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(o, value=nl.load(x))
        return o

    return copied
