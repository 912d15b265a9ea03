"""Properties of every schedule, on random kernels."""

import itertools
from dataclasses import replace

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkisim
from nkisim.machine.memory import CONST, PSUM
from nkisim.timeline import schedule

COLUMNS = 256
KINDS = (
    "load",
    "part",
    "scale",
    "add",
    "copy",
    "fill",
    "update",
    "half",
    "matmul",
    "turn",
    "store",
    "gpsimd",
)
SPECIAL = (
    "square",
    "reload",
    "masked",
    "repeated row",
    "columns",
    "sum of products",
    "in place",
    "back",
    "exp",
)
"""Steps that the short way of `schedule.place` and the general one could tell apart."""


def _apply(kind, number, tiles, x, out):
    """One step of a random kernel: reads one or two tiles that are there, and makes or changes
    one."""
    a, b = tiles[number % len(tiles)], tiles[(number // 7) % len(tiles)]
    if kind == "load":
        tiles.append(nl.load(x[number % 4]))
    elif kind == "part":
        tiles.append(nl.load(x[number % 4, nl.ds(0, 128), nl.ds(0, COLUMNS)]))
    elif kind == "scale":
        tiles.append(nisa.tensor_scalar(a, op0=nl.multiply, operand0=2.0))
    elif kind == "add":
        tiles.append(nisa.tensor_tensor(a, b, op=nl.add))
    elif kind == "copy":
        tiles.append(nisa.activation(op=nl.copy, data=a))
    elif kind == "fill":
        tiles.append(nisa.memset((128, COLUMNS), 1.0, dtype=nl.float32))
    elif kind == "update":
        a[...] = nisa.tensor_tensor(a, b, op=nl.add)
    elif kind == "half":
        a[:, nl.ds(128 * (number % 2), 128)] = nisa.tensor_scalar(
            b[:, nl.ds(0, 128)], op0=nl.add, operand0=1.0
        )
    elif kind == "matmul":
        tiles.append(nisa.tensor_copy(nisa.nc_matmul(a[:, nl.ds(0, 128)], b)))
    elif kind == "turn":
        a[:, nl.ds(0, 128)] = nl.copy(nisa.nc_transpose(b[:, nl.ds(0, 128)]))
    elif kind == "store":
        nl.store(out[number % 4], value=a)
    elif kind == "gpsimd":
        tiles.append(nisa.tensor_tensor(a, b, op=nl.add, engine=nisa.gpsimd_engine))
    else:
        _apply_special(kind, number, tiles, a, b, x, out)


def _apply_special(kind, number, tiles, a, b, x, out):
    if kind == "square":
        tiles.append(nisa.tensor_tensor(a, a, op=nl.multiply))
    elif kind == "reload" and number % 2:
        a[...] = nl.load(x[number % 4])
    elif kind == "reload":
        a[:, nl.ds(64, 128)] = nl.load(x[number % 4, :, nl.ds(0, 128)])
    elif kind == "masked":
        i_p, i_f = nl.mgrid[0:128, 0:COLUMNS]
        a[i_p, i_f] = nl.add(b[i_p, i_f], 1.0, mask=i_p < 1 + number)
        a[i_p, i_f] = nl.load(x[0, i_p, i_f], mask=i_f < 1 + number)
    elif kind == "repeated row":
        row = nl.load(x[number % 4, 0:1, :]).broadcast_to((128, COLUMNS))
        tiles.append(nisa.tensor_tensor(a, row, op=nl.add))
        if number % 3 == 0:
            tiles.append(
                nisa.tensor_tensor(
                    b,
                    row,
                    op=nl.add,
                    engine=nisa.gpsimd_engine if number % 2 else nisa.vector_engine,
                )
            )
    elif kind == "columns":
        tiles.append(
            nisa.tensor_scalar(
                a,
                op0=nl.multiply,
                operand0=b[:, 0:1],
                op1=nl.add,
                operand1=a[:, number : number + 1],
            )
        )
    elif kind == "sum of products":
        total = nl.zeros((128, COLUMNS), nl.float32, buffer=nl.psum)
        for k in range(1 + number % 3):
            total += nl.matmul(a[:, nl.ds(0, 128)], b if k % 2 else a, transpose_x=True)
        tiles.append(nisa.tensor_copy(total))
    elif kind == "in place":
        t = nisa.tensor_tensor(a, b, op=nl.subtract)
        t[...] = nisa.tensor_tensor(t, t if number % 2 else b, op=nl.add)
    elif kind == "back":
        nl.store(out[number % 4], value=a)
        tiles.append(nl.load(out[number % 4]))
    elif kind == "exp":
        tiles.append(nisa.activation(op=nl.exp if number % 2 else nl.tanh, data=a))


@nki.jit
def random_kernel(x, steps):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tiles = [nl.load(x[0]), nl.load(x[1])]
    for kind, number, *extra in steps:
        # nobody else finds the tile of an extra step
        _apply(kind, number, list(tiles) if extra else tiles, x, out)
    for i in range(4):
        nl.store(out[i], value=tiles[-1 - i % len(tiles)])
    return out


steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 97)), min_size=1, max_size=25)
targets = st.sampled_from(["trn1", "trn2", "trn3"])


