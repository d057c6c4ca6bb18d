"""Ask a function and carry what it answers: all that both sides of the wall share.

On the wire a message is a tree (JSON) whose leaves are numbers, strings or arrays
(.npy bytes behind the JSON). Nothing is ever unpickled.
"""

import contextlib
import copy
import functools
import inspect
import io
import itertools
import json
import linecache
import math
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from autograder import adapters

# An environment variable, set where a notebook's answers are only collected.
COLLECTING = "AUTOGRADER_COLLECTING"

HEADER = struct.Struct("<QQ")  # bytes of JSON, bytes of arrays
NPY = struct.Struct("<8sH")  # magic and version, bytes of the header
MAX_TREE, MAX_BLOB = 1 << 22, 1 << 23
MAX_REPLY = 1 << 16  # bytes of JSON from a learner's process: what it holds is small
MAX_ARRAY = 1 << 22  # bytes: no exercise asks for more
MAX_AXES = 32  # NumPy takes more, and some of its functions do not
MOST_CHANGED = 9  # names of arguments
NUMBERS = "biufc"  # the kinds of dtype that an answer may have
MAX_TEXT = 300


def printable(text: str) -> str:
    """A text without what would move a terminal, or is no character."""
    return "".join(c if c.isprintable() else " " for c in text)


def plain_text(text: Any) -> str:
    """What a learner's code says, cut, and printable."""
    return printable(str(text)[:MAX_TEXT])


@dataclass(frozen=True)
class Opaque:
    """Stands for an answer that is neither numbers nor text nor an array."""

    type_name: str

    def __post_init__(self) -> None:
        name = plain_text(self.type_name)[:100].strip() or "type without a name"
        object.__setattr__(self, "type_name", name)


@dataclass(frozen=True)
class Answer:
    """What a call returned; `changed` names the arguments that it altered.

    `warned` is what it was warned of first, and at which line.
    """

    value: Any
    changed: tuple[str, ...] = ()
    warned: str = ""

    def __post_init__(self) -> None:
        names = tuple(map(plain_text, self.changed[:MOST_CHANGED]))
        object.__setattr__(self, "changed", names)
        object.__setattr__(self, "warned", plain_text(self.warned))


@dataclass(frozen=True)
class Raised:
    """What a call raised, with the last line of the learner's own code on the way."""

    type_name: str
    text: str
    line: str = ""
    binding: bool = False  # the call did not fit the function's parameters
    refusal: bool = False  # it is a ValueError, of whatever kind

    def __post_init__(self) -> None:
        for name in ("type_name", "text", "line"):
            object.__setattr__(self, name, plain_text(getattr(self, name)))


Outcome = Answer | Raised


def ask(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    adapter: str | None = None,
) -> Outcome:
    """Call a learner's function on copies of the arguments."""
    function = adapters.adapted(function, adapter)
    given, named = copied(args), copied(kwargs)
    try:
        with listening() as heard:
            value = tame(function(*given, **named))
        stir_memory(value)
    except TypeError as error:
        misfit = bind(function, args, kwargs)
        return misfit if isinstance(misfit, Raised) else raised(error)
    except (Exception, SystemExit) as error:
        return raised(error)
    places = [i for i, old in enumerate(args) if not same(old, given[i])]
    changed = [key for key in kwargs if not same(kwargs[key], named[key])]
    if places:
        bound = bind(function, args, kwargs)
        names = bound if isinstance(bound, list) else []
        changed[:0] = [
            names[min(i, len(names) - 1)] if names else f"argument {i + 1}"  # *args
            for i in places
        ]
    return Answer(value, tuple(dict.fromkeys(changed)), first_warning(heard))


@contextlib.contextmanager
def listening() -> Iterator[list[warnings.WarningMessage]]:
    """Hear all warnings, whatever a notebook has silenced before.

    Of overflow, 0/0 and their like the hardware tells, and WebAssembly does not.
    """
    numpys_own = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
    with warnings.catch_warnings(record=True) as heard, numpys_own:
        warnings.simplefilter("always")
        yield heard


