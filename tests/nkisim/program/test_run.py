"""What a run tells: instructions, bytes, memory, values; and that counting is honest."""

from __future__ import annotations

import tracemalloc

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.program import instruction

X = np.random.default_rng(0).standard_normal((128, 512)).astype(np.float32)


@nki.jit
def running_sum(x):
    out = nl.ndarray((128, 1), dtype=x.dtype, buffer=nl.shared_hbm)
    l = nl.full((128, 1), 0.0, dtype=nl.float32, name="l")
    for i in nl.sequential_range(4):
        tile = nl.load(x[:, nl.ds(i * 128, 128)])
        l[...] = nl.add(l, nl.sum(tile, axis=1))
        nl.device_print("l after the tile", l)
    nl.store(out, l)
    return out


def recorded(kernel, *arrays, **options):
    with nkisim.record(**options) as run:
        kernel(*arrays)
    return run


@pytest.mark.smoke
def test_instructions_tell_engine_operation_operands_and_line():
    run = recorded(running_sum, X)
    load, reduce, add = run.instructions[1:4]
    assert (load.engine, load.op, load.hbm_bytes_read, load.hbm_bytes_written) == (
        "dma",
        "dma_copy",
        128 * 128 * 4,
        0,
    )
    assert load.dst == (nkisim.Operand("tile", "sbuf", (128, 128), "float32"),)
    assert load.srcs[0] == nkisim.Operand("x", "hbm", (128, 128), "float32")
    assert load.source == "tile = nl.load(x[:, nl.ds(i * 128, 128)])"
    assert load.filename == __file__ and add.line == load.line + 1
    assert (reduce.engine, reduce.op, reduce.attrs["op"]) == ("vector", "tensor_reduce", "add")
    assert (add.op, add.dst[0].name, next(s.name for s in add.srcs)) == ("tensor_tensor", "l", "l")
    assert [i.index for i in run.instructions] == list(range(len(run)))


def test_counters_add_up():
    run = recorded(running_sum, X)
    assert run.hbm_bytes_read == X.nbytes and run.hbm_bytes_written == 128 * 4
    assert run.hbm_reads == {"x": X.nbytes} and run.hbm_writes == {"out": 512}
    assert run.dma_transfers == 5 == run.count(engine="dma")
    assert run.counts() == {"dma_copy": 5, "tensor_reduce": 4, "tensor_tensor": 4, "memset": 1}
    assert run.count() == len(run) == len(run.instructions)
    assert "HBM read 262144 bytes" in run.summary()


def test_history_has_the_first_value_and_every_write():
    run = recorded(running_sum, X)
    expected = [np.zeros((128, 1))] + [
        X[:, : 128 * i].sum(axis=1, keepdims=True) for i in (1, 2, 3, 4)
    ]
    assert run.names() == ["l"]
    for got, want in zip(run.history("l"), expected, strict=True):
        assert np.allclose(got, want, atol=1e-4)
    writes = run.writes("l")
    assert [run.instructions[w.index].op for w in writes] == ["memset"] + ["tensor_tensor"] * 4
    assert {w.allocation for w in writes} == {0} and {w.dtype for w in writes} == {"float32"}


def test_an_unknown_name_tells_which_names_there_are():
    run = recorded(running_sum, X)
    with pytest.raises(KeyError, match=r"named tensors: l\)"):
        run.history("m")


def test_a_write_to_a_part_tells_which_part():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 4), dtype=x.dtype, buffer=nl.shared_hbm)
        m = nl.full((128, 4), -1.0, dtype=nl.float32, name="m")
        m[:, 1:3] = nl.load(x[:, 0:2])
        m[0:32, 0:1] = 5.0
        nl.store(out, m)
        return out

    run = recorded(kernel, X)
    whole, middle, corner = run.writes("m")
    assert whole.region is None
    assert middle.region.sum() == 256 and middle.region[:, 1:3].all()
    assert corner.region.sum() == 32 and corner.region[0:32, 0].all()
    assert np.array_equal(corner.value[:, 1:3], X[:, 0:2]) and (corner.value[0:32, 0] == 5).all()


def test_tensors_of_one_name_are_told_apart_over_several_kernel_calls():
    with nkisim.record() as run:
        running_sum(X)
        running_sum(X)
    assert [w.allocation for w in run.writes("l")] == [0] * 5 + [1] * 5
    assert len(run.history("l")) == 10 and run.hbm_bytes_read == 2 * X.nbytes
    assert run.instructions[run.writes("l")[5].index].op == "memset"


def test_prints_are_captured_with_their_values(capsys):
    run = recorded(running_sum, X)
    assert [p.prefix for p in run.prints] == ["l after the tile"] * 4
    assert np.allclose(run.prints[-1].value[:, 0], X.sum(axis=1), atol=1e-4)
    assert capsys.readouterr().out == ""
    running_sum(X)
    assert capsys.readouterr().out.count("l after the tile") == 4


def test_peaks_name_their_holders():
    run = recorded(running_sum, X)
    peak = run.peak_bytes("sbuf")
    assert peak == 128 * 128 * 4 + 2 * 128 * 4
    assert next(h.name for h in peak.holders) == "tile" and {h.name for h in peak.holders} >= {
        "tile",
        "l",
    }
    assert run.peak_bytes("psum") == 0 and run.peak_bytes("psum").holders == []
    with pytest.raises(ValueError, match="'sbuf' or 'psum'"):
        run.peak_bytes("hbm")


