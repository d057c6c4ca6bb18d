"""Shapes and broadcasting: what NumPy does when arrays of different shapes meet."""

import numpy as np


def sequence_mask(lengths: np.ndarray, max_len: int) -> np.ndarray:
    """Mark the positions of every sequence that hold a token.

    All sequences are stored with `max_len` positions. Sequence b fills the first
    lengths[b] of them.

    Shapes:
        lengths: (B,), int, each from 0 to T
        returns: (B, T) for T = max_len, bool: True on a token
    """
    return np.arange(max_len) < lengths[:, None]


def position_angles(positions: np.ndarray, inv_freq: np.ndarray) -> np.ndarray:
    """Multiply every position by every frequency.

    Positions are any numbers: they need not start at 0 or be in order.

    Shapes:
        positions: (T,), int or float
        inv_freq: (K/2,), float
        returns: (T, K/2), float
    """
    return positions[:, None] * inv_freq


def matmul_shape(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Say which shape `a @ b` has, for two arrays of these shapes.

    The last two axes are those of matrices. The axes before them count the matrices
    of a stack, and they are broadcast. No array is made, so the shapes may be those of
    arrays that no memory could hold. A length may be 0, as in an empty batch.

    Shapes:
        a_shape: (..., n, m), a tuple of at least two int
        b_shape: (..., m, p), a tuple of at least two int
        returns: (..., n, p), a tuple of int

    Raises:
        ValueError: if the matrices do not fit, or the stacks do not broadcast.

    Source: NumPy's reference, `numpy.matmul`.
    """
    if a_shape[-1] != b_shape[-2]:
        raise ValueError(f"{a_shape} @ {b_shape}: {a_shape[-1]} is not {b_shape[-2]}")
    stack = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    return (*stack, a_shape[-2], b_shape[-1])
