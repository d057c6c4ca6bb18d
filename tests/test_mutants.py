"""The probes are sharp: no small change of a solution keeps its points."""

import csv
import inspect

import pytest
from mutants import TABLE, hand_in, mutants, row, survivors

from autograder import specs

EXERCISES = [e for stem in specs.stems() for e in specs.exercises_of(stem)]


ROWS = {row["exercise"]: row for row in csv.DictReader(TABLE.open())}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_every_mutant_loses_its_points(exercise):
    alive, told = survivors(exercise, 0)
    assert alive == []
    assert told.total() >= 3


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_table_of_the_book_is_that_of_the_mutants(exercise):
    fresh = {name: str(value) for name, value in row(exercise).items()}
    assert fresh == ROWS[exercise.name], "run: make mutants"
    assert fresh["mutants"] == fresh["caught"]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_what_is_called_equivalent_exists_and_survives(exercise):
    sources = dict(mutants(exercise))
    for line in exercise.equivalents:
        assert hand_in(exercise, sources[line], 0).points == exercise.points


def test_the_mutator_leaves_the_solution_itself_alone():
    for exercise in EXERCISES:
        source = inspect.getsource(exercise.solution)
        assert hand_in(exercise, source, 0).points == exercise.points
