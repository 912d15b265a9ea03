"""The import names `neuronxcc` and `nki`: served wherever a learner's code may run, never in place
of a real SDK."""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from textwrap import dedent
from typing import Any

import pytest

import nkisim  # noqa: F401 (switches the fallback on, also where the plugin is turned off)
from nkisim import fallback

Run = Callable[..., CompletedProcess[str]]

pytestmark = pytest.mark.skipif(
    fallback.backend() != "nkisim fallback",
    reason="a real SDK is installed: there is no fallback to test",
)

CHILDREN = Path(fallback.__file__).resolve().parent / "children"

KERNEL = dedent(
    """
    import neuronxcc.nki as nki
    import neuronxcc.nki.language as nl
    import numpy as np

    @nki.jit
    def double(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.load(x)
        nl.store(out, nl.add(tile, tile))
        return out

    def total(value):
        return float(np.sum(nki.simulate_kernel(double, np.full((128, 4), value, np.float32))))
    """
)
TOTAL_OF_ONES = 2.0 * 128 * 4


def printed(result: CompletedProcess[str]) -> str:
    """What a process printed, once it is certain that it ended well and complained of nothing."""
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


def fake_sdk(directory: Path, *names: str) -> Path:
    """Put regular packages of these names into a directory, as an installed SDK would."""
    for name in names:
        package = directory / name / ("nki" if name == "neuronxcc" else "language")
        package.mkdir(parents=True)
        for folder in (package.parent, package):
            (folder / "__init__.py").write_text("__version__ = 'fake'\n", encoding="utf-8")
    return directory


# --- what is served -------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("served", "origin"),
    [
        ("neuronxcc.nki", "nkisim.dialects.neuronxcc.nki"),
        ("neuronxcc.nki.language", "nkisim.dialects.neuronxcc.language"),
        ("neuronxcc.nki.isa", "nkisim.dialects.neuronxcc.isa"),
        ("neuronxcc.nki.typing", "nkisim.dialects.neuronxcc.typing"),
        ("neuronxcc.nki.compiler", "nkisim.dialects.neuronxcc.compiler"),
        ("nki", "nkisim.dialects.nki.nki"),
        ("nki.language", "nkisim.dialects.nki.language"),
        ("nki.isa", "nkisim.dialects.nki.isa"),
        ("nki.typing", "nkisim.dialects.nki.typing"),
        ("nki.collectives", "nkisim.dialects.nki.collectives"),
    ],
)
def test_a_served_module_holds_the_very_objects_of_the_dialect(served: str, origin: str) -> None:
    thin, real = importlib.import_module(served), importlib.import_module(origin)
    assert real.__all__
    for name in real.__all__:
        assert getattr(thin, name) is getattr(real, name), name


@pytest.mark.parametrize(
    "statement",
    [
        "import neuronxcc.nki as nki; nki.jit, nki.simulate_kernel, nki.language.load, nki.isa, "
        "nki.typing.tensor",
        "import neuronxcc.nki as nki; nki.compiler.sbuf, nki.compiler.psum",
        "import neuronxcc.nki.compiler as ncc; ncc.sbuf, ncc.psum",
        "from neuronxcc import nki; nki.baremetal, nki.benchmark, nki.profile",
        "from neuronxcc.nki import baremetal, benchmark, simulate_kernel",
        "from neuronxcc.nki.language import par_dim",
        "from neuronxcc.nki.typing import tensor",
        "import neuronxcc.nki.isa as nisa; nisa.constants.oob_mode.error, "
        "nisa.constants.engine.tensor",
        "from neuronxcc.nki.isa.constants import dge_mode, oob_mode",
        "import nki; nki.jit, nki.simulate, nki.language.load, nki.isa.nc_matmul, "
        "nki.typing.tensor, nki.collectives",
        "import nki.language as nl, nki.isa as nisa; nl.ndarray, nisa.tensor_copy, "
        "nisa.engine.vector",
        "from nki.isa import dge_mode, engine, oob_mode, reduce_cmd",
        "from nki.isa.constants import oob_mode",
        "import nki.collectives as ncc; ncc.all_reduce",
    ],
)
def test_the_import_forms_of_real_kernels_work(statement: str) -> None:
    exec(statement, {})


def test_the_version_is_clearly_not_one_of_the_sdk() -> None:
    assert importlib.import_module("neuronxcc").__version__ == "0.0+nkisim"
    assert importlib.import_module("nki").__version__ == "0.0+nkisim"


