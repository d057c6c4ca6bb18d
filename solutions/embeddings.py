"""Embeddings: a table with one row for every token of the vocabulary."""

import numpy as np


def embed(tokens: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Give each token its row of the table.

    A token is the number of its row, counted from 0. Nothing is scaled or added.

    Shapes:
        tokens: (...), int
        table: (V, D), float
        returns: (..., D), float
    """
    return table[tokens]


def embedding_gradient(
    tokens: np.ndarray,
    grad: np.ndarray,
    vocab_size: int,
    padding_idx: int | None = None,
) -> np.ndarray:
    """Send the gradient of the looked-up rows back to the table.

    `grad` is the gradient of the loss for each row that was looked up. A token that
    was looked up several times gets the sum, one that was not gets zeros; and so does
    `padding_idx`, if there is one.

    Shapes:
        tokens: (...), int
        grad: (..., D), float
        returns: (V, D) for V = vocab_size, float

    Source: PyTorch's reference, `torch.nn.Embedding`.
    """
    table_grad = np.zeros((vocab_size, grad.shape[-1]), dtype=grad.dtype)
    np.add.at(table_grad, tokens, grad)
    if padding_idx is not None:
        table_grad[padding_idx] = 0
    return table_grad


def tied_logits(hidden: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Score every token of the vocabulary with the table that embeds them.

    A token's logit is the dot product of the hidden vector with its row.

    Shapes:
        hidden: (..., D), float
        table: (V, D), float
        returns: (..., V), float

    Source: Press and Wolf 2017; Vaswani et al. 2017, section 3.4.
    """
    return hidden @ table.T
