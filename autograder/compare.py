"""When two answers are the same, and what about their kind is not."""

import math
from typing import Any

import numpy as np

from autograder.answers import Opaque

# torch.testing's relative and absolute tolerances
TOLERANCES = {2: (1e-3, 1e-5), 4: (1.3e-6, 1e-5), 8: (1e-7, 1e-7)}

KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}


def kind_of(value: Any) -> str:
    """Name a value's type as a learner would: 'array of float64', 'list', 'None'."""
    if isinstance(value, Opaque):
        return value.type_name
    if isinstance(value, np.ndarray):
        return f"array of {value.dtype}"
    if value is None:
        return "None"
    return type(value).__name__


def number_kind(value: Any) -> str | None:
    """bool, int, float or complex for an array or a number of that kind, else None."""
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return KINDS.get(np.asarray(value).dtype.kind)
    return None


def count_numbers(value: Any) -> float:
    """How many numbers there are in a tree of numbers; of another tree, infinite."""
    if isinstance(value, list | tuple):
        return sum(map(count_numbers, value))
    return np.size(value) if number_kind(value) else math.inf


def fits_kind(answer: Any, expected: Any) -> bool:
    """Whether the answer is the kind of thing that was promised.

    Any width of integer will do, and float32 or float64 where either was promised:
    half precision only where the inputs are half precision.
    """
    if isinstance(expected, np.ndarray):
        # a NumPy scalar is what reductions give for an array without axes
        arrays = np.ndarray if expected.ndim else np.ndarray | np.generic
        if not isinstance(answer, arrays):
            return False
        if number_kind(answer) != number_kind(expected):
            return False
        if number_kind(expected) == "float":
            return (answer.dtype.itemsize == 2) == (expected.dtype.itemsize == 2)
        return True
    if number_kind(expected) is not None:
        return number_kind(answer) == number_kind(expected) and np.ndim(answer) == 0
    if isinstance(expected, list | tuple) and type(answer) is type(expected):
        return all(map(fits_kind, answer, expected))
    return type(answer) is type(expected)


def equal(answer: Any, expected: Any) -> bool:
    """Whether the values are the same: exactly, or for floats within tolerance.

    The tolerance is the one of the coarser type of the two, single at the coarsest
    unless half precision was expected: a coarse answer does not earn a coarse test.
    """
    if type(answer) is type(expected) in (bool, int, float) and answer == expected:
        return True  # quickly, for long lists of numbers
    if isinstance(expected, list | tuple):
        return (
            isinstance(answer, list | tuple)
            and len(answer) == len(expected)
            and all(map(equal, answer, expected))
        )
    if isinstance(expected, dict):
        return (
            isinstance(answer, dict)
            and answer.keys() == expected.keys()
            and all(equal(answer[key], expected[key]) for key in expected)
        )
    if number_kind(expected) is None or number_kind(answer) is None:
        # arrays of text are never answers, but candidates can be
        same_type = type(answer) is type(expected) is not np.ndarray
        return same_type and answer == expected
    if np.shape(answer) != np.shape(expected) or far_apart(answer, expected):
        return False
    return bool(np.all(close(answer, expected)))


def float_width(array: np.ndarray) -> int:
    """Bytes of one real number; 8 for whole numbers and booleans."""
    if array.dtype.kind == "c":
        return array.dtype.itemsize // 2
    return array.dtype.itemsize if array.dtype.kind == "f" else 8


def far_apart(answer: Any, expected: Any) -> bool:
    """A quick look at one number, since most comparisons end there."""
    a, e = np.asarray(answer), np.asarray(expected)
    if not a.size or "c" in (a.dtype.kind, e.dtype.kind):
        return False
    x, y = float(a.flat[-1]), float(e.flat[-1])
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) != math.isnan(y)
    return abs(x - y) > 0.01 * (1 + abs(y))  # far above tolerance


def close(answer: Any, expected: Any) -> np.ndarray:
    """Where two arrays of numbers of one shape agree."""
    a, e = np.asarray(answer), np.asarray(expected)
    if not {a.dtype.kind, e.dtype.kind} & {"f", "c"}:
        return a == e
    width = min(float_width(e), max(float_width(a), min(float_width(e), 4)))
    rtol, atol = TOLERANCES[min(width, 8)]
    wide = np.result_type(a, e, np.float64)
    return np.isclose(a.astype(wide), e.astype(wide), rtol, atol, equal_nan=True)
