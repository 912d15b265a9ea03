"""Build the browser edition: every lesson as a page that runs, without an installation or a server.

    python tools/browser_edition.py OUT [--pyodide DIR_OR_URL] [--solutions] [--address URL]

OUT is a folder of static files for any web server. JupyterLite shows the notebooks, Pyodide runs
them inside the page. `--pyodide` names a Pyodide distribution: a folder, whose files are copied so
that the pages ask for nothing outside, or the address of one, which the pages then load it from
(the default is the release that the installed JupyterLite kernel was made for). `--solutions` adds
the solved notebooks, for the tests. `--address` is where the documentation is published; without it
links from a lesson to the documentation become words.

It needs the extra `browser` of the project.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import repository

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(__file__).resolve().parent / "site"
KERNEL = "@jupyterlite/pyodide-kernel-extension"
KERNELSPEC = {"display_name": "Python (Pyodide)", "language": "python", "name": "python"}
CORE = ("pyodide.js", "pyodide.mjs", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip")
NEEDED = ("numpy", "matplotlib", "ipython", "jedi", "sqlite3", "micropip")
"""What the course and the kernel need of a Pyodide distribution, besides what these need."""
IF_THERE = ("ml-dtypes", "ssl")
OURS = "nki-decode-tutorial"
AT_START = ("micropip", "piplite", "ssl", "sqlite3", "ipykernel", "comm", "pyodide_kernel", "jedi")
"""Loaded with the kernel, in one go and not one after the other; then IPython and the course."""

Lock = dict[str, Any]


class CannotBuild(Exception):
    """Something that the build needs is not here; the text is one sentence."""


# -- the Python distribution -----------------------------------------------------------------------
def normal(name: str) -> str:
    """A package's name as lock files spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(lock: Lock, names: tuple[str, ...]) -> list[str]:
    """The named packages of a lock and all that they depend on, by name."""
    known = {normal(name): name for name in lock["packages"]}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = known.get(normal(waiting.pop()))
        if name is None:
            raise CannotBuild("This Pyodide distribution lacks a package that the course needs.")
        if name not in found:
            found.add(name)
            waiting += lock["packages"][name]["depends"]
    return sorted(found)


def entry(wheel: Path, imports: list[str], depends: list[str], place: str = "") -> dict[str, Any]:
    """A pure wheel as a package of a lock file."""
    name, version = wheel.name.split("-")[:2]
    return {
        "name": normal(name),
        "version": version,
        "file_name": f"{place}{wheel.name}",
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "imports": imports,
        "depends": depends,
        "package_type": "package",
        "unvendored_tests": False,
    }


def wheel_of_installed(name: str, into: Path) -> Path:
    """A wheel made again from a pure package that is installed here."""
    distribution = importlib.metadata.distribution(name)
    wheel = into / f"{name}-{distribution.version}-py3-none-any.whl"
    rows = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(distribution.files or (), key=str):
            path = file.as_posix()
            if path.startswith("..") or "__pycache__" in path or path.endswith("RECORD"):
                continue
            data = Path(str(file.locate())).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{path},sha256={digest},{len(data)}")
            archive.writestr(zipfile.ZipInfo(path), data)
        record = f"{name}-{distribution.version}.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), "\n".join([*rows, f"{record},,", ""]))
    return wheel


def kernel_wheels() -> list[Path]:
    """The wheels that the JupyterLite kernel brings along."""
    try:
        distribution = importlib.metadata.distribution("jupyterlite-pyodide-kernel")
    except importlib.metadata.PackageNotFoundError as error:
        raise CannotBuild(
            'JupyterLite is not installed: python -m pip install -e ".[browser]"'
        ) from error
    wanted = ("ipykernel-", "piplite-", "pyodide_kernel-")
    found = {
        path.name: Path(str(path.locate()))
        for path in distribution.files or ()
        if path.suffix == ".whl" and path.name.startswith(wanted)
    }
    return [found[name] for name in sorted(found)]


