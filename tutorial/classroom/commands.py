"""The commands of a class: `grade` and `release`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import stage
from ..running.terminal import Add, answer, say
from ..stage import Stage, StageError
from . import feedback, gradebook, names
from .files import write
from .grade import grade
from .gradebook import Grade
from .judges import Setting, seed_of
from .release import CARRY, OWN, release, release_for_nbgrader
from .sandbox import Limits
from .submissions import Submission, found_in, without_any


def register(add: Add) -> None:
    """Add the commands to the parser of `python -m tutorial`."""
    grading = add("grade", _grade, "grade a folder of submissions")
    grading.add_argument(
        "submissions",
        metavar="SUBMISSIONS",
        help="what was handed in: a folder for each student, or files like anna_stage3.py",
    )
    grading.add_argument("--out", required=True, metavar="GRADES", help="the folder for the grades")
    grading.add_argument("--stages", help="such as 3, 0-4 or 1,3,5 (default: all)")
    grading.add_argument("--seed", help="the word from which the hidden inputs are drawn")
    grading.add_argument(
        "-j", type=int, default=1, metavar="N", help="how many to grade at a time (default: 1)"
    )
    grading.add_argument(
        "--scheduler", default="", metavar="ADDRESS", help="hand the work to this Dask cluster"
    )
    grading.add_argument(
        "--seconds", type=float, default=60.0, help="time for each submission (default: 60)"
    )
    grading.add_argument(
        "--memory",
        type=int,
        default=4096,
        metavar="MB",
        help="memory for each submission (default: 4096)",
    )
    grading.add_argument("--rubric", metavar="FILE", help="points by outcome, as TOML")
    grading.add_argument(
        "--written", metavar="FILE", help="points of written questions: CSV of student,stage,points"
    )
    grading.add_argument("--pattern", help="a regular expression with groups student and stage")
    grading.add_argument(
        "--feedback",
        choices=feedback.LEVELS,
        default=feedback.FULL,
        help="how much the students' pages say (default: full)",
    )
    releasing = add("release", _release, "write a learner's edition without solutions")
    releasing.add_argument("folder", metavar="OUT", help="a new folder")
    releasing.add_argument("--stages", help="such as 3, 0-4 or 1,3,5 (default: all)")
    releasing.add_argument(
        "--carry",
        choices=CARRY,
        default=OWN,
        help="whose kernel of the stage before a lesson shows (default: own)",
    )
    releasing.add_argument(
        "--nbgrader",
        action="store_true",
        help="write a course folder for nbgrader, with the edition in edition/",
    )


def _release(options: argparse.Namespace) -> int:
    make = release_for_nbgrader if options.nbgrader else release
    files = make(Path(options.folder), numbers(options.stages), options.carry)
    said = (
        f"Wrote {len(files)} files to {options.folder}: no line of a solution is in them,\n"
        "every exercise is not attempted, and their own tests pass."
    )
    answer(options, {"folder": options.folder, "files": files}, said)
    return 0


def numbers(text: str | None) -> list[stage.Stage]:
    """The stages that a text like "0-4" or "1,3" names, all that are here for None. StageError for
    other text."""
    if text is None:
        return list(stage.stages())
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise StageError(f"--stages takes numbers such as 3, 0-4 or 1,3,5, not {text!r}.")
        named = range(int(first), int(last if dash else first) + 1)
        if not named:
            raise StageError(f"--stages: {part.strip()} runs backwards; write {last}-{first}.")
        found += named
    return [stage.get(n) for n in sorted(set(found))]


def _grade(options: argparse.Namespace) -> int:
    out = Path(options.out)
    by = gradebook.rubric(None if options.rubric is None else Path(options.rubric))
    answered = gradebook.written(Path(options.written), by) if options.written else {}
    lessons = numbers(options.stages)
    jobs = found_in(Path(options.submissions), lessons, options.pattern)
    if options.seconds <= 0 or options.memory < 256 or options.j < 1:
        raise StageError("--seconds must be above 0, --memory 256 or more, -j 1 or more.")
    out.mkdir(parents=True, exist_ok=True)
    seed = seed_of(out, options.seed)
    limits = Limits(seconds=options.seconds, memory=options.memory << 20)
    shown = None if options.json else _progress
    private = tuple(str(Path(p).resolve()) for p in (options.submissions, options.out))
    setting = Setting(seed, limits, private)
    results, in_force = grade(jobs, out / "results", setting, options.j, options.scheduler, shown)
    grades = [gradebook.graded(job, r, by, answered) for job, r in zip(jobs, results, strict=True)]
    without = without_any(Path(options.submissions), jobs, out)
    written(out, grades, in_force, options.feedback, without)
    if uncounted := _uncounted(answered, jobs, lessons):
        print(uncounted, file=sys.stderr)
    if options.json:
        say(gradebook.as_json(grades, in_force), end="")
    else:
        say(feedback.of_the_class(grades, in_force, without).markdown)
        say(f"Written to {out}: grades.csv, grades.json, class.html, students/")
    return 0


def _uncounted(
    answered: Mapping[tuple[str, int], float], jobs: Sequence[Submission], lessons: Sequence[Stage]
) -> str:
    """Whose written points have no submission to be added to, in a sentence; "" for nobody's."""
    have, asked = {(job.student, job.stage) for job in jobs}, {lesson.number for lesson in lessons}
    lost = [(name, n) for name, n in answered if n in asked and (name, n) not in have]
    if not lost:
        return ""
    named = ", ".join(f"{names.shown(name)} (stage {n})" for name, n in lost)
    return f"Not counted, as there is no such submission: the written points of {named}."


def written(
    out: Path,
    grades: Sequence[Grade],
    in_force: Sequence[str],
    level: str,
    without: Sequence[str] = (),
) -> None:
    """Write gradebook and pages: the same bytes for the same results."""
    write(out / "grades.csv", gradebook.as_csv(grades))
    write(out / "grades.json", gradebook.as_json(grades, in_force))
    pages = {"class": feedback.of_the_class(grades, in_force, without)}
    for student, safe in names.file_names(g.submission.student for g in grades).items():
        own = [g for g in grades if g.submission.student == student]
        pages[f"students/{safe}"] = feedback.of_a_student(student, own, level)
    for name, page in pages.items():
        write(out / f"{name}.md", page.markdown)
        write(out / f"{name}.html", page.html)


def _progress(done: int, all_of_them: int, job: Submission, outcome: str) -> None:
    name = names.shown(job.student)
    print(f"{done:5d}/{all_of_them}  {name}  stage {job.stage}: {outcome}", file=sys.stderr)
