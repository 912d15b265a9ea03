"""Lowered programs: what they are, replayed, saved, loaded; and the dataflow of one."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest

import nkisim

# isort: split
import neuronxcc.nki as nki
import neuronxcc.nki.language as nl

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype=np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


@nki.jit
def softmax_rows(x):
    out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
    m = nl.full((128, 1), -3.0e38, dtype=nl.float32, name="m")
    t = nl.load(x)
    m[...] = nl.maximum(m, nl.max(t, axis=1, keepdims=True))
    e = nl.exp(nl.subtract(t, m))
    nl.store(out, nl.multiply(e, nl.reciprocal(nl.sum(e, axis=1, keepdims=True))))
    return out


@nki.jit
def gather(table, rows):
    out = nl.ndarray((128, 32), dtype=table.dtype, buffer=nl.shared_hbm)
    i_p = nl.arange(128)[:, None]
    i_f = nl.arange(32)[None, :]
    index = nl.load(rows)
    nl.store(out, nl.load(table[index[i_p, 0], i_f]))
    return out


@nki.jit
def rounds_twice(x):
    out = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
    t = nl.ndarray((128, 64), dtype=nl.float32)
    t[...] = nl.multiply(nl.load(x), 1.0009765625)  # a temporary of x's type, bfloat16
    nl.store(out, t)
    return out


@nki.jit
def accumulates(x, y):
    out = nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.shared_hbm)
    total = nl.zeros((128, 64), dtype=nl.float32, buffer=nl.psum)
    a, b = nl.load(x), nl.load(y)
    total[:, 0:32] += nl.matmul(a, b[:, 0:32], transpose_x=True)
    total += nl.matmul(a, b, transpose_x=True)  # the other half holds the zeros of its making
    nl.store(out, nl.copy(total))
    return out


def two_kernels(x):
    return softmax_rows(softmax_rows(x).reshape((128, 64)))


def test_a_replay_returns_the_bits_of_the_direct_call_and_leaves_the_same_run():
    x = normal(128, 64)
    program = nkisim.lower(softmax_rows, x)
    with nkisim.record(keep_results=True) as direct:
        want = softmax_rows(x)
    with nkisim.record(keep_results=True) as replayed:
        have = program(x)
    assert have.tobytes() == want.tobytes()
    assert direct.instructions == replayed.instructions and direct.summary() == replayed.summary()
    assert [r.tobytes() for r in direct.results] == [r.tobytes() for r in replayed.results]
    assert [h.tobytes() for h in direct.history("m")] == [
        h.tobytes() for h in replayed.history("m")
    ]


def test_a_kernel_with_loops_is_the_same_program_each_time_it_is_lowered():
    """The first time as well, while Python adapts the loops to what they run over."""

    @nki.jit
    def sums(x):
        out = nl.ndarray((128, 8), dtype=nl.float32, buffer=nl.shared_hbm)
        for i in nl.affine_range(8):
            total = nl.zeros((128, 1), dtype=nl.float32)
            for j in nl.sequential_range(16):
                total[...] = nl.add(total, nl.load(x[:, nl.ds(16 * i + j, 1)]))
            nl.store(out[:, nl.ds(i, 1)], total)
        return out

    digests = {nkisim.lower(sums, nkisim.shape((128, 128), np.float32)).digest for _ in range(4)}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("kernel", "arrays"),
    [
        (rounds_twice, [normal(128, 64, dtype=ml_dtypes.bfloat16)]),
        (accumulates, [normal(128, 128), normal(128, 64)]),
        (two_kernels, [normal(128, 64)]),
        (gather, [normal(512, 32), RNG.integers(0, 512, (128, 1)).astype(np.int32)]),
    ],
)
def test_a_program_from_a_file_computes_the_same(kernel, arrays, tmp_path):
    program = nkisim.lower(kernel, *[nkisim.shape(a.shape, a.dtype) for a in arrays])
    program.save(tmp_path / "p")
    loaded = nkisim.load(tmp_path / "p")
    assert loaded == program and loaded.digest == nkisim.lower(kernel, *arrays).digest
    want = kernel(*arrays)
    assert program(*arrays).tobytes() == want.tobytes() == loaded(*arrays).tobytes()


def test_a_program_tells_what_it_is():
    program = nkisim.lower(softmax_rows, nkisim.shape((128, 64)))
    assert program.name == "softmax_rows" and program.target == "trn2"
    assert [str(i) for i in program.inputs] == ["x[128, 64] float32"]
    assert [o.shape for o in program.outputs] == [(128, 64)]
    assert program.named == ("m",)
    assert len(program) == len(program.instructions) == len(program.run)
    assert "softmax_rows(x[128, 64] float32) on trn2" in repr(program)
    assert "partition-limit" in program.rules and "out-of-bounds" in program.unchecked
    assert program.timeline().latency_us > 0 and "activation" in program.counters()


def test_arrays_of_other_shapes_types_or_number_are_refused_in_a_sentence():
    program = nkisim.lower(softmax_rows, nkisim.shape((128, 64)))
    with pytest.raises(
        ValueError, match=r"lowered for x\[128, 64\] float32, and is given \[128, 32\]"
    ):
        program(normal(128, 32))
    with pytest.raises(ValueError, match="float16: lower it again"):
        program(normal(128, 64, dtype=np.float16))
    with pytest.raises(ValueError, match="lowered for 1 arrays"):
        program()


def test_what_only_values_decide_is_refused_with_the_sentence_of_the_direct_call(tmp_path):
    rows = np.full((128, 1), 600, np.int32)
    table = normal(512, 32)
    program = nkisim.lower(gather, table, rows)
    program.save(tmp_path / "p")
    with pytest.raises(nkisim.KernelError) as direct:
        gather(table, rows)
    for each in (program, nkisim.load(tmp_path / "p")):
        with pytest.raises(nkisim.KernelError) as replayed:
            each(table, rows)
        assert str(replayed.value) == str(direct.value)


def test_a_function_that_computes_on_an_output_cannot_be_lowered():
    def adds(x):
        return softmax_rows(softmax_rows(x) + 1)

    with pytest.raises(ValueError, match="between two kernels"):
        nkisim.lower(adds, nkisim.shape((128, 64)))


def test_an_array_that_python_makes_becomes_part_of_the_program():
    def scaled(x):
        return accumulates(np.eye(128, dtype=np.float32), x)

    x = normal(128, 64)
    program = nkisim.lower(scaled, x)
    assert len(program.inputs) == 1
    assert program(x).tobytes() == scaled(x).tobytes()


def test_a_kernel_of_the_program_may_write_to_its_inputs():
    nki2, isa, language = (pytest.importorskip(m) for m in ("nki", "nki.isa", "nki.language"))

    @nki2.jit
    def doubles(x):
        tile = language.ndarray(x.shape, dtype=x.dtype, buffer=language.sbuf)
        isa.dma_copy(dst=tile, src=x)
        isa.tensor_scalar(dst=tile, data=tile, op0=language.multiply, operand0=2.0)
        isa.dma_copy(dst=x, src=tile)

    program = nkisim.lower(doubles, nkisim.shape((128, 16)))
    x = normal(128, 16)
    y = x.copy()
    assert program(y) is None and np.array_equal(y, 2 * x)


# -- dataflow --------------------------------------------------------------------------------------
@nki.jit
def mixes(x, y):
    """Views, halves, transposes, a matmul, masks and sums, on tiles small enough to try all."""
    out = nl.ndarray((8, 6), dtype=nl.float32, buffer=nl.shared_hbm)
    a, b = nl.load(x), nl.load(y)  # (4, 8), (4, 6)
    turned = nl.copy(nl.transpose(a))  # (8, 4)
    product = nl.matmul(a, b, transpose_x=True)  # (8, 6)
    t = nl.ndarray((8, 6), dtype=nl.float32)
    t[:, 0:3] = nl.copy(product[:, 3:6])
    t[:, 3:6] = nl.multiply(turned[:, 1:4], 2.0)
    rows = nl.sum(t[:, 0:2], axis=1, keepdims=True)
    i_p, i_f = nl.arange(8)[:, None], nl.arange(6)[None, :]
    t[i_p, i_f] = nl.add(t[i_p, i_f], rows, mask=(i_f >= 4))
    nl.store(out, t)
    return out


@pytest.mark.parametrize(
    ("kernel", "arrays"),
    [
        (mixes, [normal(4, 8), normal(4, 6)]),
        (softmax_rows, [normal(128, 3)]),
    ],
)
def test_no_element_moves_that_the_dataflow_does_not_name(kernel, arrays):
    program = nkisim.lower(kernel, *arrays)
    flow = program.dataflow(*arrays)
    before = program(*arrays)
    tried = [
        (k, place)
        for k, a in enumerate(arrays)
        for place in itertools.islice(np.ndindex(*a.shape), 0, None, 1 + a.size // 64)
    ]
    moved = {}
    for k, place in tried:
        changed = [a.copy() for a in arrays]
        changed[k][place] += 1.0
        moved[k, place] = program(*changed) != before
    for element in itertools.islice(np.ndindex(*before.shape), 0, None, 1 + before.size // 64):
        found = flow.output(0, element)
        masks = [flow.mask(found.get(i.name, ()), i.shape) for i in program.inputs]
        for (k, place), differs in moved.items():
            assert masks[k][place] or not differs[element]


def test_the_dataflow_of_a_sliced_product_is_exact():
    arrays = [normal(4, 8), normal(4, 6)]
    program = nkisim.lower(mixes, *arrays)
    found = program.dataflow().output(0, (2, 0))
    assert found == {
        "x": ((range(4), range(2, 3)),),
        "y": ((range(4), range(3, 4)),),
    }


def test_the_rows_of_a_gather_are_those_of_the_run_and_any_without_values():
    table, rows = normal(512, 32), np.arange(128, dtype=np.int32)[:, None] * 3 + 1
    program = nkisim.lower(gather, table, rows)
    some = program.dataflow(table, rows).output(0)
    assert some["table"] == ((range(1, 384, 3), range(32)),)
    assert program.dataflow().output(0)["table"] == ((range(512), range(32)),)


def test_through_several_kernels_an_output_leads_back_to_the_arguments():
    program = nkisim.lower(two_kernels, nkisim.shape((128, 64)))
    assert program.dataflow().output(0, (5, 0)) == {"x": ((range(5, 6), range(64)),)}


def test_a_cut_at_the_state_leaves_what_one_step_brings_in():
    program = nkisim.lower(softmax_rows, nkisim.shape((128, 64)))
    flow = program.dataflow()
    fill, update = flow.writes("m")
    assert flow.of(fill) == {} and flow.of(update, cut=["m"]) == {"x": ((range(128), range(64)),)}
    with pytest.raises(IndexError):
        flow.of(10_000)


# -- files -----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "p"
    nkisim.lower(accumulates, nkisim.shape((128, 128)), nkisim.shape((128, 64))).save(path)
    return path.read_bytes()


def _refused(raw: bytes, path) -> None:
    """The bytes are refused with a sentence, or hold a program that keeps to the rules."""
    path.write_bytes(raw)
    try:
        program = nkisim.load(path)
        assert len(program.run) >= 0
    except (nkisim.ProgramFileError, nkisim.KernelError) as error:
        assert len(str(error)) > 20


def test_every_truncation_is_refused(file, tmp_path):
    for size in [*range(64), *range(64, len(file), 97)]:
        (tmp_path / "p").write_bytes(file[:size])
        with pytest.raises(nkisim.ProgramFileError):
            nkisim.load(tmp_path / "p")


@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_never_crash(file, tmp_path):
    random = np.random.default_rng(7)
    for _ in range(150):
        raw = bytearray(file)
        for at in random.integers(0, len(raw), random.integers(1, 4)):
            raw[at] = random.integers(0, 256)
        _refused(bytes(raw), tmp_path / "p")


def _edited(file: bytes, change) -> bytes:
    """The file with its header changed by `change(header)`."""
    import json

    size = int.from_bytes(file[8:12], "little")
    header = json.loads(file[12 : 12 + size])
    change(header)
    text = json.dumps(header).encode()
    return file[:8] + len(text).to_bytes(4, "little") + text + file[12 + size :]


def _layout(space, **changes):
    def change(header):
        for layout in header["calls"][0]["layouts"]:
            if layout[0] == space:
                for axis, value in changes.items():
                    at = {"shape": 1, "strides": 2}[axis]
                    layout[at] = value(layout[at])

    return change


FORGED = {
    "a partition stride": _layout("sbuf", strides=lambda s: [2 * s[0], *s[1:]]),
    "a stride of zero over partitions": _layout("sbuf", strides=lambda s: [0, *s[1:]]),
    "more partitions than there are": lambda h: h["calls"][0]["allocations"].__setitem__(
        0, ["sbuf", [256, 64], "float32", 0, 0, None]
    ),
    "a tile larger than the memory": lambda h: [
        a.__setitem__(1, [128, 1 << 20]) for a in h["calls"][0]["allocations"]
    ],
    "a view beyond its tensor": _layout("hbm", strides=lambda s: [s[0] * 2, *s[1:]]),
    "another data type": lambda h: [x.__setitem__(3, "int8") for x in h["calls"][0]["layouts"]],
    "a huge axis": lambda h: h["slots"].__setitem__(0, [[1 << 62], "float32"]),
    "an instruction that is not there": lambda h: h["calls"][0]["forms"][0].__setitem__(
        0, ["teleport", 1]
    ),
    "an instruction of another version": lambda h: h["calls"][0]["forms"][0].__setitem__(
        0, [h["calls"][0]["forms"][0][0][0], 99]
    ),
    "a newer file": lambda h: h.__setitem__("version", 2),
    "true for a number": lambda h: h.__setitem__("version", True),
    "a text for a list": lambda h: h.__setitem__("calls", "none"),
    "a huge block": lambda h: h["blocks"].__setitem__(0, ["<i8", 1 << 60]),
    "depth": lambda h: h.__setitem__("returns", _deep(40)),
}


def _deep(n):
    return {"tuple": [_deep(n - 1)]} if n else {"value": None}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_file_is_refused(what, file, tmp_path):
    (tmp_path / "p").write_bytes(_edited(file, FORGED[what]))
    with pytest.raises((nkisim.ProgramFileError, nkisim.KernelError)) as error:
        nkisim.load(tmp_path / "p")
    assert len(str(error.value)) > 20


# -- the flat form ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kernel", "arrays"),
    [
        (softmax_rows, [normal(128, 64)]),
        (rounds_twice, [normal(128, 64, dtype=ml_dtypes.bfloat16)]),
        (accumulates, [normal(128, 128), normal(128, 64)]),
        (two_kernels, [normal(128, 64)]),
        (gather, [normal(512, 32), RNG.integers(0, 512, (128, 1)).astype(np.int32)]),
        (mixes, [normal(4, 8), normal(4, 6)]),
    ],
)
def test_the_flat_form_computes_the_same_each_time(kernel, arrays):
    flat = nkisim.lower(kernel, *arrays).flat()
    for _ in range(3):
        assert flat(*arrays).tobytes() == kernel(*arrays).tobytes()
        arrays = [np.roll(a, 1, axis=0) for a in arrays]


def test_the_flat_form_still_checks_the_indices_of_each_call():
    table = normal(512, 32)
    flat = nkisim.lower(gather, nkisim.shape((512, 32)), nkisim.shape((128, 1), "int32")).flat()
    with pytest.raises(nkisim.KernelError, match="index 600 is out of bounds"):
        flat(table, np.full((128, 1), 600, np.int32))


def test_what_has_no_flat_form_says_so():
    @nki.jit
    def prints(x):
        out = nl.ndarray(x.shape, dtype=x.dtype, buffer=nl.shared_hbm)
        t = nl.load(x)
        nl.device_print("t", t)
        nl.store(out, t)
        return out

    with pytest.raises(ValueError, match="it prints"):
        nkisim.lower(prints, nkisim.shape((128, 8))).flat()
