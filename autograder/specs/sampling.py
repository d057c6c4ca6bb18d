"""Chapter 13: sampling text."""

import math
from functools import partial
from typing import Any

import numpy as np

from autograder.exercise import Exercise, Probe
from autograder.laws import place
from solutions import sampling
from solutions.attention import softmax
from solutions.numerics import log_sum_exp

AXES = ("batch row", "position", "token")


def some_sizes(rng):
    """B, T and V: all different, and at least 2."""
    batch, length = (int(n) for n in rng.permutation([2, 3, 4])[:2])
    return batch, length, int(rng.integers(6, 9))


def scattered(rng, *shape):
    """Logits of which no two in a row are equal: quarters, at another level by row."""
    count = shape[-1]
    levels = rng.integers(-count, count, (*shape[:-1], 1))
    steps = np.broadcast_to(np.arange(-count, count), (*shape[:-1], 2 * count))
    return (levels + rng.permuted(steps, axis=-1)[..., :count]) / 4


def log_softmax(logits):
    return logits - log_sum_exp(logits)[..., None]


def row_of(exercise, index):
    """Name a row: ' of position 1', or nothing where there is only one."""
    name = place(exercise, (*index, 0)).rpartition(", ")[0]
    return f" of {name}" if name else ""


def told_by_what_is_kept(exercise):
    """A law of filters: which tokens are kept, and which should be."""

    @exercise.law
    def kept(answer, logits, threshold):
        right = exercise.solution(logits, threshold)
        if answer.shape != right.shape:
            return None
        for index in np.ndindex(right.shape[:-1]):
            got, wanted = (np.flatnonzero(r[index] != -np.inf) for r in (answer, right))
            if np.array_equal(got, wanted):
                continue
            row = row_of(exercise, index)
            if len(got) == logits.shape[-1]:
                dropped = len(got) - len(wanted)
                return f"No logit{row} is -inf; {dropped} should be."
            return f"Kept{row}: {tokens(got)}. To be kept: {tokens(wanted)}."
        return None


def wrong_fills(exercise):
    """Mistakes of filters whose family knows `fill`."""
    exercise.mistake(
        "Dropped logits become 0, not -inf.",
        hint="What is exp(0)? A logit of 0 is a token that can be drawn.",
        fill=0,
    )
    exercise.mistake(
        "Dropped logits become -1e9, not -inf.",
        hint="Most softmaxes would make 0 of it. But the next filter, and whoever asks "
        "what was dropped, looks for -inf.",
        fill=-1e9,
    )


def gives_probabilities(exercise):
    @exercise.mistake(
        "The answer is probabilities: a softmax has been taken.",
        hint="Asked for are logits. The filters that come after it take logits, too.",
    )
    def probabilities(logits, threshold):
        return softmax(exercise.solution(logits, threshold))

    @exercise.mistake(
        "The answer is logarithms of probabilities: each row is shifted so that the "
        "exponentials of what is kept add up to 1.",
        hint="They have the same softmax. But what is kept should stay as it is.",
    )
    def log_probabilities(logits, threshold):
        return log_softmax(exercise.solution(logits, threshold))


def tokens(ids):
    """Ids in a sentence."""
    if len(ids) == 0:
        return "no token"
    some = ", ".join(map(str, ids))
    return f"{'token' if len(ids) == 1 else 'tokens'} {some}"


temperature = Exercise(sampling.apply_temperature, points=1, axes=AXES)


@temperature.probes
def _(rng):
    b, t, v = some_sizes(rng)
    single = np.float32
    yield Probe(scattered(rng, v), 0.5, why="a single row")
    yield Probe(scattered(rng, t, v), 4.0, why="a temperature above 1")
    yield Probe(scattered(rng, b, t, v), 0.25, why="a temperature below 1")
    yield Probe(scattered(rng, v, v), 2.0, why="as many rows as tokens")
    yield Probe(scattered(rng, t, v).astype(single), 8.0, why="float32")
    yield Probe(scattered(rng, b, v), 1.0, why="temperature 1")
    yield Probe(scattered(rng, b, t, v), 0.0, why="temperature 0")
    yield Probe(scattered(rng, v).astype(single), 0, why="temperature 0")
    ties = scattered(rng, t, v)
    twice = rng.permuted(np.tile(np.arange(v), (t, 1)), axis=-1)[:, :2]
    np.put_along_axis(ties, twice, ties.max(axis=-1, keepdims=True) + 1, axis=-1)
    yield Probe(ties, 0.0, why="temperature 0 where two logits are the largest")


@temperature.law
def one_is_left(answer, logits, temperature):
    if temperature or answer.shape != logits.shape:
        return None
    left = (answer != -np.inf).sum(axis=-1)
    for index in np.argwhere(left != 1)[:1]:
        return (
            f"At temperature 0, {left[tuple(index)]} logits"
            f"{row_of(temperature, index)} are not -inf; it should be one."
        )
    return None


def greedy(logits):
    return sampling.apply_temperature(logits, 0)


@temperature.family
def temperature_family(
    logits, temperature, *, divide=np.divide, after=lambda x: x, at_zero=greedy
):
    with np.errstate(all="ignore"):
        if temperature == 0:
            return at_zero(logits)
        return after(divide(logits, logits.dtype.type(temperature)))


temperature.mistake(
    "The logits are multiplied by the temperature.",
    hint="A high temperature should flatten: do the differences between logits have to "
    "become larger or smaller?",
    divide=np.multiply,
)
temperature.mistake(
    "The logits are divided by the square of the temperature.",
    hint="Is the temperature applied twice?",
    divide=lambda x, t: x / t**2,
)
temperature.mistake(
    "The logits are divided by the square root of the temperature.",
    hint="Which formula has the root? In attention it is that of d_k.",
    divide=lambda x, t: x / np.sqrt(t),
)
temperature.mistake(
    "Each logit is raised to the power 1 / temperature.",
    hint="The power belongs to probabilities. What becomes of it for logarithms?",
    divide=lambda x, t: np.sign(x) * np.abs(x) ** (1 / t),
)
temperature.mistake(
    "The answer is probabilities: a softmax has been taken.",
    hint="Asked for are logits. The filters that come after it take logits, too.",
    after=softmax,
)
temperature.mistake(
    "The answer is logarithms of probabilities: each row is shifted so that its "
    "exponentials add up to 1.",
    hint="They have the same softmax. But asked for are the logits themselves, over "
    "the temperature.",
    after=log_softmax,
)
temperature.mistake(
    "The answer is right but for a shift: the largest number of each row is 0.",
    hint="It has the same softmax. But asked for are the logits, over the temperature.",
    after=lambda x: x - x.max(axis=-1, keepdims=True),
)
temperature.mistake(
    "Probabilities are divided by the temperature, not logits.",
    hint="Divide p by 2: does it change which token is drawn more often than another?",
    divide=lambda x, t: softmax(x) / t,
)
temperature.mistake(
    "A temperature above 1 has no effect.",
    hint="Compare your answers for 1, 2 and 4.",
    divide=lambda x, t: x / min(t, 1),
)
temperature.mistake(
    "At temperature 0 the logits are divided by 0.",
    hint="0 / 0 is NaN, and softmax makes NaN of inf, too. Which token should be drawn "
    "at temperature 0? Treat it as a case of its own.",
    seen="google-deepmind/gemma#562",
    at_zero=lambda x: x / 0,
)
temperature.mistake(
    "At temperature 0 nothing changes: the answer is the logits.",
    hint="What is left when the temperature gets lower and lower?",
    at_zero=lambda x: x,
)
for tiny in (1e-5, 1e-6, 1e-8):
    temperature.mistake(
        f"At temperature 0 the logits are divided by {tiny:g}.",
        hint="Where two logits are equal, no temperature tells them apart. Treat 0 as "
        "a case of its own.",
        at_zero=lambda x, tiny=tiny: x / tiny,
    )
