"""Every exercise has all its parts, and the set-up says each thing once."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from autograder import specs
from autograder.course import ROOT, STEMS, assignment_of, chapter_of

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("stem", specs.stems())
def test_a_chapter_has_its_five_files(stem):
    name = assignment_of(stem)
    for path in (
        f"solutions/{stem}.py",
        f"tests/test_{stem}.py",
        f"autograder/specs/{stem}.py",
        f"exercises/{name}.py",
        f"book/{name}.md",
    ):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("stem", specs.stems())
def test_a_chapter_shows_every_exercise_and_its_mistakes(stem):
    page = (ROOT / "book" / f"{assignment_of(stem)}.md").read_text()
    for exercise in specs.exercises_of(stem):
        assert f"{{exercise}} {exercise.name}\n" in page
        assert f"{{mistakes}} {exercise.name}\n" in page


def test_no_file_has_a_number_or_stem_that_is_not_in_the_plan():
    for folder, pattern in (("book", "*.md"), ("exercises", "*.py")):
        for path in (ROOT / folder).glob(f"[0-9][0-9]_{pattern}"):
            number, _, stem = path.stem.partition("_")
            assert stem in STEMS
            assert int(number) == chapter_of(stem)


def test_solutions_import_nothing_heavier_than_numpy():
    code = (
        "import sys, pkgutil, importlib, solutions\n"
        "for m in pkgutil.iter_modules(solutions.__path__):\n"
        f"    if {STEMS}.index(m.name) < 16:\n"
        "        importlib.import_module('solutions.' + m.name)\n"
        "assert not {'torch', 'autograder', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_checking_imports_nothing_heavier_than_numpy():
    code = (
        "import sys\nfrom autograder import check\n"
        "def causal_mask(q_len, k_len): return None\n"
        "assert 'wrong' in repr(check(causal_mask))\n"
        "assert not {'torch', 'nbformat', 'matplotlib', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_conda_users_get_the_same_dependencies_and_no_other_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == [
        "python",
        "pip",
        {"pip": ["-c constraints.txt", "-e .[course]"]},
    ]


def test_every_dependency_has_one_tested_version():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    project = PYPROJECT["project"]
    needed = [*project["dependencies"]]
    for requirements in project["optional-dependencies"].values():
        needed += requirements
    for requirement in needed:
        name = re.split(r"[\[>=<]", requirement)[0].lower()
        assert name in pinned | {project["name"]}, name


def test_the_exercises_alone_need_only_numpy():
    assert [re.split(r"\W", d)[0] for d in PYPROJECT["project"]["dependencies"]] == [
        "numpy"
    ]


def test_the_style_is_ruffs():
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache"],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def imported_when_loaded(path: Path) -> set[str]:
    """The rooms of autograder/ that a module imports at its top."""
    tree = ast.parse(path.read_text())
    rooms = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            package, *rest = node.module.split(".")
            if package == "autograder":
                rooms |= set(rest[:1]) or {alias.name for alias in node.names}
    return rooms


def test_inside_the_grader_an_import_only_goes_down_the_list_of_contributing():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    [rooms] = re.findall(r"only goes down this list:(.*?)\.\n", text, re.S)
    order = re.findall(r"`(\w+)`", rooms)
    package = ROOT / "autograder"
    paths = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    assert {
        path.relative_to(package).parts[0].removesuffix(".py") for path in paths
    } == {*order}
    for path in paths:
        room = path.relative_to(package).parts[0].removesuffix(".py")
        below = set(order[order.index(room) :])
        assert imported_when_loaded(path) <= below, path
