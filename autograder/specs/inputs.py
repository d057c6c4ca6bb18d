"""Chapter 2: decoder inputs."""

import itertools

import numpy as np

from autograder.exercise import Exercise, Probe
from solutions import inputs

pad = Exercise(
    inputs.pad_batch,
    points=2,
    parts=("tokens", "attention_mask"),
    axes=(("batch row", "position"), ("batch row", "position")),
)

pad.forbid("torch", why="filling up the rectangle is what you practise here")


def ragged(rng, rows, length):
    """Different lengths, the largest of them second: in no order."""
    first, *others = (int(n) for n in rng.permutation(np.arange(1, length))[: rows - 1])
    return [first, length, *others]


@pad.probes
def _(rng):
    def some(lengths, pad_id, *, also_real=False):
        """Ids on both sides of pad_id, and pad_id itself in the longest sequence."""
        others = [token for token in range(13) if token != pad_id]
        sequences = [[int(n) for n in rng.choice(others, n)] for n in lengths]
        for sequence in filter(None, sequences):
            sequence[0], sequence[-1] = others[0], others[-1]
        if also_real:
            sequences[1][1] = sequences[1][-1] = pad_id
        return sequences

    def batch(rows, length, pad_id):
        return some(ragged(rng, rows, length), pad_id)

    length, other = int(rng.integers(5, 8)), int(rng.integers(3, 9))
    yield Probe(batch(3, length, 0), 0, why="padding on the right")
    yield Probe(batch(4, length + 1, other), other, why="padding on the right")
    yield Probe(batch(3, length, other), other, "left", why="padding on the left")
    yield Probe(batch(2, length + 1, 0), 0, "left", why="padding on the left")
    for side, pad_id in (("right", other), ("left", 0)):
        sequences = some(ragged(rng, 3, length), pad_id, also_real=True)
        yield Probe(
            sequences, pad_id, side=side, why="a real token with the id of padding"
        )
    yield Probe(batch(4, 4, other), other, "left", why="as many rows as columns")
    yield Probe(some([4, 4, 4], 0), 0, why="sequences of the same length")
    yield Probe(some([2, 0, 5], other), other, "left", why="an empty sequence")


@pad.reason
def _(index, sequences, pad_id, side="right"):
    row, position = index
    length = max(map(len, sequences))
    first = length - len(sequences[row]) if side == "left" else 0
    number = position - first
    if 0 <= number < len(sequences[row]):
        return f"token {number} of its sequence, counted from 0, belongs there"
    return "padding belongs there"


@pad.law
def what_is_real_is_the_sequence(answer, sequences, pad_id, side="right"):
    tokens, attention_mask = answer
    if attention_mask.dtype != bool or tokens.shape != attention_mask.shape:
        return None
    if tokens.shape != (len(sequences), max(map(len, sequences))):
        return None
    for row, sequence in enumerate(sequences):
        real = tokens[row, attention_mask[row]].tolist()
        if real != sequence:
            return (
                f"In batch row {row} the mask calls {real} real; its sequence is "
                f"{sequence}."
            )
    return None


@pad.family
def pad_family(
    sequences, pad_id, side="right", *, stands=lambda side: side,
    marked=lambda side: side, length=max, filler=None, real=True, backwards=False,
):  # fmt: skip
    wide = length(map(len, sequences))
    tokens = np.full((len(sequences), wide), pad_id if filler is None else filler)
    attention_mask = np.full(tokens.shape, not real)
    for row, sequence in enumerate(sequences):
        n = min(len(sequence), wide)
        for array, value, where in (
            (tokens, sequence[:n], stands(side)),
            (attention_mask, real, marked(side)),
        ):
            first = wide - n if where == "left" else 0
            array[row, first : first + n] = value
    if backwards and side == "left":
        tokens = np.flip(pad_family(sequences, pad_id)[0], axis=1)
    return tokens, attention_mask


def other_side(side):
    return "left" if side == "right" else "right"


