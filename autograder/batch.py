"""Grade many submissions in parallel, so that a run can be killed and started again.

First each is judged: one submission in, one record out, nothing shared. A record is a
file with a key: where the key is still right, nothing is done again. Then it is written
into the gradebook, if there is one.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder import report, specs
from autograder.collect import Handed
from autograder.notebooks import MOST_BYTES
from autograder.runner.coordinator import Submission, grade
from autograder.runner.start import Limits, Refused

if TYPE_CHECKING:  # nbgrader takes long to import
    from autograder.record import Course, Page

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A submission to be judged, and how."""

    handed: Handed
    secret: str
    limits: Limits
    results: Path
    again: bool = False  # whatever has been found before

    @property
    def result(self) -> Path:
        return self.results / self.handed.student / f"{self.handed.name}.json"


def key_of(job: Job, assignment: str | None) -> str:
    """Changes with all that a verdict depends on."""
    digest = hashlib.sha256(content_of(job.handed.path))
    stems = [assignment.partition("_")[2]] if assignment else specs.stems()
    parts = [specs.version_of_engine(), job.secret, repr(asdict(job.limits))]
    parts.append(job.handed.refusal)
    for part in (*map(specs.version_of, stems), *parts):
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def content_of(path: Path) -> bytes:
    """What is in a file; of one that is too large to be read, what is known of it."""
    state = path.stat()
    if state.st_size > MOST_BYTES:
        return f"{state.st_size} {state.st_mtime_ns}".encode()
    return path.read_bytes()


def known(job: Job) -> Record | None:
    """The record of an earlier run, if it is what this one would find."""
    try:
        record = json.loads(job.result.read_text("utf-8"))
        is_valid = record["key"] == key_of(job, record["chapter"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not is_valid or job.again:
        return None
    return record | {"path": str(job.handed.path)}  # it may have been moved


def judge(job: Job) -> Record:
    """Judge a submission and keep its record. Whatever happens, there is one."""
    found = known(job)
    if found is not None:
        return found
    handed = job.handed
    if handed.refusal:
        return keep(
            job, Submission(handed.path, handed.student, message=handed.refusal)
        )
    try:
        submission = grade(
            handed.path, student=handed.student, secret=job.secret, limits=job.limits
        )
    except Refused:
        raise
    except Exception as error:  # a mistake of ours must not stop the others
        return crashed(job, f"The grader itself failed: {error!r}. Please report this.")
    return keep(job, submission)


def crashed(job: Job, message: str) -> Record:
    """The record of a submission that could not be judged."""
    handed = job.handed
    return keep(job, Submission(handed.path, handed.student, None, "crashed", message))


def keep(job: Job, submission: Submission) -> Record:
    """Write a record, whole or not at all."""
    record = report.as_record(submission)
    record["chapter"] = submission.assignment
    record["assignment"] = job.handed.assignment or submission.assignment
    try:
        record["key"] = key_of(job, submission.assignment)
    except OSError:  # the submission cannot be read
        record["key"] = ""
    job.result.parent.mkdir(parents=True, exist_ok=True)
    draft = job.result.with_name(f"{os.getpid()}.part")
    draft.write_text(json.dumps(record, indent=1), "utf-8")
    draft.replace(job.result)
    return record


def be_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it ends, however that is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Pool:
    """Processes that work on a few things at a time; those that die are replaced."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.executor = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # Copies of this process need not import again what it has imported. On other
        # systems, libraries may have begun what a copy cannot go on with.
        method = "fork" if sys.platform == "linux" else "spawn"
        context = multiprocessing.get_context(method)
        return ProcessPoolExecutor(self.workers, context, be_worker)

    def work(
        self,
        function: Callable[[Any], Any],
        things: Iterable[Any],
        give_up: Callable[[Any], Any],
    ) -> Iterator[Any]:
        """What the function makes of each thing, as it becomes ready.

        If a process dies, those that were worked on are tried again, each alone; one
        that is alone when a process dies is given up. Only a few more things are taken
        than there are processes, so that memory does not grow with their number.
        """
        waiting = iter(things)
        running: dict[Future[Any], Any] = {}
        suspects: list[Any] = []
        while True:
            most = 1 if suspects else 2 * self.workers
            while len(running) < most:
                thing = suspects.pop() if suspects else next(waiting, None)
                if thing is None:
                    break
                running[self.executor.submit(function, thing)] = thing
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            if any(isinstance(f.exception(), BrokenProcessPool) for f in done):
                done, _ = wait(running)
                self.executor.shutdown()
                self.executor = self._start()
            broken = [f for f in done if isinstance(f.exception(), BrokenProcessPool)]
            for future in done.difference(broken):
                del running[future]
                yield future.result()
            for future in broken:
                thing = running.pop(future)
                if len(broken) == 1:
                    yield give_up(thing)
                else:
                    suspects.append(thing)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is not None:  # at once; what has been judged is kept
            for process in multiprocessing.active_children():
                process.kill()
        self.executor.shutdown(cancel_futures=True)


def judge_all(jobs: list[Job], pool: Pool) -> Iterator[Record]:
    """Judge all; what an earlier run has found comes first."""
    left = []
    for job in jobs:
        record = known(job)
        if record is None:
            left.append(job)
        else:
            yield record
    yield from pool.work(judge, left, give_up)


def give_up(job: Job) -> Record:
    return crashed(job, "The grader's own process has died on it.")


def record_all(
    jobs: list[Job], course: "Course", workers: int, refused: set[str]
) -> Iterator[None]:
    """Write what has been judged into the gradebook, and feedback pages.

    What is there already is left alone; what cannot be written is said in `refused`.
    """
    from autograder.record import NotInGradebook, write_feedback

    def pages() -> Iterator["Page"]:
        for job, record in counting(jobs, refused):
            try:
                if not course.is_recorded(record):
                    page, notes = course.record(record, job.handed.path)
                    refused.update(notes)
                    yield page
            except NotInGradebook as problem:
                refused.add(str(problem))
            except Exception as error:  # the others must not wait for this one
                refused.add(f"{job.handed.path}: {error!r}")

    def no_page(page: "Page") -> str:
        return f"{page.path}: start the same again."

    with Pool(workers) as pool:  # these have nbgrader imported
        for problem in pool.work(write_feedback, pages(), no_page):
            if problem:
                refused.add(problem)
            yield


def counting(jobs: list[Job], refused: set[str]) -> Iterator[tuple[Job, Record]]:
    """The jobs, each with its record, that are to stand in the gradebook.

    Of several notebooks of a student for one assignment the one counts that is named
    like it, or else the one that was saved last.
    """
    best: dict[tuple[str, str], tuple[tuple[bool, float], Job]] = {}
    for job in jobs:
        assignment = json.loads(job.result.read_text("utf-8"))["assignment"]
        if assignment is None:
            refused.add(f"{job.handed.path}: which assignment is it?")
            continue
        saved = job.handed.path.lstat().st_mtime
        rank = (job.handed.path.stem == assignment, saved)
        key = (job.handed.student, assignment)
        ranked = sorted([(rank, job), best.get(key, (rank, job))], key=lambda r: r[0])
        best[key] = ranked[-1]
        if ranked[0][1] is not ranked[1][1]:
            less, more = (j.handed.path for _, j in ranked)
            refused.add(f"{less}: {more} counts for {assignment}.")
    for _, job in best.values():
        yield job, json.loads(job.result.read_text("utf-8"))
