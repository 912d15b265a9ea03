"""Every public name that the 2.32 documentation gives for nki, nki.language, nki.isa, nki.typing
and nki.collectives."""

from __future__ import annotations

import importlib
import inspect

import nki
import nki.collectives as ncc
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

# names from aws-neuron-sdk v2.32.0 nki/api/nki/**/__init__.py
NAMES = {
    "nki": "jit simulate",
    "nki.language": (
        "DType MemoryRegion NKIObject NkiTensor abs abs_max abs_min add affine_range all arctan "
        "average bfloat16 bitwise_and bitwise_or bitwise_xor bool_ broadcast_to bypass ceil copy "
        "cos device_print divide dropout ds dynamic_range empty_like equal erf erf_dx exp "
        "expand_dims float16 float32 float4_e2m1fn_x4 float8_e4m3 float8_e4m3fn float8_e4m3fn_x4 "
        "float8_e5m2 float8_e5m2_x4 float8_e8m0fnu floor fmod fori_loop full gather_flattened "
        "gelu gelu_apprx_sigmoid gelu_apprx_sigmoid_dx gelu_apprx_tanh gelu_dx greater "
        "greater_equal hbm int16 int32 int8 invert is_hbm is_on_chip is_psum is_sbuf left_shift "
        "less less_equal load load_transpose2d log logical_and logical_not logical_or logical_xor "
        "matmul max maximum mean min minimum mish mod multiply ndarray negative no_reorder "
        "not_equal num_programs ones power prelu private_hbm prod program_id program_ndim psum "
        "rand random_seed reciprocal relu right_shift rms_norm rsqrt sbuf sequential_range "
        "shared_constant shared_hbm shared_identity_matrix sigmoid sign silu silu_dx sin softmax "
        "softplus sqrt square static_range store subtract sum tan tanh tfloat32 tile_size "
        "transpose trunc uint16 uint32 uint8 var where while_loop zeros zeros_like"
    ),
    "nki.isa": (
        "NkiInstruction NkiValidationError VirtualRegister activate2 activation activation_reduce "
        "affine_select bn_aggr bn_stats core_barrier dge_mode dma_compute dma_copy dma_engine "
        "dma_transpose dropout engine exponential get_nc_sub_version get_nc_version gpsimd_engine "
        "iota local_gather matmul_perf_mode max8 memset nc_find_index8 nc_match_replace8 "
        "nc_matmul nc_matmul_mx nc_n_gather nc_stream_shuffle nc_transpose nc_version "
        "nonzero_with_count oob_mode quantize_mx rand2 rand_get_state rand_set_state range_select "
        "reciprocal reduce_cmd register_alloc register_load register_move register_store rng "
        "scalar_engine scalar_tensor_tensor select_reduce sendrecv sequence_bounds set_rng_seed "
        "tensor_copy tensor_copy_predicated tensor_engine tensor_partition_reduce tensor_reduce "
        "tensor_scalar tensor_scalar_cumulative tensor_scalar_reduce tensor_tensor "
        "tensor_tensor_scan topk unknown_engine vector_engine"
    ),
    "nki.typing": "tensor",
    "nki.collectives": (
        "ReplicaGroup all_gather all_gather_v all_reduce all_to_all all_to_all_v "
        "collective_permute "
        "collective_permute_implicit collective_permute_implicit_current_processing_rank_id "
        "collective_permute_implicit_reduce rank_id reduce_scatter"
    ),
}
METHODS = (
    "is_contiguous get_pattern is_indirect permute broadcast expand_dim squeeze_dim reshape_dim "
    "flatten_dims reshape rearrange slice select vector_select ap view reinterpret_cast indirect "
    "shape strides offset name dtype buffer ndim size"
)


@pytest.mark.parametrize("module", NAMES)
def test_a_module_has_every_documented_name(module):
    assert sorted(set(NAMES[module].split()) - set(dir(importlib.import_module(module)))) == []


def test_a_tensor_has_every_documented_attribute():
    assert sorted(set(METHODS.split()) - set(dir(nl.NkiTensor))) == []


def test_what_is_exported_is_there():
    for module in NAMES:
        found = importlib.import_module(module)
        for name in importlib.import_module(
            f"nkisim.dialects.nki.{module.rpartition('.')[2]}"
        ).__all__:
            assert hasattr(found, name), f"{module}.{name}"


@pytest.mark.parametrize("name", NAMES["nki.collectives"].split()[1:])
def test_a_collective_says_that_there_is_one_device(name):
    collective = getattr(ncc, name)
    parameters = inspect.signature(collective).parameters.values()
    needed = sum(p.default is p.empty for p in parameters)

    @nki.jit
    def kernel(x):
        collective(*(x,) * needed)
        return x

    with pytest.raises(nkisim.KernelError, match="connects several devices") as caught:
        kernel(np.zeros((128, 4), np.float32))
    assert caught.value.rule == "collectives"


def test_a_name_of_the_older_dialect_says_what_to_write_instead():
    with pytest.raises(AttributeError, match="nl.arange is not part of NKI 0.6: slice tensors"):
        nl.arange(4)
    with pytest.raises(
        AttributeError, match="tensor_copy_dynamic_src is not part of NKI 0.6: use nisa.tensor_copy"
    ):
        getattr(nisa, "tensor_copy_dynamic_src")  # noqa: B009
    with pytest.raises(AttributeError, match="did you mean nl.maximum"):
        getattr(nl, "maximun")  # noqa: B009


@pytest.mark.parametrize("name", ["baremetal", "benchmark", "profile"])
def test_what_needs_a_device_says_so_when_it_is_called(name):
    with pytest.raises(nki.NoDeviceError, match=f"nki.{name} needs a NeuronDevice"):
        getattr(nki, name)(lambda x: x)


def test_data_types_are_those_of_numpy_arrays():
    for dtype in (nl.float32, nl.bfloat16, nl.uint16, nl.float8_e5m2):
        assert np.zeros(2, dtype).dtype == dtype
        assert np.zeros(2, np.float32).astype(dtype).dtype == dtype
        assert np.dtype(dtype).itemsize == dtype.itemsize
    assert str(nl.bfloat16) == "bfloat16" and nl.float32 == np.float32

    @nki.jit
    def kernel(x):
        assert x.dtype == nl.bfloat16 and str(x.dtype) == str(nl.bfloat16)
        return x

    kernel(np.zeros((4, 4), nl.bfloat16))
