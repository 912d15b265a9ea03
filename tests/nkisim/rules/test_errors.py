"""The two families of errors, and the ten that learners meet most."""

from __future__ import annotations

import pickle
import re
from collections import namedtuple

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.execution.execute import execute
from nkisim.isa.core import Instruction
from nkisim.rules import errors
from nkisim.rules.errors import KernelIndexError, KernelTypeError, KernelValueError

from ..helpers import marked_line, refused, values

X = values((128, 512))


# -- an error as an object -------------------------------------------------------------------------
def mixes_shapes(x):
    scores = nl.load(x)
    weights = nl.load(x[:, 0:100])
    return nisa.tensor_tensor(scores, weights, op=nl.add)  # breaks


@pytest.mark.smoke
def test_an_error_says_what_got_limit_remedy_tensor_line_and_rule():
    error = refused(mixes_shapes, X, rule="shape-mismatch")
    assert error.headline == (
        "nisa.tensor_tensor: 'scores' has 512 elements per partition, 'weights' has 100"
    )
    assert error.tensor == "weights"
    assert error.got == "(128, 512) float32 in sbuf and (128, 100) float32 in sbuf"
    assert "tensor_scalar" in error.remedy
    assert (error.filename, error.line) == (__file__, marked_line(mixes_shapes))
    assert error.source == "return nisa.tensor_tensor(scores, weights, op=nl.add)  # breaks"
    rows = str(error).splitlines()
    assert rows[0] == error.headline
    assert [row.split()[0] for row in rows[1:]] == ["tensor", "got", "remedy", "line", "rule"]
    assert f"test_errors.py:{error.line}: {error.source}" in str(error)


def test_errors_are_what_python_would_raise_too():
    assert isinstance(refused(lambda x: nl.load(x[:, 600]), X), KernelIndexError) and issubclass(
        KernelIndexError, IndexError
    )
    assert isinstance(refused(lambda x: np.exp(nl.load(x)), X), KernelTypeError) and issubclass(
        KernelTypeError, TypeError
    )
    assert isinstance(
        refused(lambda x: 1 if nl.load(x) else 0, X), KernelValueError
    ) and issubclass(KernelValueError, ValueError)
    assert not issubclass(nkisim.SimulatorError, nkisim.KernelError)


def test_errors_survive_pickling_with_all_they_know():
    error = refused(mixes_shapes, X)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_the_traceback_ends_in_the_simulator_and_the_line_is_the_kernels_own_through_a_helper():
    def helper(tile):
        return nl.exp(tile[:, 0:513])  # breaks

    def kernel(x):
        return helper(nl.load(x))

    assert refused(kernel, X).line == marked_line(helper)


def test_a_fault_of_the_simulator_is_called_one():
    def plan(call):
        raise KeyError("missing")

    broken = Instruction("broken", plan, "fails", "nowhere", namedtuple("attributes", ["op"]))

    def kernel(x):
        execute(broken, "nl.broken", None, (nl.load(x),), ("test",))

    with pytest.raises(nkisim.SimulatorError, match="nl.broken: KeyError"):
        nki.simulate_kernel(kernel, X)


def test_a_multi_line_call_is_blamed_on_the_line_it_starts_at():
    def kernel(x):
        scores = nl.load(x)
        total = nisa.tensor_reduce(  # breaks
            nl.add,
            scores,
            axis=0,
        )
        return total

    error = refused(kernel, X)
    assert error.line == marked_line(kernel) and error.tensor == "scores"


NAMES = [
    ("m_new = nl.load(x)", "m_new"),
    ("m_new: nt.tensor[128, 512] = nl.load(x)", "m_new"),
    ("m_new = (nl.load(x))", "m_new"),
    ("m_new = nl.exp(nl.load(x) * 2.0)", "m_new"),
    ("m_new = nl.load(x) * 2.0", "m_new"),
    ("m_new = x_tile = nl.load(x)", "m_new"),
    ("m_new = nl.ndarray((128, 512), dtype=nl.float32, name='m'); m_new[...] = nl.load(x)", "m"),
]


@pytest.mark.parametrize(("statement", "name"), NAMES)
def test_a_tensor_is_called_what_the_reader_called_it(tmp_path, statement, name):
    file = tmp_path / "kernel_file.py"
    file.write_text(
        "import neuronxcc.nki.language as nl\nimport neuronxcc.nki.typing as nt\n"
        f"def kernel(x):\n    {statement}\n    return nl.copy(m_new[:, "
        "0:513])\n",
        encoding="utf-8",
    )
    scope: dict = {}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)
    error = refused(scope["kernel"], X, rule="out-of-bounds")
    assert error.tensor in (name, "x_tile")
    assert error.line == 5


def test_the_inner_value_of_an_expression_does_not_borrow_the_name_of_the_outer_one():
    def kernel(x):
        tile = nl.load(x)
        scores = nisa.tensor_reduce(
            nl.max, nisa.tensor_tensor(tile, tile[:, 0:2], op=nl.add), axis=1
        )
        return scores

    def inner(x):
        tile = nl.load(x)
        weighted = nisa.nc_matmul(nl.exp(tile), tile)  # the stationary operand is too wide
        return weighted

    error = refused(inner, X, rule="stationary-free-limit")
    assert "weighted" not in error.headline and "nl.exp(...)" in error.tensor
    assert refused(kernel, X).tensor == "tile"


def test_a_kernel_without_a_file_still_gives_line_numbers_and_a_name_for_its_tensors():
    scope = {"nl": nl}
    exec("def kernel(x):\n    t = nl.load(x)\n    return nl.exp(t[:, 0:513])\n", scope)
    error = refused(scope["kernel"], X, rule="out-of-bounds")
    assert error.line == 3 and error.tensor and error.headline


