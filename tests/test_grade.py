"""`autograder grade` as its users meet it: every file and every answer ends in a line.

Whatever one function or one cell does, the points of all the others are kept.
"""

import contextlib
import copy
import inspect
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.cli import main
from autograder.course import ROOT
from autograder.notebooks import fill, grade_id_of, load, write
from solutions import masks

RELEASE = load(ROOT / "exercises" / "release" / "06_masks" / "06_masks.ipynb")
NAMES = ["causal_mask", "padding_mask", "combine_masks", "decoder_mask"]
RIGHT = {name: inspect.getsource(getattr(masks, name)) for name in NAMES}
POINTS = {"causal_mask": 2, "padding_mask": 2, "combine_masks": 1, "decoder_mask": 3}
ALL = sum(POINTS.values())


def define(name: str, body: str, before: str = "", head: str = "*args") -> str:
    """A cell with a function of this body; the lines before it stand above it."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return f"{before}\ndef {name}({head}):\n{lines}"


def causal(body: str, before: str = "", head: str = "q_len, k_len") -> dict[str, str]:
    return {"causal_mask": define("causal_mask", body, before, head)}


def in_fours(cases: dict) -> list:
    """Parameters: four cases at a time, each as the answer to another exercise."""
    items = list(cases.items())
    fours = [items[i : i + 4] for i in range(0, len(items), 4)]
    return [
        pytest.param(
            {name: case for name, (_, case) in zip(NAMES, four, strict=False)},
            id=", ".join(kind for kind, _ in four),
        )
        for four in fours
    ]


def code_cell(source: str) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "added",
        "metadata": {},
        "outputs": [],
        "source": source,
    }


class Graded:
    """What `autograder grade --json` printed of one notebook, and its exit status."""

    def __init__(self, submission: dict, exit_status: int) -> None:
        self.submission, self.exit_status = submission, exit_status
        self.status, self.points = submission["status"], submission["points"]
        self.message = submission["message"]
        self.functions = {e["name"]: e for e in submission["exercises"]}

    def verdict(self, name: str = "causal_mask") -> str:
        return self.functions[name]["verdict"]

    def told(self, name: str = "causal_mask") -> str:
        return self.functions[name]["message"]

    def others_are_right(self, name: str = "causal_mask") -> bool:
        return all(
            e["verdict"] == "right" and e["points"] == POINTS[e["name"]]
            for e in self.functions.values()
            if e["name"] != name
        )


@pytest.fixture
def grade_file(capsys):
    """Grade one file with the command line's own options."""

    def grade_file(path: Path, *options: str) -> Graded:
        exit_status = main(["grade", "--json", "--seconds", "2", *options, str(path)])
        printed = capsys.readouterr()
        assert printed.err == ""
        report = json.loads(printed.out)
        [submission] = report["submissions"]
        return Graded(submission, exit_status)

    return grade_file


@pytest.fixture
def grade(tmp_path, grade_file):
    """Hand in right answers but for these, with these cells in front, and grade them.

    `change` may do to the notebook what else its author has done to it.
    """

    def grade(answers=None, *options, cells=(), change=None) -> Graded:
        content = fill(RELEASE, RIGHT | (answers or {}))
        content["cells"] = [*map(code_cell, cells), *content["cells"]]
        if change:
            change(content)
        path = tmp_path / "mine.ipynb"
        write(content, path)
        return grade_file(path, *options)

    return grade


# Files


def test_right_answers_earn_everything(grade):
    graded = grade()
    assert (graded.status, graded.points, graded.exit_status) == ("graded", ALL, 0)
    assert graded.message == ""
    assert all(e["points"] == POINTS[e["name"]] for e in graded.functions.values())


def test_the_stubs_earn_nothing_and_count_as_graded(grade):
    graded = grade(change=lambda content: content.update(RELEASE))
    assert (graded.status, graded.points, graded.exit_status) == ("graded", 0, 0)
    assert {e["verdict"] for e in graded.functions.values()} == {"unsolved"}


