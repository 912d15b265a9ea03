"""Malformed calls of every public function of both dialects.

Each function is called with one argument replaced by each of some sixty wrong values; tensors are
viewed, subscripted and computed with wrongly too. Here every twentieth of about 76,000 calls is
made; `python -m tests.nkisim.dialects.malformed_calls` makes them all.
"""

from __future__ import annotations

import pytest

import nkisim
from tests.nkisim.dialects.malformed_calls import calls, judge

BOTH = pytest.mark.parametrize("dialect", calls.DIALECTS, ids=lambda d: d.name)
SHARE = 20
DEPENDS_ON_VALUES = ["local_gather", "nc_n_gather", "gather_flattened", "sequence_bounds", "rand2"]
"""Functions that refuse indices, segments and bounds that are known at run time only."""


@BOTH
@pytest.mark.parametrize("values", [True, False], ids=["with values", "on shapes"])
def test_a_malformed_call_is_told_as_a_broken_rule_with_a_line_of_the_kernel(dialect, values):
    first = 0 if values else SHARE // 2
    faults = judge.judged(dialect, values, lambda number: number % SHARE == first)
    assert not faults, "\n".join(map(str, faults[:20]))


@BOTH
def test_a_malformed_call_is_refused_on_shapes_by_the_rule_that_refuses_it_with_values(dialect):
    chosen = range(5, 100_000, 2 * SHARE + 1)
    with_values = judge.rules_of(dialect, True, chosen.__contains__)
    on_shapes = judge.rules_of(dialect, False, chosen.__contains__)
    differ = {
        name: (rule, on_shapes[name])
        for name, rule in with_values.items()
        if rule != on_shapes[name] and not any(api in name for api in DEPENDS_ON_VALUES)
    }
    assert len(with_values) > 800
    assert differ == {}


@BOTH
def test_the_right_calls_are_taken(dialect):
    refused = {}

    def work(t):
        for api, function in dialect.functions():
            right = calls.right_arguments(dialect, api, function, t)
            attempt = calls.Attempt(api, (), calls.called(function, right))
            refused[api] = judge.told(attempt)

    judge.in_a_kernel(dialect, True, work)
    expected = {
        "neuronxcc.nki": {"operator": {"nisa.builtin_custom_op"}},
        "nki": {
            "lnc": {"nisa.core_barrier", "nisa.sendrecv"},  # one core runs
            "nl-divide": {"nl.divide"},
            "nl-modulo": {"nl.mod", "nl.fmod"},
            "operator": {"nl.average", "nl.bypass", "nl.prelu"},
        },
    }[dialect.name]
    for rule, functions in expected.items():
        for api in functions:
            assert refused.pop(api) == rule
    assert {api: rule for api, rule in refused.items() if rule != "taken"} == {}


def test_no_internal_error_stands_before_a_refusal():
    attempt = calls.Attempt("nl.exp", (("x", "an HBM tensor"),), lambda: None)

    def work(t):
        nonlocal attempt
        attempt = attempt._replace(call=lambda: t.nl.exp(t.h))
        _, error = judge.outcome(attempt)
        assert isinstance(error, nkisim.KernelError)
        assert error.__cause__ is None and error.__suppress_context__

    judge.in_a_kernel(calls.DIALECTS[0], True, work)
