"""The timelines of small kernels, and what the tests ask of them."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

import nkisim
from nkisim.timeline import TIMINGS

F32, B16, F16 = "float32", "bfloat16", "float16"
V2, V3 = TIMINGS[2], TIMINGS[3]


def shape(*sizes, dtype=F32):
    return nkisim.shape(sizes, dtype)


def schedule(body, *inputs, target="trn2", **options):
    """The timeline of a kernel `body(*inputs)`; its output is one element that the test does not
    look at."""

    def kernel(*arguments):
        out = nl.ndarray((1, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        body(*arguments)
        nl.store(out, value=nl.zeros((1, 1), dtype=nl.float32, buffer=nl.sbuf))
        return out

    with nkisim.record(target=target, values=False) as run:
        nki.jit(kernel)(*inputs)
    t = run.timeline(**options)
    t.ops = [i.op for i in run.instructions]
    return t


def of(t, op):
    """The records with this op."""
    return [k for k, name in enumerate(t.ops) if name == op]


def interval(t, op, n=0):
    """Start of record n + 1 of this op, less that of record n."""
    k = of(t, op)
    return float(t.start[k[n + 1]] - t.start[k[n]])


def occupied(t, k):
    return float(t.busy_end[k] - t.start[k])


# -- kernels that several files look at -----------------------------------------------------------
def products(columns, width, times=3):
    def body(a, b):
        left, right = nl.load(a), nl.load(b)
        for _ in range(times):
            nisa.nc_matmul(left[:, nl.ds(0, columns)], right[:, nl.ds(0, width)])

    return body


def double(a, b):
    nisa.tensor_scalar(nl.load(a), op0=nl.multiply, operand0=2.0)


def load(x):
    nl.load(x)


def stream(x, out):
    for k in range(4):
        tile = nl.load(x[k])
        nl.store(out[k], value=nisa.tensor_scalar(tile, op0=nl.multiply, operand0=2.0))


@nki.jit
def streaming(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    stream(x, out)
    return out
