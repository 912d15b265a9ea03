"""Stage 10 at a distance: the step is Python and runs in the child; what it asks for comes from the
judge, who sees every call.

The judge's kernel adds numbers to its answer that nobody else knows. A step that hands the kernel's
answer on hands them on too, whatever the order of its heads; one that computes attention by itself
does not. (One that gives the kernel something else and works out from its answer what was added is
found by the check: what is right must be what the kernel answers.)
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from . import protocol

_SAME = 1e-5
"""Relative to the largest answer: no two rows of random numbers are so near to each other, and sums
of float32 are nearer."""


def answer(
    step: Any, header: dict[str, Any], blobs: list[bytes], reader: IO[bytes], writer: IO[bytes]
) -> protocol.Message:
    """In the child: call the step, and hand over its output and the cache as it left it."""
    q, k, v, cache_k, cache_v = protocol.arrays(header["arrays"], blobs)

    def asked(what: dict[str, Any], *arrays: Any) -> Any:
        said, parts = protocol.described([np.asarray(a, np.float32) for a in arrays])
        protocol.send(writer, {**said, **what}, *parts)
        reply, answers = protocol.receive(reader)
        if "refusal" in reply:
            raise ValueError(str(reply["refusal"]))
        return protocol.arrays(reply["arrays"], answers)[0]

    def rotate(x: Any, position: int) -> Any:
        return asked({"ask": "rotate", "position": int(position)}, x)

    def kernel(q: Any, k: Any, v: Any, softmax_scale: float | None = None) -> Any:
        scale = None if softmax_scale is None else float(softmax_scale)
        return asked({"ask": "kernel", "scale": scale}, q, k, v)

    cache = SimpleNamespace(k=cache_k, v=cache_v)
    output = step(q, k, v, header["layer"], header["position"], cache, rotate, kernel)
    if not isinstance(output, np.ndarray):
        return {"nothing": type(output).__name__}, []
    if output.dtype not in (np.float32, np.float64):
        return {"nothing": f"{output.dtype} array"}, []
    said, parts = protocol.described([output.astype(np.float32), cache.k, cache.v])
    return {**said, "dtype": str(output.dtype)}, parts


class HeldStep:
    """In the judge: an attention step whose text is held by a child."""

    def __init__(self, holder: Any, name: str) -> None:
        self.holder = holder
        self.__name__ = name
        self.secret = np.random.default_rng()

    def __call__(
        self,
        q: Any,
        k: Any,
        v: Any,
        layer: int,
        position: int,
        cache: Any,
        rotate: Any,
        kernel: Any,
    ) -> Any:
        said, parts = protocol.described([q, k, v, cache.k, cache.v])
        reply, blobs = self.holder.exchange(
            {**said, "do": "step", "layer": layer, "position": position}, *parts
        )
        self.holder.told = True
        answers: list[Any] = []
        while "ask" in reply:
            given = protocol.arrays(reply.get("arrays"), blobs)
            reply, blobs = self.holder.exchange(
                *self._answered(reply, given, rotate, kernel, answers)
            )
        self.holder.check(reply)
        if "nothing" in reply:
            return None if reply["nothing"] == "NoneType" else str(reply["nothing"])
        made = protocol.arrays(reply.get("arrays"), blobs)
        if len(made) != 3:
            raise protocol.Broken("a step without its output and the cache")
        output, new_k, new_v = made
        if new_k.shape == cache.k.shape and new_v.shape == cache.v.shape:
            cache.k[...], cache.v[...] = new_k, new_v
        if len(answers) == 1 and output.size == q.size and answers[0][0].shape[1] >= q.shape[1]:
            plain, added = (x[:, : q.shape[1]] for x in answers[0])
            output = _without(output.reshape(q.shape), plain, added).reshape(output.shape)
        return output.astype(np.float64 if reply.get("dtype") == "float64" else np.float32)

    def _answered(
        self, reply: dict[str, Any], given: list[Any], rotate: Any, kernel: Any, answers: list[Any]
    ) -> tuple[Any, ...]:
        """The message that answers what the step asks for."""
        try:
            if reply["ask"] == "rotate":
                answer = rotate(given[0], int(reply["position"]))
            else:
                scale = reply.get("scale")
                answer = kernel(*given, softmax_scale=None if scale is None else float(scale))
                added = self.secret.standard_normal(answer.shape).astype(np.float32)
                answers.append((answer, added))
                answer = answer + added
        except Exception as error:
            return ({"refusal": f"{type(error).__name__}: {error}"[:2000]},)
        said, parts = protocol.described([np.asarray(answer, np.float32)])
        return (said, *parts)


def _without(output: Any, plain: Any, added: Any) -> Any:
    """A step's output (Hq, d) without the numbers that were `added` to the kernel's `plain`
    answer: of each row those of the answer's row that it hands on, else those of its own place."""
    found = []
    same = _SAME * max(1.0, float(abs(plain).max()))
    for place, row in enumerate(output):
        with np.errstate(all="ignore"):
            off = abs(plain + added - row).max(axis=1)
        near = int(np.argmin(off))
        if off[near] <= same:
            found.append(plain[near])
        else:
            found.append(row - added[min(place, len(added) - 1)])
    return np.stack(found)
