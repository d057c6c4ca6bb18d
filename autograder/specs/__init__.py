"""What is asked, chapter by chapter, and which mistakes are known.

Every exercise named in a spec is found here by its name. Only the spec that a name
belongs to is imported: those from chapter 17 on need PyTorch.
"""

import ast
import functools
import hashlib
import importlib
import re
from pathlib import Path

import solutions
from autograder.exercise import Exercise

HERE = Path(__file__).parent
SOLUTIONS = Path(solutions.__file__).parent


def stems() -> list[str]:
    """The chapters that have exercises, by their files."""
    return sorted(path.stem for path in HERE.glob("[!_]*.py"))


@functools.cache
def functions() -> dict[str, str]:
    """Every function that solutions define, and its chapter."""
    return {
        name: stem
        for stem in stems()
        for name in re.findall(
            r"^def (\w+)\(", (SOLUTIONS / f"{stem}.py").read_text("utf-8"), re.M
        )
    }


def stem_of(name: str) -> str | None:
    """The chapter whose solutions define a function of this name."""
    return functions().get(name)


def exercises_of(stem: str) -> list[Exercise]:
    """The exercises of a chapter, in the order of its spec."""
    module = importlib.import_module(f"{__name__}.{stem}")
    return [value for value in vars(module).values() if isinstance(value, Exercise)]


def find(name: str) -> Exercise | None:
    """The exercise of this name, or None."""
    stem = stem_of(name)
    exercises = exercises_of(stem) if stem else []
    return next((e for e in exercises if e.name == name), None)


@functools.cache
def version_of(stem: str) -> str:
    """Changes whenever what is asked in a chapter, or its answer, changes."""
    digest = hashlib.sha256()
    for path in sorted(with_imported(HERE / f"{stem}.py", set())):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def with_imported(path: Path, found: set[Path]) -> set[Path]:
    """A spec or a solution, and those of other chapters that it is made with."""
    if path not in found and path.exists():
        found.add(path)
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module:
                package, _, stem = node.module.rpartition(".")
                folder = {"solutions": SOLUTIONS, __name__: HERE}.get(package)
                if folder is not None:
                    with_imported(folder / f"{stem}.py", found)
                elif node.module == "solutions":
                    for alias in node.names:
                        with_imported(SOLUTIONS / f"{alias.name}.py", found)
    return found


@functools.cache
def version_of_engine() -> str:
    """Changes whenever the code that grades changes, whatever is asked."""
    digest = hashlib.sha256()
    for path in sorted(HERE.parent.rglob("*.py")):
        if HERE not in path.parents:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
