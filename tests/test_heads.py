"""Many heads against PyTorch, Transformers, slow loops and what they promise."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import assert_quick, assert_told, told
from torch import nn
from torch.testing import assert_close
from transformers.models.llama.modeling_llama import repeat_kv as llama_repeat_kv

from solutions import attention, heads
from solutions.heads import merge_heads, multi_head_attention, repeat_kv, split_heads
from solutions.masks import causal_mask, padding_mask

few = settings(derandomize=True, max_examples=30, deadline=None)
sizes = st.integers(1, 5)
both_widths = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def random(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_exactly_equal(actual, expected):
    np.testing.assert_array_equal(actual, np.asarray(expected), strict=True)


def assert_as_torch(actual, expected):
    """Equal within torch.testing's tolerances, and of the same dtype."""
    assert_close(torch.from_numpy(actual), expected)


def torchs_layer(d_model, n_heads, dtype, seed=0):
    """nn.MultiheadAttention without biases, and its weights as ours: (d_in, d_out)."""
    torch.manual_seed(seed)
    layer = nn.MultiheadAttention(
        d_model, n_heads, bias=False, batch_first=True, dtype=dtype
    )
    stacked = layer.in_proj_weight.detach()  # (3 D, D): for queries, keys, values
    weights = [*stacked.chunk(3), layer.out_proj.weight.detach()]
    return layer, [weight.T.numpy() for weight in weights]


def some_mask(batch, q_len, k_len):
    """Another mask for every batch row; every query sees a key and misses one."""
    rng = np.random.default_rng(0)
    attn_mask = rng.random((batch, 1, q_len, k_len)) < 0.5
    attn_mask[..., 0], attn_mask[..., 1] = True, False
    return rng.permuted(attn_mask, axis=-1)


# Cutting and putting together


@few
@given(b=sizes, h=sizes, t=sizes, k=sizes)
def test_split_heads_is_the_slow_loop(b, h, t, k):
    x = np.random.default_rng(0).normal(size=(b, t, h * k))
    expected = np.zeros((b, h, t, k))
    for row, head, position, column in np.ndindex(b, h, t, k):
        number = x[row, position, head * k + column]
        expected[row, head, position, column] = number
    assert_exactly_equal(split_heads(x, h), expected)


@few
@given(b=sizes, h=sizes, t=sizes, k=sizes)
def test_merge_heads_is_the_slow_loop(b, h, t, k):
    x = np.random.default_rng(0).normal(size=(b, h, t, k))
    expected = np.zeros((b, t, h * k))
    for row, head, position, column in np.ndindex(b, h, t, k):
        number = x[row, head, position, column]
        expected[row, position, head * k + column] = number
    assert_exactly_equal(merge_heads(x), expected)


@both_widths
def test_split_heads_is_the_view_and_transpose_of_transformers(dtype):
    x = random(2, 5, 12, dtype=dtype)
    expected = x.view(2, 5, -1, 4).transpose(1, 2)  # as in modeling_llama.py
    assert_exactly_equal(split_heads(x.numpy(), 3), expected)


def test_the_heads_are_numpys_pieces_of_the_last_axis():
    x = np.random.default_rng(0).normal(size=(2, 5, 12))
    for head, piece in enumerate(np.split(x, 3, axis=-1)):
        assert_exactly_equal(split_heads(x, 3)[:, head], piece)


@few
@given(b=sizes, h=sizes, t=sizes, k=sizes)
def test_what_is_cut_and_put_together_is_what_it_was(b, h, t, k):
    x = np.random.default_rng(0).normal(size=(b, t, h * k))
    assert_exactly_equal(merge_heads(split_heads(x, h)), x)
    cut = np.random.default_rng(1).normal(size=(b, h, t, k))
    assert_exactly_equal(split_heads(merge_heads(cut), h), cut)


def test_a_token_stays_at_its_position_when_it_is_cut():
    x = np.random.default_rng(0).normal(size=(2, 5, 12))
    order = [3, 0, 4, 1, 2]
    assert_exactly_equal(split_heads(x[:, order], 3), split_heads(x, 3)[:, :, order])


