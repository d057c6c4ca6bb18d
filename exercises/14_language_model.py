# %% [markdown]
# # Exercise 14: your functions run a real language model
#
# Read chapter 14 first. You write the last two functions, and then the model speaks.
# What a task lists under "Raises" is good practice and is not checked.

# %% [markdown]
# ## Pieces of words

# %% tags=["exercise"]
from solutions.language_model import merge_pairs

# %% [markdown]
# Ranks as they could have been learned from a text about owls. Which pair is joined
# first? What would come out if the leftmost pair were?

# %%
ranks = {("o", "w"): 0, ("l", "s"): 1, ("ow", "ls"): 2, ("w", "l"): 3}
print(merge_pairs(list("owls"), ranks))
print(merge_pairs(list("bowls"), ranks))

# %% [markdown]
# ## The prompt

# %% tags=["exercise"]
from solutions.language_model import chat_prompt

# %%
print(chat_prompt([{"role": "user", "content": "Who are you?"}]))

# %% [markdown]
# ## Now it speaks
#
# The model's file has to be there: `make course` or `python -m capstone fetch` gets it,
# once. `load(work=".")` looks into this folder for the notebooks of chapters 3 to 13,
# puts the functions that you have written there into the model, and says which ones.
# What you have not solved is given. What is wrong is used all the same.
#
# These cells are for you alone: they are not graded, and where a notebook is graded the
# model is not loaded.

# %%
from capstone.chat import ask, load

model = load(work=".", merge_pairs=merge_pairs, chat_prompt=chat_prompt)
ask(model, "What is the capital of France?")

# %% [markdown]
# Break something. Any function of the model can be handed over by its name. Here query
# heads share the wrong keys (chapter 8):

# %%
import numpy as np


def wrong_repeat_kv(x, n_rep):
    return np.tile(x, (1, n_rep, 1, 1))


broken = load(repeat_kv=wrong_repeat_kv)
ask(broken, "What is the capital of France?", max_new_tokens=20)