WHOLE = json.dumps(fill(RELEASE, RIGHT), indent=1)
UNREADABLE = {
    "empty file": (b"", "an empty file: save the notebook in Jupyter"),
    "not JSON": (b"def causal_mask(): pass", "not JSON"),
    "truncated JSON": (WHOLE[: len(WHOLE) // 2].encode(), "cut off"),
    "a number too long": (b"1" * 5000, "not JSON"),
    "not UTF-8": (WHOLE.encode("utf-16"), "not text in UTF-8"),
    "bytes": (bytes(range(256)) * 9, "not text in UTF-8"),
    "a list": (b"[1, 2]", "JSON but no notebook"),
    "null": (b"null", "JSON but no notebook"),
    "cells are no list": (b'{"cells": 3}', "JSON but no notebook"),
    "cells are no cells": (b'{"cells": [3, {}]}', "JSON but no notebook"),
    "metadata is no dict": (b'{"cells": [], "metadata": []}', "JSON but no notebook"),
    "nested": (b"[" * 100_000, "nested too deeply"),
    "format 3": (b'{"nbformat": 3, "worksheets": [{"cells": []}]}', "old notebook"),
    "no cells": (b'{"cells": [], "nbformat": 4}', "no exercise of this course"),
    "another course": (
        json.dumps({"cells": [code_cell("def fib(n):\n    return n")]}).encode(),
        "no exercise of this course",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_notebook_of_the_course_is_unreadable(tmp_path, grade_file, kind):
    data, told = UNREADABLE[kind]
    path = tmp_path / "mine.ipynb"
    path.write_bytes(data)
    graded = grade_file(path)
    assert (graded.status, graded.exit_status) == ("unreadable", 2)
    assert told in graded.message
    assert (graded.points, graded.functions) == (0, {})


def test_a_file_that_is_not_there_is_unreadable(tmp_path, grade_file):
    absent = grade_file(tmp_path / "absent.ipynb")
    assert (absent.status, absent.exit_status) == ("unreadable", 2)
    assert "There is no file" in absent.message


@pytest.mark.parametrize(
    "rewrite",
    [
        pytest.param(lambda data: data.replace(b"\n", b"\r\n"), id="Windows line ends"),
        pytest.param(lambda data: data.replace(rb"\n", rb"\r\n"), id="also in cells"),
        pytest.param(lambda data: b"\xef\xbb\xbf" + data, id="byte order mark"),
    ],
)
def test_a_file_that_an_editor_has_rewritten_is_graded(tmp_path, grade_file, rewrite):
    path = tmp_path / "mine.ipynb"
    path.write_bytes(rewrite(WHOLE.encode()))
    assert path.read_bytes() != WHOLE.encode()
    assert grade_file(path).points == ALL


def test_a_notebook_is_known_by_its_functions_when_its_metadata_is_gone(grade):
    def strip(content):
        for cell in content["cells"]:
            cell["metadata"] = {}

    graded = grade(change=strip)
    assert (graded.submission["assignment"], graded.points) == ("06_masks", ALL)


def test_cells_may_stand_in_another_order_and_twice(grade):
    def shuffle(content):
        setup, rest = content["cells"][:2], content["cells"][2:]
        content["cells"] = setup + rest[::-1] + copy.deepcopy(rest)

    assert grade(change=shuffle).points == ALL


def test_the_last_of_two_functions_of_one_name_counts(grade):
    def append(content):
        content["cells"].append(code_cell("def causal_mask(q_len, k_len):\n    pass"))

    graded = grade(change=append)
    assert (graded.verdict(), graded.points) == ("wrong", ALL - 2)


def test_an_answer_that_became_text_is_missing_and_the_others_count(grade):
    def to_markdown(content):
        for cell in content["cells"]:
            if grade_id_of(cell) == "causal_mask":
                cell["cell_type"] = "markdown"

    graded = grade(change=to_markdown)
    assert (graded.verdict(), graded.status) == ("missing", "graded")
    assert graded.told() == "`causal_mask` is missing."
    assert graded.others_are_right()


# Functions


def test_a_renamed_function_is_missing(grade):
    graded = grade({"causal_mask": RIGHT["causal_mask"].replace("causal_", "my_")})
    assert (graded.verdict(), graded.exit_status) == ("missing", 0)
    assert graded.told() == "`causal_mask` is missing."
    assert "Keep the name" in graded.functions["causal_mask"]["hint"]
    assert graded.others_are_right()


def test_what_is_no_function_is_named(grade):
    graded = grade({"causal_mask": "causal_mask = np.tri(3, dtype=bool)"})
    assert graded.told() == "`causal_mask` is of type ndarray, not a function."
    assert graded.others_are_right()


TRI = "return np.tri({0}, {1}, {1} - {0}, dtype=bool)"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        pytest.param("a, b", TRI.format("a", "b"), id="renamed"),
        pytest.param("*a", TRI.format("a[0]", "a[1]"), id="starred"),
        pytest.param(
            "q_len, k_len, *, dtype=bool", TRI.format("q_len", "k_len"), id="keyword"
        ),
        pytest.param(
            "q_len, k_len=None", TRI.format("q_len", "k_len"), id="with a default"
        ),
    ],
)
def test_a_signature_that_takes_the_same_call_is_right(grade, head, body):
    assert grade(causal(body, head=head)).points == ALL


@pytest.mark.parametrize(
    "head", ["", "q_len", "q_len, k_len, dtype", "*, q_len, k_len"]
)
def test_a_signature_that_cannot_take_the_call_is_told(grade, head):
    graded = grade(causal("return None", head=head))
    assert graded.verdict() == "raised"
    assert graded.told().startswith("It must take (q_len, k_len); yours does not")
    assert graded.others_are_right()


WRONG = {
    "None": ("pass", "gives back None"),
    "set": ("return {1, 2}", "a set"),
    "list": ("return [[True]]", "a list"),
    "generator": ("yield True", "a generator"),
    "text": ("return 'True'", "a str"),
    "number": ("return 1.5", "a float"),
    "objects": ("return np.eye(3).astype(object)", "array of object"),
    "integers": ("return np.eye(3).astype(int)", "array of int64"),
    "function": ("return define", "a function"),
    "holds itself": ("x = []\nx.append(x)\nreturn x", "RecursionError"),
    "too deep": ("x = []\nfor _ in range(800):\n    x = [x]\nreturn x", "Recursion"),
    "no bool": ("return np.array('x')", "array of <U1"),
}


@pytest.mark.parametrize("cases", in_fours(WRONG))
def test_an_answer_that_is_no_mask_is_named(grade, cases):
    before = "def define(): pass"
    graded = grade({name: define(name, cases[name][0], before) for name in cases})
    assert graded.status == "graded"
    for name, (_, told) in cases.items():
        assert graded.verdict(name) in ("wrong", "raised")
        assert told in graded.told(name)


LIKE_AN_ARRAY = """
class Tensor:
    def __init__(self, array): self.array = array
    def __array__(self, *args, **kwargs): return self.array
    def __eq__(self, other): return np.array(True)
    def __getattr__(self, name): return getattr(self.array, name)
Tensor.__module__ = "{module}"
"""


@pytest.mark.parametrize("module", ["torch", "pandas", "__main__"])
def test_what_only_behaves_like_an_array_is_no_array(grade, module):
    body = TRI.format("q_len", "k_len").replace("return ", "return Tensor(") + ")"
    graded = grade(causal(body, before=LIKE_AN_ARRAY.format(module=module)))
    assert graded.verdict() == "wrong"
    assert f"{module}.Tensor" in graded.told()


LYING_ARRAY = """
class Liar(np.ndarray):
    def __eq__(self, other): return np.array(True)
    def __array_function__(self, *args, **kwargs): return True
    def __array_ufunc__(self, *args, **kwargs): return np.array(True)
    def __array__(self, *args, **kwargs): return np.tri(6, dtype=bool)
    shape = property(lambda self: Same())
class Same(tuple):
    def __eq__(self, other): return True
"""


def test_an_ndarray_subclass_is_taken_for_its_numbers(grade):
    right = grade(
        causal(
            f"{TRI.format('q_len', 'k_len')}.view(Plain)",
            before="class Plain(np.ndarray): pass",
        )
    )
    assert right.points == ALL
    wrong = grade(
        causal("return np.ones((q_len, k_len), bool).view(Liar)", before=LYING_ARRAY)
    )
    assert wrong.verdict() == "wrong"
    assert wrong.others_are_right()


def test_a_masked_array_is_taken_for_its_numbers(grade):
    body = "return np.ma.masked_array(np.ones((q_len, k_len), bool), mask=True)"
    graded = grade(causal(body))
    assert graded.verdict() == "wrong"
    assert "query 0" in graded.functions["causal_mask"]["where"]


def test_a_function_that_changes_its_input_is_told_so(grade):
    body = """def padding_mask(tokens, pad_id):
    attn_mask = (tokens != pad_id)[:, None, None, :]
    tokens[:] = 0
    return attn_mask"""
    graded = grade({"padding_mask": body})
    assert graded.verdict("padding_mask") == "wrong"
    assert "changes `tokens`, which belongs to its caller" in graded.told(
        "padding_mask"
    )
    assert graded.others_are_right("padding_mask")


@pytest.mark.parametrize(
    ("before", "condition"),
    [
        ("calls = []", "calls.append(1) or len(calls) > 8"),
        ("import random", "random.random() < 0.5"),
    ],
)
def test_an_answer_that_depends_on_more_than_its_arguments_is_told(
    grade, before, condition
):
    body = f"wrong = {condition}\nreturn np.tri(q_len, k_len, k_len - q_len) > wrong"
    graded = grade(causal(body, before=before))
    assert graded.told() == "The same call, made twice, gives two different answers."
    assert graded.others_are_right()


def test_a_counter_that_changes_no_answer_is_allowed(grade):
    body = f"global calls\ncalls += 1\n{TRI.format('q_len', 'k_len')}"
    assert grade(causal(body, before="calls = 0")).points == ALL


INVERTED = causal("return ~np.tri(q_len, k_len, k_len - q_len, dtype=bool)")


def test_nobody_loses_points_twice_for_one_mistake(grade):
    graded = grade(causal("return np.tri(q_len, k_len, k_len - q_len - 1, dtype=bool)"))
    assert (graded.verdict(), graded.points) == ("wrong", ALL - 2)
    assert "mend" in graded.told("decoder_mask")
    assert "`causal_mask`" in graded.told("decoder_mask")


def test_a_right_helper_may_be_called_with_anything(grade):
    graded = grade(causal("return causal_mask"))
    assert (graded.status, graded.others_are_right()) == ("graded", True)


def test_an_answer_that_is_right_only_with_its_own_wrong_helper_is_right(grade):
    decoder = """def decoder_mask(tokens, pad_id):
    n = tokens.shape[1]
    return ~causal_mask(n, n) & padding_mask(tokens, pad_id)"""
    graded = grade(INVERTED | {"decoder_mask": decoder})
    assert (graded.verdict(), graded.verdict("decoder_mask")) == ("wrong", "right")


# Answers that are not one's own

IMPORTS = {
    "from": "from solutions.masks import {0}",
    "as": "import solutions.masks as m\n{0} = m.{0}",
    "alias": "from solutions.masks import {0} as c\n{0} = c",
    "importlib": "from importlib import import_module as get\n"
    "{0} = get('solutions.masks').{0}",
    "star": "from solutions.masks import *",
}


@pytest.mark.parametrize("cases", in_fours(IMPORTS))
def test_a_function_that_is_imported_from_the_solutions_is_no_answer(grade, cases):
    graded = grade({name: cases[name].format(name) for name in cases})
    for name in NAMES:
        assert graded.verdict(name) == ("imported" if name in cases else "right")
    assert "imported from the solutions" in graded.told()


def test_an_import_of_the_solutions_accuses_only_of_what_it_imports(grade):
    renamed = RIGHT["padding_mask"].replace("padding_mask", "my_mask")
    imported = IMPORTS["from"].format("causal_mask")
    graded = grade({"causal_mask": imported, "padding_mask": renamed})
    assert (graded.verdict(), graded.verdict("padding_mask")) == ("imported", "missing")
    graded = grade({"causal_mask": "import solutions"})
    assert graded.verdict() == "missing"
    assert "ImportError: solutions cannot be imported" in graded.told()


HIDDEN = {
    "solutions": ("from solutions import masks", "ImportError: solutions"),
    "specs": ("from autograder.specs import masks", "ImportError: autograder.specs"),
    "specs by check": (
        "import os\nos.environ.clear()\ncheck(causal_mask)",
        "ImportError: autograder.live",
    ),
    "sys.modules": ("import sys\nsys.modules['solutions.masks']", "KeyError"),
    "the judge": ("import autograder.judge", "ImportError: autograder.judge"),
    "the coordinator": ("from autograder.runner import coordinator", "ImportError"),
}


@pytest.mark.parametrize("way", HIDDEN)
def test_the_learners_process_holds_no_answer(grade, way):
    body, told = HIDDEN[way]
    graded = grade(causal(body))
    assert graded.told().startswith(f"Your function stops with {told}")
    assert graded.others_are_right()


def test_the_learners_process_has_imported_neither_solutions_nor_specs(grade):
    body = """import sys
names = [n for n in sys.modules if n.split('.')[0] in ('autograder', 'solutions')]
raise RuntimeError(' '.join(sorted(names)))"""
    names = grade(causal(body)).told().partition("RuntimeError: ")[2].partition(" at ")
    assert set(names[0].split()) <= {
        "autograder",
        "autograder.adapters",
        "autograder.answers",
        "autograder.check",
        "autograder.names",
        "autograder.runner",
        "autograder.runner.namespaces",
        "autograder.runner.sandbox",
        "autograder.runner.start",
    }


def test_the_learners_process_does_not_hold_the_secret(grade, monkeypatch):
    monkeypatch.setenv("AUTOGRADER_SECRET", "swordfish")
    graded = grade(causal("import os\nreturn os.environ['AUTOGRADER_SECRET']"))
    assert "KeyError: 'AUTOGRADER_SECRET'" in graded.told()


def test_what_is_tried_follows_from_the_submission_and_the_secret(
    grade, monkeypatch, tmp_path
):
    name = "padding_mask"
    report = define(name, "raise ValueError(tokens.tolist())", head="tokens, pad_id")

    def tried(secret: str = "", cells: tuple[str, ...] = ()) -> str:
        monkeypatch.setenv("AUTOGRADER_SECRET", secret)
        told = grade({name: report}, cells=cells).told(name)
        return told.partition("ValueError: [[")[2].partition("]]")[0]

    one = tried("a")
    assert one
    assert tried("a") == one
    others = tried("b"), tried("a", cells=("1 + 1",)), tried()
    assert len({one, *others}) == 4
    secret = tmp_path / "secret"
    secret.write_text("a\n")
    assert grade({name: report}, "--secret-file", str(secret)).told(name).count(one)


# Cells


CELLS_THAT_STOP = {
    "syntax error": ("def {0}(q_len:\n    pass", "SyntaxError"),
    "indentation": ("def {0}(*args):\nreturn 3", "SyntaxError: expected an indented"),
    "exception": ("1 / 0\ndef {0}(*args): ...", "ZeroDivisionError: division by zero"),
    "sys.exit": ("import sys\nsys.exit()\n{0} = 1", "SystemExit"),
    "SystemExit": ("raise SystemExit\n{0} = 1", "SystemExit"),
    "no file": ("{0} = open('data.csv')", "FileNotFoundError"),
    "null byte": ("{0} = '\0'", "SyntaxError"),
    "half a character": ("{0} = '\ud800'", "UnicodeEncodeError"),
}


@pytest.mark.parametrize("cases", in_fours(CELLS_THAT_STOP))
def test_a_cell_that_stops_costs_only_the_function_in_it(grade, cases):
    graded = grade({name: cases[name][0].format(name) for name in cases})
    assert graded.status == "graded"
    for name, (_, told) in cases.items():
        assert graded.verdict(name) == "missing"
        assert f"stops with {told}" in graded.told(name)
        assert graded.told(name).count("Cell ") == 1
    one = "padding_mask"
    graded = grade({one: cases[one][0].format(one)})
    assert (graded.verdict(one), graded.others_are_right(one)) == ("missing", True)


def test_what_else_a_cell_does_costs_nothing(grade):
    cells = [
        "raise ValueError('no function is in this cell')",
        "%matplotlib inline\n%load_ext autoreload",
        "%%html\n<b>bold</b>",
        "%%bash\nexit 3",
        "!exit 3\nfiles = !ls\nnp?\nnp.tri??",
        "%cd /\n%run something.py",
        "get_ipython().run_line_magic('matplotlib', 'inline')",
        "display('text', metadata={})",
        "input()",
        "",
        "   x = 1",
        "import os\nos.close(0), os.close(1), os.close(2)\nos.chdir('/')",
        "import sys\nsys.stdout.close(), sys.stderr.close()",
        "import warnings\nwarnings.simplefilter('error')",
        "def check(function):\n    raise ValueError",
        "exit()",
    ]
    graded = grade(cells=cells)
    assert (graded.points, graded.status, graded.message) == (ALL, "graded", "")


def test_functions_beside_ipythons_magics_are_read(grade):
    source = RIGHT["causal_mask"]
    magic = f"%matplotlib inline\n{source}\n%time causal_mask(3, 3)\n!ls\ncausal_mask?"
    modulo = "x = (7\n     % 4)\n"  # is no magic
    assert grade({"causal_mask": f"{modulo}{magic}\n"}).points == ALL
    assert grade({"causal_mask": f"%%time\n{source}"}).points == ALL
    timed = {"causal_mask": f"%%time\n{source.replace('return', 'oh = 1 / 0;')}"}
    assert "division by zero at `oh = 1 / 0;" in grade(timed).told()


def test_a_package_that_is_not_there_is_named(grade):
    graded = grade(causal("import no_such_package"))
    assert "ModuleNotFoundError: No module named 'no_such_package'" in graded.told()


# What never ends, or ends everything

DEFIANT = """while True:
    try:
        while True:
            pass
    except BaseException:
        pass"""
STOPS = {
    "a loop": ("while True:\n    pass", "does not end within 1 seconds"),
    "a loop that catches exceptions": (DEFIANT, "does not end within 1 seconds"),
    "os._exit": (
        "import os\nos._exit(1)",
        "ends the whole Python process (exit status 1)",
    ),
    "abort": ("import os\nos.abort()", "ends the whole Python process (signal "),
    "closed channel": (
        "import os, time\nos.closerange(0, 99)\ntime.sleep(99)",
        "sends the grader something that is no answer",
    ),
    "junk in the channel": (
        "import os\nfor n in range(3, 9):\n"
        "    try: os.write(n, b'x' * 99)\n    except OSError: pass",
        "sends the grader something that is no answer",
    ),
    "a 4 GB array": (
        "import numpy as np\nx = np.ones(1 << 32, np.uint8)",
        "needs more than 2048 MB of memory",
    ),
}


@pytest.mark.parametrize("kind", STOPS)
def test_a_function_that_stops_the_process_costs_only_its_own_points(grade, kind):
    body, told = STOPS[kind]
    name = "decoder_mask"
    graded = grade({name: define(name, body)}, "--seconds", "1")
    assert (graded.verdict(name), graded.points) == ("stopped", ALL - 3)
    assert f"Your function {told}" in graded.told(name)
    assert (graded.status, graded.exit_status) == ("partly graded", 1)
    assert graded.others_are_right(name)


def test_a_function_is_not_blamed_for_a_helper_that_stops_the_process(grade):
    graded = grade(causal("import os\nos._exit(1)"))
    assert (graded.verdict(), graded.points) == ("stopped", ALL - 2)
    assert "with a right `causal_mask` in place of yours" in graded.told("decoder_mask")


@pytest.mark.parametrize("kind", STOPS)
def test_a_cell_that_stops_the_process_is_left_out(grade, kind):
    source, told = STOPS[kind]
    graded = grade({}, "--seconds", "1", cells=[source])
    assert (graded.status, graded.points) == ("partly graded", ALL)
    assert graded.message.startswith("Cell 1 (`")
    assert f") {told}" in graded.message
    assert graded.message.endswith("; it was left out.")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("a loop", "timed out"),
        ("os._exit", "crashed"),
        ("a 4 GB array", "out of memory"),
    ],
)
def test_a_notebook_of_which_nothing_is_left_says_why(grade, kind, status):
    cell = code_cell("\n\n".join([STOPS[kind][0], *RIGHT.values()]))
    content = {"cells": [cell]}
    graded = grade({}, "--seconds", "1", change=lambda c: c.update(content))
    assert (graded.status, graded.points, graded.exit_status) == (status, 0, 2)
    assert {e["verdict"] for e in graded.functions.values()} == {"missing"}
    assert "it was left out" in graded.told()


