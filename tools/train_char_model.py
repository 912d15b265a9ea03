"""Train ``tutorial/data/char_model.npz``: a small decoder-only language model of characters, with
grouped-query attention.

    pip download --no-deps --no-binary :all: --no-build-isolation --dest text brotli==1.2.1
    pip install torch==2.13.0 numpy
    python tools/train_char_model.py --sdist text/brotli-1.2.1.tar.gz

Needs a few minutes and one processor core. The text is *Alice's Adventures in Wonderland*, which
brotli ships as a test file. The model reads its first four chapters until it knows them by heart:
then its greedy text is a text, and the next character leads the second by so much that no rounding
changes it. (Trained on the whole book to the least loss on what it has not read, a network of this
size soon goes round in circles, and two characters are often equally likely.)

The network is a llama in small (RMS norms, rotary positions, gated feed-forward part, tied
embeddings), and its weights have the names that GGUF files give them, so that
`tutorial/writing/languagemodel.py` runs both. Where the weights come from, and what they reached:
``tutorial/data/README.md``.

Training is seeded, but the last bits of its sums depend on the processor: another machine gets
another model of the same quality, whose text the notebook does not show.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import re
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "tutorial" / "data" / "char_model.npz"
MEMBER = "tests/testdata/alice29.txt"
# of that file, as it is shipped
TEXT_SHA256 = "7467306ee0feed4971260f3c87421154a05be571d944e9cb021a5713700c38f0"

LAYERS, Q_HEADS, KV_HEADS, D, HIDDEN = 3, 4, 2, 32, 352
ROPE_BASE, EPS = 10000.0, 1e-5
CONTEXT = 256  # characters a training example: as far as the model ever looks back
BATCH, STEPS, WARMUP, RATE, DECAY = 16, 1000, 50, 3e-3, 0.1
CHAPTERS = 4  # the first ones, which the model learns; the next one is held out
MAX_BYTES = 2_000_000


def main() -> int:
    args = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    try:
        book = chapters(read(args.sdist))
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    alphabet = "".join(sorted(set("".join(book))))
    text, other = "".join(book[:CHAPTERS]), book[CHAPTERS]
    ids, held_out = (
        torch.tensor([alphabet.index(character) for character in part]) for part in (text, other)
    )
    print(
        f"chapters 1 to {CHAPTERS}: {len(text):,} characters, sha256 "
        f"{hashlib.sha256(text.encode()).hexdigest()}; {len(alphabet)} different ones in the book"
    )
    model = train(ids, held_out, len(alphabet), args.steps)
    arrays = rounded(model)
    print(
        f"rounded to float16: {loss_on(model, ids):.3f} nats per character on the text it was "
        f"trained on, {loss_on(model, held_out):.3f} on chapter {CHAPTERS + 1}, which it has not "
        f"read; {sum(a.size for a in arrays.values()):,} parameters, torch {torch.__version__}"
    )
    return store(args.out, alphabet, arrays)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--sdist",
        type=Path,
        required=True,
        help="the source distribution of brotli 1.2.1 (.tar.gz)",
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="file to write (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="processor threads (default: %(default)s)"
    )
    return parser.parse_args()


def rounded(model: Model) -> dict[str, np.ndarray]:
    """The weights as float16; the model keeps the rounded ones too, so what is reported is the
    model that is stored."""
    weights = model.named_weights()
    arrays = {name: value.detach().numpy().astype(np.float16) for name, value in weights.items()}
    with torch.no_grad():
        for name, value in weights.items():
            value.copy_(torch.from_numpy(arrays[name].astype(np.float32)))
    return arrays


def store(out: Path, alphabet: str, arrays: dict[str, np.ndarray]) -> int:
    """Write the file. 1 if it is larger than the course wants to carry, else 0."""
    sizes = {"layers": LAYERS, "q_heads": Q_HEADS, "kv_heads": KV_HEADS, "d": D, "context": CONTEXT}
    with out.open("wb") as file:
        np.savez_compressed(
            file,
            allow_pickle=False,
            alphabet=np.array(alphabet),
            rope_base=np.float64(ROPE_BASE),
            eps=np.float64(EPS),
            **{k: np.int64(v) for k, v in sizes.items()},
            **arrays,
        )
    size = out.stat().st_size
    print(f"{out.name}: {size:,} bytes, sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}")
    if size > MAX_BYTES:
        print(f"error: larger than {MAX_BYTES:,} bytes", file=sys.stderr)
        return 1
    return 0


# -- the text --------------------------------------------------------------------------------------
def read(sdist: Path) -> str:
    """The book, from the source distribution. ValueError if it is another text than the one
    recorded."""
    with tarfile.open(sdist) as archive:
        member = next((m for m in archive.getmembers() if m.name.endswith("/" + MEMBER)), None)
        file = None if member is None else archive.extractfile(member)
        if file is None:
            raise ValueError(f"{sdist} holds no {MEMBER}")
        raw = file.read()
    if hashlib.sha256(raw).hexdigest() != TEXT_SHA256:
        raise ValueError(f"{MEMBER} in {sdist} is not the file that this script was made for")
    return raw.decode("ascii", errors="ignore")  # the file ends in one control character


def chapters(raw: str) -> list[str]:
    """The chapters without their headings: a line a paragraph, double spaces single, opening quotes
    like closing ones."""
    raw = re.sub(r"[^\n -~]", "", raw).replace("`", "'").partition("THE END")[0]
    return [clean(chapter) for chapter in re.split(r"\n *CHAPTER [IVX]+\s+[^\n]+\n", raw)[1:]]


def clean(chapter: str) -> str:
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", chapter))
    return "\n".join(part for part in paragraphs if part.strip("* ")) + "\n"


# -- the network, as in tutorial/writing/languagemodel.py ------------------------------------------
class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = Q_HEADS * D
        self.attn_norm, self.ffn_norm = (
            nn.Parameter(torch.ones(width)),
            nn.Parameter(torch.ones(width)),
        )
        self.attn_q, self.attn_output = (
            nn.Linear(width, width, bias=False),
            nn.Linear(width, width, bias=False),
        )
        self.attn_k, self.attn_v = (nn.Linear(width, KV_HEADS * D, bias=False) for _ in range(2))
        self.ffn_gate, self.ffn_up = (nn.Linear(width, HIDDEN, bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(HIDDEN, width, bias=False)
        for last in (self.attn_output, self.ffn_down):  # deep sums start small
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * LAYERS))

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        batch, n, width = x.shape
        h = norm(x, self.attn_norm)
        q = rotate(self.attn_q(h).view(batch, n, Q_HEADS, D), turn).transpose(1, 2)
        k = rotate(self.attn_k(h).view(batch, n, KV_HEADS, D), turn).transpose(1, 2)
        v = self.attn_v(h).view(batch, n, KV_HEADS, D).transpose(1, 2)
        # head h reads h // G
        k, v = (t.repeat_interleave(Q_HEADS // KV_HEADS, dim=1) for t in (k, v))
        o = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(o.transpose(1, 2).reshape(batch, n, width))
        h = norm(x, self.ffn_norm)
        gated = functional.silu(self.ffn_gate(h)) * self.ffn_up(h)
        return x + self.ffn_down(gated)


class Model(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.token_embd = nn.Embedding(vocabulary, Q_HEADS * D)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        self.blk = nn.ModuleList([Layer() for _ in range(LAYERS)])
        self.output_norm = nn.Parameter(torch.ones(Q_HEADS * D))
        angle = torch.arange(CONTEXT)[:, None] * ROPE_BASE ** (-torch.arange(0, D, 2) / D)
        # (n, 1, d/2)
        self.register_buffer("turn", torch.polar(torch.ones_like(angle), angle)[:, None])

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embd(ids)
        for layer in self.blk:
            x = layer(x, self.turn[: ids.shape[1]])
        return functional.linear(norm(x, self.output_norm), self.token_embd.weight)

    def named_weights(self) -> dict[str, nn.Parameter]:
        """The weights under the names of GGUF: blk.0.attn_q.weight and so on."""
        return {
            name if name.endswith(".weight") else f"{name}.weight": p
            for name, p in self.named_parameters()
        }


def norm(x: Tensor, gain: Tensor) -> Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS) * gain


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary encoding of (batch, n, heads, d): the rotated pairs are neighbours, (2i, 2i+1)."""
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).flatten(-2)


