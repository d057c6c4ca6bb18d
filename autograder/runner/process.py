"""A learner's process as the trusted side sees it: one message, one reply at a time."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from autograder.answers import Answer, Outcome, Raised, receive, send
from autograder.check import COLLECTING
from autograder.exercise import Exercise, Probe
from autograder.judge import right_helpers

LARGEST_HELP = 20_000  # numbers in a call that a right helper answers


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    seconds: float = 10.0  # one cell, or all calls of one function
    megabytes: int = 2048


class Stopped(Exception):
    """The learner's process was ended: it looped, crashed or wrote nonsense."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


class Missing(Exception):
    """The learner has no function of a name; `type_name` is what has that name."""

    def __init__(self, type_name: str | None) -> None:
        super().__init__(type_name)
        self.type_name = type_name


def no_answer() -> Stopped:
    return Stopped("crashed", "sends the grader something that is no answer")


class Process:
    """A learner's process, to which one message at a time is sent."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folder = tempfile.TemporaryDirectory(
            prefix="notebook-", ignore_cleanup_errors=True
        )
        inherited = {k: v for k, v in os.environ.items() if k != "AUTOGRADER_SECRET"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autograder.runner.sandbox", str(limits.megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder.name,
            env=inherited
            | {COLLECTING: "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
               "MPLBACKEND": "Agg"},
            start_new_session=True,  # so that what it starts can be ended with it
        )  # fmt: skip
        self.arrived: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        limited = self.wait(60)["limited"]
        memory = "limits on time and memory" if limited else "a limit on time"
        self.level = f"a process of its own, with {memory}"

    def _listen(self) -> None:
        assert self.process.stdout is not None
        try:
            while True:
                self.arrived.put(receive(self.process.stdout))
        except Exception as error:  # the end, or something that is no message
            self.arrived.put(error)

    def tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # wait() says what happened
            send(self.process.stdin, message)

    def wait(self, seconds: float) -> dict[str, Any]:
        """The next message, or Stopped."""
        try:
            message = self.arrived.get(timeout=max(seconds, 0))
        except queue.Empty:
            raise Stopped(
                "timed out",
                f"does not end within {self.limits.seconds:g} seconds "
                "(an endless loop?)",
            ) from None
        if isinstance(message, EOFError):
            raise self.ended()
        if not isinstance(message, dict):
            raise no_answer()
        return message

    def ended(self) -> Stopped:
        """How the process has ended."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:  # it only closed the channel
            return no_answer()
        if code == -9:  # by the system: we have not done it
            return Stopped("out of memory", "is killed, as for want of memory")
        how = f"exit status {code}" if code >= 0 else f"signal {-code}"
        return Stopped("crashed", f"ends the whole Python process ({how})")

    def run(self, number: int, source: str) -> Raised | None:
        """Run one cell; what stopped it, if anything did."""
        self.tell({"cell": number, "source": source})
        error = self.wait(self.limits.seconds).get("error", "")
        if error is not None and not isinstance(error, Raised):
            raise no_answer()
        self.has_memory(error)
        return error

    def ask(
        self, exercise: Exercise, probes: list[Probe], names: list[str]
    ) -> list[Outcome]:
        """Call the learner's function on every probe, with these helpers right."""
        helpers = right_helpers(exercise, names)
        outcomes: list[Outcome] = []
        until = time.monotonic() + self.limits.seconds
        for probe in probes:
            self.tell({
                "ask": exercise.name,
                "args": probe.args,
                "kwargs": probe.kwargs,
                "adapter": exercise.adapter,
                "helpers": list(helpers),
            })  # fmt: skip
            reply = self.wait(until - time.monotonic())
            while "call" in reply:
                self.tell(help_with(helpers, reply))
                reply = self.wait(until - time.monotonic())
            if "missing" in reply:
                raise Missing(reply["missing"])
            outcome = reply.get("outcome")
            if not isinstance(outcome, Answer | Raised):
                raise no_answer()
            self.has_memory(outcome)
            outcomes.append(outcome)
        return outcomes

    def has_memory(self, outcome: Outcome | None) -> None:
        """Stop where memory is used up: all that is asked after it would fail too."""
        if isinstance(outcome, Raised) and outcome.type_name == "MemoryError":
            megabytes = self.limits.megabytes
            raise Stopped("out of memory", f"needs more than {megabytes} MB of memory")

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        if hasattr(os, "killpg"):  # not on Windows
            with contextlib.suppress(ProcessLookupError):  # it was alone
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may hold an unsent message
            self.process.stdin.close()
        self.folder.cleanup()


def help_with(helpers: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """Answer a learner's call of an earlier exercise with the solution's answer."""
    try:
        helper, args, kwargs = helpers[call["call"]], call["args"], call["kwargs"]
        if size([*args, *kwargs.values()]) > LARGEST_HELP:
            raise ValueError(f"{call['call']} is called with too large an argument")
        return {"value": helper(*args, **kwargs)}
    except Exception as error:
        return {"error": str(error)}


def size(value: Any) -> int:
    """A bound on the lengths that an answer to these arguments can have."""
    if isinstance(value, list | tuple):
        return sum(map(size, value))
    return abs(int(value)) if isinstance(value, int | np.integer) else np.size(value)
