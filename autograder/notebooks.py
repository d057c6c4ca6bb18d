"""Read notebooks, and carry a learner's answers into a new copy of an exercise."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder import specs

MOST_BYTES = 64 << 20  # of a file
MOST_TEXT = 2 << 20  # bytes of the texts of all cells, as JSON
MOST_CELLS = 2000


class UnreadableNotebook(Exception):
    """A file from which nothing can be graded; the text says what to do."""


@dataclass(frozen=True)
class Notebook:
    """A notebook's code, and whose exercises it holds."""

    cells: list[tuple[int, str]]  # number of the cell, from 1, and its source
    stem: str
    repairs: tuple[str, ...] = ()  # what is otherwise than it was handed out


def load(path: Path) -> dict[str, Any]:
    """Read a notebook file as it is."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnreadableNotebook(
                f"It is larger than {MOST_BYTES >> 20} MB: clear its outputs in "
                "Jupyter and save it again."
            )
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise UnreadableNotebook(
            f"There is no file {path}: look at its name and folder."
        ) from None
    except IsADirectoryError:
        raise UnreadableNotebook(f"{path} is a folder: name its notebooks.") from None
    except OSError as error:
        raise UnreadableNotebook(f"It cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UnreadableNotebook(
            "It is not text in UTF-8, so it is no notebook as Jupyter saves it: take "
            "the .ipynb file itself."
        ) from None
    if not text.strip():
        raise UnreadableNotebook(
            "It is an empty file: save the notebook in Jupyter again."
        )
    try:
        content = json.loads(text)
    except RecursionError:
        raise UnreadableNotebook(
            "It is JSON but no notebook: it is nested too deeply."
        ) from None
    except ValueError as error:
        raise UnreadableNotebook(
            f"It is not JSON ({error}), so it is cut off or was changed outside "
            "Jupyter: take a whole copy of it."
        ) from None
    if isinstance(content, dict) and "worksheets" in content:
        raise UnreadableNotebook(
            "It is in the old notebook format 3: open it in Jupyter and save it again."
        )
    if not is_notebook(content):
        raise UnreadableNotebook(
            "It is JSON but no notebook: it has no list of cells. Take the .ipynb file "
            "itself."
        )
    if len(content["cells"]) > MOST_CELLS:
        raise UnreadableNotebook(
            f"It has {len(content['cells'])} cells, more than {MOST_CELLS}: no answer "
            "needs that."
        )
    if sum(len(json.dumps(source_of(cell))) for cell in content["cells"]) > MOST_TEXT:
        raise UnreadableNotebook(
            f"Its cells hold more than {MOST_TEXT >> 20} MB of text: no answer needs "
            "that."
        )
    return content


def is_notebook(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("metadata", {}), dict)
        and isinstance(content.get("cells"), list)
        and all(map(is_cell, content["cells"]))
    )


def is_cell(cell: Any) -> bool:
    if not isinstance(cell, dict):
        return False
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    return (
        isinstance(cell.get("cell_type"), str)
        and isinstance(cell.get("metadata", {}), dict)
        and all(isinstance(line, str) for line in lines)
    )


def source_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def grade_id_of(cell: dict[str, Any]) -> str | None:
    """The name that nbgrader knows a cell by."""
    nbgrader = cell.get("metadata", {}).get("nbgrader")
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return grade_id if isinstance(grade_id, str) else None


def read(path: Path) -> Notebook:
    """Read a submission and find out which chapter's exercises it answers."""
    return understand(load(path))


