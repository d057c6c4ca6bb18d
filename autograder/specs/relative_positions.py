"""Chapter 10: relative positions."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import relative_positions
from solutions.relative_positions import alibi_slopes, apply_rope, rope_frequencies

buckets = Exercise(
    relative_positions.relative_position_bucket, points=2, axes=("row", "column")
)


def far_step(distance, n, max_distance):
    """How many buckets beyond the first m a distance lies, not yet rounded."""
    m = n // 2
    steps = np.log(np.maximum(distance, m) / m) / math.log(max_distance / m)
    return steps * (n - m)


@buckets.probes
def _(rng):
    def between(q_len, k_len):
        """The relative positions of the last queries and all keys."""
        return np.arange(k_len) - np.arange(k_len - q_len, k_len)[:, None]

    def some(rows, columns, n, max_distance):
        """Near and far, before and after, but never so that rounding decides."""
        m = n // 2
        distances = np.arange(1, 4 * max_distance)
        step = far_step(distances, n, max_distance)
        clear = np.abs(step - np.round(step)) > 1e-3
        distances = distances[clear | (distances <= m) | (step >= n - m)]
        far = distances[distances > m]
        drawn = np.concatenate([
            [0, m - 1, m, *far[[0, -1]], 3 * max_distance],
            rng.choice(distances[distances <= 2 * max_distance], rows * columns),
        ])[: rows * columns]  # fmt: skip
        signs = rng.choice([-1, 1], rows * columns)
        signs[:6] = -1, -1, -1, -1, 1, -1
        return rng.permutation(signs * drawn).reshape(rows, columns)

    few, more = sorted(int(n) for n in rng.choice(range(3, 7), 2, replace=False))
    yield Probe(between(5, 5), False, why="a short text without looking ahead")
    yield Probe(between(few, 2 * more), True, why="a short text with looking ahead")
    yield Probe(some(few, 9, 32, 128), False, why="far keys without looking ahead")
    yield Probe(some(more, 10, 16, 128), True, why="far keys with looking ahead")
    n, reach = 10 + few, int(rng.integers(40, 60))
    yield Probe(some(3, 8, n, reach), False, n, reach, why="other numbers of buckets")
    n = 5 + 2 * int(rng.integers(1, 4))
    yield Probe(
        some(4, 8, n, reach), True, 2 * n, reach, why="other numbers of buckets"
    )
    yield Probe(some(2, 9, 8 + more, 80)[0], False, 8 + more, 80, why="a single query")


@buckets.reason
def _(index, relative_position, bidirectional, num_buckets=32, max_distance=128):
    offset = int(relative_position[index])
    if not offset:
        return "that key is the query's own"
    side = "before" if offset < 0 else "after"
    s = "s" if abs(offset) > 1 else ""
    return f"that key is {abs(offset)} position{s} {side} the query"


@buckets.law
def number_of_a_bucket(
    answer, relative_position, bidirectional, num_buckets=32, max_distance=128
):
    off = np.argwhere((answer < 0) | (answer >= num_buckets))
    if answer.shape != relative_position.shape or not len(off):
        return None
    index = tuple(off[0])
    return (
        f"There is a bucket {answer[index]:g}, for the relative position "
        f"{relative_position[index]}; the {num_buckets} buckets are 0 to "
        f"{num_buckets - 1}."
    )


@buckets.family
def bucket_family(
    relative_position, bidirectional, num_buckets=32, max_distance=128, *, sign=1,
    both=None, share=2, upper=1, after=np.greater, no_future=True, near=True,
    scale=far_step, rounding=np.floor, base=True, last=True,
):  # fmt: skip
    relative = sign * np.asarray(relative_position)
    n, first = num_buckets, 0
    if bidirectional if both is None else both:
        n //= share
        first = upper * n * after(relative, 0)
        distance = np.abs(relative)
    else:
        distance = np.maximum(-relative, 0) if no_future else np.abs(relative)
    m = n // 2
    far = rounding(scale(distance, n, max_distance)) + base * m
    if last:
        far = np.minimum(far, n - 1)
    return (first + np.where(near & (distance < m), distance, far)).astype(int)


buckets.mistake(
    "Before and after have changed places: keys after the query are taken for keys "
    "before it.",
    hint="A relative position is the key's position minus the query's: what is its "
    "sign for a key in the past?",
    sign=-1,
)
buckets.mistake(
    "If bidirectional, each of the two directions has all the buckets: there are twice "
    "as many.",
    hint="The two directions share num_buckets.",
    share=1,
)
buckets.mistake(
    "If bidirectional, keys before and after the query share the same buckets.",
    hint="A word five places before and one five places after should not get the same "
    "number.",
    upper=0,
)
buckets.mistake(
    "If bidirectional, the query's own position counts as one after it.",
    hint="Distance 0 is in bucket 0. Is it > or >=?",
    after=np.greater_equal,
)
buckets.mistake(
    "If bidirectional, the upper half of the buckets is for keys before the query.",
    hint="Which sign has the relative position of a key after the query?",
    after=np.less,
)
buckets.mistake(
    "If not bidirectional, keys after the query are sorted by their distance, like "
    "those before it.",
    hint="All of them count as distance 0, so they share one bucket.",
    no_future=False,
)
buckets.mistake(
    "`bidirectional` is not used: the answer is always that for False.",
    hint="What is to happen to keys after the query?",
    both=False,
)
buckets.mistake(
    "`bidirectional` is not used: the answer is always that for True.",
    hint="A decoder's query has no keys after it; its buckets are all for the past.",
    both=True,
)
buckets.mistake(
    "Nothing stops at the last bucket: the farthest distances run beyond it.",
    hint="In which bucket is a distance of ten times max_distance?",
    seen="huggingface/candle#1312",
    last=False,
)
buckets.mistake(
    "The far buckets begin at 0, on top of the near ones.",
    hint="m buckets are taken by single distances. Which one is the next?",
    base=False,
)
buckets.mistake(
    "The bucket is rounded to the nearest number, not down.",
    hint="A bucket begins where its number is reached.",
    rounding=np.round,
)
buckets.mistake(
    "The bucket is rounded up, not down.",
    hint="A bucket begins where its number is reached.",
    rounding=np.ceil,
)
buckets.mistake(
    "It is the logarithm of the distance, not of distance / m.",
    hint="At d = m the logarithm should be 0: there the far buckets begin.",
    scale=lambda d, n, reach: (
        np.log(np.maximum(d, 1)) / math.log(reach / (n // 2)) * (n - n // 2)
    ),
)
buckets.mistake(
    "It is divided by the logarithm of max_distance, not of max_distance / m.",
    hint="At d = max_distance the fraction of the two logarithms should be 1.",
    scale=lambda d, n, reach: (
        np.log(np.maximum(d, n // 2) / (n // 2)) / math.log(reach) * (n - n // 2)
    ),
)
buckets.mistake(
    "All distances have a bucket of their own, until the buckets run out: there is no "
    "logarithm.",
    hint="How far apart are the distances that T5 tells apart with 32 buckets?",
    scale=lambda d, n, reach: d - n // 2,
)
buckets.mistake(
    "The far buckets are all equally wide: there is no logarithm.",
    hint="The formula divides log(d / m), not d - m.",
    scale=lambda d, n, reach: (d - n // 2) / (reach - n // 2) * (n - n // 2),
)
buckets.mistake(
    "Near distances go by the logarithm, too: they do not have a bucket each.",
    hint="Which distances are below m? Where is the choice between the two rules made?",
    near=False,
    scale=lambda d, n, reach: (
        np.log(np.maximum(d, 1) / (n // 2)) / math.log(reach / (n // 2)) * (n - n // 2)
    ),
)


@buckets.variant
def key_by_key(relative_position, bidirectional, num_buckets=32, max_distance=128):
    n = num_buckets // 2 if bidirectional else num_buckets
    m = n // 2
    answer = []
    for offset in relative_position.ravel().tolist():
        first = n if bidirectional and offset > 0 else 0
        distance = abs(offset) if bidirectional else max(0, -offset)
        if distance >= m:
            steps = math.log(distance / m) / math.log(max_distance / m) * (n - m)
            distance = min(m + int(steps), n - 1)
        answer.append(first + distance)
    return np.array(answer).reshape(relative_position.shape)


@buckets.variant
def by_where_the_buckets_begin(
    relative_position, bidirectional, num_buckets=32, max_distance=128
):
    n = num_buckets // (1 + bidirectional)
    m = n // 2
    far = m * (max_distance / m) ** (np.arange(n - m) / (n - m))
    begins = np.concatenate([np.arange(m), far])
    ahead = relative_position > 0
    distance = np.abs(relative_position)
    if not bidirectional:
        distance = np.where(ahead, 0, distance)
    bucket = np.digitize(distance, begins) - 1
    return bucket + n * ahead if bidirectional else bucket


@buckets.variant
def in_single_precision(
    relative_position, bidirectional, num_buckets=32, max_distance=128
):
    answer = np.zeros(relative_position.shape, dtype=np.int32)
    if bidirectional:
        num_buckets = num_buckets // 2
        answer[relative_position > 0] = num_buckets
        distance = np.abs(relative_position)
    else:
        distance = -np.minimum(relative_position, 0)
    m = num_buckets // 2
    with np.errstate(divide="ignore"):
        logs = np.log(distance.astype(np.float32)) - np.float32(math.log(m))
    logs /= np.float32(math.log(max_distance) - math.log(m))
    far = m + np.maximum(logs * (num_buckets - m), 0).astype(np.int32)
    far = far.clip(max=num_buckets - 1)
    return answer + np.where(distance < m, distance, far).astype(np.int32)


for line in (
    "distance = np.maximum(0, -relative_position)",
    "ratio = np.log(np.maximum(exact, distance) / exact)"
    " / math.log(max_distance / exact)",
    "return bucket + np.where(distance < exact, distance,"
    " np.minimum(num_buckets - 1, far))",
):
    buckets.equivalent(line, why="the larger of two numbers has no order")
buckets.equivalent(
    "bucket = -np.zeros_like(relative_position)", why="minus zero is zero"
)
buckets.equivalent(
    "ratio = np.log(distance / exact) / math.log(max_distance / exact)",
    why="what it gives for near distances, with a warning, is not used",
)
buckets.equivalent(
    "return bucket + np.where(distance <= exact, distance,"
    " np.minimum(far, num_buckets - 1))",
    why="both rules give bucket m for the distance m",
)


slopes = Exercise(relative_positions.alibi_slopes, points=2, axes=("head",))


def power_below(n_heads):
    return 2 ** int(math.log2(n_heads))


@slopes.probes
def _(rng):
    for power in rng.permutation([4, 8, 16])[:2]:
        yield Probe(int(power), why="a power of 2")
    power = int(rng.choice([8, 16]))
    yield Probe(int(rng.choice([5, 6])), why="no power of 2")
    yield Probe(power + int(rng.integers(2, 5)), why="no power of 2")
    yield Probe(power - 1, why="one head less than a power of 2")
    yield Probe(power + 1, why="one head more than a power of 2")
    yield Probe(2, why="two heads")
    yield Probe(1, why="a single head")


@slopes.reason
def _(index, n_heads):
    (head,) = index
    power = power_below(n_heads)
    if head < power:
        return f"that head is one of the first {power}, for which the rule is simple"
    return f"that head is number {head - power} of those beyond {power}"


@slopes.law
def simple_rule(answer, n_heads):
    power = power_below(n_heads)
    if answer.shape != (n_heads,) or power < 2 or not answer.all():
        return None
    wanted, ratio = 2.0 ** (-8 / power), answer[1] / answer[0]
    if not math.isclose(answer[0], wanted, rel_tol=1e-6):
        return (
            f"With {n_heads} heads the first slope is {answer[0]:.4g}; it should be "
            f"{wanted:.4g}."
        )
    if not math.isclose(ratio, wanted, rel_tol=1e-6):
        return (
            f"With {n_heads} heads the second slope is {ratio:.4g} times the first; it "
            f"should be {wanted:.4g} times."
        )
    return None


def sequence(n, first=1, top=8):
    """The slopes for n heads by the simple rule, whatever n is."""
    return 2.0 ** (-top / n * np.arange(first, n + first))


@slopes.family
def slopes_family(n_heads, *, first=1, top=8, beyond=lambda p: sequence(2 * p)[::2]):
    power = power_below(n_heads)
    more = np.asarray(beyond(power))[: n_heads - power]
    return np.concatenate([sequence(power, first, top), more])


slopes.mistake(
    "The sequence starts at 1: its exponents count from 0.",
    hint="The first slope is 2^(-8/n); each slope times that is the next one.",
    seen="paiml/aprender#2143",
    first=0,
)
slopes.mistake(
    "For n heads the sequence starts at 2^(-4/n), not at 2^(-8/n).",
    hint="The last slope of a power of 2 should be 1/256.",
    top=4,
)
slopes.mistake(
    "Beyond the power of 2, the slopes for twice as many heads are taken one after the "
    "other, not every other one.",
    hint="Print the slopes for twice as many heads beside those that you have: which "
    "of them are new?",
    beyond=lambda p: sequence(2 * p),
)
slopes.mistake(
    "Beyond the power of 2, the heads get slopes that are taken already, from the "
    "first on.",
    hint="Print the slopes for twice as many heads beside those that you have: which "
    "of them are new, those at even places or those at odd ones?",
    beyond=sequence,
)
slopes.mistake(
    "There are slopes up to the power of 2 only.",
    hint="With 6 heads, 4 have a slope by the simple rule. Which do the others get?",
    beyond=lambda p: [],
)
slopes.mistake(
    "Beyond the power of 2, the sequence simply goes on.",
    hint="The heads beyond the power of 2 get slopes that lie between the others.",
    beyond=lambda p: sequence(p, p + 1),
)


@slopes.mistake(
    "The rule for powers of 2 is used for every number of heads.",
    hint="Try 3 heads. For other numbers the rule starts from the next smaller power "
    "of 2.",
    seen="ml-explore/mlx#3071",
)
def one_rule_for_all(n_heads):
    return sequence(n_heads)


@slopes.mistake(
    "They are the first slopes of the next larger power of 2.",
    hint="Start from the next smaller power of 2, and then add what is missing.",
)
def first_of_the_larger_power(n_heads):
    return sequence(2 ** math.ceil(math.log2(n_heads)))[:n_heads]


@slopes.mistake(
    "The slopes are sorted from steep to gentle.",
    hint="The heads beyond the power of 2 come last, however steep they are.",
)
def in_order(n_heads):
    return np.sort(alibi_slopes(n_heads))[::-1]


@slopes.mistake(
    "The slopes are 1/2, 1/4, 1/8, ..., whatever the number of heads: that is right "
    "for 8.",
    hint="For 8 heads the first slope is 2^(-8/8). And for 16?",
)
def always_those_of_eight(n_heads):
    return 0.5 ** np.arange(1, n_heads + 1)


@slopes.mistake(
    "The slopes fall by equal steps.",
    hint="In a geometric sequence each number is the one before times a constant.",
)
def arithmetic(n_heads):
    return np.linspace(1, 0, n_heads, endpoint=False)


@slopes.mistake(
    "The numbers are the exponents: 2 is not raised to them.",
    hint="A slope is a power of 2, and between 0 and 1.",
)
def exponents(n_heads):
    return np.log2(alibi_slopes(n_heads))


@slopes.variant
def as_the_authors(n_heads):
    def of_a_power(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(n_heads).is_integer():
        return np.array(of_a_power(n_heads))
    closest = 2 ** math.floor(math.log2(n_heads))
    more = of_a_power(2 * closest)[0::2][: n_heads - closest]
    return np.array(of_a_power(closest) + more)


@slopes.variant
def as_mpt(n_heads):
    n = 2 ** math.ceil(math.log2(n_heads))
    of_n = 1 / 2 ** (np.arange(1, n + 1) * (8 / n))
    return of_n if n == n_heads else np.append(of_n[1::2], of_n[::2])[:n_heads]


@slopes.variant
def head_by_head(n_heads):
    answer = np.zeros(n_heads, dtype=np.float32)
    power = 1
    while 2 * power <= n_heads:
        power *= 2
    for head in range(n_heads):
        if head < power:
            answer[head] = 2 ** (-8 * (head + 1) / power)
        else:
            answer[head] = 2 ** (-8 * (2 * (head - power) + 1) / (2 * power))
    return answer


@slopes.variant
def by_products(n_heads):
    power = 1 << (n_heads.bit_length() - 1)
    slopes = np.cumprod(np.full(power, 256 ** (-1 / power)))
    more = slopes * 16 ** (1 / power)  # half a step steeper each
    return np.concatenate([slopes, more])[:n_heads]


bias = Exercise(relative_positions.alibi_bias, points=2, axes=("head", "query", "key"))


@bias.probes
def _(rng):
    few, some, more = sorted(int(n) for n in rng.choice(range(2, 8), 3, replace=False))
    yield Probe(8, few, more, why="a cache: fewer queries than keys")
    yield Probe(4, some + 4, some + 5, why="a cache: fewer queries than keys")
    yield Probe(few, some + 1, some + 1, why="as many queries as keys")
    yield Probe(4, 4, 4, why="as many heads as queries and keys")
    yield Probe(some + 4, 2, 5, why="a cache: fewer queries than keys")
    yield Probe(16, 1, more + 1, why="a single query")


@bias.reason
def _(index, n_heads, q_len, k_len):
    _, query, key = index
    position = query + k_len - q_len
    return f"that query stands at position {position}, that key at position {key}"


@bias.law
def own_position(answer, n_heads, q_len, k_len):
    if answer.shape != (n_heads, q_len, k_len):
        return None
    own = answer[:, np.arange(q_len), np.arange(k_len - q_len, k_len)]
    off = np.argwhere(~np.isclose(own, 0))
    if not len(off):
        return None
    head, query = off[0]
    return (
        f"In head {head} query {query} gets {own[head, query]:.4g} for the key at its "
        f"own position, {query + k_len - q_len}: their distance is 0."
    )


@bias.law
def only_lowers(answer, n_heads, q_len, k_len):
    if answer.shape != (n_heads, q_len, k_len) or not (answer > 0).any():
        return None
    head, query, key = np.argwhere(answer > 0)[0]
    position = query + k_len - q_len
    side = "before" if key < position else "after"
    return (
        f"In head {head} query {query} gets {answer[head, query, key]:.4g} for key "
        f"{key}, {abs(key - position)} {side} it: that raises the score, and a "
        "distance should lower it."
    )


@bias.law
def slope_of_a_head(answer, n_heads, q_len, k_len):
    if answer.shape != (n_heads, q_len, k_len) or q_len < 2:
        return None
    found = answer[:, -1, -2]  # at distance 1
    distance = -relative_positions.alibi_bias(1, q_len, k_len)[0] * 256
    if not np.allclose(answer, found[:, None, None] * distance):
        return None
    for head in np.flatnonzero(~np.isclose(-found, alibi_slopes(n_heads), atol=0))[:1]:
        return (
            f"Head {head} of {n_heads} falls by {-found[head]:.4g} per position; its "
            f"slope is {alibi_slopes(n_heads)[head]:.4g}."
        )
    return None


def offset(query, key):
    """Positions of a column of queries minus those of keys."""
    return query[:, None] - key


@bias.family
def bias_family(
    n_heads, q_len, k_len, *, sign=-1, between=lambda q, k: np.abs(offset(q, k)),
    start=None, slope=alibi_slopes, then=lambda bias, gap: bias,
):  # fmt: skip
    first = k_len - q_len if start is None else start
    query, key = np.arange(first, first + q_len), np.arange(k_len)
    distance = np.broadcast_to(between(query, key), (q_len, k_len))
    steepness = np.broadcast_to(slope(n_heads), n_heads)[:, None, None]
    return then(sign * steepness * distance, offset(query, key))


bias.mistake(
    "The sign is missing: far keys are raised, not lowered.",
    hint="What is added to the score of the farthest key should be the most negative.",
    sign=1,
)
bias.mistake(
    "The distance has a direction: keys before the query are raised, and keys after it "
    "are lowered.",
    hint="Print one head: which key of the last query gets the largest number?",
    seen="meta-pytorch/attention-gym#86",
    between=lambda q, k: -offset(q, k),
)
bias.mistake(
    "The distance has a direction: keys after the query are raised.",
    hint="A causal mask would hide that, but here every number counts: the distance of "
    "2 and 5 is that of 5 and 2.",
    between=offset,
)
bias.mistake(
    "Keys after the query get 0.",
    hint="A causal mask would hide that, but here every number counts: the distance of "
    "2 and 5 is that of 5 and 2.",
    between=lambda q, k: np.maximum(offset(q, k), 0),
)
bias.mistake(
    "Keys after the query get minus infinity: a causal mask is built in.",
    hint="Hiding is the mask's task (chapter 6). The bias is about distance alone.",
    then=lambda bias, gap: np.where(gap < 0, -np.inf, bias),
)
bias.mistake(
    "The queries are taken for the first positions, not for the last ones.",
    hint="With 3 keys in a cache, the first of 2 new queries stands at position 3.",
    seen="lucidrains/x-transformers#103",
    start=0,
)
bias.mistake(
    "The bias is the slope times the key's position, the same for every query.",
    hint="A softmax forgets what a whole row shares, so with a causal mask this gives "
    "the right weights, and BLOOM does it. Here the task asks for distances.",
    sign=1,
    between=lambda q, k: k,
)
bias.mistake(
    "The bias counts back from the last key, the same for every query.",
    hint="A softmax forgets what a whole row shares, so with a causal mask this gives "
    "the right weights, and MPT does it. Here the task asks for distances.",
    between=lambda q, k: k[-1] - k,
)
bias.mistake(
    "The distances count from 1: a query is at distance 1 of its own position.",
    hint="What is added to the score of the key at the query's own position?",
    between=lambda q, k: np.abs(offset(q, k)) + 1,
)
bias.mistake(
    "All heads have the slope 1.",
    hint="Each head has a slope of its own: some look near, some far.",
    slope=lambda n_heads: 1,
)
bias.mistake(
    "The distance is squared.",
    hint="The L of ALiBi is for linear: twice as far is lowered by twice as much.",
    between=lambda q, k: offset(q, k) ** 2,
)
bias.mistake(
    "The distance is divided by the slope.",
    hint="Head 0 has the largest slope and should fall most steeply.",
    slope=lambda n_heads: 1 / alibi_slopes(n_heads),
)
bias.mistake(
    "These are factors for weights: e to the power of the bias.",
    hint="The bias is added to the scores before the softmax, and that is where the "
    "exponential is.",
    then=lambda bias, gap: np.exp(bias),
)


@bias.variant
def cell_by_cell(n_heads, q_len, k_len):
    slopes = alibi_slopes(n_heads)
    answer = np.empty((n_heads, q_len, k_len))
    for head in range(n_heads):
        for query in range(q_len):
            for key in range(k_len):
                distance = abs(key - (query + k_len - q_len))
                answer[head, query, key] = -slopes[head] * distance
    return answer


@bias.variant
def last_rows_of_the_square(n_heads, q_len, k_len):
    position = np.arange(k_len, dtype=np.float32)
    gap = np.subtract.outer(position, position)
    square = np.minimum(gap, gap.T)[k_len - q_len :]
    return np.multiply.outer(alibi_slopes(n_heads), square)


@bias.variant
def by_einsum(n_heads, q_len, k_len):
    relative = np.arange(k_len)[None, :] - np.arange(q_len)[:, None] - (k_len - q_len)
    return np.einsum("h,qk->hqk", alibi_slopes(n_heads), -1.0 * np.abs(relative))


bias.equivalent(
    "distance = np.abs(-(query - np.arange(k_len)))", why="a distance has no sign"
)


frequencies = Exercise(relative_positions.rope_frequencies, points=1, axes=("pair",))


@frequencies.probes
def _(rng):
    few, more = sorted(int(n) for n in rng.choice(range(3, 9), 2, replace=False))
    yield Probe(2 * few, why="the usual base")
    yield Probe(2 * more, why="the usual base")
    yield Probe(2 * few, float(rng.integers(30, 200)), why="another base")
    yield Probe(2 * more, 500000.0, why="another base")
    yield Probe(2, why="a single pair")


@frequencies.reason
def _(index, d_head, base=10000.0):
    return f"that is pair {index[0]} of {d_head // 2}, and the base is {base:g}"


@frequencies.family
def frequencies_family(
    d_head, base=10000.0, *, exponent=lambda i, d: 2 * i / d, sign=-1, turn=1.0
):
    return turn * base ** (sign * exponent(np.arange(d_head // 2), d_head))


frequencies.mistake(
    "The exponent is doubled: 4i / K where 2i / K belongs.",
    hint="If your i runs 0, 2, 4, ..., it already is 2i.",
    exponent=lambda i, d: 4 * i / d,
)
frequencies.mistake(
    "The exponent is halved: i / K where 2i / K belongs.",
    hint="The last pair should be almost base times slower than the first.",
    exponent=lambda i, d: i / d,
)
frequencies.mistake(
    "The exponent is (2i + 1) / K: the first pair is slower than 1 already.",
    hint="Who counts i from 1 writes 2(i - 1) / K. What does your first pair get?",
    seen="stanford-cs336/assignment1-basics#22",
    exponent=lambda i, d: (2 * i + 1) / d,
)
frequencies.mistake(
    "The exponent is 2(i + 1) / K: the pairs count from 1.",
    hint="Who counts i from 1 writes 2(i - 1) / K. What does your first pair get?",
    exponent=lambda i, d: 2 * (i + 1) / d,
)
frequencies.mistake(
    "The sign of the exponent is missing: later pairs turn faster.",
    hint="The first pair turns by 1, and no other turns faster.",
    sign=1,
)
frequencies.mistake(
    "The exponent is divided by K - 2: the last pair is exactly base times slower.",
    hint="For K = 8 the last exponent is -6/8, not -1.",
    exponent=lambda i, d: 2 * i / max(d - 2, 1),
)
frequencies.mistake(
    "The frequencies are multiplied by 2 pi.",
    hint="The formula has no pi: the angle of the first pair is 1 radian per position.",
    turn=2 * math.pi,
)


@frequencies.mistake(
    "Every frequency is there twice, side by side: (K,), not (K/2,).",
    hint="A pair has one frequency. Where both of its dimensions need it is the matter "
    "of the rotation.",
)
def twice_side_by_side(d_head, base=10000.0):
    return np.repeat(rope_frequencies(d_head, base), 2)


@frequencies.mistake(
    "All frequencies are there twice, one half behind the other: (K,), not (K/2,).",
    hint="A pair has one frequency. Where both of its dimensions need it is the matter "
    "of the rotation.",
)
def twice_in_halves(d_head, base=10000.0):
    return np.tile(rope_frequencies(d_head, base), 2)


@frequencies.mistake(
    "There is a frequency for every dimension: base^(-j / K) for j = 0 to K - 1.",
    hint="Two dimensions make one pair. How many pairs are there?",
)
def one_per_dimension(d_head, base=10000.0):
    return base ** (-np.arange(d_head) / d_head)


@frequencies.mistake(
    "These are wavelengths: the number of positions in which a pair goes round once.",
    hint="A slow pair has a long wavelength and a small frequency.",
)
def wavelengths(d_head, base=10000.0):
    return 2 * np.pi / rope_frequencies(d_head, base)


@frequencies.variant
def as_llama(d_head, base=10000.0):
    exponent = np.arange(0, d_head, 2, dtype=np.float32) / d_head
    return (1.0 / (base**exponent)).astype(np.float32)


@frequencies.variant
def by_exp_and_log(d_head, base=10000.0):
    return np.exp(-math.log(base) * np.linspace(0, 1, d_head // 2, endpoint=False))


@frequencies.variant
def pair_by_pair(d_head, base=10000.0):
    return np.array([1 / math.pow(base, 2 * i / d_head) for i in range(d_head // 2)])


@frequencies.variant
def by_a_constant_ratio(d_head, base=10000.0):
    ratio = (1 / base) ** (2 / d_head)
    return np.cumprod([1.0] + [ratio] * (d_head // 2 - 1))


rope = Exercise(
    relative_positions.apply_rope,
    points=3,
    axes=("batch row", "head", "position", "dimension"),
)


def pairs_of(layout, width):
    """The dimensions that come first in their pairs, and those that come second."""
    i = np.arange(width // 2)
    return (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + width // 2)


def other(layout, width):
    return pairs_of("half" if layout == "interleaved" else "interleaved", width)


@rope.probes
def _(rng):
    def some(*shape, kind: type = float):
        """No zeros; small, so that sines and cosines in single precision will do."""
        signs = rng.choice([-1, 1], shape)
        return (signs * rng.integers(1, 9, shape) / 64).astype(kind)

    def freq(pairs):
        """Frequencies that fall, and not those of any base that one might guess."""
        return np.sort(rng.integers(4, 60, pairs) / 64 + np.arange(pairs) / 512)[::-1]

    def ragged(batch, length):
        """Another kind of row each: padding on the left, a cache, a new document."""
        positions = np.tile(np.arange(length), (batch, 1))
        positions[0] = np.maximum(np.arange(length) - 2, 0)
        positions[1] += int(rng.integers(3, 9))
        positions[2:, length // 2 :] -= length // 2
        return positions

    few, heads, more = sorted(int(n) for n in rng.choice([2, 3, 5], 3, replace=False))
    past = np.arange(4) + int(rng.integers(2, 9))
    pairs = int(rng.choice([3, 4]))
    yield Probe(
        some(few, heads, 4, 2 * pairs), past, freq(pairs),
        why="the interleaved layout",
    )  # fmt: skip
    yield Probe(
        some(heads, few, 4, 14 - 2 * pairs), past + 1, freq(7 - pairs), "half",
        why="the half layout",
    )  # fmt: skip
    for layout in ("interleaved", "half"):
        yield Probe(
            np.eye(6), rng.permutation(6) + 1, freq(3), layout, why="one-hot vectors"
        )
        yield Probe(
            some(3, 2, 5, 8), ragged(3, 5), freq(4), layout,
            why="(B, T) positions and heads",
        )  # fmt: skip
    yield Probe(some(4, 4, 4, 4), ragged(4, 4), freq(2), why="all sizes equal")
    yield Probe(some(4, 4, 4, 4), past, freq(2), "half", why="all sizes equal")
    yield Probe(
        some(3, 4, 10), ragged(3, 4), freq(5), "half",
        why="(B, T) positions without heads",
    )  # fmt: skip
    yield Probe(
        some(few, 6, 4), np.array([0, 1, 2, 0, 1, 2]), freq(2),
        why="positions that start anew",
    )  # fmt: skip
    yield Probe(some(few, more, 1, 6), past[:1], freq(3), why="a single new token")
    yield Probe(some(6, 2), np.arange(6)[::-1].copy(), freq(1), why="a single pair")
    yield Probe(
        some(few, 3, 8, kind=np.float32), past[:3], freq(4), "half", why="float32"
    )
    # In each pair one number is 0 and the other a power of 2: then every right way
    # gives the same half-precision number.
    x = rng.choice([-2, -1, 1, 2], (few, 3, 4)).astype(np.float16)
    x[..., 0], x[..., 3] = 0, 0
    yield Probe(
        x, np.array([1000, 1501, 1999]) + few, np.array([0.77, 0.1317]),
        why="half precision far away",
    )  # fmt: skip


def spread(angles, x, positions):
    """Angles of (B, T) positions with axes for what lies between B and T in x."""
    if positions.ndim == 2:
        return np.expand_dims(angles, tuple(range(1, x.ndim - 2)))
    return angles


def as_complex(x, layout):
    """A pair (a, b) as a + ib: to turn it is to multiply it."""
    first, second = pairs_of(layout, x.shape[-1])
    return x[..., first] + 1j * x[..., second]


def position_of(index, positions):
    """The position of a place in x."""
    if positions.ndim == 2:
        return positions[index[0], index[-2]]
    return positions[index[-2]]


def the_pair(index, positions, layout, width):
    """Words for a pair, and for the place where it stands."""
    first, second = pairs_of(layout, width)
    names = ("batch row", "head")[len(index) - 4 :] if len(index) < 5 else ()
    where = "".join(f"{n} {i}, " for n, i in zip(names, index[:-2], strict=True))
    return (
        f"The pair of dimensions {first[index[-1]]} and {second[index[-1]]} ({where}"
        f"position {position_of(index, positions)})"
    )


@rope.reason
def _(index, x, positions, inv_freq, layout="interleaved"):
    first, second = pairs_of(layout, x.shape[-1])
    pair = np.argmax((first == index[-1]) | (second == index[-1]))
    return (
        f"dimensions {first[pair]} and {second[pair]} are a pair, and the position is "
        f"{position_of(index, positions)}"
    )


@rope.law
def one_hot(answer, x, positions, inv_freq, layout="interleaved"):
    if x.ndim != 2 or not np.array_equal(x, np.eye(len(x))) or answer.shape != x.shape:
        return None
    for pair in zip(*pairs_of(layout, x.shape[-1]), strict=True):
        for own in pair:
            found = np.flatnonzero(np.abs(answer[own]) > 1e-6)
            if set(found) - set(pair):
                return (
                    f"In the layout {layout!r}, a 1 at dimension {own} is found at "
                    f"dimensions {' and '.join(map(str, found))}; its pair is "
                    f"{pair[0]} and {pair[1]}."
                )
    return None


@rope.law
def length_of_a_pair(answer, x, positions, inv_freq, layout="interleaved"):
    if answer.shape != x.shape:
        return None
    before, after = (np.abs(as_complex(y, layout)) for y in (x, answer))
    off = np.argwhere(~np.isclose(after, before, rtol=5e-3))
    if not len(off):
        return None
    index = tuple(off[0])
    return (
        f"{the_pair(index, positions, layout, x.shape[-1])} had the length "
        f"{before[index]:.4g} and now has {after[index]:.4g}: a turn keeps it."
    )


@rope.law
def angle_of_a_pair(answer, x, positions, inv_freq, layout="interleaved"):
    if answer.shape != x.shape:
        return None
    before, after = as_complex(x, layout), as_complex(answer, layout)
    angles = spread(positions[..., None] * inv_freq, x, positions)
    wanted = before * np.exp(1j * angles)
    off = np.argwhere(np.abs(after - wanted) > 5e-3 * np.abs(before))
    if not len(off):
        return None
    index = tuple(off[0])
    found, angle = (
        round(float(np.angle(z[index] / before[index])), 4) for z in (after, wanted)
    )
    product = position_of(index, positions) * inv_freq[index[-1]]
    same = "" if abs(product) < np.pi else f", or {angle:.4g}"
    return (
        f"{the_pair(index, positions, layout, x.shape[-1])} is turned by "
        f"{found + 0:.4g}; its angle is {position_of(index, positions)} x "
        f"{inv_freq[index[-1]]:.4g} = {product:.4g}{same}."
    )


@rope.family
def rope_family(
    x, positions, inv_freq, layout="interleaved", *, read=pairs_of, write=None,
    use=np.asarray, align=spread, kind=float, freq=lambda inv_freq, width: inv_freq,
    turn=lambda a, b, c, s: (a * c - b * s, a * s + b * c),
):  # fmt: skip
    width = x.shape[-1]
    used = use(positions).astype(kind)
    angles = used[..., None] * freq(inv_freq, width).astype(kind)
    angles = align(angles, x, used)
    c, s = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    first, second = read(layout, width)
    answer = np.empty_like(x)
    into = (write or read)(layout, width)
    answer[..., into[0]], answer[..., into[1]] = turn(
        x[..., first], x[..., second], c, s
    )
    return answer


rope.mistake(
    "The two layouts have changed places.",
    hint="Which of them pairs neighbours, and which pairs the first half with the "
    "second?",
    read=other,
)
rope.mistake(
    "`layout` is not used: neighbours are always paired.",
    hint='In the layout "half", dimension 0 is paired with dimension K/2.',
    read=lambda layout, width: pairs_of("interleaved", width),
)
rope.mistake(
    "`layout` is not used: the first half is always paired with the second.",
    hint='In the layout "interleaved", dimension 0 is paired with dimension 1.',
    read=lambda layout, width: pairs_of("half", width),
)
rope.mistake(
    'In the layout "interleaved", neighbours are turned rightly and then stored as '
    "two halves.",
    hint="Where in the answer does the second number of pair 0 belong? np.concatenate "
    "puts halves one behind the other.",
    seen="vllm-project/vllm-metal#44",
    write=lambda layout, width: pairs_of("half", width),
)
rope.mistake(
    'In the layout "half", the pairs are turned rightly and then stored as neighbours.',
    hint="Where in the answer does the second number of pair 0 belong?",
    write=lambda layout, width: pairs_of("interleaved", width),
)
rope.mistake(
    "Everything turns backwards: by minus the angle.",
    hint="(1, 0) turned by a small angle is (cos, sin), with a plus. Scores would be "
    "right as long as queries and keys both turn so, and wrong with trained weights.",
    turn=lambda a, b, c, s: (a * c + b * s, b * c - a * s),
)
rope.mistake(
    "Both sines have a plus: the pairs are no longer turned.",
    hint="At one place the sine is subtracted: (a cos - b sin, a sin + b cos).",
    turn=lambda a, b, c, s: (a * c + b * s, a * s + b * c),
)
rope.mistake(
    "Both sines have a minus: the pairs are no longer turned.",
    hint="At one place the sine is added: (a cos - b sin, a sin + b cos).",
    turn=lambda a, b, c, s: (a * c - b * s, b * c - a * s),
)
rope.mistake(
    "Sine and cosine have changed places.",
    hint="At position 0 nothing turns: what is sin(0)?",
    turn=lambda a, b, c, s: (a * s - b * c, a * c + b * s),
)
rope.mistake(
    "The sines are missing: every number is only multiplied by a cosine.",
    hint="A turn mixes the two numbers of a pair.",
    turn=lambda a, b, c, s: (a * c, b * c),
)
rope.mistake(
    "The second number of a pair is made of the first one as it is after its turn.",
    hint="x[..., ::2] is a view: once you have written there, you read new numbers. "
    "Compute both numbers, then store both.",
    turn=lambda a, b, c, s: (a * c - b * s, (a * c - b * s) * s + b * c),
)
rope.mistake(
    "The positions are counted anew, 0, 1, 2, ..., whatever `positions` holds.",
    hint="After a cache of 7 tokens, a new token's position is 7. What is in "
    "`positions`?",
    seen="Blaizzy/mlx-vlm#1983",
    use=lambda positions: np.arange(positions.shape[-1]),
)
rope.mistake(
    "Every position is too large by 1.",
    hint="The caller says which positions there are: use them as they are.",
    use=lambda positions: positions + 1,
)
rope.mistake(
    "The positions of batch row 0 are used for all batch rows.",
    hint="Positions of shape (B, T): each batch row has its own.",
    use=lambda positions: positions[0] if positions.ndim == 2 else positions,
)
rope.mistake(
    "Batch rows and heads are mixed up: head h gets the positions of batch row h.",
    hint="Write (B, T, K/2) under (B, H, T, K/2): where is an axis missing?",
    align=lambda angles, x, positions: angles,
)
rope.mistake(
    "The angles are laid along the axis before the positions: every head has an angle, "
    "not every position.",
    hint="x is (..., T, K): the positions are on the last axis but one. Some libraries "
    "have (B, T, H, K).",
    seen="facebookresearch/xformers#841",
    align=lambda angles, x, positions: angles[..., :, None, :],
)
rope.mistake(
    "`inv_freq` is not used: the frequencies are those of the base 10000.",
    hint="The caller has chosen the frequencies, perhaps with another base.",
    freq=lambda inv_freq, width: rope_frequencies(width),
)
rope.mistake(
    "The position is divided by the frequency, not multiplied.",
    hint="`inv_freq` is a frequency: by how much a pair turns from one position to the "
    "next.",
    freq=lambda inv_freq, width: 1 / inv_freq,
)
rope.mistake(
    "The angles are computed in half precision where `x` has half precision.",
    hint="Half precision has 11 bits: what is left of an angle of 1000.3? Convert the "
    "sines and cosines, not the angles.",
    seen="EleutherAI/gpt-neox#1003",
    kind=np.float16,
)


def with_rotated(x, angles, rotated_by, spread_by):
    """x cos + rotated(x) sin, with pairs of one layout and angles of another."""
    first, second = pairs_of(rotated_by, x.shape[-1])
    rotated = np.empty_like(x)
    rotated[..., first], rotated[..., second] = -x[..., second], x[..., first]
    full = np.empty((*angles.shape[:-1], x.shape[-1]))
    one, two = pairs_of(spread_by, x.shape[-1])
    full[..., one] = full[..., two] = angles
    return x * np.cos(full) + rotated * np.sin(full)


@rope.mistake(
    "The layouts are mixed: halves are paired, but neighbours have the same angle.",
    hint="Both numbers of a pair need one angle. np.repeat goes with neighbours; two "
    "copies one behind the other go with halves.",
    seen="raiyanyahya/how-to-train-your-gpt#6",
)
def halves_with_angles_of_neighbours(x, positions, inv_freq, layout="interleaved"):
    angles = spread(positions[..., None] * inv_freq, x, positions)
    return with_rotated(x, angles, "half", "interleaved")


@rope.mistake(
    "The layouts are mixed: neighbours are paired, but dimensions i and i + K/2 have "
    "the same angle.",
    hint="Both numbers of a pair need one angle. np.repeat goes with neighbours; two "
    "copies one behind the other go with halves.",
    seen="huggingface/transformers#47328",
)
def neighbours_with_angles_of_halves(x, positions, inv_freq, layout="interleaved"):
    angles = spread(positions[..., None] * inv_freq, x, positions)
    return with_rotated(x, angles, "interleaved", "half")


@rope.mistake(
    "The layouts are mixed: the pairs are those of `layout`, and the angles are laid "
    "out for the other one.",
    hint="Both numbers of a pair need one angle. np.repeat goes with neighbours; two "
    "copies one behind the other go with halves.",
)
def angles_of_the_other_layout(x, positions, inv_freq, layout="interleaved"):
    angles = spread(positions[..., None] * inv_freq, x, positions)
    swapped = "half" if layout == "interleaved" else "interleaved"
    return with_rotated(x, angles, layout, swapped)


@rope.variant
def by_complex_numbers(x, positions, inv_freq, layout="interleaved"):
    wide = x.astype(np.float64)
    if layout == "half":
        wide = np.stack(np.split(wide, 2, axis=-1), axis=-1)
    else:
        wide = wide.reshape(*x.shape[:-1], -1, 2)
    z = wide[..., 0] + 1j * wide[..., 1]
    z = z * spread(np.exp(1j * positions[..., None] * inv_freq), x, positions)
    if layout == "half":
        return np.concatenate([z.real, z.imag], axis=-1).astype(x.dtype)
    return np.stack([z.real, z.imag], axis=-1).reshape(x.shape).astype(x.dtype)


@rope.variant
def by_rotate_half(x, positions, inv_freq, layout="interleaved"):
    angles = positions[..., None].astype(np.float32) * inv_freq.astype(np.float32)
    if layout == "interleaved":
        full = np.repeat(angles, 2, axis=-1)
        rotated = np.stack([-x[..., 1::2], x[..., 0::2]], axis=-1).reshape(x.shape)
    else:
        half = x.shape[-1] // 2
        full = np.concatenate([angles, angles], axis=-1)
        rotated = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    if positions.ndim == 2:
        while full.ndim < x.ndim:
            full = full[:, None]
    return x * np.cos(full).astype(x.dtype) + rotated * np.sin(full).astype(x.dtype)


@rope.variant
def token_by_token(x, positions, inv_freq, layout="interleaved"):
    answer = x.copy()
    width = x.shape[-1]
    for index in np.ndindex(x.shape[:-1]):
        if positions.ndim == 2:
            position = positions[index[0], index[-1]]
        else:
            position = positions[index[-1]]
        for i, frequency in enumerate(inv_freq):
            one = 2 * i if layout == "interleaved" else i
            two = 2 * i + 1 if layout == "interleaved" else i + width // 2
            a, b = float(x[index][one]), float(x[index][two])
            c, s = math.cos(position * frequency), math.sin(position * frequency)
            answer[index][one] = a * c - b * s
            answer[index][two] = a * s + b * c
    return answer


@rope.variant
def by_a_matrix(x, positions, inv_freq, layout="interleaved"):
    width = x.shape[-1]
    angles = positions[..., None] * inv_freq
    turn = np.zeros((*positions.shape, width, width))
    if layout == "interleaved":
        one, two = np.arange(0, width, 2), np.arange(1, width, 2)
    else:
        one, two = np.arange(width // 2), np.arange(width // 2, width)
    turn[..., one, one] = turn[..., two, two] = np.cos(angles)
    turn[..., one, two], turn[..., two, one] = np.sin(angles), -np.sin(angles)
    letters = "bt" if positions.ndim == 2 else "t"
    if positions.ndim == 2:
        turned = np.einsum(f"b...tk,{letters}kj->b...tj", x, turn)
    else:
        turned = np.einsum(f"...tk,{letters}kj->...tj", x, turn)
    return turned.astype(x.dtype)


@rope.variant
def half_by_reordering(x, positions, inv_freq, layout="interleaved"):
    width = x.shape[-1]
    if layout == "half":
        neighbours = np.arange(width).reshape(2, -1).T.ravel()
        back = np.argsort(neighbours)
        return apply_rope(x[..., neighbours], positions, inv_freq)[..., back]
    return apply_rope(x, positions, inv_freq)


rope.equivalent("half = -(x.shape[-1] // 2)", why="the middle, counted from either end")
rope.equivalent("turned = -np.empty_like(x)", why="every number is overwritten")


base = Exercise(relative_positions.scaled_base, points=1)


@base.probes
def _(rng):
    few, more = (2 * int(n) for n in rng.choice(range(3, 9), 2, replace=False))
    old = float(rng.integers(60, 900))
    yield Probe(10000.0, 4.0, 64, why="a context four times as long")
    yield Probe(old, 8.0, few, why="few dimensions and a small base")
    yield Probe(old + 1, 2.5, more, why="few dimensions and a small base")
    yield Probe(old, 0.5, more, why="a shorter context")
    yield Probe(old, 3.0, 4, why="two pairs")
    yield Probe(500000.0, 1.0, few, why="a factor of 1")


@base.law
def slowest_pair(answer, base, factor, d_head):
    if np.ndim(answer) or not answer > 0:
        return None
    slower = (answer / base) ** ((d_head - 2) / d_head)
    if math.isclose(slower, factor, rel_tol=1e-6):
        return None
    return (
        f"With the base {answer:.6g} in place of {base:g}, the slowest of "
        f"{d_head // 2} pairs turns {slower:.4g} times more slowly; it should be "
        f"{factor:g} times."
    )


@base.family
def base_family(
    base, factor, d_head, *, exponent=lambda d: d / (d - 2), join=np.multiply
):
    return float(join(base, factor ** exponent(d_head)))


base.mistake(
    "The base is multiplied by the factor itself.",
    hint="The slowest pair has the exponent (K - 2) / K, so it would be slowed by a "
    "little less than the factor.",
    exponent=lambda d: 1,
)
base.mistake(
    "The exponent is turned over: (K - 2) / K where K / (K - 2) belongs.",
    hint="The last frequency is base^(-(K - 2) / K). Solve for the base.",
    exponent=lambda d: (d - 2) / d,
)
base.mistake(
    "The exponent has its sign wrong: the base gets smaller.",
    hint="Does a larger base turn faster or more slowly?",
    exponent=lambda d: d / (2 - d),
)
base.mistake(
    "The base is divided where it should be multiplied, by the factor itself.",
    hint="Does a larger base turn faster or more slowly?",
    exponent=lambda d: -1,
)
base.mistake(
    "The exponent is K / (K + 2).",
    hint="The last frequency is base^(-(K - 2) / K). Solve for the base.",
    exponent=lambda d: d / (d + 2),
)
base.mistake(
    "The exponent is that of K pairs, K / (K - 1).",
    hint="Two dimensions make a pair: which exponent has the last of K/2 pairs?",
    exponent=lambda d: d / (d - 1),
)
base.mistake(
    "The exponent is that of K/2 dimensions: K / (K - 4).",
    hint="The last frequency is base^(-(K - 2) / K). Solve for the base.",
    exponent=lambda d: d / (d - 4) if d > 4 else math.nan,
)
base.mistake(
    "The exponent is 2 / (K - 2): that is by how much neighbouring pairs differ.",
    hint="The last frequency is base^(-(K - 2) / K). Solve for the base.",
    exponent=lambda d: 2 / (d - 2),
)
base.mistake(
    "The old base is missing: the answer is only what it has to be multiplied by.",
    hint="With a factor of 1 nothing should change.",
    join=lambda base, power: power,
)
base.mistake(
    "The factor's power is added to the base.",
    hint="With a factor of 1 nothing should change.",
    join=np.add,
)


@base.mistake(
    "The old base is raised to the power, too.",
    hint="With a factor of 1 nothing should change.",
)
def all_of_it(base, factor, d_head):
    return float((base * factor) ** (d_head / (d_head - 2)))


@base.mistake(
    "The base is not changed.",
    hint="How must the base change for the last pair to turn factor times more slowly?",
)
def unchanged(base, factor, d_head):
    return base


@base.mistake(
    "The answer is an array of frequencies, not a base.",
    hint="The caller hands the base on to rope_frequencies.",
)
def the_frequencies(base, factor, d_head):
    new = relative_positions.scaled_base(base, factor, d_head)
    return rope_frequencies(d_head, new)


@base.variant
def by_the_slowest_pair(base, factor, d_head):
    slowest = base ** (-(d_head - 2) / d_head) / factor
    return slowest ** (-d_head / (d_head - 2))


@base.variant
def by_exp_and_logarithm(base, factor, d_head):
    return np.exp(np.log(base) + np.log(factor) * d_head / (d_head - 2))


@base.variant
def by_the_number_of_pairs(base, factor, d_head):
    pairs = d_head // 2
    return math.pow(factor, pairs / (pairs - 1)) * base
