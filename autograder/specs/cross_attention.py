"""Chapter 9: cross-attention."""

import math
from functools import partial

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import cross_attention
from solutions.attention import softmax
from solutions.heads import multi_head_attention, split_heads
from solutions.masks import causal_mask, padding_mask

MASKS = ("source_mask", "target_mask", "memory_mask")
PAIRS = ("batch row", None, "query", "key")

seq2seq = Exercise(
    cross_attention.seq2seq_masks, points=3, parts=MASKS, axes=(PAIRS, PAIRS, PAIRS)
)


def some_tokens(rng, rows, length, *, pad_id, start=None, side="right"):
    """Rows of different lengths, the last one full; ids on both sides of pad_id."""
    others = [token for token in range(13) if token != pad_id]
    tokens = rng.choice(others, (rows, length))
    tokens[-1, 1 % length], tokens[-1, -1] = others[-1], others[0]
    lengths = rng.permutation(np.resize(np.arange(1, length), rows - 1))
    for row, real in enumerate(lengths):
        hidden = slice(real, None) if side == "right" else slice(length - real)
        tokens[row, hidden] = pad_id
    if start is not None:
        tokens[:, 0] = start
    return tokens


@seq2seq.probes
def _(rng):
    short, long = sorted(int(n) for n in rng.choice(range(4, 8), 2, replace=False))
    pad_id = int(rng.integers(3, 9))

    def batch(rows, s, t, *, pad_id, start, why, side="right"):
        source = some_tokens(rng, rows, s, pad_id=pad_id, side=side)
        target = some_tokens(rng, rows, t, pad_id=pad_id, start=start)
        return Probe(source, target, pad_id, why=why)

    yield batch(3, long, short, pad_id=0, start=1, why="a longer source")
    yield batch(3, short, long + 1, pad_id=0, start=1, why="a longer target")
    yield batch(
        2, short, long, pad_id=0, start=0, why="a start token with the id of padding"
    )
    yield batch(
        3, long, short, pad_id=pad_id, start=pad_id,
        why="a start token with the id of padding",
    )  # fmt: skip
    yield batch(3, long, short, pad_id=pad_id, start=2, why="a pad_id other than 0")
    yield batch(
        3,
        short,
        long,
        pad_id=0,
        start=1,
        side="left",
        why="a source padded on the left",
    )
    for rows in (4, 3):
        yield batch(
            rows, 4, 4, pad_id=pad_id, start=2, why="as many target as source tokens"
        )
    yield batch(2, long, 1, pad_id=0, start=0, why="a target of one token")


def about_a_key(query, key, token, pad_id):
    """Why a query of the target may see a key, or may not."""
    if key > query:
        return "that key is in the query's future"
    if key == 0:
        return "position 0 of the target is real, whatever its id is"
    if token == pad_id:
        return "that key is padding"
    where = "the query itself" if key == query else "in the query's past"
    return f"that key is {where}, and no padding"


def about_a_token(token, pad_id):
    return f"that token is {'padding' if token == pad_id else 'no padding'}"


@seq2seq.law
def who_may_look(answer, source, target_input, pad_id):
    expected = cross_attention.seq2seq_masks(source, target_input, pad_id)
    for name, got, wanted in zip(MASKS, answer, expected, strict=True):
        if got.shape != wanted.shape or got.dtype != bool:
            return None  # that is to be told first
        for index in np.argwhere(got != wanted):
            row, _, query, key = index
            who, reason = f"source token {key}", about_a_token(source[row, key], pad_id)
            if name == "target_mask":
                who = f"query {query}, key {key}"
                reason = about_a_key(query, key, target_input[row, key], pad_id)
            return (
                f"In `{name}`: at batch row {row}, {who} the mask is "
                f"{got[*index]}, not {wanted[*index]}; {reason}."
            )
    return None


@seq2seq.family
def masks_family(
    source, target_input, pad_id, *, real=np.not_equal, start=True, causal=True,
    diagonal=0, past=True, padded=True, encoder_causal=False, memory=None,
    queries=False,
):  # fmt: skip
    def real_tokens(tokens):
        return real(tokens, pad_id)[:, None, None, :]

    source_mask = source_real = real_tokens(source)
    target_real = real_tokens(target_input)
    if start:
        target_real[..., 0] = real(0, 1)
    seq_len, source_len = target_input.shape[1], source.shape[1]
    triangle = np.tri(seq_len, k=diagonal, dtype=bool)
    if not past:
        triangle = triangle.T
    if encoder_causal:
        source_mask = source_mask & causal_mask(source_len, source_len)
    keys = target_real.swapaxes(2, 3) if queries else target_real
    target_mask = (keys | (not padded)) & (triangle | (not causal))
    memory_mask = source_real
    if memory is not None:
        memory_mask = memory(source_real, target_real, target_mask)
    if queries:
        source_mask = source_mask.swapaxes(2, 3)
        memory_mask = memory_mask.swapaxes(2, 3)
    return source_mask, target_mask, memory_mask


seq2seq.mistake(
    "The start token is treated like the others: where it has the id of padding, it is "
    "hidden, and query 0 sees nothing.",
    hint="Which token of the target is never padding, wherever a sentence ends?",
    start=False,
)


