"""Where the names of a notebook lead: what Python would bind them to, cell by cell.

Only the syntax tree is read; nothing runs. What is bound under a condition, or in a
function that somebody may call, counts as one of several possibilities.
"""

import ast
import builtins
import contextlib
import functools
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_CODE = 300_000  # characters of a notebook
MOST_STEPS = 300_000
LONGEST_PATH = 8
LATER = math.inf  # when the body of a function runs: after all cells
MAGIC = {"run_cell_magic", "run_line_magic"}
RUN = ("time", "timeit", "capture")  # the magics that run code
TIMEIT_OPTIONS = r"^(\s*-([nrpv]\s*\d+|[tcqo]+)(?=\s|$))*\s*"
GIVEN = {"__builtins__", "get_ipython", "In", "Out"}  # without being defined

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Unreadable(Exception):
    """It would take too long to follow the names of this code."""


def run_by_magic(name: Any, line: Any, cell: Any = None) -> str | None:
    """The code that a magic runs, once; None for a magic that runs none."""
    if name not in RUN or not isinstance(line if cell is None else cell, str):
        return None
    if name == "timeit":
        line = re.sub(TIMEIT_OPTIONS, "", str(line))
    if cell is None:
        return line
    setup = line if name == "timeit" else ""
    return f"{setup}\n{cell}"  # in place of the magic's own line


class Scope:
    """The names of a function, class or comprehension; without parent, all others."""

    def __init__(self, parent: "Scope | None", node: ast.AST | None = None) -> None:
        self.parent, self.node = parent, node
        self.names: dict[str, list[Binding]] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()

    def in_function(self) -> bool:
        outer = self.parent is not None and self.parent.in_function()
        return outer or isinstance(self.node, Function)


# What a value can be: something of a library ("torch.nn"), an own function or class, an
# object of an own class (its Scope), "?" the unknown, or "?.x", an attribute of that.
Origin = str | ast.AST | Scope


@dataclass(eq=False)
class Binding:
    """One place where a name, or an attribute, gets a value.

    `node` is what runs there, inside of the loops and conditions `around`, in `scope`
    and at the moment `when`.
    """

    value: ast.AST | None
    node: ast.AST
    scope: Scope
    when: float
    certain: bool
    lines: list[str]
    around: tuple[ast.stmt, ...]
    origins: set[Origin] = field(default_factory=set)
    changes: bool = False  # what the name stands for is changed, not the name
    star: bool = False  # any name, by import *
    owner: ast.ClassDef | None = None  # of a method's first parameter: its class

    def is_import(self) -> bool:
        return isinstance(self.node, ast.Import | ast.ImportFrom)


@dataclass(frozen=True, eq=False)
class Use:
    """An expression or an import, and where it stands."""

    node: ast.AST
    scope: Scope
    when: float
    lines: list[str]


