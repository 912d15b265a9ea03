"""The trace file: valid, in order, complete, and never two instructions at once on a lane."""

from __future__ import annotations

import json
import re
import time

import pytest

from nkisim.views.occupancy import curve
from nkisim.views.reading import Reading
from tests.nkisim.views_runs import SMALL, hostile, large_timeline, record, small


def saved(timeline, tmp_path, name="run.json"):
    path = tmp_path / name
    timeline.save_trace(str(path))
    return path.read_bytes()


def of_phase(events, phase):
    return [e for e in events if e["ph"] == phase]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    timeline = small().timeline()
    return timeline, json.loads(saved(timeline, tmp_path_factory.mktemp("trace")))["traceEvents"]


def test_every_instruction_is_a_slice_on_its_lane_at_its_modelled_time(made):
    timeline, events = made
    names = {e["tid"]: e["args"]["name"] for e in of_phase(events, "M") if e["name"] == "thread_name"}
    slices = sorted(of_phase(events, "X"), key=lambda e: e["args"]["instruction"])
    assert len(slices) == len(timeline)
    for i, (e, instruction) in enumerate(zip(slices, timeline.run.instructions, strict=True)):
        assert (e["name"], e["cat"], e["args"]["line"]) == (instruction.op, instruction.engine, instruction.line)
        assert names[e["tid"]] == timeline.lanes[timeline.lane[i]]
        assert e["ts"] * 1000 == pytest.approx(timeline.start[i], abs=0.51)
        assert (e["ts"] + e["dur"]) * 1000 == pytest.approx(timeline.busy_end[i], abs=0.51)
    assert slices[2]["args"]["writes"] == "product 128x128 float32 psum"


def test_events_are_in_order_of_time(made):
    times = [e["ts"] for e in made[1] if "ts" in e]
    assert times == sorted(times) and times[0] >= 0


def test_counters_follow_memory_and_traffic(made):
    timeline, events = made
    counters = {}
    for e in of_phase(events, "C"):
        counters.setdefault(e["name"], []).append((e["ts"], e["args"]["value"]))
    assert sorted(counters) == ["HBM traffic, GB/s (model)", "PSUM in use, KiB a partition (model)",
                                "SBUF in use, KiB a partition (model)"]
    for space in ("sbuf", "psum"):
        fullest = curve(Reading(timeline.run), space, 10**6, timeline).total.max() / 1024
        assert max(v for _, v in counters[f"{space.upper()} in use, KiB a partition (model)"]) == fullest
    traffic = counters["HBM traffic, GB/s (model)"]
    moved = sum(v * (b - a) for (a, v), (b, _) in zip(traffic, traffic[1:], strict=False)) * 1e3
    assert moved == pytest.approx(timeline.run.hbm_bytes_read + timeline.run.hbm_bytes_written, rel=0.01)
    assert traffic[-1][1] == 0


def test_arrows_lead_along_the_critical_path(made):
    timeline, events = made
    path = [step.index for step in timeline.critical_path]
    starts, ends = of_phase(events, "s"), of_phase(events, "f")
    assert len(starts) == len(ends) == len(path) - 1
    assert [e["id"] for e in sorted(ends, key=lambda e: e["id"])] == list(range(len(path) - 1))
    slices = {e["args"]["instruction"]: e for e in of_phase(events, "X")}
    for e in starts:
        source = slices[path[e["id"]]]
        assert e["tid"] == source["tid"] and source["ts"] <= e["ts"] <= source["ts"] + source["dur"]
    for e in ends:
        assert e["bp"] == "e" and (e["tid"], e["ts"]) == (slices[path[e["id"] + 1]]["tid"], slices[path[e["id"] + 1]]["ts"])


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
def test_a_hundred_thousand_instructions_never_overlap_on_a_lane(tmp_path):
    timeline = large_timeline()
    began = time.process_time()
    data = saved(timeline, tmp_path)
    assert time.process_time() - began < 10
    ends: dict[int, int] = {}
    slices = of_phase(json.loads(data)["traceEvents"], "X")
    assert len(slices) == len(timeline) > 100_000
    for e in slices:
        start = round(e["ts"] * 1000)
        assert start >= ends.get(e["tid"], 0)
        ends[e["tid"]] = start + round(e["dur"] * 1000)
