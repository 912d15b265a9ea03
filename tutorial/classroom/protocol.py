"""How the judge and the child that holds a submission talk: messages of bounded size over a pipe.

A message is a header (JSON) and blobs of bytes. What comes from the child is data, whatever it
says: lengths are checked before anything of that size is read, and the header holds plain values.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any

import numpy as np

from nkisim.machine import dtypes

Message = tuple[dict[str, Any], list[bytes]]
"""A header, and the blobs that came with it."""
MOST_HEADER = 1 << 20
MOST_BLOB = 256 << 20
MOST_BLOBS = 64
MOST_INSTRUCTIONS = 1_000_000
"""Of a submission, on one input."""
_SIZE = struct.Struct("<Q")


class Broken(Exception):
    """The other end is gone, or says what is not a message; the text is one sentence."""


def send(stream: IO[bytes], header: dict[str, Any], *blobs: bytes) -> None:
    """Write one message. Raises Broken where nobody reads it."""
    text = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    try:
        stream.write(_SIZE.pack(len(text)) + text)
        for blob in blobs:
            stream.write(blob)
        stream.flush()
    except (OSError, ValueError) as error:
        raise Broken("the other end has closed the pipe") from error


def receive(stream: IO[bytes]) -> Message:
    """Read one message. Raises Broken for what is none, or is too large."""
    (size,) = _SIZE.unpack(_exactly(stream, _SIZE.size))
    if size > MOST_HEADER:
        raise Broken(f"a message of {size} bytes, at most {MOST_HEADER} are taken")
    try:
        header = json.loads(_exactly(stream, size))
    except (ValueError, RecursionError) as error:
        raise Broken("what came is not a message") from error
    sizes = header.pop("blobs", None) if isinstance(header, dict) else None
    if not isinstance(sizes, list) or len(sizes) > MOST_BLOBS:
        raise Broken("what came is not a message")
    if any(type(n) is not int or not 0 <= n <= MOST_BLOB for n in sizes):
        raise Broken(f"a message with more than {MOST_BLOB} bytes in one part")
    if sum(sizes) > MOST_BLOB:
        raise Broken(f"a message of more than {MOST_BLOB} bytes")
    return header, [_exactly(stream, n) for n in sizes]


def _exactly(stream: IO[bytes], size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(min(size, 1 << 20))
        if not part:
            raise Broken("the pipe was closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def printable(value: Any) -> Any:
    """The same plain values, whose texts can be written to any file and shown on any screen: what
    is not a character or moves a cursor becomes a question mark."""
    if isinstance(value, str):
        if value.isprintable():
            return value
        return "".join(c if c.isprintable() or c in "\n\t\u00a0" else "?" for c in value)
    if isinstance(value, dict):
        return {printable(k): printable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(v) for v in value]
    return value


def described(arrays: list[Any]) -> Message:
    """Arrays as a header and their bytes."""
    parts = [np.ascontiguousarray(a) for a in arrays]
    said = [{"shape": list(a.shape), "dtype": dtypes.name(a.dtype)} for a in parts]
    return {"arrays": said}, [a.tobytes() for a in parts]


def arrays(said: Any, blobs: list[bytes]) -> list[np.ndarray[Any, Any]]:
    """The arrays of a message. Raises Broken where they are not what it says."""
    made, rest = [], iter(blobs)
    entries = said if isinstance(said, list) else []
    for entry in entries:
        if not isinstance(entry, dict) or "shape" not in entry:
            continue
        shape, blob = entry["shape"], next(rest, None)
        if blob is None or not isinstance(shape, list) or len(shape) > 8:
            raise Broken("a message without the arrays that it names")
        if any(type(n) is not int or not 0 <= n <= MOST_BLOB for n in shape):
            raise Broken("an array whose shape is none")
        try:
            dtype = dtypes.resolve(entry["dtype"])
            made.append(np.frombuffer(blob, dtype).reshape(shape).copy())
        except (KeyError, ValueError, TypeError) as error:
            raise Broken("an array that is not what its message says") from error
    return made
