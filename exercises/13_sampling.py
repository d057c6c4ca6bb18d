# %% [markdown]
# # Exercise 13: sampling text
#
# Read chapter 13 first. You write six functions. Under each of them is a cell that calls
# `check`: run it as often as you like. It shows what is right and, if something is wrong,
# which mistake it is and where it shows.
#
# The first four take logits and give logits: any number of axes, of which the last one
# holds the V tokens. A token that is dropped gets `-inf`; what is kept stays as it is, and
# where it is. A float answer has the type of its float inputs, and a function never
# changes the arrays that it is given. What a task lists under "Raises" is good practice
# and is not checked.

# %% [markdown]
# ## Sharper or flatter

# %% tags=["exercise"]
from solutions.sampling import apply_temperature

# %% [markdown]
# The same logits at three temperatures:

# %%
import numpy as np

logits = np.array([2.0, 1.0, 0.0, -1.0])
for temperature in (0.5, 2.0, 0):
    print(temperature, apply_temperature(logits, temperature))

# %% [markdown]
# ## The k best

# %% tags=["exercise"]
from solutions.sampling import top_k_filter

# %% [markdown]
# Two rows, and equal logits in the second. How many tokens are left there?

# %%
logits = np.array([[2.0, 1.0, 0.0, -1.0], [1.0, 3.0, 1.0, 0.0]])
print(top_k_filter(logits, 2))

# %% [markdown]
# ## The nucleus

# %% tags=["exercise"]
from solutions.sampling import top_p_filter

# %% [markdown]
# These logits belong to the probabilities 0.5, 0.3, 0.15 and 0.05, which are not in this
# order. Which tokens are left for p = 0.7, and what do they add up to?

# %%
logits = np.log([0.15, 0.5, 0.05, 0.3])
print(top_p_filter(logits, 0.7))

# %% [markdown]
# ## As good as a fraction of the best

# %% tags=["exercise"]
from solutions.sampling import min_p_filter

# %% [markdown]
# The same probabilities. The best token has 0.5: what does another one need?

# %%
print(min_p_filter(logits, 0.2))

# %% [markdown]
# ## Among how many does it choose?

# %% tags=["exercise"]
from solutions.sampling import perplexity

# %% [markdown]
# Three places, the last of which does not count. Work it out by hand: the probabilities of
# the first two targets are 0.5 and 0.125.

# %%
logits = np.log([[0.5, 0.25, 0.25], [0.75, 0.125, 0.125], [0.2, 0.4, 0.4]])
print(perplexity(logits, np.array([0, 2, -100])))

# %% [markdown]
# ## The best sequence
#
# `step` stands for the model. It takes the ids so far, from the start on, and gives the
# log-probabilities of the next one. In the check it looks them up in a table, by how many
# ids there are and by the last of them.
#
# Write down what one step does with two beginnings and three ids before you write a line:
# six continuations, ranked by their sums. Which of them are set aside, and which go on?

# %% tags=["exercise"]
from solutions.sampling import beam_search

# %% [markdown]
# A model with the ids 0 (start), 1 (end), 2 and 3, which looks at the last id alone.
# Greedy search takes 2 first, since it is more probable than 3. What does a beam of two
# find?

# %%
table = np.log(
    [
        [0.01, 0.04, 0.55, 0.40],
        [0.25, 0.25, 0.25, 0.25],
        [0.02, 0.28, 0.35, 0.35],
        [0.01, 0.95, 0.02, 0.02],
    ]
)
for beam_size in (1, 2):
    ids, score = beam_search(lambda ids: table[ids[-1]], 0, 1, beam_size, 5)
    print(beam_size, ids, round(score, 3))
