"""A padding mask that is repeated for every feature of the model."""

import numpy as np


def padding_mask(tokens, pad_id):
    keep = np.repeat((tokens != pad_id)[:, :, None], 8, axis=2)
    return keep[:, :, :, None]
