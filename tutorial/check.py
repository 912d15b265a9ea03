"""Check a kernel: one outcome, one sentence, and the counters.

Order: illegal access, then unwritten output, then wrong value, then cost. What is checked is listed
in `families`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import nkisim

from . import stage
from .cost import ladder
from .cost.judging import judge_cost, over_budget
from .inputs.datafiles import DataError
from .inputs.draw import OWN, Draw
from .running import computed, problems, refusals, runner
from .running.answer import Answer, Diagnosis, answered
from .running.problems import Problem
from .running.replays import Replays
from .running.runner import Result
from .stage import Case
from .trace.lines import line_of
from .verdict import FAILED, OVER_THE_RUNG, UNUSABLE, WRONG, CheckFailed, Verdict
from .workspace import progress as record

BESIDE = "trn1"
"""From stage 5 on the reader's own inputs are tried on this target too."""
LONG = 30_000
"""Instructions after which no more inputs are run where the first has cost too much, and of a
kernel that is known to be wrong only those which its lowered form answers: that takes little."""
ENOUGH = 4  # wrong answers that tell which mistake it is, so that a wrong kernel is answered soon
_ORDER = ("illegal access", "unwritten output")
Progress = Callable[[int, int, str], None]


def check(
    key: int | str | stage.Stage,
    kernel: Any,
    *,
    inputs: Any = None,
    rung: int | None = None,
    seed: str = "",
    sizes: bool = False,
    explain: bool = True,
    raise_on_fail: bool = False,
    progress: Progress | None = None,
) -> Verdict:
    """Check `kernel` at a stage (number or name) on all of the stage's input families, or on
    `inputs` alone.

    `inputs` is a mapping by parameter name, or a sequence in the order of the parameters. `seed`, a
    word, gives the families other numbers, and `sizes` other numbers of keys and heads too. `rung`
    also asks for that rung's budget, at a stage that has a ladder; such a stage always tells which
    rung is reached. Without `explain` the check ends at the first wrong answer and does not ask
    which mistake it is. `progress(done, all, family)` is called before every family. Returns a
    `Verdict` and raises nothing but KeyboardInterrupt, unless `raise_on_fail`: then CheckFailed for
    every outcome but "correct". Raises StageError if there is no such stage or rung.
    """
    lesson = stage.get(key)
    wanted = None if rung is None else ladder.rung_of(lesson, rung)
    try:
        verdict = _check(lesson, kernel, inputs, progress, Draw(seed, sizes), explain)
        if verdict.ok and inputs is None and lesson.ladder is not None:
            verdict = _on_the_ladder(lesson, kernel, verdict, wanted)
        if inputs is None and not seed:
            record.note(verdict, kernel)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        verdict = failed(lesson, error)
    if raise_on_fail and not verdict.ok:
        raise CheckFailed(str(verdict))
    return verdict


def failed(lesson: stage.Stage, error: BaseException) -> Verdict:
    """The verdict where the check itself falls over: it says nothing of the kernel."""
    text = " ".join(problems.said(error).split())
    if not isinstance(error, (problems.CheckError, DataError)):
        text = f"The check itself failed, not your kernel: {type(error).__name__}" + (
            f": {text}" if text else ""
        )
        text = f"{text.rstrip('.')}. Please report it with the kernel."
    return lesson.verdict(FAILED, text)


def _on_the_ladder(
    lesson: stage.Stage, kernel: Any, verdict: Verdict, wanted: stage.Rung | None
) -> Verdict:
    """The verdict on a right kernel with its rung, or on one that misses the budget of the rung
    that is wanted."""
    why = "Costs are counted by the simulator only"
    try:
        found = ladder.measure(lesson, kernel, targets=("trn2",))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        why = f"The kernel does not run at the ladder's size: {problems.one_line(error)}"
        found = None
    if found is None and wanted is not None:
        return replace(
            verdict,
            outcome=UNUSABLE,
            cause="rung not measured",
            sentence=f"The output is right, and rung {wanted.number}, {wanted.name}, cannot be "
            f"measured: {why}.",
        )
    if found is None:
        return replace(verdict, notes=(*verdict.notes, f"ladder: {why}."))
    assert lesson.ladder is not None
    verdict = replace(verdict, details={"rung": ladder.reached(lesson.ladder, found)})
    missing = [] if wanted is None else ladder.unmet(wanted, found)
    if wanted is not None and missing:
        return replace(
            verdict,
            outcome=WRONG,
            cause=OVER_THE_RUNG,
            sentence=(
                f"The output is right, and rung {wanted.number}, {wanted.name}, is not reached: "
                f"{'; '.join(missing)}. What to change: {wanted.lever}."
            ),
        )
    said = () if wanted is None else (f"rung {wanted.number}, {wanted.name}: within its budget.",)
    return replace(verdict, notes=(*verdict.notes, *said, ladder.standing(lesson, found)))


def unusable(lesson: stage.Stage, sentence: str) -> Verdict:
    """The verdict on a file or an input that cannot be checked."""
    return lesson.verdict(UNUSABLE, sentence)


