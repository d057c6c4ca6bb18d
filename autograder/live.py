"""Judge a function in the process it lives in: a live notebook, or the web page."""

import inspect
import linecache
from collections.abc import Callable
from typing import Any

from autograder import rules, specs
from autograder.answers import Outcome, ask, replaced
from autograder.exercise import VISIBLE_SEED, Exercise, Probe
from autograder.judge import (
    Verdict,
    judge,
    not_an_exercise,
    not_an_own_function,
    right_helpers,
)


def verdict_on(function: Callable[..., Any], seed: int = VISIBLE_SEED) -> Verdict:
    """Judge a function on the probes of a seed."""
    name = getattr(function, "__name__", type(function).__name__)
    exercise = specs.find(name) if callable(function) else None
    if exercise is None:
        return not_an_exercise(name)
    if str(getattr(function, "__module__", "")).startswith("solutions"):
        return not_an_own_function(exercise)
    if exercise.rules:
        broken = rules.breach(exercise, cells_around(function))
        if broken is not None:
            return broken

    namespace = getattr(inspect.unwrap(function), "__globals__", {})

    def ask_here(
        exercise: Exercise, probes: list[Probe], helpers: list[str]
    ) -> list[Outcome]:
        with replaced(right_helpers(exercise, helpers), namespace):
            return [ask(function, p.args, p.kwargs, exercise.adapter) for p in probes]

    return judge(exercise, exercise.draw(seed), ask_here)


def cells_around(function: Callable[..., Any]) -> list[str]:
    """The code that a function lives in: the cells that have run, or its file."""
    function = inspect.unwrap(function)
    names = getattr(function, "__globals__", {})
    if isinstance(names.get("In"), list):
        return list(map(str, names["In"]))
    code = getattr(function, "__code__", None)
    return ["".join(linecache.getlines(code.co_filename, names))] if code else []
