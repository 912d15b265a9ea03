"""What one call taught the next: the same line with operands of the same kind is quick, and what
is wrong with it is refused all the same."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

import nkisim
from nkisim.execution import garbage

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

X = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)


def _run(body, x=X):
    """A kernel that stores the tile (8, 16) which `body` makes of the loaded `x`."""

    def kernel(x):
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        nl.store(out, value=body(nl.load(x)))
        return out

    return nki.jit(kernel)(x)


def _refused(body, rule, x=X):
    with pytest.raises(nkisim.KernelError) as error:
        _run(body, x)
    assert error.value.rule == rule
    return error.value


# -- who wrote which part --------------------------------------------------------------------------
def _by_columns(t):
    done = nl.ndarray((8, 16), dtype=nl.float32)
    for j in nl.affine_range(4):
        done[:, nl.ds(4 * j, 4)] = nisa.tensor_copy(t[:, nl.ds(4 * j, 4)])
    return done


def test_a_tile_written_by_columns_does_not_make_rows_of_the_next_one_known():
    assert np.array_equal(_run(_by_columns), X)

    def half(t):
        done = nl.ndarray((8, 16), dtype=nl.float32)
        done[0:4, :] = nisa.tensor_copy(t[0:4, :])
        return done

    assert "64 of 128 elements have not" in str(_refused(half, "uninitialized-read"))


@pytest.mark.parametrize("before", [False, True])
def test_a_column_that_was_left_out_is_found_whatever_parts_were_written_before(before):
    if before:
        _run(_by_columns)

    def all_but_one(t):
        done = nl.ndarray((8, 16), dtype=nl.float32)
        for j in nl.affine_range(3):
            done[:, nl.ds(4 * j, 4)] = nisa.tensor_copy(t[:, nl.ds(4 * j, 4)])
        return done

    error = _refused(all_but_one, "uninitialized-read")
    assert "32 of 128 elements have not" in str(error)
    assert "(0, 12)" in str(error.got)


@pytest.mark.parametrize("width", [4, 3, 5])
def test_an_iteration_that_writes_where_another_wrote_is_refused_after_one_that_did_not(width):
    _run(_by_columns)

    def overlapping(t):
        done = nl.zeros((8, 16), dtype=nl.float32)
        for j in nl.affine_range(3):
            done[:, nl.ds(2 * j, width)] = nisa.tensor_copy(t[:, nl.ds(2 * j, width)])
        return done

    _refused(overlapping, "output-dependency")


def test_the_same_assignment_is_a_sum_in_one_loop_and_an_overwrite_in_the_next():
    def summed(t):
        total = nl.zeros((8, 16), dtype=nl.float32)
        for _ in nl.affine_range(3):
            total += t
        return total

    assert np.allclose(_run(summed), 3 * X)

    def overwritten(t):
        total = nl.zeros((8, 16), dtype=nl.float32)
        for _ in nl.affine_range(3):
            total[...] = nl.add(total, t)
        return total

    with pytest.raises(nkisim.KernelError) as error:
        _run(overwritten)
    assert error.value.rule in ("output-dependency", "affine-dependency")


@pytest.mark.parametrize("rows", [1, 2, 16])
def test_many_small_parts_that_another_iteration_wrote_are_refused_like_few(rows):
    def body(t):
        done = nl.zeros((8, 16, 16), dtype=nl.float32)
        for j in nl.affine_range(16):
            for i in range(16):
                done[:, j, nl.ds(i, 1)] = nisa.tensor_copy(t[:, nl.ds(i, 1)])
            if j == 15:
                done[:, 0:rows, :] = nisa.memset((8, rows, 16), 0.0, dtype=nl.float32)
        return t

    _refused(body, "output-dependency")


# -- index grids -----------------------------------------------------------------------------------
def test_a_grid_of_a_known_form_that_begins_elsewhere_gives_its_own_elements():
    def body(t):
        done = nl.ndarray((8, 16), dtype=nl.float32)
        i_p, i_f = nl.arange(8)[:, None], nl.arange(4)[None, :]
        for j in nl.affine_range(4):
            done[i_p, i_f * 4 + j] = nisa.tensor_copy(t[i_p, i_f * 4 + j])
        return done

    assert np.array_equal(_run(body), X)


def test_a_grid_of_a_known_form_that_reaches_beyond_the_tile_is_refused():
    def body(first):
        def reads(t):
            i_p, i_f = nl.arange(8)[:, None], nl.arange(4)[None, :]
            nisa.tensor_copy(t[i_p, i_f * 4])
            nisa.tensor_copy(t[i_p, i_f * 4 + first])
            return t

        return reads

    assert np.array_equal(_run(body(3)), X)
    _refused(body(4), "out-of-bounds")
    _refused(body(-1), "out-of-bounds")


def test_a_grid_of_a_known_form_on_other_partitions_is_held_to_their_rules():
    def body(first):
        def reads(t):
            wide = nl.ndarray((128, 16), dtype=nl.float32)
            wide[...] = nisa.memset((128, 16), 1.0, dtype=nl.float32)
            i_p, i_f = nl.arange(8)[:, None], nl.arange(16)[None, :]
            nisa.tensor_copy(wide[i_p, i_f])
            return nisa.tensor_tensor(t, wide[first + i_p, i_f], op=nl.multiply)

        return reads

    assert np.array_equal(_run(body(32)), X)
    _refused(body(33), "start-partition")


def test_rows_that_run_time_indices_pick_are_those_that_numpy_picks():
    rng = np.random.default_rng(1)
    blocks = rng.standard_normal((5, 2, 6, 16)).astype(np.float32)
    rows = np.array([[3], [0], [4], [3]], np.int32)

    def kernel(blocks, rows):
        out = nl.ndarray((4, 3, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        index = nl.load(rows)
        i_p = nl.arange(4)[:, None, None]
        i_s, i_d = nl.arange(3)[None, :, None], nl.arange(8)[None, None, :]
        nl.store(out, value=nl.load(blocks[index[i_p, 0], 1, 2 + i_s, 5 + i_d]))
        return out

    found = nki.jit(kernel)(blocks, rows)
    assert np.array_equal(found, blocks[rows[:, 0], 1, 2:5, 5:13])


@pytest.mark.parametrize("step", [1, 2])
def test_rows_beyond_the_tensor_are_refused_and_left_out_where_they_are_skipped(step):
    blocks = np.arange(5 * 16, dtype=np.float32).reshape(5, 16)
    rows = np.array([[1], [7], [4]], np.int32)

    def kernel(skips):
        def made(blocks, rows):
            out = nl.ndarray((3, 8), dtype=nl.float32, buffer=nl.shared_hbm)
            index = nl.load(rows)
            tile = nl.full((3, 8), -1.0, dtype=nl.float32)
            i_p, i_f = nl.arange(3)[:, None], nl.arange(8)[None, :]
            mode = nisa.oob_mode.skip if skips else nisa.oob_mode.error
            nisa.dma_copy(dst=tile, src=blocks[index[i_p, 0], i_f * step], oob_mode=mode)
            nl.store(out, value=tile)
            return out

        return nki.jit(made)

    found = kernel(True)(blocks, rows)
    assert np.array_equal(found[[0, 2]], blocks[[1, 4], 0 : 8 * step : step])
    assert (found[1] == -1.0).all()
    with pytest.raises(nkisim.KernelError, match="index 7 is out of bounds"):
        kernel(False)(blocks, rows)


# -- where the kernel stands -----------------------------------------------------------------------
@nki.jit
def _uses(x):
    out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
    t = nl.load(x)
    for _ in range(2):
        inner = nisa.tensor_copy(t)
        nisa.tensor_copy(inner)
    nl.store(out, value=inner)  # after the loop
    return out


@nki.jit
def _assigns(x):
    out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
    t = nl.load(x)
    for _ in range(2):
        inner = nl.ndarray((8, 16), dtype=nl.float32)
        inner[...] = nisa.tensor_copy(t)
    inner[...] = nisa.tensor_copy(t)  # after the loop
    nl.store(out, value=t)
    return out


@pytest.mark.parametrize(
    ("kernel", "line"),
    [(_uses, "nl.store(out, value=inner)"), (_assigns, "inner[...] = nisa.tensor_copy(t)")],
)
def test_a_tile_of_a_loop_serves_inside_it_and_is_refused_after_it(kernel, line):
    with pytest.raises(nkisim.KernelError) as error:
        kernel(X)
    assert error.value.rule == "scope"
    assert error.value.source == f"{line}  # after the loop"


@pytest.mark.parametrize("kept", [False, True])
def test_a_tile_of_an_inner_loop_ends_with_the_iteration_around_it(kept):
    def kernel(x):
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x)
        total = nl.zeros((8, 16), dtype=nl.float32)
        made = []
        for _ in nl.sequential_range(2):
            for _ in range(2):
                made.append(nisa.tensor_copy(t))
                total += made[0 if kept else -1]
        nl.store(out, value=total)
        return out

    if not kept:
        assert np.allclose(nki.jit(kernel)(X), 4 * X)
        return
    with pytest.raises(nkisim.KernelError) as error:
        nki.jit(kernel)(X)
    assert error.value.rule == "scope"


def test_nothing_is_printed_while_a_kernel_is_lowered(capsys):
    def kernel(x):
        out = nl.ndarray((8, 16), dtype=nl.float32, buffer=nl.shared_hbm)
        t = nl.load(x)
        nl.device_print("t", t)
        nl.store(out, value=t)
        return out

    program = nkisim.lower(nki.jit(kernel), X)
    assert capsys.readouterr().out == ""
    assert np.array_equal(program(X), X)


# -- garbage ---------------------------------------------------------------------------------------
class _Cycle:
    """An object that only the collector frees."""

    def __init__(self, freed: list[int]) -> None:
        self.own = self
        self.freed = freed

    def __del__(self) -> None:
        self.freed.append(1)


@pytest.fixture
def nothing_frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No object is frozen and none was seen to be; what the test session has frozen is so again
    afterwards."""
    monkeypatch.setattr(garbage, "_others_froze", False)
    of_the_session = gc.get_freeze_count() > 0
    gc.unfreeze()
    yield
    gc.unfreeze()
    if of_the_session:
        gc.freeze()


def _long(t):
    for _ in nl.sequential_range(600):
        nisa.tensor_copy(t)
    return t


def test_a_long_kernel_leaves_the_collector_as_it_was():
    assert gc.isenabled()
    _run(_long)
    assert gc.isenabled()
    gc.disable()
    try:
        _run(_long)
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.usefixtures("nothing_frozen")
def test_a_long_kernel_leaves_frozen_objects_frozen():
    _run(_long)
    gc.freeze()
    frozen = gc.get_freeze_count()
    for _ in range(2):
        _run(_long)
        assert gc.get_freeze_count() >= frozen - 1000  # those that have died are no longer counted


@pytest.mark.usefixtures("nothing_frozen")
def test_frozen_objects_are_counted_once_and_not_after_every_kernel(monkeypatch):
    counted: list[int] = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: counted.append(1) or 1)
    for _ in range(3):
        _run(_long)
    assert len(counted) == 1


@pytest.mark.usefixtures("nothing_frozen")
def test_cycles_are_collected_though_long_kernels_follow_one_another(monkeypatch):
    monkeypatch.setattr(garbage, "_MOST", 2000)
    freed: list[int] = []
    for _ in range(8):
        _Cycle(freed)
        _run(_long)
    assert freed
