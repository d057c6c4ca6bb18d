# %% [markdown]
# # Exercise 4: positional encoding
#
# Read chapter 4 first. You write three functions. Under each of them is a cell that
# calls `check`: run it as often as you like. It shows what is right and, if something is
# wrong, which mistake it is and where it shows.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given. What a task
# lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## The table
#
# One row for each position, one column for each dimension of the model. Think of every
# pair of columns as the hand of a clock, and of its angle as position times frequency.

# %% tags=["exercise"]
from solutions.positions import sinusoidal_positions

# %% [markdown]
# Look at it: the first columns swing quickly, the last ones hardly at all.

# %%
sinusoidal_positions(6, 8).round(2)

# %% [markdown]
# ## Moving by an offset
#
# The sine and the cosine of a sum are made of the sines and cosines of its parts. So one
# matrix moves every row of the table by the same number of positions.

# %% tags=["exercise"]
from solutions.positions import shift_matrix

# %% [markdown]
# Row 1 times the matrix for 3 positions, and row 4 itself: what do you expect to see?

# %%
table = sinusoidal_positions(6, 8)
print((table[1] @ shift_matrix(3, 8)).round(2))
print(table[4].round(2))

# %% [markdown]
# ## What the first layer receives
#
# Now both parts come together: which token it is, and where it stands.

# %% tags=["exercise"]
from solutions.positions import decoder_input
