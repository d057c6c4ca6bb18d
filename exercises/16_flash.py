# %% [markdown]
# # Exercise 16: online softmax
#
# Read chapter 16 first. You write two functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given.

# %% [markdown]
# ## The sum, block by block
#
# Walk through two blocks by hand, the second with a larger score than the first. Relative
# to what is the sum after each of them?

# %% tags=["exercise"]
from solutions.flash import online_softmax

# %% [markdown]
# However the scores are cut, the two numbers are the same:

# %%
import numpy as np

scores = np.array([1.0, 3.0, 2.0, 7.0, 5.0])
for cuts in ([], [2], [1, 2, 4]):
    print(online_softmax(iter(np.split(scores, cuts))))

# %% [markdown]
# ## Attention, block by block
#
# Now every query has a largest score, a sum and an output of its own. What happens to a
# query that sees nothing in the first block, and to one that sees nothing at all?

# %% tags=["exercise"]
from solutions.flash import flash_attention

# %% [markdown]
# The size of the blocks must not show in the answer. The last query sees nothing:

# %%
rng = np.random.default_rng(16)
query, key, value = (rng.normal(size=(n, 2)) for n in (3, 5, 5))
attn_mask = np.array([[1, 1, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
for block in (1, 2, 5, 8):
    print(flash_attention(query, key, value, attn_mask, block=block).round(4).tolist())
