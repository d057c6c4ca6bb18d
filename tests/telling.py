"""What learners are told: judge code as `check` does in a notebook."""

import inspect
import re
import sys
from typing import Any

import numpy as np

from autograder.judge import Verdict
from autograder.live import verdict_on


def told(source: str, seed: int = 0, **given: Any) -> Verdict:
    """Judge the last function that a cell defines, with these names beside it."""
    source = inspect.cleandoc(source)
    cells = ["import numpy as np", source]
    namespace = {"np": np, **given, "__name__": "__main__", "In": cells}
    exec(source, namespace)
    last = re.findall(r"^(?:def )?(\w+)(?:\(| =)", source, re.M)[-1]
    with np.errstate(all="ignore"):
        return verdict_on(namespace[last], seed)


def assert_quick(source: str, **given: Any) -> None:
    """It is rejected within 500,000 function calls, about 0.3 s of a processor.

    Calls are counted, not seconds, for a slower machine is not a slower check.
    """
    told(source, **given)  # what a process does once is done
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        verdict = told(source, **given)
    finally:
        sys.setprofile(None)
    assert verdict.points == 0
    assert calls < 500_000


def assert_told(verdict: Verdict, text: str) -> None:
    """It is rejected, and this is a part of what is said; `make told` shows it all."""
    print(verdict.message, verdict.hint)
    assert verdict.points == 0
    assert text.lower() in f"{verdict.message} {verdict.hint}".lower(), verdict.message
