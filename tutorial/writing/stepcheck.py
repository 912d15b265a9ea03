"""The check of an attention step (stage 10): not attempted, the first divergence and its likely
cause, or correct.

The step runs over passages of text, where the right answer to every call is known. A
wrong answer is placed at the first token, layer and quantity that differs, and explained by the
known mistake that would have given all the same answers. Then cost: calls of the kernel, and keys
handed over. Last, the step writes its own text, which must be the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np

from .. import stage
from ..inputs.draw import OWN, Draw
from ..reference.mistake import Mistake
from ..reference.text import short
from ..running import limits, problems, runner
from ..running.problems import Problem
from ..running.worked import StandIn
from ..stage import Budget, Case, InputError, Stage
from ..verdict import CORRECT, UNUSABLE, WRONG, Counter, Verdict
from . import charmodel, decode
from . import mistakes as known
from .caches import whole_tiles
from .generated import Generated
from .passages import Call, Passage, Place, Refusal, StandInKernel, of_text, passages, take

TOLERANCE = 1e-4  # of the largest value; an fp32 step is within 1e-6 of the model's own attention
TOKENS = 200  # of the text that a right step writes at last


@dataclass(eq=False)
class Answers:
    """A step's answers to one passage, what it gave the kernel each time, and why there are no more
    of them."""

    passage: Passage
    outputs: list[Any]
    calls: list[list[Call]]
    problem: Problem | None = None


def judge(
    lesson: Stage,
    step: Any,
    inputs: Any,
    progress: Callable[[int, int, str], None] | None,
    draw: Draw = OWN,
) -> Verdict:
    """The verdict on an attention step, on all passages or on a prompt of the caller's."""
    problem = runner.usable(step, lesson)
    if problem is not None:
        return problem.verdict(lesson)
    try:
        taken = passages(draw) if inputs is None else (own_passage(inputs),)
    except InputError as error:
        return lesson.verdict(UNUSABLE, str(error))
    answers = []
    for done, passage in enumerate(taken):
        if progress is not None:
            progress(done, len(taken), passage.family)
        answers.append(given := answer(lesson, step, passage))
        if given.problem is not None and given.problem.kind == "no end":
            break  # it would take as long again
    if progress is not None:
        progress(len(taken), len(taken), "")
    families = tuple(passage.family for passage in taken)
    for given in answers:  # a passage in which the step stops may first have gone wrong
        wrong = first_wrong(given)
        if wrong is not None:
            return _diagnosed(lesson, answers, given, wrong, families)
        if given.problem is not None:
            return given.problem.verdict(lesson, given.passage.family, families)
    return _judge_cost(lesson, step, answers, families)


def own_passage(inputs: Any) -> Passage:
    """The caller's prompt as a passage. InputError unless it is a text that the model can read."""
    given = inputs if isinstance(inputs, Mapping) else {"prompt": next(iter(inputs), None)}
    prompt = given.get("prompt")
    if set(given) != {"prompt"} or not isinstance(prompt, str) or not prompt:
        raise InputError(
            "attention_step is checked on a prompt: give one input, prompt, that is a text."
        )
    context = charmodel.load()[0].config.context
    if len(prompt) > context:
        raise InputError(
            f"the model looks back over {context} characters at most, and the prompt "
            f"has {len(prompt)}."
        )
    try:
        return of_text("your input", "what you are looking for", prompt)
    except ValueError as error:
        raise InputError(f"{error}.") from error


def answer(lesson: Stage, step: Callable[..., Any], passage: Passage) -> Answers:
    """Run the step over the passage, every call with the model's own q, k and v."""
    kernel, cache = StandInKernel(), passage.cache()
    given = Answers(passage, [], [])
    for place in passage.places:
        kernel.calls = []
        where = _where(passage, place)
        try:
            with limits.ending():
                output = take(step, place, cache, passage.model, kernel)
        except KeyboardInterrupt:
            raise
        except Refusal as refused:
            said = f"{where}: the kernel refuses what the step gives it: {refused}"
            given.problem = Problem(WRONG, "refused by the kernel", said)
            break
        except BaseException as error:
            found = problems.problem_of(error, step, lesson, where)
            said = found.sentence.replace("The kernel", f"{where}: the step", 1)
            given.problem = replace(found, sentence=said) if found.outcome == WRONG else found
            break
        trouble = _no_output(output, place)
        if trouble:
            given.problem = Problem(WRONG, "output", f"{where}: {trouble}")
            break
        given.outputs.append(np.asarray(output, np.float64))
        given.calls.append(kernel.calls)
    return given


def _no_output(output: Any, place: Place) -> str:
    wanted = place.o.shape
    if output is None:
        return "the step returns nothing; it must return the kernel's output, head after head."
    if not isinstance(output, np.ndarray):
        return f"the step returns a {type(output).__name__}; it must return an array."
    if output.shape != wanted:
        return (
            f"the step returns an array {output.shape}, expected {wanted}: (Hq * d,), head "
            "after head."
        )
    if output.dtype != np.float32:
        return f"the step returns {output.dtype}, expected float32."
    return ""