@seq2seq.mistake(
    "Not position 0 of the target is real, but every token that has the id of the "
    "start token.",
    hint="If a model starts with the id of padding, what does that say of the padding "
    "at the end?",
)
def like_the_start(source, target_input, pad_id):
    source_mask, target_mask, memory_mask = masks_family(source, target_input, pad_id)
    seq_len = target_input.shape[1]
    real = (target_input != pad_id) | (target_input == target_input[:, :1])
    target_mask = causal_mask(seq_len, seq_len) & real[:, None, None, :]
    return source_mask, target_mask, memory_mask


@seq2seq.mistake(
    "Row 0 of the target mask is True throughout; it is column 0 that belongs to the "
    "start token.",
    hint="Rows are queries and columns are keys. Who should be seen?",
)
def start_row(source, target_input, pad_id):
    source_mask, target_mask, memory_mask = masks_family(
        source, target_input, pad_id, start=False
    )
    target_mask[..., 0, :] = True
    return source_mask, target_mask, memory_mask


@seq2seq.mistake(
    "Only query 0 sees the start token if that has the id of padding; the later ones "
    "do not.",
    hint="The start token is in the past of every query.",
)
def start_cell(source, target_input, pad_id):
    source_mask, target_mask, memory_mask = masks_family(
        source, target_input, pad_id, start=False
    )
    target_mask[..., 0, 0] = True
    return source_mask, target_mask, memory_mask


seq2seq.mistake(
    "The memory mask is made of the target's tokens.",
    hint="Whose tokens are the keys in cross-attention?",
    seen="keras-team/keras-io#1964",
    memory=lambda source, target, target_mask: target,
)
seq2seq.mistake(
    "The memory mask is the target mask.",
    hint="Whose tokens are the keys in cross-attention? How many are there?",
    seen="keras-team/keras-io#1046",
    memory=lambda source, target, target_mask: target_mask,
)
seq2seq.mistake(
    "The memory mask is causal: target token t sees source tokens 0 to t only.",
    hint="The source is known from its first token to its last before anything is "
    "written. Which word of it may the first target token not see?",
    memory=lambda source, target, target_mask: (
        source & np.tri(target_mask.shape[-1], source.shape[-1], dtype=bool)
    ),
)
seq2seq.mistake(
    "Source and target are joined in the memory mask: a key is hidden too where the "
    "target has padding at the same place.",
    hint="Token 2 of the source and token 2 of the target have nothing to do with each "
    "other. Which of the two are keys in cross-attention?",
    memory=lambda source, target, target_mask: source & target,
)
seq2seq.mistake(
    "The memory mask also hides queries: those where the target has padding.",
    hint="A query that is padding does no harm, and a row without any True has no "
    "softmax.",
    memory=lambda source, target, target_mask: source & target.swapaxes(2, 3),
)
seq2seq.mistake(
    "The memory mask hides queries, those where the target has padding, and the "
    "source's padding is seen.",
    hint="Whose tokens are the keys in cross-attention, and on which axis do keys lie?",
    memory=lambda source, target, target_mask: target.swapaxes(2, 3),
)
seq2seq.mistake(
    "The memory mask hides nothing.",
    hint="The encoder gives a vector for every source token, padding too. Who keeps "
    "the decoder from reading that?",
    seen="huggingface/transformers#23179",
    memory=lambda source, target, target_mask: np.ones_like(source),
)
seq2seq.mistake(
    "The encoder's mask is causal.",
    hint="The encoder predicts nothing: it may read the source from both sides.",
    encoder_causal=True,
)
seq2seq.mistake(
    "The target mask is not causal: every query sees the future.",
    hint="Change the last token of the target: would the output for the first move?",
    causal=False,
)
seq2seq.mistake(
    "The target's triangle is turned over: every query sees the future, not the past.",
    hint="Print the first row of a target without padding: True, False, False, ...",
    past=False,
)
seq2seq.mistake(
    "The target's padding is not hidden: its mask is only causal.",
    hint="Which keys may the last query of a short target see?",
    padded=False,
)
seq2seq.mistake(
    "In the target mask every query also sees the token right after its own.",
    hint="That is the very token it has to predict.",
    diagonal=1,
)
seq2seq.mistake(
    "In the target mask no query sees its own position.",
    hint="What does query 0 look at, if not at itself?",
    diagonal=-1,
)
seq2seq.mistake(
    "Padding hides queries, not keys.",
    hint="Scores have shape (B, H, L, S). Which of these axes are the keys?",
    queries=True,
)
seq2seq.mistake(
    "Padding is inverted: only padding is seen.",
    hint="In this course True means may attend. PyTorch's ..._key_padding_mask means "
    "the opposite.",
    real=np.equal,
)
seq2seq.mistake(
    "Tokens with ids below `pad_id` are hidden too.",
    hint="Only equality with pad_id makes a token padding. A word that the vocabulary "
    "does not have is <unk>, and that is a token like any other.",
    real=np.greater,
)


@seq2seq.mistake(
    "`pad_id` is not used: token 0 counts as padding, whatever `pad_id` is.",
    hint="In many vocabularies 0 is a real token.",
)
def zero_is_padding(source, target_input, pad_id):
    return masks_family(source, target_input, 0)


@seq2seq.mistake(
    "Position 0 of the source counts as real, too.",
    hint="Only the target begins with a start token.",
)
def source_start(source, target_input, pad_id):
    source_mask, target_mask, _ = masks_family(source, target_input, pad_id)
    source_mask[..., 0] = True
    return source_mask, target_mask, source_mask


