"""The promises that the repository makes about itself: one set of commands, told and run everywhere
the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def commands_of_ci() -> list[str]:
    return re.findall(r"^python -m .*$", text_of(".ci/run"), re.MULTILINE)


def test_the_workflow_runs_the_commands_of_ci_run() -> None:
    assert (
        re.findall(r"^ +run: (python .*)$", text_of(".github/workflows/ci.yml"), re.MULTILINE)
        == commands_of_ci()
    )


def test_the_readmes_test_command_is_what_ci_runs() -> None:
    install, *_, tests = commands_of_ci()
    assert install == 'python -m pip install -e ".[test]" -c constraints.txt'
    assert tests == "python -m pytest"
    assert f"{install} && {tests}" in text_of("README.md")


def test_the_workflow_covers_every_supported_python() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    versions = [
        name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)
    ]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == ">=3.11,<3.15"
    assert "python: [" + ", ".join(f'"{version}"' for version in versions) + "]" in text_of(
        ".github/workflows/ci.yml"
    )


def test_the_changelogs_newest_entry_is_the_version() -> None:
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    newest = re.search(r"^## (\S+) \((\d{4}-\d{2}-\d{2})\)$", text_of("CHANGELOG.md"), re.MULTILINE)
    assert newest is not None and newest[1] == version


@pytest.mark.parametrize("name", ["LICENSE", "nkisim/py.typed"])
def test_a_file_that_the_distribution_promises_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_constraints_name_versions_and_nothing_else() -> None:
    lines = [s for s in text_of("constraints.txt").splitlines() if s and not s.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r'[a-z0-9-]+==[\w.]+(; python_version (<|>=) "3\.\d+")?', line), line


def test_the_constraints_know_every_direct_dependency() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["test"] + extras["docs"]
    names = {re.split(r"[<>=;\[ ]", text)[0].lower().replace("_", "-") for text in wanted}
    assert names <= set(re.findall(r"^([a-z0-9-]+)==", text_of("constraints.txt"), re.MULTILINE))
