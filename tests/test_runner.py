"""How a notebook's code is run: in a sandbox or with limits alone, and to its end."""

import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from sandboxes import LEVELS, needs_sandbox

from autograder.course import ROOT
from autograder.notebooks import Notebook, fill, load, write
from autograder.runner import coordinator
from autograder.runner import start as starting
from autograder.runner.coordinator import Submission, grade, modules_of
from autograder.runner.namespaces import Filter
from autograder.runner.process import Process, help_with
from autograder.runner.start import Limits, Refused
from solutions import masks

RELEASE = load(ROOT / "exercises" / "release" / "06_masks" / "06_masks.ipynb")
NAMES = ["causal_mask", "padding_mask", "combine_masks", "decoder_mask"]
RIGHT = {name: inspect.getsource(getattr(masks, name)) for name in NAMES}
ALL = 8


@pytest.fixture
def graded(tmp_path):
    """Grade right answers but for these, with these cells in front."""

    def graded(
        answers: dict[str, str] | None = None, *cells: str, **limits: object
    ) -> Submission:
        content = fill(RELEASE, RIGHT | (answers or {}))
        content["cells"] = [
            *({"cell_type": "code", "metadata": {}, "source": cell} for cell in cells),
            *content["cells"],
        ]
        path = tmp_path / "mine.ipynb"
        write(content, path)
        return grade(path, limits=Limits(**{"seconds": 1.0} | limits))

    return graded


def body(text: str) -> dict[str, str]:
    """An answer to decoder_mask with this body."""
    lines = "\n    ".join(text.splitlines())
    return {"decoder_mask": f"def decoder_mask(tokens, pad_id):\n    {lines}"}


def told(submission: Submission, name: str = "decoder_mask") -> str:
    [verdict] = [v for v in submission.verdicts if v.name == name]
    return verdict.message


@pytest.mark.parametrize("level", LEVELS)
def test_right_answers_earn_everything_and_the_level_is_said(graded, level):
    submission = graded(sandbox=level)
    assert (submission.status, submission.points) == ("graded", ALL)
    name = "a sandbox: " if level == "required" else "a process of its own"
    assert submission.ran_in.startswith(name)
    assert ("as was asked for" in submission.ran_in) == (level == "never")


