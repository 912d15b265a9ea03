"""Random programs: each step is chosen so that the documents allow it, and done by the oracle at
once, so that what is chosen next knows the values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.nkisim.random_programs import oracle
from tests.nkisim.random_programs.numbers import (
    FLOATS,
    INTEGERS,
    Numbers,
    fits,
    rounded,
    size_of,
)
from tests.nkisim.random_programs.steps import Held, Program, Step

TARGETS = ("trn1", "trn2", "trn3")
DIALECTS = ("neuronxcc.nki", "nki")
_FLOATS = ("float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2")
_WHOLE = tuple(INTEGERS)
MOST = 2.0**14
"""Magnitude that values are kept below, so that few of them leave float32's exact integers."""


class Rejected(Exception):
    """A step that the documents, or the bounds of the test, do not allow: another is tried."""


def need(allowed: bool) -> None:
    """Reject the step unless it is allowed."""
    if not allowed:
        raise Rejected


class Builder:
    """A program in the making."""

    def __init__(self, dialect: str, seed: int) -> None:
        self.rng = np.random.default_rng([DIALECTS.index(dialect), seed])
        self.program = Program(dialect, TARGETS[int(self.rng.integers(3))], seed)
        self.older = dialect == DIALECTS[0]
        self.held: list[Held] = []
        self.partitions = int(self.pick([1, 2, 5, 16, 32, 33, 64]))
        self.free = int(self.pick([1, 2, 6, 8, 12, 16]))

    # -- choosing ----------------------------------------------------------------------------------
    def pick(self, choices: Any) -> Any:
        """One of `choices`."""
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, share: float) -> bool:
        """True in `share` of all cases."""
        return bool(self.rng.random() < share)

    def values(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Values of few digits, which `dtype` holds."""
        if dtype in INTEGERS:
            low, high = max(INTEGERS[dtype][0], -100), min(INTEGERS[dtype][1], 100)
            return self.rng.integers(low, high, shape).astype(np.float64)
        return rounded(self.rng.integers(-24, 25, shape) / 4, dtype)

    def tile(self, test: Callable[[Held], bool] = lambda t: True) -> int:
        """The number of a tile on chip that is written and passes `test`; recent ones first."""
        found = [
            n
            for n, t in enumerate(self.held)
            if t.space != "hbm" and t.written.all() and len(t.shape) > 1 and test(t)
        ]
        need(bool(found))
        return found[-1 - int(self.rng.integers(min(len(found), 6)))]

    def out_type(self, x: Numbers) -> str:
        """A type for results that holds `x`."""
        kinds = [*_FLOATS, *_WHOLE] if x.exact else ["float32", "bfloat16"]
        dtype = "float32" if self.chance(0.4) else self.pick(kinds)
        need(fits(x.values, dtype))
        return dtype

    # -- keeping -----------------------------------------------------------------------------------
    def keep(self, x: Numbers, dtype: str, space: str, start: int = 0, stored: bool = False) -> int:
        """A new tensor that holds `x`, rounded to `dtype` unless it is `stored` so."""
        need(np.isfinite(x.values).all() and np.abs(x.values).max(initial=0) <= MOST)
        need(x.error.max(initial=0) < 2.0**-6 * max(1.0, np.abs(x.values).max(initial=0)))
        numbers = Numbers(x.values.copy(), x.error.copy()) if stored else x.stored(dtype)
        self.held.append(Held(numbers, dtype, space, np.ones(x.values.shape, bool), start))
        return len(self.held) - 1

    def step(self, what: str, out: int | None, *operands: int, **how: Any) -> int | None:
        """Append a step."""
        self.program.steps.append(Step(what, out, operands, how))
        return out

    def add_input(self, values: np.ndarray, dtype: str) -> int:
        """An argument of the kernel."""
        self.program.inputs.append((values, dtype))
        self.program.numbers.append(len(self.held))
        self.held.append(Held(Numbers(values), dtype, "hbm", np.ones(values.shape, bool)))
        return len(self.held) - 1

    # -- steps -------------------------------------------------------------------------------------
    def load(self) -> None:
        """A part of an input, loaded and perhaps cast."""
        source = self.pick(self.program.numbers)
        t = self.held[source]
        need(len(t.shape) > 1)
        lead = max(0, t.shape[0] - self.partitions)
        first = int(self.rng.integers(lead + 1))
        rows = (first, first + min(self.partitions, t.shape[0]))
        x = t.numbers[rows[0] : rows[1]]
        dtype = self.out_type(x) if self.chance(0.4) else t.dtype
        need(fits(x.values, dtype))
        self.step("load", self.keep(x, dtype, "sbuf"), source, rows=rows, dtype=dtype)

    def two(self) -> None:
        """An operator on two tiles of one shape."""
        a = self.tile()
        left = self.held[a]
        b = self.tile(lambda t: t.shape == left.shape and t.start == left.start)
        right = self.held[b]
        need("sbuf" in (left.space, right.space))
        op = self.pick([*oracle.ARITHMETIC, *oracle.COMPARISONS])
        need(op not in oracle.COMPARISONS or (left.exact and right.exact))
        wide = ("int32", "uint32")
        native = left.dtype == right.dtype and left.dtype in wide and self.chance(0.5)
        if native and op in ("add", "subtract", "multiply"):
            values = oracle.wrapped(op, left.numbers.values, right.numbers.values, left.dtype)
            out = self.keep(Numbers(values), left.dtype, "sbuf", left.start, stored=True)
            self.step("two", out, a, b, op=op, dtype=left.dtype, nisa=self.chance(0.5))
            return
        x = oracle.binary(op, left.numbers, right.numbers)
        dtype = self.out_type(x)
        need(not {left.dtype, right.dtype, dtype} <= set(wide))  # those are computed natively
        out = self.keep(x, dtype, "sbuf", left.start)
        self.step("two", out, a, b, op=op, dtype=dtype, nisa=self.chance(0.5))

    def with_number(self) -> None:
        """One or two operators with numbers or columns: tensor_scalar."""
        a = self.tile()
        t = self.held[a]
        operands, how, x = [a], {}, t.numbers
        for i in range(int(self.rng.integers(1, 3))):
            op = self.pick([*oracle.ARITHMETIC, *oracle.COMPARISONS])
            need(op not in oracle.COMPARISONS or x.exact)
            reverse = self.chance(0.3)
            if self.chance(0.4):
                column = self.tile(
                    lambda c: c.shape == (t.shape[0], 1) and c.start == t.start and c.exact
                )
                operands.append(column)
                c = self.held[column].numbers
                other = c.reshape(c.values.shape[0], *[1] * (len(t.shape) - 1))
                how[f"value{i}"] = None
            else:
                how[f"value{i}"] = float(self.rng.integers(-12, 13)) / 4
                other = oracle.number(how[f"value{i}"])
            x = oracle.binary(op, other, x) if reverse else oracle.binary(op, x, other)
            need(np.abs(x.values).max() < MOST)
            how |= {f"op{i}": op, f"reverse{i}": reverse}
        dtype = self.out_type(x)
        out = self.keep(x, dtype, "sbuf", t.start)
        self.step("with_number", out, *operands, dtype=dtype, **how)

    def function(self) -> None:
        """A function of one tile."""
        a = self.tile(lambda t: t.exact)
        t = self.held[a]
        op = self.pick([*oracle.SMOOTH, *oracle.PRECISE])
        need(op in oracle.PRECISE or np.abs(t.numbers.values).max() <= 6)
        x = oracle.unary(op, t.numbers)
        dtype = self.out_type(x)
        self.step("function", self.keep(x, dtype, "sbuf", t.start), a, op=op, dtype=dtype)

    def activation(self) -> None:
        """op(data * scale + bias) on ScalarE, perhaps with the sums of its rows."""
        a = self.tile(lambda t: t.exact)
        t = self.held[a]
        operands, x = [a], t.numbers
        scale = float(self.rng.integers(1, 9)) / 8
        if scale != 1:
            x = oracle.binary("multiply", x, oracle.number(scale))
        biased = self.chance(0.5)
        if biased:
            operands.append(
                self.tile(
                    lambda b: (
                        b.shape == (t.shape[0], 1)
                        and b.start == t.start
                        and b.exact
                        and b.dtype in ("float32", "bfloat16", "float16")
                    )
                )
            )
            c = self.held[operands[1]].numbers
            x = oracle.binary("add", x, c.reshape(c.values.shape[0], *[1] * (len(t.shape) - 1)))
        need(np.abs(x.values).max() <= 6)
        op = self.pick(["exp", "tanh", "square", "relu", "sigmoid", "abs"])
        x = oracle.unary(op, x)
        dtype = self.out_type(x)
        out = self.keep(x, dtype, "sbuf", t.start)
        how = {"op": op, "scale": scale, "biased": biased, "dtype": dtype, "sums": None}
        if self.chance(0.4) and x.values.size > x.values.shape[0]:
            rows = oracle.reduced("add", x.reshape(x.values.shape[0], -1), (1,))
            how["sums"] = self.keep(rows, "float32", "sbuf", t.start)
        self.step("activation", out, *operands, **how)

    def reduce(self) -> None:
        """A reduction over the last axes."""
        a = self.tile()
        t = self.held[a]
        axes = tuple(range(int(self.rng.integers(1, len(t.shape))), len(t.shape)))
        op = self.pick(["add", "maximum", "minimum"])
        x = oracle.reduced(op, t.numbers, axes)
        negate = self.chance(0.3)
        x = Numbers(-x.values, x.error) if negate else x
        shape = t.shape[: axes[0]]
        shape = (*shape, 1) if len(shape) == 1 else shape
        x = x.reshape(*shape)
        dtype = self.out_type(x)
        out = self.keep(x, dtype, "sbuf", t.start)
        self.step("reduce", out, a, op=op, axes=axes, negate=negate, dtype=dtype)

    def cast(self) -> None:
        """A copy, in the same or another type."""
        a = self.tile()
        t = self.held[a]
        dtype = self.out_type(t.numbers) if self.chance(0.7) else t.dtype
        x = t.numbers if dtype == t.dtype else t.numbers.stored(dtype)
        out = self.keep(x, dtype, "sbuf", t.start, stored=True)
        self.step("cast", out, a, dtype=dtype)

    def turn(self) -> None:
        """A transpose, on VectorE or TensorE."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.start == 0)
        t = self.held[a]
        small = max(t.shape) <= 32
        vector = small and self.chance(0.5)
        need(vector or (t.dtype in FLOATS and max(t.shape) <= 128))
        x = Numbers(t.numbers.values.T.copy(), t.numbers.error.T.copy())
        out = self.keep(x, t.dtype, "sbuf" if vector else "psum", stored=True)
        self.step("turn", out, a, vector=vector, dtype=t.dtype)

    def matmul(self) -> None:
        """A sum of one to three products in PSUM."""
        kinds = ("float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2")
        a = self.tile(
            lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.dtype in kinds and t.start == 0
        )
        operands: list[int] = []
        x: Numbers | None = None
        for _ in range(int(self.rng.integers(1, 4))):
            s = a if not operands else self.tile(lambda t: self._alike(t, a))
            shape = self.held[operands[1]].shape if operands else None
            m = self.tile(
                lambda t, s=s, shape=shape: (
                    len(t.shape) == 2
                    and t.space == "sbuf"
                    and t.start == 0
                    and t.dtype == self.held[s].dtype
                    and t.shape[0] == self.held[s].shape[0]
                    and shape in (None, t.shape)
                )
            )
            operands += [s, m]
            made = oracle.matmul(self.held[s].numbers, self.held[m].numbers).stored("float32")
            x = made if x is None else oracle.binary("add", x, made)
        assert x is not None
        need(x.exact or len(operands) == 2)
        out = self.keep(x, "float32", "psum")
        self.step("matmul", out, *operands, loop=self.chance(0.5))

    def _alike(self, t: Held, other: int) -> bool:
        o = self.held[other]
        return t.shape == o.shape and t.dtype == o.dtype and t.space == o.space and t.start == 0

    def select(self) -> None:
        """nl.where: a tile, or a number, where a condition holds."""
        c = self.tile(lambda t: t.exact)
        t = self.held[c]
        a = self.tile(lambda x: x.shape == t.shape and x.start == t.start)
        need("sbuf" in (t.space, self.held[a].space))
        operands, value = [c, a], None
        if self.chance(0.5):
            b = self.tile(lambda x: x.shape == t.shape and x.start == t.start and x.space == "sbuf")
            operands.append(b)
            other = self.held[b].numbers
        else:
            value = float(self.rng.integers(-8, 9)) / 4
            filled = np.full(t.shape, value)
            other = Numbers(filled)
        x = oracle.select(t.numbers, self.held[a].numbers, other)
        dtype = self.out_type(x)
        out = self.keep(x, dtype, "sbuf", t.start)
        self.step("select", out, *operands, value=value, dtype=dtype)

    def affine(self) -> None:
        """affine_select: a tile where an affine expression of its place holds, else a number."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.start == 0)
        t = self.held[a]
        rows, columns = np.indices(t.shape)
        across, step = (int(v) for v in self.rng.integers(-2, 3, 2))
        offset = int(self.rng.integers(-3, 4))
        op = self.pick(["greater_equal", "less", "equal", "not_equal", "greater", "less_equal"])
        place = offset + rows * across + columns * step
        chosen = oracle.COMPARISONS[op](place, np.zeros(1))
        value = float(self.rng.integers(-8, 9)) / 4
        x = oracle.select(Numbers(chosen * 1.0), t.numbers, Numbers(np.full(t.shape, value)))
        need(t.dtype in FLOATS)
        out = self.keep(x, t.dtype, "sbuf")
        how = {"across": across, "step": step, "offset": offset, "op": op, "value": value}
        self.step("affine", out, a, dtype=t.dtype, **how)

    def predicated(self) -> None:
        """A tile copied over another one where an unsigned tile is not zero."""
        d = self.tile(lambda t: t.space == "sbuf" and t.root < 0 and t.exact)
        t = self.held[d]
        p = self.tile(lambda x: self._over(x, t) and x.dtype in ("uint8", "uint16", "uint32"))
        s = self.tile(lambda x: self._over(x, t) and x.dtype == t.dtype and x.exact)
        need(len({d, p, s}) == 3)
        chosen = self.held[p].numbers.values != 0
        t.numbers.values[chosen] = self.held[s].numbers.values[chosen]
        self.step("predicated", None, d, s, p)

    def _over(self, x: Held, t: Held) -> bool:
        return x.shape == t.shape and x.start == t.start and x.space == "sbuf"

    def bits(self) -> None:
        """A bitwise operator on two tiles of integers, or a shift by a number."""
        a = self.tile(lambda t: t.dtype in INTEGERS and t.space == "sbuf")
        t = self.held[a]
        op = self.pick([*oracle.BITS, "left_shift", "right_shift"])
        operands, value = [a], None
        if "shift" in op:
            value = int(self.rng.integers(0, 8))
            found = oracle.bitwise(op, t.numbers.values, value, t.dtype)
        else:
            b = self.tile(lambda x: self._over(x, t) and x.dtype == t.dtype)
            operands.append(b)
            found = oracle.bitwise(op, t.numbers.values, self.held[b].numbers.values, t.dtype)
        out = self.keep(Numbers(found), t.dtype, "sbuf", t.start, stored=True)
        self.step("bits", out, *operands, op=op, value=value, dtype=t.dtype)

    def iota(self) -> None:
        """Places: offset + partition * across + column * step."""
        across, step, offset = (int(v) for v in self.rng.integers(0, 5, 3))
        shape = (self.partitions, self.free)
        rows, columns = np.indices(shape)
        x = Numbers((offset + rows * across + columns * step).astype(np.float64))
        dtype = self.pick(["int32", "float32", "uint32", "int16"])
        out = self.keep(x, dtype, "sbuf")
        how = {"across": across, "step": step, "offset": offset}
        self.step("iota", out, shape=shape, dtype=dtype, **how)

    def largest(self) -> None:
        """The eight largest elements of each partition."""
        a = self.tile(lambda t: t.numbers.values[0].size >= 8 and len(t.shape) <= 3)
        t = self.held[a]
        need(t.exact and t.dtype in FLOATS)
        x = Numbers(oracle.largest8(t.numbers.values))
        self.step("largest", self.keep(x, t.dtype, "sbuf", t.start), a, dtype=t.dtype)

    def scan(self) -> None:
        """tensor_tensor_scan."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.exact)
        t = self.held[a]
        b = self.tile(lambda x: self._over(x, t) and x.exact)
        op0, op1 = self.pick(["multiply", "add", "maximum"]), self.pick(["add", "minimum"])
        initial = float(self.rng.integers(-4, 5)) / 2
        x = oracle.scan(op0, op1, t.numbers.values, self.held[b].numbers.values, initial)
        need(np.abs(x.values).max() < MOST)
        dtype = self.out_type(x)
        out = self.keep(x, dtype, "sbuf", t.start)
        self.step("scan", out, a, b, op0=op0, op1=op1, initial=initial, dtype=dtype)

    def gather(self) -> None:
        """Elements of each partition at places that a tile lists."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.start == 0)
        t = self.held[a]
        width = int(self.rng.integers(1, 9))
        places = self.rng.integers(0, t.shape[1], (t.shape[0], width)).astype(np.float64)
        source = self.add_input(places, "uint32")
        index = self.keep(Numbers(places), "uint32", "sbuf")
        self.step("load", index, source, rows=(0, t.shape[0]), dtype="uint32")
        at = places.astype(int)
        x = Numbers(
            np.take_along_axis(t.numbers.values, at, 1), np.take_along_axis(t.numbers.error, at, 1)
        )
        out = self.keep(x, t.dtype, "sbuf", stored=True)
        self.step("gather", out, a, index, dtype=t.dtype, shape=x.values.shape)

    def rows(self) -> None:
        """Rows of an input, picked at run time."""
        source = self.pick(self.program.numbers)
        t = self.held[source]
        need(len(t.shape) == 2 and t.shape[1] > 1)
        count = int(self.rng.integers(1, 2 * t.shape[0] + 1))
        need(count <= 128)
        picked = self.rng.integers(0, t.shape[0], (count, 1)).astype(np.float64)
        wanted = self.add_input(picked, "int32")
        index = self.keep(Numbers(picked), "int32", "sbuf")
        self.step("load", index, wanted, rows=(0, count), dtype="int32")
        x = t.numbers[picked[:, 0].astype(int)]
        out = self.keep(x, t.dtype, "sbuf", stored=True)
        how = {"pattern": self.chance(0.5), "dtype": t.dtype, "shape": x.values.shape}
        self.step("rows", out, source, index, **how)

    # -- views and parts ---------------------------------------------------------------------------
    def blank(self) -> None:
        """A new tile that is written in parts: column blocks, strided halves, in any order."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.shape[1] % 2 == 0 and t.space == "sbuf")
        t = self.held[a]
        need(t.start == 0)
        width = t.shape[1]
        numbers = Numbers(t.numbers.values.copy(), t.numbers.error.copy())
        out = self.keep(numbers, t.dtype, "sbuf", stored=True)
        if self.chance(0.5):
            parts = [(0, width // 2, 1), (width // 2, width, 1)]
        else:
            parts = [(0, width, 2), (1, width, 2)]
        self.step("blank", out, shape=t.shape, dtype=t.dtype)
        for part in parts if self.chance(0.5) else parts[::-1]:
            self.step("into", None, out, a, part=part)

    def sliced(self) -> None:
        """A part of the free axis, perhaps in steps."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.shape[1] > 1)
        t = self.held[a]
        first = int(self.rng.integers(0, t.shape[1] - 1))
        last = int(self.rng.integers(first + 1, t.shape[1] + 1))
        step = int(self.pick([1, 1, 2, 3]))
        rows = t.shape[0] if self.chance(0.6) else int(self.rng.integers(1, t.shape[0] + 1))
        start = 32 if t.shape[0] > 32 and t.start == 0 and self.chance(0.3) else 0
        rows = min(rows, t.shape[0] - start, 32 if start else 128)
        self._view(a, (slice(start, start + rows), slice(first, last, step)), start)
        how = {"rows": (start, start + rows), "columns": (first, last, step)}
        self.step("sliced", len(self.held) - 1, a, **how)

    def _view(self, a: int, key: Any, start: int = 0) -> None:
        t = self.held[a]
        root = a if t.root < 0 else t.root
        self.held.append(
            Held(t.numbers[key], t.dtype, t.space, t.written[key], t.start + start, root)
        )

    def shaped(self) -> None:
        """The free axis as two."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.root < 0 and t.shape[1] % 2 == 0)
        t = self.held[a]
        need(t.numbers.values.flags.c_contiguous)
        shape = (t.shape[0], 2, t.shape[1] // 2)
        self.held.append(
            Held(t.numbers.reshape(*shape), t.dtype, t.space, t.written.reshape(shape), t.start, a)
        )
        self.step("shaped", len(self.held) - 1, a, shape=shape)

    def retyped(self) -> None:
        """The bytes of a tile as integers of another size, copied."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.root < 0 and t.exact and t.space == "sbuf")
        t = self.held[a]
        need(t.dtype in ("float32", "int32", "uint32", "int16", "uint16", "uint8", "int8"))
        wanted = self.pick(["uint8", "uint16", "uint32", "int32"])
        size = size_of(wanted)
        need(t.shape[1] * size_of(t.dtype) % size == 0)
        raw = np.ascontiguousarray(t.numbers.values.astype(t.dtype))
        values = raw.view(wanted).astype(np.float64)
        need(np.abs(values).max() <= MOST)
        out = self.keep(Numbers(values), wanted, "sbuf", t.start, stored=True)
        step = int(self.pick([1, 1, 2]))
        how = {"dtype": wanted, "step": 1}
        if step > 1 and values.shape[1] > 1:
            how["step"] = step
            half = values[:, ::step].copy()
            self.held[out] = Held(Numbers(half), wanted, "sbuf", np.ones(half.shape, bool), t.start)
        self.step("retyped", out, a, **how)

    def words(self) -> None:
        """A tile written through views of smaller items: the bytes of integers, in halves."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.dtype == "uint8" and t.space == "sbuf")
        t = self.held[a]
        need(t.start == 0 and t.exact)
        size = int(self.pick([2, 4]))
        need(t.shape[1] % size == 0)
        raw = np.ascontiguousarray(t.numbers.values.astype(np.uint8))
        x = raw.view(f"int{8 * size}").astype(np.float64)
        need(np.abs(x).max() <= MOST)
        out = self.keep(Numbers(x), f"int{8 * size}", "sbuf", stored=True)
        order = [int(n) for n in self.rng.permutation(size)]
        self.step("words", out, a, shape=x.shape, dtype=f"int{8 * size}", order=order)

    # -- loops -------------------------------------------------------------------------------------
    def loop_columns(self) -> None:
        """A loop over blocks of columns, each written by an operator."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.start == 0)
        t = self.held[a]
        blocks = self.pick([n for n in (1, 2, 3, 4, 8) if t.shape[1] % n == 0])
        op, value = self.pick(list(oracle.ARITHMETIC)), float(self.rng.integers(-8, 9)) / 4
        x = oracle.binary(op, t.numbers, oracle.number(value))
        dtype = self.out_type(x)
        out = self.keep(x, dtype, "sbuf")
        kind = self.pick(["affine_range", "sequential_range", "static_range"])
        how = {"op": op, "value": value, "dtype": dtype, "shape": t.shape}
        self.step("loop_columns", out, a, blocks=int(blocks), kind=kind, **how)

    def loop_sum(self) -> None:
        """A loop that adds blocks of columns to a tile."""
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.start == 0)
        t = self.held[a]
        blocks = int(self.pick([n for n in (1, 2, 3, 4, 8) if t.shape[1] % n == 0]))
        op = self.pick(["add", "maximum"])
        width = t.shape[1] // blocks
        x = Numbers(np.zeros((t.shape[0], width)))
        for i in range(blocks):
            x = oracle.binary(op, x, t.numbers[:, i * width : (i + 1) * width])
        out = self.keep(x, "float32", "sbuf")
        device = not self.older and self.chance(0.5)
        how = {"op": op, "blocks": blocks, "device": device, "shape": (t.shape[0], width)}
        self.step("loop_sum", out, a, **how)

    def loop_rows(self) -> None:
        """A loop on the device whose register picks columns of an input."""
        need(not self.older)
        source = self.pick(self.program.numbers)
        t = self.held[source]
        need(len(t.shape) == 2 and t.dtype in FLOATS and t.shape[0] <= 128)
        blocks = int(self.pick([n for n in (1, 2, 3, 4) if t.shape[1] % n == 0]))
        width = t.shape[1] // blocks
        x = Numbers(np.zeros((t.shape[0], width)))
        for i in range(blocks):
            x = oracle.binary("add", x, t.numbers[:, i * width : (i + 1) * width])
        out = self.keep(x, "float32", "sbuf")
        kind = self.pick(["fori", "while"])
        how = {"blocks": blocks, "width": width, "kind": kind, "dtype": t.dtype}
        self.step("loop_rows", out, source, shape=(t.shape[0], width), **how)

    # -- masks -------------------------------------------------------------------------------------
    def masked(self) -> None:
        """An operator under a mask, over a tile that is full."""
        need(self.older)
        a = self.tile(lambda t: len(t.shape) == 2 and t.space == "sbuf" and t.start == 0)
        t = self.held[a]
        b = self.tile(lambda x: self._over(x, t) and x.root < 0)
        op = self.pick(list(oracle.ARITHMETIC))
        rows = int(self.rng.integers(1, t.shape[0] + 1))
        columns = int(self.rng.integers(1, t.shape[1] + 1))
        inside = np.zeros(t.shape, bool)
        inside[:rows, :columns] = True
        x = oracle.binary(op, t.numbers, self.held[b].numbers)
        fill = float(self.rng.integers(-4, 5))
        need(np.abs(x.values).max() < MOST)
        chosen = oracle.select(Numbers(inside * 1.0), x, Numbers(np.full(t.shape, fill)))
        out = self.keep(chosen, "float32", "sbuf")
        how = {"op": op, "rows": rows, "columns": columns, "fill": fill}
        self.step("masked", out, a, b, shape=t.shape, **how)

    def masked_load(self) -> None:
        """A load whose grid reaches beyond its input, under a mask."""
        need(self.older)
        source = self.pick(self.program.numbers)
        t = self.held[source]
        need(len(t.shape) == 2 and t.shape[0] <= 100 and fits(t.numbers.values, t.dtype))
        more = int(self.rng.integers(0, 4))
        shape = (t.shape[0], t.shape[1] + more)
        x = np.full(shape, 1.0)
        x[:, : t.shape[1]] = t.numbers.values
        out = self.keep(Numbers(x), t.dtype, "sbuf")
        how = {"columns": t.shape[1], "dtype": t.dtype}
        self.step("masked_load", out, source, shape=shape, **how)


CHOICES = [
    "load",
    "load",
    "two",
    "two",
    "two",
    "with_number",
    "with_number",
    "function",
    "activation",
    "reduce",
    "cast",
    "cast",
    "turn",
    "matmul",
    "matmul",
    "select",
    "affine",
    "predicated",
    "bits",
    "iota",
    "largest",
    "scan",
    "gather",
    "rows",
    "blank",
    "sliced",
    "sliced",
    "shaped",
    "retyped",
    "words",
    "loop_columns",
    "loop_sum",
    "loop_rows",
    "masked",
    "masked_load",
]


def program(dialect: str, seed: int, steps: int = 12) -> Program:
    """The random program of that number."""
    builder = Builder(dialect, seed)
    rows = builder.partitions + int(builder.rng.integers(0, 4))
    for _ in range(int(builder.rng.integers(1, 4))):
        dtype = builder.pick([*_FLOATS, "float32", "bfloat16", "int32", "uint8", "int16", "int8"])
        builder.add_input(builder.values((rows, builder.free), dtype), dtype)
    tries = 0
    while len(builder.program.steps) < 2:
        _attempt(builder, "load")
    while len(builder.program.steps) < steps and tries < 200:
        tries += 1
        _attempt(builder, builder.pick(CHOICES))
    for n, t in enumerate(builder.held):
        if t.space != "hbm" and t.written.all() and len(t.shape) == 2:
            builder.step("store", None, n)
            builder.program.outputs.append(t)
    return builder.program


def _attempt(builder: Builder, what: str) -> None:
    """Take the step, or leave everything as it was."""
    state = len(builder.held), len(builder.program.steps), len(builder.program.inputs)
    try:
        with np.errstate(all="ignore"):
            getattr(builder, what)()
    except Rejected:
        del builder.held[state[0] :]
        del builder.program.steps[state[1] :]
        del builder.program.inputs[state[2] :]
        del builder.program.numbers[state[2] :]
