"""Runs on shapes alone: the same records, counters and refusals, no arithmetic, no memory."""

from __future__ import annotations

import tracemalloc
from importlib import util
from pathlib import Path

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import nki as new_nki
import nki.isa as new_nisa
import nki.language as new_nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nkisim

from ..dialects.neuronxcc.test_valid_kernels import CASES
from ..helpers import BF16, FP32, refused, run_kernel, values

SOLUTIONS = Path(__file__).resolve().parents[3] / "solutions"
ATTENTION = [(64, 1), (64, 384), (64, 384)]
SOLVED = {
    "stage0_first_kernel": ("scale_fwd", [(128, 512)], {"scale": 2.0}),
    "stage1_single_tile": ("decode_attention_fwd", [(64, 1), (64, 96), (64, 96)], {}),
    "stage2_kv_tiling": ("decode_attention_fwd", ATTENTION, {}),
    "stage3_online_softmax": ("decode_attention_fwd", ATTENTION, {}),
    "stage4_gqa": ("decode_attention_gqa_fwd", [(64, 8), (2, 64, 256), (2, 64, 256)], {}),
}


def records(run: nkisim.Run) -> list[tuple]:
    """All that a run's records hold."""

    def view(operand):
        return operand.buffer.label, operand.offset, operand.meta.describe()

    return [
        (
            record.signature.instruction.name,
            record.signature.engine,
            record.signature.attrs,
            record.place,
            [(o.meta.strides, o.meta.pstart) for o in (*record.written, *record.srcs)],
            [view(o) for o in (*record.written, *record.srcs)],
            (record.buffer.first, record.buffer.last),
            record.share and (record.share[:2], [view(o) for o in record.share.picks]),
            record.signature.plan.cost,
        )
        for record in run.records()
    ]


def both(kernel, *arguments, **options) -> tuple[nkisim.Run, nkisim.Run]:
    """The run with values and the run on the shapes of the same arguments, after their records were
    found equal."""
    _, full = run_kernel(kernel, *arguments, **options)
    shapes = [
        nkisim.shape(a.shape, a.dtype) if isinstance(a, np.ndarray) and a.ndim else a
        for a in arguments
    ]
    with nkisim.record(values=False) as alone:
        nki.simulate_kernel(kernel, *shapes, **options)
    assert records(alone) == records(full)
    assert alone.summary().startswith(full.summary())
    return full, alone


@pytest.mark.parametrize("stem", SOLVED)
def test_a_solution_leaves_the_same_records(stem):
    entry, shapes, options = SOLVED[stem]
    spec = util.spec_from_file_location(f"{stem}_on_shapes", SOLUTIONS / f"{stem}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    full, _ = both(getattr(module, entry), *[values(s) for s in shapes], **options)
    assert len(full) > 2


@pytest.mark.parametrize(("kernel", "expected", "inputs", "tolerance"), CASES)
def test_a_valid_kernel_leaves_the_same_records(kernel, expected, inputs, tolerance):
    if any(isinstance(x, np.ndarray) or np.isscalar(x) for x in inputs):
        both(kernel, *inputs)


STEPS = {
    "exp": lambda a, b: nl.exp(a),
    "add": lambda a, b: nl.add(a, b),
    "row maximum": lambda a, b: nl.subtract(a, nl.max(a, axis=1, keepdims=True)),
    "two scalars": lambda a, b: nisa.tensor_scalar(
        a, op0=nl.multiply, operand0=2.0, op1=nl.add, operand1=1.0
    ),
    "transposed twice": lambda a, b: nl.copy(
        nisa.nc_transpose(nisa.tensor_copy(nisa.nc_transpose(a)))
    ),
    "matmul": lambda a, b: nl.copy(nl.matmul(a, b, transpose_x=True), dtype=a.dtype),
    "softmax": lambda a, b: nl.softmax(a, axis=1),
    "where": lambda a, b: nl.where(nl.greater(a, b), a, b),
    "half": lambda a, b: nl.copy(nl.copy(a, dtype=nl.bfloat16), dtype=nl.float32),
    "mask": lambda a, b: nl.add(a, b, mask=nl.arange(64)[None, :] < 70),
    "causal": lambda a, b: nisa.affine_select(
        nl.arange(64)[:, None] >= nl.arange(64)[None, :], a, -1.0
    ),
    "broadcast": lambda a, b: nl.multiply(a, b[0:1, :].broadcast_to((64, 64))),
    "reshaped": lambda a, b: nl.square(a.reshape((64, 8, 8))).reshape((64, 64)),
    "grid": lambda a, b: nl.copy(a[nl.arange(64)[:, None], 63 - nl.arange(64)[None, :]]),
    "division": lambda a, b: a / (b * b + 1.0),
}


@given(
    st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6), st.booleans(), st.booleans()
)
def test_any_sequence_of_instructions_leaves_the_same_records(names, in_place, in_loop):
    @nki.jit
    def kernel(x, y):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        a, b = nl.load(x), nl.load(y)
        kept = nl.zeros(x.shape, dtype=nl.float32, name="kept")
        for _ in nl.sequential_range(2 if in_loop else 1):
            t = a
            for name in names:
                if in_place:
                    kept[...] = STEPS[name](t, b)
                    t = kept
                else:
                    t = STEPS[name](t, b)
            kept[0:32, :] = t[0:32, :]
        nl.store(out, value=kept)
        return out

    both(kernel, values((64, 64)), values((64, 64), seed=1))


