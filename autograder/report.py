"""Show verdicts: as a card in a notebook or a page, as text, as JSON."""

import html
import json
import os
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder import specs
from autograder.answers import printable
from autograder.compare import close, number_kind
from autograder.course import ROOT
from autograder.judge import Verdict
from autograder.laws import first_difference
from autograder.relations import Case

if TYPE_CHECKING:
    from autograder.runner.coordinator import Submission

SCHEMA = 1
CELL = 15  # pixels
MOST_CELLS = 16  # rows and columns of a picture
BLUE, ORANGE, RED = "#2f77b8", "#d9822b", "#d3223c"
COLOURS = {"right": "#2e8b57", "unsolved": "#888888"}


@dataclass(frozen=True)
class Card:
    """A verdict as check shows it: rich in a notebook, text in a terminal."""

    verdict: Verdict

    def __repr__(self) -> str:
        return as_text(self.verdict)

    def _repr_html_(self) -> str:
        return as_html(self.verdict, chapter_link(self.verdict.name))


def headline(verdict: Verdict) -> str:
    """The first line: which function, how it stands, its points."""
    words = {
        "forbidden": "breaks a rule",
        "imported": "not your own",
        "raised": "stops",
        "unsolved": "not solved yet",
    }
    state = words.get(verdict.verdict, verdict.verdict)
    of = f"{verdict.max_points} point{'s' if verdict.max_points != 1 else ''}"
    return f"{verdict.name}: {state}, {verdict.points} of {of}"


def as_text(verdict: Verdict, width: int = 79) -> str:
    """A verdict for a terminal."""
    lines = [headline(verdict), verdict.message]
    if verdict.tried:
        lines.append(f"Tried with {'; '.join(verdict.tried)}.")
    if verdict.probe:
        lines.append(f"Tried: {verdict.probe}")
    if verdict.hint:
        lines.append(f"Hint: {verdict.hint}")
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent="  ") for line in lines if line
    )


def as_html(verdict: Verdict, read_on: str = "") -> str:
    """A verdict for a notebook, a page or nbgrader's feedback, all of it escaped.

    `read_on` is HTML that leads to the chapter, where that can be reached.
    """
    colour = COLOURS.get(verdict.verdict, RED)
    parts = [f"<p><strong>{escape(headline(verdict))}</strong></p>"]
    parts.append(f"<p>{escape(verdict.message)}</p>")
    if verdict.tried:
        items = "".join(f"<li>{escape(why)}</li>" for why in verdict.tried)
        parts.append(f"<p>Tried with:</p><ul>{items}</ul>")
    if verdict.probe:
        parts.append(f"<p>Tried: <code>{escape(verdict.probe)}</code></p>")
    if verdict.case is not None:
        parts.append(picture(verdict.case))
    if verdict.hint:
        parts.append(f"<p><strong>Hint:</strong> {escape(verdict.hint)}</p>")
    if verdict.seen:
        parts.append(f"<p>You are not alone: seen in {thread_link(verdict.seen)}.</p>")
    if read_on and verdict.verdict != "right":
        parts.append(f"<p>{read_on}</p>")
    style = f"border-left:4px solid {colour};padding:0 0 0 1em;margin:.5em 0"
    return f'<div style="{style}">{"".join(parts)}</div>'


def escape(text: str) -> str:
    """HTML of a text in which `...` is code."""
    parts = html.escape(text).split("`")
    if len(parts) % 2 == 0:  # a backtick without its partner
        return "`".join(parts)
    return "".join(
        f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)
    )


def thread_link(seen: str) -> str:
    """Link to a thread given as owner/repo#number."""
    repository, number = seen.split("#")
    url = f"https://github.com/{repository}/issues/{number}"
    return f'<a href="{html.escape(url)}">{html.escape(seen)}</a>'