def test_a_vector_that_cannot_be_cut_is_refused_by_its_numbers():
    with pytest.raises(ValueError, match=r"\b10\b.*\b3\b"):
        split_heads(np.zeros((2, 4, 10)), 3)


# Sharing keys and values


@few
@given(b=sizes, g=sizes, s=sizes, k=sizes, n_rep=sizes)
def test_repeat_kv_is_that_of_transformers(b, g, s, k, n_rep):
    x = random(b, g, s, k)
    assert_exactly_equal(repeat_kv(x.numpy(), n_rep), llama_repeat_kv(x, n_rep))


@few
@given(b=sizes, g=sizes, s=sizes, k=sizes, n_rep=sizes)
def test_repeat_kv_is_the_slow_loop(b, g, s, k, n_rep):
    x = np.random.default_rng(0).normal(size=(b, g, s, k))
    expected = np.zeros((b, g * n_rep, s, k))
    for head in range(g * n_rep):
        expected[:, head] = x[:, head // n_rep]
    assert_exactly_equal(repeat_kv(x, n_rep), expected)


@both_widths
@pytest.mark.parametrize("n_kv_heads", [1, 2, 3, 6])
def test_attention_with_repeated_heads_is_torchs_grouped_query_attention(
    dtype, n_kv_heads
):
    query = random(2, 6, 4, 5, dtype=dtype)
    key = random(2, n_kv_heads, 7, 5, dtype=dtype, seed=1)
    value = random(2, n_kv_heads, 7, 3, dtype=dtype, seed=2)
    attn_mask = some_mask(2, 4, 7)
    expected = F.scaled_dot_product_attention(
        query, key, value, attn_mask=torch.from_numpy(attn_mask), enable_gqa=True
    )
    n_rep = 6 // n_kv_heads
    actual = attention.scaled_dot_product_attention(
        query.numpy(),
        repeat_kv(key.numpy(), n_rep),
        repeat_kv(value.numpy(), n_rep),
        attn_mask,
    )
    assert_as_torch(actual, expected)


# Attention with several heads


@both_widths
@pytest.mark.parametrize(("d_model", "n_heads"), [(15, 3), (14, 7), (8, 1), (6, 6)])
def test_multi_head_attention_is_torchs_layer_with_its_weights(dtype, d_model, n_heads):
    layer, weights = torchs_layer(d_model, n_heads, dtype)
    x = random(2, 4, d_model, dtype=dtype)
    memory = random(2, 6, d_model, dtype=dtype, seed=1)
    expected, _ = layer(x, memory, memory)
    actual = multi_head_attention(x.numpy(), memory.numpy(), *weights, n_heads=n_heads)
    assert_as_torch(actual, expected.detach())


@both_widths
def test_multi_head_attention_reads_a_mask_as_torchs_layer_reads_its_inverse(dtype):
    layer, weights = torchs_layer(15, 3, dtype)
    x = random(2, 4, 15, dtype=dtype)
    memory = random(2, 6, 15, dtype=dtype, seed=1)
    attn_mask = some_mask(2, 4, 6)
    hidden = torch.from_numpy(~attn_mask)  # there True means hidden
    expected, _ = layer(
        x, memory, memory, attn_mask=hidden.expand(-1, 3, -1, -1).flatten(0, 1)
    )
    actual = multi_head_attention(
        x.numpy(), memory.numpy(), *weights, n_heads=3, attn_mask=attn_mask
    )
    assert_as_torch(actual, expected.detach())


def test_causal_and_padding_masks_are_torchs_two_masks():
    layer, weights = torchs_layer(15, 3, torch.float64)
    x = random(2, 6, 15)
    tokens = np.array([[3, 1, 4, 1, 5, 9], [2, 6, 5, 0, 0, 0]])
    future = nn.Transformer.generate_square_subsequent_mask(6) == float("-inf")
    expected, _ = layer(
        x, x, x, attn_mask=future, key_padding_mask=torch.from_numpy(tokens) == 0
    )
    attn_mask = causal_mask(6, 6) & padding_mask(tokens, 0)
    actual = multi_head_attention(
        x.numpy(), x.numpy(), *weights, n_heads=3, attn_mask=attn_mask
    )
    assert_as_torch(actual, expected.detach())


@both_widths
def test_a_mask_of_its_own_for_every_head_is_torchs(dtype):
    layer, weights = torchs_layer(15, 3, dtype)
    x = random(2, 4, 15, dtype=dtype)
    memory = random(2, 6, 15, dtype=dtype, seed=1)
    attn_mask = some_mask(6, 4, 6).reshape(2, 3, 4, 6)
    hidden = torch.from_numpy(~attn_mask).flatten(0, 1)
    expected, _ = layer(x, memory, memory, attn_mask=hidden)
    actual = multi_head_attention(
        x.numpy(), memory.numpy(), *weights, n_heads=3, attn_mask=attn_mask
    )
    assert_as_torch(actual, expected.detach())


def papers_formula(x, memory, w_q, w_k, w_v, w_o, n_heads, attn_mask):
    """Section 3.2.2, one batch row, one head and one query at a time."""
    d_head = x.shape[-1] // n_heads
    output = np.zeros(x.shape)
    for b in range(len(x)):
        for query in range(x.shape[1]):
            pieces = []
            for head in range(n_heads):
                own = slice(head * d_head, (head + 1) * d_head)
                q = x[b, query] @ w_q[:, own]
                scores = [
                    q @ (memory[b, key] @ w_k[:, own]) / np.sqrt(d_head)
                    if attn_mask[b, 0, query, key]
                    else -np.inf
                    for key in range(memory.shape[1])
                ]
                weights = np.exp(scores) / np.exp(scores).sum()
                values = memory[b] @ w_v[:, own]
                pieces.append(sum(w * v for w, v in zip(weights, values, strict=True)))
            output[b, query] = np.concatenate(pieces) @ w_o
    return output


def test_multi_head_attention_is_the_papers_formula_head_by_head():
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 4, 15)), rng.normal(size=(2, 6, 15))
    weights = rng.normal(size=(4, 15, 15)) / 4
    attn_mask = some_mask(2, 4, 6)
    np.testing.assert_allclose(
        multi_head_attention(x, memory, *weights, n_heads=3, attn_mask=attn_mask),
        papers_formula(x, memory, *weights, 3, attn_mask),
    )


