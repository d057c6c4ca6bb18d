"""Four right answers, none of them written as in the book."""

import numpy as np


def causal_mask(q_len, k_len):
    queries = np.arange(k_len - q_len, k_len)
    return np.arange(k_len)[None, :] <= queries[:, None]


def padding_mask(tokens, pad_id):
    batch, length = tokens.shape
    return np.not_equal(tokens, pad_id).reshape(batch, 1, 1, length)


def combine_masks(*masks):
    return np.all(np.stack(np.broadcast_arrays(*masks)), axis=0)


def decoder_mask(tokens, pad_id):
    length = tokens.shape[1]
    return np.where(padding_mask(tokens, pad_id), causal_mask(length, length), False)
