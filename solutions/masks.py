"""Attention masks: boolean arrays, True where a query may attend to a key."""

import numpy as np


def causal_mask(q_len: int, k_len: int) -> np.ndarray:
    """Let each query see its own position and the past, never the future.

    The queries are the last `q_len` of the `k_len` positions, as with a key cache.

    Shapes:
        returns: (L, S) for L = q_len and S = k_len, bool

    Raises:
        ValueError: if there are more queries than keys.

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    if q_len > k_len:
        raise ValueError(f"{q_len} queries but only {k_len} keys")
    return np.tri(q_len, k_len, k=k_len - q_len, dtype=bool)


def padding_mask(tokens: np.ndarray, pad_id: int) -> np.ndarray:
    """Hide the keys that are padding, from every head and every query.

    The axes of length 1 stand for the heads and the queries.

    Shapes:
        tokens: (B, S), int
        returns: (B, 1, 1, S), bool: True on real keys
    """
    return (tokens != pad_id)[:, None, None, :]


def combine_masks(*masks: np.ndarray) -> np.ndarray:
    """Allow only what every one of the masks allows.

    The masks may have different shapes, as long as they broadcast together.

    Shapes:
        masks: one or more arrays, bool
        returns: their broadcast shape, bool

    Raises:
        ValueError: if there is no mask.
    """
    if not masks:
        raise ValueError("combine_masks needs at least one mask")
    combined = masks[0]
    for attn_mask in masks[1:]:
        combined = combined & attn_mask
    return combined


def decoder_mask(tokens: np.ndarray, pad_id: int) -> np.ndarray:
    """Give the mask of a decoder's self-attention: the past, without its padding.

    Only keys are hidden. The row of a query that is itself padding is made by the
    same rule as every other row.

    Shapes:
        tokens: (B, T), int
        returns: (B, 1, T, T), bool

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    seq_len = tokens.shape[1]
    return combine_masks(causal_mask(seq_len, seq_len), padding_mask(tokens, pad_id))
