"""VectorE: elementwise operators, reductions, copies, small transposes; some of them may run on other engines.

Source: aws-neuron-sdk v2.26.0 general/nki/api/nki/isa/__init__.py, general/nki/api/nki.api.shared.rst.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..memory import CONST, PSUM
from ..tensor import Tensor
from . import alu
from .core import GPSIMD, REDUCE, SCALAR, VECTOR, Call, Plan, instruction, registers_of

_ISA = "aws-neuron-sdk v2.26.0 nki.isa"
_WIDE_INTEGERS = (dtypes.INT32, np.dtype(np.uint32))


def _not_both_psum(call: Call, a: Tensor, b: Tensor) -> None:
    if a.meta.space == PSUM and b.meta.space == PSUM:
        call.fail("two-psum-inputs", f"'{a.label}' and '{b.label}' are both in PSUM", b,
                  remedy="Copy one to SBUF first with nisa.tensor_copy.")


def _integers(call: Call, *operands: Tensor) -> None:
    for t in operands:
        if t.meta.space == CONST:
            if isinstance(t.array, float):
                call.fail("dtype", f"a bitwise operator got the number {t.array}", limit="integers")
        elif not dtypes.is_integer(t.dtype) and t.dtype != dtypes.BOOL:
            call.fail("dtype", f"a bitwise operator got '{t.label}' of {dtypes.name(t.dtype)}", t, limit="integers",
                      remedy="Bitwise operators take integer tiles; for floats use the logical operators.")


def _engine_for(call: Call, op: alu.AluOp, wanted: str | None, default: str) -> str:
    engine = wanted or (default if default in op.engines else op.engines[0])
    if engine not in op.engines:
        call.fail("engine", f"'{op.name}' does not run on the {engine} engine", got=engine,
                  limit=", ".join(op.engines), remedy="Leave engine= out to let it be chosen.")
    return engine


def _no_psum_on_gpsimd(call: Call, engine: str, *operands: Tensor) -> None:
    if engine != GPSIMD:
        return
    for t in operands:
        if t.meta.space == PSUM:
            call.fail("gpsimd-psum", f"'{t.label}' lies in PSUM", t, limit="sbuf",
                      remedy="Copy it to SBUF first, or use nisa.vector_engine.")


@instruction("tensor_tensor", "an operator on two tiles of one shape", f"{_ISA} tensor_tensor")
def TENSOR_TENSOR(call: Call) -> Plan:
    """attrs: (operator, engine or None)."""
    op, wanted = call.attrs
    a, b = call.srcs[0], call.srcs[1]
    call.tile(a, "data1")
    call.tile(b, "data2")
    call.same_partitions(a, b)
    if op.unary:
        call.fail("operator", f"'{op.name}' takes one operand", got=op.name, remedy="Use nisa.activation or the nl function.")
    if a.meta.free != b.meta.free:
        call.fail("shape-mismatch", f"'{a.label}' has {a.meta.free} elements a partition, '{b.label}' has {b.meta.free}",
                  b, got=f"{a.meta.describe()} and {b.meta.describe()}",
                  remedy="To combine a tile with one value a partition use nisa.tensor_scalar.")
    _not_both_psum(call, a, b)
    if op.bitvec:
        _integers(call, a, b)
    integer = a.dtype == b.dtype and a.dtype in _WIDE_INTEGERS and op.name in ("add", "subtract", "multiply")
    if op.name == "power" or integer:
        engine = wanted or GPSIMD
        if engine != GPSIMD and op.name == "power":
            call.fail("engine", "'power' runs on GpSimdE only", got=engine, limit=GPSIMD)
    else:
        if wanted not in (None, VECTOR) and not (wanted == GPSIMD and op.name in ("add", "multiply")):
            call.fail("engine", f"tensor_tensor with '{op.name}' does not run on the {wanted} engine", got=wanted,
                      limit="vector (gpsimd for power, add, multiply and integer arithmetic)")
        engine = wanted or VECTOR
    _no_psum_on_gpsimd(call, engine, a, b)
    call.result(a.meta.shape, engine)
    shape = a.meta.shape
    reshape = b.meta.shape != shape
    if op.bitvec or (integer and engine == GPSIMD):
        function = op.function
        return Plan(engine, lambda x, y: function(x, y.reshape(shape)), shape)
    if a.array.dtype == np.float32 and b.array.dtype == np.float32 and not reshape:
        return Plan(engine, op.function, shape, dtypes.FLOAT32)

    def compute(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return op.function(dtypes.to_fp32(x), dtypes.to_fp32(y).reshape(shape))

    return Plan(engine, compute, shape, dtypes.FLOAT32)


def _bits(number: int, dtype: np.dtype) -> Any:
    """A constant of a bitwise operator: of the tile's type if its width is enough, else int32."""
    width = 8 * dtype.itemsize
    return alu.bits(number, dtype if -(1 << width - 1) <= number < 1 << width else dtypes.INT32)


