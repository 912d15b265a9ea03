"""`device-check` with a faked SDK: the simulator under the SDK's own names, with a benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import nkisim
import tutorial
from tutorial.__main__ import main
from tutorial.workspace import device_check

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import device_reports  # noqa: E402

NKI = """
from nkisim.dialects.neuronxcc.nki import *
from nkisim.dialects.neuronxcc.nki import jit


class _Latency:
    def get_latency_percentile(self, percent):
        return 10.0 + percent / 100


class _Result:
    nc_latency = _Latency()


class _Timed:
    def __init__(self, function):
        self.kernel, self.benchmark_result = jit(function), None

    def __call__(self, *args, **options):
        self.kernel(*args, **options)
        self.benchmark_result = type("Benchmark", (), {"nc_latency": _Latency()})()


def benchmark(warmup, iters):
    assert (warmup, iters) == (10, 100)
    return _Timed
"""


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    """A package `neuronxcc` that is a real one to all who look for it."""
    served = Path(nkisim.__file__).parent / "fallback" / "packages" / "neuronxcc"
    fake = tmp_path / "sdk" / "neuronxcc"
    shutil.copytree(served, fake, ignore=shutil.ignore_patterns("__pycache__"))
    (fake / "nki" / "__init__.py").write_text(NKI, encoding="utf-8")
    return tmp_path / "sdk"


def run(sdk: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(sdk), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "tutorial", "device-check", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "NKISIM_FORCE": ""},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )


def check(report: dict[str, Any]) -> None:
    schema = json.loads(device_check.SCHEMA.read_text(encoding="utf-8"))
    jsonschema.validate(report, schema)


@pytest.mark.slow
def test_the_report_has_every_family_of_a_stage_and_the_measured_beside_the_modelled_time(
    sdk: Path, tmp_path: Path
) -> None:
    done = run(sdk, tmp_path, "0")
    assert done.returncode == 0, done.stdout + done.stderr
    n = len(tutorial.get(0).cases())
    assert f"{n} of {n} cases are right. Wrote report.json." in done.stdout
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    check(report)
    (timed,) = [case for case in report["cases"] if case["measured p50 us"] is not None]
    assert timed["measured p50 us"] == 10.5
    assert set(timed["modelled us"]) >= {"trn1", "trn2"}
    assert {case["outcome"] for case in report["cases"]} == {"right"}


@pytest.mark.slow
def test_an_error_is_kept_with_its_text_and_without_names(sdk: Path, tmp_path: Path) -> None:
    course = tmp_path / "course"
    (course / "solutions").mkdir(parents=True)
    kernel = (ROOT / "solutions" / "stage0_first_kernel.py").read_text(encoding="utf-8")
    raises = f"def scale_fwd(x, scale):\n    raise OSError('{Path.home()}/neuron.log is full')\n"
    assert "def scale_fwd" in kernel
    (course / "solutions" / "stage0_first_kernel.py").write_text(raises, encoding="utf-8")
    lesson = device_check.get(0)
    environment = {"PYTHONPATH": os.pathsep.join([str(sdk), str(ROOT)]), "NKISIM_FORCE": ""}
    said = device_check._child(
        "run",
        lesson,
        course / "solutions" / "stage0_first_kernel.py",
        0,
        environment=environment,
    )
    assert (said["outcome"], said["error"]) == ("error", "OSError: ~/neuron.log is full")


def test_where_there_is_no_sdk_one_sentence_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device-check"]) == 2
    assert "There is no Neuron SDK here" in capsys.readouterr().err


def test_a_text_is_freed_of_the_users_and_the_machines_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_check, "_user", lambda: "alice")
    monkeypatch.setattr(device_check.socket, "gethostname", lambda: "ip-10-0-0-7")
    monkeypatch.setattr(device_check.Path, "home", lambda: Path("/home/alice"))
    text = "/home/alice/x.py on ip-10-0-0-7 by alice, not malice, in /folder/a"
    told = "~/x.py on HOST by USER, not malice, in ./a"
    assert device_check.without_names(text, "/folder") == told


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("trn1.2xlarge\n", "trn1.2xlarge"),
        ("inf2.xlarge", "inf2.xlarge"),
        ("ACME Laptop", "unknown"),
    ],
)
def test_the_instance_type_is_told_and_nothing_else_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, name: str
) -> None:
    (tmp_path / "product_name").write_text(product, encoding="utf-8")
    monkeypatch.setattr(device_check, "PRODUCT", tmp_path / "product_name")
    assert device_check.instance_type() == name


# -- the table -------------------------------------------------------------------------------------
REPORT = {
    "schema": 1,
    "instance type": "trn1.2xlarge",
    "system": "Linux x86_64",
    "python": "3.11.7",
    "packages": {"neuronx-cc": "2.21.18209.0", "nki": None},
    "course": "0.4.0",
    "cases": [
        {
            "stage": 3,
            "family": "random",
            "outcome": "right",
            "largest relative error": 1e-6,
            "measured p50 us": 41.5,
            "modelled us": {"trn1": 40.0},
            "compiler text": "",
        },
        {
            "stage": 3,
            "family": "ascending",
            "outcome": "error",
            "error": "RuntimeError: a | b",
            "measured p50 us": None,
            "modelled us": None,
            "compiler text": "",
        },
    ],
}


def test_reports_become_a_table_with_one_row_per_stage() -> None:
    check(REPORT)
    assert device_reports.table([REPORT]).splitlines()[2:] == [
        "| trn1.2xlarge | 2.21.18209.0 | 3 | 1 of 2 | 41.5 us | 40.0 us on trn1 (model) "
        "| ascending: RuntimeError: a \\| b |"
    ]


def test_without_a_report_the_table_says_that_it_is_empty() -> None:
    assert device_reports.table([]) == "No device has reported yet."
    assert device_reports.kept() == device_reports.EMPTY or list(device_reports.KEPT.glob("*.json"))


def test_a_file_that_is_not_a_report_gets_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text("[]", encoding="utf-8")
    assert device_reports.main([str(tmp_path / "x.json")]) == 2
    assert "is not a report of device-check" in capsys.readouterr().err