def test_a_class_reached_through_the_served_name_pickles_into_a_process_without_the_fallback(
    run_python: Run, tmp_path: Path
) -> None:
    write = """
        import nkisim, pickle
        import neuronxcc.nki.isa as nisa
        pickle.dump(nisa.engine.tensor, open("engine.pickle", "wb"))
        """
    read = """
        import pickle, sys
        assert "neuronxcc" not in sys.modules
        engine = pickle.load(open("engine.pickle", "rb"))
        import neuronxcc.nki.isa as nisa
        print(engine is nisa.engine.tensor)
        """
    printed(run_python("-c", dedent(write)))
    assert printed(run_python("-c", dedent(read))) == "True"


# --- where it is served ---------------------------------------------------------------------------


def test_plain_python_after_import_nkisim_prints_nothing_of_its_own(
    run_python: Run, tmp_path: Path
) -> None:
    (tmp_path / "my_kernel.py").write_text(KERNEL, encoding="utf-8")
    result = run_python("-c", "import nkisim, my_kernel; print(my_kernel.total(1.0))")
    assert printed(result) == str(TOTAL_OF_ONES)


@pytest.mark.parametrize("workers", ["0", "1"])  # in the process itself, and in a worker's
def test_a_pytest_file_that_imports_only_neuronxcc_collects(
    run_python: Run, plain_pytest: tuple[str, ...], tmp_path: Path, workers: str
) -> None:
    (tmp_path / "conftest.py").write_text("import neuronxcc.nki.language as nl\n", encoding="utf-8")
    (tmp_path / "test_my_kernel.py").write_text(
        KERNEL + f"def test_total():\n    assert total(1.0) == {TOTAL_OF_ONES}\n", encoding="utf-8"
    )
    result = run_python(*plain_pytest, "-n", workers, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout and "warning" not in result.stdout
    assert "NKI backend: nkisim fallback" in result.stdout


def test_a_subprocess_inherits_the_fallback(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "my_kernel.py").write_text(KERNEL + "print(total(1.0))\n", encoding="utf-8")
    parent = """
        import nkisim, subprocess, sys
        sys.exit(subprocess.run([sys.executable, "my_kernel.py"]).returncode)
        """
    assert printed(run_python("-c", dedent(parent))) == str(TOTAL_OF_ONES)


NEWER_KERNEL = dedent(
    """
    import nki
    import nki.isa as nisa
    import nki.language as nl
    import numpy as np

    @nki.jit
    def double(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        tile = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.sbuf)
        nisa.dma_copy(dst=tile, src=x)
        nisa.tensor_tensor(dst=tile, data1=tile, data2=tile, op=nl.add)
        nisa.dma_copy(dst=out, src=tile)
        return out

    def total(value):
        return float(np.sum(double(np.full((128, 4), value, np.float32))))
    """
)


def test_a_kernel_of_the_newer_dialect_runs_in_a_script_its_subprocess_and_a_spawned_pool(
    run_python: Run, tmp_path: Path
) -> None:
    (tmp_path / "my_kernel.py").write_text(NEWER_KERNEL, encoding="utf-8")
    body = "\n".join("    " + line for line in (SPAWN + "print(totals, flush=True)").splitlines())
    child = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import my_kernel; "
        "print(my_kernel.total(1.0))'])"
    )
    main = f"if __name__ == '__main__':\n    import nkisim\n{body}\n    {child}\n"
    (tmp_path / "main.py").write_text(main, encoding="utf-8")
    result = printed(run_python("main.py", env={"PYTHONPATH": str(tmp_path)}))
    assert result.split("\n") == [str([TOTAL_OF_ONES, 2 * TOTAL_OF_ONES]), str(TOTAL_OF_ONES)]


SPAWN = """
import multiprocessing
import my_kernel
pool = multiprocessing.get_context("spawn").Pool(1)
totals = pool.map_async(my_kernel.total, [1.0, 2.0]).get(timeout=60)
pool.terminate()
"""


def test_a_spawned_pool_inherits_the_fallback(run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "my_kernel.py").write_text(KERNEL, encoding="utf-8")
    body = "\n".join("    " + line for line in (SPAWN + "print(totals)").splitlines())
    (tmp_path / "main.py").write_text(
        f"if __name__ == '__main__':\n    import nkisim\n{body}\n", encoding="utf-8"
    )
    assert printed(run_python("main.py")) == str([TOTAL_OF_ONES, 2 * TOTAL_OF_ONES])