pad.mistake(
    "`side` is not used: the padding always stands on the right.",
    hint="On the left, a sequence of length n fills the last n columns of its row.",
    stands=lambda side: "right",
    marked=lambda side: "right",
)
pad.mistake(
    "`side` is not used: the padding always stands on the left.",
    hint="On the right, a sequence of length n fills the first n columns of its row.",
    stands=lambda side: "left",
    marked=lambda side: "left",
)
pad.mistake(
    "The sides have changed places: the tokens stand where the padding belongs.",
    hint="`side` names the side of the padding, not that of the tokens.",
    stands=other_side,
    marked=other_side,
)
pad.mistake(
    "The tokens are right, but the mask is always that of padding on the right.",
    hint="For padding on the left, which columns of a short row are real?",
    marked=lambda side: "right",
)
pad.mistake(
    "`pad_id` is not used: the rows are filled up with 0.",
    hint="In many vocabularies 0 is a real token. What does a new array start with?",
    filler=0,
)
pad.mistake(
    "Every row is cut to the length of the shortest sequence.",
    hint="No token may be lost: which length has room for all of them?",
    length=min,
)
pad.mistake(
    "The mask is inverted: True on padding.",
    hint="In this course, True means real: may be attended to.",
    real=False,
)
pad.mistake(
    "With padding on the left, the tokens of a row run backwards.",
    hint="Turning a row round moves its padding, and its tokens too.",
    backwards=True,
)


@pad.mistake(
    "The mask is made from the ids: a real token whose id is `pad_id` counts as "
    "padding.",
    hint="An id cannot tell you what is real: some models use one token to end a text "
    "and to pad. What you know for sure is the length of each sequence.",
    seen="mll-lab-nu/RAGEN#59",
)
def mask_by_id(sequences, pad_id, side="right"):
    tokens, _ = inputs.pad_batch(sequences, pad_id, side)
    return tokens, tokens != pad_id


@pad.mistake(
    "The mask is True everywhere: padding counts as real.",
    hint="How does the model get to know which columns to ignore?",
)
def nothing_is_padding(sequences, pad_id, side="right"):
    tokens, _ = inputs.pad_batch(sequences, pad_id, side)
    return tokens, np.ones(tokens.shape, dtype=bool)


@pad.mistake(
    "The mask comes first and the tokens second.",
    hint="In which order does the task name the two?",
)
def in_the_other_order(sequences, pad_id, side="right"):
    return inputs.pad_batch(sequences, pad_id, side)[::-1]


@pad.mistake(
    "Both arrays are transposed: every sequence is a column.",
    hint="The batch is the first axis. PyTorch's pad_sequence puts it second, unless "
    "you say batch_first=True.",
)
def batch_second(sequences, pad_id, side="right"):
    tokens, attention_mask = inputs.pad_batch(sequences, pad_id, side)
    return tokens.T, attention_mask.T


@pad.mistake(
    "The rows are in another order: the longest sequence first.",
    hint="Row b belongs to sequence b. Nothing here needs sorted lengths.",
)
def sorted_by_length(sequences, pad_id, side="right"):
    return inputs.pad_batch(sorted(sequences, key=len, reverse=True), pad_id, side)


@pad.mistake(
    "There is one more column than the longest sequence needs.",
    hint="How many columns does the longest sequence fill?",
)
def one_column_more(sequences, pad_id, side="right"):
    tokens, attention_mask = inputs.pad_batch(sequences, pad_id, side)
    widths = ((0, 0), (0, 1) if side == "right" else (1, 0))
    return (
        np.pad(tokens, widths, constant_values=pad_id),
        np.pad(attention_mask, widths),
    )


@pad.variant
def list_by_list(sequences, pad_id, side="right"):
    longest = max(len(sequence) for sequence in sequences)
    rows, real = [], []
    for sequence in sequences:
        n = longest - len(sequence)
        if side == "right":
            rows.append(sequence + [pad_id] * n)
            real.append([True] * len(sequence) + [False] * n)
        else:
            rows.append([pad_id] * n + sequence)
            real.append([False] * n + [True] * len(sequence))
    return np.array(rows), np.array(real)


@pad.variant
def by_comparing_lengths(sequences, pad_id, side="right"):
    lengths = np.array([len(sequence) for sequence in sequences])
    column = np.arange(lengths.max())
    if side == "left":
        column = column[::-1]
    attention_mask = column < lengths[:, None]
    tokens = np.full(attention_mask.shape, pad_id, dtype=np.int32)
    tokens[attention_mask] = [token for sequence in sequences for token in sequence]
    return tokens, attention_mask


