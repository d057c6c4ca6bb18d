"""The exercise notebooks are what their scripts, solutions and nbgrader make."""

import importlib.util
import shutil
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient
from nbgrader.nbgraderformat import MetadataValidator

from autograder import specs
from autograder.course import ROOT, assignment_of
from autograder.notebooks import grade_id_of, write

EXERCISES = ROOT / "exercises"


def imported(name, path):
    """The module in a file, under the name by which others import it."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


build = imported("exercises_build", EXERCISES / "build.py")
each_chapter = pytest.mark.parametrize("stem", specs.stems())
each_step = pytest.mark.parametrize("step", ["source", "release"])


def path_of(step, stem):
    name = assignment_of(stem)
    return EXERCISES / step / name / f"{name}.ipynb"


def notebook(step, stem):
    return nbformat.read(path_of(step, stem), as_version=nbformat.NO_CONVERT)


@each_chapter
def test_the_source_notebook_is_what_its_script_makes(stem, tmp_path):
    script = EXERCISES / f"{assignment_of(stem)}.py"
    for copy in ("once.ipynb", "again.ipynb"):
        write(build.build_source(script), tmp_path / copy)
        made = (tmp_path / copy).read_bytes()
        assert made == path_of("source", stem).read_bytes(), "stale: make notebooks"


def test_the_releases_are_what_nbgrader_makes_of_the_sources(tmp_path):
    shutil.copytree(EXERCISES / "source", tmp_path / "exercises" / "source")
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    build.release(tmp_path)
    for stem in specs.stems():
        committed = path_of("release", stem)
        made = tmp_path / committed.relative_to(ROOT)
        assert made.read_bytes() == committed.read_bytes(), "stale: make notebooks"


@each_step
def test_there_is_a_notebook_for_every_chapter_with_exercises_and_no_other(step):
    expected = {path_of(step, stem) for stem in specs.stems()}
    assert set((EXERCISES / step).glob("[0-9]*/*.ipynb")) == expected


@each_step
@each_chapter
def test_a_notebook_is_valid_and_empty_of_outputs(step, stem):
    content = notebook(step, stem)
    nbformat.validate(content)
    MetadataValidator().validate_nb(content)
    ids = [cell.id for cell in content.cells]
    assert len(ids) == len(set(ids))
    for cell in content.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@each_step
@each_chapter
def test_a_notebook_asks_what_the_spec_asks_for_its_points(step, stem):
    marks = [cell.metadata.get("nbgrader", {}) for cell in notebook(step, stem).cells]
    exercises = specs.exercises_of(stem)
    answers = [mark["grade_id"] for mark in marks if mark.get("solution")]
    points = {mark["grade_id"]: mark["points"] for mark in marks if mark.get("grade")}
    assert answers == [exercise.name for exercise in exercises]
    assert points == {f"check_{e.name}": e.points for e in exercises}


@each_step
@each_chapter
def test_a_notebook_imports_no_solution(step, stem):
    for cell in notebook(step, stem).cells:
        assert cell.cell_type != "code" or "solutions" not in cell.source


@each_chapter
def test_the_release_shows_no_solution(stem):
    cells = notebook("release", stem).cells
    everything = "\n".join(cell.source for cell in cells)
    assert "SOLUTION" not in everything
    for cell in notebook("source", stem).cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            promise, rest = cell.source.split("    ### BEGIN SOLUTION\n")
            body = rest.removesuffix("    ### END SOLUTION")
            assert body.strip()
            assert body not in everything
            stub = f"{promise}    # YOUR CODE HERE\n    raise NotImplementedError"
            assert [c.source for c in cells if grade_id_of(c) == cell.id] == [stub]


@each_chapter
def test_the_solved_notebook_runs_and_every_check_says_right(stem, tmp_path):
    content = notebook("source", stem)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(content, timeout=120, resources=where).execute()
    for cell in content.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            [output] = cell.outputs
            name = cell.id.removeprefix("check_")
            assert output.data["text/plain"].startswith(f"{name}: right, ")


@each_chapter
def test_a_script_runs_as_ordinary_python(stem, tmp_path):
    script = EXERCISES / f"{assignment_of(stem)}.py"
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


EARLY = '''
import math

def double(x):
    """Two of it."""
    return math.prod([2, x])

def quadruple(x):
    """Four of it."""
    return double(double(x))
'''
LATE = '''
import numpy as np

from solutions.early import quadruple

def given(x):
    """Nothing that anybody is asked to write."""
    return np.negative(x)

def fourfold(values):
    """Four of each."""
    return [given(-quadruple(value)) for value in values]
'''
SCRIPT = """\
# %% [markdown]
# # Late

