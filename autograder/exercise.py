"""What an exercise is: a solution, what is tried on it, and the mistakes known."""

import ast
import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from autograder import adapters
from autograder.course import assignment_of

VISIBLE_SEED = 0


class Probe:
    """One call of the function: its arguments, and why just these.

    `why` completes the sentences "right for ..." and "wrong for ...". Where it is
    `refused`, the right answer is a ValueError.
    """

    def __init__(
        self, *args: Any, why: str, refused: bool = False, **kwargs: Any
    ) -> None:
        self.args, self.why, self.kwargs = args, why, kwargs
        self.refused = refused
        self.named: dict[str, Any] | None = None  # Exercise.arguments, once asked for


Draw = Callable[[np.random.Generator], Iterator[Probe]]


@dataclass(frozen=True)
class Mistake:
    """A wrong function that learners write, and what to tell them.

    `sentence` says what the answer is; `hint` what to look at; `seen` is a thread,
    owner/repo#number, where somebody made this mistake.
    """

    sentence: str
    hint: str
    seen: str | None
    function: Callable[..., Any]


@dataclass(frozen=True)
class Rule:
    """What an answer may not use; `why` completes "Write it without ...: ..."."""

    names: tuple[str, ...]
    why: str


class Exercise:
    """A function that learners write, worth `points`.

    `axes` names the axes of its widest answer, None for one that only broadcasts.
    An answer with fewer axes has the last of these names. `parts` names the things
    that it gives back as a tuple; then `axes` holds the axes of each. `adapter`
    names a function of adapters.py that calls the learner's where a plain call of it
    would take or give a function. `quiet` asks for an answer without a warning of
    NumPy's on the way; its docstring says so.
    """

    def __init__(
        self,
        solution: Callable[..., Any],
        *,
        points: int,
        axes: tuple[Any, ...] = (),
        parts: tuple[str, ...] = (),
        adapter: str | None = None,
        quiet: bool = False,
    ) -> None:
        self.solution, self.points, self.axes = solution, points, axes
        self.parts, self.adapter, self.quiet = parts, adapter, quiet
        self.only: int | None = None  # the one part that is looked at
        self.name = solution.__name__
        self.stem = solution.__module__.rpartition(".")[2]
        self.assignment = assignment_of(self.stem)
        self.mistakes: list[Mistake] = []
        self.variants: list[Callable[..., Any]] = []
        self.laws: list[Callable[..., str | None]] = []
        self.family_function: Callable[..., Any] | None = None
        self.reason_function: Callable[..., str] | None = None
        self.equivalents: dict[str, str] = {}
        self.rules: list[Rule] = []
        self._probes: Draw

    # What a spec says of an exercise, each with one decorator.

    def probes(self, draw: Draw) -> Draw:
        """Register the generator of probes: it draws sizes and numbers from an rng."""
        self._probes = draw
        return draw

    def variant(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register a right answer written in another way."""
        self.variants.append(function)
        return function

    def family(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register the solution with knobs: keyword-only, right by default."""
        self.family_function = function
        return function

    def mistake(
        self, sentence: str, *, hint: str, seen: str | None = None, **knobs: Any
    ) -> Any:
        """Register a mistake: by knobs of the family, or as a decorator."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self.mistakes.append(Mistake(sentence, hint, seen, function))
            return function

        if not knobs:
            return register
        assert self.family_function is not None, "declare the family first"
        return register(partial(self.family_function, **knobs))

    def law(self, law: Callable[..., str | None]) -> Callable[..., str | None]:
        """Register what must hold: law(answer, *arguments) -> what breaks, or None."""
        self.laws.append(law)
        return law

    def reason(self, function: Callable[..., str]) -> Callable[..., str]:
        """Register why one cell is as it is: reason(index, *arguments) -> a clause."""
        self.reason_function = function
        return function

    def equivalent(self, line: str, *, why: str) -> None:
        """Register a changed line of the solution that no input tells from its own."""
        self.equivalents[line] = why

    def forbid(self, *names: str, why: str) -> None:
        """Register what an answer may not use, in itself or in what it reaches.

        A name is one of: `torch.nn.functional.softmax`, a function of a library;
        `numpy.linalg`, a module and all that is in it; `map`, a builtin; `.softmax`,
        whatever is called that and is not the learner's own; `for` or `while`, a loop
        (`for` in a comprehension, too).
        """
        for name in names:
            assert all(map(str.isidentifier, name.removeprefix(".").split("."))), name
        self.rules.append(Rule(names, why))

    # What the judge asks of it.

    def draw(self, seed: int = VISIBLE_SEED) -> list[Probe]:
        """The probes of one seed; the visible ones unless told otherwise."""
        return list(self._probes(np.random.default_rng(seed)))

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the solution, or what stands in its place, as a probe says."""
        answer = adapters.adapted(function, self.adapter)(*args, **kwargs)
        return answer if self.only is None else answer[self.only]

    def part(self, number: int) -> "Exercise":
        """This exercise as if only one of its parts were asked for."""
        view = copy.copy(self)
        view.only, view.parts, view.axes = number, (), self.axes[number]
        view.laws = []  # they are about the whole
        return view

    @cached_property
    def signature(self) -> inspect.Signature:
        """What a probe's arguments are for."""
        return inspect.signature(adapters.adapted(self.solution, self.adapter))

    @property
    def noun(self) -> str:
        """What its functions call what NumPy calls an array."""
        return "tensor" if self.adapter in adapters.TENSORS else "array"

    @cached_property
    def helpers(self) -> list[str]:
        """Functions of the same module that the solution calls: earlier exercises."""
        calls = used_by(self.solution)
        return [f.__name__ for f in calls if f.__module__ == self.solution.__module__]

    def arguments(self, probe: Probe) -> dict[str, Any]:
        """Name -> value, as the solution's signature binds them."""
        if probe.named is None:  # for each candidate it would take as long as a call
            bound = self.signature.bind(*probe.args, **probe.kwargs)
            bound.apply_defaults()
            probe.named = dict(bound.arguments)
        return dict(probe.named)

    def sizes(self, probe: Probe) -> dict[str, int]:
        """The lengths that have a name: `d_model`, or D from the docstring's shapes."""
        sizes = {}
        for name, value in self.arguments(probe).items():
            if isinstance(value, int) and not isinstance(value, bool):
                sizes[name] = value
            if isinstance(value, np.ndarray):
                shape = re.search(rf"^ +{name}: \(([^)]*)\)", self.docstring, re.M)
                symbols = re.findall(r"[^\s,]+", shape[1]) if shape else []
                # from the right: a shape may begin with any number of axes
                found = zip(symbols[::-1], value.shape[::-1], strict=False)
                sizes |= {s: n for s, n in found if s.isidentifier()}  # not K/2
        return sizes

    def axes_of(self, ndim: int) -> list[str | None]:
        """Names of an answer's axes: the last ones, where it has fewer than usual."""
        missing = len(self.axes) - ndim
        unnamed: list[str | None] = [None] * -missing
        return unnamed + list(self.axes)[max(missing, 0) :]

    @property
    def docstring(self) -> str:
        return self.solution.__doc__ or ""


def used_by(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The functions of `solutions` that one of them names in its body."""
    known = vars(sys.modules[function.__module__])
    names = {
        node.id: None
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
        if isinstance(node, ast.Name)
    }
    used = [known.get(name) for name in names]
    return [
        f
        for f in used
        if inspect.isfunction(f)
        and f.__module__.startswith("solutions.")
        and f is not function
    ]
