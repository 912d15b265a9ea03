"""What is behind each rule, and which published kernels speak against its text.

What a device or its compiler refuses is known from documents and from kernels that run. Where the
two differ, the kernels count: see `Rule.behind` and `Rule.against`.

Published kernels, by short name:
  samples    aws-neuron/nki-samples 0898a77 (November 2025)
  library    aws-neuron/nki-library 2.29 (April 2026)
  doc tests  aws-neuron-sdk v2.26.0 general/nki/test
  cs149      stanford-cs149/asst4-trainium (2024), asst4-trainium2 (2025), and students' solutions,
             which the course tests on trn1 and trn2
  autocomp   ucb-bar/autocomp, solutions run on trn1
  neuronx-distributed  aws-neuron/neuronx-distributed 920a5b9 (2025), tests of kernels on devices
  kda-for-trainium  Jerry2423/kda-for-trainium, variants of NKIBench with a log of what compiled
"""

from __future__ import annotations

ARITHMETIC, HARDWARE, COMPILER, CUSTOM = "arithmetic", "hardware", "compiler", "custom"

_BEHIND: dict[str, str] = {
    # without it nothing is defined that could be computed
    ARITHMETIC: """
        partition-axis partition-mismatch shape-mismatch contraction-mismatch dma-element-count
        assign-shape element-count operator argument out-of-bounds arange-1d mixed-indexing
        index-assign mask indirect-index numpy-on-tile truth-value index-condition no-output input
        outside-kernel indirect-view view-shape register values-needed loop-result lnc collectives
        instruction-limit
        """,
    # a limit of the machine, or what an engine reaches
    HARDWARE: """
        partition-limit psum-bank stationary-free-limit moving-free-limit free-size-limit
        dimension-limit rank rank-limit memory matmul-destination matmul-bank two-psum-inputs
        gpsimd-psum start-partition sbuf-capacity psum-capacity target dtype engine
        partition-stride allocated-place address-overlap psum-address core-race psum-accumulate
        target-default nl-divide nl-modulo tensor-indirection
        """,
    # what the compiler takes, though a device could do more
    COMPILER: """
        hbm-init shared-hbm-level negative-index scope operator-broadcast immutable-parameter
        mutable-not-returned output-memory nested-grid affine-dependency output-dependency
        allocated-bias allocated-init allocated-transpose inserted-copy rearranged-access
        one-axis-tile mask-truth nl-broadcast nl-power-scalar matmul-transpose-x python-subset
        output-buffer tensor-operator enum-constant memset-type keyword-argument argument-truth
        namespace namespace-old
        """,
    # a convention, or a check that is ours
    CUSTOM: "uninitialized-read unwritten-output annotation replicated-write",
}

BEHIND: dict[str, str] = {rule: kind for kind, rules in _BEHIND.items() for rule in rules.split()}

AGAINST: dict[str, str] = {
    "rank": "cs149: vector_add_naive and vector_add_tiled load, copy and store HBM tensors of one "
    "axis, as 34 files of 20 repositories do. The text speaks of SBUF and PSUM only, and so does "
    "the rule",
    "one-axis-tile": "cs149: bias tiles of shape (128,) in solutions of 2024",
    "inserted-copy": "samples: flash_attn_bwd multiplies by a transpose that lies in PSUM; the "
    "attention of Stable Diffusion selects from PSUM",
    "rearranged-access": "cs149: bias tiles (128, 1) in nisa.tensor_tensor, pooling over axes "
    "(1, 3)",
    "mask-truth": "doc tests: test_nki_isa_nc_match_replace8 joins two masks with 'and'",
    "argument-truth": "doc tests: test_nki_isa_tensor_scalar_cumulative (v2.32.0) asks 'if imm1' "
    "of an argument in HBM",
    "enum-constant": "library: norm_tkg_utils, qkv_tkg and mlp_tkg pass dge_mode=3, in the release "
    "whose notes forbid it",
    "memset-type": "library: integer tiles are set with 0.0",
    "nl-divide": "trnsci/trnsparse: simulated only",
    "keyword-argument": "library: nl.par_dim until 2.28, dtype= of copies",
    "uninitialized-read": "library: attention_tkg computes on padding that it never stores; so "
    "what counts is what reaches an output",
    "start-partition": "doc tests: test_nki_nl_gather_flattened sets single rows, in simulation",
    "core-race": "library: qkv_tkg on two cores stores the whole result from both, after they have "
    "exchanged their halves, and router_topk without having exchanged anything; so what is refused "
    "is a race that chance can decide",
    "dimension-limit": "kda-for-trainium: a log says that the compiler takes a transpose of 128 x "
    "128 on VectorE, where the text allows 32 x 32; one log is not enough",
    "psum-bank": "kda-for-trainium: a log says that the compiler takes a tile in eight banks; one "
    "log is not enough",
    "affine-dependency": "neuronx-distributed: find_index_shard_rows carries a sum through three "
    "iterations of an affine_range; the text forbids it, and one kernel is not enough",
    "replicated-write": "library: qkv_tkg and router_topk on two cores",
    "python-subset": "library: try and raise in functions that check arguments",
}