def _check(
    lesson: stage.Stage,
    kernel: Any,
    inputs: Any,
    progress: Progress | None,
    draw: Draw,
    explain: bool,
) -> Verdict:
    if lesson.judge is not None:
        return lesson.judge(lesson, kernel, inputs, progress, draw)
    problem = runner.usable(kernel, lesson)
    if problem is not None:
        return _verdict(lesson, problem)
    try:
        cases = lesson.cases(*_drawn(draw)) if inputs is None else _own(lesson, inputs)
    except stage.InputError as error:
        return unusable(lesson, str(error))
    replays = Replays(kernel, lesson, cases)
    ran = _run_all(lesson, replays, cases, progress, ENOUGH if explain else 1)
    results, lacking = _on_their_targets(list(ran))
    families = tuple(dict.fromkeys(result.case.family for result in results))
    dialects = {refusals.ran_in(result.run) for result in results} - {None}
    tried = all(result.problem is None or result.problem.outcome == WRONG for result in results)
    if tried and lesson.dialect is not None and dialects - {lesson.dialect}:
        return lesson.verdict(WRONG, refusals.OLD, cause="old dialect", families=families)
    troubled = [result for result in results if result.problem is not None]
    answers = [answer for result in results if (answer := ran[result]) is not None]
    if troubled:
        explained = _explained(lesson, kernel, answers, troubled) if explain else None
        return (
            explained
            if explained is not None
            else _refused(lesson, kernel, _first_problem(troubled), families)
        )
    beyond: list[Result] = []
    short = len(ran) < len(cases)  # the cost has been told, or a mistake
    if inputs is None and not short and not any(answer.wrong for answer in answers):
        more = [replays.run(case) for case in lesson.beyond(*_drawn(draw))]
        crashed = next((result for result in more if _crashes(lesson, result)), None)
        if crashed is not None:
            return _refused(lesson, kernel, crashed, families)
        beyond = [result for result in more if result.problem is None]
        answers += [answered(lesson, result) for result in beyond]
    if any(answer.wrong for answer in answers) and not explain:
        return lesson.verdict(WRONG, "The output is wrong on an input.", families=families)
    if any(answer.wrong for answer in answers):
        return _diagnosed(lesson, replays, answers, results, families)
    fewest = computed.fewest(results)
    not_computed = computed.refused(lesson, kernel, fewest) or computed.recited(
        lesson, replays.tried_on(fewest)
    )
    if not_computed is not None:
        seen = Result(fewest.case, run=fewest.run, problem=not_computed)
        return _verdict(lesson, seen, families)
    # the counters are those of a run of the kernel itself
    results = [replays.again(r) if r.case.family == lesson.cost_case else r for r in results]
    verdict = judge_cost(lesson, replays, results, beyond, families)
    fewer = f"note: run on {len(ran)} of {len(cases)} inputs, as the first cost too much already."
    notes = [note for note in (lacking, fewer if short else None) if note is not None]
    return replace(verdict, notes=(*verdict.notes, *notes))


def _drawn(draw: Draw) -> tuple[Draw, ...]:
    """How the inputs of a draw are asked for: the course's own as everywhere else, so that they are
    made once."""
    return () if draw == OWN else (draw,)


def _crashes(lesson: stage.Stage, result: Result) -> bool:
    """Whether a kernel fails with an option that it need not offer, and offers: it may refuse the
    option by an assertion."""
    given, found = set(lesson.extras) & set(result.case.options), result.problem
    if not given or found is None or found.outcome != WRONG or found.kind == "own assertion":
        return False
    return not any(f"unexpected keyword argument '{name}'" in found.sentence for name in given)


def _diagnosed(
    lesson: stage.Stage,
    replays: Replays,
    answers: Sequence[Answer],
    results: Sequence[Result],
    families: tuple[str, ...],
) -> Verdict:
    """The verdict on a kernel some of whose answers are wrong."""
    found = _diagnosis(lesson, replays.kernel, answers)
    verdict = _of_a_diagnosis(lesson, found, families)
    details = {**found.details, **_line_of(found, replays, answers)}
    return replace(verdict, target=_target(results, found.family), details=details)


def _of_a_diagnosis(lesson: stage.Stage, found: Diagnosis, families: tuple[str, ...]) -> Verdict:
    return lesson.verdict(
        WRONG,
        found.sentence,
        family=found.family,
        cause=found.cause,
        families=families,
        details=found.details,
    )


def _diagnosis(lesson: stage.Stage, kernel: Any, answers: Sequence[Answer]) -> Diagnosis:
    """Which mistake answers like the kernel. A right one never needs the room, a tenth of what
    importing the package takes."""
    from .diagnosis.diagnose import diagnose

    return diagnose(lesson, kernel, answers)


def _on_their_targets(results: list[Result]) -> tuple[list[Result], str | None]:
    """The results without those on a target that lacks an instruction of the kernel, and a note
    about them: such a kernel is right where it runs."""

    def lacks(result: Result) -> bool:
        return (
            result.case.target is not None
            and isinstance(result.error, nkisim.KernelError)
            and "needs NeuronCore-v" in result.error.headline
        )

    without = [result for result in results if lacks(result)]
    if not without:
        return results, None
    error: Any = without[0].error
    note = f"note: not for {without[0].case.target}: {error.headline}."
    return [result for result in results if not lacks(result)], note