# -- training --------------------------------------------------------------------------------------
def train(ids: Tensor, held_out: Tensor, vocabulary: int, steps: int) -> Model:
    """AdamW with a cosine schedule, on random pieces of the text; says how it goes every 100
    steps."""
    model = Model(vocabulary)
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=RATE,
        betas=(0.9, 0.99),
    )
    started = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(
                (step + 1) / WARMUP, 0.5 * (1 + math.cos(math.pi * step / steps))
            )
        starts = torch.randint(len(ids) - CONTEXT - 1, (BATCH,))
        pieces = torch.stack([ids[s : s + CONTEXT + 1] for s in starts])
        logits = model(pieces[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(
                f"step {step + 1:5d}  loss {loss.item():.3f}  held out "
                f"{loss_on(model, held_out):.3f}  {time.perf_counter() - started:.0f} s",
                flush=True,
            )
    return model


@torch.no_grad()
def loss_on(model: Model, ids: Tensor) -> float:
    """Mean nats a character over the first 64 whole pieces of `ids`."""
    starts = range(0, len(ids) - CONTEXT, CONTEXT)[:64]
    pieces = torch.stack([ids[s : s + CONTEXT + 1] for s in starts])
    return functional.cross_entropy(
        model(pieces[:, :-1]).flatten(0, 1), pieces[:, 1:].flatten()
    ).item()


if __name__ == "__main__":
    sys.exit(main())
