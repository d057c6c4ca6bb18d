"""What goes over the wire comes back the same, and nothing else gets through."""

import io
import json
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder import answers, report, specs
from autograder.answers import (
    MAX_REPLY,
    Answer,
    Opaque,
    Raised,
    ask,
    receive,
    replaced,
    send,
)
from autograder.exercise import Exercise, Probe
from autograder.judge import judge
from solutions import masks

ARRAYS = hnp.arrays(
    st.sampled_from([np.bool_, np.int64, np.int8, np.float32, np.float64, np.float16]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.text()
    | ARRAYS
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def round_trip(message):
    stream = io.BytesIO()
    send(stream, message)
    stream.seek(0)
    return receive(stream)


def alike(one, two) -> bool:
    if type(one) is not type(two):
        return False
    if isinstance(one, np.ndarray | np.generic):
        same = one.dtype == two.dtype and one.shape == two.shape
        return same and one.tobytes() == two.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(alike, one, two))
    if isinstance(one, dict):
        return list(one) == list(two) and all(alike(one[k], two[k]) for k in one)
    return one == two or one != one


@settings(max_examples=60, derandomize=True, deadline=None)
@given(TREES)
def test_a_tree_of_numbers_text_and_arrays_comes_back_as_it_was(tree):
    assert alike(round_trip({"tree": tree})["tree"], tree)


def test_outcomes_come_back_as_they_were():
    for outcome in (
        Answer(3, ("tokens",), "overflow encountered in exp"),
        Raised("ValueError", "no", "x = 1", True),
        Answer(Opaque("set")),
    ):
        assert round_trip(outcome) == outcome


def npy(header: str, data: bytes = b"") -> bytes:
    """A .npy file with any header."""
    line = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + data


FORGED = {
    "a header that promises 8 TB": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}"
    ),
    "a negative length": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", bytes(8)
    ),
    "fewer numbers than promised": npy(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", bytes(16)
    ),
    "a record": npy(
        "{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,)}", bytes(8)
    ),
    "text": npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,)}", bytes(8)),
    "no numbers, for ever": npy(
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776,)}"
    ),
    "33 axes": npy(
        "{'descr': '|b1', 'fortran_order': False, 'shape': (" + "1," * 33 + ")}", b"1"
    ),
    "nothing, 2**40 times": npy(
        "{'descr': '|b1', 'fortran_order': False, 'shape': (1099511627776, 0)}"
    ),
    "no literal": npy("__import__('os').abort()"),
    "another magic": b"PK\x03\x04" + bytes(99),
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_array_is_no_message(kind):
    tree, blob = b'{"array": true}', FORGED[kind]
    frame = struct.pack("<QQ", len(tree), len(blob)) + tree + blob
    with pytest.raises((ValueError, SyntaxError)):
        receive(io.BytesIO(frame))


@pytest.mark.parametrize(
    "tree",
    [b"1" + b"0" * 19, b"1" + b"0" * 5000, b"[" * 9000, b'{"Mistake": {}}', b'{"a": 1}',
     b'{"dict": [[[], 1]]}', b'{"Raised": {"text": ""}}', b'{"array": true}', b"\xff"],
)  # fmt: skip
def test_a_forged_tree_is_no_message(tree):
    with pytest.raises(Exception):  # noqa: B017, PT011 - any one ends that submission
        receive(io.BytesIO(struct.pack("<QQ", len(tree), 0) + tree))


@pytest.mark.parametrize("sizes", [(1 << 30, 0), (2, 1 << 30), (1 << 63, 1 << 63)])
def test_a_header_that_promises_too_much_is_refused_before_it_is_read(sizes):
    with pytest.raises(ValueError, match="too large"):
        receive(io.BytesIO(struct.pack("<QQ", *sizes) + b"{}"))


def test_a_reply_is_small():
    tree = b"[" + b"[]," * (MAX_REPLY // 3) + b"0]"
    frame = struct.pack("<QQ", len(tree), 0) + tree
    receive(io.BytesIO(frame))
    with pytest.raises(ValueError, match="too large"):
        receive(io.BytesIO(frame), MAX_REPLY)
    with pytest.raises(ValueError, match="too large"):
        send(io.BytesIO(), [[]] * MAX_REPLY, most=MAX_REPLY)


def test_what_an_answer_says_besides_is_short():
    answer = Answer(0, ("x" * 10**6,) * 10**6, "x" * 10**6)
    assert len(repr(answer)) < 4000


def test_nothing_pickled_is_read():
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    tree = b'{"array": true}'
    frame = struct.pack("<QQ", len(tree), len(stream.getvalue()))
    with pytest.raises(ValueError, match="array of object"):
        receive(io.BytesIO(frame + tree + stream.getvalue()))


def test_a_message_that_claims_to_be_huge_is_refused():
    with pytest.raises(ValueError, match="too large"):
        receive(io.BytesIO(struct.pack("<QQ", 1 << 40, 0)))


def test_half_a_message_is_the_end():
    with pytest.raises(EOFError):
        receive(io.BytesIO(struct.pack("<QQ", 10, 0) + b"{}"))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1, 2}, "set"),
        (2**70, "int of more than 64 bits"),
        (np.array([None]), "array of object"),
        (np.zeros(1 << 20), "array of shape (1048576,), larger than 4 MB"),
        (iter([1]), "list_iterator"),
        (np.zeros((1,) * 33), "array of 33 axes"),
        (type("", (), {"__module__": "builtins"})(), "type without a name"),
        (
            np.zeros((1 << 40, 0)),
            "array of shape (1099511627776, 0), larger than 4 MB",
        ),
    ],
)
def test_what_is_no_answer_is_only_named(value, name):
    assert ask(lambda: value, (), {}) == Answer(Opaque(name))


