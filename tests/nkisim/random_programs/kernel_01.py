"""Random programs as kernels of `neuronxcc.nki`."""

from __future__ import annotations

from typing import Any

import neuronxcc.nki.isa as nisa
import neuronxcc.nki.language as nl

from tests.nkisim.random_programs.steps import Step

_REDUCTIONS = {"add": nl.sum, "maximum": nl.max, "minimum": nl.min}
_OPERATORS = {"add": "add", "maximum": "max", "minimum": "min"}


def load(env: dict[int, Any], s: Step) -> Any:
    first, last = s.how["rows"]
    source = env[s.operands[0]]
    return nl.load(source[first:last], dtype=s.how["dtype"])


def two(env: dict[int, Any], s: Step) -> Any:
    a, b = (env[n] for n in s.operands)
    op = getattr(nl, s.how["op"])
    if s.how["nisa"]:
        return nisa.tensor_tensor(a, b, op=op, dtype=s.how["dtype"])
    return op(a, b, dtype=s.how["dtype"])


def with_number(env: dict[int, Any], s: Step) -> Any:
    data, *columns = (env[n] for n in s.operands)
    given: dict[str, Any] = {}
    for i in range(2):
        if f"op{i}" in s.how:
            value = s.how[f"value{i}"]
            given[f"op{i}"] = getattr(nl, s.how[f"op{i}"])
            given[f"operand{i}"] = columns.pop(0) if value is None else value
            given[f"reverse{i}"] = s.how[f"reverse{i}"]
    return nisa.tensor_scalar(data, dtype=s.how["dtype"], **given)


def function(env: dict[int, Any], s: Step) -> Any:
    return getattr(nl, s.how["op"])(env[s.operands[0]], dtype=s.how["dtype"])


def activation(env: dict[int, Any], s: Step) -> Any:
    data, *bias = (env[n] for n in s.operands)
    given: dict[str, Any] = {"scale": s.how["scale"], "dtype": s.how["dtype"]}
    if bias:
        given["bias"] = bias[0]
    op = getattr(nl, s.how["op"])
    if s.how["sums"] is None:
        return nisa.activation(op, data, **given)
    sums = nl.ndarray((data.shape[0], 1), dtype=nl.float32)
    env[s.how["sums"]] = sums
    return nisa.activation_reduce(op, data, reduce_op=nl.add, reduce_res=sums, **given)


def reduce(env: dict[int, Any], s: Step) -> Any:
    x, op, dtype = env[s.operands[0]], s.how["op"], s.how["dtype"]
    if s.how["negate"]:
        return nisa.tensor_reduce(getattr(nl, op), x, axis=s.how["axes"], dtype=dtype, negate=True)
    return _REDUCTIONS[op](x, axis=s.how["axes"], dtype=dtype)


def cast(env: dict[int, Any], s: Step) -> Any:
    return nl.copy(env[s.operands[0]], dtype=s.how["dtype"])


def turn(env: dict[int, Any], s: Step) -> Any:
    engine = nisa.vector_engine if s.how["vector"] else nisa.tensor_engine
    return nisa.nc_transpose(env[s.operands[0]], engine=engine)


def matmul(env: dict[int, Any], s: Step) -> Any:
    pairs = [tuple(env[n] for n in s.operands[i : i + 2]) for i in range(0, len(s.operands), 2)]
    shape = (pairs[0][0].shape[1], pairs[0][1].shape[1])
    if len(pairs) == 1 and not s.how["loop"]:
        return nisa.nc_matmul(*pairs[0])
    out = nl.zeros(shape, dtype=nl.float32, buffer=nl.psum)
    if s.how["loop"]:
        for i in nl.affine_range(len(pairs)):
            out += nisa.nc_matmul(*pairs[i])
        return out
    for a, b in pairs:
        out += nl.matmul(a, b, transpose_x=True)
    return out


def select(env: dict[int, Any], s: Step) -> Any:
    condition, a, *b = (env[n] for n in s.operands)
    return nl.where(condition, a, b[0] if b else s.how["value"], dtype=s.how["dtype"])


def affine(env: dict[int, Any], s: Step) -> Any:
    x = env[s.operands[0]]
    rows, columns = nl.arange(x.shape[0])[:, None], nl.arange(x.shape[1])[None, :]
    place = rows * s.how["across"] + columns * s.how["step"] + s.how["offset"]
    holds = {
        "greater_equal": place >= 0,
        "less": place < 0,
        "equal": place == 0,
        "not_equal": place != 0,
        "greater": place > 0,
        "less_equal": place <= 0,
    }[s.how["op"]]
    return nisa.affine_select(holds, x, s.how["value"], dtype=s.how["dtype"])


def predicated(env: dict[int, Any], s: Step) -> None:
    dst, src, predicate = (env[n] for n in s.operands)
    nisa.tensor_copy_predicated(src=src, dst=dst, predicate=predicate)


def bits(env: dict[int, Any], s: Step) -> Any:
    a, *b = (env[n] for n in s.operands)
    other = b[0] if b else s.how["value"]
    return getattr(nl, s.how["op"])(a, other, dtype=s.how["dtype"])


