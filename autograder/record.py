"""Write submissions that have been judged into nbgrader's gradebook, with feedback.

`nbgrader autograde` opens the gradebook nine times for a submission and commits 28
times; here a submission is one transaction.
"""

import contextlib
import functools
import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbformat.notebooknode import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGrader
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties, ClearHiddenTests, GetGrades
from sqlalchemy.exc import SAWarning

from autograder.gradebook import (
    OURS,
    Record,
    auto_comment,
    auto_score,
    cells_of,
    fill_in,
    is_own_test,
    nothing_read,
    read_anything,
    restore,
    save_score,
)
from autograder.notebooks import grade_id_of, write


class NotInGradebook(Exception):
    """The gradebook cannot take a submission; the text says what to do."""


@dataclass(frozen=True)
class Page:
    """A feedback page to be written: all that another process needs for it."""

    notebook: dict[str, Any]
    resources: dict[str, Any]
    path: Path
    folder: Path  # the course's


class Course:
    """nbgrader's course in a folder: its gradebook and where its files are."""

    def __init__(self, folder: Path) -> None:
        self.folder, app = folder, configured(folder)
        with contextlib.chdir(folder):
            self.coursedir = CourseDirectory(parent=app)
        db_url = self.coursedir.db_url
        self.gradebook = Gradebook(db_url, self.coursedir.course_id)
        self.penalties: Any = AssignLatePenalties(parent=app)
        self.penalties.init_plugin()
        self.release = ClearHiddenTests(parent=app)
        self.cells = functools.cache(self._cells)
        self.in_gradebook = {
            (submission.assignment.name, submission.student.id)
            for assignment in self.gradebook.assignments
            for submission in assignment.submissions
        }

    @classmethod
    def here(cls, folder: Path) -> "Course | None":
        """The course whose nbgrader_config.py is in this folder, if there is one."""
        return cls(folder) if (folder / "nbgrader_config.py").is_file() else None

    def _cells(self, assignment: str) -> dict[str, NotebookNode]:
        """Cells of an assignment's notebook, if what it needs can be done here."""
        try:
            notebook = self.gradebook.find_notebook(assignment, assignment)
        except MissingEntry:
            raise NotInGradebook(
                f"The gradebook has no assignment {assignment} with a notebook of this "
                f"name: `nbgrader generate_assignment {assignment}` puts it there."
            ) from None
        cells = cells_of(notebook)
        if own := [name for name, cell in cells.items() if is_own_test(cell)]:
            raise NotInGradebook(
                f"{assignment} has tests of your own ({', '.join(own)}): only "
                f"`nbgrader autograde {assignment}` executes them."
            )
        return cells

    def place(self, step: str, record: Record, suffix: str) -> Path:
        """Where nbgrader keeps a file of a submission."""
        assignment = record["assignment"]
        folder = self.coursedir.format_path(step, record["student"], assignment)
        return Path(folder, assignment).with_suffix(suffix)

    def is_recorded(self, record: Record) -> bool:
        """Whether gradebook and feedback are those of this very record."""
        if (record["assignment"], record["student"]) not in self.in_gradebook:
            return False
        made = self.place(self.coursedir.autograded_directory, record, ".ipynb")
        page = self.place(self.coursedir.feedback_directory, record, ".html")
        try:
            kept = json.loads(made.read_text("utf-8"))["metadata"].get(OURS, {})
        except (OSError, ValueError):
            return False
        return kept.get("key") == record["key"] and page.exists()

    def record(self, record: Record, path: Path) -> tuple[Page, list[str]]:
        """Write a submission into the gradebook: all of it, or nothing.

        Then its notebook, so that formgrader and `nbgrader generate_feedback` work;
        it carries the record's key, and says so that the gradebook has it. Gives the
        feedback page that is to be written, and what to tell an instructor.
        """
        assignment, student = record["assignment"], record["student"]
        cells = self.cells(assignment)
        is_read = record["status"] != "unreadable"
        nb = read_anything(path) if is_read else nothing_read(record["message"])
        restore(nb, cells, self.release)
        fill_in(nb, record)
        stamp = path.with_name("timestamp.txt")
        timestamp, notes = self.handed_in(stamp)
        with one_transaction(self.gradebook):
            self.gradebook.update_or_create_student(student)
            more: dict[str, Any] = {"timestamp": timestamp} if timestamp else {}
            submission = self.gradebook.update_or_create_submission(
                assignment, student, **more
            )
            [notebook] = [n for n in submission.notebooks if n.name == assignment]
            resources = self.save(nb, record, notebook, submission)
        self.in_gradebook.add((assignment, student))
        nb.metadata[OURS] = {"key": record["key"]}
        made = self.place(self.coursedir.autograded_directory, record, ".ipynb")
        write(without_scores(nb), made)
        if timestamp:
            shutil.copy(stamp, made.with_name(stamp.name))
        page = self.place(self.coursedir.feedback_directory, record, ".html")
        return Page(dict(nb), resources, page, self.folder), notes

    def handed_in(self, stamp: Path) -> tuple[Any, list[str]]:
        """When a submission was handed in, if nbgrader has written that beside it."""
        if not (stamp.exists() or stamp.is_symlink()):
            return None, []
        note = f"{stamp} holds no time: the notebook counts as handed in in time."
        if stamp.is_symlink() or not stamp.is_file() or stamp.stat().st_size > 1000:
            return None, [note]
        try:
            return self.coursedir.get_existing_timestamp(str(stamp.parent)), []
        except Exception:  # nbgrader's reader fails in many ways
            return None, [note]

    def save(
        self, nb: NotebookNode, record: Record, notebook: Any, submission: Any
    ) -> dict[str, Any]:
        """Set scores, comments and penalty; what a feedback page tells of them."""
        grades = {grade.name: grade for grade in notebook.grades}
        comments = {comment.name: comment for comment in notebook.comments}
        marked = {name: cell for cell in nb.cells if (name := grade_id_of(cell))}
        for name, cell in marked.items():
            if name in grades and not utils.is_task(cell):
                save_score(grades[name], auto_score(cell, record))
            if name in comments:
                comments[name].auto_comment = auto_comment(cell, record)
        db = self.gradebook.db
        db.flush()
        for row in (notebook, *grades.values(), *comments.values()):
            db.refresh(row)  # sums are the database's work
        notebook.late_submission_penalty = None
        late = submission.total_seconds_late
        penalty = late > 0 and self.penalties.plugin_inst.late_submission_penalty(
            submission.student.id, notebook.score, late
        )
        if penalty is not None and penalty is not False:
            penalty = self.penalties._check_late_penalty(notebook, penalty)
            notebook.late_submission_penalty = penalty
        for name, cell in marked.items():
            marks = cell.metadata["nbgrader"]
            if name in grades:
                marks |= {"score": grades[name].score, "points": grades[name].max_score}
            if name in comments:
                marks["comment"] = comments[name].comment
        penalty = penalty or 0
        told = {
            "notebook": record["assignment"], "student": record["student"],
            "assignment": record["assignment"], "score": notebook.score - penalty,
            "max_score": notebook.max_score, "late_penalty": penalty,
        }  # fmt: skip
        return {"nbgrader": told}

    def close(self) -> None:
        self.gradebook.close()


