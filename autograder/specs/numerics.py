"""Chapter 7: mask numerics."""

import numpy as np

from autograder.exercise import Exercise, Probe
from autograder.laws import place
from solutions import masks, numerics


def some_mask(rng, *shape):
    """Every row sees at least two keys, and not all of them."""
    ranks = rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)
    return ranks < rng.integers(2, shape[-1], (*shape[:-1], 1))


def left_padded(rng, rows, length):
    """A decoder's mask of sequences padded on the left: early rows see nothing."""
    real = rng.permutation(np.arange(1, length - 1))[:rows]
    tokens = (np.arange(length) >= length - real[:, None]).astype(int)
    return masks.decoder_mask(tokens, 0)


bias = Exercise(
    numerics.mask_to_bias,
    points=1,
    axes=("batch row", None, "query", "key"),
    adapter="with_dtype",
)


@bias.probes
def _(rng):
    few, more = sorted(int(n) for n in rng.choice(range(4, 9), 2, replace=False))
    half, single, double = "float16", "float32", "float64"
    yield Probe(some_mask(rng, few, more), double, why="float64")
    yield Probe(some_mask(rng, more, few), single, why="float32")
    yield Probe(some_mask(rng, few, more), half, why="float16")
    yield Probe(some_mask(rng, 2, 1, 1, few), half, why="float16")
    yield Probe(some_mask(rng, few, few), single, why="as many queries as keys")
    yield Probe(left_padded(rng, 3, more), double, why="rows that see nothing")
    yield Probe(left_padded(rng, 2, few), half, why="rows that see nothing")
    yield Probe(np.ones((few, more), bool), single, why="a mask that hides nothing")


@bias.law
def hides_by_a_number(answer, attn_mask, dtype):
    hidden = answer[~attn_mask]
    if not len(hidden) or not np.isfinite(hidden).all() or answer[attn_mask].any():
        return None
    return (
        f"A hidden key gets {hidden[0]:g}. That is a number: it hides only beside "
        "scores that are higher by far, and a row that sees nothing has none."
    )


@bias.reason
def _(index, attn_mask, dtype):
    return f"there the mask is {attn_mask[index]}"


@bias.family
def bias_family(attn_mask, dtype, *, visible=0.0, hidden=lambda dtype: -np.inf):
    with np.errstate(over="ignore"):
        return np.where(attn_mask, visible, hidden(dtype)).astype(dtype)


