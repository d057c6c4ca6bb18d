"""`autograder work` brings corrections into a learner's copy and loses none of it."""

import copy
import inspect
import json
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.cli import main
from autograder.course import ROOT
from autograder.notebooks import (
    fill,
    grade_id_of,
    load,
    mark_released,
    source_of,
    update,
    write,
)
from solutions import masks

RELEASE = load(ROOT / "exercises" / "release" / "06_masks" / "06_masks.ipynb")
ANSWER = inspect.getsource(masks.causal_mask).strip()
OLD, NEW = "never the future.", "and never the future."  # in causal_mask's docstring


def code_cell(source: str, name: str = "own") -> dict:
    return {
        "cell_type": "code",
        "execution_count": 3,
        "id": name,
        "metadata": {"tags": ["mine"]},
        "outputs": [],
        "source": source.splitlines(True),
    }


def sources(notebook: dict) -> list[str]:
    return [source_of(cell) for cell in notebook["cells"]]


def keys(notebook: dict) -> list[str]:
    return [grade_id_of(cell) or cell["id"] for cell in notebook["cells"]]


def place(notebook: dict, key: str) -> int:
    return keys(notebook).index(key)


def cell(notebook: dict, key: str) -> dict:
    return notebook["cells"][place(notebook, key)]


def rewrite(notebook: dict, key: str, source: str) -> None:
    cell(notebook, key)["source"] = source.splitlines(True)


@pytest.fixture
def release():
    return copy.deepcopy(RELEASE)


@pytest.fixture
def copied():
    """A copy in which causal_mask is solved and has been run."""
    copied = fill(mark_released(RELEASE), {"causal_mask": ANSWER})
    rewrite(copied, "causal_mask", ANSWER)
    cell(copied, "check_causal_mask")["execution_count"] = 7
    return copied


def corrected(notebook: dict) -> dict:
    """The release with another docstring of causal_mask."""
    changed = copy.deepcopy(notebook)
    text = source_of(cell(changed, "causal_mask"))
    assert OLD in text
    rewrite(changed, "causal_mask", text.replace(OLD, NEW))
    return changed


# One change at a time


def test_where_nothing_is_corrected_nothing_changes(copied, release):
    rewrite(copied, "causal_mask-2", "print(causal_mask(9, 9))")
    rewrite(copied, "start-1", "My notes.")
    copied["cells"].insert(3, code_cell("x = 1"))
    assert update(copied, release)["cells"] == copied["cells"]


def test_a_corrected_docstring_stands_above_the_old_answer(copied, release):
    updated = update(copied, corrected(release))
    assert source_of(cell(updated, "causal_mask")) == ANSWER.replace(OLD, NEW)
    assert update(updated, corrected(release)) == updated


def test_a_docstring_that_the_learner_has_changed_stays(copied, release):
    mine = ANSWER.replace(OLD, f"{OLD} I draw it on paper first.")
    rewrite(copied, "causal_mask", mine)
    assert source_of(cell(update(copied, corrected(release)), "causal_mask")) == mine


def test_a_corrected_signature_leaves_the_answer_as_it_is(copied, release):
    stub = source_of(cell(release, "causal_mask"))
    rewrite(release, "causal_mask", stub.replace("k_len: int", "k_len: int, *, x=1"))
    assert source_of(cell(update(copied, release), "causal_mask")) == ANSWER


def test_an_unsolved_exercise_is_replaced_by_the_corrected_one(release):
    updated = update(mark_released(release), corrected(release))
    assert updated == mark_released(corrected(release))


def test_an_emptied_answer_gets_its_stub_again(copied, release):
    rewrite(copied, "causal_mask", "  \n")
    assert sources(update(copied, release)) == sources(release)


def test_a_corrected_text_arrives_and_the_answer_stays(copied, release):
    rewrite(release, "start-2", "## The past, corrected")
    updated = update(copied, release)
    assert source_of(cell(updated, "start-2")) == "## The past, corrected"
    assert source_of(cell(updated, "causal_mask")) == ANSWER
    assert len(updated["cells"]) == len(release["cells"])


@pytest.mark.parametrize(
    "key", ["start-1", "causal_mask-2", "setup", "check_causal_mask"]
)
def test_a_given_cell_that_both_have_changed_is_there_twice(copied, release, key):
    rewrite(copied, key, "mine = 1")
    rewrite(release, key, "given = 1")
    updated = update(copied, release)
    found = sources(updated)
    assert found[place(updated, key)] == "given = 1"
    assert found[place(updated, key) + 1] == "mine = 1"
    assert update(updated, release) == updated