def test_functions_that_all_end_the_process_are_each_told(grade):
    graded = grade({name: define(name, "import os\nos._exit(1)") for name in NAMES})
    assert (graded.status, graded.exit_status) == ("crashed", 2)
    assert {e["verdict"] for e in graded.functions.values()} == {"stopped"}


def test_too_many_stops_end_it(grade):
    graded = grade(cells=["import os; os._exit(1)"] * 9)
    assert (graded.status, graded.points, graded.exit_status) == ("crashed", 0, 2)
    assert "This notebook ends the whole Python process" in graded.told()


def test_recursion_without_end_is_an_exception(grade):
    graded = grade(causal("return causal_mask(q_len, k_len)"))
    assert "stops with RecursionError" in graded.told()
    assert (graded.status, graded.others_are_right()) == ("graded", True)


def test_memory_that_a_cell_keeps_is_not_missing_in_the_others(grade):
    greedy = (
        "import numpy as np\nkept = []\nwhile True:\n    kept += [np.empty(1 << 27)]"
    )
    graded = grade(cells=[greedy])
    assert (graded.status, graded.points) == ("partly graded", ALL)
    assert "needs more than 2048 MB of memory" in graded.message


def test_an_answer_that_is_too_large_to_be_sent_costs_only_its_own_points(grade):
    answer = causal("return np.ones(100_000_000, dtype=bool)")
    graded = grade(answer, "--megabytes", "512")
    assert graded.verdict() == "wrong"
    assert "an array of shape (100000000,), larger than 4 MB" in graded.told()
    assert graded.others_are_right()