def _stage(op: alu.AluOp, reverse: bool, partitions: int, ndim: int) -> Any:
    """One (data op operand) step: the operand is a number or one value a partition."""
    column = (partitions,) + (1,) * (ndim - 1)
    function = op.function

    def step(x: np.ndarray, operand: Any) -> np.ndarray:
        if isinstance(operand, np.ndarray):
            operand = (operand if op.bitvec else dtypes.to_fp32(operand)).reshape(column)
        elif op.bitvec:
            operand = _bits(operand, x.dtype)
        else:
            operand = np.float32(operand)
        if op.unary:
            return function(x, operand)
        return function(operand, x) if reverse else function(x, operand)

    return step


@instruction("tensor_scalar", "(data op0 operand0) op1 operand1, operands being numbers or one value a partition",
             f"{_ISA} tensor_scalar")
def TENSOR_SCALAR(call: Call) -> Plan:
    """attrs: (op0, reverse0, op1 or None, reverse1, engine or None). Sources: data, operand0, operand1."""
    op0, reverse0, op1, reverse1, wanted = call.attrs
    data = call.srcs[0]
    call.tile(data, "data")
    partitions = data.meta.partitions
    for number, operand in enumerate(call.srcs[1:]):
        call.vector(operand, partitions, f"operand{number}")
    ops = [op0] if op1 is None else [op0, op1]
    if len({op.bitvec for op in ops}) > 1:
        call.fail("operator", f"'{op0.name}' and '{op1.name}' mix bitwise and arithmetic operators",
                  got=f"{op0.name}, {op1.name}", remedy="Use two instructions.")
    if wanted == SCALAR:
        pair = (op0.name, op1.name if op1 else None)
        if call.target.nc_version < 3:
            call.fail("engine", "ScalarE runs tensor_scalar from NeuronCore-v3 on", got=f"target {call.target.name}",
                      remedy="Use nisa.activation(nl.copy, data, scale=...) or nisa.vector_engine.")
        if pair not in (("multiply", "add"), ("multiply", None), ("add", None)):
            call.fail("engine", f"ScalarE does not run {pair[0]}" + (f" then {pair[1]}" if pair[1] else ""),
                      got=str(pair), limit="multiply then add, multiply, or add")
        engine = SCALAR
    elif wanted == GPSIMD:
        if any(op.name not in ("rsqrt", "power", "add", "multiply") for op in ops):
            call.fail("engine", f"GpSimdE does not run tensor_scalar with {', '.join(op.name for op in ops)}",
                      got=wanted, limit="rsqrt (and power, add, multiply)")
        engine = GPSIMD
    else:
        only_gpsimd = [op for op in ops if VECTOR not in op.engines]
        engine = GPSIMD if only_gpsimd and wanted is None else VECTOR
        for op in ops:
            if engine not in op.engines:
                call.fail("engine", f"'{op.name}' does not run on the {engine} engine", got=op.name,
                          limit=", ".join(op.engines))
    if op0.bitvec:
        _integers(call, *call.srcs)
    _no_psum_on_gpsimd(call, engine, *call.srcs)
    shape = data.meta.shape
    call.result(shape, engine)
    first = _stage(op0, reverse0, partitions, len(shape))
    if op0.bitvec:
        second = _stage(op1, reverse1, partitions, len(shape)) if op1 else None
        return Plan(engine, lambda x, *o: second(first(x, o[0]), o[1]) if second else first(x, o[0]), shape)
    plain = (data.array.dtype == np.float32 and len(shape) == 2 and not any(op.unary for op in ops)
             and not reverse0 and not reverse1
             and all(o.meta.space == CONST or (o.array.dtype == np.float32 and o.ndim == 2) for o in call.srcs[1:]))
    if op1 is None:
        if plain:
            return Plan(engine, op0.function, shape, dtypes.FLOAT32)
        return Plan(engine, lambda x, o: first(dtypes.to_fp32(x), o), shape, dtypes.FLOAT32)
    if plain:  # float32 throughout: the numbers are weak scalars, the vectors broadcast
        f, g = op0.function, op1.function
        return Plan(engine, lambda x, o0, o1: g(f(x, o0), o1), shape, dtypes.FLOAT32)
    second = _stage(op1, reverse1, partitions, len(shape))

    def compute(x: np.ndarray, o0: Any, o1: Any) -> np.ndarray:
        return second(first(dtypes.to_fp32(x), o0), o1)

    return Plan(engine, compute, shape, dtypes.FLOAT32)