@seq2seq.mistake(
    "The axes for heads and queries are missing in the masks of the source.",
    hint="A mask has to broadcast against scores of shape (B, H, L, S): which axis "
    "would your B meet?",
)
def two_axes(source, target_input, pad_id):
    _, target_mask, _ = masks_family(source, target_input, pad_id)
    return source != pad_id, target_mask, source != pad_id


@seq2seq.mistake(
    "The axis for the heads is missing: the batch would meet the heads.",
    hint="NumPy lines shapes up from the right. Write (B, 1, S) under (B, H, L, S).",
)
def three_axes(source, target_input, pad_id):
    return tuple(mask[:, 0] for mask in masks_family(source, target_input, pad_id))


@seq2seq.mistake(
    "The target mask has one row for all queries: there is no triangle in it.",
    hint="Change the last token of the target: would the output for the first move?",
)
def no_triangle(source, target_input, pad_id):
    source_mask, target_mask, memory_mask = masks_family(source, target_input, pad_id)
    return source_mask, target_mask[:, :, -1:], memory_mask


@seq2seq.mistake(
    "The target mask has one column: it hides queries that are padding, and no key.",
    hint="A mask says for each query which keys it may see: how many columns is that?",
)
def one_column(source, target_input, pad_id):
    source_mask, _, memory_mask = masks_family(source, target_input, pad_id)
    return source_mask, (target_input != pad_id)[:, None, :, None], memory_mask


@seq2seq.mistake(
    "The target mask is the triangle alone, without the batch and the head axis.",
    hint="Targets of different lengths need different masks.",
)
def triangle_alone(source, target_input, pad_id):
    source_mask, _, memory_mask = masks_family(source, target_input, pad_id)
    return source_mask, np.tri(target_input.shape[1], dtype=bool), memory_mask


@seq2seq.mistake(
    "The source's real tokens are counted, and then the first ones are taken: that is "
    "right only when the padding is on the right.",
    hint="Where does padding stand in a source that is padded on the left?",
)
def first_ones(source, target_input, pad_id):
    _, target_mask, _ = masks_family(source, target_input, pad_id)
    lengths = (source != pad_id).sum(axis=1, keepdims=True)
    real = (np.arange(source.shape[1]) < lengths)[:, None, None, :]
    return real, target_mask, real


@seq2seq.mistake(
    "The masks come in another order: source, memory, target.",
    hint="The task names the order.",
)
def another_order(source, target_input, pad_id):
    source_mask, target_mask, memory_mask = masks_family(source, target_input, pad_id)
    return source_mask, memory_mask, target_mask


@seq2seq.mistake(
    "The masks come in another order: target, source, memory.",
    hint="The task names the order.",
)
def target_first(source, target_input, pad_id):
    source_mask, target_mask, memory_mask = masks_family(source, target_input, pad_id)
    return target_mask, source_mask, memory_mask


@seq2seq.variant
def by_comparison(source, target_input, pad_id):
    length = target_input.shape[1]
    past = np.arange(length) <= np.arange(length)[:, None]
    real = (target_input != pad_id) | (np.arange(length) == 0)
    hidden = np.equal(source, pad_id)[:, None, None, :]
    return ~hidden, (past & real[:, None, :])[:, None], ~hidden


@seq2seq.variant
def cell_by_cell(source, target_input, pad_id):
    batch, length = target_input.shape
    target_mask = np.zeros((batch, 1, length, length), dtype=bool)
    for row in range(batch):
        for query in range(length):
            for key in range(query + 1):
                real = key == 0 or target_input[row, key] != pad_id
                target_mask[row, 0, query, key] = real
    keys = np.array([[[[token != pad_id for token in row]]] for row in source])
    return keys, target_mask, keys.copy()


@seq2seq.variant
def column_last(source, target_input, pad_id):
    length = target_input.shape[1]
    past = np.tril(np.ones((len(source), 1, length, length), dtype=bool))
    target_mask = np.where(target_input[:, None, None, :] == pad_id, False, past)
    target_mask[:, :, :, 0] = True
    source_mask = np.expand_dims(source != pad_id, (1, 2))
    return source_mask, target_mask, source_mask


@seq2seq.variant
def another_start(source, target_input, pad_id):
    """Put an id in the start token's place that is no padding."""
    begun = np.concatenate(
        [np.full((len(target_input), 1), pad_id + 1), target_input[:, 1:]], axis=1
    )
    seq_len = begun.shape[1]
    target_mask = padding_mask(begun, pad_id) * causal_mask(seq_len, seq_len)
    return padding_mask(source, pad_id), target_mask, padding_mask(source, pad_id)


for line in (
    "source_mask = padding_mask(pad_id, source)",
    "real = padding_mask(pad_id, target_input)",
    "target_mask = combine_masks(real, causal_mask(seq_len, seq_len))",
):
    seq2seq.equivalent(
        line,
        why="the order of an inequality, or of a conjunction, does not matter",
    )


weights = Exercise(
    cross_attention.cross_attention_weights,
    points=3,
    axes=("batch row", "head", "target token", "source token"),
)


def some_mask(rng, *shape):
    """A mask that hides something in every row, and leaves at least two keys."""
    rank = rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)
    return rank < rng.integers(2, shape[-1], (*shape[:-1], 1))


