# %% [markdown]
# # Exercise 3: embeddings
#
# Read chapter 3 first. You write three functions. Under each of them is a cell that
# calls `check`: run it as often as you like. It shows what is right and, if something is
# wrong, which mistake it is and where it shows.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given.

# %% [markdown]
# ## The lookup
#
# A table of numbers, a row for each token of the vocabulary. However many axes the
# tokens have, the answer has one more.

# %% tags=["exercise"]
from solutions.embeddings import embed

# %% [markdown]
# Two sequences of three tokens, and rows that you can tell apart at a glance: row 2 is
# 20, 21. Token 2 stands in both sequences.

# %%
import numpy as np

table = np.array([[0, 1], [10, 11], [20, 21], [30, 31]])
tokens = np.array([[2, 0, 3], [1, 2, 2]])
print(embed(tokens, table))

# %% [markdown]
# ## The way back
#
# Every row that was looked up comes back with a gradient. Now the table has to learn
# from them: which rows, and how much?

# %% tags=["exercise"]
from solutions.embeddings import embedding_gradient

# %% [markdown]
# Let every gradient be 1. Then you can count by hand: how often does each token occur in
# `tokens`? In the second table token 2 is padding.

# %%
ones = np.ones((2, 3, 2))
print(embedding_gradient(tokens, ones, vocab_size=5))
print(embedding_gradient(tokens, ones, vocab_size=5, padding_idx=2))

# %% [markdown]
# ## The same table, at the other end
#
# The last layer of a decoder gives a vector for every position. Which token comes next?
# Compare the vector with every row of the table.

# %% tags=["exercise"]
from solutions.embeddings import tied_logits

# %% [markdown]
# A hidden vector that points along row 1: which token gets the largest logit? It need
# not be token 1.

# %%
hidden = np.array([[1.0, 1.1]])
print(tied_logits(hidden, table))
