"""The rules of the model of time for the engines, one by one, on kernels
as small as the rule allows."""

import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import pytest

import nkisim
from nkisim.timeline import REASONS
from tests.nkisim.timeline.schedules import (
    B16,
    F16,
    F32,
    V3,
    double,
    interval,
    occupied,
    of,
    products,
    schedule,
    shape,
)


# -- TensorE ---------------------------------------------------------------------------------------
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


def strided(a, b):
    nisa.tensor_scalar(nl.load(a)[:, 0:512:2], op0=nl.multiply, operand0=2.0)


def spread_out(a, b):
    nisa.tensor_scalar(nl.load(a)[:, 0:512:8], op0=nl.multiply, operand0=2.0)  # 32 bytes apart


def biggest(a, b):
    nisa.tensor_reduce(nl.max, nl.load(a), axis=1, dtype=nl.bfloat16)


def add_every_second(a, b):
    nisa.tensor_tensor(nl.load(a)[:, 0:512:2], nl.load(b)[:, 0:512:2], op=nl.add)


def invert(a, b):
    nisa.reciprocal(nl.load(a))


@pytest.mark.parametrize(
    ("body", "dtype", "target", "cycles"),
    [
        (add, F32, "trn1", 1024),
        (add, B16, "trn1", 512),
        (add, F16, "trn1", 512),
        (add_every_second, B16, "trn1", 512),
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


def test_topk_takes_four_cycles_for_each_element_that_16_partitions_hold():
    import nki as new
    import nki.isa as new_isa
    import nki.language as new_nl

    @new.jit
    def kernel(x):
        out = new_nl.ndarray((16, 8), dtype=new_nl.uint32, buffer=new_nl.shared_hbm)
        t, best = new_nl.load(x), new_nl.ndarray((16, 8), dtype=new_nl.bfloat16)
        places = new_nl.ndarray((16, 8), dtype=new_nl.uint32)
        new_isa.topk(val_dst=best, idx_dst=places, src=t, n=480)
        new_nl.store(out, places)
        return out

    with nkisim.record(target="trn3", values=False) as run:
        kernel(shape(16, 30, dtype=B16))
    t = run.timeline()
    (k,) = [k for k, i in enumerate(run.instructions) if i.op == "topk"]
    assert occupied(t, k) == pytest.approx((4 * 480 + 8) / 1.2)


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
