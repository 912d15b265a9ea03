"""SmolLM2-135M in NumPy: the tokenizer and the forward pass, read from one GGUF file.

Used by ``make_real_attention.py`` only. Written to be read: one function a step, no cache. In float64, so that what is
rounded and stored afterwards does not depend on the BLAS library, its threads or the processor.

The network is a llama: 30 layers of grouped-query attention (9 query heads, 3 key/value heads, head dimension 64) and a
gated feed-forward part, RMS norms before each, rotary position encoding, output weights tied to the embedding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

# One call a layer: (layer, q, k, v, o), shapes (n, Hq, d), (n, Hkv, d), (n, Hkv, d), (n, Hq, d); q and k carry the
# rotary encoding, o is the attention output before the output projection.
Watcher = Callable[[int, F64, F64, F64, F64], None]


@dataclass(frozen=True)
class Config:
    """Sizes of the network, as the GGUF header states them."""

    layers: int
    q_heads: int
    kv_heads: int
    d: int
    rope_base: float
    eps: float


class Tokenizer:
    """Byte-level byte-pair encoding with the vocabulary and the merges of the GGUF file."""

    def __init__(self, tokens: list[str], merges: list[str]) -> None:
        self._tokens = tokens
        self._ids = {token: i for i, token in enumerate(tokens)}
        self._ranks = {(a, b): i for i, (a, b) in enumerate(m.split(" ") for m in merges)}
        self._char_of = _byte_alphabet()
        self._byte_of = {char: byte for byte, char in self._char_of.items()}

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``; no start token is added, as the GGUF header asks."""
        return [self._ids[part] for word in _words(text) for part in self._merge(word)]

    def decode(self, ids: list[int]) -> str:
        """Text of the ids; bytes that are no valid UTF-8 become the replacement character."""
        joined = "".join(self._tokens[i] for i in ids)
        return bytes(self._byte_of[char] for char in joined).decode("utf-8", errors="replace")

    def _merge(self, word: str) -> list[str]:
        parts = [self._char_of[byte] for byte in word.encode("utf-8")]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            merged, i = [], 0
            while i < len(parts):
                step = 2 if tuple(parts[i : i + 2]) == best else 1
                merged.append("".join(parts[i : i + step]))
                i += step
            parts = merged
        return parts


# Contractions, words, punctuation, white space: a space belongs to the word after it.
_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+|.")


def _words(text: str) -> list[str]:
    """Pieces that byte-pair merges never cross; every digit stands alone."""
    return [word for piece in re.split(r"(\d)", text) for word in _WORD.findall(piece)]


