"""What the text of a twin computes. Only the texts of this package are compiled so, never a
reader's."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nkisim.machine import narrow

from . import stepwise
from .twins import ONE_PASS, PAGED, PASSES, READ

F32 = NDArray[np.float32]
LOWEST = float(np.finfo(np.float32).min)
LANES = 128


@dataclass
class Ran:
    """What a text gives: the output, and what it kept after every tile, by name."""

    o: F32
    states: list[tuple[int, dict[str, F32]]] = field(default_factory=list)
    """With the head of each, in order."""

    @cached_property
    def kept(self) -> dict[str, list[F32]]:
        """Each quantity after every tile, once the text has been run."""
        found: dict[str, list[F32]] = {}
        for _, state in self.states:
            for name, value in state.items():
                found.setdefault(name, []).append(value)
        return found


class _Stopped(Exception):
    """The rows of a text's output that are there are enough."""


class _Rows:
    """The output of a text that writes each row once: after some it is asked whether these are
    enough, and no others are needed."""

    def __init__(self, o: F32, enough: Callable[[NDArray[np.bool_]], bool]) -> None:
        self.o = o
        self.done = np.zeros(o.shape[:2], bool)
        self.enough = enough

    def __setitem__(self, place: Any, value: F32) -> None:
        self.o[place] = value
        self.done[place] = True
        if np.count_nonzero(self.done) < self.done.size:
            new = np.zeros(self.done.shape, bool)
            new[place] = True
            if self.enough(new):
                raise _Stopped


def run(text: str, given: Mapping[str, Any]) -> Ran | None:
    """Run a text on the names that it reads; None where it cannot be run on them."""
    ran = Ran(np.full_like(given["o"], np.nan))
    return ran if _executed(text, given, ran, ran.o) else None


def _executed(text: str, given: Mapping[str, Any], ran: Ran, o: F32 | _Rows) -> bool:
    """Whether a text can be run on the names that it reads; fills `ran`, and `o` with the output.
    Raises _Stopped where `o` does."""
    states = ran.states

    def keep(head: int, **state: F32) -> None:
        states.append((head, state))

    def left(name: str, head: int | None, fresh: F32) -> F32:
        """What the last tile left there; `fresh` where none was."""
        own = (s for h, s in reversed(states) if (head is None or h == head) and name in s)
        return next(own, {name: fresh})[name]

    known = {**_NAMES, **given, "o": o, "keep": keep, "left": left}
    if not (isinstance(o, _Rows) and "turn" in given and _alone(text)):
        known["turn"] = range(given.get("B", 1))
    try:
        with np.errstate(all="ignore"):
            stepwise.run(stepwise.steps(text, _own), known)
    except (IndexError, ValueError, ZeroDivisionError, NameError, TypeError, AttributeError):
        return False
    return True


_ANSWERS: dict[tuple[str, bytes], Answered | None] = {}
_TEXTS: set[str] = set()  # that have an answer
MOST_ANSWERS = 32768  # of a kilobyte or two each


SMALLEST = 1e-34  # a sum below this has terms for which float32 has few digits: no two agree
_ONCE = "o[b, h * G : (h + 1) * G] = "  # what writes every row once
Wrong = Callable[[F32, NDArray[np.bool_]], bool]


class Answered(NamedTuple):
    """A text's output, the smallest of its sums that is not 0, which rows (B, Hq) are there, None
    where all are, and whether l and acc are finite, so that a NaN can only be 0 / 0."""

    o: F32
    least: float
    done: NDArray[np.bool_] | None = None
    finite: bool = True


def answer(
    text: str, given: Mapping[str, Any], digest: bytes, wrong: Wrong = lambda o, done: False
) -> Answered | None:
    """What `run(text, given)` answers, as far as it takes: once `wrong(o, done)` says that the rows
    which are done are not those that are looked for, the others are left out. It is remembered, as
    the small inputs of a stage are the same for every kernel; `digest` is that of `given`."""
    key = (text, digest)
    if key in _ANSWERS:
        found = _ANSWERS[key]
        if found is None or found.done is None or wrong(found.o, found.done):
            return found
    if len(_ANSWERS) >= MOST_ANSWERS:
        _ANSWERS.clear()
        _TEXTS.clear()
    _ANSWERS[key] = found = _answered(text, given, wrong)
    _TEXTS.add(text)
    return found


def is_known(text: str, digest: bytes | None = None) -> bool:
    """Whether `answer` has been asked for that before, or for that text, and remembers it."""
    return text in _TEXTS if digest is None else (text, digest) in _ANSWERS