temperature.mistake(
    "At temperature 0 all of several equal largest logits are left.",
    hint="One token is to be left. Which of the equal ones does argmax give?",
    at_zero=lambda x: np.where(x == x.max(-1, keepdims=True), x, -np.inf),
)
temperature.mistake(
    "At temperature 0 the last of several equal largest logits is left, not the first.",
    hint="sorted and argsort go upwards, and the last of equal ones is at the end.",
    at_zero=lambda x: greedy(x[..., ::-1])[..., ::-1],
)
temperature.mistake(
    "At temperature 0 the largest logit becomes 1 and all others 0.",
    hint="That would be the probabilities. What has to stand where a logit is, for its "
    "probability to be 0?",
    at_zero=lambda x: np.isfinite(greedy(x)).astype(x.dtype),
)
temperature.mistake(
    "At temperature 0 the largest logit becomes 0.",
    hint="After a softmax it makes no difference. But the task says: as it is.",
    at_zero=lambda x: np.where(np.isfinite(greedy(x)), x.dtype.type(0), -np.inf),
)
temperature.mistake(
    "At temperature 0 the others become 0, not -inf.",
    hint="What is exp(0)? A logit of 0 is a token that can be drawn.",
    at_zero=lambda x: np.where(np.isfinite(greedy(x)), x, x.dtype.type(0)),
)
temperature.mistake(
    "At temperature 0 one logit of the whole array is left, not one of each row.",
    hint="Every row is another next token. Along which axis is the largest?",
    at_zero=lambda x: np.where(x == x.max(), x, -np.inf),
)


@temperature.variant
def with_a_loop(logits, temperature):
    if temperature:
        return logits * (1 / temperature)
    answer = np.full_like(logits, -np.inf)
    for row in np.ndindex(logits.shape[:-1]):
        best = int(np.argmax(logits[row]))
        answer[row][best] = logits[row][best]
    return answer


@temperature.variant
def by_put_along_axis(logits, temperature):
    if temperature != 0:
        return np.true_divide(logits, temperature)
    best = np.argmax(logits, axis=-1, keepdims=True)
    answer = np.full(logits.shape, -np.inf)
    np.put_along_axis(answer, best, np.take_along_axis(logits, best, -1), -1)
    return answer


@temperature.variant
def one_hot(logits, temperature):
    if temperature > 0:
        return logits.astype(np.float64) / temperature
    kept = np.eye(logits.shape[-1], dtype=bool)[logits.argmax(-1)]
    return np.where(kept, logits, float("-inf"))


@temperature.variant
def first_by_running_count(logits, temperature):
    if temperature > 1e-9:
        return logits / temperature
    largest = logits == logits.max(axis=-1, keepdims=True)
    return np.where(largest & (largest.cumsum(axis=-1) == 1), logits, -np.inf)


top_k = Exercise(sampling.top_k_filter, points=1, axes=AXES)
told_by_what_is_kept(top_k)


@top_k.probes
def _(rng):
    b, t, v = some_sizes(rng)
    yield Probe(scattered(rng, v), 3, why="a single row")
    yield Probe(scattered(rng, t, v), 2, why="several rows")
    yield Probe(scattered(rng, b, t, v), 4, why="a batch of sequences")
    yield Probe(scattered(rng, v, v), 3, why="as many rows as tokens")
    yield Probe(scattered(rng, t, v).astype(np.float32), 2, why="float32")
    yield Probe(scattered(rng, b, v), 1, why="k of 1")
    yield Probe(scattered(rng, b, v), v, why="k of all tokens")
    yield Probe(scattered(rng, t, v), v + 5, why="k above the number of tokens")
    ties = np.sort(scattered(rng, t, v))[:, ::-1]
    ties[:, 2:4] = ties[:, 1:2]  # the second largest is there three times
    yield Probe(
        rng.permuted(ties, axis=-1), 2, why="logits equal to the least that is kept"
    )
    ties[:, 4:] = -np.inf
    for k in (3, 5):
        yield Probe(rng.permuted(ties, axis=-1), k, why="logits that are -inf already")


def sorted_down(logits):
    return -np.sort(-logits, axis=-1)


def least_of_best(logits, k):
    return sorted_down(logits)[..., min(k, logits.shape[-1]) - 1, None]


@top_k.family
def top_k_family(
    logits, k, *, least=least_of_best, keep=np.greater_equal, fill=-np.inf
):
    return np.where(keep(logits, least(logits, k)), logits, logits.dtype.type(fill))


def rank_of(logits):
    return np.argsort(np.argsort(-logits, axis=-1, kind="stable"), axis=-1)


HOW_MANY = "How many logits of a row are not -inf in your answer? Try k = 1."

top_k.mistake(
    "Only what is larger than the k-th largest logit is kept: one too few.",
    hint=HOW_MANY,
    keep=np.greater,
)
top_k.mistake(
    "k + 1 logits are kept.",
    hint=HOW_MANY,
    seen="kingoflolz/mesh-transformer-jax#164",
    least=lambda x, k: least_of_best(x, k + 1),
)
top_k.mistake(
    "Only the largest logit is kept, whatever k is.",
    hint="Of the k largest ones, the threshold is the least. In which order does your "
    "function get them?",
    seen="fluxions-ai/vui#32",
    least=lambda x, k: x.max(axis=-1, keepdims=True),
)
top_k.mistake(
    "The k largest logits are dropped and the others kept.",
    hint="Does your condition say what is kept or what is dropped?",
    seen="EricLBuehler/mistral.rs#1316",
    keep=np.less,
)
top_k.mistake(
    "The k smallest logits are kept.",
    hint="np.sort and np.argsort go upwards.",
    least=lambda x, k: np.sort(x)[..., min(k, x.shape[-1]) - 1, None],
    keep=np.less_equal,
)
top_k.mistake(
    "The k smallest logits are dropped: V - k are kept.",
    hint="np.sort goes upwards: from which end do you count?",
    least=lambda x, k: np.sort(x)[..., min(k, x.shape[-1] - 1), None],
)
wrong_fills(top_k)
top_k.mistake(
    "The k largest logits of the whole array are kept, not those of each row.",
    hint="Every row is another next token. Along which axis do you sort?",
    least=lambda x, k: np.sort(x, axis=None)[-min(k, x.size)],
)
top_k.mistake(
    "The k largest are looked for along the first axis, not among the tokens.",
    hint="Along which axis do the logits of one next token lie?",
    least=lambda x, k: np.sort(x, axis=0)[-min(k, len(x))],
)


@top_k.mistake(
    "Of logits that are equal to the least that is kept, only some are kept.",
    hint="Print a row with equal logits. Compare values, not places in an order.",
)
def exactly_k(logits, k):
    return np.where(rank_of(logits) < k, logits, -np.inf)


@top_k.mistake(
    "Only the k logits are there: the others should stand beside them, as -inf.",
    hint="An id is a place in the row of V logits. Which ids are yours now?",
)
def k_logits_alone(logits, k):
    return sorted_down(logits)[..., :k]


@top_k.mistake(
    "The logits are sorted: they stand no longer at their ids.",
    hint="An id is a place in the row of V logits. Put each back where it was.",
)
def left_sorted(logits, k):
    return sorted_down(sampling.top_k_filter(logits, k))


gives_probabilities(top_k)


@top_k.variant
def by_partition(logits, k):
    size = logits.shape[-1]
    if k >= size:
        return logits.copy()
    least = np.partition(logits, size - k, axis=-1)[..., size - k : size - k + 1]
    return np.where(logits < least, -np.inf, logits)


@top_k.variant
def row_by_row(logits, k):
    answer = logits.copy()
    for row in np.ndindex(logits.shape[:-1]):
        least = sorted(logits[row], reverse=True)[:k][-1]
        answer[row][answer[row] < least] = -np.inf
    return answer