def _where(passage: Passage, place: Place) -> str:
    return f"token {place.position} ({passage.tokens[place.position]!r}), layer {place.layer}"


def first_wrong(given: Answers) -> int | None:
    """The first step of a passage whose answer is wrong."""
    for at, (output, place) in enumerate(zip(given.outputs, given.passage.places, strict=False)):
        if not _close(output, place.o):
            return at
    return None


def _close(a: Any, b: Any) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.all(np.abs(a - b) <= TOLERANCE * np.abs(b).max() + 1e-30))


# -- what differs first, and why -------------------------------------------------------------------
def _diagnosed(
    lesson: Stage, answers: Sequence[Answers], given: Answers, at: int, families: tuple[str, ...]
) -> Verdict:
    place, calls = given.passage.places[at], given.calls[at]
    if not calls:
        sentence = "The step never calls the kernel."
        cause: str | None = "kernel not called"
        quantity, got, expected = "calls of the kernel", 0.0, 1.0
    else:
        quantity, got, expected = _difference(given.passage, place, calls[-1], given.outputs[at])
        mistake = recognised(answers, given)
        cause = None if mistake is None else mistake.key
        sentence = "No known mistake gives these values." if mistake is None else mistake.sentence
    details = {
        "token": place.position,
        "layer": place.layer,
        "quantity": quantity,
        "got": got,
        "expected": expected,
    }
    values = f"{quantity} is {short(got)}, expected {short(expected)}"
    return lesson.verdict(
        WRONG,
        f"{_where(given.passage, place)}: {values}. {sentence}",
        family=given.passage.family,
        cause=cause,
        families=families,
        details=details,
    )


def recognised(answers: Sequence[Answers], given: Answers) -> Mistake | None:
    """The known mistake with the same answers on all passages, or at least on the one that went
    wrong first."""
    here = None
    for mistake, step in known.steps():
        if not _same(given, step):
            continue
        if all(_same(other, step) for other in answers if other is not given):
            return mistake
        here = here or mistake
    return here


def _same(given: Answers, step: Callable[..., Any]) -> bool:
    """Whether another step gives the same answers to the passage, as far as the first went."""
    kernel, cache = StandInKernel(), given.passage.cache()
    for place, output in zip(given.passage.places, given.outputs, strict=False):
        try:
            if not _close(output, take(step, place, cache, given.passage.model, kernel)):
                return False
        except (Refusal, IndexError):
            return False
    return True


def _difference(
    passage: Passage, place: Place, call: Call, output: Any
) -> tuple[str, float, float]:
    """The first quantity that differs, in the order of the calculation: its name, what it is, and
    what it should be."""
    d, n = place.q.shape[1], place.position + 1
    if call.k.shape[0] != len(place.k) or call.q.shape[1] != len(place.q) or call.k.shape[1] < d:
        return (
            "the number of heads that the kernel sees",
            float(call.q.shape[1]),
            float(len(place.q)),
        )
    if call.k.shape[2] < n:
        return "the number of keys that the kernel sees", float(call.k.shape[2]), float(n)
    for name, mine, keys in (("K", call.k, passage.keys.k), ("V", call.v, passage.keys.v)):
        wanted = keys[place.layer, :, :, :n]
        found = _first(np.moveaxis(mine[:, :d, :n], 2, 0), np.moveaxis(wanted, 2, 0))
        if found is not None:
            (key, head, i), got, expected = found
            where = f"head {head}, dimension {i},"
            return f"{name} of key {key} as the kernel gets it, {where}", got, expected
    queries = passage.model.rotate(place.q, place.position) / np.float32(np.sqrt(d))
    found = _first(call.q[:d].T * np.float32(call.scale), queries)
    if found is not None:
        (head, i), got, expected = found
        return f"scale * q of head {head}, dimension {i},", got, expected
    beyond = [
        _weights(q, k, call.scale)[:, n:].sum(axis=1)
        for q, k in zip(np.split(call.q.T, len(call.k)), call.k, strict=True)
    ]
    shares = np.concatenate(beyond)
    if shares.max() > 1e-6:
        what = f"the weight of what lies beyond the last key, head {shares.argmax()},"
        return what, float(shares.max()), 0.0
    new = [float(k[d, n - 1]) for k in call.k if k.shape[0] > d]
    if any(new):
        return f"the padding row of key {n - 1}", next(x for x in new if x), 0.0
    found = _first(output.reshape(-1, d), place.o.reshape(-1, d))
    assert found is not None
    (head, i), got, expected = found
    return f"o[{head}, {i}]", got, expected


