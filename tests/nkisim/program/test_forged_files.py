"""A lawful program's file with numbers edited so that one rule of the machine is broken: loading it
names the rule. (Damaged files and those of another form: `test_program.py`.)"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nkisim
from nkisim.execution.steps import RUN
from nkisim.program import load as loading

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

COLUMNS = 64


@nki.jit
def parts(x, y):
    out = nl.ndarray((32, COLUMNS), dtype=x.dtype, buffer=nl.shared_hbm)
    t = nl.load(x)
    written, empty = (nl.ndarray((32, COLUMNS), dtype=x.dtype) for _ in range(2))
    written[...] = nl.copy(t[32:64, 0:COLUMNS])
    total = nl.zeros((32, COLUMNS), dtype=nl.float32, buffer=nl.psum)
    total += nisa.nc_matmul(nl.load(y), written)
    empty[...] = nl.copy(nl.exp(written))
    nl.store(out, nl.add(empty, total))
    return out


class File:
    """The parts of a file, to be edited."""

    def __init__(self, raw: bytes) -> None:
        size = int.from_bytes(raw[8:12], "little")
        self.header: Any = json.loads(raw[12 : 12 + size])
        self.call = self.header["calls"][0]
        self.blocks = []
        at = 12 + size
        for kind, n in self.header["blocks"]:
            end = at + n * np.dtype(kind).itemsize
            self.blocks.append(np.frombuffer(raw[at:end], kind).astype(np.int64))
            at = end

    @property
    def args(self) -> np.ndarray:
        return self.blocks[self.call["args"]]

    def operands(self, name: str) -> list[slice]:
        """Where the arguments of each instruction of that name are."""
        kinds, whats, _, counts = (self.blocks[k] for k in self.call["steps"])
        ends = np.cumsum(counts)
        return [
            slice(end - n, end)
            for kind, what, n, end in zip(kinds, whats, counts, ends)
            if kind == RUN and self.call["forms"][what][0][0] == name
        ]

    def bytes(self) -> bytes:
        raw = [block.astype(k[0]) for k, block in zip(self.header["blocks"], self.blocks)]
        for k, block in zip(self.header["blocks"], self.blocks):
            assert (block.astype(k[0]) == block).all(), "the number fits its block"
        text = json.dumps(self.header).encode()
        size = len(text).to_bytes(4, "little")
        return b"".join([b"NKIPROG1", size, text, *[a.tobytes() for a in raw]])


def _view_from(offset: int) -> Callable[[File], None]:
    """The copy of the tile's partitions 32 to 63 begins elsewhere."""

    def change(file: File) -> None:
        args = file.args
        place = next(s for s in file.operands("tensor_copy") if args[s][4] == 32 * COLUMNS)
        args[place][4:5] = offset

    return change


def _wide_in_psum(file: File) -> None:
    for allocation in file.call["allocations"]:
        if allocation[0] == "psum":
            allocation[1] = [32, 1024]


def _reads_another(file: File) -> None:
    """The matmul reads a tile of the same form, which is written later."""
    args = file.args
    (place,) = file.operands("nc_matmul")
    (exp,) = file.operands("activation")
    assert args[place][5] == args[exp][3]
    args[place][5:6] += 1


FORGED = {
    "a tile that starts at partition 16": (_view_from(16 * COLUMNS), "start-partition"),
    "a view that runs on into the next partition": (_view_from(32 * COLUMNS + 8), "out-of-bounds"),
    "a tile larger than a bank of PSUM": (_wide_in_psum, "psum-bank"),
    "a read of what nothing has written": (_reads_another, "uninitialized-read"),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("forged") / "p"
    nkisim.lower(parts, nkisim.shape((128, COLUMNS)), nkisim.shape((32, 32))).save(path)
    return path.read_bytes()


def test_the_file_that_is_edited_is_lawful(raw, tmp_path):
    (tmp_path / "p").write_bytes(File(raw).bytes())
    x, y = np.ones((128, COLUMNS), np.float32), np.ones((32, 32), np.float32)
    assert nkisim.load(tmp_path / "p")(x, y).tobytes() == parts(x, y).tobytes()


@pytest.mark.parametrize("what", FORGED)
def test_a_file_that_breaks_a_rule_of_the_machine_is_refused_by_that_rule(what, raw, tmp_path):
    change, rule = FORGED[what]
    file = File(raw)
    change(file)
    (tmp_path / "p").write_bytes(file.bytes())
    with pytest.raises(nkisim.KernelError) as error:
        nkisim.load(tmp_path / "p")
    assert error.value.rule == rule, str(error.value)


def test_blocks_of_tiles_of_a_bank_each_are_no_wide_tile(tmp_path):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 512), dtype=x.dtype, buffer=nl.shared_hbm)
        blocks = nl.zeros((2, nl.par_dim(128), 512), dtype=nl.float32, buffer=nl.psum)
        tile = nl.load(x)
        blocks[1] += nisa.nc_matmul(tile[:, 0:128], tile)
        nl.store(out, nl.copy(blocks[1]))
        return out

    x = np.ones((128, 512), np.float32)
    nkisim.lower(kernel, x).save(tmp_path / "p")
    assert nkisim.load(tmp_path / "p")(x).tobytes() == kernel(x).tobytes()


def test_a_matmul_moved_across_the_end_of_a_bank_is_refused(tmp_path):
    @nki.jit
    def kernel(x):
        out = nl.ndarray((128, 12), dtype=x.dtype, buffer=nl.shared_hbm)
        rows = nl.load(x)
        sums = nl.zeros((128, 64, 12), dtype=nl.float32, buffer=nl.psum)
        sums[:, 41, :] = nisa.nc_matmul(rows[:, 0:128], rows[:, 0:12])
        nl.store(out, value=nl.copy(sums[:, 0, :]))
        return out

    nkisim.lower(kernel, nkisim.shape((16, 512))).save(tmp_path / "p")
    file = File((tmp_path / "p").read_bytes())
    (place,) = np.flatnonzero(file.args == 41 * 12)
    file.args[place] = 42 * 12
    (tmp_path / "p").write_bytes(file.bytes())
    with pytest.raises(nkisim.KernelError) as error:
        nkisim.load(tmp_path / "p")
    assert error.value.rule == "matmul-bank"


USES: dict[str, Callable[[nkisim.Program, Any], Any]] = {
    "a call": lambda program, arrays: program(*arrays),
    "its flat form": lambda program, arrays: program.flat(),
    "its instructions": lambda program, arrays: program.instructions,
    "its run": lambda program, arrays: program.run,
    "its dataflow": lambda program, arrays: program.dataflow(),
    "the dataflow of values": lambda program, arrays: program.dataflow(*arrays),
    "asked for": lambda program, arrays: program.verify(),
}


@pytest.mark.parametrize("use", USES)
def test_a_program_too_long_to_be_run_while_it_loads_is_held_to_the_rules_at_any_use(
    use, raw, tmp_path, monkeypatch
):
    file = File(raw)
    _reads_another(file)
    (tmp_path / "p").write_bytes(file.bytes())
    monkeypatch.setattr(loading, "AT_ONCE", 0)
    program = nkisim.load(tmp_path / "p")
    arrays = np.ones((128, COLUMNS), np.float32), np.ones((32, 32), np.float32)
    with pytest.raises(nkisim.KernelError, match="written"):
        USES[use](program, arrays)
