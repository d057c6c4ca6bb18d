"""Submissions are found wherever they come from, and nothing in a name is trusted."""

import io
import zipfile
from pathlib import Path

import pytest

from autograder.collect import Handed, Unusable, clean, collect, told_apart
from autograder.notebooks import MOST_BYTES, UnreadableNotebook, load


def found(place: Path, tmp_path: Path) -> dict[str, tuple[str, str | None]]:
    """Students, with the text of their notebook and the assignment."""
    handed = told_apart(collect(place, tmp_path / "collected"))
    return {one.student: (one.path.read_text(), one.assignment) for one in handed}


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, name)
    return path


def test_nbgraders_folders(tmp_path):
    names = "ada/06_masks/06_masks.ipynb", "bob/ps1/ps1.ipynb"
    course = tmp_path / "exercises"
    files(course / "submitted", *names)
    files(course, "release/06_masks/06_masks.ipynb")
    expected = {"ada": (names[0], "06_masks"), "bob": (names[1], "ps1")}
    assert found(course / "submitted", tmp_path) == expected
    assert found(course, tmp_path) == expected


def test_a_folder_of_notebooks_and_one_of_folders(tmp_path):
    folder = files(tmp_path / "in", "ada.ipynb", "bob/masks.ipynb", "bob/notes.txt")
    files(folder, "bob/.ipynb_checkpoints/masks.ipynb", "__MACOSX/ada.ipynb")
    expected = {"ada": ("ada.ipynb", None), "bob": ("bob/masks.ipynb", None)}
    assert found(folder, tmp_path) == expected


MOODLE = {
    "Ada Lovelace_123456_assignsubmission_file_/masks.ipynb": "Ada Lovelace_123456",
    "Grace Hopper_99_assignsubmission_file_masks.ipynb": "Grace Hopper_99",
    "Emmy Noether_7_assignsubmission_file/sub/masks (1).ipynb": "Emmy Noether_7",
}
CANVAS = {
    "lovelaceada_1234_567890_masks.ipynb": "lovelaceada_1234",
    "hoppergrace_LATE_77_88_my_masks.ipynb": "hoppergrace_77",
    "anon_55_66_masks-2.ipynb": "anon_55",
}


@pytest.mark.parametrize("names", [MOODLE, CANVAS])
@pytest.mark.parametrize("zipped", [True, False])
def test_downloads_of_an_lms(tmp_path, names, zipped):
    if zipped:
        place = archive(tmp_path / "download.zip", *names, "report.pdf")
    else:
        place = files(tmp_path / "download", *names, "report.pdf")
    assert found(place, tmp_path) == {
        student: (name, None) for name, student in names.items()
    }


def test_of_what_was_handed_in_again_the_last_one_counts(tmp_path):
    names = [f"ada_1_{n}_masks{again}.ipynb" for n, again in
             ((11, "-2"), (12, "-10"), (13, ""), (14, "-9"))]  # fmt: skip
    assert found(files(tmp_path / "in", *names), tmp_path) == {
        "ada_1": (names[1], None)
    }


HOSTILE = [
    "../../outside.ipynb",
    "/absolute.ipynb",
    "C:\\windows\\x.ipynb",
    "..\\..\\outside2.ipynb",
    "a\nb\x1b[2J.ipynb",
    f"{'long' * 100}.ipynb",
    "....//....//x.ipynb",
]


def test_no_member_of_a_zip_file_leads_out_of_its_folder(tmp_path):
    place = archive(tmp_path / "bad.zip", *HOSTILE, "ada.ipynb")
    before = set(tmp_path.rglob("*"))
    collected = tmp_path / "results" / "collected"
    handed = collect(place, collected)
    assert len(handed) == len(HOSTILE) + 1
    made = {path for path in tmp_path.rglob("*") if path not in before}
    assert made
    assert all(path.is_relative_to(tmp_path / "results") for path in made)
    assert all(character.isprintable() for path in made for character in str(path))


def test_links_in_a_zip_file_are_left_out(tmp_path):
    place = tmp_path / "links.zip"
    with zipfile.ZipFile(place, "w") as file:
        info = zipfile.ZipInfo("link.ipynb")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("ada.ipynb", "{}")
    assert set(found(place, tmp_path)) == {"ada"}


