"""Random programs as kernels of `nki`."""

from __future__ import annotations

from typing import Any

import nki.isa as nisa
import nki.language as nl

from tests.nkisim.random_programs.steps import Step

_REDUCTIONS = {"add": nl.sum, "maximum": nl.max, "minimum": nl.min}


def _tile(shape: Any, dtype: Any, buffer: Any = nl.sbuf) -> Any:
    return nl.ndarray(shape, dtype=dtype, buffer=buffer)


def load(env: dict[int, Any], s: Step) -> Any:
    first, last = s.how["rows"]
    source = env[s.operands[0]][first:last]
    if first % 2:
        return nl.load(source, dtype=s.how["dtype"])
    out = _tile(source.shape, s.how["dtype"])
    nisa.dma_copy(dst=out, src=source)
    return out


def two(env: dict[int, Any], s: Step) -> Any:
    a, b = (env[n] for n in s.operands)
    op = getattr(nl, s.how["op"])
    if not s.how["nisa"]:
        return op(a, b, dtype=s.how["dtype"])
    out = _tile(a.shape, s.how["dtype"])
    nisa.tensor_tensor(out, a, b, op)
    return out


def with_number(env: dict[int, Any], s: Step) -> Any:
    data, *columns = (env[n] for n in s.operands)
    given: dict[str, Any] = {}
    for i in range(2):
        if f"op{i}" in s.how:
            value = s.how[f"value{i}"]
            given[f"op{i}"] = getattr(nl, s.how[f"op{i}"])
            given[f"operand{i}"] = columns.pop(0) if value is None else value
            given[f"reverse{i}"] = s.how[f"reverse{i}"]
    out = _tile(data.shape, s.how["dtype"])
    nisa.tensor_scalar(out, data, **given)
    return out


def function(env: dict[int, Any], s: Step) -> Any:
    return getattr(nl, s.how["op"])(env[s.operands[0]], dtype=s.how["dtype"])


def activation(env: dict[int, Any], s: Step) -> Any:
    data, *bias = (env[n] for n in s.operands)
    given: dict[str, Any] = {"scale": s.how["scale"]}
    if bias:
        given["bias"] = bias[0]
    out = _tile(data.shape, s.how["dtype"])
    op = getattr(nl, s.how["op"])
    if s.how["sums"] is None:
        nisa.activation(out, op, data, **given)
        return out
    sums = env[s.how["sums"]] = _tile((data.shape[0], 1), nl.float32)
    nisa.activation_reduce(out, op, data, nl.add, sums, **given)
    return out


def reduce(env: dict[int, Any], s: Step) -> Any:
    x, op, dtype = env[s.operands[0]], s.how["op"], s.how["dtype"]
    if not s.how["negate"]:
        return _REDUCTIONS[op](x, axis=s.how["axes"], dtype=dtype)
    kept = x.shape[: s.how["axes"][0]]
    out = _tile(kept if len(kept) > 1 else (*kept, 1), dtype)
    nisa.tensor_reduce(out, getattr(nl, op), x, axis=s.how["axes"], negate=True)
    return out


def cast(env: dict[int, Any], s: Step) -> Any:
    x = env[s.operands[0]]
    out = _tile(x.shape, s.how["dtype"])
    nisa.tensor_copy(out, x)
    return out


def turn(env: dict[int, Any], s: Step) -> Any:
    x = env[s.operands[0]]
    vector = s.how["vector"]
    out = _tile(x.shape[::-1], s.how["dtype"], nl.sbuf if vector else nl.psum)
    nisa.nc_transpose(out, x, engine=nisa.engine.vector if vector else nisa.engine.tensor)
    return out


def matmul(env: dict[int, Any], s: Step) -> Any:
    pairs = [tuple(env[n] for n in s.operands[i : i + 2]) for i in range(0, len(s.operands), 2)]
    if s.how["loop"]:
        out = nl.matmul(*pairs.pop(0), transpose_x=True)
    else:
        out = _tile((pairs[0][0].shape[1], pairs[0][1].shape[1]), nl.float32, nl.psum)
    for a, b in pairs:
        nisa.nc_matmul(out, a, b)
    return out


def select(env: dict[int, Any], s: Step) -> Any:
    condition, a, *b = (env[n] for n in s.operands)
    return nl.where(condition, a, b[0] if b else s.how["value"], dtype=s.how["dtype"])


def affine(env: dict[int, Any], s: Step) -> Any:
    x = env[s.operands[0]]
    out = _tile(x.shape, s.how["dtype"])
    pattern = [[s.how["step"], x.shape[1]]]
    nisa.affine_select(
        out,
        pattern,
        s.how["across"],
        x,
        s.how["value"],
        cmp_op=getattr(nl, s.how["op"]),
        offset=s.how["offset"],
    )
    return out


def predicated(env: dict[int, Any], s: Step) -> None:
    dst, src, predicate = (env[n] for n in s.operands)
    nisa.tensor_copy_predicated(dst, src, predicate)


def bits(env: dict[int, Any], s: Step) -> Any:
    a, *b = (env[n] for n in s.operands)
    other = b[0] if b else s.how["value"]
    return getattr(nl, s.how["op"])(a, other, dtype=s.how["dtype"])


