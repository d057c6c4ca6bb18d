"""Read notebooks, and carry a learner's answers into a new copy of an exercise."""

import copy
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder import specs

STUB = "raise NotImplementedError"


class UnreadableNotebook(Exception):
    """A file from which nothing can be graded; the text says what to do."""


@dataclass(frozen=True)
class Notebook:
    """A notebook's code, and whose exercises it holds."""

    cells: list[tuple[int, str]]  # number of the cell, from 1, and its source
    stem: str


def load(path: Path) -> dict[str, Any]:
    """Read a notebook file as it is."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise UnreadableNotebook(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise UnreadableNotebook(f"{path} is a folder: name its notebooks.") from None
    except OSError as error:
        raise UnreadableNotebook(f"It cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UnreadableNotebook(
            "It is not text in UTF-8, so it is no notebook: open it in Jupyter and save "
            "it again."
        ) from None
    except RecursionError:
        raise UnreadableNotebook("Its JSON is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise UnreadableNotebook(
            f"It is not JSON (line {error.lineno}: {error.msg}), perhaps cut off: open "
            "it in Jupyter, save it and hand it in again."
        ) from None
    cells = content.get("cells") if isinstance(content, dict) else None
    if isinstance(content, dict) and "worksheets" in content:
        raise UnreadableNotebook(
            "It is in the old notebook format 3: open it in Jupyter and save it again."
        )
    if not isinstance(cells, list) or not all(map(is_cell, cells)):
        raise UnreadableNotebook(
            "It is JSON but no notebook: it has no list of cells. Hand in the .ipynb "
            "file itself."
        )
    return content


def is_cell(cell: Any) -> bool:
    return (
        isinstance(cell, dict)
        and isinstance(cell.get("cell_type"), str)
        and isinstance(cell.get("metadata", {}), dict)
        and (
            isinstance(cell.get("source"), str)
            or isinstance(cell.get("source"), list)
            and all(isinstance(line, str) for line in cell["source"])
        )
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
            return Notebook(code, max(sorted(counts), key=lambda stem: counts[stem]))
    raise UnreadableNotebook(
        "It holds no exercise of this course: no cell asks for one, and no function has "
        "an exercise's name. Is it the right file?"
    )


# A learner's copy of an exercise


def digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def mark_released(release: dict[str, Any]) -> dict[str, Any]:
    """A copy in which every cell remembers what it was when it was handed out."""
    copied = copy.deepcopy(release)
    for cell in copied["cells"]:
        cell["metadata"]["released"] = digest(source_of(cell))
    return copied


def is_edited(cell: dict[str, Any]) -> bool:
    """Whether the learner has changed a cell since it was handed out."""
    return cell.get("metadata", {}).get("released") != digest(source_of(cell))


def update(work: dict[str, Any], release: dict[str, Any]) -> dict[str, Any]:
    """Bring a corrected exercise into a learner's copy without losing an answer.

    Cells are known by the exercise's name or by their id. What the learner wrote into
    an answer's cell stays; so does every cell of the learner's own, behind the cell
    that it stood behind. A text or a given cell that the learner has changed stays as
    well, behind its new version.
    """
    fresh = mark_released(release)

    def key(cell: dict[str, Any]) -> str | None:
        return grade_id_of(cell) or cell.get("id")

    known = {key(cell): i for i, cell in enumerate(fresh["cells"])}
    extra: dict[int, list[dict[str, Any]]] = {}
    behind, placed = -1, set()
    for cell in work["cells"]:
        i = known.get(key(cell))
        if i is None or i in placed:
            if source_of(cell).strip() and is_edited(cell):
                extra.setdefault(behind, []).append(own_cell(cell))
            continue
        behind = i
        placed.add(i)
        new = fresh["cells"][i]
        if not is_edited(cell):
            continue
        if new["metadata"].get("nbgrader", {}).get("solution"):
            new["source"] = cell["source"]
        elif source_of(cell) != source_of(new) and not new["metadata"].get(
            "nbgrader", {}
        ).get("grade"):
            extra.setdefault(behind, []).append(own_cell(cell))
    cells = list(extra.get(-1, []))
    for i, cell in enumerate(fresh["cells"]):
        cells += [cell, *extra.get(i, [])]
    fresh["cells"] = cells
    return fresh


def own_cell(cell: dict[str, Any]) -> dict[str, Any]:
    """A learner's cell without the marks that would make it one of the exercise's."""
    copied = copy.deepcopy(cell)
    copied["metadata"] = {
        name: value
        for name, value in copied.get("metadata", {}).items()
        if name not in ("nbgrader", "released")
    }
    if "id" in copied:
        copied["id"] = digest(copied["id"] + source_of(copied))
    return copied


def write(content: dict[str, Any], path: Path) -> None:
    """Write a notebook as Jupyter does, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, "utf-8")
    draft.replace(path)


def fill(release: dict[str, Any], answers: dict[str, str]) -> dict[str, Any]:
    """A copy of a released notebook with these functions written into it."""
    filled = copy.deepcopy(release)
    for cell in filled["cells"]:
        if grade_id_of(cell) in answers:
            cell["source"] = answers[str(grade_id_of(cell))].strip()
    return filled
