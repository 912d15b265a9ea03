"""The rules that a kernel is held to: id, what it says, where it is written, how sure we are.

Grades: "documented" (the cited text says so), "reported" (users or published kernels show it),
"assumed" (ours).
Sources, by short name:
  model    aws-neuron-sdk v2.26.0 general/nki/programming_model.rst
  errors   aws-neuron-sdk v2.26.0 general/nki/api/nki.errors.rst
  isa      aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py
  nl       aws-neuron-sdk v2.26.0 general/nki/api/nki/language/__init__.py
  shared   aws-neuron-sdk v2.26.0 general/nki/api/nki.api.shared.rst
  arch     aws-neuron-sdk v2.26.0 general/nki/arch/trainium_inferentia2_arch.rst
  issues   aws-neuron-sdk v2.26.0 general/nki/nki_known_issues.rst
  alloc    aws-neuron-sdk v2.26.0 general/nki/nki_direct_allocation_guide.rst
and for the dialect `nki`:
  notes    aws-neuron-sdk v2.32.0 release-notes/components/nki.rst
  migrate  aws-neuron-sdk v2.32.0 nki/migration/index.rst
  guide    aws-neuron-sdk v2.32.0 nki/get-started/nki-language-guide.rst
  sim      aws-neuron-sdk v2.32.0 nki/guides/nki_simulator.rst
  isa6     aws-neuron-sdk v2.32.0 nki/api/nki/isa/__init__.py
  nl6      aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py
"""

from __future__ import annotations

from dataclasses import dataclass

from .evidence import AGAINST, ARITHMETIC, BEHIND


@dataclass(frozen=True)
class Rule:
    """One rule."""

    id: str
    says: str
    source: str
    grade: str = "documented"
    advisory: bool = False
    """Broken, it is warned about unless the configuration says otherwise: `Config(warn={id:
    False})` refuses it."""
    dialect: str | None = None
    """"nki": only kernels of that dialect can break it."""

    @property
    def behind(self) -> str:
        """What is behind it: "arithmetic" (nothing is defined without it), "hardware" (a limit of
        the machine), "compiler" (what the compiler takes) or "custom" (a check that is ours)."""
        return BEHIND[self.id]

    @property
    def against(self) -> str:
        """Published kernels that contradict the text, and run; "" if none is known."""
        return AGAINST.get(self.id, "")

    @property
    def warnable(self) -> bool:
        """Whether it can be turned into a warning: whether there is something to simulate without
        it. All can that are not arithmetic."""
        return self.behind != ARITHMETIC


RULES: dict[str, Rule] = {}


def _rule(
    id: str, says: str, source: str, grade: str = "documented", advisory: bool = False
) -> None:
    RULES[id] = Rule(id, says, source, grade, advisory)


