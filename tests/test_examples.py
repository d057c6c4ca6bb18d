"""The sample notebooks are as their scripts say; the grader names what is wrong."""

import importlib.util

import pytest

from autograder.course import ROOT
from autograder.notebooks import load
from autograder.runner.coordinator import grade

EXAMPLES = ROOT / "examples"


def test_the_sample_notebooks_are_up_to_date():
    spec = importlib.util.spec_from_file_location("build", EXAMPLES / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    made = build.notebooks()
    assert set(made) == set(EXAMPLES.rglob("*.ipynb"))
    for path, content in made.items():
        assert load(path) == content, f"{path} is stale: make notebooks"


def verdicts(name: str):
    submission = grade(EXAMPLES / name)
    assert submission.status == "graded", submission.message
    return {verdict.name: verdict for verdict in submission.verdicts}


def test_right_answers_written_another_way_earn_everything():
    assert all(v.points == v.max_points for v in verdicts("right.ipynb").values())


def test_the_unsolved_notebook_earns_nothing():
    assert {v.verdict for v in verdicts("unsolved.ipynb").values()} == {"unsolved"}


@pytest.mark.parametrize(
    ("notebook", "function", "told"),
    [
        ("04_formula", "sinusoidal_positions", "All columns are the same"),
        ("04_formula", "decoder_input", "not multiplied by the square root of D"),
        ("04_formula", "decoder_input", "could not be broadcast"),
        (
            "04_no_new_axis",
            "sinusoidal_positions",
            "does one need a new axis",
        ),
        ("04_own_frequencies", "sinusoidal_positions", "have different frequencies"),
        ("04_unsqueeze", "sinusoidal_positions", "a method of PyTorch's tensors"),
        ("06_feature_axis", "padding_mask", "an axis of features follows"),
        ("06_hidden_queries", "padding_mask", "hides queries, not keys"),
        ("06_hidden_queries", "decoder_mask", "hides queries, not keys"),
        ("06_source_and_target", "decoder_mask", "hides queries as well as keys"),
        ("06_source_and_target", "decoder_mask", "There is no causal mask"),
        ("06_no_causal_mask", "decoder_mask", "There is no causal mask"),
    ],
)
def test_the_mistakes_of_the_article_are_named(notebook, function, told):
    verdict = verdicts(f"the_article/{notebook}.ipynb")[function]
    assert verdict.points == 0
    assert told in f"{verdict.message} {verdict.hint}"
