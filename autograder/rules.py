"""Rules on how: what an answer may not use, looked for in its syntax tree.

Only what the exercise's function reaches counts: its definition and, from there, all
functions, classes and values of the notebook that are named, and what is stored in
them. Names are followed as Python binds them: through imports, aliases, default
arguments, attributes, and to the last definition that is sure to have run. What is
named in reached code counts as used, whether it is called or not.

Where code is made of text, or a name is found by a computed text, a tree shows nothing:
that is a breach too. So is, in reached code, every library that is not in KNOWN.

This is for people who reach for a library by habit: they are told, and write it
themselves. Somebody determined finds a way, in cells that the function does not reach
for example; but the solutions are public anyway.

What a tree cannot tell:
- What an object is that comes from a call, a container or a parameter. A rule on
  `.softmax` counts on it, even if the object is the learner's own; a rule on a library
  only where that library, as an object, is handed on in reached code.
- Two functions of one library with the same name: `torch.softmax` breaks a rule on
  `torch.nn.functional.softmax`. What does the same under another name, or a class that
  contains it, a rule has to name too.
- What is put into an object under a second name of that object.
- Whether a branch ever runs: all of them count.
"""

import ast
import builtins
from collections.abc import Collection
from dataclasses import dataclass

from autograder.answers import plain_text
from autograder.exercise import Exercise, Rule
from autograder.judge import Verdict, listed
from autograder.names import (
    GIVEN,
    LATER,
    MAGIC,
    Binding,
    Code,
    Function,
    Unreadable,
    Use,
    attribute_of,
    read,
)

LOOPS = ("for", "while")
# The libraries, and the parts of libraries, that an answer may use.
KNOWN = (
    "numpy", "torch", "scipy", "einops", "matplotlib", "abc", "array", "bisect",
    "builtins", "cmath", "collections", "contextlib", "copy", "dataclasses", "decimal",
    "enum", "fractions", "functools", "heapq", "itertools", "math", "numbers",
    "operator", "pprint", "random", "re", "statistics", "string", "struct", "textwrap",
    "time", "typing", "types.SimpleNamespace", "warnings", "sys.float_info",
    "sys.maxsize", "__future__",
)  # fmt: skip
# What in them runs code that is not in the notebook.
CLOSED = (
    "numpy.ctypeslib", "numpy.f2py", "numpy.load", "numpy.testing", "torch.hub",
    "torch.jit", "torch.load", "torch.ops", "torch.package", "torch.serialization",
    "torch.utils.cpp_extension", "builtins.__import__", "builtins.__loader__",
    "builtins.__spec__", "builtins.compile", "builtins.eval", "builtins.exec",
    "builtins.globals", "builtins.locals", "builtins.vars", "typing.ForwardRef",
    "typing.evaluate_forward_ref", "typing.get_type_hints",
)  # fmt: skip
# What finds something by its name: it has to be called right here, with a plain text.
GETTERS = {"operator.attrgetter", "operator.methodcaller"}
BY_NAME = {"builtins.getattr", *GETTERS}
# Modules that other modules import: whoever has one of these has everything.
DOORS = {"_os", "_sys", "builtins", "ctypes", "gc", "importlib", "inspect", "os",
         "pickle", "subprocess", "sys", "types"}  # fmt: skip
# Attributes that lead to what is behind a function, a frame or an object.
INSIDES = {"__builtins__", "__closure__", "__code__", "__dict__", "__getattr__",
           "__getattribute__", "__globals__", "__loader__", "__reduce__",
           "__reduce_ex__", "__self__", "__spec__", "__subclasses__", "f_builtins",
           "f_globals", "f_locals", "gi_frame"}  # fmt: skip
# What, anywhere in a notebook, may give another meaning to any of its names.
REBINDING = {"builtins.exec", "builtins.eval", "builtins.globals", "sys.modules",
             "sys._getframe", "sys.setprofile", "sys.settrace"}  # fmt: skip
REBINDING_MODULES = {"__main__", "builtins", "ctypes"}
IMPORTERS = {"builtins.__import__", "importlib.import_module"}
REBINDING_ATTRIBUTES = MAGIC | {
    "__builtins__", "__globals__", "_getframe", "_run_source", "f_globals", "f_locals",
    "get_objects", "get_referents", "get_referrers",
}  # fmt: skip


def told(exercise: Exercise) -> list[str]:
    """The rules of an exercise as a learner reads them."""
    return [f"Write it without {listed(r.names)}: {r.why}." for r in exercise.rules]


