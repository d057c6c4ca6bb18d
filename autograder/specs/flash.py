"""Chapter 16: online softmax, and attention in blocks."""

import functools
import math

import numpy as np

from autograder.exercise import Exercise, Probe
from autograder.specs import attention
from autograder.specs.attention import OWN_WORK, identity, seen_by, weights_in, who
from solutions import flash

INF = math.inf


def quarters(rng, *shape, most=2, kind: type = float):
    """Multiples of 1/4, which are exact in float32, also far from 0."""
    return (rng.integers(-4 * most, 4 * most + 1, shape) / 4).astype(kind)


online = Exercise(
    flash.online_softmax,
    points=2,
    axes=((), ()),
    parts=("largest", "sum"),
    adapter="in_passing",
)
online.forbid(
    "scipy", "torch", ".logsumexp", ".logaddexp",
    why="how the sum is kept right from block to block is the exercise",
)  # fmt: skip


@online.probes
def _(rng):
    def blocks(*levels):
        """One block around each level, all of other lengths."""
        lengths = rng.permutation(np.arange(2, 2 + len(levels)))
        pairs = zip(levels, lengths, strict=True)
        return [level + quarters(rng, n) for level, n in pairs]

    yield Probe(blocks(0, 6, 3), why="a largest score in the middle block")
    yield Probe(blocks(-6, -1, 4, 9), why="a largest score in the last block")
    yield Probe(blocks(8, 3, -2), why="a largest score in the first block")
    yield Probe([np.full(n, 1.5) for n in rng.permutation([2, 3, 4])], why="a tie")
    yield Probe(blocks(-5, -9, -7), why="scores that are all negative")
    yield Probe(blocks(-1100, -1102, -1098), why="scores far below 0")
    yield Probe(blocks(1000, 2003, 2000), why="large scores")
    yield Probe(blocks(2000, -3000), why="scores that lie far apart")
    yield Probe(blocks(2), why="a single block")
    yield Probe([quarters(rng, 1) for _ in range(4)], why="blocks of one score")
    hidden = [np.full(n, -INF) for n in (3, 2)]
    yield Probe([*hidden, *blocks(1, 4)], why="first blocks that are all -inf")
    first, last = blocks(-40, -38)
    first[0] = -INF
    yield Probe([first, hidden[0], last], why="-inf among the scores")
    yield Probe(hidden, why="scores that are all -inf")


@online.law
def the_largest_is_not_topped(answer, blocks):
    largest, right = answer[0], max(float(b.max()) for b in blocks)
    if largest < right:
        return f"Among the scores is {right:.6g}; your largest is {largest:.6g}."
    if largest > right:
        return (
            f"Your largest score is {largest:.6g}, and no score is above {right:.6g}."
        )
    return None


@online.law
def the_sum_is_within_bounds(answer, blocks):
    scores = np.concatenate(blocks)
    seen, total = int(np.isfinite(scores).sum()), answer[1]
    if seen and total < 1 - 1e-9:
        return (
            f"Your sum is {total:.6g}. The largest score alone adds exp(0) = 1, so it "
            "cannot be less than 1."
        )
    if total > seen + 1e-9:
        return (
            f"Your sum is {total:.6g}. There are {seen} scores that are not -inf, and "
            "each adds at most exp(0) = 1."
        )
    return None


def running(largest, block):
    return max(largest, block.max())


def shrunk(old, new):
    """What becomes of the sum so far when the largest changes from old to new."""
    return np.exp(old - new) if old > -INF else 0.0


@online.family
def online_family(
    blocks, *, first=-INF, begin=0.0, largest_of=running, kept=shrunk,
    shift=lambda new, block: new, guard=True, give=lambda total: total,
):  # fmt: skip
    largest, total = first, begin
    with np.errstate(all="ignore"):
        for block in blocks:
            new = float(largest_of(largest, block))
            if not guard or new > -INF:
                exp = np.exp(block - shift(new, block))
                total = float(total * kept(largest, new) + exp.sum())
            largest = new
        return largest, float(give(total))