def chapter_link(name: str) -> str:
    """Where the book explains this function: a link if the book has been built."""
    exercise = specs.find(name)
    if exercise is None:
        return ""
    number, _, stem = exercise.assignment.partition("_")
    text = f"Chapter {int(number)}, {stem.replace('_', ' ')}: {name}"
    page = ROOT / "_build" / "html" / "book" / f"{exercise.assignment}.html"
    if Path.cwd().is_relative_to(ROOT / "book"):  # a page of the book is being built
        page = ROOT / "book" / page.name
    elif not page.exists():
        return escape(f"Read on: {text}")
    target = f"{os.path.relpath(page)}#{name}".replace(os.sep, "/")
    return f'Read on: <a href="{html.escape(target)}">{escape(text)}</a>'


# Pictures: the answer as a grid, what was expected beside it.


def plane(values: Any, index: tuple[int, ...] | None) -> np.ndarray | None:
    """The last two axes longer than 1 of an array, at the given index of the others."""
    if number_kind(values) in (None, "complex") or not np.size(values):
        return None
    array = np.asarray(values)
    long = [axis for axis in range(array.ndim) if array.shape[axis] != 1]
    chosen: list[Any] = list(index or (0,) * array.ndim)
    for axis in long[-2:]:
        chosen[axis] = slice(None)
    # what is left besides has length 1
    return np.atleast_2d(array[tuple(chosen)])


def picture(case: Case) -> str:
    """SVG of an answer beside the expected one; cells that are wrong are crossed."""
    index = first_difference(case)
    answer, expected = plane(case.answer, index), plane(case.expected, index)
    if answer is None or expected is None:
        return ""
    cropped = max(*answer.shape, *expected.shape) > MOST_CELLS
    wrong = np.zeros(answer.shape, dtype=bool)
    if answer.shape == expected.shape:
        wrong = ~close(answer, expected)
    answer, expected, wrong = (
        x[:MOST_CELLS, :MOST_CELLS] for x in (answer, expected, wrong)
    )
    numbers = np.concatenate([np.ravel(answer), np.ravel(expected)]).astype(float)
    finite = np.abs(numbers[np.isfinite(numbers)])
    largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    left = grid(answer, largest, 0, wrong=wrong)
    yours, theirs, least = "yours", "expected", 0
    if np.shape(case.answer) != np.shape(case.expected):  # drawn, they may look alike
        yours += f" {np.shape(case.answer)}"
        theirs += f" {np.shape(case.expected)}"
        least = 10  # cells, that is room for these words
    gap = max(answer.shape[1] + 2, least) * CELL
    right = grid(expected, largest, gap, outline=True)
    width = gap + max(expected.shape[1], least, 5) * CELL
    height = (max(len(answer), len(expected)) + 2) * CELL
    label = alternative(answer, expected, wrong)
    note = "<p>Only the first rows and columns are drawn.</p>" if cropped else ""
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" '
        'style="max-width:100%;height:auto" font-family="sans-serif" font-size="11">'
        f'<text x="0" y="11" fill="currentColor">{yours}</text>'
        f'<text x="{gap}" y="11" fill="currentColor">{theirs}</text>'
        f"{left}{right}</svg>{note}"
    )


def grid(
    values: np.ndarray,
    largest: float,
    x0: int,
    *,
    outline: bool = False,
    wrong: np.ndarray | None = None,
) -> str:
    """One square per cell: filled, or only outlined; crossed where wrong."""
    parts = []
    for (row, column), value in np.ndenumerate(values):
        x, y = x0 + column * CELL + 1, (row + 1) * CELL + 3
        number = float(value)
        strength = min(abs(number) / largest, 1.0) if np.isfinite(number) else 1.0
        colour = BLUE if number >= 0 else ORANGE
        if np.isnan(number):
            colour = RED
        size = f'x="{x}" y="{y}" width="{CELL - 2}" height="{CELL - 2}"'
        fill = "none" if outline else colour
        parts.append(
            f'<rect {size} fill="{fill}" fill-opacity="{strength:.2f}" '
            'stroke="#999999" stroke-width=".5"/>'
        )
        if outline:
            parts.append(
                f'<rect {size} fill="none" stroke="{colour}" stroke-width="2" '
                f'stroke-opacity="{strength:.2f}"/>'
            )
        if wrong is not None and wrong[row, column]:
            end_x, end_y = x + CELL - 2, y + CELL - 2
            parts.append(
                f'<path d="M{x} {y}L{end_x} {end_y}M{end_x} {y}L{x} {end_y}" '
                f'stroke="{RED}" stroke-width="2"/>'
            )
    return "".join(parts)