@instruction("scalar_tensor_tensor", "(data op0 operand0) op1 operand1, operand1 being a tile",
             f"{_ISA} scalar_tensor_tensor")
def SCALAR_TENSOR_TENSOR(call: Call) -> Plan:
    """attrs: (op0, reverse0, op1, reverse1). Sources: data, operand0 (number or vector), operand1 (tile)."""
    op0, reverse0, op1, reverse1 = call.attrs
    data, operand0, operand1 = call.srcs[:3]
    call.tile(data, "data")
    call.tile(operand1, "operand1")
    partitions = call.same_partitions(data, operand1)
    call.vector(operand0, partitions, "operand0")
    if operand1.meta.space == CONST or data.meta.free != operand1.meta.free:
        call.fail("shape-mismatch", "operand1 does not have the shape of data", operand1, limit=data.meta.shape,
                  remedy="For a number or one value a partition use nisa.tensor_scalar with op1.")
    _not_both_psum(call, data, operand1)
    for op in (op0, op1):
        if VECTOR not in op.engines:
            call.fail("operator", f"'{op.name}' does not run on VectorE", got=op.name)
    shape = data.meta.shape
    call.result(shape, VECTOR)
    first = _stage(op0, reverse0, partitions, len(shape))

    def compute(x: np.ndarray, o0: Any, y: np.ndarray) -> np.ndarray:
        left = first(x if op0.bitvec else dtypes.to_fp32(x), o0)
        right = (y if op1.bitvec else dtypes.to_fp32(y)).reshape(shape)
        return op1.function(right, left) if reverse1 else op1.function(left, right)

    return Plan(VECTOR, compute, shape, None if op1.bitvec else dtypes.FLOAT32)


