"""`nisa.range_select` and `nisa.select_reduce`: what lies within bounds, or a mask keeps."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ..helpers import (
    FLOATS,
    FP32,
    assert_same_bits,
    covers,
    on_tiles,
    refused,
    refused_on_tiles,
    rounded,
    values,
)

COMPARISONS = {
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
}


@covers("range_select")
@given(
    p=st.integers(1, 128),
    n=st.integers(1, 60),
    dtype=st.sampled_from(FLOATS),
    out=st.sampled_from([None, *FLOATS]),
    op0=st.sampled_from(sorted(COMPARISONS)),
    op1=st.sampled_from(sorted(COMPARISONS)),
    start=st.integers(0, 50),
)
def test_range_select_keeps_what_lies_between_the_bounds(p, n, dtype, out, op0, op1, start):
    x = values((p, n), dtype)
    low, high = (np.rint(values((p, 1), seed=s, low=0, high=80)).astype(np.float32) for s in (1, 2))

    @nki.jit
    def kernel(x, low, high):
        a = nl.load(x)
        best = nl.ndarray((p, 1), dtype=nl.float32)
        chosen = nisa.range_select(
            on_true_tile=a,
            comp_op0=getattr(nl, op0),
            comp_op1=getattr(np, op1),
            bound0=nl.load(low),
            bound1=nl.load(high),
            range_start=start,
            reduce_res=best,
            dtype=out,
            reduce_cmd=nisa.reduce_cmd.reset_reduce,
            reduce_op=np.max,
            on_false_value=nl.fp32.min,
        )
        o = nl.ndarray(chosen.shape, dtype=chosen.dtype, buffer=nl.shared_hbm)
        b = nl.ndarray((p, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(o, chosen)
        nl.store(b, best)
        return o, b

    got, best = nki.simulate_kernel(kernel, x, low, high)
    place = start + np.arange(n)
    keep = COMPARISONS[op0](place, low) & COMPARISONS[op1](place, high)
    chosen = np.where(keep, x.astype(np.float64), float(np.finfo(np.float32).min))
    with np.errstate(over="ignore"):
        assert_same_bits(got, rounded(chosen, out or dtype))
    assert_same_bits(best, chosen.max(axis=1, keepdims=True).astype(np.float32))


def chain(x, first, second):
    """Row maxima over both halves of x, read out by the second select_reduce or range_select
    only."""

    @nki.jit
    def kernel(x):
        t = nl.load(x)
        best = nl.ndarray((8, 1), dtype=nl.float32)
        first(t[:, 0:8], None, nisa.reduce_cmd.reset_reduce)
        second(t[:, 8:16], best, nisa.reduce_cmd.reduce)
        out = nl.ndarray((8, 1), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, best)
        return out

    return nki.simulate_kernel(kernel, x)


def ranged(t, best, cmd):
    zero, many = nl.zeros((8, 1), dtype=nl.float32), nl.full((8, 1), 99, dtype=nl.float32)
    nisa.range_select(
        on_true_tile=t,
        comp_op0=nl.greater_equal,
        comp_op1=nl.less,
        bound0=zero,
        bound1=many,
        reduce_cmd=cmd,
        reduce_res=best,
    )


def selected(t, best, cmd):
    nisa.select_reduce(
        dst=nl.ndarray((8, 8), dtype=nl.float32),
        predicate=nl.full((8, 8), 1, dtype=nl.uint8),
        on_true=t,
        on_false=0.0,
        reduce_cmd=cmd,
        reduce_res=best,
    )


@pytest.mark.parametrize("second", [ranged, selected])
@pytest.mark.parametrize("first", [ranged, selected])
def test_selections_share_the_registers_of_the_running_maximum(first, second):
    x = values((8, 16))
    x[:4, :8] += 9
    assert_same_bits(chain(x, first, second), x.max(axis=1, keepdims=True))


def test_after_an_idle_selection_the_registers_are_not_known():
    with pytest.raises(Exception, match="before they are reset") as caught:
        chain(
            values((8, 16)), lambda t, best, cmd: selected(t, best, nisa.reduce_cmd.idle), selected
        )
    assert caught.value.rule == "uninitialized-read"


def test_range_select_refuses_what_the_reference_does_not_allow():
    x, b = values((4, 8)), np.zeros((4, 1), np.float32)

    def with_(**changed):
        def body(t, b):
            return nisa.range_select(
                **{
                    "on_true_tile": t,
                    "comp_op0": nl.less,
                    "comp_op1": nl.less,
                    "bound0": b,
                    "bound1": b,
                    **{k: v(t, b) for k, v in changed.items()},
                }
            )

        return body

    for changed, rule in (
        ({"comp_op0": lambda t, b: nl.not_equal}, "operator"),
        ({"bound0": lambda t, b: 3.0}, "argument"),
        ({"bound1": lambda t, b: t}, "shape-mismatch"),
        ({"on_false_value": lambda t, b: 0.0}, "argument"),
        ({"bound1": lambda t, b: nl.copy(b, dtype=nl.bfloat16)}, "dtype"),
        ({"range_start": lambda t, b: 2**24}, "argument"),
        ({"reduce_op": lambda t, b: nl.add}, "operator"),
        ({"on_true_tile": lambda t, b: nl.copy(t, dtype=nl.int32)}, "dtype"),
    ):
        refused_on_tiles(with_(**changed), x, b, rule=rule)


def test_instructions_of_later_generations_are_refused_on_earlier_ones():
    x, b = values((4, 8)), np.zeros((4, 1), np.float32)
    error = refused_on_tiles(
        lambda t, b: nisa.range_select(
            on_true_tile=t, comp_op0=nl.less, comp_op1=nl.less, bound0=b, bound1=b
        ),
        x,
        b,
        rule="target",
        target="trn1",
    )
    assert "NeuronCore-v3" in error.headline and "trn2" in error.limit


def test_select_reduce_takes_the_data_types_of_the_reference():
    x, p = values((4, 8)), np.ones((4, 8), np.uint8)

    def of(predicate=nl.uint8, on_true=nl.float32):
        def body(t, p):
            d = nl.ndarray((4, 8), dtype=nl.float32)
            nisa.select_reduce(
                dst=d,
                predicate=nl.copy(p, dtype=predicate),
                on_true=nl.copy(t, dtype=on_true),
                on_false=0.0,
            )
            return d

        return body

    for dtype in (nl.int8, nl.uint8, nl.int16, nl.uint16):
        assert_same_bits(on_tiles(of(predicate=dtype), x, p).values, x)
    for dtype in (nl.int32, nl.uint32, nl.float32):
        refused_on_tiles(of(predicate=dtype), x, p, rule="dtype")
    for dtype in (nl.int32, nl.uint32):
        refused_on_tiles(of(on_true=dtype), x, p, rule="dtype")


def test_predicated_copies_take_operands_of_other_ranks_with_as_many_elements_as_2_32_corrects():
    x, p = values((4, 2, 3, 4)), (values((4, 24), seed=5) > 0).astype(np.uint8)

    @nki.jit
    def kernel(x, p):
        out = nl.ndarray((4, 24), dtype=nl.float32, buffer=nl.shared_hbm)
        dst = nl.full((4, 24), 9, dtype=nl.float32)
        nisa.tensor_copy_predicated(
            src=nl.load(x), dst=dst, predicate=nl.load(p).reshape((4, 6, 4))
        )
        nl.store(out, dst)
        return out

    assert_same_bits(
        nki.simulate_kernel(kernel, x, p), np.where(p, x.reshape(4, 24), np.float32(9))
    )
    refused(
        nki.jit(
            lambda x, p: nisa.tensor_copy_predicated(
                src=nl.load(x), dst=nl.zeros((4, 12), dtype=nl.float32), predicate=nl.load(p)
            )
        ),
        x,
        p,
        rule="shape-mismatch",
    )


def test_local_gather_writes_into_a_part_of_a_tile_as_2_30_corrects():
    x = values((16, 32))
    index = np.random.default_rng(3).integers(0, 32, (16, 1)).astype(np.uint16)

    def body(t, i):
        d = nl.full((16, 40), 5, dtype=nl.float32)
        nisa.local_gather(t, i, dst=d[:, 8:24])
        return d

    want = np.full((16, 40), 5, FP32)
    want[:, 8:24] = x[:, index[:, 0].astype(int)]
    assert_same_bits(on_tiles(body, x, index).values, want)


@pytest.mark.parametrize(
    "number", [float(np.finfo(np.float32).min), np.finfo(np.float32).min, -3.4028234663852886e38]
)
def test_selections_take_a_python_float_as_the_other_value_as_2_32_corrects(number):
    x, low, high = values((4, 8)), np.zeros((4, 1), FP32), np.full((4, 1), 3, FP32)
    want = np.where(np.arange(8) < 3, x, np.finfo(np.float32).min)
    got = on_tiles(
        lambda t, a, b: nisa.range_select(
            on_true_tile=t,
            comp_op0=nl.greater_equal,
            comp_op1=nl.less,
            bound0=a,
            bound1=b,
            on_false_value=number,
        ),
        x,
        low,
        high,
    )
    assert_same_bits(got.values, want)
    i_f = nl.arange(8)[None, :]
    assert_same_bits(on_tiles(lambda t: nisa.affine_select(i_f < 3, t, number), x).values, want)


def test_a_plain_copy_of_elements_that_run_time_indices_pick_is_refused():
    x, starts = values((8, 10)), np.array([[4]], np.int32)
    i_p, i_f = nl.mgrid[0:8, 0:2]

    def assigned(t, s):
        d = nl.ndarray((8, 2), dtype=nl.float32)
        d[...] = t[i_p, s[0, 0] + i_f]
        return d

    for body in (
        assigned,
        lambda t, s: nl.copy(t[i_p, s[0, 0] + i_f]),
        lambda t, s: nisa.tensor_copy(t[i_p, s[0, 0] + i_f]),
    ):
        assert (
            "tensor_copy_dynamic_src"
            in refused_on_tiles(body, x, starts, rule="indirect-index").remedy
        )


def test_records_name_the_attributes_of_searches_and_selections():
    x = values((32, 16))

    def body(t):
        nisa.nc_stream_shuffle(src=t, dst=t, shuffle_mask=[0] * 32)
        zero = nl.zeros((32, 1), dtype=nl.float32)
        return nisa.range_select(
            on_true_tile=t,
            comp_op0=nl.greater_equal,
            comp_op1=nl.less,
            bound0=zero,
            bound1=zero,
            range_start=3,
        )

    seen = {i.op: i.attrs for i in on_tiles(body, x).run.instructions}
    assert seen["nc_stream_shuffle"] == {"shuffle_mask": (0,) * 32}
    assert seen["range_select"] == {
        "comp_op0": "greater_equal",
        "comp_op1": "less",
        "range_start": 3,
        "reduce_cmd": 0,
    }
