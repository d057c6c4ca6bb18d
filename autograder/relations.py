"""Candidates made from the solution: "the transpose of the right answer", ...

Each is a sentence and a way to make the answer that somebody with that mistake would
give. A candidate that equals the learner's answer on every probe is a fact about the
answer, whatever its cause; so these cannot accuse falsely.
"""

import inspect
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from autograder.answers import Answer, Outcome
from autograder.compare import equal
from autograder.exercise import Exercise, Probe

MAX_PAIRS = 2000  # two mistakes at once: what about 0.1 s allows


@dataclass(frozen=True)
class Case:
    """One probe, what was expected of it, and what came."""

    probe: Probe
    expected: Any
    outcome: Outcome

    @property
    def answer(self) -> Any:
        assert isinstance(self.outcome, Answer)
        return self.outcome.value

    def part(self, number: int) -> "Case":
        """What was expected and what came of one part of the answer."""
        outcome = self.outcome
        if isinstance(outcome, Answer):
            value = outcome.value
            given = isinstance(value, tuple | list) and number < len(value)
            outcome = Answer(value[number] if given else None, outcome.changed)
        return Case(self.probe, self.expected[number], outcome)


Make = Callable[[Case], Any]


@dataclass(frozen=True)
class Candidate:
    """A sentence, and the answer that it would explain."""

    sentence: str
    make: Make
    hint: str = ""
    seen: str | None = None
    way: str = "relation"
    two: bool = False  # two mistakes at once

    def holds(self, cases: list[Case]) -> bool:
        """Whether this is what came, on every probe that gave an answer.

        A crash confirms nothing: at least one wrong answer has to be explained.
        """
        explained = 0
        for case in cases:
            try:
                with np.errstate(all="ignore"):
                    made = self.make(case)
            except Exception:
                made = None
            if not isinstance(case.outcome, Answer):
                continue
            if made is None or not equal(made, case.answer):
                return False
            explained += not equal(case.answer, case.expected)
        return explained > 0


def candidates(exercise: Exercise, case: Case) -> Iterator[Candidate]:
    """All single explanations, the most telling first; `case` is a wrong one."""
    yield from constants(case)
    yield from known(exercise)
    yield from numbers(exercise, case)
    yield from whole_transforms(exercise, case)
    yield from axis_transforms(exercise, case)
    yield from input_transforms(exercise, case)


def pairs(exercise: Exercise, case: Case) -> Iterator[Candidate]:
    """Two mistakes at once: two known ones, or a known one and a transform.

    Moves along an axis are left out: with another mistake they explain too much.
    """

    def both() -> Iterator[Candidate]:
        declared = list(known(exercise))
        yield from two_knobs(exercise)
        for mistake in exercise.mistakes:
            for change in input_transforms(
                exercise, case, mistake.function, moves=False
            ):
                yield Candidate(
                    f"{mistake.sentence} And: {lower(change.sentence)}",
                    change.make,
                    hint=mistake.hint,
                    two=True,
                )
        singles = declared + list(input_transforms(exercise, case))
        transforms = list(whole_transforms(exercise, case))
        for single in singles:
            make = remembered(single.make)
            for change in transforms:
                yield Candidate(
                    f"{single.sentence} And: {lower(change.sentence)}",
                    _after(make, change.make),
                    hint=single.hint,
                    two=True,
                )

    # a call of PyTorch's takes longer than one of NumPy's
    most = MAX_PAIRS if exercise.noun == "array" else MAX_PAIRS // 3
    return itertools.islice(both(), most)


def two_knobs(exercise: Exercise) -> Iterator[Candidate]:
    """Two known mistakes at once, if they are settings of different knobs."""
    for first, second in itertools.combinations(exercise.mistakes, 2):
        knobs = [getattr(m.function, "keywords", {}) for m in (first, second)]
        if all(knobs) and not knobs[0].keys() & knobs[1].keys():
            yield Candidate(
                f"{first.sentence} And: {lower(second.sentence)}",
                _with_knobs(exercise, knobs[0] | knobs[1]),
                hint=first.hint,
                two=True,
            )


def lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _with_knobs(exercise: Exercise, knobs: dict[str, Any]) -> Make:
    family = exercise.family_function
    assert family is not None
    knobbed = partial(family, **knobs)
    return lambda case: exercise.call(knobbed, *case.probe.args, **case.probe.kwargs)


