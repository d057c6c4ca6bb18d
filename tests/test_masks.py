"""Attention masks against Transformers, PyTorch, slow loops and what they promise."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes
from torch import nn
from torch.nn.attention.bias import causal_lower_right
from torch.testing import assert_close
from transformers.masking_utils import (
    bidirectional_mask_function,
    eager_mask,
    sdpa_mask,
)

from solutions.masks import causal_mask, combine_masks, decoder_mask, padding_mask

few = settings(derandomize=True, max_examples=30, deadline=None)
lengths = st.integers(1, 11)
ids = st.integers(0, 4)
token_batches = arrays(
    np.int64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=ids
)

PAD = 3
# Padding on the right, on the left, in the middle and nowhere; id 0 is a real token.
TOKENS = np.array(
    [
        [1, 4, 0, 2, 3, 3, 3],
        [3, 3, 0, 1, 4, 2, 2],
        [2, 3, 1, 3, 3, 0, 4],
        [4, 0, 1, 2, 2, 1, 0],
    ]
)


def assert_same_mask(actual, expected):
    """Also the same shape, and both bool."""
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


def assert_exactly_equal(actual, expected):
    assert_close(actual, expected, rtol=0, atol=0)


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def attention_weights(q_len, k_len, **masking):
    """What PyTorch lets each query see: with the identity as value, its weights."""
    query, key = random(2, 3, q_len, 5), random(2, 3, k_len, 5, seed=1)
    value = torch.eye(k_len, dtype=torch.float64).expand(2, 3, k_len, k_len)
    return F.scaled_dot_product_attention(query, key, value, **masking)


def attend_twice(x, attn_mask):
    """Two layers, so that what leaks into a hidden output would travel on."""
    for _ in range(2):
        x = F.scaled_dot_product_attention(
            x[:, None], x[:, None], x[:, None], attn_mask=torch.from_numpy(attn_mask)
        )[:, 0]
    return x


def test_two_new_queries_of_five_positions_are_the_mask_written_by_hand():
    by_hand = [
        [True, True, True, True, False],
        [True, True, True, True, True],
    ]
    assert_same_mask(causal_mask(2, 5), by_hand)


@few
@given(q_len=lengths, past_len=st.integers(0, 7))
def test_causal_mask_is_that_of_transformers(q_len, past_len):
    expected = sdpa_mask(
        batch_size=1,
        q_length=q_len,
        kv_length=past_len + q_len,
        q_offset=past_len,
        allow_is_causal_skip=False,
    )
    assert_same_mask(causal_mask(q_len, past_len + q_len), expected[0, 0])


@few
@given(q_len=lengths, past_len=st.integers(0, 7))
def test_causal_mask_is_torchs_causal_lower_right(q_len, past_len):
    k_len = past_len + q_len
    attn_mask = torch.from_numpy(causal_mask(q_len, k_len))
    assert_close(
        attention_weights(q_len, k_len, attn_mask=attn_mask),
        attention_weights(q_len, k_len, attn_mask=causal_lower_right(q_len, k_len)),
    )


@few
@given(seq_len=lengths)
def test_a_square_causal_mask_is_torchs_is_causal(seq_len):
    attn_mask = torch.from_numpy(causal_mask(seq_len, seq_len))
    assert_close(
        attention_weights(seq_len, seq_len, attn_mask=attn_mask),
        attention_weights(seq_len, seq_len, is_causal=True),
    )


@few
@given(q_len=lengths, past_len=st.integers(0, 7))
def test_causal_mask_is_the_slow_loop(q_len, past_len):
    k_len = past_len + q_len
    expected = np.zeros((q_len, k_len), dtype=bool)
    for query in range(q_len):
        for key in range(k_len):
            expected[query, key] = key <= past_len + query
    assert_same_mask(causal_mask(q_len, k_len), expected)


@few
@given(q_len=lengths, past_len=st.integers(0, 7))
def test_queries_after_a_cache_have_the_last_rows_of_the_square_mask(q_len, past_len):
    k_len = past_len + q_len
    assert_same_mask(causal_mask(q_len, k_len), causal_mask(k_len, k_len)[past_len:])


def test_more_queries_than_keys_are_refused_by_their_numbers():
    with pytest.raises(ValueError, match=r"\b5\b.*\b3\b"):
        causal_mask(5, 3)


@few
@given(tokens=token_batches, pad_id=ids)
def test_padding_mask_is_the_slow_loop(tokens, pad_id):
    batch_size, k_len = tokens.shape
    expected = np.zeros((batch_size, 1, 1, k_len), dtype=bool)
    for b in range(batch_size):
        for key in range(k_len):
            expected[b, 0, 0, key] = tokens[b, key] != pad_id
    assert_same_mask(padding_mask(tokens, pad_id), expected)


def test_padding_mask_is_that_of_transformers_for_every_query():
    expected = sdpa_mask(
        batch_size=4,
        q_length=5,
        kv_length=7,
        mask_function=bidirectional_mask_function,
        attention_mask=torch.from_numpy(TOKENS) != PAD,
        allow_is_causal_skip=False,
    )
    actual = padding_mask(TOKENS, PAD)
    assert_same_mask(np.broadcast_to(actual, (4, 1, 5, 7)), expected)


@few
@given(data=st.data())
def test_combine_masks_is_numpys_logical_and_of_all_of_them(data):
    n_masks = data.draw(st.integers(1, 4))
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=n_masks, min_dims=1))
    masks = [data.draw(arrays(bool, shape)) for shape in shapes.input_shapes]
    expected = np.logical_and.reduce(np.broadcast_arrays(*masks))
    assert_same_mask(combine_masks(*masks), expected)


def test_combine_masks_is_numpys_all_over_the_stack_of_them():
    rng = np.random.default_rng(0)
    shapes = (2, 1, 1, 6), (3, 4, 6), (4, 1), (2, 3, 1, 6)
    masks = [rng.random(shape) < 0.8 for shape in shapes]
    expected = np.all(np.stack(np.broadcast_arrays(*masks)), axis=0)
    assert 0 < expected.sum() < expected.size
    assert_same_mask(combine_masks(*masks), expected)


def test_no_mask_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        combine_masks()


@few
@given(tokens=token_batches, pad_id=ids)
def test_decoder_mask_is_the_slow_loop(tokens, pad_id):
    batch_size, seq_len = tokens.shape
    expected = np.zeros((batch_size, 1, seq_len, seq_len), dtype=bool)
    for b in range(batch_size):
        for query in range(seq_len):
            for key in range(query + 1):
                expected[b, 0, query, key] = tokens[b, key] != pad_id
    assert_same_mask(decoder_mask(tokens, pad_id), expected)


@few
@given(tokens=token_batches, pad_id=ids)
def test_decoder_mask_is_that_of_transformers(tokens, pad_id):
    batch_size, seq_len = tokens.shape
    for_sdpa = sdpa_mask(
        batch_size,
        q_length=seq_len,
        kv_length=seq_len,
        attention_mask=torch.from_numpy(tokens) != pad_id,
        allow_is_causal_skip=False,
    )
    for_eager = eager_mask(
        batch_size,
        q_length=seq_len,
        kv_length=seq_len,
        attention_mask=torch.from_numpy(tokens) != pad_id,
    )
    assert_same_mask(decoder_mask(tokens, pad_id), for_sdpa)
    assert_same_mask(decoder_mask(tokens, pad_id), for_eager == 0)


def test_multihead_attention_reads_the_inverted_decoder_mask_as_its_own_two_masks():
    # Its masks are True where hidden, and a row that sees nothing would be NaN.
    tokens, n_heads = TOKENS[[0, 2, 3]], 2
    batch_size, seq_len = tokens.shape
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, n_heads, batch_first=True, dtype=torch.float64)
    x = random(batch_size, seq_len, 6)
    ours = torch.from_numpy(~decoder_mask(tokens, PAD))
    output, weights = attention(
        x,
        x,
        x,
        attn_mask=ours.expand(-1, n_heads, -1, -1).flatten(0, 1),
        average_attn_weights=False,
    )
    future = nn.Transformer.generate_square_subsequent_mask(seq_len) == float("-inf")
    expected_output, expected_weights = attention(
        x,
        x,
        x,
        attn_mask=future,
        key_padding_mask=torch.from_numpy(tokens) == PAD,
        average_attn_weights=False,
    )
    assert not output.isnan().any()
    assert_close(output, expected_output)
    assert_close(weights, expected_weights)


def test_every_query_reaches_every_real_token_up_to_itself():
    attn_mask = decoder_mask(TOKENS[:2], PAD)
    weights = attention_weights(7, 7, attn_mask=torch.from_numpy(attn_mask))
    for b in range(2):
        for query in range(7):
            for key in range(7):
                reached = bool((weights[b, :, query, key] > 0).all())
                assert reached == (key <= query and TOKENS[b, key] != PAD)


@few
@given(tokens=token_batches, pad_id=ids, data=st.data())
def test_no_output_depends_on_a_later_token(tokens, pad_id, data):
    seq_len = tokens.shape[1]
    known = data.draw(st.integers(1, seq_len))
    later = arrays(np.int64, (len(tokens), seq_len - known), elements=ids)
    changed = np.concatenate([tokens[:, :known], data.draw(later)], axis=1)

    def outputs(tokens):
        x = F.embedding(torch.from_numpy(tokens), random(5, 6))
        return attend_twice(x, decoder_mask(tokens, pad_id))

    assert_exactly_equal(outputs(changed)[:, :known], outputs(tokens)[:, :known])


@few
@given(tokens=token_batches, pad_id=ids)
def test_no_output_of_a_real_query_depends_on_the_paddings_content(tokens, pad_id):
    attn_mask = decoder_mask(tokens, pad_id)
    real = torch.from_numpy(tokens != pad_id)
    x = random(*tokens.shape, 6)
    changed = torch.where(real[..., None], x, random(*tokens.shape, 6, seed=1))
    assert_exactly_equal(
        attend_twice(changed, attn_mask)[real], attend_twice(x, attn_mask)[real]
    )


@pytest.mark.parametrize("make", [padding_mask, decoder_mask])
def test_the_tokens_are_not_modified(make):
    tokens = TOKENS.copy()
    make(tokens, PAD)
    np.testing.assert_array_equal(tokens, TOKENS)


def test_combine_masks_does_not_modify_its_masks():
    masks = [np.ones((2, 4, 6), dtype=bool), causal_mask(4, 6)]
    before = [attn_mask.copy() for attn_mask in masks]
    combine_masks(*masks)
    for attn_mask, copy in zip(masks, before, strict=True):
        np.testing.assert_array_equal(attn_mask, copy)


def test_every_mask_is_bool():
    causal, padding = causal_mask(5, 7), padding_mask(TOKENS, PAD)
    combined, decoder = combine_masks(causal, padding), decoder_mask(TOKENS, PAD)
    for attn_mask in (causal, padding, combined, decoder):
        assert attn_mask.dtype == bool