@pad.variant
def by_zip_longest(sequences, pad_id, side="right"):
    step = 1 if side == "right" else -1
    columns = itertools.zip_longest(*(s[::step] for s in sequences), fillvalue=pad_id)
    tokens = np.stack([np.array(column) for column in columns], axis=1)[:, ::step]
    real = [[True] * len(s) for s in sequences]
    columns = itertools.zip_longest(*real, fillvalue=False)
    return tokens, np.array(list(columns)).T[:, ::step]


@pad.variant
def by_np_pad(sequences, pad_id, side="right"):
    length = max(map(len, sequences))
    tokens, attention_mask = [], []
    for sequence in sequences:
        missing = length - len(sequence)
        widths = (missing, 0) if side == "left" else (0, missing)
        row = np.array(sequence, dtype=int)
        tokens.append(np.pad(row, widths, constant_values=pad_id))
        attention_mask.append(np.pad(np.ones(len(row), bool), widths))
    return np.stack(tokens), np.stack(attention_mask)


shift = Exercise(inputs.shift_right, points=2, axes=("batch row", "position"))


def ids_and_mask(rng, rows, length, *, side="right", low=2, high=40):
    """Different ids in every row, and where they are real."""
    ids = np.arange(low, high)
    tokens = np.stack([rng.permutation(ids)[:length] for _ in range(rows)])
    lengths = np.array(ragged(rng, rows, length))[:, None]
    column = np.arange(length)
    return tokens, (column if side == "right" else column[::-1]) < lengths


@shift.probes
def _(rng):
    def some(rows, length, ignore_index=-100, side="right"):
        tokens, real = ids_and_mask(rng, rows, length, side=side)
        return np.where(real, tokens, ignore_index)

    length = int(rng.integers(5, 8))
    start, pad_id = (int(n) for n in rng.choice(range(40, 60), 2, replace=False))
    yield Probe(some(3, length), start, pad_id, why="labels with padding")
    yield Probe(some(2, length + 1), 1, 0, why="labels with padding")
    yield Probe(some(4, 4), pad_id, start, why="as many rows as columns")
    yield Probe(some(3, length), 0, 0, why="a start token that is the padding token")
    yield Probe(
        some(3, length, side="left"), 1, pad_id, why="ignored labels at the front"
    )
    yield Probe(some(4, length + 1, -1), 1, 0, -1, why="another ignore_index")
    yield Probe(
        some(3, length + 2, 99), start, 1, ignore_index=99, why="another ignore_index"
    )
    yield Probe(some(2, length)[:, :1], start, pad_id, why="labels of length 1")


@shift.reason
def _(index, labels, decoder_start_id, pad_id, ignore_index=-100):
    row, position = index
    if position == 0:
        return "every row begins with the start token"
    before = labels[row, position - 1]
    ignored = ", an ignored one" if before == ignore_index else ""
    return f"the label before it is {before}{ignored}"


@shift.law
def every_input_has_an_embedding(
    answer, labels, decoder_start_id, pad_id, ignore_index=-100
):
    if answer.shape != labels.shape:
        return None
    for row, position in np.argwhere(answer == ignore_index):
        return (
            f"At batch row {row}, position {position} stands {ignore_index}, the mark "
            "of an ignored label. It is no id: the embedding table has no row for it."
        )
    return None


@shift.family
def shift_family(
    labels, decoder_start_id, pad_id, ignore_index=-100, *, step=1, axis=1,
    start=lambda start_id, pad_id: start_id, filler=lambda start_id, pad_id: pad_id,
    ignored=lambda ignore_index: ignore_index,
):  # fmt: skip
    shifted = np.roll(labels, step, axis)
    if start is not None:
        edge = [slice(None)] * 2
        edge[axis] = slice(0, step) if step > 0 else slice(step, None)
        shifted[tuple(edge)] = start(decoder_start_id, pad_id)
    fill = filler(decoder_start_id, pad_id)
    replaced = shifted == ignored(ignore_index) if ignored else shifted < 0
    return np.where(replaced, fill, shifted)