# shapes and memories
_rule(
    "partition-limit",
    "a tile has at most 128 partitions",
    "model TC#1; errors err_num_partition_exceed_arch_limit",
)
_rule(
    "psum-bank", "a PSUM tile fits in one bank: 2 KiB, 512 fp32, per partition", "model TC#2; alloc"
)
_rule(
    "stationary-free-limit",
    "the stationary operand has at most 128 free elements",
    "model TC#3; isa nc_matmul",
)
_rule(
    "moving-free-limit",
    "the moving operand has at most 512 free elements",
    "model TC#3; isa nc_matmul",
)
_rule(
    "free-size-limit",
    "an instruction reads at most 64 Ki elements per partition in SBUF, 4 Ki in PSUM",
    "arch",
)
_rule(
    "dimension-limit",
    "an axis exceeds the limit of the function",
    "errors err_size_of_dimension_exceed_arch_limit",
)
_rule("rank", "a tile has a partition axis and at least one free axis", "issues, Indexing; errors")
_rule("rank-limit", "too many axes for this function", "errors err_exceed_max_supported_dimension")
_rule(
    "partition-axis",
    "the first axis of a tile is the partition axis",
    "errors err_failed_to_infer_tile_from_local_tensor, "
    "err_leading_dimension_of_tensor_must_be_partition",
)
_rule(
    "partition-mismatch",
    "operands have the same number of partitions",
    "errors err_num_partition_mismatch",
)
_rule("shape-mismatch", "operand shapes do not fit together", "isa")
_rule(
    "contraction-mismatch",
    "both matmul operands have the contraction axis on the partitions",
    "model LC#1",
)
_rule(
    "dma-element-count",
    "source and destination of a DMA have the same shape",
    "nl load, store; isa dma_copy",
)
_rule(
    "assign-shape",
    "an assignment's destination is at least as large as its source",
    "errors err_store_dst_shape_smaller_than_other_shape",
)
_rule(
    "memory",
    "an operand lies in a memory that the instruction reaches",
    "errors err_unsupported_memory; arch",
)
_rule(
    "matmul-destination",
    "a matmul writes to PSUM, the only memory TensorE can write",
    "isa nc_matmul; arch",
)
_rule(
    "matmul-bank",
    "a matmul or a transpose of TensorE writes inside one PSUM bank, and a PSUM tile begins a bank",
    "arch, tile size and PSUM; alloc; nki.compiler psum; 0.6 migration, direct allocation",
)
_rule(
    "two-psum-inputs",
    "at most one of two tensor operands is in PSUM",
    "isa tensor_tensor, scalar_tensor_tensor",
)
_rule("gpsimd-psum", "GpSimdE does not reach PSUM", "isa tensor_copy; arch")
_rule(
    "start-partition",
    "a tile starts at partition 0; 0 or 64 if it has at most 64; 0, 32, 64 or 96 if at most 32",
    "arch, start partition",
)
_rule(
    "sbuf-capacity",
    "the tiles live at one time fit in SBUF",
    "arch; model: beyond it the compiler spills to HBM",
)
_rule(
    "psum-capacity",
    "the tiles live at one time fit in the 8 PSUM banks",
    "arch; model: beyond it the compiler spills",
)
_rule(
    "hbm-init",
    "HBM tensors are not created with a value",
    "errors err_hbm_tensor_with_init_value_not_supported",
)
_rule(
    "shared-hbm-level",
    "shared_hbm tensors are created at the top level of the kernel",
    "errors err_shared_hbm_must_in_kernel_level",
)
_rule(
    "element-count",
    "an operand has the number of elements per partition that the instruction takes",
    "isa",
)
_rule(
    "one-axis-tile",
    "a tile has a partition axis and a free axis; one of a single axis is taken as a column",
    "issues, Indexing",
    "reported",
    advisory=True,
)
_rule(
    "inserted-copy",
    "an operand lies in a memory that the instruction reads; the compiler copies it there "
    "otherwise",
    "isa nc_matmul, affine_select",
    "reported",
    advisory=True,
)
_rule(
    "rearranged-access",
    "an instruction reads its operands as it is documented to; the compiler rearranges other "
    "accesses",
    "isa tensor_tensor, tensor_scalar, tensor_reduce",
    "reported",
    advisory=True,
)
# values and types
_rule("target", "the instruction, or this form of it, exists on the target", "isa")
_rule(
    "dtype",
    "the operand's data type is one the instruction takes",
    "isa; shared, Supported Data Types",
)
_rule(
    "operator",
    "the operator is one that the instruction and engine have",
    "shared, Supported Math Operators",
)
_rule("engine", "the engine can run the instruction", "isa; shared, Supported Math Operators")
_rule(
    "uninitialized-read",
    "only written elements are read",
    "errors err_tensor_output_not_written_to; issues",
    "assumed",
)
_rule(
    "unwritten-output",
    "every element of an output is written",
    "errors err_tensor_output_not_written_to; issues",
)
_rule("argument", "an argument is one that the function takes", "nl; isa")
_rule(
    "namespace-old",
    "a kernel of neuronxcc.nki uses nothing of nki",
    "migrate 0.3 to 0.4, Breaking changes, says it of the other direction",
    "assumed",
)
# indexing and masks
_rule("out-of-bounds", "indices stay inside the tensor", "errors err_tensor_access_out_of_bound")
_rule(
    "negative-index",
    "negative indices are not affine access patterns",
    "errors err_tensor_access_out_of_bound",
    "assumed",
)
_rule("arange-1d", "index grids have at least two axes", "errors err_1d_arange_not_supported")
_rule(
    "mixed-indexing",
    "slices and index grids are not mixed in one subscript",
    "errors err_unsupported_mixing_basic_advanced_tensor_indexing",
)
_rule(
    "mask-truth",
    "masks are joined with & and |: 'and' and 'or' keep one of the two",
    "errors err_control_flow_condition_depending_on_arange",
    "reported",
    advisory=True,
)
_rule(
    "index-assign",
    "index and mask objects cannot be assigned to",
    "errors err_cannot_assign_to_index",
)
_rule(
    "mask",
    "a mask is an affine comparison of static indices",
    "errors err_unsupported_expression_in_mask",
)
_rule(
    "indirect-index",
    "run-time indices select rows (partitions) of an HBM tensor",
    "errors err_indirect_indices_free_dim, err_indirect_indices_are_not_supported_with_nki_api",
)
_rule("partition-stride", "partitions are accessed without a stride", "arch, start partition")
# the language
_rule(
    "numpy-on-tile",
    "tiles are computed on by NKI functions, not by NumPy",
    "model, tile-based operations",
    "assumed",
)
_rule(
    "truth-value",
    "control flow does not depend on tensor values",
    "errors err_dynamic_control_flow_not_supported, err_ambiguous_tensor_truth_value",
)
_rule(
    "argument-truth",
    "whether an argument was given is asked with 'is not None'",
    "errors err_ambiguous_tensor_truth_value",
    "reported",
    advisory=True,
)
_rule(
    "index-condition",
    "control flow does not depend on arange or mgrid",
    "errors err_control_flow_condition_depending_on_arange",
)
_rule(
    "scope",
    "a tile is used only inside the loop or branch that made it",
    "errors err_local_variable_used_out_of_scope",
)
_rule(
    "operator-broadcast",
    "operators do not broadcast partitions; nl functions do",
    "issues, Partition broadcasting",
)
_rule(
    "immutable-parameter",
    "a kernel does not write to its inputs",
    "errors err_cannot_update_immutable_parameter",
)
_rule(
    "mutable-not-returned",
    "a mutable parameter is returned",
    "errors err_mutable_parameter_not_returned",
)
_rule("no-output", "a kernel returns its output tensors", "errors err_tensor_output_not_written_to")
_rule("output-memory", "a kernel returns HBM tensors", "issues, Top-level tensors must be on HBM")
_rule("input", "kernel inputs are NumPy arrays of NKI data types", "nki.simulate_kernel; shared")
_rule(
    "nested-grid",
    "a kernel with a grid is not called inside a kernel",
    "errors err_nested_kernel_with_spmd_grid",
)
_rule(
    "outside-kernel",
    "NKI functions are called inside a kernel",
    "errors err_nki_api_outside_of_nki_kernel",
)
_rule(
    "instruction-limit",
    "a kernel ends before it has issued as many instructions as its run allows",
    "nkisim.Config(most_instructions=...)",
    "assumed",
)
_rule(
    "annotation", "a value has the shape of its annotation", "errors err_annotation_shape_mismatch"
)
_rule(
    "affine-dependency",
    "iterations of an affine_range do not read what its other iterations wrote; matmuls summed in "
    "PSUM and t += x aside",
    "nl affine_range, sequential_range",
)
_rule(
    "allocated-bias",
    "in a kernel that places its tiles itself, an activation has a bias tile",
    "errors err_bias_tensor_must_be_specified_in_allocation",
)
_rule(
    "allocated-init",
    "tensors that the kernel places itself are not created with a value",
    "errors err_tensor_creation_on_scratchpad_with_init_value_not_supported",
)
_rule(
    "allocated-transpose",
    "a kernel that places its tiles itself brings the identity matrix of its transposes on TensorE",
    "errors err_transpose_on_tensor_engine_not_allowed_in_allocated_kernel",
)
_rule(
    "allocated-place",
    "a tile that the kernel places itself lies where there is memory",
    "alloc; nki.compiler sbuf, psum",
)
_rule(
    "output-dependency",
    "iterations of an affine_range, and program instances, write different elements",
    "errors err_unexpected_output_dependencies",
)