def alternative(answer: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> str:
    """What the picture shows, in words."""
    if answer.shape != expected.shape:
        return (
            f"Your answer, {answer.shape}, beside the expected one, {expected.shape}."
        )
    cells = ", ".join(f"row {r} column {c}" for r, c in np.argwhere(wrong)[:6])
    more = " and more" if wrong.sum() > 6 else ""
    return f"Your answer beside the expected one. Wrong: {cells or 'nothing'}{more}."


# Many submissions: a table and JSON.


def as_table(records: list[dict[str, Any]], width: int = 100) -> str:
    """Records of submissions for a terminal: each exercise with what was said of it."""
    levels = sorted({record["ran_in"] for record in records} - {""})
    lines = [f"The notebooks' code ran in {'; '.join(levels)}."] if levels else []
    for s in records:
        where = f"{printable(s['path'])}  {s['assignment'] or '-'}"
        lines += ["", f"{where}  {s['status']}, "
                  f"{s['points']} of {s['max_points']} points"]  # fmt: skip
        notes = [s["message"], *(f"Repaired: {repair}" for repair in s["repairs"])]
        lines += [textwrap.fill(n, width, initial_indent="  ", subsequent_indent="  ")
                  for n in notes if n]  # fmt: skip
        for e in s["exercises"]:
            head = f"  {e['points']}/{e['max_points']}  {e['name']:<22}"
            text = f"{e['verdict']}  {e['message']}"
            if e["hint"]:
                text += f" Hint: {e['hint']}"
            lines.append(textwrap.fill(
                text, width, initial_indent=head, subsequent_indent=" " * len(head)
            ))  # fmt: skip
    return "\n".join(lines)


def as_summary(records: list[dict[str, Any]]) -> str:
    """Records of a class for a terminal: a line for each, and how many of each kind."""
    levels = sorted({record["ran_in"] for record in records} - {""})
    lines = [f"The notebooks' code ran in {'; '.join(levels)}.", ""] if levels else []
    widest = max(len(record["student"]) for record in records)
    for r in sorted(records, key=lambda r: (r["assignment"] or "", r["student"])):
        points = f"{r['points']} of {r['max_points']}"
        line = f"{r['student']:<{widest}}  {r['assignment'] or '-':<20} {points:>8}  "
        line += ". ".join([r["status"], *filter(None, [r["message"], *r["repairs"]])])
        lines.append(line)
    counts = Counter(record["status"] for record in records)
    lines += ["", ", ".join(f"{n} {status}" for status, n in counts.most_common())]
    return "\n".join(lines)


def as_record(submission: "Submission") -> dict[str, Any]:
    """A submission for programs, and all that a gradebook or a page shows of it."""
    s = submission
    return {
        "path": str(s.path),
        "student": s.student,
        "assignment": s.assignment,
        "status": s.status,
        "message": s.message,
        "ran_in": s.ran_in,
        "repairs": s.repairs,
        "points": s.points,
        "max_points": s.max_points,
        "exercises": [
            {
                "name": v.name,
                "points": v.points,
                "max_points": v.max_points,
                "verdict": v.verdict,
                "mistake": v.mistake,
                "way": v.way,
                "probe": v.probe,
                "where": v.where,
                "message": v.message,
                "hint": v.hint,
                "html": as_html(v),
            }
            for v in s.verdicts
        ],
    }


def as_json(records: list[dict[str, Any]]) -> str:
    """Records of submissions for programs."""
    levels = sorted({record["ran_in"] for record in records} - {""})
    report = {"schema": SCHEMA, "sandbox": "; ".join(levels), "submissions": records}
    return json.dumps(report, indent=1)
