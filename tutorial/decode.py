"""The decode loop: a language model that writes text, one token at a time, every attention by one kernel.

`generate(prompt, tokens, stage=4, kernel=k)` runs it and gives a `Generated`: the text, what every token cost as the cache
grew, and every attention on the way, so that two runs can be compared token for token and layer for layer.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np

import nkisim

from . import charmodel, lesson, runner
from . import stage as stages
from .caches import CACHES, Cache, NumpyCache
from .generated import Generated, Step
from .languagemodel import F32, LanguageModel, Tokenizer

PROMPT = "Alice "
AttentionStep = Callable[..., Any]
Network = tuple[LanguageModel, Tokenizer]


def attention_step(q: F32, k: F32, v: F32, layer: int, position: int, cache: Cache, rotate: Callable[[F32, int], F32],
                   kernel: Any) -> F32:
    """One layer's attention for one new token, (Hq * d,), with any cache and the kernel that it is made for."""
    cache.append(layer, position, rotate(k, position), v)
    return cache.attend(kernel, layer, position + 1, rotate(q, position)).reshape(-1)


def reference(prompt: str = PROMPT, tokens: int = 200, *, network: Network | None = None) -> Generated:
    """What the model writes when NumPy computes its attention, in float32. Raises as `generate`."""
    model, tokenizer = network or charmodel.load()
    ids = _prompt(prompt, tokens, model, tokenizer)
    cache = NumpyCache(model.config, len(ids) + tokens - 1)
    return _decode("NumPy", prompt, ids, tokens, model, tokenizer, cache, attention_step, None, None)


def generate(prompt: str = PROMPT, tokens: int = 200, *, stage: int | str | stages.Stage = 4, kernel: Any = None,
             step: AttentionStep | None = None, network: Network | None = None) -> Generated:
    """Write `tokens` tokens after `prompt`, each the most likely one (greedy), every attention by `kernel`.

    `kernel` is one of `stage`, by default the worked solution, and gets a cache in that stage's layout. `step` is an
    attention step of stage 10, made for the cache of stage 4; by default the course's own. `network` is a model and its
    tokenizer, by default the one that comes with the course. The prompt goes through the kernel too, a token at a time.
    A kernel or a step that fails ends the text, and `problem` says why. ValueError for a prompt or a number of tokens that
    the model cannot take, StageError for a stage whose kernels no cache is made for.
    """
    kernels = stages.get(stage)
    if kernels.number not in CACHES:
        known = ", ".join(str(number) for number in sorted(CACHES))
        raise stages.StageError(f"{kernels.title} is no kernel for a language model; the stages {known} are.")
    model, tokenizer = network or charmodel.load()
    ids = _prompt(prompt, tokens, model, tokenizer)
    cache = CACHES[kernels.number](model.config, len(ids) + tokens - 1)
    return _decode(kernels.title, prompt, ids, tokens, model, tokenizer, cache, step or attention_step,
                   lesson.solution(kernels.number) if kernel is None else kernel, kernels)


def _prompt(prompt: str, tokens: int, model: LanguageModel, tokenizer: Tokenizer) -> list[int]:
    """The prompt's token ids. ValueError unless the model can take them and write as many more as asked for."""
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ValueError("the prompt is empty: give the model at least one token to go on from")
    if tokens < 1:
        raise ValueError(f"there is nothing to write: {tokens} tokens are asked for")
    if len(ids) + tokens > model.config.context:
        raise ValueError(f"the model looks back over {model.config.context} tokens at most, and the prompt's {len(ids)} with "
                         f"{tokens} more are {len(ids) + tokens}")
    return ids


def _decode(title: str, prompt: str, ids: list[int], tokens: int, model: LanguageModel, tokenizer: Tokenizer, cache: Any,
            step: AttentionStep, kernel: Any, kernels: stages.Stage | None) -> Generated:
    """The loop itself: prompt and written tokens go through the network alike."""
    c = model.config
    steps: list[Step] = []
    target: str | None = None
    problem = None if kernels is None else runner.usable(kernel, kernels)
    call = _by_the_sdk(kernel) if runner.of_the_sdk(kernel) else kernel
    read = list(ids)
    for position in range(len(ids) + tokens - 1) if problem is None else ():
        attended: list[F32] = []

        def attention(q: F32, k: F32, v: F32, layer: int, position: int, attended: list[F32] = attended) -> F32:
            attended.append(np.array(step(q, k, v, layer, position, cache, model.rotate, call), np.float32))
            return attended[-1]

        try:
            with nkisim.record() as run, contextlib.redirect_stdout(io.StringIO()):
                logits = model.step(read[position], position, attention)
        except Exception as error:
            author = kernel if step is attention_step else step
            problem = runner.problem_of(error, author, kernels or stages.get(10), f"{position + 1} keys in the cache")
            break
        costs = _costs(run)
        target = run.target if costs else None
        second, first = np.argsort(logits)[-2:]
        steps.append(Step(read[position], position + 1, int(first), float(logits[first] - logits[second]), tuple(attended),
                          **costs))
        if position + 1 >= len(ids):
            read.append(int(first))
    return Generated(title, prompt, steps, tokenizer, len(ids), c.d, 2 * c.layers * c.kv_heads * c.d * cache.itemsize, target,
                     "" if problem is None else problem.sentence, "" if problem is None else problem.outcome)


def _by_the_sdk(kernel: Any) -> Callable[..., Any]:
    """A kernel of the real SDK, called as it is written and run in the SDK's own simulator."""
    import neuronxcc.nki as nki

    return lambda *args, **options: nki.simulate_kernel(kernel, *args, **options)


def _costs(run: Any) -> dict[str, Any]:
    """What one token cost in all layers; nothing where no kernel was recorded."""
    if not len(run):
        return {}
    return {"hbm_bytes_read": run.hbm_bytes_read, "transfers": run.dma_transfers}
