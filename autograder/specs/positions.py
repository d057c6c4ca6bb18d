"""Chapter 4: positional encoding."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import positions

sinusoidal = Exercise(
    positions.sinusoidal_positions, points=3, axes=("position", "column")
)


@sinusoidal.probes
def _(rng):
    short, long = sorted(int(n) for n in rng.choice(range(5, 12), 2, replace=False))
    base = float(rng.integers(20, 200))
    yield Probe(short, 14, why="fewer positions than columns")
    yield Probe(long + 4, 8, why="more positions than columns")
    yield Probe(10, 10, why="as many positions as columns")
    yield Probe(long, 6, base, why="another base")
    yield Probe(3, 4, base, why="another base")
    yield Probe(3, 4, why="fewer positions than columns")


@sinusoidal.law
def first_row(table, seq_len, d_model, base=10000.0):
    expected = np.tile([0.0, 1.0], d_model // 2)
    if table.shape != (seq_len, d_model):
        return None
    off = np.flatnonzero(~np.isclose(table[0], expected, atol=1e-3))
    if not len(off):
        return None
    column = off[0]
    return (
        f"At position 0, column {column} is {table[0, column]:.4g}, not "
        f"{expected[column]:g}: every angle is 0 there, so the sines are 0 and the "
        "cosines 1."
    )


@sinusoidal.law
def squares_of_a_pair(table, seq_len, d_model, base=10000.0):
    if table.shape != (seq_len, d_model):
        return None
    squares = table[:, 0::2] ** 2 + table[:, 1::2] ** 2
    off = np.argwhere(~np.isclose(squares, 1, atol=1e-3))
    if not len(off):
        return None
    row, pair = off[0]
    return (
        f"At position {row} the squares of columns {2 * pair} and {2 * pair + 1} "
        f"add up to {squares[row, pair]:.4g}; those of the sine and the cosine of one "
        "angle add up to 1."
    )


@sinusoidal.law
def turn_of_a_pair(table, seq_len, d_model, base=10000.0):
    angles = np.arctan2(table[1, 0::2], table[1, 1::2])
    expected = base ** (-np.arange(0, d_model, 2) / d_model)
    off = np.flatnonzero(~np.isclose(angles, expected, rtol=1e-3, atol=0))
    if not len(off):
        return None
    pair = off[0]
    return (
        f"From position 0 to position 1, columns {2 * pair} and {2 * pair + 1} turn by "
        f"an angle of {angles[pair]:.4f}; it should be 1 / base^({2 * pair} / "
        f"{d_model}), which is {expected[pair]:.4g}."
    )


@sinusoidal.family
def sinusoidal_family(
    seq_len, d_model, base=10000.0, *, start=0, turn=1.0, exponent=None, sign=-1,
    even=np.sin, odd=np.cos, halves=False,
):  # fmt: skip
    """Exponents are one per column; right is [0, 0, 2, 2, 4, 4, ...] / d_model."""
    columns = np.arange(d_model)
    exponents = (columns - columns % 2) / d_model
    if exponent is not None:
        exponents = exponent(columns, d_model)
    angles = (np.arange(seq_len)[:, None] + start) * turn
    angles = angles * base ** (sign * exponents)
    table = np.where(columns % 2 == 0, even(angles), odd(angles))
    if halves:
        table = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    return table


sinusoidal.mistake(
    "The exponent is doubled: 4i / D where 2i / D belongs, so the waves slow "
    "down twice as fast as they should.",
    hint="If your i runs 0, 2, 4, ..., it already is 2i.",
    seen="YutaroOgawa/pytorch_advanced#79",
    exponent=lambda j, d: 2 * (j - j % 2) / d,
)
sinusoidal.mistake(
    "The exponent is halved: i / D where 2i / D belongs.",
    hint="The slowest wave should be almost base times slower than the fastest.",
    exponent=lambda j, d: (j // 2) / d,
)
sinusoidal.mistake(
    "The sine and the cosine of a pair have different frequencies: the exponent is "
    "column / D.",
    hint="Columns 2i and 2i + 1 share one frequency. Print the squares of both, added.",
    seen="maxjcohen/transformer#62",
    exponent=lambda j, d: j / d,
)
sinusoidal.mistake(
    "The exponent is 2 * column / D: it is doubled, and the sine and the cosine of a "
    "pair have different frequencies.",
    hint="If your i runs over the columns 0, 2, 4, ..., it already is 2i; and the "
    "cosine uses the i of its sine.",
    seen="jadore801120/attention-is-all-you-need-pytorch#32",
    exponent=lambda j, d: 2 * j / d,
)
sinusoidal.mistake(
    "The position is multiplied where it should be divided: the later columns turn "
    "faster, not slower.",
    hint="Should the slowest column go round once in thousands of positions, or "
    "thousands of times from one position to the next?",
    sign=1,
)
sinusoidal.mistake(
    "All columns turn equally fast.",
    hint="What is 2 * i // d_model for the columns that you have?",
    exponent=lambda j, d: 0 * j,
)
sinusoidal.mistake(
    "The exponent is divided by D - 2: the last pair is exactly base times slower.",
    hint="Some libraries do this, so that the waves run from 1 to 1 / base; the paper "
    "divides by D.",
    exponent=lambda j, d: (j - j % 2) / (d - 2),
)
sinusoidal.mistake(
    "The positions start at 1.",
    hint="Row 0 is position 0: sines 0, cosines 1.",
    seen="graykode/nlp-tutorial#73",
    start=1,
)
sinusoidal.mistake(
    "Cosines are in the even columns and sines in the odd ones.",
    hint="Which of the two comes first in the formula?",
    even=np.cos,
    odd=np.sin,
)
sinusoidal.mistake(
    "There are sines only.",
    hint="Without the cosine, a shift by one position is no longer a rotation.",
    odd=np.sin,
)
sinusoidal.mistake(
    "There are cosines only.",
    hint="A cosine cannot tell a step forward from a step back.",
    even=np.cos,
)
sinusoidal.mistake(
    "The sines fill the first half of the columns and the cosines the second.",
    hint="Some libraries store it so. In the paper, and here, they alternate.",
    halves=True,
)


sinusoidal.mistake(
    "The angles are taken for degrees.",
    hint="np.sin and np.cos want radians, and that is what the formula gives.",
    turn=math.pi / 180,
)
sinusoidal.mistake(
    "The angles are multiplied by 2 pi.",
    hint="The formula has no pi: the fastest wave needs 2 pi positions for one turn.",
    turn=2 * math.pi,
)


@sinusoidal.mistake(
    "All columns are the same: sin(base * position / D).",
    hint="Each pair of columns needs a frequency of its own, and half of the columns "
    "are cosines.",
)
def one_wave(seq_len, d_model, base=10000.0):
    wave = np.sin(base * np.arange(seq_len) / d_model)
    return np.repeat(wave[:, None], d_model, axis=1)


@sinusoidal.mistake(
    "The sine and the cosine are divided, not the angle inside them.",
    hint="Where does the bracket of sin(...) close?",
)
def divided_outside(seq_len, d_model, base=10000.0):
    columns = np.arange(d_model)
    angles = np.arange(seq_len)[:, None]
    waves = np.where(columns % 2 == 0, np.sin(angles), np.cos(angles))
    return waves / base ** ((columns - columns % 2) / d_model)


@sinusoidal.mistake(
    "The positions are divided by the length of the sequence.",
    hint="Then the same position has another vector in every sequence length.",
)
def relative_to_length(seq_len, d_model, base=10000.0):
    return sinusoidal_family(seq_len, d_model, base, turn=1 / seq_len)


@sinusoidal.mistake(
    "The frequencies fall by a factor of e^2 from pair to pair, whatever the base.",
    hint="a / b // 2 divides first and then rounds down: use brackets.",
    seen="zju3dv/LoFTR#41",
)
def floor_division(seq_len, d_model, base=10000.0):
    return sinusoidal_family(
        seq_len, d_model, base,
        exponent=lambda j, d: (j - j % 2) / math.log(base),
    )  # fmt: skip


@sinusoidal.variant
def by_exp_and_log(seq_len, d_model, base=10000.0):
    table = np.zeros((seq_len, d_model))
    rates = np.exp(np.arange(0, d_model, 2) * -(math.log(base) / d_model))
    table[:, 0::2] = np.sin(np.outer(np.arange(seq_len), rates))
    table[:, 1::2] = np.cos(np.outer(np.arange(seq_len), rates))
    return table


@sinusoidal.variant
def angle_by_angle(seq_len, d_model, base=10000.0):
    table = np.zeros((seq_len, d_model), dtype=np.float32)
    for position in range(seq_len):
        for i in range(0, d_model, 2):
            angle = position / math.pow(base, i / d_model)
            table[position, i] = math.sin(angle)
            table[position, i + 1] = math.cos(angle)
    return table


@sinusoidal.variant
def by_complex_numbers(seq_len, d_model, base=10000.0):
    rates = base ** -(np.arange(d_model // 2) / (d_model // 2))
    turns = np.exp(1j * np.arange(seq_len)[:, None] * rates)
    return np.stack([turns.imag, turns.real], axis=-1).reshape(seq_len, d_model)


@sinusoidal.variant
def a_shifted_sine(seq_len, d_model, base=10000.0):
    columns = np.arange(d_model)
    rates = 1 / base ** (2 * (columns // 2) / d_model)
    angles = np.arange(seq_len, dtype=float)[:, np.newaxis] * rates
    return np.sin(angles + (columns % 2) * np.pi / 2)


sinusoidal.equivalent(
    "table[:, ::2] = np.sin(angles)", why="a slice without a start starts at 0"
)
sinusoidal.equivalent(
    "table = -np.empty((seq_len, d_model))", why="every number is overwritten"
)


shift = Exercise(positions.shift_matrix, points=3, axes=("row", "column"))


@shift.probes
def _(rng):
    near, far = sorted(int(n) for n in rng.choice(range(1, 7), 2, replace=False))
    base = float(rng.integers(20, 200))
    yield Probe(near, 8, why="a shift forward")
    yield Probe(far, 6, why="a shift forward")
    yield Probe(-far, 8, why="a shift back")
    yield Probe(0, 4, why="no shift at all")
    yield Probe(near + 2, 10, base, why="another base")
    yield Probe(far, 4, base, why="another base")
    yield Probe(far, 4, why="a shift forward")


@shift.law
def pairs_stay_apart(matrix, offset, d_model, base=10000.0):
    if matrix.shape != (d_model, d_model):
        return None
    pair = np.arange(d_model) // 2
    outside = np.argwhere((np.abs(matrix) > 1e-6) & (pair[:, None] != pair))
    if not len(outside):
        return None
    row, column = outside[0]
    return (
        f"At row {row}, column {column} is {matrix[row, column]:.4g}: column {row} of "
        f"the table would be mixed into column {column}, which belongs to another pair."
    )


@shift.law
def turn_of_a_block(matrix, offset, d_model, base=10000.0):
    if matrix.shape != (d_model, d_model):
        return None
    first, second = np.arange(0, d_model, 2), np.arange(1, d_model, 2)
    cosines, sines = matrix[first, first], matrix[second, first]
    rotations = np.isclose(cosines**2 + sines**2, 1, atol=1e-6)
    rotations &= np.isclose(matrix[second, second], cosines, atol=1e-6)
    rotations &= np.isclose(matrix[first, second], -sines, atol=1e-6)
    turns = np.arctan2(sines, cosines)
    angles = offset / base ** (first / d_model)
    expected = np.arctan2(np.sin(angles), np.cos(angles))
    off = np.flatnonzero(~np.isclose(turns, expected, rtol=1e-3, atol=1e-6))
    if not rotations.all() or not len(off):
        return None
    i = off[0]
    return (
        f"Columns {2 * i} and {2 * i + 1} are turned by an angle of {turns[i]:.4g}; it "
        f"should be {offset} / base^({2 * i} / {d_model}), which is {expected[i]:.4g}."
    )


@shift.law
def moves_a_row(matrix, offset, d_model, base=10000.0):
    start = abs(offset)
    table = positions.sinusoidal_positions(2 * start + 3, d_model, base)
    moved, expected = table[start + 1] @ matrix, table[start + 1 + offset]
    off = np.flatnonzero(~np.isclose(moved, expected, atol=1e-5))
    if not len(off):
        return None
    column = off[0]
    return (
        f"Row {start + 1} of the table times your matrix is not row "
        f"{start + 1 + offset}: its column {column} is {moved[column]:.4g}, not "
        f"{expected[column]:.4g}."
    )


@shift.family
def shift_family(
    offset, d_model, base=10000.0, *, exponent=None, sign=-1, cos=np.cos, sin=np.sin,
    below=1, right=-1, halves=False,
):  # fmt: skip
    pairs = np.arange(d_model // 2)
    exponents = 2 * pairs / d_model if exponent is None else exponent(pairs, d_model)
    angles = offset * base ** (sign * exponents)
    first, second = (
        (pairs, pairs + d_model // 2) if halves else (2 * pairs, 2 * pairs + 1)
    )
    matrix = np.zeros((d_model, d_model))
    matrix[first, first] = matrix[second, second] = cos(angles)
    matrix[second, first] = below * sin(angles)
    matrix[first, second] = right * sin(angles)
    return matrix


shift.mistake(
    "The matrix is transposed; or, which is the same, it moves by minus the offset.",
    hint="Rows are multiplied from the left: row @ matrix. Write out sin(a + b) and "
    "cos(a + b).",
    below=-1,
    right=1,
)
shift.mistake(
    "Both sines have the same sign: the matrix mirrors instead of turning.",
    hint="cos(a + b) = cos(a) cos(b) - sin(a) sin(b): where does the minus go?",
    right=1,
)
shift.mistake(
    "Both sines are negative: the matrix mirrors instead of turning.",
    hint="sin(a + b) = sin(a) cos(b) + cos(a) sin(b): where is the plus?",
    below=-1,
)
shift.mistake(
    "Sines and cosines have changed places.",
    hint="No shift at all must give the identity: what is sin(0)?",
    cos=np.sin,
    sin=np.cos,
)
shift.mistake(
    "The sines are missing.",
    hint="A rotation mixes the two columns of a pair.",
    below=0,
    right=0,
)
shift.mistake(
    "Column i is paired with column i + D/2: right for a table of two halves.",
    hint="In our table the sine and the cosine of a pair are neighbours.",
    halves=True,
)
shift.mistake(
    "All pairs are turned by the same angle.",
    hint="Each pair has its own frequency: the angle is offset times that.",
    exponent=lambda i, d: 0 * i,
)
shift.mistake(
    "The exponent is doubled: 4i / D where 2i / D belongs.",
    hint="If your i runs 0, 2, 4, ..., it already is 2i.",
    exponent=lambda i, d: 4 * i / d,
)
shift.mistake(
    "The exponent is halved: i / D where 2i / D belongs.",
    hint="Use the frequencies of the table itself.",
    exponent=lambda i, d: i / d,
)
shift.mistake(
    "The offset is multiplied where it should be divided: later pairs turn faster.",
    hint="The angle of pair i is offset / base^(2i / D).",
    sign=1,
)


@shift.mistake(
    "It moves columns, not positions: the identity with its columns moved.",
    hint="A row of the table has D numbers, and all of them change when the position "
    "does. Which matrix turns (sin a, cos a) into (sin(a + b), cos(a + b))?",
)
def moved_identity(offset, d_model, base=10000.0):
    return np.roll(np.eye(d_model), offset, axis=1)


@shift.mistake(
    "It moves columns, not positions: the identity with its diagonal moved.",
    hint="A row of the table has D numbers, and all of them change when the position "
    "does. Which matrix turns (sin a, cos a) into (sin(a + b), cos(a + b))?",
)
def moved_diagonal(offset, d_model, base=10000.0):
    return np.eye(d_model, k=offset)


@shift.mistake(
    "It is always the identity: nothing moves.",
    hint="How does the angle of a pair depend on the offset?",
)
def identity(offset, d_model, base=10000.0):
    return np.eye(d_model)


@shift.variant
def block_by_block(offset, d_model, base=10000.0):
    matrix = np.zeros((d_model, d_model), dtype=np.float32)
    for i in range(0, d_model, 2):
        angle = offset / base ** (i / d_model)
        c, s = math.cos(angle), math.sin(angle)
        matrix[i : i + 2, i : i + 2] = [[c, -s], [s, c]]
    return matrix


@shift.variant
def by_what_it_does(offset, d_model, base=10000.0):
    angles = np.repeat(offset / base ** (np.arange(0, d_model, 2) / d_model), 2)
    neighbour = np.kron(np.eye(d_model // 2), np.array([[0.0, -1.0], [1.0, 0.0]]))
    return np.eye(d_model) * np.cos(angles) + neighbour * np.sin(angles)


shift.equivalent("matrix = -np.zeros((d_model, d_model))", why="minus zero is zero")


inputs = Exercise(
    positions.decoder_input, points=2, axes=("batch row", "position", "column")
)


@inputs.probes
def _(rng):
    def some(batch, length, vocab, d_model, max_len, kind):
        tokens = rng.integers(0, vocab, (batch, length))
        tokens[0, 0], tokens[0, -1], tokens[-1, 0] = 0, vocab - 1, 1
        return (
            tokens,
            rng.normal(size=(vocab, d_model)).astype(kind),
            rng.normal(size=(max_len, d_model)).astype(kind),
        )

    length = int(rng.integers(4, 7))
    yield Probe(*some(2, length, 11, 8, 14, float), why="fewer tokens than positions")
    yield Probe(
        *some(3, length + 1, 9, 6, length + 9, float), why="fewer tokens than positions"
    )
    for _ in range(2):
        yield Probe(*some(4, 4, 7, 10, 16, float), why="as many sequences as tokens")
    yield Probe(
        *some(2, 5, 4, 6, 5, np.float32), why="exactly as many tokens as positions"
    )


@inputs.law
def share_of_each(answer, tokens, table, positions):
    seq_len, root = tokens.shape[1], math.sqrt(table.shape[1])
    embedded = table[tokens]
    added = np.broadcast_to(positions[:seq_len], embedded.shape)
    parts = np.stack([embedded.ravel(), added.ravel()], axis=1)
    shares, *_ = np.linalg.lstsq(parts, answer.ravel())
    if not np.allclose(parts @ shares, answer.ravel(), atol=1e-4):
        return None
    if np.allclose(shares, (root, 1), rtol=1e-4):
        return None
    return (
        f"It is {shares[0]:.4g} times the embedding plus {shares[1]:.4g} times the "
        f"position; it should be {root:.4g} times, which is the square root of D = "
        f"{table.shape[1]}, and once."
    )


def rows_found(vectors, rows):
    """For each vector the row that equals it, or -1."""
    equal = np.isclose(vectors[..., None, :], rows, atol=1e-4).all(axis=-1)
    return np.where(equal.any(axis=-1), equal.argmax(axis=-1), -1)


@inputs.law
def which_token(answer, tokens, table, positions):
    root = math.sqrt(table.shape[1])
    found = rows_found((answer - positions[: tokens.shape[1]]) / root, table)
    for row, position in np.argwhere((found >= 0) & (found != tokens)):
        return (
            f"Position {position} of batch row {row} got the embedding of token "
            f"{found[row, position]}; its token is {tokens[row, position]}."
        )
    return None


@inputs.law
def which_position(answer, tokens, table, positions):
    found = rows_found(answer - table[tokens] * math.sqrt(table.shape[1]), positions)
    for row, position in np.argwhere((found >= 0) & (found != range(tokens.shape[1]))):
        return (
            f"Position {position} of batch row {row} got row {found[row, position]} of "
            "`positions`."
        )
    return None


@inputs.law
def one_token_only(answer, tokens, table, positions):
    expected = inputs_family(tokens, table, positions)
    if answer.shape != expected.shape:
        return None
    off = ~np.isclose(answer, expected, atol=1e-4).all(axis=-1)
    wrong = np.unique(tokens[off])
    if len(wrong) == 1 and off[tokens == wrong[0]].all() and not off.all():
        return f"Only where the token is {wrong[0]} is the answer wrong."
    return None


@inputs.family
def inputs_family(
    tokens, table, positions, *, scale=math.sqrt, weight=lambda d: 1.0, first=0,
    rows=None,
):  # fmt: skip
    seq_len, d_model = tokens.shape[1], table.shape[1]
    where = np.arange(first, first + seq_len) if rows is None else rows(tokens)
    return table[tokens] * scale(d_model) + positions[where] * weight(d_model)


inputs.mistake(
    "The embedding is not multiplied by the square root of D.",
    hint="Compare the size of the embedding with the size of the positions.",
    scale=lambda d: 1.0,
)
inputs.mistake(
    "The embedding is divided by the square root of D, not multiplied.",
    hint="Attention scores are divided by a root; embeddings are multiplied.",
    scale=lambda d: 1 / math.sqrt(d),
)
inputs.mistake(
    "The embedding is multiplied by D, not by its square root.",
    hint="How large does a row of length D become?",
    scale=lambda d: d,
)
inputs.mistake(
    "The positions are multiplied by the square root of D as well.",
    hint="Scale first, then add.",
    weight=math.sqrt,
)
inputs.mistake(
    "The positions are multiplied by the square root of D, and the embedding is not.",
    hint="Which of the two does the paper scale?",
    scale=lambda d: 1.0,
    weight=math.sqrt,
)
inputs.mistake(
    "The positions are missing.",
    hint="Without them, attention cannot tell one order of the tokens from another.",
    weight=lambda d: 0.0,
)
inputs.mistake(
    "The positions start at row 1.",
    hint="The first token of a sequence is at position 0.",
    first=1,
)
inputs.mistake(
    "Every token gets row 0 of `positions`.",
    hint="Row t belongs to the token at position t.",
    rows=lambda tokens: 0 * np.arange(tokens.shape[1]),
)
inputs.mistake(
    "The row of `positions` is chosen by the number of the sequence in the batch.",
    hint="Which axis of the tokens is the position: the first or the second?",
    seen="KasperGroesLudvigsen/influenza_transformer#9",
    rows=lambda tokens: np.arange(len(tokens))[:, None],
)
inputs.mistake(
    "The positions go on counting from one sequence of the batch to the next.",
    hint="Every sequence starts at position 0.",
    rows=lambda tokens: np.arange(tokens.size).reshape(tokens.shape),
)
inputs.mistake(
    "The row of `positions` is chosen by the id of the token.",
    hint="A position says where a token stands, not which token it is.",
    rows=lambda tokens: tokens,
)


@inputs.mistake(
    "`positions` is not used: sinusoids are added in its place.",
    hint="Which positions to add is the caller's choice: they may be learned ones.",
)
def own_sinusoids(tokens, table, positions):
    waves = sinusoidal_family(tokens.shape[1], table.shape[1])
    return inputs_family(tokens, table, waves)


@inputs.mistake(
    "The last rows of `positions` are used, not the first ones.",
    hint="Every sequence starts at position 0.",
)
def last_rows(tokens, table, positions):
    return inputs_family(tokens, table, positions[len(positions) - tokens.shape[1] :])


@inputs.mistake(
    "The embedding is multiplied by the positions; it should be added to them.",
    hint="The two have the same shape so that they can be added.",
)
def multiplied(tokens, table, positions):
    seq_len, d_model = tokens.shape[1], table.shape[1]
    return table[tokens] * math.sqrt(d_model) * positions[:seq_len]


@inputs.mistake(
    "The positions stand beside the embedding; they should be added to it.",
    hint="The model keeps D columns.",
)
def beside(tokens, table, positions):
    seq_len, d_model = tokens.shape[1], table.shape[1]
    where = np.broadcast_to(positions[:seq_len], (*tokens.shape, d_model))
    return np.concatenate([table[tokens] * math.sqrt(d_model), where], axis=-1)


@inputs.variant
def token_by_token(tokens, table, positions):
    batch, seq_len = tokens.shape
    d_model = table.shape[-1]
    answer = np.zeros((batch, seq_len, d_model))
    for b in range(batch):
        for t in range(seq_len):
            answer[b, t] = table[tokens[b, t]] * d_model**0.5 + positions[t]
    return answer


@inputs.variant
def by_one_hot(tokens, table, positions):
    one_hot = np.eye(len(table))[tokens]
    scaled = one_hot @ table * np.sqrt(table.shape[1])
    return scaled + positions[np.newaxis, : tokens.shape[1], :]


@inputs.variant
def by_take(tokens, table, positions):
    where = np.arange(tokens.shape[1])
    return np.add(np.take(table, tokens, axis=0) * np.sqrt(table.shape[1]),
                  np.take(positions, where, axis=0)[None])  # fmt: skip


inputs.equivalent(
    "seq_len, d_model = (tokens.shape[1], positions.shape[1])",
    why="both tables have D columns",
)
