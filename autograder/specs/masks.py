"""Chapter 6: masks."""

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import masks

causal = Exercise(masks.causal_mask, points=2, axes=("query", "key"))


@causal.probes
def _(rng):
    few, more = (int(n) for n in rng.choice(range(2, 8), 2, replace=False))
    cached, longer = (int(n) for n in rng.choice(range(1, 8), 2, replace=False))
    yield Probe(few + 1, few + 1, why="as many queries as keys")
    yield Probe(more + 1, more + 1, why="as many queries as keys")
    yield Probe(
        few,
        few + cached,
        why="queries that are the last positions of a longer row of keys",
    )
    yield Probe(
        more,
        more + longer,
        why="queries that are the last positions of a longer row of keys",
    )
    yield Probe(1, few + longer, why="one query after a cache of keys")
    yield Probe(1, 1, why="a single position")


@causal.reason
def _(index, q_len, k_len):
    query, key = index
    ahead = key - (query + k_len - q_len)
    if ahead == 0:
        return "that key is the query's own position"
    return f"that key is in the query's {'future' if ahead > 0 else 'past'}"


@causal.family
def causal_family(q_len, k_len, *, diagonal=0, offset=1, reach=None, future=False):
    ahead = np.arange(k_len) - np.arange(q_len)[:, None] - offset * (k_len - q_len)
    if future:
        ahead = -ahead
    seen = ahead <= diagonal
    return seen if reach is None else seen & (ahead >= -reach)


causal.mistake(
    "Every query also sees the key right after its own.",
    hint="Which keys may query 0 of a square mask see? Print its row. The argument k "
    "of np.tri, np.tril and np.triu moves the diagonal.",
    diagonal=1,
)
causal.mistake(
    "No query sees its own position.",
    hint="What does the very first query look at, if not at itself?",
    seen="pbloem/former#10",
    diagonal=-1,
)
causal.mistake(
    "The triangle starts in the top left corner: the queries are taken for the first "
    "positions.",
    hint="With 3 keys in the cache and 1 new query, how many keys may it see?",
    offset=0,
)
causal.mistake(
    "The distance between queries and keys has the wrong sign.",
    hint="Query 0 is position k_len - q_len. Write that position down for 2 queries "
    "and 5 keys.",
    offset=-1,
)
causal.mistake(
    "Every query sees only its own position.",
    hint="A query may look back: how many keys does the last one see?",
    reach=0,
)
causal.mistake(
    "The triangle is turned over: every query sees the future, not the past.",
    hint="Row 0 of a square causal mask is True, False, False, ...: np.tril keeps the "
    "lower triangle, np.triu the upper one.",
    future=True,
)


@causal.mistake(
    "The mask is inverted: True where the query must not attend.",
    hint="In this course, and in PyTorch's scaled_dot_product_attention, True means "
    "may attend. nn.MultiheadAttention reads masks the other way round.",
    seen="rasbt/LLMs-from-scratch#1061",
)
def inverted(q_len, k_len):
    return ~masks.causal_mask(q_len, k_len)


@causal.mistake(
    "There is a row for every key, not for every query.",
    hint="Rows are queries: q_len of them. Which rows of the square mask remain when "
    "only the last positions ask?",
)
def a_row_for_every_key(q_len, k_len):
    return np.tri(k_len, dtype=bool)


@causal.variant
def by_comparison(q_len, k_len):
    return np.arange(k_len) <= np.arange(q_len)[:, None] + k_len - q_len


@causal.variant
def last_rows_of_the_square(q_len, k_len):
    return np.tril(np.ones((k_len, k_len), dtype=bool))[k_len - q_len :]


@causal.variant
def cell_by_cell(q_len, k_len):
    attn_mask = np.zeros((q_len, k_len), dtype=bool)
    for query in range(q_len):
        for key in range(k_len):
            attn_mask[query, key] = key <= query + (k_len - q_len)
    return attn_mask


@causal.variant
def not_the_upper_triangle(q_len, k_len):
    return np.logical_not(np.triu(np.ones((q_len, k_len)), k=k_len - q_len + 1))


padding = Exercise(masks.padding_mask, points=2, axes=("batch row", None, None, "key"))


