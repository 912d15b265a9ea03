"""The wrong kernels that the learner's guide shows: each is a solution with a few lines changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutorial import get
from tutorial.running import runner

SOLUTIONS = Path(__file__).resolve().parent.parent / "solutions"
_FOLDER = tempfile.TemporaryDirectory()


@dataclass(frozen=True)
class ShownMistake:
    """A solution of `stage` (or of `source`, another stage) in which each `old` text becomes the
    `new` one."""

    stage: int
    changes: tuple[tuple[str, str], ...]
    source: int | None = None
    note: str = ""

    @property
    def shown(self) -> str:
        """The new lines, without their indentation."""
        if self.note:
            return self.note
        return "\n".join(
            line.strip()
            for _, new in self.changes
            for line in new.strip().splitlines()
            if line.strip()
        )

    def kernel(self) -> Callable[..., Any]:
        stage = get(self.stage)
        path = SOLUTIONS / f"{get(self.stage if self.source is None else self.source).file_name}.py"
        text = path.read_text(encoding="utf-8")
        for old, new in self.changes:
            if old not in text:
                raise ValueError(
                    f"{path.name} has no {old!r}: bring tools/docs_mistakes.py up to date"
                )
            text = text.replace(old, new)
        # Messages quote the file's lines when they are made, so that it must outlive this function.
        file = Path(tempfile.mkdtemp(dir=_FOLDER.name)) / "my_kernel.py"
        file.write_text(text, encoding="utf-8")
        return runner.load(file, stage)


MISTAKES: dict[str, ShownMistake] = {
    "numerical": ShownMistake(
        3,
        (
            (
                "l[...] = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, "
                "operand1=l_tile)",
                "l[...] = nisa.tensor_tensor(l, l_tile, op=nl.add)",
            ),
        ),
    ),
    "dma-element-count": ShownMistake(
        0, (("nl.store(y[:, nl.ds(i * TILE, TILE)], value=y_tile)", "nl.store(y, value=y_tile)"),)
    ),
    "out-of-bounds": ShownMistake(
        3,
        (("nl.sequential_range(n // TILE)", "nl.sequential_range(n // TILE + 1)"),),
        note="for i in nl.sequential_range(n // TILE + 1):\n"
        "    k_tile = nl.load(k[:, nl.ds(i * TILE, TILE)])",
    ),
    "partition-limit": ShownMistake(
        3,
        (
            (
                "    q_tile = nl.load(q)",
                "    weights = nl.zeros((n, 1), dtype=nl.float32)\n    q_tile = nl.load(q)",
            ),
        ),
        note="weights = nl.zeros((n, 1), dtype=nl.float32)",
    ),
    "uninitialized-read": ShownMistake(
        3,
        (
            (
                'm = nl.full((1, 1), nl.fp32.min, dtype=nl.float32, name="m")',
                'm = nl.ndarray((1, 1), dtype=nl.float32, name="m")',
            ),
        ),
        note='m = nl.ndarray((1, 1), dtype=nl.float32, name="m")\nm_new = nisa.tensor_tensor(m, '
        "m_tile, op=nl.maximum)",
    ),
    "needless-traffic": ShownMistake(
        3, (), source=2, note="# stage 2's kernel of three passes, checked as stage 3"
    ),
    "stationary-free-limit": ShownMistake(
        3,
        (
            ("TILE = 128", "TILE = 256"),
            ("nisa.nc_matmul(q_tile, k_tile)", "nisa.nc_matmul(k_tile, q_tile)"),
        ),
        note="qk_psum = nisa.nc_matmul(k_tile, q_tile)  # k_tile is (64, 256)",
    ),
    "scope": ShownMistake(
        3,
        (
            (
                "l[...] = nisa.tensor_scalar(l, op0=nl.multiply",
                "l = nisa.tensor_scalar(l, op0=nl.multiply",
            ),
        ),
        note="l = nisa.tensor_scalar(l, op0=nl.multiply, operand0=alpha, op1=nl.add, "
        "operand1=l_tile)",
    ),
    "matmul-destination": ShownMistake(
        3,
        (
            (
                "qk_psum = nisa.nc_matmul(q_tile, k_tile)",
                "qk = nl.ndarray((1, TILE), dtype=nl.float32)\n        qk_psum = "
                "nisa.nc_matmul(q_tile, "
                "k_tile, dst=qk)",
            ),
        ),
        note="qk = nl.ndarray((1, TILE), dtype=nl.float32)\nnisa.nc_matmul(q_tile, k_tile, dst=qk)",
    ),
    "numpy-on-tile": ShownMistake(
        3,
        (
            (
                "p = nisa.activation(nl.exp, nisa.tensor_scalar(qk, op0=nl.subtract, "
                "operand0=m_new))",
                "p = np.exp(qk)",
            ),
            ("import math\n", "import math\n\nimport numpy as np\n"),
        ),
        note="p = np.exp(qk)",
    ),
    "operator": ShownMistake(
        3,
        (("nisa.nc_matmul(q_tile, k_tile)", "nl.transpose(q_tile) @ k_tile"),),
        note="qk_psum = nl.transpose(q_tile) @ k_tile",
    ),
}
