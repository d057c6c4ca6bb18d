"""What a decoder is fed: padded batches, shifted targets, labels, position ids."""

import numpy as np


def pad_batch(
    sequences: list[list[int]], pad_id: int, side: str = "right"
) -> tuple[np.ndarray, np.ndarray]:
    """Make a rectangle of sequences of different lengths, and say what in it is real.

    T is the length of the longest sequence; one of them may be empty. `side` is where
    the padding stands, "right" or "left". A sequence may contain `pad_id` itself: as
    a token of the sequence it is real.

    Shapes:
        sequences: B lists of int
        returns: tokens (B, T), int, and attention_mask (B, T), bool: True where real

    Raises:
        ValueError: if side is neither "right" nor "left".
    """
    if side not in ("right", "left"):
        raise ValueError(f'side is "right" or "left", not {side!r}')
    length = max(map(len, sequences))
    tokens = np.full((len(sequences), length), pad_id)
    attention_mask = np.zeros((len(sequences), length), dtype=bool)
    for row, sequence in enumerate(sequences):
        first = 0 if side == "right" else length - len(sequence)
        tokens[row, first : first + len(sequence)] = sequence
        attention_mask[row, first : first + len(sequence)] = True
    return tokens, attention_mask


def shift_right(
    labels: np.ndarray, decoder_start_id: int, pad_id: int, ignore_index: int = -100
) -> np.ndarray:
    """Make a decoder's input of its labels: each position gets the label before it.

    Position 0 gets `decoder_start_id`, and the last label falls out. `ignore_index`
    is the label of what does not count; it is no id, so `pad_id` takes its place.

    Shapes:
        labels: (B, T), int
        returns: (B, T), int

    Source: Vaswani et al. 2017, figure 1, "Outputs (shifted right)".
    """
    start = np.full_like(labels[:, :1], decoder_start_id)
    shifted = np.concatenate([start, labels[:, :-1]], axis=1)
    return np.where(shifted == ignore_index, pad_id, shifted)


def causal_lm_labels(
    tokens: np.ndarray, attention_mask: np.ndarray, ignore_index: int = -100
) -> np.ndarray:
    """Give the labels of a decoder-only model: its own tokens, without the padding.

    They are not shifted; the loss does that. The label of padding is `ignore_index`.
    What is padding is said by the mask: an id that stands for padding may stand for a
    real token as well.

    Shapes:
        tokens: (B, T), int
        attention_mask: (B, T), bool: True on real tokens
        returns: (B, T), int
    """
    return np.where(attention_mask, tokens, ignore_index)


def position_ids(attention_mask: np.ndarray) -> np.ndarray:
    """Number the real tokens of every row from 0, wherever the padding stands.

    Padding gets 0.

    Shapes:
        attention_mask: (B, T), bool: True on real tokens
        returns: (B, T), int
    """
    counted = np.cumsum(attention_mask, axis=1) - 1
    return np.where(attention_mask, counted, 0)
