"""One instruction of a flat replay as one call of NumPy into its destination, where there is one
with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..execution import conditions
from ..tensors.tensor import IndexedTensor
from .flat_steps import Recipe

Step = Callable[[], Any]
_copyto = np.copyto


def instruction(
    recipe: Recipe, out: np.ndarray, arrays: list[Any], second: np.ndarray | None, cast: Any
) -> Step:
    """The call of an instruction whose arrays stay where they are."""
    signature = recipe.signature
    assert signature is not None
    plan, compute = signature.plan, signature.compute
    if second is not None or recipe.mask is not None or plan.stateful:
        return General(recipe, out, arrays, second, cast).run
    if plan.shape == out.shape:
        found = _straight(signature, compute, arrays, out)
        if found is not None:
            return found
    shape = out.shape
    if plan.shape == shape:
        if len(arrays) == 1:
            (a,) = arrays
            return lambda: _copyto(out, compute(a))
        if len(arrays) == 2:
            a, b = arrays
            return lambda: _copyto(out, compute(a, b))
        return lambda: _copyto(out, compute(*arrays))
    return lambda: _copyto(out, compute(*arrays).reshape(shape))


def pure(recipe: Recipe) -> bool:
    """Whether it depends on its operands only."""
    assert recipe.signature is not None
    return recipe.mask is None and not recipe.signature.plan.stateful


def alone(
    recipe: Recipe, out: np.ndarray, arrays: list[Any], second: np.ndarray, cast: Any
) -> Step | None:
    """The call of an instruction that resets registers, reduces into them and reads them out, where
    nothing else looks at them: None of one of another kind."""
    signature = recipe.signature
    assert signature is not None and signature.extra is not None
    compute, dtype, extra = signature.plan.alone, signature.dst.dtype, signature.extra.dtype
    if compute is None:
        return None

    def run() -> None:
        result, more = compute(*arrays)
        out[...] = cast(result, dtype).reshape(out.shape)
        second[...] = cast(more, extra).reshape(second.shape)

    return run


def constant(value: np.ndarray, out: np.ndarray) -> Step:
    """What depends on no value is computed once."""
    stored = np.ascontiguousarray(value, dtype=out.dtype)
    first = stored.reshape(-1)[:1]
    if stored.tobytes() == first.tobytes() * stored.size:
        return partial(out.fill, first[0])
    return partial(_copyto, out, stored)


def _straight(signature: Any, compute: Any, arrays: list[Any], out: np.ndarray) -> Step | None:
    """The call of NumPy that computes into the destination, if there is one with the same bits."""
    if isinstance(compute, np.ufunc) and all(isinstance(a, np.ndarray) for a in arrays):
        if compute in (np.maximum, np.minimum):  # these take no output by position
            return partial(compute, *arrays, out=out)
        return partial(compute, *arrays, out)
    if compute is np.ndarray.copy:
        return partial(_copyto, out, arrays[0])
    name = signature.instruction.name
    if name == "tensor_copy_predicated" and arrays[2] is out:
        # what it leaves as it is needs no rounding
        plain = out.dtype == np.float32 == signature.dst.dtype
        return _chosen(signature.attrs.reverse_pred, arrays, out) if plain else None
    if compute is not signature.plan.compute:
        return None
    if name == "nc_matmul" and _plain_product(arrays, out):
        return partial(np.dot, arrays[0].T, arrays[1], out)
    # exact: on the first generation it is a matmul, in which a NaN spoils its row
    if name == "nc_transpose" and signature.plan.dtype is not None and arrays[0].ndim == 2:
        return _transpose(arrays[0].T, out) if out.shape == arrays[0].shape[::-1] else None
    if name == "tensor_scalar" and len(arrays) == 3 and _two_steps(signature.attrs, arrays, out):
        return _in_two_steps(signature.attrs, arrays, out)
    return None


_STEPS = (np.add, np.subtract, np.multiply, np.divide)


def _two_steps(attrs: Any, arrays: list[Any], out: np.ndarray) -> bool:
    """Whether (data op0 operand0) op1 operand1 may be computed in its destination."""
    tiles = [a for a in (*arrays, out) if isinstance(a, np.ndarray)]
    last = arrays[2]
    return (
        attrs.op0.function in _STEPS
        and attrs.op1.function in _STEPS
        and not (attrs.reverse0 or attrs.reverse1 or attrs.op0.unary or attrs.op1.unary)
        and all(a.dtype == np.float32 and a.ndim == 2 for a in tiles)
        and not (isinstance(last, np.ndarray) and np.may_share_memory(last, out))
    )


def _in_two_steps(attrs: Any, arrays: list[Any], out: np.ndarray) -> Step:
    first, second = attrs.op0.function, attrs.op1.function
    data, one, two = arrays

    def run() -> None:
        first(data, one, out)
        second(out, two, out)

    return run


def _chosen(reverse: bool, arrays: list[Any], out: np.ndarray) -> Step | None:
    """A selection that leaves the rest of its destination as it is."""
    predicate, value, _ = arrays
    if not isinstance(value, np.ndarray):
        value = np.float32(value)
    elif value.shape != out.shape or value.dtype != np.float32:
        return None
    # what is repeated is compared once
    once = predicate[tuple([slice(0, 1 if s == 0 else None) for s in predicate.strides])]
    choose = np.equal if reverse else np.not_equal
    if not isinstance(value, np.ndarray) and predicate.ndim > 1 and not predicate.strides[-1]:
        along = predicate[..., 0]

        def rows() -> None:
            chosen = choose(along, 0)
            if chosen.any():
                out[chosen] = value

        return rows
    return lambda: _copyto(out, value, where=choose(once, 0))


def _plain_product(arrays: list[Any], out: np.ndarray) -> bool:
    a, b = arrays[:2]
    return (
        len(arrays) == 2
        and a.ndim == b.ndim == 2 == out.ndim
        and a.dtype == b.dtype == out.dtype == np.float32
        and out.flags.c_contiguous
        and out.shape == (a.shape[1], b.shape[1])
    )


def _transpose(source: np.ndarray, out: np.ndarray) -> Step:
    """A copy of a transposed tile, 64 columns at a time: whole rows of 128 fp32 columns lie at
    distances that are powers of two, for which caches have no room (five times as slow)."""
    width = out.shape[1]
    if width <= 64:
        return partial(_copyto, out, source)
    parts = [(out[:, at : at + 64], source[:, at : at + 64]) for at in range(0, width, 64)]

    def run() -> None:
        for into, part in parts:
            _copyto(into, part)

    return run


class General:
    """An instruction with a mask, registers, two results, or operands that are bound at each
    call."""

    def __init__(
        self,
        recipe: Recipe,
        out: np.ndarray,
        arrays: list[Any],
        second: np.ndarray | None,
        cast: Any,
    ) -> None:
        signature = recipe.signature
        assert signature is not None
        self.plan, self.compute = signature.plan, signature.compute
        self.out, self.arrays, self.second, self.cast = out, arrays, second, cast
        self.extra = signature.extra
        self.skip = recipe.skip
        self.shape = signature.dst.shape
        self.where: Any = recipe.mask
        if self.where is not None:
            first = signature.srcs[0].shape
            grid = first if self.plan.kind in ("reduce", "transpose") else self.shape
            self.where = np.broadcast_to(self.where, grid)

    def late(self, reads: dict[int, Callable[[], Any]], leave: Callable[..., None]) -> None:
        """Compute with operands that are read now. `leave`: takes note of what is left out."""
        values = list(self.arrays)
        where = self.where
        for k, bound in reads.items():
            found = values[k] = bound()
            if type(found) is IndexedTensor and self.skip:
                inside = found.inside()
                leave(found, where, inside)
                where = inside if where is None else where & inside
        for k in reads:
            if type(values[k]) is IndexedTensor:
                values[k] = values[k].gather(where)
        self._compute(values, where)

    def run(self) -> None:
        """Compute."""
        self._compute(self.arrays, self.where)

    def _compute(self, values: list[Any], where: Any) -> None:
        plan, out = self.plan, self.out
        keep = conditions.kept(plan, where, self.shape)
        if keep is not None and plan.kind == "reduce":
            values = [conditions.others(where, values[0], plan.identity), *values[1:]]
        result = self.compute(*values)
        if self.second is not None:
            result, more = result
        result = result.reshape(out.shape)
        if keep is None:
            out[...] = result
        else:
            _copyto(out, result, where=keep)
        if self.second is not None:
            assert self.extra is not None
            self.second[...] = self.cast(more, self.extra.dtype).reshape(self.second.shape)
