# %% [markdown]
# # Exercise 11: blocks
#
# Read chapter 11 first. You write four functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows. At the end your functions become a decoder.
#
# Arrays are NumPy arrays. A function never changes the arrays that it is given. What a task
# lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## Shift and scale
#
# LayerNorm brings every token to the same mean and the same spread, and then lets the model
# choose others.

# %% tags=["exercise"]
from solutions.blocks import layer_norm

# %% [markdown]
# One token of four numbers, weights of 1 and biases of 0. What do mean and variance of the
# answer have to be?

# %%
import numpy as np

token = np.array([1.0, 2.0, 3.0, 6.0])
normed = layer_norm(token, weight=np.ones(4), bias=np.zeros(4))
print(normed, normed.mean(), normed.var())

# %% [markdown]
# ## Only scale
#
# RMSNorm leaves the mean where it is.

# %% tags=["exercise"]
from solutions.blocks import rms_norm

# %% [markdown]
# The same token. All of its numbers keep their sign. Why did two of them lose it above?

# %%
normed = rms_norm(token, weight=np.ones(4))
print(normed, (normed**2).mean())

# %% [markdown]
# ## A soft corner
#
# GELU lets large numbers pass, stops very negative ones, and decides softly in between.

# %% tags=["exercise"]
from solutions.blocks import gelu

# %%
print(gelu(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])))

# %% [markdown]
# ## A gate
#
# The feed-forward layer of Llama and its relatives: one projection of a token decides how
# much of another one passes.

# %% tags=["exercise"]
from solutions.blocks import swiglu

# %% [markdown]
# With identities in place of the three matrices, every number is its own gate.

# %%
identity = np.eye(5)
print(swiglu(np.array([-3.0, -1.0, 0.0, 1.0, 3.0]), identity, identity, identity))

# %% [markdown]
# ## Your decoder
#
# This is given: two kinds of block and a whole decoder, made of what you wrote here and in
# earlier chapters. Read it. Every line is a function that you know, or a plus.

# %% tags=["given"]
from solutions.blocks import decoder, gpt2_block, llama_block

# %% [markdown]
# Does it work? Here is a decoder with random weights. Change the last of six tokens, and
# see which logits move. Which of them should?

# %%
d_model, d_head, d_ff, n_heads, n_kv_heads = 12, 4, 20, 3, 1
shapes = {
    "w_q": (d_model, n_heads * d_head),
    "w_k": (d_model, n_kv_heads * d_head),
    "w_v": (d_model, n_kv_heads * d_head),
    "w_o": (n_heads * d_head, d_model),
    "w_gate": (d_model, d_ff),
    "w_up": (d_model, d_ff),
    "w_down": (d_ff, d_model),
}
rng = np.random.default_rng(11)
blocks = []
for _ in range(4):
    weights = {name: rng.normal(size=shape) / 4 for name, shape in shapes.items()}
    blocks.append(weights | {"norm_1": np.ones(d_model), "norm_2": np.ones(d_model)})
table = rng.normal(size=(50, d_model))


def logits(tokens):
    return decoder(
        tokens,
        table,
        blocks,
        np.ones(d_model),
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        inv_freq=10000.0 ** (-np.arange(0, d_head, 2) / d_head),
    )


tokens = np.array([[7, 3, 41, 3, 19, 8]])
changed = tokens.copy()
changed[0, -1] = 30
print(np.abs(logits(changed) - logits(tokens)).max(axis=-1))
