"""Every exercise, for ever: what is right passes, what is wrong is named."""

import inspect
import itertools

import numpy as np
import pytest

from autograder import specs
from autograder.answers import ask
from autograder.compare import equal
from autograder.exercise import Exercise
from autograder.judge import Verdict, expect, judge
from autograder.relations import known

EXERCISES = [e for stem in specs.stems() for e in specs.exercises_of(stem)]
SEEDS = [0, 1, 2, 20]  # 0: what learners see; the others: what is graded


def judged(exercise: Exercise, function, seed: int) -> Verdict:
    def ask_it(exercise, probes, helpers):
        return [ask(function, p.args, p.kwargs, exercise.adapter) for p in probes]

    return judge(exercise, exercise.draw(seed), ask_it)


def each(kind: str):
    """Parameters: every exercise with every one of its variants or mistakes."""
    return [
        pytest.param(exercise, item, id=f"{exercise.name}-{number}")
        for exercise in EXERCISES
        for number, item in enumerate(getattr(exercise, kind))
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_solution_earns_all_points(exercise, seed):
    verdict = judged(exercise, exercise.solution, seed)
    assert verdict.points == exercise.points, verdict.message


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("exercise", "variant"), each("variants"))
def test_a_right_answer_written_another_way_is_accused_of_nothing(
    exercise, variant, seed
):
    verdict = judged(exercise, variant, seed)
    assert verdict.points == exercise.points, verdict.message
    assert verdict.mistake is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("exercise", "mistake"), each("mistakes"))
def test_a_known_mistake_is_rejected_and_named(exercise, mistake, seed):
    verdict = judged(exercise, mistake.function, seed)
    assert verdict.points == 0
    assert (verdict.mistake, verdict.way) == (mistake.sentence, "name")
    assert verdict.hint == mistake.hint


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_stub_earns_nothing_and_is_told_so(exercise):
    def stub(*args, **kwargs):
        raise NotImplementedError

    verdict = judged(exercise, stub, 0)
    assert (verdict.points, verdict.verdict) == (0, "unsolved")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_no_two_mistakes_give_the_same_answers(exercise, seed):
    probes = exercise.draw(seed)

    def answers(function):
        outcomes = [ask(function, p.args, p.kwargs, exercise.adapter) for p in probes]
        return [getattr(outcome, "value", None) for outcome in outcomes]

    given = [(m.sentence, answers(m.function)) for m in exercise.mistakes]
    for (one, some), (two, others) in itertools.combinations(given, 2):
        assert not all(map(equal, some, others)), f"{one} / {two}"


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_the_family_is_right_by_default(exercise):
    if exercise.family_function is None:
        return
    for probe in [probe for probe in exercise.draw() if not probe.refused]:
        assert equal(
            exercise.call(exercise.family_function, *probe.args, **probe.kwargs),
            expect(exercise, probe),
        )


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_it_has_enough_to_go_by(exercise):
    assert len(exercise.variants) >= 2
    assert len(list(known(exercise))) >= 3
    assert all(mistake.hint for mistake in exercise.mistakes)
    for part in [exercise.part(i) for i in range(len(exercise.parts))] or [exercise]:
        widest = max(np.ndim(expect(part, probe)) for probe in exercise.draw())
        assert len(part.axes) == widest
    assert "Shapes:" in inspect.getdoc(exercise.solution)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.name)
def test_graded_probes_differ_from_the_visible_ones(exercise):
    def answers(seed):
        return [expect(exercise, probe) for probe in exercise.draw(seed)]

    assert not all(map(equal, answers(0), answers(1)))
    assert all(map(equal, answers(1), answers(1)))
