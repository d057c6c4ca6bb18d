"""From answers to a verdict: points, the mistake's name, where it shows, a hint."""

import copy
import inspect
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autograder import laws
from autograder.adapters import Misfit
from autograder.answers import Answer, Outcome, Raised, raised
from autograder.compare import equal, fits_kind, number_kind
from autograder.exercise import Exercise, Probe
from autograder.relations import (
    Candidate,
    Case,
    candidates,
    input_transforms,
    item_transforms,
    known,
    pairs,
    two_knobs,
)

# Asks the learner's function one probe after the other. The calls that it makes of the
# named earlier exercises of its notebook are answered by the solutions.
Ask = Callable[[Exercise, list[Probe], list[str]], list[Outcome]]


MOST_NAMED = 12  # kinds of probes


@dataclass(frozen=True)
class Verdict:
    """What one function earned and what to tell its author.

    verdict: right, wrong, raised, stopped, unsolved, missing, imported or forbidden.
    way: how the mistake was told: by name (known), by relation, by law, or by rule.
    """

    name: str
    max_points: int
    verdict: str
    message: str
    mistake: str | None = None
    way: str | None = None
    probe: str | None = None
    where: str | None = None
    hint: str = ""
    seen: str | None = None
    first: tuple[str, ...] = ()  # exercises to mend before this one
    tried: tuple[str, ...] = ()
    case: Case | None = field(default=None, repr=False)  # for the picture

    @property
    def points(self) -> int:
        return self.max_points if self.verdict == "right" else 0


def judge(
    exercise: Exercise,
    probes: list[Probe],
    ask: Ask,
    known: Collection[str] = (),
) -> Verdict:
    """Judge a function by what it answers; `known` names functions that are right.

    It is right when it is right with the learner's own earlier functions, or with the
    right ones in their place: nobody loses points twice for one mistake. Every probe
    is asked twice: the same call has to give the same answer.
    """
    twice = probes + probes[::-1]
    cases = make_cases(exercise, twice, ask(exercise, twice, []))
    if not exercise.helpers or all(map(is_right, cases)):
        return judge_cases(exercise, cases)
    right = ask(exercise, twice, exercise.helpers)
    helped = judge_cases(exercise, make_cases(exercise, twice, right))
    if not same_outcomes(right, right[::-1]):  # nothing can be learnt from comparing
        return helped
    first = [
        name
        for name in exercise.helpers
        if name not in known
        and not same_outcomes(
            ask(exercise, probes, [h for h in exercise.helpers if h != name]),
            right[: len(probes)],
        )
    ]
    if not first:  # whatever the helpers do, these are its own mistakes
        return helped
    names = listed(first)
    those = "that" if len(first) == 1 else "those"
    note = f"It was judged with a right {names} in place of yours: mend {those} first."
    return replace(helped, message=f"{helped.message} {note}", first=tuple(first))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `b` and `c`."""
    return series([f"`{name}`" for name in names])


def series(words: Sequence[str]) -> str:
    """Words in a sentence: a, b and c."""
    *some, last = words
    return f"{', '.join(some)} and {last}" if some else last


def same_outcomes(some: list[Outcome], others: list[Outcome]) -> bool:
    """Whether two rounds of the same probes came out alike.

    Of exceptions only the kind counts: the line is another one in a right helper.
    """
    return all(
        equal(a.value, b.value)
        if isinstance(a, Answer) and isinstance(b, Answer)
        else getattr(a, "type_name", None) == getattr(b, "type_name", None)
        for a, b in zip(some, others, strict=True)
    )


def make_cases(
    exercise: Exercise, probes: list[Probe], outcomes: list[Outcome]
) -> list[Case]:
    expected = {id(probe): expect(exercise, probe) for probe in set(probes)}
    return [
        Case(probe, expected[id(probe)], as_asked(exercise, outcome))
        for probe, outcome in zip(probes, outcomes, strict=True)
    ]


def as_asked(exercise: Exercise, outcome: Outcome) -> Outcome:
    """An outcome, without its warnings where the task does not speak of them."""
    if isinstance(outcome, Answer) and not exercise.quiet:
        return replace(outcome, warned="")
    return outcome


def judge_cases(exercise: Exercise, cases: list[Case]) -> Verdict:
    """Compare answers with the solution's and explain the difference."""
    verdict = Verdict(exercise.name, exercise.points, "", "")
    tried = tuple(dict.fromkeys(case.probe.why for case in cases))
    wrong = [case for case in cases if not is_right(case)]
    if not wrong:
        return replace(verdict, verdict="right", message="Right.", tried=tried)
    if all(
        isinstance(case.outcome, Raised)
        and case.outcome.type_name == "NotImplementedError"
        for case in cases
    ):
        return replace(
            verdict, verdict="unsolved", message="Not solved yet: write its body."
        )
    for first, again in itertools.combinations(cases, 2):
        if first.probe is again.probe and not same_answers(first, again):
            return tell_unsteady(exercise, verdict, first)
    answered = [case for case in wrong if isinstance(case.outcome, Answer)]
    if not answered:
        return tell_exception(exercise, verdict, cases, wrong[0])
    answerable = [case for case in answered if not case.probe.refused]
    if not answerable:
        return tell_unrefused(exercise, verdict, cases, answered[0])
    cases = [case for case in cases if not case.probe.refused]
    return tell_mistake(exercise, verdict, cases, answerable)


