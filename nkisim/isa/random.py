"""Random numbers: one generator an engine, its states, and what draws from it. Not the device's
bits.

Sources: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py (dropout),
general/nki/api/nki/language/__init__.py (rand, random_seed, dropout); v2.32.0
nki/api/nki/isa/__init__.py (rng, set_rng_seed, rand_set_state, rand_get_state, rand2). The
documents name the algorithm XORWOW and the number of state words; how the lanes are seeded and in
which order they are drawn from, they do not say: here the elements of a partition take its lanes in
turn. A kernel's numbers are the same on every run and every platform.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..machine import dtypes
from ..machine.memory import CONST, FULL, SBUF, Buffer, Scope, meta_of
from ..rules.errors import broken
from ..tensors.tensor import Tensor
from .core import GPSIMD, VECTOR, Call, Plan, instruction
from .operands import ISA as _ISA
from .operands import ISA_32 as _ISA_32

WORDS = 6
"""uint32 words of one XORWOW state."""
LANES = {GPSIMD: 1, VECTOR: 4}
"""States of a partition: 6 words on GpSimdE, 24 on VectorE."""
_UINT32 = np.dtype(np.uint32)


class _State(Buffer):
    """Where the instructions write that seed a generator: a place inside the engine."""

    name = "the generator's state"


GENERATOR = Tensor(
    _State(meta_of(CONST, (), (), _UINT32), 0, None, 0, FULL, Scope(None)),
    np.zeros((), np.uint32),
    meta_of(CONST, (), (), _UINT32),
    0,
)
"""The destination of SET_SEED and SET_STATE."""


class Generator:
    """XORWOW (G. Marsaglia, Xorshift RNGs, 2003), one for each lane of each of the 128
    partitions."""

    def __init__(self, lanes: int, seed: int) -> None:
        self.state = np.zeros((128, lanes, WORDS), dtype=np.uint32)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Set all states from one number: words of SplitMix64, counted on from it."""
        step = np.uint64(0x9E3779B97F4A7C15)
        counter = np.arange(self.state.size, dtype=np.uint64) + np.uint64(1)
        with np.errstate(over="ignore"):
            z = np.uint64(seed & 0xFFFFFFFF) * np.uint64(0x2545F4914F6CDD1D) + counter * step
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        self.state[...] = (
            ((z ^ (z >> np.uint64(31))) >> np.uint64(32))
            .astype(np.uint32)
            .reshape(self.state.shape)
        )

    def draw(self, rows: slice, count: int) -> np.ndarray:
        """The next `count` words of each of the partitions `rows`: (p, count) uint32."""
        state = self.state[rows]
        lanes = state.shape[1]
        steps = -(-count // lanes)
        x, y, z, w, v, d = (state[..., i].copy() for i in range(WORDS))
        out = np.empty((state.shape[0], steps, lanes), dtype=np.uint32)
        one, two, four, weyl = np.uint32(1), np.uint32(2), np.uint32(4), np.uint32(362437)
        with np.errstate(over="ignore"):
            for i in range(steps):
                t = x ^ (x >> two)
                x, y, z, w = y, z, w, v
                v = (v ^ (v << four)) ^ (t ^ (t << one))
                d = d + weyl
                out[:, i] = v + d
        for i, word in enumerate((x, y, z, w, v, d)):
            state[..., i] = word
        return out.reshape(state.shape[0], -1)[:, :count]


def generator_of(program: Any, engine: str) -> Generator:
    """The generator of an engine; a program instance begins with its own states."""
    key = f"random {engine}"
    found = program.registers.get(key)
    if found is None:
        number = 0
        for at, size in zip(program.position, program.grid):
            number = number * size + at
        found = program.registers[key] = Generator(LANES[engine], number)
    result: Generator = found
    return result


def _uniform(words: np.ndarray) -> np.ndarray:
    """Words as fp32 in [0, 1), of their upper 24 bits."""
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def _on(call: Call, engine: str, vector_from: int, gpsimd_from: int) -> None:
    """The generator of `engine` is there on this target."""
    if engine not in LANES:
        call.fail(
            "engine", f"it does not run on the {engine} engine", got=engine, limit="vector, gpsimd"
        )
    call.generation(vector_from if engine == VECTOR else gpsimd_from)


@instruction(
    "rng",
    "random bits",
    f"{_ISA_32} rng",
    attrs=(
        "shape",
        "engine",
    ),
    hidden=("engine",),
)
def RNG(call: Call) -> Plan:
    """attrs: (shape, engine). The result is of an integer type: the low bits of 32 random ones an
    element."""
    shape, engine = call.attrs
    _on(call, engine, 2, 3)
    dtype = call.dst.dtype if call.dst is not None else call.dtype
    if dtype not in dtypes.INTEGERS:
        call.fail(
            "dtype",
            "random bits are integers",
            call.dst,
            limit="int8, int16, int32, uint8, uint16 or uint32",
        )
    assert dtype is not None
    call.result(shape, engine)
    rows, count = _rows(call, shape)
    low_bits = np.dtype(f"u{dtype.itemsize}")

    def compute(program: Any) -> np.ndarray:
        return (
            generator_of(program, engine)
            .draw(rows, count)
            .astype(low_bits)
            .view(dtype)
            .reshape(shape)
        )

    return Plan(engine, compute, shape, dtype, stateful=True)


@instruction(
    "rand",
    "random numbers, uniform between two bounds",
    f"{_ISA_32} rand2; v2.26.0 nki.language rand, of which the lowering is assumed",
    attrs=(
        "shape",
        "least_generation",
    ),
    hidden=("least_generation",),
)
def RAND(call: Call) -> Plan:
    """attrs: (shape, least generation: 2 in NKI 0.1, 4 in NKI 0.6). Sources: lower and upper bound,
    numbers or fp32 vectors."""
    shape, least = call.attrs
    call.generation(least)
    for bound, what in zip(call.srcs, ("min", "max")):
        call.vector(bound, shape[0], what)
        call.one_of(bound, what, (dtypes.FLOAT32,))
    call.result(shape, VECTOR)
    rows, count = _rows(call, shape)
    column = (shape[0],) + (1,) * (len(shape) - 1)

    def compute(program: Any, low: Any, high: Any) -> np.ndarray:
        low, high = (
            b.reshape(column) if isinstance(b, np.ndarray) else np.float32(b) for b in (low, high)
        )
        if not np.all(low < high):
            broken(
                "argument",
                f"{call.api}: min is not below max",
                got=f"{np.max(low)} and {np.min(high)}",
            )
        u = _uniform(generator_of(program, VECTOR).draw(rows, count)).reshape(shape)
        found: np.ndarray = low + u * (high - low)
        return found

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32, stateful=True)


