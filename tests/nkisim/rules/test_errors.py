"""The two families of errors; the errors that the documentation defines; the ten that learners meet
most."""

from __future__ import annotations

import pickle
import re
from collections import namedtuple

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np
import pytest

import nkisim
from nkisim.execution.execute import execute
from nkisim.isa.core import Instruction
from nkisim.rules import errors
from nkisim.rules.errors import KernelIndexError, KernelTypeError, KernelValueError

from ..helpers import marked_line, refused, values

X = values((128, 512))


def load_q(x):
    q_tile = nl.load(x)
    return q_tile


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


# -- the errors that the 2.26 documentation defines ------------------------------------------------
def arange_1d(x):
    return nl.exp(nl.load(x)[nl.arange(64), 0])


def bias_type(x):
    return nisa.activation(nl.exp, nl.load(x), bias=nisa.memset((128, 1), 1.2, dtype=np.int8))


def scale_type(x):
    return nisa.activation(nl.exp, nl.load(x), scale=nisa.memset((128, 1), 1.2, dtype=np.float16))


def scale_shape(x):
    return nisa.activation(nl.exp, nl.load(x), scale=nisa.memset((128, 128), 1.2, dtype=np.float32))


def truth_value(x):
    return not (nl.load(x) > 0)


def assert_shape(x):
    return nl.load(x).assert_shape((128, 128))


def assign_to_index(x):
    _, f = nl.mgrid[0:1, 0:8]
    f[0, 5] = 1024


def store_to_parameter(x):
    nl.store(x, value=nl.load(x) + 1.0)
    return x


def condition_on_arange(x):
    j = 512 + nl.arange(512)[None, :]
    if j > 2048:
        pass


def indirect_on_chip_copy(x):
    tile = nl.load(x)
    index = nisa.iota(nl.arange(128)[:, None] * 0, dtype=nl.int32)
    out = nl.ndarray((128, 4), dtype=nl.float32)
    out[...] = tile[nl.arange(128)[:, None], index]


def dynamic_condition(x):
    if nl.load(x[0:1, 0:1]):
        pass


def three_axis_transpose(x):
    return nl.transpose(nl.zeros((64, 32, 2), dtype=nl.float32))


def not_a_tile(x):
    return nl.add(nl.zeros((4, nl.par_dim(8), 8), dtype=nl.float32), 32.0)


def hbm_with_value(x):
    return nl.full((3, 128), fill_value=1.0, dtype=nl.float32, buffer=nl.shared_hbm)


def indirect_transpose(x):
    index = nisa.iota(nl.arange(64)[:, None], dtype=nl.int32)
    return nl.load_transpose2d(x[index, nl.arange(512)[None, :]])


def indirect_free_axis(x):
    index = nisa.iota(nl.arange(64)[:, None], dtype=nl.int32)
    return nl.load(x[nl.arange(64)[:, None], index])


def out_of_scope(x):
    for i in range(4):
        if i < 2:
            tile = nl.load(x)
        else:
            tile = nl.load(x)
        nl.store(x, tile)


def not_returned(x: nt.mutable_tensor):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(x, nl.load(x))
    nl.store(out, nl.load(x))
    return out


def nested_grid(x):
    return nki.jit(load_q)[2](x)


def too_wide_for_memory(x):
    return nl.zeros((256, 1024), dtype=np.float32, buffer=nl.sbuf)


def unequal_partitions(x):
    return nisa.tensor_tensor(
        nl.zeros((128, 512), dtype=np.float32), nl.zeros((1, 512), dtype=np.float32), op=nl.add
    )


def output_in_a_loop(x):
    for _ in range(2):
        nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.shared_hbm)


def transpose_too_wide(x):
    return nl.transpose(nl.load(x))


def assign_larger(x):
    y = nl.zeros((128, 1), dtype=nl.float32)
    y[...] = nl.load(x)


