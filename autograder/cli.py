"""autograder: grade notebooks, show progress, make and update learners' copies."""

import argparse
import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder import report
from autograder.answers import printable
from autograder.collect import Unusable, collect, student_of, told_apart
from autograder.course import chapter_of
from autograder.notebooks import (
    UnreadableNotebook,
    corrected_tasks,
    load,
    mark_released,
    update,
    write,
)
from autograder.runner.coordinator import grade
from autograder.runner.start import Limits, Refused

if TYPE_CHECKING:
    from autograder.record import Course

Record = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 all graded, 1 some not (or only partly), 2 none."""
    parser = argparse.ArgumentParser(prog="autograder", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    one = commands.add_parser(
        "grade",
        help="grade notebooks",
        description="Run notebooks apart from this process, judge their functions, "
        "and say what is right, what is wrong and why. "
        "A folder (nbgrader's submitted/, or any with notebooks) or a zip file (of "
        "Moodle's or Canvas's) is graded in parallel; what was found is kept, and goes "
        "into nbgrader's gradebook if there is an nbgrader_config.py here. Started "
        "again, only what is missing or was changed is graded. Exit status: 0 all "
        "graded, 1 some not or only in part, 2 none.",
    )
    one.add_argument(
        "places", nargs="+", type=Path, metavar="NOTEBOOK_FOLDER_OR_ZIP",
    )  # fmt: skip
    one.add_argument("--json", action="store_true", help="print JSON, not a table")
    one.add_argument(
        "--secret-file", type=Path, metavar="FILE",
        help="a file with the course's secret, which decides what is tried: the same "
        "secret gives the same grades (default: the environment variable "
        "AUTOGRADER_SECRET)",
    )  # fmt: skip
    add_limits(one)
    one.add_argument(
        "--require-sandbox", action="store_true",
        help="grade nothing where notebooks cannot be run in a sandbox",
    )  # fmt: skip
    many = one.add_argument_group("for folders and zip files")
    many.add_argument(
        "--jobs", type=between(1, 1024), default=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, metavar="N",
        help="submissions that are graded at once (default: %(default)s)",
    )  # fmt: skip
    many.add_argument(
        "--results", type=Path, default=Path("results"), metavar="FOLDER",
        help="where what was found is kept (default: %(default)s)",
    )  # fmt: skip
    many.add_argument(
        "--again", action="store_true", help="grade also what has been graded before"
    )
    many.add_argument(
        "--no-gradebook", action="store_true", help="leave nbgrader's gradebook alone"
    )
    one.set_defaults(run=run_grade)

    two = commands.add_parser(
        "progress",
        help="show what is solved in a folder of notebooks",
        description="Show which exercises are solved, tried as `check` tries them.",
    )
    two.add_argument("folder", type=Path)
    add_limits(two)
    two.set_defaults(run=run_progress)

    three = commands.add_parser(
        "work",
        help="make or update your own copies of the exercises",
        description="Copy the exercises into a folder of your own. Where a copy "
        "exists, bring in what has been corrected since and keep every answer in it.",
    )
    three.add_argument("folder", type=Path, nargs="?", default=Path("work"))
    three.add_argument(
        "--release", type=Path, default=Path("exercises/release"),
        help="where the released exercises are (default: %(default)s)",
    )  # fmt: skip
    three.set_defaults(run=run_work)

    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # learners' texts have any character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return options.run(options)


def add_limits(parser: argparse.ArgumentParser) -> None:
    defaults = Limits()
    parser.add_argument(
        "--seconds", type=between(0.1, 86400), default=defaults.seconds,
        help="time for a cell, and for a function (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--notebook-seconds", type=between(1, 86400), default=defaults.notebook_seconds,
        help="time for a whole notebook (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--megabytes", type=between(256, 1 << 20), default=defaults.megabytes,
        help="memory for a notebook (default: %(default)s)",
    )  # fmt: skip


def between(least: float, most: float) -> Callable[[str], float]:
    """The type of an option that is a number in these bounds."""

    def number(text: str) -> float:
        value = type(least)(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not in {least} to {most}")
        return value

    return number


def run_grade(options: argparse.Namespace) -> int:
    secret = os.environ.pop("AUTOGRADER_SECRET", "")
    try:
        if options.secret_file is not None:
            secret = options.secret_file.read_text("utf-8").strip()
        single = all(p.suffix != ".zip" and not p.is_dir() for p in options.places)
        limits = limits_of(options)
        records = (grade_one_by_one if single else grade_many)(options, secret, limits)
    except Refused as refusal:
        print(
            f"There is no sandbox here: {refusal}. Nothing is graded; without "
            "--require-sandbox it would run with limits alone.",
            file=sys.stderr,
        )
        return 2
    except (Unusable, UnicodeDecodeError) as problem:
        print(printable(str(problem)), file=sys.stderr)
        return 2
    except OSError as problem:  # no room on the disk, for one
        print(f"{printable(str(problem))}. The same command goes on from there.",
              file=sys.stderr)  # fmt: skip
        return 2
    if not secret and not options.json and any(r["ran_in"] for r in records):
        print("\nTried without a course secret: set AUTOGRADER_SECRET for a class.")
    statuses = {record["status"] for record in records}
    if statuses == {"graded"}:
        return 0
    return 1 if statuses & {"graded", "partly graded"} else 2


def limits_of(options: argparse.Namespace) -> Limits:
    sandbox = "required" if getattr(options, "require_sandbox", False) else None
    limits = Limits(options.seconds, options.notebook_seconds, options.megabytes)
    return replace(limits, sandbox=sandbox) if sandbox else limits


def grade_one_by_one(
    options: argparse.Namespace, secret: str, limits: Limits
) -> list[Record]:
    """Grade notebooks and print what is found; nothing is kept."""
    records = []
    for number, path in enumerate(options.places, start=1):
        note(f"{number} of {len(options.places)}: {printable(str(path))}")
        student = student_of(path)
        submission = grade(path, student=student, secret=secret, limits=limits)
        records.append(report.as_record(submission))
    note("")
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    print(report.as_json(records) if options.json else report.as_table(records, width))
    return records


def grade_many(
    options: argparse.Namespace, secret: str, limits: Limits
) -> list[Record]:
    """Grade all that is in folders and zip files; what is found is kept."""
    from tqdm import tqdm

    from autograder import batch

    places = [collect(place, options.results / "collected") for place in options.places]
    handed = told_apart([one for some in places for one in some])
    if not handed:
        raise Unusable("There is no notebook there: is it the right folder?")
    jobs = [
        batch.Job(one, secret, limits, options.results, options.again) for one in handed
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    course = None if options.no_gradebook else find_course()
    refused: set[str] = set()
    records: list[Record] = []
    tqdm.monitor_interval = 0  # no thread of its own: this process will be copied
    bar = {"disable": None, "unit": "submission", "total": len(jobs)}
    try:
        with batch.Pool(min(options.jobs, len(jobs))) as pool:
            for record in tqdm(batch.judge_all(jobs, pool), "Judging", **bar):
                records.append({**record, "exercises": []})
        if course is not None:
            written = batch.record_all(jobs, course, pool.workers, refused)
            for _ in tqdm(written, "Writing feedback", **bar):
                pass
    except KeyboardInterrupt:
        print(f"\nStopped: {len(records)} of {len(jobs)} are judged. The same command "
              "goes on from there.", file=sys.stderr)  # fmt: skip
        sys.exit(130)
    if options.json:
        texts = (job.result.read_text("utf-8") for job in jobs)
        print(report.as_json([json.loads(text) for text in texts]))
    else:
        print(report.as_summary(records))
        print(f"\nWhat was found: {options.results}")
        if course is not None:
            print(f"The gradebook: {course.coursedir.db_url}")
    for problem in sorted(refused):
        print(f"Gradebook: {printable(problem)}", file=sys.stderr)
    return records


def find_course() -> "Course | None":
    """nbgrader's course in the current folder; nbgrader is not imported for nothing."""
    if not Path("nbgrader_config.py").is_file():
        return None
    from autograder.record import Course

    return Course.here(Path.cwd())


