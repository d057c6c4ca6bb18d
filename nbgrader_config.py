"""nbgrader's settings. Run nbgrader in this folder; its own files are in exercises/."""

from pathlib import Path

from autograder.gradebook import autograde_preprocessors

c = get_config()  # noqa: F821  (nbgrader defines it)

c.CourseDirectory.root = str(Path.cwd() / "exercises")
c.CourseDirectory.course_id = "what-the-decoder-sees"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError"}
c.Autograde.autograde_preprocessors = autograde_preprocessors()
# A check that somebody deleted is put back, so that it can be graded.
c.OverwriteCells.add_missing_cells = True