@top_k.variant
def by_counting(logits, k):
    larger = (logits[..., None, :] > logits[..., :, None]).sum(axis=-1)
    return np.where(larger < k, logits, -np.inf)


@top_k.variant
def on_probabilities(logits, k):
    weights = softmax(logits.astype(np.float64))
    least = np.sort(weights)[..., ::-1][..., : k or None].min(axis=-1, keepdims=True)
    return np.where(weights >= least, logits, -np.inf)


top_p = Exercise(sampling.top_p_filter, points=2, axes=AXES)
told_by_what_is_kept(top_p)


def with_weights(rng, weights, *shape):
    """Logits of these probabilities, in another order in every row, shifted by row."""
    rows = np.broadcast_to(np.log(weights), (*shape, len(weights)))
    shifts = rng.integers(-3, 4, (*shape, 1))
    return rng.permuted(rows, axis=-1) + shifts


@top_p.probes
def _(rng):
    b, t, _ = some_sizes(rng)
    # Sums stay away from p: 0.50, 0.72, 0.84, 0.92, 0.97, 1.00.
    falling = np.array([0.50, 0.22, 0.12, 0.08, 0.05, 0.03])
    flat = np.array([0.22, 0.18, 0.16, 0.14, 0.12, 0.10, 0.08])
    sharp = np.array([0.93, 0.04, 0.015, 0.009, 0.006])
    yield Probe(with_weights(rng, falling), 0.8, why="a single row")
    yield Probe(with_weights(rng, falling, t), 0.9, why="several rows")
    yield Probe(with_weights(rng, flat, b, t), 0.45, why="a flat distribution")
    yield Probe(with_weights(rng, falling, b, t), 0.6, why="a batch of sequences")
    yield Probe(with_weights(rng, falling, 6), 0.75, why="as many rows as tokens")
    yield Probe(with_weights(rng, flat, 7), 0.65, why="as many rows as tokens")
    yield Probe(with_weights(rng, falling, t).astype(np.float32), 0.7, why="float32")
    yield Probe(
        with_weights(rng, sharp, b), 0.85,
        why="a token that alone is more probable than p",
    )  # fmt: skip
    yield Probe(with_weights(rng, sharp, t), 0.95, why="a sharp distribution")
    yield Probe(with_weights(rng, flat, b), 0.05, why="a small p")
    yield Probe(with_weights(rng, falling, t), 1.0, why="p of 1")
    cut = with_weights(rng, falling, t)
    cut[cut < np.sort(cut)[:, 2:3]] = -np.inf  # 0.54, 0.24, 0.13, 0.09 are left
    yield Probe(cut, 0.85, why="logits that are -inf already")


def falling_order(logits):
    return np.argsort(-logits, axis=-1, kind="stable")


def sum_before(weights):
    return weights.cumsum(axis=-1) - weights


def back(kept, order):
    answer = np.empty(kept.shape, bool)
    np.put_along_axis(answer, order, kept, axis=-1)
    return answer


@top_p.family
def top_p_family(
    logits, p, *, order=falling_order, share=softmax, before=sum_before,
    keep=lambda before, p: before < p, back=back, fill=-np.inf,
):  # fmt: skip
    places = order(logits)
    with np.errstate(all="ignore"):
        ordered = np.take_along_axis(share(logits), places, axis=-1)
        kept = back(keep(before(ordered), p), places)
    return np.where(kept, logits, logits.dtype.type(fill))


def first_kept(kept):
    kept = kept.copy()
    kept[..., 0] = True
    return kept


THE_CROSSING = (
    "What do the probabilities of what you keep add up to? It should be p or more: the "
    "token with which the sum reaches p belongs to it."
)

top_p.mistake(
    "The token with which the sum reaches p is dropped, and with it the best token "
    "where that one alone is more probable than p.",
    hint=THE_CROSSING,
    before=lambda weights: weights.cumsum(axis=-1),
)
top_p.mistake(
    "The token with which the sum reaches p is dropped, unless it is the best one.",
    hint=THE_CROSSING,
    seen="rasbt/reasoning-from-scratch#164",
    before=lambda weights: weights.cumsum(axis=-1),
    keep=lambda before, p: first_kept(before <= p),
)
top_p.mistake(
    "One token more than needed is kept.",
    hint="Leave out the least of what you keep: do the others still add up to p?",
    keep=lambda before, p: np.roll(before < p, 1, axis=-1) | (before < p),
)
top_p.mistake(
    "The least probable tokens are kept: the sum goes upwards from the smallest.",
    hint="np.sort and np.argsort go upwards. Which tokens should the nucleus hold?",
    order=lambda logits: np.argsort(logits, axis=-1),
)
top_p.mistake(
    "The tokens up to 1 - p are kept, not those up to p.",
    hint="p is the probability that is kept. How much do you keep for p = 0.9?",
    seen="lucidrains/x-transformers#184",
    keep=lambda before, p: first_kept(before < 1 - p),
)
top_p.mistake(
    "The sum runs over the logits, not over probabilities.",
    hint="Logits add up to nothing in particular, and p is a probability.",
    share=lambda logits: logits,
)
top_p.mistake(
    "What is kept is right in sorted order, but is taken for the order of the ids.",
    hint="The first of the sorted tokens is not token 0. The order that argsort gave "
    "leads back.",
    back=lambda kept, order: kept,
)
top_p.mistake(
    "From each sum the best token's probability is subtracted, not the token's own.",
    hint="Write down the sums before each token: 0, then the first, then the first "
    "two. What has to be subtracted from the running sums?",
    seen="facebookresearch/ParlAI#2733",
    before=lambda weights: weights.cumsum(axis=-1) - weights[..., :1],
)
top_p.mistake(
    "A token is kept if its own probability is below p: nothing is added up.",
    hint="It is the sum of all more probable tokens that decides.",
    before=lambda weights: weights,
)
top_p.mistake(
    "A token is kept if its own probability is at least p: nothing is added up.",
    hint="It is the sum of all more probable tokens that decides.",
    before=lambda weights: weights,
    keep=lambda weights, p: weights >= p,
)
top_p.mistake(
    "A token is kept if its own probability is at least 1 - p: nothing is added up.",
    hint="It is the sum of all more probable tokens that decides.",
    before=lambda weights: weights,
    keep=lambda weights, p: weights >= 1 - p,
)
top_p.mistake(
    "A share p of the tokens is kept, however probable they are.",
    hint="p is a sum of probabilities, not a number of tokens.",
    before=lambda weights: np.broadcast_to(
        np.arange(weights.shape[-1]) / weights.shape[-1], weights.shape
    ),
)
wrong_fills(top_p)
top_p.mistake(
    "The softmax is over the first axis, not over the tokens.",
    hint="Which numbers should add up to 1?",
    share=lambda logits: softmax(logits, axis=0),
)


@top_p.mistake(
    "The most probable tokens are dropped and the others kept.",
    hint="Does your condition say what is kept or what is dropped?",
)
def nucleus_dropped(logits, p):
    kept = sampling.top_p_filter(logits, p) != -np.inf
    return np.where(kept, -np.inf, logits)


@top_p.mistake(
    "The logits are sorted: they stand no longer at their ids.",
    hint="An id is a place in the row of V logits. Put each back where it was.",
)
def nucleus_left_sorted(logits, p):
    return sorted_down(sampling.top_p_filter(logits, p))


gives_probabilities(top_p)


@top_p.mistake(
    "What row 0 keeps is kept in all rows.",
    hint="Every row is another next token, with an order of its own.",
)
def nucleus_of_row_0(logits, p):
    kept = sampling.top_p_filter(logits, p) != -np.inf
    return np.where(kept.reshape(-1, logits.shape[-1])[0], logits, -np.inf)