def breach(
    exercise: Exercise, cells: Collection[str], unfinished: Collection[int] = ()
) -> Verdict | None:
    """The verdict on an answer that breaks a rule of its exercise.

    `cells` are the sources of the code cells that ran, in order; `unfinished` the
    places in this list of those that stopped with an exception.
    """
    if not exercise.rules:
        return None
    fact = "The source of your function is not to be found, so it cannot be checked."
    line = None
    if any(cells):
        try:
            code = read(tuple(cells), frozenset(unfinished))
            used = Search(code, exercise.rules).look_into(exercise.name)
        except (Unreadable, RecursionError, MemoryError):
            fact = "The code is too long, or too deeply nested, to be checked."
        else:
            if used is None:
                return None
            fact, line = used.sentence(), used.line
    return Verdict(
        exercise.name, exercise.points, "forbidden", " ".join([fact, *told(exercise)]),
        mistake=fact, way="rule", where=line,
    )  # fmt: skip


@dataclass(frozen=True)
class Used:
    """What breaks a rule or, without a path, cannot be checked.

    way: the names by which the function reaches it; None: it need not reach it.
    """

    text: str
    path: str
    line: str
    checked: bool
    way: tuple[str, ...] | None

    def sentence(self) -> str:
        fact = "The notebook" if self.way is None else "Your function"
        fact += f" uses `{self.text}`"
        if self.path and self.path.split(".")[-1] != self.text.split(".")[-1]:
            fact += f", which is `{self.path}`,"
        fact += f" at `{self.line}`"
        if self.way:
            fact += f", by way of {listed(self.way)}"
        return f"{fact}." if self.checked else f"{fact}. That cannot be checked."


@dataclass(frozen=True, eq=False)
class Loose:
    """An attribute of something unknown, which may be a library that is handed on."""

    name: str
    node: ast.AST
    lines: list[str]
    way: tuple[str, ...] | None