def first_warning(heard: list[warnings.WarningMessage]) -> str:
    """What a calculation was warned of first, and where in the learner's code."""
    for warning in heard:
        if issubclass(warning.category, RuntimeWarning):
            line = linecache.getline(warning.filename, warning.lineno).strip()
            own = is_learners(warning.filename) and line
            return f"{warning.message} at `{line}`" if own else str(warning.message)
    return ""


def is_learners(filename: str) -> bool:
    """Whether code is of a notebook, not of a library."""
    return filename.startswith("<") or "ipykernel" in filename


def bind(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[str] | Raised:
    """The names that a function has for its arguments, or that it cannot take them."""
    try:
        return list(inspect.signature(function).bind(*args, **kwargs).arguments)
    except TypeError as error:
        return Raised("TypeError", str(error), binding=True)
    except ValueError:  # a builtin without a signature
        return []


def copied(value: Any) -> Any:
    """A copy of an argument, down to its arrays."""
    if isinstance(value, list | tuple):
        return type(value)(map(copied, value))
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return value.copy() if isinstance(value, np.ndarray) else copy.deepcopy(value)


# What freed memory is filled with after one call and after the next: as floats these
# are huge, and 0.
NONSENSE = itertools.cycle((0x7F, 0x00))


def stir_memory(answer: Any) -> None:
    """Fill freed memory of an answer's sizes, so that np.empty finds no answer in it.

    NumPy keeps up to seven small blocks of each size for arrays to come.
    """
    parts = answer if isinstance(answer, tuple) else (answer,)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if not arrays:
        return
    nonsense = next(NONSENSE)
    for array in arrays:
        blocks = [np.empty(array.nbytes, np.uint8) for _ in range(8)]
        for block in blocks:
            block.fill(nonsense)


@contextlib.contextmanager
def replaced(
    helpers: dict[str, Callable[..., Any]], *namespaces: dict[str, Any]
) -> Iterator[None]:
    """Let all that lives in these namespaces see the helpers for a while."""
    different = list({id(namespace): namespace for namespace in namespaces}.values())
    before = [{n: seen[n] for n in helpers if n in seen} for seen in different]
    for seen in different:
        seen.update(helpers)
    try:
        yield
    finally:
        for seen, own in zip(different, before, strict=True):
            for name in helpers:
                del seen[name]
            seen.update(own)


def same(old: Any, new: Any) -> bool:
    """Whether an argument is still what it was."""
    if isinstance(old, np.ndarray):
        return (
            isinstance(new, np.ndarray)
            and old.dtype == new.dtype
            and old.shape == new.shape
            and old.tobytes() == new.tobytes()
        )
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(same, old, new))
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(same(old[k], new[k]) for k in old)
    return not isinstance(old, int | float | str) or old == new


def raised(error: BaseException) -> Raised:
    """Keep of an exception what may be told: its kind, its text, the line."""
    line = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if is_learners(frame.filename):
            line = frame.line or ""
    try:
        text = str(error).strip().rstrip(".")
    except Exception:
        text = "an exception without a text"
    name, refusal = type(error).__name__, isinstance(error, ValueError)
    return Raised(name, text, line, refusal=refusal)


