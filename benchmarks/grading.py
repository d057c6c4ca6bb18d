"""How much faster than nbgrader alone? The same class through both, in one run.

    python benchmarks/grading.py                          # an hour
    python benchmarks/grading.py --count 4 --repeat 1 --growth 4

A class is compared twice: once as it is, with NumPy alone, and once with `import torch`
in each notebook, as from chapter 17 on. For each repetition, in turn: `nbgrader
autograde` and `nbgrader generate_feedback` with nbgrader's own preprocessors, and
`autograder grade` on 1 and 2 jobs, once only to the "verdicts" and once to a written
gradebook with "feedback". Each starts from an empty gradebook, in processes of its own,
start-up included. Points are compared one by one.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path

from machine import processor
from nbgrader.api import Gradebook
from submissions import ASSIGNMENT, make
from tqdm import tqdm

from autograder.course import ROOT

BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
Grades = dict[tuple[str, str], float | None]


class Course:
    """A course folder with a class's submissions."""

    def __init__(
        self, root: Path, count: int, *, plain: bool = False, torch: bool = False
    ) -> None:
        self.root = root
        source = ROOT / "exercises" / "source" / ASSIGNMENT
        shutil.copytree(source, root / "exercises" / "source" / ASSIGNMENT)
        config = (ROOT / "nbgrader_config.py").read_text()
        if plain:  # nbgrader's own preprocessors
            config += "\nfor name in ('Autograde', 'GenerateFeedback', 'HTMLExporter'):"
            config += "\n    c.pop(name, None)\n"
        (root / "nbgrader_config.py").write_text(config)
        self.run("nbgrader", "generate_assignment", ASSIGNMENT, "--create")
        for _ in make(root / "exercises" / "submitted", count, torch=torch):
            pass

    def run(self, *command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root, env=ENVIRONMENT, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode not in (0, 1):  # 1: some were not graded
            sys.exit(
                f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )

    def forget(self) -> None:
        """Start again: no grades, no pages, no results."""
        for name in ("exercises/autograded", "exercises/feedback", "results"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / "exercises" / "gradebook.db").unlink()
        self.run("nbgrader", "generate_assignment", ASSIGNMENT, "--create", "--force")

    def grades(self) -> Grades:
        database = self.root / "exercises" / "gradebook.db"
        with Gradebook(f"sqlite:///{database}") as gradebook:
            return {
                (submission.student.id, grade.name): grade.auto_score
                for submission in gradebook.assignment_submissions(ASSIGNMENT)
                for notebook in submission.notebooks
                for grade in notebook.grades
            }


def seconds(course: Course, *commands: tuple[str, ...]) -> float:
    started = time.perf_counter()
    for command in commands:
        course.run(*command)
    return time.perf_counter() - started


def ours(*options: str) -> tuple[str, ...]:
    return ("autograder.cli", "grade", "exercises/submitted", "--again", *options)


def compare(count: int, repeat: int, folder: Path, *, torch: bool) -> dict[str, object]:
    """Time both, and compare their points."""
    plain = Course(folder / "plain", count, plain=True, torch=torch)
    course = Course(folder / "ours", count, torch=torch)
    times: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        times.setdefault(name, []).append(value / count)

    for _ in tqdm(range(repeat), desc="comparing", disable=None):
        plain.forget()
        verdicts = seconds(plain, ("nbgrader", "autograde", ASSIGNMENT))
        pages = seconds(plain, ("nbgrader", "generate_feedback", ASSIGNMENT))
        note("nbgrader, verdicts", verdicts)
        note("nbgrader, feedback", verdicts + pages)
        for jobs in ("1", "2"):
            course.forget()
            name = f"ours on {jobs} job{'s' if jobs != '1' else ''}"
            options = ("--jobs", jobs)
            note(f"{name}, verdicts", seconds(course, ours(*options, "--no-gradebook")))
            note(f"{name}, feedback", seconds(course, ours(*options)))
    theirs, mine = plain.grades(), course.grades()
    different = {
        key for key, points in theirs.items() if points not in (None, mine.get(key))
    }
    return {
        "submissions": count,
        "repetitions": repeat,
        "points compared": sum(points is not None for points in theirs.values()),
        "points different": sorted(map(str, different)),
        "seconds per submission": {
            name: {"median": statistics.median(some), "least": min(some),
                   "most": max(some)}
            for name, some in times.items()
        },
        "ratio to nbgrader": {
            name: spread(times[f"nbgrader, {name.partition(', ')[2]}"], times[name])
            for name in times
            if name.startswith("ours")
        },
    }  # fmt: skip


def spread(theirs: list[float], mine: list[float]) -> dict[str, float]:
    """Ratios of what was measured side by side."""
    ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
    return {
        "median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)
    }  # fmt: skip


class Memory:
    """The most memory that a process and all that it started has held, in MB."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self.over = pid, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(0.2):
            self.most = max(self.most, sum(map(held, family(self.pid))))

    def stop(self) -> float:
        self.over.set()
        self.thread.join()
        return self.most


def family(pid: int) -> list[int]:
    """A process, its children, theirs, and so on."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):  # it has just ended
            for path in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, path.read_text().split())
    return found


def held(pid: int) -> float:
    """Memory in MB; what several processes share is divided among them."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    [line] = [line for line in rollup.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) / 1024


def grow(counts: list[int], folder: Path) -> list[dict[str, float]]:
    """Time and memory for classes of several sizes, on 2 jobs."""
    rows = []
    for count in tqdm(counts, desc="growing", disable=None):
        course = Course(folder / f"class{count}", count)
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *ours("--jobs", "2")], cwd=course.root,
            env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        memory = Memory(process.pid)
        process.wait()
        took = time.perf_counter() - started
        rows.append({"submissions": count, "seconds": took, "megabytes": memory.stop()})
        shutil.rmtree(course.root)
    return rows


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    names = ("nbgrader", "numpy", "torch")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--growth", type=int, nargs="+", default=[10, 30, 100, 300, 1000],
        metavar="COUNT", help="sizes of classes, for time and memory",
    )  # fmt: skip
    parser.add_argument("--record", type=Path, help="also write the figures here")
    options = parser.parse_args()
    found: dict[str, object] = {"machine": machine()}

    def note(name: str, figures: object) -> None:
        found[name] = figures
        print(json.dumps({name: figures}, indent=1), flush=True)
        if options.record:  # so far: it takes long
            options.record.write_text(json.dumps(found, indent=1) + "\n")

    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        for name, torch in (("numpy", False), ("torch", True)):
            figures = compare(
                options.count, options.repeat, Path(folder, name), torch=torch
            )
            note(name, figures)
        note("growth", grow(options.growth, Path(folder)))


if __name__ == "__main__":
    main()
