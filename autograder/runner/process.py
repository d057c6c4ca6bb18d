"""A learner's process as the trusted side sees it: requests, replies, deadlines."""

import io
import itertools
import math
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from inspect import signature
from types import TracebackType
from typing import Any

import numpy as np

from autograder.answers import (
    MAX_REPLY,
    Answer,
    Opaque,
    Outcome,
    Raised,
    plain_text,
    receive,
    send,
    tame,
)
from autograder.exercise import Exercise, Probe
from autograder.judge import right_helpers
from autograder.runner.start import Limits, start

LARGEST_HELP = 1 << 22  # numbers that a right helper may be made to work on


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
    """A learner's process, which has until `until` on the monotonic clock."""

    def __init__(
        self, limits: Limits, modules: tuple[str, ...] = (), until: float | None = None
    ) -> None:
        self.limits = limits
        self.until = until or time.monotonic() + limits.notebook_seconds
        self.started = start(limits, modules)
        self.level = self.started.level
        self.arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Nothing is read that is not expected: who writes for ever waits for ever.
        self.expected: queue.SimpleQueue[bool] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        # It also frees whoever waits for a process that does not read.
        self.alarm = threading.Timer(self.until - time.monotonic(), self.started.end)
        self.alarm.daemon = True
        self.alarm.start()

    def _listen(self) -> None:
        while self.expected.get():
            try:
                self.arrived.put(receive(self.started.replies, MAX_REPLY))
            except Exception as error:  # the end, or something that is no message
                self.arrived.put(error)

    def tell(self, message: dict[str, Any], replies: int) -> None:
        """Send a message, to which so many are to come in reply."""
        for _ in range(replies):
            self.expected.put(True)
        try:
            send(self.started.requests, message)
        except OSError:  # it is gone: wait() says how
            return
        except ValueError:  # the alarm has closed the stream
            if not self.started.requests.closed:
                raise

    def wait(self, until: float) -> dict[str, Any]:
        """The next message, or Stopped."""
        try:
            message = self.arrived.get(timeout=max(until - time.monotonic(), 0))
        except queue.Empty:
            raise self.too_late() from None
        if isinstance(message, EOFError | OSError):
            raise self.ended()
        if not isinstance(message, dict):
            raise no_answer()
        return message

    def too_late(self) -> Stopped:
        if time.monotonic() >= self.until:
            all_in_all = f"{self.limits.notebook_seconds:g} seconds"
            return Stopped("timed out", f"does not end: the notebook has {all_in_all}")
        return Stopped(
            "timed out",
            f"does not end within {self.limits.seconds:g} seconds (an endless loop?)",
        )

    def ended(self) -> Stopped:
        """How the process has ended."""
        if time.monotonic() >= self.until:
            return self.too_late()
        code = self.started.exit_code()
        if code is None:  # it only closed the channel
            return no_answer()
        if code == -9:  # by the system: we have not done it
            return Stopped("out of memory", "is killed, as for want of memory")
        how = f"exit status {code}" if code >= 0 else f"signal {-code}"
        return Stopped("crashed", f"ends the whole Python process ({how})")

    def soon(self) -> float:
        """Until when a cell, or all calls of a function, may take."""
        return min(self.until, time.monotonic() + self.limits.seconds)

    def run(self, cells: list[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
        """Run cells; of each, its number and what stopped it: Raised, Stopped, None."""
        self.tell({"cells": cells}, len(cells))
        for number, _ in cells:
            try:
                error = self.wait(self.soon()).get("error", "")
                if error is not None and not isinstance(error, Raised):
                    raise no_answer()
                self.has_memory(error)
            except Stopped as stop:
                yield number, stop
                return
            yield number, error

    def ask(
        self, exercise: Exercise, probes: list[Probe], names: list[str]
    ) -> list[Outcome]:
        """Call the learner's function on every probe, with these helpers right."""
        helpers = right_helpers(exercise, names)
        different = list(dict.fromkeys(probes))  # each is asked twice, but sent once
        self.tell({
            "ask": exercise.name,
            "adapter": exercise.adapter,
            "helpers": list(helpers),
            "probes": [(probe.args, probe.kwargs) for probe in different],
            "order": [different.index(probe) for probe in probes],
        }, len(probes))  # fmt: skip
        until = self.soon()
        return [self.outcome(helpers, until) for _ in probes]

    def outcome(self, helpers: dict[str, Any], until: float) -> Outcome:
        """What came of one call; calls of right helpers are answered before."""
        reply = self.wait(until)
        while "call" in reply:
            self.tell(help_with(helpers, reply), 1)
            reply = self.wait(until)
        if "missing" in reply:
            name = reply["missing"]
            raise Missing(None if name is None else plain_text(name)[:100])
        outcome = reply.get("outcome")
        if not isinstance(outcome, Answer | Raised):
            raise no_answer()
        self.has_memory(outcome)
        return outcome

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
        self.alarm.cancel()
        self.expected.put(False)
        self.started.end()


def help_with(helpers: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    """Answer a learner's call of an earlier exercise with the solution's answer."""
    try:
        name, args, kwargs = call["call"], call["args"], call["kwargs"]
        helper = helpers[name]
        bound = signature(helper).bind(*args, **kwargs)
        kinds = {k: p.annotation for k, p in bound.signature.parameters.items()}
        given = bound.arguments.items()
        # where a length is due, 1e8 is one
        if work([int(v) if kinds[k] is int else v for k, v in given]) > LARGEST_HELP:
            raise ValueError(f"{name} is called with too large an argument")
        value = tame(helper(*args, **kwargs))
        if isinstance(value, Opaque):
            raise ValueError(f"{name} gives back {value.type_name}")
        reply = {"value": value}
        send(io.BytesIO(), reply)  # what cannot be sent is an error here
        return reply
    except Exception as error:
        return {"error": plain_text(error)}


def work(values: list[Any]) -> int:
    """A bound on the numbers that an answer to these arguments can have.

    At most it has one for each pair of numbers, as a product of matrices or a mask of
    queries and keys has, or for each place of a broadcast of all.
    """
    pairs = max(map(size, values), default=0) ** 2
    shapes = [np.shape(leaf)[::-1] for leaf in leaves(values)]
    axes = itertools.zip_longest(*shapes, fillvalue=1)
    return max(pairs, math.prod(max(1, *lengths) for lengths in axes))


def size(value: Any) -> int:
    """The numbers in an argument; one number may be a length, and counts as many."""
    return sum(
        abs(int(leaf))
        if np.ndim(leaf) == 0 and isinstance(leaf, int | np.integer | np.ndarray)
        else np.size(leaf)
        for leaf in leaves(value)
    )


def leaves(value: Any) -> Iterable[Any]:
    """All that is in a tree of lists and tuples, but these."""
    if isinstance(value, list | tuple):
        return itertools.chain.from_iterable(map(leaves, value))
    return [value]