def test_the_same_kernel_gives_the_same_record_twice():
    first, second = recorded(running_sum, X), recorded(running_sum, X)
    assert first.instructions == second.instructions and first.summary() == second.summary()


def test_nothing_is_kept_outside_a_record_and_records_nest():
    with nkisim.record() as outer:
        running_sum(X)
        with nkisim.record() as inner:
            running_sum(X)
        running_sum(X)
    running_sum(X)
    assert len(inner.programs) == 1 and len(outer.programs) == 2


def test_results_are_kept_on_request_only():
    run = recorded(running_sum, X, keep_results=True)
    assert len(run.results) == len(run)
    assert np.array_equal(run.results[1], X[:, :128])
    with pytest.raises(ValueError, match="keep_results"):
        _ = recorded(running_sum, X).results


def test_a_run_names_the_target_its_kernels_ran_on():
    assert recorded(running_sum, X).target == "trn2"
    assert recorded(running_sum, X, target="trn1").target == "trn1"
    assert recorded(nki.jit(running_sum, platform_target="trn3"), X).target == "trn3"
    with pytest.raises(ValueError, match="no target 'trn9'"):
        nkisim.record("trn9")


# -- counting is honest ----------------------------------------------------------------------------
def ops_of(body):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        nl.store(out, body(t))
        return out

    return [i.op for i in recorded(kernel, X).instructions][1:-1]


def test_an_assignment_is_where_the_instruction_writes_and_costs_nothing_more():
    def body(t):
        y = nl.ndarray((128, 512), dtype=nl.float32)
        y[...] = nl.exp(t)
        return y

    assert ops_of(body) == ["activation"]


def test_an_assignment_of_a_named_tile_is_a_copy():
    def body(t):
        y = nl.ndarray((128, 512), dtype=nl.float32)
        z = nl.exp(t)
        y[...] = z
        return y

    assert ops_of(body) == ["activation", "tensor_copy"]


def test_a_matmul_assigned_to_sbuf_is_a_matmul_and_a_copy():
    def body(t):
        y = nl.ndarray((128, 512), dtype=nl.float32)
        y[...] = nisa.nc_matmul(t[:, 0:128], t)
        return y

    assert ops_of(body) == ["nc_matmul", "tensor_copy"]


def test_accumulation_in_psum_is_part_of_the_matmul_and_its_zeros_cost_nothing():
    def body(t):
        total = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
        for _ in nl.affine_range(3):
            total += nisa.nc_matmul(t[:, 0:128], t)
        return nisa.tensor_copy(total)

    assert ops_of(body) == ["nc_matmul"] * 3 + ["tensor_copy"]


def test_zeros_in_psum_that_are_read_are_spent():
    def body(t):
        zeros = nl.zeros((128, 512), dtype=nl.float32, buffer=nl.psum)
        return nl.add(t, zeros)

    assert ops_of(body) == ["memset", "tensor_tensor"]


def test_functions_of_the_language_are_their_documented_instructions():
    assert ops_of(lambda t: nl.softmax(t, axis=1)) == [
        "tensor_reduce",
        "activation",
        "reciprocal",
        "tensor_scalar",
    ]
    assert ops_of(lambda t: nl.divide(t, t)) == ["reciprocal", "tensor_tensor"]
    assert ops_of(lambda t: nl.add(t, nl.broadcast_to(t[:, 0:1], shape=(128, 512)))) == [
        "tensor_tensor"
    ]
    assert ops_of(lambda t: nl.matmul(t[:, 0:128], t)) == [
        "nc_transpose",
        "tensor_copy",
        "nc_matmul",
        "tensor_copy",
    ]
    assert ops_of(lambda t: nl.matmul(t[:, 0:128], t, transpose_x=True)) == [
        "nc_matmul",
        "tensor_copy",
    ]


def test_a_masked_load_counts_the_bytes_it_moves():
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        i_p, i_f = nl.mgrid[0:128, 0:512]
        t = nl.load(x[i_p, i_f], mask=(i_f < 100))
        nl.store(out[i_p, i_f], 0.0)
        nl.store(out[i_p, i_f], t[i_p, i_f], mask=(i_f < 100))
        return out

    run = recorded(kernel, X)
    assert run.hbm_bytes_read == 128 * 100 * 4
    assert run.hbm_bytes_written == X.nbytes + 128 * 100 * 4


def test_a_recording_takes_less_than_1000_bytes_an_instruction():
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        for _ in nl.sequential_range(5_000):
            t[...] = nl.add(nl.exp(nl.load(x)), nl.multiply(t, 0.5))
        nl.store(out, value=t)
        return out

    tracemalloc.start()
    with nkisim.record() as run:
        kernel(np.ones((1, 2), np.float32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(run) == 20_002
    assert peak < 1000 * len(run), peak


@pytest.mark.parametrize("kept", [0, 10**6], ids=["made anew", "kept"])
def test_the_instructions_are_a_sequence_whose_items_are_made_when_they_are_looked_at(
    kept, monkeypatch
):
    monkeypatch.setattr(instruction, "KEPT", kept)
    run = recorded(running_sum, X)
    found = run.instructions
    everything = list(found)
    assert [i.index for i in everything] == list(range(len(run))) and len(found) == len(run)
    assert found[0] == everything[0] and found[-1] == everything[-1]
    assert found[1:4] == everything[1:4] and found == everything and found != everything[1:]
    assert everything[2] in found
    with pytest.raises(IndexError, match="instruction"):
        found[len(run)]
