"""nbgrader's door: our judge where nbgrader executes; points and comments from it."""

import html
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from nbclient.exceptions import DeadKernelError
from nbconvert.exporters.exporter import ResourcesDict
from nbformat import v4
from nbformat.notebooknode import NotebookNode
from nbgrader import utils
from nbgrader.api import Gradebook
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.preprocessors import (
    DeduplicateIds,
    Execute,
    NbGraderPreprocessor,
    SaveAutoGrades,
)
from traitlets import Float, Integer, Unicode

from autograder import report, specs
from autograder.judge import Verdict
from autograder.notebooks import grade_id_of, understand
from autograder.runner.coordinator import Submission, grade_notebook, seed_of
from autograder.runner.start import Limits


def with_ours(preprocessors: list[Any]) -> list[Any]:
    """nbgrader's preprocessors, with ours in place of those that they improve on."""
    ours = {
        DeduplicateIds: RestoreMarks,
        Execute: JudgeNotebook,
        SaveAutoGrades: SaveVerdicts,
    }
    return [ours.get(each, each) for each in preprocessors]


class RestoreMarks(NbGraderPreprocessor):
    """Give each cell the marks by which the gradebook knows it, and no others.

    A graded cell that is gone is put back. Otherwise one cell that was copied, or that
    another version of nbgrader has marked, ends the grading of a whole class.
    """

    def preprocess(
        self, nb: NotebookNode, resources: ResourcesDict
    ) -> tuple[NotebookNode, ResourcesDict]:
        which = resources["nbgrader"]
        with Gradebook(which["db_url"]) as gradebook:
            notebook = gradebook.find_notebook(which["notebook"], which["assignment"])
            known = cells_of(notebook)
        nb = v4.upgrade(nb)
        for cell in reversed(nb.cells):  # of two copies the last one counts
            original = known.pop(grade_id_of(cell) or "", None)
            cell.metadata.pop("nbgrader", None)
            if original is not None:
                cell.metadata["nbgrader"] = original.metadata["nbgrader"]
        for grade_id, original in known.items():
            if utils.is_grade(original) or utils.is_task(original):
                self.log.warning("Cell %s is gone: it is put back", grade_id)
                if utils.is_solution(original):  # graded by hand, so somebody looks
                    original.source = "# This cell was gone: is its answer elsewhere?"
                nb.cells.append(original)
        return nb, resources


def cells_of(notebook: Any) -> dict[str, NotebookNode]:
    """The cells of a notebook that the gradebook knows, by their ids."""
    grades = {cell.name: cell.max_score for cell in notebook.grade_cells}
    tasks = {cell.name: cell.max_score for cell in notebook.task_cells}
    solutions = {cell.name for cell in notebook.solution_cells}
    cells = {}
    for cell in notebook.source_cells:
        new = v4.new_code_cell if cell.cell_type == "code" else v4.new_markdown_cell
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
        cells[cell.name] = new(cell.source, metadata={"nbgrader": marks})
    return cells


def exercise_checked_in(cell: NotebookNode) -> str | None:
    """Name of the exercise that a cell of ours checks; None for any other cell."""
    name = (grade_id_of(cell) or "").removeprefix("check_")
    ours = utils.is_grade(cell) and cell.source == f"check({name})"
    return name if ours and specs.stem_of(name) else None


class JudgeNotebook(Execute):
    """Judge the course's exercises; execute only what is none of them.

    An instructor's own graded cells are executed and scored as nbgrader always does.
    """

    secret = Unicode(
        os.environ.get("AUTOGRADER_SECRET", ""),
        help="Decides what is tried; the same secret gives the same grades.",
    ).tag(config=True)
    seconds = Float(
        Limits().seconds, help="Time for a cell, and for all calls of a function."
    ).tag(config=True)
    megabytes = Integer(Limits().megabytes, help="Memory for a notebook.").tag(
        config=True
    )

    def preprocess(
        self, nb: NotebookNode, resources: Any = None, km: Any = None
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Fill in what our check cells say, and keep the verdicts for the comments."""
        checks = {
            name: cell for cell in nb.cells if (name := exercise_checked_in(cell))
        }
        verdicts = self.judge(nb, resources) if checks else {}
        resources["verdicts"] = verdicts
        rest = [cell for cell in nb.cells if exercise_checked_in(cell) not in verdicts]
        if any(utils.is_grade(cell) or utils.is_task(cell) for cell in rest):
            with utils.setenv(AUTOGRADER_SECRET=""):
                super().preprocess(NotebookNode(nb | {"cells": rest}), resources, km)
        for name in checks.keys() & verdicts.keys():
            points = checks[name].metadata["nbgrader"]["points"]
            checks[name].outputs = [shown(verdicts[name], points)]
        return nb, resources

    def judge(self, nb: NotebookNode, resources: dict[str, Any]) -> dict[str, Verdict]:
        """Run the notebook apart from this process, and judge its functions."""
        notebook = understand(nb)
        submission = Submission(
            Path(f"{resources['nbgrader']['notebook']}.ipynb"),
            resources["nbgrader"]["student"],
        )
        limits = Limits(self.seconds, self.megabytes)
        grade_notebook(notebook, submission, seed_of(notebook, self.secret), limits)
        self.log.info(
            "%s: %s, %s of %s points %s", submission.student, submission.status,
            submission.points, submission.max_points, submission.message,
        )  # fmt: skip
        return {verdict.name: verdict for verdict in submission.verdicts}

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


def shown(verdict: Verdict, points: float) -> NotebookNode:
    """The output of a check cell: nbgrader's feedback shows it, and its number counts.

    `points` are the cell's: an instructor may have given it more or fewer than we do.
    """
    points = int(points) if points == int(points) else points
    verdict = replace(verdict, max_points=points)
    data = {"text/plain": f"{verdict.points}", "text/html": report.as_html(verdict)}
    return v4.new_output("execute_result", data)


class SaveVerdicts(SaveAutoGrades):
    """Save points as nbgrader does, and what was wrong as the answer's comment."""

    def _add_comment(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        super()._add_comment(cell, resources)
        verdict = resources["verdicts"].get(grade_id_of(cell))
        if verdict is not None:
            comment: Any = self.gradebook.find_comment(
                verdict.name, self.notebook_id, self.assignment_id, self.student_id
            )
            hint = f"\n\nHint: {verdict.hint}" if verdict.hint else ""
            # It is read as Markdown, and may quote what a student's code said.
            comment.auto_comment = html.escape(verdict.message + hint, quote=False)
            self.gradebook.db.commit()
