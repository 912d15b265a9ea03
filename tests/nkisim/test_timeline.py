"""The model of time: schedules of small kernels."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np

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
    assert [s.op for s in t.critical_path] == ["dma_copy", "activation", "tensor_scalar", "dma_copy"]
    assert (t.start[1:] >= t.end[:-1]).all()
    assert t.latency_us == t.end[-1] / 1e3


def test_an_empty_run_takes_no_time():
    with nkisim.record() as run:
        pass
    t = run.timeline()
    assert t.latency_us == 0.0 and t.critical_path == [] and "model" in t.explain() and t.bound == "nothing"


def test_every_text_says_that_it_is_a_model():
    t = timeline(chain, np.zeros((128, 512), np.float32))
    assert "model" in t.explain() and "model" in t.summary() and "model" in repr(t)