def tame(value: Any) -> Any:
    """Reduce an answer to plain numbers, text, arrays, and trees of them."""
    kind = type(value)
    if kind is int and abs(value) >= 1 << 63:
        return Opaque("int of more than 64 bits")
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        return kind(tame(item) for item in value)
    if kind is dict:
        return {str(key): tame(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        value = np.asarray(value)[()]
        return value if value.dtype.kind in NUMBERS else Opaque(kind.__name__)
    if isinstance(value, np.ndarray):
        if value.ndim > MAX_AXES:
            return Opaque(f"array of {value.ndim} axes")
        if room(value.shape, value.itemsize) > MAX_ARRAY:
            limit = f"{MAX_ARRAY >> 20} MB"
            return Opaque(f"array of shape {value.shape}, larger than {limit}")
        plain = np.array(value, subok=False)
        if plain.dtype.kind in NUMBERS:
            return plain
        return Opaque(f"array of {plain.dtype}")
    return Opaque(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))


def room(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes of an array, and of what is made of one with an axis of length 0."""
    return math.prod(max(length, 1) for length in shape) * itemsize


def send(
    stream: IO[bytes], message: Any, *, flush: bool = True, most: int = MAX_TREE
) -> None:
    """Write one message; unless it is flushed it may wait for the next one."""
    arrays: list[bytes] = []
    tree = json.dumps(_plain(message, arrays)).encode()
    blob = b"".join(arrays)
    if len(tree) > most or len(blob) > MAX_BLOB:
        raise ValueError("the answer is too large")
    stream.write(HEADER.pack(len(tree), len(blob)) + tree + blob)
    if flush:
        stream.flush()


def receive(stream: IO[bytes], most: int = MAX_TREE) -> Any:
    """Read one message; EOFError if there is none, ValueError if it is no message."""
    tree_size, blob_size = HEADER.unpack(_read(stream, HEADER.size))
    if tree_size > most or blob_size > MAX_BLOB:
        raise ValueError(f"a message of {tree_size} + {blob_size} bytes is too large")
    tree = json.loads(_read(stream, tree_size))
    return _restore(tree, io.BytesIO(_read(stream, blob_size)))


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other side is gone")
    return data


TYPES = {kind.__name__: kind for kind in (Opaque, Answer, Raised)}


def _plain(value: Any, arrays: list[bytes]) -> Any:
    plain = value is None or isinstance(value, bool | int | float | str)
    if plain and not isinstance(value, np.generic):  # np.float64 is a float, too
        return value
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(_header(value.dtype, value.shape) + value.tobytes())
        return {"array": isinstance(value, np.ndarray)}
    if isinstance(value, list):
        return [_plain(item, arrays) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, arrays) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[k, _plain(v, arrays)] for k, v in value.items()]}
    fields = {k: _plain(v, arrays) for k, v in vars(value).items()}
    return {type(value).__name__: fields}


def _restore(tree: Any, arrays: IO[bytes]) -> Any:
    if isinstance(tree, list):
        return [_restore(item, arrays) for item in tree]
    if isinstance(tree, int) and abs(tree) >= 1 << 63:
        raise ValueError("an int of more than 64 bits")
    if not isinstance(tree, dict):
        return tree
    [(tag, content)] = tree.items()
    if tag == "array":
        array = _read_array(arrays)
        return array if content else array[()]
    if tag == "tuple":
        return tuple(_restore(item, arrays) for item in content)
    if tag == "dict":
        return {key: _restore(item, arrays) for key, item in content}
    return TYPES[tag](**{k: _restore(v, arrays) for k, v in content.items()})


# A .npy file is its header and the numbers. There are few different headers, and
# NumPy takes longer to write or read one than all the rest takes.


@functools.lru_cache(1000)
def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    fields = {
        "shape": shape,
        "fortran_order": False,
        "descr": np.lib.format.dtype_to_descr(dtype),
    }
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


@functools.lru_cache(1000)
def _understand(header: bytes) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and size in bytes of an array of numbers, of at most MAX_ARRAY.

    np.load would first make room for as much as a header that somebody forged says.
    """
    stream = io.BytesIO(header)
    np.lib.format.read_magic(stream)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    size = math.prod(shape) * dtype.itemsize
    if (
        dtype.kind not in NUMBERS
        or is_fortran
        or min(shape, default=0) < 0
        or len(shape) > MAX_AXES
        or room(shape, dtype.itemsize) > MAX_ARRAY
    ):
        raise ValueError(f"an array of {dtype} and of shape {shape}")
    return shape, dtype, size


def _read_array(stream: IO[bytes]) -> np.ndarray:
    """Read a .npy file as it is written here."""
    start = _read(stream, NPY.size)
    magic, length = NPY.unpack(start)
    if magic != b"\x93NUMPY\x01\x00":
        raise ValueError("no .npy file of version 1.0")
    shape, dtype, size = _understand(start + _read(stream, length))
    return np.frombuffer(bytearray(stream.read(size)), dtype).reshape(shape)