ENDS = {
    "a loop": ("while True: pass", "does not end within 1 seconds"),
    "os._exit": ("import os\nos._exit(3)", "(exit status 3)"),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", "(signal 11)"),
    "memory": ("return bytearray(1 << 32)", "needs more than 2048 MB"),
    "nothing is read": (
        "import threading\nthreading.Event().wait()",
        "does not end within 1 seconds",
    ),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("way", ENDS)
def test_a_function_that_ends_the_process_costs_only_its_own_points(graded, way, level):
    source, fact = ENDS[way]
    submission = graded(body(source), sandbox=level)
    assert (submission.status, submission.points) == ("partly graded", ALL - 3)
    assert fact in told(submission)


@pytest.mark.parametrize("level", LEVELS)
def test_a_notebook_has_a_time_for_everything(graded, level):
    started = time.monotonic()
    loops = ["while True: pass"] * 5
    submission = graded({}, *loops, notebook_seconds=2.5, sandbox=level)
    assert time.monotonic() - started < 10
    assert (submission.status, submission.points) == ("timed out", 0)
    assert "does not end: the notebook has 2.5 seconds" in told(submission)


FLOOD = """import os, struct
frame = struct.pack("<QQ", 4, 0) + b"null"
descriptors = []
for number in range(3, 20):
    try:
        os.fstat(number)
        descriptors.append(number)
    except OSError:
        pass
while True:
    for number in descriptors:
        try:
            os.write(number, frame * 1000)
        except OSError:
            pass
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_flood_of_messages_is_not_read_ahead(graded, level):
    submission = graded(body(FLOOD), sandbox=level)
    assert submission.points == ALL - 3
    assert "sends the grader something that is no answer" in told(submission)


# In the guise of the grader's partner, read nothing any more: a request must not hold
# the grader up for longer than the notebook may take.
DEAF = """import os, time
from autograder.answers import send
for number in range(3, 20):
    try:
        with os.fdopen(number, "wb", closefd=False) as stream:
            for _ in range(50):
                send(stream, {"error": None})
    except OSError:
        pass
time.sleep(99)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_who_does_not_listen_holds_nobody_up(graded, level):
    started = time.monotonic()
    submission = graded({}, DEAF, notebook_seconds=3, sandbox=level)
    assert time.monotonic() - started < 10
    assert submission.points == 0
    assert submission.status in ("timed out", "crashed")


@needs_sandbox
def test_what_a_notebook_sees_of_the_machine_is_python_and_an_empty_folder(graded):
    look = """import os
def tree(path, depth):
    for entry in os.scandir(path):
        seen.append(entry.path)
        if depth and entry.is_dir(follow_symlinks=False):
            tree(entry.path, depth - 1)
seen = []
tree("/", 1)
home = os.listdir("."), os.getcwd(), os.getpid(), os.getuid()
raise RuntimeError((home, [p for p in seen if not p.startswith("/usr")]))"""
    text = told(graded(body(look)))
    assert "(([], '/tmp/notebook', 1, 1000), [" in text
    for hidden in ("/proc", "/sys", "/home", "/var", "/etc/passwd"):
        assert hidden not in text


@needs_sandbox
@pytest.mark.parametrize(
    "path", [ROOT / "solutions" / "masks.py", ROOT / "tests", ROOT / "autograder"]
)
def test_the_course_cannot_be_seen(graded, path):
    text = told(graded(body(f"import os\nos.stat({str(path)!r})")))
    assert "FileNotFoundError" in text


@needs_sandbox
def test_lazy_imports_work_and_nothing_of_python_can_be_changed(graded):
    source = """import decimal, json, os, numpy
numpy.testing, numpy.polynomial, numpy.fft
for file in (json.__file__, numpy.__file__, os.devnull + "2", "/x", "/usr/x"):
    try:
        open(file, "a")
    except OSError as error:
        assert error.strerror in ("Read-only file system", "Permission denied")
    else:
        raise AssertionError(file)
open("mine", "w").write("mine")
raise RuntimeError(os.listdir())"""
    assert "RuntimeError: ['mine'] at" in told(graded(body(source)))


@needs_sandbox
def test_a_python_that_lies_in_tmp_is_seen_there(graded, monkeypatch):
    scratch = tempfile.mkdtemp(dir="/tmp")
    try:
        os.chmod(scratch, 0o755)  # the sandbox's user is not this one
        Path(scratch, "lazy_one.py").write_text("here = 1")
        monkeypatch.setenv("PYTHONPATH", scratch)
        starting.zygote.cache_clear()
        look = f"""import os
import lazy_one
try:
    open({scratch!r} + "/more", "w")
except OSError as error:
    raise RuntimeError(lazy_one.here, os.listdir(), error.strerror)"""
        assert "(1, [], 'Read-only file system')" in told(graded(body(look)))
    finally:
        starting.zygote.cache_clear()
        shutil.rmtree(scratch)


@needs_sandbox
@pytest.mark.skipif(not Filter().library, reason="libseccomp is not installed here")
def test_calls_of_the_kernel_that_nobody_needs_are_refused_and_the_others_are_not(
    graded,
):
    source = """import ctypes, subprocess, threading
libc = ctypes.CDLL(None, use_errno=True)
io_uring_setup = libc.syscall(425, 1, None), ctypes.get_errno()
started = threading.Thread(target=print)
started.start()
started.join()
raise RuntimeError(libc.prctl(21), *io_uring_setup, subprocess.run(["true"]).returncode)
"""  # 21: PR_GET_SECCOMP, and 2 says that there is a filter
    assert "RuntimeError: (2, -1, 1, 0) at" in told(graded(body(source)))


@needs_sandbox
def test_a_required_sandbox_that_is_refused_stops_everything(graded, monkeypatch):
    def refuse(*arguments):
        raise Refused("no user namespaces")

    monkeypatch.setattr(starting, "Sandboxed", refuse)
    with pytest.raises(Refused, match="no user namespaces"):
        graded(sandbox="required")
    submission = graded()
    assert submission.points == ALL
    assert submission.ran_in.endswith("but no sandbox (no user namespaces)")


@needs_sandbox
def test_a_zygote_that_has_died_is_replaced(graded):
    assert graded().points == ALL
    zygote = starting.zygote(())
    zygote.process.kill()
    zygote.process.wait()
    submission = graded(sandbox="required")
    assert (submission.status, submission.points) == ("graded", ALL)


@needs_sandbox
def test_the_zygote_has_never_imported_an_answer(graded):
    source = """import sys, gc
names = {name.split(".")[0] for name in sys.modules}
assert "numpy" in names and "solutions" not in names
assert not any(name.startswith("autograder.specs") for name in sys.modules)
found = [o for o in gc.get_objects() if callable(o)]
names = {getattr(o, "__module__", None) for o in found}
raise RuntimeError(sorted(str(n) for n in names if str(n).startswith("solution")))"""
    assert "RuntimeError: [] at" in told(graded(body(source)))


def is_running(argument: str) -> bool:
    """Whether a process has this argument; one that has ended has none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:  # it has just ended
            continue
    return False


@needs_sandbox
def test_if_the_grader_is_killed_nothing_goes_on(tmp_path):
    seconds = f"300.{os.getpid()}"
    cell = f"import subprocess\nsubprocess.run(['sleep', '{seconds}'])"
    content = fill(RELEASE, {})
    content["cells"] = [{"cell_type": "code", "metadata": {}, "source": cell}]
    content["cells"] += RELEASE["cells"]
    path = tmp_path / "mine.ipynb"
    write(content, path)
    grader = subprocess.Popen(
        [sys.executable, "-m", "autograder.cli", "grade", str(path)],
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: is_running(seconds))
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    wait_until(lambda: not is_running(seconds))


def wait_until(condition) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


AS_ORDINARY_USER = """
import os, sys
from autograder.runner import namespaces as n
from pathlib import Path

# Another user could not read a Python that lies in root's home: show it elsewhere.
n.unshare(n.CLONE_NEWNS)
n.change_root([Path(p) for p in sys.argv[2:]] + [Path("/proc")], [])
n.mount("proc", "/proc", "proc")
os.setgroups([]); os.setresgid(4321, 4321, 4321); os.setresuid(4321, 4321, 4321)
os.execv(sys.executable, [sys.executable, "-m", "autograder.cli", "grade",
                          "--json", sys.argv[1]])
"""


@needs_sandbox
@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run as ordinary user")
def test_an_ordinary_user_has_the_same_sandbox(tmp_path):
    path = tmp_path / "mine.ipynb"
    write(
        fill(RELEASE, RIGHT | body("import os\nraise RuntimeError(os.getuid())")), path
    )
    tmp_path.chmod(0o755)
    visible = [ROOT, Path(sys.prefix), Path(sys.base_prefix), tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", AS_ORDINARY_USER, str(path), *map(str, visible)],
        capture_output=True,
        text=True,
    )
    assert '"ran_in": "a sandbox: ' in done.stdout, done.stderr
    assert '"points": 5' in done.stdout
    assert "RuntimeError: 1000 at" in done.stdout


def test_the_environment_of_the_grader_is_not_the_notebooks(graded, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "swordfish")
    source = "import os\nraise RuntimeError(sorted(os.environ))"
    for level in LEVELS:
        text = told(graded(body(source), sandbox=level))
        assert "RuntimeError: [" in text
        assert "PGPASSWORD" not in text


def test_the_folder_of_a_process_is_removed(graded, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = "import os\nopen('x', 'w')\nraise RuntimeError(os.getcwd())"
    text = told(graded(body(source), sandbox="never"))
    assert str(tmp_path / "notebook-") in text
    assert not list(tmp_path.glob("notebook-*"))
    assert shutil.which("sh")  # what it saw of the path


# What is asked of the grader itself


def test_what_a_notebook_imports_is_found_without_looking_twice():
    cells = [(1, "\n" * 200_000 + "x"), (2, " \t" * 200_000 + "x"), (3, "?\n\n" * 9999)]
    before = time.process_time()
    assert modules_of(Notebook(cells, "masks"))
    assert not modules_of(Notebook(cells[:2], "masks"))
    assert modules_of(Notebook([(1, "x = 1\n \t%time x")], "masks"))
    assert time.process_time() - before < 2


def test_the_time_of_a_notebook_begins_when_the_grader_has_read_it(graded, monkeypatch):
    def slow(notebook):
        time.sleep(1.2)
        return ()

    monkeypatch.setattr(coordinator, "modules_of", slow)
    assert graded(notebook_seconds=1.1, sandbox="never").points == ALL


LARGE = np.ones(700, bool)
TOO_MUCH = {
    "two lengths": ("causal_mask", (9000, 9000)),
    "a length that is no integer": ("causal_mask", (1, 1e8)),
    "one that is an array": ("causal_mask", (1, np.array(1e8))),
    "one that is infinite": ("causal_mask", (1, float("inf"))),
    "one besides nothing": ("causal_mask", (0, 10**9)),
    "a broadcast": (
        "combine_masks",
        (LARGE[:, None, None], LARGE[:, None], LARGE),
    ),
    "a square": ("decoder_mask", (np.ones((1, 20_000), int), 0)),
    "other arguments": ("causal_mask", (1, 2, 3)),
    "text": ("causal_mask", ("a", "b")),
    "no function": ("no_mask", ()),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_a_right_helper_is_not_made_to_work(kind):
    name, args = TOO_MUCH[kind]
    helpers = {name: getattr(masks, name) for name in NAMES}
    before = time.process_time()
    assert list(help_with(helpers, {"call": name, "args": args, "kwargs": {}})) == [
        "error"
    ]
    assert time.process_time() - before < 0.5


@pytest.mark.parametrize(
    "value", [1j, np.ones(1 << 20), [np.ones(1 << 18)] * 9, "x" * (1 << 23), 2**70]
)
def test_what_a_right_helper_cannot_send_is_an_error(value):
    call = {"call": "helper", "args": (), "kwargs": {}}
    assert "error" in help_with({"helper": lambda: value}, call)


@pytest.mark.parametrize("args", [(3, 5), (np.int64(3), np.array(5)), (3.0, 5)])
def test_a_right_helper_answers(args):
    helpers = {"causal_mask": masks.causal_mask}
    call = {"call": "causal_mask", "args": args, "kwargs": {}}
    assert np.array_equal(help_with(helpers, call)["value"], masks.causal_mask(3, 5))


def test_what_the_grader_fails_on_costs_only_the_points_of_that_function(
    graded, monkeypatch
):
    judge = coordinator.judge

    def fails(exercise, *arguments):
        if exercise.name == "decoder_mask":
            raise RuntimeError("maximum supported dimension")
        return judge(exercise, *arguments)

    monkeypatch.setattr(coordinator, "judge", fails)
    submission = graded()
    assert (submission.status, submission.points) == ("partly graded", ALL - 3)
    assert "grader itself failed" in told(submission)
    assert "RuntimeError('maximum supported dimension')" in told(submission)
    assert "report this" in told(submission)


# Notebooks that run in Jupyter


JUPYTER = {
    "await": (
        "import asyncio\nasync def f(): return await asyncio.sleep(0, 3)",
        "three = await f()\nassert three == 3",
        "async with asyncio.Lock():\n    assert [x async for x in "
        "(await f() for _ in range(1))] == [3]",
    ),
    "a future statement": (
        "from __future__ import annotations",
        "def f(x: Unknown) -> Unknown: return x",
    ),
    "IPython's own get_ipython": (
        "from IPython import get_ipython\n"
        "get_ipython().run_line_magic('matplotlib', 'inline')\n"
        "assert 'IPKernelApp' not in get_ipython().config",
    ),
    "one that comes before IPython": (
        "assert 'IPKernelApp' not in get_ipython().config",
        "import matplotlib.pyplot as plt\nimport IPython\n%matplotlib inline\n"
        "plt.ion(); plt.plot([1]); plt.show()",
    ),
    "a module that it writes": (
        "%%writefile own.py\nx = 1",
        "%%writefile -a own.py\ny = 2",
        "import own\nassert (own.x, own.y) == (1, 2)",
    ),
    "a name and a question": (
        "import getpass\nassert getpass.getuser()",
        "assert input('How many? ') == ''",
    ),
    "what is timed": (
        "%timeit -n1 -r 3 x = 1",
        "%%timeit -n 10 -o z = 3\ny = z + x",
        "assert (x, y) == (1, 4)",
    ),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", JUPYTER)
def test_what_runs_in_jupyter_runs_here(kind, level):
    cells = list(enumerate(JUPYTER[kind], start=1))
    modules = modules_of(Notebook(cells, "masks"))
    with Process(Limits(sandbox=level), modules) as process:
        assert list(process.run(cells)) == [(number, None) for number, _ in cells]


DECODER = """
    n = tokens.shape[1]
    return combine_masks(causal_mask(n, n), padding_mask(tokens, pad_id))
"""
CALLED = {
    "a partial": "import functools\ndef mine(tokens, pad_id, other):"
    f"{DECODER}decoder_mask = functools.partial(mine, other=None)",
    "an object": "class Mine:\n  def __call__(self, tokens, pad_id):"
    f"{DECODER}decoder_mask = Mine()",
}


@pytest.mark.parametrize("kind", CALLED)
def test_who_is_called_as_a_function_is_given_right_helpers(graded, kind):
    nothing = "def causal_mask(q_len, k_len): return None"
    submission = graded({"causal_mask": nothing, "decoder_mask": CALLED[kind]})
    assert submission.points == ALL - 2
    assert "with a right `causal_mask` in place of yours" in told(submission)
