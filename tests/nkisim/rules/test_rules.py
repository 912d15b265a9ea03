"""Every rule has a kernel that breaks it; what it says can be acted on; its nearest legal neighbour
passes."""

from __future__ import annotations

import inspect
import warnings

import ml_dtypes
import neuronxcc.nki as nki
import neuronxcc.nki.compiler as ncc
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np
import pytest

import nkisim
from nkisim.rules import RULES
from tests.asking import of_each

X = np.arange(128 * 512, dtype=np.float32).reshape(128, 512) / 1000


# -- the kernels: each breaks the rule in the comment "# here" -------------------------------------
def partition_limit(x):
    t = nl.zeros((256, 4), dtype=nl.float32)  # here
    return t


def psum_bank(x):
    t = nl.zeros((128, 1024), dtype=nl.float32, buffer=nl.psum)  # here
    return t


def stationary_free_limit(x):
    t = nl.load(x)
    return nisa.nc_matmul(t[:, 0:256], t)  # here


def moving_free_limit(x):
    t = nl.zeros((128, 1024), dtype=nl.float32)
    return nisa.nc_matmul(t[:, 0:128], t)  # here


def free_size_limit(x):
    t = nl.ndarray((1, 66000), dtype=nl.bfloat16)
    return nl.exp(t)  # here


def dimension_limit(x):
    t = nl.load(x)
    return nisa.nc_transpose(t)  # here


def rank(x):
    return nl.load_transpose2d(x[0])  # here


def one_axis_tile(x):
    t = nl.ndarray((128,), dtype=nl.float32)  # here
    t[...] = nl.load(x[:, 0:1])
    return t


def inserted_copy(x):
    t = nl.load(x)
    turned = nisa.nc_transpose(t[:, 0:128])
    return nisa.nc_matmul(turned, t)  # here


def rearranged_access(x):
    t = nl.load(x)
    return nisa.tensor_tensor(t, t[:, 0:1], op=nl.add)  # here


def rank_limit(x):
    t = nl.zeros((64, 32, 2), dtype=nl.float32)
    return nl.transpose(t)  # here


def partition_axis(x):
    t = nl.zeros((4, nl.par_dim(8), 8), dtype=nl.float32)
    return nl.add(t, 32.0)  # here


def partition_mismatch(x):
    t = nl.load(x)
    one = nl.load(x[0:1, :])
    return nisa.tensor_tensor(t, one, op=nl.add)  # here


def shape_mismatch(x):
    t = nl.load(x)
    return nisa.tensor_tensor(t, t[:, 0:100], op=nl.add)  # here


def contraction_mismatch(x):
    t = nl.load(x)
    return nisa.nc_matmul(t[0:64, 0:128], t)  # here


def dma_element_count(x):
    out = nl.ndarray((128, 256), dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.load(x)
    nl.store(out, value=t)  # here
    return out


def assign_shape(x):
    t = nl.load(x)
    column = nl.zeros((128, 1), dtype=nl.float32)
    column[...] = t  # here


def memory(x):
    return nl.exp(x)  # here


def matmul_destination(x):
    t = nl.load(x)
    dst = nl.ndarray((128, 512), dtype=nl.float32)
    nisa.nc_matmul(dst=dst, stationary=t[:, 0:128], moving=t)  # here


def matmul_bank(x):
    t = nl.load(x)
    tile = nl.ndarray((128, 2, 300), dtype=nl.float32, buffer=nl.psum)
    tile[:, 0, :] = nisa.nc_matmul(t[:, 0:128], t[:, 0:300])
    tile[:, 1, :] = nisa.nc_matmul(t[:, 0:128], t[:, 0:300])  # here


def two_psum_inputs(x):
    t = nl.load(x)
    a = nisa.nc_matmul(t[:, 0:128], t)
    b = nisa.nc_matmul(t[:, 0:128], t)
    return nisa.tensor_tensor(a, b, op=nl.add)  # here


def gpsimd_psum(x):
    t = nl.load(x)
    a = nisa.nc_matmul(t[:, 0:128], t)
    return nisa.tensor_copy(a, engine=nisa.gpsimd_engine)  # here


def start_partition(x):
    t = nl.load(x)
    return nl.exp(t[1:2, :])  # here


def sbuf_capacity(x):
    return nl.zeros((128, 60000), dtype=nl.float32)  # here


def psum_capacity(x):
    t = nl.load(x)
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tiles = [nisa.nc_matmul(t[:, 0:128], t) for _ in range(9)]  # here
    total = nl.zeros((128, 512), dtype=nl.float32)
    for tile in tiles:
        total[...] = nl.add(total, tile)
    nl.store(out, total)
    return out


def hbm_init(x):
    return nl.zeros((128, 4), dtype=nl.float32, buffer=nl.hbm)  # here


def shared_hbm_level(x):
    for _ in nl.affine_range(2):
        nl.ndarray((128, 4), dtype=nl.float32, buffer=nl.shared_hbm)  # here


def dtype(x):
    t = nl.load(x)
    bias = nl.zeros((128, 1), dtype=nl.int8)
    return nisa.activation(nl.exp, t, bias=bias)  # here


def operator(x):
    t = nl.load(x)
    return nisa.tensor_tensor(t, t, op=nl.exp)  # here


def engine(x):
    t = nl.load(x)
    return nisa.tensor_tensor(t, t, op=nl.maximum, engine=nisa.gpsimd_engine)  # here


def uninitialized_read(x):
    t = nl.ndarray((128, 512), dtype=nl.float32)
    return nl.exp(t)  # here


def unwritten_output(x):
    out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)  # here
    nl.store(out[:, 0:256], nl.load(x[:, 0:256]))
    return out