def _own(lesson: stage.Stage, inputs: Any) -> list[Case]:
    """The reader's own input, from stage 5 on for both generations of the core."""
    case = lesson.custom_case(inputs)
    if lesson.number < 5:
        return [case]
    return [case, replace(case, family=f"{case.family}, on {BESIDE}", target=BESIDE)]


def _line_of(found: Diagnosis, replays: Replays, answers: Sequence[Answer]) -> dict[str, Any]:
    """The kernel's line that keeps the first wrong quantity, where one does: for `details`."""
    quantity = found.details.get("quantity")
    results = [a.result for a in answers if a.result.case.family == found.family]
    if quantity is None or not results or results[0].run is None:
        return {}
    line = line_of(replays.again(results[0]).run, quantity)
    return {} if line is None else {"line": line[0], "source": line[1]}


def _run_all(
    lesson: stage.Stage,
    replays: Replays,
    cases: Sequence[Case],
    progress: Progress | None,
    enough: int,
) -> dict[Result, Answer | None]:
    """Run every case; stop early where more cases would say nothing new. The answers are those of
    the results without a problem."""
    results: dict[Result, Answer | None] = {}
    wrong = issued = 0
    waiting = list(reversed(cases))
    while waiting:
        case = waiting.pop()
        if progress is not None:
            progress(len(results), len(cases), case.family)
        result = replays.run(case)
        answer = answered(lesson, result) if result.problem is None else None
        if result.problem is not None or (answer is not None and answer.wrong):
            again = replays.was_wrong(result)
            if again is not result:
                result = again
                answer = answered(lesson, result) if result.problem is None else None
        results[result] = answer
        wrong += answer is not None and answer.wrong
        if wrong == enough:
            break
        if result.problem is not None and result.problem.kind not in _ORDER[1:]:  # noqa: SIM102
            if result.problem.kind != "illegal access" or not lesson.known:
                break  # else the inputs that the kernel does take may tell which mistake it is
        issued += 0 if result.run is None or result.replayed else len(result.run)
        if issued > LONG and _too_costly(lesson, replays, results):
            issued = 0
            waiting = [case for case in waiting if case.family == lesson.cost_case]
        if issued > LONG and wrong:
            waiting = [case for case in waiting if replays.is_lowered(case)]
    if progress is not None:
        progress(len(cases), len(cases), "")
    return results


def _too_costly(
    lesson: stage.Stage, replays: Replays, results: Mapping[Result, Answer | None]
) -> bool:
    """Whether all answers so far are right, and the first of them cost more than the lesson
    allows."""
    first = next(iter(results))
    right = all(answer is not None and not answer.wrong for answer in results.values())
    return right and first.run is not None and over_budget(lesson, replays.kernel, first)


def _first_problem(troubled: Sequence[Result]) -> Result:
    """Illegal accesses first, then unwritten outputs, then the rest."""
    rank = {kind: place for place, kind in enumerate(_ORDER)}

    def place(result: Result) -> int:
        assert result.problem is not None
        return rank.get(result.problem.kind, len(rank) if result.problem.outcome == WRONG else -1)

    return min(troubled, key=place)


def _explained(
    lesson: stage.Stage, kernel: Any, answers: list[Answer], troubled: Sequence[Result]
) -> Verdict | None:
    """The verdict of a mistake of this stage's own that some inputs show by its values and others
    by a broken rule."""
    if not lesson.known or not any(answer.wrong for answer in answers):
        return None
    found = _diagnosis(lesson, kernel, answers)
    if found.cause not in [known.key for known in lesson.known]:
        return None
    families = tuple(dict.fromkeys(a.result.case.family for a in answers))
    return _of_a_diagnosis(lesson, found, families)


def _refused(lesson: stage.Stage, kernel: Any, found: Result, families: tuple[str, ...]) -> Verdict:
    """The verdict on a broken rule; where a mistake of this stage's own breaks it so, with that
    mistake's sentence."""
    verdict = _verdict(lesson, found, families)
    names = {name: re.escape(own) for name, own in runner.parameter_names(kernel, lesson).items()}
    sentences = {known.key: known.sentence for known in lesson.known}
    for key, pattern in lesson.refusals.items():
        for name, own in names.items():
            pattern = pattern.replace("{" + name + "}", own)
        if verdict.cause == "illegal access" and re.search(pattern, verdict.sentence):
            return replace(verdict, cause=key, sentence=f"{verdict.sentence} {sentences[key]}")
    return verdict


def _verdict(
    lesson: stage.Stage, found: Problem | Result, families: tuple[str, ...] = ()
) -> Verdict:
    """The verdict on a problem, or on a result that has one."""
    if isinstance(found, Problem):
        return found.verdict(lesson, families=families)
    assert found.problem is not None
    return found.problem.verdict(lesson, found.case.family, families)


def _target(results: Sequence[Result], family: str) -> str | None:
    """The target on which a family ran."""
    ran = (r for r in results if r.run is not None and r.case.family == family)
    return next((result.run.target for result in ran), None)