def ragged(rng, rows, length, *, pad_id, side="right"):
    """Tokens with rows of different lengths, the last one full.

    Real ids lie on both sides of pad_id.
    """
    others = [token for token in range(13) if token != pad_id]
    tokens = rng.choice(others, (rows, length))
    tokens[:, 0 if side == "right" else -1] = others[0]
    tokens[-1, 1], tokens[-1, -2] = others[-1], others[0]
    lengths = rng.permutation(np.arange(1, length))[: rows - 1]
    for row, real in enumerate(lengths):
        hidden = slice(real, None) if side == "right" else slice(length - real)
        tokens[row, hidden] = pad_id
    return tokens


@padding.probes
def padded_batches(rng):
    length = int(rng.integers(5, 8))
    pad_id = int(rng.integers(2, 10))
    yield Probe(ragged(rng, 3, length, pad_id=0), 0, why="padding on the right")
    yield Probe(
        ragged(rng, 2, length + 1, pad_id=0, side="left"), 0, why="padding on the left"
    )
    yield Probe(
        ragged(rng, 3, length, pad_id=pad_id), pad_id, why="a pad_id other than 0"
    )
    yield Probe(
        ragged(rng, 4, 4, pad_id=pad_id), pad_id, why="as many sequences as tokens"
    )
    yield Probe(ragged(rng, 4, 4, pad_id=0), 0, why="as many sequences as tokens")
    yield Probe(ragged(rng, 1, length, pad_id=0), 0, why="a sequence without padding")


@padding.reason
def _(index, tokens, pad_id):
    row, _, _, key = index
    token = tokens[row, key]
    return f"token {token} is {'padding' if token == pad_id else 'no padding'}"


@padding.mistake(
    "The mask is inverted: True on padding.",
    hint="In this course True means may attend. nn.MultiheadAttention's "
    "key_padding_mask means the opposite.",
)
def true_on_padding(tokens, pad_id):
    return ~masks.padding_mask(tokens, pad_id)


@padding.mistake(
    "The mask hides queries, not keys: the tokens lie on the axis before the last.",
    hint="Scores have shape (B, H, L, S). Which of these axes are the keys?",
    seen="bentrevett/pytorch-seq2seq#73",
)
def on_queries(tokens, pad_id):
    return (tokens != pad_id)[:, None, :, None]


@padding.mistake(
    "The axes for heads and queries are missing.",
    hint="The mask has to broadcast against scores of shape (B, H, L, S): which axis "
    "would your B meet?",
)
def two_axes(tokens, pad_id):
    return tokens != pad_id


@padding.mistake(
    "One axis is missing: the batch would meet the heads.",
    hint="NumPy lines shapes up from the right. Write (B, 1, S) under (B, H, L, S).",
)
def three_axes(tokens, pad_id):
    return (tokens != pad_id)[:, None, :]


@padding.mistake(
    "The tokens lie on the second axis, and an axis of features follows.",
    hint="A mask is about which key a query may see; features have no place in it. "
    "Write the shape of the scores and line the keys up with it.",
)
def with_features(tokens, pad_id):
    return np.repeat((tokens != pad_id)[:, :, None, None], 8, axis=2)


@padding.mistake(
    "`pad_id` is not used: token 0 counts as padding, whatever `pad_id` is.",
    hint="In many vocabularies 0 is a real token.",
)
def always_zero(tokens, pad_id):
    return masks.padding_mask(tokens, 0)


@padding.mistake(
    "Tokens with ids below `pad_id` are hidden too.",
    hint="Only equality with pad_id makes a token padding.",
)
def only_larger_ids(tokens, pad_id):
    return (tokens > pad_id)[:, None, None, :]


@padding.mistake(
    "The real tokens are counted, and then the first ones are taken: that is right "
    "only when the padding is on the right.",
    hint="For generation, batches are padded on the left.",
)
def first_ones(tokens, pad_id):
    lengths = (tokens != pad_id).sum(axis=1, keepdims=True)
    return (np.arange(tokens.shape[1]) < lengths)[:, None, None, :]


@padding.variant
def by_reshape(tokens, pad_id):
    batch, length = tokens.shape
    return np.not_equal(tokens, pad_id).reshape(batch, 1, 1, length)


@padding.variant
def token_by_token(tokens, pad_id):
    keep = np.ones((len(tokens), 1, 1, tokens.shape[1]), dtype=bool)
    for row in range(len(tokens)):
        for key, token in enumerate(tokens[row]):
            if token == pad_id:
                keep[row, 0, 0, key] = False
    return keep


@padding.variant
def inverted_equality(tokens, pad_id):
    return np.expand_dims(~(tokens == pad_id), (1, 2))


combine = Exercise(
    masks.combine_masks, points=1, axes=("batch row", None, "query", "key")
)


