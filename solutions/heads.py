"""Multi-head attention: several attentions side by side, each on a part of D."""

import numpy as np

from solutions.attention import scaled_dot_product_attention


def split_heads(x: np.ndarray, n_heads: int) -> np.ndarray:
    """Cut every token's vector into `n_heads` pieces, one for each head.

    Head 0 gets the first K = D / H numbers of every token, head 1 the next K.

    Shapes:
        x: (B, T, D), float
        returns: (B, H, T, K) for H = n_heads, float

    Raises:
        ValueError: if D is no multiple of n_heads.

    Source: Vaswani et al. 2017, section 3.2.2.
    """
    batch, seq_len, d_model = x.shape
    if d_model % n_heads:
        raise ValueError(f"{d_model} is no multiple of {n_heads} heads")
    x = x.reshape(batch, seq_len, n_heads, d_model // n_heads)  # (B, T, H, K)
    return x.swapaxes(1, 2)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """Put every token's pieces together again: the inverse of split_heads.

    The first K numbers of a token are those of head 0, the next K those of head 1.

    Shapes:
        x: (B, H, T, K), float
        returns: (B, T, D) for D = H * K, float

    Source: Vaswani et al. 2017, section 3.2.2.
    """
    batch, n_heads, seq_len, d_head = x.shape
    x = x.swapaxes(1, 2)  # (B, T, H, K)
    return x.reshape(batch, seq_len, n_heads * d_head)


def multi_head_attention(
    x: np.ndarray,
    memory: np.ndarray,
    w_q: np.ndarray,
    w_k: np.ndarray,
    w_v: np.ndarray,
    w_o: np.ndarray,
    *,
    n_heads: int,
    attn_mask: np.ndarray | None = None,
) -> np.ndarray:
    """Let the tokens of `x` attend to those of `memory`, with several heads at once.

    Queries are made of `x`, keys and values of `memory`; self-attention is memory = x.
    Weights multiply from the right. Head 0 works with the first K columns of `w_q`,
    `w_k` and `w_v`, head 1 with the next K. All heads side by side meet `w_o`.

    Every row of the mask has a True; without a mask, every query sees every key.

    Shapes:
        x: (B, L, D), float
        memory: (B, S, D), float
        w_q, w_k, w_v, w_o: (D, D), float
        attn_mask: broadcasts to (B, H, L, S), bool: True where a query may attend
        returns: (B, L, D), float

    Source: Vaswani et al. 2017, section 3.2.2.
    """
    query = split_heads(x @ w_q, n_heads)  # (B, H, L, K)
    key = split_heads(memory @ w_k, n_heads)  # (B, H, S, K)
    value = split_heads(memory @ w_v, n_heads)  # (B, H, S, K)
    attended = scaled_dot_product_attention(query, key, value, attn_mask)
    return merge_heads(attended) @ w_o  # (B, L, D)


def repeat_kv(x: np.ndarray, n_rep: int) -> np.ndarray:
    """Copy every key-value head for the `n_rep` query heads that share it.

    Query heads that share are neighbours: the first `n_rep` of them get head 0.

    Shapes:
        x: (B, G, S, K), float: keys or values
        returns: (B, H, S, K) for H = G * n_rep, float

    Source: Ainslie et al. 2023, section 2.2.
    """
    return np.repeat(x, n_rep, axis=1)
