"""The key-value cache: what was computed for earlier tokens is kept."""

import numpy as np

from solutions.attention import scaled_dot_product_attention
from solutions.heads import repeat_kv
from solutions.masks import causal_mask


def update_cache(cache: np.ndarray, new: np.ndarray, start: int) -> np.ndarray:
    """Write the keys or values of new tokens into a cache, from position `start` on.

    The cache that is given stays as it is; a new one comes back.

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
    """The positions of new tokens that come after `past_len` cached ones.

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
    """Let new tokens attend to the cached ones, to themselves and to earlier new ones.

    The first `past_len` positions of the caches are filled, and whatever stands
    beyond does not count. The new keys and values come after them. There may be fewer
    key-value heads than query heads: neighbours share.

    Shapes:
        query: (B, H, T, K), float
        key, value: (B, G, T, K), float
        cache_k, cache_v: (B, G, max_len, K), float
        returns: output (B, H, T, K), then cache_k and cache_v with the new tokens
    """
    cache_k = update_cache(cache_k, key, past_len)
    cache_v = update_cache(cache_v, value, past_len)
    n_rep = query.shape[1] // key.shape[1]
    total = past_len + query.shape[2]
    keys = repeat_kv(cache_k[:, :, :total], n_rep)  # (B, H, S, K)
    values = repeat_kv(cache_v[:, :, :total], n_rep)
    mask = causal_mask(query.shape[2], total)
    return scaled_dot_product_attention(query, keys, values, mask), cache_k, cache_v


def prefill_in_chunks(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, chunk: int
) -> np.ndarray:
    """Causal attention of a whole prompt, `chunk` tokens at a time.

    Each chunk's tokens attend to those of all chunks before it and, causally, to their
    own. The last chunk may be shorter. The answer is that of causal attention in one
    piece.

    Shapes:
        query: (B, H, T, K), float
        key, value: (B, G, T, K), float
        returns: (B, H, T, K), float
    """
    cache_k, cache_v = np.zeros_like(key), np.zeros_like(value)
    outputs = []
    for start in range(0, query.shape[2], chunk):
        part = slice(start, start + chunk)
        output, cache_k, cache_v = decode_step(
            query[:, :, part], key[:, :, part], value[:, :, part],
            cache_k, cache_v, start,
        )  # fmt: skip
        outputs.append(output)
    return np.concatenate(outputs, axis=2)
