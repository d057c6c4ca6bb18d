# %% [markdown]
# # Exercise 8: many heads
#
# Read chapter 8 first. You write four functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given. What a task
# lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## Cut
#
# A good cut gives every head a piece of every token.

# %% tags=["exercise"]
from solutions.heads import split_heads

# %% [markdown]
# Two tokens of six numbers, in three heads. Token 0 is 0 to 5, token 1 is 10 to 15. Which
# numbers should head 0 hold?

# %%
import numpy as np

x = np.array([[[0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]]])
print(split_heads(x, 3)[0])

# %% [markdown]
# ## Put together
#
# The way back. What is cut and put together again is what it was.

# %% tags=["exercise"]
from solutions.heads import merge_heads

# %%
print(merge_heads(split_heads(x, 3))[0])

# %% [markdown]
# ## Multi-head attention
#
# Now all of it: project, cut, attend, put together, project. `split_heads` and
# `merge_heads` are yours, and if one of them is not right yet, this function is judged with
# a right version of it. `scaled_dot_product_attention` of chapter 5 stands at the top of
# this notebook.

# %% tags=["exercise"]
from solutions.heads import multi_head_attention

# %% [markdown]
# Three tokens look at four others. What shape do you expect?

# %%
rng = np.random.default_rng(8)
x, memory = rng.normal(size=(1, 3, 6)), rng.normal(size=(1, 4, 6))
weights = rng.normal(size=(4, 6, 6)) / 2
print(multi_head_attention(x, memory, *weights, n_heads=2).shape)

# %% [markdown]
# ## Share keys and values
#
# Grouped-query attention has fewer key-value heads than query heads. Before they meet,
# every key-value head is copied for the query heads that share it.

# %% tags=["exercise"]
from solutions.heads import repeat_kv

# %% [markdown]
# Two key-value heads, three copies of each. Each number below stands for the one number
# that a head holds.

# %%
print(repeat_kv(np.array([[[[0]], [[1]]]]), 3).ravel())
