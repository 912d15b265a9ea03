"""Properties of every schedule, on random kernels."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nkisim
from nkisim.memory import CONST, PSUM
from nkisim.timeline import schedule

COLUMNS = 256
KINDS = ("load", "part", "scale", "add", "copy", "fill", "update", "half", "matmul", "turn", "store", "gpsimd")


def _apply(kind, number, tiles, x, out):
    """One step of a random kernel: reads one or two tiles that are there, and makes or changes one."""
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
        a[:, nl.ds(128 * (number % 2), 128)] = nisa.tensor_scalar(b[:, nl.ds(0, 128)], op0=nl.add, operand0=1.0)
    elif kind == "matmul":
        tiles.append(nisa.tensor_copy(nisa.nc_matmul(a[:, nl.ds(0, 128)], b)))
    elif kind == "turn":
        a[:, nl.ds(0, 128)] = nl.copy(nisa.nc_transpose(b[:, nl.ds(0, 128)]))
    elif kind == "store":
        nl.store(out[number % 4], value=a)
    elif kind == "gpsimd":
        tiles.append(nisa.tensor_tensor(a, b, op=nl.add, engine=nisa.gpsimd_engine))


@nki.jit
def random_kernel(x, steps):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tiles = [nl.load(x[0]), nl.load(x[1])]
    for kind, number, *extra in steps:
        _apply(kind, number, list(tiles) if extra else tiles, x, out)  # nobody else finds the tile of an extra step
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
def test_nothing_starts_before_what_it_reads_is_written_and_what_it_overwrites_is_read(plan, target, hoist):
    run = record(plan, target)
    t = run.timeline(hoist_loads=hoist)
    records = [r for p in run.programs for r in p.records()]
    writes, reads = {}, {}
    for k, r in enumerate(records):
        signature, dst = r[0], r[3]
        for buf, off, meta in zip(r[5:-1:2], r[6:-1:2], signature.srcs):
            if meta.space == CONST or (signature.engine == "tensor" and meta.space == PSUM):
                continue
            for other, j in writes.get(buf, []):
                if _share(other, (off, meta)):
                    assert t.start[k] >= t.end[j] - 1e-6
            reads.setdefault(buf, []).append(((off, meta), k))
        mine = (r[4], signature.dst)
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
        grid += (np.arange(n) * step).reshape([-1 if a == axis else 1 for a in range(len(meta.shape))])
    return set(grid[::31, ::31].ravel().tolist()) if grid.ndim == 2 and grid.shape[1] == COLUMNS else set(
        grid.ravel().tolist())


OPTIONS = [{}, {"hoist_loads": False}, {"throttle": True}, {"cores": 2}]


@given(steps, targets, st.sampled_from(OPTIONS))
@settings(max_examples=60, deadline=None)
def test_the_short_way_of_usual_records_places_them_bit_for_bit_as_the_general_way_does(plan, target, options):
    run = record(plan, target)
    short = run.timeline(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "_usual", lambda signature, placing: None)
        general = run.timeline(**options)
    for name in ("since", "start", "busy_end", "end", "lane", "waited_for", "reason"):
        assert getattr(short, name).tobytes() == getattr(general, name).tobytes(), name
    assert [c.uses for c in short.costs] == [c.uses for c in general.costs]


@given(steps, targets)
@settings(max_examples=40, deadline=None)
def test_the_latency_is_at_least_the_critical_path_the_busiest_engine_and_the_roofline(plan, target):
    t = record(plan, target).timeline()
    path = t.critical_path
    assert t.latency_us * 1e3 == pytest.approx(path[-1].end_ns)
    assert all(a.start_ns <= b.start_ns for a, b in zip(path, path[1:]))
    assert all(step.on_path_ns >= 0 for step in path)
    assert sum(step.on_path_ns for step in path) == pytest.approx(t.latency_us * 1e3)
    assert t.latency_us >= t.roofline.bound_us - 1e-9
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in t.utilisation().values())


@given(steps, st.tuples(st.sampled_from(KINDS), st.integers(0, 97)), st.data(), targets, st.booleans())
@settings(max_examples=150, deadline=None)
def test_one_more_instruction_never_makes_a_kernel_faster(plan, extra, data, target, hoist):
    at = data.draw(st.integers(0, len(plan)))
    longer = [*plan[:at], (*extra, "extra"), *plan[at:]]
    before = record(plan, target).timeline(hoist_loads=hoist).latency_us
    after = record(longer, target).timeline(hoist_loads=hoist).latency_us
    assert after >= before - 1e-9


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.lists(st.integers(-3, 7), min_size=3, max_size=3),
       st.lists(st.integers(1, 6), min_size=1, max_size=3), st.lists(st.integers(-3, 7), min_size=3, max_size=3),
       st.integers(0, 30), st.sampled_from([4, 2]), st.sampled_from([4, 2]))
@settings(max_examples=150, deadline=None)
def test_two_views_overlap_exactly_if_they_share_a_byte(shape, strides, other_shape, other_strides, offset, size, other_size):
    from nkisim.memory import meta_of
    from nkisim.timeline.regions import overlap

    kinds = {4: np.dtype(np.float32), 2: np.dtype(np.float16)}
    a = meta_of("sbuf", tuple(shape), tuple(strides[:len(shape)]), kinds[size])
    b = meta_of("sbuf", tuple(other_shape), tuple(other_strides[:len(other_shape)]), kinds[other_size])

    def touched(meta, start):
        places = {start}
        for n, step in zip(meta.shape, meta.strides):
            places = {p + i * step for p in places for i in range(n)}
        return {p * meta.itemsize + k for p in places for k in range(meta.itemsize)}

    assert overlap(a, 20, b, offset) == bool(touched(a, 20) & touched(b, offset))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 4), st.integers(0, 11), st.integers(1, 5)), min_size=12, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_view_is_linked_to_exactly_the_views_of_its_buffer_that_overlap_it(boxes):
    from nkisim.memory import meta_of
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
        expected = {k for k, (other, theirs) in seen.items() if other is not region and cells & theirs}
        assert {id(other) for other in region[OTHERS]} == expected