@contextlib.contextmanager
def one_transaction(gradebook: Gradebook) -> Iterator[None]:
    """Let nothing be committed before everything is: nbgrader does it at each step."""
    db: Any = gradebook.db
    commit, db.commit = db.commit, db.flush
    try:
        with warnings.catch_warnings():
            # nbgrader's own way to add a submission; it is added all the same
            warnings.simplefilter("ignore", SAWarning)
            yield
        commit()
    except BaseException:
        db.rollback()
        raise
    finally:
        del db.commit


def without_scores(nb: NotebookNode) -> dict[str, Any]:
    """The notebook as nbgrader keeps it: scores are in the gradebook alone."""
    kept: Any = nbformat.from_dict(nb)
    for cell in kept.cells:
        for name in ("score", "comment"):
            cell.metadata.get("nbgrader", {}).pop(name, None)
    return kept


@functools.cache
def configured(folder: Path) -> NbGrader:
    """nbgrader as its configuration in this folder has it."""
    app = NbGrader()
    with contextlib.chdir(folder):
        app.load_config_file()
    return app


@functools.cache
def exporter_of(folder: Path) -> TemplateExporter:
    """What makes feedback pages of this course, but for the scores."""
    app = configured(folder)
    converter = GenerateFeedback(coursedir=CourseDirectory(parent=app), parent=app)
    exporter: Any = converter.exporter_class(parent=converter, config=converter.config)
    for preprocessor in converter.preprocessors:
        if preprocessor is not GetGrades:  # they are in the page's notebook already
            exporter.register_preprocessor(preprocessor, enabled=True)
    highlight = Highlight2HTML(pygments_lexer="ipython3", parent=exporter)
    exporter.register_filter("highlight_code", highlight)
    return exporter


def write_feedback(page: Page) -> str:
    """Write a page as `nbgrader generate_feedback` does, whole or not at all.

    Gives what is in the way of it, if anything is.
    """
    notebook: Any = nbformat.from_dict(page.notebook)
    try:
        # HTMLExporter would read its page again, to mend pictures without a text: that
        # takes longer than all the rest
        text, _ = TemplateExporter.from_notebook_node(
            exporter_of(page.folder), notebook, resources=dict(page.resources)
        )
        page.path.parent.mkdir(parents=True, exist_ok=True)
        draft = page.path.with_name(page.path.name + ".part")
        draft.write_text(text, "utf-8")
        draft.replace(page.path)
    except Exception as error:  # the others must not wait for this one
        return f"{page.path}: {error!r}"
    return ""
