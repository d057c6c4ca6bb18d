"""The trusted side of the wall: send code and inputs, judge the answers."""

import hashlib
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from autograder import rules, specs
from autograder.answers import Outcome, Raised, plain_text, printable
from autograder.course import assignment_of
from autograder.exercise import VISIBLE_SEED, Exercise, Probe
from autograder.judge import Verdict, judge, not_an_own_function
from autograder.notebooks import Notebook, UnreadableNotebook, read
from autograder.runner.process import Missing, Process, Stopped
from autograder.runner.start import Limits

MOST_STOPS = 8  # after so many loops and crashes the rest of a notebook is given up

# Modules that take long to import, and how the use of one is seen in a notebook.
SLOW = {
    "IPython.core.inputtransformer2": r"^[ \t]*[%!?]|\?[ \t]*$",
    "matplotlib.pyplot": r"\bmatplotlib\b",
    "torch": r"\btorch\b",
}

KEEP = (
    "Keep the name of the def line, and run the notebook from top to bottom in a fresh "
    "kernel."
)

HINTS = {
    "timed out": "Run the cells in a fresh kernel: which one does not come back?",
    "crashed": "Nothing in a notebook may end Python or write into the grader's pipes.",
    "out of memory": "Which array is that large? Print the shapes on the way.",
}


@dataclass
class Submission:
    """One notebook and what became of it.

    status: graded, partly graded, crashed, timed out, out of memory or unreadable.
    ran_in: the level of isolation; empty where no code ran.
    """

    path: Path
    student: str
    assignment: str | None = None
    status: str = "unreadable"
    message: str = ""
    ran_in: str = ""
    repairs: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def points(self) -> int:
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def max_points(self) -> int:
        return sum(verdict.max_points for verdict in self.verdicts)


def seed_of(notebook: Notebook, secret: str) -> int:
    """Decides the graded probes: the same for the same submission, secret and spec."""
    digest = hashlib.sha256(secret.encode())
    digest.update(specs.version_of(notebook.stem).encode())
    for _, source in notebook.cells:
        digest.update(source.encode("utf-8", "replace"))
    return int.from_bytes(digest.digest()[:8], "big") or 1


def grade(
    path: Path,
    *,
    student: str = "",
    secret: str = "",
    visible: bool = False,
    limits: Limits | None = None,
) -> Submission:
    """Grade one notebook."""
    submission = Submission(path, student or path.stem)
    try:
        notebook = read(path)
    except UnreadableNotebook as problem:
        submission.message = str(problem)
        return submission
    seed = VISIBLE_SEED if visible else seed_of(notebook, secret)
    grade_notebook(notebook, submission, seed, limits or Limits())
    return submission


def grade_notebook(
    notebook: Notebook, submission: Submission, seed: int, limits: Limits
) -> None:
    """Run the cells, then judge each exercise.

    What never ends, or ends the process, is left out in a new process: the points of
    everything else are kept.
    """
    grading = Grading(notebook, seed)
    stops: list[Stopped] = []
    modules = modules_of(notebook)
    until = time.monotonic() + limits.notebook_seconds
    while not stops or (
        not grading.is_complete()
        and len(stops) < MOST_STOPS
        and time.monotonic() < until
    ):
        with Process(limits, modules, until) as process:
            submission.ran_in = process.level
            try:
                grading.run_cells(process)
                grading.judge_functions(process)
                break
            except Stopped as stop:
                stops.append(stop)
    verdicts = [
        grading.verdicts.get(exercise.name)
        or stopped(exercise, stops[-1], "This notebook")
        for exercise in grading.exercises
    ]
    submission.assignment = assignment_of(notebook.stem)
    submission.repairs = list(notebook.repairs)
    submission.verdicts = verdicts
    submission.message = " ".join(
        f"{tell_trouble(notebook, number, trouble)}."
        for number, trouble in grading.troubles.items()
        if isinstance(trouble, Stopped)
    )
    submission.status = "graded"
    if stops and all(v.verdict in ("stopped", "missing") for v in verdicts):
        submission.status = stops[0].status
    elif stops or any(v.verdict == "stopped" for v in verdicts):
        submission.status = "partly graded"


def modules_of(notebook: Notebook) -> tuple[str, ...]:
    """What takes long to import, and is to be there before the notebook runs."""
    text = "\n".join(source for _, source in notebook.cells)
    return tuple(module for module, use in SLOW.items() if re.search(use, text, re.M))