@shift.mistake(
    "Nothing is shifted: every position reads the label that it has to predict.",
    hint="Position 0 has to predict the first label. What may it read?",
    seen="Project-MONAI/GenerativeModels#314",
)
def not_shifted(labels, decoder_start_id, pad_id, ignore_index=-100):
    return np.where(labels == ignore_index, pad_id, labels)


@shift.mistake(
    "The start token has replaced the first label, and nothing else has moved.",
    hint="From position 1 on, each position reads the label before its own.",
)
def only_the_start(labels, decoder_start_id, pad_id, ignore_index=-100):
    answer = np.where(labels == ignore_index, pad_id, labels)
    answer[:, 0] = decoder_start_id
    return answer


shift.mistake(
    "It is shifted to the left: every position reads the label after its own, and the "
    "last one padding.",
    hint="The label before goes in. Which way do the labels have to move?",
    step=-1,
    start=lambda start_id, pad_id: pad_id,
)
shift.mistake(
    "It is shifted to the left, and the start token stands at the end.",
    hint="What has to be read before the first label is predicted?",
    step=-1,
)
shift.mistake(
    "It is shifted twice: every position reads the label two before its own.",
    hint="One step: position 1 reads label 0.",
    step=2,
)
shift.mistake(
    "The last label comes in again at the front, where the start token belongs.",
    hint="np.roll moves in a circle. What has to stand at position 0?",
    start=None,
)
shift.mistake(
    "Ignored labels are left in: no embedding belongs to `ignore_index`.",
    hint="Which token stands for what does not count?",
    seen="huggingface/transformers#9123",
    ignored=lambda ignore_index: None,
)
shift.mistake(
    "Position 0 gets `pad_id`, not `decoder_start_id`.",
    hint="In T5 the two are the same token; in other models they are not.",
    start=lambda start_id, pad_id: pad_id,
)
shift.mistake(
    "`decoder_start_id` and `pad_id` have changed places.",
    hint="Look at the order of the parameters: BART's own function in Transformers "
    "takes the padding first.",
    start=lambda start_id, pad_id: pad_id,
    filler=lambda start_id, pad_id: start_id,
)
shift.mistake(
    "Ignored labels become the start token; they should become padding.",
    hint="Only position 0 gets the start token.",
    filler=lambda start_id, pad_id: start_id,
)
shift.mistake(
    "Ignored labels become 0, whatever `pad_id` is.",
    hint="In many vocabularies 0 is a real token.",
    filler=lambda start_id, pad_id: 0,
)
shift.mistake(
    "`ignore_index` is not used: only -100 counts as ignored.",
    hint="-100 is only the default.",
    ignored=lambda ignore_index: -100,
)
shift.mistake(
    "Every negative label counts as ignored, whatever `ignore_index` is.",
    hint="-100 is only the default, and an ignore_index need not be negative.",
    ignored=None,
)
shift.mistake(
    "The rows are shifted down the batch, not along the positions.",
    hint="Which axis of (B, T) holds the positions?",
    axis=0,
)


@shift.mistake(
    "The batch is shifted as one long row: every row but the first begins with the "
    "last label of the row before.",
    hint="Every sequence has a start of its own.",
)
def across_rows(labels, decoder_start_id, pad_id, ignore_index=-100):
    flat = labels.reshape(1, -1)
    shifted = inputs.shift_right(flat, decoder_start_id, pad_id, ignore_index)
    return shifted.reshape(labels.shape)


@shift.mistake(
    "From position 1 on, every position reads the first label of its row.",
    hint="Is a label copied on from a place that has been overwritten before?",
)
def first_label_only(labels, decoder_start_id, pad_id, ignore_index=-100):
    first = np.repeat(labels[:, :1], labels.shape[1], axis=1)
    return inputs.shift_right(first, decoder_start_id, pad_id, ignore_index)


@shift.mistake(
    "Padding stands where the label itself is ignored, not where the one before it is.",
    hint="Which array has to be without `ignore_index`, the labels or the input?",
)
def where_the_label_is_ignored(labels, decoder_start_id, pad_id, ignore_index=-100):
    start = np.full_like(labels[:, :1], decoder_start_id)
    shifted = np.concatenate([start, labels[:, :-1]], axis=1)
    return np.where(labels == ignore_index, pad_id, shifted)


@shift.mistake(
    "Position 0 gets the last label of its row that counts, not the start token.",
    hint="mBART does this, because there a token for the language ends each row. Here "
    "the start token is an argument.",
)
def as_mbart(labels, decoder_start_id, pad_id, ignore_index=-100):
    answer = inputs.shift_right(labels, decoder_start_id, pad_id, ignore_index)
    counts = labels != ignore_index
    last = labels.shape[1] - 1 - counts[:, ::-1].argmax(axis=1)
    answer[:, 0] = labels[np.arange(len(labels)), last]
    return answer


@shift.mistake(
    "The last label is still there: the answer is one column too long.",
    hint="The input has one token for each label. Who would have to predict the label "
    "after the last one?",
)
def one_too_long(labels, decoder_start_id, pad_id, ignore_index=-100):
    longer = np.pad(labels, ((0, 0), (0, 1)))
    return inputs.shift_right(longer, decoder_start_id, pad_id, ignore_index)


@shift.mistake(
    "The start token is missing: the answer is one column too short.",
    hint="What does the decoder read when it predicts the first label?",
)
def without_start(labels, decoder_start_id, pad_id, ignore_index=-100):
    return inputs.shift_right(labels, decoder_start_id, pad_id, ignore_index)[:, 1:]


@shift.mistake(
    "The last label of every row that counts is padding in the input, even where "
    "there is room for it.",
    hint="Only the last column falls out. What a position reads does no harm if its "
    "own label is ignored.",
    seen="huggingface/transformers#18249",
)
def without_the_end(labels, decoder_start_id, pad_id, ignore_index=-100):
    counts = labels != ignore_index
    last = labels.shape[1] - 1 - counts[:, ::-1].argmax(axis=1)
    shorter = labels.copy()
    shorter[np.arange(len(labels)), last] = ignore_index
    return inputs.shift_right(shorter, decoder_start_id, pad_id, ignore_index)


@shift.variant
def as_t5(labels, decoder_start_id, pad_id, ignore_index=-100):
    shifted = np.zeros_like(labels)
    shifted[..., 1:] = labels[..., :-1]
    shifted[..., 0] = decoder_start_id
    shifted[shifted == ignore_index] = pad_id
    return shifted


@shift.variant
def by_roll(labels, decoder_start_id, pad_id, ignore_index=-100):
    shifted = np.roll(np.where(labels == ignore_index, pad_id, labels), 1, axis=-1)
    shifted[:, 0] = decoder_start_id
    return shifted


@shift.variant
def token_by_token(labels, decoder_start_id, pad_id, ignore_index=-100):
    rows = []
    for row in labels.tolist():
        kept = [pad_id if label == ignore_index else label for label in row[:-1]]
        rows.append([decoder_start_id, *kept])
    return np.array(rows, dtype=np.int32)


@shift.variant
def by_np_pad_and_cut(labels, decoder_start_id, pad_id, ignore_index=-100):
    longer = np.pad(labels, ((0, 0), (1, 0)), constant_values=decoder_start_id)
    return np.select([longer == ignore_index], [pad_id], longer)[:, :-1]


causal = Exercise(inputs.causal_lm_labels, points=2, axes=("batch row", "position"))


@causal.probes
def _(rng):
    def some(rows, length, pad_id, *, side="right", also_real=False):
        tokens, real = ids_and_mask(rng, rows, length, side=side)
        if also_real:  # the end of a text, for example
            tokens[1, 1] = tokens[0, real[0].nonzero()[0][-1]] = pad_id
        return np.where(real, tokens, pad_id), real

    length, other = int(rng.integers(5, 8)), int(rng.integers(40, 60))
    yield Probe(*some(3, length, 0), why="padding on the right")
    yield Probe(*some(2, length + 1, other), why="padding on the right")
    yield Probe(*some(3, length, other, side="left"), why="padding on the left")
    yield Probe(*some(4, 4, 0, side="left"), why="as many rows as columns")
    for pad_id, rows in ((other, 3), (0, 2)):
        yield Probe(
            *some(rows, length + 1, pad_id, also_real=True),
            why="a real token with the id of padding",
        )
    yield Probe(*some(3, length, 0), -1, why="another ignore_index")
    yield Probe(*some(2, length, 1), ignore_index=99, why="another ignore_index")
    tokens, real = some(2, length, 0)
    yield Probe(tokens, np.ones_like(real), why="a batch without padding")


