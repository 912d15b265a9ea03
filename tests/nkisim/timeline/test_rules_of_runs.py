"""What the model of time says of a run as a whole, and the page about it."""

import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl
import numpy as np
import pytest

import nkisim
from nkisim.timeline import TIMINGS
from tests.nkisim.timeline.schedules import (
    B16,
    V2,
    V3,
    load,
    occupied,
    of,
    products,
    schedule,
    shape,
    streaming,
)


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
