"""What an instruction computes: put off until somebody looks (`machine.values`), or at once."""

from __future__ import annotations

from typing import Any

from ..machine.shapes import ShapeOnly
from ..machine.values import SPENT, Blank, Value, catch_up
from ..tensors.tensor import Tensor
from .execution import Execution
from .signature import Signature


def put_off(
    execution: Execution, signature: Signature, dst: Tensor, srcs: tuple[Tensor, ...]
) -> None:
    """Let what the instruction computes be written to `dst` once somebody looks."""
    held = dst.held
    queue = execution.queue
    if type(held.array) is Blank:
        if signature.exact:  # nothing of the zeros would be left
            held.array = None
            queue.append((signature.compute, held, *[s.held for s in srcs]))
            return
        dst.present()
    if len(srcs) == 1:
        queue.append((signature.into, SPENT, srcs[0].held, held))
    else:
        queue.append((signature.into, SPENT, *[s.held for s in srcs], held))
    if len(queue) > execution.most:
        catch_up(queue)


def at_once(
    execution: Execution,
    signature: Signature,
    srcs: tuple[Tensor, ...],
    extra: Tensor | None,
    dst: Tensor | None = None,
) -> tuple[Any, Any]:
    """Compute, and write to `dst` if that is given; the results, as tensors hold them (the first
    only if it is a new tile's) and as an array."""
    arrays = [s.array for s in srcs]
    catch_up(execution.queue)  # there may be no source
    second = None
    if dst is not None and signature.into is not None:
        signature.into(*arrays, dst.array)
        return None, None
    result = signature.compute(*arrays)
    if extra is not None:
        result, second = result
    if dst is None:
        return result if type(result) is ShapeOnly else Value(result), second
    if execution.values:
        shape = dst.meta.shape
        dst.array[...] = result if result.shape == shape else result.reshape(shape)
    return None, second