def test_a_lying_subclass_is_reduced_to_its_numbers():
    class Agreeing(np.ndarray):
        def __eq__(self, other):
            return np.ones(self.shape, dtype=bool)

    value = np.zeros((2, 2)).view(Agreeing)
    answer = ask(lambda: value, (), {})
    assert type(answer.value) is np.ndarray


def test_what_a_call_changes_is_named():
    def meddle(tokens, *others):
        tokens[0] = 9
        others[1][0] = 9

    outcome = ask(meddle, (np.zeros(2), np.zeros(2), np.zeros(2)), {})
    assert outcome.changed == ("tokens", "others")


def test_freed_memory_holds_no_right_answer():
    def lazy(n):
        return np.empty(n)

    # what the first call finds is not ours: it may be what comes next
    _, second, third = (ask(lazy, (9,), {}).value for _ in range(3))
    assert not np.array_equal(second, third)


def test_freed_memory_holds_no_right_answer_of_several_arrays():
    def lazy(n):
        return np.empty(n), np.empty(2 * n, dtype=bool)

    _, second, third = (ask(lazy, (9,), {}).value for _ in range(3))
    for one, other in zip(second, third, strict=True):
        assert not np.array_equal(one, other)


def test_helpers_are_replaced_for_a_while_in_each_namespace():
    one, other = {"f": 1}, {}
    with replaced({"f": 2}, one, one, other):
        assert (one, other) == ({"f": 2}, {"f": 2})
    assert (one, other) == ({"f": 1}, {})


def test_an_exercise_may_be_called_by_an_adapter():
    """A function that gives a function: what counts is what that one gives."""

    def adder(n):
        return lambda x: x + n

    adder.__module__ = masks.__name__
    exercise = Exercise(adder, points=1, adapter="call_result", axes=("place",))

    @exercise.mistake("It subtracts.", hint="Which way does the sum go?")
    def subtracts(n):
        return lambda x: x - n

    @exercise.probes
    def _(rng):
        yield Probe((2,), (np.arange(3),), why="a number")

    def judged(function):
        def ask_it(exercise, probes, helpers):
            return [ask(function, p.args, p.kwargs, exercise.adapter) for p in probes]

        return judge(exercise, exercise.draw(), ask_it)

    assert judged(lambda m: lambda x: m + x).points == 1
    assert judged(lambda m: lambda x: x - m).mistake == "It subtracts."
    assert judged(lambda m: lambda x: 2 * m - x).points == 0
    asked = judged(lambda m: lambda x: x - m).probe
    assert asked == "adder(2)(array([0, 1, 2]))"
    for other in (lambda m: m, lambda m: lambda b, h, x: x + m, lambda m: None):
        verdict = judged(other)
        assert verdict.verdict == "raised"
        assert "what it gives back" in verdict.message
        assert "a def or a lambda" in verdict.hint
    assert answers.adapters.call_result(lambda: np.add, (), (1, 2)) == 3
    assert answers.adapters.call_result(adder, (2,), (3,)) == 5


def test_a_rule_is_given_as_the_table_in_which_it_looks_its_answers_up():
    def everybody(mask_fn, length):
        return mask_fn(np.arange(length)[:, None], np.arange(length))

    table = np.arange(12).reshape(3, 4) % 5 < 2
    with_rule = answers.adapters.with_rule
    np.testing.assert_array_equal(with_rule(everybody, table, 3), table[:, :3])
    one_row = with_rule(everybody, table[:1], 3)
    np.testing.assert_array_equal(one_row, table[0, :3], strict=True)
    one_column = with_rule(everybody, table[:, :1], 3)
    np.testing.assert_array_equal(one_column, table[:, :1], strict=True)


