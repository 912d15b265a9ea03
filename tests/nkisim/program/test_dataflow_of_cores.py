"""The dataflow of kernels on two cores: through tiles that they exchange and memory that they
share."""

from __future__ import annotations

import numpy as np
import pytest

import nkisim
from nkisim.execution.steps import NUMBER, SENT

from .test_forged_files import File

# isort: split
import nki
import nki.isa as nisa
import nki.language as nl

RNG = np.random.default_rng(0)
ROWS, COLUMNS = 4, 3


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def tile(name=None):
    return nl.ndarray((ROWS, COLUMNS), dtype=nl.float32, buffer=nl.sbuf, name=name)


@nki.jit
def exchanged(x):
    """Each core adds twice the other's half to its own, and then changes what it sent."""
    me = nl.program_id(0)
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    mine, theirs, total = tile(), tile(), tile("total")
    nisa.dma_copy(mine, x[me * ROWS : (me + 1) * ROWS])
    nisa.tensor_scalar(mine, mine, nl.multiply, 2.0)
    nisa.sendrecv(src=mine, dst=theirs, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=0)
    nisa.memset(mine, 0.0)
    again = tile()
    nisa.dma_copy(again, x[me * ROWS : (me + 1) * ROWS])
    nisa.tensor_tensor(total, again, theirs, nl.add)
    nisa.dma_copy(out[me * ROWS : (me + 1) * ROWS], total)
    return out


@nki.jit
def twice_exchanged(x, y):
    """What core 0 has of x comes back to it, multiplied by what core 1 has of y; rows are shared
    through HBM besides."""
    me = nl.program_id(0)
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    shared = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    own = slice(me * ROWS, (me + 1) * ROWS)
    other = slice((1 - me) * ROWS, (2 - me) * ROWS)
    a, b, there, back, rows = tile(), tile(), tile(), tile(), tile()
    nisa.dma_copy(a, x[own])
    nisa.dma_copy(b, y[own])
    nisa.dma_copy(shared[own], b)
    nisa.sendrecv(src=a, dst=there, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=0)
    nisa.tensor_tensor(there, there, b, nl.multiply)
    nisa.sendrecv(src=there, dst=back, send_to_rank=1 - me, recv_from_rank=1 - me, pipe_id=1)
    nisa.core_barrier(shared, (0, 1))
    nisa.dma_copy(rows[0:1], shared[other][0:1])
    nisa.dma_copy(rows[1:ROWS], shared[own][1:ROWS])
    nisa.tensor_tensor(back, back, rows, nl.add)
    nisa.dma_copy(out[own], back)
    return out


KERNELS = [
    (exchanged, [normal(2 * ROWS, COLUMNS)]),
    (twice_exchanged, [normal(2 * ROWS, COLUMNS), normal(2 * ROWS, COLUMNS)]),
]


@pytest.mark.parametrize(("kernel", "arrays"), KERNELS)
@pytest.mark.parametrize("values", [False, True])
def test_the_dataflow_of_two_cores_names_the_elements_that_move_and_no_others(
    kernel, arrays, values
):
    program = nkisim.lower(kernel[2], *arrays)
    flow = program.dataflow(*arrays) if values else program.dataflow()
    before = program(*arrays)
    found = {e: flow.output(0, e) for e in np.ndindex(*before.shape)}
    for k, (array, given) in enumerate(zip(arrays, program.inputs)):
        masks = {e: flow.mask(found[e].get(given.name, ()), given.shape) for e in found}
        for place in np.ndindex(*array.shape):
            changed = [a.copy() for a in arrays]
            changed[k][place] += 1.0
            moved = program(*changed) != before
            for element, mask in masks.items():
                assert mask[place] == moved[element], (given.name, place, element)


def test_instructions_are_counted_as_in_the_program_one_core_after_the_other():
    program = nkisim.lower(exchanged[2], normal(2 * ROWS, COLUMNS))
    flow = program.dataflow()
    first, second = flow.writes("total")
    assert [program.instructions[i].op for i in (first, second)] == ["tensor_tensor"] * 2
    assert second - first == len(program.instructions) // 2
    assert flow.of(first) == flow.of(second)  # the sum of both halves, on either core
    assert flow.of(first, cut=["total"]) == {"x": ((range(2 * ROWS), range(COLUMNS)),)}
    assert flow.of(first - 1) == {"x": ((range(ROWS), range(COLUMNS)),)}
    assert flow.of(second - 1) == {"x": ((range(ROWS, 2 * ROWS), range(COLUMNS)),)}


def test_a_saved_program_of_two_cores_has_the_same_dataflow(tmp_path):
    arrays = KERNELS[1][1]
    program = nkisim.lower(twice_exchanged[2], *arrays)
    program.save(tmp_path / "p")
    loaded = nkisim.load(tmp_path / "p")
    np.testing.assert_array_equal(loaded(*arrays), program(*arrays))
    assert loaded.dataflow().output(0) == program.dataflow().output(0)
    assert loaded.dataflow().output(0, (0, 0)) == program.dataflow().output(0, (0, 0))


def _received(file: File, number: int, offset: int) -> None:
    """The first tile that a core receives, and by what number of them, is another."""
    place = next(iter(file.operands("sendrecv")))
    file.args[place][3:5] = number, offset


def _sent_elsewhere(file: File) -> None:
    """A sum takes a tile that the other core sent."""
    place = next(iter(file.operands("tensor_tensor")))
    file.args[place][3:5] = SENT, 0


@pytest.mark.parametrize(
    "change",
    [
        lambda file: _received(file, SENT, -1),
        lambda file: _received(file, SENT, 2),
        lambda file: _received(file, NUMBER, 0),
        _sent_elsewhere,
    ],
)
def test_a_file_in_which_a_core_receives_what_was_not_sent_to_it_is_refused(change, tmp_path):
    nkisim.lower(exchanged[2], nkisim.shape((2 * ROWS, COLUMNS))).save(tmp_path / "p")
    file = File((tmp_path / "p").read_bytes())
    change(file)
    (tmp_path / "p").write_bytes(file.bytes())
    with pytest.raises(nkisim.ProgramFileError):
        nkisim.load(tmp_path / "p")
