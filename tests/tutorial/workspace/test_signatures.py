"""How a function of NKI is called: in both dialects, and on the command line."""

from __future__ import annotations

import json

import pytest

from tutorial import StageError, signature
from tutorial.__main__ import main
from tutorial.workspace.signatures import described


def test_a_signature_has_no_types_and_is_followed_by_the_documentation(capsys):
    signature("nisa.iota")
    first, _, *rest = capsys.readouterr().out.splitlines()
    assert first == "nisa.iota(expr, dtype, *, mask=None)"
    assert rest[0].startswith("A tile of the index values of `expr`")


def test_a_name_may_stand_without_its_module():
    assert described("iota") == described("nisa.iota")


def test_a_stage_of_the_nki_dialect_has_its_own_functions():
    assert described("nisa.activation", 9).startswith("nisa.activation(dst, op, data, bias=None")
    assert described("nisa.activation").startswith("nisa.activation(op, data, *, bias=None")


def test_a_default_value_is_written_as_in_a_kernel():
    assert "reduce_cmd=reduce_cmd.idle" in described("nisa.activation")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nl.float32", "A data type of 4 bytes an element."),
        ("nl.bfloat16", "A data type of 2 bytes an element."),
        ("nisa.engine", "nisa.engine.tensor"),
    ],
)
def test_what_is_no_function_is_told_without_a_call(name, text):
    made = described(name)
    assert made.startswith(f"{name}\n\n") and text in made


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nl.iota", "There is no 'nl.iota' in neuronxcc.nki. Did you mean nisa.iota?"),
        ("nisa.itoa", "There is no 'nisa.itoa' in neuronxcc.nki. Did you mean nisa.iota?"),
        ("np.dot", "There is no 'np.dot' in neuronxcc.nki. Write it as in nisa.iota or nl.exp."),
        ("", "There is no '' in neuronxcc.nki. Write it as in nisa.iota or nl.exp."),
        ("nisa.__doc__", "Write it as in nisa.iota or nl.exp."),
    ],
)
def test_a_name_that_is_not_there_is_one_sentence(name, sentence, capsys):
    with pytest.raises(StageError) as error:
        described(name)
    assert sentence in str(error.value)
    signature(name)
    assert capsys.readouterr().out == f"{error.value}\n"


def test_the_command_prints_the_same(capsys):
    assert main(["signature", "nisa.iota"]) == 0
    assert capsys.readouterr().out == f"{described('nisa.iota')}\n"
    assert main(["signature", "nisa.dma_copy", "--stage", "9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == described("nisa.dma_copy", 9)
    assert main(["signature", "nisa.no_such"]) == 2
