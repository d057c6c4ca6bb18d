"""The appendix leads where it says, and leaves out no exercise."""

import csv
import re

import pytest

from autograder import specs
from autograder.course import ROOT, chapter_of

APPENDIX = ROOT / "book" / "appendix"
PAGES = {name: (APPENDIX / f"{name}.md").read_text() for name in ("glossary", "faq")}
LINK = re.compile(r"\[([^][]*)\]\(([^)\s]*)\)")
CHINESE = re.compile("[\N{CJK UNIFIED IDEOGRAPH-4E00}-\N{CJK UNIFIED IDEOGRAPH-9FFF}]")
EXERCISES = [
    exercise
    for stem in sorted(specs.stems(), key=chapter_of)
    for exercise in specs.exercises_of(stem)
]


def links(text: str) -> list[tuple[str, str, str]]:
    """(words, file, anchor) of every link to a page of the course."""
    found = [(" ".join(words.split()), url) for words, url in LINK.findall(text)]
    return [
        (words, file, anchor)
        for words, url in found
        if not url.startswith("https://")
        for file, _, anchor in [url.partition("#")]
    ]


def headings(text: str) -> set[str]:
    """The anchors of a page's headings, as MyST makes them."""
    found = re.findall(r"^#{1,3} (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in found}


def fault(words: str, file: str, anchor: str) -> str | None:
    """What is wrong with a link of a page of the appendix."""
    path = (APPENDIX / file).resolve()
    if not file:
        exercise = specs.find(anchor)
        if exercise is None:
            return f"no function is called {anchor}"
        stem = exercise.stem
    elif not path.exists():
        return f"{file} does not exist"
    elif anchor and anchor not in headings(path.read_text()):
        return f"{file} has no {anchor}"
    else:
        stem = path.stem.partition("_")[2]
    chapter = re.fullmatch("[Cc]hapter ([0-9]+)", words)
    if chapter and int(chapter[1]) != chapter_of(stem):
        return f"{words} is not where {file}#{anchor} leads"
    return None


def broken(text: str) -> list[str]:
    return [found for link in links(text) if (found := fault(*link))]


def entries(glossary: str) -> list[tuple[list[str], str]]:
    """(names, what is said) of every entry in the glossary's lists."""
    lists = re.findall(r"^:::\{glossary\}\n(.*?)^:::$", glossary, re.M | re.S)
    blocks = [block for text in lists for block in text.strip("\n").split("\n\n")]
    names = [re.findall(r"^\S.*", block, re.M) for block in blocks]
    said = [" ".join(re.findall(r"^  (.*)", block, re.M)) for block in blocks]
    return list(zip(names, said, strict=True))


def without_chinese(glossary: str) -> list[str]:
    return [
        names[0]
        for names, _ in entries(glossary)
        if CHINESE.search(names[0]) or not any(map(CHINESE.search, names[1:]))
    ]


def counted() -> dict:
    """What the first cell of the grader's page makes."""
    page = (APPENDIX / "grader.md").read_text()
    cells = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```", page, re.M | re.S)
    code = cells[0].rpartition("\n---\n")[2]
    namespace = {}
    exec(code, namespace)
    return namespace


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_a_function_or_a_heading(name):
    assert len(links(PAGES[name])) > 20
    assert broken(PAGES[name]) == []


@pytest.mark.parametrize(
    "dead",
    [
        "[causal_musk](#causal_musk)",
        "[a page](../66_masks.md)",
        "[a place](../06_masks.md#the-casual-mask)",
        "[chapter 5](#causal_mask)",
        "[chapter\n7](../06_masks.md#the-causal-mask)",
    ],
)
def test_a_dead_link_would_be_found(dead):
    good = (
        "[`m`](#causal_mask) [](grader.md) [Chapter 6](../06_masks.md#the-causal-mask)"
    )
    assert broken(good) == []
    assert broken(f"{good} {dead}") != []


def test_every_word_of_the_glossary_has_its_chinese_and_a_chapter():
    assert len(entries(PAGES["glossary"])) >= 40
    assert without_chinese(PAGES["glossary"]) == []
    for names, text in entries(PAGES["glossary"]):
        assert links(text), names


def test_a_word_without_chinese_would_be_found():
    good = "mask\n掩码\n  It hides keys.\n"
    bad = "key\nkeys\n  It is hidden.\n"
    assert without_chinese(f":::{{glossary}}\n{good}\n{bad}:::\n") == ["key"]


def test_the_glossary_has_the_eight_letters():
    letters = re.findall(r"^\| ([A-Z]) \|.*\| (.+) \|$", PAGES["glossary"], re.M)
    assert [letter for letter, _ in letters] == list("BTDVHKLS")
    assert all(CHINESE.search(name) for _, name in letters)


def test_the_table_has_every_exercise_in_the_order_of_the_course():
    rows = counted()["rows"]
    assert [row[0] for row in rows] == [f"[`{e.name}`](#{e.name})" for e in EXERCISES]
    assert [row[1:3] for row in rows] == [
        [len(e.mistakes), len(e.variants)] for e in EXERCISES
    ]


def test_the_table_shows_the_mutants_of_the_file():
    shown = counted()
    with (ROOT / "book" / "mutants.csv").open() as file:
        recorded = list(csv.DictReader(file))
    assert [row["exercise"] for row in recorded] == [e.name for e in EXERCISES]
    assert [list(map(str, row[3:])) for row in shown["rows"]] == [
        [row["mutants"], row["caught"], row["equivalent"]] for row in recorded
    ]
