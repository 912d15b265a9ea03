"""A pytest plugin: every kernel call of a test is also lowered, saved, loaded and replayed. Both
ways must agree bit by bit, in outputs, records, kept results, histories and prints; and so must the
outputs of the flat form, where there is one."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any

import numpy as np
import pytest

import nkisim
import nkisim.dialects.neuronxcc.nki as old
import nkisim.dialects.nki.nki as new
from nkisim.execution import launch
from nkisim.machine.config import Config
from nkisim.machine.running import LISTENER
from nkisim.program.encode import body
from nkisim.program.flat import CannotFlatten

COUNTS = {"replayed": 0, "not lowered": 0, "flat": 0}


def agrees(kernel: Any, args: tuple, kwargs: dict, direct: Any, listener: Any, path: Any) -> None:
    """Assert that the lowered kernel does what the direct call did."""
    config = Config.from_environment() if listener is None else listener.config
    named = listener is not None and listener.target_asked
    with nkisim.record(config=config, values=False) as outer, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outer.target_asked = named
        program = nkisim.lower(kernel, *args, **kwargs)
    program.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = nkisim.load(path)
    assert body(loaded) == body(program), "a program is the same when it is saved again"
    given: list[Any] = []
    for name, value in [*zip("abcdefghijklmnopqrstuvwxyz", args), *kwargs.items()]:
        launch.mapped(name, value, lambda _, v: given.append(v))
    unique = list({id(v): v for v in given}.values())
    keep = listener is not None and listener.keep_results
    for each in (program, loaded):
        arrays = [copy.deepcopy(v) for v in unique]
        with nkisim.record(config=config, keep_results=keep) as run, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run.target_asked = named
            again = each(*arrays)
        same(direct[0], again)
        for want, have in zip(direct[1], arrays):
            same(want, have)
        if listener is not None:
            recorded(direct[2], run)
        flat_agrees(each, unique, direct[0])


def flat_agrees(program: nkisim.Program, arrays: list[Any], direct: Any) -> None:
    """Assert that the flat form, where there is one, returns what the direct call returned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            flat = program.flat()
        except CannotFlatten:
            return
        for _ in range(2):
            same(direct, flat(*arrays))
    COUNTS["flat"] += 1


def same(want: Any, have: Any) -> None:
    """Both hold the same bits."""
    if isinstance(want, (tuple, list)):
        assert len(want) == len(have)
        for w, h in zip(want, have):
            same(w, h)
    elif want is None:
        assert have is None
    else:
        want, have = np.asarray(want), np.asarray(have)
        assert want.shape == have.shape and want.dtype == have.dtype
        # the sign of a NaN that BLAS makes depends on where its operands lie in memory
        lost = want != want
        assert np.array_equal(lost, have != have)
        assert np.where(lost, 0, want).tobytes() == np.where(lost, 0, have).tobytes()


def recorded(programs: list[Any], run: Any) -> None:
    """The same records, results, histories and prints."""
    assert len(programs) == len(run.programs)
    for one, other in zip(programs, run.programs):
        mine, theirs = list(one.records()), list(other.records())
        assert [_told(r) for r in mine] == [_told(r) for r in theirs]
        same(one.tape.results, other.tape.results)
        assert list(one.tape.named) == list(other.tape.named)
        for name in one.tape.named:
            writes = one.tape.writes(name), other.tape.writes(name)
            assert [(w.index, w.line, w.allocation) for w in writes[0]] == [
                (w.index, w.line, w.allocation) for w in writes[1]
            ]
            same([w.value for w in writes[0]], [w.value for w in writes[1]])
        prints = one.tape.prints, other.tape.prints
        assert [(p.prefix, p.line) for p in prints[0]] == [(p.prefix, p.line) for p in prints[1]]
        same([p.value for p in prints[0]], [p.value for p in prints[1]])


def _told(r: Any) -> tuple:
    operands = [
        (o.buffer.label if o.meta.space != "const" else "", o.meta.shape, o.meta.dtype)
        for o in (*r.written, *r.srcs)
    ]
    share = None if r.share is None else tuple(r.share[:2])
    return r.signature.instruction.name, r.signature.attrs, r.place, operands, share


def install(patch: pytest.MonkeyPatch, path: Any) -> None:
    """Let every kernel call from here on be compared with its replay."""
    original = launch.simulate

    def compared(kernel: Any, args: tuple, kwargs: dict) -> Any:
        listener = LISTENER.get()
        if launch.running() is not None or (
            listener is not None and not isinstance(listener, nkisim.Run)
        ):
            return original(kernel, args, kwargs)
        if listener is not None and not listener.values:
            return original(kernel, args, kwargs)
        before = copy.deepcopy((args, kwargs))
        started = 0 if listener is None else len(listener.programs)
        result = original(kernel, args, kwargs)
        after: list[Any] = []
        for value in (*args, *kwargs.values()):
            launch.mapped("", value, lambda _, v: after.append(v))
        unique = list({id(v): v for v in after}.values())
        programs = [] if listener is None else listener.programs[started:]
        try:
            agrees(kernel, *before, (result, unique, programs), listener, path)
            COUNTS["replayed"] += 1
        except nkisim.KernelError as error:
            if error.rule != "values-needed":
                raise
            COUNTS["not lowered"] += 1
        return result

    patch.setattr(launch, "simulate", compared)
    patch.setattr(new, "_simulate", compared)
    if hasattr(old, "simulate"):
        patch.setattr(old, "simulate", compared)


ALWAYS = ("test_valid_kernels", "test_masks", "test_decode", "test_instructions", "test_cores")
"""Modules of which every kernel call is replayed in each run of the suite. Of all others too where
the environment has NKISIM_REPLAY_ALL=1: it takes about as long again as the tests themselves."""
NOT_REPLAYED = {
    "test_get_nc_version_and_sbuf_size": "notes what Python sees, once a call",
    "test_the_three_ranges_count_like_range": "notes what Python sees, once a call",
    "test_loop_reduce": "notes what Python sees, once a call",
    "test_the_target_comes_from": "notes what Python sees, once a call",
    "test_malformed": "counts kernel calls",
    "test_mx": "reads the arrays of tiles, which a lowering does not have",
    "test_topk": "reads the arrays of tiles",
    "test_states_that_are_set": "reads the arrays of tiles",
    "test_threads": "runs kernels in several threads at once, and pytest's patches are not theirs",
    "test_python_outside_the_subset_is_warned_about": "counts warnings",
    "is_warned_about": "counts warnings",
    "warns_at_every_call": "counts warnings",
    "test_a_recording_takes_less": "measures",
    "test_tiles_that_follow_one_another": "looks at memory",
    "v4_writes_all_of_psum": "asks the machine itself for a tile that its dialect refuses",
}
"""Tests, by a part of their names, whose kernels are not replayed, and why."""


@pytest.fixture(autouse=True)
def replayed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Replay what the test runs, if it is one of those."""
    name = request.node.nodeid
    asked = os.environ.get("NKISIM_REPLAY_ALL") == "1"
    if (asked or request.module.__name__.rpartition(".")[2] in ALWAYS) and not any(
        part in name for part in NOT_REPLAYED
    ):
        install(monkeypatch, tmp_path / "program.nki")
