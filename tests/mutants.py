"""Hand in every small change of every solution as an answer: all must lose points.

python tests/mutants.py     writes the book's table: how many, how many caught, how told
"""

import ast
import contextlib
import copy
import csv
import inspect
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from autograder import specs
from autograder.answers import Outcome, ask
from autograder.course import ROOT, chapter_of
from autograder.exercise import Exercise
from autograder.judge import Verdict, is_right, judge, make_cases

TABLE = ROOT / "book" / "mutants.csv"
MOST_SECONDS = 0.2  # for one call
SEED = 1  # of the table

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {
    "sin": "cos", "cos": "sin", "sqrt": "exp", "exp": "sqrt", "zeros": "ones",
    "ones": "zeros", "tri": "ones", "max": "min", "min": "max", "sum": "max",
}  # fmt: skip


def changes(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    """Every node that could stand in one node's place."""
    if isinstance(node, ast.Name) and node.id in names:
        for name in names:
            yield ast.Name(name, node.ctx)
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value
    if isinstance(node, ast.Call) and node.args:
        first = node.args[0]
        yield first.value if isinstance(first, ast.Starred) else first
    if isinstance(node, ast.BinOp | ast.Call):
        yield ast.UnaryOp(ast.USub(), node)
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        yield with_field(node, "op", OPERATORS[type(node.op)]())
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield with_field(node, "ops", [OPERATORS[type(node.ops[0])]()])
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield with_field(node, "attr", NAMES[node.attr])
    if isinstance(node, ast.Call):
        for i in range(len(node.args) - 1):
            yield with_field(node, "args", swapped(node.args, i))
        for i in range(len(node.keywords)):
            rest = node.keywords[:i] + node.keywords[i + 1 :]
            yield with_field(node, "keywords", rest)
    if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        for i in range(len(node.elts) - 1):
            yield with_field(node, "elts", swapped(node.elts, i))
    if isinstance(node, ast.Slice):
        for part in ("lower", "upper", "step"):
            if getattr(node, part) is not None:
                yield with_field(node, part, None)


def with_field(node: ast.AST, field: str, value: object) -> ast.AST:
    changed = copy.copy(node)
    setattr(changed, field, value)
    return changed


def swapped(items: list, i: int) -> list:
    return [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def mutants(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """(the line that is new, the whole function), with one change each.

    Guards that raise are left out where no probe asks for them.
    """
    guarded = any(probe.refused for probe in exercise.draw())
    tree = ast.parse(inspect.getsource(exercise.solution))
    function = tree.body[0]
    function.body = [
        statement
        for statement in function.body[1:]
        if guarded
        or not (
            isinstance(statement, ast.If) and isinstance(statement.body[0], ast.Raise)
        )
    ]
    names = [argument.arg for argument in function.args.args]
    function.returns, function.args = None, without_annotations(function.args)
    original = ast.unparse(tree).splitlines()

    def mutant() -> tuple[str, str]:
        source = ast.unparse(ast.fix_missing_locations(tree))
        new = [line for line in source.splitlines() if line not in original]
        return (new[0].strip() if new else "a line is gone"), source

    for statement in function.body:
        for node in ast.walk(statement):
            for field, value in ast.iter_fields(node):
                slots = value if isinstance(value, list) else [value]
                for i, old in enumerate(slots):
                    if not isinstance(old, ast.AST):
                        continue
                    for new in changes(old, names):
                        if ast.unparse(old) == ast.unparse(new):
                            continue
                        put(node, field, i, new)
                        yield mutant()
                        put(node, field, i, old)
    for i, statement in enumerate(function.body):
        if not isinstance(statement, ast.Return):
            del function.body[i]
            yield mutant()
            function.body.insert(i, statement)


def put(node: ast.AST, field: str, i: int, value: ast.AST) -> None:
    if isinstance(getattr(node, field), list):
        getattr(node, field)[i] = value
    else:
        setattr(node, field, value)


def without_annotations(arguments: ast.arguments) -> ast.arguments:
    arguments = copy.deepcopy(arguments)
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return arguments


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Stop what takes more processor time than that: a changed loop may have no end."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    # again and again: what is raised in a hook of the garbage collector is lost
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def functions(exercise: Exercise, source: str) -> dict[str, Any]:
    """A mutant; its own module's other functions stay as they are."""
    namespace = dict(vars(inspect.getmodule(exercise.solution)))
    exec(source, namespace)
    return namespace


def is_right_on(exercise: Exercise, source: str, seed: int) -> bool:
    """Whether a mutant answers every probe as the solution does; nothing is told."""
    function = functions(exercise, source)[exercise.name]
    for probe in exercise.draw(seed):
        with within(MOST_SECONDS), np.errstate(all="ignore"):
            outcome = ask(function, probe.args, probe.kwargs, exercise.adapter)
        if not all(map(is_right, make_cases(exercise, [probe], [outcome]))):
            return False
    return True


def hand_in(exercise: Exercise, source: str, seed: int) -> Verdict:
    """Judge a mutant."""
    namespace = functions(exercise, source)
    endless: list[Outcome] = []

    def ask_it(asked, probes, helpers):
        function = namespace[asked.name]
        outcomes = []
        for p in probes:
            if not endless:
                with within(MOST_SECONDS):
                    outcomes.append(ask(function, p.args, p.kwargs, asked.adapter))
                if getattr(outcomes[-1], "type_name", "") == "TimeoutError":
                    endless.append(outcomes[-1])
            else:
                outcomes += endless
        return outcomes

    return judge(exercise, exercise.draw(seed), ask_it)


def different(exercise: Exercise) -> list[tuple[str, str]]:
    """The mutants that are not known to be equivalent."""
    lines = exercise.equivalents
    return [mutant for mutant in mutants(exercise) if mutant[0] not in lines]


def survivors(exercise: Exercise) -> tuple[list[str], Counter]:
    """Changed lines that cost nothing, and how the others are told."""
    alive, told = [], Counter()
    for line, source in different(exercise):
        with np.errstate(all="ignore"):
            verdict = hand_in(exercise, source, SEED)
        if verdict.points:
            alive.append(line)
        told[verdict.way or verdict.verdict] += 1
    return alive, told


def row(exercise: Exercise) -> dict[str, object]:
    """What the book's table says of an exercise."""
    alive, told = survivors(exercise)
    return {
        "exercise": exercise.name,
        "mutants": told.total(),
        "caught": told.total() - len(alive),
        "told by": ", ".join(f"{way} {n}" for way, n in told.most_common()),
        "equivalent": len(exercise.equivalents),
    }


def main() -> int:
    rows = [
        row(exercise)
        for stem in sorted(specs.stems(), key=chapter_of)
        for exercise in specs.exercises_of(stem)
    ]
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(TABLE.read_text())
    for name in [row["exercise"] for row in rows if row["mutants"] != row["caught"]]:
        exercise = specs.find(str(name))
        assert exercise is not None
        print(f"{name} survives as", *survivors(exercise)[0], sep="\n    ")
    return int(any(row["mutants"] != row["caught"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
