"""Online softmax and attention in blocks against PyTorch, slow loops and its laws."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from telling import assert_quick, assert_told, told
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.testing import assert_close

from solutions.flash import flash_attention, online_softmax

few = settings(derandomize=True, max_examples=40, deadline=None)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
each_block = pytest.mark.parametrize("block", [1, 2, 3, 7, 20])
score = st.one_of(st.floats(-1e4, 1e4, width=32), st.just(-math.inf))
some_blocks = st.lists(st.lists(score, min_size=1, max_size=5), min_size=1, max_size=5)


def inputs(dtype=np.float64, leading=(2, 3), q_len=5, k_len=7, scale=1.0):
    rng = np.random.default_rng(0)
    shapes = ((q_len, 4), (k_len, 4), (k_len, 6))
    return [
        (scale * rng.normal(size=(*leading, *shape))).astype(dtype) for shape in shapes
    ]


def some_mask(*shape):
    """With rows that see nothing, and rows that see nothing at first."""
    attn_mask = np.random.default_rng(1).random(shape) < 0.6
    attn_mask[..., 0, :] = False
    attn_mask[..., -1, : shape[-1] // 2] = False
    return attn_mask


def torchs(query, key, value, attn_mask=None, backend=SDPBackend.MATH):
    mask = None if attn_mask is None else torch.from_numpy(attn_mask)
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(
            *map(torch.from_numpy, (query, key, value)), attn_mask=mask
        )


@few
@given(blocks=some_blocks)
def test_both_numbers_are_those_of_all_scores_at_once(blocks):
    scores = [number for block in blocks for number in block]
    largest, total = online_softmax(iter([np.array(block) for block in blocks]))
    assert largest == max(scores)
    expected = math.fsum(math.exp(s - largest) for s in scores if s > -math.inf)
    assert total == pytest.approx(expected, rel=1e-12)


@few
@given(blocks=some_blocks)
def test_the_two_numbers_make_torchs_logsumexp(blocks):
    largest, total = online_softmax([np.array(block) for block in blocks])
    log = largest + math.log(total) if total else -math.inf
    scores = torch.tensor([s for block in blocks for s in block], dtype=torch.float64)
    assert log == pytest.approx(torch.logsumexp(scores, 0).item())


@each_dtype
@each_block
def test_without_a_mask_it_is_torchs_math_path(dtype, block):
    q, k, v = inputs(dtype)
    actual = flash_attention(q, k, v, block=block)
    assert_close(torch.from_numpy(actual), torchs(q, k, v))


@each_dtype
@each_block
@pytest.mark.parametrize(
    "shape", [(5, 7), (2, 1, 5, 7), (3, 5, 7), (1, 7), (5, 1), (2, 1, 1, 7)]
)
def test_with_a_mask_that_broadcasts_it_is_torchs_math_path(dtype, block, shape):
    q, k, v = inputs(dtype)
    attn_mask = some_mask(*shape)
    actual = flash_attention(q, k, v, attn_mask, block=block)
    assert_close(torch.from_numpy(actual), torchs(q, k, v, attn_mask))


@each_dtype
@each_block
def test_it_is_torchs_own_flash_attention_on_the_cpu(dtype, block):
    q, k, _ = inputs(dtype)
    v = k[..., ::-1].copy()  # the fused path wants values as wide as keys
    expected = torchs(q, k, v, backend=SDPBackend.FLASH_ATTENTION)
    assert_close(torch.from_numpy(flash_attention(q, k, v, block=block)), expected)


@each_block
def test_large_scores_neither_overflow_nor_vanish(block):
    q, k, v = inputs(scale=40)
    for sign in (1, -1):
        with np.errstate(over="raise", invalid="raise"):
            actual = flash_attention(sign * q, k, v, block=block)
        assert_close(torch.from_numpy(actual), torchs(sign * q, k, v))


def test_rows_that_see_nothing_are_zero_and_none_is_nan():
    q, k, v = inputs()
    for block in (1, 3, 9):
        with np.errstate(all="raise", under="ignore"):
            output = flash_attention(q, k, v, some_mask(5, 7), block=block)
        assert (output[:, :, 0] == 0).all()
        assert not np.isnan(output).any()


@few
@given(cut=st.integers(1, 6))
def test_two_partial_results_join_to_the_whole(cut):
    q, k, v = inputs(leading=())
    scores = q @ k.T / 2
    parts = [slice(None, cut), slice(cut, None)]
    logs = [torch.logsumexp(torch.from_numpy(scores[:, p]), -1).numpy() for p in parts]
    shares = np.exp(np.stack(logs) - np.logaddexp(*logs))[..., None]
    outputs = np.stack([flash_attention(q, k[p], v[p], block=2) for p in parts])
    whole = flash_attention(q, k, v, block=3)
    np.testing.assert_allclose((shares * outputs).sum(axis=0), whole)


# What learners are told of mistakes that are in no list


class Forward(torch.autograd.Function):
    """Our output, with the gradient of PyTorch's attention."""

    @staticmethod
    def forward(ctx, query, key, value):
        ctx.save_for_backward(query, key, value)
        arrays = (x.detach().numpy() for x in (query, key, value))
        return torch.from_numpy(flash_attention(*arrays, block=2))

    @staticmethod
    def backward(ctx, gradient):
        with torch.enable_grad():
            inputs = [x.detach().requires_grad_() for x in ctx.saved_tensors]
            output = F.scaled_dot_product_attention(*inputs)
        return torch.autograd.grad(output, inputs, gradient)


