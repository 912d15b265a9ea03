"""Where a tile may be used: not outside the loop iteration or branch that made it; and independence
of iterations."""

from __future__ import annotations

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim

from ..helpers import assert_same_bits, marked_line, refused, run_kernel, values

X = values((128, 16))


def out_like(x):
    return nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.hbm)


# -- what is refused -------------------------------------------------------------------------------
def after_an_affine_range(x):
    out = out_like(x)
    for _ in nl.affine_range(2):
        tile = nl.load(x)
    nl.store(out, tile)  # breaks


def after_a_sequential_range(x):
    out = out_like(x)
    for _ in nl.sequential_range(2):
        tile = nl.load(x)
    nl.store(out, tile)  # breaks


def after_a_plain_range(x):
    out = out_like(x)
    for _ in range(2):
        tile = nl.load(x)
    nl.store(out, tile)  # breaks


def assigned_after_a_plain_range(x):
    out = out_like(x)
    for _ in range(2):
        tile = nl.ndarray(x.shape, dtype=x.dtype)
        tile[...] = nl.exp(nl.load(x))
    tile[...] = nl.exp(nl.load(x))  # breaks
    nl.store(out, tile)


def written_after_a_plain_range(x):
    out = out_like(x)
    for _ in range(2):
        tile = nl.ndarray(x.shape, dtype=x.dtype)
        nisa.tensor_copy(nl.load(x), dst=tile)
    nisa.tensor_copy(nl.load(x), dst=tile)  # breaks
    nl.store(out, tile)


def after_an_inner_loop(x):
    out = out_like(x)
    for _ in nl.sequential_range(2):
        for _ in nl.sequential_range(2):
            tile = nl.load(x)
        nl.store(out, tile)  # breaks


def after_a_branch_on_the_loop_variable(x):
    out = out_like(x)
    for i in range(4):
        if i < 2:
            tile = nl.load(x)
        else:
            tile = nl.exp(nl.load(x))
        nl.store(out, tile)  # breaks


def carried_into_the_next_iteration(x):
    m = nl.load(x)
    for _ in nl.sequential_range(3):
        m = nl.maximum(m, 1.0)  # breaks
    return m


@pytest.mark.parametrize(
    "kernel",
    [
        after_an_affine_range,
        after_a_sequential_range,
        after_a_plain_range,
        assigned_after_a_plain_range,
        written_after_a_plain_range,
        after_an_inner_loop,
        after_a_branch_on_the_loop_variable,
        carried_into_the_next_iteration,
    ],
    ids=lambda k: k.__name__,
)
def test_a_tile_is_refused_outside_the_scope_that_made_it(kernel):
    error = refused(kernel, X, rule="scope")
    assert error.line == marked_line(kernel)
    assert error.tensor in ("tile", "m")
    assert "[...] =" in error.remedy and "before the loop" in error.remedy


def test_a_tile_of_a_kernel_that_has_ended_is_refused_at_a_line_where_another_passed():
    kept = []

    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        for _ in range(1):
            kept.append(nl.load(x))
            nl.store(out, nl.exp(kept[0]))
        return out

    kernel(X)
    with pytest.raises(nkisim.KernelError) as error:
        kernel(X)
    assert error.value.rule == "outside-kernel"


def test_the_line_that_made_a_tile_is_named_once_and_only_where_it_is_another_one():
    other = refused(after_an_affine_range, X, rule="scope")
    assert f"in line {other.line - 1}" in str(other).splitlines()[0]

    @nki.jit
    def same_line(x):
        out = out_like(x)
        state = nl.load(x)
        for _ in nl.sequential_range(2):
            state = nl.exp(state)
        nl.store(out, state)
        return out

    same = refused(same_line, X, rule="scope")
    assert same.headline == "'state' is used outside the loop iteration that made it"


