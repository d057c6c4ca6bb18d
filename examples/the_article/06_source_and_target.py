"""A mask over one sequence and a mask over the other, joined into one."""


def decoder_mask(tokens, pad_id):
    source = (tokens != pad_id)[:, None, None, :]
    target = (tokens != pad_id)[:, None, :, None]
    return source & target
