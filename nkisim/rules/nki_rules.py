"""The rules that only kernels of the dialect `nki` can break; sources as in `rules`."""

from __future__ import annotations

from .rules import RULES, Rule


def _nki(
    id: str, says: str, source: str, grade: str = "documented", advisory: bool = False
) -> None:
    RULES[id] = Rule(id, says, source, grade, advisory, "nki")


# the dialect nki: what its official simulator accepts and its compiler does not
_nki(
    "nl-divide",
    "the device has no division: nl.divide is not compiled",
    "notes 0.3.0 and 0.4.0, Known Issues",
)
_nki(
    "nl-modulo",
    "the device has no remainder: nl.mod and nl.fmod are simulated but not compiled",
    "notes 0.3.0 and 0.4.0, Known Issues",
)
_nki(
    "nl-broadcast",
    "both operands of an nl operation have the same shape",
    "notes 0.3.0 and 0.4.0, Known Issues",
    advisory=True,
)
_nki(
    "nl-power-scalar",
    "nl.power takes two tiles",
    "notes 0.3.0 and 0.4.0, Known Issues",
    advisory=True,
)
_nki(
    "matmul-transpose-x",
    "nl.matmul is called with transpose_x=True",
    "notes 0.3.0 and 0.4.0, Known Issues",
    advisory=True,
)
_nki(
    "python-subset",
    "the kernel's text keeps to the part of Python that the compiler takes",
    "guide; migrate 0.2 to 0.3, Language restrictions; sim, Limitations",
    advisory=True,
)
_nki(
    "namespace",
    "a kernel of nki uses nothing of neuronxcc.nki",
    "migrate 0.3 to 0.4, Breaking changes: a compilation error since NKI 0.4",
)
_nki(
    "target-default",
    "what only trn3 has is used with the target set to trn3",
    "sim, Target Platform: the official simulator assumes trn3 where no target is set",
    advisory=True,
)
_nki(
    "output-buffer",
    "output tensors are made in nl.shared_hbm",
    "notes 0.3.0, Breaking Changes",
    advisory=True,
)
_nki(
    "psum-accumulate",
    "a matmul accumulates only onto what a matmul wrote",
    "isa6 nc_matmul; notes 0.6.0",
    advisory=True,
)
_nki(
    "tensor-operator",
    "tensors have no Python operators: nl and nisa functions compute",
    "nl6 NkiTensor",
    "reported",
)
_nki(
    "indirect-view",
    "a view has one run-time index, and the axis it selects on is neither "
    "sliced nor selected again",
    "nl6 NkiTensor.select, vector_select, ap",
)
_nki(
    "tensor-indirection",
    "elements picked by indirect go into the operands that document it",
    "isa6, Tensor indirection; notes 2.31",
)
_nki(
    "view-shape",
    "a view names the elements that the tensor has, as its layout allows",
    "nl6 NkiTensor",
)
_nki(
    "address-overlap",
    "a tensor is not read after another tensor was written over it",
    "nl6 ndarray address; sim, Limitations: the official simulator does not check",
)
_nki(
    "psum-address",
    "a tensor that the kernel places in PSUM begins a bank",
    "0.6 migration, direct allocation",
)
_nki(
    "enum-constant",
    "options are members of their enumerations, not raw numbers",
    "notes 0.3.0, Breaking Changes",
    advisory=True,
)
_nki(
    "memset-type",
    "the value of a memset has the type of the destination",
    "notes 0.3.0, Breaking Changes",
    advisory=True,
)
_nki(
    "register",
    "a register is a value of the device: neither Python arithmetic nor writes to a "
    "loop's variable",
    "isa6 VirtualRegister; migrate 0.5 to 0.6; notes 0.4.0",
)
_nki(
    "values-needed",
    "on shapes alone, the bound of a loop is not a register loaded from a tile",
    "nkisim.record(values=False)",
    "assumed",
)
_nki(
    "loop-result",
    "the body of nl.fori_loop returns nothing, that of nl.while_loop the next condition",
    "migrate 0.5 to 0.6, Rules for migrated loops",
)
_nki(
    "lnc",
    "a kernel runs on 1 or 2 physical cores of a logical one, with the same control flow on each",
    "isa6 sendrecv, core_barrier; notes 0.3.0, Known Issues",
)
_nki(
    "collectives",
    "collectives connect several devices; one core cannot run them",
    "sim, Known Gaps; nki.collectives",
)
_nki(
    "keyword-argument",
    "keyword arguments of older versions are left out",
    "migrate 0.2 to 0.3; notes 2.27",
    advisory=True,
)
_nki(
    "core-race",
    "two cores touch the same HBM elements, one of them writing, only with a barrier between",
    "isa6 core_barrier, sendrecv",
)
_nki(
    "replicated-write",
    "of two cores that hold the same result, one stores it",
    "isa6 core_barrier, sendrecv",
    "reported",
    advisory=True,
)
