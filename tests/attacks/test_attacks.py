"""Every attack is tried at both levels: it ran, gained no mark and harmed nobody.

What the lower level cannot stop is marked as open, and proved to be so.
"""

import hashlib
import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest
from attacks import ATTACKS, Attack
from sandboxes import needs_sandbox
from table import PATH, table

from autograder.course import ROOT
from autograder.notebooks import fill, load, write
from autograder.runner.coordinator import Submission, grade
from autograder.runner.start import Limits

RELEASE = load(ROOT / "exercises" / "release" / "06_masks" / "06_masks.ipynb")
HONEST = {
    "causal_mask": """def causal_mask(q_len, k_len):
    return np.tri(q_len, k_len, k_len - q_len, dtype=bool)""",
    "padding_mask": """def padding_mask(tokens, pad_id):
    raise RuntimeError(ran)""",
    "combine_masks": """def combine_masks(*attn_masks):
    return attn_masks[0]""",
    "decoder_mask": """def decoder_mask(tokens, pad_id):
    return np.zeros((len(tokens), 1, 1, 1), dtype=bool)""",
}
EARNED = 2
SECONDS = f"311.{os.getpid()}"  # of this process's attacks, and of nobody else's

FRAME = """import numpy as np
def attempt():
    {code}
try:
    ran = str(attempt())[:200]
except BaseException as error:
    ran = f"{{type(error).__name__}}: {{error}}"
"""


class Scene:
    """A notebook with an attack, a victim, and a server."""

    def __init__(self, folder: Path) -> None:
        self.victim = folder / "victim"
        write(fill(RELEASE, {}), self.victim / "other" / "06_masks.ipynb")
        (self.victim / "gradebook.db").write_text("everybody's points")
        self.mine, self.neighbour = folder / "mine.ipynb", folder / "neighbour.ipynb"
        write(fill(RELEASE, HONEST), self.neighbour)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.connected = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            self.server.accept()
            self.connected.set()
        except OSError:  # it is closed: nobody came
            return

    def play(self, attack: Attack, level: str) -> Submission:
        code = attack.code.replace("VICTIM", str(self.victim))
        code = code.replace("ROOT", str(ROOT)).replace("SECONDS", SECONDS)
        code = code.replace("PORT", str(self.server.getsockname()[1]))
        content = fill(RELEASE, HONEST)
        source = FRAME.format(code="\n    ".join(code.splitlines()))
        content["cells"].append(
            {"cell_type": "code", "metadata": {}, "source": source, "outputs": []}
        )
        if attack.change:
            attack.change(content)
        write(content, self.mine)
        return self.grade(self.mine, level)

    def grade(self, path: Path, level: str) -> Submission:
        limits = Limits(seconds=2, notebook_seconds=15, sandbox=level)
        return grade(path, secret="swordfish", limits=limits)

    def state(self) -> str:
        """A digest of all that an attack must not change."""
        digest = hashlib.sha256()
        for folder in (self.victim, ROOT / "solutions", ROOT / "exercises" / "source"):
            for path in sorted(folder.rglob("*")):
                if "__pycache__" in path.parts:  # Python fills it, in other tests
                    continue
                digest.update(str(path).encode())
                if path.is_file():
                    digest.update(path.read_bytes())
        return digest.hexdigest()


def is_running(argument: str) -> bool:
    """Whether a process has this argument; one that has ended has none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:  # it has just ended
            continue
    return False


def comes_to_an_end(argument: str) -> bool:
    """Whether processes with this argument are gone soon: they are being killed."""
    until = time.monotonic() + 3
    while is_running(argument) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(argument)


def evidence(submission: Submission) -> str:
    [verdict] = [v for v in submission.verdicts if v.name == "padding_mask"]
    found = re.search(r"RuntimeError: (.*?) at `raise", verdict.message)
    return f"{found[1] if found else verdict.message} {submission.message}"


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    yield scene
    scene.server.close()


def broke(scene: Scene, before: str, submission: Submission) -> bool:
    """Whether an attack gained, got or changed what it should not."""
    gained = submission.points > EARNED
    return gained or scene.state() != before or scene.connected.is_set()


@needs_sandbox
@pytest.mark.parametrize("name", ATTACKS)
def test_in_the_sandbox_no_attack_wins(scene, name):
    attack, before = ATTACKS[name], scene.state()
    submission = scene.play(attack, "required")
    if "0.3" in attack.code:
        time.sleep(0.5)  # what it started acts later
    assert attack.sandbox in evidence(submission)
    assert submission.status == attack.status
    assert not broke(scene, before, submission)
    assert comes_to_an_end(SECONDS)
    assert submission.ran_in.startswith("a sandbox: ")
    neighbour = scene.grade(scene.neighbour, "required")
    assert (neighbour.status, neighbour.points) == ("graded", EARNED)


TRIED_WITHOUT = [name for name, attack in ATTACKS.items() if attack.process is not None]


@pytest.mark.parametrize("name", TRIED_WITHOUT)
def test_with_limits_alone_only_what_is_marked_as_open_wins(scene, name):
    attack, before = ATTACKS[name], scene.state()
    submission = scene.play(attack, "never")
    if "0.3" in attack.code:
        time.sleep(0.5)
    assert attack.process in evidence(submission)
    assert submission.status == (attack.process_status or attack.status)
    assert attack.open or not broke(scene, before, submission)
    neighbour = scene.grade(scene.neighbour, "never")
    assert (neighbour.status, neighbour.points) == ("graded", EARNED)


def test_the_table_of_the_book_is_that_of_the_attacks():
    assert PATH.read_text() == table(), "run: make attacks"
