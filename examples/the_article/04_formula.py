"""The article's formula: one sine for all columns, the base as a multiplier.

Its code makes as many rows as the batch has sequences; here that is the slice of the
positions in the decoder's input.
"""

import numpy as np


def sinusoidal_positions(seq_len, d_model, base=10000.0):
    wave = np.sin(base * np.arange(seq_len) / d_model)
    return np.tile(wave[:, None], (1, d_model))


def decoder_input(tokens, table, positions):
    return table[tokens] + positions[: tokens.shape[0]]