def _after(first: Make, then: Make) -> Make:
    """Hand what the first makes to the transform in place of the right answer."""

    def make(case: Case) -> Any:
        made = first(case)  # None where it is an argument that may be None
        return None if made is None else then(Case(case.probe, made, case.outcome))

    return make


def remembered(make: Make) -> Make:
    """Make each case's answer once only, for many transforms of it."""
    made: dict[int, Any] = {}

    def make_once(case: Case) -> Any:
        if id(case) not in made:
            made[id(case)] = make(case)
        return made[id(case)]

    return make_once


def known(exercise: Exercise) -> Iterator[Candidate]:
    """The mistakes that the spec lists."""
    for mistake in exercise.mistakes:

        def make(case: Case, function: Callable[..., Any] = mistake.function) -> Any:
            return exercise.call(function, *case.probe.args, **case.probe.kwargs)

        yield Candidate(mistake.sentence, make, mistake.hint, mistake.seen, way="name")


def constants(case: Case) -> Iterator[Candidate]:
    """The same value everywhere."""
    values = np.asarray(case.answer)
    if values.shape != np.shape(case.expected):
        return
    # without an absolute tolerance: 0 and -1e-9 are two numbers
    if not values.size or not np.all(
        np.isclose(values, values.flat[0], rtol=1e-6, atol=0, equal_nan=True)
    ):
        return
    value = values.flat[0]
    shown = f"{value:.4g}" if values.dtype.kind == "f" else str(value)
    hint = "Does the answer depend on the arguments at all?"
    if values.dtype.kind == "f":
        hint += " An array from np.empty holds anything until it is filled."
    if value != value:
        hint = (
            "Which step makes the first NaN? 0 / 0, 0 times infinity and infinity "
            "minus infinity do, and all that it meets becomes NaN."
        )
    yield Candidate(
        f"The answer is {shown} everywhere.",
        lambda case: np.full(np.shape(case.answer), value),
        hint=hint,
    )


def numbers(exercise: Exercise, case: Case) -> Iterator[Candidate]:
    """Right but for a factor or a constant, with the factor's name where it has one.

    The number is read from one probe and proved on all: its name decides how it
    changes with the sizes.
    """
    answer, expected = np.asarray(case.answer), np.asarray(case.expected)
    if answer.shape != expected.shape or expected.dtype.kind not in "fiu":
        return
    if answer.dtype.kind not in "fiu":
        return
    finite = np.isfinite(expected) & np.isfinite(answer)
    telling = finite & (np.abs(expected) > 1e-3)
    if telling.any():
        ratios = answer[telling] / expected[telling]
        factor = float(np.median(ratios))
        if np.isfinite(factor) and factor and np.allclose(ratios, factor, rtol=1e-4):
            for text, value in named_numbers(exercise, factor, case):
                yield Candidate(
                    f"The answer is the right one times {text}.",
                    lambda case, value=value: case.expected * value(case),
                    hint="Where does the factor come from, or where has it gone?",
                )
    offset = float(np.median(answer[finite] - expected[finite])) if finite.any() else 0
    if offset:
        for text, value in named_numbers(exercise, offset, case):
            yield Candidate(
                f"The answer is the right one plus {text}.",
                lambda case, value=value: case.expected + value(case),
                hint="Does something start at 1 where it should start at 0?",
            )


def named_numbers(
    exercise: Exercise, number: float, case: Case
) -> Iterator[tuple[str, Callable[[Case], float]]]:
    """Names for a number: made of one size, or a plain constant."""
    shapes: list[tuple[str, Callable[[float], float]]] = [
        ("{}", lambda n: n),
        ("1 / {}", lambda n: 1 / n),
        ("the square root of {}", math.sqrt),
        ("1 / the square root of {}", lambda n: 1 / math.sqrt(n)),
        ("the square of {}", lambda n: n * n),
        ("minus {}", lambda n: -n),
        ("minus the square root of {}", lambda n: -math.sqrt(n)),
    ]
    for size, length in exercise.sizes(case.probe).items():
        for text, shape in shapes:
            if length > 0 and math.isclose(shape(length), number, rel_tol=1e-4):
                yield (
                    text.format(size),
                    lambda case, size=size, shape=shape: shape(
                        exercise.sizes(case.probe)[size]
                    ),
                )
    tidy = float(f"{number:.4g}")
    for text, value in (
        (f"{tidy:g}", tidy),
        ("pi / 180", math.pi / 180),
        ("180 / pi", 180 / math.pi),
        ("pi", math.pi),
        ("2 pi", 2 * math.pi),
        ("the square root of 2", math.sqrt(2)),
        ("1 / the square root of 2", math.sqrt(0.5)),
    ):
        if math.isclose(value, number, rel_tol=1e-4):
            yield text, lambda case, value=value: value


