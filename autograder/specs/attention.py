"""Chapter 5: scaled dot-product attention."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import attention

OWN_WORK = "here you write with NumPy what they offer"


def some(rng, n):
    """Sizes, all different and at least 2."""
    return [int(size) for size in rng.choice(range(2, 8), n, replace=False)]


soft = Exercise(attention.softmax, points=2, axes=("matrix", "row", "column"))
soft.forbid("scipy", "torch", why=OWN_WORK)


@soft.probes
def _(rng):
    a, b, c = some(rng, 3)

    def numbers(*shape):
        return rng.integers(-8, 9, shape) / 4  # exact in float32, as are those below

    yield Probe(numbers(a, b, c), why="the last axis")
    yield Probe(numbers(b, c), 0, why="another axis than the last")
    yield Probe(numbers(a, b, c), 1, why="another axis than the last")
    yield Probe(numbers(4, 4), why="as many rows as columns")
    yield Probe(numbers(4, 4), 0, why="as many rows as columns")
    yield Probe(numbers(4, 4, 4), 1, why="as many rows as columns")
    yield Probe(numbers(c + 2), why="a single row")
    yield Probe(numbers(a, c) + 1000, why="large numbers")
    yield Probe(numbers(a, c) - 2000, why="large negative numbers")
    far = numbers(3, b + 1) + np.array([[0], [2000], [-3000]])
    yield Probe(far, why="rows that lie far apart")
    wide = np.array([[0.0, 1000, 500, 501], [2000, -1500, 2000, -1500]])
    yield Probe(rng.permuted(wide, axis=1), why="numbers of a row that lie far apart")
    hidden = np.where(rng.random((b + 1, c + 1)) < 0.4, -np.inf, numbers(b + 1, c + 1))
    hidden[np.arange(b + 1), rng.integers(c + 1, size=b + 1)] = 0.25
    hidden[0, :2] = -np.inf, -2.0
    yield Probe(hidden, why="numbers that are minus infinity")


@soft.law
def weights_sum_to_one(weights, x, axis=-1):
    totals = weights.sum(axis=axis)
    off = np.isfinite(totals) & ~np.isclose(totals, 1, atol=1e-4)
    for index in np.argwhere(off):
        total, place = totals[tuple(index)], [str(i) for i in index]
        place.insert(axis % x.ndim, ":")
        return f"The weights at [{', '.join(place)}] sum to {total:.4g}, not to 1."
    return None


@soft.law
def weights_differ_by_powers_of_e(weights, x, axis=-1):
    rows = np.moveaxis(weights, axis, -1).reshape(-1, x.shape[axis])
    numbers = np.moveaxis(x, axis, -1).reshape(rows.shape)
    for row, number in zip(rows, numbers, strict=True):
        apart = number[1] - number[0]
        if 0 < abs(apart) < 20 and row[0] > 0:
            ratio = row[1] / row[0]
            if not np.isclose(ratio, np.exp(apart), rtol=1e-3):
                return (
                    f"The weight of {number[1]:.6g} is {ratio:.4g} times that of "
                    f"{number[0]:.6g}; e to the power of their difference, "
                    f"{apart:.6g}, is {np.exp(apart):.4g}."
                )
    return None


def row_max(x, axis):
    return x.max(axis=axis, keepdims=True)


def row_sum(x, axis):
    return x.sum(axis=axis, keepdims=True)


@soft.family
def soft_family(x, axis=-1, *, shift=row_max, exp=np.exp, total=row_sum, over=None):
    axis = axis if over is None else over
    weights = exp(x - shift(x, axis))
    return weights / total(weights, axis)


soft.mistake(
    "Nothing is subtracted before the exponential: large numbers overflow to infinity, "
    "and very negative ones all become 0.",
    hint="What is np.exp(1000), and what is infinity divided by infinity? The weights "
    "stay the same if you take one number away from all of a row.",
    seen="apache/singa#540",
    shift=lambda x, axis: 0,
)
soft.mistake(
    "The largest number of the whole array is subtracted: a row far below it becomes "
    "0 divided by 0.",
    hint="Every row needs a number of its own.",
    shift=lambda x, axis: x.max(),
)
soft.mistake(
    "Where all numbers of a row are negative, 0 is subtracted and not the largest of "
    "them: far below 0 this becomes 0 divided by 0.",
    hint="With which number does the search for the largest begin?",
    seen="FluxML/NNlib.jl#43",
    shift=lambda x, axis: np.maximum(row_max(x, axis), 0),
)
soft.mistake(
    "The mean is subtracted, not the largest number: one far above its row's mean "
    "overflows.",
    hint="After the subtraction, how large can a number still be?",
    shift=lambda x, axis: x.mean(axis=axis, keepdims=True),
)
soft.mistake(
    "The smallest number is subtracted, not the largest: one far above it overflows.",
    hint="After the subtraction, how large can a number still be?",
    shift=lambda x, axis: x.min(axis=axis, keepdims=True),
)
soft.mistake(
    "The largest along the first axis is subtracted, whatever `axis` says.",
    hint="Only a number that is the same for all of a row leaves its weights as they "
    "are. Which axis does your max run along?",
    shift=lambda x, axis: row_max(x, 0),
)
soft.mistake(
    "The largest along the last axis is subtracted, whatever `axis` says.",
    hint="Only a number that is the same for all that sum to 1 leaves their weights as "
    "they are. Which axis does your max run along?",
    shift=lambda x, axis: row_max(x, -1),
)
soft.mistake(
    "The sums have lost their axis, so in a square each number is divided by the sum "
    "of another row.",
    hint="A sum along an axis takes that axis away. What does keepdims do?",
    total=lambda x, axis: x.sum(axis=axis),
)
soft.mistake(
    "The largest numbers have lost their axis, so in a square something else is "
    "subtracted from each number of a row.",
    hint="A max along an axis takes that axis away. What does keepdims do?",
    shift=lambda x, axis: x.max(axis=axis),
)
soft.mistake(
    "All numbers of the array together sum to 1, not those of each row.",
    hint="A sum without an axis is the sum of everything.",
    shift=lambda x, axis: x.max(),
    total=lambda x, axis: x.sum(),
)
soft.mistake(
    "All numbers of the array together sum to 1, and large ones overflow.",
    hint="A sum without an axis is the sum of everything; and what is np.exp(1000)?",
    seen="rickwierenga/MLFundamentals#1",
    shift=lambda x, axis: 0,
    total=lambda x, axis: x.sum(),
)
soft.mistake(
    "`axis` is not used: the weights sum to 1 along the last axis, whatever it says.",
    hint="Which of the two axes of a matrix is axis 0?",
    over=-1,
)
soft.mistake(
    "The weights sum to 1 along the first axis, whatever `axis` says.",
    hint="Which of the two axes of a matrix is axis -1?",
    over=0,
)
soft.mistake(
    "The weights sum to 1 along axis 1, whatever `axis` says.",
    hint="`axis` may be any axis, and a single row has none but axis 0.",
    over=1,
)
soft.mistake(
    "The exponentials are not divided by their sum: the largest of each row is 1.",
    hint="What do the weights of a row have to sum to?",
    total=lambda x, axis: 1,
)
soft.mistake(
    "The base of the powers is 2, not e.",
    hint="np.exp(1) is 2.718.",
    exp=np.exp2,
)
soft.mistake(
    "The smallest number gets the largest weight.",
    hint="Which one is subtracted from which: x from the largest, or the largest from "
    "x?",
    exp=lambda shifted: np.exp(-shifted),
)


@soft.mistake(
    "Where no `axis` is given, it is the first one, not the last.",
    hint="Restore the def line as it was given.",
)
def first_by_default(x, axis=0):
    return attention.softmax(x, axis)


@soft.mistake(
    "The numbers are divided by their sum; there is no exponential.",
    hint="What if a number is negative, or if they sum to 0?",
)
def without_exp(x, axis=-1):
    return x / row_sum(x, axis)


@soft.mistake(
    "These are the logarithms of the weights.",
    hint="The weights themselves are between 0 and 1.",
)
def logarithms(x, axis=-1):
    shifted = x - row_max(x, axis)
    return shifted - np.log(row_sum(np.exp(shifted), axis))


@soft.mistake(
    "Each number goes through the sigmoid by itself, so a row does not sum to 1.",
    hint="A weight depends on all numbers of its row.",
)
def sigmoid(x, axis=-1):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


@soft.variant
def by_log_add_exp(x, axis=-1):
    return np.exp(x - np.logaddexp.reduce(x, axis=axis, keepdims=True))


@soft.variant
def with_the_axis_last(x, axis=-1):
    last = np.moveaxis(x, axis, -1)
    exp = np.exp(last - last.max(-1)[..., None])
    return np.moveaxis(exp / exp.sum(-1)[..., None], -1, axis)


@soft.variant
def in_single_precision(x, axis=-1):
    single = x.astype(np.float32)
    exp = np.exp(single - np.max(single, axis, keepdims=True))
    return exp / np.sum(exp, axis, keepdims=True)


@soft.variant
def row_by_row(x, axis=-1):
    def one_row(row):
        largest = max(row)
        exp = [math.exp(number - largest) for number in row]
        return np.array([e / sum(exp) for e in exp])

    return np.apply_along_axis(one_row, axis, x)


@soft.variant
def from_differences(x, axis=-1):
    last = np.moveaxis(x, axis, -1)
    with np.errstate(all="ignore"):
        # each weight is 1 / the sum of exp(other - own)
        totals = np.exp(last[..., None, :] - last[..., :, None])
        weights = 1 / np.where(np.isnan(totals), np.inf, totals).sum(-1)
    return np.moveaxis(weights, -1, axis)


soft.equivalent(
    "exp = -np.exp(x - x.max(axis=axis, keepdims=True))",
    why="the sign of the sums is the same, and goes away",
)


scores = Exercise(
    attention.attention_scores,
    points=2,
    axes=("batch row", "head", "query", "key"),
)


def whole(rng, *shape):
    return rng.integers(-4, 5, shape).astype(float)


@scores.probes
def _(rng):
    b, h = (int(n) for n in rng.permutation([2, 3]))
    q, k, d = (int(n) for n in rng.choice(range(4, 8), 3, replace=False))
    yield Probe(whole(rng, b, h, q, d), whole(rng, b, h, k, d), why="several heads")
    yield Probe(whole(rng, q, d + 4), whole(rng, k, d + 4), why="no batch and no heads")
    yield Probe(whole(rng, 5, 5), whole(rng, 5, 5), why="as many keys as queries")
    yield Probe(
        whole(rng, 3, 3, 3, 3), whole(rng, 3, 3, 3, 3), why="all sizes the same"
    )
    yield Probe(whole(rng, h, 1, 9), whole(rng, h, k, 9), why="a single query")
    large = 4096.0  # products of such numbers are exact in float32
    yield Probe(
        large * whole(rng, b, q, 8), large * whole(rng, b, k, 8), why="large numbers"
    )
    yield Probe(whole(rng, b, h, q, d), whole(rng, b, h, k, d), why="several heads")


@scores.reason
def _(index, query, key):
    q, k = query[index[:-1]], key[(*index[:-2], index[-1])]
    return f"the dot product there is {q @ k:.6g}, and K is {query.shape[-1]}"


@scores.law
def scale_of_the_dot_products(answer, query, key):
    dot, size = query @ key.swapaxes(-1, -2), query.shape[-1]
    factors = answer[dot != 0] / dot[dot != 0]
    if not np.allclose(factors, factors[0], rtol=1e-4):
        return None
    return (
        f"Every score is its dot product times {factors[0]:.4g}; for K = {size} it "
        f"should be divided by the square root of K, that is times {size**-0.5:.4g}."
    )


@scores.family
def scores_family(query, key, *, scale=None, turn=None):
    key = key.swapaxes(-1, -2) if turn is None else turn(key)
    scale = math.sqrt(query.shape[-1]) if scale is None else scale(query, key)
    return query @ key / scale


def heads(query):
    return query.shape[-3] if query.ndim > 2 else 1


scores.mistake(
    "The scores are not scaled.",
    hint="The longer the vectors, the larger their dot products: by which factor?",
    seen="mlc-ai/mlc-llm#3426",
    scale=lambda query, key: 1,
)
scores.mistake(
    "The scores are divided by K, not by its square root.",
    hint="How does the variance of a sum of K terms grow, and how its standard "
    "deviation?",
    scale=lambda query, key: query.shape[-1],
)
scores.mistake(
    "The scores are multiplied by the square root of K, not divided.",
    hint="The scale is there to keep the scores small.",
    seen="esceptico/perceiver-io#9",
    scale=lambda query, key: 1 / math.sqrt(query.shape[-1]),
)
scores.mistake(
    "The scale is made of the size of all heads together, not of one: the square root "
    "of H times K.",
    hint="How many products does one score add up?",
    seen="aladdinpersson/Machine-Learning-Collection#65",
    scale=lambda query, key: math.sqrt(heads(query) * query.shape[-1]),
)
scores.mistake(
    "The scale is the square root of the number of keys.",
    hint="Which of the axes does the dot product add up?",
    scale=lambda query, key: math.sqrt(key.shape[-1]),
)
scores.mistake(
    "The scale is the square root of the number of queries.",
    hint="Which of the axes does the dot product add up?",
    scale=lambda query, key: math.sqrt(query.shape[-2]),
)
scores.mistake(
    "The scale is the square root of the length of axis 1, which is K only if there "
    "are no heads.",
    hint="Count from the right: the last axis is -1, however many come before it.",
    scale=lambda query, key: math.sqrt(query.shape[1]),
)
scores.mistake(
    "The scale is the square root of the length of the first axis.",
    hint="len(query) counts what lies along the first axis. Where is K?",
    scale=lambda query, key: math.sqrt(len(query)),
)
scores.mistake(
    "`key` is not turned: queries meet its columns, where they should meet its rows.",
    hint="Query i and key j are rows. What does the @ of two matrices multiply?",
    turn=lambda key: key,
)
scores.mistake(
    "All axes of `key` are turned round, not only the last two.",
    hint="For a matrix, .T swaps its two axes. What does it do to four?",
    turn=lambda key: key.T,
)
scores.mistake(
    "A reshape stands where the last two axes of `key` should change places.",
    hint="A reshape keeps the order of the numbers: print both for a small matrix.",
    turn=lambda key: key.reshape(*key.shape[:-2], key.shape[-1], key.shape[-2]),
)


@scores.mistake(
    "There is a row for each key and a column for each query.",
    hint="Rows are queries: (..., L, S).",
)
def key_by_query(query, key):
    return attention.attention_scores(key, query)


@scores.mistake(
    "Each dot product is divided by the lengths of both vectors: it is the cosine of "
    "the angle between them.",
    hint="The scale depends on K alone, not on the numbers in the vectors.",
)
def cosines(query, key):
    dot = attention.attention_scores(query, key) * math.sqrt(query.shape[-1])
    lengths = np.linalg.norm(query, axis=-1)[..., :, None]
    return dot / (lengths * np.linalg.norm(key, axis=-1)[..., None, :])


@scores.mistake(
    "The scores have been through a softmax already.",
    hint="Scores can be negative. The softmax comes later.",
)
def already_weights(query, key):
    return attention.softmax(attention.attention_scores(query, key))


@scores.mistake(
    "The heads are added up, so all of them share one matrix of scores.",
    hint="Each head has queries and keys of its own. Which letters does your einsum "
    "leave out on the right?",
)
def added_heads(query, key):
    each = attention.attention_scores(query, key)
    return each.sum(axis=-3) if each.ndim > 2 else each


@scores.variant
def by_einsum(query, key):
    return np.einsum("...qd,...kd->...qk", query, key) * query.shape[-1] ** -0.5


@scores.variant
def pair_by_pair(query, key):
    answer = np.zeros((*query.shape[:-1], key.shape[-2]))
    for index in np.ndindex(*answer.shape):
        q, k = query[index[:-1]], key[(*index[:-2], index[-1])]
        answer[index] = sum(q * k) / math.sqrt(len(q))
    return answer


@scores.variant
def scaled_first(query, key):
    scaled = query / np.sqrt(key.shape[-1])
    return np.matmul(scaled, np.moveaxis(key, -1, -2))


@scores.variant
def a_root_on_either_side(query, key):
    root = key.shape[-1] ** 0.25
    return (query / root)[..., :, :] @ np.einsum("...ij->...ji", key / root)


@scores.variant
def by_broadcasting_in_single_precision(query, key):
    q = query[..., :, None, :].astype(np.float32)
    k = key[..., None, :, :].astype(np.float32)
    return (q * k).sum(axis=-1) / np.float32(np.sqrt(q.shape[-1]))


scores.equivalent(
    "return query @ key.swapaxes(-2, -1) / math.sqrt(query.shape[-1])",
    why="two axes change places, whichever is named first",
)
scores.equivalent(
    "return query @ key.swapaxes(-1, -2) / math.sqrt(key.shape[-1])",
    why="queries and keys have the same K",
)


attend = Exercise(
    attention.scaled_dot_product_attention,
    points=3,
    axes=("batch row", "head", "query", "column"),
)
attend.forbid("scipy", "torch", why=OWN_WORK)


def a_mask(rng, *shape):
    """Some True and some False in each row; but the last row hides nothing."""
    attn_mask = rng.random(shape) < 0.5
    first = attn_mask.reshape(-1, shape[-1])
    rows = np.arange(len(first))
    shown = rng.integers(shape[-1], size=len(first))
    first[rows, shown] = True
    first[rows, (shown + 1) % shape[-1]] = False
    first[-1] = True
    return attn_mask


def identity(*shape):
    """Values with which the answer is the weights."""
    return np.broadcast_to(np.eye(shape[-1]), (*shape, shape[-1])).copy()


@attend.probes
def _(rng):
    b, h = (int(n) for n in rng.permutation([2, 3]))
    q, k, d = (int(n) for n in rng.choice(range(4, 8), 3, replace=False))
    columns = 9

    def vectors(*shape):
        return rng.integers(-8, 9, shape) / 4

    def heads_of(length, size):
        return vectors(b, h, length, size)

    yield Probe(
        heads_of(q, d), heads_of(k, d), identity(b, h, k), why="the identity as values"
    )
    yield Probe(
        heads_of(q, d), heads_of(k, d), identity(b, h, k), a_mask(rng, q, k),
        why="a mask for all",
    )  # fmt: skip
    yield Probe(
        heads_of(q, 9), heads_of(k, 9), identity(b, h, k), a_mask(rng, b, 1, 1, k),
        why="a mask for each sequence",
    )  # fmt: skip
    yield Probe(
        vectors(q, d + 2), vectors(k, d + 2), vectors(k, columns),
        why="no batch and no heads",
    )  # fmt: skip
    yield Probe(
        vectors(h, q, d), vectors(h, k, d), vectors(h, k, columns), a_mask(rng, q, k),
        why="heads without a batch",
    )  # fmt: skip
    yield Probe(
        vectors(4, 4, 4, 4), vectors(4, 4, 4, 4), vectors(4, 4, 4, 4),
        a_mask(rng, 4, 4, 4, 4), why="all sizes the same",
    )  # fmt: skip
    yield Probe(
        vectors(5, 5), vectors(5, 5), identity(5), a_mask(rng, 5, 5),
        why="as many keys as queries",
    )  # fmt: skip
    yield Probe(
        vectors(b, 1, d), vectors(b, k, d), vectors(b, k, columns),
        why="a single query",
    )  # fmt: skip
    # With K = 4 the scores below are exact in float32.
    sharp = 8 * vectors(h, q, 4)
    sharp[:, 0] = 64.0
    peaks = 16 * np.abs(vectors(h, k, 4))
    peaks[:, :2] = 32.0  # a tie
    yield Probe(sharp, peaks, vectors(h, k, columns), why="large scores")
    yield Probe(*far_below(rng, q + 1, k + 1), why="a hidden key of very high score")


def far_below(rng, q, k):
    """Visible scores lower than any -1e9 that stands for hidden; hidden ones high."""
    attn_mask = a_mask(rng, q, k)
    attn_mask[-1, 0] = False
    unit = 2.0**17  # with K = 16 all scores are exact in float32
    query, key = np.zeros((q, 16)), np.zeros((k, 16))
    query[:, :q] = unit * np.eye(q)
    low, high = rng.integers(-4, -1, (q, k)), rng.integers(1, 9, (q, k))
    key[:, :q] = unit * np.where(attn_mask, low, high).T
    return query, key, identity(k), attn_mask


def weights_in(answer, query, key, value):
    """The answer, if the values are the identity, so that it is the weights."""
    k_len = key.shape[-2]
    if answer.shape != (*query.shape[:-1], k_len) or value.shape[-1] != k_len:
        return None
    return answer if np.all(value == np.eye(k_len)) else None


def seen_by(attn_mask, shape):
    return np.broadcast_to(True if attn_mask is None else attn_mask, shape)


def who(index):
    """The query of an index of the answer, in words."""
    names = ("batch row", "head", "query")[3 - len(index) :]
    return ", ".join(f"{name} {i}" for name, i in zip(names, index, strict=True))


@attend.law
def hidden_keys_get_nothing(answer, query, key, value, attn_mask=None):
    weights = weights_in(answer, query, key, value)
    if weights is None or attn_mask is None:
        return None
    leaks = ~seen_by(attn_mask, weights.shape) & (np.abs(weights) > 1e-4)
    for *index, hidden in np.argwhere(leaks):
        return (
            f"At {who(index)} the weight of key {hidden} is "
            f"{weights[(*index, hidden)]:.4g}, and the mask hides that key."
        )
    return None


@attend.law
def weights_of_a_query_sum_to_one(answer, query, key, value, attn_mask=None):
    weights = weights_in(answer, query, key, value)
    if weights is None:
        return None
    totals = weights.sum(axis=-1)
    for index in np.argwhere(~np.isclose(totals, 1, atol=1e-4)):
        total = totals[tuple(index)]
        return f"At {who(index)} the weights of all keys sum to {total:.4g}, not to 1."
    return None


@attend.law
def seen_keys_get_something(answer, query, key, value, attn_mask=None):
    weights = weights_in(answer, query, key, value)
    if weights is None:
        return None
    scores = attention.attention_scores(query, key)
    seen = seen_by(attn_mask, weights.shape)
    best = np.where(seen, scores, -np.inf).max(axis=-1, keepdims=True)
    for *index, column in np.argwhere(seen & (scores > best - 5) & (weights == 0)):
        return (
            f"At {who(index)} the weight of key {column} is 0, and the query sees that "
            "key."
        )
    return None


@attend.law
def scale_of_the_scores(answer, query, key, value, attn_mask=None):
    weights = weights_in(answer, query, key, value)
    if weights is None or attn_mask is not None:
        return None
    logits, dot = np.log(weights), query @ key.swapaxes(-1, -2)
    gains, steps = logits - logits[..., :1], dot - dot[..., :1]
    factors = gains[steps != 0] / steps[steps != 0]
    if not np.allclose(factors, factors[0], rtol=1e-4):
        return None
    return (
        "The weights are the softmax of the dot products times "
        f"{factors[0] + 0:.4g}; for K = {query.shape[-1]} it should be times "
        f"{query.shape[-1] ** -0.5:.4g}."
    )


@attend.law
def a_mean_lies_between(answer, query, key, value, attn_mask=None):
    seen = seen_by(attn_mask, (*query.shape[:-1], key.shape[-2]))
    among = np.where(seen[..., None], value[..., None, :, :], -np.inf)
    largest = among.max(axis=-2)
    for *index, column in np.argwhere(answer > largest + 1e-4):
        place = (*index, column)
        return (
            f"At {who(index)} column {column} is {answer[place]:.4g}, more than in any "
            f"value that the query sees: they go up to {largest[place]:.4g}."
        )
    return None


def fill(number):
    return lambda scores, attn_mask: np.where(attn_mask, scores, number)


def leave(numbers, attn_mask):
    return numbers


with_zero_weight = fill(-np.inf)


@attend.family
def attend_family(
    query, key, value, attn_mask=None, *, scale=None, hide=with_zero_weight,
    weigh=attention.softmax, after=leave,
):  # fmt: skip
    scores = scores_family(query, key, scale=scale)
    if attn_mask is None:
        return after(weigh(scores), True) @ value
    return after(weigh(hide(scores, attn_mask)), attn_mask) @ value


attend.mistake(
    "The scores are not scaled.",
    hint="What does attention_scores do besides the dot product?",
    scale=lambda query, key: 1,
)
attend.mistake(
    "The scores are divided by K, not by its square root.",
    hint="How does the variance of a sum of K terms grow, and how its standard "
    "deviation?",
    scale=lambda query, key: query.shape[-1],
)
attend.mistake(
    "The scale is made of the size of all heads together, not of one: the square root "
    "of H times K.",
    hint="How many products does one score add up?",
    seen="aladdinpersson/Machine-Learning-Collection#65",
    scale=lambda query, key: math.sqrt(heads(query) * query.shape[-1]),
)
attend.mistake(
    "The softmax runs over the queries: the weights that one key gets sum to 1.",
    hint="Who shares out weights, a query or a key? Print the sum of one query's.",
    seen="labmlai/annotated_deep_learning_paper_implementations#146",
    weigh=lambda scores: attention.softmax(scores, -2),
)
attend.mistake(
    "The softmax runs over axis 1, which is that of the keys only if there are no "
    "heads and no batch.",
    hint="Count from the right: the keys are axis -1, however many come before.",
    seen="datawhalechina/llms-from-scratch-cn#54",
    weigh=lambda scores: attention.softmax(scores, 1),
)
attend.mistake(
    "The softmax runs over the first axis.",
    hint="Count from the right: the keys are axis -1, however many come before.",
    seen="PetrochukM/PyTorch-NLP#2",
    weigh=lambda scores: attention.softmax(scores, 0),
)
attend.mistake(
    "All weights of the array together sum to 1, not those of each query.",
    hint="Every query takes a mean of its own.",
    weigh=lambda scores: soft_family(
        scores, shift=lambda x, axis: x.max(), total=lambda x, axis: x.sum()
    ),
)
attend.mistake(
    "There is no softmax: the values are multiplied with the scores.",
    hint="Scores can be negative and sum to anything. What makes weights of them?",
    weigh=lambda scores: scores,
)
attend.mistake(
    "The exponentials of the scores are not divided by their sum.",
    hint="What do the weights of a query have to sum to?",
    weigh=lambda scores: np.exp(scores - row_max(scores, -1)),
)
attend.mistake(
    "Nothing is subtracted before the exponential: large scores overflow.",
    hint="Your softmax can do this already: is it used?",
    weigh=lambda scores: soft_family(scores, shift=lambda x, axis: 0),
)
attend.mistake(
    "All weight goes to the key of the highest score, as in a dictionary.",
    hint="A softmax is soft: every key that is seen gets some weight.",
    weigh=lambda scores: np.eye(scores.shape[-1])[scores.argmax(axis=-1)],
)
attend.mistake(
    "`attn_mask` is not used.",
    hint="Which weights have to be 0?",
    hide=leave,
)
attend.mistake(
    "The mask is read the other way round: True hides a key.",
    hint="In this course True means may attend. What does masked_fill replace?",
    seen="InseeFrLab/torchTextClassifiers#92",
    hide=lambda scores, attn_mask: np.where(attn_mask, -np.inf, scores),
)
attend.mistake(
    "Hidden scores become 0, or almost 0, which is a score like any other.",
    hint="What is exp(0)?",
    seen="georg-wolflein/good-features#1",
    hide=fill(0),
)
attend.mistake(
    "Hidden scores become a finite number, such as -1e9: where all visible ones are "
    "lower, the hidden keys get all the weight.",
    hint="Which number is lower than any score?",
    hide=fill(-1e9),
)
attend.mistake(
    "A finite number, such as -1e9, is added to hidden scores: one that is higher by "
    "more than that still wins.",
    hint="What has to be there in place of a hidden score, whatever the score was?",
    hide=lambda scores, attn_mask: scores - 1e9 * ~attn_mask,
)
attend.mistake(
    "The mask is added to the scores as numbers: a visible key only gets 1 more.",
    hint="Adding works for a mask of 0 and minus infinity. This one is True and False.",
    hide=lambda scores, attn_mask: scores + attn_mask,
)
attend.mistake(
    "The inverted mask times minus infinity is added: wherever a key is seen, that is "
    "0 times infinity, which is NaN.",
    hint="Choose between two numbers; do not multiply. Which function of NumPy "
    "chooses?",
    hide=lambda scores, attn_mask: scores + ~attn_mask * -np.inf,
)
attend.mistake(
    "Hidden scores become plus infinity, and a row with such a score NaN.",
    hint="Is a hidden key to get all of the weight, or none?",
    hide=fill(np.inf),
)
attend.mistake(
    "The mask comes after the softmax: what hidden keys were given is lost, and the "
    "rest of the weights no longer sums to 1.",
    hint="Do the weights of each query still sum to 1?",
    hide=leave,
    after=lambda weights, attn_mask: weights * attn_mask,
)
attend.mistake(
    "Minus infinity stands in place of weights, after the softmax.",
    hint="exp turns minus infinity into 0. Here no exp comes any more.",
    seen="huggingface/pytorch-image-models#2236",
    hide=leave,
    after=lambda weights, attn_mask: np.where(attn_mask, weights, -np.inf),
)
attend.mistake(
    "The mask comes after the softmax, and then each row is divided by its new sum: "
    "where a hidden score is far above the visible ones, that is 0 divided by 0.",
    hint="What is left of the visible weights if a hidden score is higher by 1000?",
    hide=leave,
    after=lambda weights, attn_mask: (
        weights * attn_mask / row_sum(weights * attn_mask, -1)
    ),
)


@attend.mistake(
    "The weights are divided by the square root of K; the scores should be, before "
    "the softmax.",
    hint="Where does the bracket of the softmax close?",
)
def scaled_afterwards(query, key, value, attn_mask=None):
    unscaled = attend_family(query, key, value, attn_mask, scale=lambda q, k: 1)
    return unscaled / math.sqrt(query.shape[-1])


@attend.mistake(
    "The weights are transposed before they meet the values.",
    hint="Rows of the weights are queries. What does the @ of two matrices add up?",
)
def transposed_weights(query, key, value, attn_mask=None):
    def turned(weights, attn_mask):
        return weights.swapaxes(-1, -2)

    return attend_family(query, key, value, attn_mask, after=turned)


@attend.mistake(
    "The mask of the first sequence is used for all of them.",
    hint="Sequences of one batch differ in length. Which axis of the mask is theirs?",
)
def first_mask_for_all(query, key, value, attn_mask=None):
    if attn_mask is not None and attn_mask.ndim > 2:
        attn_mask = attn_mask[:1]
    return attend_family(query, key, value, attn_mask)


@attend.mistake(
    "No query sees a key after its own position, and the mask does not ask for that.",
    hint="Which keys a query may see is for the mask alone to say.",
)
def always_causal(query, key, value, attn_mask=None):
    past = np.tri(query.shape[-2], key.shape[-2], dtype=bool)
    attn_mask = past if attn_mask is None else attn_mask & past
    return attend_family(query, key, value, attn_mask)


@attend.variant
def in_one_go(query, key, value, attn_mask=None):
    logits = np.einsum("...ld,...sd->...ls", query, key) / query.shape[-1] ** 0.5
    if attn_mask is not None:
        logits = logits + np.where(attn_mask, 0.0, -np.inf)
    logits = logits - logits.max(axis=-1, keepdims=True)
    weights = np.exp(logits)
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("...ls,...sv->...lv", weights, value)


@attend.variant
def with_the_lowest_number(query, key, value, attn_mask=None):
    if attn_mask is None:
        attn_mask = np.ones((1, key.shape[-2]), dtype=bool)
    logits = attention.attention_scores(query, key)
    hidden = np.logical_not(np.broadcast_to(attn_mask, logits.shape))
    logits[hidden] = np.finfo(logits.dtype).min
    return np.matmul(attention.softmax(logits), value)


@attend.variant
def query_by_query(query, key, value, attn_mask=None):
    shape = (*query.shape[:-1], key.shape[-2])
    seen = np.ones(shape, bool) if attn_mask is None else attn_mask & np.ones(
        shape, bool
    )  # fmt: skip
    answer = np.zeros((*query.shape[:-1], value.shape[-1]))
    for index in np.ndindex(*query.shape[:-1]):
        keys = key[index[:-1]][seen[index]]  # only those that the query sees
        values = value[index[:-1]][seen[index]]
        row = keys @ query[index] / math.sqrt(query.shape[-1])
        row = np.exp(row - max(row))
        answer[index] = (row[:, None] * values).sum(axis=0) / sum(row)
    return answer


@attend.variant
def divided_at_the_end(query, key, value, attn_mask=None):
    row = (query * query.shape[-1] ** -0.5) @ np.moveaxis(key, -2, -1)
    row = row if attn_mask is None else np.where(~attn_mask, -np.inf, row)
    exp = np.exp(row - np.max(row, -1, keepdims=True))
    return exp @ value / exp.sum(-1)[..., None]


@attend.variant
def in_single_precision_(query, key, value, attn_mask=None):
    query, key, value = (x.astype(np.float32) for x in (query, key, value))
    row = query @ key.swapaxes(-2, -1) / np.sqrt(np.float32(query.shape[-1]))
    if attn_mask is not None:
        row = np.where(attn_mask, row, np.float32(-np.inf))
    exp = np.exp(row - row.max(axis=-1, keepdims=True))
    return (exp / exp.sum(axis=-1, keepdims=True)) @ value


back = Exercise(
    attention.softmax_gradient, points=2, axes=("batch row", "query", "key")
)


@back.probes
def _(rng):
    b, q, k = some(rng, 3)

    def call(*shape, why):
        n = shape[-1]
        shares = rng.dirichlet(np.ones(n), shape[:-1])
        weights = rng.multinomial(64, shares) / 64  # some are 0, and all are exact
        return Probe(weights, rng.integers(-8, 9, shape) / 2, why=why)

    yield call(q, k, why="a matrix of weights")
    yield call(b, q, k + 1, why="a batch")
    yield call(k + 2, why="a single row")
    yield call(5, 5, why="as many queries as keys")
    yield call(4, 4, 4, why="all sizes the same")
    yield call(b, q, k + 1, why="a batch")
    one_hot = np.eye(k)[rng.integers(k, size=q)]
    yield Probe(
        one_hot, rng.integers(1, 9, (q, k)) * 1.0, why="all weight on a single key"
    )
    even = np.full((q, 4), 0.25)
    yield Probe(even, rng.integers(-8, 9, (q, 4)) * 1.0, why="equal weights")


def row_of(index):
    """The query of an index, as the beginning of a place; a single row needs none."""
    return f"{who(index)}, " if len(index) else ""


@back.law
def no_weight_no_gradient(answer, weights, grad):
    for index in np.argwhere((weights == 0) & (np.abs(answer) > 1e-4)):
        place = tuple(index)
        return (
            f"At {row_of(index[:-1])}key {index[-1]} the gradient is "
            f"{answer[place]:.4g}, but the weight there is 0, and a small change of "
            "its score leaves it at 0."
        )
    return None


@back.law
def a_row_sums_to_nothing(answer, weights, grad):
    if answer.shape != weights.shape:
        return None
    totals = answer.sum(axis=-1)
    for index in np.argwhere(np.abs(totals) > 1e-3):
        return (
            f"{who(index).capitalize() or 'The row'}: the gradients of all keys sum to "
            f"{totals[tuple(index)]:.4g}. They have to sum to 0, since adding one "
            "number to all scores of a query changes no weight."
        )
    return None


def weighted_mean(weights, grad):
    return (weights * grad).sum(axis=-1, keepdims=True)


@back.family
def back_family(weights, grad, *, mean=weighted_mean, times=None):
    return (weights if times is None else times(weights)) * (grad - mean(weights, grad))


back.mistake(
    "The mean of the row is not subtracted: each weight times its own gradient.",
    hint="When one score grows, the other weights of the row shrink. Where does that "
    "come in?",
    mean=lambda weights, grad: 0,
)
back.mistake(
    "The plain mean of the row's gradients is subtracted, not the one weighted by the "
    "weights.",
    hint="A key that gets no weight has no say in the mean.",
    mean=lambda weights, grad: grad.mean(axis=-1, keepdims=True),
)
back.mistake(
    "The sum of the row's gradients is subtracted, not their weighted mean.",
    hint="A key that gets no weight has no say in what is subtracted.",
    mean=lambda weights, grad: grad.sum(axis=-1, keepdims=True),
)
back.mistake(
    "The weighted mean is added, not subtracted.",
    hint="If all gradients of a row are equal, no score matters: what is the result?",
    mean=lambda weights, grad: -weighted_mean(weights, grad),
)
back.mistake(
    "The sum runs over the whole array, so that all rows share it.",
    hint="A score changes only the weights of its own row.",
    mean=lambda weights, grad: (weights * grad).sum(),
)
back.mistake(
    "The sum runs along the first axis, not along the last.",
    hint="Along which axis do the weights sum to 1?",
    mean=lambda weights, grad: (weights * grad).sum(axis=0, keepdims=True),
)
back.mistake(
    "The sums have lost their axis, so in a square that of another row is subtracted.",
    hint="A sum along an axis takes that axis away. What does keepdims do?",
    mean=lambda weights, grad: (weights * grad).sum(axis=-1),
)
back.mistake(
    "The mean is subtracted, but the difference is not multiplied by the weights.",
    hint="How much can a score still change if its weight is nearly 0?",
    times=np.ones_like,
)


@back.mistake(
    "Only the diagonal is there: each score changes its own weight and no other.",
    hint="When one score grows, the other weights of the row shrink. Which sum is "
    "missing?",
    seen="deeplearning4j/libnd4j#440",
)
def diagonal(weights, grad):
    return grad * weights * (1 - weights)


@back.mistake(
    "`grad` is not used: it is the derivative of each weight by its own score.",
    hint="What came from above has to be multiplied in (the chain rule).",
)
def own_derivative(weights, grad):
    return weights * (1 - weights)


@back.mistake(
    "`grad` is subtracted from the weights, as for a cross-entropy, where it would be "
    "the target.",
    hint="That short form is for a softmax and a cross-entropy in one. Here the loss "
    "can be anything.",
)
def as_for_cross_entropy(weights, grad):
    return weights - grad


@back.mistake(
    "It is the gradient for the logarithm of the softmax, not for the softmax.",
    hint="The derivative of a logarithm has lost a factor: which one?",
)
def of_the_logarithm(weights, grad):
    return grad - weights * grad.sum(axis=-1, keepdims=True)


@back.mistake(
    "The weights go through a softmax once more.",
    hint="`weights` are what came out of the softmax already.",
)
def softmax_again(weights, grad):
    return back_family(attention.softmax(weights), grad)


@back.variant
def by_the_jacobian(weights, grad):
    n = weights.shape[-1]
    outer = weights[..., :, None] * weights[..., None, :]
    jacobian = np.eye(n) * weights[..., :, None] - outer  # (..., S, S)
    return (jacobian @ grad[..., None])[..., 0]


@back.variant
def cell_by_cell(weights, grad):
    answer = np.zeros_like(grad)
    for index in np.ndindex(*weights.shape[:-1]):
        w, g = weights[index], grad[index]
        for i in range(len(w)):
            for j in range(len(w)):
                answer[(*index, i)] += g[j] * w[j] * ((i == j) - w[i])
    return answer


@back.variant
def two_terms(weights, grad):
    product = weights * grad
    return product - weights * np.sum(product, axis=-1, keepdims=True)


@back.variant
def by_einsum_in_single_precision(weights, grad):
    w, g = weights.astype(np.float32), grad.astype(np.float32)
    return w * (g - np.einsum("...i,...i->...", w, g)[..., np.newaxis])
