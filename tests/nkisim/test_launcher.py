"""`python -m nkisim`: a program runs as under plain Python, with the simulator behind `import
neuronxcc`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from textwrap import dedent

import pytest

from nkisim import fallback
from nkisim.__main__ import main

Run = Callable[..., CompletedProcess[str]]

pytestmark = pytest.mark.skipif(
    fallback.real_sdk() is not None, reason="a real SDK is installed: there is no fallback to test"
)

SURROUNDINGS = """
import json, os, sys
main = sys.modules["__main__"]
class Thing: pass
print(json.dumps({
    "argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "name": __name__,
    "file": __file__, "package": __package__,
    "spec": __spec__ and __spec__.name, "loader": type(__loader__).__name__, "doc": __doc__,
    "main is this": vars(main) is globals(), "class": Thing.__module__,
}))
"""

KERNEL = """
import numpy as np
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

@nki.jit
def double(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tile = nl.load(x)
    nl.store(out, nl.add(tile, tile))
    return out

def total(value):
    return float(np.sum(double(np.full((128, 4), value, np.float32))))
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


Write = Callable[[str, str], Path]


@pytest.mark.parametrize("arguments", [["show.py", "a", "-m", "--help"], ["folder/show.py"]])
def test_a_script_sees_what_it_sees_under_plain_python(
    run_python: Run, write: Write, arguments: list[str]
) -> None:
    write(arguments[0], '"""A script."""' + SURROUNDINGS)
    plain, launched = run_python(*arguments), run_python("-m", "nkisim", *arguments)
    assert launched.stderr == ""
    assert json.loads(launched.stdout) == json.loads(plain.stdout)
    assert json.loads(launched.stdout)["argv"] == arguments


@pytest.mark.parametrize("module", ["show", "package", "package.inner"])
def test_a_module_sees_what_it_sees_under_plain_python(
    run_python: Run, write: Write, module: str
) -> None:
    write("show.py", SURROUNDINGS)
    write("package/__init__.py", "")
    write("package/__main__.py", SURROUNDINGS)
    write("package/inner.py", SURROUNDINGS)
    plain = run_python("-m", module, "a", "-b")
    launched = run_python("-m", "nkisim", "-m", module, "a", "-b")
    assert launched.stderr == ""
    assert json.loads(launched.stdout) == json.loads(plain.stdout)


@pytest.mark.smoke
def test_a_kernel_called_with_numpy_arrays_is_simulated(run_python: Run, write: Write) -> None:
    write("my_kernel.py", KERNEL + "print(total(1.0))\n")
    for arguments in (["my_kernel.py"], ["-m", "my_kernel"]):
        result = run_python("-m", "nkisim", *arguments)
        assert (result.stdout.strip(), result.stderr) == ("1024.0", "")


def test_a_script_finds_the_modules_beside_it(run_python: Run, write: Write) -> None:
    write("folder/my_kernel.py", KERNEL)
    write("folder/main.py", "import my_kernel\nprint(my_kernel.total(2.0))\n")
    assert run_python("-m", "nkisim", "folder/main.py").stdout.strip() == "2048.0"


def test_children_of_a_launched_script_have_the_fallback(run_python: Run, write: Write) -> None:
    write("my_kernel.py", KERNEL + "if __name__ == '__main__': print(total(1.0))\n")
    write(
        "main.py",
        dedent(
            """
            import multiprocessing, subprocess, sys
            import neuronxcc.nki.language as nl
            import my_kernel

            class Job:
                def __init__(self, value): self.value = value
                def run(self): return my_kernel.total(self.value)

            def run(job): return job.run()

            if __name__ == "__main__":
                subprocess.run([sys.executable, "my_kernel.py"], check=True)
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.map_async(run, [Job(1.0), Job(2.0)]).get(timeout=60))
            """
        ),
    )
    result = run_python("-m", "nkisim", "main.py")
    assert (result.stdout.split("\n")[:2], result.stderr) == (["1024.0", "[1024.0, 2048.0]"], "")


def test_pytest_runs_under_the_launcher_without_a_warning(
    run_python: Run, plain_pytest: tuple[str, ...], write: Write
) -> None:
    write("test_my_kernel.py", KERNEL + "def test_total():\n    assert total(1.0) == 1024.0\n")
    result = run_python("-m", "nkisim", *plain_pytest, "-q", "test_my_kernel.py")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout and "warning" not in result.stdout


# --- how a program ends ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "status", "stderr"),
    [("", 0, ""), ("sys.exit()", 0, ""), ("sys.exit(7)", 7, ""), ("sys.exit('told')", 1, "told\n")],
)
def test_the_exit_status_passes_through(
    run_python: Run, write: Write, ending: str, status: int, stderr: str
) -> None:
    at_exit = (
        "import atexit, sys\nx = 5\natexit.register(lambda: print(sys.modules['__main__'].x))\n"
    )
    write("ends.py", at_exit + ending + "\n")
    plain, launched = run_python("ends.py"), run_python("-m", "nkisim", "ends.py")
    assert (launched.returncode, launched.stderr) == (status, stderr)
    assert launched.stdout == plain.stdout


