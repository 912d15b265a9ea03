"""neuronxcc.nki.isa: the names a kernel knows as `nisa`.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py. Every function also takes
`dst=`, an existing tile to write to, as kernels of the transition to the destination-passing
dialect do; it returns the destination.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..functions import missing
from .isa_dma import dma_copy, dma_transpose
from .isa_gpsimd import affine_select, builtin_custom_op, iota, tensor_partition_reduce
from .isa_scalar import activation, activation_reduce
from .isa_select import (
    bn_aggr,
    bn_stats,
    dropout,
    local_gather,
    max8,
    nc_find_index8,
    nc_match_replace8,
    nc_stream_shuffle,
    range_select,
    select_reduce,
    sequence_bounds,
    tensor_copy_dynamic_dst,
    tensor_copy_dynamic_src,
    tensor_copy_predicated,
    tensor_scalar_cumulative,
)
from .isa_support import (
    dge_mode,
    dma_engine,
    engine,
    fp32,
    get_nc_version,
    gpsimd_engine,
    nc_version,
    oob_mode,
    reduce_cmd,
    scalar_engine,
    tensor_engine,
    unknown_engine,
    vector_engine,
)
from .isa_tensor import nc_matmul, nc_transpose
from .isa_vector import (
    memset,
    reciprocal,
    scalar_tensor_tensor,
    tensor_copy,
    tensor_reduce,
    tensor_scalar,
    tensor_scalar_reduce,
    tensor_tensor,
    tensor_tensor_scan,
)

__all__ = [
    "activation",
    "activation_reduce",
    "affine_select",
    "bn_aggr",
    "bn_stats",
    "builtin_custom_op",
    "dge_mode",
    "dma_copy",
    "dma_engine",
    "dma_transpose",
    "dropout",
    "engine",
    "fp32",
    "get_nc_version",
    "gpsimd_engine",
    "iota",
    "local_gather",
    "max8",
    "memset",
    "nc_find_index8",
    "nc_match_replace8",
    "nc_matmul",
    "nc_stream_shuffle",
    "nc_transpose",
    "nc_version",
    "oob_mode",
    "range_select",
    "reciprocal",
    "reduce_cmd",
    "scalar_engine",
    "scalar_tensor_tensor",
    "select_reduce",
    "sequence_bounds",
    "tensor_copy",
    "tensor_copy_dynamic_dst",
    "tensor_copy_dynamic_src",
    "tensor_copy_predicated",
    "tensor_engine",
    "tensor_partition_reduce",
    "tensor_reduce",
    "tensor_scalar",
    "tensor_scalar_cumulative",
    "tensor_scalar_reduce",
    "tensor_tensor",
    "tensor_tensor_scan",
    "unknown_engine",
    "vector_engine",
]

if not TYPE_CHECKING:
    __getattr__ = missing("nisa", __all__)