def test_the_output_is_the_sum_of_what_each_head_adds():
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 4, 15)), rng.normal(size=(2, 6, 15))
    *weights, w_o = rng.normal(size=(4, 15, 15)) / 4
    shares = []
    for head in range(3):
        rows = np.zeros_like(w_o)
        rows[5 * head : 5 * head + 5] = w_o[5 * head : 5 * head + 5]
        shares.append(multi_head_attention(x, memory, *weights, rows, n_heads=3))
    np.testing.assert_allclose(
        multi_head_attention(x, memory, *weights, w_o, n_heads=3), sum(shares)
    )


def test_the_order_of_the_heads_does_not_matter_if_the_rows_of_w_o_move_along():
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 4, 15)), rng.normal(size=(2, 6, 15))
    w_q, w_k, w_v, w_o = rng.normal(size=(4, 15, 15)) / 4
    order = np.arange(15).reshape(3, 5)[[2, 0, 1]].ravel()
    moved = w_q[:, order], w_k[:, order], w_v[:, order], w_o[order]
    np.testing.assert_allclose(
        multi_head_attention(x, memory, *moved, n_heads=3),
        multi_head_attention(x, memory, w_q, w_k, w_v, w_o, n_heads=3),
    )


def test_no_output_depends_on_what_the_mask_hides():
    rng = np.random.default_rng(0)
    x, memory = rng.normal(size=(2, 4, 15)), rng.normal(size=(2, 6, 15))
    weights = rng.normal(size=(4, 15, 15)) / 4
    real = np.array([[True] * 4 + [False] * 2, [True] * 6])
    changed = np.where(real[..., None], memory, rng.normal(size=memory.shape))

    def output(memory):
        return multi_head_attention(
            x, memory, *weights, n_heads=3, attn_mask=real[:, None, None]
        )

    assert_exactly_equal(output(changed), output(memory))


