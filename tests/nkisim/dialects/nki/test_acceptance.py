"""What the official simulator accepts and the compiler does not: refused or warned about, each by a
rule with a source."""

from __future__ import annotations

import warnings

import nki
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, values

X, COLUMN = values(128, 16), values(128, 1)


def warned(rule, function, *arrays):
    """The warnings by `rule`; with the rule as an error the same kernel is refused."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        function(*arrays)
    found = [
        w
        for w in seen
        if issubclass(w.category, nkisim.RuleWarning) and f"rule    {rule}: " in str(w.message)
    ]
    with (
        pytest.raises(nkisim.KernelError) as caught,
        nkisim.record(config=nkisim.Config(warn={rule: False})),
    ):
        function(*arrays)
    assert caught.value.rule == rule
    return [str(w.message) for w in found]


def test_division_is_refused_with_what_to_write_instead():
    error = refused(lambda t: nl.divide(t, t), X, rule="nl-divide")
    assert "nl.multiply(x, nl.reciprocal(y))" in error.remedy


@pytest.mark.parametrize("name", ["mod", "fmod"])
def test_remainders_are_refused(name):
    refused(lambda t: getattr(nl, name)(t, t), X, rule="nl-modulo")


def body_kernel(body):
    @nki.jit
    def kernel(*arrays):
        t = body(*[nl.load(a) for a in arrays])
        out = nl.ndarray(t.shape, dtype=t.dtype, buffer=nl.shared_hbm)
        nl.store(out, t)
        return out

    return kernel


def test_operands_of_nl_functions_that_broadcast_are_warned_about():
    kernel = body_kernel(lambda t, c: nl.subtract(t, c))
    (message,) = warned("nl-broadcast", kernel, X, COLUMN)
    assert "nisa.tensor_scalar" in message and "Known Issues" in message
    with pytest.warns(nkisim.RuleWarning):
        np.testing.assert_array_equal(kernel(X, COLUMN), X - COLUMN)


def test_a_power_with_a_number_is_warned_about():
    assert len(warned("nl-power-scalar", body_kernel(lambda t: nl.power(nl.abs(t), 2.0)), X)) == 1


def test_a_matmul_without_transpose_x_is_warned_about():
    a = values(64, 64)

    @nki.jit
    def kernel(a):
        out = nl.ndarray(a.shape, dtype=a.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.copy(nl.matmul(nl.load(a), nl.load(a))))
        return out

    assert len(warned("matmul-transpose-x", kernel, a)) == 1


SUBSET = {}


def outside(what):
    def note(function):
        SUBSET[what] = function
        return function

    return note


@outside("is and is not")
def identity(x, scale=None):
    if scale is None:
        scale = 1.0
    return x


@outside("a key that is not a string")
def numbered(x):
    sizes = {0: x.shape[0], "columns": x.shape[1]}
    assert sizes[0]
    return x


@outside("try")
def trying(x):
    try:
        return x
    finally:
        pass


@outside("a set")
def a_set(x):
    assert x.shape[0] in {128, 64}
    return x


@outside("a generator expression")
def generator(x):
    assert sum(n for n in x.shape) == 144
    return x


@outside("import")
def importing(x):
    import math  # noqa: F401

    return x


@outside("a class inside the kernel")
def a_class(x):
    class Inner:
        pass

    return x


@outside("with")
def a_context(x):
    with warnings.catch_warnings():
        return x


@outside("np.zeros(...)")
def on_the_host(x):
    np.zeros(4)
    return x


@outside("raise")
def raising(x):
    if x.shape[0] > 128:
        raise ValueError
    return x


@outside("keyword-only arguments (*)")
def separator(x, *, scale=1.0):
    return x


@pytest.mark.parametrize("what", SUBSET)
def test_python_outside_the_subset_is_warned_about_at_its_line(what):
    (message,) = warned("python-subset", nki.jit(SUBSET[what]), X)
    assert message.startswith(
        f"{SUBSET[what].__name__} uses {what}, which the NKI compiler does not take"
    )
    assert "test_acceptance.py:" in message


def test_python_inside_the_subset_is_not_warned_about():
    @nki.jit
    def kernel(x, scale=None, pick=lambda a: a):
        """A docstring."""
        sizes = [n + 0 for n in x.shape]
        named = {"rows": sizes[0]}
        named["columns"] = max(sizes[1:])
        total = 0
        while total < 3:
            total += 1
        for i, (a, b) in enumerate(zip(sizes, sizes)):
            assert a == b, f"{i}: {a} and {b}"
        if scale == None or not scale:  # noqa: E711
            print("no scale", end="")
        with nl.no_reorder():
            t = nl.load(pick(x)[0:128, :])
        nl.store(x, nl.full(t.shape, float(np.finfo(np.float32).max), dtype=nl.float32))
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel(X.copy())


def test_every_rule_of_this_dialect_names_its_source_and_grade():
    rules = [r for r in nkisim.RULES.values() if r.dialect == "nki"]
    assert len(rules) > 15
    for rule in rules:
        assert rule.source and rule.grade in ("documented", "reported", "assumed")
    assert all(rule.warnable for rule in rules if rule.advisory)


@pytest.mark.parametrize(
    ("name", "reference"), [("divide", np.divide), ("mod", np.mod), ("fmod", np.fmod)]
)
def test_division_and_remainder_are_refused_and_computed_where_the_rule_is_lowered(name, reference):
    x = np.abs(X) + 1

    def body(t):
        return getattr(nl, name)(t, nl.add(t, 0.5))

    rule = "nl-divide" if name == "divide" else "nl-modulo"
    refused(body, x, rule=rule)
    with (
        nkisim.record(config=nkisim.Config(warn={rule: True})),
        pytest.warns(nkisim.RuleWarning, match=rule),
    ):
        got = body_kernel(body)(x)
    np.testing.assert_allclose(got, reference(x, x + np.float32(0.5)), rtol=1e-5, atol=1e-5)


def test_pythons_operators_compute_where_their_rule_is_lowered():
    def body(t):
        s = -(2.0 * t + t) / (abs(t) + 1.0)
        s += 1.0
        return s

    refused(body, X, rule="tensor-operator")
    with (
        nkisim.record(config=nkisim.Config(warn={"tensor-operator": True})),
        pytest.warns(nkisim.RuleWarning, match="tensor-operator"),
    ):
        got = body_kernel(body)(X)
    np.testing.assert_allclose(got, 1 - 3 * X / (np.abs(X) + 1), rtol=1e-5, atol=1e-5)


def test_an_advisory_rule_is_silent_nowhere():
    with pytest.raises(ValueError, match="cannot be a warning"):
        nkisim.Config(warn={"view-shape": True})
    kernel = body_kernel(lambda t, c: nl.add(t, c))
    for _ in range(2):  # also where everything about the call is known already
        with pytest.warns(nkisim.RuleWarning, match="have different shapes"):
            on_tiles(lambda t, c: nl.add(t, c), X, COLUMN)
        with pytest.warns(nkisim.RuleWarning, match="have different shapes"):
            kernel(X, COLUMN)
