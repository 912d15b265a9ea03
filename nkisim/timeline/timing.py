"""The constants of the model of time, one frozen record a generation of NeuronCore, each with its
source and grade.

Grades: [T] stated in a text, [F] printed inside a published profile, [P] read off a figure (about
+-15 ns), [I] inferred from
published numbers, [A] assumed. Sources, by short name:
  arch-v2   aws-neuron-sdk v2.26.0 general/nki/arch/trainium_inferentia2_arch.rst
  arch-v3   aws-neuron-sdk v2.32.0 nki/guides/architecture/trainium2_arch.rst
  arch-v4   aws-neuron-sdk v2.32.0 nki/guides/architecture/trainium3_arch.rst
  isa       aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py, "Estimated instruction cost"
  perf      aws-neuron-sdk v2.26.0 general/nki/nki_perf_guide.rst and its figures
  profile   aws-neuron-sdk v2.26.0 general/nki/img/neuron-profile-ui-overview.png and
            neuron-profile-instruction-hover.png
  dma       aws-neuron-sdk v2.32.0 nki/get-started/about/nki-dma-overview.rst and its figures
  dma-bw    aws-neuron-sdk v2.32.0 nki/deep-dives/nki-dma-bandwidth-guide.rst
  mm-v2     aws-neuron-sdk v2.26.0 general/nki/tutorials/matrix_multiplication.rst, its table of
  latencies
  mm-v3     aws-neuron-sdk v2.32.0 nki/guides/tutorials/kernel-optimization.rst, profile of the
  second version (v2-full.png)
  pool      aws-neuron nki-samples 0898a77 test/unit/test_adaptive_avg_pool2d.py, limits less 5 %
  explorer  aws-neuron-sdk v2.32.0 tools/neuron-explorer/overview-summary-page.rst
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..machine.target import Target


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How fast one NeuronCore is. Clocks in GHz (cycles a nanosecond), times in ns, rates in bytes
    a nanosecond (GB/s)."""

    tensor_ghz: float
    """TensorE's clock (arch-v2, arch-v3, arch-v4) [T]."""
    vector_ghz: float
    """VectorE's clock (the same) [T]."""
    scalar_ghz: float
    """ScalarE's clock (the same) [T]."""
    gpsimd_ghz: float
    """GpSimdE's clock (the same) [T]."""

    min_interval: int = 64
    """Cycles between two instructions of an engine at the least: MIN_II (isa), MM_INIT_LATENCY
    (arch-v2) [T]."""
    dynamic_interval: int = 600
    """The same where an operand's offset is known at run time only: MIN_II_DYNAMIC (isa) [T]."""
    access_cycles: int = 64
    """Cycles by which a VectorE or ScalarE instruction occupies its engine beyond one an element:
    starting an access to SBUF or PSUM costs about 60 (arch-v2) [T]; two independent activations of
    512 elements follow each other by 637 (profile) [P]."""
    full_rate_step: int = 16
    """Bytes from one element to the next up to which VectorE and ScalarE read and write at their
    full rate (arch-v2) [T]."""
    tensor_fill: float
    """From the last row entering the PE array to the result in PSUM: perf, 188 to 219 ns a matmul
    of 128 rows [F] on v2; 590 ns a pass of 430 ns on v3 [F]."""
    vector_fill: float
    """Pipeline of VectorE beyond its occupancy. v2: about 100 cycles for a dependent instruction
    (perf); v3: nki-library counts elements + 144 cycles for one [T]."""
    scalar_fill: float
    """The same of ScalarE: perf, 159 ns for [128, 1] on v2 [F]; dma, 398 ns for [128, 128] on v3
    [P]."""
    gpsimd_start: int = 150
    """Start-up cycles of a GpSimdE instruction (isa: affine_select, iota, local_gather) [T]."""
    accumulator_read: int = 64
    """Cycles to read ScalarE's or VectorE's reduction registers out (arch-v2, isa) [T]."""
    table_load: float
    """Loading an activation table into ScalarE: 368 ns on v2 (profile) [F]; 1285 ns on v3 (dma)
    [P]."""
    handoff: float = 30.0
    """From a result to the instruction that waits for it: 27 to 34 ns between engines, 30 ns on one
    (perf) [P, F]."""

    dma_engines: int = 16
    """DMA engines of one core (arch guides) [T]."""
    dma_queues: int = 16
    """Transfers in flight at one time: 16 queues per engine (dma) [T], one transfer in each [A]."""
    dma_rate: float
    """Bytes a ns of one DMA engine, achievable (dma-bw) [T]."""
    dma_issue: float
    """Of the engine that triggers a transfer: 42 to 51 ns on v2
    (neuron-profile-search-results.png), 8 on v3 (dma) [F]."""
    dma_start: float
    """From the trigger of a transfer to its data: v2, two transfers of profile and perf less their
    bytes [I]; v3 (dma) [P]."""
    dma_done: float
    """From the last byte to the instruction that waits for it (profile, dma) [P]."""
    dma_run_time: float
    """Short runs: a contiguous run takes the lesser of this and its bytes at `dma_run_rate`, and no
    less than its bytes at `dma_rate`. v2: 160 ns, 6.4 bytes a ns (mm-v2: 1.3 us for each [128, 512]
    bf16 tile, 0.3 us for each [128, 128]) [I]."""
    dma_run_rate: float = float("inf")
    """Bytes a ns of one DMA engine in short runs."""
    dma_run_min: float
    """The least time of a run that is loaded. v3: 62 ns (dma: [128, 128] bf16 in 468 ns [F]; mm-v3)
    [I]. v2: 26 ns (pool: 49 and 98 windows of 512 and 1024 runs of 32 bytes in 65 and 152 us) [I].
    """
    dma_store_min: float
    """The same of a run that is stored to HBM. v2: 7 ns, what 4 bytes took (perf, fig29) [F]; v3:
    as a load [A]."""
    dma_transpose_rate: float
    """Share of the DMA rate that a transposing transfer reaches (arch-v3: up to 0.9; v2: "much
    lower", assumed)."""
    sbuf_share: float = 2 / 3
    """The share of SBUF that tiles may fill before loads stop running ahead: published profiles
    show it half used, with loads that wait (fused_mamba.rst), and LayerNorm's latencies leave no
    room for a load beside its passes (layernorm.rst) [I]."""
    hbm_peak: float
    """HBM bytes a ns: one core's share (arch guides) [T, I]."""
    hbm_stack: float
    """HBM bytes a ns of the stack that two cores share [I]."""
    vector_wide: bool = False
    """VectorE's data path of 256 elements of 4 bytes or 512 of 2 a cycle, with its fast modes
    (arch-v3, arch-v4) [T]."""
    scalar_wide: bool = False
    """ScalarE's data path of 256 elements of 2 bytes a cycle (arch-v4) [T]."""
    shared_ports: bool = False
    """VectorE and GpSimdE share their way to SBUF, VectorE and ScalarE theirs to PSUM (arch-v2)
    [T]."""
    throttled: bool = False
    """Whether TensorE's clock is halved until it has been busy for half of a window (explorer; trn2
    and trn3) [T]."""
    throttle_window: float = 3000.0
    """That window: about 3 us (explorer) [T]."""
    launch: dict[str, float] = field(default_factory=dict)
    """Start-up and tear-down in ns by what is measured: "none" of it, a whole "profile",
    nki.benchmark's nc_latency."""
    peak_flops_bf16: float
    """TensorE's dense bf16 peak in flop/ns: 2 x 128 x 128 x clock [I]; published 92, 79 and 79
    Tflop/s [T]."""

    @property
    def dma_bandwidth(self) -> float:
        """What the DMA engines of one core reach together, bytes a ns: the achievable HBM
        bandwidth."""
        return self.dma_engines * self.dma_rate


