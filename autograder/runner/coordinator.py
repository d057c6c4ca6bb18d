"""The trusted side of the wall: send code and inputs, judge the answers."""

import contextlib
import hashlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from autograder import specs
from autograder.answers import Outcome, Raised, receive, send
from autograder.check import COLLECTING
from autograder.course import assignment_of
from autograder.exercise import VISIBLE_SEED, Exercise, Probe
from autograder.judge import (
    Missing,
    Verdict,
    judge,
    not_an_own_function,
    right_helpers,
)
from autograder.notebooks import Notebook, UnreadableNotebook, read

MOST_STOPS = 8  # after so many loops and crashes the rest of a notebook is given up
LARGEST_HELP = 20_000  # numbers in a call that a right helper answers

HINTS = {
    "timed out": "Run the cells in a fresh kernel: which one does not come back?",
    "crashed": "Nothing in a notebook may end Python or write into the grader's pipes.",
    "out of memory": "Which array is that large? Print the shapes on the way.",
}


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    seconds: float = 10.0  # one cell, or all calls of one function
    megabytes: int = 2048


@dataclass
class Submission:
    """One notebook and what became of it.

    status: graded, partly graded, crashed, timed out, out of memory or unreadable.
    """

    path: Path
    student: str
    assignment: str | None = None
    status: str = "unreadable"
    message: str = ""
    repairs: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def points(self) -> int:
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def max_points(self) -> int:
        return sum(verdict.max_points for verdict in self.verdicts)


class Stopped(Exception):
    """The learner's process was ended: it looped, crashed or wrote nonsense."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class Process:
    """A learner's process, to which one message at a time is sent."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = tempfile.TemporaryDirectory(prefix="notebook-")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autograder.runner.sandbox", str(limits.megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder.name,
            env=os.environ
            | {COLLECTING: "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
               "MPLBACKEND": "Agg"},
        )  # fmt: skip
        self.arrived: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.limited = self.wait(60)["limited"]

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                self.arrived.put(receive(self.process.stdout))
        except Exception as error:  # the end, or something that is no message
            self.arrived.put(error)

    def tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # wait() says what happened
            send(self.process.stdin, message)

    def wait(self, seconds: float) -> dict[str, Any]:
        """The next message, or Stopped."""
        try:
            message = self.arrived.get(timeout=seconds)
        except queue.Empty:
            raise Stopped(
                "timed out",
                f"does not end within {self.limits.seconds:g} seconds: an endless loop?",
            ) from None
        if isinstance(message, EOFError):
            code = self.process.wait()
            how = f"exit status {code}" if code >= 0 else f"signal {-code}"
            raise Stopped("crashed", f"ends the whole Python process ({how})")
        if not isinstance(message, dict):
            raise Stopped("crashed", "writes into the grader's own channel")
        return message

    def ask(
        self, exercise: Exercise, probes: list[Probe], helped: bool
    ) -> list[Outcome]:
        """Call the learner's function on every probe."""
        helpers = right_helpers(exercise) if helped else {}
        outcomes: list[Outcome] = []
        for probe in probes:
            self.tell({
                "ask": exercise.name,
                "args": probe.args,
                "kwargs": probe.kwargs,
                "adapter": exercise.adapter,
                "helpers": list(helpers),
            })  # fmt: skip
            reply = self.wait(self.limits.seconds)
            while "call" in reply and reply["call"] in helpers:
                self.tell(self.help(helpers[reply["call"]], reply))
                reply = self.wait(self.limits.seconds)
            if "missing" in reply:
                raise Missing(reply["missing"])
            outcomes.append(reply["outcome"])
        return outcomes

    @staticmethod
    def help(helper: Any, call: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"value": helper(*call["args"], **call["kwargs"])}
        except Exception as error:
            return {"error": str(error)}

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def seed_of(notebook: Notebook, secret: str) -> int:
    """Decides the graded probes: the same for the same submission, secret and spec."""
    digest = hashlib.sha256(secret.encode())
    digest.update(specs.version_of(notebook.stem).encode())
    for _, source in notebook.cells:
        digest.update(source.encode("utf-8", "replace"))
    return int.from_bytes(digest.digest()[:8], "big") or 1