def argument(x):
    return nl.exp(nl.load(x), fast=True)  # here


def out_of_bounds(x):
    return nl.load(x[:, 500:600])  # here


def negative_index(x):
    return nl.load(x[:, -1])  # here


def arange_1d(x):
    t = nl.load(x)
    return nl.exp(t[nl.arange(64), 0])  # here


def mixed_indexing(x):
    t = nl.load(x)
    return nl.exp(t[nl.arange(128)[:, None], :])  # here


def index_assign(x):
    grid = nl.arange(8)[None, :]
    grid[0, 5] = 3  # here


def mask(x):
    t = nl.load(x)
    return nl.exp(t, mask=(nl.arange(512)[None, :] % 4) < 2)  # here


def indirect_index(x):
    rows = nl.load(x[0:8, 0:1], dtype=nl.int32)
    return nl.load_transpose2d(x[rows, nl.arange(128)[None, :]])  # here


def partition_stride(x):
    t = nl.load(x)
    return nl.exp(t[0:128:2, :])  # here


def numpy_on_tile(x):
    return np.exp(nl.load(x))  # here


def truth_value(x):
    t = nl.load(x)
    if t[0:1, 0:1] > 0:  # here
        return t


def argument_truth(x):
    if x:  # here
        return nl.load(x)


def mask_truth(x):
    i_p, i_f = nl.arange(128)[:, None], nl.arange(512)[None, :]
    return nl.load(x[i_p, i_f], mask=(i_p < 8 and i_f < 8))  # here


def index_condition(x):
    if nl.arange(4)[:, None] > 2:  # here
        return x


def scope(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for _ in nl.sequential_range(2):
        t = nl.load(x)
    nl.store(out, t)  # here
    return out


def operator_broadcast(x):
    t = nl.load(x)
    one = nl.load(x[0:1, :])
    return t + one  # here


def immutable_parameter(x):
    nl.store(x, nl.load(x))  # here
    return x


def mutable_not_returned(x: nt.mutable_tensor):  # here
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, nl.load(x))
    return out


def no_output(x):  # here
    nl.load(x)


def output_memory(x):  # here
    return nl.load(x)


def nested_grid(x):
    return nki.jit(memory)[2](x)  # here


def annotation(x):
    return nl.load(x).assert_shape((64, 64))  # here


def affine_dependency(x):
    m = nl.zeros((128, 1), dtype=nl.float32)
    for i in nl.affine_range(2):
        alpha = nl.exp(m)  # here
        m[...] = nl.max(nl.load(x[:, nl.ds(i * 256, 256)]), axis=1)
        nl.copy(alpha)


def output_dependency(x):
    t = nl.ndarray((128, 256), dtype=nl.float32)
    for i in nl.affine_range(2):
        t[...] = nl.load(x[:, nl.ds(i * 256, 256)])  # here


def element_count(x):
    t = nl.load(x)
    return nisa.max8(src=t[:, 0:4])  # here


def allocated_bias(x):
    t = nl.ndarray((128, 512), dtype=nl.float32, buffer=ncc.sbuf.mod_alloc(base_addr=0))
    t[...] = nl.load(x)
    return nl.exp(t)  # here