def default_address() -> str:
    """Where the Pyodide release lies that the installed kernel was made for."""
    distribution = importlib.metadata.distribution("jupyterlite-pyodide-kernel")
    for path in distribution.files or ():
        if path.suffix == ".js":
            text = Path(str(path.locate())).read_text(encoding="utf-8", errors="ignore")
            found = re.search(r"https://[^\"'\s]+/pyodide/v[\d.]+/full/", text)
            if found:
                return found[0]
    raise CannotBuild("The installed JupyterLite kernel names no Pyodide: give --pyodide.")


def read_lock(source: str) -> Lock:
    """The lock file of a distribution in a folder or at an address."""
    if "://" in source:
        with urllib.request.urlopen(f"{source.rstrip('/')}/pyodide-lock.json") as answer:
            lock: Lock = json.load(answer)
            return lock
    path = Path(source) / "pyodide-lock.json"
    if not path.is_file():
        raise CannotBuild(f"{source} is not a Pyodide distribution: it has no pyodide-lock.json.")
    lock = json.loads(path.read_text(encoding="utf-8"))
    return lock


def write_distribution(source: str, wheels: list[Path], out: Path) -> Lock:
    """The distribution's files that are needed, with the course's own wheels, and their lock.

    From a folder everything is copied; of an address only the lock is kept here, and leads there.
    """
    out.mkdir(parents=True, exist_ok=True)
    lock = read_lock(source)
    remote = "://" in source
    there = {normal(name) for name in lock["packages"]}
    names = closure(lock, NEEDED + tuple(name for name in IF_THERE if normal(name) in there))
    packages = {name: lock["packages"][name] for name in names}
    for package in packages.values():
        if remote:
            package["file_name"] = f"{source.rstrip('/')}/{package['file_name']}"
        else:
            shutil.copy(Path(source) / package["file_name"], out)
    for name in () if remote else CORE:
        shutil.copy(Path(source) / name, out)
    for wheel in wheels:
        shutil.copy(wheel, out)
        made = entry(wheel, *_of_wheel(wheel, "ml-dtypes" in {normal(n) for n in names}))
        packages[made["name"]] = made
    lock["packages"] = packages
    (out / "pyodide-lock.json").write_text(json.dumps(lock), encoding="utf-8", newline="\n")
    return lock


def _of_wheel(wheel: Path, narrow: bool) -> tuple[list[str], list[str]]:
    """The imports that load a wheel, and what it depends on."""
    name = normal(wheel.name.split("-")[0])
    if name == OURS:
        depends = ["numpy", "matplotlib", *(["ml-dtypes"] if narrow else [])]
        return ["tutorial", "nkisim", "neuronxcc", "nki"], depends
    return [wheel.name.split("-")[0]], []


# -- the notebooks ---------------------------------------------------------------------------------
def for_the_browser(text: str, address: str | None) -> str:
    """A notebook with the page's own kernel, whose links to the documentation lead to the site."""
    notebook = json.loads(text)
    notebook["metadata"]["kernelspec"] = KERNELSPEC

    def led(target: str) -> str | None:
        if re.fullmatch(r"[\w-]+\.ipynb", target):
            return target
        if address is None or not target.endswith(".md"):
            return None
        page = target.removeprefix("../").removesuffix(".md")
        return f"{address.rstrip('/')}/{page}.html"

    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            source = repository.relink("".join(cell["source"]), led)
            cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def write_notebooks(out: Path, solutions: bool, address: str | None) -> None:
    """The lessons, and with `solutions` the solved ones in a separate folder."""
    folders = {"notebooks": out, **({"solutions": out / "solutions"} if solutions else {})}
    for folder, into in folders.items():
        into.mkdir(parents=True, exist_ok=True)
        for path in sorted((ROOT / folder).glob("*.ipynb")):
            text = for_the_browser(path.read_text(encoding="utf-8"), address)
            (into / path.name).write_text(text, encoding="utf-8", newline="\n")


