"""SmolLM2-135M in NumPy: the forward pass over a whole text, with the weights of one GGUF file.

Used by ``make_real_attention.py`` only. Written to be read: one function a step, no cache. In
float64, so that what is rounded and stored afterwards does not depend on the BLAS library, its
threads or the processor.

The network is a llama: 30 layers of grouped-query attention (9 query heads, 3 key/value heads, head
dimension 64) and a gated feed-forward part, RMS norms before each, rotary position encoding, output
weights tied to the embedding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# so that it also runs in a checkout that is not installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tutorial.writing import smollm2 as gguf_file
from tutorial.writing.languagemodel import Config
from tutorial.writing.smollm2 import Tokenizer

F64 = NDArray[np.float64]

# One call per layer: (layer, q, k, v, o), shapes (n, Hq, d), (n, Hkv, d), (n, Hkv, d), (n, Hq, d);
# q and k carry the rotary encoding, o is the attention output before the output projection.
Watcher = Callable[[int, F64, F64, F64, F64], None]


@dataclass(frozen=True)
class Model:
    """Dequantised weights and the forward pass."""

    config: Config
    weights: dict[str, F64] = field(repr=False)

    def forward(self, ids: list[int], watch: Watcher | None = None) -> F64:
        """Final hidden states, (n, 576) float64, of the tokens ``ids``; ``watch`` sees every
        layer's attention."""
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
        """The ``steps`` most likely next tokens, one after the other (each step runs the whole
        prefix again)."""
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
    """Rotary encoding of (n, heads, d). In GGUF's order of rows the rotated pairs are neighbours
    (2i, 2i+1)."""
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
    """Model and tokenizer of a llama-architecture GGUF file with tied output weights (about 1.1 GB
    in memory).

    Raises ValueError where the file is of another architecture.
    """
    config, weights, tokenizer = gguf_file.read(path)
    return Model(
        config, {name: value.astype(np.float64) for name, value in weights.items()}
    ), tokenizer