def allocated_init(x):
    t = nl.zeros((128, 512), dtype=nl.float32, buffer=ncc.sbuf.mod_alloc(base_addr=0))  # here
    return t


def allocated_transpose(x):
    t = nl.ndarray((128, 512), dtype=nl.float32, buffer=ncc.sbuf.mod_alloc(base_addr=0))
    t[...] = nl.load(x)
    return nisa.nc_transpose(t[:, 0:128])  # here


def allocated_place(x):
    return nl.ndarray((128, 512), dtype=nl.float32, buffer=ncc.psum.mod_alloc(base_bank=8))  # here


BREAKS = {
    name.replace("_", "-"): function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and name.replace("_", "-") in RULES
}
ELSEWHERE = {
    "namespace-old": "see test_a_kernel_of_the_old_package_that_uses_nki_is_refused",
    "target": "see test_instructions_of_later_generations_are_refused_on_earlier_ones",
    "input": "an argument, see test_an_input_of_a_dtype_that_nki_lacks_is_refused",
    "instruction-limit": "a choice of the run, see tests/nkisim/execution/test_limit.py",
    "outside-kernel": "see test_a_function_of_the_language_outside_a_kernel_is_refused",
}


def broken_by(function, *arrays):
    """The error of the kernel, whose rule is insisted upon where it is advisory."""
    rule = function.__name__.replace("_", "-")
    insist = {rule: False} if rule in RULES and RULES[rule].advisory else {}
    with (
        nkisim.record(config=nkisim.Config(warn=insist)),
        pytest.raises(nkisim.KernelError) as caught,
    ):
        nki.jit(function)(*(arrays or (X,)))
    return caught.value


def test_every_rule_has_a_kernel_that_breaks_it():
    assert set(BREAKS) | set(ELSEWHERE) == {
        name for name, rule in RULES.items() if rule.dialect is None
    }


@pytest.mark.parametrize("rule", BREAKS)
def test_a_kernel_that_breaks_the_rule_is_refused_at_the_line_that_breaks_it(rule):
    error = broken_by(BREAKS[rule])
    assert error.rule == rule
    lines, first = inspect.getsourcelines(BREAKS[rule])
    expected = [first + i for i, text in enumerate(lines) if "# here" in text]
    assert [error.line] == expected
    assert error.filename == __file__


@of_each(sorted(set(BREAKS) - {"index-condition"}))
def test_the_message_says_what_and_by_which_rule(rule):
    error = broken_by(BREAKS[rule])
    text = str(error)
    assert text.splitlines()[0] == error.headline
    assert f"rule    {rule}: {RULES[rule].says}" in text
    assert RULES[rule].source in text and RULES[rule].grade in text
    assert "unnamed" not in text
    assert error.remedy or error.limit


@pytest.mark.parametrize("rule", [r for r in BREAKS if RULES[r].warnable])
def test_a_rule_that_can_be_a_warning_warns_instead(rule):
    config = nkisim.Config(warn={rule: True})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            with nkisim.record(config=config):
                nki.jit(BREAKS[rule])(X.copy())
        except nkisim.KernelError as error:
            assert error.rule != rule  # a later rule, such as a tile that is returned
    assert any(
        issubclass(w.category, nkisim.RuleWarning) and f"rule    {rule}:" in str(w.message)
        for w in seen
    )


def test_a_rule_that_is_warned_about_warns_at_every_call():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        turned = nisa.nc_transpose(tile, engine=nisa.tensor_engine)
        for _ in nl.sequential_range(3):
            nisa.tensor_tensor(turned, turned, op=nl.add)
        nl.store(out, tile)
        return out

    config = nkisim.Config(warn={"two-psum-inputs": True})
    with warnings.catch_warnings(record=True) as seen, nkisim.record(config=config):
        warnings.simplefilter("always")
        kernel(np.ones((8, 8), np.float32))
    assert [w.message.error.rule for w in seen] == ["two-psum-inputs"] * 3


def test_an_unknown_rule_or_one_without_which_nothing_is_left_cannot_be_a_warning():
    with pytest.raises(ValueError, match="no rule has the id 'no-such'"):
        nkisim.Config(warn={"no-such": True})
    with pytest.raises(ValueError, match="cannot be a warning"):
        nkisim.Config(warn={"shape-mismatch": True})


