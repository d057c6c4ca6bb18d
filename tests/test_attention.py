"""Scaled dot-product attention against PyTorch, autograd, slow loops and its laws."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from telling import assert_told, told
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close

from solutions.attention import (
    attention_scores,
    scaled_dot_product_attention,
    softmax,
    softmax_gradient,
)

few = settings(derandomize=True, max_examples=40, deadline=None)
DTYPES = [np.float32, np.float64]
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
any_float = st.floats(-1e4, 1e4, allow_nan=False, width=32)
some_arrays = arrays(
    np.float64, st.lists(st.integers(1, 5), min_size=1, max_size=4), elements=any_float
)
# (leading axes, L, S, K, Kv): all different, odd ones too, and one that is square
SIZES = [((), 3, 5, 7, 2), ((2,), 5, 3, 1, 4), ((2, 3), 4, 7, 5, 6), ((3,), 1, 9, 4, 5),
         ((2, 2), 4, 4, 4, 4)]  # fmt: skip
each_size = pytest.mark.parametrize("sizes", SIZES)


def torch_of(*some):
    return [torch.from_numpy(np.asarray(x)) for x in some]


def assert_same(actual, expected):
    """Within torch.testing's tolerances, and of the same dtype and shape."""
    assert_close(*torch_of(actual, expected))


def inputs(sizes, dtype, seed=0):
    leading, q_len, k_len, d_k, d_v = sizes
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(*leading, q_len, d_k)).astype(dtype),
        rng.normal(size=(*leading, k_len, d_k)).astype(dtype),
        rng.normal(size=(*leading, k_len, d_v)).astype(dtype),
    )


def masks(sizes, seed=0):
    """One of every shape that broadcasts; every row has a True."""
    leading, q_len, k_len, _, _ = sizes
    rng = np.random.default_rng(seed)
    for shape in ((q_len, k_len), (k_len,), (*leading, q_len, k_len),
                  (*leading[:1], *(1 for _ in leading[1:]), 1, k_len)):  # fmt: skip
        attn_mask = rng.random(shape) < 0.5
        attn_mask[..., rng.integers(k_len)] = True
        yield attn_mask


def torchs_attention(query, key, value, attn_mask=None):
    """The path of PyTorch that is written out in full, not a fused kernel."""
    mask = None if attn_mask is None else torch.from_numpy(attn_mask)
    with sdpa_kernel(SDPBackend.MATH):
        output = F.scaled_dot_product_attention(
            *torch_of(query, key, value), attn_mask=mask
        )
    return output.numpy()


def slow_attention(query, key, value, attn_mask=None):
    """One query at a time, one key at a time, in exactly rounded sums."""
    leading = query.shape[:-2]
    shape = (*query.shape[:-1], key.shape[-2])
    seen = np.broadcast_to(True if attn_mask is None else attn_mask, shape)
    output = np.zeros((*query.shape[:-1], value.shape[-1]))
    for index in np.ndindex(*leading):
        for i in range(query.shape[-2]):
            exp = {}
            for j in range(key.shape[-2]):
                if seen[(*index, i, j)]:
                    pairs = zip(query[(*index, i)], key[(*index, j)], strict=True)
                    dot = math.fsum(float(a) * float(b) for a, b in pairs)
                    exp[j] = math.exp(dot / math.sqrt(query.shape[-1]))
            for column in range(value.shape[-1]):
                terms = (exp[j] * float(value[(*index, j, column)]) for j in exp)
                mean = math.fsum(terms) / math.fsum(exp.values())
                output[(*index, i, column)] = mean
    return output


# softmax


@few
@given(x=some_arrays, data=st.data())
def test_softmax_is_pytorchs_along_every_axis(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    for dtype in DTYPES:
        typed = x.astype(dtype)
        expected = F.softmax(torch.from_numpy(typed), dim=axis)
        assert_same(softmax(typed, axis), expected)


@few
@given(row=st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6))
def test_softmax_is_the_slow_loop(row):
    exp = [math.exp(number) for number in row]
    expected = np.array([e / math.fsum(exp) for e in exp])
    assert_same(softmax(np.array(row)), expected)


