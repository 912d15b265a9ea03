"""Instructions in destination-passing form: values against NumPy, and what their arguments are held
to."""

from __future__ import annotations

import inspect
from functools import partial

import nki
import nki.isa as nisa
import nki.language as nl
import numpy as np
import pytest

import nkisim

from .kernels import on_tiles, refused, tile, values

A, B = values(128, 64), values(128, 64, seed=1)
V = values(128, 1, seed=2)
INTS = values(128, 64, dtype=np.int32)


def into(shape, dtype=np.float32, buffer=nl.sbuf):
    """Run an instruction into a new tile of `shape` and return the tile."""

    def call(instruction, *args, **kwargs):
        dst = tile(shape, dtype, buffer)
        handle = instruction(dst, *args, **kwargs)
        assert isinstance(handle, nisa.NkiInstruction) and handle.depends_on(handle) is handle
        return dst

    return call


SAME = into((128, 64))
COLUMN = into((128, 1))
CASES = {
    "tensor_tensor": (
        lambda a, b, v: SAME(nisa.tensor_tensor, a, b, nl.subtract),
        lambda a, b, v: a - b,
    ),
    "tensor_scalar": (
        lambda a, b, v: SAME(nisa.tensor_scalar, a, nl.multiply, v, False, nl.add, 2.0),
        lambda a, b, v: a * v + 2,
    ),
    "tensor_scalar reversed": (
        lambda a, b, v: SAME(nisa.tensor_scalar, a, nl.subtract, 1.0, reverse0=True),
        lambda a, b, v: 1 - a,
    ),
    "tensor_scalar unary": (
        lambda a, b, v: SAME(nisa.tensor_scalar, a, nl.abs, None),
        lambda a, b, v: np.abs(a),
    ),
    "scalar_tensor_tensor": (
        lambda a, b, v: SAME(nisa.scalar_tensor_tensor, a, nl.multiply, v, nl.add, b),
        lambda a, b, v: a * v + b,
    ),
    "tensor_reduce": (
        lambda a, b, v: COLUMN(nisa.tensor_reduce, nl.maximum, a, axis=1, negate=True),
        lambda a, b, v: -a.max(axis=1, keepdims=True),
    ),
    "tensor_reduce over two axes": (
        lambda a, b, v: COLUMN(nisa.tensor_reduce, nl.add, a.reshape((128, 8, 8)), axis=[1, 2]),
        lambda a, b, v: a.sum(axis=1, keepdims=True),
    ),
    "activation": (
        lambda a, b, v: SAME(nisa.activation, nl.exp, a, bias=v, scale=0.5),
        lambda a, b, v: np.exp(a * 0.5 + v),
    ),
    "activation with numbers": (
        lambda a, b, v: SAME(nisa.activation, nl.tanh, a, bias=0.25, scale=2),
        lambda a, b, v: np.tanh(a * 2 + 0.25),
    ),
    "reciprocal": (lambda a, b, v: SAME(nisa.reciprocal, a), lambda a, b, v: 1 / a),
    "tensor_copy": (
        lambda a, b, v: SAME(nisa.tensor_copy, a, engine=nisa.engine.scalar),
        lambda a, b, v: a,
    ),
    "memset": (lambda a, b, v: SAME(nisa.memset, 1.5), lambda a, b, v: np.full_like(a, 1.5)),
    "scan": (
        lambda a, b, v: SAME(
            nisa.tensor_tensor_scan,
            nl.ones((128, 64), dtype=nl.float32),
            a,
            0.0,
            nl.multiply,
            nl.add,
        ),
        lambda a, b, v: np.cumsum(a, axis=1),
    ),
    "range_select": (
        lambda a, b, v: SAME(
            nisa.range_select,
            a,
            nl.greater_equal,
            nl.less,
            nl.full((128, 1), 3, dtype=nl.float32),
            nl.full((128, 1), 9, dtype=nl.float32),
        ),
        lambda a, b, v: np.where(
            (np.arange(64) >= 3) & (np.arange(64) < 9), a, np.finfo(np.float32).min
        ),
    ),
    "affine_select": (
        lambda a, b, v: SAME(nisa.affine_select, [[-1, 64]], 1, a, -9.0, cmp_op=nl.greater_equal),
        lambda a, b, v: np.where(np.arange(128)[:, None] >= np.arange(64), a, -9),
    ),
    "max8": (
        lambda a, b, v: into((128, 8))(nisa.max8, a),
        lambda a, b, v: -np.sort(-a, axis=1)[:, :8],
    ),
    "free axes of another shape": (
        lambda a, b, v: into((128, 4, 16))(nisa.activation, nl.copy, a),
        lambda a, b, v: a.reshape(128, 4, 16),
    ),
    "partition sum": (
        lambda a, b, v: into((1, 64))(nisa.tensor_partition_reduce, nl.add, a),
        lambda a, b, v: a.sum(axis=0, keepdims=True),
    ),
    "bn": (
        lambda a, b, v: into((128, 2))(nisa.bn_aggr, into((128, 6))(nisa.bn_stats, a)),
        lambda a, b, v: np.stack([a.mean(axis=1), a.var(axis=1)], axis=1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_instruction_computes_what_numpy_does(name):
    body, reference = CASES[name]
    expected = reference(A.astype(np.float64), B.astype(np.float64), V.astype(np.float64))
    np.testing.assert_allclose(on_tiles(body, A, B, V), expected, rtol=2e-5, atol=2e-5)


def test_a_sum_of_an_activation_is_read_from_the_registers():
    def body(a):
        total, p = tile((128, 1)), tile((128, 64))
        nisa.activation_reduce(p, nl.exp, a, reduce_op=nl.add, reduce_res=total)
        both = tile((128, 1))
        nisa.activation(p, nl.exp, a, reduce_op=nl.add, reduce_cmd=nisa.reduce_cmd.reset_reduce)
        nisa.activation(
            p, nl.exp, a, reduce_op=nl.add, reduce_res=both, reduce_cmd=nisa.reduce_cmd.reduce
        )
        return total, both

    total, both = on_tiles(body, A)
    np.testing.assert_allclose(total[:, 0], np.exp(A).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(both[:, 0], 2 * np.exp(A).sum(axis=1), rtol=1e-5)


def test_iota_counts_along_its_pattern():
    def body(a):
        return into((4, 2, 3), np.int32)(
            nisa.iota, [[10, 2], [1, 3]], offset=5, channel_multiplier=100
        )

    p, i, j = np.ogrid[:4, :2, :3]
    np.testing.assert_array_equal(on_tiles(body, A), 5 + 100 * p + 10 * i + j)


def test_integers_of_32_bits_are_added_exactly_and_as_floats_on_the_vector_engine():
    big = np.full((4, 4), 2**24 + 1, np.int32)

    def body(a):
        exact, rounded, mixed = tile((4, 4), np.int32), tile((4, 4), np.int32), tile((4, 4))
        nisa.tensor_tensor(exact, a, a, nl.add)
        nisa.tensor_tensor(rounded, a, a, nl.add, engine=nisa.engine.vector)
        nisa.tensor_tensor(mixed, a, a, nl.add)
        return exact, rounded, mixed

    exact, rounded, mixed = on_tiles(body, big)
    assert (exact == 2 * big).all() and (rounded == 2**25).all() and (mixed == 2**25).all()


@pytest.mark.parametrize("op", [nl.maximum, nl.greater, nl.equal, nl.subtract])
def test_any_arithmetic_on_integers_of_32_bits_is_exact_on_gpsimde(op):
    # aws-neuron-sdk v2.32.0 nki.isa tensor_tensor: exact for all 32-bit integer values
    x, y = np.full((4, 4), 2**24 + 1, np.int32), np.full((4, 4), 2**24, np.int32)

    def body(a, b):
        dst = tile((4, 4), np.int32)
        nisa.tensor_tensor(dst, a, b, op)
        return dst, op(a, b)

    one, other = on_tiles(body, x, y)
    expected = {nl.maximum: 2**24 + 1, nl.greater: 1, nl.equal: 0, nl.subtract: 1}[op]
    assert (one == expected).all() and (other == expected).all()


def test_a_predicate_chooses_what_is_copied():
    p = (A > 0).astype(np.uint8)

    def body(a, b, mask):
        nisa.tensor_copy_predicated(b, a, mask)
        chosen, largest = tile((128, 64)), tile((128, 1))
        nisa.select_reduce(
            chosen, mask, a, -7.0, reduce_res=largest, reduce_cmd=nisa.reduce_cmd.reset_reduce
        )
        return b, chosen, largest

    copied, chosen, largest = on_tiles(body, A, B, p)
    np.testing.assert_array_equal(copied, np.where(p, A, B))
    np.testing.assert_array_equal(chosen, np.where(p, A, -7))
    np.testing.assert_array_equal(largest[:, 0], np.where(p, A, -7).max(axis=1))


def test_transposes_follow_the_engine_and_the_destination():
    def body(a, small):
        by_tensor, by_vector = tile((64, 128), buffer=nl.psum), tile((16, 32))
        nisa.nc_transpose(by_tensor, a)
        nisa.nc_transpose(by_vector, small)
        return by_tensor, by_vector

    small = values(32, 16)
    turned, little = on_tiles(body, A, small)
    np.testing.assert_array_equal(turned, A.T)
    np.testing.assert_array_equal(little, small.T)
    with nkisim.record() as run:
        nki.simulate(lambda x: (nl.transpose(nl.load(x)), x)[1])(small)
    assert run.count("nc_transpose") == 1 and run.count("vector_transpose") == 0


def test_dma_copies_as_many_elements_in_row_major_order_and_casts():
    @nki.jit
    def kernel(x):
        t = tile((8, 32), nl.bfloat16)
        nisa.dma_copy(t, x)
        out = nl.ndarray((256,), dtype=nl.float32, buffer=nl.shared_hbm)
        nisa.dma_copy(out, t)
        return out

    x = values(2, 4, 32)
    np.testing.assert_array_equal(kernel(x), x.reshape(-1).astype(nl.bfloat16).astype(np.float32))


def test_dma_transposes():
    def body(a):
        t = tile((64, 128))
        nisa.dma_transpose(t, a)
        return t

    np.testing.assert_array_equal(on_tiles(body, A), A.T)


def test_random_numbers_follow_their_seed():
    def body(a):
        seed = nl.full((1, 1), 42, dtype=nl.int32, buffer=nl.sbuf)
        draws = []
        for _ in range(2):
            nisa.set_rng_seed(seed)
            bits = tile((128, 64), np.uint32)
            nisa.rng(bits)
            draws.append(bits)
        return tuple(draws)

    first, second = on_tiles(body, A)
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) > 8000


def test_random_tiles_lie_between_their_bounds_on_trn3():
    def body(a):
        nl.random_seed(nl.full((1, 1), 7, dtype=nl.int32, buffer=nl.sbuf))
        t = tile((128, 64))
        nisa.rand2(t, 2, 3)
        return t, nl.rand((128, 64), dtype=nl.float32), nl.dropout(a, 0.25)

    between, unit, dropped = on_tiles(body, np.ones((128, 64), np.float32), target="trn3")
    assert (
        2 <= between.min() < 2.01
        and 2.99 < between.max() <= 3
        and unit.min() >= 0
        and unit.max() < 1
    )
    assert abs((dropped == 0).mean() - 0.25) < 0.02


# -- what is refused -------------------------------------------------------------------------------
REFUSED = {
    "destination and source swapped": (
        lambda a, v: (nisa.tensor_copy(a, tile((128, 64))), a)[1],
        "uninitialized-read",
    ),
    "a number as destination": (lambda a, v: nisa.tensor_copy(1.0, a), "argument"),
    "no destination": (lambda a, v: nisa.tensor_tensor(None, a, a, nl.add), "argument"),
    "operand that NumPy would broadcast": (
        lambda a, v: nisa.tensor_tensor(tile((128, 64)), a, v, nl.add),
        "shape-mismatch",
    ),
    "operand with other partitions": (
        lambda a, v: nisa.tensor_tensor(tile((128, 64)), a, a[0:1], nl.add),
        "partition-mismatch",
    ),
    "a copy that NumPy would broadcast": (
        lambda a, v: nisa.tensor_copy(tile((128, 64)), v),
        "shape-mismatch",
    ),
    "an assignment that NumPy would broadcast": (
        lambda a, v: tile((128, 64)).__setitem__(Ellipsis, v),
        "shape-mismatch",
    ),
    "a tile that is never written": (lambda a, v: nl.exp(tile((128, 64))), "uninitialized-read"),
    "PSUM as an operand of a matmul": (
        lambda a, v: nisa.nc_matmul(tile((64, 64), buffer=nl.psum), nl.transpose(a), a[0:64]),
        "memory",
    ),
    "a matmul into SBUF": (lambda a, v: nisa.nc_matmul(tile((64, 64)), a, a), "matmul-destination"),
    "PSUM stored without evacuation": (
        lambda a, v: nisa.dma_copy(
            nl.ndarray((64, 128), dtype=nl.float32, buffer=nl.private_hbm), nl.transpose(a)
        ),
        "memory",
    ),
    "PSUM stored by nl.store": (
        lambda a, v: nl.store(
            nl.ndarray((64, 128), dtype=nl.float32, buffer=nl.private_hbm), nl.transpose(a)
        ),
        "memory",
    ),
    "two operands in PSUM": (
        lambda a, v: nisa.tensor_tensor(tile((64, 128)), nl.transpose(a), nl.transpose(a), nl.add),
        "two-psum-inputs",
    ),
    "HBM computed on": (
        lambda a, v: nl.exp(nl.ndarray((128, 64), dtype=nl.float32, buffer=nl.private_hbm)),
        "memory",
    ),
    "axis 0 reduced": (
        lambda a, v: nisa.tensor_reduce(tile((1, 64)), nl.add, a, axis=0),
        "partition-axis",
    ),
    "a number for an engine that is none": (
        lambda a, v: nisa.tensor_copy(tile((128, 64)), a, engine=17),
        "argument",
    ),
    "a text for a buffer": (
        lambda a, v: nl.ndarray((128, 64), nl.float32, "vram"),
        "argument",
    ),
    "a float into integers": (lambda a, v: nisa.memset(tile((4, 4), np.int32), 2.5), "dtype"),
    "a register as an operand": (
        lambda a, v: nisa.tensor_scalar(tile((128, 64)), a, nl.add, nisa.register_alloc(1)),
        "register",
    ),
    "an operator that is none": (
        lambda a, v: nisa.tensor_tensor(tile((128, 64)), a, a, nl.exp),
        "operator",
    ),
    "a function that is none": (
        lambda a, v: nisa.activation(tile((128, 64)), nl.add, a),
        "operator",
    ),
    "an array as an operand": (
        lambda a, v: nisa.tensor_tensor(tile((128, 64)), a, np.ones((128, 64)), nl.add),
        "numpy-on-tile",
    ),
    "GpSimdE and PSUM": (lambda a, v: nl.rsqrt(nl.transpose(a)), "gpsimd-psum"),
    "a transposed copy of another rank": (
        lambda a, v: nisa.dma_transpose(tile((64, 1, 128)), a),
        "shape-mismatch",
    ),
    "a cast by a hardware descriptor": (
        lambda a, v: nisa.dma_copy(tile((128, 64), nl.bfloat16), a, dge_mode=nisa.dge_mode.hwdge),
        "dtype",
    ),
    "elements that do not fit": (
        lambda a, v: nisa.dma_copy(tile((128, 32)), a),
        "dma-element-count",
    ),
    "a tile of 129 partitions": (lambda a, v: tile((129, 4)), "partition-limit"),
    "a tile larger than SBUF": (lambda a, v: tile((128, 60000)), "sbuf-capacity"),
    "a pattern of too few elements": (
        lambda a, v: nisa.iota(tile((128, 64), np.int32), [[1, 63]]),
        "shape-mismatch",
    ),
    "a second operand of abs": (
        lambda a, v: nisa.tensor_scalar(tile((128, 64)), a, nl.abs, 5.0),
        "argument",
    ),
    "a tile as the second operand of abs": (
        lambda a, v: nisa.tensor_scalar(tile((128, 64)), a, nl.abs, v),
        "argument",
    ),
    "PE tiles of 96 rows": (
        lambda a, v: nisa.nc_matmul(
            tile((64, 64), buffer=nl.psum),
            a[0:64],
            a[0:64],
            tile_position=(0, 0),
            tile_size=(96, 64),
        ),
        "argument",
    ),
    "indices skipped where there are none": (
        lambda a, v: nisa.dma_transpose(tile((64, 128)), a, oob_mode=nisa.oob_mode.skip),
        "argument",
    ),
    "a bias as wide as the data": (
        lambda a, v: nisa.activation(tile((128, 64)), nl.exp, a, bias=a),
        "shape-mismatch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_use_is_refused_with_a_remedy(name):
    body, rule = REFUSED[name]
    refused(lambda a, v: body(a, v), A, V, rule=rule)


def test_an_error_blames_the_kernels_line():
    def body(a, v):
        dst = tile((128, 64))
        nisa.tensor_tensor(dst, a, v, nl.add)  # breaks

    error = refused(body, A, V, rule="shape-mismatch")
    lines, first = inspect.getsourcelines(body)
    assert error.line == next(first + i for i, line in enumerate(lines) if "# breaks" in line)
    assert error.source.startswith("nisa.tensor_tensor(dst, a, v, nl.add)")
    assert isinstance(error, nisa.NkiValidationError)


def test_more_than_sbuf_in_use_at_one_time_is_refused():
    def body(a, v):
        tiles = [nl.full((128, 8192), float(i), dtype=nl.float32) for i in range(8)]
        for t in tiles[1:]:
            nisa.tensor_tensor(tiles[0], tiles[0], t, nl.add)
        return tiles[0]

    refused(body, A, V, rule="sbuf-capacity")


def test_tiles_that_are_used_up_make_room():
    def body(a, v):
        total = nl.zeros((128, 8192), dtype=nl.float32)
        for i in range(16):
            t = nl.full((128, 8192), float(i), dtype=nl.float32)
            nisa.tensor_tensor(total, total, t, nl.add)
        return total

    assert (on_tiles(body, A, V) == sum(range(16))).all()


def test_a_partition_reduction_may_average():
    got = on_tiles(lambda a: into((1, 64))(nisa.tensor_partition_reduce, nl.average, a), A)
    np.testing.assert_allclose(got, A.mean(axis=0, keepdims=True), rtol=1e-5, atol=1e-5)
    refused(lambda a: COLUMN(nisa.tensor_reduce, nl.average, a, axis=1), A, rule="operator")


def test_dma_copy_takes_sync_or_scalar_as_the_engine_of_its_hardware_descriptors():
    hardware = nisa.dge_mode.hwdge
    for engine in (nisa.engine.sync, nisa.engine.scalar):
        copy = partial(nisa.dma_copy, dge_mode=hardware, engine=engine)
        assert (on_tiles(partial(SAME, copy), A) == A).all()
    refused(
        lambda a: SAME(nisa.dma_copy, a, dge_mode=hardware, engine=nisa.engine.vector),
        A,
        rule="engine",
    )
    refused(lambda a: SAME(nisa.dma_copy, a, engine=nisa.engine.sync), A, rule="argument")
