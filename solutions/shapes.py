"""Shapes and broadcasting: what NumPy does when arrays of different shapes meet."""

import numpy as np


def sequence_mask(lengths: np.ndarray, max_len: int) -> np.ndarray:
    """Mark the positions of every sequence that hold something.

    Shapes:
        lengths: (B,), int
        returns: (B, T) for T = max_len, bool: True on the first lengths[b] positions
    """
    return np.arange(max_len) < lengths[:, None]


def position_angles(positions: np.ndarray, inv_freq: np.ndarray) -> np.ndarray:
    """Multiply every position by every frequency.

    Shapes:
        positions: (T,), int or float
        inv_freq: (K/2,), float
        returns: (T, K/2), float
    """
    return positions[:, None] * inv_freq


def matmul_shape(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Say which shape `a @ b` has, for stacks of matrices.

    The last two axes are multiplied as matrices, the ones before them are broadcast.

    Shapes:
        a_shape: (..., n, m), at least two numbers
        b_shape: (..., m, p), at least two numbers
        returns: (..., n, p), a tuple of int

    Raises:
        ValueError: if the matrices do not fit, or the axes before do not broadcast.

    Source: NumPy's reference, `numpy.matmul`.
    """
    if a_shape[-1] != b_shape[-2]:
        raise ValueError(f"{a_shape} @ {b_shape}: {a_shape[-1]} is not {b_shape[-2]}")
    stack = np.broadcast_shapes(a_shape[:-2], b_shape[:-2])
    return (*stack, a_shape[-2], b_shape[-1])
