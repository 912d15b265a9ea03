"""What is passed wrongly to the functions that make, place and launch kernels, and tensors that
outlive the kernel that made them: both dialects."""

from __future__ import annotations

import re
from typing import Any

import neuronxcc.nki as nki_01
import neuronxcc.nki.compiler as ncc
import neuronxcc.nki.language as nl_01
import nki as nki_06
import nki.isa as nisa_06
import nki.language as nl_06
import numpy as np
import pytest

import nkisim
from tests.nkisim.dialects.malformed_calls.wrong_values import NOT_AN_INTEGER, PLAIN

X = np.ones((64, 64), np.float32)
BOTH = pytest.mark.parametrize(
    ("nki", "nl"), [(nki_01, nl_01), (nki_06, nl_06)], ids=["neuronxcc.nki", "nki"]
)


def copied(nl: Any, body: Any = nl_06.load) -> Any:
    """A kernel that stores what `body` makes of its input."""

    def kernel(x, value=None):
        out = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, body(x))
        return out

    return kernel


def refused(call: Any, rule: str) -> nkisim.KernelError:
    with pytest.raises(nkisim.KernelError) as caught:
        call()
    assert caught.value.rule == rule, str(caught.value)
    assert not re.search(r"\b0x[0-9a-f]{6,}", str(caught.value))
    return caught.value


def outlived(nki: Any, nl: Any) -> dict[str, Any]:
    """Tensors that a kernel left behind, by name."""
    left: dict[str, Any] = {}

    def kernel(x):
        out = nl.ndarray((64, 64), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x)
        nl.store(out, t)
        left.update(x=x, t=t, out=out, part=t[0:32])
        return out

    nki.jit(kernel)(X)
    return left


@BOTH
@pytest.mark.parametrize("name", ["x", "t", "out", "part"])
def test_a_tensor_of_a_kernel_that_has_ended_is_used_by_no_other(nki, nl, name):
    old = outlived(nki, nl)[name]
    use = nl.exp if name in ("t", "part") else nl.load
    error = refused(lambda: nki.jit(copied(nl, lambda x: use(old)))(X), "outside-kernel")
    assert "another kernel" in error.headline


@BOTH
def test_a_tensor_of_a_kernel_that_has_ended_is_neither_written_nor_returned(nki, nl):
    left = outlived(nki, nl)

    def write(x):
        nl.store(left["out"], nl.load(x))
        return nl.load(x)

    def onto(x):
        left["t"][...] = nl.load(x)
        return nl.load(x)

    refused(lambda: nki.jit(copied(nl, write))(X), "outside-kernel")
    refused(lambda: nki.jit(copied(nl, onto))(X), "outside-kernel")
    refused(lambda: nki.jit(lambda x: left["out"])(X), "outside-kernel")


@BOTH
def test_a_tensor_of_a_kernel_that_has_ended_is_no_argument(nki, nl):
    left = outlived(nki, nl)
    for name in ("x", "t", "out"):
        error = refused(lambda n=name: nki.jit(copied(nl, nl.load))(left[n]), "input")
        assert "'x'" in error.headline


def test_a_register_of_another_kernel_is_no_argument():
    left = []

    def kernel(x):
        left.append(nisa_06.register_alloc(3))
        return copied(nl_06)(x)

    nki_06.jit(kernel)(X)
    refused(lambda: nki_06.jit(copied(nl_06))(X, left[0]), "input")


def test_a_tile_of_one_dialect_lives_on_in_no_kernel_of_the_other():
    old = outlived(nki_01, nl_01)["t"]
    refused(lambda: nki_06.jit(copied(nl_06, lambda x: nl_06.exp(old)))(X), "outside-kernel")


@pytest.mark.parametrize("word", [w for w in NOT_AN_INTEGER if w != "None"])
def test_bounds_and_places_are_integers(word):
    def bound(x):
        nl_01.mgrid[0 : PLAIN[word](), 0:4]

    def byte(x):
        place = ncc.sbuf.mod_alloc(base_addr=PLAIN[word]())
        nl_01.ndarray((64, 64), dtype=nl_01.float32, buffer=place)

    def bank(x):
        place = ncc.psum.mod_alloc(base_bank=PLAIN[word]())
        nl_01.ndarray((64, 64), dtype=nl_01.float32, buffer=place)

    for kernel in (bound, byte, bank):
        error = refused(lambda k=kernel: nki_01.jit(k)(X), "argument")
        assert error.line and error.filename == __file__


@BOTH
@pytest.mark.parametrize("word", ["10**30", "-1", "2.5", "nan", "a word", "[1]", "an array"])
def test_the_sizes_of_a_grid_are_counts(nki, nl, word):
    rule = "argument" if nki is nki_01 else "lnc"
    refused(lambda: nki.jit(copied(nl, nl.load))[PLAIN[word]()](X), rule)


@BOTH
@pytest.mark.filterwarnings("ignore::nkisim.RuleWarning")
@pytest.mark.parametrize("word", ["0", "a word", "an array", "[]", "{}", "a shape", "an object"])
def test_an_unknown_target_is_told(nki, nl, word):
    with pytest.raises(ValueError, match="no target"):
        nki.jit(platform_target=PLAIN[word]())(copied(nl, nl.load))(X)


@pytest.mark.parametrize("word", ["0", "a word", "an array", "[]", "{}", "an object", "None"])
def test_an_unknown_mode_is_told(word):
    with pytest.raises(ValueError, match="no mode"):
        nki_01.jit(copied(nl_01), mode=PLAIN[word]())


@BOTH
@pytest.mark.parametrize("word", ["None", "3", "a word", "an array", "[]"])
def test_what_is_no_function_becomes_no_kernel(nki, nl, word):
    simulate = nki_01.simulate_kernel if nki is nki_01 else lambda k, x: nki_06.simulate(k)(x)
    with pytest.raises(TypeError, match=r"nki\.jit decorates functions"):
        simulate(PLAIN[word](), X)
    with pytest.raises(TypeError, match="a kernel is a Python function; 'int' is none"):
        nki.jit(int)(X)


@pytest.mark.parametrize("word", ["None", "3", "True", "an object"])
def test_rules_to_warn_of_come_in_a_dictionary(word):
    with pytest.raises(TypeError, match="warn is .* not a dictionary"):
        nkisim.Config(warn=PLAIN[word]())
