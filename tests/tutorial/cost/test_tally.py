"""What a kernel costs, as the notebooks print it: counted, modelled, unknown."""

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
import tutorial
from tutorial.running.worked import StandIn

STAGES = [lesson for lesson in tutorial.stages() if lesson.number <= 4]


@pytest.mark.parametrize("lesson", STAGES, ids=lambda lesson: lesson.name)
def test_the_solution_reads_the_bytes_of_the_budget_and_every_time_is_called_modelled(lesson):
    text = str(tutorial.tally(lesson, tutorial.solution(lesson)))
    budget = lesson.minimum(lesson.case(lesson.cost_case))
    assert f"{budget.hbm_bytes_read:,} HBM bytes read, {budget.hbm_bytes_written:,} written" in text
    assert all("(model)" in line for line in text.splitlines() if " us" in line or "%" in line)


def test_instructions_of_the_engines_add_up_to_all():
    made = tutorial.tally(3, tutorial.solution(3))
    (line,) = [line for line in str(made).splitlines() if line.startswith("counted")]
    words = line.split("instructions: ")[1].split(", ")
    assert sum(int(word.split()[1].replace(",", "")) for word in words) == len(made.run)


def test_shapes_are_enough_and_count_what_arrays_would():
    arrays = dict(tutorial.get(4).case("random").args)
    shapes = {name: nkisim.shape(value.shape) for name, value in arrays.items()}
    by_shape, by_value = (
        str(tutorial.tally(4, tutorial.solution(4), inputs)) for inputs in (shapes, arrays)
    )
    assert by_shape == by_value


def test_a_blank_is_not_attempted_and_a_missing_solution_is_said_to_be_missing():
    def decode_attention_fwd(q, k, v, softmax_scale=None):
        raise NotImplementedError

    assert str(tutorial.tally(3, decode_attention_fwd)) == (
        "stage 3 online_softmax is not attempted yet."
    )
    missing = tutorial.tally(3, StandIn(tutorial.get(3)))
    assert "not here" in str(missing) and missing.chart("lanes") is missing
    with pytest.raises(tutorial.StageError, match="not here"):
        missing.timeline()


def test_a_chart_of_the_solution_does_not_quote_it():
    text = str(tutorial.tally(3, tutorial.solution(3)).chart("lanes"))
    assert "Critical path" in text and "nisa." not in text


def test_an_unknown_chart_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="lanes, memory, roofline"):
        tutorial.tally(1, tutorial.solution(1)).chart("pie")


def test_the_kernel_cannot_change_the_inputs_it_was_given():
    q, k, v = (np.array(value) for value in tutorial.get(1).case("random").args.values())
    before = q.copy()
    tutorial.tally(1, tutorial.solution(1), {"q": q, "k": k, "v": v})
    assert (q == before).all()


@nki.jit
def unloaded(q, k, v, softmax_scale=None):
    return nl.exp(q)


def test_a_kernel_that_breaks_a_rule_on_shapes_gets_its_sentence():
    shapes = {
        "q": nkisim.shape((64, 1)),
        "k": nkisim.shape((64, 256)),
        "v": nkisim.shape((64, 256)),
    }
    made = tutorial.tally(3, unloaded, shapes)
    assert made.run is None and "'q'" in str(made) and "hbm" in str(made)