@combine.probes
def _(rng):
    b, q, k = (int(n) for n in rng.choice(range(2, 6), 3, replace=False))

    def some(*shapes):
        """Masks none of which could be left out."""
        while True:
            drawn = [rng.random(shape) < 0.8 for shape in shapes]
            combined = masks.combine_masks(*drawn)
            others = [drawn[:i] + drawn[i + 1 :] for i in range(len(drawn))]
            if combined.any() and not any(
                np.array_equal(masks.combine_masks(*rest), combined) for rest in others
            ):
                return drawn

    full, row, keys = (b, 1, q, k), (b, 1, q, 1), (b, 1, 1, k)
    yield Probe(*some(full, full), why="two masks of one shape")
    yield Probe(*some((q, k), keys), why="masks that broadcast")
    yield Probe(*some(keys, (1, 1, q, k), row), why="three masks")
    yield Probe(*some(full, (q, k), keys, (k,)), why="four masks")
    yield Probe(*some((q, k), (k,)), why="masks without a batch")
    yield Probe(*some(full, full), np.zeros((q, k), bool), why="a mask that hides all")
    yield Probe(rng.random(full) < 0.7, why="a single mask")


@combine.reason
def _(index, *attn_masks):
    shape = np.broadcast_shapes(*(m.shape for m in attn_masks))
    seen = [bool(np.broadcast_to(m, shape)[index]) for m in attn_masks]
    say = "masks say" if len(seen) > 1 else "mask says"
    return f"there the {say} {', '.join(map(str, seen))}"


@combine.mistake(
    "It allows what at least one of the masks allows.",
    hint="A key that one mask forbids stays forbidden. What does | do, and what &?",
)
def disjunction(*attn_masks):
    combined = attn_masks[0]
    for attn_mask in attn_masks[1:]:
        combined = combined | attn_mask
    return combined


@combine.mistake(
    "Only the first two masks count.",
    hint="There can be one mask, or three, or more.",
)
def first_two(*attn_masks):
    return masks.combine_masks(*attn_masks[:2])


@combine.mistake(
    "It allows what an odd number of the masks allows.",
    hint="Is ^ the operation that you want?",
)
def exclusive(*attn_masks):
    combined = attn_masks[0]
    for attn_mask in attn_masks[1:]:
        combined = combined ^ attn_mask
    return combined


@combine.mistake(
    "It allows that on which the masks agree, even if they agree to forbid it.",
    hint="If both masks say False, may the query attend?",
)
def agreement(*attn_masks):
    combined = attn_masks[0]
    for attn_mask in attn_masks[1:]:
        combined = combined == attn_mask
    return combined


@combine.mistake(
    "The result is inverted: True where a mask forbids.",
    hint="What does the result mean where all masks say True?",
)
def inverted_conjunction(*attn_masks):
    return ~masks.combine_masks(*attn_masks)


@combine.variant
def by_product(*attn_masks):
    combined = np.ones((), dtype=bool)
    for attn_mask in attn_masks:
        combined = combined * attn_mask
    return combined


@combine.variant
def by_de_morgan(*attn_masks):
    hidden = ~attn_masks[0]
    for attn_mask in attn_masks[1:]:
        hidden = np.logical_or(hidden, np.logical_not(attn_mask))
    return np.invert(hidden)


@combine.variant
def by_stacking(*attn_masks):
    return np.all(np.stack(np.broadcast_arrays(*attn_masks)), axis=0)


for loop in ("masks", "masks[:]", "masks[0:]"):
    combine.equivalent(
        f"for attn_mask in {loop}:", why="a mask and itself is that mask"
    )


decoder = Exercise(
    masks.decoder_mask, points=3, axes=("batch row", None, "query", "key")
)


decoder.probes(padded_batches)


@decoder.reason
def _(index, tokens, pad_id):
    row, _, query, key = index
    if key > query:
        return "that key is in the query's future"
    token = tokens[row, key]
    if token == pad_id:
        own = ", and so is the query" if tokens[row, query] == pad_id else ""
        return f"that key is padding{own}"
    where = "the query itself" if key == query else "in the query's past"
    return f"that key is {where}, and no padding"