def _rows(call: Call, shape: tuple[int, ...]) -> tuple[slice, int]:
    """The partitions that a result of `shape` lies in, and its elements per partition."""
    if shape[0] > call.target.partitions:
        call.fail(
            "partition-limit",
            f"the tile would have {shape[0]} partitions",
            got=shape,
            limit=f"{call.target.partitions} partitions (nl.tile_size.pmax)",
        )
    start = call.dst.meta.pstart if call.dst is not None else 0
    count = 1
    for n in shape[1:]:
        count *= n
    return slice(start, start + shape[0]), count


@instruction(
    "set_rng_seed",
    "the generator of VectorE seeded with one number",
    f"{_ISA_32} set_rng_seed; v2.26.0 nki.language random_seed",
)
def SET_SEED(call: Call) -> Plan:
    """attrs: (). Source: a number, or a tile (1, 1) of 32 bits. Destination: GENERATOR."""
    seed = call.srcs[0]
    if seed.meta.space != CONST:
        call.tile(seed, "seed")
        if seed.meta.size != 1:
            call.fail(
                "shape-mismatch", f"seed '{seed.label}' is not one element", seed, limit="(1, 1)"
            )
        if seed.dtype.itemsize != 4:
            call.fail(
                "dtype",
                f"seed '{seed.label}' is {dtypes.name(seed.dtype)}",
                seed,
                limit="a 32-bit type",
            )

    def compute(program: Any, number: Any) -> np.ndarray:
        bits = (
            int(number.reshape(-1).view(np.uint32)[0])
            if isinstance(number, np.ndarray)
            else int(number)
        )
        generator_of(program, VECTOR).seed(bits)
        return np.zeros((), dtype=np.uint32)

    return Plan(VECTOR, compute, (), stateful=True)