def test_the_answer_moves_with_its_exercise(copied, release):
    moved = [cell(release, key) for key in ("causal_mask", "check_causal_mask")]
    release["cells"] = [c for c in release["cells"] if c not in moved] + moved
    updated = update(copied, release)
    assert keys(updated) == keys(release)
    assert source_of(cell(updated, "causal_mask")) == ANSWER


def test_a_new_exercise_comes_and_an_old_one_goes(copied, release):
    rewrite(copied, "padding_mask", "def padding_mask(tokens, pad_id): ...")
    gone = ("padding_mask", "check_padding_mask")
    release["cells"] = [
        c for c in release["cells"] if grade_id_of(c) not in gone
    ]  # fmt: skip
    new = code_cell("def window_mask(): ...", "window_mask")
    new["metadata"] = {"nbgrader": {"grade_id": "window_mask", "solution": True}}
    release["cells"].insert(5, new)
    updated = update(copied, release)
    assert source_of(cell(updated, "window_mask")) == "def window_mask(): ..."
    assert source_of(cell(updated, "causal_mask")) == ANSWER
    assert "def padding_mask(tokens, pad_id): ..." in sources(updated)
    assert "check(padding_mask)" not in sources(updated)


def test_own_cells_stay_behind_the_cell_they_stood_behind(copied, release):
    copied["cells"].insert(0, code_cell("first = 1", "a"))
    copied["cells"].insert(place(copied, "causal_mask") + 1, code_cell("own = 1", "b"))
    copied["cells"].insert(place(copied, "causal_mask") + 2, code_cell("own = 2", "c"))
    copied["cells"].append(code_cell("last = 1", "d"))
    copied["cells"].append(code_cell("", "e"))
    updated = update(copied, corrected(release))
    assert keys(updated) == keys(copied)
    assert cell(updated, "b") == cell(copied, "b")


def test_a_deleted_cell_comes_back(copied, release):
    whole = copy.deepcopy(copied)
    for key in ("check_causal_mask", "start-2", "padding_mask"):
        copied["cells"].remove(cell(copied, key))
    updated = update(copied, release)
    assert sources(updated) == sources(whole)


def test_a_copied_answer_becomes_a_cell_of_ones_own_behind_the_first(copied, release):
    second = copy.deepcopy(cell(copied, "causal_mask"))
    second |= {"id": "0123abcd", "source": [f"{ANSWER}  # again"]}
    copied["cells"].insert(place(copied, "causal_mask") + 1, second)
    updated = update(copied, release)
    at = place(updated, "causal_mask")
    assert sources(updated)[at : at + 2] == [ANSWER, f"{ANSWER}  # again"]
    assert updated["cells"][at + 1]["metadata"] == {}
    assert updated["cells"][at + 1]["id"] == "0123abcd"


def test_a_copy_that_was_not_changed_is_not_kept(copied, release):
    second = copy.deepcopy(cell(copied, "padding_mask")) | {"id": "0123abcd"}
    copied["cells"].insert(0, second)
    assert sources(update(copied, release)) == sources(copied)[1:]


def test_an_answer_that_became_text_is_code_again(copied, release):
    answer = cell(copied, "causal_mask")
    answer["cell_type"] = "markdown"
    del answer["outputs"], answer["execution_count"]
    updated = update(copied, release)
    nbformat.validate(updated)
    assert cell(updated, "causal_mask")["cell_type"] == "code"
    assert source_of(cell(updated, "causal_mask")) == ANSWER


def test_outputs_and_metadata_of_what_stays_are_kept(copied, release):
    copied["metadata"]["kernelspec"]["name"] = "my_kernel"
    cell(copied, "causal_mask")["metadata"]["tags"] = ["mine"]
    updated = update(copied, corrected(release))
    assert cell(updated, "check_causal_mask")["execution_count"] == 7
    assert cell(updated, "causal_mask")["metadata"]["tags"] == ["mine"]
    assert updated["metadata"]["kernelspec"]["name"] == "my_kernel"


def test_a_cell_that_is_locked_no_more_can_be_edited(copied, release):
    assert cell(copied, "setup")["metadata"]["editable"] is False
    cell(release, "setup")["metadata"] = {}
    updated = update(copied, release)
    assert list(cell(updated, "setup")["metadata"]) == ["released"]


def test_a_copy_that_nobody_marked_keeps_its_answers(release):
    """Such as one that was fetched by nbgrader."""
    copied = fill(release, {"causal_mask": ANSWER})
    rewrite(release, "start-2", "## The past, corrected")
    updated = update(copied, release)
    assert source_of(cell(updated, "causal_mask")) == ANSWER
    at = place(updated, "start-2")
    assert sources(updated)[at : at + 2] == [
        "## The past, corrected",
        source_of(cell(copied, "start-2")),
    ]
    assert update(updated, release) == updated


