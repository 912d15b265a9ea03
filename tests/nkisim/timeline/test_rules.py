"""The rules of the model of time, one by one, on kernels as small as the rule allows."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.machine.memory import SBUF, meta_of
from nkisim.timeline import REASONS, TIMINGS
from nkisim.timeline.regions import box_of

F32, B16 = "float32", "bfloat16"
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


# -- TensorE ---------------------------------------------------------------------------------------
def products(columns, width, times=3):
    def body(a, b):
        left, right = nl.load(a), nl.load(b)
        for _ in range(times):
            nisa.nc_matmul(left[:, nl.ds(0, columns)], right[:, nl.ds(0, width)])

    return body


@pytest.mark.parametrize(("width", "cycles"), [(512, 512), (128, 128), (64, 64), (1, 64)])
def test_matmuls_with_one_stationary_tile_follow_after_the_moving_columns_and_at_least_64_cycles(
    width, cycles
):
    t = schedule(products(128, width), shape(128, 128, dtype=B16), shape(128, 512, dtype=B16))
    assert interval(t, "nc_matmul", 1) == pytest.approx(cycles / 2.4)


def test_a_matmul_of_fp32_takes_four_passes():
    t = schedule(products(128, 512), shape(128, 128), shape(128, 512))
    assert interval(t, "nc_matmul", 1) == pytest.approx(4 * 512 / 2.4)


def test_a_stationary_tile_is_loaded_four_columns_a_cycle_behind_the_matmul_before():
    def body(a, b):
        tiles = [nl.load(a) for _ in range(3)]
        right = nl.load(b)
        for tile in tiles:
            nisa.nc_matmul(tile, right)

    wide = schedule(body, shape(128, 128, dtype=B16), shape(128, 512, dtype=B16))
    assert interval(wide, "nc_matmul", 1) == pytest.approx(512 / 2.4)  # hidden
    narrow = schedule(body, shape(128, 128, dtype=B16), shape(128, 1, dtype=B16))
    assert interval(narrow, "nc_matmul", 1) == pytest.approx(64 / 2.4)  # 32 of loading behind 64
    fp32 = schedule(body, shape(128, 128), shape(128, 1))
    assert interval(fp32, "nc_matmul", 1) == pytest.approx(4 * 64 / 2.4)


def test_matmuls_that_add_to_one_psum_tile_do_not_wait_for_each_others_results():
    def body(a, b):
        left, right = nl.load(a), nl.load(b)
        acc = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
        for _ in range(3):
            acc[...] += nisa.nc_matmul(left, right)
        nl.copy(acc)

    t = schedule(body, shape(128, 128, dtype=B16), shape(128, 512, dtype=B16))
    assert interval(t, "nc_matmul", 1) == pytest.approx(512 / 2.4)
    last, copied = of(t, "nc_matmul")[-1], of(t, "tensor_copy")[0]
    assert t.start[copied] == pytest.approx(t.end[last] + V3.handoff)


def test_a_transpose_of_fp32_takes_two_passes():
    def body(a):
        tile = nl.load(a)
        for _ in range(3):
            nisa.nc_transpose(tile)

    assert interval(schedule(body, shape(128, 128)), "nc_transpose", 1) == pytest.approx(
        2 * 128 / 2.4
    )
    assert interval(schedule(body, shape(128, 128, dtype=B16)), "nc_transpose", 1) == pytest.approx(
        128 / 2.4
    )


def test_a_matmul_waits_for_a_psum_bank_until_the_last_reader_of_a_tile_is_done():
    def body(a, b):
        left, right = nl.load(a), nl.load(b)
        for _ in range(20):
            nl.copy(nisa.nc_matmul(left, right))  # copies are slower than matmuls

    t = schedule(body, shape(128, 128, dtype=B16), shape(128, 512, dtype=B16))
    last, freeing = of(t, "nc_matmul")[19], of(t, "tensor_copy")[19 - 8]
    assert REASONS[t.reason[last]] == "psum bank" and t.waited_for[last] == freeing
    assert t.start[last] == pytest.approx(t.busy_end[freeing])


def test_matmuls_on_disjoint_tiles_of_the_array_overlap_and_those_on_one_tile_do_not():
    def body(a, b, same):
        left, right = nl.load(a), nl.load(b)
        for k in range(2):
            nisa.nc_matmul(
                left, right, tile_position=(0, 0 if same else 64 * k), tile_size=(64, 64)
            )

    inputs = shape(64, 64, dtype=B16), shape(64, 512, dtype=B16)
    assert interval(schedule(lambda a, b: body(a, b, False), *inputs), "nc_matmul") < 200 / 2.4
    assert interval(schedule(lambda a, b: body(a, b, True), *inputs), "nc_matmul") == pytest.approx(
        512 / 2.4
    )


def test_throttling_halves_the_first_matmuls_on_trn2_and_none_on_trn1():
    body, inputs = (
        products(128, 512, times=40),
        (shape(128, 128, dtype=B16), shape(128, 512, dtype=B16)),
    )
    t = schedule(body, *inputs, throttle=True)
    assert interval(t, "nc_matmul", 1) == pytest.approx(2 * 512 / 2.4)
    assert interval(t, "nc_matmul", 38) == pytest.approx(512 / 2.4)
    assert (
        schedule(body, *inputs, target="trn1", throttle=True).latency_us
        == schedule(body, *inputs, target="trn1").latency_us
    )


# -- VectorE, ScalarE, GpSimdE ---------------------------------------------------------------------
def vector_cycles(body, *inputs, target):
    """Cycles beyond the fixed ones by which the last VectorE instruction of `body` occupies it."""
    t = schedule(body, *inputs, target=target)
    # the last one is the output's
    k = [k for k in range(len(t)) if t.step(k).engine == "vector"][-2]
    return occupied(t, k) * t.timing.vector_ghz - t.timing.access_cycles


def add(a, b):
    nisa.tensor_tensor(nl.load(a), nl.load(b), op=nl.add)


def add_psum(a, b):
    left, right = nl.load(a), nl.load(b)
    nisa.tensor_tensor(nisa.nc_matmul(left[:, nl.ds(0, 128)], right), right, op=nl.add)


def double(a, b):
    nisa.tensor_scalar(nl.load(a), op0=nl.multiply, operand0=2.0)


def strided(a, b):
    nisa.tensor_scalar(nl.load(a)[:, 0:512:2], op0=nl.multiply, operand0=2.0)


def spread_out(a, b):
    nisa.tensor_scalar(nl.load(a)[:, 0:512:8], op0=nl.multiply, operand0=2.0)  # 32 bytes apart


def biggest(a, b):
    nisa.tensor_reduce(nl.max, nl.load(a), axis=1, dtype=nl.bfloat16)


def invert(a, b):
    nisa.reciprocal(nl.load(a))


@pytest.mark.parametrize(
    ("body", "dtype", "target", "cycles"),
    [
        (add, F32, "trn1", 1024),
        (add, B16, "trn1", 512),
        (add_psum, F32, "trn1", 512),
        (add, F32, "trn2", 512),
        (add, B16, "trn2", 256),
        (add_psum, F32, "trn2", 512),
        (double, F32, "trn1", 512),
        (double, B16, "trn1", 512),
        (double, F32, "trn2", 512),
        (double, B16, "trn2", 128),
        (strided, B16, "trn2", 128),
        (spread_out, F32, "trn1", 128),
        (biggest, B16, "trn1", 256),
        (invert, F32, "trn1", 4096),
    ],
)
def test_vector_instructions_stream_their_elements_at_the_documented_rate(
    body, dtype, target, cycles
):
    found = vector_cycles(
        body, shape(128, 512, dtype=dtype), shape(128, 512, dtype=dtype), target=target
    )
    assert found == pytest.approx(cycles)


def test_the_number_of_partitions_does_not_change_the_time_of_a_vector_instruction():
    few, many = (schedule(double, shape(p, 512), shape(1, 1)) for p in (1, 128))
    assert occupied(few, of(few, "tensor_scalar")[0]) == occupied(
        many, of(many, "tensor_scalar")[0]
    )


def test_an_instruction_that_needs_the_last_result_waits_for_the_pipeline_and_the_semaphore():
    def body(a):
        tile = nl.load(a)
        first = nisa.activation(op=nl.copy, data=tile)
        nisa.activation(op=nl.copy, data=tile)
        nisa.activation(op=nl.copy, data=first)
        nisa.activation(op=nl.copy, data=nisa.activation(op=nl.copy, data=tile))

    t = schedule(body, shape(128, 1), target="trn1")
    assert interval(t, "activation", 0) == pytest.approx(65 / 1.4)  # independent
    assert interval(t, "activation", 3) == pytest.approx(189, rel=0.1)  # dependent: published


def test_reading_the_accumulator_of_an_activation_costs_64_cycles():
    def body(a, reads):
        tile = nl.load(a)
        total = nl.ndarray((128, 1), dtype=nl.float32, buffer=nl.sbuf)
        if reads:
            nisa.activation_reduce(op=nl.copy, data=tile, reduce_op=nl.add, reduce_res=total)
        else:
            nisa.activation(op=nl.copy, data=tile)

    plain, reading = (schedule(lambda a, r=r: body(a, r), shape(128, 512)) for r in (False, True))
    difference = occupied(reading, of(reading, "activation")[0]) - occupied(
        plain, of(plain, "activation")[0]
    )
    assert difference == pytest.approx(64 / 1.2)


def test_a_table_is_loaded_when_the_function_changes_and_only_then():
    def body(a):
        tile = nl.load(a)
        for op in (nl.exp, nl.exp, nl.copy, nl.exp, nl.tanh, nl.exp):
            nisa.activation(op=op, data=tile)

    t = schedule(body, shape(128, 64))
    loads = [REASONS[t.reason[k]] == "table load" for k in of(t, "activation")]
    assert loads == [True, False, False, False, True, True]
    # after its data has come
    assert t.start[of(t, "activation")[0]] == pytest.approx(t.end[0] + V3.table_load)


def test_the_time_of_a_table_load_is_the_activations_that_needs_it_and_not_the_line_befores():
    def body(a):
        doubled = nisa.tensor_scalar(nl.load(a), op0=nl.multiply, operand0=2.0)
        nisa.tensor_scalar(nisa.activation(op=nl.exp, data=doubled), op0=nl.multiply, operand0=2.0)

    t = schedule(body, shape(128, 64))
    last = of(t, "tensor_scalar")[1]
    chain = []
    while last >= 0:
        chain.append(last)
        last = int(t.waited_for[last])
    assert [t.ops[k] for k in chain] == ["tensor_scalar", "activation", "tensor_scalar", "dma_copy"]
    after, activation, before, _ = chain
    assert t.start[activation] - t.since[activation] == pytest.approx(V3.table_load)
    assert t.since[activation] - t.start[before] == pytest.approx(
        occupied(t, before) + V3.vector_fill + V3.handoff
    )
    assert t.since[after] == t.start[after]


def test_a_stationary_load_belongs_to_its_instruction_and_begins_when_the_operand_is_there():
    def turn(a):
        nisa.nc_transpose(nisa.tensor_copy(nl.load(a)))

    t = schedule(turn, shape(128, 128, dtype=B16))
    (copied,), (turned,) = of(t, "tensor_copy"), of(t, "nc_transpose")
    assert REASONS[t.reason[turned]] == "stationary load" and t.waited_for[turned] == copied
    assert t.since[turned] == pytest.approx(t.end[copied] + V3.handoff)
    assert t.start[turned] - t.since[turned] == pytest.approx(128 / 4 / 2.4)


def test_gpsimd_starts_up_for_150_cycles():
    def body(a):
        tile = nl.load(a)
        nisa.tensor_tensor(tile, tile, op=nl.add, engine=nisa.gpsimd_engine)

    t = schedule(body, shape(128, 512))
    assert occupied(t, of(t, "tensor_tensor")[0]) == pytest.approx((150 + 512) / 1.2)


def ports(a):
    tile = nl.load(a)
    nisa.tensor_tensor(tile, tile, op=nl.add, engine=nisa.gpsimd_engine)
    nisa.tensor_tensor(tile, tile, op=nl.add)


def test_vector_and_gpsimd_take_turns_at_sbuf_on_trn1_and_overlap_on_trn2():
    v2, v3 = (
        schedule(ports, shape(128, 512), target="trn1"),
        schedule(ports, shape(128, 512), target="trn2"),
    )
    pool, vector = of(v2, "tensor_tensor")
    assert REASONS[v2.reason[vector]] == "port" and v2.start[vector] == pytest.approx(
        v2.busy_end[pool]
    )
    assert v3.start[vector] < v3.busy_end[pool]


def test_vector_and_scalar_take_turns_at_psum_on_trn1_and_overlap_on_trn2():
    def body(a, b):
        acc = nisa.nc_matmul(nl.load(a), nl.load(b))
        nisa.activation(op=nl.copy, data=acc)
        nisa.tensor_copy(acc)

    inputs = shape(128, 128, dtype=B16), shape(128, 512, dtype=B16)
    v2, v3 = schedule(body, *inputs, target="trn1"), schedule(body, *inputs, target="trn2")
    scalar, vector = of(v2, "activation")[0], of(v2, "tensor_copy")[0]
    assert v2.start[vector] == pytest.approx(v2.busy_end[scalar])
    assert v3.start[vector] < v3.busy_end[scalar]


# -- transfers -------------------------------------------------------------------------------------
def load(x):
    nl.load(x)


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


def stream(x, out):
    for k in range(4):
        tile = nl.load(x[k])
        nl.store(out[k], value=nisa.tensor_scalar(tile, op0=nl.multiply, operand0=2.0))


@nki.jit
def streaming(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    stream(x, out)
    return out


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


# -- a run as a whole ------------------------------------------------------------------------------
def test_kernel_calls_add_up():
    with nkisim.record(target="trn2", values=False) as once:
        streaming(shape(4, 128, 512))
    with nkisim.record(target="trn2", values=False) as twice:
        streaming(shape(4, 128, 512))
        streaming(shape(4, 128, 512))
    assert twice.timeline().latency_us == pytest.approx(2 * once.timeline().latency_us)
    launched = twice.timeline(launch="profile")
    assert launched.latency_us == pytest.approx(
        twice.timeline().latency_us + 2 * V3.launch["profile"] / 1e3
    )


def test_start_up_and_tear_down_are_added_only_when_asked_for():
    with nkisim.record(target="trn1", values=False) as run:
        streaming(shape(4, 128, 512))
    plain = run.timeline()
    assert run.timeline(launch="profile").latency_us - plain.latency_us == pytest.approx(
        V2.launch["profile"] / 1e3
    )
    with pytest.raises(ValueError, match="launch is one of none, profile, benchmark"):
        run.timeline(launch="cold")


@nki.jit
def instance(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    k = nl.program_id(0)
    nl.store(out[k], value=nisa.tensor_scalar(nl.load(x[k]), op0=nl.multiply, operand0=2.0))
    return out


def test_program_instances_run_in_parallel_on_several_cores():
    with nkisim.record(target="trn2", values=False) as run:
        instance[4](shape(4, 128, 16384))
    one, two, four = (run.timeline(cores=n) for n in (1, 2, 4))
    assert one.latency_us > 1.2 * two.latency_us > 1.2 * four.latency_us
    assert {name.split()[0] for name in four.lanes} == {"nc0", "nc1", "nc2", "nc3"}
    assert (
        0 < four.utilisation()["dma"] <= 1
        and four.roofline.peak_bandwidth == 4 * one.roofline.peak_bandwidth
    )
    with pytest.raises(ValueError, match="cores"):
        run.timeline(cores=0)


def test_another_target_is_another_machine():
    with nkisim.record(target="trn2", values=False) as run:
        streaming(shape(4, 128, 4096))
    assert (
        run.timeline("trn3").latency_us
        < run.timeline().latency_us
        < run.timeline("trn1").latency_us
    )
    assert run.timeline().target.name == "trn2"


def test_rows_repeated_over_partitions_are_read_from_psum_unless_another_engine_needs_them():
    def body(x, row, needs_copy):
        tile, spread = nl.load(x), nl.load(row).broadcast_to((128, 512))
        result = nisa.tensor_tensor(tile, spread, op=nl.multiply)
        if needs_copy:
            nisa.nc_matmul(spread[:, nl.ds(0, 128)], result)

    forwarded = schedule(
        lambda x, r: body(x, r, False), shape(128, 512), shape(1, 512), target="trn1"
    )
    copied = schedule(lambda x, r: body(x, r, True), shape(128, 512), shape(1, 512), target="trn1")
    k = of(forwarded, "tensor_tensor")[0]
    assert occupied(forwarded, k) * 1.12 == pytest.approx(512 + 64)  # one operand in PSUM
    assert occupied(copied, k) * 1.12 == pytest.approx(1024 + 64)
    copy = of(forwarded, "tensor_copy")[0]
    assert forwarded.lanes[forwarded.lane[copy]] == "not run" and occupied(forwarded, copy) == 0
    assert occupied(copied, copy) > 0


def test_as_compiled_what_has_been_computed_from_the_same_tiles_takes_no_time():
    def body(x, y, changes):
        a, b = nl.load(x), nl.load(y)
        for _ in range(3):
            nisa.tensor_tensor(a, b, op=nl.multiply)
            if changes:
                a[...] = nisa.tensor_scalar(a, op0=nl.multiply, operand0=2.0)

    same, other = (
        schedule(
            lambda x, y, c=c: body(x, y, c), shape(128, 512), shape(128, 512), as_compiled=True
        )
        for c in (False, True)
    )
    assert [occupied(same, k) > 0 for k in of(same, "tensor_tensor")] == [True, False, False]
    assert [occupied(other, k) > 0 for k in of(other, "tensor_tensor")] == [True, True, True]


def test_as_compiled_copies_without_an_engine_go_to_vector_or_scalar_whichever_is_free_first():
    def body(a, b):
        tiles = [nl.load(a[k]) for k in range(4)]
        right = nl.load(b)
        for left in tiles:
            nl.copy(nisa.nc_matmul(left, right))
        nisa.tensor_copy(right, engine=nisa.vector_engine)

    inputs = shape(4, 128, 128, dtype=B16), shape(128, 512, dtype=B16)
    written, compiled = schedule(body, *inputs), schedule(body, *inputs, as_compiled=True)
    lanes = [[t.lanes[t.lane[k]] for k in of(t, "tensor_copy")] for t in (written, compiled)]
    assert lanes[0] == ["vector"] * 5
    assert set(lanes[1][:4]) == {"vector", "scalar"} and lanes[1][4] == "vector"


def test_the_roofline_counts_flops_of_matmuls_and_bytes_of_hbm():
    t = schedule(
        products(128, 512, times=1), shape(128, 128, dtype=B16), shape(128, 512, dtype=B16)
    )
    r = t.roofline
    assert r.flops == 2 * 128 * 128 * 512
    assert r.hbm_bytes == (128 * 128 + 128 * 512) * 2 + 4
    assert r.intensity == r.flops / r.hbm_bytes
    assert r.knee == pytest.approx(2 * 128 * 128 * 2.4e9 / (16 * 23e9))
    assert r.bound_us <= t.latency_us


def test_the_explanation_names_what_the_busiest_engine_waits_for_and_how_rows_use_the_bandwidth():
    def body(a, b):
        for k in range(16):
            left = nl.load(a[k])
            right = nl.load(b[k])
            nl.copy(nisa.nc_matmul(left, right))

    text = schedule(
        body, shape(16, 128, 128, dtype=B16), shape(16, 128, 512, dtype=B16), target="trn1"
    ).explain()
    assert "By the model" in text and "wait" in text and "'right'" in text
    assert (
        "128 KiB in pieces of 1 KiB"
    ) in text and "Pieces of 1 KiB reach 38 % of the DMA engines' rate." in text


def test_the_bound_is_the_resource_in_which_the_critical_path_spends_most_of_its_time():
    assert schedule(load, shape(128, 16384)).bound == "dma"

    def chain(a):
        tile = nl.load(a)
        for _ in range(50):
            tile = nisa.tensor_scalar(tile, op0=nl.multiply, operand0=2.0)

    t = schedule(chain, shape(128, 512))
    assert t.bound == "vector" and len(t.critical_path) > 50
    assert t.critical_path[-1].end_ns == pytest.approx(t.latency_us * 1e3)
    assert all(np.diff([s.start_ns for s in t.critical_path]) >= 0)


# -- the page about it -----------------------------------------------------------------------------
def test_the_page_about_the_model_has_every_constant_with_its_value():
    import dataclasses
    import pathlib
    import re

    page = (pathlib.Path(__file__).parents[3] / "docs" / "hardware-model.md").read_text(
        encoding="utf-8"
    )
    rows = {
        m[1]: [c.strip() for c in m[2].split("|")]
        for m in re.finditer(r"^\| `(\w+(?:\[\"\w+\"\])?)` \|(.*)\|$", page, re.M)
    }
    for field in dataclasses.fields(V2):
        if field.name == "launch":
            continue
        for column, timing in enumerate(TIMINGS.values()):
            value = getattr(timing, field.name)
            text = (
                ("yes" if value else "no")
                if isinstance(value, bool)
                else f"{value:.6g}"
                if value < 10000
                else f"{value:.1f}"
            )
            assert rows[field.name][column] == text, field.name
    for method in ("profile", "benchmark"):
        assert rows[f'launch["{method}"]'][:3] == [
            f"{t.launch[method]:.0f}" for t in TIMINGS.values()
        ]
