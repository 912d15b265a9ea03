"""The plain way and the general way of running an instruction are one way of writing a result."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkisim
from nkisim.execution import execute as plain_way
from nkisim.execution.masked import execute_masked

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl


def _generally(
    instruction, api, dst, srcs, attrs=(), space="sbuf", dtype=None, mask=None, extra=None
):
    """`execute`, always the general way."""
    execution = plain_way.current(api)
    return execute_masked(execution, instruction, api, dst, srcs, attrs, space, dtype, mask, extra)


# no line of a kernel is to be looked for here
_generally.__code__ = _generally.__code__.replace(co_filename=plain_way.__file__)


def kernel(x, steps):
    """Writes of every kind: to new tiles, to parts, redirected, accumulated, to two places."""
    out = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
    total = nl.full((128, 64), 0.0, dtype=nl.float32, name="total")
    rows = nl.zeros((128, 1), dtype=nl.float32, name="rows")
    small = nl.ndarray((128, 64), dtype=nl.bfloat16, name="small")
    psum = nl.zeros((64, 64), dtype=nl.float32, buffer=nl.psum)
    t = nl.load(x)
    small[...] = t
    for kind, at in steps:
        half = nl.ds(32 * at, 32)
        if kind == "new":
            t[...] = nl.exp(nl.multiply(t, 0.5))
        elif kind == "part":
            total[:, half] = nl.add(total[:, half], t[:, half])
        elif kind == "in place":
            total += t
        elif kind == "copy":
            small[:, half] = t[:, half]
        elif kind == "second":
            t[...] = nisa.activation_reduce(nl.tanh, t, reduce_op=nl.add, reduce_res=rows)
        elif kind == "assign":
            small[...] = nl.maximum(t, 0.0)
        elif kind == "accumulate":
            psum += nl.matmul(t, t, transpose_x=True)
            total[0:64, :] = nl.copy(psum)
    total[...] = nl.add(total, small)
    total[...] = nl.multiply(total, nl.add(rows, 1.0))
    nl.store(out, total)
    return out


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["new", "part", "in place", "copy", "second", "assign", "accumulate"]),
        st.integers(0, 1),
    ),
    max_size=8,
)
X = (np.random.default_rng(1).standard_normal((128, 64)) / 4).astype(np.float32)


def _record(steps):
    with nkisim.record(keep_results=True) as run:
        out = nki.jit(kernel)(X, steps)
    writes = [
        (name, w.value.tobytes(), w.index, w.line, w.allocation, w.region is None)
        for name in run.names()
        for w in run.writes(name)
    ]
    records = [
        (
            r.signature.instruction.name,
            r.signature.attrs,
            r.place,
            [(o.buffer.label, o.offset, o.meta) for o in (*r.written, *r.srcs)],
            r.share,
        )
        for r in run.records()
    ]
    return out.tobytes(), writes, records, [r.tobytes() for r in run.results]


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_the_general_way_with_a_mask_that_keeps_everything_does_what_the_plain_way_does(steps):
    plain = _record(steps)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("nkisim.dialects.neuronxcc.") and hasattr(module, "execute"):
                patch.setattr(module, "execute", _generally)
        general = _record(steps)
    assert plain == general


def test_a_second_destination_that_is_an_input_of_the_kernel_is_refused():
    def writes_its_input(x, rows):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nisa.activation_reduce(nl.tanh, nl.load(x), reduce_op=nl.add, reduce_res=rows)
        nl.store(out, t)
        return out

    with pytest.raises(nkisim.KernelError):
        nki.jit(writes_its_input)(X, np.zeros((128, 1), np.float32))
