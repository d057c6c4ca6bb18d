# %% [markdown]
# # Exercise 14
