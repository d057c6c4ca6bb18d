"""nbgrader's door: our judge where nbgrader executes; points and comments from it.

`nbgrader autograde` calls the preprocessors below, one notebook after the other.
`autograder grade` judges in parallel and writes by record.py. What a cell earns and
what is said of it, both ask the functions here.
"""

import contextlib
import functools
import html
import os
import uuid
from pathlib import Path
from typing import Any

import bleach
import nbformat
from nbclient.exceptions import DeadKernelError
from nbconvert.exporters import NotebookExporter
from nbconvert.exporters.exporter import ResourcesDict
from nbconvert.filters import markdown2html
from nbformat import v4
from nbformat.notebooknode import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.preprocessors import (
    ClearHiddenTests,
    DeduplicateIds,
    Execute,
    NbGraderPreprocessor,
    SaveAutoGrades,
)
from traitlets import Bool, Float, Integer, Unicode

from autograder import report, specs
from autograder.judge import Verdict
from autograder.notebooks import (
    UnreadableNotebook,
    grade_id_of,
    load,
    source_of,
    understand,
)
from autograder.runner.coordinator import Submission, grade_notebook, seed_of
from autograder.runner.start import Limits

OURS = "autograder"  # the metadata of a notebook in which we keep what became of it
Record = dict[str, Any]  # as report.as_record makes it


# nbgrader's configuration


def configure(config: Any) -> None:
    """Put our parts where nbgrader's are: for nbgrader_config.py."""
    for phase in ("sanitize_preprocessors", "autograde_preprocessors"):
        config.Autograde[phase] = with_ours(getattr(Autograde, phase).default())
    config.Autograde.exporter_class = ReadAnything
    # For the feedback and for formgrader: a student's text cannot run as code.
    config.HTMLExporter.filters = {"markdown2html": harmless_html}


def with_ours(preprocessors: list[Any]) -> list[Any]:
    """nbgrader's preprocessors, with ours in place of those that they improve on."""
    ours = {
        DeduplicateIds: RestoreMarks,
        Execute: JudgeNotebook,
        SaveAutoGrades: SaveVerdicts,
    }
    return [ours.get(each, each) for each in preprocessors]


