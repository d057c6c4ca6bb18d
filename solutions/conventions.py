"""One mask in the languages of six attention APIs."""

from typing import Any

import torch


def convert_mask(mask: Any, source: str, target: str, *, shape: tuple[int, ...]) -> Any:
    """Say in the words of one API what a mask says in those of another.

    `source` and `target` name how `mask` and the answer are written, and `shape` is
    the shape (B, H, L, S) of the scores. The names are:

    - `"sdpa"`: bool, True = may attend
    - `"additive"`: float32, 0 = may attend, -inf = hidden
    - `"transformers_4d"`: float32, 0 = may attend, the lowest float32 = hidden
    - `"transformers_2d"`: int64, 1 = every query may attend to this key, 0 = hidden
    - `"keras"`: bool, True = may attend
    - `"multihead_attention"`: bool, True = hidden; the heads of one batch row are
      neighbours
    - `"flex"`: a function of four index tensors (b, h, q_idx, kv_idx) whose value is a
      bool tensor, True = may attend

    A mask that comes in may also be: for Keras of integers, 1 and 0; and a float mask
    of any float dtype, where both -inf and the lowest number of that dtype hide.

    Shapes:
        sdpa: (B, 1, L, S), and so are additive and transformers_4d
        transformers_2d: (B, S)
        keras: (B, L, S)
        multihead_attention: (B * H, L, S)

    Raises:
        ValueError: if the mask cannot be said in `target`. Such are a mask that is not
        the same for all heads, a float mask with any other number in it, and, for
        "transformers_2d", one that is not the same for all queries. (This is checked.)
    """
    batch, n_heads, q_len, k_len = shape
    if source == "flex":
        keep = mask(*torch.meshgrid(*map(torch.arange, shape), indexing="ij"))
    elif source == "multihead_attention":
        keep = ~mask.reshape(shape)  # (B, H, L, S)
    elif source == "transformers_2d":
        keep = mask[:, None, None, :] == 1
    elif source == "keras":
        keep = mask[:, None] == 1
    elif source == "sdpa":
        keep = mask
    else:
        keep, hidden = mask == 0, mask <= torch.finfo(mask.dtype).min
        if not (keep | hidden).all():
            raise ValueError("a float mask holds a number that is neither yes nor no")
    if (keep != keep[:, :1]).any():
        raise ValueError("the mask is not the same for all heads")
    keep = keep[:, :1].expand(batch, 1, q_len, k_len)

    if target == "flex":
        return lambda b, h, q_idx, kv_idx: keep[b, 0, q_idx, kv_idx]
    if target == "multihead_attention":
        return ~keep[:, 0].repeat_interleave(n_heads, dim=0)
    if target == "transformers_2d":
        if (keep != keep[:, :, :1]).any():
            raise ValueError("a 2-D mask hides a key from every query or from none")
        return keep[:, 0, 0].long()
    if target == "keras":
        return keep[:, 0]
    if target == "sdpa":
        return keep
    lowest = -torch.inf if target == "additive" else torch.finfo(torch.float32).min
    return torch.where(keep, 0.0, lowest)