@causal.reason
def _(index, tokens, attention_mask, ignore_index=-100):
    if attention_mask[index]:
        return f"the mask says that the token there, {tokens[index]}, is real"
    return "the mask says that there is padding"


@causal.law
def real_tokens_have_labels(answer, tokens, attention_mask, ignore_index=-100):
    if answer.shape != tokens.shape:
        return None
    for row, (labels, real) in enumerate(zip(answer, attention_mask, strict=True)):
        counts = labels != ignore_index
        if (counts != real).any():
            return (
                f"In batch row {row} the labels at {places(counts)} are other than "
                f"{ignore_index}; the real tokens stand at {places(real)}."
            )
    return None


def places(chosen):
    """The positions where a row is True, in words."""
    found = np.flatnonzero(chosen).tolist()
    if not found:
        return "no position"
    return f"position{'s' * (len(found) > 1)} {', '.join(map(str, found))}"


@causal.family
def causal_family(
    tokens, attention_mask, ignore_index=-100, *, step=0, ignored=None,
    counts=lambda tokens, real: real, mask_stays=False,
):  # fmt: skip
    fill = ignore_index if ignored is None else ignored
    real = counts(tokens, attention_mask)
    if not step:
        return np.where(real, tokens, fill)
    moved = real if mask_stays else np.roll(real, step, axis=1)
    labels = np.where(moved, np.roll(tokens, step, axis=1), fill)
    labels[:, -1 if step < 0 else 0] = fill
    return labels


def first_real(real):
    """True on the first real token of every row."""
    return real & (np.cumsum(real, axis=1) == 1)


def last_real(real):
    return first_real(real[:, ::-1])[:, ::-1]


causal.mistake(
    "The labels are shifted to the left already; the loss would shift them again.",
    hint="With one shift here and one in the loss, position t learns to predict token "
    "t + 2. Who shifts, you or the loss?",
    seen="huggingface/transformers#562",
    step=-1,
)
causal.mistake(
    "The tokens are shifted to the left, and the mask is not: padding becomes a label.",
    hint="Who shifts, you or the loss? And what moves a token has to move its mask.",
    step=-1,
    mask_stays=True,
)
causal.mistake(
    "The labels are shifted to the right.",
    hint="A label stands where its token stands; the loss does the rest.",
    step=1,
)
causal.mistake(
    "Padding counts in the loss: the labels are the tokens, all of them.",
    hint="What would a model learn from being asked to predict padding?",
    counts=lambda tokens, real: np.ones_like(real),
)
causal.mistake(
    "The mask is read the wrong way round: only padding has a label.",
    hint="True means a real token. Print a row of the mask above its labels.",
    counts=lambda tokens, real: ~real,
)
causal.mistake(
    "Padding gets the label 0, and that is an id like any other.",
    hint="Which number does the loss leave out?",
    ignored=0,
)
causal.mistake(
    "`ignore_index` is not used: padding always gets -100.",
    hint="-100 is only the default.",
    ignored=-100,
)
causal.mistake(
    "Real tokens that have the id of the padding are ignored, too.",
    hint="If one token both ends a text and pads, a model that is trained like this "
    "never learns to stop. Which argument says what is real?",
    seen="huggingface/transformers#23530",
    counts=lambda tokens, real: real & ~np.isin(tokens, tokens[~real]),
)
causal.mistake(
    "The mask is not used: token 0 counts as padding, and nothing else does.",
    hint="In many vocabularies 0 is a real token.",
    counts=lambda tokens, real: tokens != 0,
)
causal.mistake(
    "The first real token of every row has no label.",
    hint="The shift of the loss leaves out column 0 anyway. Here, every real token is "
    "its own label.",
    counts=lambda tokens, real: real & ~first_real(real),
)
causal.mistake(
    "Column 0 never has a label.",
    hint="The shift of the loss leaves it out anyway. Here, each real token has one: "
    "itself.",
    counts=lambda tokens, real: real & (np.arange(real.shape[1]) > 0),
)
causal.mistake(
    "The real tokens are counted, and then the first ones have labels: that is right "
    "only when the padding is on the right.",
    hint="The mask says more than how many tokens are real: it says which.",
    counts=lambda tokens, real: np.arange(real.shape[1]) < real.sum(1)[:, None],
)
causal.mistake(
    "The last real token of every row has no label.",
    hint="That is the token that ends the text: a model has to learn to predict it.",
    counts=lambda tokens, real: real & ~last_real(real),
)
causal.mistake(
    "The padding right after a text counts, too.",
    hint="Only real tokens have a label. A text that ends with an end token brings it "
    "along: it is real.",
    counts=lambda tokens, real: real | np.pad(real, ((0, 0), (1, 0)))[:, :-1],
)


