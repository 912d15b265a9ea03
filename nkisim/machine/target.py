"""What each generation of NeuronCore is: sizes and limits, one frozen record a generation.

Sources, by short name:
  arch-v2   aws-neuron-sdk v2.26.0 general/nki/arch/trainium_inferentia2_arch.rst
  arch-v3   aws-neuron-sdk v2.32.0 nki/guides/architecture/trainium2_arch.rst
  arch-v4   aws-neuron-sdk v2.32.0 nki/guides/architecture/trainium3_arch.rst
  model     aws-neuron-sdk v2.26.0 general/nki/programming_model.rst (tile-size constraints)
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024


@dataclass(frozen=True, kw_only=True)
class Target:
    """One NeuronCore. Sizes in bytes unless the name says otherwise."""

    name: str
    """Instance family: "trn1", "trn2" or "trn3"."""
    nc_version: int
    """NeuronCore generation: 2 (trn1, inf2), 3 (trn2), 4 (trn3)."""
    sbuf_partition_bytes: int
    """SBUF of one partition: 192 KiB (arch-v2), 224 KiB (arch-v3), 256 KiB (arch-v4: 32 MiB over
    128)."""
    partitions: int = 128
    """Partitions of SBUF and of PSUM (model, TC#1)."""
    psum_bank_bytes: int = 2 * KIB
    """One PSUM bank of one partition: 512 fp32 (arch-v2; model, TC#2)."""
    psum_banks: int = 8
    """PSUM banks per partition (arch-v2)."""
    stationary_free_max: int = 128
    """Free size of the stationary matmul operand (model, TC#3)."""
    moving_free_max: int = 512
    """Free size of the moving matmul operand (model, TC#3)."""
    sbuf_free_elements_max: int = 64 * KIB
    """Elements per partition of one VectorE/ScalarE access to SBUF (arch-v2)."""
    psum_free_elements_max: int = 4 * KIB
    """Elements per partition of one VectorE/ScalarE access to PSUM (arch-v2)."""
    bn_stats_free_max: int = 512
    """Free size of bn_stats (nki.isa.bn_stats)."""

    @property
    def psum_partition_bytes(self) -> int:
        return self.psum_bank_bytes * self.psum_banks

    @property
    def psum_bank_fp32(self) -> int:
        """fp32 elements in one PSUM bank of one partition (nl.tile_size.psum_fmax)."""
        return self.psum_bank_bytes // 4


TRN1 = Target(name="trn1", nc_version=2, sbuf_partition_bytes=192 * KIB)
TRN2 = Target(name="trn2", nc_version=3, sbuf_partition_bytes=224 * KIB)
TRN3 = Target(name="trn3", nc_version=4, sbuf_partition_bytes=256 * KIB)

TARGETS = {"trn1": TRN1, "inf2": TRN1, "trn2": TRN2, "trn3": TRN3}
DEFAULT = TRN2


def get(name: str | Target | None) -> Target:
    """The target called `name` ("trn1", "inf2", "trn2", "trn3"; "gen2".."gen4" too). ValueError if
    there is none."""
    if isinstance(name, Target):
        return name
    if name is None:
        return DEFAULT
    key = {"gen2": "trn1", "gen3": "trn2", "gen4": "trn3"}.get(str(name).lower(), str(name).lower())
    if key not in TARGETS:
        raise ValueError(f"no target '{name}'; the targets are {', '.join(TARGETS)}")
    return TARGETS[key]
