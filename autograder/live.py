"""Judge a function in the process it lives in: a live notebook, or the web page."""

import types
from collections.abc import Callable
from typing import Any

from autograder import specs
from autograder.answers import Outcome, ask
from autograder.exercise import VISIBLE_SEED, Exercise, Probe
from autograder.judge import Verdict, judge, not_an_exercise, not_an_own_function


def verdict_on(function: Callable[..., Any], seed: int = VISIBLE_SEED) -> Verdict:
    """Judge a function on the probes of a seed."""
    name = getattr(function, "__name__", type(function).__name__)
    exercise = specs.find(name) if callable(function) else None
    if exercise is None:
        return not_an_exercise(name)
    if str(getattr(function, "__module__", "")).startswith("solutions"):
        return not_an_own_function(exercise)

    def ask_here(
        exercise: Exercise, probes: list[Probe], helped: bool
    ) -> list[Outcome]:
        asked = with_helpers(function, exercise) if helped else function
        return [ask(asked, p.args, p.kwargs, exercise.adapter) for p in probes]

    return judge(exercise, exercise.draw(seed), ask_here)


def with_helpers(function: Callable[..., Any], exercise: Exercise) -> Any:
    """The function, seeing right versions of the earlier exercises that it may use."""
    if not isinstance(function, types.FunctionType):
        return function
    right = vars(__import__(exercise.solution.__module__, fromlist=["_"]))
    seen = function.__globals__ | {name: right[name] for name in exercise.helpers}
    twin = types.FunctionType(
        function.__code__,
        seen,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin
