# %% [markdown]
# # Exercise 10: relative positions
#
# Read chapter 10 first. You write six functions, each of them short. Under each of them is
# a cell that calls `check`: run it as often as you like. It shows what is right and, if
# something is wrong, which mistake it is and where it shows.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given. What a task
# lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## Buckets
#
# T5 learns one number per bucket of distances and adds it to the scores.

# %% tags=["exercise"]
from solutions.relative_positions import relative_position_bucket

# %% [markdown]
# Keys 0 to 200 positions before the query, with the numbers of T5. Where does the first
# bucket begin that holds two distances?

# %%
import numpy as np

print(relative_position_bucket(-np.arange(201), bidirectional=False))

# %% [markdown]
# ## Slopes
#
# ALiBi learns nothing: every head has a fixed slope.

# %% tags=["exercise"]
from solutions.relative_positions import alibi_slopes

# %%
print(alibi_slopes(8))
print(alibi_slopes(12)[8:])

# %% [markdown]
# ## The bias
#
# The slopes times the distances. If `alibi_slopes` is not right yet, this function is
# judged with a right version of it.

# %% tags=["exercise"]
from solutions.relative_positions import alibi_bias

# %% [markdown]
# Two new queries after three keys in a cache. Where are the zeros?

# %%
print(alibi_bias(1, 2, 5) * 256)

# %% [markdown]
# ## Frequencies
#
# They are those of chapter 4, one per pair of dimensions.

# %% tags=["exercise"]
from solutions.relative_positions import rope_frequencies

# %%
print(rope_frequencies(8))

# %% [markdown]
# ## The rotation
#
# Now turn the pairs. Two things make it harder than it looks: pairs can lie in two
# layouts, and every batch row can have positions of its own.

# %% tags=["exercise"]
from solutions.relative_positions import apply_rope

# %% [markdown]
# A quarter turn, so that you can see what moves where. Both lines show the same
# four numbers; which of them are a pair?

# %%
x = np.array([[1.0, 2.0, 3.0, 4.0]])
quarter = np.full(2, np.pi / 2)
for layout in ("interleaved", "half"):
    print(layout, apply_rope(x, np.array([1]), quarter, layout).round(3))

# %% [markdown]
# ## Farther than in training

# %% tags=["exercise"]
from solutions.relative_positions import scaled_base

# %% [markdown]
# How much more slowly does each pair turn?

# %%
print(rope_frequencies(8) / rope_frequencies(8, scaled_base(10000.0, 4.0, 8)))
