# %% [markdown]
# # Exercise 9: cross-attention
#
# Read chapter 9 first. You write three functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# What earlier chapters had you write is given, and you may use all of it. Every mask is an
# array of bool, `True` where a query may attend to a key. A function never changes the
# arrays that it is given.

# %% [markdown]
# ## Three masks
#
# An encoder reads the source, a decoder writes the target, and the decoder looks at the
# source. Who may look at whom in each of the three?

# %% tags=["exercise"]
from solutions.cross_attention import seq2seq_masks

# %% [markdown]
# A source of three tokens and one of two, targets of two tokens and of three; 0 is padding
# and also what the targets start with. Whose tokens are the columns of each grid?

# %%
import numpy as np

source = np.array([[5, 6, 7], [8, 9, 0]])
target_input = np.array([[0, 3, 0, 0], [0, 4, 2, 4]])
masks = seq2seq_masks(source, target_input, pad_id=0)
for name, attn_mask in zip(("source", "target", "memory"), masks, strict=True):
    print(name, attn_mask.shape)
    print(attn_mask.astype(int)[:, 0])

# %% [markdown]
# ## Who looks where
#
# Every head has a map: a row for each target token, a column for each source token.

# %% tags=["exercise"]
from solutions.cross_attention import cross_attention_weights

# %% [markdown]
# Two target tokens look at three source tokens, the last of which is hidden. Each target
# token is about as long as the source token that it looks like, so you can say before you
# run the cell where it looks.

# %%
memory = np.array([[[4.0, 0.0], [0.0, 4.0], [4.0, 4.0]]])  # (1, 3, 2)
x = np.array([[[0.0, 3.0], [3.0, 0.0]]])  # (1, 2, 2)
see_two = np.array([[[[True, True, False]]]])
print(
    cross_attention_weights(
        x, memory, np.eye(2), np.eye(2), n_heads=1, memory_mask=see_two
    ).round(3)
)

# %% [markdown]
# ## The attention of a decoder layer
#
# First the target looks at itself, then at the source. `multi_head_attention` of chapter 8
# does the work; what you write is who looks at whom, with which weights, under which mask,
# and what becomes of what was there before.

# %% tags=["exercise"]
from solutions.cross_attention import decoder_attention

# %% [markdown]
# Change the last token of the target: only the last output may move. Change the last token
# of the source: all of them may.

# %%
rng = np.random.default_rng(9)
x, memory = rng.normal(size=(1, 4, 6)), rng.normal(size=(1, 3, 6))
self_weights, cross_weights = rng.normal(size=(2, 4, 6, 6)) / 3


def layer(x, memory):
    return decoder_attention(
        x,
        memory,
        tuple(self_weights),
        tuple(cross_weights),
        n_heads=2,
        target_mask=np.tri(4, dtype=bool),
        memory_mask=np.ones((1, 1, 1, 3), dtype=bool),
    )


def movement(new_x, new_memory):
    return abs(layer(new_x, new_memory) - layer(x, memory)).max(axis=-1).round(3)


last = np.zeros((1, 4, 1))
last[:, -1] = 1
print("another last target token:", movement(x + last, memory))
print("another last source token:", movement(x, memory + last[:, -3:]))
