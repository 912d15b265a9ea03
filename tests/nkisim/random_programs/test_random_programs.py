"""Random programs of both dialects against an interpreter in float64 that shares nothing with the
simulator.

Loads, stores, views, masks, elementwise operations, reductions, matmuls, transposes, selects,
gathers, registers and loops; all data types; three targets. Each is run with values and on shapes
alone, and lowered and replayed. Here some hundreds are run;
`python -m tests.nkisim.random_programs FIRST LAST` runs as many as you like.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.nkisim.random_programs import generator, oracle, running
from tests.nkisim.random_programs.numbers import FLOATS, INTEGERS, Numbers, rounded

CHUNKS = range(0, 150, 50)


@pytest.mark.parametrize("dialect", generator.DIALECTS)
@pytest.mark.parametrize("first", CHUNKS)
def test_a_random_program_gives_what_float64_gives(dialect, first):
    for seed in range(first, first + 50):
        program = generator.program(dialect, seed)
        told = running.check(program)
        assert not told, "\n".join([*told, str(program)])


@pytest.mark.parametrize("dialect", generator.DIALECTS)
def test_the_programs_have_every_kind_of_step_type_and_target(dialect):
    programs = [generator.program(dialect, seed) for seed in range(150)]
    kinds = {step.what for p in programs for step in p.steps}
    only_here = {"nki": {"masked", "masked_load"}, "neuronxcc.nki": {"loop_rows"}}
    assert set(generator.CHOICES) - only_here[dialect] <= kinds
    dtypes = {t.dtype for p in programs for t in p.outputs}
    assert dtypes >= {*INTEGERS, *FLOATS} - {"float8_e4m3fn"}
    assert {p.target for p in programs} == set(generator.TARGETS)


@pytest.mark.parametrize("dialect", generator.DIALECTS)
def test_a_program_is_the_same_each_time(dialect):
    assert str(generator.program(dialect, 7)) == str(generator.program(dialect, 7))


def test_a_wrong_value_is_found():
    program = generator.program("nki", 3)
    arrays = [np.array(t.numbers.values) for t in program.outputs]
    assert running.differences(program, tuple(arrays)) == []
    arrays[0].flat[0] += 0.25
    assert len(running.differences(program, tuple(arrays))) == 1


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_the_oracle_rounds_as_the_types_are_defined(dtype):
    values = np.concatenate(
        [np.linspace(-9, 9, 289), np.array([0.0, 1e-3, -1e-5, 2.0**-9, 2.0**-10, 3 * 2.0**-11])]
    )
    plain = running.numpy_type(dtype)
    if dtype in INTEGERS:
        info = np.iinfo(plain)
        want = np.clip(np.rint(values), info.min, info.max)
    else:
        want = values.astype(plain).astype(np.float64)
    np.testing.assert_array_equal(rounded(values, dtype), want)


def test_the_oracle_bounds_the_error_of_a_long_sum():
    x = np.random.default_rng(0).standard_normal((4, 1000)).astype(np.float32)
    bounded = oracle.reduced("add", Numbers(x.astype(np.float64)), (1,))
    away = np.abs(x.sum(axis=1, keepdims=True, dtype=np.float32) - bounded.values)
    assert (away <= bounded.error).all()
    assert bounded.error.max() < 0.1
