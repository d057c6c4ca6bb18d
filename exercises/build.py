"""Make the exercise notebooks: NN_stem.py -> source/ -> release/.

A script is ordinary Python. A cell with the tag "exercise" imports a function from
`solutions`; in its place the notebook gets the function with its body marked as the
solution, and a locked cell that checks it. nbgrader makes the release from that.
"""

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext

from autograder import specs
from autograder.course import ROOT, assignment_of, chapter_of
from autograder.notebooks import write
from autograder.specs import find

HERE = Path(__file__).resolve().parent


def nbgrader(grade_id: str, **marks: Any) -> dict[str, Any]:
    """Cell metadata by which nbgrader knows what a cell is."""
    plain = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": {**plain, "grade_id": grade_id, "schema_version": 3, **marks}}


def code_cell(name: str, source: str, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": metadata,
        "outputs": [],
        "source": source,
    }


def text_cell(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def with_solution_marked(function: Any) -> str:
    """A function's source with its body, after the docstring, between nbgrader's marks."""
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


def third_party_imports(modules: list[ModuleType]) -> list[str]:
    """The import lines of solution modules, without those of other solutions."""
    lines: dict[str, None] = {}
    for module in modules:
        source = inspect.getsource(module)
        for node in ast.parse(source).body:
            inner = isinstance(node, ast.ImportFrom) and str(node.module).startswith(
                "solutions"
            )
            if isinstance(node, ast.Import | ast.ImportFrom) and not inner:
                lines[ast.unparse(node)] = None
    return sorted(lines, key=lambda line: line.replace("from ", "import "))


def earlier_functions(functions: list[Any]) -> list[Any]:
    """Functions of earlier chapters that these use, in the order they need each other."""
    found: dict[Any, None] = {}

    def visit(function: Any) -> None:
        names = vars(inspect.getmodule(function))
        for name in function.__code__.co_names:
            used = names.get(name)
            if inspect.isfunction(used) and used.__module__.startswith("solutions."):
                visit(used)
                found[used] = None

    for function in functions:
        visit(function)
    return [f for f in found if f.__module__ != functions[0].__module__]


def exercises_in(cell: dict[str, Any]) -> list[str]:
    """Names of the functions that a script's cell makes exercises of."""
    if "exercise" not in cell["metadata"].get("tags", []):
        return []
    imports = ast.parse(cell["source"]).body
    return [
        alias.name
        for node in imports
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def build_source(script: Path) -> dict[str, Any]:
    """The instructor's notebook of one script."""
    parsed = jupytext.read(script, fmt="py:percent")["cells"]
    asked = {name: find(name) for cell in parsed for name in exercises_in(cell)}
    unknown = [name for name, exercise in asked.items() if exercise is None]
    if unknown:
        sys.exit(f"{script.name}: no spec for {', '.join(unknown)}")
    functions = [exercise.solution for exercise in asked.values() if exercise]
    given = earlier_functions(functions)
    modules = [inspect.getmodule(function) for function in functions[:1] + given]
    setup = [*third_party_imports([m for m in modules if m]), ""]
    setup += ["from autograder import check"]
    cells = []
    for number, cell in enumerate(parsed, start=1):
        names = exercises_in(cell)
        for name in names:
            cells += exercise_cells(name, asked[name])
        if not names and cell["cell_type"] == "markdown":
            cells.append(text_cell(f"text-{number}", cell["source"]))
        elif not names:
            cells.append(code_cell(f"try-{number}", cell["source"], {}))
        if number == 1:
            cells.append(
                code_cell("setup", "\n".join(setup), nbgrader("setup", locked=True))
            )
            cells += given_cells(given)
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def exercise_cells(name: str, exercise: Any) -> list[dict[str, Any]]:
    """The cell to write in, and the locked one that checks it."""
    return [
        code_cell(
            name,
            with_solution_marked(exercise.solution),
            nbgrader(name, solution=True),
        ),
        code_cell(
            f"check_{name}",
            f"check({name})",
            nbgrader(f"check_{name}", grade=True, locked=True, points=exercise.points),
        ),
    ]


def given_cells(functions: list[Any]) -> list[dict[str, Any]]:
    """What earlier chapters had you write, as given code."""
    if not functions:
        return []
    source = "\n\n\n".join(inspect.getsource(f).rstrip() for f in functions)
    return [
        text_cell("given-text", "## From earlier chapters"),
        code_cell("given", source, nbgrader("given", locked=True)),
    ]


def build(scripts: list[Path]) -> None:
    """Write the source notebooks, and release what changed or was never released."""
    known_here = (HERE / "gradebook.db").exists()
    for script in scripts:
        name = script.stem
        source = HERE / "source" / name / f"{name}.ipynb"
        release = HERE / "release" / name / f"{name}.ipynb"
        notebook = build_source(script)
        unchanged = source.exists() and json.loads(source.read_text()) == notebook
        if not unchanged:
            write(notebook, source)
        fresh = release.exists() and release.stat().st_mtime >= source.stat().st_mtime
        if unchanged and fresh and known_here:
            print(f"{name}: as it was")
            continue
        print(f"{name}: making the release")
        subprocess.run(
            [sys.executable, "-m", "nbgrader", "generate_assignment", name, "--force",
             "--create", "--log-level=WARN"],
            cwd=ROOT, check=True,
            # nbgrader calls alembic by its bare name
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}"
                              f"{os.environ.get('PATH', '')}"},
        )  # fmt: skip


def scripts() -> list[Path]:
    """The scripts of all chapters that have exercises."""
    return [
        HERE / f"{assignment_of(stem)}.py"
        for stem in sorted(specs.stems(), key=chapter_of)
    ]


if __name__ == "__main__":
    build(scripts())