class Search(ast.NodeVisitor):
    """Walk through all that a function reaches, and look for what breaks a rule."""

    def __init__(self, code: Code, rules: list[Rule]) -> None:
        self.code = code
        names = {name for rule in rules for name in rule.names}
        self.loops = names.intersection(LOOPS)
        self.methods = {name[1:] for name in names if name.startswith(".")}
        self.paths = {
            f"builtins.{name}" if hasattr(builtins, name) else name
            for name in names - self.loops
            if not name.startswith(".")
        }
        self.found: list[Used] = []
        self.todo: list[tuple[Binding, tuple[str, ...]]] = []
        self.seen: set[Binding] = set()
        self.loose: list[Loose] = []
        self.handed_on: set[str] = set()  # libraries
        self.scope, self.moment = code.top, LATER
        self.lines: list[str] = []
        self.way: tuple[str, ...] | None = ()

    def look_into(self, name: str) -> Used | None:
        """The first thing in the way of a function, if anything is."""
        self.code.steps = 0
        self.reach(name, ())
        while self.todo and not self.found:
            binding, self.way = self.todo.pop(0)
            self.look_at(binding, name)
        for loose in self.loose:
            self.lines, self.way = loose.lines, loose.way
            for library in self.handed_on:
                if not self.found:
                    self.check(f"{library}.{loose.name}", loose.node)
        self.way = None
        for use in self.code.uses:
            self.scope, self.moment, self.lines = use.scope, use.when, use.lines
            if not self.found and self.rebinds(use):
                self.report(use.node)
        return self.found[0] if self.found else None

    def look_at(self, binding: Binding, name: str) -> None:
        """Look at a place where a name gets its value."""
        self.lines, self.scope = binding.lines, binding.scope
        self.moment = binding.when
        for statement in binding.around:
            self.loop(statement)
            for part in ("iter", "test", "subject"):
                if hasattr(statement, part):
                    self.visit(getattr(statement, part))
            for item in getattr(statement, "items", []):
                self.visit(item)
        function = getattr(binding.scope.node, "name", "")
        self.put_off(self.code.calls.get(function, []), function)
        if binding.is_import():
            for origin in binding.origins:
                path = f"{origin}.{name}" if binding.star else str(origin)
                self.check(path, binding.node)
        else:
            self.visit(binding.node)

    def reach(self, name: str, way: tuple[str, ...]) -> None:
        """Look also at all that a name of the notebook stands for.

        What is imported is looked at where it is used, unless it is the answer itself.
        """
        bindings = self.code.lookup(name, self.scope, self.moment)
        library = any(b.is_import() and not b.star for b in bindings)
        outside = {*self.code.top.names.get(name, []), *self.code.stars}
        for binding in bindings:
            local = binding not in outside
            if local or binding in self.seen or (binding.changes and library):
                continue
            if not (way and binding.is_import()):
                self.seen.add(binding)
                self.todo.append((binding, way))

    def put_off(self, bindings: list[Binding], name: str) -> None:
        """Look at these places, too."""
        for binding in bindings:
            if binding not in self.seen:
                self.seen.add(binding)
                self.todo.append((binding, (*(self.way or ()), name)))

    # What breaks a rule.

    def breaks(self, path: str) -> bool:
        """Whether there is a rule against what a path names."""
        names = path.split(".")
        for place, name in enumerate(names):  # a library may be seen through another
            if place and name not in ("np", "numpy", "torch"):
                continue
            top, parts = "numpy" if name == "np" else name, names[place + 1 :]
            if parts and parts[-1] in self.methods:
                return True
            for forbidden in self.paths:
                library, _, last = forbidden.partition(".")
                last = last.rpartition(".")[2]
                if top == library and (not last or last in parts):
                    return True
        return False

    def is_closed(self, path: str, whole: bool) -> bool:
        """Whether what comes of this cannot be seen in the notebook."""
        top, *parts = path.split(".")
        if top == "?":
            return False
        known = any(
            is_in(path, name)
            or (is_in(name, path) and not whole)  # sys, of sys.maxsize
            for name in KNOWN
        )
        if not known or (whole and path in BY_NAME) or path == "builtins":
            return True
        given = top == "builtins" and parts[0] in GIVEN
        return (
            given
            or any(is_in(path, name) for name in CLOSED)
            or (not DOORS.isdisjoint(parts))
        )

    def check(self, path: str, node: ast.AST, whole: bool = True) -> None:
        if self.breaks(path):
            self.report(node, path)
        elif self.is_closed(path, whole):
            self.report(node)

    def report(self, node: ast.AST, path: str = "", text: str = "") -> None:
        number = getattr(node, "lineno", 1) - 1
        line = self.lines[number] if number < len(self.lines) else ""
        path = path.removeprefix("builtins.")
        self.found.append(Used(
            shown(text or ast.unparse(node)),
            "" if path.startswith("?") else shown(path),
            shown(line), bool(path), self.way,
        ))  # fmt: skip

    def rebinds(self, use: Use) -> bool:
        """Whether this, wherever it stands, may rebind any name of the notebook."""
        node = use.node
        if node in self.code.looked_at:
            return False
        if isinstance(node, ast.Import):
            tops = {alias.name.partition(".")[0] for alias in node.names}
            return not tops.isdisjoint(REBINDING_MODULES)
        if isinstance(node, ast.ImportFrom):
            paths = {f"{node.module}.{alias.name}" for alias in node.names}
            return node.module in REBINDING_MODULES or not paths.isdisjoint(REBINDING)
        if isinstance(node, ast.Constant):
            return node.value in REBINDING_MODULES
        if isinstance(node, ast.Name):
            return f"builtins.{node.id}" in REBINDING & self.origins(node)
        if isinstance(node, ast.Attribute):
            return (
                node.attr in REBINDING_ATTRIBUTES
                or (node.attr == "modules" and "sys.modules" in self.origins(node))
                or (node.attr == "__dict__" and self.is_library(node.value))
            )
        if not isinstance(node, ast.Call):
            return False
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if called in ("import_module", "__import__"):
            named = node.args[0] if node.args else None
            known = isinstance(named, ast.Constant)  # else it may be this notebook
            return not known and not self.origins(node.func).isdisjoint(IMPORTERS)
        if getattr(node.func, "id", "") not in ("vars", "locals", "setattr"):
            return False
        if not node.args:
            return use.when < LATER
        return attribute_of(node) is None and self.is_library(node.args[0])

    def origins(self, node: ast.AST) -> set[str]:
        """What an expression can be that is not the notebook's own."""
        origins = self.code.origins(node, self.scope, self.moment)
        return {origin for origin in origins if isinstance(origin, str)}

    def is_library(self, node: ast.AST) -> bool:
        return any(not origin.startswith("?") for origin in self.origins(node))

    def loop(self, node: ast.AST) -> None:
        """Report a loop, or what is one."""
        word = "for"
        if isinstance(node, ast.While):
            word = "while"
        elif not isinstance(node, ast.For | ast.AsyncFor | ast.expr):
            return
        if word in self.loops:
            self.report(node, word, word)

    # Walking through reached code.

    def visit(self, node: ast.AST) -> None:
        if not self.found:
            self.code.step()
            super().visit(node)

    def use(self, node: ast.expr, whole: bool) -> None:
        """A name or an attribute is used; whole: not only for an attribute of it."""
        for origin in sorted(self.origins(node)):
            self.check(origin, node, whole)
            if whole and any(is_in(path, origin) for path in self.paths):
                self.handed_on.add(origin.partition(".")[0])
            if origin.startswith("?.") and isinstance(node, ast.Attribute):
                self.loose.append(Loose(node.attr, node, self.lines, self.way))

    def visit_Name(self, node: ast.Name, whole: bool = True) -> None:
        if isinstance(node.ctx, ast.Load):
            self.use(node, whole)
            self.reach(node.id, (*(self.way or ()), node.id))

    def visit_Attribute(self, node: ast.Attribute, whole: bool = True) -> None:
        if isinstance(node.ctx, ast.Load):
            self.use(node, whole)
            own = node.attr == "__dict__" and not self.origins(node.value)
            if node.attr in INSIDES and not own:
                self.report(node)
            self.put_off(self.code.stored.get(node.attr, []), node.attr)
        self.visit_part(node.value)

    def visit_part(self, node: ast.expr) -> None:
        """Visit what is only called, renamed, or looked into for an attribute."""
        if isinstance(node, ast.Name):
            self.visit_Name(node, whole=False)
        elif isinstance(node, ast.Attribute):
            self.visit_Attribute(node, whole=False)
        else:
            self.visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        """A second name for a library does not hand it on."""
        for target in node.targets:
            self.visit(target)
        if all(isinstance(target, ast.Name) for target in node.targets):
            self.visit_part(node.value)
        else:
            self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.reach(node.target.id, (*(self.way or ()), node.target.id))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = self.origins(node.func)
        if "builtins.getattr" in called:
            attribute = attribute_of(node)
            if attribute is None:
                self.report(node)
            else:
                self.visit_Attribute(attribute)
        if called & GETTERS:
            for argument in node.args:
                self.get(node, getattr(argument, "value", None))
        self.visit_part(node.func)
        for part in (*node.args, *node.keywords):
            self.visit(part)

    def visit_MatchClass(self, node: ast.MatchClass) -> None:
        """A pattern takes attributes: case object(shape=s)."""
        for name in node.kwd_attrs:
            self.get(node, name)
        self.generic_visit(node)

    def get(self, node: ast.AST, text: object) -> None:
        """An attribute is taken of anything, by attrgetter, methodcaller or match."""
        if not isinstance(text, str):
            self.report(node)
            return
        for name in text.split("."):
            self.check(f"?.{name}", node)
            self.loose.append(Loose(name, node, self.lines, self.way))

    def visit_looping(self, node: ast.AST) -> None:
        self.loop(node)
        self.generic_visit(node)

    visit_For = visit_AsyncFor = visit_While = visit_looping

    def visit_comprehension_expression(self, node: ast.expr) -> None:
        self.loop(node)
        outside, self.scope = self.scope, self.code.scopes[node]
        self.generic_visit(node)
        self.scope = outside

    visit_ListComp = visit_SetComp = visit_comprehension_expression
    visit_DictComp = visit_GeneratorExp = visit_comprehension_expression

    def visit_definition(self, node: ast.ClassDef | Function) -> None:
        """What runs in a scope of its own, after what runs outside of it."""
        for field, value in ast.iter_fields(node):
            if field != "body":
                for part in value if isinstance(value, list) else [value]:
                    if isinstance(part, ast.AST):
                        self.visit(part)
        outside = self.scope, self.moment
        self.scope = self.code.scopes[node]
        if isinstance(node, Function):
            self.moment = LATER
        for part in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(part)
        self.scope, self.moment = outside

    visit_FunctionDef = visit_AsyncFunctionDef = visit_definition
    visit_Lambda = visit_ClassDef = visit_definition


def is_in(path: str, name: str) -> bool:
    """Whether a dotted path is this name, or leads through it."""
    return f"{path}.".startswith(f"{name}.")


def shown(text: str) -> str:
    """Code in a sentence."""
    return plain_text(text.strip()).replace("`", "'")[:80]
