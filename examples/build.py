"""Make the sample notebooks: the functions of each script, handed in.

A script is what somebody might have written; its functions go into the released
notebook of their chapter.
"""

import ast
from pathlib import Path
from typing import Any

from autograder import specs
from autograder.course import ROOT, assignment_of
from autograder.notebooks import fill, load, write

HERE = Path(__file__).resolve().parent
RELEASE = ROOT / "exercises" / "release"


def released(stem: str) -> dict[str, Any]:
    name = assignment_of(stem)
    return load(RELEASE / name / f"{name}.ipynb")


def handed_in(script: Path) -> dict[str, Any]:
    """The notebook that the author of a script's functions hands in."""
    source = script.read_text("utf-8")
    functions = {
        node.name: ast.unparse(node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
    stems = {specs.stem_of(name) for name in functions}
    assert len(stems) == 1, f"{script.name}: functions of one chapter, please"
    return fill(released(str(stems.pop())), functions)


def notebooks() -> dict[Path, dict[str, Any]]:
    """Every sample notebook and what is to be in it."""
    scripts = [path for path in sorted(HERE.rglob("*.py")) if path.name != "build.py"]
    made = {script.with_suffix(".ipynb"): handed_in(script) for script in scripts}
    return {HERE / "unsolved.ipynb": released("masks"), **made}


if __name__ == "__main__":
    for path, content in notebooks().items():
        write(content, path)