def understand(content: dict[str, Any]) -> Notebook:
    """Tell the chapter of a notebook by its grade ids, or else by its functions."""
    code = [
        (number, source_of(cell))
        for number, cell in enumerate(content["cells"], start=1)
        if cell["cell_type"] == "code"
    ]
    ids = {grade_id_of(cell) for cell in content["cells"]} - {None}
    text = "\n".join(source for _, source in code)
    defined = set(re.findall(r"^(?:async )?def (\w+)", text, re.M))
    checked = set(re.findall(r"\bcheck\((\w+)\)", text))
    for names in (ids, defined | checked):
        counts: dict[str, int] = {}
        for name in names:
            stem = specs.stem_of(str(name).removeprefix("check_"))
            if stem:
                counts[stem] = counts.get(stem, 0) + 1
        if counts:
            stem = max(sorted(counts), key=lambda stem: counts[stem])
            return Notebook(code, stem, tuple(find_repairs(content, stem)))
    raise UnreadableNotebook(
        "It holds no exercise of this course: no cell asks for one, and no function "
        "has an exercise's name. Is it the right file?"
    )


def find_repairs(content: dict[str, Any], stem: str) -> Iterator[str]:
    """What a notebook is graded in spite of, in sentences."""
    expected = {}  # the marks of our cells, in their order: what a check cell holds
    for exercise in specs.exercises_of(stem):
        expected[exercise.name] = None
        expected[f"check_{exercise.name}"] = f"check({exercise.name})"
    cells = [cell for cell in content["cells"] if grade_id_of(cell) in expected]
    found = [str(grade_id_of(cell)) for cell in cells]
    if not found:
        yield "It has lost nbgrader's marks: its functions are found by their names."
    for name in dict.fromkeys(found):
        if found.count(name) > 1:
            yield f"The cell {name} is there {found.count(name)} times."
    for name, check in expected.items():
        if found and check and name not in found:
            yield f"The cell {name} is gone: it is graded all the same."
    for cell, name in zip(cells, found, strict=True):
        check = expected[name]
        if cell["cell_type"] != "code":
            yield f"The cell {name} is no code any more."
        elif check and source_of(cell).strip() != check:
            yield f"The cell {name} was changed: it counts as it was handed out."
    order = list(dict.fromkeys(found))
    if order != [name for name in expected if name in order]:
        yield "Its cells stand in another order."
    yield from find_foreign(content)


def find_foreign(content: dict[str, Any]) -> Iterator[str]:
    """What a notebook holds that is none of ours, and is left out."""
    kernel = content.get("metadata", {}).get("kernelspec")
    name = kernel.get("name") if isinstance(kernel, dict) else None
    language = kernel.get("language", "python") if isinstance(kernel, dict) else None
    if name is not None and (language != "python" or not isinstance(name, str)):
        yield "It asks for another language than Python: it is run as Python."
    if any(cell.get("attachments") for cell in content["cells"]):
        yield "It holds attached files: they are left out."
    if any(cell["cell_type"] not in ("code", "markdown") for cell in content["cells"]):
        yield "It holds cells that are neither code nor text: they are left out."


# A learner's copy of an exercise

DOCSTRING = re.compile(r'"""[\s\S]*?"""')
MARKS = ("nbgrader", "released", "deletable", "editable")  # metadata of released cells


def mark_released(release: dict[str, Any]) -> dict[str, Any]:
    """A copy in which every cell remembers what it was when it was handed out."""
    copied = copy.deepcopy(release)
    for cell in copied["cells"]:
        cell["metadata"]["released"] = source_of(cell)
    return copied


def released(cell: dict[str, Any]) -> str | None:
    """What stood in a cell when it was handed out; None for a learner's own cell."""
    source = cell.get("metadata", {}).get("released")
    return source if isinstance(source, str) else None


def is_answer(cell: dict[str, Any]) -> bool:
    """Whether a released cell is one to write an answer in."""
    return bool(cell["metadata"].get("nbgrader", {}).get("solution"))


def key(cell: dict[str, Any]) -> str | None:
    """What a cell is known by in every version of an exercise."""
    return grade_id_of(cell) or cell.get("id")


