"""What a tensor may be: the rules about memories that hold for every tensor that is made and for
every view of one, whether a kernel or a program's file asks for it."""

from __future__ import annotations

from ..machine.memory import HBM, PSUM, SBUF, Meta, meta_of
from ..machine.target import Target
from ..rules.errors import broken


def creatable(target: Target, meta: Meta) -> bool:
    """Refuse a tensor that its memory cannot hold; True."""
    if meta.space == HBM:
        return True
    if meta.partitions > target.partitions or meta.pstart + meta.partitions > target.partitions:
        broken(
            "partition-limit",
            f"a tensor has {meta.partitions} partitions",
            got=meta.describe(),
            limit=f"{target.partitions} partitions (nl.tile_size.pmax)",
        )
    in_sbuf = meta.space == SBUF
    limit = target.sbuf_partition_bytes if in_sbuf else target.psum_partition_bytes
    need = meta.sbuf_partition_bytes + meta.psum_partition_bytes
    if need > limit:
        broken(
            "sbuf-capacity" if in_sbuf else "psum-capacity",
            f"a tensor is larger than {meta.space.upper()}",
            got=f"{meta.describe()}: {need} bytes per partition",
            limit=f"{limit} bytes per partition on {target.name}",
        )
    return True


def in_banks(target: Target, meta: Meta) -> None:
    """Refuse a PSUM tile of a partition and one free axis that is larger than a bank: the dialect
    `neuronxcc` has tiles of several banks with an axis of their own only."""
    if meta.space != PSUM or len(meta.shape) - meta.pdim != 2:
        return
    nbytes = meta.shape[-1] * meta.itemsize  # of one block
    if nbytes > target.psum_bank_bytes:
        broken(
            "psum-bank",
            "a PSUM tile does not fit in one bank",
            got=f"{meta.describe()}: {nbytes} bytes per partition",
            limit=f"{target.psum_bank_bytes} bytes ({target.psum_bank_fp32} fp32) per partition",
        )


def begins_a_bank(target: Target, meta: Meta, byte: int) -> None:
    """Refuse a PSUM tensor that is placed at a `byte` of its partitions at which no bank begins."""
    if meta.space == PSUM and byte % target.psum_bank_bytes:
        broken(
            "psum-address",
            f"a tensor is placed at byte {byte} of PSUM",
            got=meta.describe(),
            limit=f"a multiple of {target.psum_bank_bytes}, at which a bank begins",
            remedy="Write address=(0, bank * nl.tile_size.psum_bank_fmax_bytes).",
        )


def viewed(whole: Meta, view: Meta, offset: int) -> Meta:
    """The layout of a view that begins at element `offset` of a tensor: its memory and its first
    partition follow from the tensor. Refuses a view that reaches out of the tensor, that walks the
    partitions other than one by one, or that runs on into the next partition."""
    item = view.itemsize
    spans = [(n - 1) * s for n, s in zip(view.shape, view.strides)]
    least = offset + sum(s for s in spans if s < 0)
    reach = offset + sum(s for s in spans if s > 0)
    if offset < 0 or least < 0 or (reach + 1) * item > whole.nbytes:
        broken(
            "out-of-bounds",
            f"a view reaches from element {least} to element {reach} of a tensor",
            got=f"{view.shape} with strides {view.strides}",
            limit=f"{whole.nbytes // item} elements: {whole.describe()}",
        )
    if whole.space == HBM:
        return meta_of(HBM, view.shape, view.strides, view.dtype)
    row = whole.strides[whole.pdim] * whole.itemsize  # bytes of one partition of one block
    axis = view.pdim
    apart = 0  # partitions from the first quadrant of a view to its last
    if (axis, whole.pdim) == (1, 0) and len(view.shape) > 1 and view.strides[0] * item == 32 * row:
        apart = 32 * (view.shape[0] - 1)  # as the scales of micro-scaled tiles lie
    elif not view.shape or axis > whole.pdim or axis >= len(view.shape):
        broken(
            "partition-axis",
            f"a view has its partition axis at {axis}",
            got=f"{view.shape}",
            limit=f"at most {whole.pdim}",
        )
    rows, count = whole.shape[whole.pdim], view.shape[axis]
    first = offset * item // row % rows
    block = row * rows
    steps = [(n, s * item) for n, s in zip(view.shape, view.strides)]
    if (count > 1 and steps[axis][1] != row) or (
        not apart and any(n > 1 and s % block for n, s in steps[:axis])
    ):
        broken(
            "partition-stride",
            "a view does not walk the partitions one by one",
            got=f"{view.shape} with strides {view.strides}",
            limit=f"a step of {row // item} elements from partition to partition",
        )
    free = [(n - 1) * s for n, s in steps[axis + 1 :]]
    begin = offset * item % row
    inside = begin + sum(s for s in free if s > 0) + item
    if first + apart + count > rows or inside > row or begin + sum(s for s in free if s < 0) < 0:
        broken(
            "out-of-bounds",
            "a view runs on beyond its partitions",
            got=f"partitions {first} to {first + count - 1}, up to byte {inside} of each",
            limit=f"{rows} partitions of {row} bytes",
        )
    return meta_of(whole.space, view.shape, view.strides, view.dtype, axis, whole.pstart + first)