bias.mistake(
    "The bias is inverted: hidden keys get 0 and visible ones -inf.",
    hint="True means may attend. What must be added to a score to leave it as it is?",
    visible=-np.inf,
    hidden=lambda dtype: 0,
)
bias.mistake(
    "Visible keys get 1 and hidden keys 0: added to scores, that hides nothing.",
    hint="The bias is added, not multiplied. What does a score become when 0 is added?",
    visible=1,
    hidden=lambda dtype: 0,
)
bias.mistake(
    "Hidden keys get 1 and visible ones 0: that raises the very scores it should hide.",
    hint="The bias is added to the scores. Which number makes any score the lowest?",
    hidden=lambda dtype: 1,
)
bias.mistake(
    "Hidden keys get -1.",
    hint="A score that is lower by 1 is still a score: what is exp(-1)?",
    hidden=lambda dtype: -1,
)
bias.mistake(
    "Hidden keys get -10.",
    hint="In Python ^ is no power: print -1^9. And what is the weight of a score that "
    "is lower by 10?",
    seen="lucidrains/nGPT-pytorch#11",
    hidden=lambda dtype: -10,
)
bias.mistake(
    "Hidden keys get -1e9. That is a number, and float16 has none so large: there it "
    "is -inf.",
    hint="In a row that sees nothing all keys have the same bias. What is left of it "
    "after the softmax, if it is a number?",
    seen="NVIDIA/apex#1052",
    hidden=lambda dtype: -1e9,
)
bias.mistake(
    "Hidden keys get the lowest number of the type, not -inf.",
    hint="It is a number still: add two such masks, or add it to a score below 0. And "
    "what is the softmax of a row in which every score is this number?",
    seen="NVIDIA-NeMo/Automodel#2658",
    hidden=lambda dtype: np.finfo(dtype).min,
)
bias.mistake(
    "Hidden keys get a number that is nearly 0.",
    hint="Count the minus signs: -1e-9 is next to 0. So is np.finfo(dtype).tiny, the "
    "smallest positive number.",
    seen="awslabs/gluonts#1401",
    hidden=lambda dtype: -1e-9,
)
bias.mistake(
    "Hidden keys get plus infinity.",
    hint="exp(-inf) is 0. What is exp(inf)?",
    seen="lucidrains/memory-compressed-attention#2",
    hidden=lambda dtype: np.inf,
)
bias.mistake(
    "Visible keys get NaN.",
    hint="0 times infinity is NaN: choose between the two numbers, do not multiply.",
    visible=np.nan,
)
bias.mistake(
    "Visible keys get -inf and hidden ones NaN.",
    hint="0 times infinity is NaN: choose between the two numbers, do not multiply. "
    "And True means may attend.",
    visible=-np.inf,
    hidden=lambda dtype: np.nan,
)
bias.mistake(
    "Visible keys get -1e9 and hidden ones 0: only what should be hidden is seen.",
    hint="-1e9 * mask wants a mask that is 1 where a key is hidden. Ours is True where "
    "a query may attend.",
    visible=-1e9,
    hidden=lambda dtype: 0,
)


@bias.variant
def filled_where_hidden(attn_mask, dtype):
    answer = np.zeros(attn_mask.shape, dtype=dtype)
    answer[~attn_mask] = -np.inf
    return answer


@bias.variant
def by_logarithm(attn_mask, dtype):
    return np.log(attn_mask.astype(dtype))


@bias.variant
def cell_by_cell(attn_mask, dtype):
    cells = [0.0 if may else float("-inf") for may in attn_mask.ravel()]
    return np.array(cells, dtype=dtype).reshape(attn_mask.shape)


@bias.variant
def out_of_a_table(attn_mask, dtype):
    return np.array([-np.inf, 0], dtype=dtype)[attn_mask.astype(int)]


@bias.variant
def by_division(attn_mask, dtype):
    return (1 - 1 / attn_mask.astype(np.float32)).astype(dtype)


def quarters(rng, *shape, most=2):
    """Multiples of 1/4, which are exact in float32, also far from 0."""
    return rng.integers(-4 * most, 4 * most + 1, shape) / 4


weights = Exercise(
    numerics.masked_softmax,
    points=3,
    axes=("batch row", "head", "query", "key"),
    quiet=True,
)
weights.forbid(
    ".softmax", ".log_softmax", ".logsumexp", ".scaled_dot_product_attention",
    why="what a softmax does with a mask is the exercise",
)  # fmt: skip