# -- the pages -------------------------------------------------------------------------------------
def settings(source: str, lock: Lock) -> dict[str, Any]:
    """The configuration of JupyterLite: which Python, and what it loads as it starts."""
    remote = "://" in source
    start = [*AT_START, "ipython", "matplotlib", OURS]
    known = {normal(name) for name in lock["packages"]}
    options: dict[str, Any] = {"packages": [name for name in start if normal(name) in known]}
    if remote:
        options["lockFileURL"] = "./static/pyodide/pyodide-lock.json"
    place = f"{source.rstrip('/')}/pyodide.js" if remote else "./static/pyodide/pyodide.js"
    return {
        "jupyter-lite-schema-version": 0,
        "jupyter-config-data": {
            "appName": "Decode attention in NKI",
            "exposeAppInBrowser": True,
            "litePluginSettings": {
                f"{KERNEL}:kernel": {"pyodideUrl": place, "loadPyodideOptions": options}
            },
        },
    }


def only_extension() -> dict[str, Any]:
    """The extensions of the build: the kernel's alone. Others that this environment happens to have
    (of notebook 7, of nbgrader) may want a newer JupyterLab than the one in the page."""
    package_json = f"labextensions/{KERNEL}/package.json"
    for path in importlib.metadata.distribution("jupyterlite-pyodide-kernel").files or ():
        if path.as_posix().endswith(package_json):
            folder = Path(str(path.locate())).resolve().parent
            return {
                "LiteBuildConfig": {
                    "ignore_sys_prefix": ["federated_extensions"],
                    "federated_extensions": [str(folder)],
                }
            }
    raise CannotBuild("jupyterlite-pyodide-kernel has no extension for JupyterLab.")


def build(
    out: Path, pyodide: str | None = None, solutions: bool = False, address: str | None = None
) -> None:
    """Write the browser edition to `out`. Raises CannotBuild with one sentence."""
    kernels = kernel_wheels()
    source = pyodide or default_address()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        wheels = [*kernels, wheel_of_installed("comm", work), build_wheel(work)]
        lock = write_distribution(source, wheels, work / "lite" / "static" / "pyodide")
        write_notebooks(work / "contents", solutions, address)
        text = json.dumps(settings(source, lock), indent=1)
        (work / "lite" / "jupyter-lite.json").write_text(text, encoding="utf-8")
        shutil.copy(SITE / "overrides.json", work / "lite")
        text = json.dumps(only_extension(), indent=1)
        (work / "lite" / "jupyter_lite_config.json").write_text(text, encoding="utf-8")
        _lite(work, out)
    for path in [*out.rglob("*.map"), *out.rglob("third-party-licenses.json.map")]:
        path.unlink(missing_ok=True)


def build_wheel(into: Path) -> Path:
    """The project's own wheel, without what the pages show anyway: the notebooks and `docs`."""
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    (into / "whole").mkdir()
    made = _run([sys.executable, "-c", code, str(into / "whole")], ROOT)
    whole = into / "whole" / made.splitlines()[-1]
    slim = into / whole.name
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("RECORD"):
                kept = (row for row in data.splitlines(True) if not _shown(row.decode()))
                data = b"".join(kept)
            if not _shown(info.filename):
                new.writestr(zipfile.ZipInfo(info.filename), data)
    return slim


def _shown(name: str) -> bool:
    return (name.startswith("tutorial/material/") and ".ipynb" in name) or "material/docs/" in name


def _lite(work: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "jupyter", "lite", "build", "--lite-dir", str(work / "lite")]
    command += ["--contents", str(work / "contents"), "--output-dir", str(out.resolve())]
    command += ["--config", str(work / "lite" / "jupyter_lite_config.json")]
    command += ["--apps", "notebooks", "--no-unused-shared-packages", "--force"]
    _run(command, work)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise CannotBuild(f"{' '.join(command[1:5])} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main(arguments: list[str] | None = None) -> int:
    """Build what the command line asks for; 0, or 2 and a sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument("--pyodide", metavar="DIR_OR_URL")
    parser.add_argument("--solutions", action="store_true")
    parser.add_argument("--address", metavar="URL")
    options = parser.parse_args(arguments)
    try:
        build(options.out, options.pyodide, options.solutions, options.address)
    except CannotBuild as error:
        print(error, file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"Wrote {options.out}: {size / 1e6:.0f} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
