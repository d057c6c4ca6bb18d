"""What learners are told: judge code as `check` does in a notebook."""

import inspect
import re
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


def assert_told(verdict: Verdict, text: str) -> None:
    """It is rejected, and this is a part of what is said; `make told` shows it all."""
    print(verdict.message, verdict.hint)
    assert verdict.points == 0
    assert text.lower() in f"{verdict.message} {verdict.hint}".lower(), verdict.message
