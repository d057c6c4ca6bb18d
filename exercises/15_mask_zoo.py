# %% [markdown]
# # Exercise 15: masks as rules
#
# Read chapter 15 first. You write seven functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# A mask is `True` where a query may attend to a key. A function never changes the arrays
# that it is given. Three of the functions give back a function: `check` calls what they give
# back with arrays of positions.

# %% [markdown]
# ## A prefix that all may see

# %% tags=["exercise"]
from solutions.mask_zoo import prefix_lm

# %% [markdown]
# A prefix of 3 positions. Which queries see more than their past?

# %%
import numpy as np

q, k = np.arange(6)[:, None], np.arange(6)
print(prefix_lm(3)(q, k).astype(int))

# %% [markdown]
# ## A window that moves along

# %% tags=["exercise"]
from solutions.mask_zoo import sliding_window

# %% [markdown]
# A window of 3: how many ones are there in the last row?

# %%
print(sliding_window(3)(q, k).astype(int))

# %% [markdown]
# ## Documents that do not see each other

# %% tags=["exercise"]
from solutions.mask_zoo import document

# %% [markdown]
# Three documents, of 3, 2 and 1 positions. Their numbers are names: no order, no meaning.

# %%
document_ids = np.array([4, 4, 4, 1, 1, 6])
print(document(document_ids)(q, k).astype(int))

# %% [markdown]
# ## From a rule to an array
#
# `check` tries rules of chance here: each looks its answers up in a table, and where a call
# is shown, the table stands in place of `mask_fn`.

# %% tags=["exercise"]
from solutions.mask_zoo import materialise

# %% [markdown]
# Two queries after a cache of three keys.

# %%
print(materialise(lambda q, k: k <= q, 2, 5).astype(int))

# %% [markdown]
# ## What can be skipped

# %% tags=["exercise"]
from solutions.mask_zoo import live_blocks

# %% [markdown]
# A causal mask of ten positions, in blocks of four. How many of the nine are computed?

# %%
print(live_blocks(np.tri(10, dtype=bool), 4).astype(int))

# %% [markdown]
# ## Positions of packed documents

# %% tags=["exercise"]
from solutions.mask_zoo import packed_positions

# %%
print(packed_positions(document_ids))

# %% [markdown]
# ## Attention through a window
#
# You may use what you wrote above. `scaled_dot_product_attention` of chapter 5 stands at
# the top of this notebook. `check` counts the memory that your function takes for
# one long sequence. If it is as much as one byte for each pair of positions, the call stops
# with a `MemoryError`.

# %% tags=["exercise"]
from solutions.mask_zoo import windowed_attention

# %% [markdown]
# Change the first key. With a window of 3, which outputs should move?

# %%
rng = np.random.default_rng(15)
query, key, value = rng.normal(size=(3, 10, 4))
before = windowed_attention(query, key, value, 3)
key[0] += 1
moved = windowed_attention(query, key, value, 3) != before
print(moved.any(axis=1).astype(int))
