"""The probes are sharp: no small change of a solution keeps its points."""

import csv
import inspect

import pytest
from mutants import TABLE, different, hand_in, is_right_on, mutants, row

from autograder import specs

EXERCISES = [e for stem in specs.stems() for e in specs.exercises_of(stem)]


ROWS = {row["exercise"]: row for row in csv.DictReader(TABLE.open())}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_every_mutant_answers_something_wrongly(exercise):
    changed = different(exercise)
    assert len(changed) >= 3
    for seed in (0, 2):
        assert [line for line, new in changed if is_right_on(exercise, new, seed)] == []


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
