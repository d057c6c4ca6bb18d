"""nbgrader's door: our judge where nbgrader executes; points and comments from it."""

import os
from pathlib import Path
from typing import Any

from nbconvert.exporters.exporter import ResourcesDict
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output
from nbgrader.converters import Autograde
from nbgrader.preprocessors import Execute, SaveAutoGrades
from nbgrader.utils import is_grade
from traitlets import Float, Integer, Unicode

from autograder import report
from autograder.judge import Verdict
from autograder.notebooks import grade_id_of, understand
from autograder.runner.coordinator import (
    Limits,
    Submission,
    grade_notebook,
    seed_of,
)


def autograde_preprocessors() -> list[Any]:
    """nbgrader's own list, with ours where it executes and where it saves scores."""
    ours = {Execute: JudgeNotebook, SaveAutoGrades: SaveVerdicts}
    default = Autograde.autograde_preprocessors.default_args[0]
    return [ours.get(preprocessor, preprocessor) for preprocessor in default]


def verdicts_by_cell(submission: Submission) -> dict[str, Verdict]:
    return {f"check_{verdict.name}": verdict for verdict in submission.verdicts}


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
        self, nb: NotebookNode, resources: ResourcesDict, **options: Any
    ) -> tuple[NotebookNode, ResourcesDict]:
        """Fill in what our check cells say, and keep the verdicts for the gradebook."""
        notebook = understand(nb)
        seed = seed_of(notebook, self.secret)
        submission = Submission(
            Path(f"{resources['nbgrader']['notebook']}.ipynb"),
            resources["nbgrader"]["student"],
        )
        grade_notebook(notebook, submission, seed, Limits(self.seconds, self.megabytes))
        verdicts = verdicts_by_cell(submission)
        resources["verdicts"] = verdicts
        if any(
            is_grade(cell)
            and cell.cell_type == "code"
            and grade_id_of(cell) not in verdicts
            for cell in nb.cells
        ):
            nb, resources = super().preprocess(nb, resources, **options)
        for cell in nb.cells:
            verdict = verdicts.get(grade_id_of(cell) or "")
            if verdict is not None:
                cell.outputs = [shown(verdict)]
        self.log.info(
            "%s: %s, %s of %s points %s", submission.student, submission.status,
            submission.points, submission.max_points, submission.message,
        )  # fmt: skip
        return nb, resources


def shown(verdict: Verdict) -> NotebookNode:
    """The output of a check cell, as nbgrader's feedback shows it."""
    data = {
        "text/plain": report.as_text(verdict),
        "text/html": report.as_html(verdict),
    }
    return new_output("display_data", data)


class SaveVerdicts(SaveAutoGrades):
    """Write points and comments from the verdicts, not from what a cell printed."""

    def _add_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        verdict = resources["verdicts"].get(grade_id_of(cell))
        if verdict is None:
            return super()._add_score(cell, resources)
        grade = self._find(self.gradebook.find_grade, cell)
        grade.auto_score = float(verdict.points)
        grade.needs_manual_grade = grade.manual_score is not None
        self.gradebook.db.commit()
        return None

    def _add_comment(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        super()._add_comment(cell, resources)
        verdict = resources["verdicts"].get(f"check_{grade_id_of(cell)}")
        if verdict is not None:
            comment = self._find(self.gradebook.find_comment, cell)
            comment.auto_comment = report.as_text(verdict)
            self.gradebook.db.commit()

    def _find(self, find: Any, cell: NotebookNode) -> Any:
        return find(
            grade_id_of(cell), self.notebook_id, self.assignment_id, self.student_id
        )
