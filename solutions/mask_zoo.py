"""Masks as rules: whether a query may attend to a key is asked of two positions."""

from collections.abc import Callable

import numpy as np

from solutions.attention import scaled_dot_product_attention


def prefix_lm(prefix_len: int) -> Callable[..., np.ndarray]:
    """Give the rule by which all see the prefix, and only the past of the rest.

    The prefix is the first `prefix_len` positions. Every position sees all of them, its
    own past, and itself.

    Shapes:
        returns: a function of q and k, arrays of positions, int, that broadcast with
            each other; its answer has their broadcast shape, bool

    Source: Raffel et al. 2020, section 3.2.1.
    """
    return lambda q, k: (k <= q) | (k < prefix_len)


def sliding_window(window: int) -> Callable[..., np.ndarray]:
    """Give the rule by which each position sees itself and what came just before.

    It sees `window` positions in all: its own and the `window` - 1 before it, or as
    many of them as there are.

    Shapes:
        returns: a function of q and k, arrays of positions, int, that broadcast with
            each other; its answer has their broadcast shape, bool

    Source: Jiang et al. 2023, section 2.
    """
    return lambda q, k: (k <= q) & (q - k < window)


def document(document_ids: np.ndarray) -> Callable[..., np.ndarray]:
    """Give the rule by which each position sees the past of its own document.

    Several documents are packed into one sequence, one behind the other. A position
    sees itself and the earlier ones of its document.

    Shapes:
        document_ids: (T,), int: for each position, the number of its document
        returns: a function of q and k, arrays of positions, int, that broadcast with
            each other; its answer has their broadcast shape, bool
    """
    return lambda q, k: (k <= q) & (document_ids[q] == document_ids[k])


def materialise(
    mask_fn: Callable[..., np.ndarray], q_len: int, k_len: int
) -> np.ndarray:
    """Ask a rule about every pair of a query and a key.

    The queries are the last `q_len` of the `k_len` positions, as with a key cache. The
    rule may be one that looks at only one of its two arguments.

    Shapes:
        mask_fn: a function of q and k as the three above give back
        returns: (L, S) for L = q_len and S = k_len, bool
    """
    q = np.arange(k_len - q_len, k_len)[:, None]  # (L, 1)
    k = np.arange(k_len)  # (S,)
    return np.broadcast_to(mask_fn(q, k), (q_len, k_len)).copy()


def live_blocks(attn_mask: np.ndarray, block: int) -> np.ndarray:
    """Find the blocks of a mask in which anything may be attended to.

    The mask is cut into squares of `block` times `block`, from its first row and column
    on; where the lengths are no multiples of `block`, the last ones are smaller.

    Shapes:
        attn_mask: (L, S), bool
        returns: (L / block, S / block), both rounded up, bool
    """
    q_len, k_len = attn_mask.shape
    padded = np.pad(attn_mask, ((0, -q_len % block), (0, -k_len % block)))
    rows, columns = padded.shape[0] // block, padded.shape[1] // block
    blocks = padded.reshape(rows, block, columns, block)
    return np.any(blocks, axis=(1, 3))


def packed_positions(document_ids: np.ndarray) -> np.ndarray:
    """Count the positions of each packed document from 0.

    Shapes:
        document_ids: (T,), int: for each position, the number of its document; a
            document is in one piece
        returns: (T,), int
    """
    index = np.arange(len(document_ids))
    is_first = np.append(True, document_ids[1:] != document_ids[:-1])
    return index - np.maximum.accumulate(np.where(is_first, index, 0))


def windowed_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, window: int
) -> np.ndarray:
    """Attend through a sliding window without ever making a (T, T) array.

    The answer is that of scaled dot-product attention under the mask of
    `sliding_window(window)`. For a window that is far smaller than T, it never takes as
    much as one byte for each pair of positions.

    Shapes:
        query, key: (..., T, K), float
        value: (..., T, Kv), float
        returns: (..., T, Kv), float
    """
    seq_len = query.shape[-2]
    outputs = []
    for start in range(0, seq_len, window):
        end = min(start + window, seq_len)
        first = max(start - window + 1, 0)  # the first key that any of them sees
        q, k = np.arange(start, end)[:, None], np.arange(first, end)
        outputs.append(
            scaled_dot_product_attention(
                query[..., start:end, :],
                key[..., first:end, :],
                value[..., first:end, :],
                (k <= q) & (q - k < window),  # at most (window, 2 * window - 1)
            )
        )
    return np.concatenate(outputs, axis=-2)