def grade(
    path: Path, *, secret: str = "", visible: bool = False, limits: Limits | None = None
) -> tuple[Submission, str]:
    """Grade one notebook; also say in what its code ran."""
    submission = Submission(path, student_of(path))
    try:
        notebook = read(path)
    except UnreadableNotebook as problem:
        submission.message = str(problem)
        return submission, ""
    seed = VISIBLE_SEED if visible else seed_of(notebook, secret)
    return grade_notebook(notebook, submission, seed, limits or Limits())


def student_of(path: Path) -> str:
    """nbgrader keeps submitted/<student>/<assignment>/<notebook>."""
    parts = path.parts
    return parts[-3] if len(parts) > 3 and parts[-4] == "submitted" else path.stem


def grade_notebook(
    notebook: Notebook, submission: Submission, seed: int, limits: Limits
) -> tuple[Submission, str]:
    """Run the cells, then judge each exercise.

    What never ends, or ends the process, is left out in a new process: the points of
    everything else are kept.
    """
    submission.assignment = assignment_of(notebook.stem)
    exercises = specs.exercises_of(notebook.stem)
    verdicts: dict[str, Verdict] = {}
    left_out: dict[int, Stopped] = {}
    stops: list[Stopped] = []
    level = ""
    while len(verdicts) < len(exercises) and len(stops) < MOST_STOPS:
        with Process(limits) as process:
            level = (
                "a process of its own, with limits on time and memory"
                if process.limited
                else "a process of its own, with a limit on time"
            )
            errors: dict[int, Raised] = {}
            for number, source in notebook.cells:
                if number in left_out:
                    continue
                process.tell({"cell": number, "source": source})
                try:
                    error = process.wait(limits.seconds)["error"]
                except Stopped as stop:
                    left_out[number] = stop
                    stops.append(stop)
                    break
                if error is not None:
                    errors[number] = error
            else:
                stop = judge_all(process, exercises, seed, verdicts, errors, left_out)
                stops += [stop] if stop else []
    for exercise in exercises:
        if exercise.name not in verdicts:
            verdicts[exercise.name] = stopped(exercise, stops[-1], "This notebook")
    submission.verdicts = [verdicts[exercise.name] for exercise in exercises]
    submission.message = " ".join(
        f"Cell {number} {stop}; it was left out." for number, stop in left_out.items()
    )
    judged = [v for v in submission.verdicts if v.verdict != "stopped"]
    submission.status = "graded"
    if stops:
        submission.status = "partly graded" if judged else stops[0].status
    return submission, level


def judge_all(
    process: Process,
    exercises: list[Exercise],
    seed: int,
    verdicts: dict[str, Verdict],
    errors: dict[int, Raised],
    left_out: dict[int, Stopped],
) -> Stopped | None:
    """Judge what has no verdict yet, until a function stops the process."""
    for exercise in exercises:
        if exercise.name in verdicts:
            continue
        try:
            verdict = judge(exercise, exercise.draw(seed), process.ask)
        except Missing as missing:
            verdict = absent(exercise, missing, errors, left_out)
        except Stopped as stop:
            verdicts[exercise.name] = stopped(exercise, stop, "Your function")
            return stop
        verdicts[exercise.name] = verdict
    return None


def stopped(exercise: Exercise, stop: Stopped, what: str) -> Verdict:
    fact = f"{what} {stop}."
    return Verdict(
        exercise.name, exercise.points, "stopped", fact,
        mistake=fact, way="law",
        hint="Run the cells in a fresh kernel: which one does not come back?",
    )  # fmt: skip


def absent(
    exercise: Exercise,
    missing: Missing,
    errors: dict[int, Raised],
    left_out: dict[int, Stopped],
) -> Verdict:
    """Say why there is no such function, as far as that can be seen."""
    for number, error in errors.items():
        if error.type_name == "ImportError" and error.text.startswith("solutions"):
            return not_an_own_function(exercise)
    reasons = [
        f"Cell {number} stops with {error.type_name}: {error.text}."
        for number, error in errors.items()
    ]
    reasons += [f"Cell {number} was left out." for number in left_out]
    what = (
        f"of type {missing.type_name}, not a function"
        if missing.type_name
        else "missing"
    )
    return Verdict(
        exercise.name, exercise.points, "missing",
        " ".join([f"`{exercise.name}` is {what}.", *reasons]),
        hint="Keep the name of the def line, and run the notebook from top to bottom "
        "in a fresh kernel.",
    )  # fmt: skip