def _byte_alphabet() -> dict[int, str]:
    """Byte -> printable character: visible Latin-1 stands for itself, the others follow from code point 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


@dataclass(frozen=True)
class Model:
    """Dequantised weights and the forward pass."""

    config: Config
    weights: dict[str, F64] = field(repr=False)

    def forward(self, ids: list[int], watch: Watcher | None = None) -> F64:
        """Final hidden states, (n, 576) float64, of the tokens ``ids``; ``watch`` sees every layer's attention."""
        c, w = self.config, self.weights
        n = len(ids)
        cos, sin = _rotary_table(n, c.d, c.rope_base)
        x = w["token_embd.weight"][ids]
        for layer in range(c.layers):
            b = f"blk.{layer}."
            h = _rms_norm(x, w[b + "attn_norm.weight"], c.eps)
            q = _rotate((h @ w[b + "attn_q.weight"].T).reshape(n, c.q_heads, c.d), cos, sin)
            k = _rotate((h @ w[b + "attn_k.weight"].T).reshape(n, c.kv_heads, c.d), cos, sin)
            v = (h @ w[b + "attn_v.weight"].T).reshape(n, c.kv_heads, c.d)
            o = _causal_attention(q, k, v)
            if watch is not None:
                watch(layer, q, k, v, o)
            x = x + o.reshape(n, -1) @ w[b + "attn_output.weight"].T
            h = _rms_norm(x, w[b + "ffn_norm.weight"], c.eps)
            gate = h @ w[b + "ffn_gate.weight"].T
            gated = gate / (1 + np.exp(-gate)) * (h @ w[b + "ffn_up.weight"].T)
            x = x + gated @ w[b + "ffn_down.weight"].T
        return _rms_norm(x, w["output_norm.weight"], c.eps)

    def logits(self, hidden: F64) -> F64:
        """(n, vocabulary) scores of the next token from hidden states (n, 576)."""
        return hidden @ self.weights["token_embd.weight"].T

    def perplexity(self, ids: list[int], hidden: F64) -> float:
        """exp of the mean negative log-probability of ids[1:], each from the tokens before it."""
        total = 0.0
        for start in range(0, len(ids) - 1, 128):  # in slices: the whole logits would be 400 MB
            stop = min(start + 128, len(ids) - 1)
            z = self.logits(hidden[start:stop])
            top = z.max(axis=1)
            log_sum = top + np.log(np.exp(z - top[:, None]).sum(axis=1))
            total += float((log_sum - z[np.arange(stop - start), ids[start + 1 : stop + 1]]).sum())
        return float(np.exp(total / (len(ids) - 1)))

    def continue_greedily(self, ids: list[int], steps: int) -> list[int]:
        """The ``steps`` most likely next tokens, one after the other (each step runs the whole prefix again)."""
        ids = list(ids)
        for _ in range(steps):
            ids.append(int(self.logits(self.forward(ids)[-1:]).argmax()))
        return ids[-steps:]


def _rms_norm(x: F64, gain: F64, eps: float) -> F64:
    scale = np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps)
    return np.asarray(x / scale * gain)


def _rotary_table(n: int, d: int, base: float) -> tuple[F64, F64]:
    """cos and sin, (n, 1, d/2), of position times base**(-2i/d)."""
    angle = np.arange(n)[:, None] * base ** (-np.arange(0, d, 2) / d)
    return np.cos(angle)[:, None], np.sin(angle)[:, None]


def _rotate(x: F64, cos: F64, sin: F64) -> F64:
    """Rotary encoding of (n, heads, d). In GGUF's order of rows the rotated pairs are neighbours (2i, 2i+1)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def _causal_attention(q: F64, k: F64, v: F64) -> F64:
    """(n, Hq, d); query head h reads key/value head h // (Hq / Hkv)."""
    n, q_heads, d = q.shape
    group = q_heads // k.shape[1]
    future = np.triu(np.ones((n, n), dtype=bool), 1)
    o = np.empty_like(q)
    for h in range(q_heads):
        scores = q[:, h] @ k[:, h // group].T / np.sqrt(d)
        scores[future] = -np.inf
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        o[:, h] = p @ v[:, h // group] / p.sum(axis=1, keepdims=True)
    return o


def read(path: Path) -> tuple[Model, Tokenizer]:
    """Model and tokenizer of a llama-architecture GGUF file with tied output weights (about 1.1 GB in memory).

    Raises ValueError where the file is of another architecture.
    """
    reader = gguf.GGUFReader(path)

    def value(key: str) -> Any:
        entry = reader.get_field(key)
        if entry is None:
            raise ValueError(f"{path}: the GGUF header has no {key!r}; expected a llama model such as SmolLM2-135M")
        return entry.contents()

    if value("general.architecture") != "llama":
        raise ValueError(f"{path}: architecture is {value('general.architecture')!r}, expected 'llama'")
    config = Config(
        layers=value("llama.block_count"),
        q_heads=value("llama.attention.head_count"),
        kv_heads=value("llama.attention.head_count_kv"),
        d=value("llama.rope.dimension_count"),
        rope_base=value("llama.rope.freq_base"),
        eps=value("llama.attention.layer_norm_rms_epsilon"),
    )
    weights = {t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors}
    return Model(config, weights), Tokenizer(value("tokenizer.ggml.tokens"), value("tokenizer.ggml.merges"))