def test_a_notebook_kernel_runs_cells_spawns_processes_and_keeps_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "my_kernel.py").write_text(KERNEL, encoding="utf-8")
    cells = [
        "import nkisim",
        KERNEL,
        "assert total(1.0) == 1024.0",
        "import inspect\nassert 'nl.store(out, nl.add(tile, tile))' in inspect.getsource(double)",
        SPAWN + "assert totals == [1024.0, 2048.0]",
        "from nkisim import fallback\nfallback.backend()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    assert [output["data"]["text/plain"] for output in outputs] == ["'nkisim fallback'"]


# --- child processes ------------------------------------------------------------------------------


def test_the_start_of_a_child_imports_neither_numpy_nor_nkisim(run_python: Run) -> None:
    code = (
        "import sys; print([name for name in ('numpy', 'nkisim', 'neuronxcc') if name in "
        "sys.modules])"
    )
    assert printed(run_python("-c", code, env={"PYTHONPATH": str(CHILDREN)})) == "[]"


def test_a_child_runs_the_sitecustomize_that_ours_hides_and_keeps_a_clean_path(
    run_python: Run, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import builtins; builtins.ran = True\n", encoding="utf-8"
    )
    code = """
        import json, os, sys
        import sitecustomize, neuronxcc.nki
        on_path = [entry for entry in sys.path if entry.endswith("children")]
        paths = os.environ["PYTHONPATH"].split(os.pathsep)
        print(json.dumps([ran, sitecustomize.__file__, on_path, paths]))
        """
    result = run_python(
        "-c", dedent(code), env={"PYTHONPATH": os.pathsep.join([str(CHILDREN), str(site)])}
    )
    ran, file, on_path, python_path = json.loads(printed(result))
    assert ran is True and Path(file) == site / "sitecustomize.py"
    assert on_path == []
    assert python_path == [str(CHILDREN), str(site)]


def test_a_failing_sitecustomize_of_the_user_is_reported_and_does_no_harm(
    run_python: Run, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import no_such_thing\n", encoding="utf-8")
    code = "import neuronxcc.nki.language as nl; print(nl.float32 is not None)"
    result = run_python("-c", code, env={"PYTHONPATH": os.pathsep.join([str(CHILDREN), str(site)])})
    assert result.returncode == 0 and result.stdout.strip() == "True"
    assert "no_such_thing" in result.stderr


# --- the switch -----------------------------------------------------------------------------------


def test_install_twice_is_install_once_and_uninstall_undoes_it(run_python: Run) -> None:
    code = """
        import importlib.util, os, sys
        os.environ["PYTHONPATH"] = "mine"
        from nkisim import fallback
        count = lambda: sum(getattr(finder, "nkisim_fallback", False) for finder in sys.meta_path)
        fallback.install(); fallback.install()
        assert count() == 1 and sys.meta_path[-1].nkisim_fallback
        assert os.environ["PYTHONPATH"].split(os.pathsep)[1:] == ["mine"]
        assert fallback.backend() == "nkisim fallback"
        import neuronxcc.nki
        fallback.uninstall(); fallback.uninstall()
        assert count() == 0 and os.environ["PYTHONPATH"] == "mine"
        assert fallback.backend() == "none"
        assert not [name for name in sys.modules if name.partition(".")[0] == "neuronxcc"]
        assert importlib.util.find_spec("neuronxcc") is None
        fallback.install()
        import neuronxcc.nki.language
        print("good")
        """
    assert printed(run_python("-c", dedent(code))) == "good"


# --- a real SDK -----------------------------------------------------------------------------------

REPORT = """
import importlib, json, os
import nkisim
from nkisim import fallback
found = {}
for name in ("neuronxcc", "nki"):
    try:
        found[name] = importlib.import_module(name).__version__
    except ModuleNotFoundError:
        found[name] = None
print(json.dumps({**found, "backend": fallback.backend(), "installed": fallback.installed()}))
"""


def report(run_python: Run, path: Path, force: str | None = None) -> dict[str, object]:
    result = run_python("-c", REPORT, env={"PYTHONPATH": str(path), "NKISIM_FORCE": force})
    answer: dict[str, object] = json.loads(printed(result))
    return answer


def test_a_real_neuronxcc_is_used_and_nothing_is_imitated(run_python: Run, tmp_path: Path) -> None:
    answer = report(run_python, fake_sdk(tmp_path, "neuronxcc"))
    assert answer == {
        "neuronxcc": "fake",
        "nki": None,
        "backend": "neuronxcc (real)",
        "installed": False,
    }


def test_a_real_neuronxcc_is_named_with_its_distributions_version(
    run_python: Run, tmp_path: Path
) -> None:
    metadata = fake_sdk(tmp_path, "neuronxcc") / "neuronx_cc-2.21.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(
        "Metadata-Version: 2.1\nName: neuronx-cc\nVersion: 2.21.1\n", encoding="utf-8"
    )
    assert report(run_python, tmp_path)["backend"] == "neuronxcc 2.21.1 (real)"


def test_beside_a_real_nki_alone_neuronxcc_is_not_imitated(run_python: Run, tmp_path: Path) -> None:
    answer = report(run_python, fake_sdk(tmp_path, "nki"))
    assert answer == {"neuronxcc": None, "nki": "fake", "backend": "nki (real)", "installed": False}


def test_both_real_packages_are_left_alone(run_python: Run, tmp_path: Path) -> None:
    answer = report(run_python, fake_sdk(tmp_path, "neuronxcc", "nki"))
    assert answer == {
        "neuronxcc": "fake",
        "nki": "fake",
        "backend": "neuronxcc (real)",
        "installed": False,
    }


@pytest.mark.parametrize("names", [("neuronxcc",), ("nki",), ("neuronxcc", "nki")])
def test_force_puts_the_simulator_in_front(
    run_python: Run, tmp_path: Path, names: tuple[str, ...]
) -> None:
    answer = report(run_python, fake_sdk(tmp_path, *names), force="1")
    assert answer["neuronxcc"] == "0.0+nkisim"
    assert answer["backend"] == "nkisim fallback"


def test_force_equal_to_zero_is_not_force(run_python: Run, tmp_path: Path) -> None:
    assert (
        report(run_python, fake_sdk(tmp_path, "neuronxcc"), force="0")["backend"]
        == "neuronxcc (real)"
    )


def test_a_learners_own_directory_or_file_called_nki_is_not_an_sdk(
    run_python: Run, tmp_path: Path
) -> None:
    (tmp_path / "folder" / "nki").mkdir(parents=True)
    (tmp_path / "folder" / "nki" / "my_kernel.py").write_text("", encoding="utf-8")
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "nki.py").write_text("__version__ = 'mine'\n", encoding="utf-8")
    code = "import nkisim, neuronxcc; print(neuronxcc.__version__, nkisim.fallback.backend())"
    for directory in ("folder", "file"):
        result = run_python("-c", code, env={"PYTHONPATH": str(tmp_path / directory)})
        assert printed(result) == "0.0+nkisim nkisim fallback", directory