def free_axes(call: Call, data: Tensor, axis: Any) -> tuple[int, ...]:
    """The reduction axes, checked: free, consecutive, ending with the last."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    resolved = []
    for a in axes:
        if not isinstance(a, (int, np.integer)) or isinstance(a, bool):
            call.fail("argument", "axis is no integer or tuple of integers", got=repr(axis))
        a = int(a) + data.ndim if a < 0 else int(a)
        if a >= data.ndim:
            call.fail("argument", f"axis {a} is beyond the {data.ndim} axes of '{data.label}'", data)
        if a == 0:
            call.fail("partition-axis", f"axis 0 of '{data.label}' is the partition axis, which VectorE cannot reduce",
                      data, limit="free axes: 1, 2, ...",
                      remedy="Transpose first (nisa.nc_transpose), or multiply by ones on TensorE (nisa.nc_matmul).")
        resolved.append(a)
    ordered = tuple(sorted(set(resolved)))
    if ordered != tuple(range(data.ndim - len(ordered), data.ndim)):
        call.fail("argument", f"axes {ordered} of '{data.label}' are not the last, consecutive axes", data,
                  limit=f"axes that end with {data.ndim - 1}", remedy="Reorder the free axes with an index grid.")
    return ordered


@instruction("tensor_reduce", "a reduction over the last free axes", f"{_ISA} tensor_reduce")
def TENSOR_REDUCE(call: Call) -> Plan:
    """attrs: (operator, axis, negate, keepdims)."""
    op, axis, negate, keepdims = call.attrs
    data = call.srcs[0]
    call.tile(data, "data")
    if op.reduce is None:
        call.fail("operator", f"'{op.name}' is no reduction", got=op.name,
                  limit="add, subtract, multiply, max, min, the logical and bitwise and/or/xor")
    if op.bitvec:
        _integers(call, data)
        if negate:
            call.fail("argument", "negate applies to arithmetic operators only", got=op.name)
    axes = free_axes(call, data, axis)
    kept = data.meta.shape[: data.ndim - len(axes)]
    shape = kept + (1,) * len(axes) if keepdims or len(kept) < 2 else kept
    if len(kept) < 2 and not keepdims:
        shape = kept + (1,)
    call.result(shape, VECTOR)
    reduce = op.reduce
    keep = shape == kept + (1,) * len(axes)
    where = axes[0] if len(axes) == 1 else axes
    if data.array.dtype == np.float32 and not negate and keep and isinstance(op.function, np.ufunc):
        def fast(x: np.ndarray) -> np.ndarray:
            return reduce(x, axis=where, keepdims=True)
        return Plan(VECTOR, fast, shape, dtypes.FLOAT32, kind="reduce", identity=op.identity, axes=axes)

    def compute(x: np.ndarray) -> np.ndarray:
        out = reduce(x if op.bitvec else dtypes.to_fp32(x), axis=where, keepdims=True).reshape(shape)
        return -out if negate else out

    identity = int(op.identity) if op.bitvec else op.identity
    return Plan(VECTOR, compute, shape, kind="reduce", identity=identity, axes=axes)


@instruction("tensor_scalar_reduce", "data op operand, and its reduction over all free axes",
             f"{_ISA} tensor_scalar_reduce")
def TENSOR_SCALAR_REDUCE(call: Call) -> Plan:
    """attrs: (op0, reverse0, reduce operator). Sources: data, operand0. `extra`: reduce_res."""
    op0, reverse0, reduce_op = call.attrs
    data, operand0 = call.srcs[:2]
    call.tile(data, "data")
    partitions = data.meta.partitions
    call.vector(operand0, partitions, "operand0")
    if op0.bitvec:
        call.fail("operator", f"'{op0.name}' is bitwise", got=op0.name, limit="arithmetic operators")
    if reduce_op.name not in ("add", "subtract", "multiply", "maximum", "minimum"):
        call.fail("operator", f"'{reduce_op.name}' is no reduce_op", got=reduce_op.name,
                  limit="nl.add, nl.subtract, nl.multiply, nl.max, nl.min")
    assert call.extra is not None
    call.vector(call.extra, partitions, "reduce_res")
    shape = data.meta.shape
    call.result(shape, VECTOR)
    first = _stage(op0, reverse0, partitions, len(shape))
    axes = tuple(range(1, len(shape)))

    def compute(program: Any, x: np.ndarray, o: Any) -> tuple[np.ndarray, np.ndarray]:
        out = first(dtypes.to_fp32(x), o)
        kept = out if program.active_mask is None else np.where(program.active_mask, out,
                                                                np.float32(reduce_op.identity))
        return out, reduce_op.reduce(kept, axis=axes).reshape(partitions, 1)

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32, stateful=True)


@instruction("tensor_tensor_scan", "a running (state op0 data0) op1 data1 along the free axis",
             f"{_ISA} tensor_tensor_scan")
def TENSOR_TENSOR_SCAN(call: Call) -> Plan:
    """attrs: (op0, op1, reverse0, reverse1). Sources: data0, data1, initial."""
    op0, op1, reverse0, reverse1 = call.attrs
    data0, data1, initial = call.srcs[:3]
    call.tile(data0, "data0")
    call.tile(data1, "data1")
    partitions = call.same_partitions(data0, data1)
    call.vector(initial, partitions, "initial")
    _not_both_psum(call, data0, data1)
    if data0.meta.shape != data1.meta.shape or data0.ndim != 2:
        call.fail("shape-mismatch", f"'{data0.label}' and '{data1.label}' are not two tiles of one 2-D shape", data1)
    shape = data0.meta.shape
    call.result(shape, VECTOR)

    def compute(x: np.ndarray, y: np.ndarray, start: Any) -> np.ndarray:
        x, y = dtypes.to_fp32(x), dtypes.to_fp32(y)
        out = np.empty(shape, dtype=np.float32)
        state = dtypes.to_fp32(start)[:, 0] if isinstance(start, np.ndarray) else np.full(partitions, start, np.float32)
        for i in range(shape[1]):
            inner = op0.function(state, x[:, i]) if reverse0 else op0.function(x[:, i], state)
            state = op1.function(y[:, i], inner) if reverse1 else op1.function(inner, y[:, i])
            out[:, i] = state
        return out

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32, kind="scan")


@instruction("reciprocal", "1 / data, at VectorE's precision", f"{_ISA} reciprocal")
def RECIPROCAL(call: Call) -> Plan:
    """attrs: ()."""
    data = call.srcs[0]
    call.tile(data, "data")
    call.result(data.meta.shape, VECTOR)

    def compute(x: np.ndarray) -> np.ndarray:
        return np.float32(1) / dtypes.to_fp32(x)

    return Plan(VECTOR, compute, data.meta.shape, dtypes.FLOAT32)


@instruction("tensor_copy", "a copy, casting if the dtypes differ", f"{_ISA} tensor_copy")
def TENSOR_COPY(call: Call) -> Plan:
    """attrs: (engine or None,). The destination may be larger: a source axis of one is then repeated."""
    engine = call.attrs[0] or VECTOR
    src = call.srcs[0]
    call.tile(src, "source")
    if engine not in (VECTOR, SCALAR, GPSIMD):
        call.fail("engine", f"tensor_copy does not run on the {engine} engine", got=engine, limit="vector, scalar, gpsimd")
    _no_psum_on_gpsimd(call, engine, src)
    shape = src.meta.shape
    through_fp32 = engine == SCALAR and call.target.nc_version == 2
    if call.dst is not None and call.dst.meta.shape != shape:
        shape = _assignable(call, src)
    call.result(shape, engine)
    repeat = shape != src.meta.shape and call.dst is not None and call.dst.meta.size != src.meta.size

    def compute(x: np.ndarray) -> np.ndarray:
        if through_fp32:
            x = dtypes.to_fp32(x)
        return np.broadcast_to(x, shape) if repeat else x.reshape(shape)

    if not through_fp32 and shape == src.meta.shape:
        return Plan(engine, np.ndarray.copy, shape, src.array.dtype)
    return Plan(engine, lambda x: compute(x).copy(), shape)


def _assignable(call: Call, src: Tensor) -> tuple[int, ...]:
    """The destination's shape, if the source can be assigned to it."""
    dst = call.dst
    assert dst is not None
    have, want = src.meta.shape, dst.meta.shape
    same_p = src.meta.partitions == dst.meta.partitions
    if same_p and src.meta.free == dst.meta.free:
        return want
    if same_p:
        try:
            if np.broadcast_shapes(have, want) == want:
                return want
        except ValueError:
            pass
    smaller = dst.meta.size < src.meta.size
    call.fail("assign-shape" if smaller or same_p else "partition-mismatch",
              f"'{src.label}' of shape {have} cannot be assigned to '{dst.label}' of shape {want}", dst,
              got=f"{src.meta.describe()} -> {dst.meta.describe()}", limit=want,
              remedy="Give both the same shape; partitions are never broadcast by an assignment.")
    return want


