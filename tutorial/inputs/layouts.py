"""What the attention stages share: the cases in their layout, the check of a caller's inputs, and
the oracle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.attention import Attention, not_finite
from ..stage import Budget, Case, InputError
from . import families, realdata
from .draw import OWN, TILE, Draw
from .families import F32, FAMILIES, Family


def softmax_attention(q: Any, k: Any, v: Any, scale: float) -> NDArray[np.float64]:
    """softmax(scale q k) v^T in float64: q (H, d), k and v (d, n) -> (H, d)."""
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    qk = scale * (q @ k)
    p = np.exp(qk - qk.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = (p / p.sum(axis=1, keepdims=True)) @ v.T
    return found


def grouped_softmax(q: Any, k: Any, v: Any, scale: float) -> NDArray[np.float64]:
    """Attention of heads in groups, in float64: q (Hq, d), k and v (Hkv, d, n) -> (Hq, d)."""
    groups = zip(np.split(q, len(k)), k, v, strict=True)
    return np.concatenate([softmax_attention(*group, scale) for group in groups])


def one_head_case(
    name: str, d: int, n: int, family: str | None = None, draw: Draw = OWN, **options: float
) -> Case:
    """A family for one query head: q (d, 1), k (d, n), v (d, n)."""
    n = n if family else draw.keys(n, name)
    q, k, v = families.heads(name, 1, 1, d, n, draw)
    args = {"q": q, "k": k[0], "v": v[0]}
    return Case(family or name, FAMILIES[name].reveals, args, options, not FAMILIES[name].digits)


def two_row_cases(d: int, n: int, draw: Draw = OWN) -> tuple[Case, ...]:
    """Two query rows over one K and V: q (d, 2). No stage before GQA asks for them; some kernels
    take them."""
    return tuple(
        Case(f"two query rows, {name}", FAMILIES[name].reveals, {"q": q, "k": k[0], "v": v[0]})
        for name in ("random", "rows of different scale")
        for q, k, v in [families.heads(name, 2, 1, d, n, draw)]
    )


def grouped_case(
    name: str | Family,
    n_q: int,
    n_kv: int,
    d: int,
    n: int,
    family: str | None = None,
    draw: Draw = OWN,
    **options: float,
) -> Case:
    """A family for groups: q (d, Hq), k (Hkv, d, n), v (Hkv, d, n)."""
    of = FAMILIES[name] if isinstance(name, str) else name
    if family is None:
        n, (n_q, n_kv) = draw.keys(n, of.name), draw.heads(n_q, n_kv, of.name)
    q, k, v = families.heads(of, n_q, n_kv, d, n, draw)
    args = {"q": q, "k": k, "v": v}
    return Case(family or of.name, of.reveals, args, options, not of.digits)


SCALES = (0.5, -0.25, 0.0)
"""Scales that a caller may give: not the default's size, one that turns the order of the scores
round, and one that makes them equal. A kernel that scales the max after it was taken may refuse
the second."""


def scale_name(scale: float) -> str:
    """The family of a case with its own scale: "softmax_scale = -0.25"."""
    return f"softmax_scale = {scale:g}"


REAL_HEADS = (8, 2, 8)
"""Of each stored layer, a head worth watching: its max moves several times, moves at the end, never
moves."""


def real_one_head_cases(n: int, draw: Draw = OWN) -> tuple[Case, ...]:
    """One head of every stored layer of the real model, at n tokens; with a word the tokens come in
    another order."""
    made = []
    for place, (layer, head) in enumerate(zip(realdata.layers(), REAL_HEADS, strict=True)):
        q, k, v, _ = realdata.load(layer, n).head(head)
        if draw.word:
            keys = draw.rng("real head", layer, n).permutation(n)
            k, v = k[:, keys], v[:, keys]
        which = f", layer {layer} head {head}" if place else ""
        made.append(_real_case({"q": q, "k": k, "v": v}, which))
    return tuple(made)


def real_grouped_cases(n: int, n_others: int, draw: Draw = OWN) -> tuple[Case, ...]:
    """All heads of every stored layer: the first layer at n tokens, the others at n_others."""
    made = []
    for place, layer in enumerate(realdata.layers()):
        q, k, v = real_heads(layer, n_others if place else n, draw)
        made.append(_real_case({"q": q, "k": k, "v": v}, f", layer {layer}" if place else ""))
    return tuple(made)


def real_heads(layer: int | None, n: int, draw: Draw = OWN) -> tuple[F32, F32, F32]:
    """q (d, Hq), k and v (Hkv, d, n) of the real model; with a word its KV heads, the query heads
    of each, and the tokens before the last come in another order."""
    real = realdata.load(layer, n)
    if not draw.word:
        return real.q, real.k, real.v
    rng = draw.rng("real heads", layer, n)
    n_kv, group = len(real.k), real.q.shape[1] // len(real.k)
    groups, keys = rng.permutation(n_kv), rng.permutation(n)
    rows = np.concatenate([g * group + rng.permutation(group) for g in groups])
    return real.q[:, rows], real.k[groups][:, :, keys], real.v[groups][:, :, keys]


def _real_case(args: Mapping[str, Any], which: str) -> Case:
    return Case(f"real data{which}", "what a language model really asks for", args, exact=False)


def beside_trn1(cases: Sequence[Case], *chosen: str) -> tuple[Case, ...]:
    """The cases, and those of the chosen families once more, to run on trn1: what an instruction
    may do differs from core to core."""
    again = [replace(c, family=f"{c.family}, on trn1", target="trn1") for c in cases]
    return (*cases, *(c for c, own in zip(again, cases, strict=True) if own.family in chosen))


def one_head_attention(case: Case) -> Attention:
    q, k, v = (case.args[name] for name in "qkv")
    return _attention(q.T, k[None], v[None], case)


def grouped_attention(case: Case) -> Attention:
    q, k, v = (case.args[name] for name in "qkv")
    return _attention(q.T, k, v, case)


def _attention(q: Any, k: Any, v: Any, case: Case) -> Attention:
    given = case.options.get("softmax_scale")
    return Attention(q, k, v, scale_of(given, k.shape[-2]), given is not None)


def on_chip_peaks(group: int, d: int, keys: int, running: bool = True) -> tuple[int, int]:
    """The solution's peak (SBUF, PSUM) bytes: q, a K tile, a V tile and, where they are `running`
    from before the first tile on, m, l and acc; and a transposed V tile."""
    state = 2 * group + group * d if running else 0
    return 4 * (group * d + 2 * d * keys + state), 4 * d * keys


def minimum(case: Case, k_reads: int = 1, tile: int = TILE, running: bool = True) -> Budget:
    """The least that a kernel of stages 1 to 4 can do, which reads K `k_reads` times and V once, in
    tiles of `tile` keys. `running`: its m, l and acc lie beside the tiles, from before the first
    one on."""
    (d, n_q), k = case.args["q"].shape, case.args["k"]
    n_kv, loads = k.size // (d * k.shape[-1]), k_reads + 1
    tiles = n_kv * (k.shape[-1] // tile)
    sbuf, psum = on_chip_peaks(n_q // n_kv, d, tile, running)
    return Budget(
        hbm_bytes_read=4 * (d * n_q + loads * k.size),
        hbm_bytes_written=4 * d * n_q,
        dma_transfers=loads * tiles + 2 * n_kv,
        matmuls=loads * tiles,
        transposes=2 * tiles,
        sbuf_bytes=sbuf,
        psum_bytes=psum,
    )


def scale_of(given: float | None, d: int) -> float:
    """The scale that is given, else 1 / sqrt(d)."""
    return 1.0 / math.sqrt(d) if given is None else float(given)


def validate_one_head(
    inputs: Mapping[str, Any], most_keys: int | None = None, multiple: int = 1
) -> None:
    """Raise InputError unless q is (d, 1), k and v are (d, n), n as allowed, fp32 and finite."""
    q, k, v = check_arrays(inputs, {"q": 2, "k": 2, "v": 2})
    d, n = k.shape
    if q.shape != (d, 1):
        raise InputError(f"q must be (d, 1) = {(d, 1)} to fit k {k.shape}, got {q.shape}.")
    check_sizes(k, v, d, n, most_keys, multiple)
    check_values(inputs)


def validate_grouped(inputs: Mapping[str, Any], multiple: int = TILE) -> None:
    """Raise InputError unless q is (d, Hq), k and v are (Hkv, d, n), Hq % Hkv == 0, n as allowed,
    fp32 and finite."""
    q, k, v = check_arrays(inputs, {"q": 2, "k": 3, "v": 3})
    n_kv, d, n = k.shape
    if q.shape[0] != d:
        raise InputError(f"q must be (d, Hq) with d = {d} to fit k {k.shape}, got {q.shape}.")
    if n_kv == 0 or q.shape[1] == 0:
        raise InputError(f"there must be heads, got Hq = {q.shape[1]} and Hkv = {n_kv}.")
    if q.shape[1] % n_kv:
        raise InputError(f"Hq must be a multiple of Hkv, got Hq = {q.shape[1]} and Hkv = {n_kv}.")
    check_sizes(k, v, d, n, None, multiple)
    check_values(inputs)


def check_arrays(
    inputs: Mapping[str, Any], axes: Mapping[str, int], dtype: str = "float32"
) -> list[NDArray[Any]]:
    """The arrays of these names. Raises InputError unless each has so many axes of that type."""
    for name, ndim in axes.items():
        value = inputs[name]
        if not isinstance(value, np.ndarray):
            raise InputError(f"{name} must be a NumPy array, got {type(value).__name__}.")
        if value.ndim != ndim:
            raise InputError(f"{name} must have {ndim} axes, got {value.ndim}: {value.shape}.")
        if value.dtype.name != dtype:
            raise InputError(f"{name} must be {dtype} at this stage, got {value.dtype}.")
    return [inputs[name] for name in axes]


def check_sizes(k: Any, v: Any, d: int, n: int, most_keys: int | None, multiple: int) -> None:
    if v.shape != k.shape:
        raise InputError(f"k and v must have the same shape, got {k.shape} and {v.shape}.")
    if not 0 < d <= 128:
        raise InputError(f"the head dimension d lies on the partitions: 1 to 128, got {d}.")
    if n == 0:
        raise InputError("the cache is empty (n = 0): a softmax over no keys is not defined.")
    if most_keys is not None and n > most_keys:
        raise InputError(f"n must be at most {most_keys} keys at this stage, got {n}.")
    if n % multiple:
        raise InputError(f"n must be a multiple of {multiple} keys at this stage, got {n}.")


def check_values(inputs: Mapping[str, Any]) -> None:
    scale = inputs.get("softmax_scale")
    if scale is not None and not isinstance(scale, (int, float, np.floating, np.integer)):
        raise InputError(f"softmax_scale must be a number or None, got {type(scale).__name__}.")
    sentence = not_finite({name: value for name, value in inputs.items() if value is not None})
    if sentence:
        raise InputError(sentence)
