"""nki.isa: the names a kernel of this dialect knows as `nisa`.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py. Instructions write to `dst`, their first
argument, and return a handle for scheduling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...rules.errors import KernelError as NkiValidationError  # noqa: F401
from ..functions import missing as _missing
from .enums import *  # noqa: F403
from .enums import __all__ as _enum_names
from .isa_copy import *  # noqa: F403
from .isa_copy import __all__ as _copy_names
from .isa_gpsimd import *  # noqa: F403
from .isa_gpsimd import __all__ as _gpsimd_names
from .isa_move import *  # noqa: F403
from .isa_move import __all__ as _move_names
from .isa_newer import *  # noqa: F403
from .isa_newer import __all__ as _newer_names
from .isa_reduce import *  # noqa: F403
from .isa_reduce import __all__ as _reduce_names
from .isa_scalar import *  # noqa: F403
from .isa_scalar import __all__ as _scalar_names
from .isa_special import *  # noqa: F403
from .isa_special import __all__ as _special_names
from .isa_tensor import *  # noqa: F403
from .isa_tensor import __all__ as _tensor_names
from .isa_vector import *  # noqa: F403
from .isa_vector import __all__ as _vector_names
from .objects import NkiInstruction, VirtualRegister  # noqa: F401

__all__ = sorted(
    [
        *_enum_names,
        *_copy_names,
        *_gpsimd_names,
        *_move_names,
        *_newer_names,
        *_reduce_names,
        *_scalar_names,
        *_special_names,
        *_tensor_names,
        *_vector_names,
        "NkiInstruction",
        "NkiValidationError",
        "VirtualRegister",
    ]
)

_GONE = {
    "tensor_copy_dynamic_src": "use nisa.tensor_copy with src=t.ap(..., scalar_offset=...)",
    "tensor_copy_dynamic_dst": "use nisa.tensor_copy with dst=t.ap(..., scalar_offset=...)",
    "builtin_custom_op": "it ended with NKI 0.1",
}

if not TYPE_CHECKING:
    __getattr__ = _missing("nisa", __all__, _GONE)
