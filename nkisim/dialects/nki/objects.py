"""Objects that kernels of this dialect build or hold: NKIObject, registers, instruction handles,
memory regions.

Source: aws-neuron-sdk v2.32.0 nki/api/nki/language/__init__.py (NKIObject, MemoryRegion),
nki/api/nki/isa/__init__.py (VirtualRegister, NkiInstruction),
nki/get-started/nki-language-guide.rst (Class Support).
"""

from __future__ import annotations

import inspect
import warnings
from enum import Enum
from typing import Any

from ...machine.memory import HBM, ON_CHIP, PSUM, SBUF
from ...rules.errors import broken


class MemoryRegion(Enum):
    """The memories in which tensors are made."""

    sbuf = "sbuf"
    psum = "psum"
    private_hbm = "private_hbm"
    shared_hbm = "shared_hbm"

    @property
    def space(self) -> str:
        """The memory as the machine knows it: "sbuf", "psum" or "hbm"."""
        return self.value if self.value in ON_CHIP else HBM

    def __repr__(self) -> str:
        return f"nl.{self.value}"


def _region(buffer: Any) -> str:
    return buffer.space if isinstance(buffer, MemoryRegion) else str(buffer)


def is_hbm(buffer: Any) -> bool:
    """Whether `buffer` is nl.shared_hbm or nl.private_hbm."""
    return _region(buffer) == HBM


def is_on_chip(buffer: Any) -> bool:
    """Whether `buffer` is nl.sbuf or nl.psum."""
    return _region(buffer) in ON_CHIP


def is_psum(buffer: Any) -> bool:
    """Whether `buffer` is nl.psum."""
    return _region(buffer) == PSUM


def is_sbuf(buffer: Any) -> bool:
    """Whether `buffer` is nl.sbuf."""
    return _region(buffer) == SBUF


def _fields(cls: type) -> dict[str, Any]:
    """The fields of a class and of the classes it extends, in order, with their defaults (None
    where there is none)."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base in (object, NKIObject):
            continue
        for name in inspect.get_annotations(base):
            found[name] = base.__dict__.get(name)
    return found


class NKIObject:
    """A class that kernels may use: like a dataclass, its fields are its annotated names and its
    class attributes.

    Without an `__init__` of its own a class takes its fields by position or by keyword; what is not
    given has its default, or None. `__post_init__` runs afterwards. `@dataclass` over it may, but
    need not, be written.
    """

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = inspect.get_annotations(cls)
        # attributes without an annotation are fields too
        for name, value in list(cls.__dict__.items()):
            plain = (
                not name.startswith("_")
                and not inspect.isroutine(value)
                and not isinstance(value, (property, classmethod, staticmethod, type))
                and not inspect.isdatadescriptor(value)
            )
            if plain and name not in own:
                own[name] = Any
        for name in own:
            if not hasattr(cls, name):  # what is left out is None, also under @dataclass
                setattr(cls, name, None)
        cls.__annotations__ = own

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        fields = _fields(type(self))
        if len(args) > len(fields):
            raise TypeError(
                f"{type(self).__name__} has {len(fields)} fields, {len(args)} values are given"
            )
        given = dict(zip(fields, args))
        for name, value in kwargs.items():
            if name not in fields:
                raise TypeError(
                    f"{type(self).__name__} has no field '{name}'; it has "
                    f"{', '.join(fields) or 'none'}"
                )
            if name in given:
                raise TypeError(f"{type(self).__name__}: the field '{name}' is given twice")
            given[name] = value
        for name, default in fields.items():
            object.__setattr__(self, name, given.get(name, default) if name in given else default)
        self.__post_init__()

    def __post_init__(self) -> None:
        """What a class does after its fields are set; nothing by default."""

    def __nki_convert__(self, convert: Any) -> Any:
        """A copy for the kernel, its arrays turned into tensors by convert(field, value)."""
        if not hasattr(self, "__dict__"):
            broken(
                "input",
                f"an argument is a {type(self).__name__} of another kernel",
                got=repr(self),
                remedy="Pass an array or a number.",
            )
        made = object.__new__(type(self))
        for name, value in self.__dict__.items():
            object.__setattr__(made, name, convert(name, value))
        return made

    def __repr__(self) -> str:
        values = ", ".join(f"{k}={v!r}" for k, v in getattr(self, "__dict__", {}).items())
        return f"{type(self).__name__}({values})"


class NkiInstruction(NKIObject):
    """What an instruction returns: a handle to add dependencies with. Here instructions run in the
    order written."""

    __slots__ = ("handle",)

    def __init__(self, handle: Any = None) -> None:
        self.handle = handle

    def depends_on(self, *producers: NkiInstruction) -> NkiInstruction:
        """This instruction shall run after `producers`; they must have been made before, so that it
        does."""
        for p in producers:
            if not isinstance(p, NkiInstruction):
                broken(
                    "argument",
                    f"depends_on takes instructions, not {type(p).__name__}",
                    got=repr(p)[:80],
                    remedy="Pass what nisa functions return: second.depends_on(first).",
                )
        return self

    def __repr__(self) -> str:
        return "<nki instruction>"


class VirtualRegister(NKIObject):
    """A scalar register of the device: allocated, loaded and stored by nisa.register_*."""

    __slots__ = ("_value", "frozen", "known")

    def __init__(self, state: int | None = None, frozen: bool = False) -> None:
        self._value = state
        self.frozen = frozen
        """Whether it is the variable of a loop, which cannot be written."""
        self.known = True
        """False once a run without values has loaded it from a tile."""

    def read(self, api: str) -> int:
        """The value; refused while there is none."""
        if not self.known:
            broken(
                "values-needed",
                f"{api}: what happens next depends on a register that was loaded from a tile",
                got="a run on shapes alone",
                remedy="Record with values: nkisim.record() without values=False.",
            )
        if self._value is None:
            broken(
                "uninitialized-read",
                f"{api}: a register is read before it is written",
                got="nisa.register_alloc()",
                remedy="Give it a value: nisa.register_alloc(0), nisa.register_move or "
                "nisa.register_load.",
            )
            raise AssertionError
        return self._value

    def write(self, value: int | None, api: str) -> None:
        """Set the value, cut to 32 bits; None where there is none, in a run on shapes alone."""
        if self.frozen:
            broken(
                "register",
                f"{api}: the register is the variable of a loop",
                got="a write to it",
                remedy="The loop counts by itself; keep other state in a register or tile of "
                "your own.",
            )
        self.known = value is not None
        value = 0 if value is None else value & 0xFFFFFFFF
        self._value = value - (1 << 32) if value >= 1 << 31 else value

    def _refuse(self, what: str) -> None:
        broken(
            "register",
            f"a register cannot {what} in Python",
            got=repr(self),
            remedy="Its value exists on the device: use it as scalar_offset=, as a loop bound "
            "of nl.fori_loop, or "
            "store it with nisa.register_store and compute on the tile.",
        )

    def __bool__(self) -> bool:
        warnings.warn(
            "'while register:' is deprecated in NKI 0.6: use nl.while_loop",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.read("while") != 0

    def __index__(self) -> int:
        self._refuse("be an integer")
        return 0

    __int__ = __float__ = __index__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self._refuse("be computed with")

    def _arithmetic(self, other: Any) -> Any:
        return self._refuse("be computed with")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __floordiv__ = __rfloordiv__ = (
        _arithmetic
    )
    __mod__ = __rmod__ = __truediv__ = __rtruediv__ = __lt__ = __le__ = __gt__ = __ge__ = (
        _arithmetic
    )

    def __repr__(self) -> str:
        return f"<register {'unset' if self._value is None else self._value}>"