class Grading:
    """What is known so far of a notebook's cells and functions."""

    def __init__(self, notebook: Notebook, seed: int) -> None:
        self.notebook, self.seed = notebook, seed
        self.exercises = specs.exercises_of(notebook.stem)
        self.verdicts: dict[str, Verdict] = {}
        self.troubles: dict[int, Raised | Stopped | None] = {}  # of the cells
        self.ended: set[str] = set()  # functions that have ended a process

    def is_complete(self) -> bool:
        return len(self.verdicts) == len(self.exercises)

    def run_cells(self, process: Process) -> None:
        """Run all cells but those that have ended a process."""
        cells = [
            (number, source)
            for number, source in self.notebook.cells
            if not isinstance(self.troubles.get(number), Stopped)
        ]
        for number, trouble in process.run(cells):
            self.troubles[number] = trouble
            if isinstance(trouble, Stopped):
                raise trouble

    def code(self) -> tuple[list[str], list[int]]:
        """The cells that ran, and the places among them of those that broke off."""
        stops = [self.troubles.get(number) for number, _ in self.notebook.cells]
        broken_off = [place for place, stop in enumerate(stops) if stop is not None]
        return [source for _, source in self.notebook.cells], broken_off

    def judge_functions(self, process: Process) -> None:
        """Judge the functions that have no verdict yet."""
        for exercise in self.exercises:
            if exercise.name not in self.verdicts:
                self.verdicts[exercise.name] = self.judge_one(process, exercise)

    def judge_one(self, process: Process, exercise: Exercise) -> Verdict:
        """Judge a function; one that ends the process is judged with right helpers.

        It may be a helper that loops: nobody loses points twice for one mistake.
        """
        name, known = exercise.name, self.verdicts
        broken = rules.breach(exercise, *self.code())
        if broken is not None:
            return broken
        wrong = {h for h in exercise.helpers if h in known and not known[h].points}
        banned = wrong if name in self.ended else set()

        def ask(
            exercise: Exercise, probes: list[Probe], helpers: list[str]
        ) -> list[Outcome]:
            if banned - set(helpers):
                return [Raised("Stopped", "")] * len(probes)
            return process.ask(exercise, probes, helpers)

        try:
            right = [h for h in known if known[h].points]
            return judge(exercise, exercise.draw(self.seed), ask, right)
        except Missing as missing:
            return absent(exercise, missing, self.notebook, self.troubles)
        except Stopped as stop:
            if name in self.ended or not wrong:
                known[name] = stopped(exercise, stop, "Your function")
            self.ended.add(name)
            raise
        except Exception as error:  # a mistake of ours must not cost other points
            return failed(exercise, error)


def stopped(exercise: Exercise, stop: Stopped, what: str) -> Verdict:
    fact = f"{what} {stop}."
    return Verdict(
        exercise.name, exercise.points, "stopped", fact,
        mistake=fact, way="law", hint=HINTS[stop.status],
    )  # fmt: skip


def failed(exercise: Exercise, error: Exception) -> Verdict:
    """The grader itself cannot say what an answer is."""
    return Verdict(
        exercise.name, exercise.points, "stopped",
        f"The grader itself failed on this answer: {plain_text(repr(error))}. Please "
        "report this to those who teach the course.",
        hint="Until it is mended, an answer of the kind and the shape that the task "
        "names is the most likely to go through.",
    )  # fmt: skip


def absent(
    exercise: Exercise,
    missing: Missing,
    notebook: Notebook,
    troubles: dict[int, Raised | Stopped | None],
) -> Verdict:
    """Say why there is no such function, as far as that can be seen."""
    name = exercise.name
    if missing.type_name:
        what = f"`{name}` is of type {missing.type_name}, not a function."
        return Verdict(name, exercise.points, "missing", what, hint=KEEP)
    reasons = []
    for number, source in notebook.cells:
        trouble = troubles.get(number)
        hidden = is_import_of_solutions(trouble)
        mentioned = re.search(rf"\b{name}\b|import \*", source)
        if hidden and mentioned:
            return not_an_own_function(exercise)
        consequence = isinstance(trouble, Raised) and f"'{name}'" in trouble.text
        if trouble is not None and (hidden or mentioned) and not consequence:
            reasons.append(f"{tell_trouble(notebook, number, trouble)}.")
    what = " ".join([f"`{name}` is missing.", *reasons])
    return Verdict(name, exercise.points, "missing", what, hint=KEEP)


def is_import_of_solutions(trouble: Raised | Stopped | None) -> bool:
    return (
        isinstance(trouble, Raised)
        and trouble.type_name == "ImportError"
        and trouble.text.startswith("solutions")
    )


def tell_trouble(notebook: Notebook, number: int, trouble: Raised | Stopped) -> str:
    """Say of a cell, by its number and its first line, what became of it."""
    first = dict(notebook.cells)[number].strip().partition("\n")[0]
    cell = f"Cell {number} (`{printable(first[:60])}`)"
    if isinstance(trouble, Stopped):
        return f"{cell} {trouble}; it was left out"
    text = f": {trouble.text}" if trouble.text else ""
    return f"{cell} stops with {trouble.type_name}{text}".rstrip(".")
