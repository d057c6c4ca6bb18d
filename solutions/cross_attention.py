"""Cross-attention: a decoder looks at what an encoder has read."""

import numpy as np

from solutions.attention import attention_scores, softmax
from solutions.heads import multi_head_attention, split_heads
from solutions.masks import causal_mask, padding_mask


def seq2seq_masks(
    source: np.ndarray, target_input: np.ndarray, pad_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the masks of the three attentions of an encoder and a decoder.

    The encoder's tokens see all real source tokens; the decoder's see the real ones of
    the past, and position 0 of the target counts as real whatever its id is, since some
    models begin with the id of padding. In cross-attention the keys are the source's.

    Shapes:
        source: (B, S), int
        target_input: (B, T), int
        returns: source_mask (B, 1, 1, S), target_mask (B, 1, T, T) and memory_mask
            (B, 1, 1, S), bool: True where a query may attend

    Source: Vaswani et al. 2017, section 3.2.3.
    """
    source_mask = padding_mask(source, pad_id)
    real = padding_mask(target_input, pad_id)  # (B, 1, 1, T)
    real[..., 0] = True
    seq_len = target_input.shape[1]
    target_mask = causal_mask(seq_len, seq_len) & real
    return source_mask, target_mask, source_mask.copy()


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

    Shapes:
        x: (B, L, D), float
        memory: (B, S, D), float
        w_q, w_k: (D, D), float
        memory_mask: broadcasts to (B, H, L, S), bool: True where a query may attend
        returns: (B, H, L, S), float

    Source: Vaswani et al. 2017, sections 3.2.2 and 3.2.3.
    """
    scores = attention_scores(
        split_heads(x @ w_q, n_heads), split_heads(memory @ w_k, n_heads)
    )
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

    What each of the two finds is added to what was there.

    Shapes:
        x: (B, T, D), float
        memory: (B, S, D), float
        self_weights, cross_weights: w_q, w_k, w_v and w_o, each (D, D), float
        target_mask: broadcasts to (B, H, T, T), bool: True where a query may attend
        memory_mask: broadcasts to (B, H, T, S), bool: True where a query may attend
        returns: (B, T, D), float

    Source: Vaswani et al. 2017, sections 3.1 and 3.2.3.
    """
    x = x + multi_head_attention(
        x, x, *self_weights, n_heads=n_heads, attn_mask=target_mask
    )
    return x + multi_head_attention(
        x, memory, *cross_weights, n_heads=n_heads, attn_mask=memory_mask
    )
