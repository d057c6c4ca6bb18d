# %% [markdown]
# # Exercise 7: mask numerics
#
# Read chapter 7 first. You write three functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Every mask is a NumPy array of bool: `True` where a query (row) may attend to a key
# (column). A float answer has the type of its float inputs: `float16` for `float16`. A
# function never changes the arrays that it is given.

# %% [markdown]
# ## A mask as numbers

# %% tags=["exercise"]
from solutions.numerics import mask_to_bias

# %% [markdown]
# One mask in two types. Then the same mask, added to scores.

# %%
import numpy as np

attn_mask = np.array([[True, False, False], [True, True, False]])
print(mask_to_bias(attn_mask, np.float32))
print(mask_to_bias(attn_mask, np.float16).dtype)

scores = np.array([[2.0, 9.0, 1.0], [0.5, 1.5, 3.0]])
print(scores + mask_to_bias(attn_mask, scores.dtype))

# %% [markdown]
# ## A softmax that can see nothing
#
# Work through a row without any `True` by hand before you write a line. Where does the
# first NaN arise? NumPy warns when it makes one, and the check hears it: a NaN that is
# made and then removed costs the points, too.

# %% tags=["exercise"]
from solutions.numerics import masked_softmax

# %% [markdown]
# The second query sees nothing, and the scores are large. Once in single and once in half
# precision:

# %%
scores = np.array([[900, 901, 5], [7, 3, 8]], dtype=np.float32)
attn_mask = np.array([[True, True, False], [False, False, False]])
print(masked_softmax(scores, attn_mask))
print(masked_softmax(scores.astype(np.float16), attn_mask))

# %% [markdown]
# ## The logarithm of a sum of exponentials
#
# The denominator of the softmax, as a logarithm. If NumPy warns you of `log(0)` here, that
# is fine: minus infinity is the answer then.

# %% tags=["exercise"]
from solutions.numerics import log_sum_exp

# %% [markdown]
# Large numbers, small ones, and none at all:

# %%
x = np.array([[1000.0, 1000.0], [-1000.0, -1000.0], [-np.inf, -np.inf]])
print(log_sum_exp(x))
