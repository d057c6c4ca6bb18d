"""Calls with what does not travel, such as functions: they run beside the answer.

An exercise names one (`Exercise(..., adapter="call_result")`); its probes then hold
the arguments of the adapter after the first, which is the learner's function.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def call_result(
    function: Callable[..., Any], outer: tuple[Any, ...], inner: tuple[Any, ...]
) -> Any:
    """Answer function(*outer)(*inner): for a function that gives a function."""
    return function(*outer)(*inner)


def with_dtype(function: Callable[..., Any], attn_mask: np.ndarray, dtype: str) -> Any:
    """Answer function(attn_mask, dtype) for a dtype that is given by its name."""
    return function(attn_mask, np.dtype(dtype))


def in_passing(function: Callable[..., Any], blocks: list[np.ndarray]) -> Any:
    """Answer function(blocks) for blocks that come one by one, and once."""
    return function(iter(blocks))


def with_table(
    function: Callable[..., Any], log_probs: np.ndarray, *args: Any, **kwargs: Any
) -> Any:
    """Answer function(step, ...) for a step that looks its answer up in a table.

    log_probs[n - 1, i] is what follows n ids of which i is the last: (T, V, V).
    """

    def step(ids: list[int]) -> np.ndarray:
        return log_probs[len(ids) - 1, ids[-1]].copy()

    return function(step, *args, **kwargs)
