"""Calls with what does not travel, such as functions: they run beside the answer.

An exercise names one (`Exercise(..., adapter="call_result")`); its probes then hold
the arguments of the adapter after the first, which is the learner's function.
"""

import inspect
import itertools
import tracemalloc
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

import numpy as np

# By these a function works on tensors, where the wire carries arrays. They take what
# the function takes.
TENSORS = ("with_tensors", "with_mask_mod")


def adapted(function: Callable[..., Any], adapter: str | None) -> Callable[..., Any]:
    """The function that takes a probe's arguments."""
    if adapter is None:
        return function
    call = partial(globals()[adapter], function)
    return update_wrapper(call, function) if adapter in TENSORS else call


def call_result(
    function: Callable[..., Any], outer: tuple[Any, ...], inner: tuple[Any, ...]
) -> Any:
    """Answer function(*outer)(*inner): for a function that gives a function."""
    given = function(*outer)
    what = "what it gives back"
    if not callable(given):
        raise TypeError(f"{what}, of type {type(given).__name__}, cannot be called")
    try:
        inspect.signature(given).bind(*inner)
    except ValueError:  # NumPy's own have none
        pass
    except TypeError as error:
        how = f"{len(inner)} arguments: {error}"
        raise TypeError(f"{what} cannot be called with {how}") from None
    return given(*inner)


class Misfit(TypeError):
    """What a function gives back, if it is of no kind that can be carried."""


def with_tensors(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call it with tensors for arrays, and answer arrays for tensors.

    They share their memory, so that a change made in place is seen.
    """
    import torch  # chapters 1 to 16 do without

    def tensors(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return torch.from_numpy(np.require(value, requirements="C"))
        return over(value, tensors)

    def arrays(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            raise Misfit("gives back an array of NumPy's; asked for is a tensor")
        if not isinstance(value, torch.Tensor):
            return over(value, arrays)
        try:
            return value.detach().numpy()
        except (TypeError, RuntimeError):  # bfloat16, sparse, on another device
            kind = f"{value.dtype}, {value.layout}, on {value.device}"
            text = f"gives back a tensor of a kind that is not asked for: {kind}"
            raise Misfit(text) from None

    return arrays(function(*tensors(args), **tensors(kwargs)))


def over(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Change the leaves of a tree of lists, tuples and dicts."""
    if type(tree) in (list, tuple):
        return type(tree)(map(change, tree))
    if type(tree) is dict:
        return {key: change(value) for key, value in tree.items()}
    return tree


def with_mask_mod(
    function: Callable[..., Any],
    mask: np.ndarray,
    source: str,
    target: str,
    *,
    shape: tuple[int, ...],
) -> Any:
    """Answer function(mask, source, target), with tables for FlexAttention's functions.

    A table holds what the function gives for each batch row, head, query and key.
    """

    def convert(given: Any, *names: str, shape: tuple[int, ...]) -> Any:
        import torch

        def looked_up(b: Any, h: Any, q_idx: Any, kv_idx: Any) -> Any:
            return given[b, h, q_idx, kv_idx]

        mask = looked_up if source == "flex" else given
        answer = function(mask, *names, shape=shape)
        if target != "flex":
            return answer
        if not callable(answer):
            kind = type(answer).__name__
            raise Misfit(f'gives back a {kind} for "flex"; asked for is a function')
        # one cell after the other, with tensors of no axes, as FlexAttention does
        cells = itertools.product(*(torch.arange(n).unbind() for n in shape))
        values: list[Any] = [answer(*cell) for cell in cells]
        for value in values:
            tensor = isinstance(value, torch.Tensor)
            if not tensor or value.ndim or value.dtype != torch.bool:
                kind = type(value).__name__
                if tensor:
                    kind = f"tensor of {value.dtype} and of shape {tuple(value.shape)}"
                raise Misfit(
                    f'gives back, for "flex", a function that answers with a {kind}; '
                    "asked for is a tensor of torch.bool and of shape ()"
                )
        return torch.stack(values).view(shape)

    return with_tensors(convert, mask, source, target, shape=shape)


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


class Unchanging(dict):
    """A dict that is read only: what is done to it does not come back to be seen."""

    def refuse(self, *_: Any, **__: Any) -> Any:
        raise ValueError("this dict belongs to the caller and must not be changed")

    __setitem__ = __delitem__ = __ior__ = refuse  # pyright: ignore
    clear = pop = popitem = setdefault = update = refuse  # pyright: ignore


def with_ranks(
    function: Callable[..., Any],
    symbols: list[str],
    ranked: list[tuple[str, str, int]],
) -> Any:
    """Answer function(symbols, ranks) for a dict of ranks whose keys are pairs."""
    ranks = {(first, second): rank for first, second, rank in ranked}
    return function(symbols, Unchanging(ranks))


def with_rule(
    function: Callable[..., Any], table: np.ndarray, *args: Any, **kwargs: Any
) -> Any:
    """Answer function(mask_fn, ...) for a rule that looks its answer up in a table.

    A table of one row is a rule that does not look at the query, one of one column a
    rule that does not look at the key.
    """
    rows, columns = table.shape

    def mask_fn(q: np.ndarray, k: np.ndarray) -> np.ndarray:
        if rows == 1:
            return table[0, k]
        return table[q, 0] if columns == 1 else table[q, k]

    return function(mask_fn, *args, **kwargs)


LONG = 1000  # positions: from here on, T * T bytes are not lost in the noise


def without_square(
    function: Callable[..., Any],
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    window: int,
) -> Any:
    """Answer function(query, ...), if it never has a byte for each pair of positions.

    The limit holds for long sequences; of short ones every array is small.
    """
    length = query.shape[-2]
    if length < LONG:
        return function(query, key, value, window)
    tracing = tracemalloc.is_tracing()
    if tracing:
        tracemalloc.reset_peak()
    else:
        tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    try:
        answer = function(query, key, value, window)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()
    if peak - before >= length * length:
        raise MemoryError(
            f"{peak - before:,} bytes at once for {length:,} positions; the limit of "
            f"this call is {length * length:,}"
        )
    return answer
