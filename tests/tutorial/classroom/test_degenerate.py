"""An answer that does not depend on the inputs, or that is one of them, is wrong at every stage, on
hidden inputs too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tutorial.kernels import solution
from tutorial import get
from tutorial.check import check
from tutorial.running.runner import load

STORED = re.compile(r"nl\.store\(([yo]\b.*?), value=(.*)\)$", re.MULTILINE)
PORTED = "nisa.dma_copy(dst=o[group, :], src=o_tile)"

OLD = """
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

@nki.jit
"""
TURNED = "nisa.tensor_copy(nisa.nc_transpose(nl.load({q})), dtype=q.dtype)"
ONE = f"""
    o = nl.ndarray((q.shape[1], q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    nl.store(o, value={TURNED.format(q="q")})
    return o
"""
BATCH = f"""
    o = nl.ndarray((q.shape[0], q.shape[2], q.shape[1]), dtype=q.dtype, buffer=nl.shared_hbm)
    for b in range(q.shape[0]):
        nl.store(o[b], value={TURNED.format(q="q[b]")})
    return o
"""
FIRST = """
    y = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for i in range(x.shape[1] // 128):
        nl.store(y[:, nl.ds(i * 128, 128)], value=nl.load(x[:, nl.ds(i * 128, 128)]))
    return y
"""
PORT = """
import nki
import nki.isa as nisa
import nki.language as nl

@nki.jit
def decode_attention_gqa_fwd(q, k, v, softmax_scale=None):
    o = nl.ndarray((q.shape[1], q.shape[0]), dtype=q.dtype, buffer=nl.shared_hbm)
    there = nl.ndarray(q.shape, dtype=q.dtype, buffer=nl.sbuf)
    turned = nl.ndarray((q.shape[1], q.shape[0]), dtype=q.dtype, buffer=nl.psum)
    back = nl.ndarray((q.shape[1], q.shape[0]), dtype=q.dtype, buffer=nl.sbuf)
    nisa.dma_copy(dst=there, src=q)
    nisa.nc_transpose(dst=turned, data=there)
    nisa.tensor_copy(dst=back, src=turned)
    nisa.dma_copy(dst=o, src=back)
    return o
"""


def passed_through(number: int) -> str:
    """A kernel of a stage that answers with its first input, in the layout of the output."""
    if number == 9:
        return PORT
    lesson = get(number)
    parameters = ", ".join([*lesson.parameters, *(f"{name}=None" for name in lesson.options)])
    body = {0: FIRST, 5: BATCH, 8: BATCH}.get(number, ONE)
    return f"{OLD}def {lesson.entry}({parameters}):{body}"


def flattened(number: int, value: float) -> str:
    """The solution of a stage that stores its output times 0 plus `value`."""
    text = solution(number)
    scaled = f"op0=nl.multiply, operand0=0.0, op1=nl.add, operand1={value}"
    if number == 9:
        assert text.count(PORTED) == 1
        made = f"nisa.tensor_scalar(dst=o_tile, data=o_tile, {scaled})\n        {PORTED}"
        return text.replace(PORTED, made)
    found = STORED.findall(text)
    assert len(found) == 1
    return STORED.sub(rf"nl.store(\1, value=nisa.tensor_scalar(\2, {scaled}))", text)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("number", range(10))
def test_a_constant_output_is_wrong_on_hidden_inputs(tmp_path: Path, number: int, value: float):
    assert_wrong(number, flattened(number, value), tmp_path)


@pytest.mark.parametrize("number", range(10))
def test_an_input_passed_through_is_wrong_on_hidden_inputs(tmp_path: Path, number: int):
    assert_wrong(number, passed_through(number), tmp_path)


def assert_wrong(number: int, text: str, folder: Path) -> None:
    """The values alone show it: whatever it costs, and without any rule that is broken."""
    lesson = get(number)
    path = folder / f"{lesson.file_name}.py"
    path.write_text(text, encoding="utf-8")
    found = check(lesson, load(path, lesson), seed="a-word", sizes=True, explain=False)
    assert (found.outcome, found.cause) == ("wrong", None), found.sentence