# -- the ten errors learners meet most -------------------------------------------------------------
def wrong_element_count(x):
    out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
    row_max = nl.load(x[:, 0:4])
    nl.store(out, value=row_max)  # breaks
    return out


def out_of_bounds(x):
    for i in nl.affine_range(5):
        k_tile = nl.load(x[:, nl.ds(i * 128, 128)])  # breaks
        nl.exp(k_tile)


def too_many_partitions(x):
    k_tile = nl.load(x)  # breaks
    return k_tile


def used_before_assignment(x):
    acc = nl.ndarray((128, 512), dtype=nl.float32)
    acc[...] = nl.add(acc, nl.load(x))  # breaks
    return acc
    return acc


def stationary_too_wide(x):
    k_tile = nl.load(x)
    q_tile = nl.load(x[:, 0:1])
    return nisa.nc_matmul(stationary=k_tile, moving=q_tile)  # breaks


def too_few_dimensions(x):
    row = nl.load(x[3])  # breaks
    return row


def matmul_into_sbuf(x):
    scores = nl.ndarray((1, 512), dtype=nl.float32, buffer=nl.sbuf)
    k_tile, q_tile = nl.load(x), nl.load(x[:, 0:1])
    nisa.nc_matmul(q_tile, k_tile, dst=scores)  # breaks


def numpy_function(x):
    scores = nl.load(x)
    return np.exp(scores)  # breaks


def missing_operator(x):
    k_tile = nl.load(x)
    return k_tile @ k_tile  # breaks


LEARNERS = {
    # kernel: (rule, tensor, what the headline says, what the remedy says, input)
    wrong_element_count: (
        "dma-element-count",
        "out",
        ["(128, 1)", "128 elements", "(128, 4)", "512 elements"],
        ["Slice or reshape"],
        X,
    ),
    out_of_bounds: ("out-of-bounds", "x", ["512:640", "axis 1", "'x'"], ["trip count"], X),
    too_many_partitions: (
        "partition-limit",
        "x",
        ["256 partitions"],
        ["128 rows", "loop"],
        values((256, 4)),
    ),
    used_before_assignment: (
        "uninitialized-read",
        "acc",
        ["read before it is written", "no element"],
        ["nl.zeros", "nl.full"],
        X,
    ),
    stationary_too_wide: (
        "stationary-free-limit",
        "k_tile",
        ["stationary", "512 free elements"],
        ["moving operand", "128"],
        X,
    ),
    too_few_dimensions: ("partition-limit", "x", ["512"], ["t[i:i + 1, 0:n]"], X),
    matmul_into_sbuf: (
        "matmul-destination",
        "scores",
        ["lies in sbuf"],
        ["buffer=nl.psum", "nisa.tensor_copy"],
        X,
    ),
    numpy_function: (
        "numpy-on-tile",
        "scores",
        ["np.exp", "'scores'", "tile of the device"],
        ["nl.exp", "host"],
        X,
    ),
    missing_operator: ("operator", None, ["no operator @"], ["nl.matmul", "nisa.nc_matmul"], X),
}


@pytest.mark.smoke
@pytest.mark.parametrize("kernel", LEARNERS, ids=lambda k: k.__name__)
def test_the_errors_learners_meet_most_can_be_acted_on(kernel):
    rule, tensor, says, helps, x = LEARNERS[kernel]
    error = refused(kernel, x, rule=rule)
    assert error.line == marked_line(kernel)
    assert error.tensor == tensor
    for words in says:
        assert words in error.headline, error.headline
    for words in helps:
        assert words in error.remedy, error.remedy
    assert len(error.headline) <= 160 and error.headline.count("\n") == 0
    assert not re.search(r"\b0x[0-9a-f]{6}|<nkisim|object at", str(error))


# Of the ten, two are not errors of the simulator: the course's checks report a wrong number and
# needless HBM traffic.
def test_needless_traffic_is_counted_by_tensor():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        for i in nl.affine_range(4):
            nl.store(out[:, nl.ds(128 * i, 128)], nl.load(x)[:, nl.ds(128 * i, 128)])
        return out

    with nkisim.record() as run:
        kernel(X)
    assert run.hbm_reads == {"x": 4 * X.nbytes} and run.hbm_writes == {"out": X.nbytes}


def test_an_error_with_a_limit_has_a_remedy_even_where_the_instruction_has_none_of_its_own():
    error = refused(
        nki.jit(lambda x: nisa.tensor_copy(nl.load(x), engine=nisa.tensor_engine)), X, rule="engine"
    )
    assert error.limit == "vector, scalar, gpsimd"
    assert "leave engine= out" in error.remedy
    assert f"  remedy  {error.remedy}\n" in str(error)


def test_a_noun_after_a_count_of_one_is_in_the_singular():
    told = {
        "'a' has 1 partitions, 'b' has 12": "'a' has 1 partition, 'b' has 12",
        "1 elements per partition, 11 elements": "1 element per partition, 11 elements",
        "axes [2] for 1 axes": "axes [2] for 1 axis",
        "1 instructions\n  1 DMA transfers": "1 instruction\n  1 DMA transfer",
        "p // 128 + 1 tiles, 0.1 bytes, -1 rows": "p // 128 + 1 tiles, 0.1 bytes, -1 rows",
    }
    assert {text: errors.singular(text) for text in told} == told
    assert "'x' has 1 partition" in str(errors.KernelError("rank", "'x' has 1 partitions"))
