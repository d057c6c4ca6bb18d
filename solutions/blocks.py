"""What a decoder's blocks are made of, besides attention: norms and feed-forward."""

import math

import numpy as np


def layer_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float = 1e-5
) -> np.ndarray:
    """Shift and scale every token to mean 0 and variance 1, then scale and shift again.

    The variance is the mean of the squares, and `eps` is added to it under the root.

    Shapes:
        x: (..., D), float
        weight, bias: (D,), float
        returns: like x

    Source: Ba et al. 2016, section 3.1, and PyTorch's LayerNorm for eps.
    """
    x = x - x.mean(axis=-1, keepdims=True)
    variance = (x**2).mean(axis=-1, keepdims=True)
    return x / np.sqrt(variance + eps) * weight + bias


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Scale every token to root mean square 1, then by the weights.

    `eps` is added to the mean of the squares, under the root.

    Shapes:
        x: (..., D), float
        weight: (D,), float
        returns: like x

    Source: Zhang and Sennrich 2019, section 4.
    """
    mean_square = (x**2).mean(axis=-1, keepdims=True)
    return x / np.sqrt(mean_square + eps) * weight


def gelu(x: np.ndarray) -> np.ndarray:
    """Multiply every number by the chance that a standard normal one is smaller.

    It is the exact form, x / 2 times 1 + erf(x / sqrt(2)), not its approximation.

    Shapes:
        x: any shape, float
        returns: like x

    Source: Hendrycks and Gimpel 2016, section 2.
    """
    erf = np.vectorize(math.erf, otypes=[float])
    return (x * 0.5 * (1 + erf(x / math.sqrt(2)))).astype(x.dtype)


def swiglu(
    x: np.ndarray, w_gate: np.ndarray, w_up: np.ndarray, w_down: np.ndarray
) -> np.ndarray:
    """The gated feed-forward layer: one projection opens and shuts another.

    The gate passes through SiLU, z times the logistic function of z. It multiplies the
    other projection of x, and the product is projected down again.

    Shapes:
        x: (..., D), float
        w_gate, w_up: (D, F), float
        w_down: (F, D), float
        returns: like x

    Source: Shazeer 2020, section 2.
    """
    gate = x @ w_gate  # (..., F)
    with np.errstate(over="ignore"):
        silu = gate / (1 + np.exp(-gate))
    return silu * (x @ w_up) @ w_down
