"""Cross-attention: a decoder looks at what an encoder has read."""

import numpy as np

from solutions.attention import attention_scores, softmax
from solutions.heads import multi_head_attention, split_heads
from solutions.masks import causal_mask, combine_masks, padding_mask


def seq2seq_masks(
    source: np.ndarray, target_input: np.ndarray, pad_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the masks of the three attentions of an encoder-decoder model.

    The source mask is for the encoder, whose tokens see every real source token. The
    target mask is for the decoder's self-attention: the past, without its padding.
    Position 0 of the target is real whatever its id, since some models start with the
    id of padding. The memory mask is for cross-attention: the target looks at the
    source.

    Shapes:
        source: (B, S), int
        target_input: (B, T), int: the decoder's input, which begins with a start token
        returns: source_mask (B, 1, 1, S), target_mask (B, 1, T, T) and memory_mask
            (B, 1, 1, S), bool: True where a query may attend

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    source_mask = padding_mask(source, pad_id)
    real = padding_mask(target_input, pad_id)  # (B, 1, 1, T)
    real[..., 0] = True
    seq_len = target_input.shape[1]
    target_mask = combine_masks(causal_mask(seq_len, seq_len), real)
    return source_mask, target_mask, source_mask


def cross_attention_weights(
    x: np.ndarray,
    memory: np.ndarray,
    w_q: np.ndarray,
    w_k: np.ndarray,
    *,
    n_heads: int,
    memory_mask: np.ndarray,
) -> np.ndarray:
    """Say how much each target token looks at each source token, for every head.

    `x` is what the decoder has, `memory` what the encoder gives. Where the mask is
    False, the weight is 0. Every row of the mask has a True.

    Shapes:
        x: (B, L, D), float
        memory: (B, S, D), float
        w_q, w_k: (D, D), float: each head has its own part of the columns
        memory_mask: broadcasts to (B, H, L, S), bool: True where a query may attend
        returns: (B, H, L, S), float

    Source: Vaswani et al. 2017, sections 3.2.2 and 3.2.3.
    """
    query = split_heads(x @ w_q, n_heads)  # (B, H, L, K)
    key = split_heads(memory @ w_k, n_heads)  # (B, H, S, K)
    scores = attention_scores(query, key)  # (B, H, L, S)
    return softmax(np.where(memory_mask, scores, -np.inf))


def decoder_attention(
    x: np.ndarray,
    memory: np.ndarray,
    self_weights: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    cross_weights: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    *,
    n_heads: int,
    target_mask: np.ndarray,
    memory_mask: np.ndarray,
) -> np.ndarray:
    """Do what a decoder layer does with attention: look at itself, then at the source.

    What each of the two attentions finds is added to what was there before it. The
    layer's norms and its feed-forward part are left out.

    Shapes:
        x: (B, T, D), float
        memory: (B, S, D), float
        self_weights, cross_weights: w_q, w_k, w_v and w_o, each (D, D), float
        target_mask: broadcasts to (B, H, T, T), bool: True where a query may attend
        memory_mask: broadcasts to (B, H, T, S), bool: True where a query may attend
        returns: (B, T, D), float

    Source: Vaswani et al. 2017, section 3.1 and figure 1.
    """
    x = x + multi_head_attention(
        x, x, *self_weights, n_heads=n_heads, attn_mask=target_mask
    )
    return x + multi_head_attention(
        x, memory, *cross_weights, n_heads=n_heads, attn_mask=memory_mask
    )
