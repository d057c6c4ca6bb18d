"""What a decoder's blocks are made of besides attention, and the whole decoder."""

import math
from typing import Any

import numpy as np

from solutions.attention import scaled_dot_product_attention
from solutions.embeddings import embed, tied_logits
from solutions.heads import merge_heads, repeat_kv, split_heads
from solutions.masks import causal_mask
from solutions.relative_positions import apply_rope


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """Bring every token to mean 0 and variance 1, then scale and shift its numbers.

    Mean and variance are those of the token's own D numbers: nothing else in `x`
    counts. The variance is the mean square distance from the mean, and `eps` is added
    to it under the root. Then come `weight`, as a factor, and `bias`. A large mean does
    no harm.

    Shapes:
        x: (..., D), float
        weight, bias: (D,), float
        returns: like x

    Source: Ba et al. 2016, section 3; PyTorch's `nn.LayerNorm` for eps.
    """
    x = x - x.mean(axis=-1, keepdims=True)
    variance = (x**2).mean(axis=-1, keepdims=True)
    return x / np.sqrt(variance + eps) * weight + bias


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Bring every token to root mean square 1, then scale its numbers.

    The mean square is that of the token's own D numbers, and `eps` is added to it under
    the root. Then comes `weight`, as a factor.

    Shapes:
        x: (..., D), float
        weight: (D,), float
        returns: like x

    Source: Zhang and Sennrich 2019, section 4; PyTorch's `nn.RMSNorm` for eps.
    """
    mean_square = (x**2).mean(axis=-1, keepdims=True)
    return x / np.sqrt(mean_square + eps) * weight


def gelu(x: np.ndarray) -> np.ndarray:
    """Multiply every number by the chance that a standard normal one lies below it.

    That chance is (1 + erf(x / sqrt(2))) / 2, and it is asked for exactly, not in its
    approximation by tanh. NumPy has no erf; `math.erf` takes one number at a time.

    Shapes:
        x: any shape, float
        returns: like x

    Source: Hendrycks and Gimpel 2016, section 2.
    """
    erf = np.vectorize(math.erf, otypes=[x.dtype])
    return x * (1 + erf(x / math.sqrt(2))) / 2


def swiglu(
    x: np.ndarray, w_gate: np.ndarray, w_up: np.ndarray, w_down: np.ndarray
) -> np.ndarray:
    """Project every token up, let a gate decide what passes, and project it down again.

    The gate is another projection of the token, sent through SiLU: z times
    1 / (1 + exp(-z)). It multiplies the first projection, number by number. However
    large a z is, of either sign, the answer is right.

    Shapes:
        x: (..., D), float
        w_gate, w_up: (D, F), float
        w_down: (F, D), float
        returns: like x

    Source: Shazeer 2020, section 2.
    """
    gate = x @ w_gate  # (..., F)
    with np.errstate(over="ignore"):  # z / (1 + inf) is 0, and that is right
        silu = gate / (1 + np.exp(-gate))
    return (silu * (x @ w_up)) @ w_down


# Given code: what these functions, and those of earlier chapters, are parts of. Each
# takes the weights of one block by their names.


def gpt2_block(
    x: np.ndarray,
    weights: dict[str, np.ndarray],
    *,
    n_heads: int,
    attn_mask: np.ndarray,
) -> np.ndarray:
    """One block of GPT-2's kind: LayerNorm, GELU, and biases.

    Takes and gives (B, T, D). The sizes of the weights:
    w_q, w_k, w_v, w_o (D, D), w_1 (D, F), w_2 (F, D).

    Source: Radford et al. 2019, section 2.3.
    """
    w = weights
    h = layer_norm(x, w["norm_1"], w["norm_1_bias"])
    query = split_heads(h @ w["w_q"] + w["b_q"], n_heads)  # (B, H, T, K)
    key = split_heads(h @ w["w_k"] + w["b_k"], n_heads)
    value = split_heads(h @ w["w_v"] + w["b_v"], n_heads)
    attended = scaled_dot_product_attention(query, key, value, attn_mask)
    x = x + merge_heads(attended) @ w["w_o"] + w["b_o"]

    h = layer_norm(x, w["norm_2"], w["norm_2_bias"])
    return x + gelu(h @ w["w_1"] + w["b_1"]) @ w["w_2"] + w["b_2"]


def llama_block(
    x: np.ndarray,
    weights: dict[str, np.ndarray],
    *,
    n_heads: int,
    n_kv_heads: int,
    inv_freq: np.ndarray,
    attn_mask: np.ndarray,
    layout: str = "half",
    eps: float = 1e-5,
) -> np.ndarray:
    """One block of Llama's kind: RMSNorm, RoPE, shared heads and SwiGLU.

    Takes and gives (B, T, D). The sizes of the weights:
    w_q (D, H K), w_k and w_v (D, G K), w_o (H K, D),
    w_gate and w_up (D, F), w_down (F, D).

    Source: Touvron et al. 2023, section 2.2.
    """
    w, positions = weights, np.arange(x.shape[1])
    h = rms_norm(x, w["norm_1"], eps)
    query = split_heads(h @ w["w_q"], n_heads)  # (B, H, T, K)
    key = split_heads(h @ w["w_k"], n_kv_heads)  # (B, G, T, K)
    value = split_heads(h @ w["w_v"], n_kv_heads)
    query = apply_rope(query, positions, inv_freq, layout)
    key = apply_rope(key, positions, inv_freq, layout)
    n_rep = n_heads // n_kv_heads
    key, value = repeat_kv(key, n_rep), repeat_kv(value, n_rep)
    attended = scaled_dot_product_attention(query, key, value, attn_mask)
    x = x + merge_heads(attended) @ w["w_o"]

    h = rms_norm(x, w["norm_2"], eps)
    return x + swiglu(h, w["w_gate"], w["w_up"], w["w_down"])


def decoder(
    tokens: np.ndarray,
    table: np.ndarray,
    blocks: list[dict[str, np.ndarray]],
    norm: np.ndarray,
    eps: float = 1e-5,
    **how: Any,
) -> np.ndarray:
    """Score the next token at every position: (B, T) to (B, T, V).

    One table (V, D) embeds the tokens and scores the next ones. In
    between are blocks of Llama's kind and a last norm, (D,). What else
    llama_block has to know comes by its names.
    """
    attn_mask = causal_mask(tokens.shape[1], tokens.shape[1])
    x = embed(tokens, table)  # (B, T, D): the residual stream
    for weights in blocks:
        x = llama_block(x, weights, attn_mask=attn_mask, eps=eps, **how)
    return tied_logits(rms_norm(x, norm, eps), table)
