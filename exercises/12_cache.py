# %% [markdown]
# # Exercise 12: the key-value cache
#
# Read chapter 12 first. You write four functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given. What a task
# lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## Write into a cache
#
# A cache has room for `max_len` tokens. What stands in the places that are not filled yet
# is up to chance.

# %% tags=["exercise"]
from solutions.cache import update_cache

# %% [markdown]
# One head, room for six tokens of one number each, four of them filled. Which places should
# change?

# %%
import numpy as np

cache = np.array([10.0, 11, 12, 13, -1, -1]).reshape(1, 1, 6, 1)
new = np.array([14.0]).reshape(1, 1, 1, 1)
print(update_cache(cache, new, 4).ravel())

# %% [markdown]
# ## Positions
#
# New tokens go on counting where the cached ones ended.

# %% tags=["exercise"]
from solutions.cache import cache_positions

# %% [markdown]
# A prompt of four tokens, and then the first token that is written. Which position is its?

# %%
print(cache_positions(0, 4), cache_positions(4, 1))

# %% [markdown]
# ## One step
#
# Now attention with a cache. `update_cache` is yours, and if it is not right yet, this
# function is judged with a right version of it. `scaled_dot_product_attention`,
# `causal_mask` and `repeat_kv` of earlier chapters stand at the top of this notebook.

# %% tags=["exercise"]
from solutions.cache import decode_step

# %% [markdown]
# Three tokens at once, and then a fourth by itself. Is the fourth row the one that all four
# at once would give?

# %%
rng = np.random.default_rng(12)
query = rng.normal(size=(1, 4, 4, 8))
key, value = rng.normal(size=(2, 1, 2, 4, 8))
empty = np.zeros((1, 2, 6, 8))
at_once, _, _ = decode_step(query, key, value, empty, empty, 0)
_, cache_k, cache_v = decode_step(
    query[:, :, :3], key[:, :, :3], value[:, :, :3], empty, empty, 0
)
fourth, _, _ = decode_step(
    query[:, :, 3:], key[:, :, 3:], value[:, :, 3:], cache_k, cache_v, 3
)
print(np.allclose(fourth, at_once[:, :, 3:]))

# %% [markdown]
# ## A prompt in chunks
#
# A long prompt need not come in one piece. `decode_step` is yours as well.

# %% tags=["exercise"]
from solutions.cache import prefill_in_chunks

# %% [markdown]
# The size of the chunks must not show in the answer.

# %%
for chunk in (1, 3, 4, 9):
    print(chunk, np.allclose(prefill_in_chunks(query, key, value, chunk), at_once))