class Code(ast.NodeVisitor):
    """The names of a notebook and what they are bound to."""

    def __init__(self) -> None:
        self.top = self.scope = Scope(None)
        self.scopes: dict[ast.AST, Scope] = {}
        self.bindings: list[Binding] = []
        self.stars: list[Binding] = []
        self.stored: dict[str, list[Binding]] = {}  # attributes, on whatever object
        self.members: dict[tuple[ast.AST, str], list[Binding]] = {}  # self.x = ...
        self.calls: dict[str, list[Binding]] = {}
        self.uses: list[Use] = []
        self.looked_at: set[ast.AST] = set()  # compared, or read an element of
        self.around: tuple[ast.stmt, ...] = ()
        self.lines: list[str] = []
        self.statement: ast.stmt = ast.Pass()
        self.now, self.certain, self.new = 0, True, True
        self.steps = 0

    def add(self, source: str, finished: bool = True) -> None:
        """Take in a cell, or what a magic of one runs."""
        before = self.lines, self.certain
        self.lines, self.certain = source.split("\n"), self.certain and finished
        for statement in self.parse(source):
            self.visit(statement)
        self.lines, self.certain = before

    def parse(self, source: str) -> list[ast.stmt]:
        """The statements of a cell; none of one that does not run."""
        try:
            return ast.parse(source).body
        except SyntaxError:
            pass
        except ValueError:  # null bytes, half of a pair
            return []
        # IPython reads the whole cell again for every line that it translates
        self.step(len(source) * (1 + len(re.findall(r"^.*[%!?]", source, re.M))))
        try:
            from IPython.core.inputtransformer2 import TransformerManager

            return ast.parse(TransformerManager().transform_cell(source)).body
        except RecursionError:
            raise
        except (ImportError, SyntaxError, ValueError, RuntimeError):
            return []

    def step(self, cost: int = 1) -> None:
        self.steps += cost
        if self.steps > MOST_STEPS:
            raise Unreadable

    # Binding names.

    def moment(self) -> float:
        return LATER if self.scope.in_function() else self.now

    def make(self, value: ast.AST | None, node: ast.AST | None = None) -> Binding:
        self.now += 1
        certain = self.certain and not self.around
        binding = Binding(
            value, node or self.statement, self.scope, self.moment(), certain,
            self.lines, self.around, set() if value else {"?"},
        )  # fmt: skip
        self.bindings.append(binding)
        return binding

    def bind(
        self, name: str, value: ast.AST | None = None, node: ast.AST | None = None
    ) -> Binding:
        binding = self.make(value, node)
        scope = self.scope
        while scope.parent and isinstance(node, ast.NamedExpr):
            if not isinstance(scope.node, Comprehension):
                break
            scope = scope.parent
        if name in scope.globals:
            scope = self.top
        elif name in scope.nonlocals:
            while scope.parent and (scope is self.scope or name not in scope.names):
                scope = scope.parent
        scope.names.setdefault(name, []).append(binding)
        return binding

    def bind_target(
        self, target: ast.AST, value: ast.AST | None, node: ast.AST | None = None
    ) -> None:
        """Bind what stands on the left of a value."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value, node)
        elif isinstance(target, ast.Tuple | ast.List):
            values: list[Any] = getattr(value, "elts", [])
            starred = any(isinstance(e, ast.Starred) for e in [*target.elts, *values])
            if starred or len(values) != len(target.elts):
                values = [None] * len(target.elts)
            for element, part in zip(target.elts, values, strict=True):
                self.bind_target(element, part, part or node)
        elif isinstance(target, ast.Starred):
            self.bind_target(target.value, None, node)
        else:
            self.visit(target)
            if isinstance(target, ast.Attribute):
                self.store(target.value, target.attr, value)
            self.change(target)

    def store(self, target: ast.AST, name: str, value: ast.AST | None) -> None:
        """An attribute gets a value."""
        binding = self.make(value)
        found = self.find(target.id) if isinstance(target, ast.Name) else []
        if found and found[0].owner:
            self.members.setdefault((found[0].owner, name), []).append(binding)
        else:
            self.stored.setdefault(name, []).append(binding)

    def change(self, node: ast.AST) -> None:
        """Something happens to what the first name of x.y[z] stands for."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name):
            binding = self.make(None)
            binding.certain, binding.changes, binding.origins = False, True, set()
            self.find(node.id).append(binding)

    def find(self, name: str) -> list[Binding]:
        """Where the innermost scope of this name keeps its bindings."""
        scope = self.scope
        while scope.parent and name not in scope.names:
            scope = scope.parent
        return scope.names.setdefault(name, [])

    # Statements that bind.

    def visit(self, node: ast.AST) -> None:
        self.step()
        if isinstance(node, ast.stmt):
            self.statement = node
        if isinstance(node, ast.expr | ast.Import | ast.ImportFrom):
            self.uses.append(Use(node, self.scope, self.moment() + 0.5, self.lines))
        super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            path = alias.name if alias.asname else alias.name.partition(".")[0]
            self.bind(alias.asname or path).origins = {path}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                binding = self.make(None)
                binding.origins, binding.star, binding.certain = {module}, True, False
                self.stars.append(binding)
            else:
                path = f"{module}.{alias.name}"
                self.bind(alias.asname or alias.name).origins = {path}

    def visit_Global(self, node: ast.Global) -> None:
        self.scope.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scope.nonlocals.update(node.names)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.bind_target(target, node.value, node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.bind_target(node.target, node.value, node)
        else:
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):  # what it was lives on in it
            self.bind(node.target.id, None, node).certain = False
        else:
            self.bind_target(node.target, None, node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.bind(node.target.id, node.value, node)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.bind_target(target, None, node)

    def visit_Expr(self, node: ast.Expr) -> None:
        """A method whose result is not kept may change its object."""
        self.visit(node.value)
        function = getattr(node.value, "func", None)
        if isinstance(function, ast.Attribute):
            self.change(function)

    # Statements in which others stand: those may not run.

    def visit_compound(self, node: Any) -> None:
        before = self.around
        self.around = (*before, node)
        if isinstance(node, ast.For | ast.AsyncFor):
            self.visit(node.iter)
            self.bind_target(node.target, None, node.iter)
        for item in getattr(node, "items", []):
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.bind_target(item.optional_vars, None, item.context_expr)
        for part in ("test", "subject"):
            if hasattr(node, part):
                self.visit(getattr(node, part))
        for part in ("body", "handlers", "cases", "orelse", "finalbody"):
            for child in getattr(node, part, []):
                self.statement = node  # a pattern binds in it, not in the last body
                self.visit(child)
        self.around = before

    visit_For = visit_AsyncFor = visit_While = visit_If = visit_compound
    visit_With = visit_AsyncWith = visit_Try = visit_TryStar = visit_compound
    visit_Match = visit_compound

    def visit_capture(self, node: Any) -> None:
        """Bind the name of an except clause, or one in a pattern."""
        name = node.rest if isinstance(node, ast.MatchMapping) else node.name
        if name:
            self.bind(name, None, getattr(node, "type", None))
        self.generic_visit(node)

    visit_ExceptHandler = visit_MatchAs = visit_MatchStar = visit_capture
    visit_MatchMapping = visit_capture

    # Scopes.

    @contextlib.contextmanager
    def inside(self, node: ast.AST) -> Iterator[None]:
        before = self.scope, self.around
        self.scope = self.scopes[node] = Scope(self.scope, node)
        if isinstance(node, Function):
            self.around = ()
        yield
        self.scope, self.around = before

    def visit_function(self, node: Any) -> None:
        decorators = getattr(node, "decorator_list", [])
        for part in [*decorators, *getattr(node, "type_params", []), node.args]:
            self.visit(part)
        if getattr(node, "returns", None) is not None:
            self.visit(node.returns)
        if not isinstance(node, ast.Lambda):
            self.bind(node.name, node, node)
        a, owner = node.args, self.scope.node
        plain = [*a.posonlyargs, *a.args]
        values = [None] * (len(plain) - len(a.defaults)) + a.defaults + a.kw_defaults
        defaults = [self.make(value, value) if value else None for value in values]
        with self.inside(node):
            for arg in filter(None, (*plain, *a.kwonlyargs, a.vararg, a.kwarg)):
                self.bind(arg.arg, None, node)
            for arg, binding in zip([*plain, *a.kwonlyargs], defaults, strict=True):
                self.scope.names[arg.arg] += [binding] if binding else []
            if plain and isinstance(owner, ast.ClassDef) and not is_static(node):
                me = self.scope.names[plain[0].arg][0]
                me.owner, me.origins = owner, {self.scopes[owner]}
            for child in node.body if isinstance(node.body, list) else [node.body]:
                self.visit(child)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        types = getattr(node, "type_params", [])
        for part in [*node.decorator_list, *types, *node.bases, *node.keywords]:
            self.visit(part)
        with self.inside(node):
            for child in node.body:
                self.visit(child)
        self.bind(node.name, node, node)

    def visit_comprehension_expression(self, node: Any) -> None:
        with self.inside(node):
            for part in node.generators:
                self.visit(part.iter)
                self.bind_target(part.target, None, part.iter)
                for condition in part.ifs:
                    self.visit(condition)
            for name in ("elt", "key", "value"):
                if hasattr(node, name):
                    self.visit(getattr(node, name))

    visit_ListComp = visit_SetComp = visit_comprehension_expression
    visit_DictComp = visit_GeneratorExp = visit_comprehension_expression

    # Calls, and what is only looked at.

    def visit_Call(self, node: ast.Call) -> None:
        name, args = getattr(node.func, "id", ""), node.args
        if name:
            self.calls.setdefault(name, []).append(self.make(None, node))
        if getattr(node.func, "attr", "") in MAGIC and args:
            texts = [getattr(arg, "value", None) for arg in args]
            code = run_by_magic(*texts[:3]) if len(texts) > 1 else None
            runs = code is not None and self.scope is self.top
            if code is not None and runs:
                self.add(code)
            if runs or (isinstance(texts[0], str) and texts[0] not in RUN):
                self.looked_at.add(node.func)
        if name == "setattr" and len(args) == 3 and isinstance(args[1], ast.Constant):
            self.store(args[0], str(args[1].value), args[2])
            self.change(args[0])
        self.generic_visit(node)

    def only_look_at(self, node: ast.AST) -> None:
        self.looked_at.add(node.func if isinstance(node, ast.Call) else node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for operand in (node.left, *node.comparators):
            self.only_look_at(operand)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        plain = isinstance(node.value, ast.Call) or isinstance(node.slice, ast.Constant)
        if isinstance(node.ctx, ast.Load) and plain:
            self.only_look_at(node.value)
        self.generic_visit(node)

    # Where names lead.

    def lookup(self, name: str, scope: Scope, moment: float) -> list[Binding]:
        """What a name, used in a scope at a moment, can be bound to."""
        found: list[Binding] = []
        inner: Scope | None = scope
        while inner and inner.parent and name not in scope.globals:
            is_class = isinstance(inner.node, ast.ClassDef)
            if name in inner.names and (inner is scope or not is_class):
                found += inner.names[name]
                if not is_class:
                    return found
            inner = inner.parent
        settled = -1.0  # when the last binding that is certain was made
        for binding in reversed(self.top.names.get(name, [])):
            if settled < binding.when < moment or binding.when == LATER:
                found.append(binding)
                if binding.certain and binding.when < LATER:
                    settled = binding.when
        found += [star for star in self.stars if settled < star.when < moment]
        self.step(len(found))
        return found

    def origins(self, node: ast.AST | None, scope: Scope, when: float) -> set[Origin]:
        """What an expression can stand for."""
        self.step()
        parts: list[ast.expr] = []
        if isinstance(node, ast.Name):
            return self.origins_of_name(node.id, scope, when)
        if isinstance(node, ast.ClassDef | Function):
            return {node}
        if isinstance(node, ast.Attribute):
            bases = self.origins(node.value, scope, when)
            found = {o for base in bases for o in self.attribute(base, node.attr)}
            self.step(len(found))
            return found
        if isinstance(node, ast.Call):
            called = self.origins(node.func, scope, when)
            attribute = attribute_of(node)
            if attribute is not None and "builtins.getattr" in called:
                return self.origins(attribute, scope, when)
            return {
                self.scopes[origin] if isinstance(origin, ast.ClassDef) else "?"
                for origin in called
            }
        if isinstance(node, ast.IfExp):
            parts = [node.body, node.orelse]
        elif isinstance(node, ast.BoolOp):
            parts = node.values
        elif isinstance(node, ast.NamedExpr):
            parts = [node.value]
        if not parts:
            return {"?"}
        return {o for part in parts for o in self.origins(part, scope, when)}

    def origins_of_name(self, name: str, scope: Scope, when: float) -> set[Origin]:
        found: set[Origin] = set()
        bindings = self.lookup(name, scope, when)
        for binding in bindings:
            if binding.star:
                found |= {f"{module}.{name}" for module in binding.origins}
            else:
                found |= binding.origins
        if all(binding.star for binding in bindings):
            known = hasattr(builtins, name) or name in GIVEN
            found.add(f"builtins.{name}" if known else "?")
        return found

    def attribute(self, base: Origin, name: str) -> set[Origin]:
        """What an attribute of a value can stand for."""
        found: set[Origin] = set()
        if isinstance(base, str):
            path = f"{base}.{name}"
            found.add(path if path.count(".") < LONGEST_PATH else "?")
        else:
            owner = base.node if isinstance(base, Scope) else base
            for binding in self.members_of(owner, name, set()):
                found |= binding.origins
                if owner is base:
                    self.take(binding.value)
        for binding in self.stored.get(name, []):
            found |= binding.origins
        return found or {f"?.{name}"}

    def take(self, method: ast.AST | None) -> None:
        """A method that is taken from its class may be called with any object."""
        if isinstance(method, Function):
            for first, *_ in self.scopes[method].names.values():
                if first.owner and "?" not in first.origins:
                    first.origins.add("?")
                    self.new = True

    def members_of(
        self, owner: ast.AST | None, name: str, seen: set[ast.AST]
    ) -> Iterator[Binding]:
        """Where an own class, or one that it is made from, has an attribute."""
        if not isinstance(owner, ast.ClassDef) or owner in seen:
            return
        seen.add(owner)
        yield from self.scopes[owner].names.get(name, [])
        yield from self.members.get((owner, name), [])
        for base in owner.bases:
            for origin in self.origins(base, self.top, LATER):
                if isinstance(origin, ast.AST):
                    yield from self.members_of(origin, name, seen)

    def follow(self) -> None:
        """Find the origins of all that is bound, until there is nothing new."""
        while self.new:
            self.new = False
            for binding in self.bindings:
                if binding.value is None:
                    continue
                found = self.origins(binding.value, binding.scope, binding.when)
                plain = {"?" if str(o).startswith("?") else o for o in found}
                if not plain <= binding.origins:
                    binding.origins |= plain
                    self.new = True
            for use in self.uses:  # a method may be taken from its class anywhere
                if isinstance(use.node, ast.Attribute):
                    self.origins(use.node, use.scope, use.when)


def is_static(function: Any) -> bool:
    decorators = getattr(function, "decorator_list", [])
    return any(getattr(d, "id", "") == "staticmethod" for d in decorators)


def attribute_of(call: ast.Call) -> ast.Attribute | None:
    """The attribute that getattr(x, "name") stands for."""
    if len(call.args) < 2 or not isinstance(call.args[1], ast.Constant):
        return None
    attribute = ast.Attribute(call.args[0], str(call.args[1].value), ast.Load())
    return ast.copy_location(attribute, call)


@functools.lru_cache(maxsize=1)  # a notebook has several exercises
def read(cells: tuple[str, ...], unfinished: frozenset[int]) -> Code:
    """Read the cells of a notebook that ran, some of them not to their end."""
    if sum(map(len, cells)) > MOST_CODE:
        raise Unreadable
    code = Code()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a learner's text
        for place, source in enumerate(cells):
            code.add(source, finished=place not in unfinished)
    code.follow()
    return code