def test_what_a_function_prints_does_not_disturb_its_answer(grade):
    lines = [
        "import os, sys",
        "print('x' * 3_000_000)",  # for each of more than 16 calls: 50 MB in all
        "sys.stdout.write('x')",
        "os.write(1, b'x' * 99)",
        "os.write(2, b'x' * 99)",
        "os.system('echo x')",
        TRI.format("q_len", "k_len"),
    ]
    printing = grade(causal("\n".join(lines)), cells=["print('x' * 50_000_000)"])
    assert (printing.points, printing.message) == (ALL, "")


def test_all_calls_of_a_function_share_its_time(grade):
    name = "decoder_mask"
    slow = define(name, "import time\ntime.sleep(0.2)")
    graded = grade({name: slow}, "--seconds", "1")
    assert "Your function does not end within 1 seconds" in graded.told(name)


def test_endless_calls_of_a_right_helper_end(grade):
    wrong = causal("return None")
    decoder = define("decoder_mask", "while causal_mask(2, 2) is not None: pass")
    graded = grade(wrong | {"decoder_mask": decoder}, "--seconds", "1")
    assert graded.verdict("decoder_mask") == "stopped"
    assert "does not end within 1 seconds" in graded.told("decoder_mask")


def test_a_right_helper_gives_no_answer_that_is_too_large_for_the_grader(grade):
    decoder = define("decoder_mask", "return causal_mask(10**7, 10**7)")
    graded = grade(causal("return None") | {"decoder_mask": decoder})
    assert "causal_mask is called with too large an argument" in graded.told(
        "decoder_mask"
    )


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_what_a_notebook_started_ends_with_it(grade):
    seconds = f"300.{os.getpid()}"
    cell = f"import subprocess\nstarted = subprocess.Popen(['sleep', '{seconds}'])"
    told = grade(causal("raise RuntimeError(started)"), cells=[cell]).told()
    assert f"<Popen: returncode: None args: ['sleep', '{seconds}']>" in told
    deadline = time.monotonic() + 5
    while is_running(seconds) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(seconds)