def transform(
    sentence: str, change: Callable[[np.ndarray], Any], hint: str = ""
) -> Candidate:
    """A candidate that changes the right answer."""
    return Candidate(sentence, lambda case: change(np.asarray(case.expected)), hint)


def words_for_axes(exercise: Exercise, array: np.ndarray) -> list[str]:
    names = exercise.axes_of(array.ndim)
    return [name or f"axis {i}" for i, name in enumerate(names)]


def whole_transforms(exercise: Exercise, case: Case) -> Iterator[Candidate]:
    """The right answer with other values, another order of axes, another shape."""
    expected = np.asarray(case.expected)
    if expected.dtype.kind not in "biuf":
        return
    if expected.dtype.kind == "b":
        yield transform(
            "The mask is inverted: True and False have changed places.",
            np.logical_not,
            "True means that the query may attend to the key.",
        )
    else:
        yield transform("The sign is wrong everywhere.", np.negative)
        yield transform("Every number has lost its sign.", np.abs)
        yield transform("Every number is squared.", np.square)
        yield transform(
            "The numbers have lost everything after the decimal point.", np.trunc
        )
        for digits in range(7):
            yield transform(
                f"The numbers are rounded to {digits} decimals.",
                lambda e, digits=digits: np.round(e, digits),
                "Round only what you print.",
            )
    words = words_for_axes(exercise, expected)
    for order in itertools.permutations(range(expected.ndim)):
        moved = [i for i, j in enumerate(order) if i != j]
        if len(moved) == 2:
            a, b = words[moved[0]], words[moved[1]]
            yield transform(
                f"The answer is transposed: {a} and {b} have changed places.",
                # from the right: another probe's answer may have more axes
                lambda e, a=moved[0] - expected.ndim, b=moved[1] - expected.ndim: (
                    np.swapaxes(e, a, b)
                ),
                "Which axis comes first?",
            )
        elif moved:
            yield transform(
                "The axes are in another order: "
                + ", ".join(words[i] for i in order)
                + ".",
                lambda e, order=order: e.transpose(order),
                "Which axis comes first?",
            )
    for order in itertools.permutations(range(expected.ndim)):
        yield transform(
            "The values are there, but a reshape has put them in another order.",
            lambda e, order=order: e.transpose(order).reshape(e.shape),
            "A reshape keeps the order of the numbers; a transpose swaps axes.",
        )
    yield Candidate(
        "The values are right, but in another shape.",
        in_shape_of_answer,
        "Compare the shape of your answer with the one that the task names.",
    )
    yield Candidate(
        "The values are right, but copied along axes that should have length 1, or "
        "that should not be there.",
        lambda case: np.broadcast_to(case.expected, np.shape(case.answer)),
        "Broadcasting repeats an axis of length 1 when it is needed, without copies.",
    )
    if expected.dtype.kind == "f":
        yield transform(
            "Every number is about right, but only to half precision.",
            lambda e: e.astype(np.float16),
        )


def in_shape_of_answer(case: Case) -> np.ndarray:
    assert np.shape(case.answer) != np.shape(case.expected)
    return np.reshape(case.expected, np.shape(case.answer))