def _first(mine: Any, wanted: Any) -> tuple[tuple[int, ...], float, float] | None:
    """The first entry of `mine` that is not `wanted`'s, and both."""
    with np.errstate(all="ignore"):
        wrong = np.argwhere(~(np.abs(mine - wanted) <= TOLERANCE * np.abs(wanted).max()))
    if not len(wrong):
        return None
    at = tuple(int(i) for i in wrong[0])
    return at, float(mine[at]), float(wanted[at])


def _weights(q: Any, k: Any, scale: float) -> Any:
    qk = scale * (q.astype(np.float64) @ k)
    p = np.exp(qk - qk.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


# -- cost, and a text ------------------------------------------------------------------------------
def _judge_cost(
    lesson: Stage, step: Any, answers: Sequence[Answers], families: tuple[str, ...]
) -> Verdict:
    counters = _counters(answers)
    over = _overrun(answers)
    if over is not None:
        cause, sentence = over
        return lesson.verdict(WRONG, sentence, cause=cause, counters=counters, families=families)
    agrees = "Every attention agrees with the model's own"
    if len(families) == 1:
        sentence = f"{agrees} ({families[0]})."
        return lesson.verdict(CORRECT, sentence, counters=counters, families=families)
    written = decode.generate(decode.PROMPT, TOKENS, kernel=StandIn(stage.get(4)), step=step)
    text = written.compare(_models_text())
    if not written.same_as(_models_text()):
        return lesson.verdict(WRONG, text, cause="another text", families=families)
    sentence = f"{agrees} on all {len(families)} stretches of text. {text}"
    return lesson.verdict(CORRECT, sentence, counters=counters, families=families)


@cache
def _models_text() -> Generated:
    return decode.reference(decode.PROMPT, TOKENS)


def least(passage: Passage) -> Budget:
    """The least for all steps of a passage: one call of stage 4's kernel each, on the tiles that
    hold keys."""
    budgets = [
        _call_budget(len(place.q), place.k.shape, whole_tiles(place.position + 1))
        for place in passage.places
    ]
    sums = {f.name: sum(getattr(budget, f.name) for budget in budgets) for f in fields(Budget)}
    on_chip = ("sbuf_bytes", "psum_bytes")
    peaks = {name: max(getattr(budget, name) for budget in budgets) for name in on_chip}
    return Budget(**{**sums, **peaks})


@cache
def _call_budget(n_q_heads: int, kv: tuple[int, int], n: int) -> Budget:
    """Stage 4's for one call, the padding row included."""
    (n_kv_heads, d), zero = kv, np.zeros((), np.float32)
    shapes = {"q": (d + 1, n_q_heads), "k": (n_kv_heads, d + 1, n), "v": (n_kv_heads, d + 1, n)}
    args = {name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}
    return stage.get(4).minimum(Case("", "", args))


def _counters(answers: Sequence[Answers]) -> tuple[Counter, ...]:
    """Calls, keys and bytes over all passages, beside the least: one call per layer and the tiles
    that hold keys."""
    calls = [call for given in answers for each in given.calls for call in each]
    places = [place for given in answers for place in given.passage.places]
    keys = sum(call.k.shape[2] for call in calls)
    least_keys = sum(whole_tiles(place.position + 1) for place in places)
    read = sum(call.q.nbytes + call.k.nbytes + call.v.nbytes for call in calls)
    least_read = sum(least(given.passage).hbm_bytes_read for given in answers)
    return (
        Counter("calls of the kernel", len(calls), len(places)),
        Counter("keys handed over", keys, least_keys),
        Counter("HBM bytes read", read, least_read),
    )


def _overrun(answers: Sequence[Answers]) -> tuple[str, str] | None:
    """The cause and the sentence for the first place at which a step does more than it must."""
    for given in answers:
        for place, calls in zip(given.passage.places, given.calls, strict=False):
            where, needed = _where(given.passage, place), whole_tiles(place.position + 1)
            if not calls:
                return "kernel not called", f"{where}: the step never calls the kernel."
            if len(calls) > 1:
                return ("called too often"), (
                    f"{where}: the step calls the kernel {len(calls)} times; one call is enough, "
                    "for all heads and all keys so far."
                )
            if calls[0].k.shape[2] > needed:
                return "too many tiles", (
                    f"{where}: the kernel is given {calls[0].k.shape[2]} keys where {needed} "
                    "columns hold all that there are: hand over the tiles that hold keys, not the "
                    "whole cache."
                )
            if not _handed_on(calls[0].o, place):
                return "answer not the kernel's", (
                    f"{where}: the output is right, and it is not what the kernel answers to what "
                    "it is given: the kernel computes the attention, and the step hands it on."
                )
    return None


def _handed_on(answered: Any, place: Place) -> bool:
    """Whether the right answer consists of rows of the kernel's, in any order of the heads."""
    heads, d = place.q.shape
    rows = place.o.reshape(heads, d)
    return all(any(_close(own[:d], row) for own in answered) for row in rows)
