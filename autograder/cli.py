"""autograder: grade notebooks, show progress, make and update learners' copies."""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from autograder import report
from autograder.course import chapter_of
from autograder.notebooks import (
    UnreadableNotebook,
    corrected_tasks,
    load,
    mark_released,
    update,
    write,
)
from autograder.runner.coordinator import Submission, grade
from autograder.runner.start import Limits


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 all graded, 1 some not (or only partly), 2 none."""
    parser = argparse.ArgumentParser(prog="autograder", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    one = commands.add_parser(
        "grade",
        help="grade notebooks",
        description="Run notebooks apart from this process, judge their functions, and "
        "print what is right, what is wrong and why. Exit status: 0 all graded, 1 some "
        "not or only in part, 2 none.",
    )
    one.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    one.add_argument("--json", action="store_true", help="print JSON, not a table")
    one.add_argument(
        "--secret",
        default=os.environ.get("AUTOGRADER_SECRET", ""),
        help="decides what is tried; the same secret gives the same grades (default: "
        "the environment variable AUTOGRADER_SECRET)",
    )
    add_limits(one)
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
    limits = Limits(options.seconds, options.megabytes)
    submissions: list[Submission] = []
    for number, path in enumerate(options.notebooks, start=1):
        note(f"{number} of {len(options.notebooks)}: {path}")
        submissions.append(grade(path, secret=options.secret, limits=limits))
    note("")
    records = [report.as_record(submission) for submission in submissions]
    if options.json:
        print(report.as_json(records))
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        print(report.as_table(records, width))
        if not options.secret and any(record["ran_in"] for record in records):
            print("\nTried without a course secret: set AUTOGRADER_SECRET for a class.")
    graded = [s.status == "graded" for s in submissions]
    if all(graded):
        return 0
    return (
        1 if any(graded) or any(s.status == "partly graded" for s in submissions) else 2
    )


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
        limits = Limits(options.seconds, options.megabytes)
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
