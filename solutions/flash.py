"""Attention in tiles: the softmax without ever having all scores at once."""

import math
from collections.abc import Iterable

import numpy as np


def online_softmax(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """The largest score, and the sum of exponentials relative to it, block by block.

    The scores come in pieces, and each piece is looked at once. The softmax of a score
    s is then exp(s - largest) / sum. Where all scores are -inf, the sum is 0.

    Shapes:
        blocks: arrays (n,) of any lengths, float
        returns: the largest score, and the sum over all of exp(score - largest)

    Source: Milakov and Gimelshein 2018, section 3.
    """
    largest, total = -math.inf, 0.0
    for block in blocks:
        new = max(largest, float(block.max(initial=-np.inf)))
        if new == -math.inf:
            continue
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
    """Attention that has the scores of at most `block` keys at a time.

    It gives what scaled dot-product attention gives. A query that sees nothing gets
    zeros.

    Shapes:
        query: (..., L, K), float
        key: (..., S, K), float
        value: (..., S, Kv), float
        attn_mask: broadcasts to (..., L, S), bool: True where a query may attend
        returns: (..., L, Kv), float

    Source: Dao et al. 2022, algorithm 1.
    """
    k_len, scale = key.shape[-2], 1 / math.sqrt(query.shape[-1])
    largest = np.full(query.shape[:-1], -np.inf, query.dtype)[..., None]  # (..., L, 1)
    total = np.zeros_like(largest)
    answer = np.zeros(query.shape[:-1] + value.shape[-1:], query.dtype)
    if attn_mask is not None:
        attn_mask = np.broadcast_to(attn_mask, (*attn_mask.shape[:-1], k_len))
    for start in range(0, k_len, block):
        part = slice(start, start + block)
        scores = query @ key[..., part, :].swapaxes(-1, -2) * scale  # (..., L, block)
        if attn_mask is not None:
            scores = np.where(attn_mask[..., part], scores, -np.inf)
        new = np.maximum(largest, scores.max(axis=-1, keepdims=True))
        finite = np.where(new == -np.inf, 0, new)  # a row that has seen nothing yet
        kept = np.exp(largest - finite)
        weights = np.exp(scores - finite)
        total = total * kept + weights.sum(axis=-1, keepdims=True)
        answer = answer * kept + weights @ value[..., part, :]
        largest = new
    return answer / np.where(total == 0, 1, total)