@few
@given(x=some_arrays)
def test_the_last_axis_is_the_one_unless_told_otherwise(x):
    assert_same(softmax(x), softmax(x, x.ndim - 1))


@few
@given(x=some_arrays, data=st.data())
def test_weights_are_not_negative_and_sum_to_one(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    weights = softmax(x, axis)
    assert (weights >= 0).all()
    assert_same(weights.sum(axis=axis), np.ones_like(x.sum(axis=axis)))


@few
@given(row=arrays(np.int64, 5, elements=st.integers(-50, 50)), shift=st.integers())
def test_adding_one_number_to_all_changes_no_weight(row, shift):
    shift = shift % 2**40  # so that the sums are exact
    moved, row = (row + shift).astype(float), row.astype(float)
    np.testing.assert_array_equal(softmax(moved), softmax(row))


@each_dtype
def test_nothing_overflows_and_minus_infinity_gets_nothing(dtype):
    largest = np.finfo(dtype).max
    rows = [[largest, largest, 0], [-1e5, -1e5, -1e5], [-np.inf, 3, -np.inf]]
    expected = [[0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3], [0, 1, 0]]
    with np.errstate(over="raise", invalid="raise"):
        weights = softmax(np.array(rows, dtype))
    assert_same(weights, np.array(expected, dtype))


# attention_scores


@each_size
@each_dtype
def test_scores_are_the_slow_loop(sizes, dtype):
    query, key, _ = inputs(sizes, dtype)
    expected = np.zeros((*query.shape[:-1], key.shape[-2]))
    for *index, i, j in np.ndindex(*expected.shape):
        pairs = zip(query[(*index, i)], key[(*index, j)], strict=True)
        dot = math.fsum(float(a) * float(b) for a, b in pairs)
        expected[(*index, i, j)] = dot / math.sqrt(query.shape[-1])
    assert_same(attention_scores(query, key), expected.astype(dtype))


@each_size
def test_scores_are_what_pytorchs_softmax_would_need(sizes):
    """With the identity as values PyTorch gives its weights; ours are the same."""
    query, key, _ = inputs(sizes, np.float64)
    k_len = key.shape[-2]
    identity = np.broadcast_to(np.eye(k_len), (*key.shape[:-2], k_len, k_len)).copy()
    expected = torchs_attention(query, key, identity)
    weights = F.softmax(torch.from_numpy(attention_scores(query, key)), dim=-1)
    assert_same(weights, expected)


@pytest.mark.parametrize("d_k", [1, 4, 64, 400])
def test_scores_of_standard_normal_vectors_have_variance_one(d_k):
    rng = np.random.default_rng(d_k)
    query, key = rng.normal(size=(2, 500, 1, d_k))
    scores = attention_scores(query[:, 0], key[:, 0])  # 250 000 of them
    assert abs(scores.mean()) < 0.02
    assert 0.85 < scores.var() < 1.15


# scaled_dot_product_attention


@each_size
@each_dtype
def test_attention_is_pytorchs(sizes, dtype):
    query, key, value = inputs(sizes, dtype)
    assert_same(
        scaled_dot_product_attention(query, key, value),
        torchs_attention(query, key, value),
    )


@each_size
@each_dtype
def test_attention_with_a_mask_is_pytorchs(sizes, dtype):
    query, key, value = inputs(sizes, dtype)
    for attn_mask in masks(sizes):
        assert_same(
            scaled_dot_product_attention(query, key, value, attn_mask),
            torchs_attention(query, key, value, attn_mask),
        )


@each_size
def test_attention_and_pytorchs_too_is_the_slow_loop(sizes):
    query, key, value = inputs(sizes, np.float64)
    for attn_mask in (None, *masks(sizes)):
        expected = slow_attention(query, key, value, attn_mask)
        actual = scaled_dot_product_attention(query, key, value, attn_mask)
        assert_same(actual, expected)
        assert_same(torchs_attention(query, key, value, attn_mask), expected)


@each_size
def test_a_mask_that_hides_nothing_is_no_mask(sizes):
    query, key, value = inputs(sizes, np.float64)
    everything = np.ones((query.shape[-2], key.shape[-2]), dtype=bool)
    np.testing.assert_array_equal(
        scaled_dot_product_attention(query, key, value, everything),
        scaled_dot_product_attention(query, key, value),
    )


def test_what_is_hidden_can_hold_anything():
    query, key, value = inputs(((2,), 3, 6, 5, 4), np.float64)
    attn_mask = np.array([True, False, True, True, False, True])
    expected = scaled_dot_product_attention(query, key, value, attn_mask)
    key[:, ~attn_mask], value[:, ~attn_mask] = 1e6, -1e30
    actual = scaled_dot_product_attention(query, key, value, attn_mask)
    np.testing.assert_array_equal(actual, expected)


@few
@given(order=st.permutations(range(6)))
def test_the_order_of_the_keys_does_not_matter(order):
    query, key, value = inputs(((2,), 3, 6, 5, 4), np.float64)
    assert_same(
        scaled_dot_product_attention(query, key[:, order], value[:, order]),
        scaled_dot_product_attention(query, key, value),
    )


@each_size
def test_an_output_lies_between_the_values(sizes):
    query, key, value = inputs(sizes, np.float64)
    output = scaled_dot_product_attention(query, key, value)
    assert (output <= value.max(axis=-2, keepdims=True) + 1e-12).all()
    assert (output >= value.min(axis=-2, keepdims=True) - 1e-12).all()


def test_a_query_that_sees_one_key_gets_its_value():
    query, key, value = inputs(((2,), 6, 6, 5, 4), np.float64)
    own = np.eye(6, dtype=bool)
    np.testing.assert_array_equal(
        scaled_dot_product_attention(query, key, value, own), value
    )


# softmax_gradient


class OurSoftmax(torch.autograd.Function):
    """Forward and backward by our functions, for autograd to check."""

    @staticmethod
    def forward(ctx, scores):
        weights = torch.from_numpy(softmax(scores.detach().numpy()))
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx, grad):
        (weights,) = ctx.saved_tensors
        return torch.from_numpy(softmax_gradient(weights.numpy(), grad.numpy()))