@instruction(
    "rand_set_state",
    "the states of an engine's generator set",
    f"{_ISA_32} rand_set_state",
    attrs=("engine",),
    hidden=("engine",),
)
def SET_STATE(call: Call) -> Plan:
    """attrs: (engine,). Source: uint32 tile (p, 6) for GpSimdE, (p, 24) for VectorE. Destination:
    GENERATOR."""
    (engine,) = call.attrs
    _on(call, engine, 4, 3)
    src = call.srcs[0]
    call.memory_of(src, (SBUF,), "src_seeds")
    call.tile(src, "src_seeds")
    call.one_of(src, "src_seeds", (_UINT32,))
    call.per_partition(src, "src_seeds", WORDS * LANES[engine], WORDS * LANES[engine])
    rows = slice(src.meta.pstart, src.meta.pstart + src.meta.partitions)

    def compute(program: Any, words: np.ndarray) -> np.ndarray:
        state = generator_of(program, engine).state
        state[rows] = words.reshape(-1, *state.shape[1:])
        return np.zeros((), dtype=np.uint32)

    def spread(position: int, flags: np.ndarray, arrays: list[Any]) -> Any:
        return flags.any()

    return Plan(engine, compute, (), stateful=True, spread=spread)


@instruction(
    "rand_get_state",
    "the states of an engine's generator",
    f"{_ISA_32} rand_get_state",
    attrs=(
        "shape",
        "engine",
    ),
    hidden=(
        "shape",
        "engine",
    ),
)
def GET_STATE(call: Call) -> Plan:
    """attrs: (shape, engine). The result is a uint32 tile (p, 6) for GpSimdE, (p, 24) for
    VectorE."""
    shape, engine = call.attrs
    _on(call, engine, 4, 3)
    rows, count = _rows(call, shape)
    dst = call.dst
    if dst is not None:
        call.one_of(dst, "dst", (_UINT32,))
        if call.target.nc_version == 3:
            call.memory_of(dst, (SBUF,), "dst")
    if count != WORDS * LANES[engine]:
        call.fail(
            "element-count",
            f"the states of {engine} take {WORDS * LANES[engine]} words per partition",
            dst,
            got=shape,
            limit=f"{WORDS * LANES[engine]} elements per partition",
        )
    call.result(shape, engine)

    def compute(program: Any) -> np.ndarray:
        return generator_of(program, engine).state[rows].reshape(shape).copy()

    return Plan(engine, compute, shape, _UINT32, stateful=True)


@instruction(
    "dropout",
    "elements replaced by zero with a probability",
    f"{_ISA} dropout",
)
def DROPOUT(call: Call) -> Plan:
    """attrs: (). Sources: data (p, ...), probability of a zero: number or vector. What is kept is
    not scaled."""
    data, prob = call.srcs[:2]
    call.tile(data, "data")
    partitions = data.meta.partitions
    call.vector(prob, partitions, "prob")
    integer = not dtypes.is_float(data.dtype)
    if prob.meta.space != CONST:
        call.one_of(
            prob,
            "prob",
            (dtypes.FLOAT32,) if integer else dtypes.FLOATS,
            "Probabilities for integer data are float32."
            if integer
            else "Probabilities are floats.",
        )
    wanted = call.dst.dtype if call.dst is not None else call.dtype
    if integer and wanted is not None and wanted != data.dtype:
        call.fail(
            "dtype",
            f"integer data '{data.label}' would become {dtypes.name(wanted)}",
            data,
            limit=f"{dtypes.name(data.dtype)}, the data type of data",
        )
    shape = data.meta.shape
    call.result(shape, VECTOR)
    rows = slice(data.meta.pstart, data.meta.pstart + partitions)
    column = (partitions,) + (1,) * (len(shape) - 1)

    def compute(program: Any, x: np.ndarray, p: Any) -> np.ndarray:
        # published examples pass tiles of any numbers: those above 1 drop everything
        if isinstance(p, np.ndarray):
            p = dtypes.to_fp32(p).reshape(column)
        elif not 0 <= p <= 1:
            broken("argument", f"{call.api}: prob is not a probability", got=p, limit="0 to 1")
        else:
            p = np.float32(p)
        u = _uniform(generator_of(program, VECTOR).draw(rows, data.meta.free)).reshape(shape)
        return np.where(u < p, np.zeros((), dtype=x.dtype), x)

    return Plan(VECTOR, compute, shape, data.array.dtype, stateful=True)