# %% tags=["exercise"]
from solutions.late import fourfold
"""


@pytest.fixture
def cells_of(tmp_path, monkeypatch):
    """Build a script beside two chapters of solutions, the early and the late one."""

    def cells(late: str, script: str):
        for name, source in {"early": EARLY, "late": late, "script": script}.items():
            (tmp_path / f"{name}.py").write_text(source)
        for name in ("early", "late"):
            # gone afterwards
            monkeypatch.setitem(sys.modules, f"solutions.{name}", None)
            module = imported(f"solutions.{name}", tmp_path / f"{name}.py")
        exercise = SimpleNamespace(
            name="fourfold", solution=module.fourfold, points=1, rules=[]
        )
        monkeypatch.setattr(build, "find", {"fourfold": exercise}.get)
        return build.build_source(tmp_path / "script.py").cells

    return cells


def test_what_earlier_chapters_had_you_write_is_given(cells_of):
    cells = cells_of(LATE, SCRIPT)
    ids = ["start-1", "setup", "given-text", "given", "fourfold", "check_fourfold"]
    assert [cell.id for cell in cells] == ids
    sources = {cell.id: cell.source for cell in cells}
    assert sources["setup"].splitlines()[:2] == ["import math", "import numpy as np"]
    assert sources["given-text"] == "## From earlier chapters"
    assert "solutions" not in "".join(sources.values())
    learner = {}
    for name in ids[1:-1]:
        if name != "given-text":
            exec(sources[name], learner)
    assert learner["fourfold"]([1, 2]) == [4, 8]


def test_what_is_made_of_the_exercises_is_given_after_them(cells_of):
    late = (
        LATE
        + """
def eightfold(values):
    return [quadruple(value) + value for value in fourfold(values)]
"""
    )
    script = (
        SCRIPT
        + """
# %% tags=["given"]
from solutions.late import eightfold

# %%
print(eightfold([1]))
"""
    )
    cells = cells_of(late, script)
    assert [cell.id for cell in cells][-4:] == [
        "fourfold", "check_fourfold", "fourfold-1", "fourfold-2",
    ]  # fmt: skip
    sources = {cell.id: cell.source for cell in cells}
    assert sources["fourfold-1"].startswith("def eightfold(values):")
    assert "eightfold" not in sources["given"]
    assert "quadruple" in sources["given"]
    assert cells[-2].metadata.nbgrader.locked
    assert not cells[-2].metadata.nbgrader.grade
    # it runs with what the learner wrote
    learner = {}
    for name in ("setup", "given"):
        exec(sources[name], learner)
    exec("def fourfold(values): return values", learner)
    exec(sources["fourfold-1"], learner)
    assert learner["eightfold"]([1]) == [5]


def test_only_what_changed_is_made_again(tmp_path, monkeypatch, capsys):
    for script in build.scripts():
        shutil.copy(script, tmp_path)
    database = tmp_path / "gradebook.db"
    releases = []

    def release():
        shutil.copytree(tmp_path / "source", tmp_path / "release", dirs_exist_ok=True)
        database.touch()
        releases.append(capsys.readouterr().out)

    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "release", release)
    build.build()
    assert len(releases) == 1
    build.build()
    assert len(releases) == 1
    assert capsys.readouterr().out.count("as it was") == len(specs.stems())

    name = assignment_of("masks")
    source = tmp_path / "source" / name / f"{name}.ipynb"
    source.write_text("{}")
    build.build()
    assert len(releases) == 2
    assert releases[1].count("as it was") == len(specs.stems()) - 1
    assert source.read_bytes() == path_of("source", "masks").read_bytes()

    database.unlink()  # as in a new clone: nbgrader knows no assignment yet
    build.build()
    assert len(releases) == 3