@top_p.variant
def from_the_end(logits, p):
    order = np.argsort(logits, axis=-1)
    rest = np.take_along_axis(softmax(logits), order, axis=-1).cumsum(axis=-1)
    dropped = rest <= 1 - p
    dropped[..., -1] = False
    return np.where(back(dropped, order), -np.inf, logits)


@top_p.variant
def with_a_shifted_mask(logits, p):
    order = np.flip(np.argsort(logits, axis=-1), axis=-1)
    total = np.cumsum(softmax(np.take_along_axis(logits, order, -1)), axis=-1)
    remove = total > p
    remove[..., 1:] = remove[..., :-1].copy()
    remove[..., 0] = False
    inverse = np.argsort(order, axis=-1)
    answer = logits.copy()
    answer[np.take_along_axis(remove, inverse, axis=-1)] = -np.inf
    return answer


@top_p.variant
def one_token_after_the_other(logits, p):
    answer = np.full_like(logits, -np.inf)
    for row in np.ndindex(logits.shape[:-1]):
        exp = np.exp(logits[row] - logits[row].max())
        total = 0.0
        for token in sorted(range(len(exp)), key=lambda i: -exp[i]):
            answer[row][token] = logits[row][token]
            total += exp[token] / exp.sum()
            if total >= p:
                break
    return answer


@top_p.variant
def by_a_threshold(logits, p):
    weights = softmax(logits)
    ordered = np.sort(weights, axis=-1)[..., ::-1]
    count = (ordered.cumsum(axis=-1) < p).sum(axis=-1, keepdims=True)
    last = np.minimum(count, logits.shape[-1] - 1)
    least = np.take_along_axis(ordered, last, axis=-1)
    return np.where(weights >= least, logits, -np.inf)


@top_p.variant
def by_counting_more_probable(logits, p):
    weights = softmax(logits)
    larger = weights[..., None, :] > weights[..., :, None]
    before = (larger * weights[..., None, :]).sum(axis=-1)
    return np.where(before < p, logits, -np.inf)


min_p = Exercise(sampling.min_p_filter, points=1, axes=AXES)
told_by_what_is_kept(min_p)


@min_p.probes
def _(rng):
    b, t, _ = some_sizes(rng)
    falling = np.array([0.40, 0.23, 0.15, 0.11, 0.07, 0.04])
    flat = np.array([0.22, 0.18, 0.16, 0.14, 0.12, 0.10, 0.08])
    sharp = np.array([0.93, 0.04, 0.015, 0.009, 0.006])
    yield Probe(with_weights(rng, falling), 0.3, why="a single row")
    yield Probe(with_weights(rng, falling, t), 0.2, why="several rows")
    yield Probe(with_weights(rng, flat, b, t), 0.7, why="a flat distribution")
    yield Probe(with_weights(rng, falling, b, t), 0.5, why="a batch of sequences")
    yield Probe(with_weights(rng, falling, 6), 0.15, why="as many rows as tokens")
    yield Probe(with_weights(rng, falling, t).astype(np.float32), 0.25, why="float32")
    yield Probe(with_weights(rng, sharp, b), 0.02, why="a sharp distribution")
    mixed = np.stack([
        with_weights(rng, np.append(falling, 1e-4)), with_weights(rng, flat),
        with_weights(rng, np.append(sharp, [1e-3, 1e-4])),
    ])  # fmt: skip
    yield Probe(rng.permutation(mixed), 0.3, why="another distribution in every row")
    yield Probe(with_weights(rng, falling, t), 1.0, why="min_p of 1")
    yield Probe(with_weights(rng, falling, b), 0.0, why="min_p of 0")
    cut = with_weights(rng, falling, t)
    cut[cut < np.sort(cut)[:, 2:3]] = -np.inf
    yield Probe(cut, 0.35, why="logits that are -inf already")


@min_p.family
def min_p_family(
    logits, min_p, *, share=softmax, top=lambda x: x.max(axis=-1, keepdims=True),
    least=np.multiply, keep=np.greater_equal, fill=-np.inf,
):  # fmt: skip
    weights = share(logits)
    with np.errstate(all="ignore"):
        kept = keep(weights, least(min_p, top(weights)))
    return np.where(kept, logits, logits.dtype.type(fill))


min_p.mistake(
    "The probability itself is compared with min_p: the best token does not count.",
    hint="How probable is the best token of a flat distribution? Try min_p = 0.5.",
    top=lambda weights: 1.0,
)
min_p.mistake(
    "The logits are compared with min_p times the largest logit.",
    hint="A factor between probabilities is a difference between logits. And what is a "
    "fraction of a negative logit?",
    share=lambda logits: logits,
)
min_p.mistake(
    "A token is kept if its logit is less than min_p below the largest one.",
    hint="Which difference of logits belongs to a factor of min_p between "
    "probabilities?",
    share=lambda logits: logits,
    least=lambda min_p, top: top - min_p,
)
min_p.mistake(
    "Only what is more than min_p times as probable as the best token is kept.",
    hint="Try min_p = 1: which token is exactly as probable as the best one?",
    keep=np.greater,
)
min_p.mistake(
    "1 - min_p is used where min_p belongs.",
    hint="The smaller min_p is, the more is kept.",
    least=lambda min_p, top: (1 - min_p) * top,
)
min_p.mistake(
    "What is less probable is kept and what is more probable dropped.",
    hint="Does your condition say what is kept or what is dropped?",
    keep=np.less,
)
min_p.mistake(
    "The best token of the whole array decides for all rows.",
    hint="Every row is another next token, and has a best one of its own.",
    top=lambda weights: weights.max(),
)
min_p.mistake(
    "The largest probability is looked for along the first axis, not among the tokens.",
    hint="Along which axis do the logits of one next token lie?",
    top=lambda weights: weights.max(axis=0),
)
min_p.mistake(
    "Probabilities are compared with min_p times their mean, 1 / V.",
    hint="min_p is a fraction of the largest probability of the row.",
    top=lambda weights: weights.mean(axis=-1, keepdims=True),
)
min_p.mistake(
    "The largest probability counts twice: the threshold is min_p times its square.",
    hint="Is min_p scaled in two places?",
    top=lambda weights: weights.max(axis=-1, keepdims=True) ** 2,
)
min_p.mistake(
    "min_p is added to the largest probability or subtracted from it, not multiplied.",
    hint="The threshold is a fraction of the largest probability.",
    least=lambda min_p, top: top - min_p,
)
wrong_fills(min_p)


@min_p.mistake(
    "It is top-p: the most probable tokens that add up to min_p are kept.",
    hint="Nothing is added up here: each token is compared with the best one.",
)
def as_top_p(logits, min_p):
    return sampling.top_p_filter(logits, min_p or 1e-9)


@min_p.mistake(
    "It is top-p: the most probable tokens that add up to 1 - min_p are kept.",
    hint="Nothing is added up here: each token is compared with the best one.",
)
def as_top_p_of_the_rest(logits, min_p):
    return sampling.top_p_filter(logits, 1 - min_p or 1e-9)


gives_probabilities(min_p)


@min_p.variant
def by_difference(logits, min_p):
    with np.errstate(divide="ignore"):
        least = logits.max(axis=-1, keepdims=True) + np.log(min_p)
    return np.where(logits < least, -np.inf, logits)


@min_p.variant
def by_ratio(logits, min_p):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))  # the best one: 1
    return np.where(weights >= min_p, logits, -np.inf)


@min_p.variant
def min_p_row_by_row(logits, min_p):
    answer = logits.copy()
    for row in np.ndindex(logits.shape[:-1]):
        weights = softmax(logits[row])
        answer[row][weights < min_p * weights.max()] = -np.inf
    return answer


@min_p.variant
def by_quotient(logits, min_p):
    weights = softmax(logits.astype(np.float64))
    kept = weights / np.amax(weights, -1)[..., None] >= min_p
    return np.where(kept, logits, -np.inf)