def test_the_rule_can_be_a_warning_and_then_the_tile_holds_its_last_value():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        for i in nl.affine_range(2):
            tile = nl.load(x) * float(i + 1)
        nl.store(out, tile)
        return out

    with (
        nkisim.record(config=nkisim.Config(warn={"scope": True})),
        pytest.warns(nkisim.RuleWarning, match="scope"),
    ):
        got = kernel(X)
    assert_same_bits(got, X * 2)


# -- what is fine ----------------------------------------------------------------------------------
def state_made_before(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    m = nl.load(x)
    for i in nl.sequential_range(3):
        step = m * 2.0
        if i < 2:
            m[...] = nl.add(step, 0.0)
        else:
            m[...] = nl.add(step, 1.0)
    nl.store(out, m)
    return out


def in_place_by_name(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    m = nl.load(x)
    for _ in range(3):
        m *= 2.0
    m += 1.0
    nl.store(out, m)
    return out


def rebound_inside_one_iteration(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for _ in nl.static_range(1):
        t = nl.load(x)
        t = t * 8.0
        t = t + 1.0
        nl.store(out, t)
    return out


def branches_on_what_is_known_when_the_kernel_is_built(x, flag=True):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    if flag:
        t = nl.load(x) * 8.0
    else:
        t = nl.load(x)
    nl.store(out, t + 1.0)
    return out


def helpers_return_tiles_of_the_iteration(x):
    def helper(t):
        return t * 8.0

    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for _ in nl.sequential_range(2):
        made = helper(nl.load(x))
        nl.store(out, made + 1.0)
    return out


def a_list_of_tiles_made_by_a_comprehension(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    tiles = [nl.load(x[32 * i : 32 * i + 32, :]) for i in range(4)]
    for i, t in enumerate(tiles):
        nl.store(out[32 * i : 32 * i + 32, :], t * 8.0 + 1.0)
    return out


def a_return_inside_the_loop(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    for _ in nl.affine_range(1):
        nl.store(out, nl.load(x) * 8.0 + 1.0)
        return out


@pytest.mark.parametrize(
    "kernel",
    [
        state_made_before,
        in_place_by_name,
        rebound_inside_one_iteration,
        branches_on_what_is_known_when_the_kernel_is_built,
        helpers_return_tiles_of_the_iteration,
        a_list_of_tiles_made_by_a_comprehension,
        a_return_inside_the_loop,
    ],
    ids=lambda k: k.__name__,
)
def test_tiles_used_where_they_live_are_fine(kernel):
    np.testing.assert_allclose(run_kernel(kernel, X)[0], X * 8 + 1, rtol=1e-6)


def test_loops_left_by_break_close_their_scope():
    def kernel(x):
        for _ in nl.sequential_range(4):
            tile = nl.load(x)
            break
        return nl.exp(tile)  # breaks

    assert refused(kernel, X, rule="scope").line == marked_line(kernel)


def test_an_error_inside_a_loop_leaves_no_trace_for_the_next_kernel():
    def kernel(x):
        for _ in nl.affine_range(2):
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        nki.simulate_kernel(kernel, X)
    run_kernel(state_made_before, X)


# -- iterations of an affine_range are independent -------------------------------------------------
def running_maximum(x, loop):
    out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
    m = nl.full((128, 1), -1e30, dtype=nl.float32)
    l = nl.full((128, 1), 0.0, dtype=nl.float32)
    for i in loop(4):
        tile = nl.load(x[:, 4 * i : 4 * i + 4])
        new = nl.maximum(m, nl.max(tile, axis=1))
        alpha = nl.exp(m - new)
        l[...] = l * alpha + nl.sum(nl.exp(tile - new), axis=1)
        m[...] = nl.copy(new)
    nl.store(out, m)
    return out


def test_a_running_state_in_an_affine_range_is_refused_and_in_a_sequential_range_it_is_right():
    error = refused(running_maximum, X, nl.affine_range)
    assert (
        error.rule == "affine-dependency"
        and "sequential_range" in error.remedy
        and error.tensor == "m"
    )
    got, _ = run_kernel(running_maximum, X, nl.sequential_range)
    assert_same_bits(got, X.max(axis=1, keepdims=True))


@pytest.mark.parametrize(
    "update",
    [
        lambda t, x: t.__setitem__(Ellipsis, nl.add(t, x)),
        lambda t, x: t.__setitem__(Ellipsis, t + x),
        lambda t, x: t.__setitem__(Ellipsis, nl.maximum(x, t)),
        lambda t, x: t.__setitem__(Ellipsis, nl.subtract(t, x)),
        lambda t, x: t.__setitem__(Ellipsis, nisa.tensor_tensor(t, x, op=nl.multiply)),
        lambda t, x: nisa.tensor_tensor(t, x, op=nl.add, dst=t),
    ],
)
def test_an_assignment_that_reduces_over_an_affine_range_is_refused(update):
    def kernel(x, loop):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        total = nl.full(x.shape, 1.0, dtype=nl.float32)
        for _ in loop(3):
            update(total, nl.load(x))
        nl.store(out, total)
        return out

    error = refused(kernel, X, nl.affine_range)
    assert error.rule in ("output-dependency", "affine-dependency") and error.tensor == "total"
    assert "sequential_range" in error.remedy
    run_kernel(kernel, X, nl.sequential_range)


def test_sums_by_augmented_assignment_over_an_affine_range_are_reductions_and_fine():
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        total, part = nl.zeros(x.shape, dtype=nl.float32), nl.zeros(x.shape, dtype=nl.float32)
        for _ in nl.affine_range(3):
            t = nl.load(x)
            total += t
            part[:, 0:8] += t[:, 0:8]
        nl.store(out, nl.add(total, part))
        return out

    got, _ = run_kernel(kernel, X)
    np.testing.assert_allclose(got, 3 * X + 3 * np.where(np.arange(16) < 8, X, 0), rtol=1e-6)


def test_two_iterations_that_write_one_tile_are_refused():
    def kernel(x):
        last = nl.ndarray(x.shape, dtype=x.dtype)
        for _ in nl.affine_range(2):
            last[...] = nl.load(x)  # breaks
        return last

    error = refused(kernel, X, rule="output-dependency")
    assert error.line == marked_line(kernel) and error.tensor == "last"


def test_iterations_that_write_different_parts_are_fine_and_may_be_read_after_the_loop():
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        parts = nl.ndarray(x.shape, dtype=x.dtype)
        for i in nl.affine_range(4):
            parts[:, 4 * i : 4 * i + 4] = nl.load(x[:, 4 * i : 4 * i + 4])
        for i in nl.affine_range(4):
            nl.store(out[:, 4 * i : 4 * i + 4], parts[:, 4 * (3 - i) : 4 * (3 - i) + 4])
        return out

    expected = X.reshape(128, 4, 4)[:, ::-1].reshape(128, 16)
    assert_same_bits(run_kernel(kernel, X)[0], np.ascontiguousarray(expected))


def test_an_output_may_not_be_made_in_a_loop_a_branch_or_a_function():
    def in_a_loop(x):
        for _ in nl.affine_range(1):
            nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)  # breaks

    def in_a_plain_loop(x):
        for _ in range(1):
            nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)  # breaks

    def made(x):
        return nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)  # breaks

    def in_a_function(x):
        return made(x)

    for kernel, blamed in (
        (in_a_loop, in_a_loop),
        (in_a_plain_loop, in_a_plain_loop),
        (in_a_function, made),
    ):
        assert refused(kernel, X, rule="shared-hbm-level").line == marked_line(blamed)


def test_outputs_may_be_made_by_a_comprehension_on_every_version_of_python():
    def kernel(x):
        outs = [nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm) for _ in range(2)]
        for out in outs:
            nl.store(out, nl.load(x))
        return outs

    assert len(run_kernel(kernel, X)[0]) == 2
