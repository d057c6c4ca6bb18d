"""Sinusoidal positions against Transformers, the paper's formula and its laws."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import MarianConfig
from transformers.models.marian.modeling_marian import (
    MarianDecoder,
    MarianSinusoidalPositionalEmbedding,
)
from transformers.models.xlm.modeling_xlm import create_sinusoidal_embeddings

from solutions.positions import decoder_input, shift_matrix, sinusoidal_positions

few = settings(derandomize=True, max_examples=30, deadline=None)
lengths = st.integers(1, 40)
widths = st.integers(1, 9).map(lambda n_waves: 2 * n_waves)
bases = st.sampled_from([2.0, 100.0, 10_000.0, 500_000.0])
far_positions = st.integers(-100_000, 100_000)
offsets = st.integers(-1000, 1000)


def row_by_the_formula(position, d_model, base):
    row = []
    for i in range(d_model // 2):
        angle = position / base ** (2 * i / d_model)
        row += [math.sin(angle), math.cos(angle)]
    return np.array(row)


def test_four_columns_are_the_numbers_written_by_hand():
    by_hand = [
        [0.0, 1.0, 0.0, 1.0],
        [math.sin(1), math.cos(1), math.sin(0.01), math.cos(0.01)],
        [math.sin(2), math.cos(2), math.sin(0.02), math.cos(0.02)],
    ]
    np.testing.assert_allclose(sinusoidal_positions(3, 4), by_hand)


def test_the_table_is_that_of_xlm():
    expected = create_sinusoidal_embeddings(23, 14, torch.empty(23, 14))
    assert_close(torch.from_numpy(sinusoidal_positions(23, 14)).float(), expected)


def test_the_table_is_that_of_marian_with_its_cosines_moved_behind_the_sines():
    table = sinusoidal_positions(23, 14)
    sines_then_cosines = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    expected = MarianSinusoidalPositionalEmbedding(23, 14).create_weight()
    assert_close(torch.from_numpy(sines_then_cosines).float(), expected)


@few
@given(seq_len=lengths, d_model=widths, base=bases)
def test_every_number_of_the_table_is_the_papers_formula(seq_len, d_model, base):
    expected = [row_by_the_formula(p, d_model, base) for p in range(seq_len)]
    table = sinusoidal_positions(seq_len, d_model, base)
    np.testing.assert_allclose(table, expected, strict=True)


@few
@given(seq_len=lengths, d_model=widths, base=bases)
def test_row_0_is_0_1_0_1(seq_len, d_model, base):
    row = sinusoidal_positions(seq_len, d_model, base)[0]
    np.testing.assert_array_equal(row, [0, 1] * (d_model // 2))


@few
@given(seq_len=lengths, d_model=widths, base=bases)
def test_every_row_has_the_same_norm(seq_len, d_model, base):
    norms = np.linalg.norm(sinusoidal_positions(seq_len, d_model, base), axis=1)
    np.testing.assert_allclose(norms, np.full(seq_len, math.sqrt(d_model / 2)))


@few
@given(seq_len=lengths, d_model=widths, base=bases)
def test_the_dot_product_of_two_rows_depends_on_their_distance_only(
    seq_len, d_model, base
):
    table = sinusoidal_positions(seq_len, d_model, base)
    products = table @ table.T
    distances = np.abs(np.subtract.outer(np.arange(seq_len), np.arange(seq_len)))
    assert_close(products, products[0, distances])


@few
@given(d_model=widths, base=bases)
def test_a_shift_by_0_is_the_identity(d_model, base):
    np.testing.assert_array_equal(shift_matrix(0, d_model, base), np.eye(d_model))


@few
@given(a=offsets, b=offsets, d_model=widths, base=bases)
def test_two_shifts_are_one_shift_by_their_sum(a, b, d_model, base):
    twice = shift_matrix(a, d_model, base) @ shift_matrix(b, d_model, base)
    assert_close(twice, shift_matrix(a + b, d_model, base))


@few
@given(offset=offsets, d_model=widths, base=bases)
def test_a_shift_is_orthogonal(offset, d_model, base):
    matrix = shift_matrix(offset, d_model, base)
    assert_close(matrix @ matrix.T, np.eye(d_model))


@few
@given(position=far_positions, offset=offsets, d_model=widths, base=bases)
def test_a_shift_moves_any_position_by_its_offset(position, offset, d_model, base):
    start = row_by_the_formula(position, d_model, base)
    moved = start @ shift_matrix(offset, d_model, base)
    assert_close(moved, row_by_the_formula(position + offset, d_model, base))


@pytest.mark.parametrize("offset", [1, 6])
def test_one_shift_moves_the_whole_table_forward_or_back(offset):
    table = sinusoidal_positions(23, 14)
    assert_close(table[:-offset] @ shift_matrix(offset, 14), table[offset:])
    assert_close(table[offset:] @ shift_matrix(-offset, 14), table[:-offset])


@pytest.mark.parametrize("make", [sinusoidal_positions, shift_matrix])
def test_an_odd_width_is_refused_by_its_number(make):
    with pytest.raises(ValueError, match=r"\b7\b"):
        make(4, 7)


def test_decoder_input_is_what_the_first_layer_of_marian_receives():
    config = MarianConfig(
        vocab_size=11,
        d_model=6,
        max_position_embeddings=9,
        decoder_layers=1,
        decoder_attention_heads=3,
        decoder_ffn_dim=8,
        scale_embedding=True,
        pad_token_id=10,
        decoder_start_token_id=10,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    decoder = MarianDecoder(config).eval()
    tokens = torch.tensor([[10, 4, 8, 4, 0], [10, 7, 0, 10, 10]])
    with torch.no_grad():
        received = decoder(tokens, output_hidden_states=True).hidden_states[0]
    actual = decoder_input(
        tokens.numpy(),
        decoder.embed_tokens.weight.detach().numpy(),
        decoder.embed_positions.weight.numpy(),
    )
    assert_close(torch.from_numpy(actual), received)


def random_inputs(batch_size, seq_len, vocab_size, d_model, max_len, dtype=float):
    rng = np.random.default_rng(0)
    return (
        rng.integers(vocab_size, size=(batch_size, seq_len)),
        rng.normal(size=(vocab_size, d_model)).astype(dtype),
        rng.normal(size=(max_len, d_model)).astype(dtype),
    )


def test_decoder_input_is_torchs_embedding_times_root_d_plus_positions():
    tokens, table, positions = map(torch.from_numpy, random_inputs(2, 5, 11, 7, 9))
    expected = F.embedding(tokens, table) * math.sqrt(7) + positions[:5]
    actual = decoder_input(tokens.numpy(), table.numpy(), positions.numpy())
    assert_close(torch.from_numpy(actual), expected)


@few
@given(
    batch_size=st.integers(1, 5),
    seq_len=st.integers(1, 9),
    vocab_size=st.integers(1, 11),
    d_model=st.integers(1, 9),
    unused_positions=st.integers(0, 4),
)
def test_decoder_input_is_the_slow_loop(
    batch_size, seq_len, vocab_size, d_model, unused_positions
):
    tokens, table, positions = random_inputs(
        batch_size, seq_len, vocab_size, d_model, seq_len + unused_positions
    )
    expected = np.empty((batch_size, seq_len, d_model))
    for b in range(batch_size):
        for t in range(seq_len):
            for d in range(d_model):
                scaled = table[tokens[b, t], d] * d_model**0.5
                expected[b, t, d] = scaled + positions[t, d]
    actual = decoder_input(tokens, table, positions)
    np.testing.assert_allclose(actual, expected, strict=True)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_decoder_input_keeps_the_dtype_of_its_floats(dtype):
    assert decoder_input(*random_inputs(2, 5, 11, 7, 9, dtype)).dtype == dtype


def test_decoder_input_does_not_modify_its_inputs():
    inputs = random_inputs(2, 5, 11, 7, 9)
    before = [array.copy() for array in inputs]
    decoder_input(*inputs)
    for array, copy in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("max_len", [4, 1])
def test_more_tokens_than_positions_are_refused_by_their_numbers(max_len):
    # NumPy would refuse four with its own words, and stretch one over all tokens.
    with pytest.raises(ValueError, match=f"5 tokens.* {max_len} positions"):
        decoder_input(*random_inputs(2, 5, 11, 7, max_len))