def tail(x):
    """x (n, 64), any n -> exp(x), by tiles of 128 rows of which the last reaches beyond the
    tensor."""
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    i_p, i_f = nl.arange(128)[:, None], nl.arange(64)[None, :]
    for i in nl.affine_range(-(-x.shape[0] // 128)):
        keep = i * 128 + i_p < x.shape[0]
        t = nl.load(x[i * 128 + i_p, i_f], mask=keep)
        nl.store(out[i * 128 + i_p, i_f], value=nl.exp(t, mask=keep), mask=keep)
    return out


def test_masked_transfers_move_the_same_bytes():
    full, _ = both(tail, values((300, 64)))
    assert full.hbm_bytes_read == 300 * 64 * 4


def rows(table, wanted):
    """table (n, 16), wanted (8, 1) int32 -> the rows of the table that `wanted` names."""
    out = nl.ndarray((8, 16), dtype=table.dtype, buffer=nl.shared_hbm)
    picked = nl.load(table[nl.load(wanted)[nl.arange(8)[:, None], 0], nl.arange(16)[None, :]])
    nl.store(out, value=picked)
    return out


def scattered(x, wanted):
    """x (8, 16), wanted (8, 1) int32 -> an output (32, 16) whose rows `wanted` are those of x."""
    out = nl.ndarray((32, 16), dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(
        out[nl.load(wanted)[nl.arange(8)[:, None], 0], nl.arange(16)[None, :]], value=nl.load(x)
    )
    return out


def test_rows_chosen_at_run_time_need_no_values():
    wanted = np.arange(8, dtype=np.int32)[:, None]
    both(rows, values((32, 16)), wanted)
    both(scattered, values((8, 16)), wanted)


def test_outputs_are_shapes_and_arrays_go_in_as_well():
    with nkisim.record(values=False):
        out = nki.jit(tail)(values((300, 64), BF16))
    assert out == nkisim.shape((300, 64), "bfloat16")
    assert (out.ndim, out.size, out.nbytes) == (2, 19200, 38400)
    assert repr(out) == "<shape (300, 64) bfloat16, no values>"
    for use in (np.asarray, np.exp, float, lambda o: o[0], lambda o: o + 1, lambda o: np.sum(o)):
        with pytest.raises((ValueError, TypeError), match="no values|unsupported operand"):
            use(out)


def test_a_parameter_that_may_be_written_keeps_the_caller_s_values():
    def kernel(x, out):
        nl.store(out, value=nl.exp(nl.load(x)))

    x, out = values((128, 64)), np.zeros((128, 64), FP32)
    with nkisim.record(values=False):
        nki.trace(kernel)(x, out)
    assert not out.any()


def named(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    m = nl.zeros(x.shape, dtype=nl.float32, name="m")
    m[...] = nl.exp(nl.load(x))
    nl.device_print("m", m)
    nl.store(out, value=m)
    return out


def test_what_would_be_values_says_that_there_are_none():
    with nkisim.record(values=False) as run:
        nki.jit(named)(nkisim.shape((128, 64)))
    for ask in (lambda: run.history("m"), lambda: run.writes("m"), lambda: run.results):
        with pytest.raises(ValueError, match="values=False"):
            ask()
    (printed,) = run.prints
    assert (printed.prefix, printed.value) == ("m", nkisim.shape((128, 64)))
    assert run.names() == ["m"]
    assert "without values" in repr(run)


def test_results_cannot_be_kept_of_a_run_without_values():
    with pytest.raises(ValueError, match="keep_results"):
        nkisim.record(values=False, keep_results=True)


def test_a_run_names_the_rules_that_went_unchecked():
    full, alone = both(named, values((128, 64)))
    assert full.unchecked == {}
    assert set(alone.unchecked) <= set(nkisim.RULES)
    assert all(f"{rule}: {what}" in alone.summary() for rule, what in alone.unchecked.items())
    assert set(alone.unchecked) == {"argument", "out-of-bounds", "uninitialized-read"}


def test_a_shape_needs_a_run_without_values():
    error = refused(tail, nkisim.shape((300, 64)), rule="input")
    assert "values=False" in error.remedy


@pytest.mark.parametrize(
    ("shape", "dtype"), [((0, 4), "float32"), ((2.5,), "float32"), ((4, -1), "float32")]
)
def test_a_shape_has_sizes_of_at_least_one(shape, dtype):
    with pytest.raises(ValueError, match="at least 1"):
        nkisim.shape(shape, dtype)


def test_a_shape_has_a_data_type_of_nki():
    with pytest.raises(TypeError, match="float64"):
        nkisim.shape((4, 4), np.float64)


def unwritten(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out[0:64, :], value=nl.load(x[0:64, :]))
    return out


def uninitialised(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.ndarray((128, 64), dtype=nl.float32)
    t[:, 0:32] = nl.load(x[:, 0:32])
    nl.store(out, value=nl.exp(t))
    return out


def carried(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.zeros((128, 64), dtype=nl.float32)
    for _ in nl.affine_range(2):
        t[...] = nl.exp(t)
    nl.store(out, value=t)
    return out


def registers(x):
    out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
    total = nl.ndarray((128, 1), dtype=nl.float32)
    nisa.activation(
        nl.exp, nl.load(x), reduce_op=nl.add, reduce_res=total, reduce_cmd=nisa.reduce_cmd.reduce
    )
    nl.store(out, value=total)
    return out


def too_wide(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    nl.store(out, value=nl.load(x[:, 0:65]))
    return out


@pytest.mark.parametrize("kernel", [unwritten, uninitialised, carried, registers, too_wide])
def test_a_wrong_kernel_is_refused_with_the_same_words(kernel):
    expected = str(refused(kernel, values((128, 64))))
    with nkisim.record(values=False), pytest.raises(nkisim.KernelError) as caught:
        nki.simulate_kernel(kernel, nkisim.shape((128, 64)))
    assert str(caught.value) == expected


@new_nki.jit
def loaded_index(table, wanted):
    """table (8, 128, 64), wanted (1, 1) int32 -> the block of the table that `wanted` names."""
    out = new_nl.ndarray((128, 64), dtype=table.dtype, buffer=new_nl.shared_hbm)
    number = new_nisa.register_alloc(new_nl.load(wanted))
    tile = new_nl.ndarray((128, 64), dtype=table.dtype, buffer=new_nl.sbuf)
    new_nisa.dma_copy(tile, table.select(0, number))
    new_nl.store(out, tile)
    return out


@new_nki.jit
def loaded_trip_count(x, count):
    """x (128, 64), count (1, 1) int32 -> x times two to the power of `count`."""
    out = new_nl.ndarray(x.shape, dtype=x.dtype, buffer=new_nl.shared_hbm)
    tile = new_nl.load(x)
    new_nl.fori_loop(
        0,
        new_nisa.register_alloc(new_nl.load(count)),
        lambda i: new_nisa.tensor_scalar(tile, tile, op0=new_nl.multiply, operand0=2.0) and None,
    )
    new_nl.store(out, tile)
    return out


def test_an_index_in_a_register_is_not_needed():
    wanted = np.zeros((1, 1), np.int32)
    with nkisim.record() as full:
        loaded_index(values((8, 128, 64)), wanted)
    with nkisim.record(values=False) as alone:
        out = loaded_index(nkisim.shape((8, 128, 64)), nkisim.shape((1, 1), "int32"))
    assert out == nkisim.shape((128, 64))
    assert records(alone) == records(full)


def test_a_loop_that_needs_a_value_says_so():
    with (
        nkisim.record(values=False),
        pytest.raises(nkisim.KernelError, match="fori_loop") as caught,
    ):
        loaded_trip_count(nkisim.shape((128, 64)), nkisim.shape((1, 1), "int32"))
    assert caught.value.rule == "values-needed"
    assert isinstance(caught.value, ValueError)


@nki.jit
def context(q, k):
    """q (128, 8), k (8, 128, n) -> the largest score of each head over a context of n keys."""
    heads, _, n = k.shape
    out = nl.ndarray((8, heads), dtype=nl.float32, buffer=nl.shared_hbm)
    q_tile = nl.load(q)
    for h in nl.affine_range(heads):
        m = nl.full((8, 1), nl.fp32.min, dtype=nl.float32)
        for i in nl.sequential_range(n // 500):
            scores = nisa.nc_matmul(q_tile, nl.load(k[h, :, nl.ds(i * 500, 500)]))
            m[...] = nl.maximum(m, nl.max(scores, axis=1, keepdims=True))
        nl.store(out[:, h : h + 1], value=m)
    return out


def test_a_context_of_a_million_keys_takes_no_memory_for_tensors():
    tracemalloc.start()
    with nkisim.record(values=False) as run:
        context(nkisim.shape((128, 8), "bfloat16"), nkisim.shape((1, 128, 1_000_000), "bfloat16"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert run.hbm_bytes_read == 128 * 8 * 2 + 128 * 1_000_000 * 2
    assert peak < 1000 * len(run), peak  # the records alone; K would be 256 MB


def product(k, m, n):
    @nki.jit
    def kernel(lhs_t, rhs):
        out = nl.ndarray((m, n), dtype=lhs_t.dtype, buffer=nl.shared_hbm)
        for i in nl.affine_range(m // 128):
            for j in nl.affine_range(n // 512):
                total = nl.zeros((128, 512), nl.float32, buffer=nl.psum)
                for at in nl.affine_range(k // 128):
                    a = nl.load(lhs_t[nl.ds(at * 128, 128), nl.ds(i * 128, 128)])
                    b = nl.load(rhs[nl.ds(at * 128, 128), nl.ds(j * 512, 512)])
                    total += nl.matmul(a, b, transpose_x=True)
                nl.store(
                    out[nl.ds(i * 128, 128), nl.ds(j * 512, 512)],
                    value=nl.copy(total, dtype=out.dtype),
                )
        return out

    return kernel


def test_a_large_matrix_product_is_counted_without_memory_for_its_tensors():
    tracemalloc.start()
    with nkisim.record(values=False) as run:
        product(1024, 1024, 4096)(
            nkisim.shape((1024, 1024), "bfloat16"), nkisim.shape((1024, 4096), "bfloat16")
        )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert run.count("nc_matmul") == 8 * 8 * 8
    assert run.hbm_bytes_read == 8 * 1024 * 4096 * 2 + 8 * 1024 * 1024 * 2
    assert run.hbm_bytes_written == 1024 * 4096 * 2
    assert peak < 2e6, peak  # the tensors would take 18 MB
