"""Start the process that runs a notebook: in a sandbox, or else with limits alone."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Protocol

from autograder.answers import COLLECTING, receive
from autograder.runner.sandbox import START

# Of the grader's environment a notebook's process has no more than these: there may
# be keys and passwords in it.
ENVIRONMENT = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH",
    "PYTHONHOME", "VIRTUAL_ENV", "SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT",
)  # fmt: skip

SANDBOX = "a sandbox: no files but Python's, no network, limits on time and memory"
PROCESS = "a process of its own with limits on time and memory, but no sandbox"


@dataclass(frozen=True)
class Limits:
    """What one notebook may use.

    sandbox: "if possible", "required" or "never".
    """

    seconds: float = 10.0  # one cell, or all calls of one function
    notebook_seconds: float = 60.0  # everything
    megabytes: int = 2048
    sandbox: str = "if possible"


class Refused(Exception):
    """There can be no sandbox here; the text says why."""


class Started(Protocol):
    """A learner's process, seen from outside."""

    level: str
    requests: IO[bytes]
    replies: IO[bytes]

    def exit_code(self) -> int | None:
        """How it ended: minus the number of a signal, or a status; None: it runs."""
        ...

    def end(self) -> None:
        """End it and all that it has started."""
        ...


def start(limits: Limits, modules: tuple[str, ...] = ()) -> Started:
    """Start a process; where there is a sandbox, these modules are imported in it."""
    if limits.sandbox == "never":
        return Limited(limits, "as was asked for")
    try:
        return Sandboxed(limits, modules)
    except Refused as refusal:
        if limits.sandbox == "required":
            raise
        return Limited(limits, str(refusal))


def environment(home: str) -> dict[str, str]:
    """The environment of a notebook's process."""
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    # one thread: more would only wait for each other, and forks must not have any
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    return kept | threads | {
        COLLECTING: "1", "MPLBACKEND": "Agg", "HOME": home,
        "USER": "learner", "LOGNAME": "learner",
    }  # fmt: skip


def python(module: str, *arguments: str) -> list[str]:
    # -P: modules come from where they are installed, not from the current folder
    return [sys.executable, "-P", "-m", f"autograder.runner.{module}", *arguments]


class Zygote:
    """The process that all sandboxes of this process are forked from."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        if not hasattr(socket, "send_fds"):
            raise Refused("this system cannot pass file descriptors on")
        self.lock = threading.Lock()
        self.control, theirs = socket.socketpair()
        with theirs:
            descriptor = theirs.fileno()
            self.process = subprocess.Popen(
                python("zygote", str(descriptor), *modules),
                pass_fds=[descriptor], env=environment("/tmp"),
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        told = self.control.recv(1000).decode()
        if told != "ready":
            raise Refused(told or "its first process ended at once")

    def fork(self, start: bytes, sockets: list[socket.socket]) -> None:
        with self.lock:
            socket.send_fds(self.control, [start], [s.fileno() for s in sockets])


@functools.cache
def zygote(modules: tuple[str, ...]) -> Zygote | Refused:
    """Started when it is first needed; it ends with this process."""
    try:
        return Zygote(modules)
    except Refused as refusal:
        return refusal


def fork(start: bytes, modules: tuple[str, ...], sockets: list[socket.socket]) -> None:
    """Ask the zygote for a process; a zygote that has died is replaced."""
    for is_last in (False, True):
        parent = zygote(modules)
        if isinstance(parent, Refused):
            raise parent
        try:
            return parent.fork(start, sockets)
        except OSError:
            if is_last:
                raise
            zygote.cache_clear()


class Sandboxed:
    """A process of the zygote's, in namespaces of its own."""

    level = SANDBOX

    def __init__(self, limits: Limits, modules: tuple[str, ...]) -> None:
        self.talk, their_talk = socket.socketpair()
        self.leash, their_leash = socket.socketpair()
        message = START.pack(limits.megabytes, int(limits.notebook_seconds) + 5)
        with their_talk, their_leash:
            fork(message, modules, [their_talk, their_leash])
        self.requests: IO[bytes] = self.talk.makefile("wb")
        self.replies: IO[bytes] = self.talk.makefile("rb")
        try:
            receive(self.replies)
        except EOFError:  # its guard has told why
            told = self.leash.recv(1000).decode()
            self.end()
            raise Refused(told.removeprefix("refused ")) from None

    def exit_code(self) -> int | None:
        self.leash.settimeout(1)
        with contextlib.suppress(OSError):
            return int(self.leash.recv(20) or -signal.SIGKILL)
        return None

    def end(self) -> None:
        self.leash.close()
        with contextlib.suppress(OSError):  # it is closed already
            self.talk.shutdown(socket.SHUT_RDWR)
        self.talk.close()


class Limited:
    """A process with limits alone, as every system has it."""

    def __init__(self, limits: Limits, why: str) -> None:
        self.level = f"{PROCESS} ({why})"
        self.folder = tempfile.TemporaryDirectory(
            prefix="notebook-", ignore_cleanup_errors=True
        )
        seconds = int(limits.notebook_seconds) + 5
        self.process = subprocess.Popen(
            python("sandbox", str(limits.megabytes), str(seconds)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=self.folder.name, env=environment(self.folder.name),
            start_new_session=True,  # so that what it starts can be ended with it
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        self.replies: IO[bytes] = self.process.stdout
        receive(self.replies)

    def exit_code(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(1)
        return None

    def end(self) -> None:
        self.process.kill()
        if hasattr(os, "killpg"):  # not on Windows
            with contextlib.suppress(ProcessLookupError):  # it was alone
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # it may hold an unsent message
            self.requests.close()
        self.folder.cleanup()
