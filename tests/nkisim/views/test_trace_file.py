"""The trace file: valid, in order, complete, and never two instructions at once on a lane."""

from __future__ import annotations

import gzip
import itertools
import json
import re

import neuronxcc.nki as nki
import neuronxcc.nki.language as nl
import numpy as np
import pytest

from nkisim.views import trace_file
from nkisim.views.occupancy import curve
from nkisim.views.reading import Reading
from nkisim.views.trace_counters import PID, hbm_rate
from nkisim.views.trace_file import tracks
from tests.nkisim.views.runs import SMALL, hostile, long_timeline, record, small


def saved(timeline, tmp_path, name="run.json"):
    path = tmp_path / name
    timeline.save_trace(str(path))
    return path.read_bytes()


def of_phase(events, phase):
    return [e for e in events if e["ph"] == phase]


def instructions(events):
    """The slices of instructions, in program order."""
    return sorted(
        (e for e in of_phase(events, "X") if "instruction" in e["args"]),
        key=lambda e: e["args"]["instruction"],
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    timeline = small().timeline()
    return timeline, json.loads(saved(timeline, tmp_path_factory.mktemp("trace")))["traceEvents"]


def test_every_instruction_is_a_slice_on_its_lane_at_its_modelled_time(made):
    timeline, events = made
    names = {
        e["tid"]: e["args"]["name"] for e in of_phase(events, "M") if e["name"] == "thread_name"
    }
    slices = instructions(events)
    assert len(slices) == len(timeline)
    for i, (e, instruction) in enumerate(zip(slices, timeline.run.instructions, strict=True)):
        assert (e["name"], e["cat"], e["args"]["line"]) == (
            instruction.op,
            instruction.engine,
            instruction.line,
        )
        assert names[e["tid"]] == timeline.lanes[timeline.lane[i]]
        assert e["ts"] * 1000 == pytest.approx(timeline.start[i], abs=0.51)
        assert (e["ts"] + e["dur"]) * 1000 == pytest.approx(timeline.busy_end[i], abs=0.51)
    assert slices[2]["args"]["writes"] == "product 128x128 float32 psum"


def test_events_are_in_order_of_time(made):
    times = [e["ts"] for e in made[1] if "ts" in e]
    assert times == sorted(times) and times[0] >= 0


def test_a_table_load_is_a_slice_of_its_own_before_its_activation(made):
    timeline, events = made
    (load,) = [e for e in of_phase(events, "X") if e["name"] == "activation table load"]
    (k,) = [i for i, e in enumerate(instructions(events)) if e["name"] == "activation"][:1]
    activation = instructions(events)[k]
    assert (
        load["args"]["for instruction"] == k and load["args"]["line"] == activation["args"]["line"]
    )
    assert load["tid"] == activation["tid"]
    assert load["ts"] * 1000 == pytest.approx(timeline.since[k], abs=0.51)
    assert round((load["ts"] + load["dur"]) * 1000) == round(activation["ts"] * 1000)
    assert load["dur"] * 1000 == pytest.approx(timeline.timing.table_load, abs=1.1)


def test_a_transfer_tells_its_bytes_and_how_many_lie_together(made):
    load, store = [e["args"] for e in instructions(made[1]) if e["name"] == "dma_copy"][:2]
    told = [
        (a["HBM bytes read"], a["HBM bytes written"], a["contiguous bytes"]) for a in (load, store)
    ]
    assert told == [(65536, 0, 512), (0, 65536, 512)]


def test_counters_follow_memory_and_traffic(made):
    timeline, events = made
    counters = {}
    for e in of_phase(events, "C"):
        ((unit, value),) = e["args"].items()
        counters.setdefault(f"{e['name']} {unit}", []).append((e["ts"], value))
    assert sorted(counters) == [
        "HBM traffic (model) GB/s",
        "PSUM in use (B per partition)",
        "SBUF in use (B per partition)",
    ]
    for space in ("sbuf", "psum"):
        fullest = curve(Reading(timeline.run), space, 10**6, timeline).total.max()
        assert max(v for _, v in counters[f"{space.upper()} in use (B per partition)"]) == fullest
    traffic = counters["HBM traffic (model) GB/s"]
    moved = sum(v * (b - a) for (a, v), (b, _) in itertools.pairwise(traffic)) * 1e3
    assert moved == pytest.approx(
        timeline.run.hbm_bytes_read + timeline.run.hbm_bytes_written, rel=0.01
    )
    assert traffic[-1][1] == 0


@pytest.mark.parametrize("cores", [1, 2])
def test_the_traffic_never_passes_what_the_model_gives(cores):
    @nki.jit
    def kernel(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        for i in range(8 // nl.num_programs(0)):
            rows = nl.ds((nl.program_id(0) * (8 // nl.num_programs(0)) + i) * 128, 128)
            nl.store(out[rows], value=nl.exp(nl.load(x[rows])))
        return out

    x = np.zeros((8 * 128, 2048), np.float32)
    timeline = record(kernel[cores], x).timeline(cores=cores)
    times, rate = hbm_rate(timeline, Reading(timeline.run, timeline))
    assert np.sum(np.diff(times) * rate[:-1]) == pytest.approx(2 * x.nbytes)
    most = min(timeline.timing.dma_bandwidth * cores, timeline.timing.hbm_stack)
    assert 0.9 * most < rate.max() <= 1.001 * most


def test_the_lanes_are_named_and_ordered_as_in_the_other_views(made):
    timeline, events = made
    named = {e["tid"]: e["args"] for e in of_phase(events, "M") if e["name"] == "thread_name"}
    order = {
        e["tid"]: e["args"]["sort_index"]
        for e in of_phase(events, "M")
        if e["name"] == "thread_sort_index"
    }
    assert [named[tid]["name"] for tid in sorted(named, key=order.get)] == list(timeline.lanes)
    assert {e["pid"] for e in events} == {PID} and PID not in named


def test_threads_have_numbers_that_repeat_the_number_of_their_queue():
    assert tracks(("tensor", "scalar", "dma in 0", "dma in 13", "dma out 2", "not run")) == [
        1,
        2,
        100,
        113,
        202,
        3,
    ]
    assert tracks(("nc0 tensor", "nc0 dma in 3", "nc1 tensor", "nc1 dma in 3")) == [
        1,
        103,
        1001,
        1103,
    ]


def test_arrows_lead_along_the_critical_path_and_through_table_loads(made):
    timeline, events = made
    slices = instructions(events)
    chain = []
    for step in timeline.critical_path:
        if step.reason == "table load":
            chain += [
                e for e in of_phase(events, "X") if e["args"].get("for instruction") == step.index
            ]
        chain.append(slices[step.index])
    assert len(chain) > len(timeline.critical_path)
    starts, ends = (sorted(of_phase(events, phase), key=lambda e: e["id"]) for phase in "sf")
    assert [e["id"] for e in starts] == [e["id"] for e in ends] == list(range(len(chain) - 1))
    for e, source in zip(starts, chain[:-1], strict=True):
        assert e["tid"] == source["tid"] and source["ts"] <= e["ts"] <= source["ts"] + source["dur"]
    for e, sink in zip(ends, chain[1:], strict=True):
        assert e["bp"] == "e" and (e["tid"], e["ts"]) == (sink["tid"], sink["ts"])
    assert all(e["args"]["on the critical path"] == "yes" for e in chain)
    assert sum("on the critical path" in e["args"] for e in of_phase(events, "X")) == len(chain)


def test_the_file_says_that_it_is_a_model(tmp_path):
    data = json.loads(saved(small().timeline(), tmp_path))
    assert data["otherData"]["about"] == "modelled, not measured"
    (process,) = [e for e in data["traceEvents"] if e["name"] == "process_name"]
    assert process["args"]["name"] == "every_engine on trn2 (model)"


def test_the_same_run_gives_the_same_file_without_paths(tmp_path):
    first = saved(small().timeline(), tmp_path, "a.json")
    assert first == saved(small().timeline(), tmp_path, "b.json")
    assert not re.search(rb'"[^"]*/[^"]*\.py', first)


def test_any_name_and_source_is_valid_in_the_file(tmp_path):
    events = json.loads(saved(record(hostile, SMALL).timeline(), tmp_path))["traceEvents"]
    assert any("</script>" in e["args"].get("writes", "") for e in of_phase(events, "X"))


@pytest.mark.slow
def test_many_thousand_instructions_never_overlap_on_a_lane(tmp_path):
    timeline = long_timeline()
    data = saved(timeline, tmp_path)
    ends: dict[int, int] = {}
    slices = of_phase(json.loads(data)["traceEvents"], "X")
    assert sum("instruction" in e["args"] for e in slices) == len(timeline) > 20_000
    for e in slices:
        start = round(e["ts"] * 1000)
        assert start >= ends.get(e["tid"], 0)
        ends[e["tid"]] = start + round(e["dur"] * 1000)


def test_of_many_instructions_the_first_of_each_kind_tells_everything(tmp_path, monkeypatch):
    timeline = small().timeline()
    whole = json.loads(saved(timeline, tmp_path))["traceEvents"]
    monkeypatch.setattr(trace_file, "MANY", 10)
    folded = json.loads(saved(timeline, tmp_path, "folded.json"))
    slices = [e for e in of_phase(folded["traceEvents"], "X") if "for instruction" not in e["args"]]
    full = instructions(folded["traceEvents"])
    assert full == [e for e in instructions(whole) if e in full]
    assert len({(e["name"], e["args"]["line"]) for e in full}) == len(
        {(e["name"], e["args"]["line"]) for e in instructions(whole)}
    )
    number = [e["args"].get("instruction", e["args"].get("i")) for e in slices]
    assert sorted(number) == list(range(len(timeline))) and len(full) < len(timeline)
    for e, k in zip(slices, number, strict=True):
        assert [e["ts"], e["name"]] == [instructions(whole)[k][x] for x in ("ts", "name")]
    assert "first of its kind" in folded["otherData"]["folded"]


def test_a_compressed_file_has_everything_and_is_the_same_each_time(tmp_path):
    timeline = small().timeline()
    packed = saved(timeline, tmp_path, "a.json.gz")
    assert gzip.decompress(packed) == saved(timeline, tmp_path)
    assert packed == saved(timeline, tmp_path, "b.json.gz")