ppl = Exercise(sampling.perplexity, points=2)
ppl.forbid(
    ".cross_entropy", ".nll_loss", ".log_softmax", ".logsumexp",
    why="what they do with the logits is the exercise",
)  # fmt: skip


def some_targets(rng, v, *shape, ignored=(), ignore_index=-100):
    """Ids from 0 to v - 1; in row i, the last ignored[i] do not count."""
    targets = rng.integers(0, v, shape)
    for row, count in enumerate(ignored):
        targets[row, shape[1] - count :] = ignore_index
    return targets


@ppl.probes
def _(rng):
    b, t, v = some_sizes(rng)
    t += 3
    yield Probe(scattered(rng, t, v), some_targets(rng, v, t), why="one sequence")
    yield Probe(scattered(rng, b, t, v), some_targets(rng, v, b, t), why="a batch")
    yield Probe(
        scattered(rng, 3, t, v), some_targets(rng, v, 3, t, ignored=(0, 2, 4)),
        why="padding that is ignored",
    )  # fmt: skip
    yield Probe(
        scattered(rng, 3, 5, v), some_targets(rng, v, 3, 5, ignored=(1, 5, 3)),
        why="a sequence that is ignored as a whole",
    )  # fmt: skip
    for pad in (0, v - 1):
        targets = some_targets(rng, v, 4, t, ignored=(0, 1, 3, 2), ignore_index=pad)
        yield Probe(
            scattered(rng, 4, t, v),
            targets,
            pad,
            why="an id of a token as ignore_index",
        )
    yield Probe(
        scattered(rng, v, v, v), some_targets(rng, v, v, v), why="all sizes equal"
    )
    level = 3000.0 * (rng.permutation(t) - 1)
    yield Probe(
        scattered(rng, t, v) + level[:, None], some_targets(rng, v, t),
        why="large logits",
    )  # fmt: skip
    targets = some_targets(rng, v, b, t)
    logits = scattered(rng, b, t, v)
    np.put_along_axis(logits, (targets[..., None] + 1) % v, -np.inf, axis=-1)
    yield Probe(logits, targets, why="other tokens with a logit of -inf")
    yield Probe(
        np.full((3, t, v), 0.5), some_targets(rng, v, 3, t, ignored=(2, 0, 1)),
        why="equal logits",
    )  # fmt: skip


@ppl.law
def as_many_as_there_are(answer, logits, targets, ignore_index=-100):
    if np.all(logits == logits.flat[0]):
        return (
            f"All {logits.shape[-1]} tokens are equally probable here, and your answer "
            f"is {answer:.6g}: among how many does the model choose?"
        )
    if answer < 1:
        return f"Your answer is {answer:.6g}. No perplexity is below 1."
    return None


def of_targets(log_probs, targets):
    return np.take_along_axis(log_probs, targets[..., None], axis=-1)[..., 0]


def mean_of_counted(losses, counts):
    return losses[counts].mean()


def mean_of_rows(values):
    """A mean over rows for losses, counts -> one number of each row."""

    def reduce(losses, counts):
        rows = zip(np.atleast_2d(losses), np.atleast_2d(counts), strict=True)
        return np.mean([values(loss[count]) for loss, count in rows if count.any()])

    return reduce


@ppl.family
def ppl_family(
    logits, targets, ignore_index=-100, *, log_probs=log_softmax,
    ignored=lambda targets, ignore_index: targets == ignore_index,
    reduce=mean_of_counted, after=np.exp,
):  # fmt: skip
    with np.errstate(all="ignore"):
        counts = ~ignored(targets, ignore_index)
        losses = -of_targets(log_probs(logits), np.where(counts, targets, 0))
        return float(after(reduce(losses, counts)))


ppl.mistake(
    "It is 2 to the power of the mean loss.",
    hint="Which logarithm is in the loss? The base of the power has to be that of the "
    "logarithm.",
    seen="huggingface/evaluate#241",
    after=np.exp2,
)
ppl.mistake(
    "It is the mean loss: the exponential is missing.",
    hint="For equal logits it should be V, not log(V).",
    after=lambda x: x,
)
ppl.mistake(
    "It is 1 over the perplexity: the minus is missing.",
    hint="Count the minus signs. For equal logits it should be V, not 1 / V.",
    after=lambda x: np.exp(-x),
)
ppl.mistake(
    "It is 10 to the power of the mean loss.",
    hint="Which logarithm is in the loss?",
    after=lambda x: 10**x,
)
ppl.mistake(
    "It is the exponential of the sum of the losses, not of their mean.",
    hint="Twice the text should not have another perplexity.",
    reduce=lambda losses, counts: losses[counts].sum(),
)
ppl.mistake(
    "The sum of the losses is divided by the number of all targets, also of those that "
    "do not count.",
    hint="By how many losses is their sum to be divided?",
    seen="neulab/xnmt#229",
    reduce=lambda losses, counts: losses[counts].sum() / counts.size,
)
ppl.mistake(
    "The sum of the losses is divided by the number of sequences.",
    hint="By how many losses is their sum to be divided?",
    reduce=lambda losses, counts: losses[counts].sum() / len(losses),
)
ppl.mistake(
    "It is the mean of the exponentials: the perplexities of single tokens are "
    "averaged.",
    hint="First the mean, then the exponential. One bad token would outweigh all "
    "others.",
    seen="magenta/magenta#239",
    reduce=lambda losses, counts: np.exp(losses[counts]).mean(),
    after=lambda x: x,
)
ppl.mistake(
    "It is the mean of the perplexities of the sequences.",
    hint="All targets that count make one mean, and then comes the exponential.",
    reduce=mean_of_rows(lambda losses: np.exp(losses.mean())),
    after=lambda x: x,
)
ppl.mistake(
    "Every sequence counts alike, however many of its targets count.",
    hint="A mean of means is not the mean: all targets that count make one mean.",
    reduce=mean_of_rows(np.mean),
)


@ppl.mistake(
    "Targets that do not count do count: they are looked up like all others.",
    hint="Which losses should be in the mean? Leave the others out before you take it.",
)
def all_count(logits, targets, ignore_index=-100):
    return float(np.exp(-of_targets(log_softmax(logits), targets).mean()))


ppl.mistake(
    "`ignore_index` is not used: it is always -100.",
    hint="Where does your function look at it?",
    ignored=lambda targets, ignore_index: targets == -100,
)
ppl.mistake(
    "Targets that do not count are taken for token 0, and count.",
    hint="Replace the id, so that it can be looked up; but leave its loss out of the "
    "mean.",
    reduce=lambda losses, counts: losses.mean(),
)
ppl.mistake(
    "The logits are taken for log-probabilities: there is no softmax.",
    hint="What do the exponentials of a row of logits add up to?",
    log_probs=lambda logits: logits,
)
ppl.mistake(
    "The logarithm has base 2, and the power base e.",
    hint="The base of the power has to be that of the logarithm.",
    log_probs=lambda logits: log_softmax(logits) / math.log(2),
)
ppl.mistake(
    "Large logits give inf or NaN: exp leaves the range.",
    hint="exp(1000) is larger than any number of the type. Chapter 7 has a way round.",
    log_probs=lambda logits: np.log(
        np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    ),
)
ppl.mistake(
    "The softmax is over the positions, not over the tokens.",
    hint="Which numbers should add up to 1?",
    log_probs=lambda logits: np.moveaxis(
        log_softmax(np.moveaxis(logits, -2, -1)), -1, -2
    ),
)
ppl.mistake(
    "It is 1 over the mean probability of the targets.",
    hint="The mean is that of the logarithms.",
    reduce=lambda losses, counts: -np.log(np.exp(-losses[counts]).mean()),
)


def shifted_perplexity(logits, targets, ignore_index=-100):
    return sampling.perplexity(logits[..., :-1, :], targets[..., 1:], ignore_index)