TAGS = {
    "a", "b", "blockquote", "br", "code", "dd", "del", "div", "dl", "dt", "em", "h1",
    "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "span",
    "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
MOST_MARKDOWN = 10_000  # characters: some texts take time that grows as their square


def is_harmless_attribute(tag: str, name: str, value: str) -> bool:
    """No script, and no picture from elsewhere: it would tell who opens the page."""
    if tag == "a" and name == "href":
        return value.startswith(("http:", "https:", "#"))
    if tag == "img" and name == "src":
        return value.startswith("data:image/")
    return name in ("class", "align", "title", "alt")


@functools.lru_cache(1000)  # most texts are those of the assignment
def harmless_html(source: str) -> str:
    """HTML of a Markdown text, with nothing in it that could run."""
    if len(source) > MOST_MARKDOWN:
        return f"<pre>{html.escape(source)}</pre>"
    protocols = ["http", "https", "data"]
    return bleach.clean(markdown2html(source), TAGS, is_harmless_attribute, protocols)


# Notebooks that have been handed in


class ReadAnything(NotebookExporter):
    """Read whatever was handed in; what is no notebook becomes one without cells."""

    def from_file(
        self, file_stream: Any, resources: Any = None, **options: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Read a file that nbgrader has opened: a submission, or what we made of it."""
        path = Path(file_stream.name)
        is_submission = getattr(self.parent, "_sanitizing", True)
        notebook = read_anything(path) if is_submission else nbformat.read(path, 4)
        return self.from_notebook_node(notebook, resources=resources, **options)


def read_anything(path: Path) -> NotebookNode:
    """A notebook with a learner's code and text, and with nothing else of theirs."""
    try:
        content = load(path)
    except UnreadableNotebook as problem:
        return nothing_read(str(problem))
    notebook = nothing_read("")
    kept = notebook.metadata[OURS]
    with contextlib.suppress(UnreadableNotebook):  # of no chapter: an instructor's own
        kept.repairs = list(understand(content).repairs)
    for cell in content["cells"]:
        if cell["cell_type"] in ("code", "markdown"):
            text = source_of(cell).encode("utf-8", "replace").decode()
            name = grade_id_of(cell)
            marks = {"nbgrader": {"grade_id": name}} if name else {}
            notebook.cells.append(new_cell(cell["cell_type"], text, marks))
    return notebook


def nothing_read(why: str) -> NotebookNode:
    """The notebook that stands for one that cannot be read."""
    return v4.new_notebook(metadata={OURS: {"repairs": [], "unreadable": why}})


def new_cell(kind: str, text: str, metadata: dict[str, Any]) -> NotebookNode:
    """A cell. nbformat's own functions check each by a schema: 1 ms a cell."""
    cell: Any = {"cell_type": kind, "source": text, "metadata": metadata}
    if kind == "code":
        cell |= {"outputs": [], "execution_count": None}
    new: Any = nbformat.from_dict(cell | {"id": uuid.uuid4().hex[:8]})
    return new


class RestoreMarks(NbGraderPreprocessor):
    """Give each cell the marks by which the gradebook knows it, and no others."""

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Restore the cells, and say what had to be restored."""
        which = resources["nbgrader"]
        with Gradebook(which["db_url"]) as gradebook:
            notebook = gradebook.find_notebook(which["notebook"], which["assignment"])
            known = cells_of(notebook)
        restore(nb, known, ClearHiddenTests(parent=self))
        for repair in nb.metadata[OURS].repairs:
            self.log.warning("%s: %s", which["student"], repair)
        return nb, resources


def restore(
    nb: NotebookNode, known: dict[str, NotebookNode], release: ClearHiddenTests
) -> None:
    """Make a submission's cells those of the assignment.

    A graded cell that is gone is put back. Otherwise one cell that was copied, or that
    another version of nbgrader has marked, ends the grading of a whole class. What
    learners cannot see of a locked cell is put back without a word; nbgrader would take
    it for a change.
    """
    told = nb.metadata[OURS]
    known = dict(known)
    for cell in reversed(nb.cells):  # of two copies the last one counts
        name = grade_id_of(cell) or ""
        original = known.pop(name, None)
        cell.metadata.pop("nbgrader", None)
        if original is None:
            continue
        cell.metadata["nbgrader"] = original.metadata["nbgrader"]
        if not utils.is_locked(original):
            continue
        handed_out = new_cell("code", original.source, {})
        release._remove_hidden_test_region(handed_out)
        is_own = exercise_checked_in(original) is None  # else it is said already
        if is_own and cell.source not in (handed_out.source, original.source):
            told.repairs.append(
                f"The cell {name} was changed: it counts as it was handed out."
            )
        cell.source = original.source
    for name, original in known.items():
        if utils.is_grade(original) or utils.is_task(original):
            cell = nbformat.from_dict(original)
            is_own = exercise_checked_in(original) is None
            if not told.unreadable:
                if is_own:
                    told.repairs.append(f"The cell {name} is gone: it is put back.")
                if utils.is_solution(cell):  # graded by hand, so somebody looks
                    cell.source = "# This cell was gone: is its answer elsewhere?"
            nb.cells.append(cell)


def cells_of(notebook: Any) -> dict[str, NotebookNode]:
    """The cells of a notebook that the gradebook knows, by their ids."""
    grades = {cell.name: cell.max_score for cell in notebook.grade_cells}
    tasks = {cell.name: cell.max_score for cell in notebook.task_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    cells = {}
    for cell in notebook.source_cells:
        marks = {
            "grade_id": cell.name,
            "schema_version": MetadataValidator.schema_version,
            "grade": cell.name in grades,
            "solution": cell.name in solutions,
            "task": cell.name in tasks,
            "locked": cell.locked,
            "cell_type": cell.cell_type,
            "checksum": cell.checksum,
        }
        if cell.name in grades | tasks:
            marks["points"] = (grades | tasks)[cell.name]
        cells[cell.name] = new_cell(cell.cell_type, cell.source, {"nbgrader": marks})
    return cells


def exercise_checked_in(cell: NotebookNode) -> str | None:
    """Name of the exercise that a cell of ours checks; None for any other cell."""
    name = (grade_id_of(cell) or "").removeprefix("check_")
    ours = utils.is_grade(cell) and cell.source == f"check({name})"
    return name if ours and specs.stem_of(name) else None


def is_own_test(cell: NotebookNode) -> bool:
    """Whether an instructor has written a test here that has to be executed."""
    return (
        cell.cell_type == "code"
        and utils.is_grade(cell)
        and not utils.is_solution(cell)
        and exercise_checked_in(cell) is None
    )


# What became of a submission


def verdict_on(cell: NotebookNode, record: Record | None) -> Record | None:
    """What was said of the exercise that a cell checks, or is the answer to."""
    name = exercise_checked_in(cell) or grade_id_of(cell)
    exercises = record["exercises"] if record else []
    return next((e for e in exercises if e["name"] == name), None)


def auto_score(cell: NotebookNode, record: Record | None) -> float | None:
    """Points of a graded cell; None if somebody has to grade it.

    Ours follow from the verdict; an instructor may have given the cell more points or
    fewer than we do. Nothing is read from an output.
    """
    if exercise_checked_in(cell) is None or record is None:
        return utils.determine_grade(cell)[0]
    verdict = verdict_on(cell, record)
    if verdict is None:  # nothing of it could be read
        return 0.0
    points = cell.metadata["nbgrader"]["points"]
    return points * verdict["points"] / verdict["max_points"]


def auto_comment(cell: NotebookNode, record: Record | None) -> str | None:
    """What to say of an answer. It is read as Markdown, and may quote a student."""
    verdict = verdict_on(cell, record)
    if verdict is not None:
        hint = f"\n\nHint: {verdict['hint']}" if verdict["hint"] else ""
        return html.escape(verdict["message"] + hint, quote=False)
    if record is not None and record["status"] == "unreadable":
        return html.escape(f"Nothing could be read: {record['message']}", quote=False)
    checksum = cell.metadata["nbgrader"].get("checksum")
    unchanged = checksum == utils.compute_checksum(cell)
    return "No response." if unchanged and not utils.is_task(cell) else None


def fill_in(nb: NotebookNode, record: Record) -> None:
    """Show in a notebook what became of it: on top, and under each check."""
    for cell in nb.cells:
        name, verdict = exercise_checked_in(cell), verdict_on(cell, record)
        if name is not None:
            shown = show(verdict, cell) if verdict else record["message"]
            data = {"text/plain": name, "text/html": shown}
            output = {"output_type": "display_data", "data": data, "metadata": {}}
            cell.outputs = [nbformat.from_dict(output)]
        elif cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if is_harmless(output)]
    lines = [
        f"**{record['status'].capitalize()}**, {record['points']} of "
        f"{record['max_points']} points for functions.",
        record["message"],
        *(f"Repaired: {repair}" for repair in record["repairs"]),
        f"The code ran in {record['ran_in']}." if record["ran_in"] else "",
    ]
    text = "\n\n".join(html.escape(line, quote=False) for line in lines if line)
    nb.cells.insert(0, new_cell("markdown", text, {}))


def show(verdict: Record, cell: NotebookNode) -> str:
    """The card of a verdict, with the points that the cell is worth."""
    points = cell.metadata["nbgrader"]["points"]
    points = int(points) if points == int(points) else points
    heads = (
        report.escape(report.headline(Verdict(verdict["name"], most, *rest)))
        for most in (verdict["max_points"], points)
        for rest in [(verdict["verdict"], "")]
    )
    return verdict["html"].replace(*heads, 1)


def is_harmless(output: NotebookNode) -> bool:
    """Whether an output of a learner's code, executed by nbgrader, may be shown."""
    images = {"text/plain", "image/png", "image/jpeg"}
    return output.output_type in ("stream", "error") or set(output.data) <= images


class JudgeNotebook(Execute):
    """Judge the course's exercises; execute only what is none of them.

    An instructor's own tests are executed and scored as nbgrader always does: in a
    kernel, which is no sandbox.
    """

    secret = Unicode(
        os.environ.get("AUTOGRADER_SECRET", ""),
        help="Decides what is tried; the same secret gives the same grades.",
    ).tag(config=True)
    seconds = Float(
        Limits().seconds, help="Time for a cell, and for all calls of a function."
    ).tag(config=True)
    notebook_seconds = Float(
        Limits().notebook_seconds, help="Time for a whole notebook."
    ).tag(config=True)
    megabytes = Integer(Limits().megabytes, help="Memory for a notebook.").tag(
        config=True
    )
    require_sandbox = Bool(
        False, help="Refuse to run notebooks where there can be no sandbox."
    ).tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: Any = None, km: Any = None
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Fill in what our check cells say, and keep it for points and comments."""
        record = self.judge(nb, resources)
        resources["record"] = record
        if any(map(is_own_test, nb.cells)) and not nb.metadata[OURS].unreadable:
            rest = [cell for cell in nb.cells if exercise_checked_in(cell) is None]
            with utils.setenv(AUTOGRADER_SECRET=""):
                super().preprocess(NotebookNode(nb | {"cells": rest}), resources, km)
        if record is not None:
            fill_in(nb, record)
        nb.metadata.pop(OURS)
        return nb, resources

    def judge(self, nb: NotebookNode, resources: dict[str, Any]) -> Record | None:
        """Judge the functions; None if there are none in this assignment."""
        which, kept = resources["nbgrader"], nb.metadata[OURS]
        path = Path(f"{which['notebook']}.ipynb")
        if kept.unreadable:
            unread = Submission(path, which["student"], message=kept.unreadable)
            return report.as_record(unread)
        if not any(map(exercise_checked_in, nb.cells)):
            return None
        sandbox = "required" if self.require_sandbox else "if possible"
        limits = Limits(self.seconds, self.notebook_seconds, self.megabytes, sandbox)
        submission = Submission(path, which["student"])
        notebook = understand(nb)
        grade_notebook(notebook, submission, seed_of(notebook, self.secret), limits)
        submission.repairs = list(kept.repairs)
        self.log.info(
            "%s: %s, %s of %s points %s", submission.student, submission.status,
            submission.points, submission.max_points, submission.message,
        )  # fmt: skip
        return report.as_record(submission)

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Execute a cell. One that ends the kernel has failed, and so have the rest."""
        try:
            return super().preprocess_cell(cell, resources, index)
        except DeadKernelError as error:
            text = "The Python process ended in this cell or in one before it."
            cell.outputs = [
                v4.new_output("error", ename=type(error).__name__, evalue=str(error),
                              traceback=[text])
            ]  # fmt: skip
            return cell, resources


class SaveVerdicts(SaveAutoGrades):
    """Save points and comments as nbgrader does, but as the verdicts say."""

    def _add_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        where = self.notebook_id, self.assignment_id, self.student_id
        grade = self.gradebook.find_grade(str(grade_id_of(cell)), *where)
        save_score(grade, auto_score(cell, resources["record"]))
        self.gradebook.db.commit()

    def _add_comment(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        where = self.notebook_id, self.assignment_id, self.student_id
        comment: Any = self.gradebook.find_comment(str(grade_id_of(cell)), *where)
        comment.auto_comment = auto_comment(cell, resources["record"])
        self.gradebook.db.commit()


def save_score(grade: Any, points: float | None) -> None:
    """Set a score. What somebody has scored by hand stays, to be looked at again."""
    grade.auto_score = points
    grade.needs_manual_grade = points is None or grade.manual_score is not None
