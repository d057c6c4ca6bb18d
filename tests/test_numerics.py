"""Mask numerics against PyTorch, slow loops and what they promise."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from telling import assert_told, told
from torch import nn
from torch.testing import assert_close

from solutions.masks import decoder_mask
from solutions.numerics import log_sum_exp, mask_to_bias, masked_softmax

few = settings(derandomize=True, max_examples=40, deadline=None)
shapes = array_shapes(min_dims=1, max_dims=4, max_side=6)
single_and_double = pytest.mark.parametrize("dtype", [np.float32, np.float64])
every_precision = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
INF = np.inf


def as_torch(array):
    return torch.from_numpy(np.ascontiguousarray(array))


def random(*shape, dtype=np.float64, scale=1.0):
    return (np.random.default_rng(7).normal(size=shape) * scale).astype(dtype)


def some_mask(*shape, p=0.5):
    """With rows that see nothing, as a rule."""
    return np.random.default_rng(8).random(shape) < p


FINITE = st.floats(-1e4, 1e4, width=32)


@st.composite
def scores_and_mask(draw, finite=FINITE):
    shape = draw(shapes)
    return draw(arrays(np.float64, shape, elements=finite)), draw(arrays(bool, shape))


# mask_to_bias


@every_precision
def test_a_bias_is_zero_or_minus_infinity_and_of_the_type_that_is_asked_for(dtype):
    attn_mask = some_mask(2, 1, 3, 5)
    bias = mask_to_bias(attn_mask, dtype)
    assert bias.dtype == dtype
    np.testing.assert_array_equal(bias == 0, attn_mask)
    np.testing.assert_array_equal(bias == -INF, ~attn_mask)


def test_a_bias_is_what_torch_fills_into_a_causal_mask():
    expected = nn.Transformer.generate_square_subsequent_mask(7)
    actual = mask_to_bias(np.tri(7, dtype=bool), np.float32)
    assert_close(as_torch(actual), expected)


@single_and_double
def test_torchs_attention_reads_the_bias_as_it_reads_the_mask(dtype):
    query, key, value = (as_torch(random(2, 3, n, 5, dtype=dtype)) for n in (4, 6, 6))
    attn_mask = some_mask(2, 1, 4, 6)
    attn_mask[..., 2] = True
    bias = as_torch(mask_to_bias(attn_mask, dtype))
    assert_close(
        F.scaled_dot_product_attention(query, key, value, attn_mask=bias),
        F.scaled_dot_product_attention(query, key, value, as_torch(attn_mask)),
    )


@few
@given(case=scores_and_mask())
def test_a_softmax_of_scores_plus_bias_is_that_of_torch(case):
    scores, attn_mask = case
    biased = as_torch(scores + mask_to_bias(attn_mask, scores.dtype))
    sees = as_torch(attn_mask.any(axis=-1, keepdims=True))
    expected = torch.where(sees, F.softmax(biased, dim=-1), 0)
    assert_close(as_torch(masked_softmax(scores, attn_mask)), expected)


# masked_softmax


@single_and_double
def test_the_weights_are_those_of_torchs_attention_empty_rows_too(dtype):
    """With the identity as value, what attention gives is its weights."""
    query, key = random(2, 3, 5, 4, dtype=dtype), random(2, 3, 7, 4, dtype=dtype)
    attn_mask = some_mask(2, 1, 5, 7)
    attn_mask[1, 0, 3] = False
    value = torch.eye(7, dtype=as_torch(query).dtype).expand(2, 3, 7, 7)
    expected = F.scaled_dot_product_attention(
        as_torch(query), as_torch(key), value, attn_mask=as_torch(attn_mask)
    )
    assert (expected[1, :, 3] == 0).all()
    scores = query @ key.swapaxes(-1, -2) / 4**0.5
    actual = masked_softmax(scores.astype(dtype), attn_mask)
    assert_close(as_torch(actual), expected)


def test_the_weights_are_those_of_multihead_attention_but_for_its_nan():
    tokens = np.array([[0, 0, 3, 2, 1], [0, 4, 1, 2, 3]])  # 0: padding on the left
    attn_mask = decoder_mask(tokens, pad_id=0)
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, 1, batch_first=True, dtype=torch.float64)
    x = as_torch(random(2, 5, 6))
    with torch.no_grad():
        query, key, _ = F.linear(
            x, attention.in_proj_weight, attention.in_proj_bias
        ).chunk(3, dim=-1)
        _, expected = attention(x, x, x, attn_mask=as_torch(~attn_mask[:, 0]))
    scores = (query @ key.mT).numpy() / 6**0.5
    actual = masked_softmax(scores, attn_mask[:, 0])
    empty = ~attn_mask[:, 0].any(axis=-1)
    assert empty.sum() == 3
    assert expected[as_torch(empty)].isnan().all()
    assert (actual[empty] == 0).all()
    assert_close(as_torch(actual[~empty]), expected[as_torch(~empty)])


@few
@given(case=scores_and_mask())
def test_the_weights_are_the_slow_loop(case):
    scores, attn_mask = case
    actual = masked_softmax(scores, attn_mask)
    for row in np.ndindex(scores.shape[:-1]):
        visible = scores[row][attn_mask[row]].tolist()
        total = math.fsum(math.exp(s - max(visible)) for s in visible)
        for key, may in enumerate(attn_mask[row]):
            expected = math.exp(scores[row][key] - max(visible)) / total if may else 0.0
            assert actual[row][key] == pytest.approx(expected, rel=1e-7, abs=1e-300)


def test_in_half_precision_the_weights_are_those_of_torch_up_to_three_roundings():
    scores = np.round(4 * random(3, 5, 7, scale=3)) / 4  # exact, like their differences
    attn_mask = some_mask(3, 5, 7)
    attn_mask[..., 0] = True
    hidden = as_torch(scores).half().masked_fill(as_torch(~attn_mask), -INF)
    actual = masked_softmax(scores.astype(np.float16), attn_mask)
    assert actual.dtype == np.float16
    exact = F.softmax(hidden.double(), dim=-1)
    assert_close(as_torch(actual).double(), exact, rtol=3 * 2.0**-11, atol=2.0**-24)
    assert_close(
        F.softmax(hidden, dim=-1).double(), exact, rtol=2.0**-11, atol=2.0**-24
    )


@every_precision
def test_whatever_the_mask_there_is_no_nan_and_no_floating_point_error(dtype):
    scores = random(4, 5, 6, dtype=dtype, scale=3000)
    for p in (0, 0.2, 0.5, 1):
        with np.errstate(all="raise", under="ignore"):
            weights = masked_softmax(scores, some_mask(4, 5, 6, p=p))
        assert not np.isnan(weights).any()


@few
@given(case=scores_and_mask())
def test_a_row_sums_to_one_or_sees_nothing_and_is_zero(case):
    scores, attn_mask = case
    weights = masked_softmax(scores, attn_mask)
    sums = weights.sum(axis=-1)
    np.testing.assert_allclose(sums, attn_mask.any(axis=-1).astype(float))
    assert (weights[~attn_mask] == 0).all()
    assert (weights >= 0).all()


@few
@given(case=scores_and_mask(st.integers(-1000, 1000).map(float)), data=st.data())
def test_what_is_hidden_and_a_constant_added_to_a_row_change_nothing(case, data):
    scores, attn_mask = case
    others = data.draw(arrays(np.float64, scores.shape, elements=st.floats(-1e9, 1e9)))
    up = data.draw(st.integers(-1000, 1000))
    changed = np.where(attn_mask, scores + up, others)
    np.testing.assert_allclose(
        masked_softmax(changed, attn_mask), masked_softmax(scores, attn_mask)
    )


def test_nothing_that_stands_at_a_hidden_key_matters_not_even_a_nan():
    attn_mask = np.array([[True, False, True, False]])
    for hidden in (np.nan, INF, -INF, 1e300):
        weights = masked_softmax(np.array([[1.0, hidden, 1.0, hidden]]), attn_mask)
        np.testing.assert_array_equal(weights, [[0.5, 0, 0.5, 0]])


def test_a_nan_that_a_row_sees_stays_in_that_row():
    scores = np.array([[1.0, np.nan, 2.0], [1.0, 2.0, 3.0]])
    weights = masked_softmax(scores, np.ones((2, 3), bool))
    assert np.isnan(weights[0]).all()
    assert not np.isnan(weights[1]).any()


# log_sum_exp


@single_and_double
@pytest.mark.parametrize("axis", [-1, 0, 1, -2])
def test_log_sum_exp_is_torchs(dtype, axis):
    for scale in (1, 3000):
        x = random(3, 5, 4, dtype=dtype, scale=scale)
        x[0, 1], x[:, 2, 3] = -INF, -INF
        if scale == 1:
            x[1, 2, 0] = INF
        actual = log_sum_exp(x, axis)
        assert actual.dtype == dtype
        assert_close(as_torch(actual), torch.logsumexp(as_torch(x), dim=axis))


@few
@given(x=arrays(np.float64, shapes, elements=st.floats(-1e6, 1e6)))
def test_log_sum_exp_is_numpys_logaddexp_of_one_after_the_other(x):
    np.testing.assert_allclose(
        log_sum_exp(x), np.logaddexp.reduce(x, axis=-1), rtol=1e-12, atol=1e-12
    )


@few
@given(x=arrays(np.float64, shapes, elements=st.floats(-1e6, 1e6)))
def test_log_sum_exp_lies_between_the_largest_and_that_plus_the_logarithm_of_n(x):
    above = log_sum_exp(x) - x.max(axis=-1)
    assert (above >= 0).all()
    assert (above <= math.log(x.shape[-1]) + 1e-9).all()


def test_log_sum_exp_in_half_precision_is_that_of_torch():
    x = random(5, 6, dtype=np.float16, scale=20)
    actual = log_sum_exp(x)
    assert actual.dtype == np.float16
    assert_close(as_torch(actual), torch.logsumexp(as_torch(x), dim=-1))


@few
@given(case=scores_and_mask())
def test_the_softmax_is_exp_of_the_scores_minus_log_sum_exp(case):
    scores, attn_mask = case
    visible = np.where(attn_mask, scores, -INF)
    sees = attn_mask.any(axis=-1)
    logs = visible[sees] - log_sum_exp(visible)[sees][..., None]
    np.testing.assert_allclose(
        np.exp(logs), masked_softmax(scores, attn_mask)[sees], rtol=1e-6, atol=1e-12
    )


def test_no_argument_is_modified():
    scores, attn_mask = random(3, 4), some_mask(3, 4)
    copies = scores.copy(), attn_mask.copy()
    mask_to_bias(attn_mask, np.float32)
    masked_softmax(scores, attn_mask)
    log_sum_exp(scores)
    np.testing.assert_array_equal(scores, copies[0])
    np.testing.assert_array_equal(attn_mask, copies[1])


# What learners are told of mistakes that are in no list


TELLING = {
    "the type forgotten": (
        "def mask_to_bias(m, dtype): return np.where(m, 0.0, -np.inf)",
        "gives back an array of float64; asked for is an array of float16",
    ),
    "another low number": (
        "def mask_to_bias(m, dtype): return np.where(m, 0, -1e6).astype(dtype)",
        "A hidden key gets -1e+06. That is a number: it hides only beside scores that "
        "are higher by far",
    ),
    "the article's formula as written": (
        "def mask_to_bias(m, dtype): return (-1^9 * m).astype(dtype)",
        "At query 0, key 0 your function gives",
    ),
    "its polarity turned, and -10": (
        "def mask_to_bias(m, dtype): return (m * (-1^9)).astype(dtype)",
        "Hidden keys get -10. And: the answer is right for `attn_mask` inverted.",
    ),
    "a dtype called": (
        "def mask_to_bias(m, dtype): return np.where(m, dtype(0), dtype(-np.inf))",
        "A dtype is no function",
    ),
    "only for two axes": (
        """
        def mask_to_bias(m, dtype):
            bias = np.zeros(m.shape, dtype)
            for i, row in enumerate(m):
                bias[i] = [0 if bool(may) else -np.inf for may in row]
            return bias
        """,
        "Wrong for float16 and rows that see nothing; right for float64",
    ),
    "NaN removed afterwards by where": (
        """
        def masked_softmax(s, m):
            x = np.where(m, s, -np.inf)
            exp = np.exp(x - x.max(-1, keepdims=True))
            weights = exp / exp.sum(-1, keepdims=True)
            return np.where(m.any(-1, keepdims=True), weights, 0)
        """,
        "What it gives back is right, but NumPy warns on the way: invalid value "
        "encountered in subtract",
    ),
    "exp without the largest, and a guard": (
        """
        def masked_softmax(s, m):
            exp = np.where(m, np.exp(s), 0)
            total = exp.sum(-1, keepdims=True)
            return exp / np.where(total == 0, 1, total)
        """,
        "And NumPy warns on the way: overflow encountered in exp",
    ),
    "only a mask that hides all is thought of": (
        """
        def masked_softmax(s, m):
            if not m.any():
                return np.zeros_like(s)
            x = np.where(m, s, -np.inf)
            exp = np.exp(x - x.max(-1, keepdims=True))
            return exp / exp.sum(-1, keepdims=True)
        """,
        "right for one sequence without a batch, a mask for all heads and queries, one "
        "mask for a whole batch, a mask that hides everything, large scores",
    ),
    "inverted, and no thought for empty rows": (
        """
        def masked_softmax(s, m):
            x = np.where(m, -np.inf, s)
            exp = np.exp(x - x.max(-1, keepdims=True))
            return exp / exp.sum(-1, keepdims=True)
        """,
        "Two things at once would explain it. A row that sees nothing is NaN; it "
        "should be all zeros. And: the answer is right for `attn_mask` inverted.",
    ),
    "the first axis": (
        """
        def masked_softmax(s, m):
            x = np.where(m, s, -1e30 if s.dtype != np.float16 else -6e4)
            exp = np.exp(x - x.max(0)) * m
            return exp / np.maximum(exp.sum(0), 1)
        """,
        "The weights sum to 1 along the query axis.",
    ),
    "an empty row that looks at key 0": (
        """
        def masked_softmax(s, m):
            m = np.broadcast_to(m, s.shape).copy()
            m[..., 0] |= ~m.any(-1)
            x = np.where(m, s, -np.inf)
            exp = np.exp(x - x.max(-1, keepdims=True))
            return exp / exp.sum(-1, keepdims=True)
        """,
        "The mask hides every key from batch row 0, head 0, query 0, and still its "
        "weights sum to 1; all of them should be 0.",
    ),
    "not divided by the sum": (
        """
        def masked_softmax(s, m):
            x = np.where(m, s, -np.inf)
            top = np.where(m.any(-1, keepdims=True), x.max(-1, keepdims=True), 0)
            return np.exp(x - top)
        """,
        "the keys that it sees share out 1.",
    ),
    "a little added before the logarithm": (
        """
        def log_sum_exp(x, axis=-1):
            top = x.max(axis, keepdims=True)
            top = np.where(np.isinf(top), 0, top)
            return np.log(np.exp(x - top).sum(axis) + 1e-9) + top.squeeze(axis)
        """,
        "gives -20.7233, not -inf; all numbers there are -inf, so the sum is 0",
    ),
    "clipped": (
        """
        def log_sum_exp(x, axis=-1):
            return np.log(np.exp(np.clip(x, -700, 700)).sum(axis))
        """,
        "numbers is 3001: the answer cannot be less",
    ),
    "the smallest in place of the largest": (
        """
        def log_sum_exp(x, axis=-1):
            low = x.min(axis, keepdims=True)
            low = np.where(np.isinf(low), 0, low)
            return np.log(np.exp(x - low).sum(axis)) + low.squeeze(axis)
        """,
        "nor more than that plus log(8) = 2.079",
    ),
    "always the last axis": (
        """
        def log_sum_exp(x, axis=-1):
            top = x.max(-1, keepdims=True)
            top = np.where(np.isinf(top), 0, top)
            return np.log(np.exp(x - top).sum(-1)) + top.squeeze(-1)
        """,
        "`axis` is not used: the answer is always that for -1.",
    ),
    "a library's": (
        "def log_sum_exp(x, axis=-1): return np.logaddexp.reduce(x, axis)",
        "uses `np.logaddexp`",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source), sentence)
