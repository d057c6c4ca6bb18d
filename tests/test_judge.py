"""What learners are told of mistakes that are in no list."""

import inspect
import time

import numpy as np
import pytest

from autograder import report, specs
from autograder.answers import Answer, ask
from autograder.exercise import Exercise, Probe
from autograder.judge import expect, judge
from autograder.live import verdict_on
from autograder.relations import Case, pairs


def told(source: str, seed: int = 0):
    """Judge the last function that some code defines."""
    namespace = {"np": np}
    exec(inspect.cleandoc(source), namespace)
    return verdict_on(list(namespace.values())[-1], seed)


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
    verdict = told(source)
    assert verdict.points == 0
    assert sentence in f"{verdict.message} {verdict.hint}", verdict.message


def test_a_verdict_never_holds_the_answers_code():
    for source, _ in TELLING.values():
        verdict = told(source)
        for part in ("np.tri(", "& padding", "inv_freq", "math.sqrt(d_model)"):
            assert part not in f"{verdict.message} {verdict.hint}"


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


def test_checking_is_quick():
    """Under 0.3 s of processor time, also for an answer that nothing explains."""
    source = """
    def decoder_input(tokens, table, positions):
        rng = np.random.default_rng(0)
        return rng.normal(size=(*tokens.shape, table.shape[1]))
    """
    times = []
    for _ in range(3):
        start = time.process_time()
        told(source)
        times.append(time.process_time() - start)
    assert min(times) < 0.3  # the least: what the machine does besides is not ours


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


split_rows.__module__ = "solutions.masks"  # an exercise belongs to a chapter
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
