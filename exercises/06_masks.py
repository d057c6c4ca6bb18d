# %% [markdown]
# # Exercise 6: masks
#
# Read chapter 6 first. You write four functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Every mask is a NumPy array of bool: `True` where a query (row) may attend to a key
# (column). A function never changes the arrays that it is given. What a task lists under
# "Raises" is good practice and is not checked.

# %% [markdown]
# ## The past, not the future

# %% tags=["exercise"]
from solutions.masks import causal_mask

# %% [markdown]
# Look at two of them. The second is what a decoder needs when three positions are in its
# cache already and two new ones come.

# %%
print(causal_mask(4, 4).astype(int))
print(causal_mask(2, 5).astype(int))

# %% [markdown]
# ## No padding
#
# Sequences of one batch have different lengths. What fills up the short ones should be
# seen by nobody.

# %% tags=["exercise"]
from solutions.masks import padding_mask

# %% [markdown]
# ## Several masks at once

# %% tags=["exercise"]
from solutions.masks import combine_masks

# %% [markdown]
# ## The mask of a decoder
#
# The three functions above are all you need. If one of them is not right yet, this one is
# judged with a right version of it.

# %% tags=["exercise"]
from solutions.masks import decoder_mask

# %% [markdown]
# Two sequences, the second with two tokens of padding (id 0). Which columns are empty?

# %%
import numpy as np

tokens = np.array([[5, 3, 8, 2], [7, 4, 0, 0]])
print(decoder_mask(tokens, pad_id=0).astype(int)[:, 0])