def is_running(argument: str) -> bool:
    """Whether a process has this argument; one that has ended has none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if argument.encode() in path.read_bytes().split(b"\0"):
                return True
    return False


def test_a_process_that_a_thread_ends_is_told(grade):
    timer = "import os, threading\nthreading.Timer(0.2, os._exit, [3]).start()"
    graded = grade(cells=[timer, "import time\ntime.sleep(1)"])
    assert "exit status 3" in graded.message


def test_a_notebook_that_hears_the_grader_no_more_is_not_graded(grade):
    graded = grade(cells=["import os\nos.close(3)"])  # where its requests come in
    assert (graded.status, graded.exit_status) in {
        ("partly graded", 1),  # in a sandbox: the cell is left out
        ("crashed", 2),  # in a process: it cannot be told which cell did it
    }


# The command line


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "autograder.cli", "grade", *arguments],
        capture_output=True,
        env=os.environ | variables,
    )


@pytest.fixture
def one_of_each(tmp_path):
    """A notebook that is graded, one only in part, one not at all."""
    paths = [tmp_path / f"{name}.ipynb" for name in ("all", "part", "none")]
    write(fill(RELEASE, RIGHT), paths[0])
    write(fill(RELEASE, RIGHT | causal("import os\nos._exit(1)")), paths[1])
    paths[2].write_text("no notebook")
    return list(map(str, paths))


def test_the_exit_status_says_whether_all_some_or_none_were_graded(one_of_each, capsys):
    every, part, none = one_of_each
    assert main(["grade", every]) == 0
    assert main(["grade", every, none]) == 1
    assert main(["grade", part, none]) == 1
    capsys.readouterr()
    assert main(["grade", none, none]) == 2
    assert "secret" not in capsys.readouterr().out


def test_the_table_says_everything_in_words(one_of_each):
    done = run(*one_of_each)
    table = " ".join(done.stdout.decode().split())
    assert (done.returncode, done.stderr) == (1, b"")
    assert "graded, 8 of 8 points" in table
    assert "partly graded, 6 of 8 points" in table
    assert "unreadable, 0 of 0 points" in table
    assert "2/2 padding_mask right Right." in table
    assert "Your function ends the whole Python process (exit status 1)." in table
    assert "It is not JSON" in table


def test_json_has_a_fixed_form(tmp_path):
    path = tmp_path / "submitted" / "alice" / "06_masks" / "06_masks.ipynb"
    write(fill(RELEASE, RIGHT | INVERTED), path)
    done = run("--json", str(path))
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, b"")
    assert list(report) == ["schema", "sandbox", "submissions"]
    assert report["schema"] == 1
    assert report["sandbox"].startswith(("a sandbox: ", "a process of its own"))
    [submission] = report["submissions"]
    assert submission.pop("ran_in") == report["sandbox"]
    exercises = submission.pop("exercises")
    assert submission == {
        "path": str(path),
        "student": "alice",
        "assignment": "06_masks",
        "status": "graded",
        "message": "",
        "repairs": [],
        "points": 6,
        "max_points": 8,
    }
    assert [e["name"] for e in exercises] == NAMES
    for exercise in exercises:
        assert list(exercise) == [
            "name", "points", "max_points", "verdict", "mistake", "way", "probe",
            "where", "message", "hint", "html",
        ]  # fmt: skip
    assert exercises[0]["points"] == 0
    assert exercises[0]["verdict"] == "wrong"
    assert exercises[0]["way"] == "name"
    assert exercises[0]["mistake"].startswith("The mask is inverted")
    assert exercises[0]["probe"].startswith("causal_mask(")
    assert exercises[0]["where"] == "query 0, key 0"


def test_any_character_can_be_printed_anywhere(tmp_path):
    path = tmp_path / "mine.ipynb"
    write(fill(RELEASE, causal("raise ValueError('\\ud800 \\u03b1')")), path)
    done = run(str(path), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u03b1" in done.stdout


@pytest.mark.parametrize(
    "option", [["--seconds", "0"], ["--seconds", "nan"], ["--megabytes", "1"]]
)
def test_a_limit_that_nothing_could_keep_is_refused(option, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["grade", *option, "mine.ipynb"])
    assert stop.value.code == 2
    assert f"argument {option[0]}: {option[1]} is not in" in capsys.readouterr().err