def grid_out_of_bounds(x):
    out = nl.ndarray((128, 4000), dtype=np.float32, buffer=nl.hbm)
    for i in nl.affine_range((4000 + 511) // 512):
        tile = nl.mgrid[0:128, 0:512]
        nl.store(out[tile.p, i * 512 + tile.x], value=0)


def dead_loop(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for _ in nl.affine_range(128 // 129):
        nl.store(out, nl.load(x))
    return out


def same_place_twice(x):
    a = nl.ndarray((4, nl.par_dim(128), 512), dtype=nl.float32, buffer=nl.sbuf)
    for _ in nl.affine_range(4):
        a[0] = 0


def mask_of_remainder(x):
    return nl.load(x, mask=(nl.arange(512)[None, :] % 4) < 2)


def wrong_memory(x):
    return nl.load(nl.zeros((4, 4), dtype=nl.float32))


def mixed_subscript(x):
    return nl.exp(nl.load(x)[nl.arange(128)[:, None], :])


def while_on_a_value(x):
    value = nl.load(x[0:1, 0:1])
    while value < 10:
        value = value + 1


DOCUMENTED = {
    "err_1d_arange_not_supported": ("arange-1d", arange_1d),
    "err_activation_bias_invalid_type": ("dtype", bias_type),
    "err_activation_scale_invalid_type": ("dtype", scale_type),
    "err_activation_scale_scalar_or_vector": ("shape-mismatch", scale_shape),
    "err_ambiguous_tensor_truth_value": ("truth-value", truth_value),
    "err_annotation_shape_mismatch": ("annotation", assert_shape),
    "err_cannot_assign_to_index": ("index-assign", assign_to_index),
    "err_cannot_update_immutable_parameter": ("immutable-parameter", store_to_parameter),
    "err_control_flow_condition_depending_on_arange": ("index-condition", condition_on_arange),
    "err_dynamic_control_flow_not_supported": ("truth-value", dynamic_condition),
    "err_exceed_max_supported_dimension": ("rank-limit", three_axis_transpose),
    "err_failed_to_infer_tile_from_local_tensor": ("partition-axis", not_a_tile),
    "err_hbm_tensor_with_init_value_not_supported": ("hbm-init", hbm_with_value),
    "err_indirect_indices_are_not_supported_with_nki_api": ("indirect-index", indirect_transpose),
    "err_indirect_indices_free_dim": ("indirect-index", indirect_free_axis),
    "err_local_variable_used_out_of_scope": ("scope", out_of_scope),
    "err_mutable_parameter_not_returned": ("mutable-not-returned", not_returned),
    "err_nested_kernel_with_spmd_grid": ("nested-grid", nested_grid),
    "err_num_partition_exceed_arch_limit": ("partition-limit", too_wide_for_memory),
    "err_num_partition_mismatch": ("partition-mismatch", unequal_partitions),
    "err_shared_hbm_must_in_kernel_level": ("shared-hbm-level", output_in_a_loop),
    "err_size_of_dimension_exceed_arch_limit": ("dimension-limit", transpose_too_wide),
    "err_store_dst_shape_smaller_than_other_shape": ("assign-shape", assign_larger),
    "err_tensor_access_out_of_bound": ("out-of-bounds", grid_out_of_bounds),
    "err_tensor_output_not_written_to": ("unwritten-output", dead_loop),
    "err_unexpected_output_dependencies": ("output-dependency", same_place_twice),
    "err_unsupported_expression_in_mask": ("mask", mask_of_remainder),
    "err_unsupported_memory": ("memory", wrong_memory),
    "err_unsupported_mixing_basic_advanced_tensor_indexing": ("mixed-indexing", mixed_subscript),
    "err_while_loop_requires_unconditional_entry": ("truth-value", while_on_a_value),
}

NOT_ENFORCED = {
    "err_bias_tensor_must_be_specified_in_allocation": "addresses of allocated kernels are not "
    "simulated",
    "err_copy_dynamic_indirect_indices_not_natively_supported": "an on-chip copy by run-time "
    "indices is simulated as one copy",
    "err_leading_dimension_of_tensor_must_be_partition": "block axes are deprecated, and "
    "published kernels live on them",
    "err_nki_api_outside_of_nki_kernel": "tested below: it takes no kernel to break it",
    "err_tensor_creation_on_scratchpad_with_init_value_not_supported": "addresses of allocated "
    "kernels are not simulated",
    "err_transpose_on_tensor_engine_not_allowed_in_allocated_kernel": "addresses of allocated "
    "kernels are not simulated",
}


def test_each_of_the_36_documented_errors_is_enforced_or_listed_with_the_reason_why_not():
    assert len(DOCUMENTED) + len(NOT_ENFORCED) == 36
    assert not set(DOCUMENTED) & set(NOT_ENFORCED)
    assert all(NOT_ENFORCED.values())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_error_is_raised(name):
    rule, kernel = DOCUMENTED[name]
    x = X.copy()
    error = refused(kernel, x, rule=rule)
    assert error.filename == __file__ or rule == "annotation"
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    "call",
    [
        lambda: nl.load(X),
        lambda: nl.exp(X),
        lambda: nl.zeros((1, 1), dtype=nl.float32),
        lambda: nisa.memset((1, 1), 0, dtype=nl.float32),
        lambda: nl.program_id(0),
        lambda: next(iter(nl.affine_range(2))),
        lambda: nl.device_print("x", 1),
    ],
)
def test_functions_of_nki_are_refused_outside_a_kernel(call):
    with pytest.raises(nkisim.KernelError) as caught:
        call()
    assert caught.value.rule in ("outside-kernel", "numpy-on-tile")
    assert caught.value.filename == __file__


def test_a_tensor_kept_beyond_its_kernel_cannot_be_computed_on():
    kept = []

    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        kept.append(nl.load(x))
        nl.store(out, kept[0])
        return out

    kernel(X)
    with pytest.raises(nkisim.KernelError) as caught:
        kept[0] + 1.0
    assert caught.value.rule == "outside-kernel"


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