@decoder.family
def decoder_family(
    tokens, pad_id, *, diagonal=0, past=True, causal=True, keys=True, queries=False,
    real=True, join=np.logical_and, own=False,
):  # fmt: skip
    length = tokens.shape[1]
    triangle = np.tri(length, k=diagonal, dtype=bool)
    if not past:
        triangle = triangle.T
    real_tokens = (tokens != pad_id) == real
    parts = []
    if causal:
        parts.append(triangle[None, None])
    if keys:
        parts.append(real_tokens[:, None, None, :])
    if queries:
        parts.append(real_tokens[:, None, :, None])
    combined = parts[0]
    for part in parts[1:]:
        combined = join(combined, part)
    if own:
        combined = combined | np.eye(length, dtype=bool)
    return np.broadcast_to(combined, (len(tokens), 1, length, length))


decoder.mistake(
    "There is no causal mask: every query sees the future.",
    hint="Change the last token: would the output for the first one change?",
    seen="pytorch/tutorials#2662",
    causal=False,
)
decoder.mistake(
    "The padding is not hidden: the mask is only causal.",
    hint="Which keys may the last query of a padded sequence see?",
    keys=False,
)
decoder.mistake(
    "The padding hides queries, not keys.",
    hint="A query that is padding does no harm; a key that is padding is read by "
    "others. Which axis of the scores are the keys?",
    seen="hyunwoongko/transformer#40",
    keys=False,
    queries=True,
)
decoder.mistake(
    "The padding hides queries as well as keys: rows of padding are empty.",
    hint="Only keys are hidden here. A row without any True has no softmax.",
    queries=True,
)
decoder.mistake(
    "The two masks are joined by or: a key is seen if one of them allows it.",
    hint="A key must be in the past and no padding.",
    join=np.logical_or,
)
decoder.mistake(
    "Only padding is seen: the padding mask is inverted.",
    hint="Compare tokens with pad_id: where is the result True?",
    real=False,
)
decoder.mistake(
    "The triangle is turned over: every query sees the future, not the past.",
    hint="Print row 0 of the causal part: True, False, False, ...",
    past=False,
)
decoder.mistake(
    "Every query also sees the token right after its own.",
    hint="That is the very token it has to predict.",
    diagonal=1,
)
decoder.mistake(
    "No query sees its own position.",
    hint="What does the very first query look at, if not at itself?",
    diagonal=-1,
)
decoder.mistake(
    "Every token sees itself even if it is padding.",
    hint="The task makes all rows by one rule; what to do with rows that see nothing "
    "is the subject of the next chapter.",
    own=True,
)


@decoder.mistake(
    "There is no causal mask, and the axis of the queries has length 1.",
    hint="Change the last token: would the output for the first one change?",
)
def only_padding(tokens, pad_id):
    return masks.padding_mask(tokens, pad_id)


@decoder.mistake(
    "It is the causal mask alone, without the batch and the head axis.",
    hint="Sequences of different lengths need different masks.",
)
def only_causal(tokens, pad_id):
    return masks.causal_mask(tokens.shape[1], tokens.shape[1])


@decoder.mistake(
    "`pad_id` is not used: token 0 counts as padding, whatever `pad_id` is.",
    hint="In many vocabularies 0 is a real token.",
)
def zero_is_padding(tokens, pad_id):
    return masks.decoder_mask(tokens, 0)


@decoder.mistake(
    "The axis for the heads is missing: the batch would meet the heads.",
    hint="NumPy lines shapes up from the right. Write (B, T, T) under (B, H, T, T).",
)
def no_head_axis(tokens, pad_id):
    return masks.decoder_mask(tokens, pad_id)[:, 0]


@decoder.variant
def in_one_expression(tokens, pad_id):
    length = tokens.shape[1]
    past = np.arange(length) <= np.arange(length)[:, None]
    return past[None, None] & (tokens != pad_id)[:, None, None, :]


@decoder.variant
def row_by_row(tokens, pad_id):
    length = tokens.shape[1]
    rows = [
        [[k <= q and token != pad_id for k, token in enumerate(row)]
         for q in range(length)]
        for row in tokens
    ]  # fmt: skip
    return np.array(rows)[:, None]


@decoder.variant
def by_where(tokens, pad_id):
    length = tokens.shape[1]
    past = np.tril(np.ones((len(tokens), 1, length, length), dtype=bool))
    return np.where(tokens[:, None, None, :] == pad_id, False, past)


for call in (
    "combine_masks(causal_mask(seq_len, seq_len), padding_mask(pad_id, tokens))",
    "combine_masks(padding_mask(tokens, pad_id), causal_mask(seq_len, seq_len))",
):
    decoder.equivalent(
        f"return {call}",
        why="the order of a conjunction, or of an inequality, does not matter",
    )
