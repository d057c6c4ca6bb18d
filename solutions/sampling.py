"""From logits to text: what the next token is drawn from, or searched among."""

from collections.abc import Callable

import numpy as np

from solutions.attention import softmax
from solutions.numerics import log_sum_exp


def apply_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Divide the logits by a temperature: below 1 it sharpens, above 1 it flattens.

    At temperature 0 nothing but the largest logit of a row is left: it stays as it is,
    and the others become -inf. Of equal largest ones, the first is left.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Raises:
        ValueError: if the temperature is negative
    """
    if temperature < 0:
        raise ValueError(f"temperature {temperature} is negative")
    if temperature > 0:
        return logits / temperature
    best = logits.argmax(axis=-1)[..., None]  # (..., 1)
    return np.where(np.arange(logits.shape[-1]) == best, logits, -np.inf)


def top_k_filter(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the k largest logits of each row, and what is equal to the least of them.

    The others become -inf. A k of V or more keeps all.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Raises:
        ValueError: if k is below 1

    Source: Fan et al. 2018.
    """
    if k < 1:
        raise ValueError(f"k is {k}: nothing would be left")
    k = min(k, logits.shape[-1])
    least = np.sort(logits)[..., -k, None]  # (..., 1)
    return np.where(logits >= least, logits, -np.inf)


def top_p_filter(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest tokens of each row whose probabilities add up to p or more.

    They are the most probable ones, and the one with which the sum reaches p is among
    them. The logits of the others become -inf. Which of equal logits goes first is
    left open.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Raises:
        ValueError: if p is not above 0 and at most 1

    Source: Holtzman et al. 2020, section 3.
    """
    if not 0 < p <= 1:
        raise ValueError(f"p is {p}, not above 0 and at most 1")
    order = np.argsort(-logits)
    ordered = np.take_along_axis(softmax(logits), order, axis=-1)
    before = ordered.cumsum(axis=-1) - ordered  # what the more probable ones add up to
    kept = np.empty(logits.shape, bool)
    np.put_along_axis(kept, order, before < p, axis=-1)
    return np.where(kept, logits, -np.inf)


def min_p_filter(logits: np.ndarray, min_p: float) -> np.ndarray:
    """Keep the tokens that are at least `min_p` times as probable as the best one.

    The best one is that of the same row. The logits of the others become -inf.

    Shapes:
        logits: (..., V), float
        returns: like logits

    Raises:
        ValueError: if min_p is not from 0 to 1

    Source: Nguyen et al. 2024.
    """
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p is {min_p}, not from 0 to 1")
    weights = softmax(logits)
    least = min_p * weights.max(axis=-1, keepdims=True)
    return np.where(weights >= least, logits, -np.inf)


def perplexity(
    logits: np.ndarray, targets: np.ndarray, ignore_index: int = -100
) -> float:
    """Tell among how many equally probable tokens a model chooses, on average.

    It is the exponential of the mean, over all targets that count, of minus the
    logarithm of the target's probability. Targets that are `ignore_index` do not
    count; at least one other is there. Logits and targets of the same place belong
    together: nothing is shifted here.

    Shapes:
        logits: (..., V), float
        targets: (...), int
        returns: a float
    """
    counts = targets != ignore_index
    logits, targets = logits[counts], targets[counts]  # (N, V), (N,)
    of_targets = logits[np.arange(len(targets)), targets]
    return float(np.exp(np.mean(log_sum_exp(logits) - of_targets)))


def beam_search(
    step: Callable[[list[int]], np.ndarray],
    start_id: int,
    end_id: int,
    beam_size: int,
    max_len: int,
    length_penalty: float = 1.0,
) -> tuple[list[int], float]:
    """Search the finished sequence of highest score from `beam_size` beginnings.

    A sequence starts with `start_id`. It is finished when an `end_id` follows, or
    when `max_len` ids have followed. Its score is the sum of the log-probabilities of
    what follows the start, divided by the number of these ids to the power of
    `length_penalty`.

    At each step every beginning is continued with every id, and the continuations are
    ranked by their sums. The finished ones among the best `beam_size` are set aside;
    the best `beam_size` of the unfinished ones are the next beginnings. When there are
    none, the sequence of highest score is taken from what was set aside.

    Shapes:
        step: takes a list of ids, gives the log-probabilities (V,) of the next id
        returns: the list of ids, from start_id on, and the score, a float
    """

    def is_finished(ids):
        return ids[-1] == end_id or len(ids) > max_len

    def score(beam):
        ids, total = beam
        return total / (len(ids) - 1) ** length_penalty

    beams, aside = [([start_id], 0.0)], []
    while beams:
        continued = [
            ([*ids, token], total + log_prob)
            for ids, total in beams
            for token, log_prob in enumerate(step(ids))
        ]
        continued.sort(key=lambda beam: -beam[1])
        aside += [beam for beam in continued[:beam_size] if is_finished(beam[0])]
        beams = [beam for beam in continued if not is_finished(beam[0])][:beam_size]
    best = max(aside, key=score)
    return best[0], float(score(best))
