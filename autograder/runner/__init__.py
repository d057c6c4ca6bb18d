"""Run a learner's notebook in another process and ask its functions."""