def record(plan, target):
    with nkisim.record(target=target, values=False) as run:
        random_kernel(nkisim.shape((4, 128, COLUMNS), "float32"), tuple(plan))
    return run


@given(steps, targets, st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_engine_and_no_queue_works_on_two_instructions_at_once(plan, target, hoist):
    t = record(plan, target).timeline(hoist_loads=hoist)
    for lane, name in enumerate(t.lanes):
        mine = np.flatnonzero(t.lane == lane)
        if name != "not run":
            assert (t.start[mine][1:] >= t.busy_end[mine][:-1] - 1e-6).all(), name


@given(steps, targets, st.booleans())
@settings(max_examples=40, deadline=None)
def test_nothing_starts_before_what_it_reads_is_written_and_what_it_overwrites_is_read(
    plan, target, hoist
):
    run = record(plan, target)
    t = run.timeline(hoist_loads=hoist)
    writes, reads = {}, {}
    for k, r in enumerate(run.records()):
        signature, dst = r.signature, r.buffer
        for buf, off, meta in r.srcs:
            if meta.space == CONST or (signature.engine == "tensor" and meta.space == PSUM):
                continue
            for other, j in writes.get(buf, []):
                if _share(other, (off, meta)):
                    assert t.start[k] >= t.end[j] - 1e-6
            reads.setdefault(buf, []).append(((off, meta), k))
        mine = (r.offset, signature.dst)
        for other, j in reads.get(dst, []):
            if j != k and _share(other, mine):
                assert t.start[k] >= t.busy_end[j] - 1e-6
        for other, j in writes.get(dst, []):
            if _share(other, mine):
                assert t.end[k] >= t.end[j] - 1e-6
        writes.setdefault(dst, []).append((mine, k))


def _share(one, other):
    """Whether two views have an element in common, by listing them."""
    return bool(_elements(*one) & _elements(*other))


def _elements(offset, meta):
    grid = np.zeros(meta.shape, np.int64) + offset
    for axis, (n, step) in enumerate(zip(meta.shape, meta.strides)):
        grid += (np.arange(n) * step).reshape(
            [-1 if a == axis else 1 for a in range(len(meta.shape))]
        )
    return (
        set(grid[::31, ::31].ravel().tolist())
        if grid.ndim == 2 and grid.shape[1] == COLUMNS
        else set(grid.ravel().tolist())
    )


OPTIONS = [{}, {"hoist_loads": False}, {"throttle": True}, {"cores": 2}]


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS + SPECIAL), st.integers(0, 97)), min_size=1, max_size=30
    ),
    targets,
    st.sampled_from(OPTIONS),
    st.sampled_from([None, (3 << 10, 2), (5 << 10, 1)]),
)
@settings(max_examples=200, deadline=None)
def test_the_short_way_of_usual_records_places_them_bit_for_bit_as_the_general_way_does(
    plan, target, options, memory
):
    run = record(plan, target)
    if memory:  # so little that tiles wait for each other
        chip = nkisim.TARGETS[target]
        options = options | {
            "target": replace(chip, sbuf_partition_bytes=memory[0], psum_banks=memory[1])
        }
    short = run.timeline(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "_usual", lambda signature, placer: None)
        general = run.timeline(**options)
    assert short.lanes == general.lanes
    for name in ("since", "start", "busy_end", "end", "lane", "waited_for", "reason"):
        assert getattr(short, name).tobytes() == getattr(general, name).tobytes(), name
    assert [c.uses for c in short.costs] == [c.uses for c in general.costs]


@given(steps, targets)
@settings(max_examples=40, deadline=None)
def test_the_latency_is_at_least_the_critical_path_the_busiest_engine_and_the_roofline(
    plan, target
):
    t = record(plan, target).timeline()
    path = t.critical_path
    assert t.latency_us * 1e3 == pytest.approx(path[-1].end_ns)
    assert all(a.start_ns <= b.start_ns for a, b in itertools.pairwise(path))
    assert all(step.on_path_ns >= 0 for step in path)
    assert sum(step.on_path_ns for step in path) == pytest.approx(t.latency_us * 1e3)
    assert t.latency_us >= t.roofline.bound_us - 1e-9
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in t.utilisation().values())