online.mistake(
    "The sum so far is not rescaled when a larger score comes.",
    hint="Exponentials relative to the old largest and relative to the new one cannot "
    "be added as they are. By which factor do they differ? And is the old largest "
    "still there when you need it?",
    kept=lambda old, new: 1.0,
)
online.mistake(
    "The sum so far is multiplied by exp(new - old), and should be by its inverse: it "
    "grows where it should shrink.",
    hint="exp(s - new) = exp(s - old) * what?",
    seen="deepseek-ai/FlashMLA#177",
    kept=lambda old, new: np.exp(new - old) if old > -INF else 0.0,
)
online.mistake(
    "The sum is NaN for all scores but -inf, as 0 times infinity is.",
    hint="What is your factor at the first block, where the largest so far is -inf? "
    "exp(s - new) = exp(s - old) * what?",
    kept=lambda old, new: np.exp(new - old),
)
online.mistake(
    "The search for the largest begins at 0, which is given where all are negative.",
    hint="Which number is below every score?",
    first=0.0,
)
online.mistake(
    "The search for the largest begins at -1e9, a score like any other.",
    hint="Which number is below every score? And what is the largest of scores that "
    "are all -inf?",
    seen="flashinfer-ai/flashinfer#4267",
    first=-1e9,
)
online.mistake(
    "The largest is that of the last block alone, and the sum is relative to it.",
    hint="Scores of earlier blocks count, too: the largest never goes down.",
    seen="tile-ai/tilelang#1148",
    largest_of=lambda largest, block: block.max(),
    kept=lambda old, new: np.exp(old - new),
)
online.mistake(
    "The largest is that of the first block: later ones do not change it.",
    hint="What if a larger score comes later?",
    largest_of=lambda largest, block: block.max() if largest == -INF else largest,
)
online.mistake(
    "A first block that is all -inf makes the sum NaN, and it stays NaN.",
    hint="What is -inf minus -inf? In which blocks does that come up?",
    seen="flashinfer-ai/flashinfer#1178",
    kept=lambda old, new: np.exp(old - new),
    guard=False,
)
online.mistake(
    "Nothing is subtracted: the sum is that of exp(score).",
    hint="The sum has to be relative to the largest score, or large scores overflow.",
    shift=lambda new, block: 0.0,
    kept=lambda old, new: 1.0,
)
online.mistake(
    "Each block is summed relative to its own largest score, and these sums are added "
    "as they are.",
    hint="Before two sums can be added, they have to be relative to the same number.",
    shift=lambda new, block: block.max() if block.max() > -INF else 0.0,
    kept=lambda old, new: 1.0,
)
online.mistake(
    "Where all scores are -inf the sum is 1, as if one of them counted.",
    hint="With which number does the sum begin?",
    begin=1.0,
)
online.mistake(
    "The sum is that of the last block alone.",
    hint="What happens to the sum so far when a new block comes?",
    kept=lambda old, new: 0.0,
)
online.mistake(
    "The logarithm of the sum is given, not the sum.",
    hint="Asked for are the two numbers from which a softmax can be made.",
    give=np.log,
)
online.mistake(
    "The largest score is added to the logarithm of the sum: that is log-sum-exp.",
    hint="Asked for are two numbers: the largest, and the sum relative to it.",
)(lambda blocks: log_sum(*flash.online_softmax(blocks)))


def log_sum(largest, total):
    with np.errstate(divide="ignore"):
        return largest, float(largest + np.log(total))


@online.mistake(
    "The sum comes first and the largest score last.",
    hint="In which order are they asked for?",
)
def sum_first(blocks):
    return flash.online_softmax(blocks)[::-1]


@online.mistake(
    "The largest score is right and the sum is 0: the blocks come once, and a second "
    "loop over them finds nothing.",
    hint="One loop has to do for both. What do you know of the sum when a new largest "
    "score turns up?",
)
def two_loops(blocks):
    blocks = iter(blocks)
    largest = max(float(block.max()) for block in blocks)
    return largest, float(sum(np.exp(block - largest).sum() for block in blocks))


@online.mistake(
    "A block that brings no larger score adds nothing to the sum.",
    hint="What has to be done for every block, and what only when the largest changes?",
)
def only_new_heights(blocks):
    largest, total = -INF, 0.0
    for block in blocks:
        new = float(block.max())
        if new > largest:
            total = total * shrunk(largest, new) + float(np.exp(block - new).sum())
            largest = new
    return largest, total


@online.variant
def all_at_once(blocks):
    scores = np.concatenate(list(blocks))
    largest = scores.max()
    shift = 0 if largest == -INF else largest
    return largest, np.exp(scores - shift).sum()


@online.variant
def score_by_score(blocks):
    largest, total = -INF, 0.0
    for block in blocks:
        for score in block.tolist():
            if score > largest:
                total = total * math.exp(largest - score) + 1
                largest = score
            elif score > -INF:
                total += math.exp(score - largest)
    return largest, total


@online.variant
def two_results_joined(blocks):
    largest, total = -np.inf, 0.0
    for block in blocks:
        own = np.max(block)
        if own == -np.inf:
            continue
        own_total = np.exp(block - own).sum()
        top = np.maximum(largest, own)
        total = np.exp(largest - top) * total + np.exp(own - top) * own_total
        largest = top
    return largest, total


