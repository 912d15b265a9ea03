"""The decode loop: a language model that writes text, one token at a time, every attention by one
kernel.

`generate(prompt, tokens, stage=4, kernel=k)` runs it and gives a `Generated`: the text, what every
token cost as the cache grew, and every attention on the way, so that two runs can be compared token
for token and layer for layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import nkisim
from nkisim.rules.errors import singular

from .. import stage as stages
from ..running import limits, problems, runner, worked
from ..running.silence import silent
from ..verdict import WRONG
from . import charmodel
from .caches import CACHES, Cache, NumpyCache
from .generated import Generated, TokenStep
from .languagemodel import F32, LanguageModel, Tokenizer
from .lowered import ReplayedKernel

PROMPT = "The rabbit-hole went"
AttentionStep = Callable[..., Any]
Network = tuple[LanguageModel, Tokenizer]


def attention_step(
    q: F32,
    k: F32,
    v: F32,
    layer: int,
    position: int,
    cache: Cache,
    rotate: Callable[[F32, int], F32],
    kernel: Any,
) -> F32:
    """One layer's attention for one new token, (Hq * d,), with any cache and the kernel that it is
    made for."""
    cache.append(layer, position, rotate(k, position), v)
    return cache.attend(kernel, layer, position + 1, rotate(q, position)).reshape(-1)


def reference(
    prompt: str = PROMPT,
    tokens: int = 200,
    *,
    network: Network | None = None,
    dtype: Any = np.float32,
) -> Generated:
    """What the model writes when NumPy computes its attention, in float32 or with bfloat16's
    rounding. Raises as `generate`."""
    network = network or charmodel.load()
    cache = NumpyCache(network[0].config, _capacity(prompt, tokens, network), dtype)
    title = "NumPy" if cache.dtype == np.float32 else f"NumPy with {cache.dtype}'s rounding"
    return _decode(title, prompt, tokens, network, cache, attention_step, None, None)


def generate(
    prompt: str = PROMPT,
    tokens: int = 200,
    *,
    stage: int | str | stages.Stage = 4,
    kernel: Any = None,
    step: AttentionStep | None = None,
    network: Network | None = None,
) -> Generated:
    """Write `tokens` tokens after `prompt`, each the most likely one (greedy), every attention by
    `kernel`.

    `kernel` is one of `stage`, by default the worked solution, and gets a cache in that stage's
    layout. `step` is an attention step of stage 10, made for the cache of stage 4; by default the
    course's own. `network` is a model and its tokenizer, by default the one that comes with the
    course. The prompt goes through the kernel too, a token at a time. A kernel or a step that fails
    ends the text, and `problem` says why. ValueError for a prompt or a number of tokens that the
    model cannot take, and for a step with a kernel that is not stage 4's; StageError for a stage
    without a cache.
    """
    kernels = stages.get(stage)
    if kernels.number not in CACHES:
        known = ", ".join(writer.title for writer in writers())
        raise stages.StageError(
            f"{kernels.title} has no kernel that a language model could use; these have: {known}."
        )
    if step is not None and kernels.number != 4:
        raise ValueError(
            f"an attention step of stage 10 calls a kernel of stage 4, got {kernels.title}"
        )
    network = network or charmodel.load()
    cache = CACHES[kernels.number](network[0].config, _capacity(prompt, tokens, network))
    kernel = worked.solution(kernels.number) if kernel is None else kernel
    title = f"{'' if step is None else 'stage 10 generate, with the kernel of '}{kernels.title}"
    return _decode(title, prompt, tokens, network, cache, step or attention_step, kernel, kernels)


def writers() -> list[stages.Stage]:
    """The stages whose kernels a language model can write with: those that have a cache."""
    return [known for known in stages.defined() if known.number in CACHES]


def _capacity(prompt: str, tokens: int, network: Network) -> int:
    """The tokens that the cache must hold. ValueError unless the model can take the prompt and
    write as many as asked for."""
    model, tokenizer = network
    length = len(tokenizer.encode(prompt))
    if not length:
        raise ValueError("the prompt is empty: give the model at least one token to go on from")
    if tokens < 1:
        raise ValueError(f"there is nothing to write: {tokens} tokens are asked for")
    if length + tokens > model.config.context:
        raise ValueError(
            f"the model looks back over {model.config.context} tokens at most, and the prompt's "
            f"{length} with {tokens} more are {length + tokens}"
        )
    return length + tokens - 1


class _NoAnswer(Exception):
    """What an attention step gave back is not an attention; the text is one sentence."""


def _decode(
    title: str,
    prompt: str,
    tokens: int,
    network: Network,
    cache: Any,
    step: AttentionStep,
    kernel: Any,
    kernels: stages.Stage | None,
) -> Generated:
    """The loop itself: the prompt's tokens and the written ones go through the network alike."""
    model, tokenizer = network
    read = tokenizer.encode(prompt)
    n_prompt, c = len(read), model.config
    steps: list[TokenStep] = []
    target: str | None = None
    counted: dict[Any, dict[str, Any]] = {}
    problem = None if kernels is None else runner.usable(kernel, kernels)
    own = step is not attention_step
    lesson, author = (stages.get(10), step) if own or kernels is None else (kernels, kernel)
    if problem is None and own:
        problem = runner.usable(step, lesson)
    call = runner.by_the_sdk(kernel) if runner.of_the_sdk(kernel) else kernel
    if problems.package_of(kernel) == "nkisim":
        call = ReplayedKernel(kernel)
    config = replace(
        nkisim.Config.from_environment(),
        most_instructions=limits.most(c.q_heads * c.layers, n_prompt + tokens),
    )
    for position in range(n_prompt + tokens - 1) if problem is None else ():
        attended: list[F32] = []
        attention = _kept(step, cache, model, call, attended)
        try:
            with silent(), limits.ending(), nkisim.record(config=config) as run:
                if isinstance(call, ReplayedKernel):
                    call.begin(run)
                logits = model.step(read[position], position, attention)
                costs = _costs(run, call, counted)
        except _NoAnswer as error:
            problem = problems.Problem(WRONG, "output", str(error))
            break
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            problem = _failed(error, lesson, author, step, position)
            break
        if len(run) or not costs:  # what was replayed ran on no other target
            target = run.target if costs else None
        steps.append(_chosen(logits, read[position], position, attended, costs))
        if position + 1 >= n_prompt:
            read.append(steps[-1].next)
    key_bytes = 2 * c.layers * c.kv_heads * c.d * cache.itemsize
    why = () if problem is None else (problem.sentence, problem.outcome)
    sizes = (n_prompt, c.d, key_bytes, cache.itemsize)
    return Generated(title, prompt, tuple(steps), tokenizer, *sizes, target, *why)