@causal.mistake(
    "The labels are shifted already, and one column is missing.",
    hint="The answer has the shape of `tokens`. Who shifts, you or the loss?",
)
def the_next_tokens(tokens, attention_mask, ignore_index=-100):
    return inputs.causal_lm_labels(tokens, attention_mask, ignore_index)[:, 1:]


@causal.variant
def on_a_copy(tokens, attention_mask, ignore_index=-100):
    labels = tokens.copy()
    labels[~attention_mask] = ignore_index
    return labels


@causal.variant
def by_arithmetic(tokens, attention_mask, ignore_index=-100):
    return tokens * attention_mask + ignore_index * (1 - attention_mask)


@causal.variant
def token_after_token(tokens, attention_mask, ignore_index=-100):
    return np.array(
        [
            [int(t) if real else ignore_index for t, real in zip(*row, strict=True)]
            for row in zip(tokens, attention_mask, strict=True)
        ],
        dtype=np.int32,
    )


@causal.variant
def by_putmask(tokens, attention_mask, ignore_index=-100):
    labels = np.full_like(tokens, ignore_index)
    np.copyto(labels, tokens, where=attention_mask)
    return labels


positions = Exercise(inputs.position_ids, points=2, axes=("batch row", "position"))


@positions.probes
def _(rng):
    def some(rows, length, side="right"):
        return ids_and_mask(rng, rows, length, side=side)[1]

    length = int(rng.integers(5, 8))
    yield Probe(some(3, length), why="padding on the right")
    yield Probe(some(2, length + 2), why="padding on the right")
    yield Probe(some(3, length, "left"), why="padding on the left")
    yield Probe(some(4, length + 1, "left"), why="padding on the left")
    yield Probe(some(4, 4, "left"), why="as many rows as columns")
    gaps = np.ones((3, length + 2), dtype=bool)
    gaps[0, 2:4] = gaps[1, :1] = gaps[1, 3:5] = gaps[1, -1:] = gaps[2, -2:] = False
    yield Probe(gaps, why="padding in the middle")
    nothing = some(2, length, "left")
    nothing[0] = False
    yield Probe(nothing, why="a row that is all padding")
    yield Probe(np.ones((2, length), dtype=bool), why="rows without padding")


@positions.reason
def _(index, attention_mask):
    row, position = index
    if not attention_mask[row, position]:
        return "there is padding"
    before = int(attention_mask[row, :position].sum())
    return f"{before} real token{'s stand' if before != 1 else ' stands'} before it"


@positions.law
def real_tokens_are_numbered(answer, attention_mask):
    if answer.shape != attention_mask.shape:
        return None
    for row, real in enumerate(attention_mask):
        numbers = answer[row, real].tolist()
        if numbers != list(range(real.sum())):
            return (
                f"The real tokens of batch row {row} are numbered {numbers}, not "
                f"{list(range(real.sum()))}."
            )
    return None


@positions.family
def positions_family(
    attention_mask, *, axis=1, first=0, filler=lambda counted, real: 0 * counted,
    count=lambda real, axis: np.cumsum(real, axis).reshape(real.shape),
):  # fmt: skip
    counted = count(attention_mask, axis) - 1 + first
    return np.where(attention_mask, counted, filler(counted, attention_mask))


def columns(real, axis=None):
    """1, 2, 3, ... in every row."""
    return np.cumsum(np.ones_like(real), axis=1)


