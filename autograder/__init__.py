"""Name the mistake: grade the course's exercises and say what went wrong.

from autograder import check
"""

from autograder.check import check

__all__ = ["check"]
