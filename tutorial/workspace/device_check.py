"""`python -m tutorial device-check`: what a Neuron device says to the course's solutions.

Each solution runs on each of its inputs with the real SDK, in a separate process, so that a
compiler that aborts or a device that hangs costs one case. The report keeps outcomes, errors, the
compiler's text, and the measured p50 beside the modelled time. It has no personal data: paths of
the home folder, names of the user and of the machine are taken out. `device_report.schema.json`
beside this file describes it.
"""

from __future__ import annotations

import argparse
import getpass
import json
import platform
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nkisim import fallback

from ..running.process import surroundings
from ..stage import CLONE, Stage, StageError, get, solutions_folder, stages
from .doctor import version

SCHEMA = Path(__file__).with_name("device_report.schema.json")
VERSION = 1
PRODUCT = Path("/sys/devices/virtual/dmi/id/product_name")
PACKAGES = ("neuronx-cc", "nki", "aws-neuronx-tools", "numpy", "ml_dtypes")
CHILD = "tutorial.workspace.device_child"
SECONDS = 900  # a case may be compiled first
LONGEST = 2000  # characters of an error or of the compiler's text


def register(add: Any) -> None:
    """Add the command to the parser of `python -m tutorial`."""
    made = add("device-check", command, "run the solutions on a Neuron instance and write a report")
    made.add_argument("stages", metavar="STAGE", nargs="*", help="default: all")
    made.add_argument("--out", metavar="PATH", default="report.json", help="default: report.json")


def command(options: argparse.Namespace) -> int:
    """Write the report; 0 if every case is right, 1 if one is not. Raises StageError where there is
    no SDK, or no solution."""
    if fallback.real_sdk() is None or fallback.forced():
        raise StageError(
            "There is no Neuron SDK here, so that no device can be asked. On a Neuron instance, "
            "in the SDK's environment, 'python -m tutorial device-check' writes a report."
        )
    folder = solutions_folder()
    if folder is None:
        raise StageError("The solutions are not part of this installation.")
    lessons = [get(key) for key in options.stages] or list(stages())
    report = {**about(), "cases": [case for s in lessons for case in cases_of(s, folder)]}
    text = json.dumps(report, indent=1) + "\n"
    try:
        Path(options.out).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StageError(f"{options.out} cannot be written: {error.strerror}.") from error
    right = sum(case["outcome"] == "right" for case in report["cases"])
    said = f"{right} of {len(report['cases'])} cases are right. Wrote {options.out}."
    print(json.dumps(report, indent=1) if options.json else said)
    return 0 if right == len(report["cases"]) else 1


def about() -> dict[str, Any]:
    """The machine and the packages, without a name of either's owner."""
    return {
        "schema": VERSION,
        "instance type": instance_type(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "course": version("nki-decode-tutorial"),
    }


def instance_type() -> str:
    """The EC2 instance type, such as "trn1.2xlarge"; "unknown" elsewhere."""
    try:
        name = PRODUCT.read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"
    return name if re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", name) else "unknown"


def cases_of(lesson: Stage, folder: Path) -> Iterator[dict[str, Any]]:
    """What the device says to each input of a stage, in order; nothing for a stage whose entry
    point is not a kernel."""
    if lesson.judge is not None:
        return
    file = folder / f"{lesson.file_name}.py"
    for number, case in enumerate(lesson.cases()):
        measure = case.family == lesson.cost_case
        print(f"{lesson.title}: {case.family}", file=sys.stderr)
        yield {
            "stage": lesson.number,
            "family": case.family,
            "measured p50 us": None,
            "modelled us": modelled(lesson, file, number) if measure else None,
            **answer(lesson, file, number, measure),
        }


def answer(lesson: Stage, file: Path, number: int, measure: bool) -> dict[str, Any]:
    """One case on the device, in a child process."""
    said = _child("run", lesson, file, number, *(["--measure"] if measure else []))
    if said.get("outcome") is None:
        return {"outcome": "no answer", **said}
    return said


def modelled(lesson: Stage, file: Path, number: int) -> dict[str, float] | None:
    """The modelled time of one case by target, in us, from the simulator in a child process."""
    said = _child("model", lesson, file, number, environment={"NKISIM_FORCE": "1"})
    found = said.get("modelled us")
    return found if isinstance(found, dict) else None


def _child(
    what: str,
    lesson: Stage,
    file: Path,
    number: int,
    *options: str,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run `device_child` in a separate folder and read the JSON that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "answer.json"
        command = [sys.executable, "-m", CHILD, what, str(lesson.number), str(file), str(number)]
        try:
            done = subprocess.run(
                [*command, str(out), *options],
                cwd=folder,
                env={**surroundings(), **(environment or {})},
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no answer in {SECONDS} seconds", "compiler text": ""}
        text = without_names(done.stdout + done.stderr, folder)[-LONGEST:]
        if not out.is_file():
            error = f"the process ended with status {done.returncode}"
            return {"error": error, "compiler text": text}
        said: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if said.get("error"):
            said["error"] = without_names(said["error"], folder)[:LONGEST]
        return {**said, "compiler text": text if said.get("error") else ""}


def without_names(text: str, folder: str = "") -> str:
    """A text without the paths and names of the user and of the machine."""
    for path, instead in ((folder, "."), (str(CLONE), "COURSE"), (str(Path.home()), "~")):
        if len(path) > 1:
            text = text.replace(path, instead)
    for name, instead in ((_user(), "USER"), (socket.gethostname(), "HOST")):
        if name:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", instead, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
