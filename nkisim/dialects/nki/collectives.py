"""nki.collectives: every name is here, and says that it connects devices, of which the simulator
has one.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/collectives/__init__.py, nki/guides/nki_simulator.rst
(Known Gaps).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...execution.execution import current
from ...rules.errors import broken
from .objects import NKIObject


class ReplicaGroup(NKIObject):
    """Groups of ranks that take part in a collective: ReplicaGroup([[0, 1], [2, 3]])."""

    def __init__(self, groups: Any) -> None:
        self.groups = groups


def _collective(name: str, what: str) -> Callable[..., Any]:
    api = f"nki.collectives.{name}"

    def function(*args: Any, **kwargs: Any) -> Any:
        current(api)
        broken(
            "collectives",
            f"{api} connects several devices; the simulator has one",
            got=f"{name}(...)",
            remedy="Simulate what each device computes by itself, and combine the outputs with "
            "NumPy; between the two "
            "physical cores of kernel[2] use nisa.sendrecv.",
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{what}. Refused: the simulator has one device."
    return function


all_reduce = _collective("all_reduce", "The reduction of a tensor over ranks, on each")
all_gather = _collective("all_gather", "The tensors of all ranks, on each")
all_gather_v = _collective(
    "all_gather_v", "The tensors of all ranks, of different lengths, on each"
)
reduce_scatter = _collective("reduce_scatter", "The reduction over ranks, a part of it on each")
all_to_all = _collective("all_to_all", "A part of each rank's tensor to each rank")
all_to_all_v = _collective(
    "all_to_all_v", "A part of each rank's tensor, of different lengths, to each rank"
)
collective_permute = _collective(
    "collective_permute", "A tensor from rank to rank by a list of pairs"
)
collective_permute_implicit = _collective(
    "collective_permute_implicit", "A tensor to the next rank of a ring"
)
collective_permute_implicit_reduce = _collective(
    "collective_permute_implicit_reduce", "A reduction around a ring"
)
collective_permute_implicit_current_processing_rank_id = _collective(
    "collective_permute_implicit_current_processing_rank_id",
    "The rank whose data a step of a ring handles",
)
rank_id = _collective("rank_id", "The rank of this device")

__all__ = [
    "ReplicaGroup",
    "all_gather",
    "all_gather_v",
    "all_reduce",
    "all_to_all",
    "all_to_all_v",
    "collective_permute",
    "collective_permute_implicit",
    "collective_permute_implicit_current_processing_rank_id",
    "collective_permute_implicit_reduce",
    "rank_id",
    "reduce_scatter",
]
