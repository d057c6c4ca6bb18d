# %% [markdown]
# # Exercise 11: blocks
