"""Find submissions: nbgrader's folders, folders of notebooks, LMS downloads."""

import hashlib
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from autograder.notebooks import MOST_BYTES

# Moodle's "download all submissions", with or without a folder for each participant:
# Ada Lovelace_123456_assignsubmission_file_/masks.ipynb
MOODLE = re.compile(r"(?P<student>.+?)_(?P<id>\d+)_assignsubmission_file_?(?P<name>.*)")
# Canvas: lovelaceada_LATE_1234_567890_masks-1.ipynb: user, submission, and a number for
# each time that the file was handed in again.
CANVAS = re.compile(
    r"(?P<student>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<name>.+?)(?:-(?P<again>\d+))?"
    r"\.ipynb.*",
    re.IGNORECASE,
)
NOTEBOOK = re.compile(r".*\.ipynb(\.txt|\.json)?", re.IGNORECASE)  # as browsers save
MOST_NAME = 120  # bytes of a file's name; a system allows 255


@dataclass(frozen=True)
class Handed:
    """A notebook that was handed in.

    assignment: where the folders say it; else the notebook itself has to.
    again: how often it was handed in before, where the name says it.
    refusal: why it is not even read.
    name: what its result is called; see told_apart.
    """

    path: Path
    student: str
    assignment: str | None = None
    again: int = 0
    refusal: str = ""
    name: str = ""


class Unusable(Exception):
    """Nothing can be taken from a place; the text says why and what to do."""


def collect(place: Path, collected: Path) -> list[Handed]:
    """All notebooks in a folder or a zip file; those of a zip are taken out of it."""
    if place.is_dir():
        return in_folder(place)
    if zipfile.is_zipfile(place):
        # a later download has another folder: nobody is graded who is not in it
        taken = collected / f"{clean(place.stem)}-{digest(place.read_bytes())}"
        return in_folder(take_out(place, taken))
    if place.suffix.lower() == ".zip":
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
    inside = [
        path
        for path in sorted(folder.rglob("*"))
        if not any(map(is_hidden, path.relative_to(folder).parts))
    ]
    found = [p for p in inside if NOTEBOOK.fullmatch(p.name) and not p.is_dir()]
    latest: dict[tuple[str, str | None, str], Handed] = {}
    for path in found:
        handed, name = understand_name(path, path.relative_to(folder))
        if not path.resolve().is_relative_to(folder.resolve()):
            handed = replace(handed, refusal="It is a link to another place.")
        elif not path.is_file():
            handed = replace(handed, refusal="It is no file.")
        key = handed.student, handed.assignment, name
        if key not in latest or latest[key].again <= handed.again:
            latest[key] = handed
    return [*latest.values(), *without_notebook(folder, inside, found)]


def is_hidden(name: str) -> bool:
    """Whether a system or Jupyter keeps its own things there."""
    return name.startswith(".") or name == "__MACOSX"


def without_notebook(
    folder: Path, inside: list[Path], found: list[Path]
) -> Iterator[Handed]:
    """Students who have handed in something, but no notebook.

    They have a folder of their own: in nbgrader's layout one for each assignment.
    """
    full = {parent for path in found for parent in path.parents}
    parents = {path.parent for path in inside if path.is_dir()}
    for path in inside:
        first, *rest = path.relative_to(folder).parts
        if path.is_dir() and not {path} & (full | parents) and len(rest) < 2:
            match = MOODLE.fullmatch(first)
            student = student_in(match) if match else first
            assignment = rest[0] if rest else None
            yield Handed(path, student, assignment, refusal="It holds no notebook.")


def student_in(match: re.Match[str]) -> str:
    return f"{match['student']}_{match['id']}"


def understand_name(path: Path, where: Path) -> tuple[Handed, str]:
    """Whose notebook this is, by its place in a folder; and the notebook's name."""
    first, *rest = where.parts
    for pattern in (MOODLE, CANVAS):
        match = pattern.fullmatch(first)
        if match:
            again = int(match.groupdict().get("again") or 0)
            name = match["name"] or path.stem
            return Handed(path, student_in(match), None, again), name
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
                *folders, name = [part for part in parts if part] or ["nameless"]
                is_link = stat.S_ISLNK(info.external_attr >> 16)
                if info.is_dir() or is_link or not NOTEBOOK.fullmatch(name):
                    continue
                # a folder must not have the name of a notebook that is there, too
                folders = [f"{f}_" if NOTEBOOK.fullmatch(f) else f for f in folders]
                path = folder.joinpath(*folders, name)
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
    except (
        zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError,
    ) as problem:  # fmt: skip
        return f"This member of a zip file cannot be read: {problem}".encode()


def clean(name: str) -> str:
    """A name as a file may have it, of what anybody may have called something."""
    forbidden = '/\\:*?"<>|'
    text = "".join(c if c.isprintable() and c not in forbidden else "_" for c in name)
    text = text.strip(" .")
    if len(text.encode()) > MOST_NAME:
        ending = text[-12:]  # with the suffix
        room = MOST_NAME - len(ending.encode()) - 8
        start = text.encode()[:room].decode(errors="ignore")
        text = f"{start}-{digest(name.encode(errors='replace'))}{ending}"
    return text


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:6]


def told_apart(handed: list[Handed]) -> list[Handed]:
    """With names for students and results that are safe and no two of them alike.

    A name that had to be changed, or that differs from another only by capital letters,
    gets a few digits that depend on it alone.
    """
    originals = dict.fromkeys(one.student for one in handed)
    cleaned = {name: clean(name) or "nameless" for name in originals}
    folded = Counter(name.casefold() for name in cleaned.values())

    def student(original: str) -> str:
        name = cleaned[original]
        plain = name == original and folded[name.casefold()] == 1
        data = original.encode(errors="backslashreplace")
        return name if plain else f"{name}-{digest(data)}"

    def result(one: Handed) -> tuple[str, str]:
        return one.student.casefold(), (clean(one.path.stem) or "nameless").casefold()

    results = Counter(map(result, handed))
    apart = []
    for one in handed:
        name = clean(one.path.stem) or "nameless"
        if results[result(one)] > 1:  # of two assignments, or from two places
            name += f"-{digest(bytes(one.path.resolve()))}"
        apart.append(replace(one, student=student(one.student), name=name))
    return apart
