"""Make the exercise notebooks: NN_stem.py -> source/ -> release/.

A script is ordinary Python. A cell with the tag "exercise" imports a function from
`solutions`; in its place the notebook gets the function with its body marked as the
solution, and a locked cell that checks it. In place of a cell with the tag "given" it
gets what that imports, whole. nbgrader makes the release from that.
"""

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode, v4

from autograder import rules, specs
from autograder.course import ROOT, assignment_of, chapter_of
from autograder.exercise import Exercise, used_by
from autograder.notebooks import write
from autograder.specs import find

HERE = Path(__file__).resolve().parent


def nbgrader(grade_id: str, **marks: Any) -> dict[str, Any]:
    """Cell metadata by which nbgrader knows what a cell is."""
    plain = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": {**plain, "grade_id": grade_id, "schema_version": 3, **marks}}


def with_solution_marked(function: Any) -> str:
    """A function's source, its body after the docstring between nbgrader's marks."""
    source = inspect.getsource(function)
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    lines = source.splitlines()
    end_of_docstring = definition.body[0].end_lineno
    return "\n".join([
        *lines[:end_of_docstring],
        "    ### BEGIN SOLUTION",
        *lines[end_of_docstring:],
        "    ### END SOLUTION",
    ])  # fmt: skip


def imports_of(functions: list[Any]) -> list[str]:
    """The import lines of these functions' modules, but for those of solutions."""
    lines = {
        ast.unparse(node)
        for function in functions
        for node in ast.parse(inspect.getsource(sys.modules[function.__module__])).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    outer = [line for line in lines if not line.startswith("from solutions")]
    return sorted(outer, key=lambda line: (line.split()[1], line))


def given_for(functions: list[Any]) -> list[Any]:
    """What these use of `solutions` beside each other, in the order of need."""
    found: dict[Any, None] = dict.fromkeys(functions)

    def visit(function: Any) -> None:
        for used in used_by(function):
            if used not in found:
                visit(used)
                found[used] = None

    for function in functions:
        visit(function)
    return list(found)[len(functions) :]


def imported_by(cell: NotebookNode, tag: str) -> list[tuple[str, str]]:
    """(module, name) of what a script's cell imports, if it has this tag."""
    if tag not in cell.metadata.get("tags", []):
        return []
    return [
        (str(node.module), alias.name)
        for node in ast.parse(cell.source).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def exercises_in(cell: NotebookNode) -> list[str]:
    """Names of the functions that a script's cell makes exercises of."""
    return [name for _, name in imported_by(cell, "exercise")]


def given_in(cell: NotebookNode) -> list[Any]:
    """The functions that a script's cell gives, made of the exercises before it."""
    found = imported_by(cell, "given")
    return [getattr(importlib.import_module(module), name) for module, name in found]


def build_source(script: Path) -> NotebookNode:
    """The instructor's notebook of one script."""
    parsed = jupytext.read(script, fmt="py:percent").cells
    asked: dict[str, Exercise] = {}
    for name in [name for cell in parsed for name in exercises_in(cell)]:
        exercise = find(name)
        if exercise is None:
            sys.exit(f"{script.name}: there is no spec for {name}")
        asked[name] = exercise
    functions = [exercise.solution for exercise in asked.values()]
    functions += [function for cell in parsed for function in given_in(cell)]
    cells = []
    place, count = "start", 0  # which exercise a text stands behind, and which it is
    for number, cell in enumerate(parsed, start=1):
        names, given = exercises_in(cell), given_in(cell)
        place, count = (names[-1], 0) if names else (place, count + 1)
        for name in names:
            cells += exercise_cells(asked[name])
        if given:
            cells.append(locked_cell(f"{place}-{count}", sources_of(given)))
        elif not names and cell.cell_type == "markdown":
            cells.append(v4.new_markdown_cell(cell.source, id=f"{place}-{count}"))
        elif not names:
            cells.append(v4.new_code_cell(cell.source, id=f"{place}-{count}"))
        if number == 1:
            cells += given_cells(functions)
    kernel = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    return v4.new_notebook(
        cells=cells,
        metadata={"kernelspec": kernel, "language_info": {"name": "python"}},
    )


def exercise_cells(exercise: Exercise) -> list[NotebookNode]:
    """The rules, the cell to write in, and the locked one that checks it."""
    name, check = exercise.name, f"check_{exercise.name}"
    told = "\n\n".join(rules.told(exercise))
    return [
        *([v4.new_markdown_cell(told, id=f"{name}-rules")] if told else []),
        v4.new_code_cell(
            with_solution_marked(exercise.solution),
            id=name,
            metadata=nbgrader(name, solution=True),
        ),
        v4.new_code_cell(
            f"check({name})",
            id=check,
            metadata=nbgrader(check, grade=True, locked=True, points=exercise.points),
        ),
    ]


def given_cells(functions: list[Any]) -> list[NotebookNode]:
    """The imports, and what earlier chapters had you write."""
    given = given_for(functions)
    setup = [*imports_of(functions + given), "", "from autograder import check"]
    cells = [locked_cell("setup", "\n".join(setup))]
    if given:
        cells += [
            v4.new_markdown_cell("## From earlier chapters", id="given-text"),
            locked_cell("given", sources_of(given)),
        ]
    return cells


def sources_of(functions: list[Any]) -> str:
    """The code of these functions, one after the other."""
    return "\n\n\n".join(inspect.getsource(f).rstrip() for f in functions)


def locked_cell(name: str, source: str) -> NotebookNode:
    """Code that learners run and leave as it is."""
    return v4.new_code_cell(source, id=name, metadata=nbgrader(name, locked=True))


def release(folder: Path = ROOT) -> None:
    """Have nbgrader make all releases of a course folder."""
    # nbgrader calls alembic by its bare name
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    subprocess.run(
        [sys.executable, "-m", "nbgrader", "generate_assignment", "[0-9]*", "--force",
         "--log-level=ERROR"],
        cwd=folder, check=True, env=os.environ | {"PATH": path},
    )  # fmt: skip


def scripts() -> list[Path]:
    """The scripts of all chapters that have exercises."""
    stems = sorted(specs.stems(), key=chapter_of)
    return [HERE / f"{assignment_of(stem)}.py" for stem in stems]


def build() -> None:
    """Write the source notebooks that changed; make the releases if one is stale."""
    stale = []
    for script in scripts():
        name = script.stem
        source = HERE / "source" / name / f"{name}.ipynb"
        notebook = build_source(script)
        if not source.exists() or json.loads(source.read_text("utf-8")) != notebook:
            write(notebook, source)
        # nbgrader writes both: one for learners, one to grade by
        made = [HERE / "release" / name / f"{name}.ipynb", HERE / "gradebook.db"]
        time = source.stat().st_mtime
        fresh = all(path.exists() and path.stat().st_mtime >= time for path in made)
        print(f"{name}: {'as it was' if fresh else 'new or changed'}")
        stale += [] if fresh else [name]
    if stale:
        print("nbgrader makes the releases: a few seconds")
        release()


if __name__ == "__main__":
    build()
