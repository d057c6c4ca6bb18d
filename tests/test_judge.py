"""What learners are told of mistakes that are in no list."""

import inspect
import re
import textwrap
import warnings

import numpy as np
import pytest
import torch
from telling import assert_quick, assert_told, told

from autograder import report, specs
from autograder.answers import Answer, ask
from autograder.compare import equal
from autograder.exercise import Exercise, Probe
from autograder.judge import expect, judge, right_and_wrong
from autograder.relations import Case, pairs
from solutions import conventions, masks

TELLING = {
    "a constant": (
        "def causal_mask(q, k): return np.ones((q, k), bool)",
        "The answer is True everywhere",
    ),
    "numbers for a mask": (
        "def causal_mask(q, k): return np.tril(np.ones((q, k)), k - q)",
        "an array of float64 (0 and 1)",
    ),
    "two at once": (
        "def causal_mask(q, k): return np.triu(np.ones((q, k), bool), 1)",
        "Two things at once would explain it. The triangle starts in the top left "
        "corner: the queries are taken for the first positions. And: the mask is "
        "inverted",
    ),
    "a list": (
        "def causal_mask(q, k): return np.tri(q, k, k - q, bool).tolist()",
        "gives back a list; asked for is an array of bool",
    ),
    "nothing returned": (
        "def causal_mask(q, k): np.tri(q, k)",
        "gives back None",
    ),
    "another signature": (
        "def causal_mask(n): return np.tri(n, dtype=bool)",
        "It must take (q_len, k_len)",
    ),
    "one sequence for all": (
        "def padding_mask(t, p): return np.repeat((t != p)[:1, None, None], len(t), 0)",
        "Every batch row has the values of batch row 0",
    ),
    "copied for all queries": (
        "def padding_mask(t, p): return np.repeat((t != p)[:, None, None], 9, 2)",
        "copied along axes that should have length 1",
    ),
    "a reshape for a transpose": (
        "def padding_mask(t, p): return (t != p).T.reshape(len(t), 1, 1, t.shape[1])",
        "a reshape has put them in another order",
    ),
    "an argument changed": (
        """
        def combine_masks(*masks):
            combined = masks[0]
            for mask in masks[1:]:
                combined &= mask
            return combined
        """,
        "Your function changes `masks`, which belongs to its caller",
    ),
    "the last mask forgotten": (
        """
        def combine_masks(*masks):
            combined = masks[0]
            for mask in masks[1:-1]:
                combined = combined & mask
            return combined
        """,
        "Of `masks`, the last does not count",
    ),
    "a truth value": (
        "def combine_masks(*masks): return masks[0] and masks[1]",
        "The truth value of an array",
    ),
    "a method of torch's tensors": (
        "def padding_mask(t, p): return (t != p).view(len(t), 1, 1, t.shape[1])",
        "PyTorch's view is reshape in NumPy",
    ),
    "a factor": (
        """
        def decoder_input(tokens, table, positions):
            return 3 * (table[tokens] + positions[: tokens.shape[1]])
        """,
        "3 times the embedding plus 3 times the position",
    ),
    "another token": (
        """
        def decoder_input(tokens, table, positions):
            shifted = np.roll(tokens, 1, axis=1)
            root = table.shape[1] ** 0.5
            return table[shifted] * root + positions[: tokens.shape[1]]
        """,
        "`tokens`",
    ),
    "rounded": (
        """
        def sinusoidal_positions(n, d, base=10000.0):
            i = np.arange(d) // 2
            angles = np.arange(n)[:, None] / base ** (2 * i / d)
            return np.where(np.arange(d) % 2, np.cos(angles), np.sin(angles)).round(3)
        """,
        "rounded to 3 decimals",
    ),
    "the base fixed": (
        """
        def sinusoidal_positions(n, d, base=10000.0):
            i = np.arange(d) // 2
            angles = np.arange(n)[:, None] / 10000 ** (2 * i / d)
            return np.where(np.arange(d) % 2, np.cos(angles), np.sin(angles))
        """,
        "`base` is not used: the answer is always that for 10000",
    ),
    "one pair too few": (
        """
        def sinusoidal_positions(n, d, base=10000.0):
            table = np.zeros((n, d))
            for i in range(0, d - 2, 2):
                angles = np.arange(n) / base ** (i / d)
                table[:, i], table[:, i + 1] = np.sin(angles), np.cos(angles)
            return table
        """,
        "Every number of column 12 is 0",
    ),
    "uninitialised": (
        """
        def sinusoidal_positions(n, d, base=10000.0):
            table = np.empty((n, d))
            angles = np.arange(n)[:, None] / base ** (np.arange(0, d, 2) / d)
            table[:, 0::2] = np.sin(angles)
            return table
        """,
        "The same call, made twice, gives two different answers",
    ),
    "transposed": (
        """
        def sinusoidal_positions(n, d, base=10000.0):
            i = np.arange(d) // 2
            angles = np.arange(n)[:, None] / base ** (2 * i / d)
            return np.where(np.arange(d) % 2, np.cos(angles), np.sin(angles)).T
        """,
        "position and column have changed places",
    ),
    "transposed, and the answers have more axes or fewer": (
        "def tied_logits(h, table): return np.swapaxes(h @ table.T, -1, -2)",
        "position and token have changed places",
    ),
    "the last one missing, too": (
        "def tied_logits(hidden, table): return hidden @ table[:-1].T",
        "The last token is missing",
    ),
    "a tensor's method": (
        "def tied_logits(hidden, table): return hidden @ table.t()",
        "That is a method of PyTorch's tensors",
    ),
    "a cache without the base": (
        """
        CACHE = {}
        def sinusoidal_positions(n, d, base=10000.0):
            if (n, d) not in CACHE:
                i = np.arange(d) // 2
                angles = np.arange(n)[:, None] / base ** (2 * i / d)
                waves = np.where(np.arange(d) % 2, np.cos(angles), np.sin(angles))
                CACHE[n, d] = waves
            return CACHE[n, d]
        """,
        "is something kept from call to call?",
    ),
    "the offset unused": (
        """
        def shift_matrix(offset, d, base=10000.0):
            matrix = np.zeros((d, d))
            for i in range(0, d, 2):
                c, s = np.cos(base ** (-i / d)), np.sin(base ** (-i / d))
                matrix[i : i + 2, i : i + 2] = [[c, -s], [s, c]]
            return matrix
        """,
        "are turned by an angle of 1; it should be",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source), sentence)


