"""Chapter 3: embeddings."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import embeddings

embed = Exercise(
    embeddings.embed, points=1, axes=(None, "batch row", "position", "column")
)
embed.forbid("torch", why="its embedding is what you are asked to write")


def quarters(rng, *shape, kind: type = float):
    """Numbers whose sums and products are exact in float32, too, and never 0."""
    sizes = rng.integers(1, 13, shape) * rng.choice([-0.25, 0.25], shape)
    return sizes.astype(kind)


def draw_tokens(rng, *shape, vocab):
    """Tokens with the first and the last of the vocabulary, and one that repeats."""
    tokens = rng.integers(0, vocab, shape)
    tokens.flat[:3] = vocab - 1, 0, vocab - 2
    tokens.flat[-1] = vocab - 1
    return tokens


@embed.probes
def _(rng):
    length, wide = int(rng.integers(5, 8)), int(rng.integers(9, 12))

    def some(*shape, vocab, d_model, kind: type = float):
        tokens = draw_tokens(rng, *shape, vocab=vocab)
        return tokens, quarters(rng, vocab, d_model, kind=kind)

    tokens, table = some(2, length, vocab=9, d_model=4)
    yield Probe(tokens, table, why="a batch of sequences")
    yield Probe(tokens, quarters(rng, 9, 4), why="a batch of sequences")
    yield Probe(
        *some(3, length + 1, vocab=8, d_model=wide), why="more columns than tokens"
    )
    yield Probe(
        *some(2, length, vocab=7, d_model=6, kind=np.float32), why="a table of float32"
    )
    yield Probe(*some(length, vocab=11, d_model=3), why="a single sequence")
    yield Probe(*some(2, 3, 5, vocab=10, d_model=6), why="tokens with three axes")
    yield Probe(*some(4, 4, vocab=4, d_model=4), why="a square table")
    tokens, table = some(3, 4, vocab=12, d_model=5)
    yield Probe(np.minimum(tokens, 10), table, why="tokens without the last one")


@embed.reason
def _(index, tokens, table):
    return f"the token there is {tokens[index[:-1]]}"


@embed.law
def which_row(answer, tokens, table):
    if answer.shape != (*tokens.shape, table.shape[1]):
        return None
    wrong = ~np.isclose(answer, table[tokens]).all(axis=-1)  # (...)
    equal = np.isclose(answer[..., None, :], table).all(axis=-1)  # (..., V)
    for index in map(tuple, np.argwhere(wrong & equal.any(axis=-1))):
        named = zip(embed.axes_of(answer.ndim), index, strict=False)
        where = ", ".join(f"{name} {i}" for name, i in named if name)
        return (
            f"At {where} the token is {tokens[index]}, and there stands row "
            f"{equal[index].argmax()} of the table."
        )
    return None


@embed.family
def embed_family(tokens, table, *, scale=lambda d: 1.0, step=0, zero=None, length=None):
    rows = table[tokens + step] * scale(table.shape[1])
    if zero is not None:
        rows = np.where(tokens[..., None] == zero, 0.0, rows)
    if length is not None:
        rows = rows / length(rows)
    return rows


embed.mistake(
    "The tokens are counted from 1: each one gets the row before its own.",
    hint="Token 0 has row 0. In Python, row -1 is the last one and no error.",
    step=-1,
)
embed.mistake(
    "Each token gets the row after its own.",
    hint="Token 0 has row 0. Does something add 1 to the ids?",
    seen="INK-USC/MHGRN#5",
    step=1,
)
embed.mistake(
    "The rows are multiplied by the square root of D.",
    hint="The paper does so where positions are added, and so does chapter 4; this "
    "function only looks up.",
    scale=math.sqrt,
)
embed.mistake(
    "The rows are divided by the square root of D.",
    hint="A root divides the scores of attention. This function only looks up.",
    scale=lambda d: 1 / math.sqrt(d),
)
embed.mistake(
    "Token 0 gets zeros, whatever stands in row 0 of the table.",
    hint="No token is special here: 0 can be a real token, and what padding looks "
    "like is for the table to say.",
    zero=0,
)
embed.mistake(
    "Every row is divided by its length.",
    hint="The row has to come out as it stands in the table.",
    length=lambda rows: np.linalg.norm(rows, axis=-1, keepdims=True),
)


@embed.mistake(
    "Columns of the table are looked up, not rows.",
    hint="The table is (V, D). Which of the two axes do the tokens count?",
)
def columns(tokens, table):
    return table[:, tokens]


@embed.mistake(
    "The table is transposed: each token gets a column, not a row.",
    hint="The table is (V, D): a token's row is ready as it stands.",
)
def transposed(tokens, table):
    return table.T[tokens]


@embed.mistake(
    "Single numbers are looked up: the table is read as one long row.",
    hint="np.take needs to be told the axis.",
)
def without_axis(tokens, table):
    return np.take(table, tokens)


@embed.mistake(
    "The row is chosen by the position of the token, not by the token.",
    hint="Two different words at the same place: do they get the same vector?",
)
def by_position(tokens, table):
    where = np.broadcast_to(np.arange(tokens.shape[-1]), tokens.shape)
    return table[where]


@embed.mistake(
    "It is the one-hot matrix: a 1 at each token's place, and the table is not used.",
    hint="One-hot rows choose rows of the table when they are multiplied by it.",
)
def only_one_hot(tokens, table):
    return np.eye(len(table))[tokens]


@embed.mistake(
    "The rows are right, but the axes of the tokens have become one.",
    hint="The answer has the shape of the tokens, and one more axis.",
)
def flattened(tokens, table):
    return table[tokens.ravel()]


@embed.mistake(
    "The rows of each sequence are added up.",
    hint="Attention needs a vector for every position.",
)
def added_up(tokens, table):
    return table[tokens].sum(axis=-2)


@embed.mistake(
    "The rows of each sequence are averaged.",
    hint="Attention needs a vector for every position.",
)
def averaged(tokens, table):
    return table[tokens].mean(axis=-2)


@embed.variant
def by_take(tokens, table):
    return np.take(table, tokens, axis=0)


@embed.variant
def one_hot_times_table(tokens, table):
    one_hot = tokens[..., None] == np.arange(len(table))
    return one_hot.astype(table.dtype) @ table


@embed.variant
def one_hot_by_einsum(tokens, table):
    return np.einsum("...v,vd->...d", np.eye(len(table))[tokens], table)


@embed.variant
def looked_up_one_by_one(tokens, table):
    rows = np.zeros((*tokens.shape, table.shape[1]), dtype=np.float32)
    for place in np.ndindex(tokens.shape):
        rows[place] = table[tokens[place]]
    return rows


@embed.variant
def flat_and_back(tokens, table):
    rows = [table[token] for token in tokens.ravel()]
    return np.stack(rows).reshape(*tokens.shape, -1)


gradient = Exercise(embeddings.embedding_gradient, points=3, axes=("token", "column"))
gradient.forbid("torch", why="its autograd would do what you are asked to do")


@gradient.probes
def _(rng):
    length, wide = int(rng.integers(5, 8)), int(rng.integers(9, 12))

    def some(*shape, vocab, d_model, padding=None, last=1, kind: type = float):
        """Tokens that repeat and include padding; the `last` ones do not occur."""
        others = [token for token in range(vocab - last) if token != padding]
        tokens = rng.choice(others, shape)
        tokens.flat[:2] = others[1], others[0]
        tokens.flat[-2:] = others[0], others[-1]
        if padding is not None:
            tokens.flat[[2, -3]] = padding
        return tokens, quarters(rng, *shape, d_model, kind=kind), vocab

    middle = int(rng.integers(2, 5))
    for _ in range(2):
        yield Probe(*some(2, length, vocab=9, d_model=4), why="tokens that repeat")
    yield Probe(
        *some(3, length, vocab=8, d_model=wide, padding=0), 0, why="a padding_idx of 0"
    )
    yield Probe(
        *some(2, length + 1, vocab=7, d_model=6, padding=middle, last=0),
        middle,
        why="a padding_idx other than 0",
    )
    yield Probe(
        rng.permutation(7)[:5], quarters(rng, 5, 3), 7, why="tokens that do not repeat"
    )
    yield Probe(
        *some(length + 3, vocab=6, d_model=5, padding=middle, kind=np.float32),
        middle,
        why="a single sequence",
    )
    yield Probe(*some(2, 3, 4, vocab=10, d_model=6), why="tokens with three axes")
    yield Probe(
        *some(4, 4, vocab=4, d_model=4, padding=1), 1, why="as many tokens as columns"
    )


@gradient.reason
def _(index, tokens, grad, vocab_size, padding_idx=None):
    count = int((tokens == index[0]).sum())
    if index[0] == padding_idx:
        return f"token {index[0]} is padding_idx"
    times = {0: "does not occur", 1: "occurs once"}.get(count, f"occurs {count} times")
    return f"token {index[0]} {times}"


@gradient.family
def gradient_family(
    tokens, grad, vocab_size, padding_idx=None, *, repeats=np.sum, row=lambda p: p,
    careless=False, factor=lambda tokens: 1.0,
):  # fmt: skip
    """`repeats` makes one row of the rows of a token; `row` is the one set to 0."""
    table_grad = np.zeros((vocab_size, grad.shape[-1]))
    for token in np.unique(tokens):
        table_grad[token] = repeats(grad[tokens == token], axis=0) * factor(tokens)
    where = row(padding_idx)
    if careless or where is not None:
        table_grad[where] = 0
    return table_grad


gradient.mistake(
    "Where a token repeats, only its last gradient counts.",
    hint="x[tokens] += ... reads all rows, adds, and writes: a row that is written "
    "several times keeps the last one. What does NumPy offer that adds up?",
    seen="HIPS/autograd#39",
    repeats=lambda rows, axis: rows[-1],
)
gradient.mistake(
    "Where a token repeats, only its first gradient counts.",
    hint="The same row of the table was read several times: each of them has a say.",
    repeats=lambda rows, axis: rows[0],
)
gradient.mistake(
    "Where a token repeats, the gradients are averaged.",
    hint="The derivative of a sum is a sum. (PyTorch averages only if it is asked to, "
    "by scale_grad_by_freq.)",
    repeats=np.mean,
)
gradient.mistake(
    "Where a token repeats, the largest of its gradients is taken.",
    hint="The derivative of a sum is a sum.",
    repeats=np.max,
)
gradient.mistake(
    "Every gradient is divided by the number of tokens.",
    hint="If the loss is a mean, that is in `grad` already.",
    factor=lambda tokens: 1 / tokens.size,
)
gradient.mistake(
    "Every gradient is divided by the number of sequences.",
    hint="If the loss is a mean, that is in `grad` already.",
    factor=lambda tokens: 1 / len(tokens),
)
gradient.mistake(
    "`padding_idx` is not used: padding gets a gradient like any other token.",
    hint="Which row should stay as it is, whatever is learned?",
    row=lambda p: None,
)
gradient.mistake(
    "A `padding_idx` of 0 is taken for none.",
    hint="0 is a token, and in Python it counts as false, too. What says that there is "
    "no padding_idx?",
    row=lambda p: p or None,
)
gradient.mistake(
    "Without a `padding_idx`, everything is 0.",
    hint="What does x[None] = 0 set to 0? Print it.",
    seen="facebookresearch/fairseq#4076",
    careless=True,
)
gradient.mistake(
    "Row 0 is 0, whatever `padding_idx` is.",
    hint="In many vocabularies 0 is a real token, and it has to learn.",
    row=lambda p: 0,
)
gradient.mistake(
    "If there is a `padding_idx`, row 0 is set to 0 in its place.",
    hint="padding_idx is the number of a row.",
    row=lambda p: None if p is None else 0,
)


@gradient.mistake(
    "Where a token repeats within a sequence, only its last gradient there counts.",
    hint="x[tokens] += ... reads all rows, adds, and writes: a row that is written "
    "several times keeps the last one. A loop over the sequences does not change that.",
)
def last_of_each_sequence(tokens, grad, vocab_size, padding_idx=None):
    table_grad = np.zeros((vocab_size, grad.shape[-1]))
    for sequence in np.ndindex(tokens.shape[:-1]):
        table_grad[tokens[sequence]] += grad[sequence]
    if padding_idx is not None:
        table_grad[padding_idx] = 0
    return table_grad


@gradient.mistake(
    "It counts the tokens: `grad` is not used.",
    hint="A count is right only where every gradient is 1.",
)
def counts(tokens, grad, vocab_size, padding_idx=None):
    return gradient_family(tokens, np.ones_like(grad), vocab_size, padding_idx)


@gradient.mistake(
    "There are rows only up to the largest token that occurs.",
    hint="The table has vocab_size rows, and so has its gradient.",
)
def up_to_the_largest(tokens, grad, vocab_size, padding_idx=None):
    table_grad = embeddings.embedding_gradient(tokens, grad, vocab_size, padding_idx)
    return table_grad[: tokens.max() + 1]


@gradient.mistake(
    "There is a row only for each token that occurs.",
    hint="The table has vocab_size rows, and so has its gradient.",
)
def only_those_that_occur(tokens, grad, vocab_size, padding_idx=None):
    table_grad = embeddings.embedding_gradient(tokens, grad, vocab_size, padding_idx)
    return table_grad[np.unique(tokens)]


@gradient.mistake(
    "The row of `padding_idx` is left out.",
    hint="It gets zeros, and it keeps its place: what is row 5 of the table is row 5 "
    "of the gradient.",
)
def without_the_row(tokens, grad, vocab_size, padding_idx=None):
    table_grad = embeddings.embedding_gradient(tokens, grad, vocab_size, padding_idx)
    return table_grad if padding_idx is None else np.delete(table_grad, padding_idx, 0)


@gradient.mistake(
    "There is a gradient for each sequence: the batch is not added up.",
    hint="There is one table, and all sequences read it.",
)
def for_each_sequence(tokens, grad, vocab_size, padding_idx=None):
    one_hot = np.eye(vocab_size)[tokens]
    if padding_idx is not None:
        one_hot[..., padding_idx] = 0
    return np.swapaxes(one_hot, -1, -2) @ grad


@gradient.mistake(
    "What is left out is the position `padding_idx`, not the token `padding_idx`.",
    hint="padding_idx is an id. Where in `tokens` does it stand?",
)
def position_for_token(tokens, grad, vocab_size, padding_idx=None):
    if padding_idx is not None:
        grad = grad.copy()
        grad[..., padding_idx, :] = 0
    return embeddings.embedding_gradient(tokens, grad, vocab_size)


@gradient.mistake(
    "Tokens below `padding_idx` get nothing, either.",
    hint="Only the token that equals padding_idx is padding.",
)
def only_larger_ids(tokens, grad, vocab_size, padding_idx=None):
    table_grad = embeddings.embedding_gradient(tokens, grad, vocab_size, padding_idx)
    if padding_idx is not None:
        table_grad[:padding_idx] = 0
    return table_grad


@gradient.variant
def one_hot_times_gradient(tokens, grad, vocab_size, padding_idx=None):
    one_hot = (tokens.ravel() == np.arange(vocab_size)[:, None]).astype(float)
    if padding_idx is not None:
        one_hot[padding_idx] = 0
    return one_hot @ grad.reshape(-1, grad.shape[-1])


@gradient.variant
def added_one_by_one(tokens, grad, vocab_size, padding_idx=None):
    table_grad = np.zeros((vocab_size, grad.shape[-1]), dtype=np.float32)
    for place in np.ndindex(tokens.shape):
        if tokens[place] != padding_idx:
            table_grad[tokens[place]] += grad[place]
    return table_grad


@gradient.variant
def row_by_row(tokens, grad, vocab_size, padding_idx=None):
    rows = [
        grad[tokens == token].sum(axis=0) * (token != padding_idx)
        for token in range(vocab_size)
    ]
    return np.stack(rows)


@gradient.variant
def by_counting(tokens, grad, vocab_size, padding_idx=None):
    """Column by column, with weights in place of ones."""
    weights = grad * (tokens != padding_idx)[..., None]
    columns = [
        np.bincount(tokens.ravel(), weights[..., j].ravel(), minlength=vocab_size)
        for j in range(grad.shape[-1])
    ]
    return np.stack(columns, axis=1)


@gradient.variant
def one_hot_summed(tokens, grad, vocab_size, padding_idx=None):
    one_hot = np.eye(vocab_size)[tokens]
    if padding_idx is not None:
        one_hot[..., padding_idx] = 0
    width = grad.shape[-1]
    return np.einsum(
        "nv,nd->vd", one_hot.reshape(-1, vocab_size), grad.reshape(-1, width)
    )


gradient.equivalent(
    "table_grad = -np.zeros((vocab_size, grad.shape[-1]), dtype=grad.dtype)",
    why="minus zero is zero",
)
gradient.equivalent(
    "table_grad = np.zeros((vocab_size, grad.shape[-1]))",
    why="float64 is as good as float32",
)


logits = Exercise(
    embeddings.tied_logits, points=1, axes=("batch row", "position", "token")
)


@logits.probes
def _(rng):
    length, wide = int(rng.integers(5, 8)), int(rng.integers(9, 12))

    def some(*shape, vocab, kind: type = float):
        hidden = quarters(rng, *shape, kind=kind)
        return hidden, quarters(rng, vocab, shape[-1], kind=kind)

    hidden, table = some(2, length, 4, vocab=wide)
    yield Probe(hidden, table, why="more tokens than columns")
    yield Probe(hidden, quarters(rng, wide, 4), why="more tokens than columns")
    yield Probe(*some(3, length + 1, wide, vocab=4), why="more columns than tokens")
    yield Probe(*some(length, 6, vocab=8), why="a single sequence")
    yield Probe(*some(5, vocab=7), why="a single vector")
    yield Probe(*some(4, 4, 4, vocab=4), why="a square table")
    yield Probe(*some(2, 3, 8, vocab=5, kind=np.float32), why="numbers of float32")


@logits.reason
def _(index, hidden, table):
    return f"right is the dot product with row {index[-1]} of `table`"


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def standardised(rows):
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / rows.std(axis=-1, keepdims=True)


def unchanged(x):
    return x


@logits.family
def logits_family(
    hidden, table, *, scale=lambda d: 1.0, of_hidden=unchanged, of_table=unchanged,
    then=unchanged,
):  # fmt: skip
    return then(of_hidden(hidden) @ of_table(table).T * scale(table.shape[1]))


def softmax(scores):
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


logits.mistake(
    "The logits are divided by the square root of D.",
    hint="That root belongs to the scores of attention. (T5 does so here, too; the "
    "paper does not.)",
    scale=lambda d: 1 / math.sqrt(d),
)
logits.mistake(
    "The logits are multiplied by the square root of D.",
    hint="The paper multiplies where it embeds, not where it scores.",
    scale=math.sqrt,
)
logits.mistake(
    "The logits are divided by D: a mean in place of a sum.",
    hint="A dot product adds up.",
    scale=lambda d: 1 / d,
)
logits.mistake(
    "The rows of the table are scaled to length 1.",
    hint="The table is used as it stands: a longer row may score higher.",
    of_table=unit,
)
logits.mistake(
    "The hidden vectors are scaled to length 1.",
    hint="What the last layer gives is used as it is.",
    of_hidden=unit,
)
logits.mistake(
    "The hidden vectors are normalised first, as by a layer norm.",
    hint="The last layer norm belongs to the layers before, and its work is done.",
    of_hidden=standardised,
)
logits.mistake(
    "Both are scaled to length 1: these are cosines.",
    hint="A cosine looks at the direction alone; a dot product at the length as well.",
    of_hidden=unit,
    of_table=unit,
)
logits.mistake(
    "A softmax has made probabilities of the logits.",
    hint="The loss, or the sampler, takes the softmax later.",
    then=softmax,
)
logits.mistake(
    "These are logarithms of probabilities, not logits.",
    hint="The loss, or the sampler, takes the softmax later.",
    then=lambda scores: np.log(softmax(scores)),
)
logits.mistake(
    "The largest logit has been subtracted from all of them.",
    hint="That is a step of the softmax, and it comes later.",
    then=lambda scores: scores - scores.max(axis=-1, keepdims=True),
)
logits.mistake(
    "It is the best token, not the score of every token.",
    hint="Asked for is one number for each token of the vocabulary.",
    then=lambda scores: scores.argmax(axis=-1),
)


@logits.mistake(
    "The table is not transposed.",
    hint="Write the shapes under each other: (..., D) and (V, D). Which axis has to be "
    "summed over?",
)
def not_transposed(hidden, table):
    return hidden @ table


@logits.mistake(
    "The table is reshaped to (D, V), not transposed: its rows are torn apart.",
    hint="A reshape keeps the order of the numbers; a transpose swaps the axes.",
)
def reshaped(hidden, table):
    return hidden @ table.reshape(table.shape[::-1])


@logits.mistake(
    "It is minus the squared distance to every row.",
    hint="What decides here is the dot product: the length of a row counts.",
)
def distances(hidden, table):
    return -((hidden[..., None, :] - table) ** 2).sum(axis=-1)


@logits.mistake(
    "Only the last position is scored.",
    hint="In training every position predicts its next token.",
)
def only_the_last(hidden, table):
    return hidden[..., -1, :] @ table.T


@logits.mistake(
    "Token 0 is left out: its logit is -inf.",
    hint="Who is padding is not this function's business, and 0 can be a real token.",
)
def without_token_0(hidden, table):
    scores = hidden @ table.T
    scores[..., 0] = -np.inf
    return scores


@logits.mistake(
    "Each hidden vector is replaced by the row of the table that fits best.",
    hint="Asked for is one number for each token of the vocabulary.",
)
def nearest_row(hidden, table):
    return table[(hidden @ table.T).argmax(axis=-1)]


@logits.variant
def dot_by_einsum(hidden, table):
    return np.einsum("...d,vd->...v", hidden, table)


@logits.variant
def by_inner(hidden, table):
    return np.inner(hidden, table)


@logits.variant
def row_of_the_table_by_row(hidden, table):
    scores = np.zeros((*hidden.shape[:-1], len(table)), dtype=np.float32)
    for token, row in enumerate(table):
        scores[..., token] = (hidden * row).sum(axis=-1)
    return scores


@logits.variant
def by_tensordot(hidden, table):
    return np.tensordot(hidden, table, axes=(-1, 1))


@logits.variant
def table_first(hidden, table):
    flat = hidden.reshape(-1, hidden.shape[-1])
    return (table @ flat.T).T.reshape(*hidden.shape[:-1], -1)
