"""nbgrader's settings. Run nbgrader in this folder; its own files are in exercises/."""

from pathlib import Path

from autograder.gradebook import configure

# traitlets, which reads this file for nbgrader, puts get_config into its namespace
c = get_config()  # noqa: F821

c.CourseDirectory.root = str(Path.cwd() / "exercises")
c.CourseDirectory.course_id = "what-the-decoder-sees"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError"}
configure(c)