def test_a_verdict_never_holds_the_answers_code():
    for source, _ in TELLING.values():
        verdict = told(source)
        for part in ("np.tri(", "& padding", "inv_freq", "math.sqrt(d_model)"):
            assert part not in f"{verdict.message} {verdict.hint}"


def test_a_nan_equals_a_nan_and_no_number():
    right = np.array([1.0, 2.0])
    assert not equal(np.array([1.0, np.nan]), right)
    assert not equal(right, np.array([1.0, np.nan]))
    assert equal(np.array([1.0, np.nan]), np.array([1.0, np.nan]))


def test_the_same_seed_gives_the_same_verdict():
    source, _ = TELLING["two at once"]
    assert told(source, 7).message == told(source, 7).message


def test_what_helpers_get_wrong_costs_the_later_function_nothing():
    verdict = told(
        """
        def causal_mask(q_len, k_len):
            return np.triu(np.ones((q_len, k_len), bool))
        def decoder_mask(tokens, pad_id):
            past = causal_mask(tokens.shape[1], tokens.shape[1])
            return past & (tokens != pad_id)[:, None, None]
        """
    )
    assert verdict.points == verdict.max_points
    assert "mend that first" in verdict.message
    assert verdict.first == ("causal_mask",)


NOT_THE_HELPERS = {
    "a call of a right helper that must fail": """
        def combine_masks(*masks):
            return masks[0] & masks[1]
        def decoder_mask(tokens, pad_id):
            return combine_masks(tokens == pad_id, tokens[:, 1:] == pad_id)
    """,
    "chance": """
        def padding_mask(tokens, pad_id):
            return (tokens != pad_id)[:, None, None]
        def decoder_mask(tokens, pad_id):
            past = np.random.random((tokens.shape[1], tokens.shape[1])) < 0.5
            return past & padding_mask(tokens, pad_id)
    """,
}


@pytest.mark.parametrize("case", NOT_THE_HELPERS)
def test_a_right_helper_is_not_accused(case):
    verdict = told(NOT_THE_HELPERS[case])
    assert verdict.points == 0
    assert verdict.first == ()


