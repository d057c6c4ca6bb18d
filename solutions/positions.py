"""Sinusoidal positional encoding: a fixed vector for every position."""

import math

import numpy as np


def sinusoidal_positions(
    seq_len: int, d_model: int, base: float = 10000.0
) -> np.ndarray:
    """Tell positions apart by waves: fast ones in the first columns, slow ones last.

    Column 2i is the sine and column 2i + 1 the cosine of position / base^(2i / D).
    Positions count from 0.

    Shapes:
        returns: (T, D) for T = seq_len and D = d_model, float

    Raises:
        ValueError: if d_model is odd: every sine needs its cosine.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if d_model % 2:
        raise ValueError(f"d_model must be even, not {d_model}")
    inv_freq = base ** (-np.arange(0, d_model, 2) / d_model)  # (D/2,)
    angles = np.arange(seq_len)[:, None] * inv_freq  # (T, D/2)
    table = np.empty((seq_len, d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table


def shift_matrix(offset: int, d_model: int, base: float = 10000.0) -> np.ndarray:
    """Move every row of the sinusoidal table by `offset` positions, at any position.

    Row p of the table, times this matrix from the right, is row p + offset. One
    matrix does it for every p; a negative offset moves back.

    Shapes:
        returns: (D, D) for D = d_model, float

    Raises:
        ValueError: if d_model is odd: every sine needs its cosine.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if d_model % 2:
        raise ValueError(f"d_model must be even, not {d_model}")
    angles = offset * base ** (-np.arange(0, d_model, 2) / d_model)  # (D/2,)
    matrix = np.zeros((d_model, d_model))
    sines, cosines = np.arange(0, d_model, 2), np.arange(1, d_model, 2)
    matrix[sines, sines] = matrix[cosines, cosines] = np.cos(angles)
    matrix[cosines, sines] = np.sin(angles)
    matrix[sines, cosines] = -np.sin(angles)
    return matrix


def decoder_input(
    tokens: np.ndarray, table: np.ndarray, positions: np.ndarray
) -> np.ndarray:
    """Give the first decoder layer what it receives: what each token is, and where.

    Each token's row of the embedding table is multiplied by the square root of D;
    the row of its position is added to it. Every sequence starts at position 0.

    Shapes:
        tokens: (B, T), int
        table: (V, D), float
        positions: (max_len, D), float
        returns: (B, T, D), float

    Raises:
        ValueError: if the sequences are longer than the table of positions.

    Source: Vaswani et al. 2017, sections 3.4 and 3.5.
    """
    seq_len, d_model = tokens.shape[1], table.shape[1]
    if seq_len > len(positions):
        raise ValueError(f"{seq_len} tokens but only {len(positions)} positions")
    return table[tokens] * math.sqrt(d_model) + positions[:seq_len]
