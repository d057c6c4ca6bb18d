"""A class graded at once: nothing stops it, and killed at any moment it goes on."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder import batch, specs
from autograder.collect import Handed, collect, told_apart
from autograder.course import ROOT
from autograder.notebooks import fill, load, write
from autograder.record import Course, NotInGradebook
from autograder.runner.start import Limits

sys.path.insert(0, str(ROOT / "benchmarks"))
from submissions import ASSIGNMENT, RELEASE, make, right

# How large the class is and how often it is killed: `make class` takes 1,000 and 20.
STUDENTS = int(os.environ.get("STUDENTS", "24"))
KILLS = int(os.environ.get("KILLS", "3"))
HOSTILE = 0.05 if STUDENTS >= 100 else 0.25
BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "AUTOGRADER_SECRET": "swordfish",
}


class Class:
    """A course folder in which a class has handed in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.submitted = root / "exercises" / "submitted"
        source = ROOT / "exercises" / "source" / ASSIGNMENT
        shutil.copytree(source, root / "exercises" / "source" / ASSIGNMENT)
        shutil.copy(ROOT / "nbgrader_config.py", root)
        self.run("nbgrader", "generate_assignment", ASSIGNMENT, "--create")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root, env=ENVIRONMENT, capture_output=True, text=True,
        )  # fmt: skip

    def command(self, *options: str) -> list[str]:
        return [
            "autograder.cli", "grade", "exercises/submitted", "--seconds", "1",
            "--notebook-seconds", "30", *options,
        ]  # fmt: skip

    def grade(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run(*self.command(*options))

    def records(self) -> dict[str, dict]:
        """What was found, without what says where and when."""
        found = {}
        for path in (self.root / "results").glob("*/*.json"):
            record = json.loads(path.read_text())
            found[record["student"]] = record
        return found

    def rows(self) -> dict[tuple[str, str], tuple]:
        """What the gradebook holds, without its own ids."""
        with Gradebook(f"sqlite:///{self.root}/exercises/gradebook.db") as gradebook:
            rows = {}
            for submission in gradebook.assignment_submissions(ASSIGNMENT):
                student = submission.student.id
                for notebook in submission.notebooks:
                    rows[student, "penalty"] = (notebook.late_submission_penalty,)
                    for g in notebook.grades:
                        rows[student, g.name] = (
                            g.auto_score, g.manual_score, g.extra_credit,
                            g.needs_manual_grade,
                        )  # fmt: skip
                    for c in notebook.comments:
                        rows[student, f"said of {c.name}"] = (
                            c.auto_comment, c.manual_comment,
                        )  # fmt: skip
            return rows

    def page(self, student: str) -> str:
        folder = self.root / "exercises" / "feedback" / student / ASSIGNMENT
        return (folder / f"{ASSIGNMENT}.html").read_text()


pytestmark = pytest.mark.xdist_group("batch")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class, graded without a break; and what should have become of everybody."""
    course = Class(tmp_path_factory.mktemp("class"))
    expected = dict(make(course.submitted, STUDENTS, hostile=HOSTILE, seed=1))
    done = course.grade("--jobs", "2")
    assert done.returncode == 1, done.stderr
    return course, expected, done


def test_every_submission_ends_in_its_status(graded):
    course, expected, _ = graded
    statuses = {name: record["status"] for name, record in course.records().items()}
    assert statuses == expected
    assert len(set(statuses.values())) >= 3


def test_the_status_and_the_points_are_everywhere(graded):
    course, expected, done = graded
    rows, records = course.rows(), course.records()
    for student, status in expected.items():
        record = records[student]
        scores = [
            row[0] for (s, name), row in rows.items()
            if s == student and name.startswith("check_")
        ]  # fmt: skip
        assert sum(scores) == record["points"]
        assert f"<strong>{status.capitalize()}</strong>" in course.page(student)
        [line] = [x for x in done.stdout.splitlines() if x.startswith(student)]
        assert status in line
        assert f"{record['points']} of {record['max_points']}" in line
        assert bool(record["ran_in"]) == (status != "unreadable")


def test_started_again_nothing_is_done_again(graded):
    course, _, done = graded
    paths = [*(course.root / "results").rglob("*.json"),
             *(course.root / "exercises" / "feedback").rglob("*.html"),
             *(course.root / "exercises" / "autograded").rglob("*.ipynb")]  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert len(before) == 3 * STUDENTS
    again = course.grade("--jobs", "2")
    assert again.stdout == done.stdout
    assert {path: path.stat().st_mtime_ns for path in paths} == before


def test_formgrader_knows_them_as_graded(graded):
    from nbgrader.apps.api import NbGraderAPI

    course, expected, _ = graded
    from nbgrader.coursedir import CourseDirectory

    api = NbGraderAPI(CourseDirectory(root=str(course.root / "exercises")))
    found = api.get_submissions(ASSIGNMENT)
    assert {one["student"] for one in found} == set(expected)
    assert all(one["autograded"] for one in found)


def test_nbgrader_itself_writes_the_same_rows(graded, tmp_path):
    course, expected, _ = graded
    some = sorted(expected)[:8]
    other = Class(tmp_path)
    for student in some:
        shutil.copytree(course.submitted / student, other.submitted / student)
    config = other.root / "nbgrader_config.py"
    config.write_text(config.read_text() + "\nc.JudgeNotebook.seconds = 1\n")
    done = other.run("nbgrader", "autograde", ASSIGNMENT)
    assert done.returncode == 0, done.stderr
    ours = {key: row for key, row in course.rows().items() if key[0] in some}
    assert other.rows() == ours


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(graded, tmp_path):
    course, _, _ = graded
    other = Class(tmp_path)
    shutil.copytree(course.submitted, other.submitted)
    rng = random.Random(KILLS)
    longest = 2 + 0.2 * STUDENTS / KILLS  # so that the kills fall all along the way
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", *other.command("--jobs", "2")],
            cwd=other.root, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(0.5, longest))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = other.grade("--jobs", "2")
    assert done.returncode == 1, done.stderr
    assert other.rows() == course.rows()
    assert other.records() == course.records()
    assert {p.name for p in (other.root / "exercises" / "feedback").iterdir()} == {
        p.name for p in (course.root / "exercises" / "feedback").iterdir()
    }


def test_one_job_finds_the_same_as_two(graded, tmp_path):
    course, expected, _ = graded
    some = sorted(expected)[:6]
    for student in some:
        shutil.copytree(course.submitted / student, tmp_path / "submitted" / student)
    done = subprocess.run(
        [sys.executable, "-m", "autograder.cli", "grade", "submitted", "--jobs", "1",
         "--seconds", "1", "--notebook-seconds", "30"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert "The gradebook" not in done.stdout
    for student in some:
        one = json.loads((tmp_path / "results" / student / "06_masks.json").read_text())
        two = course.records()[student]
        del one["path"], two["path"]
        assert one == two


def test_control_c_ends_it_at_once_and_says_how_to_go_on(tmp_path):
    for _ in make(tmp_path / "in", 60):
        pass
    process = subprocess.Popen(
        [sys.executable, "-m", "autograder.cli", "grade", "in", "--jobs", "2"],
        cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
        # what a shell starts in the background ignores it, and so would this
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not list(tmp_path.glob("results/*/*.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, told = process.communicate()
    assert time.monotonic() - started < 5
    assert process.returncode == 130, told
    assert "of 60 are judged. The same command goes on from there." in told


# One process at a time


@pytest.fixture
def job(tmp_path):
    path = tmp_path / "ada.ipynb"
    write(fill(load(RELEASE), right()), path)
    return batch.Job(Handed(path, "ada"), "secret", Limits(), tmp_path / "results")


def test_a_record_is_found_again_until_something_it_depends_on_changes(job):
    assert batch.known(job) is None
    record = batch.judge(job)
    assert (record["status"], record["points"]) == ("graded", 8)
    assert batch.known(job) == record
    for other in (
        replace(job, secret="other"),
        replace(job, limits=Limits(seconds=3)),
        replace(job, again=True),
    ):
        assert batch.known(other) is None
    write(fill(load(RELEASE), {}), job.handed.path)
    assert batch.known(job) is None


def test_a_change_of_one_spec_touches_only_its_own(job, monkeypatch):
    record = batch.judge(job)
    version_of = specs.version_of
    changed = {"positions": "changed"}
    monkeypatch.setattr(specs, "version_of", lambda s: changed.get(s) or version_of(s))
    assert batch.known(job) == record
    changed["masks"] = "changed"
    assert batch.known(job) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": 1}', "null"])
def test_a_half_written_record_does_not_count(job, text):
    batch.judge(job)
    job.result.write_text(text)
    assert batch.known(job) is None


def test_a_mistake_of_the_graders_own_ends_in_a_record(job, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("ours")

    monkeypatch.setattr(batch, "grade", fail)
    record = batch.judge(job)
    assert (record["status"], record["points"]) == ("crashed", 0)
    assert "The grader itself failed: RuntimeError('ours')" in record["message"]


def die(thing: str) -> str:
    if thing == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return thing.upper()


def test_who_kills_the_graders_own_process_is_given_up_and_nobody_else():
    things = ["a", "b", "deadly", "c", "d", "deadly", "e", "f", "g"]
    with batch.Pool(2) as pool:
        made = list(pool.work(die, things, lambda thing: f"given up: {thing}"))
    expected = [*"ABCDEFG", "given up: deadly", "given up: deadly"]
    assert sorted(made) == sorted(expected)


# The gradebook


@pytest.fixture
def course(tmp_path):
    return Class(tmp_path)


def hand_in(course: Class, student: str, answers: dict[str, str]) -> Path:
    path = course.submitted / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    write(fill(load(RELEASE), answers), path)
    return path


def test_what_an_instructor_has_scored_stays_when_it_is_graded_again(course):
    hand_in(course, "ada", right())
    assert course.grade("--jobs", "1").returncode == 0
    which = ("check_causal_mask", ASSIGNMENT, ASSIGNMENT, "ada")
    database = f"sqlite:///{course.root}/exercises/gradebook.db"
    with Gradebook(database) as gradebook:
        grade = gradebook.find_grade(*which)
        grade.manual_score, grade.extra_credit = 0.5, 1.0
        comment = gradebook.find_comment("causal_mask", *which[1:])
        comment.manual_comment = "See me."
        gradebook.db.commit()
    hand_in(course, "ada", right() | {"causal_mask": "def causal_mask(a, b): ..."})
    assert course.grade("--jobs", "1").returncode == 0
    rows = course.rows()
    assert rows["ada", "check_causal_mask"] == (0.0, 0.5, 1.0, True)
    told, manual = rows["ada", "said of causal_mask"]
    assert (told[:25], manual) == ("Your function gives back ", "See me.")
    assert "See me." in course.page("ada")
    assert "7.5 / 8.0" in course.page("ada")  # 0.5 + 1.0 + 6


def test_who_is_late_has_the_penalty_of_the_course(course):
    path = hand_in(course, "ada", right())
    path.with_name("timestamp.txt").write_text("2026-01-02 00:00:00 UTC")
    hand_in(course, "bob", right())
    with Gradebook(f"sqlite:///{course.root}/exercises/gradebook.db") as gradebook:
        gradebook.update_or_create_assignment(ASSIGNMENT, duedate=datetime(2026, 1, 1))
    config = course.root / "nbgrader_config.py"
    late = "\nc.LateSubmissionPlugin.penalty_method = 'zero'\n"
    config.write_text(config.read_text() + late)
    assert course.grade("--jobs", "1").returncode == 0
    rows = course.rows()
    assert (rows["ada", "penalty"], rows["bob", "penalty"]) == ((8.0,), (None,))
    assert "Late submission penalty" in course.page("ada")
    done = course.run("nbgrader", "export")
    assert done.returncode == 0, done.stderr
    lines = (course.root / "grades.csv").read_text()
    assert lines.count("ada") == 1


def test_what_the_gradebook_cannot_take_is_told(course):
    hand_in(course, "ada", right())
    shutil.move(course.submitted / "ada" / ASSIGNMENT, course.submitted / "ada" / "ps1")
    done = course.grade("--jobs", "1")
    assert done.returncode == 0
    assert "The gradebook has no assignment ps1" in done.stderr
    assert "nbgrader generate_assignment ps1" in done.stderr
    assert course.records()["ada"]["points"] == 8


def test_a_transaction_that_fails_leaves_nothing_behind(course, monkeypatch):
    path = hand_in(course, "ada", right())
    assert course.grade("--jobs", "1", "--no-gradebook").returncode == 0
    gradebook = Course(course.root)
    monkeypatch.setattr(Course, "save", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gradebook.record(course.records()["ada"], path)
    gradebook.close()
    assert course.rows() == {}
    monkeypatch.undo()
    gradebook = Course(course.root)
    gradebook.record(course.records()["ada"], path)
    assert len(course.rows()) == 9
    monkeypatch.setattr(gradebook, "cells", lambda name: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gradebook.record(course.records()["ada"], path)
    gradebook.close()


def test_no_course_here(tmp_path):
    assert Course.here(tmp_path) is None
    assert issubclass(NotInGradebook, Exception)


# What students hand in besides a notebook as it was handed out


def odd_ones(course: Class) -> dict[str, tuple[str, float, str]]:
    """Odd submissions, with status, points and a part of what is told of each."""
    surrogate = right() | {"causal_mask": "x = '\ud800'; print(x.encode())"}
    hand_in(course, "surrogate", surrogate)
    for student, text in (("stamp", "soon"), ("large stamp", "2026 " * 999)):
        hand_in(course, student, right()).with_name("timestamp.txt").write_text(text)
    hand_in(course, "link stamp", right()).with_name("timestamp.txt").symlink_to("/etc")
    long = "Ж" * 120
    hand_in(course, long, right())
    path = hand_in(course, "sparse", right())
    os.truncate(path, 20 << 30)
    path = hand_in(course, "link", {})
    path.unlink()
    path.symlink_to(ROOT / "exercises" / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
    path = hand_in(course, "nothing", {})
    path.rename(path.with_suffix(".pdf"))
    hand_in(course, "capitals", right()).rename(
        course.submitted / "capitals" / ASSIGNMENT / f"{ASSIGNMENT}.IPYNB"
    )
    path = hand_in(course, "cells", right())
    content = load(path)
    content["cells"] += [{"cell_type": "markdown", "source": "", "metadata": {}}] * 3000
    write(content, path)
    path = hand_in(course, "markdown", right())
    content = load(path)
    content["cells"] += [
        {"cell_type": "markdown", "source": "\\begin{a}" * 11_000, "metadata": {}}
    ]
    write(content, path)
    return {
        "surrogate": ("graded", 6, "`causal_mask` is missing"),
        "stamp": ("graded", 8, "timestamp.txt holds no time"),
        "large stamp": ("graded", 8, "timestamp.txt holds no time"),
        "link stamp": ("graded", 8, "timestamp.txt holds no time"),
        told_apart([Handed(Path("x"), long)])[0].student: ("graded", 8, ""),
        "sparse": ("unreadable", 0, "larger than 64 MB"),
        "link": ("unreadable", 0, "a link to another place"),
        "nothing": ("unreadable", 0, "holds no notebook"),
        "capitals": ("graded", 8, ""),
        "cells": ("unreadable", 0, "more than 2000: no answer needs that"),
        "markdown": ("graded", 8, ""),
    }


def test_whatever_one_hands_in_the_others_are_graded(course):
    expected = odd_ones(course)
    started = time.monotonic()
    done = course.grade("--jobs", "2")
    assert time.monotonic() - started < 60
    assert done.returncode == 1, done.stderr
    rows, records = course.rows(), course.records()
    for name, (status, points, told) in expected.items():
        record = records[name]
        assert (record["status"], record["points"]) == (status, points), name
        checks = [row[0] for (s, n), row in rows.items() if s == name and "check_" in n]
        assert sum(checks) == points
        page = course.page(name)
        assert "def causal_mask" not in page or status == "graded"
        assert told in json.dumps(record) + done.stderr


def test_of_two_notebooks_for_one_assignment_the_one_that_is_named_like_it_counts(
    course,
):
    path = hand_in(course, "ada", right())
    write(fill(load(RELEASE), {}), path.with_name("scratch.ipynb"))
    write(fill(load(RELEASE), {}), path.with_name("another.ipynb"))
    done = course.grade("--jobs", "1")
    assert "scratch.ipynb: exercises/submitted/ada/06_masks/06_masks.ipynb counts" in (
        done.stderr
    )
    rows = course.rows()
    assert sum(rows["ada", f"check_{name}"][0] for name in right()) == 8
    assert len(list((course.root / "results" / "ada").iterdir())) == 3


def test_a_mistake_of_nbgraders_stops_nobody_else(course, monkeypatch):
    hand_in(course, "ada", right())
    hand_in(course, "bob", right())
    assert course.grade("--jobs", "1", "--no-gradebook").returncode == 0
    jobs = [
        batch.Job(one, "swordfish", Limits(1, 30), course.root / "results")
        for one in told_apart(collect(course.submitted, course.root))
    ]
    gradebook, save = Course(course.root), Course.save

    def fail(self, nb, record, *rest):
        assert record["student"] != "ada", "no"
        return save(self, nb, record, *rest)

    monkeypatch.setattr(Course, "save", fail)
    refused: set[str] = set()
    monkeypatch.chdir(course.root)
    assert len(list(batch.record_all(jobs, gradebook, 1, refused))) == 1
    gradebook.close()
    [problem] = refused
    assert "ada" in problem
    assert {student for student, _ in course.rows()} == {"bob"}
    assert (course.root / "exercises" / "feedback" / "bob").exists()
