"""The probes are sharp: no small change of a solution keeps its points."""

import inspect

import pytest
from mutants import hand_in, mutants, survivors

from autograder import specs

EXERCISES = [e for stem in specs.stems() for e in specs.exercises_of(stem)]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_every_mutant_loses_its_points(exercise, seed):
    alive, told = survivors(exercise, seed)
    assert alive == []
    assert told.total() >= 5


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_what_is_called_equivalent_exists_and_survives(exercise):
    sources = dict(mutants(exercise))
    for line in exercise.equivalents:
        assert hand_in(exercise, sources[line], 0).points == exercise.points


def test_the_mutator_leaves_the_solution_itself_alone():
    for exercise in EXERCISES:
        source = inspect.getsource(exercise.solution)
        assert hand_in(exercise, source, 0).points == exercise.points