TIMINGS = {
    2: Timing(
        tensor_ghz=2.8,
        vector_ghz=1.12,
        scalar_ghz=1.4,
        gpsimd_ghz=1.4,
        tensor_fill=145.0,
        vector_fill=5.0,
        scalar_fill=105.0,
        table_load=368.0,
        dma_rate=17.0,
        dma_issue=50.0,
        dma_start=1270.0,
        dma_done=250.0,
        dma_run_time=160.0,
        dma_run_rate=6.4,
        dma_run_min=26.0,
        dma_store_min=7.0,
        dma_transpose_rate=0.1,
        hbm_peak=410.0,
        hbm_stack=820.0,
        shared_ports=True,
        launch={"none": 0.0, "profile": 19100.0, "benchmark": 6000.0},
        peak_flops_bf16=2 * 128 * 128 * 2.8,
    ),
    3: Timing(
        tensor_ghz=2.4,
        vector_ghz=0.96,
        scalar_ghz=1.2,
        gpsimd_ghz=1.2,
        tensor_fill=160.0,
        vector_fill=53.0,
        scalar_fill=238.0,
        table_load=1285.0,
        dma_rate=23.0,
        dma_issue=8.0,
        dma_start=900.0,
        dma_done=330.0,
        dma_run_time=62.0,
        dma_run_min=62.0,
        dma_store_min=62.0,
        dma_transpose_rate=0.9,
        hbm_peak=375.0,
        hbm_stack=716.0,
        vector_wide=True,
        throttled=True,
        launch={"none": 0.0, "profile": 15800.0, "benchmark": 6000.0},
        peak_flops_bf16=2 * 128 * 128 * 2.4,
    ),
    4: Timing(
        tensor_ghz=2.4,
        vector_ghz=1.2,
        scalar_ghz=1.2,
        gpsimd_ghz=1.2,
        tensor_fill=160.0,
        vector_fill=42.0,
        scalar_fill=238.0,
        table_load=1285.0,
        dma_rate=33.0,
        dma_issue=8.0,
        dma_start=900.0,
        dma_done=330.0,
        dma_run_time=62.0,
        dma_run_min=62.0,
        dma_store_min=62.0,
        dma_transpose_rate=0.9,
        hbm_peak=588.0,
        hbm_stack=1175.0,
        vector_wide=True,
        scalar_wide=True,
        throttled=True,
        launch={"none": 0.0, "profile": 15800.0, "benchmark": 6000.0},
        peak_flops_bf16=2 * 128 * 128 * 2.4,
    ),
}


def of(target: Target) -> Timing:
    """The constants of the target's generation."""
    return TIMINGS[target.nc_version]