@pytest.mark.parametrize("given", [np.float64, np.int64, np.complex64])
def test_an_input_of_a_dtype_that_nki_lacks_is_refused(given):
    error = broken_by(memory, X.astype(given))
    assert error.rule == "input" and "'x'" in error.headline and "astype" in error.remedy


def test_a_function_of_the_language_outside_a_kernel_is_refused():
    for call in (
        lambda: nl.zeros((1, 1), dtype=nl.float32),
        lambda: list(nl.affine_range(3)),
        lambda: nl.program_id(0),
    ):
        with pytest.raises(nkisim.KernelError) as caught:
            call()
        assert caught.value.rule == "outside-kernel"


def test_the_nearest_legal_neighbours_pass():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)  # 128 partitions
        product = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.psum)  # one whole bank
        product[...] = nisa.nc_matmul(t[:, 0:128], t)  # 128 stationary, 512 moving columns
        for start, rows in ((0, 32), (32, 32), (64, 64), (96, 32)):
            nl.exp(t[start : start + rows, 0:1])
        nisa.nc_transpose(t[:, 0:128])  # 128 x 128
        nisa.nc_transpose(t[0:32, 0:32], engine=nisa.vector_engine)
        nl.exp(nl.zeros((1, 65536), dtype=nl.uint8))  # 64 Ki elements
        nisa.tensor_tensor(product, t, op=nl.add)  # one operand in PSUM
        nl.zeros((128, 8, 512), dtype=nl.float32, buffer=nl.psum)  # all eight banks
        big = nl.zeros((128, 30000), dtype=nl.float32)
        nl.store(out[:, 0:511], t[:, 0:511])
        nl.store(out[:, 511:512], big[:, 0:1])
        return out

    out = kernel(X)
    assert np.array_equal(out[:, :511], X[:, :511])


def test_a_capacity_counts_only_what_is_in_use_at_one_time():
    @nki.jit
    def one_after_the_other(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        kept = []
        for _ in nl.static_range(30):
            kept.append(nisa.nc_matmul(t[:, 0:128], t))
            nl.store(out, kept[-1])
        return out

    assert one_after_the_other(X).shape == (128, 512)
    error = broken_by(psum_capacity)
    assert "9 tiles in use at one time need 18432 bytes per partition" in error.headline


def test_a_rule_holds_for_the_target_in_force():
    def wide(x):
        out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.zeros((128, 52000), dtype=nl.float32)  # 208,000 bytes: SBUF of trn2, not of trn1
        nl.store(out, t[:, 0:1])
        return out

    assert nki.jit(wide)(X).shape == (128, 1)
    assert broken_by(nki.jit(wide, platform_target="trn1")).rule == "sbuf-capacity"


def test_reductions_over_an_affine_range_are_no_dependency():
    @nki.jit
    def sums(x):
        out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
        total = nl.zeros((128, 1), dtype=nl.float32)
        product = nl.zeros((128, 128), dtype=nl.float32, buffer=nl.psum)
        for i in nl.affine_range(4):
            t = nl.load(x[:, nl.ds(i * 128, 128)])
            total += nl.sum(t, axis=1)
            product += nl.matmul(t, t, transpose_x=True)
        nl.store(out, total)
        return out

    assert np.allclose(sums(X)[:, 0], X.sum(axis=1), rtol=1e-5)


def test_program_instances_may_not_write_the_same_elements():
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x))
        return out

    assert nki.jit(kernel)[1](X).shape == (128, 512)
    with pytest.raises(nkisim.KernelError) as caught:
        nki.jit(kernel)[2](X)
    assert (
        caught.value.rule == "output-dependency"
        and ("another program instance") in caught.value.headline
    )


def test_instances_that_collide_inside_a_loop_are_told_apart_from_the_loops_iterations():
    def kernel(x):
        out = nl.ndarray((256, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        for i in nl.affine_range(2):
            nl.store(out[nl.ds(i * 128, 128)], nl.load(x))
        return out

    assert nki.jit(kernel)(X).shape == (256, 512)
    with pytest.raises(nkisim.KernelError, match="another program instance") as caught:
        nki.jit(kernel)[2](X)
    assert "nl.program_id" in caught.value.remedy


def test_bfloat16_inputs_are_inputs():
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, nl.load(x))
        return out

    given = X.astype(ml_dtypes.bfloat16)
    assert np.array_equal(nki.jit(kernel)(given), given)