def _chosen(
    logits: F32, read: int, position: int, attended: list[F32], costs: dict[str, Any]
) -> TokenStep:
    """The step of the token `read` at `position`: what follows it, by the largest logit."""
    second, first = np.argsort(logits)[-2:]
    margin = float(logits[first] - logits[second])
    return TokenStep(read, position + 1, int(first), margin, tuple(attended), **costs)


def _kept(
    step: AttentionStep, cache: Any, model: LanguageModel, kernel: Any, attended: list[F32]
) -> Callable[..., F32]:
    """The attention of one layer by `step`, as the network calls it; every answer is added to
    `attended`. `_NoAnswer` for what is not one."""

    def attention(q: F32, k: F32, v: F32, layer: int, position: int) -> F32:
        o = np.array(step(q, k, v, layer, position, cache, model.rotate, kernel), np.float32)
        if o.shape != (q.size,) or not np.isfinite(o).all():
            shaped = o.shape == (q.size,)
            what = "holds nan or inf" if shaped else f"has shape {o.shape}, expected {(q.size,)}"
            told = f"The attention of layer {layer} over {position + 1} keys {what}."
            raise _NoAnswer(singular(told))
        attended.append(o)
        return o

    return attention


def _failed(
    error: BaseException, lesson: stages.Stage, author: Any, step: AttentionStep, position: int
) -> problems.Problem:
    """The sentence about an error in the `author`, a kernel of `lesson` or a step of stage 10."""
    problem = problems.problem_of(error, author, lesson, f"{position + 1} keys in the cache")
    if step is not attention_step and problem.kind == "exception":
        problem = replace(problem, sentence=problem.sentence.replace("The kernel", "The step", 1))
    return problem


def _costs(run: Any, kernel: Any, counted: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """What one token cost in all layers; nothing where no kernel was recorded. `counted` has the
    costs of the tokens before.

    Of calls that were replayed, one direct run is counted. The model of time looks at shapes, not
    at values: it is asked once for runs of as many instructions and bytes.
    """
    replayed = kernel.replayed() if isinstance(kernel, ReplayedKernel) else None
    if replayed in counted:
        return counted[replayed]
    if replayed is not None:
        run = kernel.again()
    if not len(run):
        return {}
    alike = (len(run), run.hbm_bytes_read, run.dma_transfers)
    if alike not in counted:
        _, read, transfers = alike
        latency_us = run.timeline().latency_us
        counted[alike] = {"hbm_bytes_read": read, "transfers": transfers, "model_us": latency_us}
    if replayed is not None:
        counted[replayed] = counted[alike]
    return counted[alike]
