"""Rows that are repeated over partitions by a matmul with ones: which of their instructions the
device does not need.

`tile.broadcast_to` is recorded as a memset of ones, a matmul into PSUM and a copy to SBUF, since
any instruction may read the result. The ones are a constant that is made once, and VectorE and
ScalarE read the product where it lies, in PSUM: so do the published profiles of such kernels. Both
take no time here, unless another engine reads the copy. Source: aws-neuron-sdk v2.26.0
general/nki/arch/trainium_inferentia2_arch.rst (alternative uses of the Tensor Engine),
general/nki/tutorials/fused_mamba.rst.
"""

from __future__ import annotations

from typing import Any

from ..execution.tape import DST, FIRST, OPERAND, SECOND
from ..isa.core import SCALAR, VECTOR
from .cost import Cost, cost_of
from .timing import Timing


class Broadcasts:
    """What a program's broadcasts over partitions make superfluous."""

    def __init__(self, tape: list[Any]) -> None:
        self.removed: set[int] = set()
        """Where on the tape the records lie that take no time."""
        self.in_psum: dict[Any, Any] = {}
        """The PSUM tile in which a broadcast row really lies, by the SBUF tile that it was copied
        to."""
        products: dict[Any, Any] = {}
        copies: list[tuple[int, Any, Any]] = []
        fills: list[tuple[int, Any]] = []
        writes: dict[Any, int] = {}
        elsewhere: set[Any] = set()
        at = 0
        while at < len(tape):
            signature = tape[at]
            dst, src = tape[at + DST], tape[at + FIRST]
            name = signature.instruction.name
            spreads = spreads_row(signature)
            writes[dst] = writes.get(dst, 0) + 1
            if spreads:
                products[dst] = src
            elif name == "memset":
                fills.append((at, dst))
            elif name == "tensor_copy" and src in products and signature.dst is dst.meta:
                copies.append((at, dst, src))
            others = (
                tape[at + SECOND : at + signature.width - 1 : OPERAND]
                if spreads
                else tape[at + FIRST : at + signature.width - 1 : OPERAND]
            )
            if signature.engine not in (VECTOR, SCALAR):
                elsewhere.update(others)
            elif name != "memset":
                # no ones that only matmuls read
                elsewhere.update(x for x in others if x.meta.partitions == 1)
            at += signature.width
        ones = set(products.values())
        self.removed.update(at for at, dst in fills if dst in ones and dst not in elsewhere)
        for at, dst, src in copies:
            if dst not in elsewhere and writes[dst] == writes[src] == 1:
                self.removed.add(at)
                self.in_psum[dst] = src
        self.kept = set(self.in_psum.values())
        """PSUM tiles that are held as long as the SBUF tile for which they stand."""

    def cost(
        self,
        cost: Cost,
        signature: Any,
        tape: list[Any],
        at: int,
        costs: dict[Any, Cost],
        timing: Timing,
    ) -> Cost:
        """The cost of an instruction on VectorE or ScalarE that may read a broadcast row from
        PSUM."""
        sources = tuple(
            (k - FIRST) // OPERAND for k, m in cost.reads if tape[at + k] in self.in_psum
        )
        if (
            not sources
            or len(sources) > 1
            or any(m is None or m.space == "psum" for _, m in cost.reads)
        ):
            return cost  # no engine reads two operands from PSUM
        key = (signature, sources)
        found = costs.get(key)
        if found is None:
            found = costs[key] = cost_of(signature, timing, sources)
        return found


def spreads_row(signature: Any) -> bool:
    """Whether it is the matmul of one row with ones that repeats the row over partitions."""
    return (
        signature.instruction.name == "nc_matmul"
        and signature.srcs[0].partitions == 1
        and bool(signature.attrs.is_stationary_onezero)
    )