ADVICE = {
    "a method of tensors": (
        "def causal_mask(q, k): return np.ones((q, k)).softmax(-1)",
        "a method of PyTorch's tensors",
    ),
    "Python's own max": (
        "def combine_masks(*masks): return max(masks)",
        "x.max() looks into one",
    ),
    "a mask in brackets": (
        """
        def padding_mask(t, p):
            seen = np.ones((len(t), 1, 1, t.shape[1]), bool)
            seen[t == p] = False
            return seen
        """,
        "must have the shape of what it picks from",
    ),
    "a name of another library": (
        "def causal_mask(q, k): return np.erf(np.tri(q, k))",
        "NumPy has no function of this name",
    ),
    "a number's function for an array": (
        "import math\ndef causal_mask(q, k): return math.erf(np.tri(q, k))",
        "take one number",
    ),
    "a whole number to a negative power": (
        "def shift_matrix(offset, d, base=1e4): return 10000 ** -np.arange(d)",
        "Write 2.0 in place of 2",
    ),
}


@pytest.mark.parametrize("case", ADVICE)
def test_an_exception_comes_with_advice(case):
    source, advice = ADVICE[case]
    verdict = told(source)
    assert verdict.verdict == "raised"
    assert advice in verdict.hint


def pad(rows, value=None):
    """Put a row in front.

    Shapes:
        rows: (R, C), float
        returns: (R + 1, C), float
    """
    return np.pad(rows, ((1, 0), (0, 0)), constant_values=value or 0)


pad.__module__ = masks.__name__
PAD = Exercise(pad, points=1, axes=("row", "column"))


@PAD.probes
def _(rng):
    yield Probe(rng.normal(size=(3, 2)), why="no value")
    yield Probe(rng.normal(size=(2, 4)), 7, why="a value")


def test_an_argument_that_is_none_explains_nothing():
    def ask_it(exercise, probes, helpers):
        return [Answer(np.cos(9 * expect(exercise, probe))) for probe in probes]

    verdict = judge(PAD, PAD.draw(), ask_it)
    assert verdict.points == 0
    assert "At row 0, column 0 your function gives 1, not 0" in verdict.message


def test_checking_is_quick():
    """Under 0.3 s of processor time, also for an answer that nothing explains."""
    source = """
    def decoder_input(tokens, table, positions):
        rng = np.random.default_rng(0)
        return rng.normal(size=(*tokens.shape, table.shape[1]))
    """
    assert_quick(source)


def test_where_only_the_kind_is_wrong_nothing_is_searched_for(monkeypatch):
    def never(*arguments):
        raise AssertionError("searched")

    monkeypatch.setattr("autograder.judge.candidates", never)
    source, sentence = TELLING["numbers for a mask"]
    assert sentence in told(source).message


def test_two_mistakes_at_once_are_no_mistake_and_a_moved_argument():
    exercise = specs.find("decoder_input")
    assert exercise is not None
    probe = exercise.draw()[0]
    case = Case(probe, expect(exercise, probe), Answer(np.zeros(3)))
    sentences = [pair.sentence.partition(" And: ") for pair in pairs(exercise, case)]
    seconds = {second for _, _, second in sentences}
    assert "the answer is right for `table` with the other sign." in seconds
    assert not any("along axis" in second for second in seconds)


# An answer that consists of several things


def split_rows(rows, at):
    """Cut an array in two, and count the rows of both.

    Shapes:
        rows: (R, C), int
        returns: (at, C), (R - at, C) and a tuple of int
    """
    return rows[:at], rows[at:], (at, len(rows) - at)


split_rows.__module__ = masks.__name__  # an exercise belongs to a chapter
SPLIT = Exercise(
    split_rows,
    points=1,
    parts=("head", "tail", "counts"),
    axes=(("row", "column"), ("row", "column"), ()),
)


@SPLIT.probes
def _(rng):
    yield Probe(rng.integers(9, size=(5, 3)), 2, why="five rows")
    yield Probe(rng.integers(9, size=(4, 4)), 1, why="four rows")


@SPLIT.mistake("Head and tail have changed places.", hint="Which comes first?")
def turned_round(rows, at):
    return rows[at:], rows[:at], (at, len(rows) - at)