@pytest.mark.parametrize(
    "shape", [(5,), (3, 4), (2, 3, 5), (4, 4), (2, 1), (3, 2, 2, 7)]
)
def test_the_gradient_passes_pytorchs_check_by_finite_differences(shape):
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=shape))
    assert torch.autograd.gradcheck(OurSoftmax.apply, (scores.requires_grad_(),))


@few
@given(data=st.data())
def test_the_gradient_is_autograds(data):
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    scores, grad = rng.normal(size=(2, *shape))
    for dtype in DTYPES:
        x = torch.from_numpy(scores.astype(dtype)).requires_grad_()
        weights = F.softmax(x, dim=-1)
        (expected,) = torch.autograd.grad(weights, x, *torch_of(grad.astype(dtype)))
        actual = softmax_gradient(weights.detach().numpy(), grad.astype(dtype))
        assert_same(actual, expected)


def test_the_gradient_is_the_jacobian_written_out():
    rng = np.random.default_rng(0)
    weights, grad = softmax(rng.normal(size=6)), rng.normal(size=6)
    jacobian = np.diag(weights) - np.outer(weights, weights)
    np.testing.assert_array_equal(jacobian, jacobian.T)
    assert_same(softmax_gradient(weights, grad), jacobian @ grad)


@few
@given(scores=arrays(np.float64, (3, 5), elements=st.floats(-20, 20)))
def test_the_gradients_of_a_row_sum_to_zero(scores):
    grad = np.random.default_rng(0).normal(size=(3, 5))
    totals = softmax_gradient(softmax(scores), grad).sum(axis=-1)
    np.testing.assert_allclose(totals, 0, atol=1e-12)


