"""Masks as predicates: what may be attended to is a question about two positions."""

from collections.abc import Callable

import numpy as np

from solutions.attention import scaled_dot_product_attention

# Takes integer arrays of query and key positions that broadcast, gives a bool array.
Predicate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def prefix_lm(prefix_len: int) -> Predicate:
    """Let all see the first `prefix_len` positions, and be causal beyond.

    Shapes:
        returns: a function of query and key positions, int arrays that broadcast with
            each other; True where the query may attend to the key

    Source: Raffel et al. 2020, section 3.2.1.
    """
    return lambda q, k: (k <= q) | (k < prefix_len)


def sliding_window(window: int) -> Predicate:
    """Let each position see itself and the `window` - 1 positions before it.

    Shapes:
        returns: a function of query and key positions, int arrays that broadcast with
            each other; True where the query may attend to the key

    Source: Jiang et al. 2023, section 2.
    """
    return lambda q, k: (k <= q) & (q - k < window)


def document(document_ids: np.ndarray) -> Predicate:
    """Let each position see the earlier ones of its own document, and itself.

    Several documents are packed into one sequence, one after the other.

    Shapes:
        document_ids: (T,), int: the document of each position
        returns: a function of query and key positions, int arrays that broadcast with
            each other; True where the query may attend to the key
    """
    return lambda q, k: (k <= q) & (document_ids[q] == document_ids[k])


def materialise(mask_fn: Predicate, q_len: int, k_len: int) -> np.ndarray:
    """Ask a predicate about every pair of a query and a key.

    The queries are the last `q_len` of `k_len` positions.

    Shapes:
        returns: (L, S), bool
    """
    q = np.arange(k_len - q_len, k_len)[:, None]  # (L, 1)
    k = np.arange(k_len)  # (S,)
    return np.broadcast_to(mask_fn(q, k), (q_len, k_len))


def live_blocks(attn_mask: np.ndarray, block: int) -> np.ndarray:
    """Find the blocks of a mask in which anything may be attended to.

    The mask is cut into squares of side `block`; the last ones may be smaller. A kernel
    that knows this computes the live ones alone.

    Shapes:
        attn_mask: (L, S), bool
        returns: (L / block, S / block), both rounded up, bool
    """
    q_len, k_len = attn_mask.shape
    padded = np.pad(attn_mask, ((0, -q_len % block), (0, -k_len % block)))
    rows, columns = (size // block for size in padded.shape)
    return padded.reshape(rows, block, columns, block).any(axis=(1, 3))


def packed_positions(document_ids: np.ndarray) -> np.ndarray:
    """Count the positions of each packed document from 0.

    Shapes:
        document_ids: (T,), int: each document's positions stand together
        returns: (T,), int
    """
    index = np.arange(len(document_ids))
    is_first = np.append(True, document_ids[1:] != document_ids[:-1])
    return index - np.maximum.accumulate(np.where(is_first, index, 0))


def windowed_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, window: int
) -> np.ndarray:
    """Attention through a sliding window, without a score for every pair.

    Each position attends to itself and the `window` - 1 before it. The memory that is
    needed grows as T times `window`, not as T times T.

    Shapes:
        query, key, value: (..., T, K), float
        returns: (..., T, K), float
    """
    length = query.shape[-2]
    answer = np.empty(query.shape[:-1] + value.shape[-1:], value.dtype)
    for start in range(0, length, window):
        end = min(start + window, length)
        first = max(0, start - window + 1)
        mask = materialise(sliding_window(window), end - start, end)[:, first:]
        answer[..., start:end, :] = scaled_dot_product_attention(
            query[..., start:end, :], key[..., first:end, :], value[..., first:end, :],
            mask,
        )  # fmt: skip
    return answer