PARTS = {
    "a known mistake": (turned_round, "Head and tail have changed places. In `head`: "),
    "one part moved": (
        lambda r, at: (r[:at], np.flip(r[at:], 0), (at, len(r) - at)),
        "In `tail`: The row axis runs backwards. In `tail`: At row 0, column 0 ",
    ),
    "the dtype of a part": (
        lambda r, at: (r[:at], r[at:].astype(float), (at, len(r) - at)),
        "In `tail`: Your function gives back an array of float64; asked for is an ",
    ),
    "too few": (
        lambda r, at: (r[:at], r[at:]),
        "gives back a tuple of 2; asked for is a tuple of 3: head, tail, counts.",
    ),
    "a list": (
        lambda r, at: [r[:at], r[at:], (at, len(r) - at)],
        "gives back a list; asked for is a tuple of 3: head, tail, counts.",
    ),
    "one of them alone": (
        lambda r, at: r[:at],
        "gives back an array of int64; asked for is a tuple of 3: head, tail, counts.",
    ),
    "what is in a tuple": (
        lambda r, at: (r[:at], r[at:], (at + 0.0, len(r) - at)),
        "In `counts`: Your function gives back a tuple of float and int; asked for is "
        "a tuple of int.",
    ),
    "a right answer to other arguments": (
        lambda r, at: (r[:at], r[at:], (at + 1, len(r) - at - 1)),
        "In `counts`: The answer is right for `at` + 1.",
    ),
    "a part that is not filled": (
        lambda r, at: (np.empty((at, r.shape[1]), int), r[at:], (at, len(r) - at)),
        "The same call, made twice, gives two different answers.",
    ),
}


@pytest.mark.parametrize("case", PARTS)
def test_of_several_things_the_wrong_one_is_named(case):
    function, expected = PARTS[case]

    def ask_it(exercise, probes, helpers):
        return [ask(function, p.args, p.kwargs) for p in probes]

    verdict = judge(SPLIT, SPLIT.draw(), ask_it)
    assert verdict.points == 0
    assert expected in verdict.message
    assert report.as_html(verdict)


def mean_and_count(x):
    """Take the mean of an array, and count its numbers.

    Shapes:
        x: (N,), float
        returns: float and int
    """
    return float(x.mean()), len(x)


mean_and_count.__module__ = masks.__name__
MEAN = Exercise(mean_and_count, points=1, parts=("mean", "count"), axes=((), ()))


@MEAN.probes
def _(rng):
    yield Probe(rng.random(7), why="seven numbers")
    yield Probe(rng.random(5) + 9, why="five numbers")


@MEAN.mistake("The count is one too many.", hint="What does len give?")
def one_more(x):
    return float(x.mean()), len(x) + 1


def test_a_coarse_answer_is_not_explained_by_what_is_nearly_right():
    """In its part a mistake in another part is the right answer."""

    def coarse(x):
        return np.float16(x.mean()), len(x)

    def ask_it(exercise, probes, helpers):
        return [ask(coarse, p.args, p.kwargs) for p in probes]

    verdict = judge(MEAN, MEAN.draw(), ask_it)
    assert verdict.points == 0
    assert "The count" not in verdict.message
    assert "half precision" in verdict.message


def test_of_an_answer_that_is_nan_everywhere_the_hint_asks_for_the_first():
    verdict = told("def softmax(x, axis=-1): return x * np.nan")
    assert verdict.message.startswith("The answer is nan everywhere.")
    assert "0 / 0" in verdict.hint
    assert "np.empty" not in verdict.hint


# An answer that is one tuple

TUPLES = {
    "two mistakes at once": (
        "return (*a_shape[:-2], b_shape[-1], a_shape[-2])",
        "Two things at once would explain it. The stack of the second array is left "
        "out. And: the last two axes have changed places.",
    ),
    "another order": (
        "return (a_shape[-2], b_shape[-1], *np.broadcast_shapes(a_shape[:-2], "
        "b_shape[:-2]))",
        "The items are right, but in another order.",
    ),
    "one too few": (
        "return (*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), a_shape[-2])",
        "The last item is missing.",
    ),
    "nothing in it": ("return ()", "Your function gives (), not "),
    "an array": (
        "return np.array([*np.broadcast_shapes(a_shape[:-2], b_shape[:-2]), "
        "a_shape[-2], b_shape[-1]])",
        "Your function gives back an array of int64; asked for is a tuple.",
    ),
    "a wrong array": (
        "return np.array([a_shape[-2], b_shape[-1]])",
        "Both stacks are left out: it is the shape of one product.",
    ),
    "an exception without a text": (
        "assert len(a_shape) == 2; return b_shape",
        "it stops with AssertionError.",
    ),
}