def test_no_argument_is_modified():
    rng = np.random.default_rng(0)
    arguments = [rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 5, 6))]
    arguments += list(rng.normal(size=(4, 6, 6)))
    attn_mask = some_mask(2, 4, 5)
    before = [array.copy() for array in (*arguments, attn_mask)]
    multi_head_attention(*arguments, n_heads=2, attn_mask=attn_mask)
    for array, copy in zip((*arguments, attn_mask), before, strict=True):
        assert_exactly_equal(array, copy)


@both_widths
def test_every_answer_has_the_dtype_of_its_inputs(dtype):
    x = random(2, 4, 6, dtype=dtype).numpy()
    weights = random(4, 6, 6, dtype=dtype).numpy()
    cut = split_heads(x, 3)
    assert cut.dtype == merge_heads(cut).dtype == repeat_kv(cut, 2).dtype == x.dtype
    assert multi_head_attention(x, x, *weights, n_heads=3).dtype == x.dtype


# What learners are told of mistakes that are in no list


# What the notebook of the chapter has given, and right answers to its own exercises
GIVEN = {**vars(attention), **vars(heads)}


MULTI_HEAD = """
def multi_head_attention(
    x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None
):
    query = split_heads(x @ w_q, n_heads)
    key = split_heads(memory @ w_k, n_heads)
    value = split_heads(memory @ w_v, n_heads)
"""
TELLING = {
    "transposed as for a product": (
        """
        def split_heads(x, n_heads):
            batch, seq_len, d_model = x.shape
            x = x.reshape(batch, seq_len, n_heads, d_model // n_heads)
            return x.transpose(0, 2, 3, 1)
        """,
        "The answer is transposed: position and column have changed places",
    ),
    "a reshape, and the heads in the batch": (
        """
        def split_heads(x, n_heads):
            batch, seq_len, d_model = x.shape
            return x.reshape(batch * n_heads, seq_len, d_model // n_heads)
        """,
        "a head holds one stretch of the numbers of a batch row, not a piece of every "
        "token. And: the values are right, but in another shape",
    ),
    "a window that moves by one": (
        """
        def split_heads(x, n_heads):
            d_head = x.shape[-1] // n_heads
            starts = range(n_heads)
            return np.stack([x[..., i : i + d_head] for i in starts], axis=1)
        """,
        "At batch row 0, head 1, position 0, column 0 stands the number that `x` has "
        "at column 1; there belongs the one at column 4",
    ),
    "a view": (
        """
        def split_heads(x, n_heads):
            batch, seq_len, d_model = x.shape
            return x.view(batch, seq_len, n_heads, d_model // n_heads)
        """,
        "PyTorch's view is reshape in NumPy",
    ),
    "all axes turned round": (
        """
        def merge_heads(x):
            batch, n_heads, seq_len, d_head = x.shape
            return x.T.reshape(batch, seq_len, n_heads * d_head)
        """,
        "stands the number that `x` has at batch row 1, column 0; there belongs the "
        "one at batch row 0, column 1",
    ),
    "the heads end to end in the batch": (
        """
        def merge_heads(x):
            return np.concatenate([x[:, head] for head in range(x.shape[1])])
        """,
        "right for a single head",
    ),
    "the last head first": (
        """
        def merge_heads(x):
            pieces = [x[:, head] for head in range(x.shape[1])]
            return np.concatenate(pieces[::-1], axis=-1)
        """,
        "The answer is right for `x` read backwards along axis 1",
    ),
    "heads on top of each other": (
        """
        def merge_heads(x):
            batch, n_heads, seq_len, d_head = x.shape
            answer = np.zeros((batch, seq_len, n_heads * d_head))
            for head in range(n_heads):
                answer[..., head : head + d_head] = x[:, head]
            return answer
        """,
        "is 0. Wrong for several heads, as many heads as positions and float32; right "
        "for a single head and heads of one number each",
    ),
    "torch's repeat": (
        "def repeat_kv(x, n_rep): return x.repeat(1, n_rep, 1, 1)",
        "its repeat is np.tile, and its repeat_interleave is np.repeat with an axis",
    ),
    "head 0 for all": (
        "def repeat_kv(x, n_rep): return np.repeat(x[:, :1], n_rep * x.shape[1], 1)",
        "Every head has the values of head 0",
    ),
    "shared out": (
        "def repeat_kv(x, n_rep): return np.repeat(x, n_rep, axis=1) / n_rep",
        "The answer is the right one times 1 / n_rep",
    ),
    "one copy, and gaps": (
        """
        def repeat_kv(x, n_rep):
            batch, n_kv_heads, *rest = x.shape
            answer = np.zeros((batch, n_kv_heads * n_rep, *rest))
            answer[:, ::n_rep] = x
            return answer
        """,
        "Every number of head 1 is 0",
    ),
    "two at once": (
        MULTI_HEAD + "    hidden = None if attn_mask is None else ~attn_mask\n"
        "    attended = scaled_dot_product_attention(query, key, value, hidden)\n"
        "    return merge_heads(attended)",
        "Two things at once would explain it. The output projection is missing: the "
        "answer is the heads side by side. And: the mask is inverted",
    ),
    "a softmax over the queries": (
        MULTI_HEAD + "    scores = attention_scores(query, key)\n"
        "    if attn_mask is not None:\n"
        "        scores = np.where(attn_mask, scores, -np.inf)\n"
        "    return merge_heads(softmax(scores, axis=-2) @ value) @ w_o",
        "Those that head 0 gives query 0 of batch row 0 add up to",
    ),
    "hidden scores set to 0": (
        MULTI_HEAD + "    scores = attention_scores(query, key)\n"
        "    if attn_mask is not None:\n"
        "        scores = np.where(attn_mask, scores, 0)\n"
        "    return merge_heads(softmax(scores) @ value) @ w_o",
        "and the mask hides that key",
    ),
    "keys and values of head 0 for all heads": (
        MULTI_HEAD + "    key, value = (repeat_kv(y[:, :1], n_heads)"
        " for y in (key, value))\n"
        "    attended = scaled_dot_product_attention(query, key, value, attn_mask)\n"
        "    return merge_heads(attended) @ w_o",
        "Right are those of head 0 alone",
    ),
    "exp without care": (
        MULTI_HEAD + "    scores = attention_scores(query, key)\n"
        "    if attn_mask is not None:\n"
        "        scores = np.where(attn_mask, scores, -np.inf)\n"
        "    with np.errstate(all='ignore'):\n"
        "        exp = np.exp(scores)\n"
        "        weights = exp / exp.sum(axis=-1, keepdims=True)\n"
        "    return merge_heads(weights @ value) @ w_o",
        "numbers are NaN, the first at batch row 0, query 0. Wrong for large scores",
    ),
    "a mask asked for its truth": (
        MULTI_HEAD + "    if attn_mask:\n        return x\n"
        "    attended = scaled_dot_product_attention(query, key, value, attn_mask)\n"
        "    return merge_heads(attended) @ w_o",
        "The truth value of an array",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source, **GIVEN), sentence)


def test_a_wrong_cut_costs_the_later_function_nothing():
    verdict = told(
        "def split_heads(x, n_heads):\n"
        "    batch, seq_len, d_model = x.shape\n"
        "    return x.reshape(batch, n_heads, seq_len, d_model // n_heads)\n"
        + MULTI_HEAD
        + "    attended = scaled_dot_product_attention(query, key, value, attn_mask)\n"
        "    return merge_heads(attended) @ w_o",
        **GIVEN,
    )
    assert verdict.points == verdict.max_points
    assert verdict.first == ("split_heads",)


def test_checking_is_quick_even_where_nothing_explains_the_answer():
    source = """
    def multi_head_attention(
        x, memory, w_q, w_k, w_v, w_o, *, n_heads, attn_mask=None
    ):
        return np.random.default_rng(0).normal(size=x.shape)
    """
    assert_quick(source, **GIVEN)