def test_a_bomb_is_unreadable_and_the_others_are_found(tmp_path):
    place = tmp_path / "bomb.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.ipynb", bytes(MOST_BYTES * 2))
        file.writestr("ada.ipynb", "{}")
    bomb = next(h for h in collect(place, tmp_path / "c") if h.student == "bomb")
    assert bomb.path.stat().st_size == MOST_BYTES + 1
    with pytest.raises(UnreadableNotebook, match="larger than 64 MB"):
        load(bomb.path)
    assert set(found(place, tmp_path)) == {"ada", "bomb"}


def test_a_member_that_is_broken_or_encrypted_is_unreadable(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("ada.ipynb", "abcdefgh" * 9)
        file.writestr("bob.ipynb", "{}")
    broken = data.getvalue().replace(b"abcdefgh", b"abcdefgX", 1)
    place = tmp_path / "broken.zip"
    place.write_bytes(broken)
    told = found(place, tmp_path)
    assert "cannot be read: Bad CRC-32" in told["ada"][0]
    assert told["bob"][0] == "{}"


def test_what_is_no_zip_file_is_told(tmp_path):
    place = tmp_path / "no.zip"
    place.write_text("no zip")
    with pytest.raises(Unusable, match="no zip file, or a broken one"):
        collect(place, tmp_path)
    torn = archive(tmp_path / "torn.zip", "ada.ipynb").read_bytes()[:-30]
    place.write_bytes(torn)
    with pytest.raises(Unusable, match="no zip file, or a broken one"):
        collect(place, tmp_path)


def test_no_two_students_share_a_name():
    names = ["a/b", "a_b", "A_B", "", "..", "a_b"]
    handed = [Handed(Path(f"{i}.ipynb"), name) for i, name in enumerate(names)]
    safe = [one.student for one in told_apart(handed)]
    assert safe[1] == safe[5]
    assert len({name.casefold() for name in safe}) == 5
    assert all(name.strip(". ") and "/" not in name for name in safe)
    turned = [one.student for one in told_apart(handed[::-1])]
    assert turned[::-1] == safe  # whoever comes first


def test_no_name_is_too_long_for_a_file(tmp_path):
    for name in ("Ж" * 140, "漢" * 200, "x" * 245, "a" * 119 + "é"):
        safe = clean(f"{name}.ipynb")
        (tmp_path / f"{safe}.json.part").write_text("")
        assert safe.endswith(".ipynb")
    assert clean("Ж" * 140) != clean("Ж" * 141)


def test_whatever_stands_in_a_zip_file_the_rest_is_found(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bob.ipynb", "{}" * 500)
        file.writestr("ada.ipynb", "{}")
        file.writestr("ada.ipynb/x.ipynb", "inside")
        file.writestr("eve.IPYNB.txt", "as a browser saves it")
    place = tmp_path / "odd.zip"
    first = data.getvalue().index(b"bob.ipynb") + len("bob.ipynb")
    text = bytearray(data.getvalue())
    text[first : first + 4] = b"\xff\xff\xff\xff"  # no deflate stream
    place.write_bytes(bytes(text))
    told = found(place, tmp_path)
    assert "cannot be read" in told["bob"][0]
    assert told["ada"][0] == "{}"
    assert told["ada.ipynb_"][0] == "inside"
    assert told["eve.IPYNB"][0] == "as a browser saves it"


def test_a_later_download_does_not_bring_back_an_earlier_one(tmp_path):
    place = archive(tmp_path / "a.zip", "ada.ipynb", "bob.ipynb")
    assert set(found(place, tmp_path)) == {"ada", "bob"}
    archive(place, "ada.ipynb")
    assert set(found(place, tmp_path)) == {"ada"}


def test_whoever_handed_in_no_notebook_is_told(tmp_path):
    folder = files(tmp_path / "in", "ada/06_masks/06_masks.ipynb", "bob/06_masks/x.pdf")
    files(folder, "Eve Moore_12_assignsubmission_file_/essay.pdf", ".git/x/y")
    refused = {h.student: (h.assignment, h.refusal) for h in collect(folder, tmp_path)}
    nothing = "It holds no notebook."
    assert refused == {
        "ada": ("06_masks", ""),
        "bob": ("06_masks", nothing),
        "Eve Moore_12": (None, nothing),
    }


def test_a_file_name_does_not_change_who_somebody_is(tmp_path):
    name = "Ada_1_assignsubmission_file_/Bob_2_assignsubmission_file_x.ipynb"
    flat = "Ada_1_assignsubmission_file_Bob_2_assignsubmission_file_x.ipynb"
    for one in (name, flat):
        assert set(found(archive(tmp_path / "m.zip", one), tmp_path)) == {"Ada_1"}
