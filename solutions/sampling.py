"""From logits to text: what a model's next token is drawn from."""

from collections.abc import Callable

import numpy as np

from solutions.attention import softmax
from solutions.numerics import log_sum_exp


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Sharpen the distribution below temperature 1, flatten it above.

    At temperature 0 all is on the largest logit: it becomes 0, the others -inf. Of
    equal largest ones the first counts.

    Shapes:
        logits: (..., V), float
        returns: like logits
    """
    if temperature > 0:
        return logits / temperature
    best = logits.argmax(axis=-1)[..., None]
    is_best = np.arange(logits.shape[-1]) == best
    return np.where(is_best, 0, -np.inf).astype(logits.dtype)


def top_k_filter(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest logits, and what is equal to the smallest of them.

    The others become -inf. A k above V keeps all.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Source: Fan et al. 2018, section 5.1.
    """
    k = min(k, logits.shape[-1])
    smallest = np.sort(logits, axis=-1)[..., -k, None]
    return np.where(logits >= smallest, logits, -np.inf).astype(logits.dtype)


def top_p_filter(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest largest tokens whose probabilities add up to p or more.

    The token with which the sum reaches p is kept; the others become -inf. Of equal
    logits, those with lower ids come first.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Source: Holtzman et al. 2020, section 3.1.
    """
    order = np.argsort(-logits, axis=-1, kind="stable")
    ordered = np.take_along_axis(softmax(logits), order, axis=-1)
    before = ordered.cumsum(axis=-1) - ordered  # what the larger ones add up to
    kept = np.empty(logits.shape, bool)
    np.put_along_axis(kept, order, before < p, axis=-1)
    return np.where(kept, logits, -np.inf).astype(logits.dtype)


def min_p_filter(logits: np.ndarray, min_p: float) -> np.ndarray:
    """Keep the tokens that are at least `min_p` times as probable as the best one.

    The others become -inf.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Source: Nguyen et al. 2024, section 3.
    """
    weights = softmax(logits)
    least = min_p * weights.max(axis=-1, keepdims=True)
    return np.where(weights >= least, logits, -np.inf).astype(logits.dtype)


def perplexity(
    logits: np.ndarray, targets: np.ndarray, ignore_index: int = -100
) -> float:
    """Among how many equally likely tokens the model chooses, on average.

    It is the exponential of the mean of minus the log-probability of each target.
    Targets that are `ignore_index` do not count. The logits at a place are those for
    the target at the same place: nothing is shifted here.

    Shapes:
        logits: (..., V), float
        targets: (...), int
        returns: float
    """
    counts = targets != ignore_index
    logits, targets = logits[counts], targets[counts]  # (N, V), (N,)
    right = logits[np.arange(len(targets)), targets]
    return float(np.exp((log_sum_exp(logits) - right).mean()))


def beam_search(
    step: Callable[[list[int]], np.ndarray],
    start_id: int,
    end_id: int,
    beam_size: int,
    max_len: int,
    length_penalty: float = 1.0,
) -> tuple[list[int], float]:
    """Search the sequence of highest score, keeping `beam_size` beginnings.

    A sequence starts with `start_id` and is finished by `end_id`, or when `max_len`
    tokens follow the start. Its score is the sum of its tokens' log-probabilities,
    divided by their number (without the start) to the power of `length_penalty`. At
    every step all unfinished beginnings are continued with every token, and the
    `beam_size` continuations of highest sum stay; those among them that are finished
    are set aside. It ends when none is unfinished.

    Shapes:
        step: takes the ids so far, gives the log-probabilities (V,) of the next one
        returns: the ids, from start_id on, and the score

    Source: Wu et al. 2016, section 7.
    """
    beams = [([start_id], 0.0)]
    finished: list[tuple[list[int], float]] = []
    while beams:
        candidates = [
            ([*ids, token], total + float(log_prob))
            for ids, total in beams
            for token, log_prob in enumerate(step(ids))
        ]
        candidates.sort(key=lambda beam: -beam[1])
        beams = []
        for ids, total in candidates[:beam_size]:
            if ids[-1] == end_id or len(ids) > max_len:
                finished.append((ids, total / (len(ids) - 1) ** length_penalty))
            else:
                beams.append((ids, total))
    return max(finished, key=lambda beam: beam[1])
