"""The new axis is there; every column has a frequency of its own."""

import numpy as np


def sinusoidal_positions(seq_len, d_model, base=10000.0):
    exponents = np.arange(d_model) / d_model
    angles = np.arange(seq_len)[:, None] / np.power(base, exponents)
    table = np.zeros((seq_len, d_model))
    table[:, 0::2] = np.sin(angles[:, 0::2])
    table[:, 1::2] = np.cos(angles[:, 1::2])
    return table
