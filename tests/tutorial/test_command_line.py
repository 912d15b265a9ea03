"""`python -m tutorial`: exit status, JSON, and sentences instead of stack traces."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tutorial.kernels import ROOT, changed, solution, style
from tutorial import get, stages
from tutorial.__main__ import main


@pytest.fixture
def write(tmp_path):
    def made(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return made


def wrong_3():
    return changed(solution(3), ("operand0=m_new", "operand0=m_tile"))


@pytest.mark.smoke
def test_exit_status_is_0_for_correct_1_for_wrong_2_for_the_rest(write, capsys):
    assert main(["check", "3", write("right.py", solution(3))]) == 0
    assert main(["check", "3", write("wrong.py", wrong_3())]) == 1
    assert main(["check", "3", write("blank.py", get(3).blank)]) == 2
    assert main(["check", "3", write("empty.py", "")]) == 2
    assert main(["check", "3", "nowhere.py"]) == 2
    out = capsys.readouterr()
    assert "stage 3 online_softmax: correct" in out.out
    assert out.err == ""


@pytest.mark.parametrize("key", ["3", "online_softmax", "stage3_online_softmax"])
def test_a_stage_goes_by_number_or_name(key, write, capsys):
    assert main(["check", key, write("k.py", solution(3))]) == 0


UNUSABLE = [
    ("syntax.py", "def (:\n", "line 1: SyntaxError: invalid syntax, so the file does not import."),
    (
        "import.py",
        "import no_such_package\n",
        "import.py, line 1: import no_such_package: the file does not import: "
        "ModuleNotFoundError: No module named 'no_such_package'",
    ),
    (
        "raises.py",
        "x = 1\nraise ValueError('no')\n",
        "raises.py, line 2: raise ValueError('no'): the file does not import: ValueError: no",
    ),
    ("exits.py", "import sys\nsys.exit(3)\n", "the file does not import: SystemExit: 3"),
    (
        "other.py",
        "def something(): pass\n",
        "has no decode_attention_fwd: stage 3 online_softmax checks decode_attention_fwd(q, k, v, "
        "softmax_scale=None).",
    ),
    (
        "plain.py",
        "def decode_attention_fwd(q, k, v, softmax_scale=None):\n    return q + k\n",
        "put @nki.jit above it",
    ),
    (
        "number.py",
        "decode_attention_fwd = 3\n",
        "decode_attention_fwd is of type int, which cannot be called",
    ),
    ("notes.txt", "These are notes, not Python.\n", "SyntaxError"),
]


@pytest.mark.parametrize(("name", "text", "words"), UNUSABLE, ids=[u[0] for u in UNUSABLE])
def test_an_unusable_file_gets_one_sentence(name, text, words, write, capsys):
    assert main(["check", "3", write(name, text)]) == 2
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "stage 3 online_softmax: unusable"
    assert words in out[1]
    assert len(out) == 2


def test_a_file_that_calls_its_kernel_with_float64_gets_one_sentence_and_a_line(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    text = f"{solution(0)}\nimport numpy as np\nscale_fwd(np.ones((128, 128)), 2.0)\n"
    Path("called.py").write_text(text, encoding="utf-8")
    Path("unknown.py").write_text("import numpy\nnki.jit\n", encoding="utf-8")
    assert main(["check", "0", "called.py"]) == main(["check", "0", "unknown.py"]) == 2
    out = capsys.readouterr().out
    assert "called.py: the file does not import: the input 'x' is a NumPy array of float64" in out
    assert "scale_fwd(np.ones((128, 128)), 2.0)). Convert it before the call" in out
    assert "unknown.py, line 2: nki.jit: the file does not import: NameError" in out


def test_a_directory_is_not_a_file(tmp_path, capsys):
    assert main(["check", "3", str(tmp_path)]) == 2
    assert "is a directory, not a Python file." in capsys.readouterr().out


def test_a_notebook_is_told_where_its_kernel_is_checked(tmp_path, capsys):
    (tmp_path / "a.ipynb").write_text("{}")
    assert main(["check", "3", str(tmp_path / "a.ipynb")]) == 2
    assert "run check(3, decode_attention_fwd) in one of its cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "The following arguments are required: COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (
            ["check"],
            "The following arguments are required: STAGE. Try: python -m tutorial check --",
        ),
        (["check", "42", "x.py"], "There is no stage '42'"),
        (["check", "x.py", "3"], "A command takes the stage first, then the file."),
        (["trace", "3", "nowhere.py"], "nowhere.py does not exist."),
        (["run", "something.py"], "something.py is not named after a stage"),
    ],
)
def test_a_command_that_makes_no_sense_gets_one_sentence(arguments, words, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("arguments", [["grade", ".", "--out"], ["release", "--stages", "0"]])
def test_a_folder_that_is_a_file_is_named_and_no_bug(
    arguments, tmp_path, monkeypatch, write, capsys
):
    monkeypatch.chdir(tmp_path)
    write("anna_stage0.py", solution(0))
    assert main([*arguments, write("notes.txt", "")]) == 3
    said = capsys.readouterr().err
    assert "notes.txt cannot be used: " in said
    assert "report" not in said


def test_json_is_the_verdict_the_sentence_and_the_counters(write, capsys):
    assert main(["check", "4", write("k.py", style("stage4_per_head")), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["cause"], found["stage"], found["name"]) == (
        "wrong",
        "loaded once per query head",
        4,
        "gqa",
    )
    assert found["sentence"].startswith("K and V are loaded once per query head")
    assert found["counters"]["HBM bytes read"] == {"yours": 2099200, "minimum": 526336}


def test_json_stays_json_when_something_is_off(write, capsys):
    for arguments in (
        ["check", "3", "nowhere.py", "--json"],
        ["check", "42", "x.py", "--json"],
        ["trace", "3", "nowhere.py", "--json"],
    ):
        assert main(arguments) == 2
        assert json.loads(capsys.readouterr().out)["outcome"] == "unusable"


def test_what_the_file_prints_stays_out_of_the_json(write, capsys):
    assert (
        main(
            ["check", "3", write("k.py", "print('hello from the file')\n" + solution(3)), "--json"]
        )
        == 0
    )
    captured = capsys.readouterr()
    assert json.loads(captured.out)["outcome"] == "correct"
    assert "hello from the file" in captured.err


def test_a_file_may_import_its_neighbours(write, capsys):
    write("settings_of_mine.py", "TILE = 128\n")
    assert (
        main(
            [
                "check",
                "3",
                write(
                    "k.py",
                    changed(solution(3), ("TILE = 128", "from settings_of_mine import TILE")),
                ),
            ]
        )
        == 0
    )


def test_own_inputs_come_from_an_npz_file(write, tmp_path, capsys):
    kernel = write("k.py", solution(3))
    rng = np.random.default_rng(0)
    arrays = {
        "q": rng.standard_normal((64, 1)),
        "k": rng.standard_normal((64, 256)),
        "v": rng.standard_normal((64, 256)),
    }
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    np.savez(tmp_path / "good.npz", **arrays, softmax_scale=0.25)
    np.savez(tmp_path / "bad.npz", **arrays | {"q": arrays["q"].astype(np.float64)})
    arrays["k"][0, 0] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    assert main(["check", "3", kernel, "--input", str(tmp_path / "good.npz")]) == 0
    assert main(["trace", "3", kernel, "--input", str(tmp_path / "good.npz")]) == 0
    capsys.readouterr()
    for name, words in (
        ("bad", "q must be float32 at this stage, got float64."),
        ("nan", "k holds NaN at [0, 0]"),
        ("missing", "missing.npz is not an .npz file that can be read"),
    ):
        assert main(["check", "3", kernel, "--input", str(tmp_path / f"{name}.npz")]) == 2
        assert words in capsys.readouterr().out


def test_trace_prints_the_table_and_writes_the_pictures(write, tmp_path, capsys):
    arguments = ["trace", "4", write("k.py", solution(4)), "--heads", "5", "--family", "random"]
    assert (
        main([*arguments, "--html", str(tmp_path / "t.html"), "--figure", str(tmp_path / "t.svg")])
        == 0
    )
    assert "head 5\ntile  keys       tile max" in capsys.readouterr().out
    assert "<details open>" in (tmp_path / "t.html").read_text(encoding="utf-8")
    assert (tmp_path / "t.svg").stat().st_size > 1000


def test_trace_in_json_has_no_bare_infinities(write, capsys):
    assert main(["trace", "3", write("k.py", solution(3)), "--json"]) == 0
    found = json.loads(
        capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"bare {name}")
    )
    assert found["trace"]["m_old"][0] == "-inf"
    assert len(found["trace"]["l"]) == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--heads", "9"], "there is no head 9"),
        (["--heads", "one"], "invalid literal"),
        (["--family", "rising"], "has no input family 'rising'"),
        (["--figure", "no/such/folder/t.png"], "No such file"),
        (["--html", "no/such/folder/t.html"], "No such file"),
    ],
)
def test_a_trace_that_cannot_be_shown_gets_one_sentence(arguments, words, write, capsys):
    assert main(["trace", "4", write("k.py", solution(4)), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_trace_of_a_kernel_that_does_not_run_has_the_exit_status_of_check(write, capsys):
    assert main(["trace", "3", write("k.py", get(3).blank)]) == 2
    assert capsys.readouterr().out == "stage 3 online_softmax is not attempted yet.\n"
    assert (
        main(
            [
                "trace",
                "3",
                write("k.py", changed(solution(3), ("    nl.store(o, value=o_tile)\n", ""))),
            ]
        )
        == 1
    )


def test_picture_prints_the_words_and_writes_the_drawing(write, tmp_path, capsys):
    path = tmp_path / "k.svg"
    assert main(["picture", "2", write("k.py", solution(2)), "--svg", str(path)]) == 0
    assert "k (64, 1024) is read 3 times" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8").startswith("<svg ")
    assert main(["picture", "3", write("b.py", get(3).blank), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["drawn"] is False


def test_list_names_every_stage(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(s.name in text and s.call in text for s in stages())
    assert main(["list", "--json"]) == 0
    assert [s["stage"] for s in json.loads(capsys.readouterr().out)] == [s.number for s in stages()]


def test_doctor_tells_versions_backend_and_target(capsys):
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "backend     nkisim" in text and "target      trn2" in text and "All is well." in text
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"] == []


def test_doctor_says_what_to_do(monkeypatch, capsys):
    from importlib import metadata

    def version(name, real=metadata.version):
        if name == "jupyterlab":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert main(["doctor"]) == 1
    assert (
        "to do: jupyterlab is not installed; the notebooks need it: python -m pip install "
        "jupyterlab" in capsys.readouterr().out
    )


def test_blank_prints_the_exercise(capsys):
    assert main(["blank", "3"]) == 0
    assert capsys.readouterr().out == get(3).blank


def test_run_checks_its_files_in_one_table(write, capsys):
    """That all solutions are correct is in README.md, whose table test_docs.py makes anew."""
    files = [write(f"{get(number).file_name}.py", solution(number)) for number in (0, 1, 4)]
    assert main(["run", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "name", "outcome", "HBM", "bytes", "read", "minimum"]
    assert [line.split() for line in lines[1:-1]] == [
        ["0", "first_kernel", "correct", "524,288", "524,288"],
        ["1", "single_tile", "correct", "65,792", "65,792"],
        ["4", "gqa", "correct", "526,336", "526,336"],
    ]
    assert lines[-1] == "counted on trn2 (simulated)"


def test_run_has_the_worst_exit_status(write, capsys):
    good, bad, none = (
        write("stage0_x.py", solution(0)),
        write("stage0_mine.py", changed(solution(0), ("op0=nl.multiply", "op0=nl.add"))),
        write("stage2_kv_tiling.py", get(2).blank),
    )
    assert main(["run", good, bad]) == 1
    assert main(["run", bad, none, "--json"]) == 2
    assert capsys.readouterr().out.count('"outcome"') == 2


def test_the_module_runs_as_a_command(run_python, tmp_path):
    path = tmp_path / "k.py"
    path.write_text(solution(1), encoding="utf-8")
    done = run_python("-m", "tutorial", "check", "1", path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("stage 1 single_tile: correct\n")
    assert done.stderr == ""


def test_a_figure_without_matplotlib_is_one_sentence_that_says_how_to_install_it(
    write, tmp_path, capsys, monkeypatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    path = tmp_path / "trace.png"
    assert main(["trace", "3", write("k.py", solution(3)), "--figure", str(path)]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "--figure needs matplotlib, which is not installed here: python -m pip install matplotlib\n"
    )
    assert said.out == "" and not path.exists()
