"""Stage 10 at a distance: the step is Python and runs in the child; what it asks for comes from the
judge, who sees every call.

The judge's kernel adds numbers to its answer that nobody else knows. A step that hands the kernel's
answer on hands them on too; one that computes attention by itself does not.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import IO, Any

import numpy as np

from . import protocol


def answer(
    step: Any, header: dict[str, Any], blobs: list[bytes], reader: IO[bytes], writer: IO[bytes]
) -> tuple[dict[str, Any], list[bytes]]:
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
        added: list[Any] = []
        while "ask" in reply:
            given = protocol.arrays(reply.get("arrays"), blobs)
            reply, blobs = self.holder.exchange(
                *self._answered(reply, given, rotate, kernel, added)
            )
        self.holder.check(reply)
        if "nothing" in reply:
            return None if reply["nothing"] == "NoneType" else str(reply["nothing"])
        output, new_k, new_v = protocol.arrays(reply.get("arrays"), blobs)
        if new_k.shape == cache.k.shape and new_v.shape == cache.v.shape:
            cache.k[...], cache.v[...] = new_k, new_v
        if len(added) == 1 and added[0][:, : q.shape[1]].size == output.size:
            output = output - added[0][:, : q.shape[1]].reshape(output.shape)
        return output.astype(np.dtype(str(reply.get("dtype", "float32"))))

    def _answered(
        self, reply: dict[str, Any], given: list[Any], rotate: Any, kernel: Any, added: list[Any]
    ) -> tuple[Any, ...]:
        """The message that answers what the step asks for."""
        try:
            if reply["ask"] == "rotate":
                answer = rotate(given[0], int(reply["position"]))
            else:
                scale = reply.get("scale")
                answer = kernel(*given, softmax_scale=None if scale is None else float(scale))
                added.append(self.secret.standard_normal(answer.shape).astype(np.float32))
                answer = answer + added[-1]
        except Exception as error:
            return ({"refusal": f"{type(error).__name__}: {error}"[:2000]},)
        said, parts = protocol.described([np.asarray(answer, np.float32)])
        return (said, *parts)
