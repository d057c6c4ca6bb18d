"""A method of PyTorch's tensors, called on a NumPy array."""

import numpy as np


def sinusoidal_positions(seq_len, d_model, base=10000.0):
    inv_freq = base ** (-np.arange(0, d_model, 2) / d_model)
    angles = np.arange(seq_len)[:, None] * inv_freq
    table = np.zeros((seq_len, d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table.unsqueeze(0)
