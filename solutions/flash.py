"""Attention in tiles: the softmax without ever having all scores at once."""

import math
from collections.abc import Iterable

import numpy as np


def online_softmax(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """Find the largest score, and the sum of the exponentials relative to it.

    The scores come in blocks, and each block comes once. With both numbers the softmax
    of a score is exp(score - largest) / sum. Scores may be -inf: where all of them
    are, the largest is -inf and the sum 0.0.

    Shapes:
        blocks: arrays (n,) of any lengths from 1 on, float
        returns: the largest score, and the sum of exp(score - largest); both float

    Source: Milakov and Gimelshein 2018, section 3.
    """
    largest, total = -math.inf, 0.0
    for block in blocks:
        new = max(largest, float(block.max()))
        if new > -math.inf:  # -inf minus -inf is NaN
            total = total * math.exp(largest - new) + float(np.exp(block - new).sum())
        largest = new
    return largest, total


def flash_attention(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    attn_mask: np.ndarray | None = None,
    *,
    block: int,
) -> np.ndarray:
    """Give what attention gives, but look at only `block` keys at a time.

    Each query gets the mean of the values, weighted by the softmax of its scaled
    scores, as in chapter 5. The last block may be shorter. A query that sees nothing
    gets zeros. Without a mask, every query sees every key.

    Shapes:
        query: (..., L, K), float
        key: (..., S, K), float
        value: (..., S, Kv), float
        attn_mask: broadcasts to (..., L, S), bool: True where a query may attend
        returns: (..., L, Kv), float

    Source: Dao 2023, section 3.1.
    """
    k_len = key.shape[-2]
    query = query / math.sqrt(query.shape[-1])
    if attn_mask is not None:
        attn_mask = np.broadcast_to(attn_mask, (*attn_mask.shape[:-1], k_len))
    largest = np.full_like(query[..., :1], -np.inf)  # (..., L, 1)
    total = np.zeros_like(largest)
    output = np.zeros((*query.shape[:-1], value.shape[-1]), query.dtype)
    for start in range(0, k_len, block):
        part = slice(start, start + block)
        scores = query @ key[..., part, :].swapaxes(-1, -2)  # (..., L, block)
        if attn_mask is not None:
            scores = np.where(attn_mask[..., part], scores, -np.inf)
        new = np.maximum(largest, scores.max(axis=-1, keepdims=True))
        # -inf minus -inf is NaN; any number will do where nothing has been seen yet
        shift = np.where(np.isneginf(new), 0, new)
        exp, kept = np.exp(scores - shift), np.exp(largest - shift)
        total = total * kept + exp.sum(axis=-1, keepdims=True)
        output = output * kept + exp @ value[..., part, :]
        largest = new
    # the largest score gives exp(0) = 1: less is the sum of a row that sees nothing
    return output / np.maximum(total, 1)
