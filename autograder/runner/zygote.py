"""A process that has imported what notebooks need, and forks one for each of them.

It never imports solutions or specs: what is in its memory is in every learner's.
For each start it is sent two sockets: one on which the learner's side gets cells and
gives answers, and a leash. On the leash a guard, which stays outside, tells how the
learner's process ended; when the other end of the leash is closed, it ends it.
"""

import contextlib
import gc
import importlib
import importlib.util
import os
import select
import signal
import socket
import sys
from pathlib import Path

from autograder.runner import namespaces, sandbox

# NumPy imports these when they are first used: 20 ms, in every learner's process.
NUMPY = ("numpy.random", "numpy.linalg", "numpy.ma")
CONVERSATION = 3  # the learner's only file descriptor besides 0, 1, 2


def answers() -> set[Path]:
    """The packages that hold answers, and what the grader knows of mistakes."""
    specs = map(importlib.util.find_spec, ("autograder", "solutions"))  # no import
    return {Path(spec.origin).parent for spec in specs if spec and spec.origin}


def visible() -> set[Path]:
    """The folders that Python's modules are read from, but not the course's own."""
    here = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)}
    around = {path.parent for path in answers()}
    here |= {Path(entry) for entry in sys.path if Path(entry) not in around}
    return {path for path in here if path.is_dir()}


def hidden() -> set[Path]:
    """What is not for learners, should it lie in one of those folders."""
    return (answers() | {Path.cwd()}) - {Path("/")}


def guard(
    start: bytes,
    conversation: socket.socket,
    leash: socket.socket,
    wall: namespaces.Wall,
    calls: namespaces.Filter,
) -> None:
    """Start the learner's process behind the wall, wait for its end, tell how."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        wall.go_behind()
    except (namespaces.Refused, OSError) as refusal:
        leash.sendall(f"refused {refusal}".encode())
        return
    learner = os.fork()
    if learner == 0:
        be_learner(start, conversation, calls)
    conversation.close()
    ended = os.pidfd_open(learner)
    readable, _, _ = select.select([leash, ended], [], [])
    if ended not in readable:
        os.kill(learner, signal.SIGKILL)
    _, status = os.waitpid(learner, 0)
    with contextlib.suppress(BrokenPipeError):
        leash.sendall(str(os.waitstatus_to_exitcode(status)).encode())


def be_learner(
    start: bytes, conversation: socket.socket, calls: namespaces.Filter
) -> None:
    """Become the process that runs a notebook; does not return."""
    os.setsid()  # a signal to its group must reach nobody outside
    os.dup2(conversation.fileno(), CONVERSATION)
    os.closerange(CONVERSATION + 1, os.sysconf("SC_OPEN_MAX"))
    megabytes, seconds = sandbox.START.unpack(start)
    namespaces.limit_processes()
    namespaces.give_up_privileges()
    calls.install()
    sandbox.limit(megabytes, seconds)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()
    stream = os.fdopen(CONVERSATION, "rb", closefd=False)
    sandbox.serve(stream, os.fdopen(CONVERSATION, "wb", closefd=False))
    os._exit(0)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    sys.argv[1:], modules = [], sys.argv[2:]
    for module in (*NUMPY, *modules):
        with contextlib.suppress(ImportError):  # what is not installed
            importlib.import_module(module)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guards leave no zombies
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    try:
        calls = namespaces.Filter()  # before the library is out of sight
        wall = namespaces.Wall(visible(), hidden())
    except namespaces.Refused as refusal:
        control.sendall(str(refusal).encode())
        return
    control.sendall(b"ready")
    gc.disable()
    gc.freeze()
    while True:
        start, descriptors, _, _ = socket.recv_fds(control, sandbox.START.size, 2)
        if not start:
            return
        conversation, leash = (socket.socket(fileno=d) for d in descriptors)
        if os.fork() == 0:
            control.close()
            try:
                guard(start, conversation, leash, wall, calls)
            finally:
                os._exit(0)
        conversation.close()
        leash.close()


if __name__ == "__main__":
    main()
