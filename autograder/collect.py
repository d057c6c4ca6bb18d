"""Find submissions: nbgrader's folders, folders of notebooks, LMS downloads."""

import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.notebooks import MOST_BYTES

# Moodle's "download all submissions", with or without a folder for each participant:
# Ada Lovelace_123456_assignsubmission_file_/masks.ipynb
MOODLE = re.compile(r"(?P<student>.+)_(?P<id>\d+)_assignsubmission_file_?(?P<name>.*)")
# Canvas: lovelaceada_LATE_1234_567890_masks-1.ipynb: user, submission, and a number for
# each time that the file was handed in again.
CANVAS = re.compile(
    r"(?P<student>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<name>.+?)(?:-(?P<again>\d+))?"
    r"\.ipynb"
)
NO_NOTEBOOKS = {".ipynb_checkpoints", "__MACOSX"}


@dataclass(frozen=True)
class Handed:
    """A notebook that was handed in.

    assignment: where the folders say it; else the notebook itself has to.
    again: how often it was handed in before, where the name says it.
    """

    path: Path
    student: str
    assignment: str | None = None
    again: int = 0


class Unusable(Exception):
    """Nothing can be taken from a place; the text says why and what to do."""


def collect(place: Path, collected: Path) -> list[Handed]:
    """All notebooks in a folder or a zip file; those of a zip are taken out of it."""
    if place.is_dir():
        return in_folder(place)
    if zipfile.is_zipfile(place):
        taken = collected / clean(place.stem)
        return in_folder(take_out(place, taken))
    if place.suffix == ".zip":
        raise Unusable(f"{place} is no zip file, or a broken one: download it again.")
    return [Handed(place, student_of(place))]


def student_of(path: Path) -> str:
    """nbgrader keeps submitted/<student>/<assignment>/<notebook>."""
    parts = path.parts
    return parts[-3] if len(parts) > 3 and parts[-4] == "submitted" else path.stem


def in_folder(folder: Path) -> list[Handed]:
    """The notebooks of a folder: of two for one assignment the latest one."""
    if (folder / "submitted").is_dir():  # a course: only what was handed in counts
        folder /= "submitted"
    found = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if not NO_NOTEBOOKS & set(path.relative_to(folder).parts) and path.is_file()
    ]
    latest: dict[tuple[str, str | None, str], Handed] = {}
    for path in found:
        handed, name = understand_name(path, path.relative_to(folder))
        key = handed.student, handed.assignment, name
        if key not in latest or latest[key].again <= handed.again:
            latest[key] = handed
    return list(latest.values())


def understand_name(path: Path, where: Path) -> tuple[Handed, str]:
    """Whose notebook this is, by its place in a folder; and the notebook's name."""
    first, *rest = where.parts
    for pattern in (MOODLE, CANVAS):
        match = pattern.fullmatch(first)
        if match:
            student = f"{match['student']}_{match['id']}"
            again = int(match.groupdict().get("again") or 0)
            return Handed(path, student, None, again), match["name"] or path.stem
    if not rest:  # a folder of notebooks, each by another student
        return Handed(path, path.stem), ""
    assignment = rest[0] if len(rest) == 2 else None
    return Handed(path, first, assignment), path.stem


def take_out(archive: Path, folder: Path) -> Path:
    """Take the notebooks out of a zip file. Neither names nor sizes are trusted."""
    try:
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                parts = [clean(part) for part in re.split(r"[/\\]", info.filename)]
                parts = [part for part in parts if part]
                is_link = stat.S_ISLNK(info.external_attr >> 16)
                if info.is_dir() or is_link or not info.filename.endswith(".ipynb"):
                    continue
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(read_member(file, info))
    except zipfile.BadZipFile as problem:
        raise Unusable(f"{archive} is broken ({problem}): download it again.") from None
    return folder


def read_member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """What a member holds; of one that is too large or cannot be read, what is told."""
    try:
        with file.open(info) as member:
            return member.read(MOST_BYTES + 1)  # one more than is read as a notebook
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as problem:
        return f"This member of a zip file cannot be read: {problem}".encode()


def clean(name: str) -> str:
    """A name as a file may have it, of what anybody may have called something."""
    forbidden = '/\\:*?"<>|'
    text = "".join(c if c.isprintable() and c not in forbidden else "_" for c in name)
    text = text if len(text) <= 150 else f"{text[:100]}...{text[-40:]}"
    return text.strip(" .")


def told_apart(handed: list[Handed]) -> Iterator[Handed]:
    """With names for students that are safe as file names, no two of them alike."""
    names: dict[str, str] = {}
    for one in handed:
        name = clean(one.student) or "nameless"
        while names.setdefault(name.casefold(), one.student) != one.student:
            name += "+"
        yield replace(one, student=name)