@weights.probes
def _(rng):
    few, more = sorted(int(n) for n in rng.choice(range(4, 9), 2, replace=False))
    single, half = np.float32, np.float16

    mask = some_mask(rng, few, more)
    yield Probe(quarters(rng, few, more), mask, why="one sequence without a batch")

    mask = some_mask(rng, 2, 1, 1, more)
    yield Probe(
        quarters(rng, 2, 3, few, more), mask, why="a mask for all heads and queries"
    )
    mask = some_mask(rng, more, few)
    yield Probe(
        quarters(rng, 3, 2, more, few).astype(single), mask,
        why="one mask for a whole batch",
    )  # fmt: skip

    mask = left_padded(rng, 2, 5)
    yield Probe(quarters(rng, 2, 3, 5, 5), mask, why="rows that see nothing")
    mask = some_mask(rng, 3, more, few)
    mask[0, 0] = mask[1] = mask[2, -1] = False
    for _ in range(2):
        yield Probe(
            quarters(rng, 3, more, few).astype(single), mask,
            why="rows that see nothing",
        )  # fmt: skip
    yield Probe(
        quarters(rng, 2, few, more), np.zeros((few, more), bool),
        why="a mask that hides everything",
    )  # fmt: skip

    # Each row at another level: no number is right for all of them. In float32 not too
    # large: exp(score - log_sum_exp) has the error of its largest score.
    mask = some_mask(rng, 2, few, more)
    levels = 3000.0 * rng.permuted(np.tile(np.arange(few) - 1, (2, 1)), axis=-1)
    yield Probe(
        quarters(rng, 2, few, more) + levels[..., None], mask, why="large scores"
    )
    yield Probe(
        quarters(rng, 2, few, more, most=120).astype(single), mask, why="large scores"
    )
    mask = some_mask(rng, more, few)
    yield Probe(
        np.where(mask, 0, 3000) + quarters(rng, more, few), mask,
        why="hidden scores far above the visible ones",
    )  # fmt: skip
    yield Probe(
        np.where(mask, -40000, 0) + quarters(rng, more, few), mask,
        why="visible scores far below -10000",
    )  # fmt: skip

    # In half precision every right way comes to 1, 1/2, 1/4 and 0: each rounding on
    # the way may cost half of what the tolerance allows.
    seen = np.arange(8)
    mask = rng.permuted(seen < np.array([1, 2, 4, 0, 4])[:, None], axis=-1)
    yield Probe(
        np.zeros((5, 8), half), mask, why="rows that see nothing in half precision"
    )
    mask = rng.permuted(seen < np.array([3, 5, 0, 4])[:, None], axis=-1)
    scores = np.where(mask, -200.0, 30000.0)
    for row in (0, 1, 3):
        scores[row, rng.choice(np.flatnonzero(mask[row]))] = 12
    yield Probe(scores.astype(half), mask, why="large scores in half precision")

    mask = some_mask(rng, few, more)
    scores = quarters(rng, few, more)
    mask[0], mask[1], scores[0, 1] = True, False, np.nan
    yield Probe(scores, mask, why="a NaN among the scores")


def full_mask(scores, attn_mask):
    return np.broadcast_to(attn_mask, scores.shape)


def clean(answer, scores):
    """Whether an answer can be told about by its weights at all."""
    return answer.shape == scores.shape and not np.isnan(scores).any()


def row_of(index):
    """Name a row of weights: 'head 1, query 2'."""
    return place(weights, (*index, 0)).removesuffix(", key 0")


@weights.law
def hidden_keys_have_no_weight(answer, scores, attn_mask):
    mask = full_mask(scores, attn_mask)
    seeing = np.broadcast_to(mask.any(axis=-1, keepdims=True), mask.shape)
    if not clean(answer, scores):
        return None
    for index in np.argwhere(seeing & ~mask & (np.abs(answer) > 1e-7))[:1]:
        return (
            f"The mask hides a key that has the weight {answer[tuple(index)]:.4g} in "
            f"your answer: {place(weights, index)}."
        )
    return None


@weights.law
def an_empty_row_is_zero(answer, scores, attn_mask):
    mask = full_mask(scores, attn_mask)
    if not clean(answer, scores):
        return None
    sums = np.abs(answer).sum(axis=-1)
    for index in np.argwhere(~mask.any(axis=-1) & (sums > 1e-7))[:1]:
        return (
            f"The mask hides every key from {row_of(index)}, and still its "
            f"weights sum to {answer[tuple(index)].sum():.4g}; all of them should be 0."
        )
    return None


@weights.law
def along_another_axis(answer, scores, attn_mask):
    mask = full_mask(scores, attn_mask)
    if not clean(answer, scores) or np.isnan(answer).any():
        return None
    names = weights.axes_of(answer.ndim)
    for axis in range(answer.ndim - 1):
        sums = answer.sum(axis=axis, dtype=float)[mask.any(axis=axis)]
        if len(sums) and np.allclose(sums, 1, atol=2e-3):
            return (
                f"The weights sum to 1 along the {names[axis]} axis. Those of one "
                "query lie along the key axis."
            )
    return None


