"""Shapes and broadcasting against NumPy's own arrays, PyTorch, slow loops and laws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes
from telling import assert_told, told
from torch.nn.utils.rnn import pad_sequence
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from solutions.shapes import matmul_shape, position_angles, sequence_mask

few = settings(derandomize=True, max_examples=50, deadline=None)
batch_sizes = st.integers(1, 7)
sizes = st.integers(1, 9)
floats = st.sampled_from([np.float32, np.float64])


def assert_same_mask(actual, expected):
    """Also the same shape, and both bool."""
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


@st.composite
def lengths_of_a_batch(draw):
    max_len = draw(st.integers(0, 9))
    lengths = arrays(np.int64, draw(batch_sizes), elements=st.integers(0, max_len))
    return draw(lengths), max_len


two_stacks = mutually_broadcastable_shapes(
    signature="(n,m),(m,p)->(n,p)", min_side=0, max_dims=3
)


def test_three_sequences_are_the_mask_written_by_hand():
    by_hand = [
        [True, True, False, False],
        [False, False, False, False],
        [True, True, True, True],
    ]
    assert_same_mask(sequence_mask(np.array([2, 0, 4]), 4), by_hand)


@few
@given(lengths_of_a_batch())
def test_sequence_mask_is_the_slow_loop(batch):
    lengths, max_len = batch
    expected = np.zeros((len(lengths), max_len), dtype=bool)
    for b, length in enumerate(lengths):
        for position in range(max_len):
            if position < length:
                expected[b, position] = True
    assert_same_mask(sequence_mask(lengths, max_len), expected)


@few
@given(lengths_of_a_batch())
def test_sequence_mask_is_true_where_torch_pads_nothing(batch):
    lengths, max_len = batch
    rows = [torch.ones(int(n), dtype=torch.bool) for n in (*lengths, max_len)]
    expected = pad_sequence(rows, batch_first=True, padding_value=False)[:-1]
    assert_same_mask(sequence_mask(lengths, max_len), expected)


@few
@given(lengths_of_a_batch())
def test_every_row_has_as_many_true_as_its_sequence_has_tokens(batch):
    lengths, max_len = batch
    mask = sequence_mask(lengths, max_len)
    np.testing.assert_array_equal(mask.sum(axis=1), lengths)
    assert not (mask[:, 1:] & ~mask[:, :-1]).any()  # and they come first


def test_lengths_of_any_integer_type_give_the_same_mask():
    expected = sequence_mask(np.array([3, 1, 5]), 5)
    for kind in (np.int8, np.uint8, np.int32, np.uint64):
        assert_same_mask(sequence_mask(np.array([3, 1, 5], dtype=kind), 5), expected)


@few
@given(length=sizes, width=sizes, kind=floats, seed=st.integers(0, 99))
def test_position_angles_is_torchs_outer_product(length, width, kind, seed):
    rng = np.random.default_rng(seed)
    positions = rng.normal(size=length).astype(kind)
    inv_freq = rng.normal(size=width).astype(kind)
    expected = torch.outer(torch.from_numpy(positions), torch.from_numpy(inv_freq))
    assert_close(torch.from_numpy(position_angles(positions, inv_freq)), expected)


@few
@given(length=sizes, width=sizes, seed=st.integers(0, 99))
def test_position_angles_is_the_slow_loop(length, width, seed):
    rng = np.random.default_rng(seed)
    positions, inv_freq = rng.integers(-9, 9999, length), rng.normal(size=width)
    expected = np.empty((length, width))
    for row in range(length):
        for column in range(width):
            expected[row, column] = positions[row] * inv_freq[column]
    np.testing.assert_array_equal(position_angles(positions, inv_freq), expected)


@pytest.mark.parametrize("d_head", [6, 10])
def test_the_cosines_of_the_angles_are_those_of_llamas_rotary_embedding(d_head):
    config = LlamaConfig(
        hidden_size=3 * d_head, num_attention_heads=3, num_key_value_heads=3
    )
    rotary = LlamaRotaryEmbedding(config)
    positions = torch.tensor([[5, 6, 7, 3000, 0]])  # (B, T)
    cosines, sines = rotary(torch.zeros(1), positions)
    inv_freq = rotary.inv_freq.numpy()
    assert inv_freq.shape == (d_head // 2,)
    angles = position_angles(positions[0].numpy().astype(np.float32), inv_freq)
    twice = torch.from_numpy(np.concatenate([angles, angles], axis=1))
    assert_close(twice.cos(), cosines[0])
    assert_close(twice.sin(), sines[0])


def test_a_float_answer_has_the_type_of_its_float_inputs():
    for kind in (np.float32, np.float64):
        angles = position_angles(np.ones(3, kind), np.ones(2, kind))
        assert angles.dtype == kind


@few
@given(two_stacks)
def test_matmul_shape_is_that_of_numpys_product(shapes):
    a_shape, b_shape = shapes.input_shapes
    expected = np.matmul(np.empty(a_shape), np.empty(b_shape)).shape
    assert matmul_shape(a_shape, b_shape) == expected


@few
@given(two_stacks)
def test_matmul_shape_is_what_hypothesis_says_of_matmuls_signature(shapes):
    assert matmul_shape(*shapes.input_shapes) == shapes.result_shape


@few
@given(two_stacks)
def test_matmul_shape_is_that_of_torchs_product_without_data(shapes):
    a_shape, b_shape = shapes.input_shapes
    a, b = (torch.empty(shape, device="meta") for shape in (a_shape, b_shape))
    assert matmul_shape(a_shape, b_shape) == tuple((a @ b).shape)


@few
@given(two_stacks)
def test_the_transposed_product_turns_only_the_last_two_axes_round(shapes):
    a_shape, b_shape = shapes.input_shapes
    *stack, rows, columns = matmul_shape(a_shape, b_shape)
    turned = [(*shape[:-2], shape[-1], shape[-2]) for shape in (b_shape, a_shape)]
    assert matmul_shape(*turned) == (*stack, columns, rows)


def test_matmul_shape_makes_no_array():
    large = 10**9
    assert matmul_shape((2, large, large), (large, 3)) == (2, large, 3)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((2, 3), (4, 5)), ((2, 3, 4), (5, 4, 6)), ((2, 3), (2, 3)), ((3, 2, 1), (3, 4))],
)
def test_what_numpy_does_not_multiply_is_refused(a_shape, b_shape):
    with pytest.raises(ValueError, match=r"mismatch|broadcast"):
        np.matmul(np.ones(a_shape), np.ones(b_shape))
    with pytest.raises(ValueError, match=r"is not|mismatch"):
        matmul_shape(a_shape, b_shape)


def test_matrices_that_do_not_fit_are_refused_by_their_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3\) @ \(4, 5\): 3 is not 4"):
        matmul_shape((2, 3), (4, 5))


def test_the_arguments_are_not_modified():
    lengths, positions, inv_freq = np.array([2, 1]), np.arange(3), np.ones(2)
    before = lengths.copy(), positions.copy(), inv_freq.copy()
    sequence_mask(lengths, 3)
    position_angles(positions, inv_freq)
    for array, copy in zip((lengths, positions, inv_freq), before, strict=True):
        np.testing.assert_array_equal(array, copy)


# What learners are told of mistakes that are in no list

TELLING = {
    "marked up to where the token after the last would be": (
        """
        def sequence_mask(lengths, max_len):
            mask = np.zeros((len(lengths), max_len), bool)
            for b, length in enumerate(lengths):
                mask[b, length] = True
            return mask
        """,
        "And for sequences of several lengths it stops with IndexError: index",
    ),
    "cut at the end, where nothing is to be cut": (
        """
        def sequence_mask(lengths, max_len):
            mask = np.ones((len(lengths), max_len), bool)
            for b, length in enumerate(lengths):
                mask[b, -(max_len - length) :] = False
            return mask
        """,
        "right for more positions than the longest sequence has tokens, sequences "
        "without any token and a single sequence.",
    ),
    "transposed and one too many": (
        """
        def sequence_mask(lengths, max_len):
            return np.arange(max_len)[:, None] <= lengths
        """,
        "One position too many is marked in every sequence. And: the answer is "
        "transposed",
    ),
    "the row in place of the column": (
        """
        def sequence_mask(lengths, max_len):
            return np.arange(max_len) < lengths[None, :]
        """,
        "There is only one row: position i is compared with the length of sequence i.",
    ),
    "ready for the scores": (
        """
        def sequence_mask(lengths, max_len):
            return (np.arange(max_len) < lengths[:, None])[:, None, None, :]
        """,
        "The values are right, but in another shape.",
    ),
    "lengths changed": (
        """
        def sequence_mask(lengths, max_len):
            lengths -= 1
            return np.arange(max_len) <= lengths[:, None]
        """,
        "Your function changes `lengths`, which belongs to its caller. What it gives "
        "back is right.",
    ),
    "a method of PyTorch": (
        """
        def position_angles(positions, inv_freq):
            return positions.unsqueeze(1).repeat(1, len(inv_freq)) * inv_freq
        """,
        "That is a method of PyTorch's tensors; this is a NumPy array.",
    ),
    "positions as shares of the longest": (
        """
        def position_angles(positions, inv_freq):
            return (positions / positions.max())[:, None] * inv_freq
        """,
        "Row 0 is that of position ",
    ),
    "frequencies the wrong way round": (
        """
        def position_angles(positions, inv_freq):
            return positions[:, None] * inv_freq[::-1]
        """,
        "The column axis runs backwards. Column 0 is that of frequency ",
    ),
    "repeated as NumPy repeats": (
        """
        def position_angles(positions, inv_freq):
            rows = positions.repeat(len(inv_freq)).reshape(len(inv_freq), -1)
            return rows.T * inv_freq
        """,
        "; that row is for position ",
    ),
    "whole turns taken off": (
        """
        def position_angles(positions, inv_freq):
            return positions[:, None] * inv_freq % (2 * np.pi)
        """,
        "right for as many positions as frequencies, positions between the whole "
        "numbers and a single position.",
    ),
    "a table of integers": (
        """
        def position_angles(positions, inv_freq):
            table = np.zeros((len(positions), len(inv_freq)), dtype=int)
            for row, position in enumerate(positions):
                table[row] = position * inv_freq
            return table
        """,
        "The numbers have lost everything after the decimal point.",
    ),
    "the longer stack": (
        """
        def matmul_shape(a_shape, b_shape):
            stack = max(a_shape[:-2], b_shape[:-2], key=len)
            return (*stack, a_shape[-2], b_shape[-1])
        """,
        "which have 1 and ",
    ),
    "only for two axes": (
        """
        def matmul_shape(a_shape, b_shape):
            return (a_shape[0], b_shape[1])
        """,
        "right for two matrices.",
    ),
    "lengths added": (
        """
        def matmul_shape(a_shape, b_shape):
            stack = [x + y for x, y in zip(a_shape[:-2], b_shape[:-2])]
            return (*stack, a_shape[-2], b_shape[-1])
        """,
        "axis -3 belongs to the stacks, which have ",
    ),
    "by making the arrays": (
        """
        def matmul_shape(a_shape, b_shape):
            return (np.ones(a_shape) @ np.ones(b_shape)).shape
        """,
        "Which array is that large? Can you do without it?",
    ),
    "a stack inside the shape": (
        """
        def matmul_shape(a_shape, b_shape):
            stack = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
            return (stack, a_shape[-2], b_shape[-1])
        """,
        "a tuple of tuple and int; asked for is a tuple of int.",
    ),
    "turned round as .T does": (
        """
        def matmul_shape(a_shape, b_shape):
            stack = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
            return (*stack, a_shape[-2], b_shape[-1])[::-1]
        """,
        "The items come in the opposite order.",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source), sentence)