ppl.mistake(
    "The targets are shifted: each is compared with the logits of the place before.",
    hint="Here logits and targets of the same place belong together: whoever calls has "
    "shifted already.",
)(shifted_perplexity)


@ppl.mistake(
    "It is the exponential of the mean entropy of the distributions: the targets do "
    "not matter.",
    hint="How surprised the model is depends on what comes, not on what it expects.",
)
def of_the_entropy(logits, targets, ignore_index=-100):
    log_probs = log_softmax(logits[targets != ignore_index])
    finite = np.where(log_probs == -np.inf, 0, log_probs)
    return float(np.exp(-(np.exp(log_probs) * finite).sum(axis=-1).mean()))


@ppl.variant
def weighted(logits, targets, ignore_index=-100):
    counts = targets != ignore_index
    losses = -of_targets(log_softmax(logits), np.where(counts, targets, 0))
    return np.exp((losses * counts).sum() / counts.sum())


@ppl.variant
def target_by_target(logits, targets, ignore_index=-100):
    losses = []
    for place_ in np.ndindex(targets.shape):
        if targets[place_] != ignore_index:
            weights = softmax(logits[place_].astype(float))
            losses.append(-math.log(weights[targets[place_]]))
    return math.exp(sum(losses) / len(losses))


@ppl.variant
def by_a_product(logits, targets, ignore_index=-100):
    """The geometric mean of 1 / probability."""
    counts = targets.ravel() != ignore_index
    weights = softmax(logits.reshape(-1, logits.shape[-1])[counts])
    right = weights[np.arange(counts.sum()), targets.ravel()[counts]]
    return float(np.prod(right ** (-1 / len(right)), dtype=np.float64))


@ppl.variant
def in_bits(logits, targets, ignore_index=-100):
    flat, ids = logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)
    bits = [
        (log_sum_exp(row) - row[i]) / np.log(2)
        for row, i in zip(flat, ids, strict=True)
        if i != ignore_index
    ]
    return 2 ** float(np.mean(bits))


beam = Exercise(
    sampling.beam_search,
    points=3,
    parts=("ids", "score"),
    axes=(("place",), ()),
    adapter="with_table",
)


def table(rng, v, max_len, end_id, end, spreads):
    """Log-probabilities by place and last id; `end` makes ends more probable.

    By place, too, or the same steps in another order would have the same sum. The
    model gets surer or less sure from the first spread to the last. There are two
    places more than may be asked for.
    """
    logits = rng.normal(size=(max_len + 2, v, v))
    first, last = spreads
    logits *= np.linspace(first, last, max_len + 2)[:, None, None]
    logits[..., end_id] += end
    return log_softmax(logits)


@beam.law
def what_it_is(answer, log_probs, start_id, end_id, beam_size, max_len, **kwargs):
    """What can be said of a sequence and its score without a search."""
    ids, score = answer
    if type(ids) is not list:
        return None
    penalty = kwargs.get("length_penalty", 1.0)
    if not ids or ids[0] != start_id:
        return f"The ids {ids} do not begin with the start, {start_id}."
    if end_id in ids[1:-1]:
        return f"The ids {ids} go on after the end, {end_id}."
    count = len(ids) - 1
    if count > max_len:
        return f"In {ids}, {count} ids follow the start; max_len is {max_len}."
    if not count or (ids[-1] != end_id and count < max_len):
        return (
            f"The ids {ids} are not finished: they neither end with {end_id} nor have "
            f"{max_len} ids after the start."
        )
    steps = [log_probs[i, ids[i], ids[i + 1]] for i in range(count)]
    true = sum(steps) / count**penalty
    if not np.isclose(score, true):
        return (
            f"The log-probabilities of {ids} add up to {sum(steps):.5g}. Over {count} "
            f"to the power of {penalty:g} that is {true:.5g}; your score is "
            f"{score:.5g}."
        )
    best, high = beam.call(
        beam.solution, log_probs, start_id, end_id, beam_size, max_len, **kwargs
    )
    how = "more than" if score > high else "less than"
    return (
        f"You give {ids}, with the score {score:.5g}: {how} that of {best}, which a "
        f"beam of {beam_size} finds, {high:.5g}."
    )


def over_length(total, n, penalty, ended):
    """The score of a sum over n ids, the last of which may be an end."""
    return total / n**penalty


def the_sum(total, n, penalty, ended):
    return total


@beam.family
def beam_family(
    step, start_id, end_id, beam_size, max_len, length_penalty=1.0, *,
    asked=lambda ids: ids, longest=lambda max_len: max_len,
    ended=lambda ids, end_id: ids[-1] == end_id,
    add=lambda total, log_prob, n, ended: total + log_prob, order=lambda total: -total,
    set_aside=lambda ranked, size, last: ranked[:size],
    go_on=lambda ranked, unfinished, size, aside: unfinished[:size],
    enough=lambda aside, size: False, cut_off_counts=True,
    score=over_length, choose=None, give=None,
):  # fmt: skip
    """Beams are (ids, sum); `ranked` is all continuations, the best first."""

    def finished(ids):
        return ended(ids, end_id) or len(ids) > longest(max_len)

    def of(score, beam):
        ids, total = beam
        return score(total, len(ids) - 1, length_penalty, ended(ids, end_id))

    beams, aside = [([start_id], 0.0)], []
    while beams and not enough(aside, beam_size):
        ranked = [
            ([*ids, i], add(total, log_prob, len(ids), i == end_id))
            for ids, total in beams
            for i, log_prob in enumerate(step(asked(ids)))
        ]
        ranked.sort(key=lambda beam: order(beam[1]))
        last = len(ranked[0][0]) > longest(max_len)
        aside += [b for b in set_aside(ranked, beam_size, last) if finished(b[0])]
        unfinished = [b for b in ranked if not finished(b[0])]
        beams = [] if last else go_on(ranked, unfinished, beam_size, aside)
    if not cut_off_counts:
        aside = [beam for beam in aside if ended(beam[0], end_id)] or aside
    best = max(aside, key=lambda beam: of(choose or score, beam))
    return best[0], float(of(give or score, best))


def in_one_beam(step, start_id, end_id, beam_size, max_len, length_penalty, order):
    """Finished sequences stay where they are and compete with the others."""

    def finished(ids):
        return ids[1:] and (ids[-1] == end_id or len(ids) > max_len)

    beams = [([start_id], 0.0)]
    while not all(finished(ids) for ids, _ in beams):
        ranked = [beam for beam in beams if finished(beam[0])] + [
            ([*ids, i], total + log_prob)
            for ids, total in beams
            if not finished(ids)
            for i, log_prob in enumerate(step(ids))
        ]
        ranked.sort(key=lambda beam: -order(beam[1], len(beam[0]) - 1, length_penalty))
        beams = ranked[:beam_size]
    ids, score = max(
        ((ids, total / (len(ids) - 1) ** length_penalty) for ids, total in beams),
        key=lambda scored: scored[1],
    )
    return ids, float(score)


def competing_by_sums(step, start_id, end_id, beam_size, max_len, length_penalty=1.0):
    return in_one_beam(
        step, start_id, end_id, beam_size, max_len, length_penalty,
        order=lambda total, n, penalty: total,
    )  # fmt: skip


def competing_by_scores(step, start_id, end_id, beam_size, max_len, length_penalty=1.0):
    return in_one_beam(
        step, start_id, end_id, beam_size, max_len, length_penalty,
        order=lambda total, n, penalty: total / n**penalty,
    )  # fmt: skip


# Searches that differ from each other, or from the right one, in few tables only.

Knobs = dict[str, Any]