def corrected_tasks(work: dict[str, Any], release: dict[str, Any]) -> list[str]:
    """Names of the answers of which something else is asked than in this copy."""
    tasks = {key(cell): source_of(cell) for cell in release["cells"] if is_answer(cell)}
    names = [
        str(key(cell))
        for cell in work["cells"]
        if released(cell) is not None
        and tasks.get(key(cell), released(cell)) != released(cell)
    ]
    return list(dict.fromkeys(names))


def update(work: dict[str, Any], release: dict[str, Any]) -> dict[str, Any]:
    """Bring a corrected exercise into a learner's copy without losing an answer.

    Cells are known by the exercise's name or by their id. An answer stays, under the
    corrected docstring if the learner has not touched the old one. So does every cell
    of the learner's own, behind the cell that it stood behind. A given cell that the
    learner has changed stays as it is; where it has been corrected since, it stays
    behind its new version.
    """
    fresh = mark_released(release)
    places = {key(cell): place for place, cell in enumerate(fresh["cells"])}
    taken = {cell["id"] for cell in fresh["cells"]}
    own: dict[int, list[dict[str, Any]]] = {}  # behind which place
    behind = -1
    for cell in work["cells"]:
        place = places.pop(key(cell), None)
        if place is None:  # also a copy of a cell that already has its place
            if source_of(cell) != released(cell):
                own.setdefault(behind, []).append(own_cell(cell, taken))
            continue
        behind = place
        new = fresh["cells"][place]
        source = merged_source(cell, new)
        if source is None:
            own.setdefault(behind, []).append(own_cell(cell, taken))
        else:
            fresh["cells"][place] = merged_cell(cell, new, source)
    cells = own.get(-1, [])
    for place, cell in enumerate(fresh["cells"]):
        cells += [cell, *own.get(place, [])]
    known = release["metadata"] | work.get("metadata", {})
    return {**fresh, "cells": cells, "metadata": known}


def merged_source(cell: dict[str, Any], new: dict[str, Any]) -> str | None:
    """What a released cell of a learner's holds now; None if there must be two."""
    mine, old, text = source_of(cell), released(cell), source_of(new)
    if mine == old or not mine.strip():
        return text
    if old == text or mine == text:
        return mine
    if not is_answer(new):
        return None
    before, after = DOCSTRING.search(old or ""), DOCSTRING.search(text)
    return mine.replace(before[0], after[0], 1) if before and after else mine


def merged_cell(
    cell: dict[str, Any], new: dict[str, Any], source: str
) -> dict[str, Any]:
    """A released cell with a learner's source; with what else was in it, if it fits."""
    new = {**new, "source": source.splitlines(True)}
    if cell["cell_type"] != new["cell_type"]:
        return new
    if source == source_of(cell):
        new = new | {k: cell[k] for k in ("outputs", "execution_count") if k in cell}
    return {**cell, **new, "metadata": unmarked(cell) | new["metadata"]}


def own_cell(cell: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """A learner's cell without the marks of a released one, under an id of its own."""
    name = cell.get("id") or digest(source_of(cell))
    while name in taken:
        name = digest(name)
    taken.add(name)
    new = (
        {"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {}
    )
    return {**new, **cell, "id": name, "metadata": unmarked(cell)}


def unmarked(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell's metadata without what only a released cell has."""
    metadata = cell.get("metadata", {})
    return {name: metadata[name] for name in metadata if name not in MARKS}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def write(content: dict[str, Any], path: Path) -> None:
    """Write a notebook as Jupyter does, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    draft = path.with_name(path.name + ".part")
    # what is no character, half of a pair, becomes \ud800: in JSON it is the same
    draft.write_bytes(text.encode("utf-8", "backslashreplace"))
    draft.replace(path)


def fill(release: dict[str, Any], answers: dict[str, str]) -> dict[str, Any]:
    """A copy of a released notebook with these functions written into it."""
    filled = copy.deepcopy(release)
    for cell in filled["cells"]:
        if grade_id_of(cell) in answers:
            cell["source"] = answers[str(grade_id_of(cell))].strip()
    return filled