def expect(exercise: Exercise, probe: Probe) -> Any:
    """The solution's answer to a probe, or what it raises where it has to refuse."""
    args, kwargs = copy.deepcopy((probe.args, probe.kwargs))
    if not probe.refused:
        return exercise.call(exercise.solution, *args, **kwargs)
    try:
        exercise.call(exercise.solution, *args, **kwargs)
    except ValueError as error:
        return raised(error)
    raise AssertionError(f"{exercise.name} answers what it should refuse")


def right_helpers(
    exercise: Exercise, names: list[str]
) -> dict[str, Callable[..., Any]]:
    """The solutions of the earlier exercises of these names."""
    module = inspect.getmodule(exercise.solution)
    return {name: getattr(module, name) for name in names}


def same_answers(first: Case, again: Case) -> bool:
    """Whether the same call came out alike twice."""
    a, b = first.outcome, again.outcome
    if isinstance(a, Answer) and isinstance(b, Answer):
        return equal(a.value, b.value)
    return isinstance(a, Raised) == isinstance(b, Raised)


def is_equal(case: Case) -> bool:
    """Whether an answer is the right one, whatever else the function did."""
    return fits_kind(case.answer, case.expected) and equal(case.answer, case.expected)


def is_right(case: Case) -> bool:
    outcome = case.outcome
    if case.probe.refused:
        return isinstance(outcome, Raised) and outcome.refusal
    return (
        isinstance(outcome, Answer)
        and is_equal(case)
        and not outcome.changed
        and not outcome.warned
    )


def describe(exercise: Exercise, probe: Probe) -> str:
    """A call in one line: arrays by their shapes, but for short rows of integers."""

    def show(value: Any) -> str:
        if isinstance(value, np.ndarray):
            if value.ndim == 1 and value.size <= 8 and value.dtype.kind in "biu":
                return f"array({value.tolist()})"
            return f"{value.dtype} of shape {value.shape}"
        if isinstance(value, tuple):
            return f"({', '.join(map(show, value))})"
        return f"{value!r:.40}"

    parts = [show(value) for value in probe.args]
    if exercise.adapter == "call_result":
        return exercise.name + "".join(parts)
    parts += [f"{name}={show(value)}" for name, value in probe.kwargs.items()]
    return f"{exercise.name}({', '.join(parts)})"


def right_and_wrong(cases: list[Case]) -> str:
    """Which probes are right and which are wrong, by what they are for."""
    right: dict[str, None] = {}
    wrong: dict[str, None] = {}
    for case in cases:
        (right if is_right(case) else wrong)[case.probe.why] = None
    both = [why for why in right if why not in wrong]
    if not both:
        return ""
    if len(wrong) > MOST_NAMED:
        return f"Right for {series(both)}; wrong for all else that was tried."
    if len(both) > MOST_NAMED:
        return f"Wrong for {series(list(wrong))}; right for all else that was tried."
    return f"Wrong for {series(list(wrong))}; right for {series(both)}."