@online.variant
def pairs_reduced(blocks):
    def join(one, other):
        top = max(one[0], other[0])
        if top == -INF:
            return one
        return top, sum(total * math.exp(m - top) for m, total in (one, other))

    each = ((block.max(), np.exp(block - block.max()).sum()) for block in blocks)
    with np.errstate(invalid="ignore"):
        pairs = [(m, 0 if m == -INF else total) for m, total in each]
    return functools.reduce(join, pairs, (-INF, 0.0))


@online.variant
def by_a_logarithm(blocks):
    largest, log = -np.inf, -np.inf
    for block in blocks:
        for score in block:
            largest = np.maximum(largest, score)
            high, low = max(log, score), min(log, score)
            if high > -np.inf:
                log = high + np.log1p(np.exp(low - high))
    return largest, (np.exp(log - largest) if largest > -np.inf else 0.0)


@online.variant
def in_single_precision(blocks):
    largest, total = np.float32(-np.inf), np.float32(0)
    for block in blocks:
        block = block.astype(np.float32)
        new = np.maximum(largest, block.max())
        if np.isfinite(new):
            total = total * np.exp(largest - new) + np.exp(block - new).sum()
        largest = new
    return largest, total


tiles = Exercise(
    flash.flash_attention,
    points=4,
    axes=("batch row", "head", "query", "column"),
)
tiles.forbid("scipy", "torch", why=OWN_WORK)


def half_open(rng, q, k, block):
    """In some rows the first block is hidden, in one the last; the others are mixed."""
    attn_mask = rng.random((q, k)) < 0.6
    attn_mask[np.arange(q), rng.integers(block, k, q)] = True
    attn_mask[1, :block] = attn_mask[3, :block] = False
    attn_mask[2], attn_mask[2, :2] = False, True
    return attn_mask


@tiles.probes
def _(rng):
    b, h = (int(n) for n in rng.permutation([2, 3]))
    q, d = (int(n) for n in rng.permutation([4, 5]))
    k, block = int(rng.choice([7, 8])), 3  # the last block is shorter

    def vectors(*shape):
        return quarters(rng, *shape)

    def heads(length, size):
        return vectors(b, h, length, size)

    yield Probe(
        vectors(q, d + 2), vectors(k, d + 2), identity(k), block=k + 2,
        why="a block larger than the number of keys",
    )  # fmt: skip
    yield Probe(
        heads(q, d), heads(k, d), identity(b, h, k), block=block,
        why="the identity as values",
    )  # fmt: skip
    yield Probe(
        heads(q, d), heads(k, d), identity(b, h, k), half_open(rng, q, k, block),
        block=block, why="rows whose first block is hidden",
    )  # fmt: skip
    yield Probe(
        vectors(q, d), vectors(6, d), identity(6), block=2,
        why="blocks that are all full",
    )  # fmt: skip
    yield Probe(
        vectors(h, q, 9), vectors(h, k, 9), vectors(h, k, 2),
        half_open(rng, q, k, block), block=block, why="heads without a batch",
    )  # fmt: skip
    real = np.arange(k) >= rng.permutation([block, block + 1, 1])[:b, None]
    yield Probe(
        heads(q, d), heads(k, d), identity(b, h, k), real[:, None, None], block=block,
        why="a mask for each sequence, padded on the left",
    )  # fmt: skip
    of_heads = rng.random((h, 1, k)) < 0.5
    of_heads[:, 0, -1] = True
    yield Probe(
        heads(q, d), heads(k, d), heads(k, 2), of_heads, block=block,
        why="a mask for each head",
    )  # fmt: skip
    yield Probe(
        heads(q, d), heads(k, d), identity(b, h, k), np.arange(q)[:, None] != 1,
        block=block, why="a mask that is one answer for all keys",
    )  # fmt: skip
    empty = half_open(rng, q, k, block)
    empty[0] = False
    yield Probe(
        heads(q, d), heads(k, d), identity(b, h, k), empty, block=block,
        why="a row that sees nothing",
    )  # fmt: skip
    yield Probe(
        vectors(q, d), vectors(k, d), identity(k), half_open(rng, q, k, 2), block=1,
        why="one key at a time",
    )  # fmt: skip
    yield Probe(
        vectors(5, 5), vectors(5, 5), identity(5), half_open(rng, 5, 5, 2), block=2,
        why="as many keys as queries",
    )  # fmt: skip
    yield Probe(
        vectors(4, 4, 4, 4), vectors(4, 4, 4, 4), vectors(4, 4, 4, 4),
        rng.random((4, 4, 4, 4)) < 0.6, block=3, why="sizes that are all equal",
    )  # fmt: skip
    single = (vectors(h, n, 4).astype(np.float32) for n in (q, k, k))
    yield Probe(*single, half_open(rng, q, k, block), block=block, why="float32")

    # Scores by the row: with K = 16 they are exact in float32.
    for why, levels in (
        ("a largest score in the last block", (-3, 2, 6)),
        ("a largest score in the first block", (5, 1, -4)),
        ("large scores, the largest in the last block", (900, 1500, 3000)),
        ("large scores, the largest in the first block", (3000, 900, -1500)),
        ("scores far below 0", (-2000, -1998, -2001)),
    ):
        level = np.repeat(levels, block)[:k]
        yield Probe(
            *by_scores(level + vectors(q, k)), identity(k), block=block, why=why
        )
    apart = 1000.0 * rng.permutation(q)[:, None]
    yield Probe(
        *by_scores(apart + vectors(q, k)), identity(k), block=block,
        why="queries whose scores lie far apart",
    )  # fmt: skip
    equal_scores = by_scores(np.full((q, k), 1.5))
    yield Probe(*equal_scores, vectors(k, 9), block=block, why="scores that are equal")
    attn_mask = half_open(rng, q, k, block)
    yield Probe(
        *by_scores(vectors(q, k) - 2000), identity(k), attn_mask, block=block,
        why="rows whose first block is hidden, and scores far below 0",
    )  # fmt: skip
    yield Probe(
        *by_scores(np.where(attn_mask, 0, 3000) + vectors(q, k)), identity(k),
        attn_mask, block=block, why="hidden scores far above the visible ones",
    )  # fmt: skip


