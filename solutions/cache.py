"""The key-value cache: keys and values of earlier tokens are kept, not made again."""

import numpy as np

from solutions.attention import scaled_dot_product_attention
from solutions.heads import repeat_kv
from solutions.masks import causal_mask


def update_cache(cache: np.ndarray, new: np.ndarray, start: int) -> np.ndarray:
    """Write the keys or values of new tokens into a cache, from position `start` on.

    All other positions keep what they hold. The cache that is given stays as it is; a
    new one comes back.

    Shapes:
        cache: (B, G, max_len, K), float
        new: (B, G, T, K), float
        returns: like cache

    Raises:
        ValueError: if the new tokens do not fit.
    """
    end = start + new.shape[2]
    if end > cache.shape[2]:
        raise ValueError(f"{end} tokens do not fit into a cache of {cache.shape[2]}")
    cache = cache.copy()
    cache[:, :, start:end] = new
    return cache


def cache_positions(past_len: int, new_len: int) -> np.ndarray:
    """Give the positions of new tokens that come right after `past_len` cached ones.

    Positions count from 0.

    Shapes:
        returns: (T,) for T = new_len, int
    """
    return np.arange(past_len, past_len + new_len)


def decode_step(
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    cache_k: np.ndarray,
    cache_v: np.ndarray,
    past_len: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let new tokens attend to the cached ones and, causally, to each other.

    The first `past_len` positions of the caches are filled; whatever stands beyond does
    not count. Right after them the new keys and values are written, and nothing else in
    the caches changes. The caches that are given stay as they are; new ones come back.
    There may be fewer key-value heads than query heads: neighbours share.

    Shapes:
        query: (B, H, T, K), float
        key, value: (B, G, T, K), float; H is a multiple of G
        cache_k, cache_v: (B, G, max_len, K), float
        returns: output (B, H, T, K), then cache_k and cache_v with the new tokens
    """
    cache_k = update_cache(cache_k, key, past_len)
    cache_v = update_cache(cache_v, value, past_len)
    q_len = query.shape[2]
    k_len = past_len + q_len
    n_rep = query.shape[1] // key.shape[1]
    output = scaled_dot_product_attention(
        query,
        repeat_kv(cache_k[:, :, :k_len], n_rep),  # (B, H, S, K)
        repeat_kv(cache_v[:, :, :k_len], n_rep),
        causal_mask(q_len, k_len),
    )
    return output, cache_k, cache_v


def prefill_in_chunks(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, chunk: int
) -> np.ndarray:
    """Causal attention of a whole prompt, `chunk` tokens at a time.

    Each token attends to all tokens of the chunks before and, causally, to those of its
    own chunk, so that the answer is that of causal attention in one piece. The last
    chunk may be shorter. There may be fewer key-value heads than query heads:
    neighbours share.

    Shapes:
        query: (B, H, T, K), float
        key, value: (B, G, T, K), float; H is a multiple of G
        returns: (B, H, T, K), float
    """
    cache_k, cache_v = np.zeros_like(key), np.zeros_like(value)
    outputs = []
    for start in range(0, query.shape[2], chunk):
        part = np.s_[:, :, start : start + chunk]
        output, cache_k, cache_v = decode_step(
            query[part], key[part], value[part], cache_k, cache_v, start
        )
        outputs.append(output)
    return np.concatenate(outputs, axis=2)
