"""nbgrader from release to grades, with our preprocessors and without them."""

import copy
import csv
import html
import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from nbgrader.api import Gradebook

from autograder import specs
from autograder.course import ROOT
from autograder.notebooks import fill, load, write

# The fixtures take a minute: one worker makes them once.
pytestmark = pytest.mark.xdist_group("nbgrader")

MASKS = "06_masks"
POINTS = {e.name: float(e.points) for e in specs.exercises_of("masks")}
RIGHT = {e.name: inspect.getsource(e.solution) for e in specs.exercises_of("masks")}
TOP_LEFT = """
def causal_mask(q_len, k_len):
    return np.tri(q_len, k_len, dtype=bool)
"""
LOOP = """
def padding_mask(tokens, pad_id):
    while True:
        pass
"""
CRASH = RIGHT["padding_mask"] + "\nimport os\nos._exit(3)\n"
SCRIPT = """
def causal_mask(q_len, k_len):
    raise ValueError("<script>alert(1)</script>")
"""


@dataclass(frozen=True)
class Course:
    """A course folder, and nbgrader in it."""

    root: Path

    def nbgrader(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # nbgrader calls alembic by its bare name
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments],
            cwd=self.root, env=os.environ | {"PATH": path},
            capture_output=True, text=True,
        )  # fmt: skip

    def notebook(self, step: str, assignment: str, student: str = "") -> Path:
        return (
            self.root / "exercises" / step / student / assignment
            / f"{assignment}.ipynb"
        )  # fmt: skip

    def release(self, assignment: str) -> dict:
        return load(self.notebook("release", assignment))

    def submit(self, student: str, assignment: str, content: dict) -> None:
        write(content, self.notebook("submitted", assignment, student))

    def gradebook(self) -> Gradebook:
        return Gradebook(f"sqlite:///{self.root}/exercises/gradebook.db")

    def grades(self, student: str, assignment: str = MASKS) -> dict[str, float | None]:
        with self.gradebook() as gradebook:
            found = gradebook.find_submission_notebook(assignment, assignment, student)
            return {g.name.removeprefix("check_"): g.auto_score for g in found.grades}

    def comment(self, student: str, function: str) -> str:
        with self.gradebook() as gradebook:
            comment = gradebook.find_comment(function, MASKS, MASKS, student)
            return html.unescape(comment.auto_comment)

    def feedback(self, student: str, assignment: str = MASKS) -> str:
        """The text of the page that the student gets."""
        page = self.notebook("feedback", assignment, student).with_suffix(".html")
        tags = r"(?s)<(style|script)\b.*?</\1>|<[^>]+>"
        return html.unescape(re.sub(tags, "", page.read_text()))

    def exported(self) -> dict[tuple[str, str], dict[str, str]]:
        with open(self.root / "grades.csv") as file:
            rows = csv.DictReader(file)
            return {(row["assignment"], row["student_id"]): row for row in rows}


def wrong_answers(*wrong: str) -> dict[str, str]:
    """The right answers, but for these."""
    return RIGHT | {re.search(r"def (\w+)", source)[1]: source for source in wrong}


def marked(cell: dict, grade_id: str, **marks: object) -> dict:
    """A cell as an instructor marks it in nbgrader's toolbar."""
    plain = {"grade": False, "solution": False, "locked": False, "schema_version": 3}
    cell["metadata"]["nbgrader"] = {**plain, "grade_id": grade_id, **marks}
    return cell