def note(text: str) -> None:
    """Progress on a line of its own, gone when the result is there."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def run_progress(options: argparse.Namespace) -> int:
    paths = sorted(options.folder.rglob("*.ipynb"))
    paths = [path for path in paths if ".ipynb_checkpoints" not in path.parts]
    if not paths:
        print(f"There are no notebooks in {options.folder}: `autograder work "
              f"{options.folder}` makes them.", file=sys.stderr)  # fmt: skip
        return 2
    solved = everything = 0
    for path in paths:
        note(str(path))
        limits = limits_of(options)
        submission = grade(path, visible=True, limits=limits)
        note("")
        if not submission.verdicts:
            print(f"{path}: {submission.message}")
            continue
        right = [v.verdict == "right" for v in submission.verdicts]
        solved, everything = solved + sum(right), everything + len(right)
        stem = str(submission.assignment).partition("_")[2]
        head = f"Chapter {chapter_of(stem)}, {stem.replace('_', ' ')}:"
        print(f"{head} {bar(sum(right), len(right))} {submission.message}".rstrip())
        for verdict in submission.verdicts:
            state = {"right": "solved", "unsolved": "to do"}.get(
                verdict.verdict, "not yet"
            )
            text = "" if state != "not yet" else verdict.mistake or verdict.message
            print(f"  {state:<8} {verdict.name:<24} {text}".rstrip())
    print(f"Solved: {bar(solved, everything)}")
    return 0


def bar(done: int, of: int) -> str:
    return f"[{'#' * done}{'.' * (of - done)}] {done} of {of}"


def run_work(options: argparse.Namespace) -> int:
    released = sorted(options.release.glob("*/*.ipynb"))
    if not released:
        print(
            f"There are no exercises in {options.release}: run this in the course's "
            "folder, or name their folder by --release.",
            file=sys.stderr,
        )
        return 2
    failed = 0
    for path in released:
        mine = options.folder / path.name
        try:
            print(f"{mine}: {bring(path, mine)}")
        except UnreadableNotebook as problem:
            print(f"{mine}: left alone. {problem}", file=sys.stderr)
            failed += 1
        except OSError as problem:
            print(f"{mine}: cannot be written: {problem.strerror}.", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def bring(path: Path, mine: Path) -> str:
    """Make or update one copy of a released notebook; say what was done."""
    release = load(path)
    if not mine.exists():
        write(mark_released(release), mine)
        return "new"
    old = load(mine)
    new = update(old, release)
    if new["cells"] == old["cells"]:
        return "as it was"
    write(new, mine)
    names = ", ".join(corrected_tasks(old, release))
    again = f" Read again what is asked: {names} ({path})." if names else ""
    return f"brought up to date, your answers kept.{again}"


if __name__ == "__main__":
    sys.exit(main())
