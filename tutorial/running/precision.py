"""What 16-bit inputs cost: how far a right bfloat16 kernel may be from the oracle, and what must
not be kept in 16 bits.

bfloat16 has 8 significant bits, so rounding to it changes a value by a factor of 1 + e with |e| <=
u = 2**-8. A right kernel takes q, k and v as they are, and keeps scores, m, l and acc in float32.
It rounds three times:

    the weights   p_j (1 + e_j)    moves sum_j p_j v_j by at most u sum_j p_j |v_j|, and, if l
                                   sums the rounded weights, l by at most u l: o by u |o|
    the output    o (1 + e)        moves o by u |o|
    q scale       (q scale) (1+e)  if q is scaled before the matmul: moves the score of key j by at
                                   most u scale sum_i |q_i k_ij|; nothing where the scale is a
                                   power of two, since then no digit is lost

With p_j / l the softmax weights, all sums over keys divide by l. What float32 adds is as in the
float32 stages (`tolerance`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention
from .tolerance import Float32

UNIT = 2.0**-8  # rounding a value in [1, 2) to multiples of 2**-7 moves it by 2**-8 at most
SHORT = ("bfloat16", "float16")


def bound(attention: Attention) -> NDArray[np.float64]:
    """The largest error of o (Hq, d) that rounding to bfloat16 can cause in a right kernel."""
    single = Float32(attention)
    size = np.abs(single.o)
    error = UNIT * (single.spread + 2 * size)
    scale = abs(attention.scale)
    if scale and math.frexp(scale)[0] != 0.5:
        q = np.abs(attention.q.astype(np.float64))
        k = np.abs(attention.k.astype(np.float64))
        off = UNIT * scale * (q.reshape(attention.n_kv_heads, attention.group, attention.d) @ k)
        moved = single.weights * np.expm1(off)
        error += moved @ np.abs(single.values).swapaxes(1, 2)
        error += moved.sum(axis=2, keepdims=True) * size
    found: NDArray[np.float64] = error.reshape(attention.n_q_heads, attention.d) * (1 + 4 * UNIT)
    return found + single.bound


def kept_short(instructions: Sequence[Any]) -> str | None:
    """A sentence if a kernel keeps in 16 bits what must be float32: the running state, sums over
    keys, or the scores."""
    state: dict[str, str] = {}
    scores: dict[str, str] = {}
    makers: dict[str, Any] = {}
    for made in instructions:
        makers[made.dst[0].name] = made
        for place, out in enumerate(made.dst):
            if out.dtype not in SHORT or out.space == "hbm":
                continue
            if (
                out.name in ("m", "l", "acc")
                or (place == 1 and made.op == "activation")
                or _sums(made)
                or (_adds(made) and out.name in _read_for(made, makers))
            ):
                state.setdefault(out.name, out.dtype)
        if made.op == "activation" and made.attrs.get("op") == "exp":
            for operand in _computed(made.srcs[0], makers):
                # not m
                if (
                    operand.dtype in SHORT
                    and operand.shape == made.srcs[0].shape
                    and operand.shape[-1] > 1
                ):
                    scores.setdefault(operand.name, operand.dtype)
    scores = {name: dtype for name, dtype in scores.items() if name not in state}
    for found, advice in (  # what is computed from scores in 16 bits is in 16 bits as well
        (scores, "but scores of 1000 then come in steps of 4: what exp sees must be float32."),
        (
            state,
            "which has too few digits to carry a running max or sum: in bf16 256 + 1 stays 256.",
        ),
    ):
        if found:
            own = [name for name in found if "(" not in name]  # the reader's, if there are any
            names = [name for name in ("m", "l", "acc") if name in found] or (own or [*found])[:3]
            verb, them = ("is", "it") if len(names) == 1 else ("are", "them")
            return (
                f"{' and '.join(names)} {verb} kept in {found[names[0]]}, {advice} Keep {them} "
                "in float32."
            )
    return None


def _computed(operand: Any, makers: Mapping[str, Any], depth: int = 3) -> Iterator[Any]:
    """An operand, and what it was computed from, back to the matmul and not beyond."""
    yield operand
    maker = makers.get(operand.name)
    if maker is not None and depth and maker.op not in ("nc_matmul", "dma_copy"):
        for source in maker.srcs:
            if source.name != operand.name and source.space not in ("hbm", "constant"):
                yield from _computed(source, makers, depth - 1)


def _read_for(made: Any, makers: Mapping[str, Any]) -> set[str]:
    """The names of what an instruction reads, and of what that was computed from."""
    return {own.name for source in made.srcs for own in _computed(source, makers)}


def _adds(made: Any) -> bool:
    return "add" in (made.attrs.get("op"), made.attrs.get("op0"), made.attrs.get("op1"))


def _sums(made: Any) -> bool:
    """Whether an instruction adds up a row, or adds to what its destination held."""
    if made.attrs.get("accumulate"):  # a matmul onto what its bank held
        return True
    if made.op == "tensor_reduce":
        return bool(made.attrs.get("op") == "add")
    return _adds(made) and any(source.name == made.dst[0].name for source in made.srcs)
