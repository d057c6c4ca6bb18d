"""The learner's side of the wall: run cells, call functions, send what they answer.

It gets code and inputs on one stream and gives answers on another. It imports neither
the solutions nor the specs, and refuses to.
"""

import __future__

import ast
import builtins
import contextlib
import inspect
import linecache
import os
import random
import shlex
import struct
import sys
import types
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from autograder.answers import (
    MAX_REPLY,
    Raised,
    ask,
    raised,
    receive,
    replaced,
    send,
    tame,
)
from autograder.names import run_by_magic

START = struct.Struct("<QQ")  # megabytes of memory, seconds of processor time
HIDDEN = ("solutions", "autograder.specs", "autograder.live", "autograder.judge")
FUTURES = sum(
    getattr(__future__, name).compiler_flag for name in __future__.all_feature_names
)


class Hide:
    """Import hook: the answers are not to be had here."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.startswith(HIDDEN):
            raise ImportError(f"{name} cannot be imported while a notebook is graded")


def limit(megabytes: int, seconds: int) -> bool:
    """Bound this process's memory and processor time, where the system can do that."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    for what, most in (
        (resource.RLIMIT_AS, megabytes << 20),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    return True


def compile_cell(source: str, name: str, flags: int) -> Any:
    """Compile a cell. What only IPython understands becomes calls of Shell."""
    try:
        return compile(source, name, "exec", flags, dont_inherit=True)
    except SyntaxError:
        from IPython.core.inputtransformer2 import TransformerManager

        source = TransformerManager().transform_cell(source)
        return compile(source, name, "exec", flags, dont_inherit=True)


class Shell:
    """Stands for IPython: code that is timed or captured runs, no other magic does."""

    def __init__(self, run: Callable[[str], None]) -> None:
        self._run_source = run  # a name that the rules know
        self.config: dict[str, Any] = {}
        nothing = self.nothing
        self.events = types.SimpleNamespace(register=nothing, unregister=nothing)

    def run_line_magic(self, name: str, line: str, *_: Any) -> None:
        code = run_by_magic(name, line)
        if code is not None:
            self._run_source(code)

    def run_cell_magic(self, name: str, line: str, cell: str) -> None:
        code = run_by_magic(name, line, cell)
        if code is not None:
            self._run_source(code)
        elif name in ("writefile", "file"):
            *options, path = shlex.split(line)
            mode = "a" if options else "w"
            with open(os.path.expanduser(path), mode, encoding="utf-8") as file:
                file.write(cell)

    def nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self.nothing


class Kernel:
    """Runs cells as Jupyter's does: in one namespace, one after the other."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.name = ""  # of the cell that runs, for tracebacks
        self.flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self.loop: Any = None  # of the cells that await something
        shell = Shell(self.run)

        def get_ipython() -> Shell:
            return shell

        namespace["get_ipython"] = get_ipython
        # IPython's own gives it, too: whether IPython is there yet or comes later
        name = "IPython.core.getipython"
        module: Any = sys.modules.setdefault(name, types.ModuleType(name))
        module.get_ipython = get_ipython
        if "IPython" in sys.modules:
            vars(sys.modules["IPython"])["get_ipython"] = get_ipython

    def run(self, source: str) -> None:
        code = compile_cell(source, self.name, self.flags)
        self.flags |= code.co_flags & FUTURES  # they last for all cells to come
        awaitable = eval(code, self.namespace)
        if code.co_flags & inspect.CO_COROUTINE:
            import asyncio

            self.loop = self.loop or asyncio.Runner()
            self.loop.run(awaitable)

    def run_cell(self, source: str, number: int) -> Raised | None:
        """Run one cell; give back what stopped it, if anything did."""
        self.name = name = f"<cell {number}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        try:
            self.run(source)
        except SyntaxError as error:
            return Raised("SyntaxError", f"{error.msg}, line {error.lineno}",
                          (error.text or "").strip())  # fmt: skip
        except (Exception, SystemExit) as error:
            return raised(error)
        return None


Say = Callable[[dict[str, Any]], None]


def remote(name: str, requests: IO[bytes], say: Say) -> Callable[..., Any]:
    """A stand-in for an earlier exercise: the other side answers its calls."""

    def call(*args: Any, **kwargs: Any) -> Any:
        say({"call": name, "args": tame(args), "kwargs": tame(kwargs)})
        message = receive(requests)
        if "error" in message:
            raise ValueError(message["error"])
        return message["value"]

    return call


def answers(
    message: dict[str, Any], namespace: dict[str, Any], requests: IO[bytes], say: Say
) -> Iterator[dict[str, Any]]:
    """Call the function that the message names, with the arguments of each probe."""
    function = namespace.get(message["ask"])
    if not callable(function):
        yield {"missing": type(function).__name__ if function is not None else None}
        return
    helpers = {name: remote(name, requests, say) for name in message["helpers"]}
    # An object that is called has no namespace of its own, or that of its library.
    own = getattr(function, "__globals__", namespace)
    with replaced(helpers, namespace, own):
        for number in message["order"]:
            args, kwargs = message["probes"][number]
            yield {"outcome": ask(function, args, kwargs, message["adapter"])}


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Do what the other side asks until it is gone."""
    me = os.getpid()

    def say(message: dict[str, Any], *, flush: bool = True) -> None:
        if os.getpid() != me:  # a copy of this process that a notebook has forked
            os._exit(0)
        send(replies, message, flush=flush, most=MAX_REPLY)

    sys.meta_path.insert(0, Hide())
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main  # and not the program that this process began with
    namespace = vars(main)
    namespace["display"] = lambda *objects, **options: None
    builtins.input = lambda prompt="", /: ""  # there is nobody to ask
    sys.path.insert(0, "")  # the working folder, as in Jupyter
    kernel = Kernel(namespace)
    random.seed()
    np.random.seed()  # noqa: NPY002 - else forks of one process draw the same numbers
    say({"ready": True})
    with contextlib.suppress(EOFError):
        while True:
            message = receive(requests)
            for number, source in message.get("cells", ()):
                say({"error": kernel.run_cell(source, number)})
            if "ask" in message:
                for reply in answers(message, namespace, requests, say):
                    try:
                        say(reply, flush=False)
                    except Exception as error:  # it is too large or too deep
                        say({"outcome": raised(error)}, flush=False)
                replies.flush()


def main() -> None:
    # The learner's prints must not get between the messages.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    limit(*map(int, sys.argv[1:]))
    sys.argv[1:] = []
    serve(requests, replies)


if __name__ == "__main__":
    main()