positions.mistake(
    "The mask is not used: the columns are numbered, padding and all.",
    hint="With padding on the left, which number does the first real token get?",
    seen="ndif-team/nnsight#672",
    count=columns,
    filler=lambda counted, real: counted,
)
positions.mistake(
    "The columns are numbered, and then padding is set to 0.",
    hint="With padding on the left, the first real token has to get 0, too. Count the "
    "real tokens, not the columns.",
    count=columns,
)
positions.mistake(
    "The numbers start at 1.",
    hint="The first real token of every row is at position 0.",
    first=1,
)
positions.mistake(
    "Padding is not set to 0: it gets -1 before the text, and the number of the last "
    "token after it.",
    hint="What does a running sum hold where nothing is added? Print a padded row.",
    filler=lambda counted, real: counted,
)
positions.mistake(
    "Padding after a text repeats the number of its last token.",
    hint="Cutting off what is negative helps on the left only. Padding gets 0 "
    "everywhere.",
    filler=lambda counted, real: np.maximum(counted, 0),
)
positions.mistake(
    "Padding goes on counting: after n real tokens it gets n.",
    hint="Padding gets 0 everywhere.",
    filler=lambda counted, real: counted + 1,
)
positions.mistake(
    "Padding gets 1.",
    hint="Older versions of Transformers did this. No real token looks at padding, but "
    "the task asks for 0.",
    filler=lambda counted, real: np.ones_like(counted),
)
positions.mistake(
    "Padding gets -1.",
    hint="An embedding table has no row -1: NumPy would take its last one, and "
    "PyTorch would stop.",
    filler=lambda counted, real: np.full_like(counted, -1),
)
positions.mistake(
    "The tokens are counted down the batch, not along the row.",
    hint="Which axis of (B, T) holds the positions?",
    axis=0,
)
positions.mistake(
    "The count goes on from one row to the next.",
    hint="Every sequence starts at 0. What does np.cumsum do without an axis?",
    axis=None,
)


@positions.mistake(
    "Only the padding before a text is taken off: padding in its middle is counted.",
    hint="How many real tokens stand before each one?",
)
def from_the_first_real(attention_mask):
    first = attention_mask.argmax(axis=1)[:, None]
    column = np.arange(attention_mask.shape[1])
    return np.where(attention_mask, column - first, 0)


@positions.mistake(
    "Every row is numbered as if all its padding stood on the right.",
    hint="The mask says more than how many tokens are real: it says which.",
)
def at_the_front(attention_mask):
    column = np.arange(attention_mask.shape[1])
    return column * (column < attention_mask.sum(axis=1)[:, None])


@positions.mistake(
    "Every row is numbered as if all its padding stood on the left.",
    hint="The mask says more than how many tokens are real: it says which.",
)
def at_the_back(attention_mask):
    padded = (~attention_mask).sum(axis=1)[:, None]
    return np.maximum(np.arange(attention_mask.shape[1]) - padded, 0)


@positions.mistake(
    "The numbers run backwards: the last real token of a row gets 0.",
    hint="Count from the left.",
)
def from_the_right(attention_mask):
    return inputs.position_ids(attention_mask[:, ::-1])[:, ::-1]


@positions.mistake(
    "Padding is numbered, and the real tokens get 0.",
    hint="True means a real token.",
)
def padding_is_numbered(attention_mask):
    return inputs.position_ids(~attention_mask)


@positions.variant
def as_transformers(attention_mask):
    numbers = attention_mask.astype(np.int64).cumsum(-1) - 1
    numbers[attention_mask == 0] = 0
    return numbers


@positions.variant
def tokens_before(attention_mask):
    before = np.cumsum(attention_mask, axis=1) - attention_mask
    return before * attention_mask


@positions.variant
def by_counting(attention_mask):
    numbers = np.zeros(attention_mask.shape, dtype=np.int32)
    for row in range(len(attention_mask)):
        n = 0
        for position in range(attention_mask.shape[1]):
            if attention_mask[row, position]:
                numbers[row, position] = n
                n += 1
    return numbers


@positions.variant
def by_a_triangle(attention_mask):
    length = attention_mask.shape[1]
    before = attention_mask.astype(int) @ np.triu(np.ones((length, length), int), 1)
    return np.where(attention_mask, before, 0)


@positions.variant
def by_rows(attention_mask):
    numbers = np.zeros_like(attention_mask, dtype=int)
    for row, real in zip(numbers, attention_mask, strict=True):
        row[real] = np.arange(real.sum())
    return numbers