def by_scores(scores):
    """A query and a key that have these scores."""
    q, k = scores.shape
    query, key = np.zeros((q, 16)), np.zeros((k, 16))
    query[:, :q] = 4 * np.eye(q)  # the square root of K
    key[:, :q] = scores.T
    return query, key


def right_weights(answer, query, key, value, attn_mask, block):
    """The answer and what is right, if they are the weights."""
    if weights_in(answer, query, key, value) is None or np.isnan(answer).any():
        return None
    return flash.flash_attention(query, key, value, attn_mask, block=block)


@tiles.law
def hidden_keys_get_nothing(answer, query, key, value, attn_mask=None, *, block):
    right = right_weights(answer, query, key, value, attn_mask, block)
    if right is None:
        return None
    leaks = ~seen_by(attn_mask, answer.shape) & (np.abs(answer) > 1e-4)
    for *index, hidden in np.argwhere(leaks):
        return (
            f"At {who(index)} the weight of key {hidden} is "
            f"{answer[(*index, hidden)]:.4g}, and the mask hides that key."
        )
    return None


@tiles.law
def keys_that_count_twice(answer, query, key, value, attn_mask=None, *, block):
    right = right_weights(answer, query, key, value, attn_mask, block)
    if right is None:
        return None
    for index in np.ndindex(answer.shape[:-1]):
        told = np.flatnonzero(right[index] > 1e-3)
        factors = answer[index][told] / right[index][told]
        if len(told) < 3 or factors.min() <= 0:
            continue
        times = factors / factors.min()
        if times.max() > 1.5 and np.allclose(times, times.round(), rtol=1e-4):
            often, once = told[times.argmax()], told[times.argmin()]
            return (
                f"At {who(index)} key {often} counts {times.max():.0f} times as much "
                f"beside key {once} as it should."
            )
    return None


@tiles.law
def weights_of_a_block(answer, query, key, value, attn_mask=None, *, block):
    """Where a whole block has the right proportions and the wrong size."""
    right = right_weights(answer, query, key, value, attn_mask, block)
    if right is None:
        return None
    for index in np.ndindex(answer.shape[:-1]):
        for start in range(0, answer.shape[-1], block):
            part = (*index, slice(start, start + block))
            told = right[part] > 1e-3
            if not told.any() or np.allclose(answer[part], right[part], atol=1e-5):
                continue
            factors = answer[part][told] / right[part][told]
            if np.allclose(factors, factors[0], rtol=1e-3):
                end = min(start + block, answer.shape[-1]) - 1
                keys = f"keys {start} to {end}" if end > start else f"key {start}"
                return (
                    f"At {who(index)} the weights of {keys}, a block, are "
                    f"{factors[0]:.4g} times what they should be; together all its "
                    f"weights sum to {answer[index].sum():.4g}."
                )
            return None
    return None


@tiles.law
def weights_sum_to_one(answer, query, key, value, attn_mask=None, *, block):
    right = right_weights(answer, query, key, value, attn_mask, block)
    if right is None:
        return None
    off = ~np.isclose(answer.sum(axis=-1), right.sum(axis=-1), atol=1e-4)
    for index in np.argwhere(off):
        total, wanted = answer[tuple(index)].sum(), right[tuple(index)].sum()
        return (
            f"At {who(index)} the weights of all keys sum to {total:.4g}, not to "
            f"{wanted:.4g}."
        )
    return None


