"""A decoder whose only mask is that of the padding."""

import numpy as np


def padding_mask(tokens, pad_id):
    return (tokens != pad_id)[:, None, None, :]


def decoder_mask(tokens, pad_id):
    length = tokens.shape[1]
    return np.repeat(padding_mask(tokens, pad_id), length, axis=2)