def parameters(exercise: Exercise) -> str:
    """The names in the brackets of a def line."""
    named = inspect.signature(exercise.solution).parameters.values()
    return ", ".join(str(p.replace(annotation=p.empty)) for p in named)


def tell_exception(
    exercise: Exercise, verdict: Verdict, cases: list[Case], case: Case
) -> Verdict:
    """Nothing but exceptions came where an answer was wrong."""
    end = case.outcome
    assert isinstance(end, Raised)
    if end.binding:
        return replace(
            verdict,
            verdict="raised",
            message=f"It must take ({parameters(exercise)}); yours does not: "
            f"{end.text}.",
            probe=describe(exercise, case.probe),
            hint="Restore the def line as it was given.",
        )
    line = f" at `{end.line}`" if end.line else ""
    due = "; asked for is a ValueError" if case.probe.refused else ""
    some = f" {right_and_wrong(cases)}" if any(map(is_right, cases)) else ""
    return replace(
        verdict,
        verdict="raised",
        message=f"Your function {ending(end)}{line}{due}.{some}",
        mistake=ending(end).removeprefix("stops with "),
        way="law",
        probe=describe(exercise, case.probe),
        hint=laws.advice_on(end),
    )


def ending(end: Raised) -> str:
    """What a function does in place of answering."""
    if end.type_name == Misfit.__name__:
        return end.text
    return f"stops with {end.type_name}{f': {end.text}' if end.text else ''}"


def tell_unrefused(
    exercise: Exercise, verdict: Verdict, cases: list[Case], case: Case
) -> Verdict:
    """All that can be answered is right; what cannot be is answered, too."""
    asked = [c for c in cases if isinstance(c.outcome, Answer)]
    asked.sort(key=lambda c: not c.probe.refused)  # where they differ first
    found = next((m for m in known(exercise) if m.holds(asked)), None)
    seen = (
        f"For {case.probe.why} your function gives back "
        f"{laws.a(laws.kind(exercise, case.answer))}; asked for is a ValueError: "
        f"{case.expected.text}."
    )
    return replace(
        verdict,
        verdict="wrong",
        message=f"{found.sentence} {seen}" if found else seen,
        mistake=found.sentence if found else seen,
        way=found.way if found else "law",
        probe=describe(exercise, case.probe),
        hint=found.hint if found else "",
        seen=found.seen if found else None,
    )


def tell_unsteady(exercise: Exercise, verdict: Verdict, case: Case) -> Verdict:
    """The same call came out once so and once otherwise."""
    fact = "The same call, made twice, gives two different answers."
    return replace(
        verdict,
        verdict="wrong",
        message=fact,
        mistake=fact,
        way="law",
        probe=describe(exercise, case.probe),
        hint="Something is kept from call to call or comes from chance: a global, a "
        "default argument that is changed, or an array from np.empty that is not "
        "filled.",
    )


