# %% [markdown]
# # Exercise 5: scaled dot-product attention
#
# Read chapter 5 first. You write four functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Arrays are NumPy arrays of floats. A function never changes the arrays that it is given.
# The axes of queries and keys are the last two; any number of others, as of heads and of
# sequences, may come before them.

# %% [markdown]
# ## From numbers to weights
#
# Large numbers are part of the task: `np.exp(1000)` is more than a float can hold.

# %% tags=["exercise"]
from solutions.attention import softmax

# %% [markdown]
# Both rows should sum to 1. Why are they the same?

# %%
import numpy as np

softmax(np.array([[1.0, 2.0, 3.0], [1001.0, 1002.0, 1003.0]])).round(3)

# %% [markdown]
# ## Which key fits which query
#
# A row for every query, a column for every key, and no loop.

# %% tags=["exercise"]
from solutions.attention import attention_scores

# %% [markdown]
# Two queries and three keys. Which key fits the first query best?

# %%
query = np.array([[1.0, 0.0], [0.0, 1.0]])
key = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
attention_scores(query, key).round(3)

# %% [markdown]
# ## Attention
#
# The two functions above do most of the work. If one of them is not right yet, this one is
# judged with a right version of it. The mask is as in all of this course: `True` where a
# query may attend to a key.

# %% tags=["exercise"]
from solutions.attention import scaled_dot_product_attention

# %% [markdown]
# If the values are the identity, the answer is the weights. Look at them, with the last
# key open to all, and hidden.

# %%
print(scaled_dot_product_attention(query, key, np.eye(3)).round(3))
attn_mask = np.array([True, True, False])
print(scaled_dot_product_attention(query, key, np.eye(3), attn_mask).round(3))

# %% [markdown]
# ## The way back
#
# Training needs the way back, from a loss to the scores. Here is its first part: through
# the softmax.

# %% tags=["exercise"]
from solutions.attention import softmax_gradient

# %% [markdown]
# A little more of the first score, and a little less: does the loss change as your
# gradient says?

# %%
scores = np.array([1.0, 2.0, 0.5])
grad = np.array([3.0, -1.0, 2.0])  # of a loss that is the sum of weights times these
step = np.array([1e-5, 0, 0])
loss_more = (softmax(scores + step) * grad).sum()
loss_less = (softmax(scores - step) * grad).sum()
print("measured:", ((loss_more - loss_less) / 2e-5).round(6))
print("computed:", softmax_gradient(softmax(scores), grad)[0].round(6))
