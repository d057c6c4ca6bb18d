"""Chapter 15: masks as rules, and when a mask saves work."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import mask_zoo
from solutions.attention import softmax
from solutions.masks import causal_mask

GRID = ("row", "column")  # of the arrays that a rule is asked about


def square(length):
    """All queries and all keys of a sequence."""
    return np.arange(length)[:, None], np.arange(length)


def cached(past_len, new_len):
    """New queries after a cache, and all keys."""
    k_len = past_len + new_len
    return np.arange(past_len, k_len)[:, None], np.arange(k_len)


def scattered(rng, length):
    """Pairs of positions in no order, in two arrays of the same shape."""
    shape = (4, 2 * length)
    return rng.integers(length, size=shape), rng.integers(length, size=shape)


def turned(length):
    """Keys along the rows, queries along the columns."""
    return np.arange(length), np.arange(length)[:, None]


EVERY_PAIR = "every query and every key"
AFTER_A_CACHE = "queries that come after a cache"
IN_NO_ORDER = "pairs of positions in no order"
TURNED = "queries along the columns"


def where(index, q, k):
    """The positions that meet in one cell."""
    q, k = np.broadcast_arrays(q, k)
    query, key = int(q[index]), int(k[index])
    return query, key, f"there the query is at position {query}, the key at {key}"


def rule_mistakes(exercise):
    """What can be wrong with any rule of a family that knows these three knobs."""
    exercise.mistake(
        "The answer is inverted: True where the query must not attend.",
        hint="True means may attend, here and in FlexAttention. Ask your rule whether "
        "position 0 may see itself.",
        invert=True,
    )
    exercise.mistake(
        "Query and key have changed places.",
        hint="The first argument of the rule is the position of the query, the second "
        "that of the key.",
        swap=True,
    )


def finished(rule, invert, swap):
    """A rule, or its opposite, or that of the other position."""

    def ask(q, k):
        if swap:
            q, k = k, q
        return ~rule(q, k) if invert else rule(q, k)

    return ask


def past(q, k):
    return k <= q


prefix = Exercise(mask_zoo.prefix_lm, points=1, axes=GRID, adapter="call_result")


@prefix.probes
def _(rng):
    few, more = (int(n) for n in rng.choice(range(3, 7), 2, replace=False))
    yield Probe((few,), square(few + more), why=EVERY_PAIR)
    yield Probe((more,), square(few + more + 3), why=EVERY_PAIR)
    yield Probe((few,), cached(few - 1, more), why=AFTER_A_CACHE)
    yield Probe((more,), cached(more + 2, few), why=AFTER_A_CACHE)
    yield Probe((more,), scattered(rng, 2 * more), why=IN_NO_ORDER)
    yield Probe((few,), turned(few + 4), why=TURNED)
    yield Probe((0,), square(more), why="a prefix of length 0")


@prefix.reason
def _(index, outer, inner):
    [prefix_len], (query, key, meet) = outer, where(index, *inner)
    if key < prefix_len:
        return f"{meet}, in the prefix of {prefix_len}"
    if key <= query:
        return f"{meet}, which is {'its own' if key == query else 'in its past'}"
    return f"{meet}, behind the prefix of {prefix_len} and in the query's future"


@prefix.family
def prefix_family(
    prefix_len, *, own=past, length=0, join=np.logical_or,
    in_prefix=lambda q, k, n: k < n, invert=False, swap=False,
):  # fmt: skip
    n = prefix_len + length
    return finished(
        lambda q, k: join(own(q, k), in_prefix(q, k, n)), invert=invert, swap=swap
    )


rule_mistakes(prefix)
prefix.mistake(
    "The prefix is one position too long.",
    hint="A prefix of 3 is positions 0, 1 and 2.",
    length=1,
)
prefix.mistake(
    "The prefix is one position too short.",
    hint="A prefix of 3 is positions 0, 1 and 2.",
    length=-1,
)
prefix.mistake(
    "The prefix is not used: the rule is the causal one.",
    hint="May position 0 see the last one of the prefix?",
    in_prefix=lambda q, k, n: (k < 0) & (q < 0),
)
prefix.mistake(
    "Nothing is seen but the prefix.",
    hint="What does a position behind the prefix see of those between?",
    own=lambda q, k: (k < 0) & (q < 0),
)
prefix.mistake(
    "Seen is only what is both in the past and in the prefix.",
    hint="It is enough that one of the two holds. What does | do, and what &?",
    join=np.logical_and,
)
prefix.mistake(
    "Seen is what is in the past or in the prefix, but not what is both.",
    hint="Is ^ the operation that you want?",
    join=np.logical_xor,
)
prefix.mistake(
    "The queries of the prefix see everything, what comes behind it too.",
    hint="What decides is whether the key is in the prefix. The rest has to be written "
    "yet when the prefix is read.",
    in_prefix=lambda q, k, n: (q < n) & (k == k),
)
prefix.mistake(
    "All that comes behind the prefix is seen by everybody, and the prefix is causal.",
    hint="Which part is known before the first word is written?",
    in_prefix=lambda q, k, n: (k >= n) & (q == q),
)
prefix.mistake(
    "Only prefix and rest are told apart: behind the prefix, the future is seen too.",
    hint="Change the last token: does an output behind the prefix move?",
    in_prefix=lambda q, k, n: (k < n) | (q >= n),
)
prefix.mistake(
    "A query behind the prefix does not see itself.",
    hint="What does the newest token see, if not itself?",
    own=lambda q, k: k < q,
)
prefix.mistake(
    "Every query sees the position right after its own, too.",
    hint="Behind the prefix, that is the very token which it has to predict.",
    own=lambda q, k: k <= q + 1,
)


@prefix.mistake(
    "Every query sees `prefix_len` positions ahead of its own.",
    hint="A prefix lies still: which positions belong to it? It does not move along "
    "with the query.",
)
def prefix_that_moves(prefix_len):
    return lambda q, k: k <= q + prefix_len


@prefix.mistake(
    "What comes behind the prefix does not see the prefix.",
    hint="The prefix is there to be read: may the last position see the first?",
)
def prefix_and_rest_apart(prefix_len):
    return lambda q, k: (
        ((k <= q) & (k >= prefix_len)) | ((k < prefix_len) & (q < prefix_len))
    )


@prefix.variant
def by_two_cases(prefix_len):
    def may_attend(q, k):
        return np.where(q < prefix_len, k < prefix_len, k <= q)

    return may_attend


@prefix.variant
def by_the_later_of_two(prefix_len):
    return lambda q, k: np.maximum(q, prefix_len - 1) >= k


@prefix.variant
def pair_by_pair_of_the_prefix(prefix_len):
    @np.vectorize
    def may_attend(q, k):
        if k < prefix_len:
            return True
        return bool(k <= q)

    return may_attend


@prefix.variant
def block_or_triangle(prefix_len):
    def block(q, k):
        return np.logical_and(q < prefix_len, k < prefix_len)

    return lambda q, k: np.logical_or(block(q, k), q >= k)


sliding = Exercise(mask_zoo.sliding_window, points=2, axes=GRID, adapter="call_result")


@sliding.probes
def _(rng):
    few, more = (int(n) for n in rng.choice(range(3, 6), 2, replace=False))
    yield Probe((few,), square(few + 5), why=EVERY_PAIR)
    yield Probe((more,), square(2 * more + 2), why=EVERY_PAIR)
    yield Probe((few,), cached(few + 2, 3), why=AFTER_A_CACHE)
    yield Probe((more,), cached(2, more), why=AFTER_A_CACHE)
    yield Probe((more,), scattered(rng, 3 * more), why=IN_NO_ORDER)
    yield Probe((few,), turned(few + 4), why=TURNED)
    yield Probe((more + 4,), square(more), why="a window wider than the sequence")
    yield Probe((1,), square(few), why="a window of 1")


@sliding.reason
def _(index, outer, inner):
    [window], (query, key, meet) = outer, where(index, *inner)
    if key > query:
        return f"{meet}, in its future"
    first = max(query - window + 1, 0)
    return f"{meet}, and the {window} positions of the window end at {first}"


@sliding.law
def how_many_are_seen(answer, outer, inner):
    """One query that sees enough keys: count them."""
    [window], (q, k) = outer, inner
    whole = np.broadcast_shapes(q.shape, k.shape)
    if answer.shape != whole or q.shape != (whole[0], 1) or k[0] != 0:
        return None
    last, seen = int(q[-1, 0]), int(answer[-1].sum())
    expected = min(window, last + 1)
    if answer[-1][k > last].any() or seen == expected:
        return None
    many = "1 position" if seen == 1 else f"{seen} positions"
    return (
        f"Position {last} sees {many}; with a window of {window} it should see "
        f"{expected}."
    )


@sliding.family
def sliding_family(
    window, *, length=0, near=lambda d, w: d < w, own=lambda d: d >= 0,
    invert=False, swap=False,
):  # fmt: skip
    w = window + length
    return finished(lambda q, k: own(q - k) & near(q - k, w), invert=invert, swap=swap)


rule_mistakes(sliding)
sliding.mistake(
    "The window is one too wide: each position sees itself and `window` before it.",
    hint="Count the keys that the last query sees: they should be `window` in all, "
    "itself among them.",
    seen="ml-explore/mlx-lm#390",
    length=1,
)
sliding.mistake(
    "The window is one too narrow: each position sees itself and `window` - 2 before "
    "it.",
    hint="Count the keys that the last query sees: they should be `window` in all, "
    "itself among them.",
    length=-1,
)
sliding.mistake(
    "The window does not include the position itself: seen are the `window` before it.",
    hint="What does the very first position see, if not itself?",
    length=1,
    own=lambda d: d > 0,
)
sliding.mistake(
    "No position sees itself; it sees the `window` - 1 before it.",
    hint="What does the very first position see, if not itself?",
    own=lambda d: d > 0,
)
sliding.mistake(
    "The future is not hidden: the window only ends on the left.",
    hint="May position 0 see position 1? A window bounds how far back; what bounds how "
    "far ahead?",
    own=lambda d: d == d,
)
sliding.mistake(
    "The window goes to both sides: `window` - 1 positions of the future are seen.",
    hint="The absolute value of a distance does not know past from future.",
    own=lambda d: d == d,
    near=lambda d, w: abs(d) < w,
)
sliding.mistake(
    "The window goes to both sides, half of it to each.",
    hint="So it is in an encoder. A decoder looks back only.",
    own=lambda d: d == d,
    near=lambda d, w: abs(d) <= w // 2,
)
sliding.mistake(
    "The window is not used: the whole past is seen.",
    hint="How far back may the last query look?",
    near=lambda d, w: d == d,
)
sliding.mistake(
    "Only what lies behind the window is seen.",
    hint="Near keys are to be seen, far ones hidden.",
    near=lambda d, w: d >= w,
)
sliding.mistake(
    "A position sees only the key at the far end of its window.",
    hint="== picks one distance; a window is all that are smaller.",
    near=lambda d, w: d == w - 1,
)


@sliding.mistake(
    "The sequence is cut into chunks: each position sees the past of its own chunk.",
    hint="Chunks lie still, and a window moves: what does the first position of a "
    "chunk see?",
)
def chunked(window):
    return lambda q, k: (k <= q) & (q // window == k // window)


@sliding.mistake(
    "Seen are the first `window` positions of the sequence, not the last ones before "
    "the query.",
    hint="The window moves along with the query: what does the last query see?",
)
def window_that_stands_still(window):
    return lambda q, k: (k <= q) & (k < window)


@sliding.variant
def by_two_comparisons(window):
    def may_attend(q, k):
        return np.logical_and(k > q - window, q >= k)

    return may_attend


@sliding.variant
def by_distance(window):
    def may_attend(q, k):
        distance = np.asarray(q) - np.asarray(k)
        return (distance >= 0) * (distance <= window - 1)

    return may_attend


@sliding.variant
def by_membership(window):
    return lambda q, k: np.isin(q - k, np.arange(window))


@sliding.variant
def pair_by_pair_of_the_window(window):
    return np.vectorize(lambda q, k: int(q) - int(k) in range(window))


packed = Exercise(mask_zoo.document, points=2, axes=GRID, adapter="call_result")


def packed_ids(rng, *lengths):
    """Numbers of documents of these lengths, of which some rise and some fall."""
    while True:
        numbers = 3 * rng.permutation(len(lengths)) + rng.integers(2, 5)
        rises = np.diff(numbers) > 0
        if len(lengths) == 1 or 0 < rises.sum() < len(rises):
            return np.repeat(numbers, lengths)


@packed.probes
def _(rng):
    a, b, c = (int(n) for n in rng.permutation([2, 3, 4]))
    ids = packed_ids(rng, a, b, c)
    yield Probe((ids,), square(len(ids)), why=EVERY_PAIR)
    more = packed_ids(rng, c, a + 2, 1, b)
    yield Probe((more,), square(len(more)), why=EVERY_PAIR)
    yield Probe((ids,), cached(a + 1, b + c - 1), why=AFTER_A_CACHE)
    yield Probe((more,), cached(4, len(more) - 4), why=AFTER_A_CACHE)
    yield Probe((more,), scattered(rng, len(more)), why=IN_NO_ORDER)
    yield Probe((ids,), turned(len(ids)), why=TURNED)
    yield Probe((packed_ids(rng, b + 3),), square(b + 3), why="a single document")


@packed.reason
def _(index, outer, inner):
    [ids], (query, key, meet) = outer, where(index, *inner)
    theirs = f"{meet}, in documents {ids[query]} and {ids[key]}"
    own = f"{meet}, both in document {ids[query]}"
    when = "in the future" if key > query else "in the past"
    when = "the query itself" if key == query else when
    return f"{own if ids[query] == ids[key] else theirs}; the key is {when}"


@packed.family
def packed_family(
    document_ids, *, own=past, join=np.logical_and,
    same=lambda ids, q, k: ids[q] == ids[k], invert=False, swap=False,
):  # fmt: skip
    return finished(
        lambda q, k: join(own(q, k), same(document_ids, q, k)), invert=invert, swap=swap
    )


rule_mistakes(packed)
packed.mistake(
    "The future is not hidden: all of a document sees all of it.",
    hint="Change the last token of a document: does an earlier output move?",
    own=lambda q, k: (q == q) & (k == k),
)
packed.mistake(
    "The documents are not kept apart: the rule is the causal one.",
    hint="What does the first position of the second document see?",
    seen="huggingface/nanoVLM#204",
    same=lambda ids, q, k: ids[q] == ids[q],
)
packed.mistake(
    "Seen is what is in the past or in the same document.",
    hint="Both have to hold. What does | do, and what &?",
    join=np.logical_or,
)
packed.mistake(
    "Other documents are seen, and the own one is not.",
    hint="Which documents may a position read, and is that == or !=?",
    same=lambda ids, q, k: ids[q] != ids[k],
)
packed.mistake(
    "No position sees itself.",
    hint="What does the first position of a document see, if not itself?",
    own=lambda q, k: k < q,
)
packed.mistake(
    "Documents of a smaller number are seen too.",
    hint="The numbers are names: only whether they are equal counts.",
    same=lambda ids, q, k: ids[k] <= ids[q],
)
packed.mistake(
    "Every query sees the position right after its own, if it is of the same document.",
    hint="That is the very token which it has to predict.",
    own=lambda q, k: k <= q + 1,
)


def restarted(ids, q, k):
    positions = mask_zoo.packed_positions(ids)
    return positions[k] <= positions[q]


packed.mistake(
    "Positions are counted anew in each document, but documents are not kept apart: "
    "seen is what stands as early in its own document, in all of them.",
    hint="Who stands where does not tell whom it belongs to. Compare the documents' "
    "numbers.",
    own=lambda q, k: (q == q) & (k == k),
    same=restarted,
)
packed.mistake(
    "Positions are counted anew in each document, but earlier documents are seen: up "
    "to the query's own place in them.",
    hint="Who stands where does not tell whom it belongs to. Compare the documents' "
    "numbers.",
    same=restarted,
)


@packed.mistake(
    "Positions are compared with the numbers of documents.",
    hint="q and k are positions. Which document stands at position q?",
)
def positions_for_documents(document_ids):
    return lambda q, k: (k <= q) & (document_ids[k] == q)


@packed.variant
def by_the_start_of_the_document(document_ids):
    starts = np.arange(len(document_ids)) - mask_zoo.packed_positions(document_ids)
    return lambda q, k: (k <= q) & (k >= starts[q])


@packed.variant
def by_difference(document_ids):
    def may_attend(q, k):
        apart = document_ids[q] - document_ids[k]
        return np.where(q < k, False, ~(apart != 0))

    return may_attend


@packed.variant
def pair_by_pair_of_the_documents(document_ids):
    names = document_ids.tolist()
    return np.vectorize(lambda q, k: bool(q >= k and names[q] == names[k]))


@packed.variant
def by_take(document_ids):
    def may_attend(q, k):
        return np.equal(document_ids.take(q), document_ids.take(k)) & np.less_equal(
            k, q
        )

    return may_attend


ask_all = Exercise(
    mask_zoo.materialise, points=2, axes=("query", "key"), adapter="with_rule"
)
ONLY_AT_THE_QUERY = "a rule that looks only at the query"
ROOM = 3  # places in a rule's table that lie behind the sequence


@ask_all.probes
def _(rng):
    few, more = (int(n) for n in rng.choice(range(3, 7), 2, replace=False))

    def table(rows, columns):
        """A rule of chance, with a True and a False in every row and column."""
        while True:
            drawn = rng.random((rows, columns)) < 0.5
            if all(drawn.any(i).all() and not drawn.all(i).any() for i in (0, 1)):
                return drawn

    def both(k_len):
        return table(k_len + ROOM, k_len + ROOM)

    def one(k_len):
        while True:
            drawn = rng.random(k_len + ROOM) < 0.5
            if 0 < drawn[1 : k_len - 1].sum() < k_len - 2:
                return drawn

    yield Probe(both(few + 1), few + 1, few + 1, why="as many queries as keys")
    yield Probe(both(more + 2), more + 2, more + 2, why="as many queries as keys")
    yield Probe(both(few + more), few, few + more, why=AFTER_A_CACHE)
    yield Probe(both(more + 2), more, more + 2, why=AFTER_A_CACHE)
    yield Probe(both(more + 3), 1, more + 3, why="a single query after a cache")
    yield Probe(
        one(few + 5)[None], few, few + 5, why="a rule that looks only at the key"
    )
    yield Probe(
        one(more + 4)[:, None],
        more,
        more + 4,
        why=ONLY_AT_THE_QUERY,
    )
    yield Probe(
        one(more + 2)[:, None], more + 2, more + 2,
        why=ONLY_AT_THE_QUERY,
    )  # fmt: skip


@ask_all.reason
def _(index, table, q_len, k_len):
    row, key = index
    query = k_len - q_len + row
    return f"so the rule says of a query at position {query} and a key at {key}"


@ask_all.law
def which_positions(answer, table, q_len, k_len):
    """Find where in the table a row of the answer stands."""
    if answer.shape != (q_len, k_len) or 1 in table.shape:
        return None
    for row, got in enumerate(answer):
        place = k_len - q_len + row
        if np.array_equal(got, table[place, :k_len]):
            continue
        found = [i for i, line in enumerate(table) if np.array_equal(line[:k_len], got)]
        if len(found) != 1:
            return None
        return (
            f"Row {row} is what the rule says of a query at position {found[0]}; of "
            f"{q_len} queries and {k_len} keys, it stands for position {place}."
        )
    return None


def spread(answer, q_len, k_len):
    return np.broadcast_to(answer, (q_len, k_len)).copy()


@ask_all.family
def ask_all_family(
    mask_fn, q_len, k_len, *, first=lambda q_len, k_len: k_len - q_len, key=0,
    shape=spread, invert=False, swap=False,
):  # fmt: skip
    start = first(q_len, k_len)
    q = np.arange(start, start + q_len)[:, None]
    k = np.arange(key, key + k_len)
    answer = mask_fn(k, q) if swap else mask_fn(q, k)
    return shape(~answer if invert else answer, q_len, k_len)


ask_all.mistake(
    "The queries are taken for the first positions: the corner is the top left one.",
    hint="With 3 keys in the cache and 1 new query, at which position is that query?",
    first=lambda q_len, k_len: 0,
)
ask_all.mistake(
    "The queries stand one position too late.",
    hint="The last query is at position k_len - 1. Write down the positions of 2 "
    "queries and 5 keys.",
    first=lambda q_len, k_len: k_len - q_len + 1,
)
ask_all.mistake(
    "The queries stand one position too early.",
    hint="The last query is at position k_len - 1. Write down the positions of 2 "
    "queries and 5 keys.",
    first=lambda q_len, k_len: k_len - q_len - 1,
)
ask_all.mistake(
    "The keys are counted from 1.",
    hint="Positions count from 0.",
    key=1,
)
ask_all.mistake(
    "Queries and keys are counted from 1.",
    hint="Positions count from 0.",
    key=1,
    first=lambda q_len, k_len: k_len - q_len + 1,
)
ask_all.mistake(
    "The rule is asked with query and key in the wrong order.",
    hint="Its first argument is the query's position, its second the key's.",
    swap=True,
)
ask_all.mistake(
    "The mask is inverted.",
    hint="The rule says who may attend, and so does the mask.",
    invert=True,
)
ask_all.mistake(
    "The shape is that of the rule's own answer: one axis is missing, or has length 1, "
    "where the rule looks at only one of the two positions.",
    hint="Try the rule `lambda q, k: k < 3`. What shape has its answer, and what shape "
    "is asked for?",
    shape=lambda answer, q_len, k_len: answer,
)


@ask_all.mistake(
    "There is a row for every key, not for every query.",
    hint="How many rows has the mask of one query after a cache?",
)
def all_rows(mask_fn, q_len, k_len):
    return mask_zoo.materialise(mask_fn, k_len, k_len)


@ask_all.mistake(
    "Only what is in the past is seen, whatever the rule says.",
    hint="Whether a mask is causal is up to its rule: a prefix, for one, is not.",
)
def always_causal(mask_fn, q_len, k_len):
    return mask_zoo.materialise(mask_fn, q_len, k_len) & causal_mask(q_len, k_len)


@ask_all.mistake(
    "The rule is not asked: the mask is the causal one.",
    hint="Call mask_fn, with the positions of all queries and of all keys.",
)
def only_causal(mask_fn, q_len, k_len):
    return causal_mask(q_len, k_len)


@ask_all.variant
def pair_by_pair(mask_fn, q_len, k_len):
    attn_mask = np.zeros((q_len, k_len), dtype=bool)
    for i in range(q_len):
        for k in range(k_len):
            attn_mask[i, k] = mask_fn(k_len - q_len + i, k)
    return attn_mask


@ask_all.variant
def by_indices(mask_fn, q_len, k_len):
    q, k = np.indices((q_len, k_len))
    return mask_fn(q + (k_len - q_len), k)


@ask_all.variant
def last_rows(mask_fn, q_len, k_len):
    q, k = np.meshgrid(np.arange(k_len), np.arange(k_len), indexing="ij")
    return mask_fn(q, k)[k_len - q_len :]


@ask_all.variant
def query_by_query(mask_fn, q_len, k_len):
    keys = np.arange(k_len)
    return np.array(
        [mask_fn(np.full(k_len, q), keys) for q in range(k_len - q_len, k_len)]
    )


@ask_all.variant
def by_broadcast_arrays(mask_fn, q_len, k_len):
    q, k = np.broadcast_arrays(
        np.arange(k_len)[-q_len:].reshape(-1, 1), np.arange(k_len).reshape(1, -1)
    )
    return mask_fn(q, k)


live = Exercise(
    mask_zoo.live_blocks, points=2, axes=("row of blocks", "column of blocks")
)


def sparse(rng, q_len, k_len, block):
    """A mask with empty blocks, full blocks, and blocks with a single True."""
    rows, columns = -(-q_len // block), -(-k_len // block)
    while True:
        kinds = rng.integers(3, size=(rows, columns))
        if len(np.unique(kinds[:-1, :-1])) == 3 or kinds.size < 8:
            break
    attn_mask = np.zeros((q_len, k_len), dtype=bool)
    for row, column in np.ndindex(rows, columns):
        part = attn_mask[
            row * block : (row + 1) * block, column * block : (column + 1) * block
        ]
        if kinds[row, column] == 1:
            part.flat[rng.integers(part.size)] = True
        if kinds[row, column] == 2:
            part[...] = True
    return attn_mask


def lonely(rng):
    """Blocks of 3 with a single True, in each place once, and three dead blocks."""
    blocks = np.zeros((12, 9), dtype=bool)
    blocks[np.arange(9), np.arange(9)] = True
    blocks = rng.permutation(blocks).reshape(3, 4, 3, 3)
    return blocks.transpose(0, 2, 1, 3).reshape(9, 12)


@live.probes
def _(rng):
    few, more = (int(n) for n in rng.permutation([3, 4]))
    yield Probe(sparse(rng, 4 * few, 5 * few, few), few, why="blocks that fit")
    yield Probe(sparse(rng, 5 * more, 3 * more, more), more, why="blocks that fit")
    yield Probe(
        sparse(rng, 3 * few + 1, 4 * few + 2, few), few, why="smaller blocks at the end"
    )
    yield Probe(
        sparse(rng, 4 * more + 2, 3 * more + 1, more), more,
        why="smaller blocks at the end",
    )  # fmt: skip
    end = np.zeros((2 * more + 1, 3 * more + 2), dtype=bool)
    end[-1, -1] = True
    yield Probe(end, more, why="a single True in the last corner")
    yield Probe(sparse(rng, few * few, few * few, few), few, why="a square")
    yield Probe(lonely(rng), 3, why="a single True anywhere in a block")
    yield Probe(np.tri(4 * few + 1, dtype=bool), few, why="a causal mask")
    yield Probe(sparse(rng, more, few + 2, 1), 1, why="blocks of one pair")
    yield Probe(np.eye(few, more, dtype=bool), 9, why="a block larger than the mask")


@live.reason
def _(index, attn_mask, block):
    part = attn_mask[tuple(slice(i * block, (i + 1) * block) for i in index)]
    seen = int(part.sum())
    return f"of the {part.size} pairs in that block, {seen} may attend"


def padded_with(value):
    def pad(attn_mask, block):
        q_len, k_len = attn_mask.shape
        return np.pad(
            attn_mask, ((0, -q_len % block), (0, -k_len % block)), constant_values=value
        )

    return pad


with_nobody = padded_with(False)


def cut_off(attn_mask, block):
    q_len, k_len = attn_mask.shape
    return attn_mask[: q_len - q_len % block, : k_len - k_len % block]


@live.family
def live_family(
    attn_mask, block, *, fit=with_nobody, judge=lambda b: b.any(axis=(1, 3)),
    invert=False,
):  # fmt: skip
    fitted = fit(attn_mask, block)
    rows, columns = (n // block for n in fitted.shape)
    blocks = fitted.reshape(rows, block, columns, block)
    return ~judge(blocks) if invert else judge(blocks)


live.mistake(
    "Only full blocks count as live: those in which every pair may attend.",
    hint="One True is enough: that pair has to be computed.",
    judge=lambda b: b.all(axis=(1, 3)),
)
live.mistake(
    "It is the dead blocks that are True.",
    hint="True for a block in which anything may be attended to.",
    invert=True,
)
live.mistake(
    "Only blocks that are partly masked count as live.",
    hint="A block in which every pair may attend has to be computed, too.",
    judge=lambda b: b.any(axis=(1, 3)) & ~b.all(axis=(1, 3)),
)
live.mistake(
    "Only the first pair of each block is looked at.",
    hint="A stride of `block` skips the rest of the block. Which block of a causal "
    "mask is live though its first pair is hidden?",
    judge=lambda b: b[:, 0, :, 0],
)
live.mistake(
    "Only the last pair of each block is looked at.",
    hint="A block may have its only True anywhere.",
    judge=lambda b: b[:, -1, :, -1],
)
live.mistake(
    "Only the first row of each block is looked at.",
    hint="There are two axes inside a block: over which ones do you ask?",
    judge=lambda b: b[:, 0].any(axis=-1),
)
live.mistake(
    "Only the diagonal of each block is looked at.",
    hint="A block may have its only True anywhere.",
    judge=lambda b: np.diagonal(b, axis1=1, axis2=3).any(axis=-1),
)
live.mistake(
    "A block counts as live if at least half of its pairs may attend.",
    hint="One True is enough: that pair has to be computed.",
    judge=lambda b: b.mean(axis=(1, 3)) >= 0.5,
)
live.mistake(
    "The smaller blocks at the end are missing.",
    hint="Seven rows in blocks of three: how many blocks are there? // rounds down.",
    fit=cut_off,
)
live.mistake(
    "The smaller blocks at the end are filled up with True: they are always live.",
    hint="What is added to make the blocks fit must not be seen by anybody.",
    fit=padded_with(True),
)


@live.mistake(
    "`block` is taken for the number of blocks.",
    hint="`block` is the length of a side, in pairs. How many such lengths are there?",
)
def number_of_blocks(attn_mask, block):
    parts = [
        np.array_split(rows, block, axis=1) for rows in np.array_split(attn_mask, block)
    ]
    return np.array([[part.any() for part in row] for row in parts])


@live.mistake(
    "The shape is that of the mask: each pair says whether its block is live.",
    hint="There is one answer for each block, not for each pair.",
)
def spread_out(attn_mask, block):
    q_len, k_len = attn_mask.shape
    blocks = mask_zoo.live_blocks(attn_mask, block)
    return blocks.repeat(block, axis=0).repeat(block, axis=1)[:q_len, :k_len]


@live.mistake(
    "The pairs are gathered in the wrong order: a block holds pairs that do not lie in "
    "one square.",
    hint="A reshape keeps the order of the numbers: rows of the mask are cut one after "
    "the other. Which axis has to be the second?",
)
def cut_in_the_wrong_order(attn_mask, block):
    fitted = with_nobody(attn_mask, block)
    rows, columns = (n // block for n in fitted.shape)
    return fitted.reshape(rows, columns, block, block).any(axis=(2, 3))


@live.variant
def block_by_block(attn_mask, block):
    rows, columns = (math.ceil(n / block) for n in attn_mask.shape)
    answer = np.zeros((rows, columns), dtype=bool)
    for row in range(rows):
        for column in range(columns):
            corner = row * block, column * block
            part = attn_mask[
                corner[0] : corner[0] + block, corner[1] : corner[1] + block
            ]
            answer[row, column] = part.any()
    return answer


@live.variant
def by_reduceat(attn_mask, block):
    q_len, k_len = attn_mask.shape
    rows = np.logical_or.reduceat(attn_mask, np.arange(0, q_len, block), axis=0)
    return np.logical_or.reduceat(rows, np.arange(0, k_len, block), axis=1)


@live.variant
def by_where_the_pairs_are(attn_mask, block):
    q_len, k_len = attn_mask.shape
    answer = np.zeros((-(-q_len // block), -(-k_len // block)), dtype=bool)
    q, k = np.nonzero(attn_mask)
    answer[q // block, k // block] = True
    return answer


@live.variant
def by_counting(attn_mask, block):
    fitted = with_nobody(attn_mask, block)
    rows, columns = (n // block for n in fitted.shape)
    blocks = fitted.reshape(rows, block, columns, block).transpose(0, 2, 1, 3)
    return blocks.reshape(rows, columns, -1).sum(axis=-1) > 0


for line in (
    "rows, columns = (-(padded.shape[0] // block), padded.shape[1] // block)",
    "rows, columns = (padded.shape[0] // block, -(padded.shape[1] // block))",
):
    live.equivalent(line, why="NumPy finds out a negative length by itself")
live.equivalent(
    "return np.any(blocks, axis=(3, 1))",
    why="the order of the axes that go does not matter",
)


positions = Exercise(mask_zoo.packed_positions, points=2, axes=("position",))


@positions.probes
def _(rng):
    a, b, c = (int(n) for n in rng.permutation([2, 4, 5]))
    yield Probe(packed_ids(rng, a, b, c), why="several documents")
    yield Probe(packed_ids(rng, c, a + 1, b, 3), why="several documents")
    yield Probe(packed_ids(rng, b, 1, c, 1, a), why="documents of one position")
    yield Probe(packed_ids(rng, a, a, a), why="documents of one length")
    yield Probe(packed_ids(rng, c + 1), why="a single document")
    zeros = packed_ids(rng, b, c, 3)
    numbers = np.unique(zeros)
    zeros = np.where(zeros == numbers[1], 0, zeros)
    yield Probe(zeros, why="a document with the number 0")


@positions.reason
def _(index, document_ids):
    [place] = index
    first = int(np.argmax(document_ids == document_ids[place]))
    return f"the document there, {document_ids[place]}, begins at {first}"


@positions.family
def positions_family(
    document_ids, *, is_first=lambda ids: np.append(True, ids[1:] != ids[:-1]), start=0
):
    index = np.arange(len(document_ids))
    first = np.maximum.accumulate(np.where(is_first(document_ids), index, 0))
    return index - first + start


positions.mistake(
    "Positions are not counted anew: they go on through all documents.",
    hint="Where does a document begin? There the count is 0.",
    seen="huggingface/nanoVLM#201",
    is_first=lambda ids: np.arange(len(ids)) == 0,
)
positions.mistake(
    "Positions are counted from 1.",
    hint="The first position of a document is 0.",
    start=1,
)
positions.mistake(
    "A new document is noticed only where its number is larger than the one before.",
    hint="The numbers are names: a document begins where the number is another one.",
    is_first=lambda ids: np.append(True, ids[1:] > ids[:-1]),
)
positions.mistake(
    "The count starts anew one position too late: at a document's second position.",
    hint="Compare each number with the one before it, not the one before with that "
    "before it.",
    is_first=lambda ids: np.append([True, False], ids[1:-1] != ids[:-2]),
)
positions.mistake(
    "The count starts anew one position too early: at the last position of the "
    "document before.",
    hint="Compare each number with the one before it, not with the one after it.",
    is_first=lambda ids: np.append(ids[1:] != ids[:-1], False),
)


@positions.mistake(
    "After the first document, the positions are one too large: the count goes on from "
    "1.",
    hint="What is the first number of the second document?",
)
def from_one_later(document_ids):
    counted = mask_zoo.packed_positions(document_ids)
    return counted + (document_ids != document_ids[0])


@positions.mistake(
    "The lengths of the documents are used in the order of their numbers, not in that "
    "in which they stand.",
    hint="np.unique and np.bincount sort. Which document stands first?",
)
def sorted_lengths(document_ids):
    _, lengths = np.unique(document_ids, return_counts=True)
    return np.concatenate([np.arange(n) for n in lengths])


@positions.mistake(
    "It is the number of the document, counted from 0, not the position in it.",
    hint="A sum over the beginnings counts documents. What counts positions?",
)
def number_of_the_document(document_ids):
    return np.cumsum(np.append(0, document_ids[1:] != document_ids[:-1]))


@positions.mistake(
    "It is the place at which the document begins, not the position in it.",
    hint="How far is a position from there?",
)
def place_of_the_beginning(document_ids):
    index = np.arange(len(document_ids))
    return index - mask_zoo.packed_positions(document_ids)


@positions.mistake(
    "The positions of each document are counted from its end.",
    hint="The first position of a document is 0.",
)
def from_the_end(document_ids):
    return mask_zoo.packed_positions(document_ids[::-1])[::-1].copy()


@positions.variant
def one_by_one(document_ids):
    counted: list[int] = []
    for place, number in enumerate(document_ids):
        same = place > 0 and document_ids[place - 1] == number
        counted.append(counted[-1] + 1 if same else 0)
    return np.array(counted)


@positions.variant
def by_the_first_of_each(document_ids):
    same = document_ids[:, None] == document_ids
    return np.arange(len(document_ids)) - same.argmax(axis=1)


@positions.variant
def by_pieces(document_ids):
    ends = np.flatnonzero(np.diff(document_ids)) + 1
    return np.concatenate(
        [np.arange(len(piece)) for piece in np.split(document_ids, ends)]
    )


@positions.variant
def by_counting_the_same_before(document_ids):
    same = document_ids[:, None] == document_ids
    return np.tril(same, k=-1).sum(axis=1)


positions.equivalent(
    "is_first = np.append(False, document_ids[1:] != document_ids[:-1])",
    why="the first document begins at 0, which is there already",
)
positions.equivalent(
    "return index - np.maximum.accumulate(np.where(is_first, index, -1))",
    why="position 0 is always a beginning, so a larger number is there from the start",
)


attend = Exercise(
    mask_zoo.windowed_attention,
    points=3,
    axes=("batch row", "head", "query", None),
    adapter="without_square",
)
attend.forbid(
    "scipy", "torch", why="it is the task to say which keys each query needs at all"
)
attend.forbid("tracemalloc", why="by it the memory is counted that your function takes")


def quarters(rng, *shape, kind: type = float):
    """Numbers that single precision holds exactly, and products of them, too."""
    return (rng.integers(-6, 7, shape) / 4).astype(kind)


@attend.probes
def _(rng):
    b, h, k, v = (int(n) for n in rng.permutation([2, 3, 5, 6]))
    few, more = (int(n) for n in rng.permutation([3, 4]))

    def arrays(*leading, t, k=k, v=v, kind: type = float):
        query, key = (quarters(rng, *leading, t, k, kind=kind) for _ in range(2))
        return query, key, quarters(rng, *leading, t, v, kind=kind)

    def weights(*leading, t):
        query, key, _ = arrays(*leading, t=t)
        return query, key, np.broadcast_to(np.eye(t), (*leading, t, t)).copy()

    as_weights = "an answer that is the weights"
    yield Probe(*weights(b, h, t=2 * few + 2), few, why=as_weights)
    yield Probe(*weights(h, t=2 * more + 1), more, why=as_weights)
    yield Probe(*arrays(b, h, t=3 * more), more, why="a length that is a multiple")
    yield Probe(*arrays(h, b, t=3 * few + 1), few, why="a length that is no multiple")
    yield Probe(*arrays(t=4 * few + 2), few, why="no batch and no heads")
    yield Probe(
        *arrays(b, t=more + 1), 2 * more, why="a window wider than the sequence"
    )
    yield Probe(*arrays(b, h, t=few + 1), 1, why="a window of 1")
    yield Probe(*arrays(4, 4, t=4, k=4, v=4), 4, why="all sizes equal")
    yield Probe(*arrays(b, h, t=3 * few + 2, kind=np.float32), few, why="float32")
    query, key, value = arrays(h, t=2 * more + 3, k=4)
    yield Probe(64 * query, 32 * key, value, more, why="large scores")
    yield Probe(*far_below(rng, 2 * few + 3, few), why="hidden keys of very high score")
    long = arrays(t=int(rng.integers(1600, 1700)), k=2, v=3, kind=np.float32)
    yield Probe(*long, 7, why="a long sequence")


def far_below(rng, length, window):
    """Visible scores lower than any -1e9 that stands for hidden; hidden ones high."""
    unit = 2.0**17  # with K = 16 all scores are exact in float32
    seen = mask_zoo.materialise(mask_zoo.sliding_window(window), length, length)
    query, key = np.zeros((length, 16)), np.zeros((length, 16))
    query[:, :length] = unit * np.eye(length)
    low = rng.integers(-4, -1, seen.shape)
    high = rng.integers(1, 9, seen.shape)
    key[:, :length] = unit * np.where(seen, low, high).T
    return query, key, np.eye(length), window


@attend.law
def who_is_seen(answer, query, key, value, window):
    """Where the values are unit vectors the answer is the weights."""
    length = query.shape[-2]
    if answer.shape != (*query.shape[:-1], length) or value.shape[-1] != length:
        return None
    if not np.all(value == np.eye(length)):
        return None
    names = ("batch row", "head", "query")[-answer.ndim + 1 :]
    start = "In this call the values are unit vectors, so the answer is the weights. "

    def place(index):
        return ", ".join(f"{n} {i}" for n, i in zip(names, index, strict=True))

    for *index, k in np.argwhere(np.abs(answer) > 1e-6):
        q = index[-1]
        if k > q:
            return f"{start}{place(index).capitalize()} sees key {k}, in its future."
        if k <= q - window:
            return (
                f"{start}{place(index).capitalize()} sees key {k}; its window of "
                f"{window} begins at {max(q - window + 1, 0)}."
            )
    totals = answer.sum(axis=-1)
    for index in np.argwhere(~np.isclose(totals, 1, atol=1e-4)):
        return (
            f"{start}Those of {place(index)} sum to {totals[tuple(index)]:.4g}, not to "
            "1."
        )
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    seen = mask_zoo.materialise(mask_zoo.sliding_window(window), length, length)
    best = np.where(seen, scores, -np.inf).max(axis=-1, keepdims=True)
    for *index, k in np.argwhere(seen & (scores > best - 5) & (answer == 0)):
        return (
            f"{start}{place(index).capitalize()} does not see key {k}, which is in its "
            f"window of {window}."
        )
    return None


def window_of(q, k, window):
    return (k <= q) & (q - k < window)


def plain(weights):
    return weights


@attend.family
def attend_family(
    query, key, value, window, *, sees=window_of, scale=math.sqrt, fill=-np.inf,
    weigh=softmax, after=plain,
):  # fmt: skip
    """A few queries at a time, so that this too is possible for long sequences."""
    length, outputs = query.shape[-2], []
    for start in range(0, length, 16):
        q, k = np.arange(start, min(start + 16, length))[:, None], np.arange(length)
        scores = query[..., start : start + 16, :] @ key.swapaxes(-1, -2)
        scores = scores / scale(query.shape[-1])
        scores = np.where(sees(q, k, window), scores, fill)
        outputs.append(after(weigh(scores)) @ value)
    return np.concatenate(outputs, axis=-2)


attend.mistake(
    "The window is one too wide: each query sees itself and `window` keys before it.",
    hint="Count the keys that the last query sees: they should be `window` in all.",
    sees=lambda q, k, w: window_of(q, k, w + 1),
)
attend.mistake(
    "The window is one too narrow: each query sees itself and `window` - 2 keys before "
    "it.",
    hint="Count the keys that the last query sees: they should be `window` in all.",
    sees=lambda q, k, w: window_of(q, k, w - 1),
)
attend.mistake(
    "No query sees its own key; it sees the `window` before it.",
    hint="What does the very first query look at, if not at itself?",
    sees=lambda q, k, w: (k < q) & (q - k <= w),
)
attend.mistake(
    "The window is not used: each query sees the whole past.",
    hint="Which is the first key that the last query may see?",
    sees=lambda q, k, w: k <= q,
)
attend.mistake(
    "Every query sees every key.",
    hint="Which keys may query 0 see?",
    sees=lambda q, k, w: (q == q) & (k == k),
)
attend.mistake(
    "The future is not hidden: the window only ends on the left.",
    hint="Which keys may query 0 see?",
    sees=lambda q, k, w: q - k < w,
)
attend.mistake(
    "The window goes to both sides.",
    hint="Which keys may query 0 see?",
    sees=lambda q, k, w: abs(q - k) < w,
)
attend.mistake(
    "The sequence is cut into chunks of `window`, and a query sees the past of its own "
    "chunk alone.",
    hint="What does the first query of the second chunk see? It needs keys of the "
    "chunk before.",
    sees=lambda q, k, w: (k <= q) & (q // w == k // w),
)
attend.mistake(
    "The sequence is cut into chunks of `window`, and a query sees all of its own "
    "chunk, its future too.",
    hint="Inside a chunk there is a past and a future, as everywhere.",
    sees=lambda q, k, w: q // w == k // w,
)
attend.mistake(
    "A query sees its own chunk up to itself and all of the chunk before: up to twice "
    "the window.",
    hint="The chunk before has to be there, but not every query sees all of it.",
    sees=lambda q, k, w: (k <= q) & (q // w - k // w <= 1),
)
attend.mistake(
    "The window runs round: the first queries see the last keys.",
    hint="A negative index counts from the end, and np.roll brings in at one end what "
    "falls out at the other. How many keys has query 0?",
    sees=lambda q, k, w: (q - k) % k.size < w,
)
attend.mistake(
    "Seen are the first `window` keys of the sequence.",
    hint="The window moves along with the query.",
    sees=lambda q, k, w: (k <= q) & (k < w),
)
attend.mistake(
    "The scores are not scaled.",
    hint="What does attention_scores do besides the dot product?",
    scale=lambda d_head: 1,
)
attend.mistake(
    "The scores are divided by K, not by its square root.",
    hint="What does attention_scores divide by?",
    scale=lambda d_head: d_head,
)
attend.mistake(
    "Hidden scores become 0, which is a score like any other.",
    hint="What is exp(0)?",
    fill=0,
)
attend.mistake(
    "Hidden scores become a finite number, such as -1e9: where all visible ones are "
    "lower, the hidden keys get all the weight.",
    hint="Which number is lower than any score?",
    fill=-1e9,
)
attend.mistake(
    "All keys of the window get the same weight.",
    hint="Where does the softmax of the scores come in?",
    weigh=lambda s: (s != -np.inf) / (s != -np.inf).sum(axis=-1, keepdims=True),
)
attend.mistake(
    "The exponentials of the scores are not divided by their sum.",
    hint="What do the weights of a query have to sum to?",
    weigh=lambda s: np.exp(s - s.max(axis=-1, keepdims=True)),
)


@attend.mistake(
    "Before the first key stand keys of zeros, and they count: the first queries give "
    "weight to them.",
    hint="The score of a key of zeros is 0, and exp(0) is 1. What fills up the first "
    "window has to be hidden.",
)
def padded_keys_count(query, key, value, window):
    query, key, value = (
        np.pad(x, [(0, 0)] * (x.ndim - 2) + [(window - 1, 0), (0, 0)])
        for x in (query, key, value)
    )
    return attend_family(query, key, value, window)[..., window - 1 :, :]


@attend.mistake(
    "The queries of the last chunk are left out if it is smaller than the window: "
    "their outputs are 0.",
    hint="How many chunks of 4 are there in 10 positions? // rounds down.",
)
def no_smaller_chunk(query, key, value, window):
    answer = attend_family(query, key, value, window)
    length = query.shape[-2]
    answer[..., length - length % window :, :] = 0
    return answer


@attend.mistake(
    "Every batch row has the answer of batch row 0.",
    hint="What comes before the last two axes stays as it is: count from the right.",
)
def first_row_for_all(query, key, value, window):
    answer = attend_family(query, key, value, window)
    return answer if answer.ndim < 3 else np.repeat(answer[:1], len(answer), axis=0)


@attend.variant
def query_by_query_in_windows(query, key, value, window):
    outputs = []
    for t in range(query.shape[-2]):
        near = slice(max(0, t + 1 - window), t + 1)
        scores = (key[..., near, :] @ query[..., t, :, None])[..., 0]
        weights = softmax(scores / np.sqrt(query.shape[-1]))
        outputs.append((weights[..., None] * value[..., near, :]).sum(axis=-2))
    return np.stack(outputs, axis=-2)


@attend.variant
def by_offsets(query, key, value, window):
    """One diagonal of the scores after the other."""
    length = query.shape[-2]
    scores = np.full((*query.shape[:-1], min(window, length)), -np.inf)
    for back in range(scores.shape[-1]):
        near = key[..., : length - back, :]
        dots = (query[..., back:, :] * near).sum(axis=-1)
        scores[..., back:, back] = dots / math.sqrt(query.shape[-1])
    weights = softmax(scores)
    answer = np.zeros(value.shape)
    for back in range(scores.shape[-1]):
        share = weights[..., back:, back, None]
        answer[..., back:, :] += share * value[..., : length - back, :]
    return answer


@attend.variant
def by_windows_that_overlap(query, key, value, window):
    def windows(x):
        padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(window - 1, 0), (0, 0)])
        return np.lib.stride_tricks.sliding_window_view(padded, window, axis=-2)

    length = query.shape[-2]
    scores = np.einsum("...tk,...tkw->...tw", query, windows(key))
    scores = scores / math.sqrt(query.shape[-1])
    real = np.arange(length)[:, None] - np.arange(window)[::-1] >= 0
    weights = softmax(np.where(real, scores, -np.inf))
    return np.einsum("...tw,...tkw->...tk", weights, windows(value))


@attend.variant
def by_gathering(query, key, value, window):
    length = query.shape[-2]
    places = np.arange(length)[:, None] - np.arange(window)  # (T, window)
    near = np.maximum(places, 0)
    scores = (query[..., :, None, :] * key[..., near, :]).sum(axis=-1)
    scores = np.where(places >= 0, scores / query.shape[-1] ** 0.5, -np.inf)
    return (softmax(scores)[..., None] * value[..., near, :]).sum(axis=-2)


@attend.variant
def a_few_queries_against_all_keys(query, key, value, window):
    return attend_family(query, key, value, window)


for line in (
    "seq_len = key.shape[-2]",
    "seq_len = value.shape[-2]",
    "end = min(seq_len, start + window)",
    "first = max(0, start - window + 1)",
):
    attend.equivalent(line, why="the same number, named or ordered otherwise")
for less in ("- 1", "", "+ 0"):
    attend.equivalent(
        f"first = max({f'start - window {less}'.strip()}, 0)",
        why="the mask hides the keys that come in addition",
    )