@instruction("memset", "a tile filled with a number", f"{_ISA} memset")
def MEMSET(call: Call) -> Plan:
    """attrs: (shape, engine or None). Source: the number."""
    shape, wanted = call.attrs
    engine = wanted or VECTOR
    if engine not in (VECTOR, GPSIMD):
        call.fail("engine", f"memset does not run on the {engine} engine", got=engine, limit="vector, gpsimd")
    call.result(shape, engine)

    def compute(value: Any) -> np.ndarray:
        return np.full(shape, value, dtype=np.int64 if isinstance(value, int) else np.float32)

    want = dtypes.storage(call.dst.dtype if call.dst is not None else call.dtype)  # type: ignore[arg-type]
    if want == np.float32:
        return Plan(engine, lambda value: np.full(shape, value, dtype=np.float32), shape, dtypes.FLOAT32)
    return Plan(engine, compute, shape)


@instruction("vector_transpose", "the partition and free axes of a tile of at most 32 x 32 swapped",
             f"{_ISA} nc_transpose, engine=vector")
def VECTOR_TRANSPOSE(call: Call) -> Plan:
    """attrs: ()."""
    data = call.srcs[0]
    call.tile(data, "operand")
    partitions, free = data.meta.partitions, data.meta.free
    if partitions > 32 or free > 32:
        call.fail("dimension-limit", f"'{data.label}' is {partitions} x {free}", data, limit="32 x 32 on VectorE",
                  remedy="Use nisa.tensor_engine (SBUF to PSUM), or transpose blocks of 32 x 32.")
    shape = (free, partitions)
    call.result(shape, VECTOR)
    return Plan(VECTOR, lambda a: a.reshape(partitions, free).T.copy(), shape, kind="transpose")


