"""The model of time: schedules of small kernels."""

import re

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim


@nki.jit
def chain(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.load(x)
    t = nisa.activation(nl.exp, t)
    t = nisa.tensor_scalar(t, op0=nl.multiply, operand0=2.0)
    nl.store(out, value=t)
    return out


def timeline(kernel, *arrays, target="trn2", **options):
    with nkisim.record(target=target) as run:
        kernel(*arrays)
    return run.timeline(**options)


def test_a_chain_runs_one_instruction_after_another():
    t = timeline(chain, np.zeros((128, 512), np.float32))
    assert [s.op for s in t.critical_path] == [
        "dma_copy",
        "activation",
        "tensor_scalar",
        "dma_copy",
    ]
    assert (t.start[1:] >= t.end[:-1]).all()
    assert t.latency_us == t.end[-1] / 1e3


def test_waiting_for_a_table_counts_for_the_line_that_needs_it_in_path_words_and_lanes():
    t = timeline(chain, np.zeros((128, 512), np.float32))
    steps = {step.op: step for step in t.critical_path}
    table = t.timing.table_load
    assert steps["activation"].on_path_ns == pytest.approx(
        table + t.end[1] - t.start[1] + t.timing.handoff
    )
    assert t.path_shares()["scalar"] == pytest.approx(steps["activation"].on_path_ns / t.span_ns)
    line, share = steps["activation"].line, round(100 * table / t.span_ns)
    assert (
        f"{share} % of the path is ScalarE loading an activation table before it can start "
        f"line {line}."
    ) in t.explain()
    text = t.lane_chart().text()
    assert re.search(rf"^ +{line} +{steps['activation'].on_path_ns / 1e3:.3f} ", text, re.MULTILINE)
    (lane,) = re.findall(r"^  scalar +\|(.*)\|", text, re.MULTILINE)
    assert re.search("░+[▁-█]", lane) and "(░ ScalarE loads an activation table)" in text


def test_the_figure_of_the_lanes_names_a_table_load():
    axes = timeline(chain, np.zeros((128, 512), np.float32)).lane_chart().figure().axes[0]
    assert "table load" in [text.get_text() for text in axes.texts]
    assert any(blocks.get_hatch() for blocks in axes.collections)


def test_without_a_table_load_nothing_is_said_of_one():
    @nki.jit
    def copies(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        nl.store(out, value=nisa.activation(op=nl.copy, data=nl.load(x)))
        return out

    t = timeline(copies, np.zeros((128, 512), np.float32))
    assert (
        "table" not in t.explain()
        and "░" not in t.lane_chart().text()
        and (t.since == t.start).all()
    )


def test_an_empty_run_takes_no_time():
    with nkisim.record() as run:
        pass
    t = run.timeline()
    assert (
        t.latency_us == 0.0
        and t.critical_path == []
        and "model" in t.explain()
        and t.bound == "nothing"
    )


def test_every_text_says_that_it_is_a_model():
    t = timeline(chain, np.zeros((128, 512), np.float32))
    assert "model" in t.explain() and "model" in t.summary() and "model" in repr(t)
