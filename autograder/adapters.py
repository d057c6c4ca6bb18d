"""Calls for functions that give a function: they run beside the learner's code.

An exercise names one (`Exercise(..., adapter="call_result")`); its probes then hold
the arguments of the adapter after the first, which is the learner's function.
"""

from collections.abc import Callable
from typing import Any


def call_result(
    function: Callable[..., Any], outer: tuple[Any, ...], inner: tuple[Any, ...]
) -> Any:
    """Answer function(*outer)(*inner): for a function that gives a function."""
    return function(*outer)(*inner)