def tell_mistake(
    exercise: Exercise, verdict: Verdict, cases: list[Case], answered: list[Case]
) -> Verdict:
    """Say what the answer is, as far as that holds on every probe, and where."""
    off = [c for c in answered if not is_equal(c)]
    case = (off or answered)[0]
    changed = sorted(
        {name for c in answered for name in getattr(c.outcome, "changed", ())}
    )
    names = listed(changed) if changed else ""
    belong = "belongs" if len(changed) == 1 else "belong"
    meddling = f"Your function changes {names}, which {belong} to its caller."
    crash = crash_note(cases)
    warning = warning_note(case)
    if not off and not changed:
        return replace(
            verdict,
            verdict="wrong",
            message=f"What it gives back is right, but {warning} {crash}".strip(),
            mistake=f"Right, but {warning}",
            way="law",
            probe=describe(exercise, case.probe),
            hint="What is thrown away afterwards was computed all the same. Which "
            "numbers meet there, and what could stand in their place before?",
        )
    if not off:
        return replace(
            verdict,
            verdict="wrong",
            message=f"{meddling} {crash or 'What it gives back is right.'}",
            mistake=f"It changes its argument {names}.",
            way="law",
            probe=describe(exercise, case.probe),
            hint="In-place work such as x[...] = or &= alters the caller's "
            f"{exercise.noun}: make a new {exercise.noun}.",
            case=case,
        )
    observation = laws.observe(exercise, case)
    found = name_mistake(exercise, cases, case)
    shown, part = case, laws.first_wrong_part(exercise, case)
    if part is not None:
        exercise, shown = exercise.part(part), case.part(part)
    index = laws.first_difference(shown)
    where = laws.place(exercise, index) if index else ""
    parts = []
    if found and not found.two:
        parts = [found.sentence, observation]
    elif found:
        parts = [observation, f"Two things at once would explain it. {found.sentence}"]
    else:
        stale = answer_to_another(exercise, cases, case)
        parts = [stale or observation, right_and_wrong(cases)]
        parts += [f"And {warning}"] if warning else []
    parts += [meddling] if changed else []
    parts += [crash] if crash else []
    return replace(
        verdict,
        verdict="wrong",
        message=" ".join(part for part in dict.fromkeys(parts) if part),
        mistake=found.sentence if found else observation,
        way=found.way if found else "law",
        probe=describe(exercise, case.probe),
        where=where or None,
        hint=found.hint if found else "",
        seen=found.seen if found else None,
        case=shown,
    )


def answer_to_another(exercise: Exercise, cases: list[Case], case: Case) -> str:
    """A wrong answer that is the right one to another call, as from a cache."""
    for other in cases:
        same = (
            number_kind(case.expected) == "float"
            and fits_kind(case.answer, other.expected)
            and equal(case.answer, other.expected)
        )
        if same and not equal(other.expected, case.expected):
            return (
                "This is the right answer to another call, "
                f"{describe(exercise, other.probe)}: is something kept from call to "
                "call?"
            )
    return ""


def crash_note(cases: list[Case]) -> str:
    """What exception there was besides the wrong answers, if any."""
    for case in cases:
        if isinstance(case.outcome, Raised):
            return f"And for {case.probe.why} it {ending(case.outcome)}."
    return ""


def warning_note(case: Case) -> str:
    """What NumPy warned of on the way to an answer, if that matters."""
    warned = getattr(case.outcome, "warned", "")
    return f"NumPy warns on the way: {warned}." if warned else ""


def name_mistake(exercise: Exercise, cases: list[Case], case: Case) -> Candidate | None:
    """The first candidate that equals the answer on every probe."""
    asked = [c for c in cases if isinstance(c.outcome, Answer)]
    ordered = laws.as_expected_kinds([case, *asked])
    if all(equal(c.answer, c.expected) for c in ordered):
        return None  # only the kind is wrong
    first = ordered[0]
    explanations = [known(exercise)]
    if isinstance(first.expected, np.ndarray | np.generic | int | float):
        if number_kind(first.answer) is None or not np.size(first.answer):
            return None
        explanations = [candidates(exercise, first), pairs(exercise, first)]
    elif not exercise.parts:
        if isinstance(first.expected, list | tuple):
            explanations.append(item_transforms())
        explanations += [input_transforms(exercise, first), two_knobs(exercise)]
    for candidate in itertools.chain(*explanations):
        if candidate.holds(ordered):
            return candidate
    part = laws.first_wrong_part(exercise, case)
    if part is None:
        return None
    found = name_mistake(
        exercise.part(part), [c.part(part) for c in cases], case.part(part)
    )
    name = exercise.parts[part]
    return found and replace(found, sentence=f"In `{name}`: {found.sentence}")


def not_an_exercise(name: str) -> Verdict:
    """There is no exercise of this name."""
    return Verdict(
        name, 0, "missing",
        f"`{name}` is no exercise of this course. check takes the function itself, "
        "under the name that the exercise gives it: check(causal_mask).",
    )  # fmt: skip


def not_an_own_function(exercise: Exercise) -> Verdict:
    """The solution was handed in."""
    return Verdict(
        exercise.name, exercise.points, "imported",
        f"`{exercise.name}` is imported from the solutions, so it is no answer. Write "
        "your own in its place.",
    )  # fmt: skip