@instruction("select", "elements of one operand or the other, by a predicate tile; optionally the row maxima",
             f"{_ISA} tensor_copy_predicated, select_reduce; nki.language where")
def SELECT(call: Call) -> Plan:
    """attrs: (reverse, reduce_cmd or None). Sources: predicate (tile), on_true, on_false (each tile or number).

    `extra`: reduce_res, where the registers of the maximum are read to.
    """
    reverse, cmd = call.attrs
    predicate, on_true, on_false = call.srcs[:3]
    call.tile(predicate, "predicate")
    shape = predicate.meta.shape
    for operand, what in ((on_true, "on_true"), (on_false, "on_false")):
        if operand.meta.space == CONST:
            continue
        call.tile(operand, what)
        call.same_partitions(predicate, operand)
        if operand.meta.free not in (1, predicate.meta.free):
            call.fail("shape-mismatch", f"{what} '{operand.label}' does not have the shape of the predicate", operand,
                      limit=shape)
    _not_both_psum(call, predicate, on_true)
    call.result(shape, VECTOR)
    partitions = shape[0]
    column = (partitions,) + (1,) * (len(shape) - 1)
    fit = [None if t.meta.space == CONST else shape if t.meta.free == predicate.meta.free else column
           for t in (on_true, on_false)]

    def choose(p: np.ndarray) -> np.ndarray:
        return (p == 0) if reverse else (p != 0)

    def compute(p: np.ndarray, x: Any, y: Any) -> np.ndarray:
        chosen = choose(p)
        values = [v if f is None else v.reshape(f) for v, f in zip((x, y), fit)]
        if any(isinstance(v, np.ndarray) and v.dtype.kind in "iub" for v in values):
            return np.where(chosen, *values)
        return np.where(chosen, *[dtypes.to_fp32(v) if isinstance(v, np.ndarray) else np.float32(v) for v in values])

    def depends(p: np.ndarray, x: Any, y: Any) -> tuple[Any, ...]:
        chosen = choose(p)
        return True, chosen, ~chosen

    if cmd is None:
        return Plan(VECTOR, compute, shape, depends=depends)
    assert call.extra is not None
    call.vector(call.extra, partitions, "reduce_res")
    call.floating(call.extra, "reduce_res")
    start = predicate.meta.pstart
    rows = slice(start, start + partitions)
    axes = tuple(range(1, len(shape)))

    def reducing(program: Any, p: np.ndarray, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        out = compute(p, x, y)
        kept = out if program.active_mask is None else np.where(program.active_mask, out, np.float32(-np.inf))
        rowmax = np.maximum.reduce(dtypes.to_fp32(kept), axis=axes).reshape(partitions, 1)
        if cmd == REDUCE:
            rowmax = np.maximum(registers_of(program, VECTOR).read(rows, call.api), rowmax)
        registers_of(program, VECTOR).write(rows, rowmax)
        return out, rowmax

    def effect(program: Any) -> None:
        if cmd == REDUCE:
            registers_of(program, VECTOR).read(rows, call.api)
        registers_of(program, VECTOR).write(rows, 0)

    return Plan(VECTOR, reducing, shape, stateful=True, effect=effect, depends=depends)


_ASSUMED = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "cos": np.cos, "tan": np.tan, "mod": np.mod, "fmod": np.fmod}


@instruction("elementwise", "functions of nki.language whose lowering the documents do not give: "
             + ", ".join(_ASSUMED), "assumed: one pass of VectorE")
def ELEMENTWISE(call: Call) -> Plan:
    """attrs: (function name,). Sources: a tile, and for mod and fmod a tile of its shape or a number."""
    data = call.srcs[0]
    call.tile(data, "operand")
    shape = data.meta.shape
    for other in call.srcs[1:]:
        call.tile(other, "operand")
        if other.meta.space != CONST and other.meta.shape != shape:
            call.fail("shape-mismatch", f"'{other.label}' does not have the shape of '{data.label}'", other, limit=shape)
    call.result(shape, VECTOR)
    function = _ASSUMED[call.attrs[0]]

    def compute(*operands: Any) -> np.ndarray:
        return function(*[dtypes.to_fp32(o) if isinstance(o, np.ndarray) else np.float32(o) for o in operands])

    return Plan(VECTOR, compute, shape, dtypes.FLOAT32)
