"""Scaled dot-product attention: every query takes a weighted mean of the values."""

import math

import numpy as np


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Turn numbers into weights: none is negative, and along an axis they sum to 1.

    Each weight is proportional to the exponential of its number; minus infinity gets
    the weight 0. Nothing overflows, however large the numbers are.

    Shapes:
        x: any shape, float; along the axis at least one number is finite
        returns: like x
    """
    exp = np.exp(x - x.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)


def attention_scores(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Score every key for every query: their dot product over the square root of K.

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

    A key that the mask hides from a query gets the weight 0, whatever its score, and
    the other weights of that query still sum to 1. Every row of the mask has a True.
    Without a mask, every query sees every key.

    Shapes:
        query: (..., L, K), float
        key: (..., S, K), float
        value: (..., S, Kv), float
        attn_mask: broadcasts to (..., L, S), bool: True where a query may attend
        returns: (..., L, Kv), float

    Source: Vaswani et al. 2017, section 3.2.1.
    """
    scores = attention_scores(query, key)  # (..., L, S)
    if attn_mask is not None:
        scores = np.where(attn_mask, scores, -np.inf)
    return softmax(scores) @ value


def softmax_gradient(weights: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Carry a gradient back through the softmax, from the weights to the scores.

    Shapes:
        weights: (..., S), float: the softmax of the scores over the last axis
        grad: (..., S), float: the gradient of a loss with respect to the weights
        returns: (..., S), float: its gradient with respect to the scores
    """
    mean = (weights * grad).sum(axis=-1, keepdims=True)
    return weights * (grad - mean)
