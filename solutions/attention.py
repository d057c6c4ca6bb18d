"""Scaled dot-product attention: every query takes a weighted mean of the values."""

import math

import numpy as np


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Make weights of numbers: positive, and with the sum 1 along an axis.

    However large the numbers are, nothing overflows.

    Shapes:
        x: any shape, float
        returns: like x
    """
    exp = np.exp(x - x.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def attention_scores(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Score every key for every query: their dot product, scaled.

    The scale is 1 / the square root of K.

    Shapes:
        query: (..., L, K), float
        key: (..., S, K), float
        returns: (..., L, S), float

    Source: Vaswani et al. 2017, section 3.2.1.
    """
    return query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])


def scaled_dot_product_attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    attn_mask: np.ndarray | None = None,
) -> np.ndarray:
    """Give every query the mean of the values, weighted by the softmax of its scores.

    Where the mask is False, the key gets the weight 0. Every row of the mask has a
    True; without a mask, every query sees every key.

    Shapes:
        query: (..., L, K), float
        key: (..., S, K), float
        value: (..., S, Kv), float
        attn_mask: broadcasts to (..., L, S), bool: True where a query may attend
        returns: (..., L, Kv), float

    Source: Vaswani et al. 2017, section 3.2.1.
    """
    scores = attention_scores(query, key)
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf)
    return softmax(scores) @ value


def softmax_gradient(weights: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Give the gradient for the scores, of the gradient for their softmax.

    Shapes:
        weights: (..., S), float: the softmax of the scores over the last axis
        grad: (..., S), float: the gradient of the loss for the weights
        returns: like weights
    """
    mean = (weights * grad).sum(axis=-1, keepdims=True)
    return weights * (grad - mean)