REMEDIES: dict[str, str] = {
    "argument": "Pass a value within the limit.",
    "contraction-mismatch": "Slice or transpose one operand, so that both have the contraction "
    "axis on the same partitions.",
    "dimension-limit": "Split the axis into blocks that fit.",
    "dma-element-count": "Slice or reshape one side so that both name the same elements.",
    "dtype": "Copy the values into a tile of such a data type with nisa.tensor_copy, or make the "
    "result with one.",
    "element-count": "Slice it along the free axis, or work on it in parts.",
    "engine": "Name one of these engines, or leave engine= out to let it be chosen.",
    "indirect-view": "Apply the run-time index to the whole tensor, once, and slice what comes "
    "out.",
    "lnc": "Exchange with the other core: ranks 0 and 1 of a kernel launched with kernel[2](...).",
    "matmul-destination": "Make the destination with nl.ndarray(..., buffer=nl.psum).",
    "memory": "Copy it to such a memory first: from HBM with a load, from PSUM with "
    "nisa.tensor_copy.",
    "moving-free-limit": "Split the moving operand into blocks of columns.",
    "operator": "Use one of the operators that the limit lists, or another instruction.",
    "out-of-bounds": "Check the index against the shape.",
    "partition-limit": "Split the first axis into tiles of at most 128.",
    "rank": "Keep a partition axis and a free axis, e.g. t[0:128, 0:1].",
    "rank-limit": "Reshape its free axes into fewer.",
    "shape-mismatch": "Slice or reshape one of them until the shapes fit.",
    "start-partition": "Start the tile at such a partition, or put the rows on the free axis.",
    "stationary-free-limit": "Split the stationary operand into blocks of columns.",
}
"""What to do about a broken rule where the place that found it says nothing more fitting; read
after the limit."""