@tiles.law
def scale_of_the_scores(answer, query, key, value, attn_mask=None, *, block):
    if right_weights(answer, query, key, value, attn_mask, block) is None:
        return None
    return attention.scale_of_the_scores(answer, query, key, value, attn_mask)


def top(largest, scores):
    return np.maximum(largest, scores.max(axis=-1, keepdims=True))


def finite(new):
    return np.where(np.isneginf(new), 0, new)


def shrink(old, new):
    return np.exp(old - new)


def grow(old, new):
    return np.where(np.isneginf(old), 0, np.exp(new - old))


def stay(old, new):
    return 1.0


def fill(number):
    return lambda scores, seen: np.where(seen, scores, number)


with_no_weight = fill(-INF)


def visible(exp, seen):
    return exp


def part_of(attn_mask, start, block, n):
    return attn_mask[..., start : start + n]


def root(d):
    return d**-0.5


def all_starts(k, block):
    return range(0, k, block)


def last(output, total):
    return output / np.where(total == 0, 1, total)


@tiles.family
def tiles_family(
    query, key, value, attn_mask=None, *, block, scale=root, starts=all_starts,
    first=-INF, largest_of=top, shift=finite, remember=visible, kept_total=shrink,
    kept_output=shrink, hide=with_no_weight, cut=part_of, above=visible, below=visible,
    each=lambda output, total: output, end=last,
):  # fmt: skip
    k = key.shape[-2]
    seen = np.ones((1, k), bool) if attn_mask is None else attn_mask
    seen = np.broadcast_to(seen, (*seen.shape[:-1], k))
    largest = np.full((*query.shape[:-1], 1), first)
    total = np.zeros_like(largest)
    output = np.zeros((*query.shape[:-1], value.shape[-1]))
    with np.errstate(all="ignore"):
        for start in starts(k, block):
            keys, values = (x[..., start : start + block, :] for x in (key, value))
            scores = query @ keys.swapaxes(-1, -2) * scale(query.shape[-1])
            may = cut(seen, start, block, keys.shape[-2])
            scores = hide(scores, may)
            new = largest_of(largest, scores)
            exp = np.exp(scores - shift(new))
            total = total * kept_total(largest, shift(new)) + below(exp, may).sum(
                axis=-1, keepdims=True
            )
            output = output * kept_output(largest, shift(new))
            output = each(output + above(exp, may) @ values, total)
            largest = remember(new, shift(new))
        return end(output, total).astype(query.dtype)


