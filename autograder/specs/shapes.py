"""Chapter 1: shapes and broadcasting."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import shapes

sequences = Exercise(shapes.sequence_mask, points=1, axes=("sequence", "position"))


@sequences.probes
def _(rng):
    def some(batch, max_len, longest):
        """Lengths in no order, the longest one last."""
        lengths = np.resize(rng.permutation(longest), batch)
        lengths[-1] = longest
        return lengths, max_len

    few, more = sorted(int(n) for n in rng.choice(range(3, 7), 2, replace=False))
    yield Probe(*some(few, more + 2, more + 2), why="sequences of several lengths")
    yield Probe(
        *some(more, few + 4, few + 2),
        why="more positions than the longest sequence has tokens",
    )
    for _ in range(2):
        yield Probe(*some(4, 4, 4), why="as many sequences as positions")
    yield Probe(*some(more + 2, few, few), why="more sequences than positions")
    yield Probe(
        np.array([few, 0, few + 1, 0]), few + 2, why="sequences without any token"
    )
    yield Probe(np.array([few]), few + 2, why="a single sequence")


@sequences.reason
def _(index, lengths, max_len):
    sequence, position = index
    length = int(lengths[sequence])
    tokens = "1 token" if length == 1 else f"{length} tokens"
    where = "is within" if position < length else "comes after"
    return f"that sequence has {tokens}, and position {position} {where} them"


@sequences.family
def sequences_family(lengths, max_len, *, extra=0, on_the_left=True, tokens=True):
    positions = np.arange(max_len)
    if not on_the_left:
        positions = positions[::-1]
    return (positions < lengths[:, None] + extra) == tokens


sequences.mistake(
    "One position too many is marked in every sequence.",
    hint="Positions count from 0. What is the last position of a sequence of 3 tokens?",
    seen="ajhalthor/Transformer-Neural-Network#15",
    extra=1,
)
sequences.mistake(
    "The last token of every sequence is not marked.",
    hint="Positions count from 0. What is the last position of a sequence of 3 tokens?",
    extra=-1,
)
sequences.mistake(
    "The mask is inverted: True where there is no token.",
    hint="In this course True means that something counts. Libraries that have a "
    "padding mask often mean the opposite.",
    tokens=False,
)
sequences.mistake(
    "The last positions are marked, not the first ones.",
    hint="Where does a sequence begin: at position 0, or so late that it ends at the "
    "last position?",
    on_the_left=False,
)


@sequences.mistake(
    "The answer is transposed: there is a row for every position.",
    hint="The sequences come first: (B, T). Which of the two arrays that meet must be "
    "the column?",
)
def a_row_for_every_position(lengths, max_len):
    return np.arange(max_len)[:, None] < lengths


@sequences.mistake(
    "There is only one row: position i is compared with the length of sequence i.",
    hint="(T,) and (B,) meet on the same axis. To meet on two, one of them needs a new "
    "axis.",
)
def position_by_position(lengths, max_len):
    return np.arange(max_len) < lengths


@sequences.mistake(
    "The mask is only as wide as the longest sequence: `max_len` is not used.",
    hint="The batch may be stored with more positions than its longest sequence needs.",
    seen="speechbrain/speechbrain#2344",
)
def as_wide_as_the_longest(lengths, max_len):
    return shapes.sequence_mask(lengths, int(lengths.max()))


@sequences.mistake(
    "There are as many positions as sequences: (B, B), not (B, T).",
    hint="Which of the two sizes counts the sequences, and which the positions?",
)
def a_position_for_every_sequence(lengths, max_len):
    return shapes.sequence_mask(lengths, len(lengths))


@sequences.mistake(
    "Every sequence is as long as the longest one.",
    hint="What should differ from one row to the next?",
)
def all_as_long_as_the_longest(lengths, max_len):
    return shapes.sequence_mask(np.full_like(lengths, lengths.max()), max_len)


@sequences.mistake(
    "Only the last token of every sequence is marked.",
    hint="Which positions of a sequence of 3 tokens hold one?",
)
def last_tokens(lengths, max_len):
    return np.arange(max_len) == lengths[:, None] - 1


@sequences.mistake(
    "The rows are sorted: the longest sequence comes first.",
    hint="Row b belongs to sequence b, wherever that stands.",
)
def longest_first(lengths, max_len):
    return shapes.sequence_mask(np.sort(lengths)[::-1], max_len)


@sequences.variant
def row_by_row(lengths, max_len):
    mask = np.zeros((len(lengths), max_len), dtype=bool)
    for b, length in enumerate(lengths):
        mask[b, :length] = True
    return mask


@sequences.variant
def cell_by_cell(lengths, max_len):
    return np.array([[t < n for t in range(max_len)] for n in lengths])


@sequences.variant
def by_an_outer_comparison(lengths, max_len):
    return np.greater.outer(lengths, np.arange(max_len))


@sequences.variant
def rows_of_a_triangle(lengths, max_len):
    return np.tri(max_len + 1, max_len, k=-1, dtype=bool)[lengths]


@sequences.variant
def by_transposing(lengths, max_len):
    counted = np.arange(1, max_len + 1, dtype=float).reshape(-1, 1)
    return np.logical_not(counted > lengths).T


angles = Exercise(shapes.position_angles, points=1, axes=("row", "column"))


@angles.probes
def _(rng):
    def some(length, width, start=0, step=1.0):
        """Positions in no order, and frequencies that fall from 1 as those of RoPE."""
        base = float(rng.integers(50, 2000))
        positions = start + rng.permutation(length + 2)[:length]
        if step != 1:
            positions = positions * step
        return positions, base ** -(np.arange(width) / width)

    few, more = sorted(int(n) for n in rng.choice(range(3, 7), 2, replace=False))
    yield Probe(*some(more + 1, few, start=1), why="more positions than frequencies")
    yield Probe(*some(few, more, start=few), why="positions that do not start at 0")
    for _ in range(2):
        yield Probe(*some(4, 4), why="as many positions as frequencies")
    yield Probe(
        *some(few + 1, more + 1, start=1, step=0.25),
        why="positions between the whole numbers",
    )
    yield Probe(*some(more, few, start=4097), why="positions far away")
    positions, inv_freq = some(few + 2, more + 2)
    yield Probe(positions, inv_freq.astype(np.float32), why="frequencies in float32")
    yield Probe(*some(1, few, start=more), why="a single position")


@angles.reason
def _(index, positions, inv_freq):
    row, column = index
    return (
        f"that row is for position {positions[row]:g}, and that column for frequency "
        f"{inv_freq[column]:.4g}"
    )


@angles.law
def position_of_a_row(answer, positions, inv_freq):
    found = answer[:, 0] / inv_freq[0]
    return found_elsewhere(
        "Row", "position", answer, np.outer(found, inv_freq), found, positions
    )


@angles.law
def frequency_of_a_column(answer, positions, inv_freq):
    row = np.argmax(positions)  # 0 would tell nothing
    found = answer[row] / positions[row]
    return found_elsewhere(
        "Column", "frequency", answer, np.outer(positions, found), found, inv_freq
    )


def found_elsewhere(line, kind, answer, table, found, given):
    """If all lines are right but for what they belong to: the first wrong one."""
    if answer.shape != table.shape or not np.allclose(answer, table):
        return None
    for i in np.flatnonzero(~np.isclose(found, given))[:1]:
        fact = f"{line} {i} is that of {kind} {found[i]:.4g}"
        return f"{fact}; its {kind} is {given[i]:.4g}."
    return None


@angles.family
def angles_family(
    positions, inv_freq, *, join=np.multiply, rounding=None, first=0, use=np.asarray
):
    positions = use(positions) + first
    if rounding is not None:
        positions, inv_freq = rounding(positions), rounding(inv_freq)
    return join(positions[:, None], inv_freq)


angles.mistake(
    "The position is divided by the frequency.",
    hint="A frequency of 1/100 turns slowly: by 1/100 at every position.",
    join=np.divide,
)
angles.mistake(
    "Positions and frequencies are added.",
    hint="At position 0 nothing has turned yet: what must the angles be there?",
    join=np.add,
)
angles.mistake(
    "Every position is too large by 1.",
    hint="The caller says which positions there are: use them as they are.",
    first=1,
)
angles.mistake(
    "The positions are counted anew, 0, 1, 2, ..., whatever `positions` holds.",
    hint="After a cache of 7 tokens the first position is 7. What is in `positions`?",
    use=lambda positions: np.arange(len(positions)),
)
angles.mistake(
    "The positions have lost what stands after the decimal point.",
    hint="An array of integers keeps only integers. Of which type is yours?",
    use=np.trunc,
)
angles.mistake(
    "Positions and frequencies are rounded to half precision before they are "
    "multiplied.",
    hint="Half precision has every whole number up to 2048, but not 2049.",
    seen="EleutherAI/gpt-neox#1003",
    rounding=np.float16,
)


@angles.mistake(
    "There is only one row: position i is multiplied by frequency i.",
    hint="(T,) and (K/2,) meet on the same axis. To meet on two, one of them needs a "
    "new axis.",
)
def one_by_one(positions, inv_freq):
    return positions * inv_freq


@angles.mistake(
    "The answer is transposed: there is a row for every frequency.",
    hint="The positions come first: (T, K/2). Which of the two arrays must be the "
    "column?",
)
def a_row_for_every_frequency(positions, inv_freq):
    return positions * inv_freq[:, None]


@angles.mistake(
    "The products are added up: there is one number, not a table.",
    hint="@ of two arrays with one axis each is their dot product.",
)
def summed(positions, inv_freq):
    return positions @ inv_freq


@angles.mistake(
    "The positions are repeated along the wrong axis: a row holds several of them.",
    hint="Print what you multiply by the frequencies: all of row 0 should be the same "
    "position. Broadcasting needs no repeat.",
)
def repeated_along_the_wrong_axis(positions, inv_freq):
    shape = len(positions), len(inv_freq)
    return np.tile(positions, len(inv_freq)).reshape(shape) * inv_freq


@angles.mistake(
    "These are the sines of the angles.",
    hint="The task ends with the angles.",
)
def sines(positions, inv_freq):
    return np.sin(shapes.position_angles(positions, inv_freq))


@angles.mistake(
    "Every angle is there twice, side by side: (T, K), not (T, K/2).",
    hint="Two columns share an angle only later, in a table of sines and cosines.",
)
def in_pairs(positions, inv_freq):
    return np.repeat(shapes.position_angles(positions, inv_freq), 2, axis=1)


@angles.mistake(
    "All angles are there twice, one block behind the other: (T, K), not (T, K/2).",
    hint="Two columns share an angle only later, in a table of sines and cosines.",
)
def in_halves(positions, inv_freq):
    return np.tile(shapes.position_angles(positions, inv_freq), 2)


@angles.variant
def by_outer(positions, inv_freq):
    return np.outer(positions, inv_freq)


@angles.variant
def by_einsum(positions, inv_freq):
    return np.einsum("t,k->tk", positions, inv_freq)


@angles.variant
def angle_by_angle(positions, inv_freq):
    table = np.zeros((len(positions), len(inv_freq)))
    for row, position in enumerate(positions):
        for column, frequency in enumerate(inv_freq):
            table[row, column] = position * frequency
    return table


@angles.variant
def as_a_product_of_matrices(positions, inv_freq):
    return positions.astype(np.float32).reshape(-1, 1) @ inv_freq.reshape(1, -1)


@angles.variant
def by_repeating(positions, inv_freq):
    columns = np.repeat(positions[:, np.newaxis], len(inv_freq), axis=1)
    return columns * np.stack([inv_freq] * len(positions))


product = Exercise(shapes.matmul_shape, points=2, axes=("axis",))


@product.probes
def _(rng):
    n, m, p, b, h, g = (int(length) for length in rng.permutation(range(2, 12))[:6])
    huge = int(rng.integers(4 * 10**18, 9 * 10**18))
    yield Probe((n, m), (m, p), why="two matrices")
    yield Probe((b, n, m), (b, m, p), why="stacks of the same shape")
    yield Probe((b, h, p, m), (b, h, m, n), why="stacks of the same shape")
    yield Probe((h, b, n, m), (m, p), why="a stack and a single matrix")
    yield Probe((p, m), (b, h, m, n), why="a single matrix and a stack")
    yield Probe((b, n, m), (h, b, m, p), why="stacks that are broadcast")
    yield Probe((b, 1, p, n), (g, n, m), why="stacks that are broadcast")
    yield Probe((1, g, n, p), (b, 1, p, m), why="stacks that are broadcast")
    yield Probe((b, 1, m, n), (b, n, p), why="stacks that are broadcast")
    yield Probe((h, 1, m), (m, 1), why="matrices of one row and one column")
    yield Probe((b, b, b, b), (b, b, b, b), why="axes that are all of one length")
    yield Probe((1, n, p), (1, p, m), why="a batch of one")
    yield Probe((0, n, m), (1, m, p), why="an empty batch")
    yield Probe((b, n, huge), (huge, p), why="arrays too large to be made")


@product.law
def axis_from_the_right(answer, a_shape, b_shape):
    expected = shapes.matmul_shape(a_shape, b_shape)
    got = tuple(int(length) for length in answer)
    seen = f"Your function gives {got}, not {expected}"
    if len(got) != len(expected):
        axes = "1 axis" if len(got) == 1 else f"{len(got)} axes"
        return f"{seen}: it has {axes}, and the longer shape has {len(expected)}."
    from_the_right = range(-1, -len(got) - 1, -1)
    wrong = next(axis for axis in from_the_right if got[axis] != expected[axis])
    return f"{seen}: axis {wrong} {origin(wrong, a_shape, b_shape)}."


def origin(axis, a_shape, b_shape):
    """What an axis of the product is, in words."""
    if axis == -1:
        return "counts the columns of the second matrix"
    if axis == -2:
        return "counts the rows of the first matrix"
    lengths = [str(shape[axis]) for shape in (a_shape, b_shape) if len(shape) >= -axis]
    return f"belongs to the stacks, which have {' and '.join(lengths)} there"


def broadcast(a, b):
    return np.broadcast_shapes(a, b)


def from_the_left(a, b):
    longest = max(len(a), len(b))
    return broadcast(*(stack + (1,) * (longest - len(stack)) for stack in (a, b)))


def as_long_as_the_shorter(a, b):
    count = min(len(a), len(b))
    return broadcast(a[len(a) - count :], b[len(b) - count :])


def by_length(choose):
    """Line stacks up from the right and choose one of the two lengths of an axis."""

    def join(a, b):
        longest = max(len(a), len(b))
        a, b = ((1,) * (longest - len(stack)) + stack for stack in (a, b))
        return tuple(map(choose, a, b))

    return join


def rows_and_columns(a_shape, b_shape):
    return a_shape[-2], b_shape[-1]


@product.family
def product_family(a_shape, b_shape, *, join=broadcast, matrix=rows_and_columns):
    return (*join(a_shape[:-2], b_shape[:-2]), *matrix(a_shape, b_shape))


product.mistake(
    "The stack of the second array is left out.",
    hint="A single matrix times a stack of 4 gives 4 products.",
    seen="ThanatosShinji/onnx-tool#30",
    join=lambda a, b: a,
)
product.mistake(
    "The stack of the first array is left out.",
    hint="A stack of 4 times a single matrix gives 4 products.",
    join=lambda a, b: b,
)
product.mistake(
    "Both stacks are left out: it is the shape of one product.",
    hint="How many products are there? Each of them has a place in the answer.",
    join=lambda a, b: (),
)
product.mistake(
    "The stacks stand one behind the other, as if every matrix of the first met every "
    "one of the second.",
    hint="Line the two stacks up from the right, as for a sum.",
    join=lambda a, b: a + b,
)
product.mistake(
    "All axes of the stacks are merged into one.",
    hint="torch.bmm wants them merged; @ does not.",
    join=lambda a, b: (math.prod(broadcast(a, b)),) if a or b else (),
)
product.mistake(
    "The stacks are lined up from the left.",
    hint="Write one stack under the other so that both end in the same column. A "
    "missing length counts as 1.",
    join=from_the_left,
)
product.mistake(
    "What only the longer stack has is lost.",
    hint="How many axes has a stack times a single matrix? zip stops with the shorter "
    "of its arguments.",
    join=as_long_as_the_shorter,
)
product.mistake(
    "The axes of the stack are in the opposite order.",
    hint="Whoever starts from the right has to turn the result round at the end.",
    join=lambda a, b: broadcast(a, b)[::-1],
)
product.mistake(
    "Where the stacks have different lengths, the smaller one is taken.",
    hint="A stack of 1 and a stack of 4: how many products are there?",
    join=by_length(min),
)
product.mistake(
    "Where the stacks have different lengths, the larger one is taken, even when the "
    "other is 0.",
    hint="A length of 1 gives way to any other length. How many products does an empty "
    "stack give?",
    join=by_length(max),
)
product.mistake(
    "What has length 1 in the stack is left out.",
    hint="A batch of one sequence is still a batch.",
    join=lambda a, b: tuple(length for length in broadcast(a, b) if length != 1),
)
product.mistake(
    "The last two axes have changed places.",
    hint="Rows come before columns.",
    matrix=lambda a, b: (b[-1], a[-2]),
)
product.mistake(
    "The matrices have the shape of the first one.",
    hint="Which length is summed over? It is in neither axis of the product.",
    matrix=lambda a, b: a[-2:],
)
product.mistake(
    "The matrices have the shape of the second one.",
    hint="Which length is summed over? It is in neither axis of the product.",
    matrix=lambda a, b: b[-2:],
)
product.mistake(
    "The length that is summed over is still there.",
    hint="Each number of the product is a sum over m: that axis is gone.",
    matrix=lambda a, b: (a[-2], a[-1], b[-1]),
)


@product.mistake(
    "It is the shape of np.dot: every matrix of the first stack meets every one of the "
    "second.",
    hint="np.dot and @ agree for two matrices. Line the two stacks up from the right, "
    "as for a sum.",
)
def shape_of_dot(a_shape, b_shape):
    return (*a_shape[:-1], *b_shape[:-2], b_shape[-1])


@product.mistake(
    "All axes are broadcast, also those of the matrices: that is the shape of `a * b`.",
    hint="A row of n numbers times a column of n numbers: how many numbers come out?",
)
def shape_of_an_elementwise_product(a_shape, b_shape):
    return np.broadcast_shapes(a_shape, b_shape)


@product.variant
def axis_by_axis(a_shape, b_shape):
    a, b = list(a_shape[:-2]), list(b_shape[:-2])
    stack = []
    while a or b:
        one, other = a.pop() if a else 1, b.pop() if b else 1
        stack.insert(0, other if one == 1 else one)
    return (*stack, a_shape[-2], b_shape[-1])


@product.variant
def padded_with_ones(a_shape, b_shape):
    ndim = max(len(a_shape), len(b_shape))
    a = (1,) * (ndim - len(a_shape)) + a_shape
    b = (1,) * (ndim - len(b_shape)) + b_shape
    stack = tuple(y if x == 1 else x for x, y in zip(a[:-2], b[:-2], strict=True))
    return *stack, a[-2], b[-1]


@product.variant
def by_making_only_the_stacks(a_shape, b_shape):
    *a_stack, n, _ = a_shape
    *b_stack, _, p = b_shape
    return (*np.broadcast(np.empty(a_stack), np.empty(b_stack)).shape, n, p)


@product.variant
def by_elementwise_products(a_shape, b_shape):
    rows, columns = (*a_shape[:-1], 1), (*b_shape[:-2], 1, b_shape[-1])
    return np.broadcast_shapes(rows, columns)


@product.variant
def in_numpys_integers(a_shape, b_shape):
    stack = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    return tuple(np.array([*stack, a_shape[-2], b_shape[-1]]))


product.equivalent(
    "stack = np.broadcast_shapes(b_shape[:-2], a_shape[:-2])",
    why="which of two shapes comes first makes no difference to broadcasting",
)
