"""What the appendix says of the chapters and of the grader is so."""

import re

import pytest

from autograder import specs
from autograder.course import ROOT

PAGE = (ROOT / "book/appendix/article.md").read_text()
ROWS = [f"S{number:02}" for number in range(1, 31)]
CAUGHT = re.compile(r"Caught in \[`(\w+)`\]\(#(\w+)\): \"([^\"]+)\"")


def entries() -> dict[str, str]:
    """What stands under each row's name, up to the next row or section."""
    parts = re.split(r"^\*\*(S\d\d), .*?\.\*\*|^## .*$", PAGE, flags=re.MULTILINE)
    named = zip(parts[1::2], parts[2::2], strict=True)
    return {row: text for row, text in named if row}


def caught() -> list[str]:
    """The items that say what the grader catches, each on one line."""
    page = " ".join(PAGE.split())
    return [
        "Caught in " + text.partition(" - ")[0] for text in page.split("- Caught in ")
    ][1:]


def test_every_claim_of_the_article_stands_on_the_page_once():
    assert sorted(re.findall(r"^\*\*(S\d\d),", PAGE, re.MULTILINE)) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_every_claim_links_to_where_it_is_taught(row):
    links = re.findall(r"\]\((\.\./\d\d_\w+\.md)?#[\w-]+\)", entries()[row])
    assert links


@pytest.mark.parametrize("item", caught())
def test_what_is_quoted_is_what_the_grader_says(item):
    match = CAUGHT.match(item)
    assert match, f'not of the form `Caught in [`f`](#f): "sentence"`: {item}'
    shown, anchor, sentence = match.groups()
    assert shown == anchor
    exercise = specs.find(anchor)
    assert exercise, f"no exercise is called {anchor}"
    assert sentence in [mistake.sentence for mistake in exercise.mistakes]


def test_links_to_exercises_name_exercises():
    """A link that shows code goes to a function of the course."""
    for shown, anchor in re.findall(r"\[`([^`]+)`\]\(#(\w+)\)", PAGE):
        assert shown == anchor
        assert specs.find(anchor), anchor