def test_blocks_come_one_by_one_and_once():
    def twice(blocks):
        return sum(b.sum() for b in blocks), sum(b.sum() for b in blocks)

    blocks = [np.arange(3), np.arange(2)]
    in_passing = answers.adapters.in_passing
    assert in_passing(twice, blocks) == (4, 0)
    for misuse in (len, lambda blocks: blocks[0], np.concatenate):
        with pytest.raises(TypeError):
            in_passing(misuse, blocks)

    outcome = ask(twice, (blocks,), {}, "in_passing")  # anew for each call
    assert (outcome.value, ask(twice, (blocks,), {}, "in_passing").value) == (
        (4, 0), (4, 0)
    )  # fmt: skip

    def meddling(blocks):
        next(blocks)[:] = 7
        return 0

    assert ask(meddling, (blocks,), {}, "in_passing").changed == ("blocks",)
    assert blocks[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("already", [False, True])
def test_a_long_sequence_leaves_no_room_for_a_square_array(already):
    def linear(query, key, value, window):
        return np.concatenate([query * 2, key], axis=-1)

    def square(query, key, value, window):
        return query @ key.T @ value

    def call(function, length):
        arrays = np.ones((3, length, 2))
        return answers.adapters.without_square(function, *arrays, 5)

    if already:  # somebody is counting memory anyway
        tracemalloc.start()
    try:
        assert call(linear, 1200).shape == (1200, 4)
        call(square, 30)  # of short sequences every array is small
        with pytest.raises(MemoryError, match=r"1,200 positions.*1,440,000"):
            call(square, 1200)
        assert tracemalloc.is_tracing() == already
    finally:
        tracemalloc.stop()


EXERCISES = [e for stem in specs.stems() for e in specs.exercises_of(stem)]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.lists(TREES | st.just(Opaque("set")), min_size=1, max_size=4))
def test_whatever_comes_as_an_answer_is_judged_and_can_be_shown(exercise, values):
    probes = exercise.draw()

    def ask_it(exercise, probes, helpers):
        return [Answer(values[i % len(values)]) for i in range(len(probes))]

    verdict = judge(exercise, probes, ask_it)
    assert verdict.points == 0
    assert verdict.message
    assert report.as_html(verdict)
    assert report.as_text(verdict)


# Whatever bytes a learner's process writes

DTYPES = st.sampled_from(["?", "i1", "u8", "f2", "f4", "f8", "g", "F", "D", "G", ">f8"])
NPY_FILES = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=8, min_side=0))
AXES = st.integers(9, 40).map(lambda ndim: np.ones((1,) * ndim, bool))


def tagged(inner: st.SearchStrategy) -> st.SearchStrategy:
    """What receive() makes tuples, dicts, answers and exceptions of, or refuses."""
    texts = {"type_name": inner, "text": inner, "line": inner, "binding": inner}
    return st.one_of(
        st.lists(inner, max_size=4),
        st.fixed_dictionaries({"tuple": st.lists(inner, max_size=4)}),
        st.fixed_dictionaries({"dict": st.lists(st.tuples(st.text(), inner))}),
        st.fixed_dictionaries({"Opaque": st.fixed_dictionaries({"type_name": inner})}),
        st.fixed_dictionaries({"Raised": st.fixed_dictionaries(texts)}),
    )


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
FORGERIES = st.recursive(PLAIN | st.just({"array": True}), tagged, max_leaves=12)
ANSWERS = st.fixed_dictionaries(
    {"value": FORGERIES, "changed": st.lists(FORGERIES) | FORGERIES, "warned": PLAIN}
)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # on a busy machine
)
@given(ANSWERS, st.lists(NPY_FILES | AXES, min_size=9, max_size=9))
def test_whatever_is_forged_is_refused_or_judged(exercise, forged, arrays):
    blob = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(blob, array, (1, 0))
    tree = json.dumps({"Answer": forged}).encode()
    frame = struct.pack("<QQ", len(tree), len(blob.getvalue())) + tree
    try:
        outcome = receive(io.BytesIO(frame + blob.getvalue()), MAX_REPLY)
    except Exception:  # any one ends that submission
        return
    probes = exercise.draw()
    verdict = judge(exercise, probes, lambda e, p, h: [outcome] * len(p))
    assert verdict.points == 0
    assert 0 < len(verdict.message) < 5000
    assert report.as_html(verdict)
    assert report.as_text(verdict)


ODD = {
    "ragged text": ["x" * 50_000] + [""] * 20_000,
    "many numbers": [[0.5] * 99] * 150,
    "a text": "x" * 10**6,
    "numbers and a text": [[1.0, "x"]],
    "a dict": {"x": 1},
}


@pytest.mark.parametrize("kind", ODD)
def test_only_numbers_are_read_as_an_array(kind):
    """Text would take as much room for each place as its longest."""
    [causal] = [e for e in EXERCISES if e.name == "causal_mask"]
    answer = [Answer(ODD[kind])]
    before = time.process_time()
    tracemalloc.start()
    verdict = judge(causal, causal.draw(), lambda e, p, h: answer * len(p))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdict.points == 0
    assert most < 50 << 20
    assert time.process_time() - before < 20