FIRST_RANK: Knobs = {
    "set_aside": lambda ranked, size, last: ranked[: size if last else 1]
}
ANY_RANK: Knobs = {"set_aside": lambda ranked, size, last: ranked}
STOP_AT_ONE: Knobs = {"enough": lambda aside, size: len(aside) > 0}
STOP_WHEN_FULL: Knobs = {"enough": lambda aside, size: len(aside) >= size}
HIGHEST_SUM: Knobs = {"choose": the_sum}
TAKES_A_PLACE: Knobs = {
    "go_on": lambda ranked, unfinished, size, aside: [
        beam for beam in ranked[:size] if beam in unfinished
    ]
}
NARROWER: Knobs = {
    "go_on": lambda ranked, unfinished, size, aside: unfinished[
        : max(size - len(aside), 0)
    ]
}
ONE_BEGINNING: Knobs = {
    "set_aside": lambda ranked, size, last: ranked[:1],
    "go_on": lambda ranked, unfinished, size, aside: unfinished[:1],
}


def best_of_each(ranked, unfinished, size, aside):
    """The best continuation of every beginning; of the start, the best `size`."""
    firsts = {}
    for beam in ranked if len(ranked[0][0]) > 2 else []:
        firsts.setdefault(tuple(beam[0][:-1]), beam)
    chosen = list(firsts.values()) or ranked[:size]
    return [beam for beam in chosen if beam in unfinished]


# With a long max_len this would take too long to be tried as a known mistake.
NOT_CUT: Knobs = {"go_on": lambda ranked, unfinished, size, aside: unfinished}
EACH_FOR_ITSELF: Knobs = {"go_on": best_of_each}


@beam.probes
def _(rng):
    def some(
        why, v, max_len, size, *penalty, end, spreads=(0.5, 3), starts_at_end=False
    ):
        start, end_id = (int(n) for n in rng.permutation(v)[:2])
        start = end_id if starts_at_end else start
        log_probs = table(rng, v, max_len, end_id, end, spreads)
        return Probe(log_probs, start, end_id, size, max_len, *penalty, why=why)

    def telling(one, other, *args, **kwargs):
        """A probe to which these two searches give different answers."""
        searches = [
            partial(beam_family, **search) if isinstance(search, dict) else search
            for search in (one, other)
        ]
        while True:
            probe = some(*args, **kwargs)
            answers = [beam.call(search, *probe.args) for search in searches]
            if answers[0] != answers[1]:
                return probe

    early = "ends that come early"
    right: Knobs = {}
    yield some(early, 5, 6, 2, end=1.5)
    yield telling(right, TAKES_A_PLACE, early, 4, 5, 3, end=1.5)
    yield telling(right, ONE_BEGINNING, early, 6, 6, 3, end=1.5)
    two = "a length_penalty of 2"
    yield telling(TAKES_A_PLACE, competing_by_scores, two, 4, 7, 2, 2.0, end=1.5)
    yield telling(NARROWER, STOP_WHEN_FULL, two, 5, 7, 3, 2.0, end=0.7)
    yield telling(NARROWER, EACH_FOR_ITSELF, two, 6, 7, 3, 2.0, end=0.7)
    yield telling(NARROWER, competing_by_sums, two, 4, 7, 4, 2.0, end=0.7)
    yield telling(STOP_WHEN_FULL, competing_by_sums, two, 5, 6, 4, 2.0, end=0.7)
    none = "a length_penalty of 0"
    yield telling(right, FIRST_RANK, none, 5, 4, 3, 0.0, end=0)
    yield telling(right, ANY_RANK, none, 4, 6, 2, 0.0, end=-1.5, spreads=(1, 1))
    yield telling(
        HIGHEST_SUM, STOP_AT_ONE, "a length_penalty of 0.5", 5, 5, 4, 0.5, end=0,
        spreads=(3, 0.5),
    )  # fmt: skip
    yield telling(
        EACH_FOR_ITSELF,
        competing_by_sums,
        "a length_penalty of 1.5",
        6,
        5,
        2,
        1.5,
        end=1,
    )
    for v in (4, 5):
        yield telling(right, NOT_CUT, "a small beam", v, 4, 2, 2.0, end=0)
    yield some("ends that hardly come", 4, 4, 3, end=-9)
    yield some("a beam of one", 6, 6, 1, end=1.5)
    yield some("a beam that holds everything", 4, 3, 64, end=0.5)
    yield some("a max_len of 1", 5, 1, 2, end=0)
    for v in (6, 5):
        yield some("a start that is the end", v, 5, 3, 2.0, end=0, starts_at_end=True)


beam.mistake(
    "The beam holds one beginning only, or the same one several times.",
    hint="How many different beginnings are there after two steps?",
    **ONE_BEGINNING,
)
beam.mistake(
    "It is greedy: one beginning goes on with its best id, until that is the end.",
    hint="A beam of 3 follows three beginnings at a time.",
    set_aside=lambda ranked, size, last: ranked[:1],
    go_on=lambda ranked, unfinished, size, aside: ranked[:1],
    enough=lambda aside, size: len(aside) > 0,
)


beam.mistake(
    "Each beginning goes on with its own best id: they do not compete.",
    hint="The continuations of all beginnings are ranked in one list.",
    **EACH_FOR_ITSELF,
)
beam.mistake(
    "`end_id` ends nothing: every sequence has max_len ids after the start.",
    hint="A sequence is finished when its last id is end_id.",
    ended=lambda ids, end_id: False,
)
beam.mistake(
    "`end_id` is looked for among all ids: where the start is the end, everything is "
    "finished after one id.",
    hint="What counts is what follows the start. Some models start with their end.",
    ended=lambda ids, end_id: end_id in ids,
)
beam.mistake(
    "A finished sequence is set aside and goes on as well.",
    hint="What can follow the end?",
    seen="facebookresearch/ParlAI#2058",
    go_on=lambda ranked, unfinished, size, aside: ranked[:size],
)
beam.mistake(
    "A finished sequence takes the place of a beginning: fewer than beam_size go on.",
    hint="Here the beam stays as wide as it was: the next best ones move up.",
    **TAKES_A_PLACE,
)
beam.mistake(
    "Every finished sequence makes the beam narrower for good: it is beam_size minus "
    "the number of those set aside.",
    hint="Here the beam stays as wide as it was: the next best ones move up.",
    seen="ServiceNow/duorat#16",
    **NARROWER,
)
beam.mistake(
    "The search stops as soon as one sequence is finished.",
    hint="A longer sequence may have a better score.",
    **STOP_AT_ONE,
)
beam.mistake(
    "The search stops as soon as beam_size sequences are finished.",
    hint="A longer sequence may have a better score than the first ones that are "
    "finished.",
    seen="neulab/xnmt#572",
    **STOP_WHEN_FULL,
)
beam.mistake(
    "Every continuation that ends is set aside, however low it ranks.",
    hint="It has to be among the best beam_size, finished or not.",
    **ANY_RANK,
)
beam.mistake(
    "A sequence that ends is set aside only if it ranks first.",
    hint="It has to be among the best beam_size, finished or not.",
    **FIRST_RANK,
)
beam.mistake(
    "What is cut off at max_len is not taken if anything has ended.",
    hint="When max_len ids have followed, a sequence is finished.",
    cut_off_counts=False,
)
beam.mistake(
    "The start counts among the ids by whose number the sum is divided.",
    hint="Of how many ids is there a log-probability in the sum?",
    score=lambda total, n, penalty, ended: total / (n + 1) ** penalty,
)
beam.mistake(
    "The end does not count among the ids by whose number the sum is divided.",
    hint="Of how many ids is there a log-probability in the sum?",
    score=lambda total, n, penalty, ended: total / max(n - ended, 1) ** penalty,
)
beam.mistake(
    "The score is the sum: it is not divided by a power of the length.",
    hint="Every id makes a sum smaller, so the shortest sequences win.",
    score=the_sum,
)
beam.mistake(
    "`length_penalty` is not used: the score is always the mean.",
    hint="Where does your function look at it?",
    score=lambda total, n, penalty, ended: total / n,
)
beam.mistake(
    "The sum is divided by length_penalty times the number of ids.",
    hint="It is a power of the number. What should a length_penalty of 0 do?",
    score=lambda total, n, penalty, ended: total / (n * penalty or 1),
)
beam.mistake(
    "The sum is multiplied by the power of the length.",
    hint="Sums are negative: multiplied, they get worse with every id.",
    score=lambda total, n, penalty, ended: total * n**penalty,
)
beam.mistake(
    "The sum is divided by ((5 + length) / 6) to the power of length_penalty, as in "
    "Wu et al. 2016.",
    hint="That is another formula with the same name. Read the task again.",
    score=lambda total, n, penalty, ended: total / ((5 + n) / 6) ** penalty,
)
beam.mistake(
    "The sequence of the highest sum is taken, not that of the highest score.",
    hint="Which of the two belongs into max?",
    **HIGHEST_SUM,
)
beam.mistake(
    "The right sequence comes with its sum in place of its score.",
    hint="The sum is still to be divided.",
    give=the_sum,
)
beam.mistake(
    "The score is a probability: the exponential of the right one.",
    hint="Asked for is a number made of log-probabilities.",
    give=lambda *beam: math.exp(over_length(*beam)),
)
beam.mistake(
    "The score is made of probabilities: their product is divided.",
    hint="Asked for is the sum of log-probabilities.",
    score=lambda total, n, penalty, ended: math.exp(total) / n**penalty,
)
beam.mistake(
    "What is cut off at max_len is compared by its sum, and what ended by its score.",
    hint="Numbers that are compared have to be made alike.",
    seen="awslabs/sockeye#545",
    score=lambda total, n, penalty, ended: total / n**penalty if ended else total,
)
beam.mistake(
    "The sum is divided by the length at every step and then added to.",
    hint="Keep the sums as they are while you search, and divide once, at the end.",
    add=lambda total, log_prob, n, ended: (total + log_prob) / n,
    score=the_sum,
)
beam.mistake(
    "The log-probability of the end is not in the sum.",
    hint="That a sequence ends is a choice of the model, too.",
    add=lambda total, log_prob, n, ended: total + (0 if ended else log_prob),
)
beam.mistake(
    "Of all continuations the worst are kept.",
    hint="sorted goes upwards, and the best log-probability is the highest.",
    order=lambda total: total,
)
beam.mistake(
    "step is asked with the last id alone, not with all ids from the start on.",
    hint="What comes next depends on everything that came before.",
    asked=lambda ids: ids[-1:],
)
beam.mistake(
    "max_len counts the start, too: one id too few follows.",
    hint="How many ids may follow the start?",
    longest=lambda max_len: max(max_len - 1, 1),
)


