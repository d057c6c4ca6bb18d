# %% [markdown]
# # Exercise 17: one mask, six APIs
#
# Read chapter 17 first. From here on you work with PyTorch. You write one function. Under it
# is a cell that calls `check`: run it as often as you like. It shows what is right and, if
# something is wrong, which mistake it is and where it shows.
#
# A function never changes the tensors that it is given. Here the errors that the task lists
# under "Raises" are a part of the task, and `check` looks for them: a converter that loses
# something without a word is worse than none.

# %% [markdown]
# ## A mask in other words
#
# There are 49 pairs of names and you need not write 49 pieces of code. Write what comes in
# as the mask that this course uses everywhere, and that one as what is asked for.

# %% tags=["exercise"]
from solutions.conventions import convert_mask

# %% [markdown]
# The same small mask for everybody: one batch row, two heads, two queries, three keys.

# %%
import torch

keep = torch.tensor([[[[True, False, True], [True, False, True]]]])
names = [
    "additive",
    "transformers_4d",
    "transformers_2d",
    "keras",
    "multihead_attention",
]
for name in names:
    print(
        name, convert_mask(keep, "sdpa", name, shape=(1, 2, 2, 3)), sep="\n", end="\n\n"
    )

# %% [markdown]
# And as a function, which FlexAttention asks for each query and key:

# %%
mask_mod = convert_mask(keep, "sdpa", "flex", shape=(1, 2, 2, 3))
b, h, q_idx, kv_idx = map(torch.tensor, (0, 0, 1, 2))
print(mask_mod(b, h, q_idx, kv_idx))