@given(
    steps, st.tuples(st.sampled_from(KINDS), st.integers(0, 97)), st.data(), targets, st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_one_more_instruction_never_makes_a_kernel_faster(plan, extra, data, target, hoist):
    at = data.draw(st.integers(0, len(plan)))
    longer = [*plan[:at], (*extra, "extra"), *plan[at:]]
    before = record(plan, target).timeline(hoist_loads=hoist).latency_us
    after = record(longer, target).timeline(hoist_loads=hoist).latency_us
    assert after >= before - 1e-9


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.lists(st.integers(-3, 7), min_size=3, max_size=3),
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.lists(st.integers(-3, 7), min_size=3, max_size=3),
    st.integers(0, 30),
    st.sampled_from([4, 2]),
    st.sampled_from([4, 2]),
)
@settings(max_examples=150, deadline=None)
def test_two_views_overlap_exactly_if_they_share_a_byte(
    shape, strides, other_shape, other_strides, offset, size, other_size
):
    from nkisim.machine.memory import meta_of
    from nkisim.timeline.regions import overlap

    kinds = {4: np.dtype(np.float32), 2: np.dtype(np.float16)}
    a = meta_of("sbuf", tuple(shape), tuple(strides[: len(shape)]), kinds[size])
    b = meta_of(
        "sbuf", tuple(other_shape), tuple(other_strides[: len(other_shape)]), kinds[other_size]
    )

    def touched(meta, start):
        places = {start}
        for n, step in zip(meta.shape, meta.strides):
            places = {p + i * step for p in places for i in range(n)}
        return {p * meta.itemsize + k for p in places for k in range(meta.itemsize)}

    assert overlap(a, 20, b, offset) == bool(touched(a, 20) & touched(b, offset))


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 4), st.integers(0, 11), st.integers(1, 5)),
        min_size=12,
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_a_view_is_linked_to_exactly_the_views_of_its_buffer_that_overlap_it(boxes):
    from nkisim.machine.memory import meta_of
    from nkisim.timeline.regions import OTHERS, Views, fresh

    kind = np.dtype(np.float32)
    whole = meta_of("sbuf", (11, 16), (16, 1), kind)
    views: Views | None = None
    seen = {}
    for row, rows, column, columns in boxes:
        meta, offset = meta_of("sbuf", (rows, columns), (16, 1), kind), row * 16 + column
        if views is None:
            views = Views(fresh(meta, offset), whole)
        cells = {(r, c) for r in range(row, row + rows) for c in range(column, column + columns)}
        seen[id(views.region(meta, offset))] = views.region(meta, offset), cells
    for region, cells in seen.values():
        expected = {
            k for k, (other, theirs) in seen.items() if other is not region and cells & theirs
        }
        assert {id(other) for other in region[OTHERS]} == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 4), st.integers(0, 11), st.integers(1, 5)),
        min_size=2,
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_views_overlap_is_remembered_as_it_would_be_found_anew(boxes):
    from nkisim.machine.memory import meta_of
    from nkisim.timeline.regions import OTHERS, Views, fresh

    kind = np.dtype(np.float32)
    whole = meta_of("sbuf", (11, 16), (16, 1), kind)
    used = [
        (meta_of("sbuf", (rows, columns), (16, 1), kind), row * 16 + column)
        for row, rows, column, columns in boxes
    ]

    def links():
        views = Views(fresh(*used[0]), whole)
        regions = [views.region(*view) for view in used]
        return [[(other[0], other[1]) for other in region[OTHERS]] for region in regions]

    first, again = links(), links()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Views, "REMEMBERED", 0)
        patch.setattr("nkisim.timeline.regions._LINKS", {})
        assert first == again == links()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(0, 12)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_released_memory_is_taken_soonest_first(events):
    from heapq import heappop, heappush

    from nkisim.timeline.state import EACH, MEMORY, Pool

    pool, heap, spare = Pool(20, MEMORY), [], 20
    for number, (when, size, need) in enumerate(events):
        pool.release(float(when), number * EACH, size)
        heappush(heap, (float(when), number * EACH, size))
        spare -= need
        t, cause = 5.0, -EACH
        while spare < 0 and heap:
            at, by, freed = heappop(heap)
            spare += freed
            if at > t:
                t, cause = at, by | MEMORY
        assert pool.take(need, 5.0, -EACH) == (t, cause) and pool.spare == spare


def test_a_record_that_a_mask_or_picked_elements_make_special_has_a_signature_of_its_own():
    # so that the survey of a timeline need not look at every record
    plan = [("masked", k % 5) for k in range(12)] + [("scale", k) for k in range(12)]
    records = list(record(plan, "trn2").records())
    special = [r.signature for r in records if r.share is not None]
    assert len(special) == len(set(special)) == 24
    assert not set(special) & {r.signature for r in records if r.share is None}