@pytest.mark.parametrize("case", TUPLES)
def test_a_wrong_tuple_is_told(case):
    body, sentence = TUPLES[case]
    verdict = told(f"def matmul_shape(a_shape, b_shape): {body}")
    assert verdict.points == 0
    assert sentence in verdict.message


def test_a_right_tuple_of_another_type_is_told_of_that_alone():
    verdict = told(f"def matmul_shape(a_shape, b_shape): {TUPLES['an array'][0]}")
    assert verdict.message == TUPLES["an array"][1]


# What a call and its sizes are called


def test_a_short_row_of_integers_is_shown_as_it_is():
    verdict = told("def sequence_mask(lengths, max_len): return lengths")
    assert re.match(
        r"sequence_mask\(array\(\[\d+(, \d+)*\]\), \d+\)", verdict.probe or ""
    )


def test_a_length_that_is_half_of_a_size_has_no_name():
    exercise = specs.find("position_angles")
    assert exercise is not None
    sizes = exercise.sizes(Probe(np.arange(5), np.ones(4), why="four frequencies"))
    assert sizes == {"T": 5}


# An argument that may be left out


def total_of(numbers, keep=None):
    """Add up the rows, or of each row what is kept.

    Shapes:
        numbers: (R, C), int
        keep: (R, C), bool
        returns: (R,), int
    """
    return np.where(True if keep is None else keep, numbers, 0).sum(axis=1)


total_of.__module__ = masks.__name__  # an exercise belongs to a chapter
TOTAL = Exercise(total_of, points=1, axes=("row",))


@TOTAL.probes
def _(rng):
    numbers = rng.integers(1, 9, size=(4, 4))
    yield Probe(numbers, why="no mask")
    yield Probe(numbers, np.tri(4, dtype=bool), why="a mask")


@TOTAL.mistake("Twice the total.", hint="Is something added twice?")
def doubled(numbers, keep=None):
    return 2 * total_of(numbers, keep)


