"""The learner's door: check(f) says whether f is right and, if not, what is wrong."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autograder.answers import COLLECTING

if TYPE_CHECKING:
    from autograder.report import Card


class CheckFailed(Exception):
    """Raised where nbgrader executes, so that the cell counts as failed."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in place of a traceback."""
        return str(self).splitlines()


def check(function: Callable[..., Any]) -> "Card | None":
    """Judge one of your functions, with the same judge that grades it.

    In a notebook the answer is shown. Where nbgrader executes the notebook, a wrong
    function raises, so that the cell fails. Where answers are only collected, nothing
    happens.
    """
    if COLLECTING in os.environ:
        return None
    # These need the solutions, which the process that collects cannot see.
    from autograder import live, report

    card = report.Card(live.verdict_on(function))
    if "NBGRADER_EXECUTION" not in os.environ:
        return card
    if card.verdict.verdict != "right":
        raise CheckFailed(repr(card))
    print(card)  # nbgrader would read a value as points
    return None