@weights.law
def rows_sum_to_one(answer, scores, attn_mask):
    mask = full_mask(scores, attn_mask)
    if not clean(answer, scores):
        return None
    sums = answer.sum(axis=-1, dtype=float)
    for index in np.argwhere(mask.any(axis=-1) & (np.abs(sums - 1) > 2e-3))[:1]:
        return (
            f"The weights of {row_of(index)} sum to "
            f"{sums[tuple(index)]:.4g}; the keys that it sees share out 1."
        )
    return None


@weights.reason
def _(index, scores, attn_mask):
    mask = full_mask(scores, attn_mask)
    if not mask[index[:-1]].any():
        return "the mask hides every key from that query"
    if np.isnan(scores[index[:-1]]).any():
        return "there is a NaN among the scores that the query sees"
    return f"the mask {'allows' if mask[index] else 'hides'} that key"


def share_out(scores, *, axis=-1, largest=np.max):
    """Softmax as many write it: without a thought for rows of -inf."""
    exp = np.exp(scores - largest(scores, axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def replaced_by(number):
    """Another number where the mask hides a score."""
    return lambda scores, mask: np.where(mask, scores, number).astype(scores.dtype)


shut_out = replaced_by(-np.inf)


def guarded(scores, *, axis=-1, largest=np.max):
    """Softmax of somebody who has thought of rows of -inf."""
    top = largest(scores, axis=axis, keepdims=True)
    exp = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = exp.sum(axis=axis, keepdims=True)
    return exp / np.where(total == 0, 1, total)


def zero_where_empty(shares, mask):
    return np.where(mask.any(axis=-1, keepdims=True), shares, 0)


@weights.family
def weights_family(
    scores, attn_mask, *, hide=shut_out, share=share_out,
    after=zero_where_empty,
):  # fmt: skip
    with np.errstate(all="ignore"):
        shares = after(share(hide(scores, attn_mask)), attn_mask)
    return shares.astype(scores.dtype)


def as_they_are(shares, mask):
    return shares


weights.mistake(
    "A row that sees nothing is NaN; it should be all zeros.",
    hint="Follow such a row by hand: what is its largest score, what is -inf - -inf, "
    "and what is 0 / 0?",
    seen="pytorch/pytorch#41508",
    after=as_they_are,
)
weights.mistake(
    "A row that sees nothing shares out its weight equally among the hidden keys.",
    hint="However low a number is, a row in which all scores are that number has "
    "weights like any other.",
    hide=lambda scores, mask: np.where(mask, scores, np.finfo(scores.dtype).min),
    after=as_they_are,
)
weights.mistake(
    "A row that sees nothing shares out its weight equally among the hidden keys, and "
    "in half precision it is NaN.",
    hint="-1e9 is a number in float32; what is np.float16(-1e9)? And what is the "
    "softmax of a row in which all scores are the same?",
    hide=replaced_by(-1e9),
    after=as_they_are,
)
weights.mistake(
    "-1e9 is added to hidden scores: in a row that sees nothing they have weights like "
    "any others.",
    hint="A number added to all scores of a row changes nothing. In float32 the sum is "
    "rounded as well, and in float16 it is -inf.",
    hide=lambda scores, mask: scores + np.where(mask, 0, -1e9).astype(scores.dtype),
    after=as_they_are,
)
weights.mistake(
    "Only in half precision a row that sees nothing is NaN.",
    hint="What is np.float16(-1e9)? And what is NaN times 0?",
    hide=replaced_by(-1e9),
    after=lambda shares, mask: shares * mask,
)
weights.mistake(
    "A row that sees nothing gets the softmax of all its scores, hidden as they are.",
    hint="Where no key is allowed, every weight should be 0.",
    hide=lambda scores, mask: np.where(
        mask | ~mask.any(axis=-1, keepdims=True), scores, -np.inf
    ),
    after=as_they_are,
)
weights.mistake(
    "Hidden keys take part with the score -10000: where the visible scores are lower, "
    "the hidden keys get the weight.",
    hint="Which number is lower than every score?",
    seen="huggingface/transformers#17306",
    hide=replaced_by(-1e4),
    after=as_they_are,
)
weights.mistake(
    "Hidden keys take part with the score 0.",
    hint="What is exp(0)?",
    seen="georg-wolflein/good-features#1",
    hide=replaced_by(0),
    after=as_they_are,
)
weights.mistake(
    "Hidden keys take part with the score -10.",
    hint="In Python ^ is no power: print -1^9. And what is exp(-10)?",
    hide=replaced_by(-10),
    after=as_they_are,
)
weights.mistake(
    "The mask is added as 1 and 0: visible scores rise by 1, and nothing is hidden.",
    hint="What has to be added to a score, so that its exp is 0?",
    hide=lambda scores, mask: scores + mask.astype(scores.dtype),
    after=as_they_are,
)
weights.mistake(
    "The mask is not used: hidden keys have weights like all others.",
    hint="Where in your function does attn_mask change a number?",
    hide=lambda scores, mask: scores,
    after=as_they_are,
)
weights.mistake(
    "The mask comes after the softmax: the rows no longer sum to 1.",
    hint="A hidden key must not count in the sum by which the others are divided.",
    seen="lucidrains/memory-compressed-attention#2",
    hide=lambda scores, mask: scores,
    after=lambda shares, mask: np.where(mask, shares, 0),
)


def divided_again(shares, mask):
    shares = shares * mask
    return shares / shares.sum(axis=-1, keepdims=True)


def divided_again_or_zero(shares, mask):
    total = (shares * mask).sum(axis=-1, keepdims=True)
    return shares * mask / np.where(total == 0, 1, total)


weights.mistake(
    "A row that sees nothing is NaN, and so is a row in which a hidden score is far "
    "above the visible ones.",
    hint="Both are 0 / 0. The largest score is looked for among all keys, and then exp "
    "rounds the visible ones to 0.",
    hide=lambda scores, mask: scores,
    after=divided_again,
)
weights.mistake(
    "Where a hidden score is far above the visible ones, the whole row is 0.",
    hint="The largest score is looked for among all keys, and then exp rounds the "
    "visible ones to 0. Which scores should it be the largest of?",
    hide=lambda scores, mask: scores,
    after=divided_again_or_zero,
)
weights.mistake(
    "Large scores give NaN: exp overflows.",
    hint="exp(1000) is larger than any number of the type. Which number can you "
    "subtract from all scores of a row, without changing its weights?",
    share=lambda scores: share_out(scores, largest=lambda x, **_: 0),
)
weights.mistake(
    "The largest score of the whole array is subtracted: rows far below it are NaN.",
    hint="In such a row every exp is rounded to 0. Each row has a largest score of its "
    "own.",
    share=lambda scores: share_out(scores, largest=lambda x, **_: x.max()),
)
weights.mistake(
    "The largest score of the whole array is subtracted: rows far below it are 0.",
    hint="In such a row every exp is rounded to 0. Each row has a largest score of its "
    "own.",
    share=lambda scores: guarded(scores, largest=lambda x, **_: x.max()),
)
weights.mistake(
    "The columns sum to 1, not the rows.",
    hint="One query's weights are a row. Along which axis do its keys lie?",
    share=lambda scores: guarded(scores, axis=-2),
    after=as_they_are,
)
weights.mistake(
    "A NaN among the scores is covered up: its row is 0.",
    hint="An error that comes in must stay visible. Keep the NaN from arising instead "
    "of removing every NaN at the end.",
    after=lambda shares, mask: np.nan_to_num(shares),
)


@weights.mistake(
    "The mask is inverted: only what it hides is seen.",
    hint="True means that the query may attend. Print the weights of a row beside its "
    "mask.",
    seen="rasbt/LLMs-from-scratch#1061",
)
def inverted(scores, attn_mask):
    return numerics.masked_softmax(scores, ~attn_mask)


@weights.variant
def with_a_bias(scores, attn_mask):
    biased = scores + np.where(attn_mask, 0, -np.inf).astype(scores.dtype)
    top = np.max(biased, axis=-1, keepdims=True)
    top[top == -np.inf] = 0
    exp = np.exp(biased - top)
    return np.divide(exp, total := exp.sum(-1, keepdims=True), where=total != 0,
                     out=np.zeros_like(exp))  # fmt: skip


@weights.variant
def row_by_row(scores, attn_mask):
    allowed = np.broadcast_to(attn_mask, scores.shape)
    answer = np.zeros_like(scores)
    for row in np.ndindex(scores.shape[:-1]):
        visible = scores[row][allowed[row]].astype(np.float64)
        if visible.size:
            exp = np.exp(visible - visible.max())
            answer[row][allowed[row]] = exp / exp.sum()
    return answer


@weights.variant
def in_float32(scores, attn_mask):
    visible = np.where(attn_mask, scores.astype(np.float32), -np.inf)
    empty = ~np.any(attn_mask, axis=-1, keepdims=True)
    exp = np.exp(visible - np.where(empty, 0, visible.max(axis=-1, keepdims=True)))
    return (exp / (exp.sum(axis=-1, keepdims=True) + empty)).astype(scores.dtype)


@weights.variant
def lowest_number_then_zero(scores, attn_mask):
    shown = np.where(attn_mask, scores, np.finfo(scores.dtype).min)
    exp = np.exp(shown - shown.max(axis=-1, keepdims=True))
    return np.where(attn_mask.any(-1, keepdims=True), exp / exp.sum(-1)[..., None], 0)


@weights.variant
def by_log_sum_exp(scores, attn_mask):
    visible = np.where(attn_mask, scores, -np.inf)
    log_total = numerics.log_sum_exp(visible)[..., None]
    return np.exp(visible - np.where(log_total == -np.inf, 0, log_total))


@weights.variant
def silenced(scores, attn_mask):
    with np.errstate(invalid="ignore"):
        shares = share_out(np.where(attn_mask, scores, -np.inf))
    return np.where(np.any(attn_mask, axis=-1, keepdims=True), shares, 0)


for line in (
    "exp = np.exp(visible - np.where(np.isneginf(largest), 1, largest))",
    "exp = np.exp(visible - np.where(np.isneginf(largest), -1, largest))",
):
    weights.equivalent(line, why="-inf minus any number is -inf")
weights.equivalent(
    "return exp / np.maximum(1, total)", why="the larger of two, in either order"
)


lse = Exercise(numerics.log_sum_exp, points=2, axes=("row", "column"))
lse.forbid(
    ".logsumexp", ".logaddexp", ".log_softmax",
    why="what they do is the exercise",
)  # fmt: skip


@lse.probes
def _(rng):
    few, more = sorted(int(n) for n in rng.choice(range(4, 9), 2, replace=False))
    single, half = np.float32, np.float16
    inf = np.inf
    yield Probe(quarters(rng, few, more), why="the last axis")
    yield Probe(quarters(rng, more), why="a single row")
    yield Probe(quarters(rng, 2, few, more).astype(single), why="three axes")
    yield Probe(quarters(rng, few, more).astype(single), 0, why="another axis")
    yield Probe(quarters(rng, 3, more, few), axis=1, why="another axis")
    yield Probe(quarters(rng, 5, 5), 0, why="as many rows as columns")
    yield Probe(quarters(rng, 5, 5), why="as many rows as columns")

    levels = 3000.0 * (rng.permutation(few) - 1)
    yield Probe(quarters(rng, few, more) + levels[:, None], why="large numbers")
    yield Probe(
        quarters(rng, more, few, most=900).astype(single), 0, why="large numbers"
    )
    x = quarters(rng, few, more)
    x[1:, 1], x[0], x[2, :-1] = -inf, -inf, -inf
    yield Probe(x, why="-inf among the numbers")
    yield Probe(x.astype(single), 0, why="-inf among the numbers")
    x = quarters(rng, few, more)
    x[1, 0], x[2] = inf, inf
    x[0, 1] = x[1, 1] = -inf
    yield Probe(x, why="inf among the numbers")
    yield Probe(np.array([[20, 20, -20], [-30, 12, -inf]], half), why="half precision")


@lse.law
def between_its_bounds(answer, x, axis=-1):
    """It is at least the largest, and at most that plus the logarithm of how many."""
    largest, n = x.max(axis=axis), x.shape[axis]
    if np.shape(answer) != np.shape(largest) or not np.isfinite(x).all():
        return None
    above = np.asarray(answer - largest, dtype=float)
    slack = 1e-3 * (1 + np.abs(largest))
    for index in np.argwhere((above < -slack) | (above > np.log(n) + slack))[:1]:
        where = place(lse, index)
        got, top = np.asarray(answer)[tuple(index)], np.asarray(largest)[tuple(index)]
        return (
            f"{f'At {where} your' if where else 'Your'} answer is {got:.6g}. The "
            f"largest of the {n} numbers is {top:.6g}: the answer cannot be less, nor "
            f"more than that plus log({n}) = {np.log(n):.4g}."
        )
    return None


@lse.reason
def _(index, x, axis=-1):
    row = np.moveaxis(x, axis, -1)[index]
    if np.all(row == -np.inf):
        return "all numbers there are -inf, so the sum is 0"
    if np.any(row == np.inf):
        return "there is an inf among the numbers"
    return f"the largest of the numbers there is {row.max():g}"


def top(x, axis):
    return x.max(axis=axis, keepdims=True)


def finite_top(x, axis):
    return np.where(np.isfinite(top(x, axis)), top(x, axis), 0)


@lse.family
def total_family(
    x, axis=-1, *, shift=finite_top, back=1, reduce=np.sum, log=np.log,
    after=np.squeeze,
):  # fmt: skip
    with np.errstate(all="ignore"):
        shifts = shift(x, axis)
        answer = log(reduce(np.exp(x - shifts), axis=axis, keepdims=True))
        return after(answer + back * shifts, axis)


lse.mistake(
    "Large numbers give inf, and very negative ones -inf: exp leaves the range.",
    hint="exp(1000) is larger than any number of the type. Take the largest number "
    "out first: log(exp(a) + exp(b)) = a + log(1 + exp(b - a)).",
    shift=lambda x, axis: x.dtype.type(0),
)
lse.mistake(
    "The largest number is subtracted and not added again.",
    hint="Try it with a single number: log(exp(x)) should be x.",
    back=0,
)
lse.mistake(
    "The largest number of the whole array is subtracted: rows that are far below it "
    "give -inf.",
    hint="Each row has a largest number of its own.",
    shift=lambda x, axis: x.max(),
)
lse.mistake(
    "Numbers that are all -inf give NaN, and so do those with an inf among them.",
    hint="What is -inf - -inf? And inf - inf? Where the largest is not finite, "
    "subtract something else.",
    seen="stan-dev/posterior#399",
    shift=top,
)
lse.mistake(
    "Numbers with an inf among them give NaN.",
    hint="What is inf - inf? Where the largest is not finite, subtract something else.",
    shift=lambda x, axis: np.where(np.isneginf(top(x, axis)), 0, top(x, axis)),
)
lse.mistake(
    "Where it should be -inf or inf it is 0.",
    hint="The sum of exponentials is 0 for numbers that are all -inf. What is log(0)? "
    "Keep NaN from arising instead of replacing it at the end.",
    shift=top,
    after=lambda answer, axis: np.nan_to_num(answer).squeeze(axis),
)
lse.mistake(
    "It is the logarithm of the mean of the exponentials, not of their sum.",
    hint="How large is the answer for two equal numbers? It should be log(2) above "
    "them.",
    reduce=np.mean,
)
lse.mistake(
    "It is the largest number: the others do not count.",
    hint="How large is the answer for two equal numbers? It should be log(2) above "
    "them.",
    reduce=np.max,
)
lse.mistake(
    "1 is added to the sum before the logarithm.",
    hint="np.log1p(x) is log(1 + x). And the largest number counts once already: its "
    "exponential is 1 of the sum.",
    log=np.log1p,
)
lse.mistake(
    "The logarithm has base 2.",
    hint="Which logarithm undoes exp?",
    log=np.log2,
)
lse.mistake(
    "The logarithm has base 10.",
    hint="Which logarithm undoes exp?",
    log=np.log10,
)
lse.mistake(
    "The axis is still there, with length 1.",
    hint="An axis that was kept for broadcasting has to go at the end.",
    after=lambda answer, axis: answer,
)


@lse.mistake(
    "It is the sum of the exponentials: the logarithm is missing.",
    hint="The answer should be near the largest of the numbers.",
)
def without_logarithm(x, axis=-1):
    return np.exp(x).sum(axis=axis)


@lse.mistake(
    "Every number is there, minus the answer: that is the log-softmax.",
    hint="Asked for is one number for each row: what you subtract.",
)
def log_softmax(x, axis=-1):
    return x - np.expand_dims(numerics.log_sum_exp(x, axis), axis)


@lse.mistake(
    "The sum runs over the whole array: there is one number for all.",
    hint="Sum along one axis only. Which argument of sum and max says so?",
)
def over_everything(x, axis=-1):
    return numerics.log_sum_exp(x.ravel())


@lse.variant
def in_float64(x, axis=-1):
    wide = np.moveaxis(x.astype(np.float64), axis, -1)
    answer = np.array(np.max(wide, axis=-1))
    finite = np.isfinite(answer)
    exp = np.exp(wide[finite] - answer[finite][..., None])
    answer[finite] += np.log(np.sum(exp, axis=-1))
    return answer.astype(x.dtype)


@lse.variant
def row_by_row_sum(x, axis=-1):
    def one(row):
        highest = max(row)
        if highest in (np.inf, -np.inf):
            return highest
        return highest + np.log(sum(np.exp(number - highest) for number in row))

    return np.apply_along_axis(one, axis, x).astype(x.dtype)


@lse.variant
def with_the_lowest_number(x, axis=-1):
    highest = np.nan_to_num(np.amax(x, axis=axis, keepdims=True))
    with np.errstate(all="ignore"):
        logs = np.log(np.sum(np.exp(x - highest), axis=axis, keepdims=True))
    return np.squeeze(highest + logs, axis=axis)


@lse.variant
def one_after_the_other(x, axis=-1):
    first, *rest = np.moveaxis(x, axis, 0)
    for number in rest:
        high, low = np.maximum(first, number), np.minimum(first, number)
        with np.errstate(invalid="ignore"):
            first = np.where(high == low, high + np.log(2), high)
            gap = np.where(high == low, 0, low - high)
        first = np.where(high == low, first, high + np.log1p(np.exp(gap)))
    return first.astype(x.dtype)


@lse.variant
def patched_at_the_end(x, axis=-1):
    highest = x.max(axis)
    with np.errstate(invalid="ignore"):
        exp = np.exp(x - np.expand_dims(highest, axis))
        answer = highest + np.log(exp.sum(axis))
    return np.where(np.isinf(highest), highest, answer)


for line in (
    "largest = np.where(np.isfinite(largest), largest, 1)",
    "largest = np.where(np.isfinite(largest), largest, -1)",
):
    lse.equivalent(line, why="infinity plus or minus any number is infinity")
lse.equivalent(
    "with np.errstate():", why="NumPy warns of log(0), of which the task says nothing"
)
