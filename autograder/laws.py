"""What can be seen in a wrong answer: its kind, its shape, NaN, the first difference.

A law states an observation and where it was made, never a cause.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from autograder.answers import Answer, Opaque, Raised
from autograder.compare import (
    close,
    count_numbers,
    equal,
    fits_kind,
    kind_of,
    number_kind,
)
from autograder.exercise import Exercise
from autograder.relations import Case

MOST_NUMBERS = 1 << 16  # in an answer of the wrong kind that is looked at further

# What an exception of these kinds usually means here, by its text.
ADVICE = (
    ("AttributeError", r"'numpy.ndarray' object has no attribute '(unsqueeze|view|"
     r"permute|masked_fill_?|expand|contiguous|repeat_interleave|float|bool|long|to|"
     r"detach|numpy|clone|new_\w+|softmax|exp|sqrt|t|mm|matmul|index_add_|index_select|"
     r"scatter_add_|zero_|chunk|unbind)'",
     "That is a method of PyTorch's tensors; this is a NumPy array. A new axis, for "
     "example, is x[None] or x[:, None]."),
    ("AttributeError", r"'NoneType'", "Something before this line is None: did a "
     "function forget to return?"),
    ("ValueError", r"from shape \(0,\)",
     "Nothing is to be put into something. Mind that x[-n:] is all of x if n is 0."),
    ("ValueError", r"could not (be )?broadcast",
     "NumPy lines shapes up from the right; lengths must be equal or 1. Print both "
     "shapes: does one need a new axis, like x[:, None], or is one too long?"),
    ("ValueError", r"core dimension",
     "The last axis of the first array has to be as long as the last but one of the "
     "second. Does a transpose swap just these two? .T turns all axes round."),
    ("AxisError", r"out of bounds",
     "Something here has fewer axes than that: print the shapes."),
    ("ValueError", r"axes don't match array",
     "np.transpose wants the number of every axis; np.swapaxes swaps two."),
    ("TypeError", r"unexpected keyword argument '(dim|keepdim|unbiased)'",
     "That is PyTorch's name; NumPy says axis, keepdims and ddof."),
    ("AttributeError", r"module 'numpy' has no attribute",
     "NumPy has no function of this name: what is it called there, or which module of "
     "Python has it?"),
    ("TypeError", r"only (0-dimensional|length-1|size-1) arrays can be converted",
     "The functions of Python's math take one number, and this is an array. NumPy's "
     "take arrays; np.vectorize makes one that does."),
    ("TypeError", r"^what it gives back",
     "Asked for is a function of the positions q and k, in this order: a def or a "
     "lambda inside of yours, and a return of it."),
    ("TypeError", r"'numpy.ndarray' object is not callable",
     "Square brackets pick from an array: x[i]. Round ones call a function."),
    ("TypeError", r"'(int|tuple)' object is not callable",
     "size and shape are no functions in NumPy: x.shape[-1]."),
    ("TypeError", r"'numpy.dtypes.\w+' object is not callable",
     "A dtype is no function: hand it on, as in np.zeros(shape, dtype)."),
    ("ValueError", r"truth value of an array",
     "if, and, or, not and Python's own max want one truth value, and an array has "
     "many: &, | and ~ combine arrays, x.max() looks into one, and `is not None` asks "
     "whether there is one. A chain like a < b < c is an `and`, too; so is a & b < c, "
     "since & comes before <: put comparisons in brackets."),
    ("NameError", r"name '(\w+)' is not defined",
     "Is it spelled as where it is defined? What a function works on comes in by its "
     "parameters."),
    ("UnboundLocalError", "", "On this path through your function the variable was "
     "never given a value: look at the branch of the if that was not taken."),
    ("IndexError", r"boolean index did not match",
     "A mask that stands in brackets must have the shape of what it picks from. "
     "Functions that choose, like np.where, broadcast it."),
    ("IndexError", r"arrays used as indices must be of integer",
     "These are floats. np.arange gives whole numbers; np.fromfunction and np.linspace "
     "do if they are told dtype=int, and // does where / does not."),
    ("IndexError", r"out of bounds", "Print the shape of what you index, and the "
     "index."),
    ("ValueError", r"Integers to negative integer powers",
     "NumPy keeps whole numbers whole, and 1/4 is none. Write 2.0 in place of 2."),
    ("ModuleNotFoundError", "", "The exercises up to chapter 16 need NumPy alone."),
    ("MemoryError", "", "Which array is that large? Print the shapes on the way."),
    ("ValueError", r"array is too big",
     "Which array is that large? Can you do without it?"),
    ("RecursionError", "", "Which call of the function by itself should have ended "
     "it?"),
    ("TypeError", r"^(view|repeat)\(\) takes",
     "PyTorch's view is reshape in NumPy, its repeat is np.tile, and its "
     "repeat_interleave is np.repeat with an axis."),
    ("AttributeError", r"attribute '(contiguous|repeat_interleave)'",
     "That is a method of PyTorch's tensors. NumPy's reshape copies where it must, "
     "without being asked; PyTorch's repeat_interleave is np.repeat with an axis."),
    ("RuntimeError", r"size of tensor a .* must match|shape .* is invalid for input|"
     r"don't multiply up to|expanded size of the tensor",
     "PyTorch lines shapes up from the right; lengths must be equal or 1. Print the "
     "shapes on the way: does one need a new axis, like x[:, None]?"),
    ("RuntimeError", r"Boolean value of Tensor",
     "if, and, or and not want one truth value, and a tensor has many: &, | and ~ "
     "combine tensors, x.any() and x.all() look into one."),
    ("RuntimeError", r"with (two|a) bool tensor",
     "PyTorch does not subtract booleans: ~x inverts them."),
    ("AttributeError", r"'Tensor' object has no attribute '(astype|copy|ravel)'",
     "That is a method of NumPy's arrays; this is a PyTorch tensor. Its names are to, "
     "clone and flatten."),
)  # fmt: skip


def advice_on(raised: Raised) -> str:
    """What usually helps with an exception, or nothing."""
    for type_name, pattern, advice in ADVICE:
        if raised.type_name == type_name and re.search(pattern, raised.text):
            return advice
    return ""


def place(exercise: Exercise, index: Sequence[int]) -> str:
    """Name a cell: 'query 1, key 2'. Axes without a name are left out."""
    names = exercise.axes_of(len(index))
    return ", ".join(
        f"{name} {i}" for name, i in zip(names, index, strict=True) if name
    )


def observe_kind(exercise: Exercise, case: Case) -> str | None:
    """The answer is not the kind of thing that was promised."""
    answer, expected = case.answer, case.expected
    if answer is None:
        return "Your function gives back None: does every path end in a return?"
    count = len(exercise.parts)
    if fits_kind(answer, expected) and (not count or len(answer) == count):
        return None
    got, wanted = kind(exercise, answer), kind(exercise, expected)
    if got == wanted and isinstance(expected, list | tuple):
        kinds = partial(kind, exercise)
        got, wanted = (
            f"{got} of {' and '.join(list(dict.fromkeys(map(kinds, value)))[:4])}"
            for value in (answer, expected)
        )
    if exercise.parts:
        wanted = f"tuple of {count}: {', '.join(exercise.parts)}"
        if isinstance(answer, tuple):
            got = f"tuple of {len(answer)}"
    if isinstance(answer, Opaque):
        return f"Your function gives back {a(got)}; asked for is {a(wanted)}."
    if number_kind(expected) == "bool" and number_kind(answer) in ("int", "float"):
        values = np.unique(np.asarray(answer)[~np.isnan(answer)])
        shown = (", " if len(values) > 2 else " and ").join(
            f"{v:g}" for v in values[:2]
        )
        more = ", ..." if len(values) > 2 else ""
        return (
            f"Your function gives back {a(got)} ({shown}{more}); "
            f"a mask is {a(exercise.noun)} of bool, True or False."
        )
    return f"Your function gives back {a(got)}; asked for is {a(wanted)}."


def kind(exercise: Exercise, value: Any) -> str:
    """Name a value's type in the words of this exercise's chapter."""
    return kind_of(value).replace("array", exercise.noun)


def a(noun: str) -> str:
    return noun if noun == "None" else ("an " if noun[0] in "aeiou" else "a ") + noun


def observe_shape(exercise: Exercise, case: Case) -> str | None:
    """The answer has another shape."""
    if number_kind(case.answer) is None or number_kind(case.expected) is None:
        return None
    got, wanted = np.shape(case.answer), np.shape(case.expected)
    if got == wanted:
        return None
    return f"The shape of your answer is {got}; asked for is {wanted}."


def observe_nan(exercise: Exercise, case: Case) -> str | None:
    """The answer has NaN where a number belongs."""
    if number_kind(case.answer) != "float":
        return None
    bad = np.isnan(case.answer) & ~np.isnan(case.expected)
    if not bad.any():
        return None
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    if not index:
        return "Your answer is NaN."
    many = f"{bad.sum()} numbers are" if bad.sum() > 1 else "One number is"
    return f"{many} NaN, the first at {place(exercise, index) or index}."


def first_difference(case: Case) -> tuple[int, ...] | None:
    """Index of the first cell that is wrong, where the shapes are equal."""
    if number_kind(case.answer) is None or number_kind(case.expected) is None:
        return None
    if np.shape(case.answer) != np.shape(case.expected):
        return None
    wrong = np.argwhere(~close(case.answer, case.expected))
    return tuple(int(i) for i in wrong[0]) if len(wrong) else None


def observe_difference(exercise: Exercise, case: Case) -> str | None:
    """The first cell that is wrong, and for a mask what that lets happen."""
    index = first_difference(case)
    if index is None:
        return None
    got, wanted = np.asarray(case.answer)[index], np.asarray(case.expected)[index]
    where = place(exercise, index) or f"index {index}"
    reason = ""
    if exercise.reason_function is not None:
        probe = case.probe
        reason = "; " + exercise.reason_function(index, *probe.args, **probe.kwargs)
    if number_kind(case.expected) == "bool":
        return f"At {where} the mask is {got}, not {wanted}{reason}."
    if not index:
        return f"Your function gives {got:.6g}, not {wanted:.6g}{reason}."
    wrong = ~close(case.answer, case.expected)
    are = "is" if wrong.sum() == 1 else "are"
    return (
        f"At {where} your function gives {got:.6g}, not {wanted:.6g}{reason}; "
        f"{wrong.sum()} of {wrong.size} numbers {are} off."
    )


def observe_closeness(exercise: Exercise, case: Case) -> str | None:
    """Nearly right: what is true of right answers only nearly is no news."""
    index = first_difference(case)
    if index is None or number_kind(case.expected) != "float":
        return None
    answer, expected = np.asarray(case.answer), np.asarray(case.expected)
    if not np.allclose(answer, expected, rtol=1e-2, atol=1e-6):
        return None
    apart = np.max(np.abs(answer - expected))
    if not index:
        return f"Your number is off by {apart:.1e}: close, but not equal."
    where = place(exercise, index) or f"index {index}"
    return (
        f"The numbers are off by {apart:.1e} at most, the first at {where}: close, but "
        "not equal."
    )


def observe_value(exercise: Exercise, case: Case) -> str | None:
    """The answer in full, where it is no array."""
    return f"Your function gives {case.answer!r:.80}, not {case.expected!r:.80}."


def observe_unfilled(exercise: Exercise, case: Case) -> str | None:
    """A row or a column that is 0 throughout, and should not be."""
    answer, expected = np.asarray(case.answer), np.asarray(case.expected)
    if expected.dtype.kind != "f" or answer.shape != expected.shape:
        return None
    if answer.ndim < 2:  # a row of one number is just a number
        return None
    names = exercise.axes_of(answer.ndim)
    for axis in reversed(range(answer.ndim)):
        others = tuple(i for i in range(answer.ndim) if i != axis)
        empty = ~answer.any(axis=others) & expected.any(axis=others)
        if names[axis] and empty.any() and not empty.all():
            return f"Every number of {names[axis]} {np.argmax(empty)} is 0."
    return None


def observe_laws(exercise: Exercise, case: Case) -> str | None:
    """The first law of the exercise that the answer breaks."""
    for law in exercise.laws:
        try:
            broken = law(case.answer, *case.probe.args, **case.probe.kwargs)
        except Exception:
            continue  # the answer has not even the form that the law is about
        if broken:
            return broken
    return None


OBSERVATIONS = (
    observe_kind,
    observe_shape,
    observe_nan,
    observe_closeness,
    observe_unfilled,
    observe_laws,
    observe_difference,
    observe_value,
)


def first_wrong_part(exercise: Exercise, case: Case) -> int | None:
    """Which of the things that an answer consists of is the first one to be wrong."""
    answer, count = case.answer, len(exercise.parts)
    if not count or not isinstance(answer, tuple) or len(answer) != count:
        return None
    pairs = enumerate(zip(answer, case.expected, strict=True))
    return next(
        (i for i, (a, e) in pairs if not (fits_kind(a, e) and equal(a, e))), None
    )


def observe(exercise: Exercise, case: Case) -> str:
    """The most telling thing that can be seen in one wrong answer."""
    number = first_wrong_part(exercise, case)
    if number is not None:
        seen = observe(exercise.part(number), case.part(number))
        broken = observe_laws(exercise, case)
        return broken or f"In `{exercise.parts[number]}`: {seen}"
    for observation in OBSERVATIONS:
        text = observation(exercise, case)
        if text:
            return text
    raise AssertionError("a wrong answer shows nothing")


def as_expected_kinds(cases: list[Case]) -> list[Case]:
    """Read numbers as the mask they were meant to be, and lists as arrays.

    What is wrong with the kind has been said by then; this finds out whether
    something else is wrong as well. Where masks of several kinds are asked for, the
    kind is a part of what they mean.
    """
    if len({number_kind(case.expected) for case in cases}) > 1:
        return cases
    additive = any(
        number_kind(case.answer) == "float" and np.any(np.asarray(case.answer) < -1)
        for case in cases
    )
    return [as_expected_kind(case, additive) for case in cases]


def as_expected_kind(case: Case, additive: bool) -> Case:
    answer, expected = case.answer, case.expected
    if count_numbers(answer) > MOST_NUMBERS:  # text as an array could take gigabytes
        return case
    if isinstance(answer, np.ndarray) and isinstance(expected, list | tuple):
        return Case(case.probe, expected, Answer(answer.tolist()))
    is_half = isinstance(answer, np.floating) and answer.itemsize == 2
    if is_half and isinstance(expected, float):
        # half precision would do where what it is compared with is nearly right
        return Case(case.probe, expected, Answer(np.float32(answer)))
    if fits_kind(answer, expected) or not isinstance(expected, np.ndarray):
        return case
    try:
        array = np.asarray(answer)
    except ValueError:  # lists of several lengths
        return case
    if array.dtype.kind not in "biuf":
        return case
    if expected.dtype.kind == "b" and array.dtype.kind != "b":
        array = array == 0 if additive else array != 0
    elif expected.dtype.kind == "f" or np.all(array == np.trunc(array)):
        # too large for half precision, or NaN where an int belongs
        with np.errstate(over="ignore", invalid="ignore"):
            array = array.astype(expected.dtype)
    return Case(case.probe, expected, Answer(array))