def axis_transforms(exercise: Exercise, case: Case) -> Iterator[Candidate]:
    """The right answer with its rows or columns moved, repeated or missing."""
    expected = np.asarray(case.expected)
    if expected.dtype.kind not in "biuf":
        return
    for axis, word in enumerate(words_for_axes(exercise, expected)):
        axis -= expected.ndim  # from the right, as above
        if expected.shape[axis] < 2:
            continue
        yield transform(
            f"The {word} axis runs backwards.",
            lambda e, axis=axis: np.flip(e, axis),
        )
        for step, direction in ((1, "late"), (-1, "early")):
            yield transform(
                f"Everything comes one {word} too {direction}.",
                lambda e, step=step, axis=axis: shifted(e, step, axis, e.dtype.type(0)),
            )
            yield transform(
                f"Everything comes one {word} too {direction}, and what falls out at "
                "one end comes in at the other.",
                lambda e, step=step, axis=axis: np.roll(e, step, axis),
            )
        yield transform(
            f"Every {word} has the values of {word} 0.",
            lambda e, axis=axis: np.repeat(np.take(e, [0], axis), e.shape[axis], axis),
            f"What should differ from one {word} to the next?",
        )
        yield transform(
            f"Only {word} 0 is there.", lambda e, axis=axis: np.take(e, [0], axis)
        )
        yield transform(
            f"The last {word} is missing.",
            lambda e, axis=axis: np.delete(e, -1, axis),
        )
        yield transform(
            f"The first {word} is missing.",
            lambda e, axis=axis: np.delete(e, 0, axis),
        )
        if expected.shape[axis] % 2 == 0:
            yield transform(
                f"The {word}s are in another order: all even ones first, then all odd "
                "ones.",
                lambda e, axis=axis: np.concatenate(
                    [e.take(range(0, e.shape[axis], 2), axis),
                     e.take(range(1, e.shape[axis], 2), axis)], axis
                ),
                "Are the two halves interleaved, or one behind the other?",
            )  # fmt: skip
            yield transform(
                f"The {word}s are in another order: the first half and the second "
                "half are interleaved.",
                lambda e, axis=axis: np.stack(np.split(e, 2, axis), axis).reshape(
                    e.shape
                ),
                "Are the two halves interleaved, or one behind the other?",
            )
            yield transform(
                f"The pairs of {word}s come in the opposite order.",
                lambda e, axis=axis: np.take(
                    e, np.arange(e.shape[axis])[::-1] ^ 1, axis
                ),
                "Which pair should be the first?",
            )
            yield transform(
                f"Even and odd {word}s have changed places.",
                lambda e, axis=axis: np.take(e, np.arange(e.shape[axis]) ^ 1, axis),
                "Which of the two comes first?",
            )
            yield transform(
                f"The first and the second half of the {word}s have changed places.",
                lambda e, axis=axis: np.roll(e, e.shape[axis] // 2, axis),
            )


def shifted(values: np.ndarray, step: int, axis: int, fill: Any) -> np.ndarray:
    """Move along an axis; what comes in is `fill`."""
    moved = np.roll(values, step, axis)
    edge: list[Any] = [slice(None)] * values.ndim
    edge[axis] = slice(None, step) if step > 0 else slice(step, None)
    moved[tuple(edge)] = fill
    return moved


def item_transforms() -> Iterator[Candidate]:
    """The right tuple or list with its items moved or missing."""
    changes: tuple[tuple[str, Callable[[Any], Any]], ...] = (
        ("The items come in the opposite order.", lambda e: e[::-1]),
        ("The last two items have changed places.", lambda e: e[:-2] + e[:-3:-1]),
        ("The first item is missing.", lambda e: e[1:]),
        ("The last item is missing.", lambda e: e[:-1]),
    )
    for sentence, change in changes:
        yield Candidate(sentence, lambda case, change=change: change(case.expected))
    yield Candidate(
        "The items are right, but in another order.",
        in_order_of_answer,
        "Which of them comes first?",
    )


def in_order_of_answer(case: Case) -> Any:
    assert sorted(case.answer) == sorted(case.expected)
    return case.answer


def input_transforms(
    exercise: Exercise,
    case: Case,
    function: Callable[..., Any] | None = None,
    *,
    moves: bool = True,
) -> Iterator[Candidate]:
    """The solution's answer (or a mistake's) to slightly different arguments.

    With or without arguments that are moved along an axis.
    """
    function = function or exercise.solution
    arguments = exercise.arguments(case.probe)
    several = inspect.Parameter.VAR_POSITIONAL
    kinds = {k: p.kind for k, p in exercise.signature.parameters.items()}
    flat = {k: v for k, v in arguments.items() if kinds[k] != several}

    def candidate(
        sentence: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        hint: str = "",
    ) -> Candidate:
        def make(case: Case) -> Any:
            given = exercise.arguments(case.probe)
            given |= change({k: v for k, v in given.items() if k in flat})
            bound = exercise.signature.bind_partial()
            bound.arguments.update(given)
            return exercise.call(function, *bound.args, **bound.kwargs)

        return Candidate(sentence, make, hint)

    def where_given(name: str) -> Callable[..., Candidate]:
        """Leave an argument alone on probes that leave it out."""
        return lambda sentence, change: candidate(
            sentence, lambda a: {} if a[name] is None else change(a)
        )

    for name, value in flat.items():
        yield Candidate(
            f"The answer is the argument `{name}`, unchanged.",
            lambda case, name=name: exercise.arguments(case.probe)[name],
        )
        if isinstance(value, int) and not isinstance(value, bool):
            for step in (1, -1):
                yield candidate(
                    f"The answer is right for `{name}` {'+' if step > 0 else '-'} 1.",
                    lambda a, name=name, step=step: {name: a[name] + step},
                    "Is something counted one too far, or not far enough?",
                )
            yield candidate(
                f"The answer is right for minus `{name}`.",
                lambda a, name=name: {name: -a[name]},
            )
        default = exercise.signature.parameters[name].default
        if _is_number(default):
            yield candidate(
                f"`{name}` is not used: the answer is always that for {default:g}.",
                lambda a, name=name, default=default: {name: default},
            )
            for factor, word in ((10, "large"), (0.1, "small")):
                yield candidate(
                    f"The answer is right for a `{name}` ten times too {word}.",
                    lambda a, name=name, factor=factor: {name: a[name] * factor},
                    f"Count the zeros of `{name}`.",
                )
        if isinstance(value, np.ndarray):
            yield from _array_transforms(name, value, where_given(name), moves)
    for name in arguments.keys() - flat.keys():  # *args
        for words, part in (
            ("only the first counts", slice(1)),
            ("only the last counts", slice(-1, None)),
            ("the first does not count", slice(1, None)),
            ("the last does not count", slice(-1)),
        ):
            yield Candidate(
                f"Of `{name}`, {words}.",
                lambda case, part=part: exercise.call(
                    function, *(case.probe.args[part] or case.probe.args)
                ),
                f"What happens to the rest of `{name}`?",
            )
    for a, b in itertools.combinations(flat, 2):
        if type(flat[a]) is type(flat[b]):
            yield candidate(
                f"`{a}` and `{b}` have changed places.",
                lambda given, a=a, b=b: {a: given[b], b: given[a]},
            )
            for used, unused in ((a, b), (b, a)):
                yield candidate(
                    f"`{used}` is used where `{unused}` belongs.",
                    lambda given, used=used, unused=unused: {unused: given[used]},
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _array_transforms(
    name: str, value: np.ndarray, candidate: Callable[..., Candidate], moves: bool
) -> Iterator[Candidate]:
    if value.ndim >= 2:
        yield candidate(
            f"The answer is right for `{name}` with its last two axes swapped.",
            lambda a: {name: np.swapaxes(a[name], -1, -2)},
        )
    for axis in range(value.ndim if moves else 0):
        yield candidate(
            f"The answer is right for `{name}` read backwards along axis {axis}.",
            lambda a, axis=axis: {name: np.flip(a[name], axis)},
        )
        yield candidate(
            f"Of `{name}`, only index 0 of axis {axis} is used, for all of them.",
            lambda a, axis=axis: {
                name: np.repeat(np.take(a[name], [0], axis), a[name].shape[axis], axis)
            },
        )
        for step, word in ((1, "forward"), (-1, "back")):
            yield candidate(
                f"The answer is as if `{name}` were moved by one along axis {axis}, "
                f"{word}.",
                lambda a, axis=axis, step=step: {name: np.roll(a[name], step, axis)},
            )
    if value.dtype.kind == "b":
        yield candidate(
            f"The answer is right for `{name}` inverted.",
            lambda a: {name: ~a[name]},
        )
    elif value.dtype.kind == "f":
        yield candidate(
            f"The answer is right for `{name}` with the other sign.",
            lambda a: {name: -a[name]},
        )
        yield candidate(
            f"The answer is what it would be if all of `{name}` were 0.",
            lambda a: {name: np.zeros_like(a[name])},
        )