def test_small_changes_move_it_as_the_gradient_of_pytorchs_attention_says():
    generator = torch.Generator().manual_seed(16)
    inputs = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 6))
    ]
    assert torch.autograd.gradcheck(Forward.apply, inputs)


START = """
def flash_attention(query, key, value, attn_mask=None, *, block):
    k_len = key.shape[-2]
    scale = 1 / np.sqrt(query.shape[-1])
    m = np.full((*query.shape[:-1], 1), -np.inf)
    l = np.zeros_like(m)
    o = np.zeros((*query.shape[:-1], value.shape[-1]))
    mask = np.ones((1, k_len), bool) if attn_mask is None else attn_mask
    mask = np.broadcast_to(mask, (*mask.shape[:-1], k_len))
    for start in range(0, k_len, block):
        part = slice(start, start + block)
        s = query @ key[..., part, :].swapaxes(-1, -2) * scale
        s = np.where(mask[..., part], s, -np.inf)
        new = np.maximum(m, s.max(-1, keepdims=True))
        shift = np.where(new == -np.inf, 0, new)
        p, a = np.exp(s - shift), np.exp(m - shift)
"""
STEP = """
        l = l * a + p.sum(-1, keepdims=True)
        o = o * a + p @ value[..., part, :]
        m = new
"""
END = """
    return o / np.where(l == 0, 1, l)
"""
ONLINE = """
def online_softmax(blocks):
    largest, total = -np.inf, 0.0
    for block in blocks:
        new = max(largest, block.max())
        shift = new if new > -np.inf else 0
"""
TELLING = {
    "a single number": (
        "def online_softmax(blocks): return sum(np.exp(b).sum() for b in blocks)",
        "asked for is a tuple of 2: largest, sum",
    ),
    "blocks as a list": (
        "def online_softmax(blocks): return max(b.max() for b in blocks[:2]), 1.0",
        "not subscriptable",
    ),
    "a mean for a sum": (
        ONLINE + "        total = total * np.exp(largest - shift)\n"
        "        total += np.exp(block - shift).mean()\n"
        "        largest = new\n"
        "    return largest, total",
        "The largest score alone adds exp(0) = 1, so it cannot be less than 1",
    ),
    "a sum that counts the largest twice": (
        ONLINE + "        total = total * np.exp(largest - shift) + 1\n"
        "        total += np.exp(block - shift).sum()\n"
        "        largest = new\n"
        "    return largest, total",
        "In `sum`: Your function gives",
    ),
    "the smallest": (
        ONLINE.replace("max(largest, block.max())", "min(-largest, block.min())")
        + "        total += 1.0\n        largest = new\n    return largest, total",
        "your largest is",
    ),
    "a sum in half precision": (
        ONLINE + "        total = total * np.exp(largest - shift)\n"
        "        total = np.float16(total + np.exp(block - shift).sum())\n"
        "        largest = new\n"
        "    return largest, total",
        "In `sum`: Your number is off by 2.8e-04: close, but not equal. Wrong for",
    ),
    "a largest that begins at 0 and a sum that begins at 1": (
        ONLINE.replace("-np.inf, 0.0", "0.0, 1.0")
        + "        total = total * np.exp(largest - new) + np.exp(block - new).sum()\n"
        "        largest = new\n"
        "    return largest, total",
        "Two things at once would explain it. In `sum`: The search for the largest "
        "begins at 0",
    ),
    "a walk that ends at a hidden block": (
        ONLINE + "        if block.max() == -np.inf:\n"
        "            break\n"
        "        total = total * np.exp(largest - new) + np.exp(block - new).sum()\n"
        "        largest = new\n"
        "    return largest, total",
        "your largest is -inf. Wrong for first blocks that are all -inf",
    ),
    "blocks that overlap": (
        START.replace("start + block)", "start + block + 1)") + STEP + END,
        "counts 2 times as much beside key",
    ),
    "a last block that is moved back to be full": (
        START.replace("slice(start,", "slice(max(min(start, k_len - block), 0),")
        + STEP
        + END,
        "key 5 counts 2 times as much beside key 4 as it should",
    ),
    "the width of the values as scale": (
        START.replace("query.shape[-1])", "value.shape[-1])") + STEP + END,
        "The weights are the softmax of the dot products times 0.3536; for K = 7 it "
        "should be times 0.378.",
    ),
    "a mask that is transposed where it is square": (
        START.replace(
            "    for start",
            "    if mask.shape[-1] == mask.shape[-2]:\n"
            "        mask = mask.swapaxes(-1, -2)\n"
            "    for start",
        )
        + STEP
        + END,
        "and the mask hides that key. Wrong for as many keys as queries",
    ),
    "an end at the first block that everybody hides": (
        START.replace(
            "        s = query",
            "        if not mask[..., part].any():\n"
            "            break\n"
            "        s = query",
        )
        + STEP
        + END,
        "right for all else that was tried",
    ),
    "a sum that is divided by the factor": (
        START + STEP.replace("l = l * a", "l = l / a") + END,
        "Which step makes the first NaN?",
    ),
    "the values of the first block": (
        START
        + STEP.replace("value[..., part, :]", "value[..., : p.shape[-1], :]")
        + END,
        "is 0",
    ),
    "two steps of rescaling": (
        START + STEP.replace("o = o * a", "o = o * a * a") + END,
        "times what they should be",
    ),
    "the mask times the output": (
        START.replace(
            "np.where(mask[..., part], s, -np.inf)", "s + 0 * mask[..., part]"
        )
        + STEP
        + END,
        "`attn_mask` is not used",
    ),
    "each query its own block": (
        """
        def flash_attention(query, key, value, attn_mask=None, *, block):
            o = np.zeros((*query.shape[:-1], value.shape[-1]))
            for start in range(0, query.shape[-2], block):
                part = slice(start, start + block)
                s = query[..., part, :] @ key[..., part, :].swapaxes(-1, -2)
                p = np.exp(s / np.sqrt(query.shape[-1]))
                o[..., part, :] = p @ value[..., part, :] / p.sum(-1, keepdims=True)
            return o
        """,
        "of column",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source), sentence)


def test_checking_is_quick_even_where_nothing_explains_the_answer():
    source = """
    def flash_attention(query, key, value, attn_mask=None, *, block):
        shape = (*query.shape[:-1], value.shape[-1])
        return np.random.default_rng(0).normal(size=shape)
    """
    assert_quick(source)