def iota(env: dict[int, Any], s: Step) -> Any:
    out = _tile(s.how["shape"], s.how["dtype"])
    pattern = [[s.how["step"], s.how["shape"][1]]]
    nisa.iota(out, pattern, offset=s.how["offset"], channel_multiplier=s.how["across"])
    return out


def largest(env: dict[int, Any], s: Step) -> Any:
    x = env[s.operands[0]]
    out = _tile((x.shape[0], 8), s.how["dtype"])
    nisa.max8(out, x)
    return out


def scan(env: dict[int, Any], s: Step) -> Any:
    a, b = (env[n] for n in s.operands)
    out = _tile(a.shape, s.how["dtype"])
    op0, op1 = getattr(nl, s.how["op0"]), getattr(nl, s.how["op1"])
    nisa.tensor_tensor_scan(out, a, b, s.how["initial"], op0, op1)
    return out


def gather(env: dict[int, Any], s: Step) -> Any:
    data, index = (env[n] for n in s.operands)
    out = _tile(s.how["shape"], s.how["dtype"])
    nisa.nc_n_gather(out, data, index)
    return out


def rows(env: dict[int, Any], s: Step) -> Any:
    table, index = (env[n] for n in s.operands)
    p, f = s.how["shape"]
    out = _tile((p, f), s.how["dtype"])
    if s.how["pattern"]:
        picked = table.ap(pattern=[[f, p], [1, f]], vector_offset=index, indirect_dim=0)
    else:
        picked = table.vector_select(0, index)
    nisa.dma_copy(dst=out, src=picked)
    return out


def blank(env: dict[int, Any], s: Step) -> Any:
    return _tile(s.how["shape"], s.how["dtype"])


def into(env: dict[int, Any], s: Step) -> None:
    dst, src = (env[n] for n in s.operands)
    part = slice(*s.how["part"])
    nisa.tensor_copy(dst[:, part], src[:, part])


def sliced(env: dict[int, Any], s: Step) -> Any:
    return env[s.operands[0]][slice(*s.how["rows"]), slice(*s.how["columns"])]


def shaped(env: dict[int, Any], s: Step) -> Any:
    return env[s.operands[0]].reshape_dim(1, s.how["shape"][1:])


def retyped(env: dict[int, Any], s: Step) -> Any:
    view = env[s.operands[0]].view(s.how["dtype"])
    part = view[:, 0 : view.shape[1] : s.how["step"]]
    out = _tile(part.shape, s.how["dtype"])
    nisa.tensor_copy(out, part)
    return out


def words(env: dict[int, Any], s: Step) -> Any:
    source, out = env[s.operands[0]], _tile(s.how["shape"], s.how["dtype"])
    view = out.view(nl.uint8)
    count = len(s.how["order"])
    for part in s.how["order"]:
        nisa.tensor_copy(view[:, part::count], source[:, part::count])
    return out


def loop_columns(env: dict[int, Any], s: Step) -> Any:
    x, op = env[s.operands[0]], getattr(nl, s.how["op"])
    width = s.how["shape"][1] // s.how["blocks"]
    out = _tile(s.how["shape"], s.how["dtype"])
    for i in range(s.how["blocks"]):
        part = slice(i * width, (i + 1) * width)
        nisa.tensor_scalar(out[:, part], x[:, part], op, s.how["value"])
    return out


def loop_sum(env: dict[int, Any], s: Step) -> Any:
    x, op = env[s.operands[0]], getattr(nl, s.how["op"])
    width = s.how["shape"][1]
    out = nl.zeros(s.how["shape"], dtype=nl.float32)

    def add(start: Any) -> None:
        nisa.tensor_tensor(out, out, x[:, nl.ds(start, width)], op)

    if s.how["device"]:
        nl.fori_loop(0, s.how["blocks"] * width, add, step=width)
    else:
        for i in range(s.how["blocks"]):
            add(i * width)
    return out


def loop_rows(env: dict[int, Any], s: Step) -> Any:
    source, width = env[s.operands[0]], s.how["width"]
    out = nl.zeros(s.how["shape"], dtype=nl.float32)
    part = _tile(s.how["shape"], s.how["dtype"])

    def add(start: Any) -> None:
        nisa.dma_copy(dst=part, src=source[:, nl.ds(start, width)])
        nisa.tensor_tensor(out, out, part, nl.add)

    if s.how["kind"] == "fori":
        nl.fori_loop(0, s.how["blocks"] * width, add, step=width)
        return out
    counter = nl.full((1, 1), s.how["blocks"], dtype=nl.int32)

    def body(register: Any) -> Any:
        nisa.tensor_scalar(counter, counter, nl.subtract, 1)
        place = nl.multiply(counter, width)
        at = nisa.register_alloc()
        nisa.register_load(at, place)
        add(at)
        nisa.register_load(register, counter)
        return register

    nl.while_loop(nisa.register_alloc(counter), body)
    return out


def store(env: dict[int, Any], s: Step) -> None:
    x = env[s.operands[0]]
    if nl.is_psum(x.buffer):
        x = nl.copy(x)
    nisa.dma_copy(dst=env[-1][s.how["place"]], src=x)
