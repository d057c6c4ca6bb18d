"""Mask numerics: how a mask becomes numbers, and what a computer makes of them."""

import numpy as np


def mask_to_bias(attn_mask: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Turn a mask into numbers that are added to scores: 0, or minus infinity.

    Shapes:
        attn_mask: any shape, bool: True where a query may attend
        returns: like attn_mask, of type dtype: 0 where True, -inf where False

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    return np.where(attn_mask, 0.0, -np.inf).astype(dtype)


def masked_softmax(scores: np.ndarray, attn_mask: np.ndarray) -> np.ndarray:
    """Share out the weights of each row among the keys that the mask allows.

    A row that sees nothing is all zeros. There is no NaN and no warning on the way,
    in half precision either. Only a NaN that comes in is not covered up: a row that
    sees a NaN among its scores is NaN.

    Shapes:
        scores: (..., L, S), float
        attn_mask: broadcasts to (..., L, S), bool: True where a query may attend
        returns: like scores, and of their type
    """
    visible = np.where(attn_mask, scores, -np.inf)
    largest = visible.max(axis=-1, keepdims=True)
    # -inf minus -inf is NaN; any number will do where nothing is visible
    exp = np.exp(visible - np.where(np.isneginf(largest), 0, largest))
    total = exp.sum(axis=-1, keepdims=True)
    # the largest score gives exp(0) = 1: less is the sum of a row that sees nothing
    return exp / np.maximum(total, 1)


def log_sum_exp(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Give the logarithm of the sum of the exponentials along an axis.

    Numbers may be large, positive or negative. Numbers that are all -inf give -inf,
    and those with an inf among them give inf.

    Shapes:
        x: any shape, float
        returns: x without that axis, and of its type
    """
    largest = x.max(axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    with np.errstate(divide="ignore"):  # the logarithm of 0 is -inf
        log = np.log(np.exp(x - largest).sum(axis=axis))
    return log + largest.squeeze(axis)
