"""The errors that the 2.26 documentation defines: a kernel for each, or why there is none."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import neuronxcc.nki.typing as nt
import numpy as np
import pytest

import nkisim

from ..helpers import refused, values

X = values((128, 512))


def load_q(x):
    q_tile = nl.load(x)
    return q_tile


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