def _answered(text: str, given: Mapping[str, Any], wrong: Wrong) -> Answered | None:
    ran = Ran(np.full_like(given["o"], np.nan))
    least = 0.0

    def enough(new: NDArray[np.bool_]) -> bool:
        nonlocal least
        if not wrong(ran.o, new):
            return False
        least = _least(ran)
        return least >= SMALLEST

    rows = _Rows(ran.o, enough)
    once = text.count("o[b") == 1 and _ONCE in text
    try:
        done = _executed(text, given, ran, rows if once else ran.o)
    except _Stopped:
        return Answered(ran.o, least, rows.done)
    summed = (x for name in ("l", "acc", "total", "mixed") for x in ran.kept.get(name, []))
    finite = all(np.isfinite(x).all() for x in summed)
    return Answered(ran.o, _least(ran), finite=finite) if done else None


def _least(ran: Ran) -> float:
    """The smallest size of a sum that is not 0, and at most 1."""
    least = 1.0
    for _, state in ran.states:
        if "l" in state:
            sizes = np.abs(state["l"])
            least = float(np.minimum.reduce(sizes, None, initial=least, where=sizes > 0))
    return least


def digest(given: Mapping[str, Any]) -> bytes:
    """A short name of what a text reads: names, numbers, and arrays with shape, type and bytes."""
    import hashlib  # takes 6 ms, most of which is OpenSSL

    return hashlib.blake2b(pickle.dumps(sorted(given.items())), digest_size=16).digest()


@lru_cache(maxsize=8192)
def _own(line: str) -> str:
    """A line, or several of them, as it is executed."""
    return _SHARED[line][0] if line in _SHARED else with_taken(line).replace(_EACH, _IN_TURN)


@lru_cache(maxsize=8192)
def _alone(text: str) -> bool:
    """Whether no sequence knows of those before it."""
    return "left(" not in text and all(text.count(line) == 1 for line in _ANEW)


_EACH, _IN_TURN = "for b in range(B):", "for b in turn:"
_ANEW = (_EACH, "        m = full((", "        l = zeros((", "        acc = zeros((")
"""What a text has once where no sequence knows of those before it: then they may come in turn."""


def with_taken(text: str) -> str:
    """A text that calls `taken` for the columns of a tile."""
    return READ.sub(r"taken(\1, b, h, keys)", text)


def _taken(x: F32, b: int, h: int, keys: Any) -> F32:
    """The columns of K or V that a tile takes."""
    columns: F32 = x[b, h][:, keys]
    return columns


def sharing(given: Mapping[str, Any], turn: Sequence[int]) -> dict[str, Any]:
    """What a text reads, and besides, in place of some of its functions, such as compute only once
    what the texts of all mistakes compute alike: the keys of a tile, in a row or in blocks, and
    every line of `_MOSTLY_RIGHT` whose values are such too. Sequences that know nothing of one
    another come in `turn`."""
    small = range(257)  # each such number is one object
    alike = {id(x): x for x in (*_NAMES.values(), *given.values(), *given["tiles"], *small)}
    """What no mistake has made different, by id: none of them ever goes away."""

    def sharing_it(compute: Callable[..., F32]) -> Callable[..., F32]:
        known: dict[tuple[int, ...], F32] = {}

        def same(*of: Any) -> F32:
            key = tuple(map(id, of))
            found = known.get(key)
            if found is None:
                found = compute(*of)
                for each in key:
                    if each not in alike:
                        return found
                alike[id(found)] = known[key] = found
            return found

        return same

    same = [sharing_it(compute) for compute in _COMPUTE]
    taken = sharing_it(_taken)
    picked: dict[tuple[Any, ...], F32] = {}

    def pick(blocks: F32, entry: Any, h: int, at: Any) -> F32:
        if id(blocks) not in alike:
            return _pick(blocks, entry, h, at)
        key = (id(blocks), h, _bytes(entry), _bytes(at))
        found = picked.get(key)
        if found is None:
            found = picked[key] = _pick(blocks, entry, h, at)
        return found

    alike |= {id(own): own for own in (taken, pick)}
    return {**given, "turn": turn, "taken": taken, "pick": pick, "same": same}


def _bytes(x: Any) -> tuple[Any, ...]:
    array = np.asarray(x)
    return array.shape, array.dtype, array.tobytes()


def _full(shape: tuple[int, ...], value: float) -> F32:
    return np.full(shape, value, np.float32)


def _bf16(value: Any) -> Any:
    return narrow.rounded_to_bfloat16(np.asarray(value, np.float32))


