"""A small llama in NumPy, one token at a time: everything of a language model but its attention.

A llama is a stack of layers, each an attention and a gated feed-forward part, with RMS norms before
both, rotary positions, and output weights tied to the embedding. `LanguageModel.step` runs one
token through it and asks its caller for the attention of each layer, so that the attention may come
from anywhere: from NumPy, or from a kernel. The weights have the names that GGUF files give them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

Attention = Callable[[F32, F32, F32, int, int], F32]
"""(q (Hq, d), k (Hkv, d), v (Hkv, d), layer, position) -> o (Hq * d,): q and k are not yet turned
to their position."""


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


@dataclass(frozen=True)
class Config:
    """The sizes of a network: query head h uses key/value head h // (q_heads // kv_heads)."""

    layers: int
    q_heads: int
    kv_heads: int
    d: int  # head dimension
    rope_base: float
    eps: float  # of the RMS norms
    context: int  # tokens: as far as it was trained to look back


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Weights and sizes. Values are float32; each weight is stored (out, in), as GGUF has it."""

    config: Config
    weights: Mapping[str, F32] = field(repr=False)

    def step(self, token: int, position: int, attention: Attention) -> F32:
        """The scores (logits) of the next token, (vocabulary,), when `token` stands at `position`,
        counted from 0.

        `attention` is called once per layer, and knows the keys and values of the tokens before.
        """
        c, w = self.config, self.weights
        x = w["token_embd.weight"][token]
        for layer in range(c.layers):
            block = f"blk.{layer}."
            h = _rms_norm(x, w[block + "attn_norm.weight"], c.eps)
            q = (w[block + "attn_q.weight"] @ h).reshape(c.q_heads, c.d)
            k = (w[block + "attn_k.weight"] @ h).reshape(c.kv_heads, c.d)
            v = (w[block + "attn_v.weight"] @ h).reshape(c.kv_heads, c.d)
            x = x + w[block + "attn_output.weight"] @ attention(q, k, v, layer, position)
            h = _rms_norm(x, w[block + "ffn_norm.weight"], c.eps)
            gate = w[block + "ffn_gate.weight"] @ h
            x = x + w[block + "ffn_down.weight"] @ (
                gate / (1 + np.exp(-gate)) * (w[block + "ffn_up.weight"] @ h)
            )
        return w["token_embd.weight"] @ _rms_norm(x, w["output_norm.weight"], c.eps)

    def rotate(self, x: F32, position: int) -> F32:
        """Turn each row of x (heads, d) to its position: neighbours (2i, 2i + 1) are a pair that
        turns by an angle.

        Scores of two rows then depend on how far apart their positions are.
        """
        cos, sin = _turn(position, self.config.d, self.config.rope_base)
        even, odd = x[:, 0::2], x[:, 1::2]
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


@lru_cache(maxsize=4096)
def _turn(position: int, d: int, base: float) -> tuple[F32, F32]:
    """cos and sin, (d/2,), of position times base**(-2i/d), worked out in float64."""
    angle = position * base ** (-np.arange(0, d, 2) / d)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _rms_norm(x: F32, gain: F32, eps: float) -> F32:
    return np.asarray(x / np.sqrt(np.mean(x * x) + np.float32(eps)) * gain, np.float32)
