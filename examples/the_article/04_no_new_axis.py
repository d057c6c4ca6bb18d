"""Positions divided by powers of the base, one by one: no axis for the table."""

import numpy as np


def sinusoidal_positions(seq_len, d_model, base=10000.0):
    angles = np.arange(seq_len) / np.power(base, np.arange(d_model) / d_model)
    table = np.zeros((seq_len, d_model))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table