def test_through_attention_the_gradients_are_autograds():
    """The whole chain by hand: of queries, keys and values."""
    sizes = ((2, 3), 4, 7, 5, 6)
    query, key, value = inputs(sizes, np.float64)
    tensors = [x.requires_grad_() for x in torch_of(query, key, value)]
    attn_mask = next(masks(sizes))
    output = F.scaled_dot_product_attention(
        *tensors, attn_mask=torch.from_numpy(attn_mask)
    )
    grad = np.random.default_rng(1).normal(size=output.shape)
    expected = torch.autograd.grad(output, tensors, *torch_of(grad))

    scores = np.where(attn_mask, attention_scores(query, key), -np.inf)
    weights = softmax(scores)
    of_scores = softmax_gradient(weights, grad @ value.swapaxes(-1, -2))
    scale = math.sqrt(query.shape[-1])
    actual = (
        of_scores @ key / scale,
        of_scores.swapaxes(-1, -2) @ query / scale,
        weights.swapaxes(-1, -2) @ grad,
    )
    for ours, theirs in zip(actual, expected, strict=True):
        assert_same(ours, theirs)


def test_no_function_changes_its_arguments():
    sizes = ((2,), 3, 6, 5, 4)
    query, key, value = inputs(sizes, np.float64)
    attn_mask = next(masks(sizes))
    scores = query @ key.swapaxes(-1, -2)
    given_arrays = [query, key, value, attn_mask, scores]
    before = [x.copy() for x in given_arrays]
    softmax(scores)
    attention_scores(query, key)
    scaled_dot_product_attention(query, key, value, attn_mask)
    softmax_gradient(scores, scores)
    for x, copy in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(x, copy)


# What learners are told of mistakes that are in no list


EARLIER = """
        def softmax(x, axis=-1):
            exp = np.exp(x - x.max(axis=axis, keepdims=True))
            return exp / exp.sum(axis=axis, keepdims=True)
        def attention_scores(query, key):
            return query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
        def scaled_dot_product_attention(query, key, value, attn_mask=None):"""