@weights.probes
def _(rng):
    def some(b, h, n_target, n_source, d_head, *mask_shape, kind=float):
        d_model = h * d_head
        x = rng.normal(size=(b, n_target, d_model)).astype(kind)
        memory = rng.normal(size=(b, n_source, d_model)).astype(kind)
        w_q, w_k = (rng.normal(size=(2, d_model, d_model)) / d_head**0.5).astype(kind)
        attn_mask = some_mask(rng, *mask_shape)
        return (x, memory, w_q, w_k), {"n_heads": h, "memory_mask": attn_mask}

    def probe(sizes, mask_shape, why, **how):
        args, named = some(*sizes, *mask_shape, **how)
        return Probe(*args, **named, why=why)

    padded = "a padded source"
    yield probe((2, 3, 4, 6, 5), (2, 1, 1, 6), padded)
    yield probe((3, 2, 6, 5, 4), (3, 1, 1, 5), padded)
    yield probe((3, 3, 3, 3, 3), (3, 1, 1, 3), "as many target as source tokens")
    yield probe((2, 4, 5, 3, 2), (5, 3), "a mask that differs from query to query")
    yield probe((2, 3, 4, 4, 2), (2, 3, 4, 4), "a mask that differs from head to head")
    yield probe((2, 1, 3, 5, 6), (2, 1, 1, 5), "one head")
    yield probe((2, 3, 5, 4, 2), (2, 1, 1, 4), "float32", kind=np.float32)
    args, named = some(3, 2, 4, 7, 5, 1, 7)
    named["memory_mask"] = np.ones((1, 1), dtype=bool)
    yield Probe(*args, **named, why="a mask that hides nothing")
    yield large(rng)


def large(rng):
    """Scores far beyond what exp can take, yet exact in single precision.

    Most are so low that a finite number for hidden keys would win; the hidden keys'
    own scores are higher than those of the visible ones.
    """
    b, h, n_target, n_source, d_head = 2, 2, 3, 5, 4
    d_model = h * d_head
    attn_mask = some_mask(rng, b, 1, 1, n_source)
    x = rng.integers(1, 4, (b, n_target, d_model)) * 2.0**15
    x[:, 0] *= -1
    memory = -rng.integers(2, 4, (b, n_source, d_model)) * 2.0**15
    memory[~attn_mask[:, 0, 0]] /= 2
    w_q, w_k = np.eye(d_model)[rng.permutation(d_model)], np.eye(d_model)
    return Probe(
        x, memory, w_q, w_k, n_heads=h, memory_mask=attn_mask, why="large scores"
    )


@weights.law
def no_hidden_key_has_a_weight(answer, x, memory, w_q, w_k, *, n_heads, memory_mask):
    shape = (len(x), n_heads, x.shape[1], memory.shape[1])
    if answer.shape != shape:
        return None
    hidden = ~np.broadcast_to(memory_mask, shape)
    for row, head, query, key in np.argwhere(hidden & ~np.isclose(answer, 0)):
        return (
            f"At batch row {row}, head {head}, target token {query} gives source token "
            f"{key} a weight of {answer[row, head, query, key]:.4g}; the mask hides it."
        )
    return None


@weights.law
def rows_sum_to_one(answer, x, memory, w_q, w_k, *, n_heads, memory_mask):
    if answer.shape != (len(x), n_heads, x.shape[1], memory.shape[1]):
        return None
    sums = answer.sum(axis=-1)
    for row, head, query in np.argwhere(~np.isclose(sums, 1, atol=1e-4)):
        return (
            f"At batch row {row}, head {head}, the weights of target token {query} sum "
            f"to {sums[row, head, query]:.4g}, not to 1."
        )
    return None


@weights.law
def scores_are_a_multiple(answer, x, memory, w_q, w_k, *, n_heads, memory_mask):
    """Of weights that are right but for a factor of the scores, this is the factor."""
    expected = weights_family(
        x, memory, w_q, w_k, n_heads=n_heads, memory_mask=memory_mask
    )
    seen = np.broadcast_to(memory_mask, expected.shape)
    if answer.shape != expected.shape or not (answer[seen] > 0).all():
        return None

    def from_the_mean(weights):
        logs = np.log(weights, where=seen, out=np.zeros(weights.shape))
        mean = logs.sum(-1, keepdims=True) / seen.sum(-1, keepdims=True)
        return ((logs - mean) * seen).ravel()

    got, wanted = from_the_mean(answer), from_the_mean(expected)
    factor = got @ wanted / (wanted @ wanted)
    if not np.allclose(got, factor * wanted, rtol=1e-3, atol=1e-3):
        return None
    return f"The scores behind these weights are {factor:.4g} times the right ones."


def before(scores, attn_mask, axis):
    return softmax(np.where(attn_mask, scores, -np.inf), axis)


def filled(scores, attn_mask, axis, *, value):
    return softmax(np.where(attn_mask, scores, value), axis)


@weights.family
def weights_family(
    x, memory, w_q, w_k, *, n_heads, memory_mask, axis=-1, split=split_heads,
    scale=lambda d_head, d_model: math.sqrt(d_head), weigh=before,
    project=np.matmul, roles=lambda x, memory: (x, memory), causal=False,
):  # fmt: skip
    asks, answers = roles(x, memory)
    query = split(project(asks, w_q), n_heads)
    key = split(project(answers, w_k), n_heads)
    scores = query @ key.swapaxes(-1, -2) / scale(query.shape[-1], x.shape[-1])
    if causal:
        memory_mask = memory_mask & np.tri(*scores.shape[-2:], dtype=bool)
    return weigh(scores, memory_mask, axis)