def test_a_copy_in_the_format_without_ids_gets_them(copied, release):
    copied["cells"] += [code_cell("same = 1"), code_cell("same = 1")]
    copied["nbformat_minor"] = 4
    for each in copied["cells"]:
        del each["id"]
    nbformat.validate(copied)
    updated = update(copied, release)
    nbformat.validate(updated)
    assert len({each["id"] for each in updated["cells"]}) == len(updated["cells"])
    assert source_of(cell(updated, "causal_mask")) == ANSWER
    assert sources(updated).count("same = 1") == 2


# Whatever happens

NUMBERS = st.integers(0, 99)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "copy", "move", "add", "empty", "retype"]),
        NUMBERS,
        NUMBERS,
    ),
    max_size=8,
)


def edited(notebook: dict, edits: list[tuple[str, int, int]], by: str) -> dict:
    """What somebody may have done to a notebook; every source written is unique."""
    notebook = copy.deepcopy(notebook)
    cells = notebook["cells"]
    for number, (kind, one, other) in enumerate(edits):
        at, to = one % max(len(cells), 1), other % (len(cells) + 1)
        new = f"# {by} {number}\n"
        if kind == "add" or not cells:
            cells.insert(to, code_cell(new, f"{by}-{number}"))
        elif kind == "write":
            cells[at]["source"] = [new, *cells[at]["source"]]
        elif kind == "delete":
            del cells[at]
        elif kind == "copy":
            cells.insert(to, copy.deepcopy(cells[at]) | {"id": f"{by}-{number}"})
        elif kind == "move":
            cells.insert(to, cells.pop(at))
        elif kind == "empty":
            cells[at]["source"] = []
        elif kind == "retype" and cells[at]["cell_type"] == "code":
            cells[at]["cell_type"] = "markdown"
            del cells[at]["outputs"], cells[at]["execution_count"]
    return notebook


def without_copies(notebook: dict) -> dict:
    """A release never has the same exercise twice."""
    seen: set[str] = set()
    kept = [c for c, k in zip(notebook["cells"], keys(notebook), strict=True)
            if not (k in seen or seen.add(k))]  # fmt: skip
    return notebook | {"cells": kept}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(by_learner=EDITS, by_teacher=EDITS, again=EDITS)
def test_nothing_that_a_learner_has_written_is_ever_lost(by_learner, by_teacher, again):
    release = RELEASE
    work = edited(mark_released(release), by_learner, "learner")
    for teacher in (by_teacher, again):
        release = without_copies(edited(corrected(RELEASE), teacher, "teacher"))
        updated = update(work, release)
        nbformat.validate(updated)
        ids = [each["id"] for each in updated["cells"]]
        assert len(set(ids)) == len(ids)
        kept = "".join(sources(updated)).replace(NEW, OLD)
        for each in work["cells"]:
            if source_of(each) != each["metadata"].get("released"):
                assert source_of(each).replace(NEW, OLD) in kept
        given_keys = [k for k in keys(updated) if k in keys(release)]
        assert given_keys == keys(release)
        assert update(updated, release) == updated
        work = updated


# The commands


@pytest.fixture
def course(tmp_path):
    """A folder of releases, and a folder for copies that is not there yet."""
    write(RELEASE, tmp_path / "release" / "06_masks" / "06_masks.ipynb")
    return tmp_path


def work(course: Path) -> int:
    return main(["work", str(course / "work"), "--release", str(course / "release")])


def test_work_makes_a_copy_and_leaves_it_as_it_is(course, capsys):
    mine = course / "work" / "06_masks.ipynb"
    assert work(course) == 0
    assert capsys.readouterr().out == f"{mine}: new\n"
    assert sources(load(mine)) == sources(RELEASE)
    before = mine.read_bytes()
    assert work(course) == 0
    assert capsys.readouterr().out == f"{mine}: as it was\n"
    assert mine.read_bytes() == before


def test_work_says_of_which_exercises_the_text_has_changed(course, capsys):
    given = course / "release" / "06_masks" / "06_masks.ipynb"
    mine = course / "work" / "06_masks.ipynb"
    work(course)
    write(fill(load(mine), {"causal_mask": ANSWER}), mine)
    write(corrected(RELEASE), given)
    capsys.readouterr()
    assert work(course) == 0
    told = capsys.readouterr().out
    assert "brought up to date, your answers kept" in told
    assert f"Read again what is asked: causal_mask ({given})" in told
    assert source_of(cell(load(mine), "causal_mask")) == ANSWER.replace(OLD, NEW)
    assert work(course) == 0
    assert capsys.readouterr().out == f"{mine}: as it was\n"


