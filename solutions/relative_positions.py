"""Relative positions: what attention adds or turns so that it sees distances."""

import math

import numpy as np


def relative_position_bucket(
    relative_position: np.ndarray,
    bidirectional: bool,
    num_buckets: int = 32,
    max_distance: int = 128,
) -> np.ndarray:
    """Sort keys by how far they are: near ones one by one, far ones in wide buckets.

    A relative position is the key's position minus the query's. Of n buckets, the
    first m = n // 2 hold one distance each: bucket d is for distance d. A distance d of
    m or more is in bucket

        m + (n - m) * log(d / m) / log(max_distance / m),

    rounded down, but never beyond bucket n - 1.

    If not bidirectional, n is `num_buckets`, and keys after the query count as distance
    0. If bidirectional, n is half of `num_buckets`: keys after the query are sorted by
    their distance, too, and their buckets are those from n on.

    Shapes:
        relative_position: any shape, int
        returns: like relative_position, int

    Source: Raffel et al. 2020, section 2.1, and the code of T5.
    """
    bucket = np.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        bucket += (relative_position > 0) * num_buckets
        distance = np.abs(relative_position)
    else:
        distance = np.maximum(-relative_position, 0)
    exact = num_buckets // 2
    ratio = np.log(np.maximum(distance, exact) / exact) / math.log(max_distance / exact)
    far = exact + (ratio * (num_buckets - exact)).astype(int)
    return bucket + np.where(
        distance < exact, distance, np.minimum(far, num_buckets - 1)
    )


def alibi_slopes(n_heads: int) -> np.ndarray:
    """How steeply each head's scores fall with distance: a geometric sequence.

    For n heads, n a power of 2, it starts at 2^(-8/n), and each slope is the one before
    times that number. For another n take the next smaller power of 2, p: first come the
    slopes for p heads, then every other one of those for 2p heads, from the first on,
    until there are n.

    Shapes:
        returns: (H,) for H = n_heads, float

    Source: Press et al. 2022, section 3, and the authors' code.
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * np.arange(1, power + 1))
    more = 2.0 ** (-4 / power * np.arange(1, 2 * (n_heads - power), 2))
    return np.concatenate([slopes, more])


def alibi_bias(n_heads: int, q_len: int, k_len: int) -> np.ndarray:
    """What is added to the scores: minus the head's slope times the distance.

    The queries are the last `q_len` of the `k_len` positions. A distance has no
    direction: keys after the query have one, too, though a causal mask hides them.

    Shapes:
        returns: (H, L, S) for H = n_heads, L = q_len and S = k_len, float

    Source: Press et al. 2022, section 3.
    """
    query = np.arange(k_len - q_len, k_len)[:, None]  # (L, 1)
    distance = np.abs(query - np.arange(k_len))  # (L, S)
    return alibi_slopes(n_heads)[:, None, None] * -distance


def rope_frequencies(d_head: int, base: float = 10000.0) -> np.ndarray:
    """By how much each pair of dimensions turns from one position to the next.

    Pair i turns by the angle base^(-2i / K), in radians, for i = 0, 1, ..., K/2 - 1.

    Shapes:
        returns: (K/2,) for K = d_head, which is even, float

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

    The angle is the position times the pair's frequency, and (a, b) turned by it is
    (a cos - b sin, a sin + b cos). Pair i is dimensions 2i and 2i + 1 in the layout
    "interleaved", and dimensions i and i + K/2 in the layout "half". The angles are
    computed in single precision or better, whatever the dtype of `x`.

    Shapes:
        x: (..., T, K), or (B, ..., T, K) if positions are (B, T), float
        positions: (T,) or (B, T), int
        inv_freq: (K/2,), float
        returns: like x, of its dtype

    Raises:
        ValueError: if the layout is none of the two.

    Source: Su et al. 2021, section 3.4.2.
    """
    if layout not in ("interleaved", "half"):
        raise ValueError(f"layout must be interleaved or half, not {layout!r}")
    angles = positions[..., None] * inv_freq  # (T, K/2) or (B, T, K/2)
    if positions.ndim == 2:
        angles = np.expand_dims(angles, tuple(range(1, x.ndim - 2)))  # (B, ..., T, K/2)
    cos, sin = np.cos(angles), np.sin(angles)
    if layout == "interleaved":
        first, second = slice(0, None, 2), slice(1, None, 2)
    else:
        half = x.shape[-1] // 2
        first, second = slice(0, half), slice(half, None)
    a, b = x[..., first], x[..., second]
    turned = np.empty_like(x)  # of its dtype, too
    turned[..., first] = a * cos - b * sin
    turned[..., second] = a * sin + b * cos
    return turned


def scaled_base(base: float, factor: float, d_head: int) -> float:
    """The base with which rotations reach `factor` times as far ("NTK-aware").

    With it the slowest pair turns `factor` times more slowly than with the old base,
    and the fastest as fast as before. `d_head` is 4 or more.

    Shapes:
        returns: a number, float

    Source: Peng et al. 2023 (YaRN), section 3.1.
    """
    return base * factor ** (d_head / (d_head - 2))