def test_an_sdk_that_comes_onto_the_path_later_still_wins(run_python: Run, tmp_path: Path) -> None:
    fake_sdk(tmp_path / "neuronxcc_only", "neuronxcc")
    fake_sdk(tmp_path / "nki_only", "nki")
    code = """
        import nkisim, sys
        from nkisim import fallback
        sys.path.append(sys.argv[1])
        try:
            import neuronxcc
            print(neuronxcc.__version__, fallback.backend())
        except ModuleNotFoundError:
            print("none", fallback.backend())
        """
    assert (
        printed(run_python("-c", dedent(code), tmp_path / "neuronxcc_only"))
        == "fake neuronxcc (real)"
    )
    assert printed(run_python("-c", dedent(code), tmp_path / "nki_only")) == "none nki (real)"


def test_the_fake_sdk_is_found_in_a_child_too(run_python: Run, tmp_path: Path) -> None:
    """A child that sees a real SDK uses it even if its parent did not see one."""
    fake_sdk(tmp_path / "sdk", "neuronxcc")
    child = "import neuronxcc; print(neuronxcc.__version__)"
    parent = """
        import nkisim, os, subprocess, sys
        os.environ["PYTHONPATH"] += os.pathsep + sys.argv[1]
        sys.exit(subprocess.run([sys.executable, "-c", sys.argv[2]]).returncode)
        """
    assert printed(run_python("-c", dedent(parent), tmp_path / "sdk", child)) == "fake"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("from neuronxcc.nki.kernels.attention import flash_fwd", "aws-neuron/nki-samples"),
        ("from neuronxcc.nki.kernels import attention", "neuronxcc.nki.kernels.attention"),
        ("from neuronxcc.nki._private.private_api import core_barrier", "neuronxcc.nki._private"),
        ("import neuronxcc.nki._private_kernels.qkv", "private to AWS's compiler"),
        ("from neuronxcc.starfish.support.dtype import static_cast", "neuronxcc.starfish"),
    ],
)
def test_what_published_kernels_import_and_is_not_here_is_named(statement: str, words: str) -> None:
    importlib.import_module("neuronxcc.nki.kernels")
    with pytest.raises(ModuleNotFoundError, match=re.escape(words)):
        exec(statement, {})


def test_any_other_missing_module_is_told_as_python_does() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named 'neuronxcc.nki.nothing'"):
        exec("import neuronxcc.nki.nothing", {})


def test_a_framework_kernel_can_be_made_and_compiles_nothing() -> None:
    nki: Any = importlib.import_module("neuronxcc.nki")

    class Own(nki.FrameworkKernel):
        def is_framework_tensor(self, t: Any) -> bool:
            return t is not None

    made = Own(func=len, grid=(2,))
    assert made.func_name == "len" and made.grid == (2,) and made.is_framework_tensor(1)
    with pytest.raises(nki.NoDeviceError, match="simulate_kernel"):
        made.dump_config(1)
