"""Mask numerics: how a mask becomes numbers, and what a computer makes of them."""

import numpy as np


def mask_to_bias(attn_mask: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Turn a mask into numbers that can be added to scores.

    Shapes:
        attn_mask: any shape, bool: True where a query may attend
        returns: like attn_mask, of the given float type: 0 where True, -inf where False
    """
    return np.where(attn_mask, 0.0, -np.inf).astype(dtype)


def masked_softmax(scores: np.ndarray, attn_mask: np.ndarray) -> np.ndarray:
    """Share out the weights of each row among the keys that the mask allows.

    A row that sees nothing is all zeros. There is no NaN and no warning, for half
    precision either.

    Shapes:
        scores: (..., L, S), float
        attn_mask: broadcasts to (..., L, S), bool: True where a query may attend
        returns: like scores
    """
    hidden = np.where(attn_mask, scores, -np.inf)
    largest = hidden.max(axis=-1, keepdims=True)
    exp = np.exp(hidden - np.where(np.isfinite(largest), largest, 0))
    total = exp.sum(axis=-1, keepdims=True)
    return (exp / np.where(total == 0, 1, total)).astype(scores.dtype)


def log_sum_exp(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Give the logarithm of the sum of the exponentials along an axis.

    However large the numbers are, nothing overflows; -inf for a row of -inf.

    Shapes:
        x: any shape, float
        returns: x without that axis
    """
    largest = x.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is -inf
        log = np.log(np.exp(x - largest).sum(axis=axis))
    return log + largest.squeeze(axis)
