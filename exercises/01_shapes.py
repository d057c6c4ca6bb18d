# %% [markdown]
# # Exercise 1: shapes and broadcasting
#
# Read chapter 1 first. You write three functions. Under each of them is a cell that
# calls `check`: run it as often as you like. It shows what is right and, if something is
# wrong, which mistake it is and where it shows.
#
# In each function replace `raise NotImplementedError()` by your own lines, and keep the
# line with `def`. Arrays are NumPy arrays. A function never changes the arrays that it is
# given. What a task lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## Which positions hold a token?

# %% tags=["exercise"]
from solutions.shapes import sequence_mask

# %% [markdown]
# Two ones in the first row, then three, then none: is that what you see?

# %%
import numpy as np

print(sequence_mask(np.array([2, 3, 0]), 4).astype(int))

# %% [markdown]
# ## Every position with every frequency

# %% tags=["exercise"]
from solutions.shapes import position_angles

# %% [markdown]
# One row for each position. The first column holds the positions themselves, because the
# first frequency is 1.

# %%
print(position_angles(np.array([0, 1, 2, 30]), np.array([1.0, 0.1, 0.01])))

# %% [markdown]
# ## The shape of a product
#
# No array is made here: the arguments are shapes, and so is the answer.

# %% tags=["exercise"]
from solutions.shapes import matmul_shape

# %% [markdown]
# These are the scores of attention: for two sequences and three heads, five queries meet
# seven keys of four numbers each. Which shape do you expect?

# %%
print(matmul_shape((2, 3, 5, 4), (2, 3, 4, 7)))
