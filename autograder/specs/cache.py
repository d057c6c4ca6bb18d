"""Chapter 12: the key-value cache."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import cache
from solutions.attention import scaled_dot_product_attention, softmax
from solutions.heads import repeat_kv
from solutions.masks import causal_mask

CACHE = ("batch row", "key-value head", "position", "column")
OUTPUT = ("batch row", "head", "new token", "column")


def quarters(rng, *shape, kind: type = float):
    """Numbers that single precision holds exactly, and products of them, too."""
    return (rng.integers(-6, 7, shape) / 4).astype(kind)


update = Exercise(cache.update_cache, points=2, axes=CACHE)


def numbered(rng, first, *shape, kind: type = float):
    """An array in which every number is another one: each tells where it came from."""
    count = math.prod(shape)
    return rng.permutation(np.arange(first, first + count)).astype(kind).reshape(shape)


@update.probes
def _(rng):
    b, g, k = (int(n) for n in rng.choice(range(2, 6), 3, replace=False))
    t = int(rng.integers(2, 5))
    start, rest = int(rng.integers(3, 6)), int(rng.integers(2, 4))

    def arrays(b, g, t, k, start, rest, kind: type = float):
        shape = (b, g, start + t + rest, k)
        old = numbered(rng, 1000, *shape, kind=kind)
        return old, numbered(rng, 1, b, g, t, k, kind=kind), start

    yield Probe(*arrays(b, g, t, k, start, rest), why="several tokens in the middle")
    yield Probe(*arrays(g, k, t, b, start, rest), why="several tokens in the middle")
    yield Probe(*arrays(b, g, 1, k, start, 7), why="a single token in the middle")
    yield Probe(*arrays(k, b, t + 1, g, 0, rest), why="tokens at the beginning")
    yield Probe(*arrays(b, g, t, k, start, 0), why="tokens up to the last place")
    yield Probe(*arrays(b, g, t + 2, k, 0, 0), why="tokens that fill all of the cache")
    yield Probe(*arrays(5, 5, 2, 5, 1, 2), why="sizes that are all equal")
    yield Probe(*arrays(b, g, t, k, 2, 1, np.float32), why="float32")


@update.law
def where_a_number_comes_from(answer, cache_, new, start):
    expected = cache.update_cache(cache_, new, start)
    if answer.shape != expected.shape or not (answer != expected).any():
        return None
    index = tuple(int(i) for i in np.argwhere(answer != expected)[0])

    def whence(number):
        for name, word, array in (("new", "token", new), ("cache", "position", cache_)):
            for place in np.argwhere(array == number):
                b, g, position, k = (int(i) for i in place)
                if (b, g, k) == (index[0], index[1], index[3]):
                    return f"`{name}` has for {word} {position}"
                return (
                    f"`{name}` has at batch row {b}, head {g}, {word} {position}, "
                    f"column {k}"
                )
        return None

    found = whence(answer[index])
    if found is None:
        return None
    b, g, position, k = index
    return (
        f"At batch row {b}, head {g}, position {position}, column {k} stands the "
        f"number that {found}; there belongs the one that {whence(expected[index])}."
    )


@update.family
def update_family(
    old, new, start, *, at=lambda start, t, max_len: start,
    rest=lambda old, start, end: old, tokens=lambda new: new,
    write=lambda before, new: new,
):  # fmt: skip
    t = new.shape[2]
    first = at(start, t, old.shape[2])
    answer = np.array(rest(old.copy(), first, first + t))
    answer[:, :, first : first + t] = write(
        answer[:, :, first : first + t], tokens(new)
    )
    return answer


update.mistake(
    "`start` is not used: the new tokens stand at the beginning.",
    hint="At the beginning stand the oldest tokens, and they are still needed.",
    at=lambda start, t, max_len: 0,
)
update.mistake(
    "`start` is not used: the new tokens stand in the last places of the cache.",
    hint="The cache may be far from full. After which position do the new tokens come?",
    at=lambda start, t, max_len: max_len - t,
)
update.mistake(
    "The new tokens stand one place too late.",
    hint="Positions count from 0: after four tokens the next one is number 4.",
    at=lambda start, t, max_len: start + 1,
)
update.mistake(
    "The new tokens stand one place too early: the last token before them is gone.",
    hint="Positions count from 0: after four tokens the next one is number 4.",
    at=lambda start, t, max_len: start - 1 if start else 0,
)
update.mistake(
    "Outside of the new tokens everything is 0.",
    hint="Is the array that comes back a copy of the cache, or a new one of zeros?",
    rest=lambda old, start, end: np.zeros_like(old),
)
update.mistake(
    "What stood behind the new tokens is 0.",
    hint="Only the places of the new tokens change.",
    rest=lambda old, start, end: np.where(
        np.arange(old.shape[2])[:, None] >= end, 0, old
    ),
)
update.mistake(
    "What stood before the new tokens is 0.",
    hint="Only the places of the new tokens change.",
    rest=lambda old, start, end: np.where(
        np.arange(old.shape[2])[:, None] < start, 0, old
    ),
)
update.mistake(
    "The new tokens are added to what stood in their places.",
    hint="A place that is not filled need not be 0. How do = and += differ?",
    write=lambda before, new: before + new,
)
update.mistake(
    "All new tokens are the first of them.",
    hint="There can be several new tokens: how many places do they need?",
    tokens=lambda new: new[:, :, :1],
)
update.mistake(
    "All batch rows get the new tokens of batch row 0.",
    hint="Every sequence of the batch has keys and values of its own.",
    tokens=lambda new: new[:1],
)
update.mistake(
    "All heads get the new tokens of head 0.",
    hint="Every head has keys and values of its own.",
    tokens=lambda new: new[:, :1],
)


@update.mistake(
    "Only the first of the new tokens is written.",
    hint="There can be several new tokens: how many places do they need?",
)
def first_alone(old, new, start):
    return update_family(old, new[:, :, :1], start)


@update.mistake(
    "Only batch row 0 gets its new tokens.",
    hint="Which axis does the index stand for that comes first?",
)
def first_row_alone(old, new, start):
    answer = old.copy()
    answer[0] = cache.update_cache(old, new, start)[0]
    return answer


@update.mistake(
    "The new tokens are appended behind the whole cache, which has grown.",
    hint="The cache has room for them already: its shape stays as it is.",
)
def appended(old, new, start):
    return np.concatenate([old, new], axis=2)


@update.mistake(
    "The answer ends with the new tokens: the places behind them are gone.",
    hint="The shape of the cache stays as it is, from the first token to the last.",
)
def cut_behind(old, new, start):
    return np.concatenate([old[:, :, :start], new], axis=2)


@update.mistake(
    "The new tokens are put in between: the places behind them have moved on.",
    hint="The new tokens take the place of what stood there.",
)
def put_in_between(old, new, start):
    return np.concatenate([old[:, :, :start], new, old[:, :, start:]], axis=2)


@update.mistake(
    "The oldest tokens have been moved out, and the new ones stand at the end.",
    hint="Nothing moves: only the places from `start` on change.",
)
def moved_out(old, new, start):
    return np.concatenate([old, new], axis=2)[:, :, new.shape[2] :]


@update.mistake(
    "The new tokens are appended as more batch rows.",
    hint="np.concatenate joins along axis 0 unless you say otherwise.",
)
def as_batch_rows(old, new, start):
    return np.concatenate([old, new])


@update.mistake(
    "The new tokens are appended as more heads.",
    hint="The axes are batch, head, position, column. Which one are the tokens?",
)
def as_heads(old, new, start):
    return np.concatenate([old, new], axis=1)


@update.mistake(
    "A single new token is copied into all places from `start` to the end.",
    hint="A slice without an end goes to the end of the array. How many places do the "
    "new tokens need?",
)
def up_to_the_end(old, new, start):
    answer = old.copy()
    answer[:, :, start:] = new
    return answer


@update.variant
def by_concatenation(old, new, start):
    end = start + new.shape[2]
    return np.concatenate([old[:, :, :start], new, old[:, :, end:]], axis=2)


@update.variant
def by_where(old, new, start):
    positions = np.arange(old.shape[2])
    token = positions - start
    inside = (token >= 0) & (token < new.shape[2])
    return np.where(inside[:, None], new[:, :, np.where(inside, token, 0)], old)


@update.variant
def token_by_token(old, new, start):
    answer = np.array(old)
    for token in range(new.shape[2]):
        answer[:, :, start + token, :] = new[:, :, token, :]
    return answer


@update.variant
def by_a_product(old, new, start):
    to_place = np.eye(old.shape[2])[start : start + new.shape[2]]  # (T, max_len)
    kept = old * (1 - to_place.sum(axis=0))[:, None]
    return kept + np.einsum("tp,bgtk->bgpk", to_place, new)


@update.variant
def axis_in_front(old, new, start):
    answer = np.moveaxis(old, 2, 0).copy()
    answer[np.arange(len(new[0, 0])) + start] = np.moveaxis(new, 2, 0)
    return np.moveaxis(answer, 0, 2)


positions = Exercise(cache.cache_positions, points=1, axes=("new token",))


@positions.probes
def _(rng):
    new, past = sorted(int(n) for n in rng.choice(range(2, 8), 2, replace=False))
    yield Probe(new, past, why="several tokens after fewer cached ones")
    yield Probe(past, new, why="several tokens after more cached ones")
    yield Probe(past + 3, 1, why="a single token")
    yield Probe(0, new + 1, why="an empty cache")
    yield Probe(past, past, why="as many new tokens as cached ones")
    yield Probe(1, new, why="one cached token")


@positions.reason
def _(index, past_len, new_len):
    [token] = index
    cached = "1 cached token" if past_len == 1 else f"{past_len} cached tokens"
    return f"there are {cached} before new token {token}"


@positions.mistake(
    "The positions restart at 0: `past_len` is not used.",
    hint="In the cached tokens' company, the new ones are not the first. With which "
    "position did the last cached token end?",
    seen="huggingface/transformers#15751",
)
def restarted(past_len, new_len):
    return np.arange(new_len)


@positions.mistake(
    "Every position is too large by 1.",
    hint="The cached tokens stand at 0 to past_len - 1. Which one is next?",
)
def one_too_many(past_len, new_len):
    return np.arange(past_len + 1, past_len + 1 + new_len)


@positions.mistake(
    "Every position is too small by 1: the first new token has that of the last cached "
    "one.",
    hint="The cached tokens stand at 0 to past_len - 1. Which one is next?",
)
def one_too_few(past_len, new_len):
    return np.arange(past_len - 1, past_len - 1 + new_len)


@positions.mistake(
    "`new_len` is taken for the end, not for the number of new tokens.",
    hint="np.arange stops before its second argument. Where do the new tokens stop?",
)
def taken_for_the_end(past_len, new_len):
    return np.arange(past_len, new_len)


@positions.mistake(
    "The positions of the cached tokens are there, too.",
    hint="The cached tokens have had their positions. How long should the answer be?",
)
def all_positions(past_len, new_len):
    return np.arange(past_len + new_len)


@positions.mistake(
    "These are the positions of the cached tokens, not of the new ones.",
    hint="How long should the answer be, and with which position does it start?",
)
def past_positions(past_len, new_len):
    return np.arange(past_len)


@positions.mistake(
    "All new tokens have the position of the first of them.",
    hint="New tokens come one after the other, in a prompt as well.",
)
def all_the_first(past_len, new_len):
    return np.full(new_len, past_len)


@positions.mistake(
    "All new tokens have the position of the last of them.",
    hint="New tokens come one after the other, in a prompt as well.",
)
def all_the_last(past_len, new_len):
    return np.full(new_len, past_len + new_len - 1)


@positions.mistake(
    "There is one position too many at the end.",
    hint="np.arange stops before its second argument.",
)
def one_more(past_len, new_len):
    return np.arange(past_len, past_len + new_len + 1)


@positions.variant
def counted_and_moved(past_len, new_len):
    return past_len + np.arange(new_len)


@positions.variant
def the_last_of_all(past_len, new_len):
    return np.arange(past_len + new_len)[past_len:]


@positions.variant
def by_a_list(past_len, new_len):
    return np.array([past_len + token for token in range(new_len)])


@positions.variant
def as_a_mask_is_counted(past_len, new_len):
    real = np.ones(past_len + new_len, dtype=bool)
    return (np.cumsum(real) - 1)[-new_len:]


decode = Exercise(
    cache.decode_step,
    points=3,
    parts=("output", "cache_k", "cache_v"),
    axes=(OUTPUT, CACHE, CACHE),
)


def a_step(rng, b, g, n_rep, t, past, room, k, kind: type = float):
    """Arguments of a step; in the places that are not filled stands loud nonsense."""
    shape = (b, g, past + t + room, k)
    cache_k = rng.choice([-1, 1], shape) * rng.integers(60, 100, shape)
    cache_v = rng.choice([-1, 1], shape) * rng.integers(1000, 2000, shape)
    cache_k, cache_v = cache_k.astype(kind), cache_v.astype(kind)
    cache_k[:, :, :past] = quarters(rng, b, g, past, k)
    cache_v[:, :, :past] = quarters(rng, b, g, past, k)
    key, value = quarters(rng, 2, b, g, t, k, kind=kind)
    query = quarters(rng, b, g * n_rep, t, k, kind=kind)
    return query, key, value, cache_k, cache_v, past


@decode.probes
def _(rng):
    b, g = (int(n) for n in rng.permutation([2, 3]))
    t, k = (int(n) for n in rng.permutation([4, 5]))
    past, room = int(rng.integers(5, 8)), int(rng.integers(2, 4))

    for why, t_, past_ in (
        ("an output that is the weights", t, past),
        ("an output that is the weights, for a single new token", 1, past + 1),
    ):
        places = past_ + t_ + room
        query, key, _, cache_k, cache_v, _ = a_step(
            rng, b, g, 2, t_, past_, room, places
        )
        cache_v[:] = np.eye(places)
        value = cache_v[:, :, past_ : past_ + t_].copy()
        yield Probe(query, key, value, cache_k, cache_v, past_, why=why)
    yield Probe(*a_step(rng, b, g, 2, t, past, room, k), why="several new tokens")
    yield Probe(*a_step(rng, g, b, 3, k, past, room, t), why="several new tokens")
    yield Probe(*a_step(rng, b, g, 2, 1, past, room, k), why="a single new token")
    yield Probe(*a_step(rng, b, g, 3, t, 0, room, k), why="an empty cache")
    yield Probe(*a_step(rng, b, g, 2, t, past, 0, k), why="a cache that gets full")
    yield Probe(*a_step(rng, b, 1, g, t, past, room, k), why="one head for all")
    yield Probe(*a_step(rng, b, k, 1, t, past, 1, g), why="nothing to share")
    yield Probe(*a_step(rng, 3, 3, 1, 3, 3, 3, 3), why="sizes that are all equal")
    yield Probe(*a_step(rng, b, g, 2, t, past, 1, k, np.float32), why="float32")
    query, key, value, *rest = a_step(rng, b, g, 2, t, past, room, 4)
    yield Probe(32 * query, 16 * key, value, *rest, why="large scores")


def observed_weights(weights, right, past_len, token, place):
    """What is wrong with weights, and where; `place` says what a key is."""
    start = "In this call the values are unit vectors, so the output is the weights. "

    def giver(b, head, query):
        return f"head {head} of batch row {b} gives {token} {query}"

    sums = weights.sum(axis=-1)
    off = np.argwhere(~np.isclose(sums, 1, atol=1e-4))
    if len(off):
        total = sums[tuple(off[0])]
        return f"{start}Those that {giver(*off[0])} add up to {total:.4g}, not to 1."
    own = past_len + np.arange(weights.shape[2])[:, None]
    future = np.arange(weights.shape[3]) > own
    leaks = np.argwhere(future & (np.abs(weights) > 1e-4))
    if len(leaks):
        *row, key = leaks[0]
        return (
            f"{start}Of those that {giver(*row)}, which stands at position "
            f"{past_len + row[-1]}, {weights[tuple(leaks[0])]:.4g} is for position "
            f"{key}, {place(key)}."
        )
    unseen = np.argwhere((weights == 0) & (right > 0.01))
    if len(unseen):
        *row, key = unseen[0]
        return (
            f"{start}Of those that {giver(*row)}, which stands at position "
            f"{past_len + row[-1]}, nothing is for position {key}, which it may see."
        )
    same = np.isclose(weights, right, atol=1e-5)
    good = same.all(axis=(0, 2, 3))
    if good.any() and not good.all():
        numbers = " and ".join(map(str, np.flatnonzero(good)))
        heads = "heads" if good.sum() > 1 else "head"
        return f"{start}Right are those of {heads} {numbers} alone."
    wrong = np.argwhere(~same)
    if not len(wrong):
        return None
    *row, key = wrong[0]
    return (
        f"{start}Of those that {giver(*row)}, {weights[tuple(wrong[0])]:.4g} is for "
        f"position {key}; it should be {right[tuple(wrong[0])]:.4g}."
    )


@decode.law
def who_gets_weight(answer, query, key, value, cache_k, cache_v, past_len):
    right, _, filled_v = cache.decode_step(
        query, key, value, cache_k, cache_v, past_len
    )
    places = cache_v.shape[2]
    if answer[0].shape != right.shape or cache_v.shape[3] != places:
        return None
    if not np.all(filled_v == np.eye(places)):
        return None
    end = past_len + query.shape[2]

    def place(key):
        return "which comes after it" if key < end else "which is not filled"

    return observed_weights(answer[0], right, past_len, "new token", place)


def in_order(new_k, new_v, cache_k, cache_v, end):
    return new_k, new_v


def all_seen(q_len, k_len):
    return np.ones((q_len, k_len), dtype=bool)


@decode.family
def decode_family(
    query, key, value, cache_k, cache_v, past_len, *, at=lambda past_len: past_len,
    read=lambda end, max_len: end, see=causal_mask, share=repeat_kv,
    scale=lambda heads, d_head: math.sqrt(d_head), weigh=softmax, back=in_order,
    written=lambda key, value: (key, value), out=lambda output: output,
):  # fmt: skip
    key, value = written(key, value)
    start = at(past_len)
    new_k = cache.update_cache(cache_k, key, start)
    new_v = cache_v if value is None else cache.update_cache(cache_v, value, start)
    _, heads, q_len, d_head = query.shape
    end = past_len + q_len
    k_len = min(read(end, cache_k.shape[2]), cache_k.shape[2])
    n_rep = heads // key.shape[1]
    keys, values = share(new_k[:, :, :k_len], n_rep), share(new_v[:, :, :k_len], n_rep)
    scores = query @ keys.swapaxes(-1, -2) / scale(heads, d_head)
    with np.errstate(invalid="ignore"):  # a row that sees nothing is 0/0
        weights = weigh(np.where(see(q_len, k_len), scores, -np.inf))
    return out(weights @ values), *back(new_k, new_v, cache_k, cache_v, end)


decode.mistake(
    "The triangle of the mask starts in the top left corner: the new tokens see as if "
    "they were the first.",
    hint="The queries are the last of the positions, not the first. For a single new "
    "token, which keys does your mask show?",
    seen="google/flax#5591",
    see=lambda q_len, k_len: np.tri(q_len, k_len, dtype=bool),
)
decode.mistake(
    "There is no mask: a new token sees the new ones after it.",
    hint="For a single new token no mask is needed. And for several?",
    see=all_seen,
)
decode.mistake(
    "Every new token also sees the one right after it.",
    hint="Write down the mask of two new tokens after three cached ones.",
    see=lambda q_len, k_len: np.tri(q_len, k_len, k_len - q_len + 1, dtype=bool),
)
decode.mistake(
    "No new token sees itself.",
    hint="The new token's own key is written into the cache before it looks.",
    see=lambda q_len, k_len: np.tri(q_len, k_len, k_len - q_len - 1, dtype=bool),
)
decode.mistake(
    "A new token sees the cached ones and itself, but not the new ones before it.",
    hint="Several new tokens are a piece of the text, too: the second one follows the "
    "first.",
    see=lambda q_len, k_len: (
        (np.arange(k_len) < k_len - q_len) | np.eye(q_len, k_len, k_len - q_len, bool)
    ),
)
decode.mistake(
    "The cached tokens are not seen: the new ones see only each other.",
    hint="What is the cache for? Which keys do the queries meet?",
    see=lambda q_len, k_len: (
        causal_mask(q_len, k_len) & (np.arange(k_len) >= k_len - q_len)
    ),
)
decode.mistake(
    "Only the cached tokens are seen: the new ones see neither themselves nor each "
    "other.",
    hint="Write first, then look: the queries meet the cache that holds the new keys.",
    see=lambda q_len, k_len: np.tile(np.arange(k_len) < k_len - q_len, (q_len, 1)),
)
decode.mistake(
    "All places of the cache are read, and the new tokens are taken for the last of "
    "them: they see places that are not filled.",
    hint="How many places are filled, once the new tokens are in?",
    read=lambda end, max_len: max_len,
)
decode.mistake(
    "Every place of the cache is seen, filled or not.",
    hint="A place that is not filled has a score, and its weight is not 0, even if it "
    "holds zeros. How many places are filled?",
    seen="huggingface/transformers#30414",
    read=lambda end, max_len: max_len,
    see=all_seen,
)
decode.mistake(
    "One place too many is read: every new token sees the one after it, and the last "
    "of them a place that is not filled.",
    hint="The cached tokens and the new ones: how many are they together?",
    read=lambda end, max_len: end + 1,
)
decode.mistake(
    "The new tokens are written from position 0 on, over the oldest ones.",
    hint="Which places are free?",
    at=lambda past_len: 0,
)
decode.mistake(
    "The keys are written into `cache_v`, too: there are no values.",
    hint="Look at the two lines that fill the caches: in what should they differ?",
    written=lambda key, value: (key, key),
)
decode.mistake(
    "Only the keys are written: the values of the new tokens are missing.",
    hint="There are two caches.",
    written=lambda key, value: (key, None),
)
decode.mistake(
    "The caches come back without the new tokens.",
    hint="The next step has to find these tokens in the caches.",
    back=lambda new_k, new_v, cache_k, cache_v, end: (cache_k, cache_v),
)
decode.mistake(
    "The caches come back only as long as they are filled.",
    hint="The caches keep their shape: the next step needs the room.",
    back=lambda new_k, new_v, cache_k, cache_v, end: (
        new_k[:, :, :end],
        new_v[:, :, :end],
    ),
)
decode.mistake(
    "In the caches that come back, all behind the new tokens is 0.",
    hint="Only the places of the new tokens change.",
    back=lambda new_k, new_v, cache_k, cache_v, end: tuple(
        np.where(np.arange(new.shape[2])[:, None] < end, new, 0)
        for new in (new_k, new_v)
    ),
)
decode.mistake(
    "The two caches come back in the opposite order.",
    hint="The keys' cache comes before the values'.",
    back=lambda new_k, new_v, cache_k, cache_v, end: (new_v, new_k),
)
decode.mistake(
    "Query heads that share a key-value head are no neighbours: they meet heads 0, 1, "
    "..., 0, 1, ...",
    hint="Query heads 0 to n_rep - 1 share key-value head 0.",
    share=lambda x, n_rep: np.tile(x, (1, n_rep, 1, 1)),
)
decode.mistake(
    "All query heads use key-value head 0.",
    hint="How many query heads share one key-value head?",
    share=lambda x, n_rep: np.repeat(x[:, :1], n_rep * x.shape[1], axis=1),
)
decode.mistake(
    "The scores are not scaled.",
    hint="The longer the vectors, the larger their dot products: by which factor?",
    scale=lambda heads, d_head: 1,
)
decode.mistake(
    "The scores are divided by K, not by its square root.",
    hint="How does the variance of a sum of K terms grow, and how its standard "
    "deviation?",
    scale=lambda heads, d_head: d_head,
)
decode.mistake(
    "The scale is made of the size of all heads together, not of one: the square root "
    "of H times K.",
    hint="How many products does one score add up?",
    scale=lambda heads, d_head: math.sqrt(heads * d_head),
)
decode.mistake(
    "The softmax runs over the new tokens, not over the keys.",
    hint="Who shares out weights, a query or a key?",
    weigh=lambda scores: softmax(np.where(np.isinf(scores), -1e9, scores), axis=-2),
)
decode.mistake(
    "The output is that of the last new token alone.",
    hint="To write the next token only the last output is needed. This function gives "
    "one for each query.",
    out=lambda output: output[:, :, -1:],
)


@decode.mistake(
    "The new tokens stand one place too late: between them and the cached ones is a "
    "place that is not filled.",
    hint="The cached tokens stand at 0 to past_len - 1. Which place is next?",
)
def with_a_gap(query, key, value, cache_k, cache_v, past_len):
    return cache.decode_step(query, key, value, cache_k, cache_v, past_len + 1)


@decode.mistake(
    "The new tokens stand one place too early: the last cached one is gone.",
    hint="The cached tokens stand at 0 to past_len - 1. Which place is next?",
)
def over_the_last(query, key, value, cache_k, cache_v, past_len):
    before = max(past_len - 1, 0)
    return cache.decode_step(query, key, value, cache_k, cache_v, before)


@decode.mistake(
    "The output is made before the new tokens are written: where they belong, the "
    "queries see what stood there before.",
    hint="Write first, then look: the queries meet the cache that holds the new keys.",
)
def looked_before_writing(query, key, value, cache_k, cache_v, past_len):
    there = slice(past_len, past_len + query.shape[2])
    output, *_ = cache.decode_step(
        query, cache_k[:, :, there], cache_v[:, :, there], cache_k, cache_v, past_len
    )
    return (
        output,
        cache.update_cache(cache_k, key, past_len),
        cache.update_cache(cache_v, value, past_len),
    )


@decode.mistake(
    "The new tokens are appended behind all places of the caches, which have grown.",
    hint="The caches have room for the new tokens already. How many places are filled?",
)
def appended_to_both(query, key, value, cache_k, cache_v, past_len):
    longer_k = np.concatenate([cache_k, key], axis=2)
    longer_v = np.concatenate([cache_v, value], axis=2)
    places = cache_k.shape[2]
    return cache.decode_step(query, key, value, longer_k, longer_v, places)


@decode.mistake(
    "The caches come back with the heads copied for the queries.",
    hint="Heads are shared so that the cache can be small. Copy them after writing, "
    "and only to look.",
)
def copied_to_keep(query, key, value, cache_k, cache_v, past_len):
    output, *caches = cache.decode_step(query, key, value, cache_k, cache_v, past_len)
    n_rep = query.shape[1] // key.shape[1]
    return output, *(repeat_kv(each, n_rep) for each in caches)


@decode.mistake(
    "The caches come first and the output last.",
    hint="The output is the first of the three.",
)
def output_last(query, key, value, cache_k, cache_v, past_len):
    output, *caches = cache.decode_step(query, key, value, cache_k, cache_v, past_len)
    return *caches, output


@decode.variant
def by_positions_over_all_places(query, key, value, cache_k, cache_v, past_len):
    cache_k = cache.update_cache(cache_k, key, past_len)
    cache_v = cache.update_cache(cache_v, value, past_len)
    own = cache.cache_positions(past_len, query.shape[2])
    attn_mask = np.arange(cache_k.shape[2]) <= own[:, None]
    n_rep = query.shape[1] // cache_k.shape[1]
    output = scaled_dot_product_attention(
        query, repeat_kv(cache_k, n_rep), repeat_kv(cache_v, n_rep), attn_mask
    )
    return output, cache_k, cache_v


@decode.variant
def without_copies(query, key, value, cache_k, cache_v, past_len):
    batch, _, q_len, d_head = query.shape
    keys = np.concatenate([cache_k[:, :, :past_len], key], axis=2)
    values = np.concatenate([cache_v[:, :, :past_len], value], axis=2)
    groups = query.reshape(batch, keys.shape[1], -1, q_len, d_head)
    scores = np.einsum("bgrqk,bgsk->bgrqs", groups, keys) / np.sqrt(d_head)
    scores += np.triu(np.full(scores.shape[-2:], -1e9), past_len + 1)
    exp = np.exp(scores - scores.max(-1, keepdims=True))
    output = np.einsum("bgrqs,bgsk->bgrqk", exp / exp.sum(-1, keepdims=True), values)
    rest = slice(past_len + q_len, None)
    return (
        output.reshape(query.shape),
        np.concatenate([keys, cache_k[:, :, rest]], axis=2),
        np.concatenate([values, cache_v[:, :, rest]], axis=2),
    )


@decode.variant
def one_token_after_the_other(query, key, value, cache_k, cache_v, past_len):
    cache_k, cache_v = cache_k.copy(), cache_v.copy()
    n_rep = query.shape[1] // key.shape[1]
    output = np.zeros_like(query)
    for token in range(query.shape[2]):
        place = past_len + token
        cache_k[:, :, place], cache_v[:, :, place] = (
            key[:, :, token],
            value[:, :, token],
        )
        output[:, :, token] = scaled_dot_product_attention(
            query[:, :, token, None],
            np.repeat(cache_k[:, :, : place + 1], n_rep, 1),
            np.repeat(cache_v[:, :, : place + 1], n_rep, 1),
        )[:, :, 0]
    return output, cache_k, cache_v


@decode.variant
def head_by_head(query, key, value, cache_k, cache_v, past_len):
    end = past_len + query.shape[2]
    caches = [np.array(cache_k), np.array(cache_v)]
    caches[0][:, :, past_len:end], caches[1][:, :, past_len:end] = key, value
    n_rep = query.shape[1] // key.shape[1]
    output = [
        scaled_dot_product_attention(
            query[:, head],
            caches[0][:, head // n_rep, :end],
            caches[1][:, head // n_rep, :end],
            causal_mask(query.shape[2], end),
        )
        for head in range(query.shape[1])
    ]
    return np.stack(output, axis=1), *caches


@decode.variant
def in_single_precision(query, key, value, cache_k, cache_v, past_len):
    arrays = (query, key, value, cache_k, cache_v)
    query, key, value, cache_k, cache_v = (a.astype(np.float32) for a in arrays)
    return cache.decode_step(query, key, value, cache_k, cache_v, past_len)


for array in ("key", "value"):
    decode.equivalent(
        f"q_len = {array}.shape[2]", why="every new token has a query, key and value"
    )
for array in ("value", "cache_k", "cache_v"):
    decode.equivalent(
        f"n_rep = query.shape[1] // {array}.shape[1]",
        why="keys, values and caches have as many heads",
    )
decode.equivalent(
    "n_rep = query.shape[1] / key.shape[1]", why="np.repeat takes 2.0 for 2"
)


prefill = Exercise(
    cache.prefill_in_chunks,
    points=2,
    axes=("batch row", "head", "token", "column"),
)


@prefill.probes
def _(rng):
    b, g = (int(n) for n in rng.permutation([2, 3]))
    k = int(rng.integers(4, 6))
    chunk, count = (int(n) for n in rng.permutation([3, 4]))

    def arrays(b, g, n_rep, t, k, kind: type = float):
        query = quarters(rng, b, g * n_rep, t, k, kind=kind)
        return query, *quarters(rng, 2, b, g, t, k, kind=kind)

    t = chunk * count
    for why, t_ in (
        ("an output that is the weights", t - 1),
        ("an output that is the weights, in chunks that are all full", t),
    ):
        query, key, value = arrays(b, g, 2, t_, t_)
        value[:] = np.eye(t_)
        yield Probe(query, key, value, chunk, why=why)
    yield Probe(*arrays(b, g, 2, t + 1, k), chunk, why="a last chunk that is short")
    yield Probe(*arrays(g, b, 3, t - 2, k + 1), count, why="a last chunk that is short")
    yield Probe(*arrays(b, g, 3, t, k), chunk, why="chunks that are all full")
    yield Probe(*arrays(b, g, 2, 5, k), 1, why="one token at a time")
    yield Probe(*arrays(b, g, 2, k + 2, k), k + 2, why="one chunk for all")
    yield Probe(*arrays(b, g, 2, 4, k), 7, why="a chunk larger than the prompt")
    yield Probe(*arrays(b, 1, g, t - 1, k), chunk, why="one head for all")
    yield Probe(*arrays(b, k, 1, t - 1, g), chunk, why="nothing to share")
    yield Probe(*arrays(4, 4, 1, 4, 4), 3, why="sizes that are all equal")
    yield Probe(*arrays(b, g, 2, t - 1, k, np.float32), chunk, why="float32")


@prefill.law
def who_sees_whom(answer, query, key, value, chunk):
    right = cache.prefill_in_chunks(query, key, value, chunk)
    t = key.shape[2]
    if answer.shape != right.shape or value.shape[3] != t:
        return None
    if not np.all(value == np.eye(t)):
        return None
    return observed_weights(answer, right, 0, "token", lambda key: "in its future")


@prefill.family
def prefill_family(
    query, key, value, chunk, *, starts=lambda t, chunk: range(0, t, chunk),
    see=lambda i, j, start, chunk: j <= i, share=repeat_kv,
    scale=lambda d_head: 1.0, join=lambda outputs: np.concatenate(outputs, axis=2),
):  # fmt: skip
    t, n_rep = query.shape[2], query.shape[1] // key.shape[1]
    keys, values = share(key, n_rep), share(value, n_rep)
    query = query * scale(query.shape[3])
    outputs = []
    for start in starts(t, chunk):
        i, j = np.arange(start, min(start + chunk, t))[:, None], np.arange(t)
        attn_mask = np.broadcast_to(see(i, j, start, chunk), (len(i), t))
        with np.errstate(invalid="ignore"):  # a row that sees nothing is 0/0
            outputs.append(
                scaled_dot_product_attention(
                    query[:, :, i[:, 0]], keys, values, attn_mask
                )
            )
    return join(outputs)


prefill.mistake(
    "Each chunk sees only itself: the tokens of earlier chunks are not seen.",
    hint="What does the cache hold when the second chunk comes, and from which "
    "position on is it written?",
    see=lambda i, j, start, chunk: (j >= start) & (j <= i),
)
prefill.mistake(
    "Inside a chunk all tokens see each other, later ones as well.",
    hint="The order of the tokens counts inside of a chunk, too.",
    see=lambda i, j, start, chunk: j < start + chunk,
)
prefill.mistake(
    "All tokens see each other: nothing is causal.",
    hint="When the first chunk looks, has the second one been written?",
    see=lambda i, j, start, chunk: j >= 0,
)
prefill.mistake(
    "The triangle of each chunk's mask starts in the top left corner: the tokens of "
    "later chunks see as if they were the first.",
    hint="The queries of a chunk are the last of the positions so far.",
    seen="pytorch/executorch#21749",
    see=lambda i, j, start, chunk: j <= i - start,
)
prefill.mistake(
    "No token sees itself.",
    hint="What does the very first token look at, if not at itself?",
    see=lambda i, j, start, chunk: j < i,
)
prefill.mistake(
    "Every token also sees the one right after it.",
    hint="Change the last token: which outputs move?",
    see=lambda i, j, start, chunk: j <= i + 1,
)
prefill.mistake(
    "A token sees its own chunk and the one before, but no chunk earlier than that.",
    hint="Is one cache handed on from chunk to chunk, or a new one made of the last?",
    see=lambda i, j, start, chunk: (j >= start - chunk) & (j <= i),
)
prefill.mistake(
    "A token sees itself and the chunks before, but not the tokens of its own chunk.",
    hint="Several new tokens are a piece of the text, too: the second one follows the "
    "first.",
    see=lambda i, j, start, chunk: (j < start) | (j == i),
)
prefill.mistake(
    "The last chunk is dropped if it is not full: the answer is too short.",
    hint="Is the prompt always a multiple of the chunk? // rounds down.",
    starts=lambda t, chunk: range(0, t - t % chunk, chunk),
)
prefill.mistake(
    "Only the first chunk is there.",
    hint="Does a return stand inside of the loop?",
    starts=lambda t, chunk: [0],
)
prefill.mistake(
    "Only the last chunk is there.",
    hint="What happens to the outputs of the chunks before?",
    starts=lambda t, chunk: [(t - 1) // chunk * chunk],
)
prefill.mistake(
    "The chunks stand one behind the other along the batch.",
    hint="np.concatenate joins along axis 0 unless you say otherwise.",
    join=np.concatenate,
)
prefill.mistake(
    "Query heads that share a key-value head are no neighbours: they meet heads 0, 1, "
    "..., 0, 1, ...",
    hint="Query heads 0 to n_rep - 1 share key-value head 0.",
    share=lambda x, n_rep: np.tile(x, (1, n_rep, 1, 1)),
)
prefill.mistake(
    "The scores are not scaled.",
    hint="The longer the vectors, the larger their dot products: by which factor?",
    scale=math.sqrt,
)


def chunk_by_chunk(query, key, value, chunk, past_len=None, hand_on=True):
    """As the solution, with another `past_len`, or without handing the caches on."""
    empty = np.zeros_like(key), np.zeros_like(value)
    (cache_k, cache_v), outputs = empty, []
    for number, start in enumerate(range(0, query.shape[2], chunk)):
        part = np.s_[:, :, start : start + chunk]
        past = start if past_len is None else past_len(number)
        output, *new = cache.decode_step(
            query[part], key[part], value[part], cache_k, cache_v, past
        )
        outputs.append(output)
        cache_k, cache_v = new if hand_on else empty
    return np.concatenate(outputs, axis=2)


@prefill.mistake(
    "`past_len` counts chunks where it should count tokens: each chunk is written over "
    "the one before, moved on by one.",
    hint="After two chunks of four tokens, how many tokens are cached?",
)
def counting_chunks(query, key, value, chunk):
    return chunk_by_chunk(query, key, value, chunk, past_len=lambda number: number)


@prefill.mistake(
    "In place of the earlier chunks every chunk sees zeros.",
    hint="decode_step gives back the caches that hold the new tokens. Who gets them?",
)
def zeros_before(query, key, value, chunk):
    return chunk_by_chunk(query, key, value, chunk, hand_on=False)


@prefill.mistake(
    "The last chunk is filled up, and what fills it has outputs, too: the answer is "
    "too long.",
    hint="There is one output for each query that was given.",
)
def filled_up(query, key, value, chunk):
    missing = -query.shape[2] % chunk
    query, key, value = (
        np.pad(x, ((0, 0), (0, 0), (0, missing), (0, 0))) for x in (query, key, value)
    )
    return cache.prefill_in_chunks(query, key, value, chunk)


@prefill.variant
def in_one_piece(query, key, value, chunk):
    n_rep = query.shape[1] // key.shape[1]
    attn_mask = causal_mask(query.shape[2], key.shape[2])
    return scaled_dot_product_attention(
        query, repeat_kv(key, n_rep), repeat_kv(value, n_rep), attn_mask
    )


@prefill.variant
def without_a_cache(query, key, value, chunk):
    n_rep = query.shape[1] // key.shape[1]
    output = np.empty_like(query)
    start = 0
    while start < query.shape[2]:
        stop = min(start + chunk, query.shape[2])
        output[:, :, start:stop] = scaled_dot_product_attention(
            query[:, :, start:stop],
            repeat_kv(key[:, :, :stop], n_rep),
            repeat_kv(value[:, :, :stop], n_rep),
            causal_mask(stop - start, stop),
        )
        start = stop
    return output


@prefill.variant
def the_last_chunk_filled_up_and_cut(query, key, value, chunk):
    return filled_up(query, key, value, chunk)[:, :, : query.shape[2]]


@prefill.variant
def by_splitting(query, key, value, chunk):
    stops = range(chunk, query.shape[2], chunk)
    cache_k, cache_v = np.full_like(key, 7), np.full_like(value, 7)
    outputs, done = [], 0
    pieces = (np.split(x, stops, axis=2) for x in (query, key, value))
    for q, k, v in zip(*pieces, strict=True):
        output, cache_k, cache_v = cache.decode_step(q, k, v, cache_k, cache_v, done)
        outputs.append(output)
        done += q.shape[2]
    return np.concatenate(outputs, axis=-2)


@prefill.variant
def with_a_cache_that_grows(query, key, value, chunk):
    cache_k, cache_v = key[:, :, :0], value[:, :, :0]
    outputs = []
    for start in range(0, query.shape[2], chunk):
        part = slice(start, start + chunk)
        room = np.zeros_like(key[:, :, part])
        output, cache_k, cache_v = cache.decode_step(
            query[:, :, part], key[:, :, part], value[:, :, part],
            np.concatenate([cache_k, room], axis=2),
            np.concatenate([cache_v, room], axis=2), start,
        )  # fmt: skip
        outputs.append(output)
    return np.concatenate(outputs, axis=2)


for array in ("key", "value"):
    prefill.equivalent(
        f"for start in range(0, {array}.shape[2], chunk):",
        why="every token has a query, key and value",
    )
for caches in (
    "(np.zeros_like(value), np.zeros_like(key))",
    "(key, np.zeros_like(value))",
    "(-np.zeros_like(key), np.zeros_like(value))",
    "(np.zeros_like(key), value)",
    "(np.zeros_like(key), -np.zeros_like(value))",
    "(np.zeros_like(value), np.zeros_like(value))",
    "(np.zeros_like(key), np.zeros_like(key))",
):
    prefill.equivalent(
        f"cache_k, cache_v = {caches}",
        why="what stands in places that are not filled is never read",
    )