def own_assignment() -> dict:
    """An assignment that an instructor wrote, with a function called as one of ours."""
    answer = (
        "### BEGIN SOLUTION\ndef softmax(a, b):\n    return a + b\n### END SOLUTION"
    )
    return v4.new_notebook(
        cells=[
            marked(v4.new_code_cell(answer), "softmax", solution=True),
            marked(
                v4.new_code_cell("assert softmax(1, 2) == 3"),
                "test_sum", grade=True, locked=True, points=2,
            ),
            marked(
                v4.new_code_cell("assert softmax(1, -1) == 0"),
                "test_negative", grade=True, locked=True, points=1,
            ),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )  # fmt: skip


def with_own_cells(source: dict) -> dict:
    """Our notebook, to which an instructor added a test, an essay and other points."""
    extended = nbformat.from_dict(source)
    for cell in extended["cells"]:
        if cell["id"] == "check_causal_mask":
            cell["metadata"]["nbgrader"]["points"] = 5
    extended["cells"] += [
        marked(
            v4.new_code_cell("assert causal_mask(2, 2).sum() == 3"),
            "own_test", grade=True, locked=True, points=1,
        ),
        marked(
            v4.new_markdown_cell("Why?"),
            "own_essay", grade=True, solution=True, points=4,
        ),
    ]  # fmt: skip
    return extended


def replaced(notebook: dict, grade_id: str, source: str) -> dict:
    """The notebook with another source in one of its cells."""
    changed = copy.deepcopy(notebook)
    [cell] = [
        cell
        for cell in changed["cells"]
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id
    ]
    cell["source"] = source
    return changed


def copied_cells(notebook: dict) -> dict:
    """Cells copied as they are, and one with the marks of another nbgrader."""
    copied = copy.deepcopy(notebook)
    copied["cells"] = [cell for cell in copied["cells"] for _ in range(2)]
    marks = copied["cells"][-2]["metadata"].setdefault("nbgrader", {})
    marks["schema_version"] = 1
    return copied


def without_marks(notebook: dict) -> dict:
    """What is left when another program has saved the notebook: no marks, no ids."""
    bare = copy.deepcopy(notebook) | {"nbformat_minor": 0}
    for cell in bare["cells"]:
        cell["metadata"] = {}
        del cell["id"]
    return bare


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Course:
    """A course with three assignments: ours, the instructor's, and ours extended."""
    course = Course(tmp_path_factory.mktemp("course"))
    source = load(ROOT / "exercises" / "source" / MASKS / f"{MASKS}.ipynb")
    write(source, course.notebook("source", MASKS))
    write(own_assignment(), course.notebook("source", "own"))
    write(with_own_cells(source), course.notebook("source", "extended"))
    config = (ROOT / "nbgrader_config.py").read_text()
    config += "c.JudgeNotebook.seconds = 2\n"
    config += "c.LateSubmissionPlugin.penalty_method = 'zero'\n"
    (course.root / "nbgrader_config.py").write_text(config)
    done = course.nbgrader("generate_assignment", "*", "--create")
    assert done.returncode == 0, done.stderr
    with course.gradebook() as gradebook:
        due = datetime(2026, 1, 1)
        gradebook.update_or_create_assignment(MASKS, duedate=due)
    return course


@pytest.fixture(scope="module")
def course(released) -> Course:
    """Everything handed in and graded with our preprocessors."""
    ours = released.release(MASKS)
    right = fill(ours, RIGHT)
    for student, content in {
        "right": right,
        "wrong": fill(ours, wrong_answers(TOP_LEFT)),
        "stub": ours,
        "crash": fill(ours, wrong_answers(CRASH)),
        "loop": fill(ours, wrong_answers(LOOP)),
        "script": fill(ours, wrong_answers(SCRIPT)),
        "late": right,
        "copied": copied_cells(right),
        "bare": without_marks(right),
        "strange": right | {"cells": right["cells"][:1]},
    }.items():
        released.submit(student, MASKS, content)
    stamp = released.notebook("submitted", MASKS, "late").with_name("timestamp.txt")
    stamp.write_text("2026-01-02 00:00:00 UTC")
    torn = released.notebook("submitted", MASKS, "torn")
    torn.parent.mkdir(parents=True)
    torn.write_text('{"cells": [')

    own = released.release("own")
    for student, answer in {
        "wrong": "def softmax(a, b):\n    return a + abs(b)",
        "crash": "import os\ndef softmax(a, b):\n    os._exit(3)",
    }.items():
        released.submit(student, "own", replaced(own, "softmax", answer))

    extended = released.release("extended")
    written = replaced(fill(extended, RIGHT), "own_essay", "Because.")
    released.submit("right", "extended", written)
    released.submit("bare", "extended", without_marks(written))

    done = released.nbgrader("autograde", "*")
    failed = re.findall(r"error processing assignment '(.*)' for student '(.*)'",
                        done.stderr)  # fmt: skip
    assert (failed, done.returncode) == ([], 0), done.stderr
    for command in (["generate_feedback", "*"], ["export"]):
        done = released.nbgrader(*command)
        assert done.returncode == 0, done.stderr
    return released


ALL = POINTS
NOTHING = dict.fromkeys(POINTS, 0.0)


@pytest.mark.parametrize(
    ("student", "grades"),
    [
        ("right", ALL),
        ("wrong", ALL | {"causal_mask": 0.0}),
        ("stub", NOTHING),
        ("crash", ALL | {"padding_mask": 0.0}),
        ("loop", ALL | {"padding_mask": 0.0}),
        ("script", ALL | {"causal_mask": 0.0}),
        ("late", ALL),
        ("copied", ALL),
        ("bare", ALL),
        ("strange", NOTHING),
    ],
)
def test_every_submission_has_its_points_cell_by_cell(course, student, grades):
    assert course.grades(student) == grades


@pytest.mark.parametrize(
    ("student", "function", "told"),
    [
        ("right", "causal_mask", "Right."),
        ("wrong", "causal_mask", "The triangle starts in the top left corner"),
        ("wrong", "causal_mask", "Hint: With 3 keys in the cache and 1 new query"),
        ("stub", "causal_mask", "Not solved yet"),
        ("crash", "padding_mask", "ends the whole Python process"),
        ("loop", "padding_mask", "an endless loop?"),
    ],
)
def test_the_comment_and_the_feedback_name_the_mistake(course, student, function, told):
    assert told in course.comment(student, function)
    assert told.removeprefix("Hint: ") in course.feedback(student)


def test_the_feedback_shows_no_solution(course):
    right, wrong, stub = map(course.feedback, ("right", "wrong", "stub"))
    for name, source in RIGHT.items():
        for line in source.rpartition('"""')[2].strip().splitlines():
            assert line.strip() in right
            assert line.strip() not in stub
            assert name != "causal_mask" or line.strip() not in wrong
    assert "BEGIN SOLUTION" not in right + wrong + stub


def test_what_a_student_raises_cannot_run_in_the_feedback(course):
    page = course.notebook("feedback", MASKS, "script").with_suffix(".html")
    assert "&lt;script&gt;alert(1)" in page.read_text()
    assert "<script>alert(1)" not in page.read_text()


def test_the_exported_table_has_the_sums_and_the_penalty(course):
    rows = course.exported()
    scores = {s: float(row["score"]) for (a, s), row in rows.items() if a == MASKS}
    assert scores == {
        "right": 8, "wrong": 6, "stub": 0, "crash": 6, "loop": 6, "script": 6,
        "late": 0, "copied": 8, "bare": 8, "strange": 0, "torn": 0,
    }  # fmt: skip
    assert float(rows[MASKS, "late"]["raw_score"]) == 8
    assert float(rows["own", "wrong"]["score"]) == 2
    assert float(rows["extended", "right"]["score"]) == 5 + 2 + 1 + 3 + 1


def test_an_assignment_of_the_instructors_own_is_scored_as_ever(course):
    assert course.grades("wrong", "own") == {"test_sum": 2, "test_negative": 0}
    assert "AssertionError" in course.feedback("wrong", "own")


def test_a_crash_in_the_instructors_own_assignment_has_a_score_and_a_page(course):
    assert course.grades("crash", "own") == {"test_sum": 0, "test_negative": 0}
    assert "The Python process ended" in course.feedback("crash", "own")


def test_the_instructors_own_cells_and_points_count_in_our_notebook(course):
    points = POINTS | {"causal_mask": 5.0, "own_test": 1.0}
    for student in ("right", "bare"):
        assert course.grades(student, "extended") == points | {"own_essay": None}
        with course.gradebook() as gradebook:
            which = ("own_essay", "extended", "extended", student)
            assert gradebook.find_grade(*which).needs_manual_grade
    assert "causal_mask: right, 5 of 5 points" in course.feedback("right", "extended")


def test_a_score_given_by_hand_survives_grading_again(course):
    which = ("check_causal_mask", MASKS, MASKS, "wrong")
    with course.gradebook() as gradebook:
        gradebook.find_grade(*which).manual_score = 1.5
        gradebook.db.commit()
    done = course.nbgrader("autograde", MASKS, "--student=wrong", "--force")
    assert done.returncode == 0, done.stderr
    with course.gradebook() as gradebook:
        grade = gradebook.find_grade(*which)
        assert (grade.auto_score, grade.manual_score, grade.score) == (0, 1.5, 1.5)
        assert grade.needs_manual_grade


@pytest.fixture(scope="module")
def plain(released, tmp_path_factory) -> Course:
    """The same course, graded by nbgrader alone."""
    course = Course(tmp_path_factory.mktemp("plain"))
    for step in ("source", "release"):
        folder = course.root / "exercises" / step / MASKS
        shutil.copytree(released.root / "exercises" / step / MASKS, folder)
    database = course.root / "exercises" / "gradebook.db"
    shutil.copy(released.root / "exercises" / "gradebook.db", database)
    config = (ROOT / "nbgrader_config.py").read_text()
    config += "del c['Autograde'], c['HTMLExporter']\n"
    (course.root / "nbgrader_config.py").write_text(config)
    ours = course.release(MASKS)
    course.submit("right", MASKS, fill(ours, RIGHT))
    course.submit("wrong", MASKS, fill(ours, wrong_answers(TOP_LEFT)))
    course.submit("stub", MASKS, ours)
    done = course.nbgrader("autograde", MASKS)
    assert done.returncode == 0, done.stderr
    (course.root / "autograde.log").write_text(done.stderr)
    done = course.nbgrader("generate_feedback", MASKS)
    assert done.returncode == 0, done.stderr
    return course


def outputs(course: Course, student: str) -> dict[str, list]:
    """What nbgrader kept of each check cell's outputs."""
    cells = load(course.notebook("autograded", MASKS, student))["cells"]
    return {
        cell["source"][0]: cell["outputs"]
        for cell in cells
        if cell["metadata"].get("nbgrader", {}).get("grade")
    }


@pytest.mark.parametrize("student", ["right", "wrong", "stub"])
def test_nbgrader_alone_gives_the_same_points(course, plain, student):
    assert plain.grades(student) == course.grades(student)


def test_nbgrader_alone_shows_our_message_in_place_of_a_traceback(plain):
    [error] = outputs(plain, "wrong")["check(causal_mask)"]
    assert error["output_type"] == "error"
    assert error["traceback"][0] == "causal_mask: wrong, 0 of 2 points"
    feedback = plain.feedback("wrong")
    assert "The triangle starts in the top left corner" in feedback
    assert "Traceback" not in feedback
    assert "autograder/" not in feedback


def test_nbgrader_alone_is_not_in_doubt_about_points(plain):
    assert "partial credit" not in (plain.root / "autograde.log").read_text()


@pytest.mark.parametrize("student", ["right", "wrong", "stub"])
def test_a_check_writes_nothing_to_stderr(plain, student):
    for output in [o for group in outputs(plain, student).values() for o in group]:
        assert output.get("name") != "stderr"


def test_nbgrader_validate_prints_our_message(plain):
    done = plain.nbgrader("validate", str(plain.notebook("submitted", MASKS, "wrong")))
    assert "VALIDATION FAILED ON 1 CELL(S)" in done.stdout
    assert "The triangle starts in the top left corner" in done.stdout
    assert "Traceback" not in done.stdout
