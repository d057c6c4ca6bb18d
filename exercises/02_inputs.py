# %% [markdown]
# # Exercise 2: decoder inputs
#
# Read chapter 2 first. You write four functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Ids are whole numbers in NumPy arrays; every mask is an array of bool, `True` where a token
# is real. A function never changes what it is given. What a task lists under "Raises" is good
# practice and is not checked.

# %% [markdown]
# ## A rectangle
#
# Sequences of a batch have different lengths, an array has one.

# %% tags=["exercise"]
from solutions.inputs import pad_batch

# %% [markdown]
# Look at it. Token 9 pads here, and it stands in the first sequence as well. Which of the
# nines does the mask call real?

# %%
tokens, attention_mask = pad_batch([[5, 9, 7, 9], [8, 6]], pad_id=9, side="left")
print(tokens)
print(attention_mask.astype(int))

# %% [markdown]
# ## What the decoder reads
#
# In an encoder-decoder model the labels are what the decoder has to write, and its input is
# made of them.

# %% tags=["exercise"]
from solutions.inputs import shift_right

# %% [markdown]
# Read a column: the upper number goes in, the lower one should come out.

# %%
import numpy as np

labels = np.array([[5, 9, 7, 2], [8, 2, -100, -100]])
decoder_input = shift_right(labels, decoder_start_id=1, pad_id=0)
for row in range(2):
    print("reads   ", decoder_input[row])
    print("predicts", labels[row])

# %% [markdown]
# ## What a language model has to predict
#
# A decoder-only model predicts its own input, each token from those before it. Here the loss
# does the shifting.

# %% tags=["exercise"]
from solutions.inputs import causal_lm_labels

# %% [markdown]
# ## Where a token stands
#
# With padding on the left, the first real token is not in the first column.

# %% tags=["exercise"]
from solutions.inputs import position_ids

# %% [markdown]
# The batch from above: its second row has two columns of padding.

# %%
position_ids(attention_mask)