TELLING = {
    "softmax: numbers cut off so that nothing overflows": (
        """
        def softmax(x, axis=-1):
            exp = np.exp(np.clip(x, -500, 500))
            return exp / exp.sum(axis=axis, keepdims=True)
        """,
        "The weight of 1000 is 1 times that of 1001; e to the power of their "
        "difference, -1, is 0.3679. Wrong for large numbers",
    ),
    "softmax: NaN swept under the carpet": (
        """
        def softmax(x, axis=-1):
            exp = np.exp(x)
            return np.nan_to_num(exp / exp.sum(axis=axis, keepdims=True))
        """,
        "The weights at [0, :] sum to 0, not to 1. Wrong for large numbers",
    ),
    "softmax: base 10": (
        """
        def softmax(x, axis=-1):
            powers = 10.0 ** (x - x.max(axis=axis, keepdims=True))
            return powers / powers.sum(axis=axis, keepdims=True)
        """,
        "the weight of -1.75 is 1.778 times that of -2; e to the power of their "
        "difference, 0.25, is 1.284",
    ),
    "softmax: divided by the mean": (
        """
        def softmax(x, axis=-1):
            exp = np.exp(x - x.max(axis=axis, keepdims=True))
            return exp / exp.mean(axis=axis, keepdims=True)
        """,
        "The weights at [0, 0, :] sum to 5, not to 1.",
    ),
    "softmax: rows only, and the largest of all": (
        """
        def softmax(x, axis=-1):
            exp = np.exp(x - x.max())
            return exp / exp.sum(axis=-1, keepdims=True)
        """,
        "Two things at once would explain it. The largest number of the whole array "
        "is subtracted",
    ),
    "softmax: by a library": (
        """
        import torch
        def softmax(x, axis=-1):
            return torch.softmax(torch.from_numpy(x), dim=axis).numpy()
        """,
        "Your function uses `torch.softmax` at",
    ),
    "scores: a power without brackets": (
        """
        def attention_scores(query, key):
            return query @ key.swapaxes(-1, -2) / query.shape[-1] ** 1 / 2
        """,
        "Every score is its dot product times 0.1; for K = 5 it should be divided by "
        "the square root of K, that is times 0.4472.",
    ),
    "scores: the scale of one model": (
        """
        def attention_scores(query, key):
            return query @ key.swapaxes(-1, -2) / 8
        """,
        "Every score is its dot product times 0.125; for K = 5",
    ),
    "scores: two mistakes at once": (
        """
        def attention_scores(query, key):
            return key @ query.swapaxes(-1, -2)
        """,
        "Two things at once would explain it. The scores are not scaled. And: `query` "
        "and `key` have changed places.",
    ),
    "scores: scaled twice, once by the wrong size": (
        """
        def attention_scores(query, key):
            size = query.shape[-1] * query.shape[-2]
            return query @ key.swapaxes(-1, -2) / math.sqrt(size)
        """,
        "The answer is the right one times 1 / the square root of L.",
    ),
    "scores: queries meet themselves": (
        """
        def attention_scores(query, key):
            return query @ query.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
        """,
        "`query` is used where `key` belongs.",
    ),
    "attention: a mask of queries": (
        f"""{EARLIER}
            scores = attention_scores(query, key)
            if attn_mask is not None:
                scores = np.where(attn_mask.swapaxes(-1, -2), scores, -np.inf)
            return softmax(scores) @ value
        """,
        "The answer is right for `attn_mask` with its last two axes swapped.",
    ),
    "attention: hidden scores are 1": (
        f"""{EARLIER}
            scores = attention_scores(query, key)
            if attn_mask is not None:
                scores = np.where(attn_mask, scores, 1)
            return softmax(scores) @ value
        """,
        "the mask hides that key. Wrong for a mask for all",
    ),
    "attention: two mistakes at once": (
        f"""{EARLIER}
            scores = attention_scores(query, key)
            if attn_mask is not None:
                scores = np.where(attn_mask, -np.inf, scores)
            return softmax(scores, axis=-2) @ value
        """,
        "Two things at once would explain it. The softmax runs over the queries: the "
        "weights that one key gets sum to 1. And: the mask is read the other way round",
    ),
    "attention: the scale of the values": (
        f"""{EARLIER}
            scores = query @ key.swapaxes(-1, -2) / math.sqrt(value.shape[-1])
            if attn_mask is not None:
                scores = np.where(attn_mask, scores, -np.inf)
            return softmax(scores) @ value
        """,
        "The weights are the softmax of the dot products times 0.378; for K = 5 it "
        "should be times 0.4472.",
    ),
    "attention: a residual on top": (
        f"""{EARLIER}
            scores = attention_scores(query, key)
            if attn_mask is not None:
                scores = np.where(attn_mask, scores, -np.inf)
            output = softmax(scores) @ value
            return output + query if output.shape == query.shape else output
        """,
        "more than in any value that the query sees: they go up to",
    ),
    "attention: dropout": (
        f"""{EARLIER}
            scores = attention_scores(query, key)
            if attn_mask is not None:
                scores = np.where(attn_mask, scores, -np.inf)
            weights = softmax(scores)
            return weights * (np.random.random(weights.shape) < 0.9) / 0.9 @ value
        """,
        "The same call, made twice, gives two different answers.",
    ),
    "attention: a method of tensors": (
        f"""{EARLIER}
            scores = attention_scores(query, key)
            if attn_mask is not None:
                scores = scores.masked_fill(~attn_mask, -np.inf)
            return softmax(scores) @ value
        """,
        "That is a method of PyTorch's tensors",
    ),
    "gradient: the largest subtracted": (
        """
        def softmax_gradient(weights, grad):
            return weights * (grad - grad.max(axis=-1, keepdims=True))
        """,
        "Query 0: the gradients of all keys sum to -2.586. They have to sum to 0",
    ),
    "gradient: brackets forgotten": (
        """
        def softmax_gradient(weights, grad):
            return weights * grad - (weights * grad).sum(axis=-1, keepdims=True)
        """,
        "At query 0, key 0 the gradient is 1.586, but the weight there is 0",
    ),
    "gradient: the other way": (
        """
        def softmax_gradient(weights, grad):
            return weights * ((weights * grad).sum(axis=-1, keepdims=True) - grad)
        """,
        "The answer is the right one times -1.",
    ),
    "gradient: the scale comes in": (
        """
        def softmax_gradient(weights, grad):
            mean = (weights * grad).sum(axis=-1, keepdims=True)
            return weights * (grad - mean) / math.sqrt(weights.shape[-1])
        """,
        "The answer is the right one times 1 / the square root of S.",
    ),
    "gradient: the Jacobian itself": (
        """
        def softmax_gradient(weights, grad):
            outer = weights[..., :, None] * weights[..., None, :]
            return np.eye(weights.shape[-1]) * weights[..., None] - outer
        """,
        "The shape of your answer is (7, 5, 5); asked for is (7, 5).",
    ),
    "gradient: in place": (
        """
        def softmax_gradient(weights, grad):
            grad -= (weights * grad).sum(axis=-1, keepdims=True)
            return weights * grad
        """,
        "Your function changes `grad`, which belongs to its caller. What it gives back "
        "is right.",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    verdict = told(source, math=math)
    assert verdict.first == ()
    assert_told(verdict, sentence)


RIGHT = {
    "softmax by a matrix product": """
        def softmax(x, axis=-1):
            last = np.swapaxes(x, axis, -1)
            exp = np.exp(last - np.amax(last, axis=-1, keepdims=True))
            totals = exp @ np.ones((x.shape[axis], 1)) if x.ndim > 1 else exp.sum()
            return np.swapaxes(exp / totals, axis, -1)
        """,
    "softmax in place, on a copy": """
        def softmax(x, axis=-1):
            weights = np.array(x, dtype=float)
            weights -= np.max(weights, axis=axis, keepdims=True)
            np.exp(weights, out=weights)
            weights /= weights.sum(axis=axis, keepdims=True)
            return weights
        """,
    "softmax of another, in a notebook that also uses PyTorch": """
        import torch
        def reference(x):
            return torch.softmax(torch.from_numpy(x), -1)
        def shifted_exp(x, axis):
            return np.exp(x - np.expand_dims(x.max(axis), axis))
        def softmax(x, axis=-1):
            exp = shifted_exp(x, axis)
            return np.divide(exp, np.expand_dims(exp.sum(axis), axis))
        """,
    "scores by tensordot, matrix by matrix": """
        def attention_scores(query, key):
            if query.ndim == 2:
                scale = 1 / np.sqrt(query.shape[1])
                return np.tensordot(query, key, axes=(1, 1)) * scale
            pairs = zip(query, key)
            return np.stack([attention_scores(q, k) for q, k in pairs])
        """,
    "attention by multiplying exponentials with the mask": f"""{EARLIER}
            scores = attention_scores(query, key)
            seen = np.True_ if attn_mask is None else attn_mask
            largest = np.where(seen, scores, -np.inf).max(axis=-1, keepdims=True)
            exp = np.exp(np.minimum(scores - largest, 0)) * seen
            return exp @ value / exp.sum(axis=-1, keepdims=True)
        """,
    "attention by a bias": f"""{EARLIER}
            bias = 0.0
            if attn_mask is not None:
                bias = np.zeros(attn_mask.shape)
                bias[~attn_mask] = -np.inf
            return np.matmul(softmax(bias + attention_scores(query, key)), value)
        """,
    "gradient by swapped axes": """
        def softmax_gradient(weights, grad):
            w, g = np.moveaxis(weights, -1, 0), np.moveaxis(grad, -1, 0)
            return np.moveaxis(w * (g - sum(w * g)), 0, -1)
        """,
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_answer_in_another_style_is_accepted(case):
    verdict = told(RIGHT[case], math=math)
    assert verdict.points == verdict.max_points, verdict.message
