"""The distribution: wheel and source distribution are complete, and work outside any clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import repository  # noqa: E402

REPOSITORY = "https://github.com/someone/some-course"
BUILD = "import sys; from hatchling.build import build_{0}; print(build_{0}(sys.argv[1]))"


def build(kind: str, into: Path, source: Path = ROOT, address: str | None = REPOSITORY) -> Path:
    """Build a "wheel" or an "sdist" with the project's own backend, without the network."""
    environment = {name: value for name, value in os.environ.items() if "GITHUB" not in name}
    if address is not None:
        server, _, name = address.partition("github.com/")
        environment |= {"GITHUB_SERVER_URL": f"{server}github.com", "GITHUB_REPOSITORY": name}
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(into)],
        cwd=source,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files as an installer lays them out."""
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )


def files_of(folder: str, pattern: str = "**/*") -> set[str]:
    kept = (".py", ".ipynb", ".md")
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).glob(pattern)
        if path.suffix in kept and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    }


def test_the_wheel_has_every_file_of_the_packages_and_of_the_course(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", "nkisim", "tutorial", "pytest_nkisim"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    known = set(listed.stdout.split()) if listed.returncode == 0 else files_of("tutorial")
    code = {name for name in known if (ROOT / name).is_file()}
    course = files_of("notebooks") | files_of("solutions") | files_of("docs", "**/*.md")
    assert code - names == set()
    assert {f"tutorial/material/{name}" for name in course} - names == set()


def test_the_wheel_has_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        kinds = {Path(name).suffix for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "nkisim",
        "pytest_nkisim",
        "tutorial",
    }
    assert ".pyc" not in kinds


def test_outside_a_clone_two_commands_lead_to_the_first_verdict(
    installed: Path, tmp_path: Path
) -> None:
    started = run(installed, tmp_path, "-m", "tutorial", "start", "course", "--solutions")
    assert started.returncode == 0, started.stderr
    course = tmp_path / "course"
    checked = run(installed, course, "-m", "tutorial", "check", "3")
    assert (checked.returncode, checked.stderr) == (2, "")
    assert "stage 3 online_softmax: not attempted" in checked.stdout
    name = "stage3_online_softmax.py"
    solved = (course / "solutions" / name).read_text(encoding="utf-8")
    (course / "exercises" / name).write_text(solved, encoding="utf-8")
    checked = run(installed, course, "-m", "tutorial", "check", "3")
    assert checked.stdout.startswith("stage 3 online_softmax: correct"), checked.stderr
    shown = run(installed, course, "-m", "tutorial", "progress")
    assert "1 of 11 stages are solved." in shown.stdout


def test_outside_a_clone_the_worked_solutions_are_there_for_the_notebooks(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import tutorial; print(tutorial.__file__); "
        "print(tutorial.trace(3, tutorial.solution(3)).only(0))"
    )
    done = run(installed, tmp_path, "-c", code)
    assert done.stdout.startswith(str(installed)), done.stderr
    assert "tile  keys" in done.stdout


def test_the_console_script_is_the_command_line(installed: Path, tmp_path: Path) -> None:
    (points,) = installed.glob("*.dist-info/entry_points.txt")
    text = points.read_text(encoding="utf-8")
    found = re.search(r"\[console_scripts\]\nnki-decode = (\S+)", text)
    assert found is not None
    point = EntryPoint("nki-decode", found[1], "console_scripts")
    code = f"import sys; from {point.module} import {point.attr}; sys.exit({point.attr}(['list']))"
    done = run(installed, tmp_path, "-c", code)
    assert done.returncode == 0 and "online_softmax" in done.stdout


def test_the_links_of_the_readme_work_on_an_index(wheel: Path) -> None:
    text = str(metadata(wheel).get_payload())
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert len(links) > 10
    assert [link for link in links if not link.startswith((f"{REPOSITORY}/blob/HEAD/", "#"))] == []


def test_the_projects_addresses_are_those_of_the_repository_that_builds_it(wheel: Path) -> None:
    urls = dict(line.split(", ") for line in metadata(wheel).get_all("Project-URL", []))
    assert urls["Repository"] == REPOSITORY
    assert urls["Homepage"] == "https://someone.github.io/some-course/"


def test_the_wheel_asks_for_no_jupyterlab_in_a_browser(wheel: Path) -> None:
    (line,) = [
        line for line in metadata(wheel).get_all("Requires-Dist", []) if "jupyterlab" in line
    ]
    assert re.search(r"; ?sys_platform != ['\"]emscripten['\"]", line)


@pytest.mark.slow
def test_a_wheel_built_from_the_source_distribution_is_the_same(
    wheel: Path, tmp_path: Path
) -> None:
    archive = build("sdist", tmp_path)
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    source = tmp_path / archive.name.removesuffix(".tar.gz")
    assert (source / "tests" / "test_package.py").is_file()
    again = build("wheel", tmp_path, source, address=None)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        differing = {
            name
            for name in set(one.namelist()) | set(other.namelist())
            if name not in one.namelist()
            or name not in other.namelist()
            or one.read(name) != other.read(name)
        }
    assert differing == set()


def test_a_checkout_without_solutions_builds_a_wheel_without_them(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    sys.path.insert(0, str(ROOT))
    import hatch_build

    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "stage0_first_kernel.ipynb").write_text("{}", encoding="utf-8")
    assert list(hatch_build.course_files(tmp_path).values()) == [
        "tutorial/material/notebooks/stage0_first_kernel.ipynb"
    ]


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("https://github.com/someone/some-course.git", REPOSITORY),
        ("git@github.com:someone/some-course.git", REPOSITORY),
        ("ssh://git@github.com/someone/some-course", REPOSITORY),
        (
            "https://user:token@gitlab.com/group/sub/course.git",
            "https://gitlab.com/group/sub/course",
        ),
        ("/srv/git/course.git", None),
        ("../course", None),
        ("", None),
    ],
)
def test_the_page_of_a_remote(remote: str, page: str | None) -> None:
    assert repository.page_of(remote) == page


def test_where_the_repository_is_not_known_links_become_words() -> None:
    text = "See [the `nki` guide](docs/guide.md), [outside](https://a.b) and `[x](y.md)`."
    wanted = "See the `nki` guide, [outside](https://a.b) and `[x](y.md)`."
    assert repository.relink(text, lambda target: None) == wanted
