"""The layout of a batch whose sequences differ in length: its cases, the check of a caller's
inputs, the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention
from ..stage import Case, InputError
from . import families, realdata
from .draw import OWN, TILE, Draw
from .families import FAMILIES
from .layouts import (
    check_arrays,
    check_sizes,
    check_values,
    grouped_softmax,
    real_heads,
    scale_of,
)

F32 = NDArray[np.float32]

LENGTHS = (1, 127, 128, 129, 0, 300)
"""The lengths at which tiles of 128 begin and end, no keys at all, and a full cache."""

SOME_LENGTHS = (129, 1, 0, 300)
"""Fewer of them, for the families whose point is in the scores."""

PADDING = {
    "ordinary": ("keys that are not the sequence's own", 0.0, 0.0),
    "NaN": ("a max, a weight or a value that the padding gets into: NaN stays NaN", np.nan, np.nan),
    "infinity": ("a mask that is added or multiplied: infinity survives it", np.inf, -np.inf),
    "1e4": ("a mask that comes after the max, or is not low enough", 1e4, 1e4),
    "NaN in K": ("scores that are masked after the max, or by a multiplication", np.nan, 0.0),
    "NaN in V": ("values that are not cleaned: a weight of 0 times NaN is NaN", 0.0, np.nan),
}
"""What k and v hold beyond the length: what that reveals, and the number added to what a sequence
before left there."""


def batch_case(
    name: str,
    lengths: Sequence[int],
    n_q: int,
    n_kv: int,
    d: int,
    n: int,
    padding: str = "ordinary",
    family: str | None = None,
    reveals: str | None = None,
    draw: Draw = OWN,
    **options: float,
) -> Case:
    """A family for a batch: q (B, d, Hq), k and v (B, Hkv, d, n), lengths (B, 1) int32.

    Sequence b is the family's own input at lengths[b] keys, so that what must stand at a family's
    last key stands at the sequence's last one.
    """
    if family is None:
        lengths = draw.lengths(lengths, name)
    q = np.zeros((len(lengths), d, n_q), np.float32)
    k, v = (np.zeros((len(lengths), n_kv, d, n), np.float32) for _ in "kv")
    _, in_k, in_v = PADDING[padding]
    for b, length in enumerate(lengths):
        q[b], own_k, own_v = families.heads(name, n_q, n_kv, d, max(length, 1), draw)
        k[b, :, :, :length], v[b, :, :, :length] = own_k[..., :length], own_v[..., :length]
        if length < n:
            _, k[b, :, :, length:], v[b, :, :, length:] = families.heads(
                "random", n_q, n_kv, d, n - length, draw
            )
            k[b, :, :, length:] += np.float32(in_k)
            v[b, :, :, length:] += np.float32(in_v)
    args = {"q": q, "k": k, "v": v, "lengths": np.array(lengths, np.int32)[:, None]}
    reveals = reveals or FAMILIES[name].reveals
    return Case(family or name, reveals, args, options, not FAMILIES[name].digits)


def padded_case(padding: str, lengths: Sequence[int], n: int, draw: Draw = OWN) -> Case:
    """Random sequences before padding of one kind."""
    lengths = draw.lengths(lengths, padding)
    name, reveals = f"padding: {padding}", PADDING[padding][0]
    return batch_case("random", lengths, 2, 1, 64, n, padding, name, reveals, draw)


def edge_case(lengths: Sequence[int], n: int, draw: Draw = OWN) -> Case:
    """The last key of every sequence outweighs all others, and the first key of the padding would
    outweigh that."""
    made = batch_case("scores near 50", lengths, 2, 1, 64, n, draw=draw)
    lengths = made.args["lengths"][:, 0]
    q, k, v, _ = (np.array(x) for x in made.args.values())
    for b, length in enumerate(lengths):
        for at, score in ((length - 1, 100.0), (length, 160.0)):
            if 0 <= at < n:
                k[b, :, :, at] = 0.0
                k[b, :, :2, at] = score
    args = {"q": q, "k": k, "v": v, "lengths": made.args["lengths"]}
    return Case("huge scores at the edge", "a length that is off by one", args)


def real_batch_case(draw: Draw = OWN) -> Case:
    """Decode steps of the real model at its stored lengths, as one batch: one layer, one sequence a
    length."""
    lengths = [length for length in realdata.lengths() if length <= 512]
    steps = [real_heads(None, length, draw) for length in lengths]
    missing = [max(lengths) - length for length in lengths]
    k, v = (
        np.stack(
            [
                np.pad(step[at], ((0, 0), (0, 0), (0, rest)), constant_values=np.nan)
                for step, rest in zip(steps, missing, strict=True)
            ]
        )
        for at in (1, 2)
    )
    args = {
        "q": np.stack([q for q, _, _ in steps]),
        "k": k,
        "v": v,
        "lengths": np.array(lengths, np.int32)[:, None],
    }
    return Case("real data", "what a language model really asks for", args, exact=False)


def batch_attention(case: Case) -> Attention:
    """The batch as one Attention: the heads of its sequences one after another."""
    q, k, v, lengths = (case.args[name] for name in ("q", "k", "v", "lengths"))
    n_seqs, d, n_q = q.shape
    n = min(k.shape[-1], int(case.options.get("max_length") or k.shape[-1]))
    given = case.options.get("softmax_scale")
    return Attention(
        q.transpose(0, 2, 1).reshape(n_seqs * n_q, d),
        k[..., :n].reshape(-1, d, n),
        v[..., :n].reshape(-1, d, n),
        scale_of(given, d),
        given is not None,
        lengths[:, 0],
        n_seqs,
    )


def batch_oracle(q: Any, k: Any, v: Any, lengths: Any, scale: float) -> NDArray[np.float64]:
    """Attention over the first lengths[b] keys of every sequence, in float64; zeros where there are
    none: (B, Hq, d)."""
    o = np.zeros(q.swapaxes(1, 2).shape)
    for b, n in enumerate(np.ravel(lengths)):
        if n:
            o[b] = grouped_softmax(q[b].T, k[b, ..., :n], v[b, ..., :n], scale)
    return o


def validate_batch(inputs: Mapping[str, Any]) -> None:
    """Raise InputError unless q is (B, d, Hq), k and v are (B, Hkv, d, n), fp32, and lengths (B, 1)
    integers of 0 to n.

    What k and v hold beyond the lengths may be anything.
    """
    q, k, v = check_arrays(inputs, {"q": 3, "k": 4, "v": 4})
    n_seqs, n_kv, d, n = k.shape
    if q.shape[:2] != (n_seqs, d):
        raise InputError(
            f"q must be (B, d, Hq) with B = {n_seqs} and d = {d} to fit k {k.shape}, got {q.shape}."
        )
    if n_seqs == 0 or n_kv == 0 or q.shape[2] == 0:
        raise InputError(
            f"there must be sequences and heads, got B = {n_seqs}, Hq = {q.shape[2]} "
            f"and Hkv = {n_kv}."
        )
    if q.shape[2] % n_kv:
        raise InputError(f"Hq must be a multiple of Hkv, got Hq = {q.shape[2]} and Hkv = {n_kv}.")
    check_sizes(k, v, d, n, None, 1)
    lengths = inputs["lengths"]
    if not isinstance(lengths, np.ndarray) or not np.issubdtype(lengths.dtype, np.integer):
        got = lengths.dtype if isinstance(lengths, np.ndarray) else type(lengths).__name__
        raise InputError(f"lengths must be a NumPy array of int32, got {got}.")
    if lengths.shape != (n_seqs, 1):
        raise InputError(f"lengths must be (B, 1) = {(n_seqs, 1)}, got {lengths.shape}.")
    most = inputs.get("max_length")
    if most is not None and not 0 < most <= n:
        raise InputError(f"max_length must be 1 to n = {n}, got {most}.")
    outside = [int(x) for x in lengths[:, 0] if not 0 <= x <= (n if most is None else most)]
    if outside:
        raise InputError(
            f"a length must be 0 to {'n' if most is None else 'max_length'} = "
            f"{n if most is None else most}, got {outside[0]}."
        )
    real = [(b, int(length)) for b, length in enumerate(lengths[:, 0])]
    parts = {
        f"{name} of sequence {b}": x[b, :, :, :length]
        for name, x in (("k", k), ("v", v))
        for b, length in real
    }
    check_values({"q": q, **parts, "softmax_scale": inputs.get("softmax_scale")})


def tiles_of(n: int) -> int:
    """Tiles of 128 keys, the last of which may be narrower."""
    return -(-n // TILE)