weights.mistake(
    "The scores are not scaled.",
    hint="Chapter 5 divides them before the softmax. By what?",
    scale=lambda d_head, d_model: 1,
)
weights.mistake(
    "The scores are divided by the square root of D, not by that of K.",
    hint="How many products does one score add up?",
    seen="aladdinpersson/Machine-Learning-Collection#65",
    scale=lambda d_head, d_model: math.sqrt(d_model),
)
weights.mistake(
    "The scores are divided by K, not by its square root.",
    hint="If the products have variance 1, what is the variance of a sum of K of them?",
    scale=lambda d_head, d_model: d_head,
)
weights.mistake(
    "The softmax is over the queries: for each source token the weights of all target "
    "tokens sum to 1.",
    hint="Whose attention is shared out: that of the one who looks, or of what is "
    "looked at?",
    axis=-2,
)
weights.mistake(
    "The softmax is over the heads.",
    hint="Each head shares out its own attention among the source tokens.",
    axis=1,
)
weights.mistake(
    "`memory_mask` is not used: padding of the source gets its share.",
    hint="What is the weight of a hidden key?",
    seen="huggingface/transformers#23179",
    weigh=lambda scores, attn_mask, axis: softmax(scores, axis),
)
weights.mistake(
    "The mask is inverted: only hidden keys get weight.",
    hint="In this course True means may attend.",
    weigh=lambda scores, attn_mask, axis: before(scores, ~attn_mask, axis),
)
weights.mistake(
    "The mask comes after the softmax: the rows do not sum to 1.",
    hint="What a hidden key gives up should go to the others.",
    seen="huggingface/pytorch-image-models#2236",
    weigh=lambda scores, attn_mask, axis: softmax(scores, axis) * attn_mask,
)
weights.mistake(
    "A hidden key has the score 0, which is a score like any other.",
    hint="What is exp(0)?",
    weigh=partial(filled, value=0.0),
)
weights.mistake(
    "A hidden key has a finite score: where the visible ones are lower still, it wins.",
    hint="Which score loses against every other one?",
    weigh=partial(filled, value=-1e9),
)
weights.mistake(
    "The scores are lowered where the mask is True: it is read as a mask that hides.",
    hint="In this course True means may attend. What does True times -1e9 do?",
    weigh=lambda scores, attn_mask, axis: softmax(scores - 1e9 * attn_mask, axis),
)
weights.mistake(
    "These are the scores: the softmax is missing.",
    hint="Weights are not negative, and those of one target token sum to 1.",
    weigh=lambda scores, attn_mask, axis: np.where(attn_mask, scores, -np.inf),
)
weights.mistake(
    "The mask is causal as well: target token t sees source tokens 0 to t only.",
    hint="The whole source is known before the first word is written.",
    causal=True,
)
weights.mistake(
    "The queries are made of `memory` and the keys of `x`: the source looks at the "
    "target.",
    hint="Who looks in cross-attention, and at whom? The shape tells: one row for each "
    "target token.",
    seen="humza909/LLM_Survey#2",
    roles=lambda x, memory: (memory, x),
)
weights.mistake(
    "Queries and keys are both made of `x`: this is self-attention.",
    hint="Whose tokens does the target look at?",
    roles=lambda x, memory: (x, x),
)
weights.mistake(
    "Queries and keys are both made of `memory`: the target does not occur.",
    hint="Who is it that looks?",
    roles=lambda x, memory: (memory, memory),
)
weights.mistake(
    "`w_q` and `w_k` are not used.",
    hint="A token is projected before it asks or is asked.",
    project=lambda tokens, projection: tokens,
)
weights.mistake(
    "The projections are transposed: it is x @ w.T.",
    hint="nn.Linear keeps its weight as (out, in); here weights multiply from the "
    "right, (in, out).",
    project=lambda tokens, projection: tokens @ projection.T,
)
weights.mistake(
    "The heads are cut through the tokens: a head mixes parts of several tokens.",
    hint="Head 0 of token 0 has the first K numbers of token 0. A reshape keeps the "
    "order of the numbers; chapter 8.",
    split=lambda x, n_heads: x.reshape(len(x), n_heads, x.shape[1], -1),
)
weights.mistake(
    "The heads take every H-th column, not K columns side by side.",
    hint="Head 0 has columns 0 to K - 1. split_heads of chapter 8 is given.",
    split=lambda x, n_heads: x.reshape(*x.shape[:2], -1, n_heads).transpose(0, 3, 1, 2),
)


@weights.mistake(
    "The queries are made with `w_k` and the keys with `w_q`.",
    hint="Which of the two belongs to x?",
)
def swapped(x, memory, w_q, w_k, **named):
    return weights_family(x, memory, w_k, w_q, **named)


@weights.mistake(
    "There is one head, as wide as the model.",
    hint="What does n_heads change?",
)
def one_head(*args, n_heads, memory_mask):
    return weights_family(*args, n_heads=1, memory_mask=memory_mask)


@weights.mistake(
    "The weights are averaged over the heads.",
    hint="Each head has a map of its own. (nn.MultiheadAttention averages unless you "
    "say average_attn_weights=False.)",
)
def averaged(*args, **named):
    return weights_family(*args, **named).mean(axis=1)