def iota(env: dict[int, Any], s: Step) -> Any:
    p, f = s.how["shape"]
    rows, columns = nl.arange(p)[:, None], nl.arange(f)[None, :]
    place = rows * s.how["across"] + columns * s.how["step"] + s.how["offset"]
    return nisa.iota(place, dtype=s.how["dtype"])


def largest(env: dict[int, Any], s: Step) -> Any:
    return nisa.max8(src=env[s.operands[0]])


def scan(env: dict[int, Any], s: Step) -> Any:
    a, b = (env[n] for n in s.operands)
    op0, op1 = getattr(nl, s.how["op0"]), getattr(nl, s.how["op1"])
    return nisa.tensor_tensor_scan(a, b, s.how["initial"], op0, op1, dtype=s.how["dtype"])


def gather(env: dict[int, Any], s: Step) -> Any:
    data, index = (env[n] for n in s.operands)
    return nl.gather_flattened(data, index)


def rows(env: dict[int, Any], s: Step) -> Any:
    table, index = (env[n] for n in s.operands)
    p, f = s.how["shape"]
    i_p, i_f = nl.arange(p)[:, None], nl.arange(f)[None, :]
    if s.how["pattern"]:
        out = nl.ndarray((p, f), dtype=s.how["dtype"])
        nisa.dma_copy(dst=out, src=table[index[i_p, 0], i_f])
        return out
    return nl.load(table[index[i_p, 0], i_f])


def blank(env: dict[int, Any], s: Step) -> Any:
    return nl.ndarray(s.how["shape"], dtype=s.how["dtype"])


def into(env: dict[int, Any], s: Step) -> None:
    dst, src = (env[n] for n in s.operands)
    first, last, step = s.how["part"]
    if step == 1:
        dst[:, first:last] = src[:, first:last]
        return
    i_p, i_f = nl.arange(dst.shape[0])[:, None], nl.arange(dst.shape[1] // step)[None, :]
    dst[i_p, first + i_f * step] = nl.copy(src[i_p, first + i_f * step])


def sliced(env: dict[int, Any], s: Step) -> Any:
    return env[s.operands[0]][slice(*s.how["rows"]), slice(*s.how["columns"])]


def shaped(env: dict[int, Any], s: Step) -> Any:
    return env[s.operands[0]].reshape(s.how["shape"])


def retyped(env: dict[int, Any], s: Step) -> Any:
    view = env[s.operands[0]].view(s.how["dtype"])
    return nl.copy(view[:, 0 : view.shape[1] : s.how["step"]])


def words(env: dict[int, Any], s: Step) -> Any:
    source, out = env[s.operands[0]], nl.ndarray(s.how["shape"], dtype=s.how["dtype"])
    view = out.view(nl.uint8)
    count = len(s.how["order"])
    for part in s.how["order"]:
        view[:, part::count] = source[:, part::count]
    return out


def loop_columns(env: dict[int, Any], s: Step) -> Any:
    x, op = env[s.operands[0]], getattr(nl, s.how["op"])
    width = s.how["shape"][1] // s.how["blocks"]
    out = nl.ndarray(s.how["shape"], dtype=s.how["dtype"])
    for i in getattr(nl, s.how["kind"])(s.how["blocks"]):
        part = nl.ds(i * width, width)
        out[:, part] = op(x[:, part], s.how["value"], dtype=s.how["dtype"])
    return out


def loop_sum(env: dict[int, Any], s: Step) -> Any:
    x, op = env[s.operands[0]], getattr(nl, s.how["op"])
    width = s.how["shape"][1]
    out = nl.zeros(s.how["shape"], dtype=nl.float32)
    for i in nl.sequential_range(s.how["blocks"]):
        out[...] = op(out, x[:, nl.ds(i * width, width)], dtype=nl.float32)
    return out


def masked(env: dict[int, Any], s: Step) -> Any:
    a, b = (env[n] for n in s.operands)
    out = nl.full(s.how["shape"], s.how["fill"], dtype=nl.float32)
    i_p, i_f = nl.arange(a.shape[0])[:, None], nl.arange(a.shape[1])[None, :]
    inside = (i_p < s.how["rows"]) & (i_f < s.how["columns"])
    op = getattr(nl, s.how["op"])
    out[i_p, i_f] = op(a[i_p, i_f], b[i_p, i_f], dtype=nl.float32, mask=inside)
    return out


def masked_load(env: dict[int, Any], s: Step) -> Any:
    p, f = s.how["shape"]
    out = nl.full((p, f), 1.0, dtype=s.how["dtype"])
    i_p, i_f = nl.arange(p)[:, None], nl.arange(f)[None, :]
    out[i_p, i_f] = nl.load(env[s.operands[0]][i_p, i_f], mask=i_f < s.how["columns"])
    return out


def store(env: dict[int, Any], s: Step) -> None:
    nl.store(env[-1][s.how["place"]], env[s.operands[0]])
