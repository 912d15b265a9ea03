"""nki.collectives: every name is here, and says that it connects devices, of which the simulator
has one.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/collectives/__init__.py, nki/guides/nki_simulator.rst
(Known Gaps).
"""

from __future__ import annotations

from typing import Any

from ...execution.execution import current
from ...rules.errors import broken
from .objects import NKIObject


class ReplicaGroup(NKIObject):
    """Groups of ranks that take part in a collective: ReplicaGroup([[0, 1], [2, 3]])."""

    def __init__(self, groups: Any) -> None:
        self.groups = groups


def _refuse(api: str) -> None:
    """Refuse a collective inside a kernel."""
    api = f"nki.collectives.{api}"
    current(api)
    broken(
        "collectives",
        f"{api} connects several devices; the simulator has one",
        got=f"{api}(...)",
        remedy="Simulate what each device computes by itself, and combine the outputs with "
        "NumPy; between the two physical cores of kernel[2] use nisa.sendrecv.",
    )


def all_reduce(
    srcs: Any, dsts: Any, replica_group: Any, op: Any, priority: Any = None, name: Any = None
) -> Any:
    """The reduction of tensors over ranks, on each. Refused: the simulator has one device."""
    _refuse("all_reduce")


def all_gather(
    srcs: Any,
    dsts: Any,
    replica_group: Any,
    collective_dim: int,
    priority: Any = None,
    name: Any = None,
) -> Any:
    """The tensors of all ranks, on each. Refused: the simulator has one device."""
    _refuse("all_gather")


def all_gather_v(
    srcs: Any,
    dsts: Any,
    replica_group: Any,
    metadata_tensor: Any,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: Any = None,
    name: Any = None,
) -> Any:
    """The tensors of all ranks, of different lengths, on each. Refused."""
    _refuse("all_gather_v")


def reduce_scatter(
    srcs: Any,
    dsts: Any,
    replica_group: Any,
    collective_dim: int,
    op: Any,
    priority: Any = None,
    name: Any = None,
) -> Any:
    """The reduction over ranks, a part of it on each. Refused: there is one device."""
    _refuse("reduce_scatter")


def all_to_all(
    srcs: Any,
    dsts: Any,
    replica_group: Any,
    collective_dim: int,
    priority: Any = None,
    name: Any = None,
) -> Any:
    """A part of each rank's tensor to each rank. Refused: the simulator has one device."""
    _refuse("all_to_all")


def all_to_all_v(
    srcs: Any,
    dsts: Any,
    replica_group: Any,
    metadata_tensor: Any,
    recv_counts_known: bool = False,
    has_rdispls: bool = False,
    priority: Any = None,
    name: Any = None,
) -> Any:
    """A part of each rank's tensor, of different lengths, to each rank. Refused."""
    _refuse("all_to_all_v")


def collective_permute(
    srcs: Any, dsts: Any, source_target_pairs: Any, priority: Any = None, name: Any = None
) -> Any:
    """A tensor from rank to rank by a list of pairs. Refused: there is one device."""
    _refuse("collective_permute")


def collective_permute_implicit(
    srcs_by_channel: Any,
    dsts_by_channel: Any,
    replica_group: Any,
    channel_ids: Any = [0],  # noqa: B006  (as documented; nobody writes to it)
    priority: Any = None,
    name: Any = None,
) -> Any:
    """A tensor to the next rank of a ring. Refused: the simulator has one device."""
    _refuse("collective_permute_implicit")


def collective_permute_implicit_reduce(
    srcs0_by_channel: Any,
    srcs1_by_channel: Any,
    dsts_by_channel: Any,
    replica_group: Any,
    op: Any,
    channel_ids: Any = [0],  # noqa: B006  (as documented; nobody writes to it)
    priority: Any = None,
    name: Any = None,
) -> Any:
    """A reduction around a ring. Refused: the simulator has one device."""
    _refuse("collective_permute_implicit_reduce")


def collective_permute_implicit_current_processing_rank_id(
    iteration_id: Any, replica_group: Any, channel_id: int = 0, name: Any = None
) -> Any:
    """The rank whose data a step of a ring handles. Refused: there is one device."""
    _refuse("collective_permute_implicit_current_processing_rank_id")


def rank_id(name: Any = None) -> Any:
    """The rank of this device. Refused: the simulator has one device."""
    _refuse("rank_id")


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
