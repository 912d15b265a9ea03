"""Values that a reader may pass where a function takes something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

import nkisim

PLAIN: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "0": lambda: 0,
    "-1": lambda: -1,
    "3": lambda: 3,
    "10**30": lambda: 10**30,
    "2.5": lambda: 2.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "1j": lambda: 1j,
    "a word": lambda: "free",
    "an empty text": lambda: "",
    "bytes": lambda: b"x",
    "[]": list,
    "[1]": lambda: [1],
    "[None]": lambda: [None],
    "()": lambda: (),
    "(0, -1)": lambda: (0, -1),
    "(64, 64)": lambda: (64, 64),
    "(2.5, 2)": lambda: (2.5, 2),
    "(1, 2, 3, 4, 5, 6, 7)": lambda: (1, 2, 3, 4, 5, 6, 7),
    "('a', 'b')": lambda: ("a", "b"),
    "[[1, 2]]": lambda: [[1, 2]],
    "[[0, 0, 0]]": lambda: [[0, 0, 0]],
    "{}": dict,
    "a set": lambda: {1, 2},
    "an object": object,
    "a function": lambda: lambda *args, **kwargs: 0,
    "a class": lambda: int,
    "float64": lambda: np.float64,
    "a dtype": lambda: np.dtype(ml_dtypes.bfloat16),
    "np.exp": lambda: np.exp,
    "np.float32(2)": lambda: np.float32(2),
    "np.int64(7)": lambda: np.int64(7),
    "np.bool_": lambda: np.bool_(True),
    "an array of no axis": lambda: np.array(3.0),
    "an array": lambda: np.ones((64, 64), np.float32),
    "an empty array": lambda: np.zeros((0,), np.float32),
    "an array of objects": lambda: np.array([None, "a"], dtype=object),
    "...": lambda: ...,
    "a slice": lambda: slice(None),
    "a range": lambda: range(3),
    "an iterator": lambda: iter([1, 2]),
    "a generator": lambda: (i for i in range(2)),
    "a shape": lambda: nkisim.shape((4, 4), np.float32),
    "an exception": lambda: ValueError("x"),
    "NotImplemented": lambda: NotImplemented,
}
"""What a value is called in a report -> a function that makes it again."""

NOT_AN_INTEGER = (
    "None",
    "2.5",
    "nan",
    "inf",
    "1j",
    "a word",
    "bytes",
    "[]",
    "('a', 'b')",
    "{}",
    "an object",
    "a function",
    "an array",
)
NOT_A_SHAPE = (
    "None",
    "2.5",
    "nan",
    "a word",
    "(0, -1)",
    "(2.5, 2)",
    "('a', 'b')",
    "{}",
    "an object",
    "a function",
    "0",
    "[None]",
)
NOT_A_FLAG = (
    "None",
    "2.5",
    "nan",
    "a word",
    "an empty text",
    "[]",
    "[1]",
    "{}",
    "an object",
    "a function",
    "an array",
    "3",
    "-1",
)
NOT_AN_OPTION = (
    "-1",
    "10**30",
    "2.5",
    "a word",
    "[]",
    "{}",
    "an object",
    "a function",
    "an array",
    "()",
)
NOT_A_TENSOR = (
    "None",
    "a word",
    "[]",
    "(64, 64)",
    "{}",
    "an object",
    "a function",
    "an array",
    "a class",
    "a shape",
)
NOT_A_DTYPE = (
    "0",
    "-1",
    "2.5",
    "a word",
    "[1]",
    "{}",
    "an object",
    "a class",
    "float64",
    "an array",
)
NOT_AN_OPERATOR = ("0", "2.5", "a word", "[]", "{}", "an object", "a function", "an array")
NOT_A_NUMBER = ("None", "a word", "[]", "(64, 64)", "{}", "an object", "a function", "1j")

MUST_BE_REFUSED: dict[str, tuple[str, ...]] = {
    "integer": NOT_AN_INTEGER,
    "shape": NOT_A_SHAPE,
    "flag": NOT_A_FLAG,
    "option": NOT_AN_OPTION,
    "tensor": NOT_A_TENSOR,
    "dtype": NOT_A_DTYPE,
    "operator": NOT_AN_OPERATOR,
    "number": NOT_A_NUMBER,
}
"""What a parameter takes -> values that may not be taken silently in its place."""