@weights.mistake(
    "Scores are added up over the heads before the softmax.",
    hint="Each head makes its own softmax.",
)
def added_up(x, memory, w_q, w_k, *, n_heads, memory_mask):
    query, key = split_heads(x @ w_q, n_heads), split_heads(memory @ w_k, n_heads)
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    return before(scores.sum(axis=1, keepdims=True), memory_mask, -1)


@weights.variant
def by_einsum(x, memory, w_q, w_k, *, n_heads, memory_mask):
    batch, n_target, d_model = x.shape
    d_head = d_model // n_heads
    query = (x @ w_q).reshape(batch, n_target, n_heads, d_head)
    key = (memory @ w_k).reshape(batch, -1, n_heads, d_head)
    scores = np.einsum("blhk,bshk->bhls", query, key) * d_head**-0.5
    hidden = ~np.broadcast_to(memory_mask, scores.shape)
    scores[hidden] = -np.inf
    exp = np.exp(scores - scores.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


@weights.variant
def head_by_head(x, memory, w_q, w_k, *, n_heads, memory_mask):
    d_head = x.shape[-1] // n_heads
    shape = (len(x), n_heads, x.shape[1], memory.shape[1])
    seen = np.broadcast_to(memory_mask, shape)
    answer = np.zeros(shape)
    for row in range(shape[0]):
        for head in range(n_heads):
            part = slice(head * d_head, (head + 1) * d_head)
            query, key = x[row] @ w_q[:, part], memory[row] @ w_k[:, part]
            for t in range(shape[2]):
                keys = np.flatnonzero(seen[row, head, t])
                scores = np.array([query[t] @ key[s] for s in keys]) / np.sqrt(d_head)
                exp = np.exp(scores - scores.max())
                answer[row, head, t, keys] = exp / exp.sum()
    return answer


@weights.variant
def scaled_first(x, memory, w_q, w_k, *, n_heads, memory_mask):
    query = split_heads(x @ w_q, n_heads)
    query = query / np.sqrt(query.shape[-1])
    key = np.transpose(split_heads(memory @ w_k, n_heads), (0, 1, 3, 2))
    scores = np.matmul(query, key)
    return softmax(scores + np.where(memory_mask, 0, -np.inf))


@weights.variant
def with_the_lowest_number(x, memory, w_q, w_k, *, n_heads, memory_mask):
    """Single precision, and a finite number that no score can reach."""
    x, memory = x.astype(np.float32), memory.astype(np.float32)
    w_q, w_k = w_q.astype(np.float32), w_k.astype(np.float32)
    query, key = split_heads(x @ w_q, n_heads), split_heads(memory @ w_k, n_heads)
    scores = query @ key.swapaxes(2, 3) / np.float32(np.sqrt(query.shape[-1]))
    return softmax(np.where(memory_mask, scores, np.finfo(np.float32).min))


@weights.variant
def through_one_matrix(x, memory, w_q, w_k, *, n_heads, memory_mask):
    """Each head asks with one matrix of its own: w_q times w_k, transposed."""
    d_model = x.shape[-1]
    parts = (w.reshape(d_model, n_heads, -1) for w in (w_q, w_k))
    bilinear = np.einsum("ihk,jhk->hij", *parts) / math.sqrt(d_model / n_heads)
    scores = x[:, None] @ bilinear @ memory[:, None].swapaxes(-1, -2)
    return softmax(np.where(memory_mask, scores, -np.inf))


decoder = Exercise(
    cross_attention.decoder_attention,
    points=3,
    axes=("batch row", "target token", "column"),
)


@decoder.probes
def _(rng):
    def some(b, h, n_target, n_source, d_head, why, *, masks=None, kind: type = float):
        d_model = h * d_head

        def normal(*shape):
            return rng.normal(size=shape).astype(kind)

        def projections():
            return tuple(normal(4, d_model, d_model) / kind(d_model**0.5))

        keys = some_mask(rng, b, 1, 1, n_target)
        keys[..., 0] = True
        target_mask, memory_mask = masks or (
            keys & causal_mask(n_target, n_target),
            some_mask(rng, b, 1, 1, n_source),
        )
        return Probe(
            normal(b, n_target, d_model),
            normal(b, n_source, d_model),
            projections(),
            projections(),
            n_heads=h,
            target_mask=target_mask,
            memory_mask=memory_mask,
            why=why,
        )

    yield some(2, 3, 4, 6, 5, "a source that is longer")
    yield some(3, 2, 6, 5, 4, "a target that is longer")
    yield some(3, 3, 3, 3, 3, "as many target as source tokens")
    yield some(2, 2, 5, 5, 3, "as many target as source tokens")
    yield some(2, 1, 5, 3, 4, "one head")
    nothing = np.ones((1, 1), dtype=bool)
    yield some(2, 4, 3, 5, 2, "masks that hide nothing", masks=(nothing, nothing))
    yield some(2, 3, 5, 4, 2, "float32", kind=np.float32)


@decoder.law
def share_of_each(
    answer, x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    if answer.shape != x.shape:
        return None
    attend = partial(multi_head_attention, n_heads=n_heads)
    of_self = attend(x, x, *self_weights, attn_mask=target_mask)
    of_source = attend(x + of_self, memory, *cross_weights, attn_mask=memory_mask)
    parts = np.stack([x.ravel(), of_self.ravel(), of_source.ravel()], axis=1)
    shares, *_ = np.linalg.lstsq(parts, answer.ravel())
    if not np.allclose(parts @ shares, answer.ravel(), atol=1e-4):
        return None
    if np.allclose(shares, 1, rtol=1e-3):
        return None
    a, b, c = (f"{round(float(share), 4) + 0.0:g}" for share in shares)
    return (
        f"It is {a} times `x`, plus {b} times what self-attention finds, plus {c} "
        "times what cross-attention finds; each should be there once."
    )


def add(x, found):
    return x + found


def alone(x, found):
    return found


def normalised(x):
    """A layer norm without weights."""
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


EVERYTHING = np.ones((1, 1), dtype=bool)


@decoder.family
def decoder_family(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask,
    own=lambda x, memory: x, first=add, asks=lambda x, found, summed: summed,
    looked_at=lambda x, memory: memory, keeps=lambda x, summed, memory: summed,
    second=add, before_each=lambda x: x, after_each=lambda x: x,
    order=lambda q, k, v, o: (q, k, v, o), heads=lambda n_heads: n_heads,
    own_mask=lambda target, memory: target, cross_mask=lambda target, memory: memory,
    matrices=lambda own, cross: (own, cross),
):  # fmt: skip
    def attend(asks, keys, weights, attn_mask):
        return multi_head_attention(
            asks, keys, *order(*weights), n_heads=heads(n_heads), attn_mask=attn_mask
        )

    self_weights, cross_weights = matrices(self_weights, cross_weights)
    normed = before_each(x)
    found = attend(
        normed, own(normed, memory), self_weights, own_mask(target_mask, memory_mask)
    )
    summed = after_each(first(x, found))
    query = asks(x, found, before_each(summed))
    looked = attend(
        query,
        looked_at(query, memory),
        cross_weights,
        cross_mask(target_mask, memory_mask),
    )
    return after_each(second(keeps(x, summed, memory), looked))


decoder.mistake(
    "What self-attention finds takes the place of `x`; it should be added to it.",
    hint="A residual connection: what was there stays.",
    first=alone,
)
decoder.mistake(
    "What cross-attention finds takes the place of what was there; it should be added.",
    hint="How does the output still know the target's own tokens?",
    seen="lucidrains/audiolm-pytorch#150",
    second=alone,
)


@decoder.mistake(
    "Neither attention adds to what was there: both replace it.",
    hint="Around each of the two there is a residual connection.",
)
def no_residual(*args, **named):
    return decoder_family(*args, first=alone, second=alone, **named)


decoder.mistake(
    "What self-attention finds is added to itself, not to `x`.",
    hint="Keep what was there under a name of its own until it has been added.",
    seen="kyegomez/BitNet#32",
    first=lambda x, found: found + found,
)
decoder.mistake(
    "The two attentions stand side by side: cross-attention asks with the layer's "
    "input, not with the first sum.",
    hint="What has the target learnt about itself when it asks the source?",
    asks=lambda x, found, summed: x,
)
decoder.mistake(
    "Cross-attention asks with what self-attention found alone, without `x`.",
    hint="The second attention reads the first sum.",
    seen="ml-explore/mlx#3382",
    asks=lambda x, found, summed: found,
)
decoder.mistake(
    "What self-attention finds only helps to ask the source: in the end `x` and what "
    "cross-attention finds are added.",
    hint="The second sum adds to the first one, not to the layer's input.",
    keeps=lambda x, summed, memory: x,
)
decoder.mistake(
    "In the second sum stands `memory` in the place of what the decoder had.",
    hint="What was there before cross-attention is the decoder's own.",
    keeps=lambda x, summed, memory: memory,
)
decoder.mistake(
    "Self-attention looks at `memory`.",
    hint="In self-attention, queries, keys and values come from the same place.",
    own=lambda x, memory: memory,
)
decoder.mistake(
    "The second attention looks at the target again: `memory` does not occur.",
    hint="Whose are the keys and values in cross-attention?",
    looked_at=lambda x, memory: x,
)
decoder.mistake(
    "Both sums are normalised.",
    hint="The layer's norms are left out here. Compare the sizes of the numbers.",
    after_each=normalised,
)
decoder.mistake(
    "What goes into each attention is normalised.",
    hint="The layer's norms are left out here.",
    before_each=normalised,
)
decoder.mistake(
    "The first and the second matrix of each four have changed places: queries are "
    "made with `w_k`.",
    hint="In which order does the task name them?",
    order=lambda q, k, v, o: (k, q, v, o),
)
decoder.mistake(
    "The second and the third matrix of each four have changed places: values are made "
    "with `w_k`.",
    hint="In which order does the task name them?",
    order=lambda q, k, v, o: (q, v, k, o),
)
decoder.mistake(
    "The projections are transposed: it is x @ w.T.",
    hint="nn.Linear keeps its weight as (out, in); here weights multiply from the "
    "right, (in, out).",
    order=lambda q, k, v, o: (q.T, k.T, v.T, o.T),
)
decoder.mistake(
    "There is one head, as wide as the model.",
    hint="What does n_heads change?",
    heads=lambda n_heads: 1,
)
decoder.mistake(
    "`self_weights` and `cross_weights` have changed places.",
    hint="Which four belong to which attention?",
    matrices=lambda own, cross: (cross, own),
)
decoder.mistake(
    "Both attentions use `self_weights`.",
    hint="Each of the two has weights of its own.",
    matrices=lambda own, cross: (own, own),
)
decoder.mistake(
    "`target_mask` is not used: every target token sees the future.",
    hint="Change the last target token: does the first output move?",
    own_mask=lambda target, memory: EVERYTHING,
)
decoder.mistake(
    "`memory_mask` is not used: padding of the source is read.",
    hint="Change what stands in a padded place of `memory`: does an output move?",
    seen="huggingface/transformers#23179",
    cross_mask=lambda target, memory: EVERYTHING,
)
decoder.mistake(
    "Cross-attention gets `target_mask`.",
    hint="Whose tokens are its keys?",
    seen="keras-team/keras-io#1046",
    cross_mask=lambda target, memory: target,
)
decoder.mistake(
    "Self-attention gets `memory_mask`.",
    hint="Whose tokens are its keys?",
    own_mask=lambda target, memory: memory,
)


@decoder.mistake(
    "`target_mask` and `memory_mask` have changed places.",
    hint="The keys of self-attention are the target's, those of cross-attention the "
    "source's.",
)
def masks_swapped(*args, target_mask, memory_mask, **named):
    return decoder_family(
        *args, target_mask=memory_mask, memory_mask=target_mask, **named
    )


@decoder.mistake(
    "Both attentions get both masks, joined.",
    hint="Each attention has keys of its own, and a mask for them.",
)
def masks_joined(*args, target_mask, memory_mask, **named):
    joined = target_mask & memory_mask
    return decoder_family(*args, target_mask=joined, memory_mask=joined, **named)


@decoder.mistake(
    "The masks are inverted.",
    hint="In this course True means may attend.",
)
def inverted(*args, target_mask, memory_mask, **named):
    return decoder_family(
        *args, target_mask=~target_mask, memory_mask=~memory_mask, **named
    )


@decoder.mistake(
    "In cross-attention `memory` asks and the target answers.",
    hint="Who looks, and at whom? The queries are the target's.",
    seen="humza909/LLM_Survey#2",
)
def memory_asks(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    attend = partial(multi_head_attention, n_heads=n_heads)
    x = x + attend(x, x, *self_weights, attn_mask=target_mask)
    return x + attend(memory, x, *cross_weights, attn_mask=memory_mask)


@decoder.mistake(
    "Cross-attention comes first, then self-attention.",
    hint="A decoder layer looks at what it has written; then it asks the source.",
)
def cross_first(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    attend = partial(multi_head_attention, n_heads=n_heads)
    x = x + attend(x, memory, *cross_weights, attn_mask=memory_mask)
    return x + attend(x, x, *self_weights, attn_mask=target_mask)


@decoder.mistake(
    "Cross-attention is missing.",
    hint="Does the output change when the source does?",
)
def self_only(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    return x + multi_head_attention(
        x, x, *self_weights, n_heads=n_heads, attn_mask=target_mask
    )


@decoder.mistake(
    "Self-attention is missing.",
    hint="Does an output change when an earlier target token does?",
)
def cross_only(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    return x + multi_head_attention(
        x, memory, *cross_weights, n_heads=n_heads, attn_mask=memory_mask
    )


@decoder.variant
def step_by_step(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    w_q, w_k, w_v, w_o = self_weights
    own = multi_head_attention(
        x, x, w_q, w_k, w_v, w_o, n_heads=n_heads, attn_mask=target_mask
    )
    first = np.add(x, own)
    w_q, w_k, w_v, w_o = cross_weights
    looked = multi_head_attention(
        first, memory, w_q, w_k, w_v, w_o, n_heads=n_heads, attn_mask=memory_mask
    )
    return np.add(first, looked)


@decoder.variant
def in_a_loop(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    for keys, weights_of_one, attn_mask in (
        (None, self_weights, target_mask),
        (memory, cross_weights, memory_mask),
    ):
        keys = x if keys is None else keys
        x = x + multi_head_attention(
            x, keys, *weights_of_one, n_heads=n_heads, attn_mask=attn_mask
        )
    return x


@decoder.variant
def by_weights(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    """The maps first, then a mean of the values, head by head."""

    def attend(x, keys, matrices, attn_mask):
        w_q, w_k, w_v, w_o = matrices
        maps = weights_family(x, keys, w_q, w_k, n_heads=n_heads, memory_mask=attn_mask)
        found = 0.0
        for head in range(n_heads):
            part = slice(head * w_v.shape[1] // n_heads, None)
            part = slice(part.start, (head + 1) * w_v.shape[1] // n_heads)
            found = found + maps[:, head] @ (keys @ w_v[:, part]) @ w_o[part]
        return found

    first = x + attend(x, x, self_weights, target_mask)
    return first + attend(first, memory, cross_weights, memory_mask)


@decoder.variant
def row_by_row(
    x, memory, self_weights, cross_weights, *, n_heads, target_mask, memory_mask
):
    """One sentence after the other, in single precision."""
    batch, n_target, n_source = len(x), x.shape[1], memory.shape[1]
    target_mask = np.broadcast_to(target_mask, (batch, n_heads, n_target, n_target))
    memory_mask = np.broadcast_to(memory_mask, (batch, n_heads, n_target, n_source))
    answer = x.astype(np.float32).copy()
    for row in range(batch):
        one = slice(row, row + 1)
        answer[one] += multi_head_attention(
            x[one], x[one], *self_weights, n_heads=n_heads, attn_mask=target_mask[one]
        )
        answer[one] += multi_head_attention(
            answer[one],
            memory[one],
            *cross_weights,
            n_heads=n_heads,
            attn_mask=memory_mask[one],
        )
    return answer
