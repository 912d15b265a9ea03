"""The limits of the target in force, as both dialects tell them (`nl.tile_size`)."""

from __future__ import annotations

from ..machine import target as targets
from ..machine.running import running


class TileSize:
    """What `nl.tile_size` has in every version of NKI."""

    @property
    def _target(self) -> targets.Target:
        kernel = running()
        return targets.DEFAULT if kernel is None else kernel.config.target

    @property
    def pmax(self) -> int:
        """Partitions of a tile."""
        return self._target.partitions

    @property
    def psum_fmax(self) -> int:
        """fp32 elements per partition of a PSUM tile."""
        return self._target.psum_bank_fp32

    @property
    def gemm_stationary_fmax(self) -> int:
        """Free size of the stationary matmul operand."""
        return self._target.stationary_free_max

    @property
    def gemm_moving_fmax(self) -> int:
        """Free size of the moving matmul operand."""
        return self._target.moving_free_max

    @property
    def bn_stats_fmax(self) -> int:
        """Free size of bn_stats."""
        return self._target.bn_stats_free_max

    @property
    def psum_min_align(self) -> int:
        """Byte alignment in PSUM."""
        return 4

    @property
    def sbuf_min_align(self) -> int:
        """Byte alignment in SBUF."""
        return 1

    @property
    def total_available_sbuf_size(self) -> int:
        """Bytes of SBUF a partition."""
        return self._target.sbuf_partition_bytes