tiles.mistake(
    "The sum is not rescaled when a larger score comes, the output is.",
    hint="Sum and output are both made of exponentials relative to the old largest "
    "score. What becomes of them when it changes?",
    kept_total=stay,
)
tiles.mistake(
    "The output is not rescaled when a larger score comes, the sum is.",
    hint="Sum and output are both made of exponentials relative to the old largest "
    "score. What becomes of them when it changes?",
    kept_output=stay,
)
tiles.mistake(
    "Neither sum nor output is rescaled when a larger score comes.",
    hint="Exponentials relative to the old largest score and relative to the new one "
    "cannot be added as they are. Is the old one still there when you need it?",
    kept_total=stay,
    kept_output=stay,
)
tiles.mistake(
    "The output so far is multiplied by exp(new - old), the inverse of what belongs "
    "there; the sum is right.",
    hint="exp(s - new) = exp(s - old) * what? The same factor is right for both.",
    seen="Dao-AILab/flash-attention#991",
    kept_output=grow,
)
tiles.mistake(
    "Sum and output so far are multiplied by exp(new - old), the inverse of what "
    "belongs there.",
    hint="exp(s - new) = exp(s - old) * what?",
    kept_total=grow,
    kept_output=grow,
)
tiles.mistake(
    "The output is divided by the sum in every block, and rescaled as if it were not.",
    hint="How often is the first block's share divided by the time the last has come?",
    each=last,
    end=lambda output, total: output,
)
tiles.mistake(
    "The output is divided by the sum in every block, and once more at the end.",
    hint="How often is the first block's share divided by the time the last has come?",
    each=last,
)
tiles.mistake(
    "Only the last block's largest score is used: if an earlier one was far higher, "
    "the rescaling overflows.",
    hint="The largest score so far never goes down.",
    seen="tile-ai/tilelang#1148",
    largest_of=lambda largest, scores: scores.max(axis=-1, keepdims=True),
)
tiles.mistake(
    "One largest score serves all queries: where a query's own are far below it, every "
    "exponential is rounded to 0.",
    hint="Every query needs a number of its own. Along which axis does your max run?",
    largest_of=lambda largest, scores: np.maximum(largest, scores.max()),
)
tiles.mistake(
    "The search for the largest score begins at 0: where all are far below 0, every "
    "exponential is rounded to 0.",
    hint="Which number is below every score?",
    first=0.0,
)
tiles.mistake(
    "A row whose first block is hidden takes 0 for its largest score from then on: "
    "where its later scores are far below 0, the row is 0.",
    hint="0 may stand in for -inf in the subtraction. What do you keep as the largest "
    "score so far?",
    seen="Dao-AILab/flash-attention#2082",
    remember=lambda new, shift: shift,
)
tiles.mistake(
    "A row whose first block is hidden is NaN, whatever comes later.",
    hint="What is -inf minus -inf? And what is NaN times 0?",
    shift=lambda new: new,
)
tiles.mistake(
    "A row whose first block is hidden is 0, whatever comes later.",
    hint="Keep the NaN from arising; once it is in the sum, it stays.",
    shift=lambda new: new,
    end=lambda output, total: np.nan_to_num(output / total),
)
tiles.mistake(
    "A row that sees nothing is NaN, not zeros.",
    hint="What is its sum, and what is 0 / 0?",
    end=lambda output, total: output / total,
)
tiles.mistake(
    "A row that sees nothing gets the plain mean of all values.",
    hint="However low a number is, a row in which all scores are that number has "
    "weights like any other.",
    hide=fill(-1e9),
)
tiles.mistake(
    "A very low number is added to hidden scores: a row that sees nothing gets the "
    "weights that it would have without a mask.",
    hint="What is left of a row in which the same number is added to all scores?",
    hide=lambda scores, seen: scores + np.where(seen, 0, -1e9),
)
tiles.mistake(
    "Each block of scores is masked with the first block of the mask.",
    hint="Which columns of the mask belong to the keys at hand?",
    cut=lambda seen, start, block, n: seen[..., :n],
)
tiles.mistake(
    "The mask is read the other way round: True hides a key.",
    hint="In this course True means may attend.",
    hide=lambda scores, seen: np.where(
        seen, np.where(seen.all(), scores, -INF), scores
    ),
)
tiles.mistake(
    "`attn_mask` is not used.",
    hint="Which weights have to be 0?",
    hide=lambda scores, seen: scores,
)
tiles.mistake(
    "Hidden keys take part with the score 0.",
    hint="What is exp(0)?",
    hide=fill(0),
)
tiles.mistake(
    "Hidden keys still count in the sum; only their values are left out.",
    hint="Print the sum of one query's weights.",
    hide=lambda scores, seen: scores,
    above=lambda exp, seen: exp * seen,
)
tiles.mistake(
    "The largest score is looked for among hidden keys, too: where one is far above, "
    "the visible ones are rounded to 0.",
    hint="Which scores should it be the largest of?",
    hide=lambda scores, seen: scores,
    above=lambda exp, seen: exp * seen,
    below=lambda exp, seen: exp * seen,
)
tiles.mistake(
    "The scores are not scaled.",
    hint="The longer the vectors, the larger their dot products: by which factor?",
    scale=lambda d: 1,
)
tiles.mistake(
    "The scores are scaled twice, that is by K and not by its square root.",
    hint="Is the query scaled already when the scores are?",
    seen="AI-Hypercomputer/maxtext#3138",
    scale=lambda d: 1 / d,
)
tiles.mistake(
    "Nothing is subtracted before the exponential: large scores overflow.",
    hint="What is np.exp(1000)?",
    shift=lambda new: np.zeros_like(new),
    kept_total=stay,
    kept_output=stay,
)
tiles.mistake(
    "The last block does not count if it is not full.",
    hint="Is the number of keys always a multiple of `block`? // rounds down.",
    starts=lambda k, block: range(0, k - k % block, block),
)
tiles.mistake(
    "Only the first block counts.",
    hint="Does a return stand inside of the loop?",
    starts=lambda k, block: [0],
)
tiles.mistake(
    "Only the last block counts.",
    hint="What happens to the output so far when a new block comes?",
    starts=lambda k, block: [(k - 1) // block * block],
)
tiles.mistake(
    "The exponentials are not divided by their sum.",
    hint="What do the weights of a query have to sum to?",
    end=lambda output, total: output,
)


@tiles.mistake(
    "Of several masks the first is used for all.",
    hint="Sequences of one batch differ in length. Which axis of the mask is theirs?",
)
def first_mask_for_all(query, key, value, attn_mask=None, *, block):
    if attn_mask is not None and attn_mask.ndim > 2:
        attn_mask = attn_mask[:1]
    return flash.flash_attention(query, key, value, attn_mask, block=block)


@tiles.mistake(
    "Without a mask no query sees a key after its own position.",
    hint="Which keys a query may see is for the mask alone to say.",
)
def causal_without_a_mask(query, key, value, attn_mask=None, *, block):
    if attn_mask is None:
        attn_mask = np.tri(query.shape[-2], key.shape[-2], dtype=bool)
    return flash.flash_attention(query, key, value, attn_mask, block=block)


@tiles.mistake(
    "The last block is filled up with zeros, and these get weight: a key of zeros has "
    "the score 0.",
    hint="What is the weight of a key that is not there?",
    seen="flashinfer-ai/flashinfer#5090",
)
def filled_up(query, key, value, attn_mask=None, *, block):
    k = key.shape[-2]
    before = [(0, 0)] * (key.ndim - 2)
    key, value = (np.pad(x, (*before, (0, -k % block), (0, 0))) for x in (key, value))
    if attn_mask is not None:
        attn_mask = np.broadcast_to(attn_mask, (*attn_mask.shape[:-1], k))
        edge = [(0, 0)] * (attn_mask.ndim - 1)
        attn_mask = np.pad(attn_mask, (*edge, (0, -k % block)), constant_values=True)
    return flash.flash_attention(query, key, value, attn_mask, block=block)


def each_block_alone(query, key, value, attn_mask, block):
    k = key.shape[-2]
    seen = np.ones((1, k), bool) if attn_mask is None else attn_mask
    seen = np.broadcast_to(seen, (*seen.shape[:-1], k))
    return np.stack(
        [
            flash.flash_attention(
                query,
                key[..., part, :],
                value[..., part, :],
                seen[..., part],
                block=block,
            )
            for part in (slice(s, s + block) for s in range(0, k, block))
        ]
    )


@tiles.mistake(
    "Each block has a softmax of its own, and the mean of their outputs is taken.",
    hint="A block of high scores has to count for more than a block of low ones.",
)
def mean_of_blocks(query, key, value, attn_mask=None, *, block):
    return each_block_alone(query, key, value, attn_mask, block).mean(axis=0)


@tiles.mistake(
    "Each block has a softmax of its own, and the blocks' outputs are added up.",
    hint="What do all weights of a query sum to?",
)
def sum_of_blocks(query, key, value, attn_mask=None, *, block):
    return each_block_alone(query, key, value, attn_mask, block).sum(axis=0)


@tiles.variant
def all_at_once_and_zeros(query, key, value, attn_mask=None, *, block):
    scores = np.einsum("...qd,...kd->...qk", query, key) / math.sqrt(key.shape[-1])
    seen = np.broadcast_to(True if attn_mask is None else attn_mask, scores.shape)
    scores = np.where(seen, scores, -np.inf)
    largest = scores.max(axis=-1, keepdims=True)
    exp = np.where(seen, np.exp(scores - finite(largest)), 0)
    total = exp.sum(axis=-1, keepdims=True)
    return exp / np.where(total == 0, 1, total) @ value


@tiles.variant
def query_by_query(query, key, value, attn_mask=None, *, block):
    k = key.shape[-2]
    shape = (*query.shape[:-1], k)
    seen = np.broadcast_to(True if attn_mask is None else attn_mask, shape)
    output = np.zeros((*query.shape[:-1], value.shape[-1]), value.dtype)
    for index in np.ndindex(query.shape[:-1]):
        largest, total, mean = -np.inf, 0.0, 0.0
        for j in np.flatnonzero(seen[index]):
            score = query[index] @ key[(*index[:-1], j)] / np.sqrt(key.shape[-1])
            new = max(largest, score)
            total = total * np.exp(largest - new) + np.exp(score - new)
            # a mean at every step, as in the first FlashAttention
            share = np.exp(score - new) / total
            mean = mean * (1 - share) + share * value[(*index[:-1], j)]
            largest = new
        output[index] = mean
    return output


@tiles.variant
def partial_results_joined(query, key, value, attn_mask=None, *, block):
    k = key.shape[-2]
    query = query * query.shape[-1] ** -0.5
    outputs, logs = [], []
    for start in range(0, k, block):
        part = slice(start, min(start + block, k))
        scores = query @ np.swapaxes(key[..., part, :], -2, -1)
        if attn_mask is not None:
            own = attn_mask if attn_mask.shape[-1] == 1 else attn_mask[..., part]
            scores = np.where(own, scores, -np.inf)
        largest = finite(scores.max(-1, keepdims=True))
        exp = np.exp(scores - largest)
        total = exp.sum(-1, keepdims=True)
        outputs.append(exp @ value[..., part, :] / np.where(total == 0, 1, total))
        with np.errstate(divide="ignore"):
            logs.append(largest + np.log(total))
    logs, outputs = np.stack(logs), np.stack(outputs)
    weights = np.exp(logs - finite(logs.max(axis=0)))
    total = weights.sum(axis=0)
    return (weights * outputs).sum(axis=0) / np.where(total == 0, 1, total)


@tiles.variant
def blocks_of_queries_too(query, key, value, attn_mask=None, *, block):
    shape = (*query.shape[:-1], key.shape[-2])
    if attn_mask is None:
        attn_mask = np.ones(shape, dtype=bool)
    attn_mask = np.broadcast_to(attn_mask, shape)
    rows = [
        flash.flash_attention(
            query[..., i : i + 2, :],
            key,
            value,
            attn_mask[..., i : i + 2, :],
            block=block,
        )
        for i in range(0, query.shape[-2], 2)
    ]
    return np.concatenate(rows, axis=-2)


@tiles.variant
def from_the_last_block_to_the_first(query, key, value, attn_mask=None, *, block):
    starts = [*range(0, key.shape[-2], block)][::-1]
    return tiles_family(
        query, key, value, attn_mask, block=block, starts=lambda k, block: starts
    )


@tiles.variant
def in_single_precision_attention(query, key, value, attn_mask=None, *, block):
    query, key, value = (x.astype(np.float32) for x in (query, key, value))
    return flash.flash_attention(query, key, value, attn_mask, block=block)


@tiles.variant
def with_a_column_of_ones(query, key, value, attn_mask=None, *, block):
    k = key.shape[-2]
    seen = np.broadcast_to(
        True if attn_mask is None else attn_mask, (*query.shape[:-1], k)
    )
    ones = np.ones((*value.shape[:-1], 1))
    value = np.concatenate([value, ones], axis=-1)  # its output is the sum
    largest = np.full((*query.shape[:-1], 1), -np.inf)
    output = np.zeros((*query.shape[:-1], value.shape[-1]))
    for start in range(0, k, block):
        part = slice(start, start + block)
        scores = query @ np.moveaxis(key[..., part, :], -1, -2) / key.shape[-1] ** 0.5
        scores[~seen[..., part]] = -np.inf
        new = np.maximum(largest, scores.max(-1, keepdims=True))
        output = output * np.exp(largest - finite(new))
        output = output + np.exp(scores - finite(new)) @ value[..., part, :]
        largest = new
    return output[..., :-1] / np.maximum(output[..., -1:], 1e-30)


@tiles.variant
def filled_up_and_hidden(query, key, value, attn_mask=None, *, block):
    k, more = key.shape[-2], -key.shape[-2] % block
    seen = np.broadcast_to(
        True if attn_mask is None else attn_mask, (*query.shape[:-1], k)
    )
    seen = np.concatenate([seen, np.zeros((*seen.shape[:-1], more), bool)], axis=-1)
    key, value = (
        np.concatenate([x, np.zeros((*x.shape[:-2], more, x.shape[-1]))], axis=-2)
        for x in (key, value)
    )
    return tiles_family(query, key, value, seen, block=block)


online.equivalent(
    "new = max(float(block.max()), largest)", why="the larger of two, in either order"
)
online.equivalent(
    "new = max(largest, block.max())", why="a NumPy number is a float, too"
)
online.equivalent(
    "total = total * math.exp(largest - new) + np.exp(block - new).sum()",
    why="a NumPy number is a float, too",
)
for line, why in (
    ("k_len = value.shape[-2]", "every key has a value"),
    ("query = query / math.sqrt(key.shape[-1])", "queries and keys have the same K"),
    (
        "attn_mask = np.broadcast_to(attn_mask, (*query.shape[:-1], k_len))",
        "that is the shape of the scores",
    ),
    ("total = -np.zeros_like(largest)", "minus 0 is 0"),
    (
        "output = -np.zeros((*query.shape[:-1], value.shape[-1]), query.dtype)",
        "minus 0 is 0",
    ),
    (
        "output = np.ones((*query.shape[:-1], value.shape[-1]), query.dtype)",
        "at the first block it is multiplied by exp(-inf) = 0",
    ),
    (
        "output = np.zeros((*query.shape[:-1], value.shape[-1]), key.dtype)",
        "queries, keys and values have the same type",
    ),
    (
        "output = np.zeros((*query.shape[:-1], value.shape[-1]), value.dtype)",
        "queries, keys and values have the same type",
    ),
    (
        "output = np.zeros((*query.shape[:-0], value.shape[-1]), query.dtype)",
        "the first block's output broadcasts it",
    ),
    (
        "new = np.maximum(scores.max(axis=-1, keepdims=True), largest)",
        "the larger of two, in either order",
    ),
    (
        "scores = query @ key[..., part, :].swapaxes(-2, -1)",
        "two axes change places, whichever is named first",
    ),
    (
        "shift = np.where(np.isneginf(new), 1, new)",
        "-inf minus any number is -inf",
    ),
    (
        "shift = np.where(np.isneginf(new), -1, new)",
        "-inf minus any number is -inf",
    ),
    ("return output / np.maximum(1, total)", "the larger of two, in either order"),
):
    tiles.equivalent(line, why=why)
