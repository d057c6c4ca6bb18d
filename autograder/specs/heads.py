"""Chapter 8: many heads."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import heads
from solutions.attention import scaled_dot_product_attention, softmax
from solutions.masks import causal_mask


def numbered(rng, *shape, kind: type = float, mixed=True):
    """An array in which every number is another one: each tells where it came from."""
    numbers = np.arange(math.prod(shape)) + rng.integers(1, 100)
    return (rng.permutation(numbers) if mixed else numbers).astype(kind).reshape(shape)


def some_sizes(rng):
    """B, H, T and K: all different, and at least 2."""
    return (int(n) for n in rng.choice(range(2, 7), 4, replace=False))


def foreign_number(x, answer, expected, names):
    """Say where in `x` the first wrong number stands, and where the right one."""
    if answer.shape != expected.shape:
        return None
    index = next(iter(np.argwhere(answer != expected)), None)
    if index is None:
        return None
    found = np.argwhere(x == answer[tuple(index)])
    if len(found) != 1:
        return None
    wanted = np.argwhere(x == expected[tuple(index)])[0]
    moved = [i for i in range(x.ndim) if found[0][i] != wanted[i]]

    def place(where, axes):
        return ", ".join(f"{names[x.ndim][i]} {where[i]}" for i in axes)

    there = ", ".join(
        f"{name} {i}" for name, i in zip(names[answer.ndim], index, strict=True)
    )
    return (
        f"At {there} stands the number that `x` has at {place(found[0], moved)}; there "
        f"belongs the one at {place(wanted, moved)}."
    )


MERGED = ("batch row", "position", "column")
CUT = ("batch row", "head", "position", "column")
NAMES = {3: MERGED, 4: CUT}

split = Exercise(heads.split_heads, points=2, axes=CUT)


@split.probes
def _(rng):
    b, h, t, k = some_sizes(rng)
    yield Probe(numbered(rng, b, t, h * k, mixed=False), h, why="several heads")
    yield Probe(numbered(rng, h, t, b * k), b, why="several heads")
    yield Probe(numbered(rng, b, 2 * h, h * k), h, why="several heads")
    n = int(rng.integers(3, 5))
    yield Probe(numbered(rng, n, n, n * n), n, why="as many heads as positions")
    yield Probe(numbered(rng, b, k, h * t, kind=np.float32), h, why="float32")
    yield Probe(numbered(rng, b, t, k), 1, why="a single head")
    yield Probe(numbered(rng, b, t, k), k, why="heads of one number each")


@split.law
def where_a_piece_comes_from(answer, x, n_heads):
    return foreign_number(x, answer, heads.split_heads(x, n_heads), NAMES)


@split.mistake(
    "The array is only reshaped: a head holds one stretch of the numbers of a batch "
    "row, not a piece of every token.",
    hint="Where does the first token's vector end up? A reshape keeps the order of the "
    "numbers: what has to be cut is the last axis.",
    seen="reczoo/FuxiCTR#30",
)
def only_reshaped(x, n_heads):
    batch, seq_len, d_model = x.shape
    return x.reshape(batch, n_heads, seq_len, d_model // n_heads)


@split.mistake(
    "The heads stand behind the positions: the shape is (B, T, H, K).",
    hint="Attention works on the last two axes: which two should these be?",
)
def not_transposed(x, n_heads):
    batch, seq_len, _ = x.shape
    return x.reshape(batch, seq_len, n_heads, -1)


@split.mistake(
    "A head gets every H-th number of a token, not K neighbours.",
    hint="Head 0 is to hold the numbers 0 to K - 1 of a token. Which of H and K varies "
    "faster along D?",
)
def interleaved(x, n_heads):
    batch, seq_len, _ = x.shape
    return x.reshape(batch, seq_len, -1, n_heads).transpose(0, 3, 1, 2)


@split.mistake(
    "`n_heads` is taken for the size of a head: there are D / n_heads heads.",
    hint="Which axis of the answer should be n_heads long?",
)
def size_of_a_head(x, n_heads):
    return heads.split_heads(x, x.shape[-1] // n_heads)


@split.mistake(
    "Each head has the right numbers in the wrong order: inside a head, positions and "
    "columns are mixed.",
    hint="Cut first, then move axes. After a transpose, a reshape reads the numbers in "
    "their new order.",
)
def transposed_first(x, n_heads):
    batch, seq_len, _ = x.shape
    return x.swapaxes(1, 2).reshape(batch, n_heads, seq_len, -1)


@split.mistake(
    "Batch and heads share one axis: the shape is (B * H, T, K).",
    hint="Older code folds the heads into the batch. Here they have an axis of their "
    "own.",
)
def folded_into_the_batch(x, n_heads):
    cut = heads.split_heads(x, n_heads)
    return cut.reshape(-1, *cut.shape[2:])


@split.mistake(
    "The heads stand before the batch: the shape is (H, B, T, K).",
    hint="np.stack puts its new axis first unless you say otherwise.",
)
def heads_first(x, n_heads):
    return np.stack(np.split(x, n_heads, axis=-1))


@split.mistake(
    "Nothing is cut: every head holds the whole vector of every token.",
    hint="The heads share the D numbers of a token: how many are there for each?",
)
def whole_vectors(x, n_heads):
    return np.repeat(x[:, None], n_heads, axis=1)


@split.variant
def by_transpose(x, n_heads):
    batch, seq_len, d_model = x.shape
    x = np.reshape(x, (batch, seq_len, n_heads, d_model // n_heads))
    return np.transpose(x, (0, 2, 1, 3))


@split.variant
def by_splitting(x, n_heads):
    return np.stack(np.split(x, n_heads, axis=2), axis=1)


@split.variant
def slice_by_slice(x, n_heads):
    batch, seq_len, d_model = x.shape
    d_head = d_model // n_heads
    answer = np.zeros((batch, n_heads, seq_len, d_head))
    for head in range(n_heads):
        answer[:, head] = x[:, :, head * d_head : (head + 1) * d_head]
    return answer


@split.variant
def columns_first(x, n_heads):
    batch, seq_len, _ = x.shape
    columns = x.swapaxes(1, 2)
    return columns.reshape(batch, n_heads, -1, seq_len).swapaxes(2, 3)


split.equivalent("return x.swapaxes(2, 1)", why="two axes swap in either order")
split.equivalent(
    "x = x.reshape(batch, seq_len, n_heads, -(d_model // n_heads))",
    why="NumPy finds out a negative length by itself",
)

merge = Exercise(heads.merge_heads, points=2, axes=MERGED)


@merge.probes
def _(rng):
    b, h, t, k = some_sizes(rng)
    yield Probe(numbered(rng, b, h, t, k, mixed=False), why="several heads")
    yield Probe(numbered(rng, h, b, k, t), why="several heads")
    yield Probe(numbered(rng, b, h, 2 * h, k), why="several heads")
    n = int(rng.integers(3, 5))
    yield Probe(numbered(rng, n, n, n, n), why="as many heads as positions")
    yield Probe(numbered(rng, b, h, k, t, kind=np.float32), why="float32")
    yield Probe(numbered(rng, b, 1, t, k), why="a single head")
    yield Probe(numbered(rng, b, h, t, 1), why="heads of one number each")


@merge.law
def where_a_number_comes_from(answer, x):
    return foreign_number(x, answer, heads.merge_heads(x), NAMES)


@merge.mistake(
    "The array is only reshaped: a token's vector holds what one head has for several "
    "tokens, not what all heads have for it.",
    hint="A reshape keeps the order of the numbers. In which order must the axes be, "
    "so that the pieces of one token lie side by side?",
    seen="jsbaan/transformer-from-scratch#6",
)
def only_reshaped_back(x):
    batch, n_heads, seq_len, d_head = x.shape
    return x.reshape(batch, seq_len, n_heads * d_head)


@merge.mistake(
    "The heads are interleaved: first the first number of every head, then the second.",
    hint="Which of H and K varies faster along D in what split_heads was given?",
)
def interleaved_back(x):
    batch, _, seq_len, _ = x.shape
    return x.transpose(0, 2, 3, 1).reshape(batch, seq_len, -1)


@merge.mistake(
    "The heads are added up; they should stand side by side.",
    hint="How many numbers has a token's vector before it is cut?",
)
def added(x):
    return x.sum(axis=1)


@merge.mistake(
    "The heads are averaged; they should stand side by side.",
    hint="How many numbers has a token's vector before it is cut?",
)
def averaged(x):
    return x.mean(axis=1)


@merge.mistake(
    "The heads are still an axis of their own: the shape is (B, T, H, K).",
    hint="The last two axes have to become one.",
)
def not_reshaped(x):
    return x.swapaxes(1, 2)


@merge.mistake(
    "The heads stand one after the other along the positions: the shape is "
    "(B, H * T, K).",
    hint="Which axis of np.concatenate makes a token's vector longer?",
)
def along_the_positions(x):
    return np.concatenate(list(x.swapaxes(0, 1)), axis=1)


@merge.mistake(
    "Positions and columns are swapped before the reshape, not heads and positions.",
    hint="Write down the shape after each step: which two axes does the reshape join?",
)
def the_wrong_two_axes(x):
    batch, _, seq_len, _ = x.shape
    return x.swapaxes(2, 3).reshape(batch, seq_len, -1)


@merge.mistake(
    "Only head 0 is there.",
    hint="How many numbers has a token's vector before it is cut?",
)
def the_first_alone(x):
    return x[:, 0]


@merge.variant
def by_transpose_and_sizes(x):
    batch, n_heads, seq_len, d_head = x.shape
    return np.transpose(x, (0, 2, 1, 3)).reshape(batch, seq_len, n_heads * d_head)


@merge.variant
def by_concatenation(x):
    return np.concatenate([x[:, head] for head in range(x.shape[1])], axis=-1)


@merge.variant
def token_by_token(x):
    batch, n_heads, seq_len, d_head = x.shape
    answer = np.empty((batch, seq_len, n_heads * d_head))
    for b in range(batch):
        for t in range(seq_len):
            answer[b, t] = np.hstack([x[b, head, t] for head in range(n_heads)])
    return answer


@merge.variant
def by_einsum(x):
    return np.einsum("bhtk->bthk", x).reshape(len(x), x.shape[2], -1)


merge.equivalent("x = x.swapaxes(2, 1)", why="two axes swap in either order")
merge.equivalent(
    "return x.reshape(batch, seq_len, -(n_heads * d_head))",
    why="NumPy finds out a negative length by itself",
)

# A column is of no use as a place: what stands in it was mixed by w_o.
attention = Exercise(
    heads.multi_head_attention, points=3, axes=("batch row", "query", None)
)


def quarters(rng, *shape, kind: type = float):
    """Numbers that single precision holds exactly, and products of them, too."""
    return (rng.integers(-6, 7, shape) / 4).astype(kind)


def ragged(rng, batch, q_len, k_len):
    """Another mask for every batch row and query, with a True and a False in each."""
    attn_mask = rng.random((batch, 1, q_len, k_len)) < 0.6
    keys = np.broadcast_to(np.arange(k_len), attn_mask.shape)
    seen, hidden, *_ = np.moveaxis(rng.permuted(keys, axis=-1), -1, 0)
    np.put_along_axis(attn_mask, seen[..., None], True, axis=-1)
    np.put_along_axis(attn_mask, hidden[..., None], False, axis=-1)
    return attn_mask


@attention.probes
def _(rng):
    def arrays(b, h, q, s, k, kind: type = float):
        d_model = h * k
        weights = quarters(rng, 4, d_model, d_model, kind=kind)
        weights[:2] /= 4  # of queries and keys: scores that are not too large
        return (
            quarters(rng, b, q, d_model, kind=kind),
            quarters(rng, b, s, d_model, kind=kind),
            *weights,
        )

    b, h, q, k = (int(n) for n in rng.permutation([2, 3, 4, 5]))
    for why, attn_mask in (
        ("an answer that is the weights", None),
        ("an answer that is the weights under a mask", ragged(rng, b, q, k)),
    ):
        x, memory, w_q, w_k, *_ = arrays(b, h, q, k, k)
        memory[..., :k] = np.eye(k)
        w_v = np.zeros_like(w_k)
        w_v[:k] = np.tile(np.eye(k), h)
        yield Probe(
            x, memory, w_q, w_k, w_v, np.eye(h * k), n_heads=h, attn_mask=attn_mask,
            why=why,
        )  # fmt: skip
    yield Probe(*arrays(b, h, q, 6, k), n_heads=h, why="no mask")
    yield Probe(
        *arrays(h, b, k, 7, q), n_heads=b, attn_mask=ragged(rng, h, k, 7),
        why="another mask for every batch row",
    )  # fmt: skip
    x, _, *weights = arrays(b, h, 6, 6, k)
    yield Probe(
        x, x, *weights, n_heads=h, attn_mask=causal_mask(6, 6),
        why="self-attention with a causal mask",
    )  # fmt: skip
    x, _, *weights = arrays(k, h, 7, 7, b)
    yield Probe(x, x, *weights, n_heads=h, why="self-attention without a mask")
    yield Probe(
        *arrays(3, 3, 3, 3, 3), n_heads=3, attn_mask=ragged(rng, 3, 3, 3),
        why="all sizes equal",
    )  # fmt: skip
    per_head = np.concatenate([ragged(rng, b, q, 6) for _ in range(h)], axis=1)
    yield Probe(
        *arrays(b, h, q, 6, k), n_heads=h, attn_mask=per_head,
        why="another mask for every head",
    )  # fmt: skip
    yield Probe(
        *arrays(b, h, q, 6, k, np.float32), n_heads=h,
        attn_mask=ragged(rng, b, 1, 6), why="float32",
    )  # fmt: skip
    yield Probe(*arrays(b, 1, q, 6, k), n_heads=1, why="a single head")
    large = [8 * array for array in arrays(b, h, q, 6, 4)]
    yield Probe(*large, n_heads=h, why="large scores")


@attention.law
def weights_of_heads(answer, x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    """Where the values are unit vectors and w_o does nothing, the answer is weights."""
    d_model, k_len = x.shape[-1], memory.shape[1]
    value = heads.split_heads(memory @ w_v, n_heads)
    if answer.shape != x.shape or k_len * n_heads != d_model:
        return None
    if not (np.all(value == np.eye(k_len)) and np.all(w_o == np.eye(d_model))):
        return None
    weights = heads.split_heads(answer, n_heads)  # (B, H, L, S)
    start = (
        "In this call the values are unit vectors and `w_o` is the identity, so the "
        "answer is the weights of all heads, side by side. "
    )

    def place(b, head, query):
        return f"head {head} gives query {query} of batch row {b}"

    sums = weights.sum(axis=-1)
    off = np.argwhere(~np.isclose(sums, 1, atol=1e-4))
    if len(off):
        total = sums[tuple(off[0])]
        return f"{start}Those that {place(*off[0])} add up to {total:.4g}, not to 1."
    if attn_mask is not None:
        hidden = ~np.broadcast_to(attn_mask, weights.shape)
        leaks = np.argwhere(hidden & (np.abs(weights) > 1e-6))
        if len(leaks):
            *row, key = leaks[0]
            return (
                f"{start}Of those that {place(*row)}, {weights[tuple(leaks[0])]:.4g} "
                f"is for key {key}, and the mask hides that key."
            )
    right = heads.multi_head_attention(
        x, memory, w_q, w_k, w_v, w_o, n_heads=n_heads, attn_mask=attn_mask
    )
    same = np.isclose(weights, heads.split_heads(right, n_heads), atol=1e-5)
    for name, axes in (("head", (0, 2, 3)), ("batch row", (1, 2, 3))):
        good = same.all(axis=axes)
        if good.any() and not good.all():
            numbers = ", ".join(map(str, np.flatnonzero(good)))
            return f"{start}Right are those of {name} {numbers} alone."
    b, head, query, key = np.argwhere(~same)[0]
    return (
        f"{start}Of those that {place(b, head, query)}, "
        f"{weights[b, head, query, key]:.4g} is for key {key}; it should be "
        f"{heads.split_heads(right, n_heads)[b, head, query, key]:.4g}."
    )


@attention.family
def attention_family(
    x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None, sources="xmm",
    project=lambda q, k, v, o: (q, k, v, o), scale=lambda d_model, d_head: d_head,
    cut=heads.split_heads, join=heads.merge_heads, see=lambda attn_mask, scores:
    attn_mask, mix=lambda weights: weights, finish=lambda merged, x: merged,
):  # fmt: skip
    w_q, w_k, w_v, w_o = project(w_q, w_k, w_v, w_o)
    query, key, value = (
        cut({"x": x, "m": memory}[source] @ weight, n_heads)
        for source, weight in zip(sources, (w_q, w_k, w_v), strict=True)
    )
    scores = query @ key.swapaxes(-1, -2)
    scores = scores / math.sqrt(scale(x.shape[-1], query.shape[-1]))
    attn_mask = see(attn_mask, scores)
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf)
    with np.errstate(invalid="ignore"):  # an inverted mask may hide a whole row
        weights = softmax(scores)
    return finish(join(mix(weights) @ value) @ w_o, x)


attention.mistake(
    "Keys and values are made of `x`: `memory` is not used.",
    hint="Queries ask; keys and values answer. Whose tokens are looked at?",
    seen="keitakurita/Practical_NLP_in_PyTorch#1",
    sources="xxx",
)
attention.mistake(
    "The keys are made of `x`, not of `memory`.",
    hint="A key and the value behind it belong to the same token.",
    sources="xxm",
)
attention.mistake(
    "The values are made of `x`, not of `memory`.",
    hint="A key and the value behind it belong to the same token.",
    sources="xmx",
)
attention.mistake(
    "The queries are made of `memory`, not of `x`.",
    hint="The answer has one row for every query. Whose tokens are to get one?",
    sources="mmm",
)
attention.mistake(
    "Keys and values have changed places: `w_v` makes the keys, and `w_k` the values.",
    hint="Scores are made of queries and keys; what is added up are the values.",
    seen="jsbaan/transformer-from-scratch#1",
    project=lambda q, k, v, o: (q, v, k, o),
)
attention.mistake(
    "The values are the keys: both are made with `w_k`, and `w_v` is not used.",
    hint="There are three projections, one each for queries, keys and values.",
    seen="yflyzhang/AnnotatedTransformer#1",
    project=lambda q, k, v, o: (q, k, k, o),
)
attention.mistake(
    "`w_q` makes queries, keys and values: `w_k` and `w_v` are not used.",
    hint="There are three projections, one each for queries, keys and values.",
    project=lambda q, k, v, o: (q, q, q, o),
)
attention.mistake(
    "Nothing is projected: the tokens themselves are queries, keys and values.",
    hint="Without `w_q`, `w_k` and `w_v` a head cannot choose what it looks for.",
    project=lambda q, k, v, o: (*[np.eye(len(o))] * 3, o),
)
for what, place in ("queries", 0), ("keys", 1), ("values", 2):
    attention.mistake(
        f"The {what} are not projected: `w_{what[0]}` is not used.",
        hint="There are three projections, one each for queries, keys and values.",
        project=lambda *weights, place=place: tuple(
            np.eye(len(w)) if i == place else w for i, w in enumerate(weights)
        ),
    )
attention.mistake(
    "The output projection is missing: the answer is the heads side by side.",
    hint="Side by side the heads know nothing of each other. Which argument is not "
    "used?",
    seen="Kyubyong/transformer#117",
    project=lambda q, k, v, o: (q, k, v, np.eye(len(o))),
)
attention.mistake(
    "`w_o` is transposed.",
    hint="Weights multiply from the right here, as they are. nn.Linear keeps its own "
    "the other way round.",
    project=lambda q, k, v, o: (q, k, v, o.T),
)
attention.mistake(
    "All four weights are transposed.",
    hint="nn.Linear keeps its weight as (d_out, d_in) and multiplies by the transpose. "
    "Here weights are (d_in, d_out).",
    seen="rasbt/LLMs-from-scratch#857",
    project=lambda q, k, v, o: (q.T, k.T, v.T, o.T),
)
attention.mistake(
    "The scores are divided by the square root of D, not of K.",
    hint="How many products are added up in one score of one head?",
    seen="karpathy/ng-video-lecture#6",
    scale=lambda d_model, d_head: d_model,
)
attention.mistake(
    "The scores are not scaled.",
    hint="What does scaled_dot_product_attention divide by, and why?",
    scale=lambda d_model, d_head: 1,
)
attention.mistake(
    "The scores are divided by K, not by its square root; or, which is the same, they "
    "are divided by the root twice.",
    hint="scaled_dot_product_attention scales already.",
    scale=lambda d_model, d_head: d_head**2,
)
attention.mistake(
    "There is only one head: queries, keys and values are not cut.",
    hint="Where is n_heads used?",
    cut=lambda x, n_heads: heads.split_heads(x, 1),
)
attention.mistake(
    "Queries, keys and values are only reshaped into heads: a head holds one stretch "
    "of a batch row's numbers, not a piece of every token.",
    hint="Cut the last axis, then bring the heads before the positions.",
    cut=only_reshaped,
)
attention.mistake(
    "The heads are only reshaped back: a token's vector holds what one head has for "
    "several tokens.",
    hint="Before the last two axes become one, the heads have to stand next to K.",
    seen="jsbaan/transformer-from-scratch#6",
    join=only_reshaped_back,
)
attention.mistake(
    "On the way in and on the way back there is only a reshape: a head attends within "
    "its own stretch of the tokens.",
    hint="The shapes are right, and so is the way back from a wrong cut. Print which "
    "numbers of x are in head 0.",
    cut=only_reshaped,
    join=only_reshaped_back,
)
attention.mistake(
    "A head works with every H-th column of the projections, not with K neighbours.",
    hint="Head 0 is to have the first K columns of `w_q`, `w_k` and `w_v`.",
    cut=interleaved,
    join=interleaved_back,
)
attention.mistake(
    "The heads are on the wrong axis: the heads of a token attend to one another, and "
    "no token sees another position.",
    hint="scaled_dot_product_attention works on the last two axes. They have to be "
    "position and K.",
    cut=not_transposed,
    join=lambda x: x.reshape(*x.shape[:2], -1),
)


@attention.mistake(
    "The vectors are cut before they are projected: a head sees only its own K numbers "
    "of a token.",
    hint="Project first, then cut. A head may look at all D numbers of a token.",
)
def cut_first(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    d_head = len(w_o) // n_heads
    own = np.kron(np.eye(n_heads), np.ones((d_head, d_head)))
    return attention_family(
        x, memory, w_q * own, w_k * own, w_v * own, w_o,
        n_heads=n_heads, attn_mask=attn_mask,
    )  # fmt: skip


@attention.mistake(
    "The heads are added up before the output projection: of `w_o` only the first K "
    "rows are used.",
    hint="Side by side the heads have D numbers, and each meets its own rows of `w_o`.",
)
def added_up(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    first_rows = np.tile(w_o[: len(w_o) // n_heads], (n_heads, 1))
    return attention_family(
        x, memory, w_q, w_k, w_v, first_rows, n_heads=n_heads, attn_mask=attn_mask
    )


@attention.mistake(
    "The heads are averaged before the output projection: of `w_o` only the first K "
    "rows are used.",
    hint="Side by side the heads have D numbers, and each meets its own rows of `w_o`.",
)
def averaged_first(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    sums = added_up(x, memory, w_q, w_k, w_v, w_o, n_heads=n_heads, attn_mask=attn_mask)
    return sums / n_heads


attention.mistake(
    "`attn_mask` is not used.",
    hint="Who hides the future and the padding, if not this function?",
    see=lambda attn_mask, scores: None,
)
attention.mistake(
    "The mask is inverted: the queries see what it hides.",
    hint="In this course True means may attend; nn.MultiheadAttention reads a mask the "
    "other way round.",
    see=lambda attn_mask, scores: None if attn_mask is None else ~attn_mask,
)
attention.mistake(
    "Every batch row has the mask of batch row 0.",
    hint="Sequences of one batch have different padding.",
    see=lambda attn_mask, scores: (
        attn_mask[:1] if np.ndim(attn_mask) == 4 else attn_mask
    ),
)


def copies_in_the_wrong_order(attn_mask, scores):
    """Row b * H + h of the folded heads gets mask (b * H + h) % B."""
    if np.ndim(attn_mask) != 4 or attn_mask.shape[1] > 1:
        return attn_mask
    copies = np.tile(attn_mask[:, 0], (scores.shape[1], 1, 1))
    return copies.reshape(*scores.shape[:2], *copies.shape[1:])


attention.mistake(
    "The masks are copied for the heads in the wrong order: heads of one batch row "
    "have the masks of others.",
    hint="A mask of shape (B, 1, L, S) needs no copies: it broadcasts. If heads are "
    "folded into the batch, all heads of row 0 come first.",
    seen="lsdefine/attention-is-all-you-need-keras#36",
    see=copies_in_the_wrong_order,
)
attention.mistake(
    "Every query sees only keys up to its own number, whatever the mask says.",
    hint="Whether there is a causal mask is the caller's choice; memory has no future.",
    see=lambda attn_mask, scores: (
        np.tri(*scores.shape[-2:], dtype=bool)
        & (True if attn_mask is None else attn_mask)
    ),
)
attention.mistake(
    "All heads use the average of their weights.",
    hint="The heads go their own ways up to the output projection. Averages are only "
    "what nn.MultiheadAttention shows of its weights.",
    mix=lambda weights: weights.mean(axis=1, keepdims=True),
)
attention.mistake(
    "`x` is added to the answer.",
    hint="The residual connection goes around this layer; the layer itself has none.",
    finish=lambda answer, x: answer + x,
)


@attention.variant
def one_head_after_the_other(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    batch, q_len, d_model = x.shape
    d_head = d_model // n_heads
    shape = (batch, n_heads, q_len, memory.shape[1])
    if attn_mask is not None:
        attn_mask = np.broadcast_to(attn_mask, shape)
    answer = np.zeros((batch, q_len, d_model))
    for head in range(n_heads):
        own = slice(head * d_head, (head + 1) * d_head)
        attended = scaled_dot_product_attention(
            x @ w_q[:, own],
            memory @ w_k[:, own],
            memory @ w_v[:, own],
            None if attn_mask is None else attn_mask[:, head],
        )
        answer += attended @ w_o[own]  # so the heads' shares add up
    return answer


@attention.variant
def all_in_einsum(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    d_model = len(w_q)
    w_q, w_k, w_v = (w.reshape(d_model, n_heads, -1) for w in (w_q, w_k, w_v))
    query = np.einsum("bld,dhk->bhlk", x, w_q)
    key = np.einsum("bsd,dhk->bhsk", memory, w_k)
    value = np.einsum("bsd,dhk->bhsk", memory, w_v)
    scores = np.einsum("bhlk,bhsk->bhls", query, key) / np.sqrt(query.shape[-1])
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -1e30)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exp / exp.sum(axis=-1, keepdims=True)
    w_o = w_o.reshape(n_heads, -1, d_model)
    return np.einsum("bhls,bhsk,hkd->bld", weights, value, w_o)


@attention.variant
def folded(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    batch, d_head = len(x), x.shape[-1] // n_heads

    def fold(y):
        y = y.reshape(batch, -1, n_heads, d_head).transpose(0, 2, 1, 3)
        return y.reshape(batch * n_heads, -1, d_head)

    query, key, value = fold(x @ w_q), fold(memory @ w_k), fold(memory @ w_v)
    if attn_mask is not None:
        shape = (batch, n_heads, query.shape[1], key.shape[1])
        attn_mask = np.broadcast_to(attn_mask, shape).reshape(-1, *shape[2:])
    attended = scaled_dot_product_attention(query, key, value, attn_mask)
    attended = attended.reshape(batch, n_heads, -1, d_head).transpose(0, 2, 1, 3)
    return attended.reshape(x.shape) @ w_o


@attention.variant
def sequence_by_sequence(x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None):
    answer = []
    for b in range(len(x)):
        query, key, value = (
            np.stack(np.split(y @ w, n_heads, axis=-1))
            for y, w in ((x[b], w_q), (memory[b], w_k), (memory[b], w_v))
        )
        own = attn_mask
        if attn_mask is not None and attn_mask.ndim == 4:
            own = attn_mask[b]
        attended = scaled_dot_product_attention(query, key, value, own)
        answer.append(np.concatenate(list(attended), axis=-1) @ w_o)
    return np.stack(answer)


repeat = Exercise(heads.repeat_kv, points=1, axes=CUT)


@repeat.probes
def _(rng):
    few, some, more, n = (int(n) for n in rng.permutation([2, 3, 4, 5]))
    why = "several heads to copy"
    yield Probe(numbered(rng, some, few, more, n, mixed=False), few + 1, why=why)
    yield Probe(numbered(rng, few, some, n, more), 2 * some, why=why)
    yield Probe(numbered(rng, n, more, few, some), few, why=why)
    yield Probe(numbered(rng, n, n, n, n), n, why="all sizes equal")
    yield Probe(numbered(rng, few, n, more, some, kind=np.float32), 3, why="float32")
    yield Probe(numbered(rng, n, 1, some, more), few, why="one head for all")
    yield Probe(numbered(rng, few, some, more, n), 1, why="nothing to share")


@repeat.law
def which_head(answer, x, n_rep):
    expected = heads.repeat_kv(x, n_rep)
    if answer.shape != expected.shape:
        return None
    for head, copy in enumerate(answer.swapaxes(0, 1)):
        own = head // n_rep
        for other in range(x.shape[1]):
            if other != own and np.array_equal(copy, x[:, other]):
                return (
                    f"Head {head} of the answer is a copy of head {other} of `x`; it "
                    f"should be a copy of head {own}."
                )
    return foreign_number(x, answer, expected, NAMES)


@repeat.mistake(
    "All heads are there once, and then all of them again: 0, 1, ..., 0, 1, ...",
    hint="Query heads that share a key-value head are neighbours. Which of np.repeat "
    "and np.tile puts the copies of one head next to each other?",
    seen="ekzhang/jax-js#180",
)
def tiled(x, n_rep):
    return np.tile(x, (1, n_rep, 1, 1))


@repeat.mistake(
    "The positions are repeated, not the heads: the shape is (B, G, S * n_rep, K).",
    hint="The axes are batch, head, position, column. Which one has to get longer?",
)
def positions_repeated(x, n_rep):
    return np.repeat(x, n_rep, axis=2)


@repeat.mistake(
    "The batch rows are repeated, not the heads.",
    hint="The axes are batch, head, position, column. Which one has to get longer?",
)
def batch_repeated(x, n_rep):
    return np.repeat(x, n_rep, axis=0)


@repeat.mistake(
    "The columns are repeated, not the heads.",
    hint="The axes are batch, head, position, column. Which one has to get longer?",
)
def columns_repeated(x, n_rep):
    return np.repeat(x, n_rep, axis=-1)


@repeat.mistake(
    "The array is flattened: it has one axis left.",
    hint="What does np.repeat do when you do not say along which axis?",
)
def flattened(x, n_rep):
    return np.repeat(x, n_rep)


@repeat.mistake(
    "The copies are on an axis of their own: the shape is (B, G, n_rep, S, K).",
    hint="The G heads and their copies have to share one axis, the second.",
)
def copies_apart(x, n_rep):
    return np.repeat(x[:, :, None], n_rep, axis=2)


@repeat.mistake(
    "Every position is repeated, and then the positions are dealt out to the heads: "
    "a head holds some of its positions n_rep times.",
    hint="Beside which axis does the new axis have to stand, so that a reshape joins "
    "the copies with the heads?",
)
def repeated_then_cut(x, n_rep):
    batch, n_kv_heads, k_len, d_head = x.shape
    return np.repeat(x, n_rep, axis=2).reshape(batch, n_kv_heads * n_rep, k_len, d_head)


@repeat.mistake(
    "`n_rep` is taken for the number of heads after copying: each is copied n_rep / G "
    "times.",
    hint="With 2 key-value heads and n_rep = 4 there are 8 query heads.",
)
def as_the_total(x, n_rep):
    return np.repeat(x, max(n_rep // x.shape[1], 1), axis=1)


@repeat.variant
def by_broadcasting(x, n_rep):
    batch, n_kv_heads, k_len, d_head = x.shape
    copies = np.broadcast_to(x[:, :, None], (batch, n_kv_heads, n_rep, k_len, d_head))
    return copies.reshape(batch, -1, k_len, d_head)


@repeat.variant
def by_index(x, n_rep):
    return x[:, np.arange(x.shape[1] * n_rep) // n_rep]


@repeat.variant
def head_by_head(x, n_rep):
    copies = []
    for head in range(x.shape[1]):
        for _ in range(n_rep):
            copies.append(x[:, head])
    return np.stack(copies, axis=1)


@repeat.variant
def by_an_outer_product(x, n_rep):
    return np.kron(x, np.ones((1, n_rep, 1, 1)))