def _transposed(tile: F32) -> F32:
    """A tile whose square blocks, as wide as it is, are transposed each."""
    rows, n = tile.shape
    return tile.reshape(rows // n, n, n).swapaxes(1, 2).reshape(rows, n)


def _turned(count: int, back: int) -> NDArray[np.intp]:
    """Place 128 t + p holds p T + t; `back` the other way round."""
    order = np.arange(count).reshape((-1, LANES) if back else (LANES, -1))
    return order.T.reshape(-1)


def _pieces(count: int, width: int, back: int) -> NDArray[np.intp]:
    """`_turned` inside pieces of that width."""
    inside = _turned(width, back)
    return (np.arange(0, count, width)[:, None] + inside).reshape(-1)


def _other(count: int, width: int, rule: int) -> NDArray[np.intp]:
    """Pieces of `width` instead of others: 0 the first, -1 the one before, 1 the next, 2 the
    last, 3 from the last to the first."""
    t = np.arange(-(-count // width))
    source = {0: 0 * t, -1: np.maximum(t - 1, 0), 1: np.minimum(t + 1, len(t) - 1)}
    source[3] = len(t) - 1 - t
    chosen, place = source.get(rule, 0 * t + len(t) - 1), np.arange(count)
    return np.asarray(chosen[place // width] * width + place % width)


def _lanes(p: F32) -> F32:
    """The weights (G, keys) as (G, T, 128), where partition p has the keys p T + t."""
    return p.reshape(len(p), LANES, -1).swapaxes(1, 2)


def _dealt(p: F32, lane: Any) -> F32:
    """The sums (G, 128) of the weights (G, keys) whose keys lie on each lane."""
    return np.stack([p[:, lane == i].sum(axis=1) for i in range(LANES)], axis=1)


def _pick(blocks: F32, entry: Any, h: int, at: Any) -> F32:
    """Rows (keys, d) of a pool; 0 where an entry is not a block, which is what a skipped transfer
    leaves."""
    inside = (entry >= 0) & (entry < len(blocks))
    return np.where(inside[:, None], blocks[np.where(inside, entry, 0), h, at], np.float32(0))


def _flat(blocks: F32, row: Any) -> F32:
    """Rows of a pool seen as (n_blocks * Hkv * block, d)."""
    rows = blocks.reshape(-1, blocks.shape[-1])
    found: F32 = rows.take(np.clip(row, 0, len(rows) - 1), axis=0)
    return found


_NUMPY = (
    "exp exp2 abs maximum minimum stack concatenate arange float32 nan inf isfinite sqrt log "
    "where roll repeat broadcast_to ones_like square floor ceil"
)
_NAMES: dict[str, Any] = {
    **{name: getattr(np, name) for name in _NUMPY.split()},
    "taken": _taken,
    "full": _full,
    "zeros": lambda shape: _full(shape, 0.0),
    "ones": lambda shape: _full(shape, 1.0),
    "LOWEST": np.float32(LOWEST),
    "bf16": _bf16,
    "transposed": _transposed,
    "turned": _turned,
    "pieces": _pieces,
    "other": _other,
    "lanes": _lanes,
    "dealt": _dealt,
    "pick": _pick,
    "flat": _flat,
}

_MOSTLY_RIGHT = (
    *dict.fromkeys(
        line.strip()
        for text in (ONE_PASS, PASSES, PAGED)
        for line in text.splitlines()
        if " = " in line and not READ.search(line) and not line.lstrip().startswith(("o[", "m = m"))
    ),
    "m = maximum(m, m_tile)",
    "s = scale * (q[b, h * G : (h + 1) * G] @ taken(k, b, h, keys))",
    "s = where(keys >= lengths[b], LOWEST, s)",
    "values = where(keys >= lengths[b], 0, taken(v, b, h, keys))",
)
"""Lines that the texts of most mistakes have as they are: what comes before a mistake is the same
in all of them."""
_REPLACED = ("taken", "pick")  # functions that `sharing` puts others in place of


def _reads(value: str) -> list[str]:
    """The names that a text's expression reads, without the functions that are the same in all."""
    names = (node.id for node in ast.walk(ast.parse(value)) if isinstance(node, ast.Name))
    return [name for name in dict.fromkeys(names) if name not in _NAMES or name in _REPLACED]


def _shared(line: str, i: int) -> tuple[str, Callable[..., F32]]:
    """A line that calls the i-th of the functions `same` instead, and that function."""
    name, _, value = line.partition(" = ")
    given = ", ".join(_reads(value))
    compute: Callable[..., F32] = eval(f"lambda {given}: {value}", {**_NAMES})
    return f"{name} = same[{i}]({given})", compute


_SHARED = {line: _shared(line, i) for i, line in enumerate(_MOSTLY_RIGHT)}
_COMPUTE = [compute for _, compute in _SHARED.values()]
_NAMES["same"] = _COMPUTE
