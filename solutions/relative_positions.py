"""Relative positions: buckets, linear biases and rotations, added at the attention."""

import math

import numpy as np


def relative_position_bucket(
    relative_position: np.ndarray,
    bidirectional: bool,
    num_buckets: int = 32,
    max_distance: int = 128,
) -> np.ndarray:
    """Sort distances into buckets: near ones exactly, far ones by their logarithm.

    A relative position is the key's position minus the query's. Of n buckets, those
    below n // 2 hold one distance each; the others divide the distances up to
    `max_distance` logarithmically, rounded down, and the last one holds all beyond.
    If bidirectional, keys after the query have buckets of their own, the upper half of
    `num_buckets`; if not, they all count as distance 0.

    Shapes:
        relative_position: any shape, int
        returns: like relative_position, int

    Source: Raffel et al. 2020, section 2.1; the T5 code.
    """
    bucket = np.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        bucket += (relative_position > 0) * num_buckets
        distance = np.abs(relative_position)
    else:
        distance = np.maximum(-relative_position, 0)
    exact = num_buckets // 2
    ratio = np.log(np.maximum(distance, 1) / exact) / math.log(max_distance / exact)
    far = exact + (ratio * (num_buckets - exact)).astype(int)
    return bucket + np.where(
        distance < exact, distance, np.minimum(far, num_buckets - 1)
    )


def alibi_slopes(n_heads: int) -> np.ndarray:
    """How steeply each head's scores fall with distance: a geometric sequence.

    For n heads, n a power of 2, it starts at 2^(-8/n), and each slope is the one before
    times the first. For other numbers, those of the next smaller power of 2 come
    first, then every other one of twice that power, from its first on.

    Shapes:
        returns: (H,), float64

    Source: Press et al. 2022, section 3, and the authors' code.
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
    more = 2.0 ** (-4 / power * np.arange(1, 2 * power + 1, 2))
    return np.concatenate([slopes, more[: n_heads - power]])


def alibi_bias(n_heads: int, q_len: int, k_len: int) -> np.ndarray:
    """What is added to the scores: minus the head's slope times the distance.

    The queries are the last `q_len` of `k_len` positions. Keys after a query are left
    to the mask: what stands at their place does not count.

    Shapes:
        returns: (H, L, S), float64

    Source: Press et al. 2022, section 3.
    """
    query = np.arange(k_len - q_len, k_len)[:, None]
    distance = np.abs(query - np.arange(k_len))
    return -alibi_slopes(n_heads)[:, None, None] * distance


def rope_frequencies(d_head: int, base: float = 10000.0) -> np.ndarray:
    """The angle by which each pair of dimensions turns from one position to the next.

    Pair i turns by base^(-2 i / d_head); d_head is even.

    Shapes:
        returns: (K/2,), float64

    Source: Su et al. 2021, section 3.2.2.
    """
    return base ** (-np.arange(0, d_head, 2) / d_head)


def apply_rope(
    x: np.ndarray,
    positions: np.ndarray,
    inv_freq: np.ndarray,
    layout: str = "interleaved",
) -> np.ndarray:
    """Turn each pair of dimensions of a query or key by its position's angle.

    The angle is the position times the pair's frequency. Pair i is dimensions 2 i and
    2 i + 1 in the layout "interleaved", and i and i + K/2 in the layout "half".

    Shapes:
        x: (..., T, K), float, for positions (T,); (B, ..., T, K) for positions (B, T)
        positions: (T,) or (B, T), int
        inv_freq: (K/2,), float
        returns: like x

    Source: Su et al. 2021, section 3.4.2.
    """
    angles = positions[..., None] * inv_freq  # (T, K/2) or (B, T, K/2)
    if positions.ndim == 2:
        between = (1,) * (x.ndim - 3)
        angles = angles.reshape(len(positions), *between, *angles.shape[1:])
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    half = x.shape[-1] // 2
    if layout == "interleaved":
        first, second = slice(0, None, 2), slice(1, None, 2)
    else:
        first, second = slice(0, half), slice(half, None)
    a, b = x[..., first], x[..., second]
    answer = np.empty_like(x)
    answer[..., first] = a * cos - b * sin
    answer[..., second] = a * sin + b * cos
    return answer


def scaled_base(base: float, factor: float, d_head: int) -> float:
    """The base with which rotations reach `factor` times as far ("NTK-aware").

    With it the slowest pair turns `factor` times more slowly, and the fastest as
    before.

    Source: Peng et al. 2023 (YaRN), section 3.1.
    """
    return base * factor ** (d_head / (d_head - 2))