def test_the_exit_status_of_a_module_passes_through(run_python: Run, write: Write) -> None:
    write("ends.py", "import sys\nsys.exit(7)\n")
    assert run_python("-m", "nkisim", "-m", "ends").returncode == 7


@pytest.mark.parametrize(
    "program",
    [
        "def fail():\n    raise ValueError('the kernel is wrong')\nfail()\n",
        "import neuronxcc.nki as nki\nfrom neuronxcc.nki import no_such_name\n",
        "import no_such_module\n",
        "x = (\n",
    ],
)
def test_an_exception_ends_with_the_programs_own_traceback(
    run_python: Run, write: Write, program: str
) -> None:
    write("fails.py", program)
    result = run_python("-m", "nkisim", "fails.py")
    assert result.returncode == 1 and "fails.py" in result.stderr
    assert "__main__.py" not in result.stderr and "runpy" not in result.stderr
    if "neuronxcc" not in program:
        assert result.stderr == run_python("fails.py").stderr


def test_an_exception_in_a_module_ends_with_its_own_traceback(
    run_python: Run, write: Write
) -> None:
    write("fails.py", "import no_such_module\n")
    result = run_python("-m", "nkisim", "-m", "fails")
    assert result.returncode == 1
    assert "ModuleNotFoundError: No module named 'no_such_module'" in result.stderr
    assert "nkisim" not in result.stderr and "runpy" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "no program given; try: python -m nkisim --help"),
        (["missing.py"], "cannot read 'missing.py': No such file or directory"),
        (["folder"], "'folder' is a directory, not a Python file"),
        (["--fast", "x.py"], "unknown option --fast; try: python -m nkisim --help"),
        (["-m"], "-m needs the name of a module"),
        (["-m", "no_such_module"], "no module named 'no_such_module'"),
        (["-m", "no_such.module"], "no module named 'no_such.module'"),
        (["-m", "package"], "'package' is a package without a __main__ module"),
    ],
)
def test_nothing_to_run_is_one_sentence_and_status_2(
    write: Write,
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write("folder/x.txt", "")
    write("package/__init__.py", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nkisim"])
    status, said = main(arguments), capfd.readouterr()
    sys.modules.pop("package", None)
    assert (status, said.out, said.err) == (2, "", f"nkisim: {sentence}\n")


def test_a_status_of_the_launcher_itself_is_that_of_the_process(run_python: Run) -> None:
    assert run_python("-m", "nkisim", "missing.py").returncode == 2


def test_help_tells_how_to_use_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "python -m nkisim SCRIPT.py [ARG ...]" in capfd.readouterr().out