def test_what_work_writes_is_what_jupyter_would_write(course):
    mine = course / "work" / "06_masks.ipynb"
    work(course)
    changed = load(mine)
    changed["cells"].insert(3, code_cell("# \u03b1\nown = 1"))
    rewrite(changed, "causal_mask", ANSWER)
    write(changed, mine)
    write(corrected(RELEASE), course / "release" / "06_masks" / "06_masks.ipynb")
    work(course)
    notebook = nbformat.read(mine, as_version=4)
    nbformat.validate(notebook)
    nbformat.write(notebook, course / "jupyter.ipynb")
    assert mine.read_bytes() == (course / "jupyter.ipynb").read_bytes()


def test_a_copy_that_jupyter_has_saved_is_as_it_was(course, capsys):
    mine = course / "work" / "06_masks.ipynb"
    work(course)
    notebook = nbformat.read(mine, as_version=4)
    nbformat.write(notebook, mine)
    capsys.readouterr()
    work(course)
    assert "as it was" in capsys.readouterr().out


def test_an_unreadable_copy_is_left_alone_and_the_others_are_made(course, capsys):
    write(RELEASE, course / "release" / "07_more" / "07_more.ipynb")
    mine = course / "work" / "06_masks.ipynb"
    mine.parent.mkdir()
    mine.write_text('{"cells": [')
    assert work(course) == 1
    printed = capsys.readouterr()
    assert "left alone. It is not JSON" in printed.err
    assert mine.read_text() == '{"cells": ['
    assert "07_more.ipynb: new" in printed.out


def test_half_a_character_survives(course):
    mine = course / "work" / "06_masks.ipynb"
    work(course)
    changed = load(mine)
    changed["cells"].append(code_cell("'\ud800'"))
    del changed["cells"][-1]["id"]
    write(changed, mine)
    write(corrected(RELEASE), course / "release" / "06_masks" / "06_masks.ipynb")
    assert work(course) == 0
    assert sources(load(mine))[-1] == "'\ud800'"


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_crash_while_writing_loses_nothing(course, monkeypatch, capsys, step):
    mine = course / "work" / "06_masks.ipynb"
    work(course)
    write(fill(load(mine), {"causal_mask": ANSWER}), mine)
    before = mine.read_bytes()
    write(corrected(RELEASE), course / "release" / "06_masks" / "06_masks.ipynb")

    def full(path: Path, *args: object) -> None:
        with path.open("wb") as file:
            file.write(b'{"cells"')
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, step, full)
        assert work(course) == 1
    assert "cannot be written: No space left on device." in capsys.readouterr().err
    assert mine.read_bytes() == before
    assert work(course) == 0
    assert NEW in source_of(cell(load(mine), "causal_mask"))


def test_a_folder_that_is_a_file_is_told(course, capsys):
    (course / "work").write_text("")
    assert work(course) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_without_exercises_work_says_what_to_do(tmp_path, capsys):
    assert main(["work", str(tmp_path), "--release", str(tmp_path)]) == 2
    assert "name their folder by --release" in capsys.readouterr().err


def test_progress_counts_what_is_solved_and_says_what_is_not(course, capsys):
    mine = course / "work" / "06_masks.ipynb"
    work(course)
    wrong = "def padding_mask(tokens, pad_id):\n    return tokens != pad_id"
    write(fill(load(mine), {"causal_mask": ANSWER, "padding_mask": wrong}), mine)
    (course / "work" / "broken.ipynb").write_text("")
    write(load(mine), course / "work" / ".ipynb_checkpoints" / "06_masks.ipynb")
    capsys.readouterr()
    assert main(["progress", str(course / "work")]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "Chapter 6, masks: [#...] 1 of 4"
    assert lines[1] == "  solved   causal_mask"
    assert lines[2].startswith("  not yet  padding_mask             The axes for heads")
    assert lines[3:5] == ["  to do    combine_masks", "  to do    decoder_mask"]
    assert "broken.ipynb: It is an empty file" in lines[5]
    assert lines[6:] == ["Solved: [#...] 1 of 4"]


def test_progress_of_an_empty_folder_says_what_to_do(tmp_path, capsys):
    assert main(["progress", str(tmp_path)]) == 2
    assert f"`autograder work {tmp_path}` makes them" in capsys.readouterr().err


def test_a_notebook_is_read_as_it_was_written(tmp_path):
    write(RELEASE, tmp_path / "a.ipynb")
    assert load(tmp_path / "a.ipynb") == RELEASE
    assert json.loads((tmp_path / "a.ipynb").read_text("utf-8")) == RELEASE