LEFT_OUT = {
    "inverted": (
        lambda n, keep=None: total_of(n, None if keep is None else ~keep),
        "The answer is right for `keep` inverted.",
    ),
    "transposed": (
        lambda n, keep=None: total_of(n, None if keep is None else keep.T),
        "The answer is right for `keep` with its last two axes swapped.",
    ),
    "nothing that has a name": (
        lambda n, keep=None: n[0] ** 3 if keep is None else n[1] ** 2,
        "At row 0 your function gives",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_an_argument_that_may_be_left_out_is_named_too(case):
    function, expected = LEFT_OUT[case]

    def ask_it(exercise, probes, helpers):
        return [ask(function, p.args, p.kwargs) for p in probes]

    verdict = judge(TOTAL, TOTAL.draw(), ask_it)
    assert verdict.points == 0
    assert expected in verdict.message


# An answer without a warning


def shares(numbers):
    """Divide by the sum, or give 0 where that is 0. No warning on the way.

    Shapes:
        numbers: (R, C), float
        returns: (R, C)
    """
    total = numbers.sum(axis=1, keepdims=True)
    return numbers / np.where(total == 0, 1, total)


shares.__module__ = masks.__name__


def verdict_on_shares(source: str, *, quiet: bool):
    exercise = Exercise(shares, points=1, axes=("row", "column"), quiet=quiet)
    exercise.probes(lambda rng: iter([Probe(np.array([[1.0, 3], [0, 0]]), why="a 0")]))
    namespace = {"np": np}
    exec(inspect.cleandoc(source), namespace)

    def ask_it(exercise, probes, helpers):
        return [ask(namespace["shares"], p.args, p.kwargs) for p in probes]

    return judge(exercise, exercise.draw(), ask_it)


COVERED_UP = """
def shares(numbers):
    total = numbers.sum(axis=1, keepdims=True)
    return np.where(total == 0, 0, numbers / total)
"""
SILENCED = """
import warnings
np.seterr(all="ignore")
warnings.simplefilter("ignore")
"""


def test_a_warning_costs_the_points_where_the_task_asks_for_none():
    verdict = verdict_on_shares(COVERED_UP, quiet=True)
    assert verdict.points == 0
    assert verdict.message == (
        "What it gives back is right, but NumPy warns on the way: invalid value "
        "encountered in divide."
    )
    assert report.as_html(verdict)


def test_a_warning_costs_nothing_where_the_task_does_not_speak_of_it():
    assert verdict_on_shares(COVERED_UP, quiet=False).points == 1


def test_what_a_notebook_has_silenced_before_is_heard_all_the_same():
    with np.errstate(), warnings.catch_warnings():
        verdict = verdict_on_shares(SILENCED + COVERED_UP, quiet=True)
    assert verdict.points == 0


def test_an_answer_may_silence_a_warning_where_it_knows_better():
    source = """
    def shares(numbers):
        total = numbers.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(numbers / total)
    """
    assert verdict_on_shares(source, quiet=True).points == 1


def test_a_wrong_answer_is_told_of_the_warning_too():
    source = """
    def shares(numbers):
        return numbers[::-1] / numbers.sum(axis=1, keepdims=True)[::-1] + [0, 1]
    """
    message = verdict_on_shares(source, quiet=True).message
    assert message.startswith("2 numbers are NaN, the first at row 0, column 0.")
    assert message.endswith("And NumPy warns on the way: invalid value encountered in "
                            "divide.")  # fmt: skip


def test_only_numbers_are_transformed_when_two_mistakes_are_looked_for():
    verdict = told(
        """
        def mask_to_bias(attn_mask, dtype):
            return np.arange(attn_mask.size).reshape(attn_mask.shape).astype(dtype)
        """
    )
    assert verdict.points == 0


def test_what_is_only_nearly_constant_is_not_told_to_be_constant():
    verdict = told(
        "def mask_to_bias(m, dtype): return np.where(m, 0, -1e-8).astype(dtype)"
    )
    assert verdict.points == 0
    assert "everywhere" not in verdict.message


def test_an_argument_that_is_text_is_no_candidate_for_an_array():
    def padded(rows, side):
        """Put a column of zeros on one side.

        Shapes:
            rows: (R, C), int
            returns: (R, C + 1), int
        """
        return np.pad(rows, ((0, 0), (1, 0) if side == "left" else (0, 1)))

    padded.__module__ = masks.__name__
    exercise = Exercise(padded, points=1, axes=("row", "column"))

    @exercise.probes
    def _(rng):
        yield Probe(rng.integers(1, 9, size=(5, 3)), "left", why="the left side")
        yield Probe(rng.integers(1, 9, size=(4, 4)), "right", why="the right side")

    def ask_it(exercise, probes, helpers):
        return [ask(lambda rows, side: rows * rows, p.args, p.kwargs) for p in probes]

    verdict = judge(exercise, exercise.draw(), ask_it)
    assert "The shape of your answer is (5, 3)" in verdict.message


def test_a_single_number_has_no_place_and_no_others_beside_it():
    def total(numbers):
        """Add numbers up.

        Shapes:
            numbers: (N,), float
            returns: a float
        """
        return float(numbers.sum())

    total.__module__ = masks.__name__
    exercise = Exercise(total, points=1)

    @exercise.probes
    def _(rng):
        yield Probe(rng.random(3), why="three numbers")
        yield Probe(rng.random(4), why="four numbers")

    def message(answer):
        def ask_it(exercise, probes, helpers):
            return [ask(answer, p.args, p.kwargs) for p in probes]

        return judge(exercise, exercise.draw(), ask_it).message

    assert (
        message(lambda n: float("nan"))
        == "The answer is nan everywhere. Your answer is NaN."
    )
    assert "off" not in message(lambda n: float(n.prod()))
    assert re.fullmatch(
        r"Your number is off by \S+: close, but not equal\.",
        message(lambda n: float(n.sum() + 1e-4 * n[0])),
    )


def halves_exercise():
    """Halving, of arrays as tensors; odd numbers have to be refused."""

    def halves(numbers, exponents):
        """Halve numbers that are even.

        Shapes:
            numbers: (N,), int
            returns: (N,), int
        """
        if (numbers % 2).any():
            raise ValueError("an odd number has no half")
        return numbers // 2 ** exponents["of two"][0]

    halves.__module__ = conventions.__name__
    exercise = Exercise(halves, points=1, axes=("place",), adapter="with_tensors")
    exponents = {"of two": [np.array(1), None]}

    @exercise.probes
    def _(rng):
        yield Probe(2 * rng.integers(1, 9, size=5), exponents, why="even numbers")
        yield Probe(np.array([0, 4]), exponents, why="a zero")
        yield Probe(np.array([2, 3]), exponents, why="an odd number", refused=True)

    @exercise.mistake(
        "Halves of odd numbers are rounded down.", hint="Which is refused?"
    )
    def rounded(numbers, exponents):
        return numbers // 2

    return exercise


def verdict_on_halves(body, **given):
    exercise = halves_exercise()
    source = f"def halves(numbers, exponents):\n{textwrap.indent(body, '    ')}"
    namespace = {"np": np, "torch": torch, **given}
    exec(source, namespace)

    def ask_it(exercise, probes, helpers):
        function = namespace["halves"]
        return [ask(function, p.args, p.kwargs, exercise.adapter) for p in probes]

    return judge(exercise, exercise.draw(), ask_it)


REFUSE = "if (numbers % 2).any(): raise ValueError('odd')\n"


def test_a_function_of_tensors_is_handed_tensors_and_judged_by_its_numbers():
    right = (
        REFUSE
        + "assert isinstance(numbers, torch.Tensor)\nreturn numbers.div(2).long()"
    )
    assert verdict_on_halves(right).points == 1
    shared = REFUSE + "return numbers >> exponents['of two'][0]"
    assert verdict_on_halves(shared).points == 1


@pytest.mark.parametrize(
    ("body", "message"),
    {
        "NumPy's": (
            "return numbers.numpy() // 2",
            "Your function gives back an array of NumPy's; asked for is a tensor.",
        ),
        "bfloat16": (
            "return (numbers // 2).bfloat16()",
            "Your function gives back a tensor of a kind that is not asked for: "
            "torch.bfloat16",
        ),
        "floats": (
            "return numbers / 2",
            "gives back a tensor of float32; asked for is a tensor of int64.",
        ),
        "in place": (
            "return numbers.div_(2, rounding_mode='floor')",
            "Your function changes `numbers`, which belongs to its caller. What it "
            "gives back is right.",
        ),
        "a list": (
            "return list(numbers // 2)",
            "Your function gives back a list; asked for is a tensor of int64.",
        ),
        "a device": ("return numbers.to('meta')", "on meta"),
    }.values(),
)  # fmt: skip
def test_what_is_wrong_with_a_tensor_is_told_in_its_words(body, message):
    verdict = verdict_on_halves(REFUSE + body)
    assert verdict.points == 0
    assert message in verdict.message
    assert report.as_html(verdict)


def test_another_def_line_is_told_through_the_adapter():
    exercise = halves_exercise()
    [first, *_] = exercise.draw()
    outcome = ask(lambda numbers: numbers, first.args, {}, exercise.adapter)
    assert outcome.binding


def test_what_has_to_be_refused_is_right_with_a_valueerror_of_any_kind_alone():
    assert verdict_on_halves(REFUSE + "return numbers // 2").points == 1

    class Odd(ValueError):
        pass

    own = REFUSE.replace("ValueError", "Odd")
    assert verdict_on_halves(own + "return numbers // 2", Odd=Odd).points == 1
    other = verdict_on_halves(
        REFUSE.replace("ValueError", "TypeError") + "return numbers // 2"
    )
    assert other.message == (
        "Your function stops with TypeError: odd; asked for is a ValueError. Wrong for "
        "an odd number; right for even numbers and a zero."
    )


def test_an_answer_to_what_has_to_be_refused_is_told():
    verdict = verdict_on_halves("return numbers // 2")
    assert (verdict.points, verdict.way) == (0, "name")
    assert verdict.message == (
        "Halves of odd numbers are rounded down. For an odd number your function gives "
        "back a tensor of int64; asked for is a ValueError: an odd number has no half."
    )
    assert report.as_html(verdict)
    verdict = verdict_on_halves("return (numbers + 1) // 2")
    assert verdict.way == "law"
    assert verdict.message.startswith("For an odd number your function gives back")


def test_what_is_wrong_where_there_is_an_answer_is_told_before_what_is_not_refused():
    verdict = verdict_on_halves("return numbers // -2")
    assert "right one times -1" in verdict.message
    assert "odd" not in verdict.message


def test_long_lists_of_probes_are_cut():
    cases = [
        Case(Probe(why=f"number {i}"), i, Answer(0 if wrong else i))
        for i, wrong in enumerate([True] + [False] * 20, start=1)
    ]
    assert right_and_wrong(cases) == (
        "Wrong for number 1; right for all else that was tried."
    )
    most = [
        Case(case.probe, case.expected, Answer(-1 if case.answer else case.expected))
        for case in cases
    ]
    assert right_and_wrong(most) == (
        "Right for number 1; wrong for all else that was tried."
    )