beam.mistake(
    "Finished sequences stay in the beam, where they compete with unfinished ones by "
    "their sums.",
    hint="Every id makes a sum smaller: longer sequences would lose against what is "
    "finished before their scores are looked at. Set it aside.",
)(competing_by_sums)


beam.mistake(
    "Finished sequences stay in the beam, where they compete with unfinished ones by "
    "their scores.",
    hint="Set them aside: they need no place in the beam.",
)(competing_by_scores)


@beam.variant
def with_arrays(step, start_id, end_id, beam_size, max_len, length_penalty=1.0):
    """2 * beam_size candidates, as in Transformers: half of them can be ends."""
    ids, sums = np.array([[start_id]]), np.zeros(1)
    best, high = [], -math.inf
    for n in range(1, max_len + 1):
        totals = sums[:, None] + [step(row.tolist()) for row in ids]
        order = np.argsort(-totals, axis=None)[: 2 * beam_size]
        rows, ends = np.unravel_index(order, totals.shape)
        ids = np.column_stack([ids[rows], ends])
        sums = totals[rows, ends]
        over = (ends == end_id) | (n == max_len)
        for rank in np.flatnonzero(over[:beam_size]):
            if sums[rank] / n**length_penalty > high:
                best, high = ids[rank].tolist(), sums[rank] / n**length_penalty
        ids, sums = ids[~over][:beam_size], sums[~over][:beam_size]
    return best, high


@beam.variant
def that_stops_when_nothing_better_can_come(
    step, start_id, end_id, beam_size, max_len, length_penalty=1.0
):
    beams, best = [(0.0, (start_id,))], (-math.inf, ())
    while beams:
        continued = sorted(
            (
                (total + log_prob, (*ids, i))
                for total, ids in beams
                for i, log_prob in enumerate(step(list(ids)))
            ),
            reverse=True,
        )
        beams = []
        for rank, (total, ids) in enumerate(continued):
            if ids[-1] == end_id or len(ids) == max_len + 1:
                if rank < beam_size:
                    score = total / (len(ids) - 1) ** length_penalty
                    best = max(best, (score, ids))
            elif len(beams) < beam_size:
                beams.append((total, ids))
        # a sum only falls, and over the largest length it weighs least
        bound = max_len if length_penalty > 0 else 1
        beams = [b for b in beams if b[0] / bound**length_penalty > best[0]]
    score, ids = best
    return list(ids), float(score)


@beam.variant
def by_recursion(step, start_id, end_id, beam_size, max_len, length_penalty=1.0):
    def search(beams, n):
        if n > max_len or not beams:
            return []
        continued = []
        for total, ids in beams:
            log_probs = step(ids)
            continued += [
                (total - log_probs[i], [*ids, i]) for i in range(len(log_probs))
            ]
        continued.sort()
        over = [n == max_len or ids[-1] == end_id for _, ids in continued]
        now = [
            (cost / n**length_penalty, ids)
            for (cost, ids), is_over in zip(continued[:beam_size], over, strict=False)
            if is_over
        ]
        rest = [b for b, is_over in zip(continued, over, strict=True) if not is_over]
        return now + search(rest[:beam_size], n + 1)

    cost, ids = min(search([(0.0, [start_id])], 1))
    return ids, -float(cost)


@beam.variant
def in_a_dictionary(step, start_id, end_id, beam_size, max_len, length_penalty=1.0):
    sums, scores = {(start_id,): 0.0}, {}
    for _ in range(max_len):
        longer = {
            (*ids, i): total + log_prob
            for ids, total in sums.items()
            for i, log_prob in enumerate(step(list(ids)))
        }
        ranked = sorted(longer, key=longer.__getitem__, reverse=True)
        over = {ids for ids in ranked if ids[-1] == end_id or len(ids) == max_len + 1}
        for ids in ranked[:beam_size]:
            if ids in over:
                scores[ids] = longer[ids] / (len(ids) - 1) ** length_penalty
        sums = {i: longer[i] for i in [j for j in ranked if j not in over][:beam_size]}
        if not sums:
            break
    best = max(scores, key=scores.__getitem__)
    return list(best), scores[best]


top_k.equivalent(
    "k = min(logits.shape[-1], k)", why="the smaller of two, in either order"
)
top_k.equivalent(
    "least = np.sort(logits)[..., None, -k]",
    why="a new axis before or after the number",
)
top_p.equivalent(
    "ordered = np.take_along_axis(softmax(logits), order)", why="-1 is NumPy's default"
)
top_p.equivalent(
    "np.put_along_axis(kept, order, before <= p, axis=-1)",
    why="whether a sum is exactly p is up to rounding",
)
ppl.equivalent(
    "of_targets = logits[np.arange(len(logits)), targets]",
    why="there are as many logits as targets",
)
ppl.equivalent(
    "return np.exp(np.mean(log_sum_exp(logits) - of_targets))",
    why="NumPy's float64 is a float, too",
)
beam.equivalent("return (best[0], score(best))", why="NumPy's float64 is a float, too")
for line in (
    "aside += [beam for beam in continued[:beam_size] if -is_finished(beam[0])]",
    "beams = [beam for beam in continued if not -is_finished(beam[0])][:beam_size]",
):
    beam.equivalent(line, why="minus True is -1, which is as true")
