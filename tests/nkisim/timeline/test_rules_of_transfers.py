"""The rules of the model of time for transfers and waiting, one by one,
on kernels as small as the rule allows."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.machine.memory import SBUF, meta_of
from nkisim.timeline import REASONS
from nkisim.timeline.regions import box_of
from tests.nkisim.timeline.schedules import (
    B16,
    V2,
    V3,
    double,
    load,
    occupied,
    of,
    schedule,
    shape,
    streaming,
)


def data_time(t, k=0):
    return occupied(t, k) - t.timing.dma_start


def test_a_long_load_takes_its_bytes_over_sixteen_engines():
    t = schedule(load, shape(128, 8192), target="trn1")
    assert data_time(t) == pytest.approx(128 * 8192 * 4 / (16 * 17))


def test_a_load_of_few_partitions_uses_few_engines():
    t = schedule(load, shape(4, 4096, dtype=B16))
    assert data_time(t) == pytest.approx(32768 / 23)  # one engine: published as 1416 ns


def test_short_rows_reach_a_part_of_the_bandwidth():
    long, short = (
        schedule(
            lambda x, n=n: [nl.load(x[:, nl.ds(k * n, n)]) for k in range(4096 // n)],
            shape(128, 4096),
        )
        for n in (4096, 64)
    )
    assert short.latency_us > 2 * long.latency_us


def test_a_view_with_a_stride_moves_element_by_element():
    contiguous, spread = (
        schedule(load, shape(128, 64)),
        schedule(lambda x: nl.load(x[:, 0:128:2]), shape(128, 128)),
    )
    assert data_time(spread) > 20 * data_time(contiguous)


def test_independent_loads_overlap_and_share_the_bandwidth():
    t = schedule(lambda x: [nl.load(x[k]) for k in range(8)], shape(8, 128, 2048))
    each = 128 * 2048 * 4 / (16 * 23)
    assert t.busy_end[7] == pytest.approx(V3.dma_start + 8 * each, rel=0.01)


def test_no_more_transfers_are_in_flight_than_there_are_queues():
    t = schedule(lambda x: [nl.load(x[k]) for k in range(40)], shape(40, 1, 1))
    starts, ends = t.start[:40], t.busy_end[:40]
    assert max(int(((starts <= s) & (s < ends)).sum()) for s in starts) == V3.dma_queues
    assert "dma queue" in {REASONS[t.reason[k]] for k in range(40)}


def test_a_consumer_waits_for_the_completion_of_a_transfer():
    t = schedule(double, shape(128, 512), shape(1, 1))
    k = of(t, "tensor_scalar")[0]
    assert (
        t.start[k] == pytest.approx(t.busy_end[0] + V3.dma_done) and REASONS[t.reason[k]] == "data"
    )


def test_a_transposing_load_is_much_slower_on_trn1():
    def ratio(target):
        turned = schedule(
            lambda x: nl.load_transpose2d(x), shape(128, 128, dtype=B16), target=target
        )
        return data_time(turned) / data_time(
            schedule(load, shape(128, 128, dtype=B16), target=target)
        )

    assert ratio("trn1") > 3 > ratio("trn2")


def test_a_masked_load_moves_the_share_that_its_mask_keeps():
    def body(x, rows):
        i_p, i_f = nl.mgrid[0:128, 0:8192]
        tile = nl.zeros((128, 8192), dtype=nl.float32, buffer=nl.sbuf)
        tile[i_p, i_f] = nl.load(x[i_p, i_f], mask=i_p < rows)

    whole, part = (schedule(lambda x, r=r: body(x, r), shape(128, 8192)) for r in (128, 32))
    k = of(whole, "dma_copy")[0]
    assert data_time(part, k) == pytest.approx(data_time(whole, k) / 4)
    assert part.roofline.hbm_bytes < whole.roofline.hbm_bytes / 3


def test_a_load_of_rows_that_a_tile_picks_waits_for_that_tile():
    @nki.jit
    def gather(x, rows):
        out = nl.ndarray((128, 64), dtype=x.dtype, buffer=nl.shared_hbm)
        picked = nl.load(rows)
        i_f = nl.arange(64)[None, :]
        nl.store(out, value=nl.load(x[picked[nl.arange(128)[:, None], 0], i_f]))
        return out

    with nkisim.record(target="trn2") as run:
        gather(np.zeros((512, 64), np.float32), np.zeros((128, 1), np.int32))
    t = run.timeline()
    assert t.start[1] == pytest.approx(t.end[0]) and t.waited_for[1] == 0
    assert run.hbm_bytes_read == t.roofline.hbm_bytes - 128 * 64 * 4


def test_hoisted_loads_do_not_wait_for_stores_and_others_do():
    with nkisim.record(target="trn2", values=False) as run:
        streaming(shape(4, 128, 2048))
    hoisted, plain = run.timeline(), run.timeline(hoist_loads=False)
    assert hoisted.latency_us < plain.latency_us
    store, second = 2, 3
    assert hoisted.start[second] < hoisted.start[store] <= plain.start[second]


def test_loads_run_ahead_as_far_as_sbuf_has_room():
    t = schedule(
        lambda x: [
            nisa.tensor_scalar(nl.load(x[k]), op0=nl.multiply, operand0=2.0) for k in range(8)
        ],
        shape(8, 128, 8192),
    )
    assert "memory" in {REASONS[r] for r in t.reason}
    small = schedule(
        lambda x: [
            nisa.tensor_scalar(nl.load(x[k]), op0=nl.multiply, operand0=2.0) for k in range(8)
        ],
        shape(8, 128, 512),
    )
    assert "memory" not in {REASONS[r] for r in small.reason}


def overwritten(columns=512, times=4, part=False):
    """Loads into one tile that is made before the loop, each read by VectorE."""

    def body(x):
        t = nl.ndarray((128, columns), dtype=nl.float32, buffer=nl.sbuf)
        if part:
            t[...] = nl.load(x[:, nl.ds(0, columns)])
        width = columns // 2 if part else columns
        for k in range(times):
            t[:, nl.ds(0, width)] = nl.load(x[:, nl.ds(k * columns, width)])
            nisa.tensor_scalar(t, op0=nl.multiply, operand0=2.0)

    return body


def reasons(t, op):
    return [REASONS[t.reason[k]] for k in of(t, op)]


def test_a_load_into_a_tile_that_is_still_read_goes_to_other_memory():
    x = shape(128, 4 * 512)
    t = schedule(overwritten(), x)
    fresh = schedule(
        lambda x: [
            nisa.tensor_scalar(nl.load(x[:, nl.ds(512 * k, 512)]), op0=nl.multiply, operand0=2.0)
            for k in range(4)
        ],
        x,
    )
    assert "anti" not in reasons(t, "dma_copy")
    assert t.latency_us == fresh.latency_us


def test_a_load_into_other_memory_waits_until_there_is_some():
    columns = 16 * 1024  # two such tiles are two thirds of SBUF
    t = schedule(overwritten(columns), shape(128, 4 * columns))
    loads = of(t, "dma_copy")[:4]
    assert [REASONS[t.reason[k]] for k in loads] == ["start", "memory", "memory", "memory"]
    assert t.start[loads[2]] >= t.busy_end[of(t, "tensor_scalar")[0]]


@pytest.mark.parametrize("address", [None, (0, 0)])
def test_a_tile_that_the_kernel_placed_stays_where_it_is(address):
    import nki
    import nki.isa
    import nki.language

    @nki.jit
    def kernel(x):
        out = nki.language.ndarray(x.shape, dtype=x.dtype, buffer=nki.language.shared_hbm)
        t = nki.language.ndarray(
            (128, 512), dtype=x.dtype, buffer=nki.language.sbuf, address=address
        )
        for k in range(2):
            part = slice(512 * k, 512 * k + 512)
            nki.isa.dma_copy(dst=t, src=x[:, part])
            nki.isa.dma_copy(dst=out[:, part], src=t)
        return out

    with nkisim.record(target="trn2", values=False) as run:
        kernel(shape(128, 1024))
    t = run.timeline()
    assert REASONS[t.reason[2]] == ("anti" if address else "dma order")


def test_a_tile_of_which_a_part_is_overwritten_stays_where_it_is():
    t = schedule(overwritten(part=True), shape(128, 4 * 512))
    assert "anti" in reasons(t, "dma_copy")


def read_in_parts(columns, again):
    """Loads into the first columns of a tile, read by VectorE: all that was loaded, or `again`
    columns."""

    def body(x):
        t = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.sbuf)
        for k in range(2):
            t[:, nl.ds(0, columns)] = nl.load(x[:, nl.ds(512 * k, columns)])
            nisa.tensor_scalar(t[:, nl.ds(0, again)], op0=nl.multiply, operand0=2.0)
            nisa.tensor_scalar(t[:, nl.ds(0, columns)], op0=nl.multiply, operand0=3.0)

    return body


def test_a_box_of_a_tile_that_is_overwritten_goes_to_other_memory_with_all_that_lies_inside_it():
    t = schedule(read_in_parts(256, 128), shape(128, 1024))
    assert reasons(t, "dma_copy")[:2] == ["start", "dma order"]


@pytest.mark.parametrize(
    ("view", "box"),
    [
        ((slice(0, 4), slice(2, 6)), ((0, 2), (3, 5), True)),
        ((slice(1, 2), slice(0, 8, 2)), ((1, 0), (1, 6), False)),
        ((slice(0, 4), slice(0, 8)), ((0, 0), (3, 7), True)),
    ],
)
def test_the_box_of_a_view_is_what_it_reaches_on_each_axis(view, box):
    whole = meta_of(SBUF, (4, 8), (8, 1), np.dtype(np.float32))
    rows, columns = (range(*part.indices(n)) for part, n in zip(view, (4, 8), strict=True))
    meta = meta_of(
        SBUF, (len(rows), len(columns)), (8 * rows.step, columns.step), np.dtype(np.float32)
    )
    assert box_of(whole, meta, 8 * rows[0] + columns[0]) == box


def test_a_view_that_runs_across_the_rows_has_no_box():
    whole = meta_of(SBUF, (4, 8), (8, 1), np.dtype(np.float32))
    assert box_of(whole, meta_of(SBUF, (1, 12), (8, 1), np.dtype(np.float32)), 4) is None


def test_on_trn1_a_short_run_takes_longer_to_load_than_to_store():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=nl.float32, buffer=nl.shared_hbm)
        tile = nl.load(x[:, 0:512:2])
        for k in range(2):
            nl.store(out[:, k:512:2], value=tile)
        return out

    with nkisim.record(target="trn1", values=False) as run:
        kernel(shape(128, 512))
    took = {c.outbound: c.latency for c in run.timeline().costs if c.engine == "dma"}
    each = 128 * 256 / 16
    assert took[0] == pytest.approx(each * V2.dma_run_min)
    assert took[1] == pytest.approx(each * V2.dma_store_min)


def test_an_operand_that_is_overwritten_in_place_stays_where_it_is():
    def body(x):
        t = nl.load(x)
        nisa.activation(op=nl.exp, data=t)
        t[...] = nisa.tensor_scalar(t, op0=nl.multiply, operand0=2.0)

    t = schedule(body, shape(128, 512))
    assert reasons(t, "tensor_scalar") == ["anti"]
