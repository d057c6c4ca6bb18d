"""The padding lies on the axis of the queries."""

import numpy as np


def causal_mask(q_len, k_len):
    return np.tri(q_len, k_len, k_len - q_len, dtype=bool)


def padding_mask(tokens, pad_id):
    return (tokens != pad_id)[:, None, :, None]


def combine_masks(*masks):
    combined = np.array(True)
    for mask in masks:
        combined = combined & mask
    return combined


def decoder_mask(tokens, pad_id):
    length = tokens.shape[1]
    return causal_mask(length, length) & (tokens != pad_id)[:, None, :, None]
